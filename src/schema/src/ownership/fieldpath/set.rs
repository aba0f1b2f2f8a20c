//! A set of places in an object, as a tree.
//!
//! A place may be in the set itself, or only lead to others that are. Owning a list item, for instance, is a set that
//! has the item itself and the fields of it that its owner wrote. Nothing owns the whole object: the root is never in a
//! set.

use std::{
    cmp::Ordering,
    fmt::{self, Display, Formatter},
};

use super::{Path, PathElement};
use crate::ownership::kind::{Schema, TypeId, TypeRef};

/// A set of places. Equal sets have equal trees: no branch leads nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Sorted by element, each element once.
    nodes: Vec<Node>,
}

/// One element with what the set holds at and below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub element: PathElement,
    /// Whether the place itself is in the set.
    pub member: bool,
    pub children: Set,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl Set {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of whole branches at the top, as `reset_fields` are given: `["status"]`.
    pub fn of_fields<const N: usize>(names: [&str; N]) -> Self {
        names.into_iter().map(|name| Path::of_fields([name])).collect()
    }

    /// Builds a set from nodes in any order; nodes of the same element become one.
    pub(crate) fn from_nodes(mut nodes: Vec<Node>) -> Self {
        nodes.retain(|node| !node.is_empty());
        if !nodes.is_sorted_by(|left, right| left.element < right.element) {
            nodes.sort_by(|left, right| left.element.cmp(&right.element));
            nodes.dedup_by(|later, kept| {
                let same = later.element == kept.element;
                if same {
                    kept.member |= later.member;
                    kept.children = kept.children.union(&later.children);
                }
                same
            });
        }
        Self { nodes }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Adds one place (not those on the way to it). The root cannot be added.
    pub fn insert(&mut self, path: &[PathElement]) {
        let [first, rest @ ..] = path else { return };
        let index = match self.position(first) {
            Ok(index) => index,
            Err(index) => {
                let node = Node { element: first.clone(), member: false, children: Self::new() };
                self.nodes.insert(index, node);
                index
            }
        };
        match rest {
            [] => self.nodes[index].member = true,
            rest => self.nodes[index].children.insert(rest),
        }
    }

    /// Whether the place itself is in the set.
    pub fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.node(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.node(first).is_some_and(|node| node.children.has(rest)),
        }
    }

    /// What the set holds below a direct child of the root, seen from that child.
    pub fn below(&self, element: &PathElement) -> Option<&Set> {
        self.node(element).map(|node| &node.children).filter(|children| !children.is_empty())
    }

    pub(crate) fn node(&self, element: &PathElement) -> Option<&Node> {
        self.position(element).ok().map(|index| &self.nodes[index])
    }

    fn position(&self, element: &PathElement) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.element.cmp(element))
    }

    /// Whether no place is in the set.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many places are in the set.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.member) + node.children.len()).sum()
    }

    /// The places in either set.
    #[must_use]
    pub fn union(&self, other: &Set) -> Set {
        self.combine(other, |left, right| match (left, right) {
            (Some(left), Some(right)) => {
                Some(with(left, left.member || right.member, left.children.union(&right.children)))
            }
            (Some(node), None) | (None, Some(node)) => Some(node.clone()),
            (None, None) => None,
        })
    }

    /// The places in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        self.combine(other, |left, right| {
            let (left, right) = (left?, right?);
            Some(with(left, left.member && right.member, left.children.intersection(&right.children)))
        })
    }

    /// The places in this set that are not in the other. Places below one of the other's stay.
    #[must_use]
    pub fn difference(&self, other: &Set) -> Set {
        self.combine(other, |left, right| match (left?, right) {
            (left, None) => Some(left.clone()),
            (left, Some(right)) => {
                Some(with(left, left.member && !right.member, left.children.difference(&right.children)))
            }
        })
    }

    /// The places in this set that are neither in the other nor below a place of the other.
    #[must_use]
    pub fn recursive_difference(&self, other: &Set) -> Set {
        self.combine(other, |left, right| match (left?, right) {
            (left, None) => Some(left.clone()),
            (_, Some(right)) if right.member => None,
            (left, Some(right)) => Some(with(left, left.member, left.children.recursive_difference(&right.children))),
        })
    }

    /// The places that have no other place of the set below them.
    #[must_use]
    pub fn leaves(&self) -> Set {
        let nodes = self.nodes.iter().map(|node| with(node, node.children.is_empty(), node.children.leaves()));
        Self { nodes: nodes.collect() }
    }

    /// Adds the declared fields on the way to each place, as such a field is not listed by itself when something in it
    /// is. Entries of maps and items of lists are not added: being there is a statement of its own.
    #[must_use]
    pub fn with_declared_parents(&self, ty: &TypeRef) -> Set {
        self.with_declared_parents_in(ty.schema(), ty.id())
    }

    fn with_declared_parents_in(&self, schema: &Schema, id: TypeId) -> Set {
        let atom = schema.atom(id);
        let nodes = self.nodes.iter().map(|node| {
            if node.children.is_empty() {
                return node.clone();
            }
            let (declared, below) = match (&node.element, &atom.map, &atom.list) {
                (PathElement::Field(name), Some(map), _) => (map.fields.contains_key(&**name), map.type_of(name)),
                (PathElement::Key(_), _, Some(list)) => (false, list.element),
                _ => (false, TypeId::NOTHING),
            };
            with(node, node.member || declared, node.children.with_declared_parents_in(schema, below))
        });
        Self { nodes: nodes.collect() }
    }

    /// Calls `visit` for every place: at each level the places there first, then those below them.
    pub fn for_each(&self, mut visit: impl FnMut(&Path)) {
        fn walk(set: &Set, path: &mut Path, visit: &mut impl FnMut(&Path)) {
            for node in set.nodes.iter().filter(|node| node.member) {
                path.0.push(node.element.clone());
                visit(path);
                path.0.pop();
            }
            for node in &set.nodes {
                path.0.push(node.element.clone());
                walk(&node.children, path, visit);
                path.0.pop();
            }
        }
        walk(self, &mut Path::default(), &mut visit);
    }

    /// Every place, in the order of [`Set::for_each`].
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.for_each(|path| paths.push(path.clone()));
        paths
    }

    /// Walks both sets in step; `choose` gets what each has at one element and says what the result has there.
    fn combine(&self, other: &Set, choose: impl Fn(Option<&Node>, Option<&Node>) -> Option<Node>) -> Set {
        let (mut left, mut right) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        let mut nodes = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Self { nodes },
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => left.element.cmp(&right.element),
            };
            let left = if order.is_le() { left.next() } else { None };
            let right = if order.is_ge() { right.next() } else { None };
            nodes.extend(choose(left, right).filter(|node| !node.is_empty()));
        }
    }
}

fn with(node: &Node, member: bool, children: Set) -> Node {
    Node { element: node.element.clone(), member, children }
}

impl FromIterator<Path> for Set {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> Self {
        let mut set = Self::new();
        paths.into_iter().for_each(|path| set.insert(&path));
        set
    }
}

/// One place a line.
impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.paths().iter().map(Path::to_string).collect();
        f.write_str(&paths.join("\n"))
    }
}
