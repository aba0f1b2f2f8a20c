//! A real kube-apiserver with its etcd, from the folder that `NUBIUM_KUBE_APISERVER` names.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Client;
use tempfile::TempDir;

use super::Caller;

/// Both processes; they end when this is dropped.
pub struct Peer {
    pub admin: Caller,
    etcd: Child,
    apiserver: Child,
    _folder: TempDir,
}

/// The folder with the binaries, if the caller has one.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("NUBIUM_KUBE_APISERVER").map(PathBuf::from)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(binary: &Path, log: &Path, arguments: &[String]) -> Child {
    let log = fs::File::create(log).unwrap();
    let error = log.try_clone().unwrap();
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(error);
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary.display()))
}

impl Peer {
    pub async fn start(binaries: &Path) -> Self {
        super::tls();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (client_port, peer_port, port) = (free_port(), free_port(), free_port());
        let etcd_url = format!("http://127.0.0.1:{client_port}");
        let etcd = spawn(
            &binaries.join("etcd"),
            &folder.path().join("etcd.log"),
            &[
                format!("--data-dir={}", at("etcd")),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
            ],
        );
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(at("sa.key"), key.serialize_pem()).unwrap();
        fs::write(at("sa.pub"), key.public_key_pem()).unwrap();
        fs::write(at("tokens"), "peer-token,admin,admin,system:masters\nhost-token,rack-1,rack-1,nubium:hosts\n")
            .unwrap();
        let apiserver = spawn(
            &binaries.join("kube-apiserver"),
            &folder.path().join("apiserver.log"),
            &[
                format!("--etcd-servers={etcd_url}"),
                format!("--cert-dir={}", at("certs")),
                format!("--secure-port={port}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                format!("--token-auth-file={}", at("tokens")),
                "--service-account-issuer=https://peer".to_owned(),
                format!("--service-account-key-file={}", at("sa.pub")),
                format!("--service-account-signing-key-file={}", at("sa.key")),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition,Priority,DefaultStorageClass,\
                 StorageObjectInUseProtection,RuntimeClass,DefaultIngressClass,PodSecurity,LimitRanger"
                    .to_owned(),
            ],
        );
        let client = Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .user_agent("parity/1.0")
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        let url = format!("https://127.0.0.1:{port}");
        let admin = Caller { client, url, token: Some("peer-token".to_owned()) };
        let mut peer = Self { admin, etcd, apiserver, _folder: folder };
        peer.wait().await;
        peer
    }

    /// The agent of host rack-1.
    pub fn host(&self) -> Caller {
        Caller { token: Some("host-token".to_owned()), ..self.admin.clone() }
    }

    async fn wait(&mut self) {
        for _ in 0..600 {
            if let Some(status) = self.apiserver.try_wait().unwrap() {
                let log = fs::read_to_string(self._folder.path().join("apiserver.log")).unwrap();
                panic!("kube-apiserver ended: {status}\n{log}");
            }
            let request = self.admin.client.get(format!("{}/readyz", self.admin.url)).bearer_auth("peer-token");
            if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("kube-apiserver does not get ready");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for child in [&mut self.apiserver, &mut self.etcd] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
