//! Strings and numbers: length, pattern, bounds.

use serde_json::Number;

use super::{Outcome, Walk};
use crate::error::FieldError;
use crate::go;
use crate::structural::Node;

impl Walk<'_> {
    pub(super) fn string(&self, text: &str, node: &Node, outcome: &mut Outcome) {
        outcome.matches += 1;
        let checks = node.checks();
        if checks.max_length.is_none() && checks.min_length.is_none() && checks.pattern.is_none() {
            return;
        }
        let length = text.chars().count() as u64;
        // one error a string: the first of these that fails
        if let Some(max) = checks.max_length.filter(|max| length > *max) {
            outcome.errors.push(FieldError::too_long(self.path.as_str(), max));
        } else if let Some(min) = checks.min_length.filter(|min| length < *min) {
            outcome.errors.push(self.invalid(text, &format!("should be at least {min} chars long")));
        } else if let Some(pattern) = checks.pattern.as_ref().filter(|p| !p.is_match(text)) {
            outcome.errors.push(self.invalid(text, &format!("should match '{}'", pattern.source)));
        }
    }

    pub(super) fn number(&self, number: &Number, node: &Node, outcome: &mut Outcome) {
        outcome.matches += 2;
        let checks = node.checks();
        let print = |bound: &Number| if number.is_f64() { print_as_float(bound) } else { cut_off(bound).to_string() };
        if let Some(factor) = &checks.multiple_of {
            if !is_positive(factor, number.is_f64()) {
                let at = self.path.as_str();
                let detail = format!("factor MultipleOf declared for {at} must be positive: {}", print(factor));
                let bad = if number.is_f64() { factor.clone() } else { cut_off(factor).into() };
                outcome.errors.push(FieldError::invalid(at, bad, detail));
            } else if !is_multiple(number, factor) {
                outcome
                    .errors
                    .push(self.invalid(number.clone(), &format!("should be a multiple of {}", print(factor))));
            }
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

/// An integer is compared with the bound cut off to an integer.
fn compare(number: &Number, bound: &Number) -> std::cmp::Ordering {
    match number.as_i64() {
        Some(whole) => whole.cmp(&cut_off(bound)),
        None => number.as_f64().unwrap_or_default().total_cmp(&bound.as_f64().unwrap_or_default()),
    }
}

fn cut_off(number: &Number) -> i64 {
    number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64)
}

fn is_positive(factor: &Number, as_float: bool) -> bool {
    if as_float { factor.as_f64().is_some_and(|f| f > 0.0) } else { cut_off(factor) > 0 }
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    match number.as_i64() {
        Some(whole) => whole % cut_off(factor) == 0,
        None => {
            let (number, factor) = (number.as_f64().unwrap_or_default(), factor.as_f64().unwrap_or(1.0));
            super::is_json_integer(if factor < 1.0 { 1.0 / factor * number } else { number / factor })
        }
    }
}

fn print_as_float(bound: &Number) -> String {
    go::print_float(bound.as_f64().unwrap_or_default())
}
