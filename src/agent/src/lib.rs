//! One host's agent: makes what is bound to this host true, and reports what it saw.
//!
//! ```text
//!  Kubernetes API ── watches: status.host = me ──▶ image · volume · network · server ──▶ the machine (host, netd)
//!                 ◀── status: what was seen ──────┘
//! ```
//! It needs no control plane to keep servers running: it may be restarted, replaced or cut off, and no guest notices.
//! Nothing is ever destroyed for want of an object; see `nubium_runtime::Marked`.

mod config;
mod driver;
pub mod endpoint;
mod error;
mod host;
pub mod image;
mod measures;
pub mod network;
mod pool;
mod presence;
mod purge;
mod run;
pub mod server;
mod start;
mod stranger;
mod teardown;
pub mod volume;
mod writer;

pub use config::{Config, EndpointConfig};
pub use driver::{Driver, Facts};
pub use error::AgentError;
pub use run::{run, run_on};
pub use server::StartupReports;
pub use start::{Start, begin};
pub use stranger::{Guest, Guests, StrangerError, end as end_guest, guests, without_object};
pub use teardown::{Down, DownError, down};
