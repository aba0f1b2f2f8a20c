//! testkit

pub mod domains;
pub mod images;
pub mod objects;
pub mod volumes;
