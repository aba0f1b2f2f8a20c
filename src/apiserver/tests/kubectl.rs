//! Real kubectl, every version that is found on the PATH or beside what is.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use support::{Ours, definitions};
use tokio::process::Command;

const YAML: &str = "
apiVersion: nubium.dev/v1alpha1
kind: Network
metadata: {name: blue, namespace: shop}
spec:
  subnets: [{name: v4, cidr: 10.10.0.0/24}]
---
apiVersion: nubium.dev/v1alpha1
kind: Server
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec:
  flavor: small
  disks: [{name: root, image: debian-12, size: 10Gi}]
  nics: [{name: eth0, network: blue}]
";

/// For a `List`, every kubectl reads OpenAPI v2.
const LIST: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: default}, data: {a: b}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: two, namespace: default}, data: {c: d}}
";

/// One kubectl, talking to one server.
struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
    yaml: PathBuf,
}

impl Kubectl {
    async fn output(&self, arguments: &str) -> Output {
        let mut command = Command::new(&self.binary);
        command.arg("--cache-dir").arg(&self.cache).args(arguments.split_whitespace()).stdin(Stdio::null());
        command.env("KUBECONFIG", &self.kubeconfig).env("EDITOR", "sed -i s/10Gi/20Gi/").kill_on_drop(true);
        let limit = std::time::Duration::from_secs(60);
        tokio::time::timeout(limit, command.output()).await.expect("kubectl ends").unwrap()
    }

    /// Runs it; it must succeed.
    async fn run(&self, arguments: &str) -> String {
        let arguments = arguments.replace("FILE", &self.yaml.display().to_string());
        let output = self.output(&arguments).await;
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {arguments}: {out}{error}", self.binary.display());
        out.into_owned()
    }
}

