//! A rule as it is evaluated: variables are numbered, macros are loops of their own kind, names are checked.
//!
//! The `cel` crate only parses. Its evaluator can neither count what it does nor stop, so the parsed expression is
//! lowered to this tree and run by [`interpret`](super::interpret).

use std::sync::{Arc, OnceLock};

use kube_cel::cel::IdedExpr;
use kube_cel::cel::Value;
use kube_cel::cel::common::ast::{ComprehensionExpr, EntryExpr, Expr as Parsed, LiteralValue, operators};
use regex::Regex;

use super::library;

#[derive(Debug)]
pub(super) enum Expr {
    Const(Value),
    /// By its place in the frame: 0 is `self`, 1 `oldSelf`, then the variables of macros.
    Variable(usize),
    Select(Box<Select>),
    Index(Box<Index>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Box<[Expr; 2]>),
    Or(Box<[Expr; 2]>),
    Condition(Box<[Expr; 3]>),
    Binary(Operator, Box<[Expr; 2]>),
    Call(Box<Call>),
    /// `text.matches('constant')`, compiled at its first use.
    Matches(Box<Matches>),
    List(Vec<Element>),
    Map(Vec<(Expr, Element)>),
    Fold(Box<Fold>),
}

#[derive(Debug)]
pub(super) struct Matches {
    pub(super) text: Expr,
    pub(super) pattern: String,
    pub(super) regex: OnceLock<Result<Regex, String>>,
}

/// An element of a list or a value of a map; an optional one may be left out.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) value: Expr,
    pub(super) optional: bool,
}

#[derive(Debug)]
pub(super) struct Select {
    pub(super) operand: Expr,
    pub(super) field: Arc<String>,
    pub(super) mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `a.b`
    Value,
    /// `has(a.b)`
    Test,
    /// `a.?b`
    Optional,
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) operand: Expr,
    pub(super) index: Expr,
    pub(super) optional: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            operators::ADD => Self::Add,
            operators::SUBSTRACT => Self::Subtract,
            operators::MULTIPLY => Self::Multiply,
            operators::DIVIDE => Self::Divide,
            operators::MODULO => Self::Modulo,
            operators::EQUALS => Self::Equal,
            operators::NOT_EQUALS => Self::NotEqual,
            operators::LESS => Self::Less,
            operators::LESS_EQUALS => Self::LessOrEqual,
            operators::GREATER => Self::Greater,
            operators::GREATER_EQUALS => Self::GreaterOrEqual,
            operators::IN => Self::In,
            _ => return None,
        })
    }
}

#[derive(Debug)]
pub(super) struct Call {
    /// `size`, or with its library: `math.abs`.
    pub(super) name: String,
    pub(super) target: Option<Expr>,
    pub(super) arguments: Vec<Expr>,
}

/// A macro: an expression for every item of a list or map.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) kind: FoldKind,
    pub(super) range: Expr,
    /// Whether there are two variables: index and item, or key and value.
    pub(super) two: bool,
    /// The place of the first variable.
    pub(super) variable: usize,
    pub(super) filter: Option<Expr>,
    pub(super) body: Expr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    /// `map`, `filter` and `transformList`.
    List,
    TransformMap,
    TransformMapEntry,
    SortBy,
    OptionalMap,
    OptionalFlatMap,
}

/// A lowered expression and how many variables it needs.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) root: Expr,
    pub(super) variables: usize,
    pub(super) uses_old_self: bool,
}

impl Program {
    /// Lowers a parsed expression; what cannot be named or called is returned, once each.
    pub(super) fn lower(parsed: &IdedExpr) -> Result<Self, Vec<String>> {
        let mut lower = Lower {
            scope: vec!["self".to_owned(), "oldSelf".to_owned()],
            variables: 2,
            uses_old_self: false,
            errors: Vec::new(),
        };
        let root = lower.expr(parsed);
        if lower.errors.is_empty() {
            Ok(Self { root, variables: lower.variables, uses_old_self: lower.uses_old_self })
        } else {
            Err(lower.errors)
        }
    }
}

struct Lower {
    scope: Vec<String>,
    variables: usize,
    uses_old_self: bool,
    errors: Vec<String>,
}

