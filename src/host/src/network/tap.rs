//! A guest's tap. It is made down in the host's namespace, where libvirtd opens it; then it is moved into its
//! Network's namespace, and only there is it ever up.

use std::{fs, io, os::fd::AsFd, os::fd::AsRawFd};

use rtnetlink::Handle;

use super::{
    error::{NetworkError, Result},
    links::{self, LinkSeen},
    marks,
    names::{BRIDGE, Netns},
    netns,
};

/// A tap to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// See [`super::names::tap`].
    pub name: String,
    /// The uid that QEMU runs as, which may open it.
    pub owner: u32,
    pub mtu: u32,
    /// Whose it is: the Port's UID, which makes its name. The mark by which it is known to be ours.
    pub alias: String,
}

/// A tap inside a Network's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapSeen {
    pub mtu: u32,
    pub up: bool,
    pub on_bridge: bool,
    /// Whether a process has it open, as QEMU does while its guest runs.
    pub held: bool,
}

/// A tap of ours, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TapFound {
    pub name: String,
    /// `None`: in the host's namespace, on its way into its Network.
    pub netns: Option<Netns>,
}

/// The taps of ours in the namespace of `handle`.
pub(super) async fn list(handle: &Handle) -> Result<Vec<String>> {
    let ours = |link: &LinkSeen| link.kind == "tun" && marks::is_ours(link);
    Ok(links::list(handle).await?.into_values().filter(ours).map(|link| link.name).collect())
}

impl TapSeen {
    /// Whether a guest behind it can talk.
    pub fn works(&self, mtu: u32) -> bool {
        let TapSeen { mtu: seen, up, on_bridge, held: _ } = self;
        *seen == mtu && *up && *on_bridge
    }
}

/// Makes the tap, down, in place of a stale one.
pub(super) async fn create(handle: &Handle, tap: &Tap) -> Result<()> {
    marks::delete_ours(handle, &tap.name).await?;
    let device = open(tap)?;
    let link = links::need(handle, &tap.name).await?;
    let message = links::change(link.index).mtu(tap.mtu).alias(tap.alias.clone()).build();
    links::set(handle, &format!("the tap {}", tap.name), message).await?;
    // Only now: until then it goes with this process, so that no tap without our mark stays behind.
    let failed = |source| NetworkError::Tap { name: tap.name.clone(), step: "keep", source };
    // SAFETY: `device` is open for the whole call, which takes a plain number.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETPERSIST as _, 1 as libc::c_ulong) }).map_err(failed)
}

/// Makes a tap that lasts as long as what is returned. One queue, virtio headers, no packet information: what libvirt asks
/// for when it opens a tap for virtio.
fn open(tap: &Tap) -> Result<fs::File> {
    let failed = |step| move |source| NetworkError::Tap { name: tap.name.clone(), step, source };
    let device =
        fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").map_err(failed("open /dev/net/tun"))?;
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = tap.name.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(failed("its name")(io::ErrorKind::InvalidInput.into()));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags =
        (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL) as libc::c_short;
    let fd = device.as_raw_fd();
    // SAFETY: `fd` is open for the whole call and `request` is an ifreq, as TUNSETIFF wants.
    check(unsafe { libc::ioctl(fd, libc::TUNSETIFF as _, &request) }).map_err(failed("create"))?;
    // SAFETY: it takes a plain number.
    check(unsafe { libc::ioctl(fd, libc::TUNSETOWNER as _, libc::c_ulong::from(tap.owner)) })
        .map_err(failed("set the owner"))?;
    Ok(device)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Moves the tap from the namespace of `handle` into the Network's. Not here (so probably there already): nothing.
pub(super) async fn move_in(handle: &Handle, name: &str, to: &Netns) -> Result<()> {
    let Some(link) = links::find(handle, name).await? else { return Ok(()) };
    let file = netns::open(to)?.ok_or_else(|| NetworkError::NoNamespace { name: to.to_string() })?;
    links::move_to(handle, &link, file.as_fd()).await
}

/// Deletes a tap that no process has open. One that has been opened again stays: the next look says so.
pub(super) async fn delete_idle(handle: &Handle, name: &str) -> Result<()> {
    match links::find(handle, name).await? {
        Some(link) if is_held(&link) => Ok(()),
        _ => links::delete(handle, name).await,
    }
}

/// Whether a process has it open. Of what is no tap, that cannot be said, and it counts as held.
pub(super) fn is_held(link: &LinkSeen) -> bool {
    link.kind != "tun" || link.carrier
}

/// Puts a tap that is in its namespace on the bridge, and up.
pub(super) async fn attach(handle: &Handle, name: &str, mtu: u32) -> Result<()> {
    let tap = links::need(handle, name).await?;
    let bridge = links::need(handle, BRIDGE).await?;
    let message = links::change(tap.index).mtu(mtu).controller(bridge.index).up().build();
    links::set(handle, &format!("the tap {name}"), message).await
}
