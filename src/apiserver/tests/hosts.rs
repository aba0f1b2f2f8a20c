//! Whose status a host may write, and what of it: one table of cases for our own server, which is given the contract as data, and for a
//! real kube-apiserver, which is given `manifests/admission.yaml`. The real one needs `NUBIUM_KUBE_APISERVER`, as in
//! `parity.rs`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use std::path::Path;

use nubium_apiserver::Identity;
use serde_json::{Value, json};
use support::{Answer, Caller, Ours, definitions, eventually, peer};

const HOST: &str = "rack-1";
const SHOP: &str = "/apis/nubium.dev/v1alpha1/namespaces/shop";
const UNBOUND: &str = "what is bound to it, and this is bound to no host";
const OF_RACK_2: &str = "what is bound to it, and this is bound to rack-2";
const OF_SERVERS: &str = "may change nothing in this status but conditions, devices";
const OF_VOLUMES: &str = "may change nothing in this status but conditions, attachedTo, capacity, format, imageUid";
const SEEN_OF_SERVERS: &str =
    "may change no condition here but VolumesReady, NetworkReady, Running, RestartRequired, Released";
const SEEN_OF_VOLUMES: &str = "may change no condition here but Provisioned, Released";
const SHARED: &str = "may change nothing in this status but hosts";
const ENTRY: &str = "may change no entry of status.hosts but its own";

/// Tries to write a status, each time what is stored when the test begins.
struct Case {
    /// `servers/mine`
    object: &'static str,
    write: Write,
    /// How the reason ends for which a host is refused. An admin never is.
    refused: Option<&'static str>,
}

