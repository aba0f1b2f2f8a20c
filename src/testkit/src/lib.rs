//! What tests and benches share: a host without libvirt, kernel or disk, whose rules are those of the real one, and a few
//! objects behind a client.
//!
//! `benches/control_plane` runs a whole cloud over it, real but for the host.

pub mod domains;
pub mod network;
pub mod objects;
pub mod seeds;
pub mod storage;
