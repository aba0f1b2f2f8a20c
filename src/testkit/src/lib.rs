//! testkit

pub mod domains;
pub mod images;
pub mod volumes;
