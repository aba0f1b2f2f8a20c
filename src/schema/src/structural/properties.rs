//! The named properties of a node: a sorted list, which takes a fraction of the memory of a tree.

use super::NodeId;

#[derive(Debug, Default)]
pub(crate) struct Properties(Box<[(Box<str>, NodeId)]>);

impl Properties {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<NodeId> {
        let found = self.0.binary_search_by(|(known, _)| (**known).cmp(name));
        found.ok().and_then(|at| self.0.get(at)).map(|(_, id)| *id)
    }

    pub(crate) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// In the order of names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, NodeId)> {
        self.0.iter().map(|(name, id)| (&**name, *id))
    }
}

impl FromIterator<(String, NodeId)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, NodeId)>>(named: I) -> Self {
        let mut named: Vec<(Box<str>, NodeId)> = named.into_iter().map(|(name, id)| (name.into(), id)).collect();
        named.sort_by(|left, right| left.0.cmp(&right.0));
        Self(named.into())
    }
}
