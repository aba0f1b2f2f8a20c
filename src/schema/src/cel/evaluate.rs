//! The walk that evaluates rules at every level, with the old value beside where there is one.

use std::collections::HashMap;

use kube_cel::cel::Value as Cel;
use serde_json::Value;

use super::interpret;
use super::meter::{Failure, Meter, none, some};
use super::value::{resource_to_cel, to_cel};
use super::{MAX_COST, MAX_RULE_COST, Rule};
use crate::correlate::Correlated;
use crate::error::FieldError;
use crate::path::FieldPath;
use crate::structural::{Node, NodeId, Structural, Types};

const MAX_MESSAGE_BYTES: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Structural {
    /// The findings of all CEL rules for `object`, which must have passed [`validate`](Self::validate) without errors
    /// of type. `old` is the object before, for transition rules and ratcheting.
    pub fn evaluate_rules(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        self.rules_at(self.root, object, old)
    }

    pub(crate) fn rules_at(&self, id: NodeId, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        self.rules_within(id, object, old, &mut Meter { left: MAX_COST })
    }

    pub(super) fn rules_within(
        &self,
        id: NodeId,
        object: &Value,
        old: Option<&Value>,
        meter: &mut Meter,
    ) -> Vec<FieldError> {
        let mut walk = Walk {
            schema: self,
            path: FieldPath::default(),
            meter,
            spent: false,
            unchanged: HashMap::new(),
            errors: Vec::new(),
        };
        let near = Near::root(old.map(|old| Correlated { schema: self, id, new: object, old }));
        walk.value(object, id, old, near);
        walk.errors
    }
}

/// After this many errors the rest of an object is not looked at.
const MAX_ERRORS: usize = 1_000;

struct Walk<'s> {
    schema: &'s Structural,
    path: FieldPath,
    meter: &'s mut Meter,
    /// The budget is used up, or there are errors enough.
    spent: bool,
    /// Whether a place is as it was before, by the address of its value: many rules may ask for the same place.
    unchanged: HashMap<*const Value, bool>,
    errors: Vec<FieldError>,
}

/// Where to look whether anything changed: here, or if this place has no counterpart, where it last had one.
#[derive(Clone, Copy)]
struct Near<'v> {
    here: Option<Correlated<'v>>,
    nearest: Option<Correlated<'v>>,
}

impl<'v> Near<'v> {
    fn root(here: Option<Correlated<'v>>) -> Self {
        Self { here, nearest: here }
    }

