//! The Kubernetes API over a store and schemas. Kinds are data.
//!
//! ```text
//!            TLS, HTTP/1.1 and 2 ─┐
//!  callers in this process ───────┴▶ router ▶ target, options ▶ authorizer ▶ kind ─▶ read  (get, list, watch; tables)
//!                                                                 ▲              └▶ write (create, update, patch, delete)
//!                                    registry ── definitions ─────┘                     │ mutate, own, prepare, validate,
//!                                                                                       ▼ admit, commit
//!  background: garbage, namespaces, definitions, old events ◀── watch ──────────────── store
//! ```
//! It knows none of Nubium's kinds: those come as CustomResourceDefinitions, like any user's. The built-in kinds are
//! described in `data/`. What is not there answers as Kubernetes does.

mod access;
mod background;
mod call;
mod computations;
mod discovery;
mod failure;
mod http;
mod kind;
mod metrics;
mod object;
mod openapi;
mod pages;
mod protobuf;
mod read;
mod router;
mod server;
mod state;
mod trace;
mod write;

pub use access::{ADMINS, HOSTS, Identity, Part, Policy, Rule};
pub use failure::{Failure, Subject};
pub use http::body::{Body, BoxError};
pub use http::pki::{Authority, Pair, PkiError};
pub use http::service::RouterService;
pub use server::{ApiServer, StartError};
pub use state::{Config, FieldWarning};
