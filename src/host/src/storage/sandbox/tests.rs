//! What a program in the sandbox can and cannot do, tried with a shell in it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::fchown;
use std::time::Instant;

use super::*;

const LIMITS: Limits =
    Limits { memory: 256 << 20, cpu: Duration::from_secs(5), file_size: 1 << 20, deadline: Duration::from_secs(20) };

/// Runs a shell script in the sandbox: what it printed, and how it ended.
async fn shell(script: &str, limits: Limits) -> (String, Result<(), SandboxError>) {
    let world = tempfile::tempdir().unwrap();
    fs::create_dir(world.path().join("root")).unwrap();
    fs::write(world.path().join("in"), "read me").unwrap();
    fchown(File::create(world.path().join("out")).unwrap(), Some(SANDBOX_ID), Some(SANDBOX_ID)).unwrap();
    let job = Job {
        root: &world.path().join("root"),
        reads: &[("in", world.path().join("in"))],
        writes: &[("out", world.path().join("out"))],
        args: vec!["-c".into(), script.into()],
        limits,
    };
    let mut output = Vec::new();
    let ended = Sandbox::find("bash").unwrap().run(&job, |piece| output.extend_from_slice(piece)).await;
    assert!(fs::read_dir(world.path().join("root")).unwrap().next().is_none(), "the host does not see its mounts");
    (String::from_utf8(output).unwrap(), ended)
}

#[tokio::test]
async fn it_is_nobody_and_sees_only_its_files() {
    let (seen, ended) = shell(
        "id -u; id -g; id -G; echo /* /work/*; cat /work/in; echo /dev/*; ls /sys /proc /root 2>/dev/null",
        LIMITS,
    )
    .await;
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines[..3], ["1900000007", "1900000007", "1900000007"], "{seen}");
    for path in lines[3].split(' ') {
        let known = ["/bin", "/dev", "/etc", "/lib", "/lib64", "/usr", "/work", "/work/in", "/work/out"];
        assert!(known.contains(&path), "{path} is seen");
    }
    assert_eq!(lines[4..], ["read me/dev/null"]);
    assert!(ended.is_err(), "ls found something: {seen}");
}

#[tokio::test]
async fn it_writes_what_it_is_given_and_nothing_else() {
    let (_, ended) = shell("echo done > /work/out", LIMITS).await;
    ended.unwrap();
    for script in
        ["echo x > /work/in", "echo x > /work/new", "echo x > /x", "echo x > /usr/x", "echo x > /tmp/x", "mkdir /d"]
    {
        assert!(shell(script, LIMITS).await.1.is_err(), "{script}");
    }
}

#[tokio::test]
async fn it_reaches_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}", listener.local_addr().unwrap().port());
    assert!(shell(&script, LIMITS).await.1.is_err());
    assert!(listener.accept().is_err(), "somebody came");
}

#[tokio::test]
async fn its_appetite_is_bounded() {
    let (_, ended) = shell("while :; do echo 0123456789abcdef; done > /work/out", LIMITS).await;
    assert!(matches!(ended, Err(SandboxError::FileSize { .. })), "{ended:?}");
    let (_, ended) = shell("while :; do :; done", Limits { cpu: Duration::from_secs(1), ..LIMITS }).await;
    assert!(matches!(ended, Err(SandboxError::Cpu { .. } | SandboxError::Failed { .. })), "{ended:?}");
    let (_, ended) = shell("x=$(printf '%*s' 500000000 y); echo ${#x}", LIMITS).await;
    assert!(matches!(ended, Err(SandboxError::Failed { .. })), "{ended:?}");
    let started = Instant::now();
    let (_, ended) = shell("sleep 60", Limits { deadline: Duration::from_millis(300), ..LIMITS }).await;
    assert!(matches!(ended, Err(SandboxError::Deadline { .. })), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn it_dies_with_who_waits_for_it() {
    let world = tempfile::tempdir().unwrap();
    fs::create_dir(world.path().join("root")).unwrap();
    let (root, mut pid) = (world.path().join("root"), String::new());
    let job = Job {
        root: &root,
        reads: &[],
        writes: &[],
        args: vec!["-c".into(), "echo $$; sleep 60".into()],
        limits: LIMITS,
    };
    let sandbox = Sandbox::find("bash").unwrap();
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let running = sandbox.run(&job, |piece| told.send(String::from_utf8_lossy(piece).into_owned()).unwrap());
    tokio::select! {
        _ = running => panic!("it ended"),
        piece = tell.recv() => pid.push_str(piece.unwrap().trim()),
    }
    for _ in 0..100 {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {pid} lives on");
}

#[test]
fn what_is_not_installed_is_said() {
    assert!(matches!(Sandbox::find("no-such-program"), Err(SandboxError::NotInstalled { .. })));
}
