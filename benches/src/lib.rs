//! What the benches share: an ensemble in memory, with disks that are durable at once.

pub mod memory;
