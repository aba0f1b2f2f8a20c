//! With whom the host itself is connected, as its sockets say.
//!
//! Only established TCP connections and connected UDP sockets count: a program that still tries to reach an address has
//! nothing there that a route could take away.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::error::{NetworkError, Result};

/// The two ends of a connection of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// The host's own address.
    pub local: Ipv4Addr,
    /// The other one's.
    pub peer: Ipv4Addr,
}

/// `ESTABLISHED` of TCP, which is also the state of a connected UDP socket.
const ESTABLISHED: &str = "01";

/// The IPv4 connections in the network namespace of the calling thread, those over the loopback left out.
pub(super) fn connections() -> Result<BTreeSet<Connection>> {
    let mut all = BTreeSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let path = format!("/proc/thread-self/net/{table}");
        match fs::read_to_string(&path) {
            Ok(text) => all.extend(text.lines().filter_map(connection)),
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(NetworkError::Record { path: path.into(), operation: "read", source }),
        }
    }
    Ok(all)
}

fn connection(line: &str) -> Option<Connection> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, peer) = (fields.next()?, fields.next()?);
    (fields.next()? == ESTABLISHED).then_some(())?;
    let (local, peer) = (address(local)?, address(peer)?);
    (!peer.is_loopback() && !peer.is_unspecified()).then_some(Connection { local, peer })
}

/// `0100007F:0016`, or four such words of an IPv6 address, each as this machine stores it.
fn address(field: &str) -> Option<Ipv4Addr> {
    let (words, _port) = field.split_once(':')?;
    let mut bytes = Vec::new();
    for at in (0..words.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(words.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => match IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn word(address: [u8; 4]) -> String {
        format!("{:08X}", u32::from_ne_bytes(address))
    }

    #[test]
    fn established_connections_of_either_family_are_read() {
        let line =
            |local: &str, peer: &str, state: &str| format!("  0: {local}:0016 {peer}:01BB {state} 00000000:0 00:0");
        let (me, other) = (word([192, 0, 2, 1]), word([10, 99, 0, 53]));
        let found = Connection { local: [192, 0, 2, 1].into(), peer: [10, 99, 0, 53].into() };
        assert_eq!(connection(&line(&me, &other, "01")), Some(found));
        assert_eq!(connection(&line(&me, &other, "02")), None, "one that is only tried");
        assert_eq!(connection(&line(&me, &word([127, 0, 0, 1]), "01")), None);
        let mapped = |tail: &str| format!("{}{}{tail}", word([0; 4]).repeat(2), word([0, 0, 255, 255]));
        assert_eq!(connection(&line(&mapped(&me), &mapped(&other), "01")), Some(found));
        assert_eq!(connection("  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn the_kernel_writes_what_is_read_here() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = format!(":{:04X} ", stream.local_addr().unwrap().port());
        let text = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let line = text.lines().find(|line| line.contains(&port) && line.contains(" 01 ")).unwrap();
        let local = line.split_whitespace().nth(1).unwrap();
        assert_eq!(address(local), Some(Ipv4Addr::LOCALHOST));
        assert!(connections().is_ok());
    }
}
