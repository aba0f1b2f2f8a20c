//! The real [`Dhcp`]: netd's file, and the process kept alive.
//!
//! netd is a session of its own, so it outlives this process and its terminal. That it lives is known by the lock on
//! its pid file; that it died wakes whoever waits on [`Netd::died`].

use std::{
    fs, io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex as Std},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use nubium_netd::{Config, Network, Status, holder, pid_path, status_path};
use tokio::sync::{Mutex, Notify};
use tracing::{info, warn};

use nubium_netd::{Dhcp, DhcpError, DhcpSeen};

const START: Duration = Duration::from_secs(5);
const ACKNOWLEDGE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(5);

/// netd of this host.
pub struct Netd {
    exe: PathBuf,
    config: PathBuf,
    /// The file has one writer; its changes are made one after another.
    file: Mutex<()>,
    died: Arc<Notify>,
    /// The process whose end is being waited for.
    watched: Arc<Std<Option<u32>>>,
}

impl Netd {
    /// `exe netd --config <config>` is how it is started; `config` is on a tmpfs such as `/run/nubium/netd.json`.
    pub fn new(exe: impl Into<PathBuf>, config: impl Into<PathBuf>) -> Self {
        Netd {
            exe: exe.into(),
            config: config.into(),
            file: Mutex::new(()),
            died: Arc::new(Notify::new()),
            watched: Arc::new(Std::new(None)),
        }
    }

    /// Returns when a netd that this process started or found has ended. All Networks want a look then.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// The process id, when it runs.
    pub fn pid(&self) -> Result<Option<u32>, DhcpError> {
        let path = pid_path(&self.config);
        holder(&path).map_err(|source| DhcpError::Lock { path, source })
    }

    /// A running netd of the program that we would start; one of another program (an upgrade) does not count.
    fn running(&self) -> Result<Option<u32>, DhcpError> {
        Ok(self.pid()?.filter(|pid| same_file(Path::new(&format!("/proc/{pid}/exe")), &self.exe)))
    }

    fn status(&self, pid: u32) -> Result<Option<Status>, DhcpError> {
        Ok(Status::read(&status_path(&self.config))?.filter(|status| status.pid == pid))
    }

    /// Changes the file; `None` when there was nothing to change.
    fn change(&self, change: impl FnOnce(&mut Vec<Network>), even_if_same: bool) -> Result<Option<u64>, DhcpError> {
        let mut config = Config::read(&self.config)?.unwrap_or_default();
        let old = config.networks.clone();
        change(&mut config.networks);
        if config.networks == old && !even_if_same {
            return Ok(None);
        }
        config.revision += 1;
        if let Some(folder) = self.config.parent() {
            fs::create_dir_all(folder).map_err(|source| DhcpError::Start { exe: folder.into(), source })?;
        }
        config.write(&self.config)?;
        Ok(Some(config.revision))
    }

    /// Waits until netd serves this revision. Dead (or dying meanwhile) is an answer too.
    async fn acknowledged(&self, revision: u64) -> Result<Acknowledged, DhcpError> {
        let deadline = tokio::time::Instant::now() + ACKNOWLEDGE;
        loop {
            let Some(pid) = self.pid()? else { return Ok(Acknowledged::Dead) };
            if self.status(pid)?.is_some_and(|status| status.revision >= revision) {
                return Ok(Acknowledged::Yes);
            }
            if tokio::time::Instant::now() > deadline {
                return Ok(Acknowledged::Stuck(pid));
            }
            tokio::time::sleep(STEP).await;
        }
    }

    fn spawn(&self) -> Result<Child, DhcpError> {
        let failed = |source| DhcpError::Start { exe: self.exe.clone(), source };
        if let Some(folder) = self.config.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let log = fs::File::create(self.config.with_extension("log")).map_err(failed)?;
        let mut command = Command::new(&self.exe);
        command
            .arg("netd")
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .current_dir("/");
        // SAFETY: setsid is async-signal-safe, and nothing else is called.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from)) };
        command.spawn().map_err(failed)
    }

    /// A thread that sleeps until the process ends, reaps it if it is our child, and wakes the others.
    fn watch(&self, pid: u32, child: Option<Child>) {
        let Ok(mut watched) = self.watched.lock() else { return };
        if child.is_none() && *watched == Some(pid) {
            return;
        }
        *watched = Some(pid);
        let (died, current) = (self.died.clone(), self.watched.clone());
        let waiting = std::thread::Builder::new().name("netd-watch".into()).spawn(move || {
            match child {
                Some(mut child) => drop(child.wait()),
                None => wait_for_end(pid),
            }
            if let Ok(mut watched) = current.lock()
                && *watched == Some(pid)
            {
                *watched = None;
            }
            died.notify_one();
        });
        if let Err(error) = waiting {
            warn!(error = &error as &dyn std::error::Error, "netd's end will be noticed by the next pass only");
        }
    }

