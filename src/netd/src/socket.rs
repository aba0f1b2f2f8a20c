//! A packet socket on a Network's bridge.
//!
//! Not a UDP socket: a packet socket shows which MAC really sent a request, answers clients that have no address
//! yet, and is filtered in the kernel to DHCP requests. It is opened on a thread that enters the namespace and ends;
//! afterwards it works from anywhere, and keeps the namespace alive until it is closed.

use std::{
    fs, io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, setns};

use crate::config::Mac;

/// Where `ip netns` keeps namespaces.
const NETNS_DIR: &str = "/run/netns";

pub struct BridgeSocket {
    fd: OwnedFd,
    index: i32,
    /// The kernel's number of the namespace it is in.
    pub inode: u64,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot enter the network namespace {namespace}")]
    Enter { namespace: String, source: io::Error },
    #[error("there is no link {link} in {namespace}")]
    NoLink { namespace: String, link: String, source: io::Error },
    #[error("cannot listen on {link} in {namespace}")]
    Listen { namespace: String, link: String, source: io::Error },
}

/// The number of the namespace that has this name now; `None` when there is none.
pub fn inode(namespace: &str) -> Option<u64> {
    fs::metadata(path(namespace)).ok().map(|m| m.ino())
}

fn path(namespace: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(namespace)
}

impl BridgeSocket {
    pub fn open(namespace: &str, link: &str) -> Result<Self, OpenError> {
        let enter = |source| OpenError::Enter { namespace: namespace.into(), source };
        let file = fs::File::open(path(namespace)).map_err(enter)?;
        let inode = file.metadata().map_err(enter)?.ino();
        let thread = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| enter(errno.into()))?;
                    let index = nix::net::if_::if_nametoindex(link).map_err(|errno| OpenError::NoLink {
                        namespace: namespace.into(),
                        link: link.into(),
                        source: errno.into(),
                    })? as i32;
                    let fd = listen(index).map_err(|source| OpenError::Listen {
                        namespace: namespace.into(),
                        link: link.into(),
                        source,
                    })?;
                    Ok((fd, index))
                })
                .join()
        });
        let (fd, index) = thread.map_err(|_| enter(io::Error::other("the thread panicked")))??;
        Ok(BridgeSocket { fd, index, inode })
    }

    /// The next request and who sent it; `None` when none is waiting. An error means that the socket is of no more
    /// use: the bridge went away.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<(Mac, &'b [u8])>> {
        // SAFETY: an all-zero sockaddr_ll is a valid one.
        let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
        let mut from_length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the buffer and the address are ours, with their true sizes.
        let length = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
                (&raw mut from).cast(),
                &mut from_length,
            )
        };
        if length < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        }
        let mut mac = [0; 6];
        mac.copy_from_slice(&from.sll_addr[..6]);
        Ok(Some((Mac(mac), &buffer[..length as usize])))
    }

    /// Sends an IPv4 packet to a MAC.
    pub fn send(&self, packet: &[u8], to: Mac) -> io::Result<()> {
        let address = address(self.index, to);
        // SAFETY: the packet and the address are ours, with their true sizes.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                mem::size_of_val(&address) as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for BridgeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn address(index: i32, mac: Mac) -> libc::sockaddr_ll {
    // SAFETY: an all-zero sockaddr_ll is a valid one.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    address.sll_ifindex = index;
    address.sll_halen = 6;
    address.sll_addr[..6].copy_from_slice(&mac.0);
    address
}

fn listen(index: i32) -> io::Result<OwnedFd> {
    // Protocol 0: it hears nothing before it has its filter and its link.
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just opened and is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut filter = dhcp_requests();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program, whose length is that of the array.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            mem::size_of_val(&program) as libc::socklen_t,
        )
    })?;
    let address = address(index, Mac([0; 6]));
    // SAFETY: the address is ours, with its true size.
    check(unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), mem::size_of_val(&address) as libc::socklen_t)
    })?;
    Ok(fd)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Classic BPF over an IPv4 packet: UDP, no fragment, to port 67.
fn dhcp_requests() -> [libc::sock_filter; 9] {
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET};
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    [
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 9),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 6, 17),
        op(BPF_LD | BPF_H | BPF_ABS, 0, 0, 6),
        op(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 0x3fff),
        op(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0),
        op(BPF_LD | BPF_H | BPF_IND, 0, 0, 2),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 67),
        op(BPF_RET | BPF_K, 0, 0, 2048),
        op(BPF_RET | BPF_K, 0, 0, 0),
    ]
}
