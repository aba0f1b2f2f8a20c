//! Do rules only name fields that the schema has? A misspelt field would fail on every object, much later.
//!
//! Not a type checker: it follows `self.a.b[0].c` and the variables of macros through the schema, and lets pass what it
//! cannot follow.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::Expr;

use super::Rule;
use super::steps::children;
use super::value::escape;
use crate::error::FieldError;
use crate::path::FieldPath;
use crate::structural::{Additional, NodeId, Structural, Types};

/// The refusals, for a compiled schema that stands at `path`.
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
    for (name, child) in &node.properties {
        let mark = path.field("properties");
        path.key(name);
        walk(schema, *child, path, errors);
        path.reset(mark);
    }
}

fn rule_fields(schema: &Structural, id: NodeId, rule: &Rule, at: &str, errors: &mut Vec<FieldError>) {
    let expressions = [("rule", Some(&rule.program)), ("messageExpression", rule.message_program.as_ref())];
    for (key, program) in expressions {
        let Some(program) = program else { continue };
        let before = if rule.optional_old_self { None } else { Some(id) };
        let mut follow = Follow { schema, scope: vec![("self", Some(id)), ("oldSelf", before)], unknown: Vec::new() };
        follow.node_of(program.expression());
        if !follow.unknown.is_empty() {
            let detail = format!("compilation failed: {}", follow.unknown.join(", "));
            errors.push(FieldError::invalid(format!("{at}.{key}"), rule.source.as_str(), detail));
        }
    }
}

struct Follow<'s, 'e> {
    schema: &'s Structural,
    scope: Vec<(&'e str, Option<NodeId>)>,
    unknown: Vec<String>,
}

impl<'e> Follow<'_, 'e> {
    /// The schema node of an expression's value, if it can be followed; everything in it is checked on the way.
    fn node_of(&mut self, expr: &'e IdedExpr) -> Option<NodeId> {
        match &expr.expr {
            Expr::Ident(name) => self.scope.iter().rev().find(|(n, _)| n == name).and_then(|(_, id)| *id),
            Expr::Select(select) => {
                let id = self.node_of(&select.operand)?;
                self.field(id, &select.field)
            }
            Expr::Call(call) if call.func_name == "_[_]" && call.args.len() == 2 => {
                let container = self.node_of(&call.args[0]);
                self.node_of(&call.args[1]);
                let node = self.schema.node(container?);
                match node.additional {
                    Additional::Schema(id) => Some(id),
                    _ => node.items,
                }
            }
            Expr::Comprehension(c) => {
                let range = self.node_of(&c.iter_range);
                self.node_of(&c.accu_init);
                let outer = self.scope.len();
                let item = range.and_then(|id| self.schema.node(id).items);
                match &c.iter_var2 {
                    Some(second) => self.scope.extend([(c.iter_var.as_str(), None), (second.as_str(), item)]),
                    None => self.scope.push((&c.iter_var, item)),
                }
                self.scope.push((&c.accu_var, None));
                for part in [&c.loop_cond, &c.loop_step, &c.result] {
                    self.node_of(part);
                }
                self.scope.truncate(outer);
                None
            }
            _ => {
                let mut parts = Vec::new();
                children(expr, &mut |part| parts.push(part));
                for part in parts {
                    self.node_of(part);
                }
                None
            }
        }
    }

    fn field(&mut self, id: NodeId, name: &str) -> Option<NodeId> {
        let node = self.schema.node(id);
        if node.int_or_string || !node.types.has(Types::OBJECT) {
            return None;
        }
        if let Some((_, child)) = node.properties.iter().find(|(property, _)| escape(property) == name) {
            return Some(*child);
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
