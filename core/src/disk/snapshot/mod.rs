//! Snapshots on disk (`FileSnap`).

pub(super) mod format;
pub(super) mod reader;
pub(super) mod trigger;
pub(super) mod writer;
