//! Raw Ethernet frames, for lies that no ordinary program tells, and one plain fetch.

use std::{
    fs, io,
    io::{Read, Write},
    mem,
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};

/// A packet socket on `eth0` of a guest; it is opened inside and works from here.
pub struct Wire {
    fd: OwnedFd,
}

impl Wire {
    pub fn of(guest: &str) -> Self {
        let file = fs::File::open(format!("/run/netns/{guest}")).expect("the guest's namespace");
        let opened = std::thread::spawn(move || {
            setns(file.as_fd(), CloneFlags::CLONE_NEWNET).expect("setns");
            let all = (libc::ETH_P_ALL as u16).to_be();
            // SAFETY: plain numbers in, and the descriptor that comes out is nobody else's.
            let fd = unsafe {
                OwnedFd::from_raw_fd(libc::socket(
                    libc::AF_PACKET,
                    libc::SOCK_RAW | libc::SOCK_NONBLOCK,
                    i32::from(all),
                ))
            };
            // SAFETY: an all-zero sockaddr_ll is a valid one.
            let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = all;
            address.sll_ifindex = nix::net::if_::if_nametoindex("eth0").expect("eth0") as i32;
            let length = mem::size_of_val(&address) as libc::socklen_t;
            // SAFETY: the address is ours, with its true size.
            let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
            assert_eq!(bound, 0, "{}", io::Error::last_os_error());
            fd
        });
        Wire { fd: opened.join().expect("a socket") }
    }

    pub fn send(&self, frame: &[u8]) {
        nix::unistd::write(&self.fd, frame).expect("a frame leaves");
    }

    /// Whether a frame with these bytes somewhere in it comes within half a second.
    pub fn hears(&self, bytes: &[u8]) -> bool {
        let until = Instant::now() + Duration::from_millis(500);
        let mut buffer = [0; 2048];
        while Instant::now() < until {
            match nix::unistd::read(&self.fd, &mut buffer) {
                Ok(length) if buffer[..length].windows(bytes.len()).any(|w| w == bytes) => return true,
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        false
    }
}

/// An Ethernet frame: to, from, then whatever follows, padded.
pub fn frame(to: &str, from: &str, rest: &[&[u8]]) -> Vec<u8> {
    let mac = |text: &str| text.parse::<nubium_host::network::MacAddr>().expect("a MAC").0;
    let mut bytes = [mac(to), mac(from)].concat();
    bytes.extend(rest.concat());
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

/// An IPv4 packet with a UDP payload, checksums left out: what is looked at here is on the wire, not in a stack.
pub fn udp(from: [u8; 4], to: [u8; 4], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16 + 8;
    let mut bytes = vec![0x45, 0];
    bytes.extend((length + 20).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    bytes.extend(from);
    bytes.extend(to);
    for half in [ports.0, ports.1, length, 0] {
        bytes.extend(half.to_be_bytes());
    }
    bytes.extend(payload);
    let sum = bytes[..20].chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c[1])).sum::<u32>();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// What this program does when it is called as `fetch <address>`: one GET, and its answer on standard output.
pub fn fetch(address: &str) -> io::Result<()> {
    let address: SocketAddr = format!("{address}:80").parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    print!("{} {text}", stream.local_addr()?);
    if text.contains("hello from outside") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
