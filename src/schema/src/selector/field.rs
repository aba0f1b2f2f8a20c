//! Field selectors: `metadata.name=web-1,status.host!=a`. A comma, an equals sign and a backslash in a value are
//! written with a backslash before them.

use std::fmt;

use super::SelectorError;

/// All of its requirements have to hold; none means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    pub requirements: Vec<FieldRequirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's path as the kind names it, e.g. `metadata.name`.
    pub field: String,
    pub value: String,
    /// `!=` instead of `=`.
    pub negated: bool,
}

impl FieldSelector {
    /// Parses the text of a `fieldSelector` parameter; empty selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|t| !t.is_empty()) {
            let Some(at) =
                term.find(['=', '!']).filter(|at| !term[*at..].starts_with('!') || term[at + 1..].starts_with('='))
            else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")));
            };
            let rest = &term[at..];
            let (negated, value) = if let Some(value) = rest.strip_prefix("!=") {
                (true, value)
            } else {
                (false, rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')).unwrap_or_default())
            };
            requirements.push(FieldRequirement { field: term[..at].to_owned(), value: unescape(value)?, negated });
        }
        Ok(Self { requirements })
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that `field` has to have, if the selector pins it.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.field == field && !r.negated).map(|r| r.value.as_str())
    }

    /// Whether an object is selected whose fields `value` looks up; an absent field reads as empty.
    pub fn matches<'v>(&self, value: impl Fn(&str) -> Option<std::borrow::Cow<'v, str>>) -> bool {
        self.requirements.iter().all(|r| (value(&r.field).as_deref().unwrap_or_default() == r.value) != r.negated)
    }
}

/// Splits at commas without a backslash before them.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => {
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: \\{c}")));
                }
                None => return Err(SelectorError("invalid field selector: invalid escape sequence: \\".to_owned())),
            },
            ',' | '=' => {
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {c}")));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A value escaped for a field selector.
pub fn escape_field_value(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{}{}{}", r.field, if r.negated { "!=" } else { "=" }, escape_field_value(&r.value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn what_matches() {
        let value = |field: &str| match field {
            "metadata.name" => Some(Cow::Borrowed("web")),
            "status.host" => Some(Cow::Borrowed("a,b=c\\")),
            _ => None,
        };
        for (text, matches) in [
            ("", true),
            ("metadata.name=web", true),
            ("metadata.name==web", true),
            ("metadata.name!=web", false),
            ("metadata.name=db", false),
            (r"status.host=a\,b\=c\\", true),
            ("none=", true),
            ("none!=x", true),
            ("metadata.name=web,status.host!=x", true),
            (",", true),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(value), matches, "{text:?}");
        }
        assert_eq!(FieldSelector::parse("metadata.name=web,a!=b").unwrap().exact("metadata.name"), Some("web"));
    }

    #[test]
    fn errors_are_worded_as_kubernetes_words_them() {
        for (text, error) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("b=1,a!b", "invalid selector: 'b=1,a!b'; can't understand 'a!b'"),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
            ("a=b=c", "invalid field selector: unescaped character in value: ="),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_selector_prints_as_it_parses() {
        let text = r"a=x\,y,b!=\\";
        assert_eq!(FieldSelector::parse(text).unwrap().to_string(), text);
    }
}
