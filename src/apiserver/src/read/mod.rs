//! Reading: one object, a list, a watch; in the form that the client wants.

pub(crate) mod form;
mod get;
pub(crate) mod list;
mod revision;
pub(crate) mod select;
mod token;
mod watch;

pub(crate) use get::get;
pub(crate) use list::list;
pub(crate) use watch::watch;
