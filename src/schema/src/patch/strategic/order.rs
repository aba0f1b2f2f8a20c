//! The order of a merged list: the patch's (or `$setElementOrder`'s) for what it names, the server's for the rest, the
//! rest standing where it stood before relative to what was there.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Field, Merge, NodeId, ORDER, Object, PATCH, PatchError, bad, without_directives};

impl Merge<'_> {
    /// Handles every `$setElementOrder/<list>` of a patch together with its list, and takes both out of the patch.
    pub(super) fn ordered_lists(
        &self,
        original: &mut Object,
        patch: &mut Object,
        id: Option<NodeId>,
    ) -> Result<(), PatchError> {
        let names: Vec<String> = patch.keys().filter_map(|k| k.strip_prefix(ORDER)).map(str::to_owned).collect();
        for name in names {
            let Some(Value::Array(order)) = patch.remove(&format!("{ORDER}{name}")) else {
                return Err(bad("Invalid patch format of setElementOrder list"));
            };
            let field = self.field(id, &name);
            let list = |value: Option<Value>| match value {
                None => Ok(None),
                Some(Value::Array(items)) => Ok(Some(items)),
                Some(_) => Err(bad("Invalid patch format of setElementOrder list")),
            };
            let changes = list(patch.remove(&name))?;
            let before = list(original.get(&name).cloned())?;
            if let Some(changes) = &changes {
                check_order(changes, &order, &field)?;
            }
            let places = before.as_ref().map(|before| places(before, changes.as_deref().unwrap_or_default(), &field));
            let merged = match (before, changes) {
                (None, None) => continue,
                (Some(before), None) => before,
                (None, Some(changes)) => match without_directives(Value::Array(changes)) {
                    Some(Value::Array(items)) => items,
                    _ => continue,
                },
                (Some(before), Some(changes)) if field.has_strategy("merge") => self.list(before, changes, &field)?,
                (Some(_), Some(changes)) => changes,
            };
            let merged = ordered(merged, &order, &places.unwrap_or_default(), field.merge_key());
            original.insert(name, Value::Array(merged));
        }
        Ok(())
    }
}

/// The order from before that counts: what is deleted gives its room to what is new. (The Go library reuses the list's
/// memory; where it then puts an item is what every client has seen.)
fn places(before: &[Value], changes: &[Value], field: &Field<'_>) -> Vec<Value> {
    let Some(key) = field.merge_key() else { return before.to_vec() };
    let is_deletion = |change: &&Value| change.get(PATCH).is_some_and(|directive| directive == "delete");
    let deleted: HashSet<&Value> = changes.iter().filter(is_deletion).filter_map(|c| c.get(key)).collect();
    let is_deleted = |item: &&Value| item.get(key).is_some_and(|key| deleted.contains(key));
    let mut places: Vec<&Value> = before.iter().filter(|item| !is_deleted(item)).collect();
    let room = before.len() - places.len();
    let known: HashSet<&Value> = places.iter().filter_map(|item| item.get(key)).collect();
    let is_known = |change: &Value| change.get(key).is_some_and(|key| known.contains(key));
    places.extend(changes.iter().filter(|c| c.get(PATCH).is_none() && !is_known(c)).take(room));
    places.into_iter().cloned().collect()
}

/// The patch's items have to come in the order that the directive gives.
fn check_order(changes: &[Value], order: &[Value], field: &Field<'_>) -> Result<(), PatchError> {
    if order.is_empty() || changes.is_empty() {
        return Ok(());
    }
    let mut left = order.iter();
    for change in changes.iter().filter(|c| c.get(PATCH).is_none()) {
        let wanted = identity(change, field.merge_key());
        if !left.any(|item| wanted.is_some() && identity(item, field.merge_key()) == wanted) {
            return Err(PatchError::Unprocessable(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                Value::from(changes.to_vec()),
                Value::from(order.to_vec())
            )));
        }
    }
    Ok(())
}

/// Orders `merged`: items named in `wanted` by it, the others by `before`, interleaved by `before` where that is known.
pub(super) fn ordered(merged: Vec<Value>, wanted: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let (wanted, before) = (Positions::of(wanted, key), Positions::of(before, key));
    let mut named = Vec::new();
    let mut rest = Vec::new();
    for item in merged {
        let place = before.get(&item);
        match wanted.get(&item) {
            Some(order) => named.push((order, place, item)),
            None => rest.push((place.unwrap_or(usize::MAX), place, item)),
        }
    }
    named.sort_by_key(|(order, ..)| *order);
    rest.sort_by_key(|(order, ..)| *order);
    let mut out = Vec::with_capacity(named.len() + rest.len());
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    loop {
        let take_rest = match (named.peek(), rest.peek()) {
            (None, None) => return out,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some((_, named, _)), Some((_, rest, _))) => matches!((rest, named), (Some(r), Some(n)) if r < n),
        };
        let next = if take_rest { rest.next() } else { named.next() };
        out.extend(next.map(|(.., item)| item));
    }
}

/// The first position of each item of a list, found by key in constant time.
pub(super) struct Positions<'v> {
    first: HashMap<&'v Value, usize>,
    key: Option<&'v str>,
}

impl<'v> Positions<'v> {
    pub(super) fn of(list: &'v [Value], key: Option<&'v str>) -> Self {
        let mut first = HashMap::with_capacity(list.len());
        for (position, item) in list.iter().enumerate() {
            if let Some(identity) = identity(item, key) {
                first.entry(identity).or_insert(position);
            }
        }
        Self { first, key }
    }

    pub(super) fn get(&self, item: &Value) -> Option<usize> {
        self.first.get(identity(item, self.key)?).copied()
    }
}

/// What makes an item the same as another: its merge key, or in a list of scalars the item itself.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    crate::work::step();
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}
