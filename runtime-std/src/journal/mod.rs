//! The journal of a process (`--record`): every event that enters the node, and a digest of every
//! answer, for a replay.
//!
//! The node's thread encodes events and digests into a buffer, and never waits for the disk; a
//! thread of its own writes the buffer to segment files. If the disk is too slow or fails, the
//! recording ends with a note in the journal and a line in the log, and the server continues. The
//! journal is not synced: it survives a crash of the process, not one of the machine.

mod segments;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;

pub use self::writer::JournalWriter;

/// Where to write the journal, and its limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalOptions {
    /// The journal's name: its segments are `JOURNAL.000001`, `JOURNAL.000002`, ...
    pub journal: PathBuf,
    /// About how many bytes all segments together take. The oldest segments are removed first,
    /// including those of earlier runs.
    pub limit_bytes: u64,
}
