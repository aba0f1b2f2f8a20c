//! Places in an object, and sets of them.
//!
//! A [`Path`] leads from the root to one place; a [`Set`] is a tree of such places and is what a manager owns. Sets are
//! stored in `fieldsV1` as JSON (see [`codec`]) and printed in conflicts as `.spec.disks[name="root"].size`.

mod codec;
mod element;
mod filter;
mod json_order;
mod number;
mod path;
mod set;

pub use codec::FieldsError;
pub use element::{Keys, PathElement};
pub use filter::{Filter, Pattern};
pub use json_order::{compare, equal};
pub use path::Path;
pub(crate) use set::Node;
pub use set::Set;
