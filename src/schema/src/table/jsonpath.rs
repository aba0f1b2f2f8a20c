//! The part of kubectl's JSONPath that printer columns and selectable fields use.
//!
//! `.a.b`, `.a\.b`, `['a.b']`, `[0]`, `[-1]`, `[1:3]`, `[*]`, `.*`, `..a`, and filters `[?(@.type=="Ready")]` with
//! `==`, `!=`, `<`, `<=`, `>`, `>=` or mere presence. What is missing is no error and finds nothing.

use serde_json::Value;
use thiserror::Error;

#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

/// Where a path stops being one.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unrecognized JSONPath at {0:?}")]
pub struct JsonPathError(String);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Anywhere(String),
    Filter(Box<Filter>),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Operand,
    test: Option<(Comparison, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
}

impl JsonPath {
    /// Parses a path, with or without braces around it and with or without a leading `$`.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let path = Self::steps(text.strip_prefix(['$', '@']).unwrap_or(text))?;
        Ok(path)
    }

    fn steps(text: &str) -> Result<Self, JsonPathError> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let error = || JsonPathError(rest.to_owned());
            if let Some(after) = rest.strip_prefix("..") {
                let (name, after) = field(after);
                if name.is_empty() {
                    return Err(error());
                }
                steps.push(Step::Anywhere(name));
                rest = after;
            } else if rest.starts_with('[') {
                let end = closing(rest).ok_or_else(error)?;
                steps.push(bracket(rest[1..end].trim()).ok_or_else(error)??);
                rest = &rest[end + 1..];
            } else {
                let after = rest.strip_prefix('.').unwrap_or(rest);
                if after.is_empty() && steps.is_empty() {
                    break;
                }
                let (name, after) = field(after);
                match name.as_str() {
                    "" if after.starts_with('[') => {}
                    "" => return Err(error()),
                    "*" => steps.push(Step::All),
                    _ => steps.push(Step::Field(name)),
                }
                rest = after;
            }
        }
        Ok(Self { steps })
    }

    /// The first value found.
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.find(value).into_iter().next()
    }

    /// Everything found, in order.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| step.apply(value)).collect();
        }
        found
    }

    /// The names, if the path is nothing but fields (`.spec.host` → `["spec", "host"]`).
    pub fn fields(&self) -> Option<Vec<&str>> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Field(name) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }
}

impl Step {
    fn apply<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => {
                let at = if *index < 0 { index + items.len() as i64 } else { *index };
                usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
            }
            (Self::Slice(from, to), Value::Array(items)) => {
                let len = items.len() as i64;
                let clamp = |at: i64| (if at < 0 { at + len } else { at }).clamp(0, len) as usize;
                let (from, to) = (clamp(from.unwrap_or(0)), clamp(to.unwrap_or(len)));
                items.get(from..to).unwrap_or_default().iter().collect()
            }
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(map)) => map.values().collect(),
            (Self::Filter(filter), Value::Array(items)) => items.iter().filter(|item| filter.holds(item)).collect(),
            (Self::Anywhere(name), value) => {
                let mut found = Vec::new();
                anywhere(name, value, &mut found);
                found
            }
            _ => Vec::new(),
        }
    }
}

fn anywhere<'v>(name: &str, value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(name));
            map.values().for_each(|v| anywhere(name, v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| anywhere(name, v, found)),
        _ => {}
    }
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let left = self.left.value(item);
        let Some((comparison, right)) = &self.test else { return left.is_some() };
        let (Some(left), Some(right)) = (left, right.value(item)) else { return false };
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            _ => None,
        };
        match comparison {
            Comparison::Equal => left == right || order.is_some_and(|o| o.is_eq()),
            Comparison::NotEqual => !(left == right || order.is_some_and(|o| o.is_eq())),
            Comparison::LessOrEqual => order.is_some_and(|o| o.is_le()),
            Comparison::GreaterOrEqual => order.is_some_and(|o| o.is_ge()),
            Comparison::Less => order.is_some_and(|o| o.is_lt()),
            Comparison::Greater => order.is_some_and(|o| o.is_gt()),
        }
    }
}

