//! The little that is read of a client's message (RFC 2131 §2, RFC 2132).
//!
//! Our own reader, because what guests send is hostile: dhcproto, which writes the replies, panics on some bytes
//! (a rapid-commit option with a body, a hardware address longer than its field). This one takes what it knows,
//! skips what it doesn't, and refuses what is cut off.

use std::net::Ipv4Addr;

use crate::config::Mac;

const MAGIC: [u8; 4] = [99, 130, 83, 99];
const OPTIONS: usize = 240;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub xid: u32,
    /// The client cannot take a packet to an address it does not have yet.
    pub broadcast: bool,
    /// The address the client has, if any.
    pub ciaddr: Ipv4Addr,
    pub mac: Mac,
    /// Option 53, as its number.
    pub kind: u8,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Option 61, which a reply repeats.
    pub client_id: Option<Vec<u8>>,
}

impl Request {
    /// `None` for what is no request of a client on this Ethernet: replies, relayed ones, other hardware, rubbish.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let fixed: &[u8; OPTIONS] = bytes.get(..OPTIONS)?.try_into().ok()?;
        let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        let [request, ethernet, six] = [fixed[0], fixed[1], fixed[2]];
        if (request, ethernet, six) != (1, 1, 6) || fixed[236..] != MAGIC || !address(24).is_unspecified() {
            return None;
        }
        let mut found = Request {
            xid: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            broadcast: fixed[10] & 0x80 != 0,
            ciaddr: address(12),
            mac: Mac([fixed[28], fixed[29], fixed[30], fixed[31], fixed[32], fixed[33]]),
            kind: 0,
            requested: None,
            server: None,
            client_id: None,
        };
        let mut rest = &bytes[OPTIONS..];
        loop {
            let (&code, after) = rest.split_first()?;
            rest = match code {
                0 => after,
                255 => break,
                _ => {
                    let (&length, after) = after.split_first()?;
                    let (value, after) = after.split_at_checked(usize::from(length))?;
                    found.take(code, value)?;
                    after
                }
            };
        }
        (found.kind != 0).then_some(found)
    }

    fn take(&mut self, code: u8, value: &[u8]) -> Option<()> {
        let address = || <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
        match code {
            50 => self.requested = Some(address()?),
            53 => self.kind = <[u8; 1]>::try_from(value).ok()?[0],
            54 => self.server = Some(address()?),
            61 => self.client_id = Some(value.to_vec()),
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_cut_off_or_no_clients_is_refused() {
        let mut bytes = vec![0; OPTIONS];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[236..].copy_from_slice(&MAGIC);
        bytes.extend([53, 1, 1, 80, 2, 9, 9, 0, 50, 4, 10, 0, 0, 5, 255]);
        let parsed = Request::parse(&bytes).unwrap();
        assert_eq!((parsed.kind, parsed.requested), (1, Some(Ipv4Addr::new(10, 0, 0, 5))));
        for cut in 0..bytes.len() {
            assert_eq!(Request::parse(&bytes[..cut]), None, "cut at {cut}");
        }
        for (at, value) in [(0, 2), (1, 6), (2, 16), (24, 10), (236, 0), (241, 0), (241, 2)] {
            let mut bad = bytes.clone();
            bad[at] = value;
            assert_eq!(Request::parse(&bad), None, "byte {at} = {value}");
        }
    }
}
