//! The qcow2 format: its header read without trusting it, and the smallest file of it written.

pub mod header;
pub(crate) mod write;

pub use header::Header;
