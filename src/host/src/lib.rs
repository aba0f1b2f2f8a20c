//! The machine that servers run on: libvirt, the kernel's networks, disks. Knows no kind of the API and no policy.

pub mod acceleration;
pub mod clock;
pub mod libvirt;
pub mod network;
pub mod qemu;
pub mod seed;
pub mod storage;
