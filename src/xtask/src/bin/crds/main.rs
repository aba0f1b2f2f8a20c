//! Writes `crds/*.yaml` and the manifests about hosts from what is in `nubium-api`, or with `--check` says which of them are stale. A program of its
//! own, because the rest of xtask is wanted before anything as large as the kinds has been compiled.

mod access;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use nubium_xtask::workspace;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let check = std::env::args().nth(1).is_some_and(|argument| argument == "--check");
    let root = workspace::root();
    let mut wanted = definitions()?;
    wanted.insert("manifests/rbac.yaml".into(), access::rbac());
    wanted.insert("manifests/admission.yaml".into(), access::admission());
    let found = read(&root, &wanted)?;
    let names: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    let stale: Vec<_> = names.into_iter().filter(|name| wanted.get(*name) != found.get(*name)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    if check {
        bail!("stale: {stale:?}; run `cargo xtask crds`");
    }
    for name in stale {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&root)).with_context(|| format!("create the folder of {name}"))?;
        match wanted.get(name) {
            Some(text) => fs::write(&path, text).with_context(|| format!("write {name}"))?,
            None => fs::remove_file(&path).with_context(|| format!("remove {name}"))?,
        }
        println!("{name}");
    }
    Ok(())
}

/// The CRDs: path to content.
fn definitions() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for crd in nubium_api::crds() {
        let plural = crd["spec"]["names"]["plural"].as_str().context("a CRD without a plural name")?;
        let text = serde_saphyr::to_string(&crd).with_context(|| format!("write {plural} as YAML"))?;
        files.insert(format!("crds/{plural}.yaml"), text);
    }
    Ok(files)
}

/// What is there of the files that are wanted, and of CRDs that no longer are.
fn read(root: &Path, wanted: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut paths: BTreeSet<String> = wanted.keys().cloned().collect();
    if root.join("crds").exists() {
        for entry in fs::read_dir(root.join("crds")).context("list crds/")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".yaml") {
                paths.insert(format!("crds/{name}"));
            }
        }
    }
    let mut files = BTreeMap::new();
    for path in paths {
        match fs::read_to_string(root.join(&path)) {
            Ok(text) => drop(files.insert(path, text)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {path}")),
        }
    }
    Ok(files)
}
