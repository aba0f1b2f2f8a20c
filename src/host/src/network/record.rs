//! What the host was like before we changed it, so that teardown can put it back.
//!
//! One small file in the state folder, for this boot only: after a reboot the machine's own configuration has spoken
//! again, and what it said is what counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::error::{NetworkError, Result};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Before {
    boot: String,
    /// Sysctls as they were.
    pub sysctls: BTreeMap<String, String>,
    /// `/run/netns` was not there.
    pub made_netns_dir: bool,
    /// `/run/netns` was not a mount point.
    pub mounted_netns_dir: bool,
    /// The network namespaces that we made.
    #[serde(default)]
    pub namespaces: BTreeSet<String>,
}

pub(super) struct Record {
    path: PathBuf,
}

impl Record {
    pub fn in_folder(state: &Path) -> Self {
        Record { path: state.join("host-before.json") }
    }

    /// What was noted during this boot; nothing noted is an empty note.
    pub fn read(&self) -> Result<Before> {
        let boot = boot_id()?;
        let fresh = Before { boot: boot.clone(), ..Before::default() };
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(fresh),
            Err(source) => return Err(self.failed("read", source)),
        };
        let before: Before = serde_json::from_slice(&text)
            .map_err(|source| NetworkError::RecordContent { path: self.path.clone(), source })?;
        Ok(if before.boot == boot { before } else { fresh })
    }

    /// Adds to the note; durable before it returns, because the change to the host comes next.
    pub fn note(&self, add: impl FnOnce(&mut Before)) -> Result<()> {
        let mut before = self.read()?;
        let old = before.clone();
        add(&mut before);
        if before == old && self.path.exists() {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&before)
            .map_err(|source| NetworkError::RecordContent { path: self.path.clone(), source })?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let temporary = self.path.with_extension("new");
        let write = || {
            fs::create_dir_all(folder)?;
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            fs::File::open(folder)?.sync_all()
        };
        write().map_err(|source| self.failed("write", source))
    }

    pub fn forget(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> NetworkError {
        NetworkError::Record { path: self.path.clone(), operation, source }
    }
}

fn boot_id() -> Result<String> {
    let path = PathBuf::from("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(&path).map(|text| text.trim().to_string()).map_err(|source| NetworkError::Record {
        path,
        operation: "read",
        source,
    })
}
