//! What hosts may do, as Kubernetes reads it: `manifests/rbac.yaml` and `manifests/admission.yaml`, from the tables in
//! `nubium_api::contract`.

use nubium_api::{
    GROUP, HOSTS_NAMESPACE,
    contract::{DEPRECATED_FIELDS, DeprecatedField, HOSTS_GROUP, HostPart, Rule, host_parts, host_rules},
};

const ADMISSION: &str = include_str!("admission.yaml.in");
const DEPRECATED: &str = include_str!("deprecated.yaml.in");
const RBAC: &str = include_str!("rbac.yaml.in");

/// Roles, and whom they are given to.
pub fn rbac() -> String {
    let all = host_rules();
    let of = |wanted: &dyn Fn(&Rule) -> bool| rules(all.iter().filter(|rule| wanted(rule)));
    let everywhere = of(&|rule| matches!(rule.namespace, "*" | ""));
    let heartbeats = of(&|rule| rule.namespace == HOSTS_NAMESPACE);
    let own = of(&|rule| rule.namespace.contains("{host}"));
    fill(RBAC, &[("HOST", &everywhere), ("HEARTBEAT", &heartbeats), ("SEEDS", &own)])
}

/// Rules in YAML; those that differ by their resource only are one.
fn rules<'a>(all: impl Iterator<Item = &'a Rule>) -> String {
    let mut merged: Vec<(&str, &[&str], Vec<String>)> = Vec::new();
    for rule in all {
        let resource = match rule.subresource {
            "" | "*" => rule.resource.to_owned(),
            subresource => format!("{}/{subresource}", rule.resource),
        };
        match merged.iter_mut().find(|(group, verbs, _)| *group == rule.group && *verbs == rule.verbs) {
            Some((_, _, resources)) => resources.push(resource),
            None => merged.push((rule.group, rule.verbs, vec![resource])),
        }
    }
    let text = merged.iter().map(|(group, verbs, resources)| {
        let resources: Vec<String> =
            resources.iter().map(|one| if one == "*" { "\"*\"".into() } else { one.clone() }).collect();
        let group = if group.is_empty() { "\"\"" } else { group };
        format!("- apiGroups: [{group}]\n  resources: [{}]\n  verbs: [{}]\n", resources.join(", "), verbs.join(", "))
    });
    text.collect()
}

/// The policies about whose status a host may write, and what of it; and those that warn of deprecated fields.
pub fn admission() -> String {
    hosts() + &DEPRECATED_FIELDS.iter().map(deprecated).collect::<String>()
}

fn deprecated(field: &DeprecatedField) -> String {
    let unset = unset("object", field.path, 0);
    let name = format!("nubium-deprecated-{}", field.resource);
    let holes = [
        ("NAME", &name[..]),
        ("GROUP", GROUP),
        ("RESOURCE", field.resource),
        ("UNSET", &unset),
        ("TEXT", &field.warning()),
    ];
    fill(DEPRECATED, &holes)
}

/// A CEL expression: nothing is set at that path below `at`.
fn unset(at: &str, path: &str, depth: usize) -> String {
    let Some((first, rest)) = path.split_once('.') else { return format!("!has({at}.{path})") };
    match first.strip_suffix("[]") {
        Some(list) => {
            let item = format!("item{depth}");
            format!("!has({at}.{list}) || {at}.{list}.all({item}, {})", unset(&item, rest, depth + 1))
        }
        None => unset(&format!("{at}.{first}"), rest, depth),
    }
}

fn hosts() -> String {
    let parts = host_parts();
    let resources: Vec<String> = parts.iter().map(|part| format!("{}/status", part.resource)).collect();
    let shared: Vec<String> =
        parts.iter().filter(|part| !part.bound).map(|part| format!("'{}'", part.resource)).collect();
    let fields = choice(&parts, |part| &part.fields);
    let types = choice(&parts, |part| &part.conditions);
    fill(
        ADMISSION,
        &[
            ("RESOURCES", &resources.join(", ")),
            ("SHARED", &shared.join(", ")),
            ("FIELDS", &fields),
            ("TYPES", &types),
            ("GROUP", GROUP),
            ("HOSTS_GROUP", HOSTS_GROUP),
            ("HOSTS_NAMESPACE", HOSTS_NAMESPACE),
        ],
    )
}

/// A CEL expression, which list stands for the resource at hand.
fn choice(parts: &[HostPart], list: impl Fn(&HostPart) -> &Vec<&'static str>) -> String {
    let mut text = String::new();
    for part in parts {
        let names: Vec<String> = list(part).iter().map(|name| format!("'{name}'")).collect();
        text.push_str(&format!("request.resource.resource == '{}' ? [{}] :\n      ", part.resource, names.join(", ")));
    }
    text + "[]"
}

fn fill(template: &str, holes: &[(&str, &str)]) -> String {
    holes.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("<{name}>\n"), &format!("{}\n", value.trim_end())).replace(&format!("<{name}>"), value)
    })
}
