//! The qcow2 format: its header and tables read without trusting them, and the smallest file of it written.

pub mod header;
pub(crate) mod tables;
pub(crate) mod write;

pub use header::Header;
