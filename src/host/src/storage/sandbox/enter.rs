//! The way into the sandbox, between fork and exec.
//!
//! The process that comes here is a copy of one thread of the agent, so it may only make system calls: every path is a C
//! string made before the fork. The order matters: the new root is built with root's rights, then they are given up, and
//! the filter of system calls comes last, since it allows none of that.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use seccompiler::BpfProgram;

use super::{Job, Limits, filter, supervise};

/// Where programs and libraries are, on any distribution.
const SYSTEM: &[&str] = &["/usr", "/lib", "/lib64", "/bin", "/nix", "/gnu"];
const LINKER_CACHE: &str = "/etc/ld.so.cache";
/// The one device: QEMU tries its locks on it.
const NULL: &str = "/dev/null";
const NULL_IN_ROOT: &CStr = c"/dev/null";

enum Piece {
    Folder(CString),
    Link { at: CString, to: CString },
    Bind { from: CString, at: CString, flags: libc::c_ulong, file: bool },
}

/// What is done on the way in, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Namespaces,
    Processes,
    Root,
    Limits,
    User,
    Filter,
    /// The program itself.
    Execute,
}

impl Step {
    const ALL: [Self; 7] =
        [Self::Namespaces, Self::Processes, Self::Root, Self::Limits, Self::User, Self::Filter, Self::Execute];

    /// By the byte that tells it.
    pub(super) fn told(byte: Option<u8>) -> Self {
        byte.and_then(|byte| Self::ALL.get(usize::from(byte)).copied()).unwrap_or(Self::Execute)
    }

    /// What failed, and what it needs.
    pub(super) fn need(self) -> &'static str {
        match self {
            Self::Namespaces => "mount, network, IPC and UTS namespaces, which need CAP_SYS_ADMIN",
            Self::Processes => "a process namespace, which needs CAP_SYS_ADMIN and a kernel with CONFIG_PID_NS",
            Self::Root => "a root of its own, which needs mounts (CAP_SYS_ADMIN)",
            Self::Limits => "its limits, which need CAP_SYS_RESOURCE",
            Self::User => "a user of its own, which needs CAP_SETUID and CAP_SETGID, and users up to 1900065535",
            Self::Filter => "a filter of system calls, which needs a kernel with CONFIG_SECCOMP_FILTER",
            Self::Execute => "to be run",
        }
    }
}

/// A sandbox ready to be entered.
pub(super) struct Cell {
    root: CString,
    pieces: Vec<Piece>,
    limits: [(libc::__rlimit_resource_t, u64); 6],
    cpu: u64,
    user: u32,
    filter: BpfProgram,
    /// Where the step that failed is told, as one byte.
    failed: OwnedFd,
}

impl Cell {
    pub(super) fn new(job: &Job<'_>, user: u32, failed: OwnedFd) -> io::Result<Self> {
        let root = job.root.canonicalize()?;
        let at = |path: &str| c_string(&root.join(path.trim_start_matches('/')));
        let read_only = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
        let mut pieces = Vec::new();
        for path in SYSTEM {
            match fs::symlink_metadata(path) {
                Ok(about) if about.is_symlink() => {
                    pieces.push(Piece::Link { at: at(path)?, to: c_string(&fs::read_link(path)?)? });
                }
                Ok(about) if about.is_dir() => {
                    pieces.push(Piece::Folder(at(path)?));
                    pieces.push(Piece::Bind {
                        from: c_string(Path::new(path))?,
                        at: at(path)?,
                        flags: read_only,
                        file: false,
                    });
                }
                _ => {}
            }
        }
        pieces.push(Piece::Folder(at("/etc")?));
        if Path::new(LINKER_CACHE).is_file() {
            let from = c_string(Path::new(LINKER_CACHE))?;
            pieces.push(Piece::Bind { from, at: at(LINKER_CACHE)?, flags: read_only | libc::MS_NOEXEC, file: true });
        }
        pieces.push(Piece::Folder(at("/dev")?));
        let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NOEXEC;
        pieces.push(Piece::Bind { from: c_string(Path::new(NULL))?, at: at(NULL)?, flags, file: true });
        pieces.push(Piece::Folder(at("/work")?));
        let reads = job.reads.iter().map(|file| (file, libc::MS_RDONLY));
        for ((name, from), flags) in reads.chain(job.writes.iter().map(|file| (file, 0))) {
            let flags = flags | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            pieces.push(Piece::Bind { from: c_string(from)?, at: at(&format!("/work/{name}"))?, flags, file: true });
        }
        let (limits, filter) = (limits(job.limits), filter::program().map_err(io::Error::other)?);
        let (root, cpu) = (c_string(&root)?, job.limits.cpu.as_secs().max(1));
        Ok(Self { root, pieces, limits, cpu, user, filter, failed })
    }

