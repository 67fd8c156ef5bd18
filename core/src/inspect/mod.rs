//! Reports about a log, a snapshot or a data directory, for operators: before they start a server,
//! or after it refused to start (`TxnLogToolkit`, `SnapshotFormatter`,
//! `SnapshotComparer`).
//!
//! It reads with the server's own code. The caller provides a function that lists and reads files;
//! no other operation is ever requested. A recovery is tried out over an
//! overlay that keeps what it would change.
//!
//! Findings come one by one as [`Finding`]s, so that a long log takes no memory: each is one JSON
//! object (`Serialize`) or a few lines of text (`Display`).

mod difference;
mod directory;
mod log;
mod log_difference;
mod overlay;
mod snapshot;
mod subtree;
#[cfg(test)]
mod tests;
mod text;
mod transaction;
mod znode;

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Display};
use core::ops::ControlFlow;

use bytes::Bytes;
use serde::Serialize;

pub use difference::{Compared, Difference};
pub use directory::{Directory, FileNote, OtherFile, Recovery};
pub use log::{Break, LogSummary};
pub use log_difference::LogDifference;
pub use overlay::WouldChange;
pub use snapshot::{DigestFinding, SnapshotSummary};
pub use subtree::Subtree;
pub use transaction::{Change, Transaction};
pub use znode::{SessionLine, Znode};

use crate::disk::{
    Completion, Compression, DiskError, FailureKind, FileOp, FilePath, IS_LOG, IS_SNAPSHOT, Io,
    Named, STORABLE_BYTES,
};
use crate::types::Zxid;

/// The kind of report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Transactions before this are not listed.
    pub from: Zxid,
    /// Transactions after this are not listed.
    pub to: Zxid,
    /// List transactions.
    pub transactions: bool,
    /// List sessions and znodes.
    pub znodes: bool,
    /// With their data.
    pub data: bool,
    /// Sum up sizes.
    pub sums: bool,
    /// Sizes are summed up for subtrees down to this depth below `subtree`.
    pub depth: usize,
    /// Only znodes here and below are listed and summed up.
    pub subtree: String,
    /// Most bytes of a record, as [`DiskOptions`](crate::disk::DiskOptions) has it.
    pub max_record_bytes: usize,
    /// Snapshots that a purge would keep.
    pub retain: usize,
    /// Whether a server would be a member of an ensemble; `None`: as the files look.
    pub ensemble: Option<bool>,
    /// `snapshot.trust.empty`.
    pub trust_empty: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            from: Zxid(i64::MIN),
            to: Zxid(i64::MAX),
            transactions: true,
            znodes: false,
            data: false,
            sums: true,
            depth: 1,
            subtree: String::from("/"),
            max_record_bytes: STORABLE_BYTES,
            retain: 3,
            ensemble: None,
            trust_empty: false,
        }
    }
}

/// One finding.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Finding {
    /// A transaction of a log.
    Transaction(Transaction),
    /// A place in a log where no transaction is.
    Break(Break),
    /// The end of a log.
    Log(LogSummary),
    /// A session.
    Session(SessionLine),
    /// A znode.
    Znode(Znode),
    /// The sum over a subtree.
    Subtree(Subtree),
    /// The end of a snapshot.
    Snapshot(SnapshotSummary),
    /// A file of a data directory that is neither.
    File(OtherFile),
    /// A data directory as a whole.
    Directory(Directory),
    /// Something that differs between two states.
    Difference(Difference),
    /// Where two logs differ first.
    LogDifference(LogDifference),
    /// The result of a comparison.
    Compared(Compared),
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Transaction(line) => line.fmt(f),
            Finding::Break(line) => line.fmt(f),
            Finding::Log(line) => line.fmt(f),
            Finding::Session(line) => line.fmt(f),
            Finding::Znode(line) => line.fmt(f),
            Finding::Subtree(line) => line.fmt(f),
            Finding::Snapshot(line) => line.fmt(f),
            Finding::File(line) => line.fmt(f),
            Finding::Directory(line) => line.fmt(f),
            Finding::Difference(line) => line.fmt(f),
            Finding::LogDifference(line) => line.fmt(f),
            Finding::Compared(line) => line.fmt(f),
        }
    }
}

/// Takes findings; may have had enough.
pub type FindingSink<'a> = dyn FnMut(&Finding) -> ControlFlow<()> + 'a;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InspectError {
    /// The sink has had enough.
    #[error("stopped")]
    Stopped,
    /// A file cannot be read, or is of no known kind.
    #[error("{0}")]
    Failed(String),
}

impl From<DiskError> for InspectError {
    fn from(error: DiskError) -> InspectError {
        match error {
            DiskError::Io { verb, path, kind: FailureKind::NotFound, .. } => {
                InspectError::Failed(format!("cannot {verb} {path}: no such file or directory"))
            }
            DiskError::Io { verb, path, text, .. } => {
                InspectError::Failed(format!("cannot {verb} {path}: {text}"))
            }
            DiskError::Refused { what, .. } => InspectError::Failed(what),
        }
    }
}

