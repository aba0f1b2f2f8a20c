//! What `nubium up` puts into a new cloud, once: so that a first YAML can be short.
//!
//! Each object is created if the cloud is new, and never touched again: what a person changed or deleted stays so.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

/// The private half of the key pair that `nubium up` makes, in its state folder beside the admin's kubeconfig.
pub fn private_key(state: &Path) -> PathBuf {
    state.join("ssh/id_ed25519")
}

/// The objects of a new cloud, in order; `keys` are public ssh keys by name.
pub fn objects(keys: &[(String, String)]) -> Vec<Value> {
    let flavor = |name: &str, cpu: u32, memory: &str| {
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Flavor", "metadata": {"name": name},
               "spec": {"cpu": cpu, "memory": memory}})
    };
    vec![
        flavor("nano", 1, "256Mi"),
        flavor("small", 1, "512Mi"),
        flavor("medium", 2, "2Gi"),
        flavor("large", 4, "8Gi"),
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "StoragePool", "metadata": {"name": "default"},
               "spec": {"directory": {}}}),
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Network",
               "metadata": {"name": "default", "namespace": "default"},
               "spec": {"subnets": [{"name": "v4", "cidr": "10.77.0.0/24"}], "hostAccess": true}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ssh-keys", "namespace": "default"},
               "data": keys.iter().cloned().collect::<std::collections::BTreeMap<_, _>>()}),
    ]
}

/// Creates the objects; one that is there already is left as it is.
pub async fn create(client: &Client, objects: &[Value]) -> anyhow::Result<()> {
    for object in objects {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let types = object.types.clone().context("an object of a new cloud has a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", types.kind)),
        }
    }
    Ok(())
}

/// The user's own public keys, and that of the pair in the state folder, which is made if it is not there.
pub fn keys(state: &Path, home: Option<&Path>) -> anyhow::Result<Vec<(String, String)>> {
    let mut keys = vec![("nubium".to_owned(), own_key(&private_key(state))?)];
    let folder = home.map(|home| home.join(".ssh"));
    for entry in folder.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let (Some(stem), Ok(text)) = (name.strip_suffix(".pub"), std::fs::read_to_string(entry.path())) {
            keys.push((stem.to_owned(), text.trim().to_owned()));
        }
    }
    keys.sort();
    keys.dedup_by(|a, b| a.0 == b.0);
    Ok(keys)
}

fn own_key(private: &Path) -> anyhow::Result<String> {
    let public = private.with_extension("pub");
    if !public.exists() {
        let folder = private.parent().context("a key has a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "nubium", "-f"])
            .arg(private)
            .status()
            .context("cannot run ssh-keygen: install the package openssh-client")?;
        if !made.success() {
            bail!("ssh-keygen could not make {}", private.display());
        }
    }
    let text = std::fs::read_to_string(&public).with_context(|| format!("cannot read {}", public.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_on_kubernetes_begins_with_the_same_objects() {
        let manifest = include_str!("../../../manifests/first-objects.yaml");
        let manifest: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
        // Its keys are its admin's to say.
        let ours: Vec<Value> = objects(&[]).into_iter().filter(|object| object["kind"] != "ConfigMap").collect();
        assert_eq!(manifest, ours);
    }
}
