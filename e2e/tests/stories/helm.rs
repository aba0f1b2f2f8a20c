//! A chart of somebody's own, with Servers in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nubium_e2e::cloud::Cloud;
use nubium_e2e::command::text;
use nubium_e2e::json::condition;
use nubium_e2e::space::Space;
use nubium_xtask::peers::{self, Peer};

use crate::yaml::{image, network, server_with};

pub fn waits_for_servers(cloud: &mut Cloud) {
    let Some(helm) = program() else {
        println!("  skipped: there is no Helm 4 on this machine; `cargo xtask peers` builds one");
        return;
    };
    let space = Space::create(cloud, "helm");
    let chart = cloud.state().join("chart");
    fs::create_dir_all(chart.join("templates")).expect("the state folder is ours");
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 0.1.0\n").expect("it is ours");
    let power = ", powerState: {{ .Values.power }}";
    let documents = [
        image("shop", "{source: {file: {path: tiny.qcow2}}, defaultUser: tiny}"),
        network("shop", "10.24.0.0/24", ""),
        server_with("web-1", "shop", "", power),
    ];
    fs::write(chart.join("templates/all.yaml"), documents.join("\n---\n")).expect("it is ours");

    // Each command returns when what it asked for was seen, not before: so the very next look shows it.
    run(&helm, &space, &["install", "shop", &path(&chart), "--wait", "--timeout", "170s", "--set", "power=Running"]);
    assert_eq!(ready(&space), ("True".into(), "Running".into()));
    run(&helm, &space, &["upgrade", "shop", &path(&chart), "--wait", "--timeout", "170s", "--set", "power=Stopped"]);
    assert_eq!(ready(&space), ("True".into(), "Stopped".into()));
    run(&helm, &space, &["uninstall", "shop", "--wait", "--timeout", "170s"]);
    assert!(space.get("servers/web-1").is_none() && space.get("networks/shop").is_none());
    space.delete_and_wait("images/tiny");
    assert_eq!(space.left_over(), Vec::<String>::new());
}

/// The one on the PATH, if it is of version 4, or ours.
fn program() -> Option<PathBuf> {
    let ours = peers::binary(&peers::default_folder(), Peer::Helm);
    [PathBuf::from("helm"), ours].into_iter().find(|helm| {
        let version = Command::new(helm).args(["version", "--short"]).output();
        version.is_ok_and(|said| said.stdout.starts_with(b"v4."))
    })
}

fn run(helm: &Path, space: &Space<'_>, arguments: &[&str]) {
    let mut command = Command::new(helm);
    command.args(arguments).args(["--namespace", space.name()]).env("KUBECONFIG", space.cloud().kubeconfig());
    // Helm keeps caches at home.
    command.env("HOME", space.cloud().state());
    text(&mut command).unwrap_or_else(|error| panic!("{error:#}"));
}

fn path(chart: &Path) -> String {
    chart.display().to_string()
}

/// Status and reason of the Server's Ready, in one look.
fn ready(space: &Space<'_>) -> (String, String) {
    let seen = space.get("servers/web-1").expect("it is there");
    let ready = condition(&seen, "Ready").unwrap_or_else(|| panic!("nobody has looked at it: {}", seen["status"]));
    let word = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    (word("status"), word("reason"))
}
