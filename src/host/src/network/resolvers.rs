//! The DNS servers that the host itself asks: its real ones, never a stub on its loopback.

use std::{fs, net::IpAddr, path::Path};

use super::error::{NetworkError, Result};

/// The host's resolvers, in order. Where `/etc/resolv.conf` names only a stub on the loopback (systemd-resolved,
/// dnsmasq), those that systemd-resolved asks. Empty when the host has none but its loopback.
pub(super) fn resolvers() -> Result<Vec<IpAddr>> {
    resolvers_in(Path::new("/etc/resolv.conf"), Path::new("/run/systemd/resolve/resolv.conf"))
}

fn resolvers_in(plain: &Path, behind_the_stub: &Path) -> Result<Vec<IpAddr>> {
    let first = read(plain)?;
    if !first.is_empty() { Ok(first) } else { read(behind_the_stub) }
}

fn read(path: &Path) -> Result<Vec<IpAddr>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(from_resolv_conf(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(NetworkError::Resolvers { path: path.into(), source }),
    }
}

/// Those a guest could reach: not loopback, not link-local (they need an interface's name), not unspecified (which
/// means this machine).
fn from_resolv_conf(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if !address.is_loopback() && !address.is_unspecified() && !link_local && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_on_the_loopback_is_never_handed_to_a_guest() {
        let dir = std::env::temp_dir().join(format!("nubium-resolvers-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (stub, real) = (dir.join("stub"), dir.join("real"));
        fs::write(&stub, "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n").unwrap();
        fs::write(&real, "nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver ::1\n")
            .unwrap();
        assert_eq!(resolvers_in(&stub, &real).unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(resolvers_in(&stub, &dir.join("absent")).unwrap(), Vec::<IpAddr>::new());
        assert_eq!(resolvers_in(&real, &stub).unwrap().len(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
