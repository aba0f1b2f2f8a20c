//! The reaper: the parent of libvirtd, virtlogd and every QEMU whose own parent ended.
//!
//! It does three things until it is told to end: wait for ended children, start a service that is not there, sleep. It
//! takes part in nothing else, so that it never needs to be replaced: a newer agent goes on with an older reaper.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe, setsid};

use nubium_process::{Lock, LockError, PRIVATE_FILE, Process, TRAVERSABLE_FOLDER, make_folder};

use super::service::{self, Service};
use super::{Layout, PrivateError, REAPER_COMMAND, mounts};

/// A service that dies at once is not started more often than this.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const SERVICE_STOP_DEADLINE: Duration = Duration::from_secs(5);
const LOG_BYTES: u64 = 1024 * 1024;

/// Becomes the reaper, in the background: returns in the calling process as soon as the reaper stands (exit code 0), or
/// with the reason on stderr (1). `args` is what follows [`REAPER_COMMAND`]: the folder of a [`Layout`].
///
/// Call it first thing in `main`, before any thread is started: it forks.
pub fn reaper_main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let args: Vec<OsString> = args.into_iter().collect();
    let [root] = args.as_slice() else {
        eprintln!("usage: {REAPER_COMMAND} FOLDER");
        return 2;
    };
    let layout = Layout::new(root);
    match start(&layout) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("{why}");
            1
        }
    }
}

