//! A guest's tap. It is made down in the host's namespace, where libvirtd opens it; then it is moved into its
//! Network's namespace, and only there is it ever up.

use std::{fs, io, os::fd::AsFd, os::fd::AsRawFd};

use rtnetlink::Handle;

use super::{
    error::{NetworkError, Result},
    links,
    names::{self, BRIDGE, Netns},
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
    /// Whose it is, for people who look: the Port's UID.
    pub alias: String,
}

/// A tap inside a Network's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapSeen {
    pub mtu: u32,
    pub up: bool,
    pub on_bridge: bool,
}

/// A tap of ours, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TapFound {
    pub name: String,
    /// `None`: in the host's namespace, on its way into its Network.
    pub netns: Option<Netns>,
}

/// The taps of ours in the namespace of `handle`: made by us, which their alias says.
pub(super) async fn list(handle: &Handle) -> Result<Vec<String>> {
    let is_ours = |link: &links::LinkSeen| {
        let alias = link.alias.as_deref().and_then(|alias| alias.parse::<uuid::Uuid>().ok());
        link.kind == "tun" && alias.is_some_and(|port| names::tap(&port.to_string()) == link.name)
    };
    Ok(links::list(handle).await?.into_values().filter(is_ours).map(|link| link.name).collect())
}

impl TapSeen {
    /// Whether a guest behind it can talk.
    pub fn works(&self, mtu: u32) -> bool {
        let TapSeen { mtu: seen, up, on_bridge } = self;
        *seen == mtu && *up && *on_bridge
    }
}

/// Makes the tap, down, in place of a stale one.
pub(super) async fn create(handle: &Handle, tap: &Tap) -> Result<()> {
    links::delete(handle, &tap.name).await?;
    make_persistent(tap)?;
    let link = links::need(handle, &tap.name).await?;
    let message = links::change(link.index).mtu(tap.mtu).alias(tap.alias.clone()).build();
    links::set(handle, &format!("the tap {}", tap.name), message).await
}

/// One queue, virtio headers, no packet information: what libvirt asks for when it opens a tap for virtio.
fn make_persistent(tap: &Tap) -> Result<()> {
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
    // SAFETY: both take a plain number.
    check(unsafe { libc::ioctl(fd, libc::TUNSETOWNER as _, libc::c_ulong::from(tap.owner)) })
        .map_err(failed("set the owner"))?;
    // SAFETY: as above.
    check(unsafe { libc::ioctl(fd, libc::TUNSETPERSIST as _, 1 as libc::c_ulong) }).map_err(failed("keep"))
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

/// Puts a tap that is in its namespace on the bridge, and up.
pub(super) async fn attach(handle: &Handle, name: &str, mtu: u32) -> Result<()> {
    let tap = links::need(handle, name).await?;
    let bridge = links::need(handle, BRIDGE).await?;
    let message = links::change(tap.index).mtu(mtu).controller(bridge.index).up().build();
    links::set(handle, &format!("the tap {name}"), message).await
}