impl Operand {
    fn value<'v>(&'v self, item: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Path(path) => path.first(item),
            Self::Literal(value) => Some(value),
        }
    }

    fn parse(text: &str) -> Result<Self, JsonPathError> {
        let text = text.trim();
        if text.starts_with(['@', '$']) {
            return Ok(Self::Path(JsonPath::steps(&text[1..])?));
        }
        if let Some(quoted) = unquote(text) {
            return Ok(Self::Literal(quoted.into()));
        }
        serde_json::from_str(text).map(Self::Literal).map_err(|_| JsonPathError(text.to_owned()))
    }
}

/// A name up to the next step; a backslash keeps a dot.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[i..]),
            c => name.push(c),
        }
    }
    (name, "")
}

/// The place of the bracket that closes the first one, strings left out.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => {
                depth -= 1;
                if depth == 0 {
                    return (c == ']').then_some(i);
                }
            }
            _ => {}
        }
    }
    None
}

fn unquote(text: &str) -> Option<String> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return Some(inner.replace("\\\"", "\"").replace("\\'", "'"));
        }
    }
    None
}

/// What stands between brackets; `None` if it is nothing known.
fn bracket(inside: &str) -> Option<Result<Step, JsonPathError>> {
    if inside == "*" {
        return Some(Ok(Step::All));
    }
    if let Some(name) = unquote(inside) {
        return Some(Ok(Step::Field(name)));
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        return Some(parse_filter(filter).map(|f| Step::Filter(Box::new(f))));
    }
    if let Some((from, to)) = inside.split_once(':') {
        let bound = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
        return Some(Ok(Step::Slice(bound(from)?, bound(to)?)));
    }
    inside.parse().ok().map(|index| Ok(Step::Index(index)))
}

fn parse_filter(text: &str) -> Result<Filter, JsonPathError> {
    const COMPARISONS: [(&str, Comparison); 6] = [
        ("==", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            _ => {
                if let Some((sign, comparison)) = COMPARISONS.iter().find(|(sign, _)| text[i..].starts_with(sign)) {
                    let test = Some((*comparison, Operand::parse(&text[i + sign.len()..])?));
                    return Ok(Filter { left: Operand::parse(&text[..i])?, test });
                }
            }
        }
    }
    Ok(Filter { left: Operand::parse(text)?, test: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_kubectl_finds() {
        let object = json!({"spec": {"a": 1, "l": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "a.b": {"c": 3}},
            "metadata": {"labels": {"app.kubernetes.io/name": "web"}}});
        let cases = [
            (".spec.a", json!([1])),
            ("{.spec.a}", json!([1])),
            ("$.spec.a", json!([1])),
            (".spec.l[0].n", json!(["x"])),
            (".spec.l[-1].n", json!(["y"])),
            (".spec.l[*].n", json!(["x", "y"])),
            (".spec.l[0:1].n", json!(["x"])),
            (".spec.l[?(@.n==\"y\")].v", json!([2])),
            (".spec.l[?(@.n=='y')].v", json!([2])),
            (".spec.l[?(@.v>=2)].n", json!(["y"])),
            (".spec.l[?(@.v!=2)].n", json!(["x"])),
            (".spec.l[?(@.n)].v", json!([1, 2])),
            (".spec['a.b'].c", json!([3])),
            (".spec.a\\.b.c", json!([3])),
            (".metadata.labels.app\\.kubernetes\\.io/name", json!(["web"])),
            (".metadata.labels['app.kubernetes.io/name']", json!(["web"])),
            ("..c", json!([3])),
            (".spec.none.deeper", json!([])),
            (".spec.a[0]", json!([])),
        ];
        for (path, wanted) in cases {
            let found = JsonPath::parse(path).unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(json!(found.find(&object)), wanted, "{path}");
        }
        for path in [".a[", ".a[?(@.b==]", ".a..", ".a[x]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
        assert_eq!(JsonPath::parse(".spec['a.b'].c").unwrap().fields(), Some(vec!["spec", "a.b", "c"]));
        assert_eq!(JsonPath::parse(".spec.l[0]").unwrap().fields(), None);
    }
}
