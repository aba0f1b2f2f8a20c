//! A small file system to fill, for tests: a tmpfs in a mount namespace of one thread.

use std::path::Path;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs `test` on a thread that alone sees a fresh file system of `mib` MiB at the given path.
pub(crate) fn on(mib: u32, test: impl FnOnce(&Path) + Send + 'static) {
    let running = thread::spawn(move || {
        let none = None::<&str>;
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("disk");
        std::fs::create_dir(&folder).unwrap();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some(format!("size={mib}m,mode=0711").as_str()))
            .unwrap();
        test(&folder);
        nix::mount::umount2(&folder, nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}
