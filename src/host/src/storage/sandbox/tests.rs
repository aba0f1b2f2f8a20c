//! What a program in the sandbox can and cannot do, tried with a shell in it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

use super::*;

const LIMITS: Limits =
    Limits { memory: 256 << 20, cpu: Duration::from_secs(5), file_size: 1 << 20, deadline: Duration::from_secs(120) };

/// Runs a shell script in the sandbox: what it printed, and how it ended.
async fn shell(script: &str, limits: Limits) -> (String, Result<(), SandboxError>) {
    let world = tempfile::tempdir().unwrap();
    fs::create_dir(world.path().join("root")).unwrap();
    fs::write(world.path().join("in"), "read me").unwrap();
    fs::write(world.path().join("out"), "").unwrap();
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
    assert!(lines[0].starts_with("19000") && lines[..3] == [lines[0]; 3], "{seen}");
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
    let (_, ended) = shell("while echo 0123456789abcdef; do :; done > /work/out; exit 1", LIMITS).await;
    assert!(matches!(ended, Err(SandboxError::FileSize { .. })), "{ended:?}");
    let (_, ended) = shell("while :; do :; done", Limits { cpu: Duration::from_secs(1), ..LIMITS }).await;
    assert!(matches!(ended, Err(SandboxError::Cpu { .. })), "{ended:?}");
    let (_, ended) = shell("x=$(printf '%*s' 500000000 y); echo ${#x}", LIMITS).await;
    assert!(matches!(ended, Err(SandboxError::Failed { .. })), "{ended:?}");
    let (_, ended) = shell("sleep 6000", Limits { deadline: Duration::from_millis(300), ..LIMITS }).await;
    assert!(matches!(ended, Err(SandboxError::Deadline { .. })), "{ended:?}");
}

#[tokio::test]
async fn it_sees_no_process_but_its_own() {
    let script = format!("echo $$; kill -0 {} || echo alone; sleep 0 & wait $! && echo together", std::process::id());
    let (seen, ended) = shell(&script, LIMITS).await;
    ended.unwrap();
    assert_eq!(seen, "1\nalone\ntogether\n");
    let (_, ended) = shell(&format!("kill -0 {}", std::process::id()), LIMITS).await;
    let Err(SandboxError::Failed { message, .. }) = ended else { panic!("{ended:?}") };
    assert!(message.contains("No such process"), "{message}");
}

#[tokio::test]
async fn a_system_call_that_it_does_not_need_is_unknown_to_it() {
    for call in [
        "unshare --user true",
        "unshare --mount true",
        "mount -t tmpfs none /work",
        "chroot / true",
        "chgrp 1 /work/out",
    ] {
        let (_, ended) = shell(&format!("{call}; exit $?"), LIMITS).await;
        let Err(SandboxError::Failed { message, .. }) = ended else { panic!("{call}: {ended:?}") };
        assert!(message.contains("Function not implemented"), "{call}: {message}");
    }
    let (_, ended) = shell("exec 3<>/dev/udp/127.0.0.1/9", LIMITS).await;
    let Err(SandboxError::Failed { message, .. }) = ended else { panic!("{ended:?}") };
    assert!(message.contains("Function not implemented"), "{message}");
}

#[tokio::test]
async fn how_a_program_ends_is_told() {
    use std::os::unix::process::ExitStatusExt;

    let (_, ended) = shell("echo no >&2; exit 42", LIMITS).await;
    let Err(SandboxError::Failed { status, message, .. }) = &ended else { panic!("{ended:?}") };
    assert_eq!((status.code(), message.as_str()), (Some(42), "no"));
    let (_, ended) = shell("bash -c 'kill -SEGV $$'; exit $?", LIMITS).await;
    assert!(
        matches!(&ended, Err(SandboxError::Failed { status, .. }) if status.code() == Some(128 + libc::SIGSEGV)),
        "{ended:?}"
    );
    let (_, ended) = shell("x() { x; }; ulimit -s 64; x", LIMITS).await;
    assert!(
        matches!(&ended, Err(SandboxError::Failed { status, .. }) if status.signal() == Some(libc::SIGSEGV)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_step_that_fails_is_named() {
    let world = tempfile::tempdir().unwrap();
    let (root, text) = (world.path().join("root"), world.path().join("text"));
    fs::create_dir(&root).unwrap();
    fs::write(&text, "no program").unwrap();
    let job = |reads| Job { root: &root, reads, writes: &[], args: Vec::new(), limits: LIMITS };
    let ended = Sandbox { program: text.clone() }.run(&job(&[]), |_| {}).await;
    assert!(matches!(ended, Err(SandboxError::Start { step: Step::Execute, .. })), "{ended:?}");
    let twice = [("in", text.clone()), ("in", text)];
    let ended = Sandbox::find("bash").unwrap().run(&job(&twice), |_| {}).await;
    assert!(matches!(&ended, Err(SandboxError::Start { step: Step::Root, .. })), "{ended:?}");
    assert!(
        ended
            .unwrap_err()
            .to_string()
            .ends_with("it did not get a root of its own, which needs mounts (CAP_SYS_ADMIN)")
    );
    let absent = Job { root: Path::new("/no-such-folder"), ..job(&[]) };
    let ended = Sandbox::find("bash").unwrap().run(&absent, |_| {}).await;
    assert!(matches!(ended, Err(SandboxError::Prepare { .. })), "{ended:?}");
}

/// Processes of a user of the sandbox that have not ended.
fn left_of(user: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let ours = processes.filter(|pid| fs::metadata(format!("/proc/{pid}")).is_ok_and(|about| about.uid() == user));
    ours.filter(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")))
        .collect()
}

async fn none_is_left_of(user: u32) {
    for _ in 0..500 {
        if left_of(user).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("processes {:?} live on", left_of(user));
}

#[tokio::test]
async fn what_it_started_ends_with_it() {
    let (seen, ended) = shell("id -u; sleep 6000 & sleep 6000 & exit 0", LIMITS).await;
    ended.unwrap();
    none_is_left_of(seen.trim().parse().unwrap()).await;
}

#[tokio::test]
async fn it_dies_with_who_waits_for_it() {
    let world = tempfile::tempdir().unwrap();
    fs::create_dir(world.path().join("root")).unwrap();
    let root = world.path().join("root");
    let job = Job {
        root: &root,
        reads: &[],
        writes: &[],
        args: vec!["-c".into(), "sleep 6000 & setsid sleep 6000 & id -u; wait".into()],
        limits: LIMITS,
    };
    let sandbox = Sandbox::find("bash").unwrap();
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let running = sandbox.run(&job, |piece| told.send(String::from_utf8_lossy(piece).into_owned()).unwrap());
    let user = tokio::select! {
        _ = running => panic!("it ended"),
        piece = tell.recv() => piece.unwrap().trim().parse().unwrap(),
    };
    none_is_left_of(user).await;
}

#[test]
fn what_is_not_installed_is_said() {
    assert!(matches!(Sandbox::find("no-such-program"), Err(SandboxError::NotInstalled { .. })));
}
