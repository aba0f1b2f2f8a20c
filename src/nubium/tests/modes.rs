//! What `nubium up` makes on a machine is nobody else's to read: every file and folder against a table of exceptions.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Folders that QEMU's user passes through, and that nobody else than root can list. All others are 0700.
const TRAVERSABLE: &[&str] =
    &["", "servers", "pools", "libvirt", "libvirt/*", "pools/*", "pools/*/images", "pools/*/volumes"];
/// What is in these is libvirt's own; of ours there are only sockets, which libvirtd makes by our configuration.
const LIBVIRTS: &[&str] = &["libvirt/dev", "libvirt/run", "libvirt/lib", "libvirt/cache", "libvirt/log"];

/// Ends with everything it started: it is the first process of a namespace.
struct Cloud(Child);

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_that_up_makes_is_open_to_others() {
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED: only root can run a cloud");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let (state, run) = (folder.path().join("state"), folder.path().join("run"));
    // As an older release left it.
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(state.join("nubium.log"), "").unwrap();
    fs::set_permissions(state.join("nubium.log"), fs::Permissions::from_mode(0o644)).unwrap();

    let log = fs::File::create(folder.path().join("log")).unwrap();
    let script = "ip link set lo up && mount -t tmpfs tmpfs /run && umask 000 && exec \"$0\" up --state \"$1\" --run \"$2\" \
                  --host rack-1 --acceleration tcg";
    let cloud = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"])
        .args(["sh", "-c", script, env!("CARGO_BIN_EXE_nubium")])
        .args([&state, &run])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let _cloud = Cloud(cloud);
    let libvirt = ["/usr/sbin/libvirtd", "/usr/bin/libvirtd"].iter().any(|path| Path::new(path).exists());
    let made = || {
        let agent = !libvirt || state.join("pools/default/volumes").exists();
        agent && state.join("admin.kubeconfig").exists() && run.join("agent").exists()
    };
    let begun = Instant::now();
    while !made() {
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        assert!(begun.elapsed() < Duration::from_secs(90), "it is not up:\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut open = Vec::new();
    for root in [&state, &run] {
        look(root, root, &mut open);
    }
    assert!(open.is_empty(), "{open:#?}");
    assert!(state.join("store.db").exists() && state.join("store.db-wal").exists());
}

/// Adds what has another mode than it should have.
fn look(root: &Path, path: &Path, open: &mut Vec<(PathBuf, String)>) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    let name = path.strip_prefix(root).expect("it is below").to_string_lossy().into_owned();
    let mode = meta.permissions().mode() & 0o777;
    let libvirts = LIBVIRTS.iter().any(|folder| name == *folder || name.starts_with(&format!("{folder}/")));
    let good = match meta.file_type() {
        kind if kind.is_socket() => mode & 0o077 == 0,
        _ if libvirts => true,
        kind if kind.is_dir() && TRAVERSABLE.iter().any(|pattern| matches(pattern, &name)) => mode == 0o711,
        kind if kind.is_symlink() => true,
        _ => mode & 0o077 == 0,
    };
    if !good {
        open.push((path.to_owned(), format!("{mode:o}")));
    }
    if meta.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).into_iter().flatten().flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        entries.iter().for_each(|entry| look(root, &entry.path(), open));
    }
}

/// Whether a path has the shape of a pattern, where `*` is one name that is not hidden.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), name.split('/').collect());
    pattern.len() == name.len()
        && pattern.iter().zip(&name).all(|(one, other)| one == other || *one == "*" && !other.starts_with('.'))
}
