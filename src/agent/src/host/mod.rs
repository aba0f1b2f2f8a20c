//! This host's own objects: its Host, what it reports there, and the Lease that is its heartbeat.

mod facts;
mod heartbeat;
mod leftovers;
mod pressure;
mod report;
mod reporter;

pub use facts::{capacity, software};
pub use heartbeat::{beat, release};
pub use report::not_working;
pub use reporter::Reporter;
