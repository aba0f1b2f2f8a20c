//! Whether a folder may be used as a pool, decided before anything in it is touched.
//!
//! | folder | done |
//! |---|---|
//! | has the mark of this pool | used |
//! | has the mark of an earlier pool of the same name that this host made here | marked anew |
//! | has another mark, or is inside a marked folder | refused |
//! | has no mark, but this host once marked it | refused: its file system is not mounted |
//! | is empty, new, or laid out as pools were before there were marks | marked |
//! | anything else | refused |
//!
//! The path is a StoragePool's word: it is resolved below a folder that the host's admin allowed, without following links,
//! and no mode of a folder that was there before is ever changed.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::FOLDER_MODE;
use super::mark::{MARK, Mark, Records, UNFINISHED};
use crate::storage::pool::VolumeError;

pub(super) const IMAGES: &str = "images";
pub(super) const VOLUMES: &str = "volumes";
pub(super) const INCOMING: &str = "incoming";
pub(super) const INCOMING_MODE: u32 = 0o700;
/// What an empty file system may hold of its own.
const OF_THE_FILE_SYSTEM: &str = "lost+found";

/// A folder that shall be a pool.
#[derive(Debug, Clone)]
pub struct Claim {
    pub mark: Mark,
    pub root: PathBuf,
    /// The folders below which pools may be, as the host's admin said; the admin may use links in these.
    pub allowed: Vec<PathBuf>,
    pub records: Records,
}

impl Claim {
    /// A pool of tests, in a folder whose parent is theirs alone.
    #[cfg(test)]
    pub(crate) fn of(root: &Path) -> Self {
        let parent = root.parent().expect("it is in a folder");
        Self {
            mark: Mark { name: "default".into(), uid: "0d1e".into() },
            root: root.to_owned(),
            allowed: vec![parent.to_owned()],
            records: Records(parent.join("records")),
        }
    }

    /// Opens the pool's folder, marked as its own, with its three folders in it. Blocking.
    pub(super) fn take(&self) -> Result<File, VolumeError> {
        let failed = |source| VolumeError::File { verb: "open the pool", path: self.root.clone(), source };
        let (allowed, below) = self.resolve()?;
        let recorded = self.records.folder_of(&self.mark.uid).map_err(failed)?;
        let folder = self.open_below(&allowed, &below, recorded.is_none())?;
        self.check_mode(&folder)?;
        let inside = by_descriptor(&folder);
        match Mark::read(&inside).map_err(failed)? {
            Some(mark) if mark.uid == self.mark.uid => {}
            Some(mark) if mark.name == self.mark.name && self.is_recorded(&mark.uid) => {
                self.mark.write(&inside).map_err(failed)?;
            }
            Some(Mark { name, uid }) => {
                return Err(VolumeError::OtherPool { path: self.root.clone(), name, uid });
            }
            None if recorded.is_some() => return Err(VolumeError::NotMounted { path: self.root.clone() }),
            None => {
                if let Some(entry) = foreign_entry(&inside).map_err(failed)? {
                    return Err(VolumeError::NotEmpty { path: self.root.clone(), entry });
                }
                self.mark.write(&inside).map_err(failed)?;
            }
        }
        self.records.add(&self.mark.uid, &self.root).map_err(failed)?;
        for (name, mode) in [(IMAGES, FOLDER_MODE), (VOLUMES, FOLDER_MODE), (INCOMING, INCOMING_MODE)] {
            let path = inside.join(name);
            make_folder(&path, mode).and_then(|()| open_folder(&path)).map_err(failed)?;
        }
        Ok(folder)
    }

    fn is_recorded(&self, uid: &str) -> bool {
        self.records.folder_of(uid).ok().flatten().as_deref() == Some(&self.root)
    }

