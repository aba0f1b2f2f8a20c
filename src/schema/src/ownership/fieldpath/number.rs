//! Numbers as Kubernetes prints them, in keys of `fieldsV1` and in paths.

use std::fmt::{self, Formatter};

use serde_json::Number;

/// A number in its shortest form. A float that is a whole number is written as one; exponents have a sign and two digits.
pub(super) fn write_number(f: &mut Formatter<'_>, number: &Number) -> fmt::Result {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e21 => write!(f, "{float:.0}"),
        _ => {
            let text = number.to_string();
            let Some((digits, exponent)) = text.split_once('e') else { return f.write_str(&text) };
            let sign = if exponent.starts_with('-') { '-' } else { '+' };
            write!(f, "{digits}e{sign}{:0>2}", exponent.trim_start_matches(['+', '-']))
        }
    }
}
