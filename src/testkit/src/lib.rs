//! testkit

pub mod domains;
pub mod images;
pub mod network;
pub mod objects;
pub mod volumes;
