//! Whose status a host may write, and what of it. `manifests/admission.yaml` says the same to Kubernetes, and
//! `tests/hosts.rs` holds both to one table of cases.

use serde_json::Value;

use super::admission::{Admission, ChangeRequest};
use super::identity::HOSTS;
use super::policy::Part;
use crate::failure::{Failure, Subject};

/// Refuses a host's change of what is not its own. Applies to nobody but hosts.
pub(crate) struct HostStatus(pub Vec<Part>);

impl Admission for HostStatus {
    fn admit(&self, request: &ChangeRequest<'_>) -> Result<(), Failure> {
        let ChangeRequest { identity, action, old, new } = request;
        let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
        if !identity.is_in(HOSTS) || action.subresource != "status" {
            return Ok(());
        }
        let part = self.0.iter().find(|part| part.group == action.group && part.resource == action.resource);
        match part.and_then(|part| part.refusal(&identity.name, &old["status"], &new["status"])) {
            None => Ok(()),
            Some(why) => {
                let subject = Subject { group: action.group, resource: action.resource };
                Err(Failure::forbidden(subject, action.name.unwrap_or_default(), &why))
            }
        }
    }
}

impl Part {
    fn refusal(&self, host: &str, before: &Value, after: &Value) -> Option<String> {
        let bound_to = before["host"].as_str();
        if self.bound && bound_to != Some(host) {
            let only = "a host may write the status only of what is bound to it";
            return Some(format!("{only}, and this is bound to {}", bound_to.unwrap_or("no host")));
        }
        if !self.others_are_within(before, after) || !self.others_are_within(after, before) {
            return Some(format!("a host may change nothing in this status but {}", self.fields.join(", ")));
        }
        let is_other = |condition: &Value| !self.conditions.iter().any(|own| condition["type"] == **own);
        if !same(&before["conditions"], &after["conditions"], is_other) {
            return Some(format!("a host may change no condition here but {}", self.conditions.join(", ")));
        }
        if !same(&before["hosts"], &after["hosts"], |entry| entry["name"] != host) {
            return Some("a host may change no entry of status.hosts but its own".to_owned());
        }
        None
    }

    /// Whether the fields of one status that are not the host's to write are in another, and equal.
    fn others_are_within(&self, one: &Value, another: &Value) -> bool {
        let is_own = |field: &String| self.fields.contains(field);
        one.as_object().into_iter().flatten().all(|(name, field)| is_own(name) || another.get(name) == Some(field))
    }
}

/// Whether two lists hold the same of what counts, in any order.
fn same(before: &Value, after: &Value, counts: impl Fn(&Value) -> bool) -> bool {
    let [before, after] = [before, after].map(|list| list.as_array().map_or(&[][..], Vec::as_slice));
    let within = |some: &[Value], all: &[Value]| some.iter().filter(|item| counts(item)).all(|item| all.contains(item));
    within(before, after) && within(after, before)
}
