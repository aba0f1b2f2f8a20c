//! Validation against the schema: every error at once, in the words of kube-apiserver.
//!
//! Two things are kept although they look odd, because clients see them: a junctor's own error belongs to no field
//! (`<nil>`), and of several failed branches only the one that matched most is explained. `matches` counts that the way
//! the validator behind Kubernetes does.
//!
//! The work for one object is bounded by [`MAX_STEPS`], and what is reported by [`MAX_ERRORS`] and [`MAX_TEXT`].

mod object;
mod scalar;

use serde_json::Value;

use crate::correlate::Correlated;
use crate::error::{ErrorKind, FieldError};
use crate::format;
use crate::path::FieldPath;
use crate::structural::{Junctors, Node, NodeId, Structural, Types};
use crate::{embedded, listtype};

/// As many pairs of a value and a schema node as the validation of one object may visit.
const MAX_STEPS: usize = 20_000_000;
/// After this many errors the rest of an object is not looked at.
const MAX_ERRORS: usize = 1_000;
/// Nor after errors with this many bytes of allowed values.
const MAX_TEXT: usize = 4 << 20;

impl Structural {
    /// Everything that is wrong with a new object, but for CEL rules.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_schema(object, None);
        errors.extend(embedded::validate(self, object));
        errors.extend(listtype::validate(self, object));
        errors
    }

    /// As [`validate`](Self::validate), for a change of `old`: what was wrong before and did not change is accepted
    /// (ratcheting).
    pub fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_schema(object, Some(old));
        errors.extend(embedded::validate(self, object));
        let duplicates = listtype::validate(self, object);
        if !duplicates.is_empty() && listtype::validate(self, old).is_empty() {
            errors.extend(duplicates);
        }
        errors
    }

    /// The whole check of a write: schema, embedded resources, list keys, then CEL rules, which are skipped (and
    /// reported as skipped) when the object is too broken to evaluate them.
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = match old {
            Some(old) => self.validate_update(object, old),
            None => self.validate(object),
        };
        if !self.has_rules {
            return errors;
        }
        if errors.iter().any(blocks_rules) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid("", Value::Null, detail));
        } else {
            errors.extend(self.evaluate_rules(object, old));
        }
        errors
    }

    fn validate_schema(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let old = old.map(|old| Correlated { schema: self, id: self.root, new: object, old });
        let mut walk = Walk::new(self);
        let outcome = walk.value(object, self.root, old);
        walk.finish(outcome)
    }

    /// What is wrong with a value at `id`, with paths from there.
    pub(crate) fn validate_at(&self, id: NodeId, value: &Value) -> Vec<FieldError> {
        let mut walk = Walk::new(self);
        let outcome = walk.value(value, id, None);
        walk.finish(outcome)
    }
}

fn blocks_rules(error: &FieldError) -> bool {
    use ErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(error.kind, NotSupported | Required | TooLong | TooMany | TypeInvalid)
}

/// What one node found: its errors, and how many checks were met on the way.
#[derive(Default)]
struct Outcome {
    errors: Vec<FieldError>,
    matches: u32,
    /// Bytes of allowed values that the errors name.
    text: usize,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.errors.extend(other.errors);
        self.matches += other.matches;
        self.text += other.text;
    }

    fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS || self.text >= MAX_TEXT
    }
}

struct Walk<'s> {
    schema: &'s Structural,
    path: FieldPath,
    steps: usize,
}

impl<'s> Walk<'s> {
    fn new(schema: &'s Structural) -> Self {
        Self { schema, path: FieldPath::default(), steps: 0 }
    }

    fn finish(self, outcome: Outcome) -> Vec<FieldError> {
        let mut errors = outcome.errors;
        if self.steps > MAX_STEPS {
            let detail = format!("the object and its schema need more than {MAX_STEPS} steps to validate");
            errors.push(FieldError::new(ErrorKind::TooMany, "", Value::Null, detail).without_value());
        }
        errors
    }