fn emit(sink: &mut FindingSink<'_>, line: Finding) -> Result<(), InspectError> {
    match sink(&line) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(InspectError::Stopped),
    }
}

/// A file that can be inspected.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Target {
    pub path: FilePath,
    /// How long.
    pub len: u64,
}

/// The kind of a file, by its first bytes; by its name, if they are too few.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Log(Zxid),
    Snapshot(Zxid, Compression),
}

/// Executes what only reads.
pub trait Execute: FnMut(&FileOp) -> Completion {}
impl<F: FnMut(&FileOp) -> Completion> Execute for F {}

/// A log or a snapshot. Whether it is sound.
///
/// # Errors
/// It cannot be read, it is neither, or the sink has had enough.
pub fn file(
    execute: &mut impl Execute,
    target: &Target,
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<bool, InspectError> {
    match kind_of(execute, target)? {
        Kind::Log(zxid) => {
            let file = log::file_of(target, zxid);
            let io = Io::default();
            let summary = io.run(log::inspect(&io, file, options, sink), execute)?;
            let is_sound = summary.is_sound();
            emit(sink, Finding::Log(summary))?;
            Ok(is_sound)
        }
        Kind::Snapshot(zxid, compression) => {
            let file = snapshot::file_of(target, zxid, compression);
            let io = Io::default();
            let summary = io.run(snapshot::inspect(&io, &file, options, sink), execute)?;
            let is_sound = summary.is_sound();
            emit(sink, Finding::Snapshot(summary))?;
            Ok(is_sound)
        }
    }
}

/// A data directory, and what a server would do with it. Whether it would start.
///
/// # Errors
/// It cannot be read, or the sink has had enough.
pub fn directory(
    execute: &mut impl Execute,
    data_dir: &str,
    log_dir: &str,
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<bool, InspectError> {
    directory::inspect(execute, data_dir, log_dir, options, sink)
}

/// Two logs or two snapshots. Whether they are the same.
///
/// # Errors
/// One cannot be read, they are of different kinds, or the sink has had enough.
pub fn compare_files(
    execute: &mut impl Execute,
    targets: [&Target; 2],
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<bool, InspectError> {
    let [a, b] = targets;
    match (kind_of(execute, a)?, kind_of(execute, b)?) {
        (Kind::Log(za), Kind::Log(zb)) => {
            let files = [(a, za), (b, zb)].map(|(t, z)| alloc::vec![log::file_of(t, z)]);
            let io = Io::default();
            io.run(log_difference::compare(&io, files, options, sink), execute)
        }
        (Kind::Snapshot(za, ca), Kind::Snapshot(zb, cb)) => {
            let a = snapshot::load(execute, &snapshot::file_of(a, za, ca), options)?;
            let b = snapshot::load(execute, &snapshot::file_of(b, zb, cb), options)?;
            difference::compare([&a, &b], sink)
        }
        (Kind::Log(_), Kind::Snapshot(..)) | (Kind::Snapshot(..), Kind::Log(_)) => {
            let what = format!("{} and {} are a log and a snapshot", a.path, b.path);
            Err(InspectError::Failed(what))
        }
    }
}

/// Two data directories, each with its log directory. Whether servers that start in them are in
/// the same state.
///
/// # Errors
/// A server would not start in one of them, it cannot be read, or the sink has had enough.
pub fn compare_directories(
    execute: &mut impl Execute,
    dirs: [(&str, &str); 2],
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<bool, InspectError> {
    directory::compare(execute, dirs, options, sink)
}

fn kind_of(execute: &mut impl Execute, target: &Target) -> Result<Kind, InspectError> {
    let io = Io::default();
    let first: Bytes = io.run(io.read(&target.path, 0, 16), execute)?;
    let name = target.path.rsplit('/').next().unwrap_or_default();
    let named = Named::parse(name.strip_prefix("tmp.").unwrap_or(name));
    let zxid = match named {
        Named::Log(zxid) | Named::Snapshot(zxid, _) | Named::Installing(zxid, _) => zxid,
        Named::UnfinishedSnapshot | Named::Other => Zxid::ZERO,
    };
    if first.starts_with(IS_LOG) {
        return Ok(Kind::Log(zxid));
    }
    if first.starts_with(IS_SNAPSHOT) {
        return Ok(Kind::Snapshot(zxid, Compression::None));
    }
    for compression in [Compression::Gzip, Compression::Snappy] {
        if first.starts_with(compression.magic()) {
            return Ok(Kind::Snapshot(zxid, compression));
        }
    }
    match named {
        Named::Log(zxid) => Ok(Kind::Log(zxid)),
        Named::Snapshot(zxid, compression) | Named::Installing(zxid, compression) => {
            Ok(Kind::Snapshot(zxid, compression))
        }
        Named::UnfinishedSnapshot | Named::Other => Err(InspectError::Failed(format!(
            "{} is neither a log nor a snapshot: it begins as neither of them",
            target.path
        ))),
    }
}
