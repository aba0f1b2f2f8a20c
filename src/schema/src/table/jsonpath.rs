//! The part of kubectl's JSONPath that printer columns and selectable fields use.
//!
//! `.a.b`, `.a\.b`, `['a.b']`, `[0]`, `[-1]`, `[1:3]`, `[*]`, `.*`, `..a`, and filters `[?(@.type=="Ready")]` with
//! `==`, `!=`, `<`, `<=`, `>`, `>=` or mere presence. What is missing is no error and finds nothing.
//!
//! A search looks at no more than [`MAX_STEPS`] values: several `..` in one path multiply. What lies beyond is not found.

use std::ops::ControlFlow;

use serde_json::Value;
use thiserror::Error;

/// As many values as one search may look at.
const MAX_STEPS: usize = 100_000;
/// As many steps as a path may have, and filters inside each other.
const MAX_LENGTH: usize = 64;

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
        if text.matches("?(").count() > MAX_LENGTH {
            return Err(JsonPathError(text.to_owned()));
        }
        while !rest.is_empty() {
            let error = || JsonPathError(rest.to_owned());
            if steps.len() == MAX_LENGTH {
                return Err(error());
            }
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
    pub fn first<'v>(&'v self, value: &'v Value) -> Option<&'v Value> {
        Search { steps: 0 }.first(self, value)
    }

    /// The fields with which the path begins, up to its first step of another kind: all that it finds is below them
    /// (`.status.conditions[0].type` → `["status", "conditions"]`).
    pub fn first_fields(&self) -> Vec<&str> {
        let names = self.steps.iter().map_while(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            _ => None,
        });
        names.collect()
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

/// One search, depth first.
struct Search {
    steps: usize,
}

type Found<'v> = ControlFlow<&'v Value>;

impl Search {
    fn first<'v>(&mut self, path: &'v JsonPath, value: &'v Value) -> Option<&'v Value> {
        match self.walk(&path.steps, value, &mut |value| Found::Break(value)) {
            Found::Break(value) => Some(value),
            Found::Continue(()) => None,
        }
    }

    /// Calls `found` for every value until it breaks off.
    fn walk<'v>(
        &mut self,
        steps: &'v [Step],
        value: &'v Value,
        found: &mut dyn FnMut(&'v Value) -> Found<'v>,
    ) -> Found<'v> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Found::Continue(());
        }
        let Some((step, rest)) = steps.split_first() else { return found(value) };
        match (step, value) {
            (Step::Field(name), Value::Object(map)) => match map.get(name) {
                Some(value) => self.walk(rest, value, found),
                None => Found::Continue(()),
            },
            (Step::Index(index), Value::Array(items)) => {
                let at = if *index < 0 { index + items.len() as i64 } else { *index };
                match usize::try_from(at).ok().and_then(|at| items.get(at)) {
                    Some(value) => self.walk(rest, value, found),
                    None => Found::Continue(()),
                }
            }
            (Step::Slice(from, to), Value::Array(items)) => {
                let len = items.len() as i64;
                let clamp = |at: i64| (if at < 0 { at + len } else { at }).clamp(0, len) as usize;
                let (from, to) = (clamp(from.unwrap_or(0)), clamp(to.unwrap_or(len)));
                let mut items = items.get(from..to).unwrap_or_default().iter();
                items.try_for_each(|value| self.walk(rest, value, found))
            }
            (Step::All, Value::Array(items)) => items.iter().try_for_each(|value| self.walk(rest, value, found)),
            (Step::All, Value::Object(map)) => map.values().try_for_each(|value| self.walk(rest, value, found)),
            (Step::Filter(filter), Value::Array(items)) => {
                for item in items {
                    if self.holds(filter, item) {
                        self.walk(rest, item, found)?;
                    }
                }
                Found::Continue(())
            }
            (Step::Anywhere(name), Value::Object(map)) => {
                if let Some(value) = map.get(name) {
                    self.walk(rest, value, found)?;
                }
                map.values().try_for_each(|value| self.walk(steps, value, found))
            }
            (Step::Anywhere(_), Value::Array(items)) => {
                items.iter().try_for_each(|value| self.walk(steps, value, found))
            }
            _ => Found::Continue(()),
        }
    }

    fn holds(&mut self, filter: &Filter, item: &Value) -> bool {
        let left = self.operand(&filter.left, item);
        let Some((comparison, right)) = &filter.test else { return left.is_some() };
        let (Some(left), Some(right)) = (left, self.operand(right, item)) else { return false };
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

    fn operand<'v>(&mut self, operand: &'v Operand, item: &'v Value) -> Option<&'v Value> {
        match operand {
            Operand::Path(path) => self.first(path, item),
            Operand::Literal(value) => Some(value),
        }
    }
}

impl Operand {
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

/// What is between brackets; `None` if it is not known.
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
            let path = JsonPath::parse(path).unwrap_or_else(|e| panic!("{path}: {e}"));
            let (mut all, mut search) = (Vec::new(), Search { steps: 0 });
            let end = search.walk(&path.steps, &object, &mut |value| {
                all.push(value);
                Found::Continue(())
            });
            assert!(end.is_continue());
            assert_eq!(json!(all), wanted, "{path:?}");
            assert_eq!(path.first(&object), all.first().copied());
        }
        for path in [".a[", ".a[?(@.b==]", ".a..", ".a[x]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
        assert_eq!(JsonPath::parse(".spec['a.b'].c").unwrap().fields(), Some(vec!["spec", "a.b", "c"]));
        assert_eq!(JsonPath::parse(".spec.l[0]").unwrap().fields(), None);
        assert_eq!(JsonPath::parse(".spec.l[0].n").unwrap().first_fields(), ["spec", "l"]);
        assert_eq!(JsonPath::parse("..c").unwrap().first_fields(), [""; 0]);
    }

    #[test]
    fn a_search_is_bounded_and_so_is_a_path() {
        let mut nested = json!({"end": 1});
        for _ in 0..100 {
            nested = json!({"a": nested});
        }
        let wide = json!({"l": vec![json!({"a": 1}); 300_000]});
        for (path, object, most) in [
            ("..a..a..a..a..a..a..none", &nested, MAX_STEPS + 10_000),
            (".l[?(@..b)].a", &wide, MAX_STEPS + 400_000),
            (".l[0].a", &wide, 4),
            ("..a", &wide, 4),
        ] {
            let mut search = Search { steps: 0 };
            search.first(&JsonPath::parse(path).unwrap(), object);
            assert!(search.steps <= most, "{path}: {}", search.steps);
        }
        assert!(JsonPath::parse(&".a".repeat(MAX_LENGTH + 1)).is_err());
        assert!(JsonPath::parse(&format!("{}@{}", ".l[?(".repeat(5_000), ")]".repeat(5_000))).is_err());
    }
}
