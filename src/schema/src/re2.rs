//! Go's regular expressions (RE2 syntax) on the `regex` crate.
//!
//! The two differ in little, but silently: here `\d`, `\w`, `\s`, `\b` are Unicode by default, a class may
//! hold classes and set operations, and a brace that is no repetition is an error. The source is rewritten for that.

use regex::{Regex, RegexBuilder};

/// Compiles a pattern as Go would read it.
pub(crate) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&translate(pattern)).size_limit(4 << 20).build()
}

/// Whether a pattern compiles; the error is worded.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    compile(pattern).map(drop).map_err(|error| explain(&error))
}

/// Why a pattern does not compile, in Go's words where they are known.
pub(crate) fn explain(error: &regex::Error) -> String {
    let text = error.to_string();
    let pattern = text.lines().nth(1).unwrap_or_default().trim();
    let reason = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&text);
    let reason = match reason {
        "unclosed group" => format!("missing closing ): `{pattern}`"),
        "unopened group" => format!("unexpected ): `{pattern}`"),
        "unclosed character class" => format!("missing closing ]: `{pattern}`"),
        other => other.to_owned(),
    };
    format!("error parsing regexp: {reason}")
}

fn translate(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut in_class = false;
    let mut class_start = 0;
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        let next = chars.get(i + 1).copied();
        match c {
            '\\' if next == Some('Q') => {
                i += 2;
                while i < chars.len() && !(chars[i] == '\\' && chars.get(i + 1) == Some(&'E')) {
                    out.push_str(&regex::escape(chars[i].encode_utf8(&mut [0; 4])));
                    i += 1;
                }
                i += 2;
                continue;
            }
            '\\' => {
                push_escape(&mut out, next, in_class);
                i += 2;
                continue;
            }
            '[' if in_class => match posix_class_end(&chars, i) {
                Some(end) => {
                    out.extend(&chars[i..end]);
                    i = end;
                    continue;
                }
                None => out.push_str("\\["),
            },
            '[' => {
                in_class = true;
                out.push('[');
                if next == Some('^') {
                    out.push('^');
                    i += 1;
                }
                class_start = i + 1;
            }
            ']' if in_class && i > class_start => {
                in_class = false;
                out.push(']');
            }
            ']' if in_class => out.push_str("\\]"),
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && (next == Some('-') || next == Some(']') || i == class_start) => out.push_str("\\-"),
            '{' if !in_class && !is_repetition(&chars, i) => out.push_str("\\{"),
            c => out.push(c),
        }
        i += 1;
    }
    out
}

fn push_escape(out: &mut String, next: Option<char>, in_class: bool) {
    let text = match (next, in_class) {
        (Some('d'), true) => "0-9",
        (Some('w'), true) => "0-9A-Za-z_",
        (Some('s'), true) => "\\t\\n\\x0C\\r ",
        (Some('d'), false) => "[0-9]",
        (Some('w'), false) => "[0-9A-Za-z_]",
        (Some('s'), false) => "[\\t\\n\\x0C\\r ]",
        (Some('D'), _) => "[^0-9]",
        (Some('W'), _) => "[^0-9A-Za-z_]",
        (Some('S'), _) => "[^\\t\\n\\x0C\\r ]",
        (Some('b'), false) => "(?-u:\\b)",
        (Some('B'), false) => "(?-u:\\B)",
        (Some(other), _) => {
            out.push('\\');
            out.push(other);
            return;
        }
        (None, _) => "\\",
    };
    out.push_str(text);
}

/// `[:alpha:]` at `start`: where it ends.
fn posix_class_end(chars: &[char], start: usize) -> Option<usize> {
    if chars.get(start + 1) != Some(&':') {
        return None;
    }
    let end = (start + 2..chars.len()).find(|i| chars[*i] == ':')?;
    (chars.get(end + 1) == Some(&']')).then_some(end + 2)
}

/// `{3}`, `{3,}`, `{3,5}` at `start`.
fn is_repetition(chars: &[char], start: usize) -> bool {
    let Some(length) = chars[start..].iter().position(|c| *c == '}') else { return false };
    let inside: String = chars[start + 1..start + length].iter().collect();
    let is_count = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    match inside.split_once(',') {
        Some((from, to)) => !from.is_empty() && is_count(from) && is_count(to),
        None => !inside.is_empty() && is_count(&inside),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ascii_as_in_go() {
        let cases: [(&str, &str, bool); 18] = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "１２", false),
            (r"^\w+$", "é", false),
            (r"^[\w-]+$", "a-b_c", true),
            (r"^[\D]$", "x", true),
            (r"^[\D]$", "1", false),
            (r"^[a-z[]+$", "a[b", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "b", true),
            (r"^[a&&b]+$", "&a", true),
            (r"^[[:alpha:]_]+$", "ab_", true),
            (r"^{a}$", "{a}", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^[+-]$", "-", true),
            (r"^(?i)abc$", "ABC", true),
            (r"^\S+\s\S+$", "a b", true),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(compile(pattern).unwrap().is_match(text), matches, "{pattern} on {text:?}");
        }
        assert_eq!(explain(&compile("a(b").unwrap_err()), "error parsing regexp: missing closing ): `a(b`");
        assert!(compile("(?<=a)b").is_err(), "look-behind is not in Go either");
    }
}
