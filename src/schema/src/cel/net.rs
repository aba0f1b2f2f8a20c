//! Addresses, ranges and URLs as Go reads them (`net/netip`, `net/url`): what Kubernetes' CEL library accepts.

use std::collections::HashMap;
use std::net::IpAddr;

use kube_cel::cel::objects::Opaque;

/// An address without a zone; no IPv4 address in the form of IPv6.
pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    let refuse =
        |why: &str| format!("IP Address {} parse error during conversion from string: {why}", crate::go::quote(text));
    if text.contains('%') {
        return Err(refuse("IP address with zone value is not allowed"));
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            Err(refuse("IPv4-mapped IPv6 address is not allowed"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(refuse("unable to parse IP")),
    }
}

/// An address and the length of its prefix, in digits without a sign or a leading zero.
pub(super) fn cidr(text: &str) -> Result<(), String> {
    let refuse = || format!("network address parse error during conversion from string: {}", crate::go::quote(text));
    let (address, length) = text.rsplit_once('/').ok_or_else(refuse)?;
    let address = ip(address).map_err(|_| refuse())?;
    let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length.len() == 1 || !length.starts_with('0'));
    let longest = if address.is_ipv4() { 32 } else { 128 };
    match length.parse::<u8>() {
        Ok(length) if plain && length <= longest => Ok(()),
        _ => Err(refuse()),
    }
}

/// An absolute URI or an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    /// With the port.
    pub(super) host: String,
    /// As written; empty for `mailto:a@b`.
    path: String,
    raw_query: String,
}

impl Opaque for Url {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.URL"
    }
}

impl Url {
    /// As `url.ParseRequestURI`. A fragment, which that function takes for a part of the path, is then cut off.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| {
            format!("URL parse error during conversion from string: parse {}: {why}", crate::go::quote(text))
        };
        if text.is_empty() {
            return Err(refuse("empty url"));
        }
        if text.bytes().any(|b| b < b' ' || b == 0x7f) {
            return Err(refuse("net/url: invalid control character in URL"));
        }
        let (scheme, rest) = scheme(text).ok_or_else(|| refuse("missing protocol scheme"))?;
        let (rest, raw_query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self { scheme, host: String::new(), path: String::new(), raw_query: raw_query.to_owned() };
        if text == "*" {
            url.path = text.to_owned();
            return Ok(url);
        }
        if !rest.starts_with('/') {
            if url.scheme.is_empty() {
                return Err(refuse("invalid URI for request"));
            }
            return Ok(url);
        }
        let path = match rest.strip_prefix("//").filter(|_| !url.scheme.is_empty()) {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                url.host = authority_host(authority).map_err(|why| refuse(&why))?;
                path
            }
            None => rest,
        };
        if !has_whole_escapes(path) {
            return Err(refuse("invalid URL escape"));
        }
        path.split('#').next().unwrap_or_default().clone_into(&mut url.path);
        if let Some((query, _)) = raw_query.split_once('#') {
            query.clone_into(&mut url.raw_query);
        }
        Ok(url)
    }

    pub(super) fn len(&self) -> usize {
        self.scheme.len() + self.host.len() + self.path.len() + self.raw_query.len()
    }

    pub(super) fn hostname(&self) -> &str {
        let host = match self.host.rfind(':') {
            Some(colon) if is_port(&self.host[colon..]) => &self.host[..colon],
            _ => &self.host,
        };
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    pub(super) fn port(&self) -> &str {
        match self.host.rfind(':') {
            Some(colon) if is_port(&self.host[colon..]) => &self.host[colon + 1..],
            _ => "",
        }
    }

    pub(super) fn escaped_path(&self) -> String {
        let mut escaped = String::with_capacity(self.path.len());
        for byte in self.path.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/[]%".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
        escaped
    }

    /// Every key with its values; a pair that cannot be read is left out.
    pub(super) fn query(&self) -> HashMap<String, Vec<String>> {
        let mut query: HashMap<String, Vec<String>> = HashMap::new();
        for pair in self.raw_query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (unescaped(key), unescaped(value)) {
                query.entry(key).or_default().push(value);
            }
        }
        query
    }
}

/// The scheme, in lower case and perhaps empty, and what follows; `None` if there is only a colon.
fn scheme(text: &str) -> Option<(String, &str)> {
    for (i, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return None,
            ':' => return Some((text[..i].to_ascii_lowercase(), &text[i + 1..])),
            _ => break,
        }
    }
    Some((String::new(), text))
}

