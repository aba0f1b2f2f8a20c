//! Disks: pools of volumes and images, the qcow2 format, and the sandbox in which `qemu-img` reads what tenants chose.
//!
//! ```text
//! pools ──▶ image ──▶ pool ──▶ qcow2
//!             └──▶ sandbox
//! ```

#[cfg(test)]
pub(crate) mod full_disk;
pub mod image;
pub mod name;
pub mod pool;
mod pools;
pub mod qcow2;
mod refused;
pub mod sandbox;

pub use name::{BadName, FileName};
pub use pool::{BackingImage, Claim, DirectoryPool, FileOwner, Mark, Records, Space, VolumeError, VolumeSeen, Volumes};
pub use pools::{DirectoryPools, Pool, PoolConfig, PoolSpec, Pools};
pub use refused::Refused;
