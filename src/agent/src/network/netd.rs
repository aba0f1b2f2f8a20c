//! The real [`Dhcp`]: netd's file, and the process kept alive.
//!
//! netd is a session of its own, so it outlives this process and its terminal. That it lives is known by the lock on
//! its pid file; that it died wakes whoever waits on [`Netd::died`].

use std::{
    fs, io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex as Std, PoisonError},
    time::Duration,
};

use nubium_netd::{Config, ConfigError, Network, Status, UnchangedFile, pid_path, status_path};
use nubium_process::{Process, Signal, TRAVERSABLE_FOLDER, holder, make_folder};
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
    read_config: UnchangedFile<Config>,
    read_status: UnchangedFile<Status>,
    /// The file has one writer; its changes are made one after another.
    file: Mutex<()>,
    /// The netd that was found last.
    found: Std<Option<Found>>,
    died: Arc<Notify>,
    /// The process whose end is being waited for.
    watched: Arc<Std<Option<u32>>>,
}

impl Netd {
    /// `exe netd --config <config>` is how it is started; `config` is on a tmpfs such as `/run/nubium/netd.json`.
    pub fn new(exe: impl Into<PathBuf>, config: impl Into<PathBuf>) -> Self {
        let config = config.into();
        Netd {
            exe: exe.into(),
            read_config: UnchangedFile::new(config.clone()),
            read_status: UnchangedFile::new(status_path(&config)),
            config,
            file: Mutex::new(()),
            found: Std::default(),
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
        Ok(self.process()?.map(|process| process.pid()))
    }

    fn process(&self) -> Result<Option<Process>, DhcpError> {
        let path = pid_path(&self.config);
        holder(&path).map_err(|source| DhcpError::Lock { path, source })
    }

    /// A running netd of the program that we would start; one of another program (an upgrade) does not count.
    fn running(&self) -> Result<Option<Arc<Process>>, DhcpError> {
        let path = pid_path(&self.config);
        let failed = |source| DhcpError::Lock { path: path.clone(), source };
        // A netd holds its lock until it ends. One that is ending has no program any more, and its lock goes with it.
        let ours = |process: &Process| process.is(|proc| Ok(is_program(&proc.join("exe"), identity(&self.exe))));
        let lock = identity(&path);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Found { process, lock: then }) = found.as_ref()
            && lock.is_some_and(|lock| lock == *then)
            && ours(process).map_err(failed)?
        {
            return Ok(Some(Arc::clone(process)));
        }
        *found = None;
        let Some(process) = self.process()? else { return Ok(None) };
        if !ours(&process).map_err(failed)? {
            return Ok(None);
        }
        let process = Arc::new(process);
        *found = lock.map(|lock| Found { process: Arc::clone(&process), lock });
        Ok(Some(process))
    }

    fn status(&self, pid: u32) -> Result<Option<Arc<Status>>, DhcpError> {
        Ok(self.read_status.read()?.filter(|status| status.pid == pid))
    }

    /// The file as it is. One that holds something else than an agent writes (a disk that was full, a person) says nothing
    /// of any Network: each is written into it again.
    fn config(&self) -> Result<Option<Arc<Config>>, DhcpError> {
        match self.read_config.read() {
            Err(error @ ConfigError::Parse { .. }) => {
                warn!(error = &error as &dyn std::error::Error, "netd's file is damaged and is written anew");
                // Later than what netd may have read: else it would not take the new one for newer.
                let revision =
                    self.pid()?.and_then(|pid| self.status(pid).ok().flatten()).map_or(0, |said| said.revision);
                Ok(Some(Arc::new(Config { revision, networks: Vec::new() })))
            }
            other => Ok(other?),
        }
    }

    /// Changes the file; `None` when there was nothing to change.
    fn change(&self, change: impl FnOnce(&mut Vec<Network>), even_if_same: bool) -> Result<Option<u64>, DhcpError> {
        let mut config = self.config()?.map(Arc::unwrap_or_clone).unwrap_or_default();
        let old = config.networks.clone();
        change(&mut config.networks);
        if config.networks == old && !even_if_same {
            return Ok(None);
        }
        config.revision += 1;
        if let Some(folder) = self.config.parent() {
            make_folder(folder, TRAVERSABLE_FOLDER)
                .map_err(|source| DhcpError::Start { exe: folder.into(), source })?;
        }
        config.write(&self.config)?;
        Ok(Some(config.revision))
    }

    /// Waits until netd serves this revision. Dead (or dying meanwhile) is an answer too.
    async fn acknowledged(&self, revision: u64) -> Result<Acknowledged, DhcpError> {
        let deadline = tokio::time::Instant::now() + ACKNOWLEDGE;
        loop {
            let Some(process) = self.process()? else { return Ok(Acknowledged::Dead) };
            if self.status(process.pid())?.is_some_and(|status| status.revision >= revision) {
                return Ok(Acknowledged::Yes);
            }
            if tokio::time::Instant::now() > deadline {
                return Ok(Acknowledged::Stuck(process));
            }
            tokio::time::sleep(STEP).await;
        }
    }

