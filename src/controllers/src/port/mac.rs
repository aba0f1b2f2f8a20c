//! The MAC address of a Port. Pure.

use kube::ResourceExt;
use nubium_api::Port;

/// The MAC: the one it asked for, else a locally administered one with the last 40 bits of its UID.
pub(super) fn mac(port: &Port) -> String {
    if let Some(asked) = &port.spec.mac_address {
        return asked.clone();
    }
    let digits: Vec<u8> = port.uid().unwrap_or_default().bytes().filter(u8::is_ascii_hexdigit).collect();
    let tail = &digits[digits.len().saturating_sub(10)..];
    let tail = String::from_utf8_lossy(tail).to_ascii_lowercase();
    let mut mac = "02".to_owned();
    for pair in format!("{tail:0>10}").as_bytes().chunks(2) {
        mac.push(':');
        mac.push_str(&String::from_utf8_lossy(pair));
    }
    mac
}
