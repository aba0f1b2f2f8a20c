//! Whole numbers, also where they were written with a fraction: to a schema `2.0` is an integer, and so is whatever differs
//! from one by less than a billionth.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Number;

/// The largest number up to which every whole number is also a float: what goes through a float64 stays exact.
pub(crate) const LARGEST: i64 = (1 << 53) - 1;

/// A field that must be there.
pub(crate) fn required<'de, D: Deserializer<'de>, T: TryFrom<i64>>(deserializer: D) -> Result<T, D::Error> {
    let number = Number::deserialize(deserializer)?;
    from(&number).ok_or_else(|| D::Error::custom(format_args!("{number} is not a whole number that fits here")))
}

/// A field that may be left out; with `#[serde(default)]`.
pub(crate) fn optional<'de, D: Deserializer<'de>, T: TryFrom<i64>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let whole = from(&number);
    whole.map(Some).ok_or_else(|| D::Error::custom(format_args!("{number} is not a whole number that fits here")))
}

fn from<T: TryFrom<i64>>(number: &Number) -> Option<T> {
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.abs() <= LARGEST as f64)?;
        Some(float.round() as i64)
    })?;
    T::try_from(whole).ok()
}
