//! The flags of each program, and how one sees that it is ready.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;

/// The control loops that act on any object, whatever its kind; the others need nodes.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,resourcequota-controller,\
serviceaccount-token-controller";

/// Admission that expects a cluster with nodes and service accounts.
const NO_ADMISSION: &str = "ServiceAccount,TaintNodesByCondition,Priority,DefaultStorageClass,\
StorageObjectInUseProtection,RuntimeClass,DefaultIngressClass,PodSecurity,LimitRanger";

pub fn etcd(folder: &Path, client: &str, peer_port: u16) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        "--name=nubium-test".to_owned(),
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=nubium-test={peer}"),
        // The member remembers its first address; a new start has new ports.
        "--force-new-cluster".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

pub fn apiserver(folder: &Path, etcd: &str, port: u16) -> Vec<String> {
    let accounts = folder.join("service-accounts.key");
    vec![
        format!("--etcd-servers={etcd}"),
        format!("--cert-dir={}", folder.join("apiserver").display()),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        format!("--client-ca-file={}", folder.join("client-ca.crt").display()),
        format!("--token-auth-file={}", folder.join("tokens.csv").display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", accounts.display()),
        format!("--service-account-signing-key-file={}", accounts.display()),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--disable-admission-plugins={NO_ADMISSION}"),
    ]
}

pub fn controller_manager(folder: &Path, kubeconfig: &Path, port: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--controllers={CONTROLLERS}"),
        format!("--service-account-private-key-file={}", folder.join("service-accounts.key").display()),
        format!("--root-ca-file={}", folder.join("apiserver/apiserver.crt").display()),
        "--use-service-account-credentials=false".to_owned(),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
    ]
}

/// How to ask a server that wants to know who asks.
pub struct Access {
    pub authority: PathBuf,
    pub token: String,
}

/// Whether a health page says 200.
pub fn healthy(url: &str, access: Option<&Access>) -> bool {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "5", "--noproxy", "*", url]);
    match access {
        Some(Access { authority, token }) => {
            curl.arg("--cacert").arg(authority).args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        // Health only, from a process that we started on loopback a moment ago.
        None => {
            curl.arg("--insecure");
        }
    }
    command::succeeds(&mut curl)
}
