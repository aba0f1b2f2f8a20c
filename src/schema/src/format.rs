//! The string formats that a Kubernetes API server enforces; every other `format` is documentation.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const KNOWN: [&str; 26] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// `byte` in a built-in kind, where nothing is a value too.
pub(crate) const BYTES: &str = "base64";

/// Dashes do not count: `date-time` is `datetime`.
fn normalized(format: &str) -> String {
    format.replace('-', "")
}

pub(crate) fn is_known(format: &str) -> bool {
    KNOWN.contains(&normalized(format).as_str())
}

/// Whether `text` is of a known format. Unused ones (card and book numbers, bson ids) accept anything.
pub(crate) fn is_valid(format: &str, text: &str) -> bool {
    match normalized(format).as_str() {
        "byte" => !text.is_empty() && STANDARD.decode(text).is_ok(),
        BYTES => STANDARD.decode(text).is_ok(),
        "ipv4" => ipv4(text).is_some(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(text),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "datetime" => datetime(text),
        "duration" => duration(text),
        "email" => email(text),
        "hostname" => hostname(text),
        "mac" => mac(text),
        "uri" => uri(text),
        "uuid" => uuid(text, None),
        "uuid3" => uuid(text, Some('3')),
        "uuid4" => uuid(text, Some('4')),
        "uuid5" => uuid(text, Some('5')),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "k8sshortname" => text.len() <= 63 && crate::names::dns1123_label(text).is_empty(),
        "k8slongname" => crate::names::dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

/// Leading zeros are allowed, as in Kubernetes.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next().filter(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))?;
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Some(length) = length.parse::<u8>().ok().filter(|_| length.bytes().all(|b| b.is_ascii_digit())) else {
        return false;
    };
    (ipv4(address).is_some() && length <= 32) || (address.parse::<Ipv6Addr>().is_ok() && length <= 128)
}

/// RFC 3339 with `t`/`z` in either case; a zone is needed.
fn datetime(text: &str) -> bool {
    let lower = text.to_lowercase();
    let Some((date, time)) = lower.split_once('t') else { return false };
    if date.len() != 10 || date.parse::<jiff::civil::Date>().is_err() {
        return false;
    }
    let two = |at: usize, max: u8| {
        time.get(at..at + 2)
            .is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit()) && d.parse::<u8>().is_ok_and(|d| d <= max))
    };
    if !(two(0, 23) && two(3, 59) && two(6, 59) && time.get(2..3) == Some(":") && time.get(5..6) == Some(":")) {
        return false;
    }
    let rest = &time[8..];
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    rest == "z"
        || (rest.len() == 6
            && matches!(rest.as_bytes()[0], b'+' | b'-')
            && rest.as_bytes()[3] == b':'
            && rest.bytes().enumerate().all(|(i, b)| i == 0 || i == 3 || b.is_ascii_digit()))
}

/// Go's `1h30m`, or whole numbers with unit words (`2 days`).
fn duration(text: &str) -> bool {
    go_duration(text) || worded_duration(text)
}

fn go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let number = &rest[..digits];
        if !number.bytes().any(|b| b.is_ascii_digit()) || number.matches('.').count() > 1 {
            return false;
        }
        rest = &rest[digits..];
        let Some(unit) = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter().find(|u| rest.starts_with(u))
        else {
            return false;
        };
        rest = &rest[unit.len()..];
    }
    true
}

fn worded_duration(text: &str) -> bool {
    const EXACT: [&str; 13] = ["ns", "us", "µs", "ms", "s", "sec", "m", "min", "h", "hr", "d", "w", "wk"];
    const BEGINS: [&str; 8] = ["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let end = rest.find(|c: char| !(c.is_ascii_alphabetic() || c == 'µ')).unwrap_or(rest.len());
        let unit = rest[..end].to_lowercase();
        found |= EXACT.contains(&unit.as_str()) || BEGINS.iter().any(|b| unit.starts_with(b));
        rest = &rest[end..];
    }
    found
}

fn email(text: &str) -> bool {
    let address = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(at), Some(inner)) => &inner[at + 1..],
        _ => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let is_atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || !c.is_ascii();
    let dotted = |s: &str| !s.is_empty() && !s.starts_with('.') && !s.ends_with('.') && !s.contains("..");
    (dotted(local) && local.chars().all(is_atom) || (local.len() > 2 && local.starts_with('"') && local.ends_with('"')))
        && dotted(domain)
        && domain.chars().all(is_atom)
}

