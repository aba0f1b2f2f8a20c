//! Who is asking, and what they may do.

pub(crate) mod authorize;
mod identity;

pub use identity::{ADMINS, HOSTS, Identity};
