//! Checks that rules only name fields that the schema has: a misspelt field would fail on every object, much later.
//!
//! Not a type checker: it follows `self.a.b[0].c` and the variables of macros through the schema, and lets pass what it
//! cannot follow. Of types it refuses only what is certain: a rule that is no truth value, a message that is no text,
//! a number compared with a text.

use kube_cel::cel::Value;

use super::Rule;
use super::expr::{Expr, Fold, FoldKind, Mode, Operator};
use super::value::escape;
use crate::error::FieldError;
use crate::path::FieldPath;
use crate::structural::{Additional, NodeId, Structural, Types};

/// The errors of a compiled schema; `path` is where it is.
pub(crate) fn check_fields(schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if schema.has_rules {
        walk(schema, schema.root, &mut FieldPath::new(path), &mut errors);
    }
    errors
}

fn walk(schema: &Structural, id: NodeId, path: &mut FieldPath, errors: &mut Vec<FieldError>) {
    let node = schema.node(id);
    if !node.rules_below {
        return;
    }
    for (i, rule) in node.rules.iter().enumerate() {
        let at = path.child(&format!("x-kubernetes-validations[{i}]"));
        rule_fields(schema, id, rule, &at, errors);
    }
    let additional = match node.additional {
        Additional::Schema(id) => Some(("additionalProperties", id)),
        _ => None,
    };
    for (key, child) in node.items.map(|id| ("items", id)).into_iter().chain(additional) {
        let mark = path.field(key);
        walk(schema, child, path, errors);
        path.reset(mark);
    }
    for (name, child) in node.properties.iter() {
        let mark = path.field("properties");
        path.key(name);
        walk(schema, child, path, errors);
        path.reset(mark);
    }
}

fn rule_fields(schema: &Structural, id: NodeId, rule: &Rule, at: &str, errors: &mut Vec<FieldError>) {
    let expressions = [("rule", Some(&rule.program)), ("messageExpression", rule.message_program.as_ref())];
    for (key, program) in expressions {
        let Some(program) = program else { continue };
        let mut follow = Follow { schema, variables: vec![None; program.variables], unknown: Vec::new() };
        follow.variables[0] = Some(id);
        follow.variables[1] = if rule.optional_old_self { None } else { Some(id) };
        let found = follow.follow(&program.root);
        let mut refuse =
            |detail: String| errors.push(FieldError::invalid(format!("{at}.{key}"), rule.source.as_str(), detail));
        if !follow.unknown.is_empty() {
            refuse(format!("compilation failed: {}", follow.unknown.join(", ")));
        }
        match (key, found.kind) {
            ("rule", Some(kind)) if kind != Kind::Bool => {
                refuse("cel expression must evaluate to a bool".to_owned());
            }
            ("messageExpression", Some(kind)) if kind != Kind::String => {
                refuse("messageExpression must evaluate to a string".to_owned());
            }
            _ => {}
        }
    }
    if !rule.field_path.is_empty() && !leads_to_a_field(schema, id, &rule.field_names) {
        let detail = "must be a valid path";
        errors.push(FieldError::invalid(format!("{at}.fieldPath"), rule.field_path.as_str(), detail));
    }
}

/// Whether a field path names fields that the schema has.
fn leads_to_a_field(schema: &Structural, id: NodeId, names: &[String]) -> bool {
    let mut at = Some(id);
    for name in names {
        let Some(id) = at else { return true };
        let node = schema.node(id);
        at = match schema.child(node, name) {
            Some(child) => Some(child),
            // what is below is not known
            None if node.preserve_unknown || node.embedded || node.additional == Additional::Any => None,
            None if id == schema.root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => None,
            None => return false,
        };
    }
    true
}

/// A type of CEL, where it is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List,
    Map,
    Other,
}

/// What is known of an expression's value.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    node: Option<NodeId>,
    kind: Option<Kind>,
}

impl Found {
    fn kind(kind: Kind) -> Self {
        Self { node: None, kind: Some(kind) }
    }
}

struct Follow<'s> {
    schema: &'s Structural,
    variables: Vec<Option<NodeId>>,
    unknown: Vec<String>,
}

