//! What an expression gives, or why not, and what may still be spent on it.

use std::fmt;
use std::sync::Arc;

use kube_cel::cel::objects::{Key, OptionalValue};
use kube_cel::cel::{ExecutionError, Value};

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// The budget is used up; no operator may hide this.
    Cost,
    /// As CEL words it: `no such key: a`.
    Error(String),
}

pub(super) type Evaluated = Result<Value, Failure>;

pub(super) fn no_such_overload() -> Failure {
    Failure::Error("no such overload".to_owned())
}

/// What may still be spent.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) left: u64,
}

impl Meter {
    pub(super) fn spend(&mut self, cost: u64) -> Result<(), Failure> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Failure::Cost)
            }
        }
    }

    /// Pays for reading text.
    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), Failure> {
        self.spend(bytes as u64 / 10)
    }

    /// Pays for everything that a value holds.
    pub(super) fn spend_value(&mut self, value: &Value) -> Result<(), Failure> {
        self.spend(1)?;
        match value {
            Value::String(text) => self.spend_bytes(text.len()),
            Value::Bytes(bytes) => self.spend_bytes(bytes.len()),
            Value::List(items) => items.iter().try_for_each(|item| self.spend_value(item)),
            Value::Map(map) => map.map.iter().try_for_each(|(key, value)| {
                if let Key::String(key) = key {
                    self.spend_bytes(key.len())?;
                }
                self.spend_value(value)
            }),
            Value::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>().and_then(OptionalValue::value) {
                Some(value) => self.spend_value(value),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// What an optional value holds; `None` if this is none.
pub(super) fn as_optional(value: &Value) -> Option<Option<&Value>> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<OptionalValue>().map(OptionalValue::value),
        _ => None,
    }
}

pub(super) fn some(value: Value) -> Value {
    Value::Opaque(Arc::new(OptionalValue::of(value)))
}

pub(super) fn none() -> Value {
    Value::Opaque(Arc::new(OptionalValue::none()))
}

pub(super) fn overflow() -> Failure {
    Failure::Error("integer overflow".to_owned())
}

/// An error of the `cel` crate in the words of Kubernetes.
pub(super) fn arithmetic(error: ExecutionError) -> Failure {
    match error {
        ExecutionError::Overflow(..) => overflow(),
        ExecutionError::DivisionByZero(_) => Failure::Error("division by zero".to_owned()),
        ExecutionError::RemainderByZero(_) => Failure::Error("modulus by zero".to_owned()),
        _ => no_such_overload(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cost => f.write_str("operation cancelled: actual cost limit exceeded"),
            Self::Error(text) => f.write_str(text),
        }
    }
}
