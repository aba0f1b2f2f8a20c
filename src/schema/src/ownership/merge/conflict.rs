//! Places that another manager owns with another value.

use std::fmt::{self, Display, Formatter};

use super::Managers;
use crate::ownership::Path;

/// One place that a write would take from another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict<K> {
    pub manager: K,
    pub path: Path,
}

/// All such places of one write, in the order of managers; never empty when returned as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts<K>(pub Vec<Conflict<K>>);

impl<K: Clone> Conflicts<K> {
    pub(super) fn of(managers: &Managers<K>) -> Self {
        let conflicts = managers.iter().flat_map(|(manager, owned)| {
            owned.set.paths().into_iter().map(|path| Conflict { manager: manager.clone(), path })
        });
        Self(conflicts.collect())
    }
}

impl<K: Display> Display for Conflict<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "conflict with {}: {}", self.manager, self.path)
    }
}

/// A line for a single conflict; else a headline for each manager and a line for each place.
impl<K: Display + PartialEq> Display for Conflicts<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return only.fmt(f);
        }
        let mut before = None;
        for Conflict { manager, path } in &self.0 {
            if before != Some(manager) {
                let end = if before.is_some() { "\n" } else { "" };
                write!(f, "{end}conflicts with {manager}:")?;
                before = Some(manager);
            }
            write!(f, "\n- {path}")?;
        }
        Ok(())
    }
}
