//! Our own CRDs, as they stand in `crds/`: accepted, and quick to check.

use std::time::{Duration, Instant};

use nubium_schema::{Document, Structural};
use serde_json::{Map, Value, json};

fn crds() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds");
    let mut crds = Vec::new();
    for entry in std::fs::read_dir(folder).expect("crds/ is there") {
        let path = entry.expect("crds/ can be listed").path();
        let body = std::fs::read(path).expect("a CRD can be read");
        crds.push(Document::from_yaml(&body).expect("a CRD is YAML").value);
    }
    assert!(crds.len() >= 9, "{} CRDs", crds.len());
    crds
}

fn compile(crd: &Value) -> Structural {
    let meta = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    let components = Map::from_iter([(nubium_schema::structural::OBJECT_META.to_owned(), meta)]);
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    match Structural::from_crd(schema, &components, "schema") {
        Ok(schema) => schema,
        Err(errors) => panic!("{}: {}", crd["metadata"]["name"], nubium_schema::error::aggregate(&errors)),
    }
}

#[test]
fn every_crd_of_ours_is_accepted() {
    for crd in crds() {
        compile(&crd);
        let columns = &crd["spec"]["versions"][0]["additionalPrinterColumns"];
        nubium_schema::table::Columns::new(columns, &Map::new()).unwrap();
    }
}

/// The figure wanted is 100 µs in a release build; this one runs without optimisation.
#[test]
fn a_server_is_checked_in_time() {
    let crd = crds().into_iter().find(|crd| crd["spec"]["names"]["kind"] == "Server").expect("there is a Server");
    let schema = compile(&crd);
    let server = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": "web-1"}, "spec": {
        "flavor": "small", "disks": [{"name": "root", "image": "debian-12", "size": "10Gi"}, {"name": "data", "volume": "db-data"}],
        "nics": [{"name": "eth0", "network": "blue"}], "cloudInit": {"sshAuthorizedKeys": ["ssh-ed25519 AAAA"]}}});
    let once = || {
        let mut object = server.clone();
        let unknown = schema.prune(&mut object);
        schema.default(&mut object);
        (unknown, schema.check(&object, None))
    };
    let (unknown, errors) = once();
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(errors, []);
    let start = Instant::now();
    for _ in 0..200 {
        once();
    }
    let each = start.elapsed() / 200;
    println!("prune, default and check of a Server: {each:?}");
    assert!(each < Duration::from_millis(10), "{each:?}");
}

fn refusals(kind: &str, spec: &Value, old: Option<&Value>) -> Vec<String> {
    let crd = crds().into_iter().find(|crd| crd["spec"]["names"]["kind"] == kind).expect("one of ours");
    let schema = compile(&crd);
    let object = |spec: &Value| {
        let mut object =
            json!({"apiVersion": "nubium.dev/v1alpha1", "kind": kind, "metadata": {"name": "one"}, "spec": spec});
        schema.default(&mut object);
        object
    };
    let errors = schema.check(&object(spec), old.map(object).as_ref());
    errors.iter().map(ToString::to_string).collect()
}

/// Says yes to the first and no to the second, and why.
fn accepts_and_refuses(kind: &str, yes: &Value, no: &Value, why: &str) {
    assert_eq!(refusals(kind, yes, None), [""; 0], "{yes}");
    let refused = refusals(kind, no, None);
    assert!(refused.iter().any(|one| one.contains(why)), "{no}: {refused:?}");
}

#[test]
fn an_amount_without_its_unit_is_refused_with_what_to_write() {
    for (yes, no) in [("512Mi", "512"), ("16Mi", "15Mi"), ("1.5Gi", "1.5k")] {
        let spec = |memory| json!({"cpu": 1, "memory": memory});
        accepts_and_refuses("Flavor", &spec(yes), &spec(no), "without a unit it is in bytes");
        let spec = |memory| json!({"resources": spec(memory), "disks": [{"name": "root", "image": "tiny"}]});
        accepts_and_refuses("Server", &spec(yes), &spec(no), "without a unit it is in bytes");
    }
    for (yes, no) in [(json!("1Mi"), json!("10")), (json!(1 << 20), json!(10))] {
        let spec = |size: &Value| json!({"size": size});
        accepts_and_refuses("Volume", &spec(&yes), &spec(&no), "write 512Mi or 10Gi");
        let spec = |size: &Value| json!({"flavor": "small", "disks": [{"name": "root", "blank": {}, "size": size}]});
        accepts_and_refuses("Server", &spec(&yes), &spec(&no), "write 512Mi or 10Gi");
    }
}

#[test]
fn one_volume_is_one_disk_and_one_port_one_nic() {
    let spec = |volumes: [&str; 2], ports: [&str; 2]| {
        json!({"flavor": "small",
               "disks": [{"name": "root", "image": "tiny"}, {"name": "a", "volume": volumes[0]}, {"name": "b", "volume": volumes[1]}],
               "nics": [{"name": "eth0", "network": "blue"}, {"name": "a", "port": ports[0]}, {"name": "b", "port": ports[1]}]})
    };
    let fine = spec(["x", "y"], ["x", "y"]);
    accepts_and_refuses("Server", &fine, &spec(["x", "x"], ["x", "y"]), "name each Volume once");
    accepts_and_refuses("Server", &fine, &spec(["x", "y"], ["x", "x"]), "name each Port once");
    // The Server of these is called one.
    accepts_and_refuses("Server", &fine, &spec(["x", "one-root"], ["x", "y"]), "makes the Volume (<server>-<disk>)");
    accepts_and_refuses("Server", &fine, &spec(["x", "y"], ["one-eth0", "y"]), "makes the Port (<server>-<NIC>)");
    for others in ["one", "one-", "one-a", "one-rooted", "two-root", "oneroot"] {
        assert_eq!(refusals("Server", &spec([others, "y"], ["x", others]), None), [""; 0], "{others}");
    }
}

#[test]
fn a_subnet_has_a_range_that_machines_can_use_and_keeps_its_name() {
    let spec = |name: &str, cidr: &str| json!({"subnets": [{"name": name, "cidr": cidr}]});
    for cidr in ["0.0.0.0/8", "127.0.0.0/24", "169.254.0.0/16", "224.0.0.0/24", "255.0.0.0/8"] {
        accepts_and_refuses(
            "Network",
            &spec("v4", "10.10.0.0/24"),
            &spec("v4", cidr),
            "machines can have addresses of",
        );
    }
    for cidr in ["1.0.0.0/8", "126.0.0.0/8", "128.0.0.0/8", "169.253.0.0/16", "172.16.0.0/12", "223.0.0.0/8"] {
        assert_eq!(refusals("Network", &spec("v4", cidr), None), [""; 0], "{cidr}");
    }
    let old = spec("v4", "10.10.0.0/24");
    assert_eq!(refusals("Network", &old, Some(&old)), [""; 0]);
    let renamed = refusals("Network", &spec("other", "10.20.0.0/24"), Some(&old));
    assert!(renamed.iter().any(|one| one.contains("cannot be renamed")), "{renamed:?}");
}
