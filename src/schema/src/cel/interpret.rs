//! Runs a lowered rule, and pays for every step from a budget.
//!
//! Costs are those of Kubernetes' CEL, roughly: one for each expression that is visited, one for ten bytes of text that
//! is read or made, one for each item that is compared or copied. A step that would cost more than is left is not
//! taken, so the memory of a rule is bounded too.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, Map};

use super::expr::{Element, Expr, Index, Matches, Mode, Operator, Program, Select};
use super::library;
use super::meter::{Evaluated, Failure, Meter, arithmetic, as_optional, no_such_overload, none, overflow, some};

/// The value of a program for these values of `self` and `oldSelf`.
pub(super) fn run(program: &Program, this: Value, old: Value, meter: &mut Meter) -> Evaluated {
    let mut variables = vec![Value::Null; program.variables];
    variables[0] = this;
    variables[1] = old;
    Interpreter { variables, meter }.eval(&program.root)
}

pub(super) struct Interpreter<'m> {
    pub(super) variables: Vec<Value>,
    pub(super) meter: &'m mut Meter,
}

impl Interpreter<'_> {
    /// Every case is a function of its own: this one recurses, and its frame has to stay small.
    pub(super) fn eval(&mut self, expr: &Expr) -> Evaluated {
        self.meter.spend(1)?;
        match expr {
            Expr::Const(value) => Ok(value.clone()),
            Expr::Variable(place) => Ok(self.variables[*place].clone()),
            Expr::Select(select) => self.select(select),
            Expr::Index(index) => self.index(index),
            Expr::Not(operand) => self.not(operand),
            Expr::Negate(operand) => self.negate(operand),
            Expr::And(pair) => self.junction(pair, false),
            Expr::Or(pair) => self.junction(pair, true),
            Expr::Condition(parts) => self.condition(parts),
            Expr::Binary(operator, pair) => self.binary(*operator, pair),
            Expr::Call(call) => self.call(&call.name, call.target.as_ref(), &call.arguments),
            Expr::Matches(matches) => self.matches(matches),
            Expr::List(elements) => self.list(elements),
            Expr::Map(entries) => self.map(entries),
            Expr::Fold(fold) => self.fold(fold),
        }
    }

    fn matches(&mut self, matches: &Matches) -> Evaluated {
        let text = self.eval(&matches.text)?;
        let regex = matches.regex.get_or_init(|| library::regex(&matches.pattern)).as_ref();
        let regex = regex.map_err(|error| Failure::Error(error.clone()))?;
        library::matches(&text, &matches.pattern, regex, self.meter)
    }

    fn not(&mut self, operand: &Expr) -> Evaluated {
        match self.eval(operand)? {
            Value::Bool(value) => Ok(Value::Bool(!value)),
            _ => Err(no_such_overload()),
        }
    }

    fn negate(&mut self, operand: &Expr) -> Evaluated {
        match self.eval(operand)? {
            Value::Int(value) => value.checked_neg().map(Value::Int).ok_or_else(overflow),
            Value::Float(value) => Ok(Value::Float(-value)),
            Value::Duration(value) => Ok(Value::Duration(-value)),
            _ => Err(no_such_overload()),
        }
    }

    /// `&&` (`decisive` false) and `||` (true): a decisive side hides the other's error, on whichever side it is.
    fn junction(&mut self, pair: &[Expr; 2], decisive: bool) -> Evaluated {
        let left = self.eval(&pair[0]);
        match left {
            Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
            Err(Failure::Cost) => return left,
            _ => {}
        }
        let right = self.eval(&pair[1]);
        match (left, right) {
            (_, Ok(Value::Bool(value))) if value == decisive => Ok(Value::Bool(decisive)),
            (_, Err(Failure::Cost)) => Err(Failure::Cost),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => Ok(Value::Bool(!decisive)),
            _ => Err(no_such_overload()),
        }
    }

    fn condition(&mut self, [test, yes, no]: &[Expr; 3]) -> Evaluated {
        match self.eval(test)? {
            Value::Bool(true) => self.eval(yes),
            Value::Bool(false) => self.eval(no),
            _ => Err(no_such_overload()),
        }
    }

    fn select(&mut self, select: &Select) -> Evaluated {
        let operand = self.eval(&select.operand)?;
        let (operand, optional) = match as_optional(&operand) {
            Some(None) if select.mode == Mode::Test => return Ok(Value::Bool(false)),
            Some(None) => return Ok(none()),
            Some(Some(value)) => (value.clone(), true),
            None => (operand, false),
        };
        let Value::Map(map) = &operand else { return Err(no_such_overload()) };
        let found = map.map.get(&Key::String(select.field.clone()));
        match (select.mode, found) {
            (Mode::Test, found) => Ok(Value::Bool(found.is_some())),
            (Mode::Value, Some(value)) if !optional => Ok(value.clone()),
            (Mode::Value, None) if !optional => Err(Failure::Error(format!("no such key: {}", select.field))),
            (_, Some(value)) => Ok(some(value.clone())),
            (_, None) => Ok(none()),
        }
    }

    fn index(&mut self, index: &Index) -> Evaluated {
        let operand = self.eval(&index.operand)?;
        let key = self.eval(&index.index)?;
        let (operand, optional) = match as_optional(&operand) {
            Some(None) => return Ok(none()),
            Some(Some(value)) => (value.clone(), true),
            None => (operand, index.optional),
        };
        let found = match (&operand, &key) {
            (Value::List(items), key) => {
                let at = match key {
                    Value::Int(at) => *at,
                    Value::UInt(at) => i64::try_from(*at).unwrap_or(i64::MAX),
                    Value::Float(at) if at.fract() == 0.0 => *at as i64,
                    _ => return Err(no_such_overload()),
                };
                let found = usize::try_from(at).ok().and_then(|at| items.get(at));
                found.cloned().ok_or_else(|| Failure::Error(format!("index out of bounds: {at}")))
            }
            (Value::Map(map), key) => {
                let lookup = map_key(key).ok_or_else(no_such_overload)?;
                map.get(&lookup).cloned().ok_or_else(|| Failure::Error(format!("no such key: {}", printed(&lookup))))
            }
            _ => return Err(no_such_overload()),
        };
        match (optional, found) {
            (false, found) => found,
            (true, Ok(value)) => Ok(some(value)),
            (true, Err(_)) => Ok(none()),
        }
    }

    fn binary(&mut self, operator: Operator, pair: &[Expr; 2]) -> Evaluated {
        let left = self.eval(&pair[0])?;
        let right = self.eval(&pair[1])?;
        match operator {
            Operator::Equal => self.equal(&left, &right).map(Value::Bool),
            Operator::NotEqual => self.equal(&left, &right).map(|equal| Value::Bool(!equal)),
            Operator::Less => self.compare(&left, &right, Ordering::is_lt),
            Operator::LessOrEqual => self.compare(&left, &right, Ordering::is_le),
            Operator::Greater => self.compare(&left, &right, Ordering::is_gt),
            Operator::GreaterOrEqual => self.compare(&left, &right, Ordering::is_ge),
            Operator::In => self.is_in(&left, &right),
            Operator::Add => self.add(left, right),
            Operator::Subtract => (left - right).map_err(arithmetic),
            Operator::Multiply => (left * right).map_err(arithmetic),
            Operator::Divide => (left / right).map_err(arithmetic),
            Operator::Modulo => (left % right).map_err(arithmetic),
        }
    }

    fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, Failure> {
        match (left, right) {
            (Value::String(left), Value::String(right)) if left.len() == right.len() => {
                self.meter.spend_bytes(left.len())?;
            }
            (Value::List(left), Value::List(right)) if left.len() != right.len() => return Ok(false),
            (Value::Map(left), Value::Map(right)) if left.map.len() != right.map.len() => return Ok(false),
            (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) | (Value::Opaque(_), _) => {
                self.meter.spend_value(left)?;
            }
            _ => {}
        }
        Ok(left == right)
    }

    fn compare(&mut self, left: &Value, right: &Value, holds: fn(Ordering) -> bool) -> Evaluated {
        if let (Value::String(left), Value::String(right)) = (left, right) {
            self.meter.spend_bytes(left.len().min(right.len()))?;
        }
        match left.partial_cmp(right) {
            Some(order) => Ok(Value::Bool(holds(order))),
            // not a number
            None if is_number(left) && is_number(right) => Ok(Value::Bool(false)),
            None => Err(no_such_overload()),
        }
    }

    fn is_in(&mut self, item: &Value, container: &Value) -> Evaluated {
        match container {
            Value::List(items) => {
                for other in items.iter() {
                    self.meter.spend(1)?;
                    if self.equal(item, other)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(map) => match map_key(item) {
                Some(key) => Ok(Value::Bool(map.get(&key).is_some())),
                None => Err(no_such_overload()),
            },
            _ => Err(no_such_overload()),
        }
    }

    fn add(&mut self, left: Value, right: Value) -> Evaluated {
        match (&left, &right) {
            (Value::String(left), Value::String(right)) => self.meter.spend_bytes(left.len() + right.len())?,
            (Value::List(left), Value::List(right)) => self.meter.spend((left.len() + right.len()) as u64)?,
            (Value::Bytes(left), Value::Bytes(right)) => {
                self.meter.spend_bytes(left.len() + right.len())?;
                return Ok(Value::Bytes(Arc::new([left.as_slice(), right.as_slice()].concat())));
            }
            _ => {}
        }
        (left + right).map_err(arithmetic)
    }

    fn list(&mut self, elements: &[Element]) -> Evaluated {
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            items.extend(self.element(element)?);
        }
        Ok(Value::List(Arc::new(items)))
    }

    fn map(&mut self, entries: &[(Expr, Element)]) -> Evaluated {
        let mut map = HashMap::with_capacity(entries.len());
        for (key, value) in entries {
            let key = map_key(&self.eval(key)?).ok_or_else(|| Failure::Error("unsupported key type".to_owned()))?;
            if let Some(value) = self.element(value)? {
                insert_new(&mut map, key, value)?;
            }
        }
        Ok(Value::Map(Map { map: Arc::new(map) }))
    }

    fn element(&mut self, element: &Element) -> Result<Option<Value>, Failure> {
        let value = self.eval(&element.value)?;
        if !element.optional {
            return Ok(Some(value));
        }
        match as_optional(&value) {
            Some(inner) => Ok(inner.cloned()),
            None => Err(no_such_overload()),
        }
    }

    fn call(&mut self, name: &str, target: Option<&Expr>, arguments: &[Expr]) -> Evaluated {
        let target = target.map(|target| self.eval(target)).transpose()?;
        // the other value of an optional is only evaluated when it is needed
        if let (Some(target), "or" | "orValue", [_]) = (&target, name, arguments)
            && let Some(Some(value)) = as_optional(target)
        {
            return Ok(if name == "or" { target.clone() } else { value.clone() });
        }
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.eval(argument)?);
        }
        library::call(name, target, values, self.meter)
    }
}

