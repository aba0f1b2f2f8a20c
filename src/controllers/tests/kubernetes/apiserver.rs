//! A real kube-apiserver on loopback, with etcd, for as long as this process lives.
//!
//! `NUBIUM_KUBE_APISERVER` names the folder of the programs: kube-apiserver, etcd and, if it is there,
//! kube-controller-manager: with it namespaces end and garbage is collected.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use kube::{Api, Client, Config, api::ListParams};

const TOKEN: &str = "a-token-for-tests";

pub struct Kubernetes {
    pub config: Config,
    /// Whether namespaces end here.
    pub manager: bool,
    _folder: tempfile::TempDir,
    _programs: Vec<Child>,
}

impl Kubernetes {
    /// None, said aloud, when no folder is named.
    pub async fn start() -> Option<Self> {
        let Some(programs_in) = std::env::var_os("NUBIUM_KUBE_APISERVER").map(PathBuf::from) else {
            eprintln!(
                "SKIPPED: set NUBIUM_KUBE_APISERVER to a folder with kube-apiserver and etcd to run against them"
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(at("accounts.pem"), key.serialize_pem()).unwrap();
        fs::write(at("accounts.pub"), key.public_key_pem()).unwrap();
        fs::write(at("tokens"), format!("{TOKEN},admin,admin,system:masters\n")).unwrap();
        let [client, peer, secure] = free_ports();

        let etcd = [
            format!("--data-dir={}", at("etcd")),
            format!("--listen-client-urls=http://127.0.0.1:{client}"),
            format!("--advertise-client-urls=http://127.0.0.1:{client}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-cluster=default=http://127.0.0.1:{peer}"),
            "--unsafe-no-fsync=true".into(),
        ];
        let apiserver = [
            format!("--etcd-servers=http://127.0.0.1:{client}"),
            format!("--cert-dir={}", at("certs")),
            format!("--secure-port={secure}"),
            "--bind-address=127.0.0.1".into(),
            "--authorization-mode=RBAC".into(),
            format!("--token-auth-file={}", at("tokens")),
            "--service-account-issuer=https://nubium.test".into(),
            format!("--service-account-key-file={}", at("accounts.pub")),
            format!("--service-account-signing-key-file={}", at("accounts.pem")),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            "--endpoint-reconciler-type=none".into(),
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition,Priority,DefaultStorageClass,StorageObjectInUseProtection,RuntimeClass,DefaultIngressClass,PodSecurity,LimitRanger".into(),
        ];
        let mut programs = vec![
            spawn(&programs_in.join("etcd"), &etcd, &folder),
            spawn(&programs_in.join("kube-apiserver"), &apiserver, &folder),
        ];

        let mut config = Config::new(format!("https://127.0.0.1:{secure}").parse().unwrap());
        config.accept_invalid_certs = true;
        config.auth_info.token = Some(TOKEN.to_owned().into());
        let ready = Client::try_from(config.clone()).unwrap();
        for attempt in 0.. {
            let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(ready.clone());
            if namespaces.list(&ListParams::default()).await.is_ok_and(|list| list.iter().count() >= 3) {
                break;
            }
            if attempt == 300 {
                let log = fs::read_to_string(at("kube-apiserver.log")).unwrap_or_default();
                panic!("kube-apiserver did not come up in a minute; it ended so:\n{}", last_lines(&log));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let manager = programs_in.join("kube-controller-manager");
        if manager.exists() {
            fs::write(at("kubeconfig"), kubeconfig(secure)).unwrap();
            let arguments = [
                format!("--kubeconfig={}", at("kubeconfig")),
                "--controllers=namespace-controller,garbage-collector-controller".into(),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
            ];
            programs.push(spawn(&manager, &arguments, &folder));
        }
        Some(Self { config, manager: manager.exists(), _folder: folder, _programs: programs })
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: u, user: {{token: {TOKEN}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    )
}

/// Runs a program that ends when this process does, however it does: a shell waits for the end of its input.
fn spawn(program: &Path, arguments: &[String], folder: &tempfile::TempDir) -> Child {
    let name = program.file_name().unwrap().to_string_lossy();
    let log = fs::File::create(folder.path().join(format!("{name}.log"))).unwrap();
    Command::new("sh")
        .args(["-c", r#""$@" </dev/null & program=$!; read -r _; kill -9 $program; wait"#, "sh"])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
