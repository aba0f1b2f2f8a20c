//! What kube's own runtime leaves out: the machinery under every controller and agent.
//!
//! ```text
//!  API server ── one watch per kind ──▶ Shared<K> (cache, indexes) ── (old, new) ──▶ Queue<Key> ──▶ run(pass)
//!                                            ▲                                                        │
//!                                            └── get / list / by index, never a request ──────────────┤
//!                 apply_status · add_finalizer · live_get · Recorder   ◀── writes, only on difference ─┘
//! ```
//!
//! A pass has no input but its key: what changed only wakes it. Nothing here knows a kind.

mod chain;
mod conditions;
mod errors;
mod events;
mod finalizers;
mod key;
mod live;
mod measures;
mod patch;
mod queue;
mod run;
mod shared;
mod status;
mod status_debounce;
mod warn_once;

pub use chain::Chain;
pub use errors::{already_exists, conflict, conflicting, forbidden, not_found, refused};
pub use events::{Note, NoteKind, Recorder};
pub use finalizers::{add_finalizer, has_finalizer, remove_finalizer};
pub use key::Key;
pub use live::{Gone, Live, Marked, live_get};
pub use queue::Queue;
pub use run::{Loop, Next, PassError, Wait, run};
pub use shared::{Shared, SharedBuilder, Unreadable};
pub use status::{StatusWriter, apply_status, claim_status, status_differs};
pub use status_debounce::StatusDebounce;
pub use warn_once::WarnOnce;
