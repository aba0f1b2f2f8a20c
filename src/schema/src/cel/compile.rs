//! Compiling the rules of one schema node, and refusing what could not be evaluated later.

use kube_cel::cel::common::ast::Expr;
use kube_cel::cel::{IdedExpr, Program};
use serde_json::Value;

use super::steps::{Cost, children};
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
    let uses_old_self = program.references().has_variable("oldSelf");
    let optional_old_self = rule.get("optionalOldSelf").and_then(Value::as_bool);
    if let Some(said) = optional_old_self.filter(|_| !uses_old_self) {
        let detail = "may not be set if oldSelf is not used in rule";
        errors.push(FieldError::invalid(path.child("optionalOldSelf"), said, detail));
    }
    let depths = [Some(&program), message_program.as_ref()].into_iter().flatten().map(|p| depth(p.expression()));
    Some(Rule {
        depth: depths.max().unwrap_or_default(),
        steps: Cost::of(program.expression()),
        program,
        message_program,
        message: text("message").unwrap_or_default().trim().to_owned(),
        source: source.trim().to_owned(),
        reason,
        field_path: field_path.unwrap_or_default(),
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
    if nesting(source) > MAX_NESTING || chain(source) > MAX_RULE_BYTES / 8 {
        refuse(format!("compilation failed: the expression is nested deeper than {MAX_NESTING}"));
        return None;
    }
    let program = match Program::compile(source) {
        Ok(program) => program,
        Err(error) => {
            refuse(format!("compilation failed: {}", error.to_string().trim()));
            return None;
        }
    };
    // `1+1+1…` nests without a bracket, and is evaluated on an ordinary stack later
    if depth(program.expression()) > MAX_DEPTH {
        refuse(format!("compilation failed: the expression is nested deeper than {MAX_DEPTH}"));
        return None;
    }
    let mut unknown = Vec::new();
    check_names(program.expression(), &mut vec!["self", "oldSelf"], &mut unknown);
    if unknown.is_empty() {
        return Some(program);
    }
    refuse(format!("compilation failed: {}", unknown.join(", ")));
    None
}

/// The deepest nesting of brackets, strings left out.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest, mut quote, mut escaped) = (0usize, 0, None, false);
    for c in source.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    // an unclosed quote would hide brackets from this count, not from the parser
    if quote.is_some() { deepest.max(source.matches(['(', '[', '{']).count()) } else { deepest }
}

/// The deepest path in a parsed expression.
fn depth(expr: &IdedExpr) -> usize {
    let mut deepest = 0;
    if let Expr::Comprehension(c) = &expr.expr {
        for part in [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
            deepest = deepest.max(depth(part));
        }
    }
    children(expr, &mut |child| deepest = deepest.max(depth(child)));
    deepest + 1
}

/// How many operators could nest without brackets: `.a.a.a`, `!!!!`, `a?b:c?d:e`.
fn chain(source: &str) -> usize {
    source.matches(['.', '!', '?', '-']).count()
}

/// Roots of library functions (`math.abs`), which parse as if they were variables.
const LIBRARIES: [&str; 8] = ["base64", "format", "ip", "jsonpatch", "lists", "math", "optional", "sets"];

/// Functions of CEL and of the Kubernetes libraries that the evaluator has.
const FUNCTIONS: [&str; 124] = [
    "abs",
    "add",
    "asApproximateFloat",
    "asInteger",
    "bitAnd",
    "bitNot",
    "bitOr",
    "bitShiftLeft",
    "bitShiftRight",
    "bitXor",
    "byte",
    "bytes",
    "ceil",
    "charAt",
    "cidr",
    "compareTo",
    "contains",
    "containsCIDR",
    "containsIP",
    "date",
    "datetime",
    "decode",
    "distinct",
    "dns1035Label",
    "dns1035LabelPrefix",
    "dns1123Label",
    "dns1123LabelPrefix",
    "dns1123Subdomain",
    "dns1123SubdomainPrefix",
    "double",
    "duration",
    "encode",
    "endsWith",
    "equivalent",
    "escapeKey",
    "family",
    "find",
    "findAll",
    "first",
    "flatten",
    "floor",
    "format",
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
    "greatest",
    "hasValue",
    "indexOf",
    "int",
    "intersects",
    "ip",
    "isCIDR",
    "isCanonical",
    "isFinite",
    "isGlobalUnicast",
    "isGreaterThan",
    "isIP",
    "isInf",
    "isInteger",
    "isLessThan",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isLoopback",
    "isNaN",
    "isQuantity",
    "isSemver",
    "isSorted",
    "isURL",
    "isUnspecified",
    "join",
    "labelValue",
    "last",
    "lastIndexOf",
    "least",
    "lowerAscii",
    "major",
    "masked",
    "matches",
    "max",
    "min",
    "minor",
    "named",
    "none",
    "of",
    "ofNonZeroValue",
    "or",
    "orValue",
    "patch",
    "prefixLength",
    "qualifiedName",
    "quantity",
    "quote",
    "range",
    "replace",
    "reverse",
    "round",
    "semver",
    "sign",
    "size",
    "slice",
    "sort",
    "split",
    "sqrt",
    "startsWith",
    "string",
    "sub",
    "substring",
    "sum",
    "timestamp",
    "trim",
    "trunc",
];
const MORE_FUNCTIONS: [&str; 8] = ["uint", "upperAscii", "uri", "url", "uuid", "validate", "value", "strings"];

fn check_names<'e>(expr: &'e IdedExpr, scope: &mut Vec<&'e str>, unknown: &mut Vec<String>) {
    match &expr.expr {
        Expr::Ident(name) if !name.starts_with('@') && !scope.contains(&name.as_str()) => {
            unknown.push(format!("undeclared reference to '{name}'"));
        }
        Expr::Comprehension(c) => {
            check_names(&c.iter_range, scope, unknown);
            check_names(&c.accu_init, scope, unknown);
            let outer = scope.len();
            scope.push(&c.iter_var);
            scope.extend(c.iter_var2.as_deref());
            scope.push(&c.accu_var);
            check_names(&c.loop_cond, scope, unknown);
            check_names(&c.loop_step, scope, unknown);
            check_names(&c.result, scope, unknown);
            scope.truncate(outer);
        }
        Expr::Call(call) => {
            let name = call.func_name.rsplit('.').next().unwrap_or_default();
            let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !is_operator && !FUNCTIONS.contains(&name) && !MORE_FUNCTIONS.contains(&name) {
                unknown.push(format!("undeclared reference to '{name}'"));
            }
            match call.target.as_deref() {
                Some(IdedExpr { expr: Expr::Ident(library), .. }) if LIBRARIES.contains(&library.as_str()) => {}
                Some(target) => check_names(target, scope, unknown),
                None => {}
            }
            for argument in &call.args {
                check_names(argument, scope, unknown);
            }
        }
        _ => children(expr, &mut |child| check_names(child, scope, unknown)),
    }
}

/// `.spec['a.b'].c` as it continues a field path: `.spec.a.b.c`. Indices are not allowed.
fn normalize_field_path(said: &str) -> Option<String> {
    let mut rest = said.trim();
    let mut out = String::new();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("['") {
            let (name, after) = quoted.split_once("']")?;
            out.push('.');
            out.push_str(name);
            rest = after;
        } else {
            rest = rest.strip_prefix('.').filter(|r| !r.is_empty())?;
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            out.push('.');
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    (!out.is_empty()).then_some(out)
}
