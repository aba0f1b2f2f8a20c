//! The published schemas of the built-in kinds, read from `data/`.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// Published OpenAPI components by name: those of the built-in kinds, ObjectMeta, and all that these refer to.
pub(crate) fn components() -> &'static Map<String, Value> {
    static COMPONENTS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../data/openapi.json")).expect("data/openapi.json is checked by a test")
    });
    &COMPONENTS
}
