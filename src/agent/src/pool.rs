//! A StoragePool as this host opens it, and why it does not.

use std::path::PathBuf;

use kube::ResourceExt;
use nubium_api::StoragePool;
use nubium_host::storage::{PoolConfig, PoolSpec, VolumeError};

/// The pool that an object asks for.
pub(crate) fn spec(pool: &StoragePool) -> PoolSpec {
    let folder = pool.spec.directory.path.clone().map(PathBuf::from);
    PoolSpec { name: pool.name_any(), uid: pool.uid().unwrap_or_default(), config: PoolConfig::Directory { folder } }
}

/// One word for what is wrong with a pool; `None` when the error is not the pool's.
pub(crate) fn reason(error: &VolumeError) -> Option<&'static str> {
    Some(match error {
        VolumeError::NoSpace { .. } => "NoSpace",
        VolumeError::NotMounted { .. } => "PoolNotMounted",
        VolumeError::NotAllowed { .. } => "PoolNotAllowed",
        VolumeError::Link { .. }
        | VolumeError::NotEmpty { .. }
        | VolumeError::OtherPool { .. }
        | VolumeError::Inside { .. }
        | VolumeError::FolderMode { .. } => "PoolRefused",
        VolumeError::Taken { .. } | VolumeError::Slow { .. } | VolumeError::File { .. } => "PoolFailed",
        _ => return None,
    })
}
