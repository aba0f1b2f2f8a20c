//! `LabelSelector` objects: `{matchLabels: {…}, matchExpressions: [{key, operator, values}]}`.

use serde_json::Value;

use super::SelectorError;
use super::label::{LabelSelector, Operator, Requirement};
use crate::error::FieldError;
use crate::names::{label_key, label_value};

/// Null selects nothing, an empty object everything.
pub fn label_selector_from_object(object: &Value) -> Result<LabelSelector, SelectorError> {
    let Value::Object(selector) = object else { return Ok(LabelSelector::nothing()) };
    let mut requirements = Vec::new();
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default().to_owned();
        requirements.push(Requirement::new(key, Operator::Equals, vec![value])?);
    }
    for expression in expressions(object) {
        let operator = match text(expression, "operator") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => {
                let quoted = crate::go::quote(other);
                return Err(SelectorError(format!("{quoted} is not a valid label selector operator")));
            }
        };
        requirements.push(Requirement::new(text(expression, "key"), operator, values(expression))?);
    }
    Ok(LabelSelector::from_requirements(requirements))
}

/// Everything wrong with a `LabelSelector` object that stands at `path`.
pub fn validate_label_selector(object: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let labels = format!("{path}.matchLabels");
    for (key, value) in object.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        errors.extend(label_key(key).into_iter().map(|m| FieldError::invalid(&labels, key.as_str(), m)));
        let value = value.as_str().unwrap_or_default();
        errors.extend(label_value(value).into_iter().map(|m| FieldError::invalid(&labels, value, m)));
    }
    for (i, expression) in expressions(object).iter().enumerate() {
        let at = format!("{path}.matchExpressions[{i}]");
        let values = values(expression);
        match (text(expression, "operator"), values.is_empty()) {
            ("In" | "NotIn", true) => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{at}.values"), detail));
            }
            ("Exists" | "DoesNotExist", false) => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{at}.values"), detail));
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (other, _) => {
                errors.push(FieldError::invalid(format!("{at}.operator"), other, "not a valid selector operator"));
            }
        }
        let key = text(expression, "key");
        errors.extend(label_key(key).into_iter().map(|m| FieldError::invalid(format!("{at}.key"), key, m)));
        for (v, value) in values.iter().enumerate() {
            let path = format!("{at}.values[{v}]");
            errors.extend(label_value(value).into_iter().map(|m| FieldError::invalid(&path, value.as_str(), m)));
        }
    }
    errors
}

fn expressions(object: &Value) -> &[Value] {
    object.get("matchExpressions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn values(expression: &Value) -> Vec<String> {
    let values = expression.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_select_as_their_text_does() {
        let selector = label_selector_from_object(&json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"}]}))
        .unwrap();
        assert_eq!(selector.to_string(), "app=web,!old,tier in (a,b)");
        assert!(selector.matches(&json!({"app": "web", "tier": "b"})));
        assert!(!selector.matches(&json!({"app": "web", "tier": "b", "old": ""})));
        assert!(label_selector_from_object(&json!({})).unwrap().matches(&Value::Null));
        assert!(!label_selector_from_object(&Value::Null).unwrap().matches(&json!({"a": "b"})));
        let odd = label_selector_from_object(&json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}));
        assert_eq!(odd.unwrap_err().to_string(), r#""Near" is not a valid label selector operator"#);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "a", "operator": "Near"}]});
        let texts: Vec<String> =
            validate_label_selector(&bad, "spec.selector").iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "spec.selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                r#"spec.selector.matchExpressions[2].operator: Invalid value: "Near": not a valid selector operator"#,
            ]
        );
    }
}
