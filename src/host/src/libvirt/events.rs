//! Domain lifecycle events as wake-ups: they say where to look, never what is true; but for one fact that libvirt says
//! nowhere else, who shut a guest down ([`HostShutdowns`]).
//!
//! The `virt` crate has no safe wrapper for them, so this is the one place that speaks to libvirt's C interface for more
//! than a plain call.

use std::collections::HashSet;
use std::ffi::c_void;
use std::os::raw::{c_int, c_uchar, c_uint};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use tokio::sync::mpsc::Sender;
use uuid::Uuid;
use virt::connect::Connect;
use virt::error::Error;
use virt::sys;

/// Starts libvirt's event loop, once per process. Must come before the first connection is opened.
pub(super) fn start_loop() -> Result<(), Error> {
    static LOOP: OnceLock<Result<(), Error>> = OnceLock::new();
    LOOP.get_or_init(|| {
        virt::error::clear_error_callback(); // or libvirt echoes every error on stderr
        virt::event::event_register_default_impl()?;
        let spin = || {
            loop {
                if virt::event::event_run_default_impl().is_err() {
                    thread::sleep(std::time::Duration::from_millis(100));
                }
            }
        };
        thread::Builder::new().name("libvirt-events".into()).spawn(spin).expect("a thread can be started");
        Ok(())
    })
    .clone()
}

/// The domains whose last shutdown came from the host, as by a signal to QEMU, and not from the guest. libvirt says this
/// by an event alone: what nobody heard counts as the guest's own doing. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct HostShutdowns(Arc<Mutex<HashSet<Uuid>>>);

impl HostShutdowns {
    pub fn contains(&self, uuid: Uuid) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&uuid)
    }

    fn heard(&self, uuid: Uuid, event: c_uint, detail: c_uint) {
        let mut shutdowns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            sys::VIR_DOMAIN_EVENT_SHUTDOWN if detail == sys::VIR_DOMAIN_EVENT_SHUTDOWN_HOST => {
                shutdowns.insert(uuid);
            }
            sys::VIR_DOMAIN_EVENT_SHUTDOWN
            | sys::VIR_DOMAIN_EVENT_STARTED
            | sys::VIR_DOMAIN_EVENT_CRASHED
            | sys::VIR_DOMAIN_EVENT_UNDEFINED => {
                shutdowns.remove(&uuid);
            }
            _ => {}
        }
    }
}

/// What a callback is given.
struct Listener {
    wake: Sender<Uuid>,
    shutdowns: HostShutdowns,
}

/// Sends `wake` the UUID of each domain whose life changes, for as long as the connection lives. A full channel loses
/// events: the periodic look finds what they would have shown.
pub(super) fn subscribe(connect: &Connect, wake: Sender<Uuid>, shutdowns: HostShutdowns) -> Result<(), Error> {
    let opaque = Box::into_raw(Box::new(Listener { wake, shutdowns })).cast::<c_void>();
    let callback: unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int =
        lifecycle;
    // SAFETY: for the lifecycle event libvirt calls back with exactly `lifecycle`'s signature; `opaque` is a Box that it
    // gives to `release` once, when it has no more use for it.
    let id = unsafe {
        let callback: sys::virConnectDomainEventGenericCallback = Some(std::mem::transmute::<
            unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int,
            unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
        >(callback));
        sys::virConnectDomainEventRegisterAny(
            connect.as_ptr(),
            std::ptr::null_mut(),
            sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE as c_int,
            callback,
            opaque,
            Some(release),
        )
    };
    if id >= 0 {
        return Ok(());
    }
    let error = Error::last_error();
    // SAFETY: a failed registration leaves the Box ours.
    unsafe { release(opaque) };
    Err(error)
}

unsafe extern "C" fn lifecycle(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    let mut bytes: [c_uchar; 16] = [0; 16];
    // SAFETY: libvirt lends a valid domain for the time of the call, and 16 bytes are what it writes.
    let got = unsafe { sys::virDomainGetUUID(domain, bytes.as_mut_ptr()) };
    // SAFETY: the Box lives until `release`.
    let listener = unsafe { &*opaque.cast::<Listener>() };
    if got == 0 {
        let uuid = Uuid::from_bytes(bytes);
        listener.shutdowns.heard(uuid, event.cast_unsigned(), detail.cast_unsigned());
        listener.wake.try_send(uuid).ok();
    }
    0
}

unsafe extern "C" fn release(opaque: *mut c_void) {
    // SAFETY: `subscribe` made it, and libvirt releases it once.
    drop(unsafe { Box::from_raw(opaque.cast::<Listener>()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_by_the_host_is_remembered_until_the_next_start() {
        let (shutdowns, uuid) = (HostShutdowns::default(), Uuid::from_u128(7));
        let heard = |event, detail| {
            shutdowns.heard(uuid, event, detail);
            shutdowns.contains(uuid)
        };
        assert!(heard(sys::VIR_DOMAIN_EVENT_SHUTDOWN, sys::VIR_DOMAIN_EVENT_SHUTDOWN_HOST));
        assert!(heard(sys::VIR_DOMAIN_EVENT_STOPPED, sys::VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN), "its end follows");
        assert!(!heard(sys::VIR_DOMAIN_EVENT_STARTED, sys::VIR_DOMAIN_EVENT_STARTED_BOOTED));
        assert!(!heard(sys::VIR_DOMAIN_EVENT_SHUTDOWN, sys::VIR_DOMAIN_EVENT_SHUTDOWN_GUEST));
        assert!(!heard(sys::VIR_DOMAIN_EVENT_STOPPED, sys::VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN));
    }
}
