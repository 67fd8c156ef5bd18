//! The pure core of zabkeeper.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
