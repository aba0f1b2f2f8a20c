//! The kernel's notifications of changes in one network namespace: of links, addresses, routes, neighbours and rules.
//!
//! As long as none comes, a look would find what the last one found. The sockets keep the namespace alive: whoever holds
//! them lets them go when its name is gone.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket},
};
use tokio::io::{
    Interest,
    unix::{AsyncFd, AsyncFdRegisterError},
};

use super::error::{NetworkError, Result};

/// `RTNLGRP_LINK`, `_NEIGH`, `_IPV4_IFADDR` and `_IPV4_ROUTE`, as the bits of an address.
const ROUTE_GROUPS: u32 = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 6;
/// `NFNLGRP_NFTABLES`.
const RULE_GROUPS: u32 = 1 << 6;
const NEW_NEIGHBOUR: u16 = 28;
const DELETED_NEIGHBOUR: u16 = 29;
/// Of a message's header; the family of a neighbour comes next.
const HEADER: usize = 16;
/// The kernel sends no larger ones.
const LARGEST: usize = 32 << 10;

/// The sockets, not waited for yet.
pub(super) struct Sockets([OwnedFd; 2]);

impl Sockets {
    /// Listens in the namespace of the calling thread, from now on.
    pub fn open() -> Result<Self> {
        let route = listen(SockProtocol::NetlinkRoute, ROUTE_GROUPS)?;
        let rules = listen(SockProtocol::NetlinkNetFilter, RULE_GROUPS)?;
        Ok(Self([route, rules]))
    }
}

fn listen(protocol: SockProtocol, groups: u32) -> Result<OwnedFd> {
    let failed = |errno: Errno| NetworkError::Netlink(errno.into());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).map_err(failed)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed)?;
    Ok(socket)
}

/// The sockets, and whether anything was notified since the last call of [`Notices::take`].
pub(super) struct Notices {
    sockets: [AsyncFd<OwnedFd>; 2],
    notified: AtomicBool,
}

impl Notices {
    /// Must be called within a tokio runtime.
    pub fn new(Sockets(sockets): Sockets) -> Result<Self> {
        // SAFETY: an OwnedFd is open for as long as it lives, and always gives the same number.
        let [route, rules] =
            sockets.map(|socket| unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) });
        let failed = |error: AsyncFdRegisterError<OwnedFd>| NetworkError::Netlink(error.into());
        Ok(Self { sockets: [route.map_err(failed)?, rules.map_err(failed)?], notified: AtomicBool::new(false) })
    }

    /// Whether anything was notified since the last call.
    pub fn take(&self) -> bool {
        let notified = self.read();
        self.notified.swap(false, Ordering::SeqCst) || notified
    }

    /// Waits for a notification. [`Notices::take`] reports it too.
    pub async fn wait(&self) -> io::Result<()> {
        loop {
            let [route, rules] = &self.sockets;
            let mut ready = tokio::select! {
                ready = route.readable() => ready?,
                ready = rules.readable() => ready?,
            };
            ready.clear_ready();
            if self.read() {
                self.notified.store(true, Ordering::SeqCst);
                return Ok(());
            }
        }
    }

    /// Reads all that has come.
    fn read(&self) -> bool {
        let [route, rules] = self.sockets.each_ref().map(|socket| {
            let socket = socket.get_ref().as_raw_fd();
            drain(|buffer, flags| recv(socket, buffer, flags | MsgFlags::MSG_DONTWAIT))
        });
        route || rules
    }
}

/// Whether anything came that counts. That something was lost counts too, and the kernel says so once.
fn drain(mut receive: impl FnMut(&mut [u8], MsgFlags) -> nix::Result<usize>) -> bool {
    // Mostly nothing has come, and no room for a message is needed.
    let mut notified = match receive(&mut [], MsgFlags::MSG_PEEK) {
        Err(Errno::EAGAIN) => return false,
        Ok(_) | Err(Errno::EINTR) => false,
        Err(_) => true,
    };
    let mut buffer = vec![0; LARGEST];
    loop {
        match receive(&mut buffer, MsgFlags::empty()) {
            Ok(length) => notified |= counts(&buffer[..length]),
            Err(Errno::EAGAIN) => return notified,
            Err(Errno::EINTR) => {}
            Err(Errno::ENOBUFS) => notified = true,
            // It will say no more: each look is taken.
            Err(_) => return true,
        }
    }
}

/// Whether one of these messages is of something that a look finds: which MACs a bridge has learnt is not.
fn counts(mut messages: &[u8]) -> bool {
    while let Some(header) = messages.get(..HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let family = messages.get(HEADER).copied().map(libc::c_int::from);
        let learnt = matches!(kind, NEW_NEIGHBOUR | DELETED_NEIGHBOUR) && family == Some(libc::AF_BRIDGE);
        if !learnt {
            return true;
        }
        messages = messages.get(length.next_multiple_of(4).max(HEADER)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: libc::c_int) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + 12];
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[HEADER] = family as u8;
        bytes
    }

    #[test]
    fn what_was_lost_counts_also_when_the_first_look_at_the_socket_says_so() {
        let learnt = || Ok(message(NEW_NEIGHBOUR, libc::AF_BRIDGE));
        let drained = |answers: Vec<nix::Result<Vec<u8>>>| {
            let mut answers = answers.into_iter();
            drain(|buffer, _| {
                let bytes = answers.next().unwrap_or(Err(Errno::EAGAIN))?;
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                Ok(length)
            })
        };
        assert!(!drained(vec![]));
        assert!(!drained(vec![learnt(), learnt(), learnt()]), "what is peeked at and what is read does not count");
        assert!(drained(vec![Err(Errno::ENOBUFS), learnt()]));
        assert!(drained(vec![learnt(), learnt(), Err(Errno::ENOBUFS)]));
        assert!(drained(vec![learnt(), Ok(message(16, libc::AF_UNSPEC))]));
    }

    #[test]
    fn a_learnt_mac_is_no_news_and_all_else_is() {
        let learnt = message(NEW_NEIGHBOUR, libc::AF_BRIDGE);
        assert!(!counts(&learnt));
        assert!(!counts(&[learnt.clone(), message(DELETED_NEIGHBOUR, libc::AF_BRIDGE)].concat()));
        assert!(counts(&message(NEW_NEIGHBOUR, libc::AF_INET)));
        assert!(counts(&message(16, libc::AF_UNSPEC)));
        assert!(counts(&[learnt, message(16, libc::AF_UNSPEC)].concat()), "behind one that is no news");
    }
}