impl Lower {
    fn expr(&mut self, parsed: &IdedExpr) -> Expr {
        match &parsed.expr {
            Parsed::Literal(literal) => Expr::Const(constant(literal)),
            Parsed::Ident(name) => self.name(name),
            Parsed::Select(select) => {
                if let Some(name) = qualified(parsed).filter(|name| library::TYPES.contains(&name.as_str())) {
                    return Expr::Const(library::type_value(&name));
                }
                let mode = if select.test { Mode::Test } else { Mode::Value };
                let operand = self.expr(&select.operand);
                Expr::Select(Box::new(Select { operand, field: Arc::new(select.field.clone()), mode }))
            }
            Parsed::Call(call) => self.call(&call.func_name, call.target.as_deref(), &call.args),
            Parsed::List(list) => {
                let element =
                    |(i, element)| Element { value: self.expr(element), optional: list.optional_indices.contains(&i) };
                Expr::List(list.elements.iter().enumerate().map(element).collect())
            }
            Parsed::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        let value = Element { value: self.expr(&entry.value), optional: entry.optional };
                        entries.push((self.expr(&entry.key), value));
                    }
                }
                Expr::Map(entries)
            }
            Parsed::Comprehension(comprehension) => self.comprehension(comprehension),
            Parsed::Struct(_) | Parsed::Unspecified => self.refuse("messages cannot be constructed here".to_owned()),
        }
    }

    fn refuse(&mut self, error: String) -> Expr {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
        Expr::Const(Value::Null)
    }

    fn name(&mut self, name: &str) -> Expr {
        if let Some(variable) = self.scope.iter().rposition(|known| known == name) {
            self.uses_old_self |= variable == 1;
            return Expr::Variable(variable);
        }
        if library::TYPES.contains(&name) {
            return Expr::Const(library::type_value(name));
        }
        self.refuse(format!("undeclared reference to '{name}'"))
    }

    fn boxed<const N: usize>(&mut self, parts: [&IdedExpr; N]) -> Box<[Expr; N]> {
        Box::new(parts.map(|part| self.expr(part)))
    }

    fn call(&mut self, name: &str, target: Option<&IdedExpr>, arguments: &[IdedExpr]) -> Expr {
        match (name, arguments) {
            (operators::CONDITIONAL, [test, yes, no]) => return Expr::Condition(self.boxed([test, yes, no])),
            (operators::LOGICAL_AND, [left, right]) => return Expr::And(self.boxed([left, right])),
            (operators::LOGICAL_OR, [left, right]) => return Expr::Or(self.boxed([left, right])),
            (operators::LOGICAL_NOT, [only]) => return Expr::Not(Box::new(self.expr(only))),
            (operators::NEGATE, [only]) => return Expr::Negate(Box::new(self.expr(only))),
            (operators::INDEX | operators::OPT_INDEX, [operand, index]) => {
                let (operand, index) = (self.expr(operand), self.expr(index));
                return Expr::Index(Box::new(Index { operand, index, optional: name == operators::OPT_INDEX }));
            }
            (operators::OPT_SELECT, [operand, field]) => {
                let Parsed::Literal(LiteralValue::String(field)) = &field.expr else {
                    return self.refuse("a field has to be named".to_owned());
                };
                let (operand, field) = (self.expr(operand), Arc::new(field.inner().to_owned()));
                return Expr::Select(Box::new(Select { operand, field, mode: Mode::Optional }));
            }
            (_, [left, right]) => {
                if let Some(operator) = Operator::parse(name) {
                    return Expr::Binary(operator, self.boxed([left, right]));
                }
            }
            _ => {}
        }
        match target {
            Some(target) => match self.method_macro(name, target, arguments) {
                Some(fold) => fold,
                None => self.function(name, Some(target), arguments),
            },
            None => self.function(name, None, arguments),
        }
    }

    fn function(&mut self, name: &str, target: Option<&IdedExpr>, arguments: &[IdedExpr]) -> Expr {
        let library = match target.map(|target| &target.expr) {
            Some(Parsed::Ident(library)) if library::LIBRARIES.contains(&library.as_str()) => {
                Some(library).filter(|library| !self.scope.contains(library))
            }
            _ => None,
        };
        let (name, target) = match library {
            Some(library) => (format!("{library}.{name}"), None),
            None => (name.to_owned(), target),
        };
        let target = target.map(|target| self.expr(target));
        let arguments: Vec<Expr> = arguments.iter().map(|argument| self.expr(argument)).collect();
        if !library::has_function(&name) {
            return self.refuse(format!("undeclared reference to '{}'", name.rsplit('.').next().unwrap_or(&name)));
        }
        match (name.as_str(), target, arguments) {
            ("matches", Some(text), arguments) => match <[Expr; 1]>::try_from(arguments) {
                Ok([Expr::Const(Value::String(pattern))]) => {
                    if let Err(error) = crate::re2::check(&pattern) {
                        return self.refuse(error);
                    }
                    let pattern = pattern.as_str().to_owned();
                    Expr::Matches(Box::new(Matches { text, pattern, regex: OnceLock::new() }))
                }
                Ok([pattern]) => Expr::Call(Box::new(Call { name, target: Some(text), arguments: vec![pattern] })),
                Err(arguments) => Expr::Call(Box::new(Call { name, target: Some(text), arguments })),
            },
            (_, target, arguments) => Expr::Call(Box::new(Call { name, target, arguments })),
        }
    }

    /// The macros that the parser leaves as calls: those with two variables, and those of optional values.
    fn method_macro(&mut self, name: &str, target: &IdedExpr, arguments: &[IdedExpr]) -> Option<Expr> {
        use FoldKind::*;
        let (kind, variables, filter, body) = match (name, arguments) {
            ("all", [a, b, body]) => (All, vec![a, b], None, body),
            ("exists", [a, b, body]) => (Exists, vec![a, b], None, body),
            ("exists_one" | "existsOne", [a, b, body]) => (ExistsOne, vec![a, b], None, body),
            ("transformList", [a, b, body]) => (List, vec![a, b], None, body),
            ("transformList", [a, b, filter, body]) => (List, vec![a, b], Some(filter), body),
            ("transformMap", [a, b, body]) => (TransformMap, vec![a, b], None, body),
            ("transformMap", [a, b, filter, body]) => (TransformMap, vec![a, b], Some(filter), body),
            ("transformMapEntry", [a, b, body]) => (TransformMapEntry, vec![a, b], None, body),
            ("transformMapEntry", [a, b, filter, body]) => (TransformMapEntry, vec![a, b], Some(filter), body),
            ("sortBy", [a, body]) => (SortBy, vec![a], None, body),
            ("optMap", [a, body]) => (OptionalMap, vec![a], None, body),
            ("optFlatMap", [a, body]) => (OptionalFlatMap, vec![a], None, body),
            _ => return None,
        };
        let mut names = Vec::with_capacity(variables.len());
        for variable in variables {
            match &variable.expr {
                Parsed::Ident(name) => names.push(name.as_str()),
                _ => return Some(self.refuse("argument must be a simple name".to_owned())),
            }
        }
        Some(self.fold(kind, target, &names, filter, body))
    }

    fn fold(
        &mut self,
        kind: FoldKind,
        range: &IdedExpr,
        names: &[&str],
        filter: Option<&IdedExpr>,
        body: &IdedExpr,
    ) -> Expr {
        let range = self.expr(range);
        let variable = self.scope.len();
        self.scope.extend(names.iter().map(|name| (*name).to_owned()));
        self.variables = self.variables.max(self.scope.len());
        let filter = filter.map(|filter| self.expr(filter));
        let body = self.expr(body);
        self.scope.truncate(variable);
        Expr::Fold(Box::new(Fold { kind, range, two: names.len() == 2, variable, filter, body }))
    }

    /// The parser writes `all`, `exists`, `exists_one`, `map` and `filter` as general loops; each has one shape.
    fn comprehension(&mut self, loop_: &ComprehensionExpr) -> Expr {
        let Parsed::Call(step) = &loop_.loop_step.expr else { return self.refuse("an unknown macro".to_owned()) };
        let item = |call: &IdedExpr| match &call.expr {
            Parsed::Call(add) => match add.args.get(1).map(|list| &list.expr) {
                Some(Parsed::List(list)) => list.elements.first().cloned(),
                _ => None,
            },
            _ => None,
        };
        let (kind, filter, body) = match (&loop_.accu_init.expr, step.func_name.as_str(), step.args.as_slice()) {
            (_, operators::LOGICAL_AND, [_, body]) => (FoldKind::All, None, Some(body.clone())),
            (_, operators::LOGICAL_OR, [_, body]) => (FoldKind::Exists, None, Some(body.clone())),
            (Parsed::List(_), operators::CONDITIONAL, [filter, add, _]) => (FoldKind::List, Some(filter), item(add)),
            (Parsed::List(_), operators::ADD, _) => (FoldKind::List, None, item(&loop_.loop_step)),
            (_, operators::CONDITIONAL, [body, _, _]) => (FoldKind::ExistsOne, None, Some(body.clone())),
            _ => (FoldKind::All, None, None),
        };
        match body {
            Some(body) => self.fold(kind, &loop_.iter_range, &[&loop_.iter_var], filter, &body),
            None => self.refuse("an unknown macro".to_owned()),
        }
    }
}

/// `google.protobuf.Timestamp`
fn qualified(parsed: &IdedExpr) -> Option<String> {
    match &parsed.expr {
        Parsed::Ident(name) => Some(name.clone()),
        Parsed::Select(select) if !select.test => Some(format!("{}.{}", qualified(&select.operand)?, select.field)),
        _ => None,
    }
}

fn constant(literal: &LiteralValue) -> Value {
    match literal {
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Bytes(value) => Value::Bytes(Arc::new(value.inner().to_vec())),
        LiteralValue::Double(value) => Value::Float(*value.inner()),
        LiteralValue::Int(value) => Value::Int(*value.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(value) => Value::String(Arc::new(value.inner().to_owned())),
        LiteralValue::UInt(value) => Value::UInt(*value.inner()),
    }
}
