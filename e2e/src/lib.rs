//! Stories of people who use Nubium, against a running cloud with real guests and real clients.
//!
//! A story reads as prose and looks only at what a user sees: objects, ssh, consoles, and the machine's own tools. The
//! whole run lives in network, mount and process namespaces of its own, so that it can break what it likes and leaves
//! nothing behind.

pub mod cloud;
pub mod command;
pub mod dice;
pub mod forward;
pub mod json;
pub mod machine;
pub mod processes;
pub mod programs;
pub mod shape;
pub mod space;
pub mod wait;
pub mod watch;
pub mod web;