impl Follow<'_> {
    fn at(&self, id: Option<NodeId>) -> Found {
        Found { node: id, kind: id.and_then(|id| kind_of(self.schema, id)) }
    }

    /// Checks everything in an expression; its schema node and type, if they can be followed.
    fn follow(&mut self, expr: &Expr) -> Found {
        match expr {
            Expr::Const(value) => Found { node: None, kind: kind_of_constant(value) },
            Expr::Variable(place) => self.at(self.variables[*place]),
            Expr::Select(select) => {
                let operand = self.follow(&select.operand);
                let field = operand.node.and_then(|id| self.field(id, &select.field));
                match select.mode {
                    Mode::Test => Found::kind(Kind::Bool),
                    Mode::Value => self.at(field),
                    Mode::Optional => Found::kind(Kind::Other),
                }
            }
            Expr::Index(index) => {
                let operand = self.follow(&index.operand);
                self.follow(&index.index);
                if index.optional || operand.kind == Some(Kind::Other) {
                    return Found::kind(Kind::Other);
                }
                let node = operand.node.map(|id| self.schema.node(id));
                let item = node.and_then(|node| match node.additional {
                    Additional::Schema(id) => Some(id),
                    _ => node.items,
                });
                self.at(item)
            }
            Expr::Not(operand) => {
                self.follow(operand);
                Found::kind(Kind::Bool)
            }
            Expr::Negate(operand) => Found { node: None, kind: self.follow(operand).kind },
            Expr::And(pair) | Expr::Or(pair) => {
                for part in pair.iter() {
                    self.follow(part);
                }
                Found::kind(Kind::Bool)
            }
            Expr::Condition(parts) => {
                let [_, yes, no] = parts.each_ref().map(|part| self.follow(part));
                Found { node: None, kind: yes.kind.filter(|kind| no.kind == Some(*kind)) }
            }
            Expr::Binary(operator, pair) => self.binary(*operator, pair),
            Expr::Call(call) => {
                let target = call.target.as_ref().map(|target| self.follow(target));
                let arguments: Vec<Found> = call.arguments.iter().map(|argument| self.follow(argument)).collect();
                match (call.name.as_str(), target, arguments.as_slice()) {
                    ("dyn", None, _) => Found::default(),
                    ("min" | "max" | "sum" | "first" | "last" | "value" | "orValue" | "or" | "add" | "sub", ..) => {
                        Found::default()
                    }
                    (name, ..) => Found { node: None, kind: kind_of_function(name) },
                }
            }
            Expr::Matches(matches) => {
                self.follow(&matches.text);
                Found::kind(Kind::Bool)
            }
            Expr::List(elements) => {
                for element in elements {
                    self.follow(&element.value);
                }
                Found::kind(Kind::List)
            }
            Expr::Map(entries) => {
                for (key, value) in entries {
                    self.follow(key);
                    self.follow(&value.value);
                }
                Found::kind(Kind::Map)
            }
            Expr::Fold(fold) => self.fold(fold),
        }
    }

    fn binary(&mut self, operator: Operator, pair: &[Expr; 2]) -> Found {
        use Kind::{Bool, Double, Int, String};
        let [left, right] = pair.each_ref().map(|part| self.follow(part).kind);
        let compares = !matches!(
            operator,
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Modulo
        );
        if let (Some(left), Some(right)) = (left, right)
            && operator != Operator::In
        {
            let is_number = |kind: Kind| matches!(kind, Int | Double);
            let is_plain = |kind: Kind| is_number(kind) || matches!(kind, Bool | String);
            let fits = left == right || (is_number(left) && is_number(right));
            if is_plain(left) && is_plain(right) && !fits {
                let error = format!("found no matching overload for '{operator:?}' applied to '({left:?}, {right:?})'");
                self.unknown.push(error);
            }
        }
        match (compares, left) {
            (true, _) => Found::kind(Bool),
            (false, Some(kind @ (Int | Double | String | Kind::List | Kind::Bytes))) => Found::kind(kind),
            _ => Found::default(),
        }
    }

    fn fold(&mut self, fold: &Fold) -> Found {
        let range = self.follow(&fold.range).node;
        let node = range.map(|id| self.schema.node(id));
        let item = node.and_then(|node| node.items);
        let of_map = node.and_then(|node| match node.additional {
            Additional::Schema(id) => Some(id),
            _ => None,
        });
        if fold.two {
            self.variables[fold.variable] = None;
            self.variables[fold.variable + 1] = item.or(of_map);
        } else {
            self.variables[fold.variable] = item;
        }
        if let Some(filter) = &fold.filter {
            self.follow(filter);
        }
        self.follow(&fold.body);
        Found::kind(match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Kind::Bool,
            FoldKind::List | FoldKind::SortBy => Kind::List,
            FoldKind::TransformMap | FoldKind::TransformMapEntry => Kind::Map,
            FoldKind::OptionalMap | FoldKind::OptionalFlatMap => Kind::Other,
        })
    }

    fn field(&mut self, id: NodeId, name: &str) -> Option<NodeId> {
        let node = self.schema.node(id);
        if node.int_or_string || !node.types.has(Types::OBJECT) {
            return None;
        }
        if let Some((_, child)) = node.properties.iter().find(|(property, _)| escape(property) == name) {
            return Some(child);
        }
        match node.additional {
            Additional::Schema(child) => Some(child),
            Additional::Any => None,
            Additional::Unsaid | Additional::Forbidden => {
                self.unknown.push(format!("undefined field '{name}'"));
                None
            }
        }
    }
}

