//! The bodies of the fuzz targets, as plain functions: each takes any bytes, and panics only if
//! it has found a bug. cargo-fuzz calls them through `fuzz/cargo-fuzz`; `tests/corpus.rs` runs
//! them on the corpora and on mutations of these.

mod client;
mod config;
mod friend;
mod journal;
mod quorum;
mod ring;
mod schedule;
mod stateful;
mod storage;

pub use client::{client_frames, client_records, client_replies, four_letter_words};
pub use config::zoo_cfg;
pub use journal::journal;
pub use quorum::{election_frames, quorum_follower, quorum_leader, quorum_looking, quorum_packets};
pub use schedule::schedule;
pub use stateful::node_events;
pub use storage::{epoch_files, log_file, snapshot_file};

/// A target's body.
pub type Target = fn(&[u8]);

/// All targets by name, which is that of their corpus too.
pub const TARGETS: &[(&str, Target)] = &[
    ("client_frames", client_frames),
    ("client_records", client_records),
    ("client_replies", client_replies),
    ("election_frames", election_frames),
    ("epoch_files", epoch_files),
    ("four_letter_words", four_letter_words),
    ("journal", journal),
    ("log_file", log_file),
    ("node_events", node_events),
    ("quorum_follower", quorum_follower),
    ("quorum_leader", quorum_leader),
    ("quorum_looking", quorum_looking),
    ("quorum_packets", quorum_packets),
    ("schedule", schedule),
    ("snapshot_file", snapshot_file),
    ("zoo_cfg", zoo_cfg),
];
