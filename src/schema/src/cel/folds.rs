//! Macros: an expression that is evaluated for every item of a list or every key of a map.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, Map};

use super::expr::{Fold, FoldKind};
use super::interpret::{Interpreter, insert_new, key_value, map_key};
use super::meter::{Evaluated, Failure, as_optional, no_such_overload, none, some};

impl Interpreter<'_> {
    pub(super) fn fold(&mut self, fold: &Fold) -> Evaluated {
        let range = self.eval(&fold.range)?;
        match fold.kind {
            FoldKind::OptionalMap | FoldKind::OptionalFlatMap => self.fold_optional(fold, &range),
            FoldKind::All | FoldKind::Exists => self.fold_junction(fold, items(range)?),
            FoldKind::ExistsOne => self.fold_one(fold, items(range)?),
            FoldKind::List => self.fold_list(fold, items(range)?),
            FoldKind::TransformMap | FoldKind::TransformMapEntry => self.fold_map(fold, items(range)?),
            FoldKind::SortBy => self.fold_sort(fold, items(range)?),
        }
    }

    fn fold_optional(&mut self, fold: &Fold, range: &Value) -> Evaluated {
        match as_optional(range) {
            Some(None) => Ok(none()),
            Some(Some(value)) => {
                self.variables[fold.variable] = value.clone();
                let mapped = self.eval(&fold.body)?;
                match (fold.kind, as_optional(&mapped)) {
                    (FoldKind::OptionalMap, _) => Ok(some(mapped)),
                    (_, Some(_)) => Ok(mapped),
                    (_, None) => Err(no_such_overload()),
                }
            }
            None => Err(no_such_overload()),
        }
    }

    /// Sets the variables of a loop; false when its filter leaves the item out.
    fn enter(&mut self, fold: &Fold, item: Item) -> Result<bool, Failure> {
        self.meter.spend(1)?;
        if fold.two {
            self.variables[fold.variable] = item.key;
            self.variables[fold.variable + 1] = item.value;
        } else {
            self.variables[fold.variable] = if item.of_map { item.key } else { item.value };
        }
        match &fold.filter {
            None => Ok(true),
            Some(filter) => match self.eval(filter)? {
                Value::Bool(keep) => Ok(keep),
                _ => Err(no_such_overload()),
            },
        }
    }

    fn fold_junction(&mut self, fold: &Fold, items: Vec<Item>) -> Evaluated {
        let decisive = fold.kind == FoldKind::Exists;
        let mut error = None;
        for item in items {
            self.enter(fold, item)?;
            match self.eval(&fold.body) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => error = error.or(Some(no_such_overload())),
                Err(Failure::Cost) => return Err(Failure::Cost),
                Err(failure) => error = error.or(Some(failure)),
            }
        }
        error.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn fold_one(&mut self, fold: &Fold, items: Vec<Item>) -> Evaluated {
        let mut found = 0;
        for item in items {
            self.enter(fold, item)?;
            match self.eval(&fold.body)? {
                Value::Bool(value) => found += usize::from(value),
                _ => return Err(no_such_overload()),
            }
        }
        Ok(Value::Bool(found == 1))
    }

    fn fold_list(&mut self, fold: &Fold, items: Vec<Item>) -> Evaluated {
        let mut list = Vec::new();
        for item in items {
            if self.enter(fold, item)? {
                list.push(self.eval(&fold.body)?);
            }
        }
        Ok(Value::List(Arc::new(list)))
    }

    fn fold_map(&mut self, fold: &Fold, items: Vec<Item>) -> Evaluated {
        let mut map = HashMap::new();
        for item in items {
            let key = item.key.clone();
            if !self.enter(fold, item)? {
                continue;
            }
            match (fold.kind, self.eval(&fold.body)?) {
                (FoldKind::TransformMap, value) => {
                    let key = map_key(&key).ok_or_else(no_such_overload)?;
                    map.insert(key, value);
                }
                (_, Value::Map(entries)) => {
                    for (key, value) in entries.map.iter() {
                        self.meter.spend(1)?;
                        insert_new(&mut map, key.clone(), value.clone())?;
                    }
                }
                _ => return Err(no_such_overload()),
            }
        }
        Ok(Value::Map(Map { map: Arc::new(map) }))
    }

    fn fold_sort(&mut self, fold: &Fold, items: Vec<Item>) -> Evaluated {
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            let value = item.value.clone();
            self.enter(fold, item)?;
            keyed.push((self.eval(&fold.body)?, value));
        }
        let comparisons = (keyed.len() as u64).saturating_mul(u64::from(keyed.len().max(2).ilog2()));
        self.meter.spend(comparisons)?;
        keyed.iter().try_for_each(|(key, _)| self.meter.spend_value(key))?;
        let comparable = keyed.windows(2).all(|pair| pair[0].0.partial_cmp(&pair[1].0).is_some());
        if !comparable {
            return Err(no_such_overload());
        }
        keyed.sort_by(|left, right| left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal));
        Ok(Value::List(Arc::new(keyed.into_iter().map(|(_, value)| value).collect())))
    }
}

/// One turn of a loop: the index and item of a list, or the key and value of a map.
struct Item {
    key: Value,
    value: Value,
    of_map: bool,
}

/// Maps go by the order of their keys, so that a rule has the same outcome every time.
fn items(range: Value) -> Result<Vec<Item>, Failure> {
    match range {
        Value::List(items) => {
            let item = |(i, value): (usize, &Value)| Item {
                key: Value::Int(i64::try_from(i).unwrap_or(i64::MAX)),
                value: value.clone(),
                of_map: false,
            };
            Ok(items.iter().enumerate().map(item).collect())
        }
        Value::Map(map) => {
            let mut entries: Vec<(&Key, &Value)> = map.map.iter().collect();
            entries.sort_by(|left, right| left.0.cmp(right.0));
            let item = |(key, value): (&Key, &Value)| Item { key: key_value(key), value: value.clone(), of_map: true };
            Ok(entries.into_iter().map(item).collect())
        }
        _ => Err(no_such_overload()),
    }
}
