//! The controllers against a real kube-apiserver, with a stand-in for the host's agent. Every story has a namespace of
//! its own; they share the API server, the controllers and the host.

#![allow(clippy::unwrap_used)]

mod agent;
mod apiserver;
mod cloud;
mod stories;
