//! Which places of a set count: those that a request cannot write are left out of ownership.

use super::{Node, PathElement, Set};

/// Lets places of a set through.
#[derive(Clone, Debug)]
pub enum Filter {
    /// All but these places and what is below them: the fields that a resource resets on every write, such as `status`
    /// on the main resource.
    Without(Set),
    /// Only places that one of these patterns matches. No patterns: everything.
    Only(Vec<Pattern>),
}

/// Matches places by their first steps, and everything below. `None` means any step; where a pattern has it, patterns
/// that name the step there do not count.
pub type Pattern = Vec<Option<PathElement>>;

impl Filter {
    /// The places of `set` that the filter lets through.
    pub fn filter(&self, set: &Set) -> Set {
        match self {
            Self::Without(excluded) => set.recursive_difference(excluded),
            Self::Only(patterns) if patterns.is_empty() => set.clone(),
            Self::Only(patterns) => {
                let patterns: Vec<_> = patterns.iter().map(Vec::as_slice).collect();
                matching(set, &patterns)
            }
        }
    }
}

/// A place on the way to a match is let through too, as the match is inside it.
fn matching(set: &Set, patterns: &[&[Option<PathElement>]]) -> Set {
    if patterns.iter().any(|pattern| pattern.is_empty()) {
        return set.clone();
    }
    let nodes = set.nodes().iter().filter_map(|node| {
        let after = |step: Option<&PathElement>| -> Vec<_> {
            let split = patterns.iter().filter_map(|pattern| pattern.split_first());
            split.filter(|(first, _)| first.as_ref() == step).map(|(_, rest)| rest).collect()
        };
        let any = after(None);
        let rest = if any.is_empty() { after(Some(&node.element)) } else { any };
        (!rest.is_empty()).then(|| Node {
            element: node.element.clone(),
            member: node.member,
            children: matching(&node.children, &rest),
        })
    });
    Set::from_nodes(nodes.collect())
}
