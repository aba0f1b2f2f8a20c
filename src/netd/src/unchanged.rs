//! A file that is parsed again only when it is another one than last time.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::de::DeserializeOwned;

use crate::config::{ConfigError, read_json};

/// What is written within the same tick of the kernel's clock bears the same time: a file is taken for unchanged only when
/// its last change is older than that.
const TICK: Duration = Duration::from_millis(100);

/// One of the two files, [`Config`](crate::Config) or [`Status`](crate::Status), with what was read from it last.
#[derive(Debug)]
pub struct UnchangedFile<T> {
    path: PathBuf,
    last: Mutex<Option<(Version, Arc<T>)>>,
}

/// Two equal ones are the same file with the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl<T: DeserializeOwned> UnchangedFile<T> {
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in it; `None` when there is no such file.
    pub fn read(&self) -> Result<Option<Arc<T>>, ConfigError> {
        // Asked for first: what is written after it is another version.
        let now = match version(&self.path) {
            Ok(now) => now,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConfigError::Read { path: self.path.clone(), source }),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, value)) = last.as_ref()
            && *version == now
        {
            return Ok(Some(Arc::clone(value)));
        }
        *last = None;
        let value = read_json(&self.path)?.map(Arc::new);
        if let Some(value) = &value
            && now.is_settled()
        {
            *last = Some((now, Arc::clone(value)));
        }
        Ok(value)
    }
}

impl Version {
    fn is_settled(&self) -> bool {
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(self.changed.0), u64::try_from(self.changed.1)) else {
            return false;
        };
        let changed = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        SystemTime::now().duration_since(changed).is_ok_and(|age| age > TICK)
    }
}

fn version(path: &Path) -> io::Result<Version> {
    let about = fs::metadata(path)?;
    Ok(Version {
        device: about.dev(),
        inode: about.ino(),
        length: about.size(),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn the_same_file_is_parsed_once_and_another_one_is_seen_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = UnchangedFile::<u8>::new(folder.path().join("number"));
        let write = |text: &str| fs::write(file.path(), text).unwrap();
        let read = || file.read().unwrap();
        assert_eq!(read(), None);
        for number in 1..=9 {
            write(&number.to_string());
            assert_eq!(read().as_deref(), Some(&number), "of the same length, within a tick");
        }
        sleep(TICK * 2);
        let first = read().unwrap();
        assert!(Arc::ptr_eq(&first, &read().unwrap()), "it was not parsed again");
        write("7");
        assert_eq!(read().as_deref(), Some(&7));
        write("{");
        assert!(file.read().is_err());
        fs::remove_file(file.path()).unwrap();
        assert_eq!(read(), None);
    }
}
