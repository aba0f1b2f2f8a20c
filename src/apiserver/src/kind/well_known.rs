//! The kinds that the server itself works with: what they are called, and where they are stored.

use super::prefix;

/// The built-in kinds that the server itself works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuiltIn {
    Namespace,
    Definition,
    Event,
}

impl BuiltIn {
    /// The group and plural in which it is stored.
    pub fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Namespace => ("", "namespaces"),
            Self::Definition => ("apiextensions.k8s.io", "customresourcedefinitions"),
            Self::Event => ("", "events"),
        }
    }

    /// The key prefix of its objects.
    pub fn prefix(self) -> String {
        let (group, plural) = self.resource();
        prefix(group, plural)
    }
}
