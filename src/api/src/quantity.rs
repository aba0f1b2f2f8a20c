//! Amounts as Kubernetes writes them: `2`, `512Mi`, `10Gi`, `1.5G`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use crate::whole::LARGEST;

/// Fewer digits before a larger unit, so that what is written fits into 63 bits of bytes.
const PATTERN: &str = r"^([0-9]{1,15}(\.[0-9]{1,9})?(k|Ki)?|[0-9]{1,12}(\.[0-9]{1,9})?(M|Mi)|[0-9]{1,9}(\.[0-9]{1,9})?(G|Gi)|[0-9]{1,6}(\.[0-9]{1,9})?(T|Ti)|[0-9]{1,3}(\.[0-9]{1,9})?(P|Pi))$";
/// Digits of a fraction that are looked at one by one.
const MOST_DIGITS: usize = 12;

/// Why an amount cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("{text:?} is not an amount such as 512Mi, 10Gi or 1.5G")]
    Malformed { text: String },
    #[error("{text:?} is larger than any machine")]
    TooLarge { text: String },
}

/// An amount of bytes, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl Quantity {
    /// Writes a whole number of bytes, in the largest binary unit that divides it.
    pub fn from_bytes(bytes: u64) -> Self {
        for (suffix, unit) in [("Ti", 1u64 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
            if bytes >= unit && bytes.is_multiple_of(unit) {
                return Self(format!("{}{suffix}", bytes / unit));
            }
        }
        Self(bytes.to_string())
    }

    /// The amount in bytes, a fraction of a byte rounded up.
    pub fn bytes(&self) -> Result<u64, QuantityError> {
        let malformed = || QuantityError::Malformed { text: self.0.clone() };
        let digits = self.0.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.0.len());
        let (number, suffix) = self.0.split_at(digits);
        let unit: u128 = match suffix {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "P" => 1_000_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            "Pi" => 1 << 50,
            _ => return Err(malformed()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') {
            return Err(malformed());
        }
        // Beyond what a unit divides into nothing but "a little more" is left: it is rounded up all the same.
        let (fraction, rest) = fraction.split_at_checked(MOST_DIGITS).unwrap_or((fraction, ""));
        let rest = u128::from(rest.bytes().any(|digit| digit != b'0'));
        let scale = 10u128.pow(fraction.len() as u32);
        let whole: u128 = whole.parse().map_err(|_| malformed())?;
        let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| malformed())? };
        let part = part + rest;
        let too_large = || QuantityError::TooLarge { text: self.0.clone() };
        let scaled = whole.checked_mul(scale).and_then(|n| n.checked_add(part)).ok_or_else(too_large)?;
        let bytes = scaled.checked_mul(unit).ok_or_else(too_large)?.div_ceil(scale);
        u64::try_from(bytes).map_err(|_| too_large())
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(number_or_text(deserializer)?))
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": LARGEST,
            "maxLength": 24,
            "pattern": PATTERN,
        })
    }
}

/// A whole number of virtual CPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CpuCount(pub String);

impl CpuCount {
    /// The number of CPUs, 1 or more.
    pub fn count(&self) -> Result<u32, QuantityError> {
        match self.0.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(QuantityError::Malformed { text: self.0.clone() }),
        }
    }
}

impl std::fmt::Display for CpuCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<u32> for CpuCount {
    fn from(count: u32) -> Self {
        Self(count.to_string())
    }
}

impl<'de> Deserialize<'de> for CpuCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(number_or_text(deserializer)?))
    }
}

impl JsonSchema for CpuCount {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "CpuCount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": 1024,
            "maxLength": 4,
            "pattern": "^[1-9][0-9]{0,3}$",
        })
    }
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(serde_json::Number),
        Text(String),
    }
    Ok(match Either::deserialize(deserializer)? {
        // Of a float, Rust prints all digits and no exponent: 2 for 2.0.
        Either::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        Either::Text(text) => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in
            [("512", 512), ("1k", 1000), ("2Gi", 2 << 30), ("1.5Gi", 3 << 29), ("0.1Ki", 103), ("10G", 10_000_000_000)]
        {
            assert_eq!(Quantity(text.into()).bytes(), Ok(bytes), "{text}");
        }
        assert_eq!(Quantity("16777216.0010000000000001".into()).bytes(), Ok(16_777_217));
        assert_eq!(Quantity("1.00000000000000000001".into()).bytes(), Ok(2));
        for text in ["", "Gi", "1.2.3", "-1", "1e3", "10 Gi", ".5Gi"] {
            assert!(Quantity(text.into()).bytes().is_err(), "{text}");
        }
        assert!(matches!(Quantity("99999999999999999Pi".into()).bytes(), Err(QuantityError::TooLarge { .. })));
    }

    #[test]
    fn bytes_are_written_in_the_largest_whole_unit() {
        assert_eq!(Quantity::from_bytes(10 << 30).0, "10Gi");
        assert_eq!(Quantity::from_bytes(1536 << 20).0, "1536Mi");
        assert_eq!(Quantity::from_bytes(1000).0, "1000");
    }

    #[test]
    fn numbers_and_text_are_both_read() {
        assert_eq!(serde_json::from_str::<CpuCount>("2").unwrap().count(), Ok(2));
        assert_eq!(serde_json::from_str::<CpuCount>("\"2\"").unwrap().count(), Ok(2));
        assert_eq!(serde_json::from_str::<CpuCount>("2.0").unwrap().count(), Ok(2));
        assert!(serde_json::from_str::<CpuCount>("2.0000000001").unwrap().count().is_err());
        assert_eq!(serde_json::from_str::<Quantity>("16777216.001").unwrap().bytes(), Ok(16_777_217));
        assert_eq!(serde_json::from_str::<Quantity>("1e12").unwrap().bytes(), Ok(1_000_000_000_000));
        assert!(CpuCount("0".into()).count().is_err());
    }
}
