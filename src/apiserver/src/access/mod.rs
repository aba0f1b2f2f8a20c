//! Who is asking, and what they may do.

pub(crate) mod authorize;
mod identity;
pub(crate) mod review;
pub(crate) mod status;

pub use identity::{ADMINS, HOSTS, Identity};