    /// The allowed folder that the path is in, and the rest of the path.
    fn resolve(&self) -> Result<(PathBuf, PathBuf), VolumeError> {
        let found = self.allowed.iter().find_map(|allowed| Some((allowed, self.root.strip_prefix(allowed).ok()?)));
        let (allowed, below) = found.ok_or_else(|| VolumeError::NotAllowed { path: self.root.clone() })?;
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        if !self.root.is_absolute() || !plain {
            return Err(VolumeError::NotAllowed { path: self.root.clone() });
        }
        Ok((allowed.clone(), below.to_owned()))
    }

    /// Walks from the allowed folder to the pool's, a step at a time; makes what is missing if it may.
    fn open_below(&self, allowed: &Path, below: &Path, may_make: bool) -> Result<File, VolumeError> {
        let failed = |path: &Path, source: io::Error| match source.kind() {
            io::ErrorKind::NotADirectory => VolumeError::Link { path: path.to_owned() },
            io::ErrorKind::NotFound => VolumeError::NotMounted { path: path.to_owned() },
            _ => VolumeError::File { verb: "open the folder", path: path.to_owned(), source },
        };
        let outer = || -> io::Result<PathBuf> { allowed.canonicalize() };
        let mut path = outer().map_err(|source| failed(allowed, source))?;
        for ancestor in path.ancestors().skip(1) {
            self.refuse_inside(ancestor, ancestor)?;
        }
        let mut folder = File::open(&path).map_err(|source| failed(allowed, source))?;
        for part in below.components() {
            self.refuse_inside(&by_descriptor(&folder), &path)?;
            path.push(part);
            let step = by_descriptor(&folder).join(part);
            if may_make {
                make_folder(&step, FOLDER_MODE).map_err(|source| failed(&path, source))?;
            }
            folder = open_folder(&step).map_err(|source| failed(&path, source))?;
        }
        Ok(folder)
    }

    /// A pool inside another would be emptied, or filled, with it.
    fn refuse_inside(&self, folder: &Path, outer: &Path) -> Result<(), VolumeError> {
        match fs::symlink_metadata(folder.join(MARK)) {
            Ok(_) => Err(VolumeError::Inside { path: self.root.clone(), outer: outer.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(VolumeError::File { verb: "look for a pool in", path: outer.to_owned(), source }),
        }
    }

    /// Only root may change what is in it, and QEMU's user has to be able to pass.
    fn check_mode(&self, folder: &File) -> Result<(), VolumeError> {
        let about = folder.metadata().map_err(|source| VolumeError::File {
            verb: "look at",
            path: self.root.clone(),
            source,
        })?;
        let mode = about.permissions().mode() & 0o7777;
        if about.uid() != 0 || mode & 0o022 != 0 || mode & 0o001 == 0 {
            return Err(VolumeError::FolderMode { path: self.root.clone(), owner: about.uid(), mode });
        }
        Ok(())
    }
}

/// What an unmarked folder holds that no pool does; `None` when it is empty or has the layout that pools had before marks.
fn foreign_entry(folder: &Path) -> io::Result<Option<String>> {
    let mut ours = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let about = entry.metadata()?;
        let mode = about.permissions().mode() & 0o7777;
        match name.as_str() {
            OF_THE_FILE_SYSTEM | UNFINISHED => {}
            IMAGES | VOLUMES if about.is_dir() && about.uid() == 0 && mode == FOLDER_MODE => ours += 1,
            INCOMING if about.is_dir() && about.uid() == 0 && mode == INCOMING_MODE => ours += 1,
            _ => return Ok(Some(name)),
        }
    }
    // One or two of the three are what a crash of the first release may have left: they hold nothing then.
    if ours == 3 || ours == 0 {
        return Ok(None);
    }
    for name in [IMAGES, VOLUMES, INCOMING] {
        let first = match fs::read_dir(folder.join(name)) {
            Ok(mut entries) => entries.next(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if first.is_some() {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// The path of an open folder, whatever happens to its names.
pub(super) fn by_descriptor(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// Opens a folder that is no link.
pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

/// Makes a folder with that mode; one that is there stays as it is.
fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
