//! What a compiler does not check: that dependencies between our crates run one way (the table in `src/README.md`),
//! that no files of a crate import each other in a circle, that the pure files of a reconciler do no I/O, that versions
//! stand in the workspace's `Cargo.toml` only, and that every module says what it is for, in the field's words.

mod circles;
mod steps;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command;
use crate::workspace;

/// What each crate may depend on, without the `nubium-` of their names. Who is not here may use any.
const MAY_USE: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("schema", &[]),
    ("process", &[]),
    ("store", &[]),
    ("runtime", &[]),
    ("host", &["process"]),
    ("netd", &["process"]),
    ("listener", &[]),
    ("apiserver", &["listener", "store", "schema"]),
    ("controllers", &["api", "runtime"]),
    ("agent", &["api", "listener", "runtime", "host", "netd", "process"]),
    ("cli", &["api"]),
];

/// These take kinds as data: outside of tests they do not name our API group.
const KNOW_NO_KIND: &[&str] = &["apiserver", "schema", "store", "listener"];
const OUR_GROUP: &str = "nubium.dev";

/// Nothing depends on these but tests.
const ENDS: &[&str] = &["testkit", "e2e", "xtask"];
/// Who may use the ends in its ordinary dependencies.
const MAY_USE_ENDS: &[&str] = &["testkit", "e2e", "xtask"];

/// Circles that are still to be undone, by a file of each. The list only shrinks.
const LEFT: &[(&str, &[&str])] = &[];

/// What has a word of the list in `words` because older releases wrote it.
const WORDS_ON_RECORD: &[&str] = &["src/host/src/libvirt/record.rs"];

/// Checks it all.
///
/// # Errors
/// With every breach, one a line.
pub fn check() -> Result<()> {
    let root = workspace::root();
    let mut breaches = directions(&metadata(&root)?);
    for manifest in manifests(&root)? {
        let text = read(&manifest)?;
        let name = manifest.strip_prefix(&root).unwrap_or(&manifest).display().to_string();
        breaches.extend(own_versions(&text).into_iter().map(|line| format!("{name}: not from the workspace: {line}")));
    }
    for folder in ["src", "e2e"] {
        for file in rust_files(&root.join(folder))? {
            let name = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
            let text = read(&file)?;
            if !text.lines().any(|line| line.starts_with("//!")) {
                breaches.push(format!("{name}: does not say what it is for (//!)"));
            }
            if !WORDS_ON_RECORD.contains(&name.as_str()) && !name.ends_with("tidy/words.rs") {
                breaches.extend(words::uncommon(&text).iter().map(|what| format!("{name}: {what}")));
            }
            let knows_no_kind = KNOW_NO_KIND.iter().any(|crate_| name.starts_with(&format!("src/{crate_}/src/")));
            if knows_no_kind && names_our_group(&text) {
                breaches.push(format!("{name}: takes kinds as data and names {OUR_GROUP}"));
            }
            let of_reconciler = ["src/agent/", "src/controllers/"].iter().any(|folder| name.starts_with(folder));
            if of_reconciler && file.file_name().is_some_and(|name| steps::PURE.iter().any(|pure| name == *pure)) {
                breaches.extend(steps::impure(&text).iter().map(|what| format!("{name}: is pure and names {what}")));
            }
        }
    }
    for manifest in manifests(&root)? {
        let sources = manifest.with_file_name("src");
        let found = circles::of_crate(&sources, &rust_files(&sources)?)?;
        let name = sources.strip_prefix(&root).unwrap_or(&sources).display().to_string();
        let known = |files: &&Vec<String>| {
            let left = LEFT.iter().filter(|(crate_, _)| name == format!("src/{crate_}/src"));
            !left.flat_map(|(_, part)| *part).any(|part| files.iter().any(|file| file.starts_with(part)))
        };
        let new = found.iter().filter(known);
        breaches.extend(new.map(|files| format!("{name}: these files use each other: {}", files.join(", "))));
    }
    if !breaches.is_empty() {
        bail!("the workspace is not tidy:\n  {}", breaches.join("\n  "));
    }
    Ok(())
}

