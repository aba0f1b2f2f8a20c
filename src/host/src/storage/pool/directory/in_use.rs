//! Whether a QEMU has a disk open.
//!
//! QEMU marks what it does with a file by open-file-description locks on single bytes of it (from 100 what it does, from
//! 200 what others must not do), and so does `qemu-img`. Asking the kernel for a conflict with a lock of our own over that
//! range shows any of them, whoever started it, without taking a lock.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

const FIRST: libc::off_t = 100;
const LENGTH: libc::off_t = 200;

/// True when a process holds one of QEMU's locks on the file.
pub(super) fn by_qemu(file: &File) -> io::Result<bool> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: FIRST,
        l_len: LENGTH,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and `lock` is a valid flock to write the answer to.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(lock.l_type != libc::F_UNLCK as libc::c_short) }
}