    /// Enters, in a process of its own; the calling one becomes its supervisor. Called between fork and exec: system calls
    /// only.
    pub(super) fn enter(&self) -> io::Result<()> {
        let failed = |step: Step| {
            move |error: io::Error| {
                // SAFETY: one byte of a local value is written to a pipe.
                unsafe { libc::write(self.failed.as_raw_fd(), (&raw const step).cast(), 1) };
                error
            }
        };
        // SAFETY: this is between fork and exec.
        unsafe {
            // The folders of the new root are for the unprivileged user that the program runs as.
            libc::umask(0o022);
            let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
            ok(libc::unshare(namespaces)).map_err(failed(Step::Namespaces))?;
            if let Some(program) = supervise::split().map_err(failed(Step::Processes))? {
                program.supervise(self.cpu);
            }
            self.turn_root().map_err(failed(Step::Root))?;
            self.limit().map_err(failed(Step::Limits))?;
            self.become_user().map_err(failed(Step::User))?;
            seccompiler::apply_filter(&self.filter)
                .map_err(|_| io::Error::last_os_error())
                .map_err(failed(Step::Filter))
        }
    }

    unsafe fn turn_root(&self) -> io::Result<()> {
        // SAFETY: every pointer is to a C string owned by `self` or a literal, or null where the call takes null.
        unsafe {
            mount(c"none", c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)?;
            mount(c"tmpfs", &self.root, Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV, Some(c"size=64k,mode=0755"))?;
            for piece in &self.pieces {
                piece.place()?;
            }
            ok(libc::chdir(self.root.as_ptr()))?;
            ok(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) as libc::c_int)?;
            ok(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
            ok(libc::chdir(c"/".as_ptr()))?;
            mount(c"none", c"/", None, libc::MS_REMOUNT | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV, None)?;
            // The pipe that was standard input is the supervisor's.
            let null = libc::open(NULL_IN_ROOT.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            ok(null)?;
            ok(libc::dup2(null, 0))
        }
    }

    unsafe fn limit(&self) -> io::Result<()> {
        for (resource, limit) in self.limits {
            let both = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            // SAFETY: the limit is a local value.
            ok(unsafe { libc::setrlimit(resource, &raw const both) })?;
        }
        Ok(())
    }

    unsafe fn become_user(&self) -> io::Result<()> {
        // SAFETY: plain system calls.
        unsafe {
            ok(libc::setgroups(0, ptr::null()))?;
            ok(libc::setresgid(self.user, self.user, self.user))?;
            ok(libc::setresuid(self.user, self.user, self.user))?;
            // The supervisor outlives it, unless somebody kills that; forgotten when the user changes, so it comes after.
            ok(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            ok(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            ok(libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) as libc::c_int)
        }
    }
}

impl Piece {
    /// # Safety
    /// Between fork and exec, in the sandbox's own mount namespace.
    unsafe fn place(&self) -> io::Result<()> {
        // SAFETY: as in `enter`.
        unsafe {
            match self {
                Self::Folder(at) => ok(libc::mkdir(at.as_ptr(), 0o755)),
                Self::Link { at, to } => ok(libc::symlink(to.as_ptr(), at.as_ptr())),
                Self::Bind { from, at, flags, file } => {
                    if *file {
                        let made = libc::open(at.as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC, 0o444);
                        ok(made)?;
                        libc::close(made);
                    }
                    mount(from, at, None, libc::MS_BIND, None)?;
                    mount(c"none", at, None, libc::MS_REMOUNT | libc::MS_BIND | flags, None)
                }
            }
        }
    }
}

unsafe fn mount(
    from: &CStr,
    at: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> io::Result<()> {
    let kind = kind.map_or(ptr::null(), CStr::as_ptr);
    let data = data.map_or(ptr::null(), CStr::as_ptr).cast();
    // SAFETY: all are C strings that outlive the call, or null.
    ok(unsafe { libc::mount(from.as_ptr(), at.as_ptr(), kind, flags, data) })
}

fn ok(done: libc::c_int) -> io::Result<()> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn limits(limits: Limits) -> [(libc::__rlimit_resource_t, u64); 6] {
    [
        (libc::RLIMIT_AS, limits.memory),
        (libc::RLIMIT_CPU, limits.cpu.as_secs().max(1)),
        (libc::RLIMIT_FSIZE, limits.file_size),
        (libc::RLIMIT_NOFILE, 64),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_NPROC, 512),
    ]
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
