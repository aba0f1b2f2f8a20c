//! agent
pub mod image;
pub mod network;
pub mod server;
pub mod volume;
