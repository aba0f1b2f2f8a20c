//! Everything by kubectl, in every version that is here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nubium_e2e::cloud::Cloud;
use nubium_e2e::command::text;
use nubium_e2e::machine::run;
use nubium_e2e::space::Space;

use crate::again::{everything, versions};

pub fn does_everything(cloud: &mut Cloud) {
    for (number, name) in ["kubectl", "kubectl.1.32", "kubectl.1.33"].into_iter().enumerate() {
        let Some((program, version)) = find(name) else {
            println!("  skipped: there is no {name} on this machine");
            continue;
        };
        println!("  {name}: {version}");
        let program = &program;
        let space = Space::create(cloud, &format!("kubectl-{number}"));
        applies(&space, program, 100 + 2 * number);
        shows(&space, program);
        edits(cloud, &space, program);
    }
}

/// The program of that name on the PATH, or beside the kubectl that is there, which may be a link; and what it calls
/// itself: a program of another name may only choose a version.
fn find(name: &str) -> Option<(String, String)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let linked = on_path.iter().filter_map(|folder| folder.join("kubectl").canonicalize().ok());
    let beside: Vec<PathBuf> = linked.filter_map(|kubectl| kubectl.parent().map(Path::to_owned)).collect();
    let mut programs = on_path.iter().chain(&beside).map(|folder| folder.join(name).display().to_string());
    programs.find_map(|program| {
        let said = run(&program, &["version", "--client"]).ok()?;
        Some((program, said.lines().next().unwrap_or_default().to_owned()))
    })
}

fn kubectl(space: &Space<'_>, program: &str, arguments: &[&str]) -> String {
    text(space.kubectl(program).args(arguments)).unwrap_or_else(|error| panic!("{error:#}"))
}

fn feed(mut command: Command, yaml: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("asked for").write_all(yaml.as_bytes()).expect("it reads");
    let out = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {said}\n{yaml}");
    said
}

/// Applied twice, both ways: the second time nothing changes.
fn applies(space: &Space<'_>, program: &str, range: usize) {
    for (suffix, range, how) in [("client", range, "--server-side=false"), ("server", range + 1, "--server-side")] {
        let yaml = everything(suffix, &format!("10.{range}.0.0/24"));
        let apply = || {
            let mut command = space.kubectl(program);
            command.args(["apply", how, "-f", "-"]);
            command
        };
        feed(apply(), &yaml);
        let (server, network) = (format!("servers/web-{suffix}"), format!("networks/blue-{suffix}"));
        kubectl(space, program, &["wait", "--for=condition=Ready", "--timeout=60s", &server, &network]);
        space.ready(&server);
        let before = versions(space);
        let said = feed(apply(), &yaml);
        if suffix == "client" {
            assert_eq!(said.matches(" unchanged").count(), 3, "{said}");
        }
        assert_eq!(before, versions(space), "{program} apply {how} of the same changed something");

        let mut diff = space.kubectl(program);
        diff.args(["diff", how, "-f", "-"]);
        assert_eq!(feed(diff, &yaml), "", "kubectl diff sees no difference");
    }
}

fn shows(space: &Space<'_>, program: &str) {
    let wide = kubectl(space, program, &["get", "srv", "-o", "wide"]);
    for title in ["NAME", "READY", "STATUS", "ADDRESS", "HOST", "FLAVOR", "AGE", "MESSAGE"] {
        assert!(wide.contains(title), "{wide}");
    }
    assert!(wide.contains("web-client") && wide.contains("Stopped"), "{wide}");
    let all = kubectl(space, program, &["get", "nubium", "-A"]);
    for name in [
        "server.nubium.dev/web-client",
        "image.nubium.dev/tiny",
        "flavor.nubium.dev/nano",
        "host.nubium.dev/",
        "storagepool.nubium.dev/default",
    ] {
        assert!(all.contains(name), "get nubium -A lacks {name}: {all}");
    }
    let described = kubectl(space, program, &["describe", "server", "web-client"]);
    assert!(described.contains("Conditions:") && described.contains("Scheduled"), "{described}");
    let explained = kubectl(space, program, &["explain", "server.spec.disks"]);
    assert!(explained.contains("The first one boots") && explained.contains("deletionPolicy"), "{explained}");
    let yaml = kubectl(space, program, &["get", "network", "blue-client", "-o", "yaml"]);
    assert!(yaml.contains("kind: Network") && yaml.contains("10."), "{yaml}");
}

fn edits(cloud: &Cloud, space: &Space<'_>, program: &str) {
    let script = cloud.state().join("editor.sh");
    let change = "sed -i 's/hostAccess: false/hostAccess: true/' \"$1\"";
    std::fs::write(&script, format!("#!/bin/sh\n{change}\n")).expect("the folder is ours");
    run("chmod", &["755", &script.display().to_string()]).expect("chmod works");
    let access = || space.get("networks/blue-client").expect("it is there")["spec"]["hostAccess"].clone();
    text(space.kubectl(program).env("KUBE_EDITOR", &script).args(["edit", "net", "blue-client"])).expect("edit works");
    assert_eq!(access(), true);
    let back = "{\"spec\":{\"hostAccess\":false}}";
    kubectl(space, program, &["patch", "net", "blue-client", "--type=merge", "-p", back]);
    assert_eq!(access(), false);
    kubectl(space, program, &["label", "server", "web-client", "tier=web"]);
    assert!(kubectl(space, program, &["get", "srv", "-l", "tier=web", "-o", "name"]).contains("web-client"));

    kubectl(space, program, &["create", "secret", "generic", "pass", "--from-literal=word=open"]);
    kubectl(space, program, &["create", "configmap", "settings", "--from-literal=colour=blue"]);
    assert_eq!(space.get("configmaps/settings").expect("it is there")["data"]["colour"], "blue");
    let other = format!("{}-other", space.name());
    kubectl(space, program, &["create", "namespace", &other]);
    kubectl(space, program, &["delete", "namespace", &other, "--timeout=60s"]);
    kubectl(space, program, &["delete", "secret/pass", "configmap/settings"]);
    kubectl(space, program, &["delete", "srv", "web-client", "web-server", "--timeout=60s"]);
    kubectl(space, program, &["delete", "net,vol,img", "--all", "--timeout=60s"]);
    assert_eq!(space.left_over(), Vec::<String>::new());
}