    async fn end(&self, pid: u32) -> Result<(), DhcpError> {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            match kill(Pid::from_raw(pid as i32), signal) {
                Ok(()) | Err(nix::Error::ESRCH) => {}
                Err(errno) => return Err(DhcpError::Stop(errno.into())),
            }
            let deadline = tokio::time::Instant::now() + ACKNOWLEDGE;
            while tokio::time::Instant::now() < deadline {
                if self.pid()? != Some(pid) {
                    return Ok(());
                }
                tokio::time::sleep(STEP).await;
            }
        }
        Err(DhcpError::Stop(io::ErrorKind::TimedOut.into()))
    }
}

enum Acknowledged {
    Yes,
    Dead,
    Stuck(u32),
}

impl Dhcp for Netd {
    async fn look(&self, namespace: &str) -> Result<DhcpSeen, DhcpError> {
        let config = Config::read(&self.config)?.unwrap_or_default();
        let configured = config.networks.into_iter().find(|n| n.namespace == namespace);
        let Some(pid) = self.running()? else { return Ok(DhcpSeen { running: false, configured, serving: None }) };
        self.watch(pid, None);
        let status = self.status(pid)?.filter(|status| status.revision == config.revision);
        let serving = status.and_then(|s| s.networks.into_iter().find(|n| n.namespace == namespace)?.inode);
        Ok(DhcpSeen { running: true, configured, serving })
    }

    async fn start(&self) -> Result<(), DhcpError> {
        let _one_at_a_time = self.file.lock().await;
        if self.running()?.is_some() {
            return Ok(());
        }
        if let Some(other) = self.pid()? {
            info!(pid = other, "replacing a netd of another version");
            self.end(other).await?;
        }
        let child = self.spawn()?;
        let pid = child.id();
        self.watch(pid, Some(child));
        let deadline = tokio::time::Instant::now() + START;
        while tokio::time::Instant::now() < deadline {
            if self.pid()? == Some(pid) && self.status(pid)?.is_some() {
                info!(pid, "netd serves");
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
        Err(DhcpError::NotStarted(START))
    }

    async fn serve(&self, network: &Network) -> Result<(), DhcpError> {
        let _one_at_a_time = self.file.lock().await;
        let put = |networks: &mut Vec<Network>| match networks.iter_mut().find(|n| n.namespace == network.namespace) {
            Some(old) => old.clone_from(network),
            None => networks.push(network.clone()),
        };
        // Even when the file says so already: its next revision makes netd look at the namespace again at once.
        let Some(revision) = self.change(put, true)? else { return Ok(()) };
        match self.acknowledged(revision).await? {
            Acknowledged::Yes => Ok(()),
            _ => Err(DhcpError::NotAcknowledged { revision, within: ACKNOWLEDGE }),
        }
    }

    async fn forget(&self, namespace: &str) -> Result<(), DhcpError> {
        let _one_at_a_time = self.file.lock().await;
        let Some(revision) = self.change(|n| n.retain(|n| n.namespace != namespace), false)? else {
            return Ok(());
        };
        match self.acknowledged(revision).await? {
            Acknowledged::Yes | Acknowledged::Dead => Ok(()),
            Acknowledged::Stuck(pid) => {
                warn!(pid, "netd does not let go of a namespace: ending it, the next pass starts another");
                self.end(pid).await
            }
        }
    }

    async fn stop(&self) -> Result<(), DhcpError> {
        let _one_at_a_time = self.file.lock().await;
        if let Some(pid) = self.pid()? {
            self.end(pid).await?;
        }
        for path in
            [self.config.clone(), status_path(&self.config), pid_path(&self.config), self.config.with_extension("log")]
        {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(DhcpError::Stop(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        // Our own program was replaced or removed: what runs is as good as what we could start.
        (Ok(_), Err(_)) => true,
        _ => false,
    }
}

fn wait_for_end(pid: u32) {
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};
    // SAFETY: the call takes plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if fd < 0 {
        return;
    }
    // SAFETY: it was just opened and is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    while let Err(nix::Error::EINTR) = poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {}
}
