//! What a write is, apart from the objects.

use serde_json::Value;

use crate::ownership::{Set, TypeRef};

/// A write. `Request { manager, api_version, kind, now, ..Request::default() }` is one to the main resource.
#[derive(Clone, Copy, Default)]
pub struct Request<'a> {
    /// Who writes: see [`manager_name`]. Empty: `unknown`.
    pub manager: &'a str,
    /// The version that the request is in, and its objects with it: `v1`, `nubium.dev/v1alpha1`.
    pub api_version: &'a str,
    /// The kind of the objects.
    pub kind: &'a str,
    /// Empty for the main resource, else `status`, ….
    pub subresource: &'a str,
    /// Whether an apply takes what belongs to others.
    pub force: bool,
    /// The time of the write, as `2026-11-21T01:15:45Z`.
    pub now: &'a str,
    /// What this resource never takes from a client: `status` on a main resource that has a status subresource, `spec` on
    /// that subresource. It is not owned by who sends it.
    pub reset_fields: Option<&'a Set>,
    /// An object of this kind that says nothing, as compared with on create. `None`: one that has only `apiVersion` and
    /// `kind`, as for custom resources; built-in kinds also have their structs: `{"metadata":{},"spec":{},"status":{}}`.
    pub empty: Option<&'a Value>,
    /// For kinds of several versions. `None`: what is owned in any other version is forgotten.
    pub conversion: Option<Conversion<'a>>,
}

/// Gives an object in another version, with its kind in that version; `None` when there is no such version.
pub type Conversion<'a> = &'a (dyn Fn(&Value, &str) -> Option<(Value, TypeRef)> + Sync);

/// The most bytes of a manager's name.
const LONGEST_NAME: usize = 128;

/// Who writes: the request's `fieldManager` if it has one, else its user agent up to the first `/`.
pub fn manager_name(field_manager: &str, user_agent: &str) -> String {
    if !field_manager.is_empty() {
        return field_manager.to_owned();
    }
    let mut name = String::new();
    let product = user_agent.split('/').next().unwrap_or_default();
    for character in product.chars().filter(|character| !character.is_control()) {
        if name.len() + character.len_utf8() > LONGEST_NAME {
            break;
        }
        name.push(character);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_named_by_the_request_or_the_program() {
        assert_eq!(manager_name("helm", "Helm/4.2"), "helm");
        assert_eq!(manager_name("", "kubectl/v1.33.0 (linux/amd64) kubernetes/1234567"), "kubectl");
        assert_eq!(manager_name("", &"é".repeat(100)), "é".repeat(64));
        assert_eq!(manager_name("", ""), "");
    }
}
