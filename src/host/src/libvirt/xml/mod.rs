//! Domain XML: written from plain values into what a guest has, and read back as facts.

mod facts;
mod merge;
mod spec;
#[cfg(test)]
mod tests;
mod tree;

pub use facts::{DiskFacts, Facts, NicFacts};
pub use merge::merge;
pub use spec::{Accelerator, DiskFile, DiskFormat, DiskSpec, DomainSpec, NicSpec, QemuIds, Slot, alias};
pub use tree::{Element, XmlError};