fn hostname(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    let label = |l: &&str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let top = labels
        .last()
        .is_some_and(|t| labels.len() == 1 || (t.chars().count() >= 2 && t.chars().all(char::is_alphabetic)));
    text.len() <= 255 && labels.iter().all(label) && top
}

fn mac(text: &str) -> bool {
    let hex = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
    let dotted = text.contains('.');
    let parts: Vec<&str> = if dotted { text.split('.').collect() } else { text.split([':', '-']).collect() };
    let one_separator = !(text.contains(':') && text.contains('-'));
    one_separator
        && if dotted {
            matches!(parts.len(), 3 | 4 | 10) && parts.iter().all(|p| hex(p, 4))
        } else {
            matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|p| hex(p, 2))
        }
}

/// What an HTTP request line could carry: absolute, or a path.
fn uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return false;
    }
    if text.starts_with('/') || text == "*" {
        return !text.contains(' ') || !text.starts_with("//");
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !good || !escapes_are_whole(text) {
        return false;
    }
    match rest.strip_prefix("//") {
        Some(rest) => {
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            !host.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}'])
        }
        None => rest.starts_with('/') || !rest.is_empty(),
    }
}

fn escapes_are_whole(text: &str) -> bool {
    text.match_indices('%')
        .all(|(i, _)| text.as_bytes().get(i + 1..i + 3).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)))
}

/// Dashes are optional; `version` also asks for the variant, but for version 3.
fn uuid(text: &str, version: Option<char>) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let mut dashes = text.match_indices('-').map(|(i, _)| i);
    let mut shift = 0;
    let well_placed = dashes.all(|at| {
        let ok = [8, 12, 16, 20].contains(&(at - shift));
        shift += 1;
        ok
    });
    if digits.len() != 32 || !well_placed || text.contains("--") || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return false;
    }
    let variant = matches!(digits.as_bytes()[16].to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b');
    version.is_none_or(|v| digits.as_bytes()[12] as char == v && (v == '3' || variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_examples_of_every_checked_format() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("byte", &["aGk="], &["", "a", "aGk", "*"]),
            ("ipv4", &["10.0.0.1", "010.0.0.1"], &["10.0.0", "10.0.0.256", "::1", "1.2.3.4.5"]),
            ("ipv6", &["::1", "fe80::1"], &["10.0.0.1", "::g"]),
            ("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/+8"]),
            ("date", &["2026-02-28"], &["2026-02-30", "2026-2-8"]),
            (
                "date-time",
                &["2026-11-21T01:02:03Z", "2026-11-21t01:02:03.5+02:00"],
                &["2026-11-21", "2026-11-21T25:00:00Z", "2026-11-21T01:02:03"],
            ),
            ("duration", &["1h30m", "0", "1.5s", "2 days", "-1ms"], &["", "1", "h", "1.2.3", "five"]),
            ("email", &["a@b.example", "A B <a@b>"], &["a", "@b", "a@", "a b@c"]),
            ("hostname", &["a", "web-1.example.com"], &["-a", "a..b", "a_b", "a.1"]),
            (
                "mac",
                &["52:54:00:12:34:56", "52-54-00-12-34-56", "5254.0012.3456"],
                &["52:54:00:12:34", "52:54-00:12:34:56", "zz:54:00:12:34:56"],
            ),
            (
                "uri",
                &["https://a.b/c?d", "file:///x", "/path", "oci://r/i:t"],
                &["", "a b", "no-scheme", "1http://x", "http://a b/"],
            ),
            (
                "uuid",
                &["123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"],
                &["123e4567-e89b-12d3-a456", "123e4567-e89b-12d3-a456-42661417400g"],
            ),
            ("uuid4", &["123e4567-e89b-42d3-a456-426614174000"], &["123e4567-e89b-12d3-a456-426614174000"]),
            ("k8s-short-name", &["a-b"], &["A", "a.b"]),
        ];
        for (format, good, bad) in cases {
            assert!(is_known(format), "{format}");
            for text in *good {
                assert!(is_valid(format, text), "{format}: {text:?} is good");
            }
            for text in *bad {
                assert!(!is_valid(format, text), "{format}: {text:?} is bad");
            }
        }
        assert!(!is_known("int32") && !is_known("quantity"));
    }
}
