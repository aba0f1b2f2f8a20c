//! Reduces what Kubernetes publishes to the few files this API server keeps in `data/`.
//!
//! ```text
//! cargo run -p nubium-apiserver --example reduce -- <module k8s.io/kubernetes> <folder of the k8s.io modules> <version>
//! ```
//! From `api/openapi-spec/v3` it takes the components of the built-in kinds named in `data/kinds.json`, and all that
//! they refer to; from the `generated.proto` files the field numbers of the messages that clients send for those kinds.

mod openapi;
mod protobuf;

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

/// The kinds that are answered and never stored; they are not in `kinds.json`.
const REVIEWS: [&str; 3] = [
    "authentication.v1.SelfSubjectReview",
    "authorization.v1.SelfSubjectAccessReview",
    "authorization.v1.SelfSubjectRulesReview",
];

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [kubernetes, modules, version] = arguments.as_slice() else {
        return Err(
            "usage: reduce <module k8s.io/kubernetes> <folder of the k8s.io modules> <version, e.g. v0.35.3>".into()
        );
    };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let kinds: Value = serde_json::from_str(&fs::read_to_string(data.join("kinds.json"))?)?;

    let wanted = |key: &str| -> Vec<String> {
        let kinds = kinds.as_array().into_iter().flatten();
        kinds.filter_map(|kind| kind[key].as_str()).map(str::to_owned).collect()
    };
    let published = Path::new(kubernetes).join("api/openapi-spec/v3");
    let mut schemas = wanted("schema");
    schemas.extend(REVIEWS.map(|review| format!("io.k8s.api.{review}")));
    let components = openapi::reduce(&published, &schemas)?;
    write(&data.join("openapi.json"), &components)?;

    let protos: Vec<PathBuf> = [
        format!("api@{version}/core/v1"),
        format!("api@{version}/events/v1"),
        format!("api@{version}/coordination/v1"),
        format!("api@{version}/authentication/v1"),
        format!("api@{version}/authorization/v1"),
        format!("apimachinery@{version}/pkg/apis/meta/v1"),
    ]
    .iter()
    .map(|folder| Path::new(modules).join(folder).join("generated.proto"))
    .collect();
    let mut messages = wanted("protobuf");
    messages.extend(REVIEWS.map(|review| format!("k8s.io.api.{review}")));
    messages.push("k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions".to_owned());
    let messages = protobuf::reduce(&protos, &messages)?;
    write(&data.join("protobuf.json"), &messages)
}

/// One line an entry, so that a change reads well.
fn write(path: &Path, value: &Value) -> Result<()> {
    let entries = value.as_object().ok_or("not an object")?;
    let lines: Vec<String> =
        entries.iter().map(|(name, entry)| format!("{}:{entry}", Value::from(name.as_str()))).collect();
    fs::write(path, format!("{{\n{}\n}}\n", lines.join(",\n")))?;
    Ok(())
}
