//! One connection to one libvirt, opened when needed and again when it is dead.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use uuid::Uuid;
use virt::connect::Connect;
use virt::error::Error;

use super::events::HostShutdowns;
use super::files::Files;
use super::pool::{Pool, PoolError};
use super::{Element, Libvirt, LibvirtError, ParsedDomains, QemuIds, events};

/// Calls at once, and in line behind them.
const THREADS: usize = 8;
const WAITING: usize = 256;
/// A start of QEMU may take seconds on a loaded machine, an ordinary question milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);
const WAKE_UPS: usize = 1024;

/// libvirt gives up on a silent peer after about this many seconds times the count.
const KEEPALIVE: (i32, u32) = (5, 3);

/// A libvirt of this host. Clones share the connection.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    pool: Pool,
}

struct Shared {
    uri: String,
    files: Files,
    open: Mutex<Option<Connect>>,
    wake: Sender<Uuid>,
    shutdowns: HostShutdowns,
    parsed: ParsedDomains,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("uri", &self.shared.uri).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection to that libvirt, and the UUIDs of domains that are worth a look. Opens nothing yet. Events are only
    /// heard while a connection is open: ask something now and then.
    #[must_use]
    pub fn new(libvirt: &Libvirt) -> (Self, Receiver<Uuid>) {
        let (wake, woken) = channel(WAKE_UPS);
        let shared = Shared {
            uri: libvirt.uri(),
            files: libvirt.files(),
            open: Mutex::new(None),
            wake,
            shutdowns: HostShutdowns::default(),
            parsed: ParsedDomains::default(),
        };
        (Self { shared: Arc::new(shared), pool: Pool::new("libvirt", THREADS, WAITING) }, woken)
    }

    pub(super) fn files(&self) -> &Files {
        &self.shared.files
    }

    pub(super) fn parsed(&self) -> &ParsedDomains {
        &self.shared.parsed
    }

    pub(super) fn shutdowns(&self) -> &HostShutdowns {
        &self.shared.shutdowns
    }

    /// Asks for an answer that takes libvirt no time.
    ///
    /// # Errors
    /// When there is none within `limit`, or no connection.
    pub async fn ping(&self, limit: Duration) -> Result<(), LibvirtError> {
        let shared = Arc::clone(&self.shared);
        let what = "reach libvirt";
        let ask = move || shared.connect()?.lib_version().map_err(call(what));
        let answer = self.pool.run(limit, ask).await;
        answer.map_err(|source: PoolError| LibvirtError::NoAnswer { what, source })?.map(drop)
    }

    #[must_use]
    pub fn uri(&self) -> &str {
        &self.shared.uri
    }

    /// Runs `call` with the open connection on a thread of the pool.
    ///
    /// # Errors
    /// When there is no connection, no answer in time, or `call` fails. `what` completes "could not …".
    pub(super) async fn with<T: Send + 'static>(
        &self,
        what: &'static str,
        call: impl FnOnce(&Connect) -> Result<T, LibvirtError> + Send + 'static,
    ) -> Result<T, LibvirtError> {
        let shared = Arc::clone(&self.shared);
        let answer = self.pool.run(DEADLINE, move || call(&shared.connect()?)).await;
        answer.map_err(|source: PoolError| LibvirtError::NoAnswer { what, source })?
    }

    /// The user and group that this libvirt runs QEMU as.
    ///
    /// # Errors
    /// When libvirt cannot be asked, or does not say.
    pub async fn qemu_ids(&self) -> Result<QemuIds, LibvirtError> {
        let ask = |connect: &Connect| connect.capabilities().map_err(call("ask for its capabilities"));
        let xml = self.with("ask libvirt for its capabilities", ask).await?;
        let capabilities = Element::parse(&xml).map_err(LibvirtError::Xml)?;
        capabilities
            .find("host")
            .and_then(ids_in)
            .ok_or(LibvirtError::Xml(super::XmlError::Shape("no label of model dac")))
    }
}

/// `<secmodel><model>dac</model>…<baselabel type='kvm'>+64055:+107</baselabel>`
fn ids_in(host: &Element) -> Option<QemuIds> {
    let dac = host.all("secmodel").find(|model| model.find("model").is_some_and(|name| name.text == "dac"))?;
    let (uid, gid) = dac.find("baselabel")?.text.split_once(':')?;
    let number = |text: &str| text.trim_start_matches('+').parse().ok();
    Some(QemuIds { uid: number(uid)?, gid: number(gid)? })
}

pub(super) fn call(what: &'static str) -> impl Fn(Error) -> LibvirtError {
    move |source| LibvirtError::Call { what, source }
}

impl Shared {
    /// The open connection, or a new one: libvirt never reopens one by itself.
    fn connect(&self) -> Result<Connect, LibvirtError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connect) = open.as_ref() {
            if connect.is_alive().unwrap_or(false) {
                return Ok(connect.clone());
            }
            *open = None;
        }
        let failed = |source| LibvirtError::Open { uri: self.uri.clone(), source };
        events::start_loop().map_err(failed)?;
        let connect = Connect::open(Some(&self.uri)).map_err(failed)?;
        let (seconds, count) = KEEPALIVE;
        connect.set_keep_alive(seconds, count).map_err(failed)?;
        events::subscribe(&connect, self.wake.clone(), self.shutdowns.clone()).map_err(failed)?;
        *open = Some(connect.clone());
        tracing::debug!(uri = self.uri, "connected to libvirt");
        Ok(connect)
    }
}

#[cfg(test)]
mod tests {
    use super::super::private::{Layout, PrivateLibvirt};
    use super::*;

    #[test]
    fn the_qemu_user_is_read_from_the_capabilities() {
        let host = Element::parse(
            "<host><secmodel><model>apparmor</model><doi>0</doi></secmodel><secmodel><model>dac</model><doi>0</doi>\
             <baselabel type='kvm'>+64055:+107</baselabel><baselabel type='qemu'>+64055:+107</baselabel></secmodel></host>",
        );
        assert_eq!(ids_in(&host.unwrap()), Some(QemuIds { uid: 64055, gid: 107 }));
        assert_eq!(ids_in(&Element::new("host")), None);
    }

    #[tokio::test]
    async fn no_libvirt_is_an_error_not_an_answer() {
        let private = PrivateLibvirt::new(Layout::new("/nonexistent"), "nubium");
        let (connection, _woken) = Connection::new(&Libvirt::Private(private));
        let error = connection.qemu_ids().await.unwrap_err();
        assert!(matches!(error, LibvirtError::Open { .. }), "{error:?}");
    }
}
