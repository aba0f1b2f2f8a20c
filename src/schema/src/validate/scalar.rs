//! Strings and numbers: length, pattern, bounds.

use serde_json::Number;

use super::{Outcome, Walk};
use crate::error::FieldError;
use crate::go;
use crate::structural::Node;

impl Walk<'_> {
    pub(super) fn string(&self, text: &str, node: &Node, outcome: &mut Outcome) {
        outcome.matches += 1;
        let checks = &node.checks;
        if checks.max_length.is_none() && checks.min_length.is_none() && checks.pattern.is_none() {
            return;
        }
        let length = text.chars().count() as u64;
        // one error a string: the first of these that fails
        if let Some(max) = checks.max_length.filter(|max| length > *max) {
            outcome.errors.push(FieldError::too_long(self.path.as_str(), max));
        } else if let Some(min) = checks.min_length.filter(|min| length < *min) {
            outcome.errors.push(self.invalid(text, &format!("should be at least {min} chars long")));
        } else if let Some(pattern) = checks.pattern.as_ref().filter(|p| !p.regex.is_match(text)) {
            outcome.errors.push(self.invalid(text, &format!("should match '{}'", pattern.source)));
        }
    }

    pub(super) fn number(&self, number: &Number, node: &Node, outcome: &mut Outcome) {
        outcome.matches += 2;
        let checks = &node.checks;
        let print = |bound: &Number| if number.is_f64() { print_as_float(bound) } else { print_as_whole(bound) };
        if let Some(factor) = checks.multiple_of.as_ref().filter(|f| !is_multiple(number, f)) {
            outcome.errors.push(self.invalid(number.clone(), &format!("should be a multiple of {}", print(factor))));
        }
        if let Some(max) = &checks.maximum {
            let order = compare(number, &max.value);
            if order.is_gt() || (max.exclusive && order.is_eq()) {
                let relation = if max.exclusive { "less than" } else { "less than or equal to" };
                outcome
                    .errors
                    .push(self.invalid(number.clone(), &format!("should be {relation} {}", print(&max.value))));
            }
        }
        if let Some(min) = &checks.minimum {
            let order = compare(number, &min.value);
            if order.is_lt() || (min.exclusive && order.is_eq()) {
                let relation = if min.exclusive { "greater than" } else { "greater than or equal to" };
                outcome
                    .errors
                    .push(self.invalid(number.clone(), &format!("should be {relation} {}", print(&min.value))));
            }
        }
    }
}

fn compare(a: &Number, b: &Number) -> std::cmp::Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
    }
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    match (number.as_i64(), factor.as_i64()) {
        (Some(number), Some(factor)) => factor != 0 && number % factor == 0,
        _ => {
            let quotient = number.as_f64().unwrap_or_default() / factor.as_f64().unwrap_or(1.0);
            (quotient - quotient.round()).abs() <= 1e-9 * quotient.abs().max(1.0)
        }
    }
}

fn print_as_float(bound: &Number) -> String {
    go::print_float(bound.as_f64().unwrap_or_default())
}

fn print_as_whole(bound: &Number) -> String {
    match bound.as_f64() {
        Some(float) if bound.is_f64() && float.fract() == 0.0 => format!("{float:.0}"),
        _ => go::print_number(bound),
    }
}
