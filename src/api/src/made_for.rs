//! The mark on an object that a Server's controller made.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Says for which Server this object was made. An object of the right name without this mark is never adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeFor {
    /// The Server's name, in this namespace.
    pub server: String,
    /// The Server's UID: a later Server of the same name does not own what this one made.
    pub uid: String,
}
