//! The functions of rules: those that need other semantics or other costs than `kube-cel` has are here, the rest is
//! called there, paid for by the size of what goes in and what comes out.

use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt as _;
use kube_cel::cel::common::ast::{CallExpr, Expr as Parsed};
use kube_cel::cel::objects::{Key, Map, Opaque};
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value};
use regex::Regex;

use super::meter::{Evaluated, Failure, Meter, as_optional, no_such_overload, none, some};
use super::net::{self, Url};

/// The functions of `kube-cel`, registered once; every call is a scope below.
static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());

/// Roots of library functions (`math.abs`), which parse as if they were variables.
pub(super) const LIBRARIES: [&str; 9] =
    ["base64", "format", "ip", "jsonpatch", "lists", "math", "optional", "sets", "strings"];

/// Names of types, as values: `type(self.a) == string`.
pub(super) const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// Every function, sorted, with its library if it is called by it.
const NAMES: [&str; 131] = [
    "add",
    "asApproximateFloat",
    "asInteger",
    "base64.decode",
    "base64.encode",
    "bytes",
    "charAt",
    "cidr",
    "compareTo",
    "contains",
    "containsCIDR",
    "containsIP",
    "distinct",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "family",
    "find",
    "findAll",
    "first",
    "flatten",
    "format",
    "format.byte",
    "format.date",
    "format.datetime",
    "format.dns1035Label",
    "format.dns1035LabelPrefix",
    "format.dns1123Label",
    "format.dns1123LabelPrefix",
    "format.dns1123Subdomain",
    "format.dns1123SubdomainPrefix",
    "format.labelValue",
    "format.named",
    "format.qualifiedName",
    "format.uri",
    "format.uuid",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getEscapedPath",
    "getFullYear",
    "getHost",
    "getHostname",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getPort",
    "getQuery",
    "getScheme",
    "getSeconds",
    "hasValue",
    "indexOf",
    "int",
    "ip",
    "ip.isCanonical",
    "isCIDR",
    "isCanonical",
    "isGlobalUnicast",
    "isGreaterThan",
    "isIP",
    "isInteger",
    "isLessThan",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isLoopback",
    "isQuantity",
    "isSemver",
    "isSorted",
    "isURL",
    "isUnspecified",
    "join",
    "jsonpatch.escapeKey",
    "last",
    "lastIndexOf",
    "lists.range",
    "lowerAscii",
    "major",
    "masked",
    "matches",
    "math.abs",
    "math.bitAnd",
    "math.bitNot",
    "math.bitOr",
    "math.bitShiftLeft",
    "math.bitShiftRight",
    "math.bitXor",
    "math.ceil",
    "math.floor",
    "math.greatest",
    "math.isFinite",
    "math.isInf",
    "math.isNaN",
    "math.least",
    "math.round",
    "math.sign",
    "math.sqrt",
    "math.trunc",
    "max",
    "min",
    "minor",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "or",
    "orValue",
    "patch",
    "prefixLength",
    "quantity",
    "replace",
    "reverse",
    "semver",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "sign",
    "size",
    "slice",
    "sort",
    "split",
    "startsWith",
    "string",
    "strings.quote",
    "sub",
    "substring",
    "sum",
    "timestamp",
    "trim",
    "type",
];
const MORE_NAMES: [&str; 5] = ["uint", "upperAscii", "url", "validate", "value"];

/// Numbers in a format text, as `%.6f`, may not be larger.
const MAX_PRECISION: usize = 100;
/// Texts that are parsed as quantities may not be longer.
const MAX_QUANTITY_BYTES: usize = 256;

pub(super) fn has_function(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok() || MORE_NAMES.contains(&name)
}

/// A type as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Type(String);

impl Opaque for Type {
    fn runtime_type_name(&self) -> &'static str {
        "type"
    }
}

pub(super) fn type_value(name: &str) -> Value {
    Value::Opaque(Arc::new(Type(name.to_owned())))
}

fn type_of(value: &Value) -> Value {
    type_value(match value {
        Value::Bool(_) => "bool",
        Value::Bytes(_) => "bytes",
        Value::Float(_) => "double",
        Value::Duration(_) => "google.protobuf.Duration",
        Value::Timestamp(_) => "google.protobuf.Timestamp",
        Value::Int(_) => "int",
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Null => "null_type",
        Value::String(_) => "string",
        Value::UInt(_) => "uint",
        Value::Opaque(opaque) => opaque.runtime_type_name(),
        Value::Function(..) => "function",
    })
}

pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    crate::re2::compile(pattern).map_err(|error| crate::re2::explain(&error))
}

/// `text.matches(pattern)`; costs grow with both.
pub(super) fn matches(text: &Value, pattern: &str, regex: &Regex, meter: &mut Meter) -> Evaluated {
    let Value::String(text) = text else { return Err(no_such_overload()) };
    meter.spend((text.len() as u64 / 10 + 1).saturating_mul(pattern.len() as u64 / 4 + 1))?;
    Ok(Value::Bool(regex.is_match(text)))
}

