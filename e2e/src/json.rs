//! Reading objects as JSON: the stories use none of our types.

use serde_json::Value;

/// The condition of that type of an object.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}