    /// `old` is the same place in the object before, where it can be found.
    fn value<'v>(&mut self, value: &'v Value, id: NodeId, old: Option<Correlated<'v>>) -> Outcome {
        let outcome = self.unratcheted(value, id, old);
        match old {
            Some(old) if !outcome.errors.is_empty() && old.is_unchanged() => Outcome::default(),
            _ => outcome,
        }
    }

    fn unratcheted<'v>(&mut self, value: &'v Value, id: NodeId, old: Option<Correlated<'v>>) -> Outcome {
        let node = self.schema.node(id);
        let mut outcome = Outcome::default();
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return outcome;
        }
        if value.is_null() {
            if !node.types.is_empty() && !node.nullable {
                outcome.errors.push(self.type_error(&node.types.names(), "null"));
            } else {
                outcome.matches += 1;
            }
            self.enumeration(value, node, &mut outcome);
            return outcome;
        }
        if !node.types.is_empty() || !node.format.is_empty() {
            match self.type_mismatch(value, node) {
                Some(error) => outcome.errors.push(error),
                None => outcome.matches += 1,
            }
            outcome.matches += 1;
        }
        if let Some(junctors) = &node.junctors {
            let found = self.junctors(value, junctors);
            outcome.add(found);
        }
        outcome.matches += 2;
        match value {
            Value::String(text) => {
                self.string(text, node, &mut outcome);
                self.format(text, node, &mut outcome);
            }
            Value::Number(number) => self.number(number, node, &mut outcome),
            Value::Array(items) => self.array(items, node, old, &mut outcome),
            _ => {}
        }
        self.enumeration(value, node, &mut outcome);
        outcome.matches += 1;
        if let Value::Object(map) = value {
            self.object(map, node, old, &mut outcome);
        }
        outcome.matches += 1;
        outcome
    }

    fn type_mismatch(&self, value: &Value, node: &Node) -> Option<FieldError> {
        let (name, actual) = json_type(value);
        let is_whole = matches!(value, Value::Number(n) if n.as_f64().is_some_and(is_json_integer));
        let fits = node.types.has(actual)
            || (actual == Types::NUMBER && is_whole && node.types.has(Types::INTEGER))
            || (actual == Types::INTEGER && node.types.has(Types::NUMBER));
        if fits {
            return None;
        }
        let numeric = Types(Types::NUMBER.0 | Types::INTEGER.0);
        if !node.format.is_empty() && !node.types.has(numeric) {
            if matches!(value, Value::String(_) | Value::Array(_)) {
                return None;
            }
            let width = match (actual == Types::INTEGER, actual == Types::NUMBER) {
                (true, _) => "int64",
                (_, true) => "float64",
                _ => "",
            };
            return Some(self.type_error(&node.format, width));
        }
        Some(self.type_error(&node.types.names(), name))
    }

    /// `spec.a in body must be of type string: "integer"`, with what was found as the bad value.
    fn type_error(&self, wanted: &str, found: &str) -> FieldError {
        let detail = format!("{} in body must be of type {wanted}: {}", self.path.as_str(), crate::go::quote(found));
        FieldError::new(ErrorKind::TypeInvalid, self.path.as_str(), found, detail)
    }

    fn invalid(&self, bad: impl Into<Value>, detail: &str) -> FieldError {
        FieldError::invalid(self.path.as_str(), bad, format!("{} in body {detail}", self.path.as_str()))
    }

    fn enumeration(&mut self, value: &Value, node: &Node, outcome: &mut Outcome) {
        let allowed = &node.checks().enumeration;
        self.steps += allowed.len() / 16;
        if allowed.is_empty() || allowed.iter().any(|a| is_enumerated(a, value)) {
            return;
        }
        let texts: Vec<String> = allowed
            .iter()
            .map(|a| match a {
                Value::String(text) => text.clone(),
                other => crate::go::to_json(other),
            })
            .collect();
        outcome.text += texts.iter().map(String::len).sum::<usize>();
        outcome.errors.push(FieldError::not_supported(self.path.as_str(), value.clone(), &texts));
    }

    fn format(&self, text: &str, node: &Node, outcome: &mut Outcome) {
        if node.format.is_empty() {
            return;
        }
        outcome.matches += 1;
        if !format::is_valid(&node.format, text) {
            outcome.errors.push(self.type_error(&node.format, text));
        }
    }

    /// Nothing below a junctor is compared with the old object: only the node it is part of can be accepted.
    fn junctors(&mut self, value: &Value, junctors: &Junctors) -> Outcome {
        let mut all = Outcome::default();
        let at = crate::go::quote(self.path.as_str());
        let fail = |text: String| FieldError::invalid("", "", text);
        if !junctors.any_of.is_empty() {
            let (mut best, mut valid) = (None, None);
            for id in &junctors.any_of {
                let found = self.unratcheted(value, *id, None);
                if found.errors.is_empty() {
                    valid = Some(found);
                    break;
                }
                keep_best(&mut best, found);
            }
            if valid.is_none() {
                all.errors.push(fail(format!("{at} must validate at least one schema (anyOf)")));
            }
            if let Some(found) = valid.or(best) {
                all.add(found);
            }
        }
        if !junctors.one_of.is_empty() {
            let (mut best, mut first, mut valid) = (None, None, 0);
            for id in &junctors.one_of {
                let found = self.unratcheted(value, *id, None);
                if found.errors.is_empty() {
                    valid += 1;
                    best = None;
                    first.get_or_insert(found);
                } else if valid == 0 {
                    keep_best(&mut best, found);
                }
            }
            if valid == 1 {
                all.add(first.unwrap_or_default());
            } else {
                let found = if valid == 0 {
                    "Found none valid".to_owned()
                } else {
                    format!("Found {valid} valid alternatives")
                };
                all.errors.push(fail(format!("{at} must validate one and only one schema (oneOf). {found}")));
                all.add(best.unwrap_or_default());
            }
        }
        if !junctors.all_of.is_empty() {
            let mut valid = 0;
            for id in &junctors.all_of {
                let found = self.unratcheted(value, *id, None);
                valid += usize::from(found.errors.is_empty());
                all.add(found);
            }
            if valid != junctors.all_of.len() {
                let none = if valid == 0 { ". None validated" } else { "" };
                all.errors.push(fail(format!("{at} must validate all the schemas (allOf){none}")));
            }
        }
        if let Some(id) = junctors.not
            && self.unratcheted(value, id, None).errors.is_empty()
        {
            all.errors.push(fail(format!("{at} must not validate the schema (not)")));
        }
        all
    }
}