fn authority_host(authority: &str) -> Result<String, String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    let is_user = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    if !user.bytes().all(is_user) || !has_whole_escapes(user) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let invalid_port = |port: &str| format!("invalid port {} after host", crate::go::quote(port));
    if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        if !is_port(&host[end + 1..]) {
            return Err(invalid_port(&host[end + 1..]));
        }
        let address = host[1..end].split("%25").next().unwrap_or_default();
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("invalid host".to_owned());
        }
        return Ok(host.replace("%25", "%"));
    }
    if let Some(colon) = host.rfind(':')
        && !is_port(&host[colon..])
    {
        return Err(invalid_port(&host[colon..]));
    }
    let is_host = |b: u8| b >= 0x80 || b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&b);
    if !host.bytes().all(is_host) {
        return Err("invalid character in host name".to_owned());
    }
    // in a host, only bytes beyond ASCII may be escaped
    let beyond_ascii = host
        .match_indices('%')
        .all(|(i, _)| matches!(host.as_bytes().get(i + 1), Some(b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F')));
    if !beyond_ascii || !has_whole_escapes(host) {
        return Err("invalid URL escape".to_owned());
    }
    Ok(unescaped(&host.replace('+', "%2B")).unwrap_or_else(|| host.to_owned()))
}

/// Nothing, or a colon and digits: any number.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

fn has_whole_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.match_indices('%')
        .all(|(i, _)| bytes.get(i + 1..i + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)))
}

/// A part of a query without its escapes.
fn unescaped(text: &str) -> Option<String> {
    if !has_whole_escapes(text) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at(2);
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go 1.25's answers: `netip.ParseAddr` and `netip.ParsePrefix` with the checks of Kubernetes' library, and
    /// `url.ParseRequestURI`.
    #[test]
    fn addresses_ranges_and_urls_are_those_that_kubernetes_takes() {
        for (text, good) in [
            ("10.0.0.1", true),
            ("0.0.0.0", true),
            ("::", true),
            ("::1", true),
            ("fe80::1", true),
            ("0001::", true),
            ("::1.2.3.4", true),
            ("FD00::A", true),
            ("010.0.0.1", false),
            ("10.0.0.00", false),
            ("10.0.0", false),
            ("10.0.0.256", false),
            ("10.0.0.1 ", false),
            ("1.2.3.999", false),
            ("fe80::1%eth0", false),
            ("::ffff:1.2.3.4", false),
            ("00001::", false),
            ("[::1]", false),
            ("", false),
        ] {
            assert_eq!(ip(text).is_ok(), good, "{text:?}");
        }
        for (text, good) in [
            ("10.0.0.0/8", true),
            ("10.0.0.1/24", true),
            ("0.0.0.0/0", true),
            ("10.0.0.0/32", true),
            ("fd00::/64", true),
            ("::/128", true),
            ("010.0.0.0/24", false),
            ("10.0.0.0/08", false),
            ("10.0.0.0/00", false),
            ("10.0.0.0/+8", false),
            ("10.0.0.0/-1", false),
            ("10.0.0.0/33", false),
            ("10.0.0.0/256", false),
            ("10.0.0.0/", false),
            ("10.0.0.0", false),
            ("10.0.0.0/8/8", false),
            ("fd00::/129", false),
            ("::ffff:10.0.0.0/104", false),
            ("fe80::1%eth0/64", false),
            ("10.0.0.0/255.0.0.0", false),
        ] {
            assert_eq!(cidr(text).is_ok(), good, "{text:?}");
        }
        for (text, good) in [
            ("https://a.example/b?c=d", true),
            ("https://a.example:80/", true),
            ("https://a.example:99999/", true),
            ("https://a.example:/", true),
            ("https://[::1]:80/", true),
            ("https://user:pass@a/", true),
            ("/a/b", true),
            ("//a/b", true),
            ("*", true),
            ("mailto:a@b", true),
            ("oci:r/i", true),
            ("http://", true),
            ("http://a/%41", true),
            ("http://a/b c", true),
            ("https://a.example:8x/", false),
            ("https://a.example:-1/", false),
            ("https://[::1/", false),
            ("https://[a]/", false),
            ("https://[::1]x/", false),
            ("a.example", false),
            ("../a", false),
            ("", false),
            (":a", false),
            ("http://a b/", false),
            ("http://a/%4", false),
            ("http://a%41/", false),
            ("http://a\n/", false),
        ] {
            assert_eq!(Url::parse(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn parts_of_a_url() {
        let url = Url::parse("HTTPS://user@[fd00::1]:8443/a%20b/ü?x=1&x=2&y=a+b#end").unwrap();
        assert_eq!((url.scheme.as_str(), url.host.as_str()), ("https", "[fd00::1]:8443"));
        assert_eq!((url.hostname(), url.port()), ("fd00::1", "8443"));
        assert_eq!(url.escaped_path(), "/a%20b/%C3%BC");
        let query = url.query();
        assert_eq!((&query["x"], &query["y"]), (&vec!["1".to_owned(), "2".to_owned()], &vec!["a b".to_owned()]));
    }
}
