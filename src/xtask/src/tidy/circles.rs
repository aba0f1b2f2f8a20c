//! Circles between the files of a crate: files that import each other, directly or over others, can only be read all
//! at once. A path is followed through re-exports to the file that defines the name. A `mod.rs` drives its children and
//! may define what they share: what it uses of them does not count.
//!
//! ```text
//!  source files ── syn ──▶ Module { defines, uses, paths } ── resolve ──▶ edges file → file ── Tarjan ──▶ circles
//! ```
//! Tests (`#[cfg(test)]`) do not count: they may reach anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use syn::visit::{self, Visit};

/// A path inside a crate, from its root: `["network", "plan"]`.
type ModulePath = Vec<String>;

/// What one file says.
#[derive(Debug, Default)]
struct Module {
    /// The names of its own items.
    defines: BTreeSet<String>,
    /// What it imports or re-exports: the local name, and the path as written.
    uses: BTreeMap<String, Vec<String>>,
    /// What it imports whole (`use a::*`).
    globs: Vec<Vec<String>>,
    /// Every other path in it, as written.
    paths: BTreeSet<Vec<String>>,
}

/// The circles of one crate, each as the sorted names of its files.
///
/// # Errors
/// When a file is not Rust.
pub(super) fn of_crate(sources: &Path, files: &[PathBuf]) -> Result<Vec<Vec<String>>> {
    let mut modules = BTreeMap::new();
    for file in files {
        let relative = file.strip_prefix(sources).context("a source file outside of its crate")?;
        let Some(path) = module_path(relative) else { continue };
        let text = super::read(file)?;
        let parsed = syn::parse_file(&text).with_context(|| format!("parse {}", file.display()))?;
        let mut module = Module::default();
        module.visit_file(&parsed);
        modules.insert(path, module);
    }
    let edges = edges(&modules);
    let circles = circles(&edges);
    Ok(circles.into_iter().map(|circle| circle.iter().map(name_of).collect()).collect())
}

fn name_of(path: &ModulePath) -> String {
    if path.is_empty() { "the crate's root".to_owned() } else { path.join("::") }
}

/// `None` for tests in files of their own.
fn module_path(relative: &Path) -> Option<ModulePath> {
    let mut path: ModulePath =
        relative.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        path.pop();
    }
    (!path.iter().any(|part| part == "tests" || part == "bin")).then_some(path)
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

impl Module {
    fn add_use(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_use(&path.tree, prefix);
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                if let Some(local) = prefix.last().cloned() {
                    self.uses.insert(local, prefix);
                }
            }
            syn::UseTree::Name(name) => {
                prefix.push(name.ident.to_string());
                self.uses.insert(name.ident.to_string(), prefix);
            }
            syn::UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    prefix.push(rename.ident.to_string());
                }
                self.uses.insert(rename.rename.to_string(), prefix);
            }
            syn::UseTree::Glob(_) => self.globs.push(prefix),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, prefix.clone());
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = match item {
            syn::Item::Const(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            syn::Item::Static(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Type(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            syn::Item::Use(item) => {
                if !is_test(&item.attrs) {
                    self.add_use(&item.tree, Vec::new());
                }
                return;
            }
            syn::Item::Mod(item) => (&item.attrs, None),
            syn::Item::Impl(item) => (&item.attrs, None),
            _ => {
                visit::visit_item(self, item);
                return;
            }
        };
        if is_test(attributes) {
            return;
        }
        self.defines.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

fn edges(modules: &BTreeMap<ModulePath, Module>) -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
    let mut edges = BTreeMap::new();
    for (from, module) in modules {
        let mut to = BTreeSet::new();
        // A re-export is followed by who uses it; an import counts by itself where it is used under its name.
        for path in &module.paths {
            to.extend(resolve(modules, from, path, Unknown::OfItsFile, 0));
        }
        for path in &module.globs {
            to.extend(resolve(modules, from, path, Unknown::OfItsFile, 0));
        }
        to.retain(|to| !to.starts_with(from));
        edges.insert(from.clone(), to);
    }
    edges
}

/// What a name means that no item of its file bears.
#[derive(Clone, Copy)]
enum Unknown {
    /// A macro made it: it is that file's all the same.
    OfItsFile,
    /// It may be of another file: this one only imports much.
    Elsewhere,
}

/// The file that defines what `path` names, as seen from `at`. `None` for what is not of this crate.
fn resolve(
    modules: &BTreeMap<ModulePath, Module>,
    at: &ModulePath,
    path: &[String],
    unknown: Unknown,
    depth: u8,
) -> Option<ModulePath> {
    // Re-exports in a circle end here.
    if depth > 16 {
        return None;
    }
    let mut here = at.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            here.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                here.pop()?;
                rest = &rest[1..];
            }
        }
        first => {
            let child = [at.as_slice(), &[first.to_owned()]].concat();
            let module = modules.get(at)?;
            if !module.uses.contains_key(first) && !module.defines.contains(first) && !modules.contains_key(&child) {
                return module.globs.iter().find_map(|glob| {
                    let inside = resolve(modules, at, glob, Unknown::Elsewhere, depth + 1)?;
                    let known = modules.get(&inside)?;
                    let named = known.defines.contains(first) || known.uses.contains_key(first);
                    named.then(|| resolve(modules, &inside, path, Unknown::Elsewhere, depth + 1)).flatten()
                });
            }
        }
    }
    while let Some(part) = rest.first() {
        let child = [here.as_slice(), std::slice::from_ref(part)].concat();
        if modules.contains_key(&child) {
            here = child;
            rest = &rest[1..];
            continue;
        }
        let module = modules.get(&here)?;
        if module.defines.contains(part) {
            return Some(here);
        }
        if let Some(target) = module.uses.get(part) {
            if target.first().map(String::as_str) == Some(part.as_str()) {
                // An import of another crate, or of a child under its own name.
                return None;
            }
            let whole = [target.as_slice(), &rest[1..]].concat();
            return resolve(modules, &here, &whole, unknown, depth + 1);
        }
        let imported = module.globs.iter().find_map(|glob| {
            let inside = resolve(modules, &here, glob, Unknown::Elsewhere, depth + 1)?;
            let path = [&["self".to_owned()], rest].concat();
            (inside != here).then(|| resolve(modules, &inside, &path, Unknown::Elsewhere, depth + 1))?
        });
        return imported.or(match unknown {
            Unknown::OfItsFile => Some(here),
            Unknown::Elsewhere => None,
        });
    }
    Some(here)
}

