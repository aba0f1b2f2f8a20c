//! The flags of each program, and how one sees that it is ready.

use std::path::Path;
use std::process::Command;

use super::certificates;
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
    let (own, authority) = (certificates::apiserver(folder), certificates::authority(folder));
    vec![
        format!("--etcd-servers={etcd}"),
        format!("--cert-dir={}", folder.join("apiserver").display()),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        // Nothing goes there, and a machine without a way out has no address that it would find by itself.
        "--advertise-address=192.0.2.1".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        format!("--tls-cert-file={}", own.certificate.display()),
        format!("--tls-private-key-file={}", own.key.display()),
        format!("--client-ca-file={}", authority.certificate.display()),
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
        format!("--root-ca-file={}", certificates::authority(folder).certificate.display()),
        "--use-service-account-credentials=false".to_owned(),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
    ]
}

/// Whether a health page says 200 to the admin of the control plane in `folder`, or to anybody when that is none.
pub fn healthy(url: &str, folder: Option<&Path>) -> bool {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "5", "--noproxy", "*", url]);
    match folder {
        Some(folder) => {
            let admin = certificates::admin(folder);
            curl.arg("--cacert").arg(certificates::authority(folder).certificate);
            curl.arg("--cert").arg(admin.certificate).arg("--key").arg(admin.key);
        }
        // Health only, from a process that we started on loopback a moment ago.
        None => {
            curl.arg("--insecure");
        }
    }
    command::succeeds(&mut curl)
}
