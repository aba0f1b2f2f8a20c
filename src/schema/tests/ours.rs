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