/// Whether the code of a file, its comments and tests aside, names our API group.
fn names_our_group(text: &str) -> bool {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(OUR_GROUP))
}

/// Our crates and what each depends on. Tests (dev-dependencies) are free.
type Uses = BTreeMap<String, BTreeSet<String>>;

fn metadata(root: &Path) -> Result<Uses> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).args(["metadata", "--format-version=1", "--no-deps", "--all-features"]);
    let metadata: Value = serde_json::from_str(&command::output(&mut cargo)?).context("read cargo's metadata")?;
    let mut uses = Uses::new();
    for package in metadata["packages"].as_array().context("cargo's metadata has no packages")? {
        let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ours = dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| short(&dependency["name"]))
            .collect();
        uses.insert(short(&package["name"]).unwrap_or_else(|| "nubium".to_owned()), ours);
    }
    Ok(uses)
}

fn short(name: &Value) -> Option<String> {
    name.as_str()?.strip_prefix("nubium-").map(str::to_owned)
}

fn directions(uses: &Uses) -> Vec<String> {
    let mut breaches = Vec::new();
    for (who, used) in uses {
        let may = MAY_USE.iter().find(|(name, _)| name == who).map(|(_, may)| *may);
        for dependency in used {
            let wrong_way = may.is_some_and(|may| !may.contains(&dependency.as_str()));
            let an_end = ENDS.contains(&dependency.as_str()) && !MAY_USE_ENDS.contains(&who.as_str());
            if wrong_way || an_end {
                breaches.push(format!("src/{who} must not depend on src/{dependency}"));
            }
        }
    }
    breaches
}

/// The dependencies of a crate's manifest that do not come from the workspace.
fn own_versions(manifest: &str) -> Vec<String> {
    let mut own = Vec::new();
    let mut dependencies = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            dependencies = section.trim_end_matches(']').ends_with("dependencies");
        } else if dependencies && !line.is_empty() && !line.starts_with('#') && !line.contains("workspace = true") {
            own.push(line.to_owned());
        }
    }
    own
}

fn manifests(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.join("e2e/Cargo.toml")];
    for entry in fs::read_dir(root.join("src")).context("list src/")? {
        found.push(entry?.path().join("Cargo.toml"));
    }
    found.retain(|path| path.exists());
    found.sort();
    Ok(found)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Uses, directions, names_our_group, own_versions};

    fn uses(pairs: &[(&str, &[&str])]) -> Uses {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs.iter().map(|(who, used)| ((*who).to_owned(), owned(used))).collect()
    }

    #[test]
    fn the_design_s_own_directions_are_allowed() {
        let good = uses(&[
            ("api", &[]),
            ("agent", &["api", "listener", "runtime", "host", "netd", "process"]),
            ("nubium", &["agent", "apiserver", "cli"]),
            ("testkit", &["apiserver", "agent"]),
            ("e2e", &["xtask"]),
        ]);
        assert_eq!(directions(&good), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_against_the_direction_is_named() {
        let bad = uses(&[("api", &["store"]), ("controllers", &["agent"]), ("nubium", &["testkit"])]);
        assert_eq!(
            directions(&bad),
            [
                "src/api must not depend on src/store",
                "src/controllers must not depend on src/agent",
                "src/nubium must not depend on src/testkit",
            ]
        );
    }

    #[test]
    fn our_group_is_named_in_comments_and_tests_only() {
        assert!(!names_our_group("/// `nubium.dev`\nfn f() {}\n#[cfg(test)]\nconst G: &str = \"nubium.dev\";\n"));
        assert!(names_our_group("fn f() -> &'static str {\n    \"nubium.dev\"\n}\n"));
    }

    #[test]
    fn a_version_in_a_crate_s_own_manifest_is_named() {
        let manifest =
            "[package]\nversion = \"1\"\n[dependencies]\na.workspace = true\nb = \"1\"\n[lints]\nworkspace = true\n";
        assert_eq!(own_versions(manifest), ["b = \"1\""]);
    }
}