/// Calls a function with values.
pub(super) fn call(name: &str, target: Option<Value>, arguments: Vec<Value>, meter: &mut Meter) -> Evaluated {
    match own(name, target.as_ref(), &arguments, meter) {
        Some(result) => result,
        None => foreign(name, target, arguments, meter),
    }
}

fn text(value: &str) -> Value {
    Value::String(Arc::new(value.to_owned()))
}

/// The functions of this crate; `None`: it has none of that name for these values.
fn own(name: &str, target: Option<&Value>, arguments: &[Value], meter: &mut Meter) -> Option<Evaluated> {
    // a function of one value may be called as its method, where CEL has both
    let all: Vec<&Value> = target.into_iter().chain(arguments).collect();
    Some(match (name, all.as_slice()) {
        ("size", [value]) => size(value, meter),
        ("dyn", [value]) => Ok((*value).clone()),
        ("type", [value]) => Ok(type_of(value)),
        ("contains", [Value::String(text), Value::String(part)]) => {
            let cost = (text.len() as u64 / 10 + 1).saturating_mul(part.len() as u64 / 10 + 1);
            meter.spend(cost).map(|()| Value::Bool(text.contains(part.as_str())))
        }
        ("startsWith", [Value::String(text), Value::String(part)]) => {
            meter.spend_bytes(part.len()).map(|()| Value::Bool(text.starts_with(part.as_str())))
        }
        ("endsWith", [Value::String(text), Value::String(part)]) => {
            meter.spend_bytes(part.len()).map(|()| Value::Bool(text.ends_with(part.as_str())))
        }
        ("contains" | "startsWith" | "endsWith", _) => Err(no_such_overload()),
        ("matches", [text, Value::String(pattern)]) => {
            let compiled = meter.spend(1_000).and_then(|()| regex(pattern).map_err(Failure::Error));
            compiled.and_then(|regex| matches(text, pattern, &regex, meter))
        }
        ("string", [Value::String(value)]) => Ok(Value::String((*value).clone())),
        ("string", [Value::Int(value)]) => Ok(text(&value.to_string())),
        ("int", [Value::Int(value)]) => Ok(Value::Int(*value)),
        ("optional.none", []) => Ok(none()),
        ("optional.of", [value]) => Ok(some((*value).clone())),
        ("optional.ofNonZeroValue", [value]) => Ok(if value.is_zero() { none() } else { some((*value).clone()) }),
        ("hasValue", [value]) => {
            as_optional(value).map(|inner| Value::Bool(inner.is_some())).ok_or_else(no_such_overload)
        }
        ("value", [value]) => match as_optional(value) {
            Some(Some(value)) => Ok(value.clone()),
            Some(None) => Err(Failure::Error("optional.none() dereference".to_owned())),
            None => Err(no_such_overload()),
        },
        ("or" | "orValue", [value, other]) => match as_optional(value) {
            Some(Some(inner)) => Ok(if name == "or" { (*value).clone() } else { inner.clone() }),
            Some(None) => Ok((*other).clone()),
            None => Err(no_such_overload()),
        },
        ("isIP", [Value::String(text)]) => Ok(Value::Bool(net::ip(text).is_ok())),
        ("isCIDR", [Value::String(text)]) => Ok(Value::Bool(net::cidr(text).is_ok())),
        ("isURL", [Value::String(text)]) => {
            meter.spend_bytes(text.len()).map(|()| Value::Bool(Url::parse(text).is_ok()))
        }
        ("isIP" | "isCIDR" | "isURL", _) => Err(no_such_overload()),
        // checked here, made there
        ("ip" | "ip.isCanonical", [Value::String(text)]) => match net::ip(text) {
            Ok(_) => return None,
            Err(error) => Err(Failure::Error(error)),
        },
        ("cidr", [Value::String(text)]) => match net::cidr(text) {
            Ok(()) => return None,
            Err(error) => Err(Failure::Error(error)),
        },
        ("containsIP", [_, Value::String(text)]) => match net::ip(text) {
            Ok(_) => return None,
            Err(error) => Err(Failure::Error(error)),
        },
        ("containsCIDR", [_, Value::String(text)]) => match net::cidr(text) {
            Ok(()) => return None,
            Err(error) => Err(Failure::Error(error)),
        },
        ("url", [Value::String(text)]) => meter
            .spend_bytes(text.len())
            .and_then(|()| Url::parse(text).map_err(Failure::Error))
            .map(|url| Value::Opaque(Arc::new(url))),
        ("getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath" | "getQuery", [Value::Opaque(url)]) => {
            let Some(url) = url.downcast_ref::<Url>() else { return Some(Err(no_such_overload())) };
            url_part(name, url, meter)
        }
        _ => return None,
    })
}