fn keep_best(best: &mut Option<Outcome>, found: Outcome) {
    if best.as_ref().is_none_or(|b| found.matches > b.matches) {
        *best = Some(found);
    }
}

fn json_type(value: &Value) -> (&'static str, Types) {
    match value {
        Value::Null => ("null", Types::default()),
        Value::Bool(_) => ("boolean", Types::BOOLEAN),
        Value::Number(n) if n.is_f64() => ("number", Types::NUMBER),
        Value::Number(_) => ("integer", Types::INTEGER),
        Value::String(_) => ("string", Types::STRING),
        Value::Array(_) => ("array", Types::ARRAY),
        Value::Object(_) => ("object", Types::OBJECT),
    }
}

/// Whether a float counts as a whole number: exactly, or by rounding error, up to 2^53.
fn is_json_integer(float: f64) -> bool {
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    if !(-LARGEST..=LARGEST).contains(&float) {
        return false;
    }
    let whole = float.trunc();
    float == whole || (whole != 0.0 && (float - whole).abs() / (float.abs() + whole.abs()) < 1e-9)
}

/// Whether a value is the enumerated one, converted to its type: a float is cut off to compare with an integer.
fn is_enumerated(allowed: &Value, value: &Value) -> bool {
    match (allowed, value) {
        (Value::Number(allowed), Value::Number(value)) => match (allowed.as_i64(), value.as_i64()) {
            (Some(allowed), None) => value.as_f64().is_some_and(|f| f.trunc() as i64 == allowed),
            (Some(allowed), Some(value)) => allowed == value,
            _ => allowed.as_f64() == value.as_f64(),
        },
        _ => allowed == value,
    }
}

#[cfg(test)]
mod tests;
