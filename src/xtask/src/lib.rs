//! The project's own tool: everything that is done to the repository, or with it on a development machine, and that
//! is not the product itself. `cargo xtask --help` lists it. It is a library too, so that the end-to-end stories can
//! make images and start real peers without going through a shell.
//!
//! It depends on little, because it is the first thing that a fresh machine compiles.

#[cfg(feature = "bench")]
pub mod bench;
pub mod command;
pub mod conformance;
pub mod crds;
pub mod detached;
pub mod image;
pub mod kubernetes;
pub mod measure;
pub mod packages;
pub mod peers;
pub mod stories;
pub mod test;
pub mod tidy;
pub mod up;
pub mod workspace;
