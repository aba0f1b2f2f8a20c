//! The Go modules that the peers are built in: a `go.mod` each, and one file that names what is wanted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Peer;

const KUBERNETES: &str = "1.35.3";
const ETCD: &str = "3.6.16";
const HELM: &str = "4.2.4";
const GO: &str = "1.25.0";

/// The parts of Kubernetes that are modules of their own; in its own repository they are replaced by folders, so
/// whoever builds it from outside must name each one's release.
const STAGING: &[&str] = &[
    "api",
    "apiextensions-apiserver",
    "apimachinery",
    "apiserver",
    "cli-runtime",
    "client-go",
    "cloud-provider",
    "cluster-bootstrap",
    "code-generator",
    "component-base",
    "component-helpers",
    "controller-manager",
    "cri-api",
    "cri-client",
    "csi-translation-lib",
    "dynamic-resource-allocation",
    "endpointslice",
    "externaljwt",
    "kms",
    "kube-aggregator",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "metrics",
    "mount-utils",
    "pod-security-admission",
    "sample-apiserver",
    "sample-cli-plugin",
    "sample-controller",
];

const ETCD_MAIN: &str = r#"package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"#;

/// The release that is built.
pub fn version(peer: Peer) -> &'static str {
    match peer {
        Peer::KubeApiserver | Peer::KubeControllerManager => KUBERNETES,
        Peer::Etcd => ETCD,
        Peer::Helm => HELM,
    }
}

/// The Go package of the program.
pub fn package(peer: Peer) -> &'static str {
    match peer {
        Peer::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
        Peer::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
        Peer::Etcd => ".",
        Peer::Helm => "helm.sh/helm/v4/cmd/helm",
    }
}

/// The linker's flags: no symbols, and the version that Kubernetes' own build would write in.
pub fn link_flags(peer: Peer) -> String {
    match peer {
        Peer::Etcd => return "-s -w".to_owned(),
        Peer::Helm => return format!("-s -w -X helm.sh/helm/v4/internal/version.version=v{HELM}"),
        Peer::KubeApiserver | Peer::KubeControllerManager => {}
    }
    let numbers: Vec<_> = KUBERNETES.split('.').collect();
    let at = "k8s.io/component-base/version";
    let [major, minor, _] = numbers[..] else { unreachable!("a release has three numbers") };
    format!("-s -w -X {at}.gitVersion=v{KUBERNETES} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}")
}

/// Writes the module of a peer, unless it is there, and returns its folder.
pub fn lay_out(folder: &Path, peer: Peer) -> Result<PathBuf> {
    let (name, files) = match peer {
        Peer::KubeApiserver | Peer::KubeControllerManager => {
            ("k8s", [("go.mod", kubernetes_module()), ("tools.go", kubernetes_tools())])
        }
        Peer::Etcd => ("etcd", [("go.mod", etcd_module()), ("main.go", ETCD_MAIN.to_owned())]),
        Peer::Helm => ("helm", [("go.mod", helm_module()), ("tools.go", tools(&[package(peer)]))]),
    };
    let module = folder.join(name);
    fs::create_dir_all(&module).with_context(|| format!("create {}", module.display()))?;
    for (file, content) in files {
        let path = module.join(file);
        // `go mod tidy` has added to it since.
        if !path.exists() {
            fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(module)
}

fn kubernetes_module() -> String {
    let staging = KUBERNETES.replacen("1.", "0.", 1);
    let replaced: String =
        STAGING.iter().map(|part| format!("\tk8s.io/{part} => k8s.io/{part} v{staging}\n")).collect();
    format!("module nubium-peers\n\ngo {GO}\n\nrequire k8s.io/kubernetes v{KUBERNETES}\n\nreplace (\n{replaced})\n")
}

fn kubernetes_tools() -> String {
    let apps = [Peer::KubeApiserver, Peer::KubeControllerManager].map(|peer| format!("{}/app", package(peer)));
    tools(&apps.each_ref().map(String::as_str))
}

/// A file that names what the module shall have.
fn tools(packages: &[&str]) -> String {
    let imports: String = packages.iter().map(|package| format!("\t_ \"{package}\"\n")).collect();
    format!("//go:build tools\n\npackage tools\n\nimport (\n{imports})\n")
}

fn etcd_module() -> String {
    format!("module nubium-etcd\n\ngo {GO}\n\nrequire go.etcd.io/etcd/server/v3 v{ETCD}\n")
}

fn helm_module() -> String {
    format!("module nubium-helm\n\ngo {GO}\n\nrequire helm.sh/helm/v4 v{HELM}\n")
}

#[cfg(test)]
mod tests {
    use super::{kubernetes_module, link_flags};
    use crate::peers::Peer;

    #[test]
    fn the_staging_modules_have_the_release_of_kubernetes_itself() {
        let module = kubernetes_module();
        assert!(module.contains("require k8s.io/kubernetes v1.35.3\n"));
        assert!(module.contains("\tk8s.io/client-go => k8s.io/client-go v0.35.3\n"));
    }

    #[test]
    fn the_version_is_written_in() {
        let flags = link_flags(Peer::KubeApiserver);
        assert!(flags.contains("version.gitVersion=v1.35.3") && flags.contains("gitMinor=35"), "{flags}");
    }
}
