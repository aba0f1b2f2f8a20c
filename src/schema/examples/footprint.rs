//! What definitions cost in memory once they are compiled: `cargo run -p nubium-schema --example footprint [CRD.yaml]`.
//!
//! Compiles the schema of a CustomResourceDefinition many times and prints how much the process grew for each part.

use nubium_schema::ownership::TypeRef;
use nubium_schema::{Document, Structural};
use serde_json::{Map, Value};

const TIMES: usize = 300;

fn main() {
    let file = std::env::args().nth(1).unwrap_or_else(|| "crds/servers.yaml".to_owned());
    let text = std::fs::read(&file).expect("the definition can be read");
    let definition = Document::from_yaml(&text).expect("the definition is YAML").value;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let components: Value = serde_json::from_str(include_str!("../../apiserver/data/openapi.json"))
        .expect("the published components are JSON");
    let components: &Map<String, Value> = components.as_object().expect("components are an object");
    println!("{file}: {} bytes of JSON", schema.to_string().len());
    print("document", || schema.clone());
    print("schema", || Structural::from_crd(schema, components, "").expect("a good schema"));
    print("ownership", || TypeRef::of_custom_resource(schema).expect("a good schema"));
}

fn print<T>(what: &str, make: impl Fn() -> T) {
    let warm = make();
    let before = resident();
    let made: Vec<T> = (0..TIMES).map(|_| make()).collect();
    let each = resident().saturating_sub(before) / TIMES;
    println!("{what:>10}: {:>4} KiB each", each / 1024);
    drop((made, warm));
}

/// Bytes of the process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("Linux says it");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<usize>().ok()).expect("a number") * 1024
}
