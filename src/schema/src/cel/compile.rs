//! Compiling the rules of one schema node, and refusing what could not be evaluated later.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr, MapExpr, StructExpr};
use kube_cel::cel::parser::Parser;
use serde_json::Value;

use super::expr::Program;
use super::{MAX_DEPTH, MAX_NESTING, MAX_RULE_BYTES, Rule};
use crate::error::{ErrorKind, FieldError};
use crate::path::FieldPath;

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Compiles `x-kubernetes-validations`; what is wrong goes to `errors`, at `path`. Below `uncorrelatable` there is no old
/// value to compare with.
pub(crate) fn compile_rules(
    rules: &[Value],
    uncorrelatable: Option<&str>,
    path: &mut FieldPath,
    errors: &mut Vec<FieldError>,
) -> Vec<Rule> {
    let mut compiled = Vec::with_capacity(rules.len());
    for (i, rule) in rules.iter().enumerate() {
        let mark = path.field("x-kubernetes-validations");
        path.index(i);
        let before = errors.len();
        let made = compile_rule(rule, path, errors);
        if let (Some(lost), true) = (uncorrelatable, made.as_ref().is_some_and(|r| r.uses_old_self)) {
            let detail = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}");
            errors.push(FieldError::invalid(path.child("rule"), rule["rule"].clone(), detail));
        }
        path.reset(mark);
        if errors.len() == before {
            compiled.extend(made);
        }
    }
    compiled
}

fn compile_rule(rule: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) -> Option<Rule> {
    let text = |key: &str| rule.get(key).and_then(Value::as_str);
    let source = text("rule").unwrap_or_default();
    if source.trim().is_empty() {
        errors.push(FieldError::required(path.child("rule"), "rule is not specified"));
        return None;
    }
    for (key, value) in [("message", text("message")), ("fieldPath", text("fieldPath"))] {
        let Some(value) = value.filter(|v| !v.is_empty()) else { continue };
        if value.trim().is_empty() {
            errors.push(FieldError::invalid(path.child(key), value, "must be non-empty if specified"));
        } else if value.trim().contains(['\n', '\r']) {
            errors.push(FieldError::invalid(path.child(key), value, "must not contain line breaks"));
        }
    }
    let has_message = text("message").is_some_and(|m| !m.trim().is_empty()) || text("messageExpression").is_some();
    if !has_message && source.trim().contains(['\n', '\r']) {
        let detail = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(path.child("message"), detail));
    }
    let reason = match text("reason") {
        None | Some("FieldValueInvalid") => ErrorKind::Invalid,
        Some("FieldValueForbidden") => ErrorKind::Forbidden,
        Some("FieldValueRequired") => ErrorKind::Required,
        Some("FieldValueDuplicate") => ErrorKind::Duplicate,
        Some(other) => {
            errors.push(FieldError::not_supported(path.child("reason"), other, &REASONS));
            ErrorKind::Invalid
        }
    };
    let field_path = text("fieldPath").filter(|p| !p.trim().is_empty()).and_then(|said| {
        let normalized = normalize_field_path(said);
        if normalized.is_none() {
            errors.push(FieldError::invalid(path.child("fieldPath"), said, "must be a valid path"));
        }
        normalized
    });
    let (field_path, field_names) = field_path.unwrap_or_default();
    let program = compile_expression(source, "rule", rule, path, errors)?;
    let message_program = match text("messageExpression") {
        Some(text) if text.trim().is_empty() => {
            let detail = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(path.child("messageExpression"), detail));
            None
        }
        Some(text) => Some(compile_expression(text, "messageExpression", rule, path, errors)?),
        None => None,
    };
    let uses_old_self = program.uses_old_self;
    let optional_old_self = rule.get("optionalOldSelf").and_then(Value::as_bool);
    if let Some(said) = optional_old_self.filter(|_| !uses_old_self) {
        let detail = "may not be set if oldSelf is not used in rule";
        errors.push(FieldError::invalid(path.child("optionalOldSelf"), said, detail));
    }
    Some(Rule {
        program,
        message_program,
        message: text("message").unwrap_or_default().trim().to_owned(),
        source: source.trim().to_owned(),
        reason,
        field_path,
        field_names,
        optional_old_self: optional_old_self.unwrap_or_default(),
        uses_old_self,
    })
}

