//! IPv4 and UDP around a DHCP message. Requests come with their checksum often not yet computed (a guest leaves that
//! to its virtual card), so it is not checked; replies carry both.

use std::net::Ipv4Addr;

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;
const UDP: u8 = 17;

/// The UDP payload of an IPv4 packet to port 67; `None` for everything else, fragments included.
pub fn unwrap_request(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    if first >> 4 != 4 || header < 20 || fragment != 0 || *packet.get(9)? != UDP {
        return None;
    }
    let udp = packet.get(header..total)?;
    let port = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    (port == SERVER_PORT).then_some(())?;
    udp.get(8..length)
}

/// A whole IPv4 packet, from the server's port to the client's.
pub fn wrap_reply(payload: &[u8], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let mut udp = Vec::with_capacity(usize::from(length));
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let mut pseudo = Vec::with_capacity(12 + udp.len());
    pseudo.extend(from.octets());
    pseudo.extend(to.octets());
    pseudo.extend([0, UDP]);
    pseudo.extend(length.to_be_bytes());
    pseudo.extend(&udp);
    let sum = match checksum(&pseudo) {
        // Zero would mean "not computed".
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());

    let mut packet = vec![0x45, 0xc0];
    packet.extend((20 + length).to_be_bytes());
    // No identification, don't fragment, 64 hops.
    packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp);
    packet
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_add_up() {
        let packet = wrap_reply(b"hello", Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(checksum(&packet[..20]), 0);
        let mut pseudo = packet[12..20].to_vec();
        pseudo.extend([0, UDP, 0, 13]);
        pseudo.extend(&packet[20..]);
        assert_eq!(checksum(&pseudo), 0);
    }

    #[test]
    fn only_whole_packets_to_the_server_are_unwrapped() {
        let mut packet = wrap_reply(b"hello", Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(unwrap_request(&packet), None, "to the client's port");
        packet[22..24].copy_from_slice(&SERVER_PORT.to_be_bytes());
        assert_eq!(unwrap_request(&packet), Some(&b"hello"[..]));
        for cut in 0..packet.len() {
            assert_eq!(unwrap_request(&packet[..cut]), None, "cut at {cut}");
        }
        let mut padded = packet.clone();
        padded.extend([0; 20]);
        assert_eq!(unwrap_request(&padded), Some(&b"hello"[..]));
        packet[6] = 0x20;
        assert_eq!(unwrap_request(&packet), None, "a fragment");
    }
}
