//! Domain lifecycle events as wake-ups: they say where to look, never what is true.
//!
//! The `virt` crate has no safe wrapper for them, so this is the one place that speaks to libvirt's C interface for more
//! than a plain call.

use std::ffi::c_void;
use std::os::raw::{c_int, c_uchar};
use std::sync::OnceLock;
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

/// Tells `wake` the UUID of each domain whose life changes, for as long as the connection lives. A full channel loses
/// events: the periodic look finds what they would have told.
pub(super) fn subscribe(connect: &Connect, wake: Sender<Uuid>) -> Result<(), Error> {
    let opaque = Box::into_raw(Box::new(wake)).cast::<c_void>();
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
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    let mut bytes: [c_uchar; 16] = [0; 16];
    // SAFETY: libvirt lends a valid domain for the time of the call, and 16 bytes are what it writes.
    let got = unsafe { sys::virDomainGetUUID(domain, bytes.as_mut_ptr()) };
    // SAFETY: the Box lives until `release`.
    let wake = unsafe { &*opaque.cast::<Sender<Uuid>>() };
    if got == 0 {
        wake.try_send(Uuid::from_bytes(bytes)).ok();
    }
    0
}

unsafe extern "C" fn release(opaque: *mut c_void) {
    // SAFETY: `subscribe` made it, and libvirt releases it once.
    drop(unsafe { Box::from_raw(opaque.cast::<Sender<Uuid>>()) });
}
