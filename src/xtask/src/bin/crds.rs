//! Writes `crds/*.yaml` from the types in `nubium-api`, or with `--check` says which of them are stale. A program of its
//! own, because the rest of xtask is wanted before anything as large as the kinds has been compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
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
    let folder = workspace::root().join("crds");
    let wanted = manifests()?;
    let found = read(&folder)?;
    let names: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    let stale: Vec<_> = names.into_iter().filter(|name| wanted.get(*name) != found.get(*name)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    if check {
        bail!("stale in crds/: {stale:?}; run `cargo xtask crds`");
    }
    fs::create_dir_all(&folder).context("create crds/")?;
    for name in stale {
        let path = folder.join(name);
        match wanted.get(name) {
            Some(text) => fs::write(&path, text).with_context(|| format!("write {}", path.display()))?,
            None => fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?,
        }
        println!("crds/{name}");
    }
    Ok(())
}

/// File name to content.
fn manifests() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for crd in nubium_api::crds() {
        let plural = crd["spec"]["names"]["plural"].as_str().context("a CRD without a plural name")?;
        let text = serde_saphyr::to_string(&crd).with_context(|| format!("write {plural} as YAML"))?;
        files.insert(format!("{plural}.yaml"), text);
    }
    Ok(files)
}

fn read(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder).context("list crds/")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".yaml") {
            files.insert(name, fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?);
        }
    }
    Ok(files)
}
