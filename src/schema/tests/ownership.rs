//! Server-side apply as its users know it: one object, several writers.

#![allow(clippy::unwrap_used, reason = "a test, helpers included")]

use nubium_schema::ownership::{ApplyError, Request, Set, TypeRef, after_update, apply, keep_times_if_unchanged};
use serde_json::{Value, json};

/// One server object and what is stored of it.
struct Stored {
    kind: TypeRef,
    object: Option<Value>,
    minute: u32,
}

impl Stored {
    fn nothing() -> Self {
        let named = json!({"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "string"}}});
        let disks = json!({"type": "array", "items": named,
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]});
        let spec = json!({"type": "object", "properties": {"disks": disks, "flavor": {"type": "string"}}});
        let status = json!({"type": "object", "properties": {"host": {"type": "string"}}});
        let schema = json!({"type": "object", "properties": {"spec": spec, "status": status}});
        Self { kind: TypeRef::of_custom_resource(&schema).unwrap(), object: None, minute: 0 }
    }

    fn write(&mut self, manager: &str, subresource: &str, force: bool, what: Write) -> Result<(), ApplyError> {
        let reset = Set::of_fields([if subresource.is_empty() { "status" } else { "spec" }]);
        let now = format!("2026-01-01T00:{:02}:00Z", self.minute);
        self.minute += 1;
        let request = Request {
            manager,
            subresource,
            force,
            api_version: "v1",
            kind: "Server",
            now: &now,
            reset_fields: Some(&reset),
            ..Request::default()
        };
        let mut new = match what {
            Write::Apply(config) => apply(self.object.as_ref(), &server(config), &self.kind, &request)?,
            Write::Update(change) => {
                let mut new = self.object.clone().unwrap_or_else(|| server(json!({})));
                change(&mut new);
                after_update(self.object.as_ref(), &mut new, &self.kind, &request).unwrap();
                new
            }
        };
        new["metadata"]["uid"] = json!("1");
        if let Some(live) = &self.object {
            keep_times_if_unchanged(live, &mut new);
        }
        self.object = Some(new);
        Ok(())
    }

    fn apply(&mut self, manager: &str, config: Value) -> Result<(), ApplyError> {
        self.write(manager, "", false, Write::Apply(config))
    }

    fn update(&mut self, manager: &str, change: fn(&mut Value)) {
        self.write(manager, "", false, Write::Update(change)).unwrap();
    }

    fn get(&self, name: &str) -> &Value {
        &self.object.as_ref().unwrap()[name]
    }

    /// Who owns what, a line each: `manager operation: places`.
    fn owners(&self) -> Vec<String> {
        let entries = self.get("metadata")["managedFields"].as_array().unwrap().iter().map(|entry| {
            let places = Set::from_fields(&entry["fieldsV1"]).unwrap().to_string().replace('\n', " ");
            format!("{} {}: {places}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap())
        });
        entries.collect()
    }
}

enum Write {
    Apply(Value),
    Update(fn(&mut Value)),
}

fn server(parts: Value) -> Value {
    let mut server = json!({"apiVersion": "v1", "kind": "Server", "metadata": {"name": "web"}});
    server.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    server
}

fn disks(disks: Value) -> Value {
    json!({"spec": {"disks": disks}})
}

#[test]
fn writers_own_their_items_of_a_list() {
    let mut web = Stored::nothing();
    web.apply("team", disks(json!([{"name": "root", "size": "10Gi"}]))).unwrap();
    web.apply("backup", disks(json!([{"name": "scratch", "size": "1Gi"}]))).unwrap();
    assert_eq!(web.get("spec")["disks"].as_array().unwrap().len(), 2);
    web.apply("backup", disks(json!([]))).unwrap();
    assert_eq!(web.get("spec")["disks"], json!([{"name": "root", "size": "10Gi"}]));
}

#[test]
fn a_conflict_names_the_manager_and_the_place() {
    let mut web = Stored::nothing();
    web.apply("team", disks(json!([{"name": "root", "size": "10Gi"}]))).unwrap();
    web.update("kubectl-edit", |web| web["spec"]["flavor"] = json!("small"));
    let mine = json!({"spec": {"disks": [{"name": "root", "size": "20Gi"}], "flavor": "large"}});
    let refused = web.apply("other", mine.clone()).unwrap_err();
    let message = "Apply failed with 2 conflicts: conflicts with \"kubectl-edit\" using v1:\n- .spec.flavor\n\
                   conflicts with \"team\":\n- .spec.disks[name=\"root\"].size";
    assert_eq!(refused.to_string(), message);
    assert_eq!(web.get("spec")["flavor"], "small", "a refused apply changes nothing");
    web.write("other", "", true, Write::Apply(mine)).unwrap();
    assert_eq!(web.get("spec"), &json!({"disks": [{"name": "root", "size": "20Gi"}], "flavor": "large"}));
    let owners = [
        "other Apply: .spec.flavor .spec.disks[name=\"root\"] .spec.disks[name=\"root\"].name .spec.disks[name=\"root\"].size",
        "team Apply: .spec.disks[name=\"root\"] .spec.disks[name=\"root\"].name",
    ];
    let mut got = web.owners();
    got.sort();
    assert_eq!(got, owners);
}

#[test]
fn a_field_goes_when_its_last_owner_lets_go() {
    let mut web = Stored::nothing();
    let small = || json!({"spec": {"flavor": "small"}});
    web.apply("team", small()).unwrap();
    web.apply("platform", small()).unwrap();
    web.apply("team", json!({})).unwrap();
    assert_eq!(web.get("spec")["flavor"], "small");
    web.apply("platform", json!({})).unwrap();
    assert_eq!(web.get("spec").get("flavor"), None);
}

#[test]
fn a_field_that_nobody_applied_stays() {
    let mut web = Stored::nothing();
    web.apply("team", disks(json!([{"name": "root"}]))).unwrap();
    web.update("controller", |web| web["spec"]["disks"][0]["size"] = json!("5Gi"));
    web.apply("team", disks(json!([{"name": "root"}]))).unwrap();
    assert_eq!(web.get("spec")["disks"], json!([{"name": "root", "size": "5Gi"}]));
}

#[test]
fn status_belongs_to_who_writes_it_there() {
    let mut web = Stored::nothing();
    web.apply("team", json!({"spec": {"flavor": "small"}, "status": {"host": "mine"}})).unwrap();
    let both = json!({"spec": {"flavor": "large"}, "status": {"host": "h1"}});
    web.write("agent", "status", true, Write::Apply(both)).unwrap();
    let mut owners = web.owners();
    owners.sort();
    assert_eq!(owners, ["agent Apply: .status.host", "team Apply: .spec.flavor"]);
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let mut web = Stored::nothing();
    for _ in 0..3 {
        web.apply("team", disks(json!([{"name": "root", "size": "10Gi"}]))).unwrap();
        assert_eq!(web.get("metadata")["managedFields"][0]["time"], "2026-01-01T00:00:00Z");
    }
    let before = web.object.clone();
    web.update("team", |_| {});
    assert_eq!(web.object, before);
}

#[test]
fn an_object_that_was_not_tracked_is_owned_by_its_past() {
    let mut web = Stored::nothing();
    web.update("team", |web| web["spec"] = json!({"flavor": "small"}));
    web.update("team", |web| web["metadata"]["managedFields"] = json!([{}]));
    assert_eq!(web.get("metadata").get("managedFields"), None);
    let refused = web.apply("other", json!({"spec": {"flavor": "large"}})).unwrap_err();
    let message = "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .spec.flavor";
    assert_eq!(refused.to_string(), message);
}

#[test]
fn kubectl_goes_on_where_it_applied_on_the_clients_side() {
    let mut web = Stored::nothing();
    web.update("kubectl-client-side-apply", |web| {
        web["spec"] = json!({"flavor": "small"});
        let last = r#"{"apiVersion":"v1","kind":"Server","metadata":{"name":"web"},"spec":{"flavor":"small"}}"#;
        web["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    });
    web.apply("kubectl", json!({"spec": {"flavor": "large"}})).unwrap();
    let annotation = &web.get("metadata")["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    let applied: Value = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
    assert_eq!(applied, server(json!({"spec": {"flavor": "large"}})));
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let mut web = Stored::nothing();
    let twice = json!([{"name": "root"}, {"name": "root"}]);
    let refused = web.apply("team", disks(twice)).unwrap_err();
    let message = "failed to create typed patch object (/web; /v1, Kind=Server): \
                   .spec.disks: duplicate entries for key [name=\"root\"]";
    assert_eq!(refused.to_string(), message);
    let refused = web.apply("team", json!({"metadata": {"name": "web", "managedFields": []}})).unwrap_err();
    assert!(matches!(refused, ApplyError::ManagedFieldsInConfig));
    let refused = web.apply("team", json!({"kind": "Network"})).unwrap_err();
    assert!(matches!(refused, ApplyError::OtherKind { .. }));
}
