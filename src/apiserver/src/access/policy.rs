//! What hosts may do, as data: whoever embeds the server says it.

use serde::{Deserialize, Serialize};

/// What the agents of hosts may do. Without one they may only read the pages of the API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The requests that are allowed.
    pub rules: Vec<Rule>,
    /// What of a status is theirs to write. Of a kind that is not here it is the whole, where a rule allows the request.
    pub parts: Vec<Part>,
}

impl Policy {
    /// A policy out of what says the same with other types.
    ///
    /// # Errors
    /// When it says something else.
    pub fn of(data: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(data)?)
    }
}

/// One thing that hosts may do. `*` stands for anything, `{host}` for the host's own name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub verbs: Vec<String>,
    /// Empty for the core group.
    pub group: String,
    pub resource: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// Empty for kinds of the whole cluster.
    pub namespace: String,
    pub name: String,
}

/// What hosts may write of one kind's status.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub group: String,
    pub resource: String,
    /// Only of an object whose `status.host` names the host; else every host has its own entry in `status.hosts`.
    pub bound: bool,
    /// The top-level fields.
    pub fields: Vec<String>,
    /// The types of conditions.
    pub conditions: Vec<String>,
}