enum Write {
    /// By server-side apply, as agents do, and in whose name.
    Apply(&'static str, Value),
    Merge(Value),
}

/// What an agent says.
fn says(object: &'static str, status: Value) -> Case {
    applies("nubium-agent", object, status)
}

fn applies(manager: &'static str, object: &'static str, status: Value) -> Case {
    Case { object, write: Write::Apply(manager, status), refused: None }
}

/// What nobody's agent does.
fn tries(object: &'static str, status: Value, refused: &'static str) -> Case {
    Case { object, write: Write::Merge(status), refused: Some(refused) }
}

impl Case {
    fn but_is_refused(self, why: &'static str) -> Self {
        Self { refused: Some(why), ..self }
    }
}

fn fact(type_: &str, status: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": "Seen", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn entry(host: &str, ready: bool) -> Value {
    json!({"name": host, "ready": ready})
}

fn servers() -> Vec<Case> {
    let device = json!({"name": "disk-root", "slot": 0, "uid": "a"});
    let ready = json!([fact("Ready", "False"), fact("Running", "True")]);
    vec![
        says("servers/mine", json!({"conditions": [fact("Running", "False"), fact("VolumesReady", "True")]})),
        says("servers/mine", json!({"conditions": [fact("RestartRequired", "True")], "devices": [device]})),
        says("servers/mine", json!({"conditions": [fact("Released", "True")], "devices": []})),
        says("servers/mine", json!({})),
        says("servers/other", json!({"conditions": [fact("Running", "True")]})).but_is_refused(OF_RACK_2),
        says("servers/other", json!({"host": HOST})).but_is_refused(OF_RACK_2),
        says("servers/unbound", json!({"conditions": [fact("Running", "True")]})).but_is_refused(UNBOUND),
        says("servers/unbound", json!({"host": HOST})).but_is_refused(UNBOUND),
        says("servers/new", json!({"conditions": [fact("Running", "True")]})).but_is_refused(UNBOUND),
        says("servers/mine", json!({"conditions": [fact("Ready", "False")]})).but_is_refused(SEEN_OF_SERVERS),
        says("servers/mine", json!({"conditions": [fact("Scheduled", "True")]})).but_is_refused(SEEN_OF_SERVERS),
        tries("servers/mine", json!({"conditions": ready}), SEEN_OF_SERVERS),
        tries("servers/mine", json!({"conditions": [fact("Running", "True")]}), SEEN_OF_SERVERS),
        tries("servers/mine", json!({"host": "rack-2"}), OF_SERVERS),
        tries("servers/mine", json!({"host": null}), OF_SERVERS),
        tries("servers/mine", json!({"resources": {"cpu": 64, "memory": "1Ti"}}), OF_SERVERS),
        tries("servers/mine", json!({"observedGeneration": 2}), OF_SERVERS),
        tries("servers/mine", json!({"addresses": null}), OF_SERVERS),
        tries("servers/mine", Value::Null, OF_SERVERS),
        applies("controllers", "servers/mine", json!({})).but_is_refused(OF_SERVERS),
    ]
}

fn volumes() -> Vec<Case> {
    let attached = json!({"attachedTo": {"server": "mine", "uid": "a"}});
    let attach = |object, status| applies("nubium-agent-server", object, status);
    let made = json!({
        "conditions": [fact("Provisioned", "True")], "capacity": "1Gi", "format": "qcow2", "imageUid": "a",
    });
    vec![
        says("volumes/mine", made.clone()),
        says("volumes/mine", json!({"conditions": [fact("Released", "True")]})),
        attach("volumes/mine", attached.clone()),
        attach("volumes/mine", json!({})),
        attach("volumes/other", attached.clone()).but_is_refused(OF_RACK_2),
        says("volumes/other", made.clone()).but_is_refused(OF_RACK_2),
        says("volumes/unbound", made).but_is_refused(UNBOUND),
        attach("volumes/new", attached).but_is_refused(UNBOUND),
        tries("volumes/mine", json!({"host": "rack-2"}), OF_VOLUMES),
        tries("volumes/mine", json!({"host": null}), OF_VOLUMES),
        tries("volumes/mine", json!({"conditions": [fact("InUse", "False")]}), SEEN_OF_VOLUMES),
        tries("volumes/mine", json!({"conditions": null}), SEEN_OF_VOLUMES),
    ]
}

/// Networks and Images have an entry for each host.
fn shared() -> Vec<Case> {
    let foreign = json!({"hosts": [entry(HOST, true), entry("rack-2", false)]});
    let mut cases = vec![
        tries("networks/blue", json!({"vni": 7}), SHARED),
        tries("networks/new", json!({"mtu": 9000}), SHARED),
        tries("images/blue", json!({"size": "1Gi"}), SHARED),
    ];
    for [shared, lone, new] in
        [["networks/blue", "networks/lone", "networks/new"], ["images/blue", "images/lone", "images/new"]]
    {
        cases.extend([
            says(shared, json!({"hosts": [entry(HOST, false)]})),
            says(shared, json!({"hosts": [{"name": HOST, "released": true, "observedGeneration": 1}]})),
            says(shared, json!({})),
            says(lone, json!({"hosts": [entry(HOST, false)]})),
            says(lone, json!({})),
            says(new, json!({"hosts": [entry(HOST, true)]})),
            says(shared, json!({"hosts": [entry("rack-2", false)]})).but_is_refused(ENTRY),
            says(new, json!({"hosts": [entry("rack-3", true)]})).but_is_refused(ENTRY),
            tries(shared, foreign.clone(), ENTRY),
            tries(shared, json!({"hosts": [entry(HOST, true)]}), ENTRY),
            tries(shared, json!({"hosts": null}), ENTRY),
            tries(shared, json!({"conditions": [fact("InUse", "False")]}), SHARED),
            tries(shared, json!({"conditions": null}), SHARED),
        ]);
    }
    cases
}

/// What admins and controllers said of the objects before.
async fn prepare(admin: &Caller, host: &Caller) {
    for definition in definitions() {
        let made = admin.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    for name in ["shop", "nubium-hosts"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let made = admin.apply(&format!("/api/v1/namespaces/{name}?fieldManager=admin"), &namespace).await;
        assert!(made.code < 300, "{}", made.text);
    }
    let specs = [
        ("servers", json!({"flavor": "small", "disks": [{"name": "root", "blank": {}, "size": "1Gi"}]})),
        ("volumes", json!({"size": "1Gi"})),
        ("networks", json!({"subnets": [{"name": "v4", "cidr": "10.0.0.0/24"}]})),
        ("images", json!({"source": {"file": {"path": "tiny.qcow2"}}})),
    ];
    for (plural, spec) in specs {
        eventually("the kind is served", || async { admin.get(&format!("{SHOP}/{plural}")).await.code == 200 }).await;
        let names: &[&str] = match plural {
            "servers" | "volumes" => &["mine", "other", "unbound", "new"],
            _ => &["blue", "lone", "new"],
        };
        for name in names {
            let object = json!({
                "apiVersion": "nubium.dev/v1alpha1", "kind": kind(plural), "metadata": {"name": name}, "spec": spec,
            });
            let made = admin.post(&format!("{SHOP}/{plural}"), &object).await;
            assert_eq!(made.code, 201, "{}", made.text);
            let mut status = json!({"observedGeneration": 1, "conditions": [fact("Ready", "True")]});
            match *name {
                "mine" => status["host"] = HOST.into(),
                "other" => status["host"] = "rack-2".into(),
                "blue" => status["hosts"] = json!([entry("rack-2", true)]),
                "new" => continue,
                _ => {}
            }
            if plural == "servers" {
                status["addresses"] = json!([
                    {"name": "eth0", "network": "blue", "address": "10.0.0.2", "macAddress": "02:00:00:00:00:01"},
                ]);
            }
            let object = format!("{plural}/{name}");
            let told = send(admin, &object, &Write::Apply("controllers", status), "").await;
            assert_eq!(told.code, 200, "{object}: {}", told.text);
        }
    }
    for (object, status) in [
        ("servers/mine", json!({"conditions": [fact("Running", "True")], "devices": []})),
        ("networks/blue", json!({"hosts": [entry(HOST, true)]})),
        ("networks/lone", json!({"hosts": [entry(HOST, true)]})),
        ("images/blue", json!({"hosts": [entry(HOST, true)]})),
        ("images/lone", json!({"hosts": [entry(HOST, true)]})),
    ] {
        let told = send(host, object, &Write::Apply("nubium-agent", status), "").await;
        assert_eq!(told.code, 200, "{object}: {}", told.text);
    }
}

fn kind(plural: &str) -> &'static str {
    match plural {
        "servers" => "Server",
        "volumes" => "Volume",
        "networks" => "Network",
        _ => "Image",
    }
}

async fn send(caller: &Caller, object: &str, write: &Write, options: &str) -> Answer {
    let path = format!("{SHOP}/{object}/status");
    let (plural, name) = object.split_once('/').unwrap();
    match write {
        Write::Apply(manager, status) => {
            let object = json!({
                "apiVersion": "nubium.dev/v1alpha1", "kind": kind(plural), "metadata": {"name": name}, "status": status,
            });
            caller.apply(&format!("{path}?fieldManager={manager}&force=true{options}"), &object).await
        }
        Write::Merge(status) => {
            caller.merge(&format!("{path}?fieldManager=somebody{options}"), &json!({"status": status})).await
        }
    }
}

/// Every case, and what is wrong with the answers to it.
async fn judge(admin: &Caller, host: &Caller) -> Vec<String> {
    let mut wrong = Vec::new();
    for case in servers().into_iter().chain(volumes()).chain(shared()) {
        let told = match &case.write {
            Write::Apply(manager, status) => format!("{} by {manager}: {status}", case.object),
            Write::Merge(status) => format!("{}: {status}", case.object),
        };
        let by_admin = send(admin, case.object, &case.write, "&dryRun=All").await;
        if by_admin.code != 200 {
            wrong.push(format!("{told}\n  to an admin: {}", by_admin.text));
        }
        let by_host = send(host, case.object, &case.write, "&dryRun=All").await;
        let said = by_host.json();
        let (plural, name) = case.object.split_once('/').unwrap();
        let holds = match case.refused {
            None => by_host.code == 200,
            Some(why) => {
                let message = said["message"].as_str().unwrap_or_default();
                by_host.code == 403
                    && said["reason"] == "Forbidden"
                    && said["details"]["name"] == name
                    && said["details"]["kind"] == plural
                    && message.starts_with(&format!("{plural}.nubium.dev {name:?} is forbidden: "))
                    && message.ends_with(why)
            }
        };
        if !holds {
            wrong.push(format!("{told}\n  to a host, not {:?}: {}", case.refused, by_host.text));
        }
    }
    wrong
}

/// A Host and a Lease, made and changed by the host of that name and by another one.
async fn judge_itself(admin: &Caller, host: &Caller) -> Vec<String> {
    let mut wrong = Vec::new();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/nubium-hosts/leases";
    for (version, kind, path) in [
        ("nubium.dev/v1alpha1", "Host", "/apis/nubium.dev/v1alpha1/hosts"),
        ("coordination.k8s.io/v1", "Lease", leases),
    ] {
        for name in [HOST, "rack-2"] {
            let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": {}});
            let path = format!("{path}/{name}");
            let makes = host.apply(&format!("{path}?fieldManager=nubium-agent&dryRun=All"), &object).await;
            let made = admin.apply(&format!("{path}?fieldManager=admin"), &object).await;
            let changes = host.apply(&format!("{path}?fieldManager=nubium-agent"), &object).await;
            let expected = if name == HOST { [201, 201, 200] } else { [403, 201, 403] };
            if [&makes, &made, &changes].map(|answer| answer.code) != expected {
                wrong.push(format!("{kind} {name}: {}\n{}\n{}", makes.text, made.text, changes.text));
            }
            if kind == "Host" {
                let status = json!({"status": {"conditions": [fact("AgentReady", "True")]}});
                let told = host.merge(&format!("{path}/status?fieldManager=nubium-agent"), &status).await;
                if told.code != expected[2] {
                    wrong.push(format!("the status of {kind} {name}: {}", told.text));
                }
            }
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_changes_the_status_of_what_is_bound_to_it_only() {
    assert_eq!(nubium_apiserver::HOSTS, nubium_api::contract::HOSTS_GROUP);
    let ours = Ours::with_hosts().await;
    let host = ours.caller(Some(&Identity::host(HOST)));
    prepare(&ours.admin, &host).await;
    let wrong = [judge(&ours.admin, &host).await, judge_itself(&ours.admin, &host).await].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_on_kube_apiserver() {
    let Some(binaries) = peer::folder() else {
        eprintln!("SKIPPED: set NUBIUM_KUBE_APISERVER to a folder with kube-apiserver and etcd to hold them to it too");
        return;
    };
    let theirs = peer::Peer::start(&binaries).await;
    let host = theirs.host();
    install(&theirs.admin, "rbac.yaml").await;
    prepare(&theirs.admin, &host).await;
    install(&theirs.admin, "admission.yaml").await;
    let refused = Write::Merge(json!({"devices": []}));
    let look = || async { send(&host, "servers/other", &refused, "&dryRun=All").await.code == 403 };
    eventually("the policy is in force", look).await;
    let strange =
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Host", "metadata": {"name": "rack-3"}, "spec": {}});
    let path = "/apis/nubium.dev/v1alpha1/hosts/rack-3?fieldManager=nubium-agent&dryRun=All";
    eventually("the other one is, too", || async { host.apply(path, &strange).await.code == 403 }).await;
    let wrong = [judge(&theirs.admin, &host).await, judge_itself(&theirs.admin, &host).await].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Applies a manifest, as an admin does.
async fn install(admin: &Caller, manifest: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests").join(manifest);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap();
    for object in objects {
        let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let plural = match kind {
            "ValidatingAdmissionPolicy" => "validatingadmissionpolicies".to_owned(),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let within = object["metadata"]["namespace"].as_str().map(|name| format!("/namespaces/{name}"));
        let (within, name) = (within.unwrap_or_default(), object["metadata"]["name"].as_str().unwrap());
        let answer = admin.apply(&format!("{root}{within}/{plural}/{name}?fieldManager=admin"), &object).await;
        assert_eq!((answer.code, answer.warnings.len()), (201, 0), "{kind} {name}: {}", answer.text);
    }
}
