//! Who is asking, and what they may do: [`Authorizer`] decides by the request's path, [`Admission`] by the change.

mod admission;
mod authorize;
mod bounds;
mod identity;
mod policy;
pub(crate) mod review;
mod status;

pub(crate) use admission::{Admission, ChangeRequest};
pub(crate) use authorize::{Action, Authorizer, HostRoles, check, check_page};
pub(crate) use bounds::HostBounds;
pub(crate) use status::HostStatus;

pub use identity::{ADMINS, HOSTS, Identity};
pub use policy::{Part, Policy, Rule};
