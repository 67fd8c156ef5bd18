//! The pure core of zabkeeper.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod action;
pub mod admin;
pub mod client;
pub mod config;
pub mod disk;
pub mod election;
pub mod event;
pub mod node;
pub mod prep;
pub mod quorum;
pub mod serve;
pub mod store;
pub mod types;
pub mod wire;
pub mod zab;
