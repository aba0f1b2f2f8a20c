//! The walk that evaluates rules at every level, with the old value beside where there is one.

use std::sync::LazyLock;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::value::{resource_to_cel, to_cel};
use super::{MAX_STEPS, Rule, steps};
use crate::correlate::Correlated;
use crate::error::FieldError;
use crate::path::FieldPath;
use crate::structural::{Node, NodeId, Structural, Types};

/// All functions, registered once; every evaluation is a scope below.
static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());
static OPTIONAL_OF: LazyLock<Program> =
    LazyLock::new(|| Program::compile("optional.of(v)").expect("a constant that parses"));
static OPTIONAL_NONE: LazyLock<Program> =
    LazyLock::new(|| Program::compile("optional.none()").expect("a constant that parses"));

const MAX_MESSAGE_BYTES: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Structural {
    /// The findings of all CEL rules for `object`, which must have passed [`validate`](Self::validate) without errors
    /// of type. `old` is the object before, for transition rules and ratcheting.
    pub fn evaluate_rules(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        if self.has_deep_rules {
            return super::on_big_stack(|| self.rules_at(self.root, object, old));
        }
        self.rules_at(self.root, object, old)
    }

    pub(crate) fn rules_at(&self, id: NodeId, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut walk =
            Walk { schema: self, path: FieldPath::default(), budget: MAX_STEPS, spent: false, errors: Vec::new() };
        let near = Near::root(old.map(|old| Correlated { schema: self, id, new: object, old }));
        walk.value(object, id, old, near);
        walk.errors
    }
}

struct Walk<'s> {
    schema: &'s Structural,
    path: FieldPath,
    budget: u64,
    spent: bool,
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

    fn is_unchanged(&self) -> bool {
        self.here.or(self.nearest).is_some_and(|c| c.is_unchanged())
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
        let largest = steps::largest(value).max(old.map_or(0, steps::largest));
        let convert = |value: &Value| {
            if id == self.schema.root || node.embedded {
                resource_to_cel(self.schema, id, value)
            } else {
                to_cel(self.schema, Some(id), value)
            }
        };
        let mut scope = FUNCTIONS.new_inner_scope();
        scope.add_variable_from_value("self", convert(value));
        let needs_old = node.rules.iter().any(|r| r.uses_old_self);
        let old_cel = old.filter(|_| needs_old).map(convert);
        if let Some(old) = &old_cel {
            scope.add_variable_from_value("oldSelf", old.clone());
        }
        for rule in &node.rules {
            if rule.uses_old_self && old.is_none() && !rule.optional_old_self {
                continue;
            }
            let cost = rule.steps.steps(largest);
            if cost > self.budget {
                self.spent = true;
                self.errors.push(FieldError::invalid(self.path.as_str(), type_name(node), OUT_OF_BUDGET));
                return;
            }
            self.budget -= cost;
            let optional;
            let scope = if rule.optional_old_self {
                let mut inner = scope.new_inner_scope();
                inner.add_variable_from_value("oldSelf", as_optional(old_cel.clone()));
                optional = inner;
                &optional
            } else {
                &scope
            };
            if let Some(error) = self.one(rule, node, value, scope)
                && (rule.uses_old_self || !near.is_unchanged())
            {
                self.errors.push(error);
            }
        }
    }

    fn one(&self, rule: &Rule, node: &Node, value: &Value, scope: &Context<'_>) -> Option<FieldError> {
        let said = if rule.message.is_empty() { &rule.source } else { &rule.message };
        match rule.program.execute(scope) {
            Ok(Cel::Bool(true)) => None,
            Ok(Cel::Bool(false)) => {
                let detail = message(rule, scope);
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
                let mut text = error.to_string();
                text[..1].make_ascii_lowercase();
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
}

/// The rule's own words: `messageExpression` if it gives a line of text, else `message`, else the rule.
fn message(rule: &Rule, scope: &Context<'_>) -> String {
    if let Some(program) = &rule.message_program
        && let Ok(Cel::String(text)) = program.execute(scope)
    {
        let text = text.trim();
        if !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains(['\n', '\r']) {
            return text.to_owned();
        }
    }
    if rule.message.is_empty() { format!("failed rule: {}", rule.source) } else { rule.message.clone() }
}

fn as_optional(value: Option<Cel>) -> Cel {
    let mut scope = FUNCTIONS.new_inner_scope();
    let program = match value {
        Some(value) => {
            scope.add_variable_from_value("v", value);
            &OPTIONAL_OF
        }
        None => &OPTIONAL_NONE,
    };
    program.execute(&scope).unwrap_or(Cel::Null)
}

fn type_name(node: &Node) -> String {
    if node.int_or_string { String::new() } else { node.types.names() }
}
