//! The controllers against our own API server, where every call they make can be seen, counted and overtaken.

#![allow(clippy::unwrap_used)]

mod claims;
mod cloud;
mod deletion;
mod ranges;
mod requests;
mod unreadable;