/// The living reaper of this folder.
///
/// An older release's reaper has a POSIX lock on the file, and did not write its number into it.
pub(super) fn holder(layout: &Layout) -> Result<Option<Process>, PrivateError> {
    let path = layout.lock();
    let failed = |source| PrivateError::Lock { path: path.clone(), source };
    if let Some(process) = nubium_process::holder(&path).map_err(failed)? {
        return Ok(Some(process));
    }
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut lock = libc::flock {
        l_type: libc::c_short::try_from(libc::F_RDLCK).expect("lock kinds are small"),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).map_err(|errno| failed(errno.into()))?;
    let Ok(pid) = u32::try_from(lock.l_pid) else { return Ok(None) };
    if i32::from(lock.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    let Some(process) = Process::open(pid).map_err(failed)? else { return Ok(None) };
    Ok(process.holds_lock(&path).map_err(failed)?.then_some(process))
}

/// Forks; the child sets itself up and says through a pipe how that went, then keeps the services.
fn start(layout: &Layout) -> Result<(), String> {
    let (reading, writing) = pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
    // SAFETY: the caller promises that no other thread exists yet.
    match unsafe { fork() }.map_err(|error| format!("cannot fork: {error}"))? {
        ForkResult::Parent { .. } => {
            drop(writing);
            let mut said = String::new();
            File::from(reading).read_to_string(&mut said).map_err(|error| format!("the reaper vanished: {error}"))?;
            if said.is_empty() { Ok(()) } else { Err(said) }
        }
        ForkResult::Child => {
            drop(reading);
            match set_up(layout) {
                Ok(Some(_lock)) => {
                    drop(writing);
                    keep(layout);
                    std::process::exit(0)
                }
                Ok(None) => std::process::exit(0),
                Err(error) => {
                    write!(File::from(writing), "{}", chain(&error)).ok();
                    std::process::exit(1)
                }
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// `None`: another reaper was quicker. The file holds the lock for as long as it is open.
fn set_up(layout: &Layout) -> Result<Option<Lock>, PrivateError> {
    if holder(layout)?.is_some() {
        return Ok(None);
    }
    let lock = match Lock::take(&layout.lock()) {
        Ok(lock) => lock,
        Err(LockError::Taken(_)) => return Ok(None),
        Err(LockError::File(source)) => return Err(PrivateError::Lock { path: layout.lock(), source }),
    };
    // What the reaper starts are programs of others; what it makes itself gets its mode explicitly.
    nubium_process::set_umask(nubium_process::USUAL_UMASK);
    let setup = |what| move |source| PrivateError::Setup { what, source };
    setsid().map_err(setup("setsid"))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(setup("subreaper"))?;
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let limit = hard.max(1_048_576);
        if setrlimit(Resource::RLIMIT_NOFILE, limit, limit).is_err() {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
        }
    }
    forget_before_boot(layout)?;
    mounts::enter(layout)?;
    // A libvirtd that an earlier reaper left behind starts its QEMUs as orphans of PID 1, not ours. Guests do not notice
    // its restart. virtlogd stays: it holds the running guests' consoles. It ends before we say that we stand, so that
    // nobody takes its last answers for those of the next one.
    if let Some(process) =
        service::all(layout).iter().find(|service| service.name == "libvirtd").and_then(Service::running)
    {
        stop(&process, &mut []);
    }
    Ok(Some(lock))
}

/// `run` holds the numbers of processes, which mean nothing after a reboot: it is emptied then.
fn forget_before_boot(layout: &Layout) -> Result<(), PrivateError> {
    let now = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mark = layout.root().join("boot_id");
    if fs::read_to_string(&mark).is_ok_and(|then| then == now) {
        return Ok(());
    }
    let run = layout.run();
    if run.exists() {
        fs::remove_dir_all(&run).map_err(|source| PrivateError::Write { path: run.clone(), source })?;
    }
    make_folder(&run, TRAVERSABLE_FOLDER).map_err(|source| PrivateError::Write { path: run, source })?;
    super::write_private(&mark, &now).map_err(|source| PrivateError::Write { path: mark, source })
}

/// One service's process, where we started it.
#[derive(Default)]
struct Own {
    pid: Option<Pid>,
    started: Option<Instant>,
}

fn keep(layout: &Layout) {
    let mut awaited = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        awaited.add(signal);
    }
    awaited.thread_block().expect("a valid set can be blocked");
    let services = service::all(layout);
    let mut owns = [Own::default(), Own::default()];
    loop {
        reap(&mut owns);
        for (index, service) in services.iter().enumerate() {
            let own = &owns[index];
            let just_now = own.started.is_some_and(|at| at.elapsed() < RESTART_AFTER);
            if own.pid.is_some() || just_now || service.running().is_some() {
                continue;
            }
            let started = Some(Instant::now());
            let pid = spawn(layout, service).inspect_err(|error| eprintln!("{}: {error}", service.name)).ok();
            owns[index] = Own { pid, started };
            await_socket(service, &mut owns);
        }
        if let Some(Signal::SIGTERM | Signal::SIGINT) = wait_signal(&awaited, LOOK_EVERY) {
            break;
        }
    }
    for (index, service) in services.iter().enumerate().rev() {
        // One that was started a moment ago has not written its number yet; a child keeps it until it was waited for.
        let child = owns[index].pid.and_then(|pid| u32::try_from(pid.as_raw()).ok());
        let process = service.running().or_else(|| Process::open(child?).ok()?);
        if let Some(process) = process {
            stop(&process, &mut owns);
        }
    }
}

fn reap(owns: &mut [Own]) {
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        let Some(ended) = status.pid() else { break };
        for own in owns.iter_mut().filter(|own| own.pid == Some(ended)) {
            own.pid = None;
        }
    }
}

fn spawn(layout: &Layout, service: &Service) -> std::io::Result<Pid> {
    let path = layout.log().join(format!("{}.log", service.name));
    let keep = fs::metadata(&path).is_ok_and(|meta| meta.len() < LOG_BYTES);
    let mut options = OpenOptions::new();
    options.create(true).write(true).append(keep).truncate(!keep).mode(PRIVATE_FILE);
    let log = options.open(path)?;
    let mut command = Command::new(service.name);
    command.args(&service.args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    // SAFETY: sets a signal mask and a session, both async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            setsid()?;
            Ok(())
        });
    }
    let child = command.spawn()?;
    Ok(Pid::from_raw(i32::try_from(child.id()).expect("Linux pids fit an i32")))
}

/// Gives a service a moment to listen, so that the next one finds it. Orphans are reaped meanwhile.
fn await_socket(service: &Service, owns: &mut [Own]) {
    let begun = Instant::now();
    while begun.elapsed() < RESTART_AFTER && UnixStream::connect(&service.socket).is_err() {
        reap(owns);
        thread::sleep(Duration::from_millis(5));
    }
}

fn wait_signal(awaited: &SigSet, limit: Duration) -> Option<Signal> {
    let limit = libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(1),
        tv_nsec: libc::c_long::from(limit.subsec_nanos()),
    };
    // SAFETY: both pointers are to live values; no information about the signal is asked for.
    let signal = unsafe { libc::sigtimedwait(awaited.as_ref(), std::ptr::null_mut(), &raw const limit) };
    Signal::try_from(signal).ok()
}

fn stop(process: &Process, owns: &mut [Own]) {
    process.signal(nubium_process::Signal::TERM).ok();
    let begun = Instant::now();
    while process.wait(Some(Duration::from_millis(5))).is_ok_and(|ended| !ended) {
        reap(owns);
        if begun.elapsed() > SERVICE_STOP_DEADLINE {
            process.signal(nubium_process::Signal::KILL).ok();
        }
    }
}