fn found() -> Vec<PathBuf> {
    let names = [
        "kubectl",
        "kubectl.1.27",
        "kubectl.1.28",
        "kubectl.1.29",
        "kubectl.1.30",
        "kubectl.1.31",
        "kubectl.1.32",
        "kubectl.1.33",
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Distributions keep other versions beside the one that they link to.
    let beside =
        on_path.iter().filter_map(|folder| folder.join("kubectl").canonicalize().ok()?.parent().map(Path::to_owned));
    let folders: std::collections::BTreeSet<PathBuf> = on_path.iter().cloned().chain(beside).collect();
    let candidates = folders.iter().flat_map(|folder| names.map(|name| folder.join(name)));
    let found = candidates.filter_map(|candidate: PathBuf| candidate.canonicalize().ok());
    found.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_does_its_work() {
    let binaries = found();
    if binaries.is_empty() {
        eprintln!("SKIPPED: no kubectl on the PATH");
        return;
    }
    for binary in binaries {
        let ours = Ours::start().await;
        let folder = ours.folder.path();
        let kubectl = Kubectl {
            binary,
            kubeconfig: ours.kubeconfig(),
            cache: folder.join("cache"),
            yaml: folder.join("cloud.yaml"),
        };
        std::fs::write(&kubectl.yaml, YAML).unwrap();
        install(&ours, &kubectl).await;
        works(&kubectl).await;
        let kubectl = Kubectl { yaml: folder.join("list.yaml"), ..kubectl };
        std::fs::write(&kubectl.yaml, LIST).unwrap();
        lists(&kubectl).await;
        asks_about_itself(&kubectl).await;
    }
}

async fn install(ours: &Ours, kubectl: &Kubectl) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let made = kubectl.run(&format!("apply --server-side -f {}", folder.display())).await;
    assert_eq!(made.lines().count(), definitions().len(), "{made}");
    kubectl.run("wait --for=condition=Established crd --all --timeout=20s").await;
    assert_eq!(ours.admin.get("/apis/nubium.dev/v1alpha1").await.code, 200);
}

async fn works(kubectl: &Kubectl) {
    kubectl.run("create namespace shop").await;
    kubectl.run("create secret generic keys -n shop --from-literal=a=b").await;
    kubectl.run("create configmap words -n shop --from-literal=a=b --from-literal=c=d").await;
    assert_eq!(kubectl.run("get secret keys -n shop -o jsonpath={.data.a}").await, "Yg==");
    let words = kubectl.run("get configmap words -n shop --no-headers").await;
    assert_eq!(words.split_whitespace().take(2).collect::<Vec<_>>(), ["words", "2"]);

    assert!(kubectl.run("apply -f FILE").await.contains("server.nubium.dev/web-1 created"));
    let again = kubectl.run("apply -f FILE").await;
    assert_eq!(again.matches("unchanged").count(), 2, "{again}");
    let version = kubectl.run("get server web-1 -n shop -o jsonpath={.metadata.resourceVersion}").await;
    let other = "apply --server-side --force-conflicts --field-manager=git -f FILE";
    kubectl.run(other).await;
    let taken = kubectl.run("get server web-1 -n shop -o jsonpath={.metadata.resourceVersion}").await;
    assert_ne!(version, taken, "a new manager owns fields");
    kubectl.run(other).await;
    assert_eq!(kubectl.run("get server web-1 -n shop -o jsonpath={.metadata.resourceVersion}").await, taken);
    kubectl.run("diff -f FILE").await;

    let table = kubectl.run("get srv -n shop").await;
    assert!(table.starts_with("NAME    READY   STATUS   ADDRESS   HOST   FLAVOR   AGE"), "{table}");
    assert!(kubectl.run("get srv -n shop -o wide").await.contains("MEMORY"));
    assert!(kubectl.run("get nubium -A").await.contains("network.nubium.dev/blue"));
    assert!(kubectl.run("get server web-1 -n shop -o yaml").await.contains("powerState: Running"));
    assert!(kubectl.run("get srv -n shop -l app=web -o name").await.contains("web-1"));
    assert!(kubectl.run("explain server.spec.disks").await.contains("deletionPolicy"));
    assert!(kubectl.run("explain secret.data").await.contains("base64"));
    assert!(kubectl.run("describe server web-1 -n shop").await.contains("debian-12"));
    kubectl.run("describe namespace shop").await;

    kubectl.run("label server web-1 -n shop a=b").await;
    kubectl.run("annotate server web-1 -n shop c=d").await;
    kubectl.run("edit server web-1 -n shop").await;
    assert_eq!(kubectl.run("get server web-1 -n shop -o jsonpath={.spec.disks[0].size}").await, "20Gi");
    let watching = kubectl.output("get server web-1 -n shop -w --request-timeout=6s --no-headers");
    let patching = async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let status = r#"{"status":{"observedGeneration":2,"conditions":[{"type":"Ready","status":"True","reason":"Running","message":"m","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
        kubectl.run(&format!("patch server web-1 -n shop --subresource=status --type=merge -p {status}")).await;
    };
    let (watched, ()) = tokio::join!(watching, patching);
    let watched = String::from_utf8_lossy(&watched.stdout).into_owned();
    assert!(watched.contains("True"), "{watched}");
    kubectl.run("wait --for=condition=Ready server/web-1 -n shop --timeout=20s").await;
    assert!(kubectl.run("delete server web-1 -n shop").await.contains("deleted"));
    kubectl.run("delete namespace shop --timeout=30s").await;
    assert!(!kubectl.run("get namespaces -o name").await.contains("shop"));
}

async fn lists(kubectl: &Kubectl) {
    for verb in ["create", "apply", "apply --server-side --force-conflicts", "replace", "diff", "delete"] {
        kubectl.run(&format!("{verb} -f FILE")).await;
    }
    kubectl.run("apply -f FILE").await;
    let unknown = kubectl.output("create --validate=strict -f -").await;
    assert!(!unknown.status.success(), "there is nothing to create");
    assert_eq!(kubectl.run("delete configmaps --all -n default -o name").await.lines().count(), 2);
}

async fn asks_about_itself(kubectl: &Kubectl) {
    assert_eq!(kubectl.run("auth can-i create servers.nubium.dev -n default").await.trim(), "yes");
    assert!(kubectl.run("auth can-i --list").await.contains("*.*"));
    // 1.27 asks an earlier version of this API.
    if !kubectl.binary.ends_with("kubectl.1.27") {
        assert!(kubectl.run("auth whoami").await.contains("system:masters"));
    }
    assert!(kubectl.run("get --raw /metrics").await.contains("apiserver_request_total"));
}