fn kind_of(schema: &Structural, id: NodeId) -> Option<Kind> {
    let node = schema.node(id);
    if node.int_or_string || node.nullable {
        return None;
    }
    Some(match (node.types, node.format.as_str()) {
        (Types::BOOLEAN, _) => Kind::Bool,
        (Types::INTEGER, _) => Kind::Int,
        (Types::NUMBER, _) => Kind::Double,
        (Types::STRING, "date-time" | "datetime" | "date") => Kind::Timestamp,
        (Types::STRING, "duration") => Kind::Duration,
        (Types::STRING, "byte") => Kind::Bytes,
        (Types::STRING, _) => Kind::String,
        (Types::ARRAY, _) => Kind::List,
        (Types::OBJECT, _) => Kind::Map,
        _ => return None,
    })
}

fn kind_of_constant(value: &Value) -> Option<Kind> {
    Some(match value {
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) => Kind::Int,
        Value::Float(_) => Kind::Double,
        Value::String(_) => Kind::String,
        Value::Bytes(_) => Kind::Bytes,
        Value::UInt(_) | Value::Opaque(_) => Kind::Other,
        _ => return None,
    })
}

fn kind_of_function(name: &str) -> Option<Kind> {
    Some(match name {
        "size" | "int" | "indexOf" | "lastIndexOf" | "compareTo" | "asInteger" | "prefixLength" | "family" => Kind::Int,
        "double" | "asApproximateFloat" => Kind::Double,
        "string"
        | "charAt"
        | "format"
        | "join"
        | "lowerAscii"
        | "upperAscii"
        | "replace"
        | "substring"
        | "trim"
        | "strings.quote"
        | "getScheme"
        | "getHost"
        | "getHostname"
        | "getPort"
        | "getEscapedPath"
        | "find"
        | "jsonpatch.escapeKey" => Kind::String,
        "contains" | "startsWith" | "endsWith" | "matches" | "containsIP" | "containsCIDR" | "hasValue"
        | "sets.contains" | "sets.equivalent" | "sets.intersects" => Kind::Bool,
        name if name.rsplit('.').next().is_some_and(|name| name.starts_with("is")) => Kind::Bool,
        "split" | "findAll" | "distinct" | "sort" | "flatten" | "lists.range" => Kind::List,
        "timestamp" => Kind::Timestamp,
        "duration" => Kind::Duration,
        "bytes" | "base64.decode" => Kind::Bytes,
        "ip" | "cidr" | "url" | "quantity" | "semver" | "type" | "uint" | "optional.of" | "optional.none" => {
            Kind::Other
        }
        _ => return None,
    })
}
