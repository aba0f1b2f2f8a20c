//! The generation of a namespace's nftables rules: a number that the kernel counts up with every change, by whomever.
//!
//! To read it is one small message; to list the rules is a program of its own. So rules are listed again only when the
//! number is another one.

use std::os::fd::AsRawFd;

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

use super::error::{NetworkError, Result};

/// `NFNL_SUBSYS_NFTABLES`, which stands above the number of a message.
const NFTABLES: u16 = 10 << 8;
const GET_GENERATION: u16 = NFTABLES | 16;
const GENERATION: u16 = NFTABLES | 15;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
/// Of the header, and of the nfnetlink header after it.
const HEADER: usize = 16;
const HEADERS: usize = HEADER + 4;
/// The attribute with the number, in network order.
const NFTA_GEN_ID: u16 = 1;

/// The number, in the namespace of the calling thread.
pub(super) fn generation() -> Result<u32> {
    ask().map_err(|errno| NetworkError::Netlink(errno.into()))
}

fn ask() -> nix::Result<u32> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    let mut request = Vec::with_capacity(HEADERS);
    request.extend((HEADERS as u32).to_ne_bytes());
    request.extend(GET_GENERATION.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.resize(HEADERS, 0);
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut reply = [0; 1024];
    let length = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    read(&reply[..length])
}

fn read(reply: &[u8]) -> nix::Result<u32> {
    let word = |at: usize| reply.get(at..at + 2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    match word(4) {
        Some(NLMSG_ERROR) => {
            let code = reply.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
            return Err(Errno::from_raw(-code.unwrap_or_default()));
        }
        Some(GENERATION) => {}
        _ => return Err(Errno::EBADMSG),
    }
    let mut at = HEADERS;
    while let (Some(length), Some(kind)) = (word(at), word(at + 2)) {
        let value = reply.get(at + 4..at + usize::from(length)).ok_or(Errno::EBADMSG)?;
        if let (NFTA_GEN_ID, Ok(bytes)) = (kind, value.try_into()) {
            return Ok(u32::from_be_bytes(bytes));
        }
        at += usize::from(length).next_multiple_of(4).max(4);
    }
    Err(Errno::EBADMSG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn the_number_is_found_and_anything_else_is_an_error() {
        let attribute = |kind: u16, value: &[u8]| {
            [&(4 + value.len() as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
        };
        let body = [&[0; 4][..], &attribute(3, b"nft\0"), &attribute(NFTA_GEN_ID, &7u32.to_be_bytes())].concat();
        assert_eq!(read(&reply(GENERATION, &body)), Ok(7));
        assert_eq!(read(&reply(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes())), Err(Errno::EPERM));
        assert_eq!(read(&reply(GENERATION, &[0; 4])), Err(Errno::EBADMSG));
        let whole = reply(GENERATION, &body);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
