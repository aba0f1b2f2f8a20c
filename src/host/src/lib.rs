//! host

pub mod image;
pub mod libvirt;
pub mod network;
pub mod volume;
