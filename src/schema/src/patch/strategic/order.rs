//! The order of a merged list: the patch's (or `$setElementOrder`'s) for what it names, the server's for the rest, the
//! rest standing where it stood before relative to what was there.

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
    let deletes =
        |item: &Value| changes.iter().any(|c| c.get(PATCH).is_some_and(|d| d == "delete") && same(c, item, Some(key)));
    let mut places: Vec<Value> = before.iter().filter(|item| !deletes(item)).cloned().collect();
    let room = before.len() - places.len();
    let new = changes.iter().filter(|c| c.get(PATCH).is_none() && !places.iter().any(|p| same(p, c, Some(key))));
    let new: Vec<Value> = new.take(room).cloned().collect();
    places.extend(new);
    places
}

/// The patch's items have to come in the order that the directive gives.
fn check_order(changes: &[Value], order: &[Value], field: &Field<'_>) -> Result<(), PatchError> {
    if order.is_empty() || changes.is_empty() {
        return Ok(());
    }
    let mut left = order.iter();
    for change in changes.iter().filter(|c| c.get(PATCH).is_none()) {
        if !left.any(|o| same(o, change, field.merge_key())) {
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
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item, key));
    let (mut named, mut rest): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(wanted, item).is_some());
    named.sort_by_key(|item| place(wanted, item).unwrap_or(usize::MAX));
    rest.sort_by_key(|item| place(before, item).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + rest.len());
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    loop {
        let take_rest = match (named.peek(), rest.peek()) {
            (None, None) => return out,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(named), Some(rest)) => {
                matches!((place(before, rest), place(before, named)), (Some(r), Some(n)) if r < n)
            }
        };
        out.extend(if take_rest { rest.next() } else { named.next() });
    }
}

fn same(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    }
}