fn compile_expression(
    source: &str,
    key: &str,
    rule: &Value,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) -> Option<Program> {
    let mut refuse = |detail: String| errors.push(FieldError::invalid(path.child(key), rule.clone(), detail));
    if source.len() > MAX_RULE_BYTES {
        refuse(format!("compilation failed: the expression is longer than {MAX_RULE_BYTES} bytes"));
        return None;
    }
    if nesting(source) > MAX_NESTING {
        refuse(format!("compilation failed: the expression is nested deeper than {MAX_NESTING}"));
        return None;
    }
    let parsed = match Parser::new().enable_optional_syntax(true).max_recursion_depth(MAX_NESTING as u16).parse(source)
    {
        Ok(parsed) => parsed,
        Err(error) => {
            refuse(format!("compilation failed: {}", error.to_string().trim()));
            return None;
        }
    };
    // `1+1+1…` nests without a bracket, and is evaluated on an ordinary stack later
    if depth(&parsed) > MAX_DEPTH {
        refuse(format!("compilation failed: the expression is nested deeper than {MAX_DEPTH}"));
        return None;
    }
    match Program::lower(&parsed) {
        Ok(program) => Some(program),
        Err(unknown) => {
            refuse(format!("compilation failed: {}", unknown.join(", ")));
            None
        }
    }
}

/// How deep the parts of a source may nest, estimated from above without parsing it: every open bracket, and at each
/// level the operators that hang on each other (`.a.a.a`, `!!!!`, `a?b:c?d:e`). Strings count as nothing.
fn nesting(source: &str) -> usize {
    #[derive(Default, Clone, Copy)]
    struct Level {
        /// Operators since the last comma or `&&`.
        chain: usize,
        /// Of a condition everything behind it is a part.
        conditions: usize,
    }
    let (mut levels, mut quote, mut escaped) = (vec![Level::default()], None, false);
    let (mut deepest, mut previous) = (0, ' ');
    for c in source.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => {
                if let Some(level) = levels.last_mut() {
                    level.chain += 1;
                }
                levels.push(Level::default());
            }
            (None, ')' | ']' | '}') => {
                if levels.len() > 1 {
                    levels.pop();
                }
            }
            (None, c) => {
                let Some(level) = levels.last_mut() else { continue };
                match c {
                    ',' => *level = Level::default(),
                    '&' | '|' if previous == c => level.chain = 0,
                    '?' if previous != '.' && previous != '[' => {
                        level.conditions += 1;
                        level.chain = 0;
                    }
                    '.' | '!' | '-' | '+' | '*' | '/' | '%' => level.chain += 1,
                    _ => {}
                }
            }
        }
        previous = c;
        deepest = deepest.max(levels.iter().map(|level| level.chain + level.conditions + 1).sum());
    }
    // an unclosed quote would hide brackets from this count, not from the parser
    if quote.is_some() { deepest.max(source.matches(['(', '[', '{']).count()) } else { deepest }
}

/// The deepest path in a parsed expression.
fn depth(expr: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut visit = |part: &IdedExpr| deepest = deepest.max(depth(part));
    match &expr.expr {
        Expr::Comprehension(c) => {
            [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result].into_iter().for_each(visit);
        }
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(visit),
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Map(MapExpr { entries }) | Expr::Struct(StructExpr { entries, .. }) => {
            for entry in entries {
                match &entry.expr {
                    EntryExpr::StructField(field) => visit(&field.value),
                    EntryExpr::MapEntry(entry) => {
                        visit(&entry.key);
                        visit(&entry.value);
                    }
                }
            }
        }
        Expr::Select(select) => visit(&select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
    deepest + 1
}

/// `.spec['a.b'].c` as it continues a field path: `.spec.a.b.c`. Indices are not allowed.
fn normalize_field_path(said: &str) -> Option<(String, Vec<String>)> {
    let mut rest = said.trim();
    let (mut out, mut names) = (String::new(), Vec::new());
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("['") {
            let (name, after) = quoted.split_once("']")?;
            out.push('.');
            out.push_str(name);
            names.push(name.to_owned());
            rest = after;
        } else {
            rest = rest.strip_prefix('.').filter(|r| !r.is_empty())?;
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            out.push('.');
            out.push_str(&rest[..end]);
            names.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    (!out.is_empty()).then_some((out, names))
}
