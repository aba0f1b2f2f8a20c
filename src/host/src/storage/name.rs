//! The file name that tells whose it is: `<namespace>/<name>.<uid>.qcow2`.
//!
//! A person, and a control plane rebuilt from nothing, can read from the path which object a file belongs to. Names come
//! from users, so every part is checked before it becomes a path: nothing here can climb out of its folder.

use std::fmt;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".qcow2";
const LONGEST_FILE_NAME: usize = 255;

/// Namespace, name and UID of the object that a file of a pool belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    namespace: String,
    name: String,
    uid: String,
}

/// A namespace, name or UID that cannot become a file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("{part} {value:?} cannot be a file name: only lower-case letters, digits, '-' and '.' can")]
    Characters { part: &'static str, value: String },
    #[error("the file name {value:?} is longer than {LONGEST_FILE_NAME} bytes; choose a shorter name")]
    TooLong { value: String },
}

impl FileName {
    /// Checks the three parts. The name may hold dots, the namespace and the UID may not.
    pub fn new(namespace: &str, name: &str, uid: &str) -> Result<Self, BadName> {
        check("namespace", namespace, false)?;
        check("name", name, true)?;
        check("uid", uid, false)?;
        let this = Self { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() };
        let file = this.file();
        if file.len() > LONGEST_FILE_NAME || namespace.len() > LONGEST_FILE_NAME {
            return Err(BadName::TooLong { value: file });
        }
        Ok(this)
    }

    /// Reads `<namespace>/<name>.<uid>.qcow2` back; `None` for what is not of that form.
    pub fn from_relative(path: &Path) -> Option<Self> {
        let mut parts = path.components();
        let namespace = parts.next()?.as_os_str().to_str()?;
        let stem = parts.next()?.as_os_str().to_str()?.strip_suffix(SUFFIX)?;
        let (name, uid) = stem.rsplit_once('.')?;
        if parts.next().is_some() { None } else { Self::new(namespace, name, uid).ok() }
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The path below `<pool>/images` or `<pool>/volumes`.
    pub fn relative(&self) -> PathBuf {
        Path::new(&self.namespace).join(self.file())
    }

    fn file(&self) -> String {
        format!("{}.{}{SUFFIX}", self.name, self.uid)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.file())
    }
}

/// Whether a user's word can be one part of a path.
pub(super) fn check(part: &'static str, value: &str, dots: bool) -> Result<(), BadName> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = value.chars().all(|c| alphanumeric(c) || c == '-' || (dots && c == '.'));
    let edges = value.starts_with(alphanumeric) && value.ends_with(alphanumeric);
    if inside && edges { Ok(()) } else { Err(BadName::Characters { part, value: value.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_from_its_path() {
        let name = FileName::new("shop", "debian-12.6", "5f0e").unwrap();
        assert_eq!(name.relative(), Path::new("shop/debian-12.6.5f0e.qcow2"));
        assert_eq!(FileName::from_relative(&name.relative()), Some(name));
    }

    #[test]
    fn nothing_climbs_out_of_its_folder() {
        for (namespace, name, uid) in [
            ("..", "a", "1"),
            ("a", "../a", "1"),
            ("a", "..", "1"),
            ("a", "b", "1/2"),
            ("", "a", "1"),
            ("a", "b", "1.2"),
            ("a\0", "b", "1"),
        ] {
            assert!(FileName::new(namespace, name, uid).is_err(), "{namespace}/{name}.{uid}");
        }
        assert!(matches!(FileName::new("a", &"n".repeat(250), "1"), Err(BadName::TooLong { .. })));
    }

    #[test]
    fn a_stranger_in_the_folder_has_no_name() {
        for path in ["a", "a/b.qcow2", "a/b.1.raw", "a/b/c.1.qcow2", "/a/b.1.qcow2", "../b.1.qcow2"] {
            assert_eq!(FileName::from_relative(Path::new(path)), None, "{path}");
        }
    }
}