    fn spawn(&self) -> Result<Child, DhcpError> {
        let failed = |source| DhcpError::Start { exe: self.exe.clone(), source };
        if let Some(folder) = self.config.parent() {
            make_folder(folder, TRAVERSABLE_FOLDER).map_err(failed)?;
        }
        let log = fs::File::create(self.log()).map_err(failed)?;
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

    /// With the last that it said.
    fn ended(&self, status: ExitStatus) -> DhcpError {
        let log = self.log();
        let text = fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        DhcpError::Ended { said: last.map_or_else(|| status.to_string(), |last| format!("{status}: {last}")), log }
    }

    fn log(&self) -> PathBuf {
        self.config.with_extension("log")
    }

    /// A thread that sleeps until the process ends, reaps it if it is our child, and wakes the others.
    fn watch(&self, process: Arc<Process>, child: Option<Child>) {
        let pid = process.pid();
        let Ok(mut watched) = self.watched.lock() else { return };
        if child.is_none() && *watched == Some(pid) {
            return;
        }
        *watched = Some(pid);
        let (died, current) = (self.died.clone(), self.watched.clone());
        let waiting = std::thread::Builder::new().name("netd-watch".into()).spawn(move || {
            let ended = match child {
                Some(mut child) => child.wait().map(drop),
                None => process.wait(None).map(drop),
            };
            if let Err(error) = ended {
                warn!(error = &error as &dyn std::error::Error, pid, "cannot wait for the end of netd");
                return;
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

    async fn end(&self, process: Process) -> Result<(), DhcpError> {
        for signal in [Signal::TERM, Signal::KILL] {
            process.signal(signal).map_err(DhcpError::Stop)?;
            let deadline = tokio::time::Instant::now() + ACKNOWLEDGE;
            while tokio::time::Instant::now() < deadline {
                if process.has_ended().map_err(DhcpError::Stop)? {
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
    Stuck(Process),
}

impl Dhcp for Netd {
    async fn look(&self, namespace: &str) -> Result<DhcpSeen, DhcpError> {
        let config = self.config()?.unwrap_or_default();
        let configured = config.networks.iter().find(|n| n.namespace == namespace).cloned();
        let Some(process) = self.running()? else {
            return Ok(DhcpSeen { running: false, configured, serving: None });
        };
        let pid = process.pid();
        self.watch(process, None);
        let status = self.status(pid)?.filter(|status| status.revision == config.revision);
        let serving = status.and_then(|s| s.networks.iter().find(|n| n.namespace == namespace)?.inode);
        Ok(DhcpSeen { running: true, configured, serving })
    }

    async fn start(&self) -> Result<(), DhcpError> {
        let _one_at_a_time = self.file.lock().await;
        if self.running()?.is_some() {
            return Ok(());
        }
        if let Some(other) = self.process()? {
            info!(pid = other.pid(), "replacing a netd of another version");
            self.end(other).await?;
        }
        let mut child = self.spawn()?;
        let pid = child.id();
        let failed = |source| DhcpError::Start { exe: self.exe.clone(), source };
        // Our own child keeps its number until it was waited for.
        let process = Process::open(pid).and_then(|process| process.ok_or_else(|| io::ErrorKind::NotFound.into()));
        let process = Arc::new(process.map_err(failed)?);
        let deadline = tokio::time::Instant::now() + START;
        while tokio::time::Instant::now() < deadline {
            if self.pid()? == Some(pid) && self.status(pid)?.is_some() {
                info!(pid, "netd serves");
                self.watch(process, Some(child));
                return Ok(());
            }
            // It wakes nobody: it would be started again at once, and again.
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Err(self.ended(status));
            }
            tokio::time::sleep(STEP).await;
        }
        self.watch(process, Some(child));
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
            Acknowledged::Stuck(process) => {
                let pid = process.pid();
                warn!(pid, "netd does not release a namespace: ending it, the next pass starts another");
                self.end(process).await
            }
        }
    }

    async fn stop(&self) -> Result<(), DhcpError> {
        let _one_at_a_time = self.file.lock().await;
        if let Some(process) = self.process()? {
            self.end(process).await?;
        }
        for path in [self.config.clone(), status_path(&self.config), pid_path(&self.config), self.log()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(DhcpError::Stop(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A netd that was seen to hold the lock on that file.
struct Found {
    process: Arc<Process>,
    lock: Identity,
}

/// A file's device and inode.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|about| (about.dev(), about.ino()))
}

/// Whether a process's program is ours. Where ours was replaced or removed, what runs is as good as what we could start.
fn is_program(running: &Path, ours: Option<Identity>) -> bool {
    identity(running).is_some_and(|running| ours.is_none_or(|ours| ours == running))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_netd_that_ends_at_once_is_noticed_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        // A program that does not know what `netd` is.
        let netd = Netd::new("/bin/sh", folder.path().join("netd.json"));
        match netd.start().await {
            Err(DhcpError::Ended { said, log }) => {
                assert!(said.contains("netd") && log == folder.path().join("netd.log"), "{said}");
            }
            other => panic!("{other:?}"),
        }
        let woken = tokio::time::timeout(Duration::from_millis(50), netd.died()).await;
        assert!(woken.is_err(), "a pass that is woken would only start it again");
    }
}
