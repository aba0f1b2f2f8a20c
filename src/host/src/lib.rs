//! host

pub mod acceleration;
pub mod image;
pub mod libvirt;
pub mod network;
pub mod qemu;
pub mod seed;
pub mod volume;