/// The strongly connected components of more than one file (Tarjan's algorithm).
fn circles(edges: &BTreeMap<ModulePath, BTreeSet<ModulePath>>) -> Vec<Vec<ModulePath>> {
    #[derive(Default)]
    struct Search<'a> {
        index: BTreeMap<&'a ModulePath, usize>,
        low: BTreeMap<&'a ModulePath, usize>,
        stack: Vec<&'a ModulePath>,
        found: Vec<Vec<ModulePath>>,
    }
    fn visit<'a>(
        search: &mut Search<'a>,
        edges: &'a BTreeMap<ModulePath, BTreeSet<ModulePath>>,
        node: &'a ModulePath,
    ) -> usize {
        let index = search.index.len();
        search.index.insert(node, index);
        let mut low = index;
        search.stack.push(node);
        for next in edges.get(node).into_iter().flatten() {
            let reached = match search.index.get(next) {
                None => visit(search, edges, next),
                Some(seen) if search.stack.contains(&next) => *seen,
                Some(_) => continue,
            };
            low = low.min(reached);
        }
        search.low.insert(node, low);
        if low == index {
            let start = search.stack.iter().position(|on| *on == node).unwrap_or_default();
            let mut circle: Vec<_> = search.stack.drain(start..).cloned().collect();
            if circle.len() > 1 {
                circle.sort();
                search.found.push(circle);
            }
        }
        low
    }
    let mut search = Search::default();
    for node in edges.keys() {
        if !search.index.contains_key(node) {
            visit(&mut search, edges, node);
        }
    }
    search.found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            paths.push(path);
        }
        of_crate(folder.path(), &paths).unwrap()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let circles = found(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B; pub fn f(_: super::a::A) {}"),
        ]);
        assert_eq!(circles, [["a", "b"]]);
    }

    #[test]
    fn a_name_is_followed_through_re_exports_renames_and_globs() {
        let circles = found(&[
            ("lib.rs", "mod a; mod b; mod c; pub use a::A; pub use b::*; pub use c::C as Other;"),
            ("a.rs", "use crate::{B, Other}; pub struct A(B, Other);"),
            ("b.rs", "use crate::A; pub struct B(Box<A>);"),
            ("c.rs", "pub struct C(Box<crate::A>);"),
        ]);
        assert_eq!(circles, [["a", "b", "c"]]);
    }

    #[test]
    fn what_a_macro_made_is_of_the_file_that_calls_it() {
        let circles = found(&[
            ("lib.rs", "mod server; mod world; pub use server::Server;"),
            ("server.rs", "#[derive(Custom)] #[kube(kind = \"Server\")] pub struct Spec(crate::world::World);"),
            ("world.rs", "world! { servers: Server } pub fn f(_: crate::Server) {}"),
        ]);
        assert_eq!(circles, [["server", "world"]]);
    }

    #[test]
    fn a_list_of_children_tests_and_other_crates_are_no_circle() {
        let circles = found(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::B; fn f(_: B) {} }"),
            ("b.rs", "use serde::a; use super::A; pub struct B(A); fn f() { a::run() }"),
        ]);
        assert_eq!(circles, Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_driver_may_share_what_its_children_use_but_not_with_others() {
        let circles = found(&[
            ("lib.rs", "mod kind; mod read;"),
            ("kind/mod.rs", "mod plan; pub struct Column; pub fn run() { plan::plan() }"),
            ("kind/plan.rs", "use super::Column; pub fn plan() { let _ = Column; crate::read::f() }"),
            ("read.rs", "pub fn f() { crate::kind::run() }"),
        ]);
        assert_eq!(circles, Vec::<Vec<String>>::new(), "what kind uses of its own child does not count");
        let circles = found(&[
            ("lib.rs", "mod kind; mod read;"),
            ("kind/mod.rs", "pub struct Column; pub fn run() { crate::read::f() }"),
            ("read.rs", "pub fn f() { let _ = crate::kind::Column; }"),
        ]);
        assert_eq!(circles, [["kind", "read"]]);
    }
}