pub(super) fn insert_new(map: &mut HashMap<Key, Value>, key: Key, value: Value) -> Result<(), Failure> {
    match map.entry(key) {
        std::collections::hash_map::Entry::Vacant(entry) => {
            entry.insert(value);
            Ok(())
        }
        std::collections::hash_map::Entry::Occupied(entry) => {
            Err(Failure::Error(format!("insert failed: key {} already exists", printed(entry.key()))))
        }
    }
}

pub(super) fn key_value(key: &Key) -> Value {
    match key {
        Key::Int(value) => Value::Int(*value),
        Key::Uint(value) => Value::UInt(*value),
        Key::Bool(value) => Value::Bool(*value),
        Key::String(value) => Value::String(value.clone()),
    }
}

pub(super) fn map_key(value: &Value) -> Option<Key> {
    match value {
        Value::Int(value) => Some(Key::Int(*value)),
        Value::UInt(value) => Some(Key::Uint(*value)),
        Value::Bool(value) => Some(Key::Bool(*value)),
        Value::String(value) => Some(Key::String(value.clone())),
        Value::Float(value) if value.fract() == 0.0 => Some(Key::Int(*value as i64)),
        _ => None,
    }
}

fn printed(key: &Key) -> String {
    match key {
        Key::Int(value) => value.to_string(),
        Key::Uint(value) => value.to_string(),
        Key::Bool(value) => value.to_string(),
        Key::String(value) => value.as_str().to_owned(),
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::UInt(_) | Value::Float(_))
}
