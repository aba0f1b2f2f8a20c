//! Why the bytes of a file cannot be used as a disk.

/// Why a file cannot become an image. Trying the same bytes again cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is empty")]
    Empty,
    #[error("it is {0}")]
    NotADisk(&'static str),
    #[error("it is neither qcow2 nor a raw disk: {0} bytes is not a multiple of 512")]
    NotSectors(u64),
    #[error("it ends within its header")]
    Truncated,
    #[error("it is cut short: it has {length} bytes, and its tables name data up to byte {needed}")]
    Short { needed: u64, length: u64 },
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it is qcow version {0}; versions 2 and 3 are read here")]
    QcowVersion(u32),
    #[error("its header has {0}")]
    Malformed(&'static str),
    #[error("it names a backing file, {0:?}; an image has to be complete: flatten it with `qemu-img convert`")]
    BackingFile(String),
    #[error("it keeps its data in another file; an image has to be complete: flatten it with `qemu-img convert`")]
    DataFile,
    #[error("it is encrypted")]
    Encrypted,
    #[error("it needs features unknown here (bits {0:#x})")]
    UnknownFeatures(u64),
    #[error("it is marked as corrupt")]
    MarkedCorrupt,
    #[error("it holds {0} internal snapshots; flatten it with `qemu-img convert`")]
    InternalSnapshots(u32),
    #[error("it is compressed in a way unknown here (type {0})")]
    Compression(u8),
    #[error("its disk of {size} bytes is larger than the {limit} bytes allowed on this host")]
    TooLarge { size: u64, limit: u64 },
}
