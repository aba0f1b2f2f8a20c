//! Label keys (also annotation keys and finalizers) and label values.

use super::name::subdomain_shape;
use super::regex_error;

const KEY_REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const KEY_MESSAGE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];

/// Everything wrong with a qualified name, `[prefix/]name`.
pub fn label_key(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > 253 {
                    errors.push("prefix part must be no more than 253 bytes".to_owned());
                }
                errors.extend(subdomain_shape(prefix).map(|text| format!("prefix part {text}")));
            }
            name
        }
        _ => {
            let text = regex_error(KEY_MESSAGE, KEY_REGEX, &EXAMPLES);
            return vec![format!(
                "a valid label key {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_name(name) {
        errors.push(format!("name part {}", regex_error(KEY_MESSAGE, KEY_REGEX, &EXAMPLES)));
    }
    errors
}

/// Everything wrong with a label's value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 63 {
        errors.push("must be no more than 63 bytes".to_owned());
    }
    if !value.is_empty() && !is_name(value) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        let regex = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
        errors.push(regex_error(message, regex, &["MyValue", "my_value", "12345"]));
    }
    errors
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric()
                && last.is_ascii_alphanumeric()
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values() {
        for good in ["a", "nubium.dev/server", "A.b_c-1"] {
            assert!(label_key(good).is_empty(), "{good}");
        }
        assert_eq!(label_key("/a"), ["prefix part must be non-empty"]);
        assert_eq!(label_key("").len(), 2);
        assert!(label_key("a/b/c")[0].starts_with("a valid label key must consist of"));
        assert!(label_key("UP.case/a")[0].starts_with("prefix part a lowercase RFC 1123 subdomain"));
        assert_eq!(label_key(&"a".repeat(64)), ["name part must be no more than 63 bytes"]);
        assert!(label_value("").is_empty() && label_value("a.B_1").is_empty());
        assert!(label_value("-a")[0].starts_with("a valid label must be an empty string"));
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 bytes"]);
    }
}
