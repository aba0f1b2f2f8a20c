//! Object names: DNS labels and subdomains, path segments, and names made from `generateName`.

use super::regex_error;

const LABEL_REGEX: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_REGEX: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035_REGEX: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";

/// How the objects of a kind are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameRule {
    /// Most kinds, custom resources too: at most 253 characters, dots allowed.
    #[default]
    Subdomain,
    /// Namespaces: at most 63 characters.
    Label,
    /// A label that begins with a letter.
    Label1035,
    /// Kinds whose names only have to fit into a URL (RBAC, events).
    PathSegment,
}

impl NameRule {
    /// Everything wrong with a name; `is_prefix` for a `generateName`, which may end with a dash.
    pub fn check(self, name: &str, is_prefix: bool) -> Vec<String> {
        let masked = match name.strip_suffix('-') {
            Some(stem) if is_prefix && !stem.is_empty() && self != Self::PathSegment => {
                let mut masked: String = stem.chars().take(stem.chars().count() - 1).collect();
                masked.push('a');
                masked
            }
            _ => name.to_owned(),
        };
        match self {
            Self::Subdomain => dns1123_subdomain(&masked),
            Self::Label => dns1123_label(&masked),
            Self::Label1035 => dns1035_label(&masked),
            Self::PathSegment => path_segment(name, is_prefix),
        }
    }
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            alphanumeric(*first) && alphanumeric(*last) && bytes.iter().all(|b| alphanumeric(*b) || *b == b'-')
        }
        _ => false,
    }
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// Everything wrong with a lowercase RFC 1123 label (63 bytes, no dots).
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut errors = too_long(text, 63);
    if !is_label(text) {
        if is_subdomain(text) {
            errors.push("must not contain dots".to_owned());
        } else {
            let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
            errors.push(regex_error(message, LABEL_REGEX, &["my-name", "123-abc"]));
        }
    }
    errors
}

/// Everything wrong with a lowercase RFC 1123 subdomain (253 bytes).
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = too_long(text, 253);
    errors.extend(subdomain_shape(text));
    errors
}

pub(super) fn subdomain_shape(text: &str) -> Option<String> {
    let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
    (!is_subdomain(text)).then(|| regex_error(message, SUBDOMAIN_REGEX, &["example.com"]))
}

/// Everything wrong with an RFC 1035 label (63 bytes, begins with a letter).
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut errors = too_long(text, 63);
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        errors.push(regex_error(message, DNS1035_REGEX, &["my-name", "abc-123"]));
    }
    errors
}

/// Everything wrong with a name that only has to be one segment of a URL.
pub fn path_segment(text: &str, is_prefix: bool) -> Vec<String> {
    if !is_prefix && matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

fn too_long(text: &str, max: usize) -> Vec<String> {
    if text.len() > max { vec![format!("must be no more than {max} characters")] } else { Vec::new() }
}

/// Characters of a generated suffix: no vowels, nothing that looks like another.
pub const GENERATED_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const MAX_GENERATED_BASE: usize = 58;

/// `generateName` plus five characters drawn from `random`.
pub fn generate_name(base: &str, random: [u8; 5]) -> String {
    let mut end = base.len().min(MAX_GENERATED_BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    name.extend(random.iter().map(|r| GENERATED_ALPHABET[usize::from(*r) % GENERATED_ALPHABET.len()] as char));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_is_explained_as_kubernetes_does() {
        assert!(dns1123_subdomain("web-1.example").is_empty());
        assert_eq!(
            dns1123_subdomain("Web_1"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns1123_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(
            dns1035_label("1a"),
            [
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(path_segment("..", false), ["may not be '..'"]);
        assert_eq!(path_segment("a/b%", false), ["may not contain '/'", "may not contain '%'"]);
    }

    #[test]
    fn a_prefix_may_end_with_a_dash() {
        assert!(NameRule::Subdomain.check("web-", true).is_empty());
        assert!(!NameRule::Subdomain.check("web-", false).is_empty());
        assert!(!NameRule::Label.check("Web-", true).is_empty());
    }

    #[test]
    fn generated_names_fit_into_a_label() {
        assert_eq!(generate_name("web-", [0, 1, 26, 27, 255]), "web-bc9bq");
        assert_eq!(generate_name(&"a".repeat(100), [0; 5]).len(), 63);
    }
}