    fn step(self, step: impl FnOnce(Correlated<'v>) -> Option<Correlated<'v>>) -> Self {
        match self.here {
            Some(here) => Self { here: step(here), nearest: Some(here) },
            None => self,
        }
    }
}

impl Walk<'_> {
    fn value<'v>(&mut self, value: &'v Value, id: NodeId, old: Option<&'v Value>, near: Near<'v>) {
        let node = self.schema.node(id);
        if !node.rules_below || value.is_null() || self.spent {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        if !node.rules.is_empty() {
            self.rules(value, id, old, near);
        }
        match value {
            Value::Object(map) => {
                for (name, child) in map {
                    let Some(id) = self.schema.child(node, name) else { continue };
                    let mark =
                        if node.properties.contains_key(name) { self.path.field(name) } else { self.path.key(name) };
                    // an atomic map is replaced whole: what is in it has no before
                    let before = old.filter(|_| !node.atomic_map).and_then(|old| old.get(name));
                    self.value(child, id, before, near.step(|here| here.field(name)));
                    self.path.reset(mark);
                }
            }
            Value::Array(items) => {
                let Some(below) = node.items else { return };
                let lists = old.map(|old| Correlated { schema: self.schema, id, new: value, old }.items());
                let near_lists = near.here.map(|here| here.items());
                for (i, item) in items.iter().enumerate() {
                    let mark = self.path.index(i);
                    let before = lists.as_ref().and_then(|lists| lists.get(item)).map(|item| item.old);
                    let near = near.step(|_| near_lists.as_ref().and_then(|lists| lists.get(item)));
                    self.value(item, below, before, near);
                    self.path.reset(mark);
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, value: &Value, id: NodeId, old: Option<&Value>, near: Near<'_>) {
        let node = self.schema.node(id);
        let convert = |value: &Value| {
            if id == self.schema.root || node.embedded {
                resource_to_cel(self.schema, id, value)
            } else {
                to_cel(self.schema, Some(id), value)
            }
        };
        let this = convert(value);
        let needs_old = node.rules.iter().any(|rule| rule.uses_old_self);
        let old = old.filter(|_| needs_old).map(convert);
        for rule in &node.rules {
            let before = match (&old, rule.optional_old_self) {
                (Some(old), true) => some(old.clone()),
                (None, true) => none(),
                (Some(old), false) => old.clone(),
                (None, false) if rule.uses_old_self => continue,
                (None, false) => Cel::Null,
            };
            let error = self.one(rule, node, value, &this, &before);
            if self.meter.left == 0 {
                self.spent = true;
                self.errors.push(FieldError::invalid(self.path.as_str(), type_name(node), OUT_OF_BUDGET));
                return;
            }
            if let Some(error) = error
                && (rule.uses_old_self || !self.is_unchanged(near))
            {
                self.errors.push(error);
                self.spent = self.errors.len() >= MAX_ERRORS;
            }
        }
    }

    fn is_unchanged(&mut self, near: Near<'_>) -> bool {
        let Some(place) = near.here.or(near.nearest) else { return false };
        *self.unchanged.entry(std::ptr::from_ref(place.new)).or_insert_with(|| place.is_unchanged())
    }

    /// Runs one expression on a part of the budget.
    fn run(&mut self, program: &super::expr::Program, this: &Cel, old: &Cel) -> Result<Cel, Failure> {
        let given = self.meter.left.min(MAX_RULE_COST);
        let mut meter = Meter { left: given };
        let result = interpret::run(program, this.clone(), old.clone(), &mut meter);
        self.meter.left -= given - meter.left;
        result
    }

    fn one(&mut self, rule: &Rule, node: &Node, value: &Value, this: &Cel, old: &Cel) -> Option<FieldError> {
        let said = if rule.message.is_empty() { &rule.source } else { &rule.message };
        match self.run(&rule.program, this, old) {
            Ok(Cel::Bool(true)) => None,
            Ok(Cel::Bool(false)) => {
                let detail = self.message(rule, this, old);
                let at = format!("{}{}", self.path.as_str(), rule.field_path);
                let at = at.strip_prefix('.').unwrap_or(&at);
                let error = FieldError::new(rule.reason, at, value.clone(), detail);
                let is_container = node.types.has(Types::OBJECT) || node.types.has(Types::ARRAY);
                Some(if is_container { error.without_value() } else { error })
            }
            Ok(_) => {
                let detail = format!("must evaluate to a bool evaluating rule: {said}");
                Some(FieldError::invalid(self.path.as_str(), type_name(node), detail))
            }
            Err(error) => {
                let text = error.to_string();
                let detail = if text.starts_with("no such overload") {
                    format!(
                        "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {said}"
                    )
                } else {
                    format!("{text} evaluating rule: {said}")
                };
                Some(FieldError::invalid(self.path.as_str(), type_name(node), detail))
            }
        }
    }

    /// The rule's own words: `messageExpression` if it gives a line of text, else `message`, else the rule.
    fn message(&mut self, rule: &Rule, this: &Cel, old: &Cel) -> String {
        if let Some(program) = &rule.message_program
            && let Ok(Cel::String(text)) = self.run(program, this, old)
        {
            let text = text.trim();
            if !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains(['\n', '\r']) {
                return text.to_owned();
            }
        }
        if rule.message.is_empty() { format!("failed rule: {}", rule.source) } else { rule.message.clone() }
    }
}

fn type_name(node: &Node) -> String {
    if node.int_or_string { String::new() } else { node.types.names() }
}
