//! Counts the programs that are started, by any process of this mount namespace: the kernel reports every file that is
//! opened to be executed.

use std::fs;
use std::os::fd::AsRawFd;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

pub struct Programs(Fanotify);

impl Programs {
    /// Begins to count.
    pub fn watch() -> Result<Self> {
        let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK;
        let watch = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC).context("watch programs")?;
        let mark = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
        watch.mark(mark, MaskFlags::FAN_OPEN_EXEC, AT_FDCWD, Some("/")).context("watch the programs below /")?;
        Ok(Self(watch))
    }

    /// The paths of those that were started since the last call.
    pub fn started(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        loop {
            let events = match self.0.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(all),
                Err(error) => return Err(error).context("read which programs were started"),
            };
            for event in &events {
                let Some(file) = event.fd() else { bail!("more programs were started than can be counted") };
                let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                // The loader of a program is opened with it.
                if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld-")) {
                    all.push(path.display().to_string());
                }
            }
        }
    }
}
