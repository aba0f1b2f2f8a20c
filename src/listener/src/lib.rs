//! HTTP over TLS for servers that strangers can reach: accepting, limits, time limits, graceful shutdown.
//!
//! ```text
//!  accept ─▶ handshake ──────▶ client certificate? ─ yes ─▶ at most `per_certificate` of one ──▶ requests ─▶ idle ─▶ closed
//!            at most           │                                                                             │
//!            `handshakes`      └─ no ─▶ at most `anonymous`, short idle time ────────────────────────────────┘
//! ```
//! A caller without a certificate cannot keep the others out: a full pool of handshakes or of anonymous connections closes
//! its oldest member for the newest. The API server and the agent's endpoint both listen through this crate.

mod activity;
mod connection;
mod limits;
mod pool;
mod serve;

pub use connection::Peer;
pub use limits::Limits;
pub use pool::Held;
pub use serve::serve;