fn size(value: &Value, meter: &mut Meter) -> Evaluated {
    let size = match value {
        Value::String(text) => {
            meter.spend_bytes(text.len())?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.map.len(),
        _ => return Err(no_such_overload()),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn url_part(name: &str, url: &Url, meter: &mut Meter) -> Evaluated {
    meter.spend_bytes(url.len())?;
    Ok(match name {
        "getScheme" => text(&url.scheme),
        "getHost" => text(&url.host),
        "getHostname" => text(url.hostname()),
        "getPort" => text(url.port()),
        "getEscapedPath" => text(&url.escaped_path()),
        _ => {
            let list = |values: Vec<String>| Value::List(Arc::new(values.iter().map(|value| text(value)).collect()));
            let query = url.query().into_iter().map(|(key, values)| (Key::String(Arc::new(key)), list(values)));
            Value::Map(Map { map: Arc::new(query.collect()) })
        }
    })
}

/// A function of `kube-cel` or of the `cel` crate. They copy their arguments, so those are paid for whole.
fn foreign(name: &str, target: Option<Value>, arguments: Vec<Value>, meter: &mut Meter) -> Evaluated {
    target.iter().chain(&arguments).try_for_each(|value| meter.spend_value(value))?;
    meter.spend(extra_cost(name, target.as_ref(), &arguments)?)?;
    let argument = |i: usize| IdedExpr { id: 0, expr: Parsed::Ident(format!("@{i}")) };
    let mut scope = FUNCTIONS.new_inner_scope();
    let (function, receiver) = match (name.split_once('.'), target) {
        (Some((library, function)), _) => (function, Some(IdedExpr { id: 0, expr: Parsed::Ident(library.to_owned()) })),
        (None, Some(target)) => {
            scope.add_variable_from_value("@target", target);
            (name, Some(IdedExpr { id: 0, expr: Parsed::Ident("@target".to_owned()) }))
        }
        (None, None) => (name, None),
    };
    let call = CallExpr {
        func_name: function.to_owned(),
        target: receiver.map(Box::new),
        args: (0..arguments.len()).map(argument).collect(),
    };
    for (i, value) in arguments.into_iter().enumerate() {
        scope.add_variable_from_value(format!("@{i}"), value);
    }
    let result = Value::resolve(&IdedExpr { id: 0, expr: Parsed::Call(call) }, &scope).map_err(failure)?;
    meter.spend_value(&result)?;
    Ok(result)
}

/// What a function costs beyond reading its arguments, where it is more than that: known before it is called.
fn extra_cost(name: &str, target: Option<&Value>, arguments: &[Value]) -> Result<u64, Failure> {
    let length = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.len() as u64,
        Some(Value::List(items)) => items.len() as u64,
        Some(Value::Map(map)) => map.map.len() as u64,
        _ => 0,
    };
    let (of, first, second) = (length(target), length(arguments.first()), length(arguments.get(1)));
    Ok(match name {
        // every place where the pattern may stand becomes the replacement
        "replace" => (of / first.max(1) + 1).saturating_mul(second.max(1)) / 10,
        "join" => of.saturating_mul(first) / 10,
        "indexOf" | "lastIndexOf" => (of / 10 + 1).saturating_mul(first / 10 + 1),
        "split" => of,
        "distinct" => of.saturating_mul(of),
        "sort" | "isSorted" => of.saturating_mul(u64::from(of.max(2).ilog2())),
        "sets.contains" | "sets.intersects" | "sets.equivalent" => first.saturating_mul(second).saturating_mul(2),
        "lists.range" => match arguments {
            [Value::Int(count)] => u64::try_from(*count).unwrap_or_default(),
            _ => 0,
        },
        "find" | "findAll" => (of / 10 + 1).saturating_mul(first / 4 + 1).saturating_add(1_000),
        "format" => match target {
            Some(Value::String(format)) if precision(format) > MAX_PRECISION => {
                return Err(Failure::Error(format!("format precision is larger than {MAX_PRECISION}")));
            }
            // one argument may be printed several times
            Some(Value::String(format)) => {
                (format.matches('%').count() as u64).saturating_mul(MAX_PRECISION as u64) / 10
            }
            _ => 0,
        },
        "quantity" | "isQuantity" | "semver" | "isSemver" if first > MAX_QUANTITY_BYTES as u64 => {
            return Err(Failure::Error(format!("the text is longer than {MAX_QUANTITY_BYTES} bytes")));
        }
        _ => 0,
    })
}

/// The largest number in a format text.
fn precision(format: &str) -> usize {
    let numbers = format.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    numbers.map(|digits| digits.parse().unwrap_or(usize::MAX)).max().unwrap_or_default()
}

fn failure(error: ExecutionError) -> Failure {
    match error {
        ExecutionError::FunctionError { message, .. } => Failure::Error(message),
        ExecutionError::NoSuchKey(key) => Failure::Error(format!("no such key: {key}")),
        ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::NotSupportedAsMethod { .. }
        | ExecutionError::InvalidArgumentCount { .. }
        | ExecutionError::MissingArgumentOrTarget => no_such_overload(),
        other => super::meter::arithmetic(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_for_the_search() {
        assert!(NAMES.is_sorted());
    }
}
