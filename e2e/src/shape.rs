//! Which of its shapes the cloud has that the stories are told on: `nubium up`, or controllers and an agent that are
//! programs of their own beside a real Kubernetes. The stories cannot tell, but by asking.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nubium_xtask::command::output;
use nubium_xtask::kubernetes::Kubernetes;
use nubium_xtask::workspace;

use crate::programs::Programs;

/// Says which: `embedded`, the default, or `kubernetes`.
pub const VARIABLE: &str = "NUBIUM_E2E_CLOUD";
/// The Host's name where we choose it; manifests/hosts has this one's.
const HOST: &str = "rack-1";
const ENDPOINT: &str = "127.0.0.1:7445";

/// A shape.
#[derive(Debug)]
pub enum Shape {
    /// API server, controllers and agent are one process.
    Embedded,
    /// The API server is Kubernetes' own.
    Kubernetes(Kubernetes),
}

impl Shape {
    /// The one that the environment asks for. On Kubernetes this starts a control plane, and does in it what its admin
    /// does before Nubium comes.
    pub fn chosen(state: &Path) -> Result<Self> {
        match std::env::var(VARIABLE).as_deref() {
            Err(_) | Ok("embedded") => Ok(Self::Embedded),
            Ok("kubernetes") => {
                let kubernetes = Kubernetes::up(&state.join("kubernetes"))?;
                prepare(&kubernetes, state)?;
                Ok(Self::Kubernetes(kubernetes))
            }
            Ok(other) => bail!("{VARIABLE} is {other:?}, neither embedded nor kubernetes"),
        }
    }

    /// Loses every object, while the cloud's processes do not run.
    pub fn lose_store(&mut self, state: &Path) -> Result<()> {
        match self {
            Self::Embedded => {
                for file in fs::read_dir(state)?.flatten() {
                    if file.file_name().to_string_lossy().starts_with("store.db") {
                        fs::remove_file(file.path())?;
                    }
                }
            }
            Self::Kubernetes(kubernetes) => {
                kubernetes.down()?;
                fs::remove_dir_all(state.join("kubernetes/etcd"))?;
                *self = Self::chosen(state)?;
            }
        }
        Ok(())
    }

    /// The processes of the cloud, to be started.
    pub fn commands(&self, programs: &Programs, state: &Path, images: &[PathBuf]) -> Result<Vec<Command>> {
        let host = |command: &mut Command| {
            command.arg("--state").arg(state);
            for folder in images {
                command.arg("--image-dir").arg(folder);
            }
            command.args(["--acceleration", "tcg", "--image-http-allow", "127.0.0.0/8", "--endpoint", ENDPOINT]);
        };
        match self {
            Self::Embedded => {
                let mut up = Command::new(&programs.nubium);
                up.args(["up", "--listen", "127.0.0.1:6443"]);
                host(&mut up);
                Ok(vec![up])
            }
            Self::Kubernetes(kubernetes) => {
                let mut controllers = Command::new(&programs.nubium);
                controllers.arg("controllers").arg("--kubeconfig").arg(kubernetes.kubeconfig());
                let (pair, kubeconfig) = kubernetes.host(HOST)?;
                let mut agent = Command::new(&programs.nubium);
                agent.args(["agent", "--host", HOST]).arg("--kubeconfig").arg(kubeconfig);
                agent.arg("--ca").arg(kubernetes.authority());
                agent.arg("--certificate").arg(pair.certificate).arg("--key").arg(pair.key);
                host(&mut agent);
                Ok(vec![controllers, agent])
            }
        }
    }
}

/// What an admin does on a Kubernetes: definitions, rights, first objects, a key pair.
fn prepare(kubernetes: &Kubernetes, state: &Path) -> Result<()> {
    let admin = state.join("admin.kubeconfig");
    fs::copy(kubernetes.kubeconfig(), &admin).context("cannot keep the admin's kubeconfig")?;
    let root = workspace::root();
    let kubectl = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&admin).args(arguments).current_dir(&root).stdin(Stdio::null());
        let said = command.output().context("cannot run kubectl, which stories on a Kubernetes need")?;
        let errors = String::from_utf8_lossy(&said.stderr);
        // Warnings are said there too, and there shall be none.
        ensure!(said.status.success() && errors.is_empty(), "kubectl {}: {errors}", arguments.join(" "));
        Ok(())
    };
    kubectl(&["apply", "--server-side", "-f", "crds"])?;
    kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
    let rights = ["-f", "manifests/rbac.yaml", "-f", "manifests/admission.yaml", "-f", "manifests/hosts"];
    kubectl(&[&["apply", "--server-side"], &rights[..]].concat())?;
    kubectl(&["apply", "--server-side", "-f", "manifests/first-objects.yaml"])?;

    let key = state.join("ssh/id_ed25519");
    fs::create_dir_all(state.join("ssh")).context("cannot make a folder for the keys")?;
    if !key.exists() {
        output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "nubium", "-f"]).arg(&key))?;
    }
    let from = format!("--from-file=nubium={}.pub", key.display());
    kubectl(&["create", "configmap", "ssh-keys", &from])
}
