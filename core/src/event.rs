//! Events: the input of the core.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use bytestring::ByteString;

use crate::types::{ConnId, ReadId, Ticket, Zxid};
use crate::wire::entries::Entry;

/// The kind of port that a connection belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Port {
    /// Clients and four-letter words.
    Client,
    /// Leader election (`QuorumCnxManager`).
    Election,
    /// Learners and their leader (`Leader`, `Learner`).
    Quorum,
}

/// One thing that happened outside the core. `S` is the state that a recovery of the disk hands
/// over: the znode store, or the state of another application.
#[derive(Debug)]
pub enum Event<S> {
    /// The time of the last `deadline` has come, or is past.
    Tick,
    /// Something happened to a connection.
    Net(NetEvent),
    /// The disk reports.
    Disk(DiskEvent<S>),
    /// The host measured the process and its machine, for four-letter words.
    Host(Box<HostStats>),
}

impl<S> From<NetEvent> for Event<S> {
    fn from(event: NetEvent) -> Event<S> {
        Event::Net(event)
    }
}

impl<S> From<DiskEvent<S>> for Event<S> {
    fn from(event: DiskEvent<S>) -> Event<S> {
        Event::Disk(event)
    }
}

/// Something that happened to one connection.
#[derive(Clone, Debug)]
pub enum NetEvent {
    /// A connection is established: accepted on `port`, or dialled by the core
    /// ([`ConnId::is_dialled`]).
    Opened {
        /// The name of the connection from here on.
        conn: ConnId,
        /// The local port that accepted it, or the remote one that was dialled.
        port: Port,
        /// The other side's address.
        peer: SocketAddr,
    },
    /// The client of a connection presented a certificate. Comes before its first bytes; does not
    /// come for a connection without a certificate.
    Identified {
        /// The client's connection.
        conn: ConnId,
        /// The certificate's subject as a distinguished name of RFC 2253, spelled as Java's
        /// `X500Principal.getName` does.
        subject: ByteString,
    },
    /// Bytes arrived, cut anywhere; the core does the framing.
    Received {
        /// The connection they arrived on.
        conn: ConnId,
        /// Never empty.
        bytes: Bytes,
    },
    /// Answers [`Action::AwaitWritable`](crate::action::Action::AwaitWritable).
    Writable {
        /// The connection whose backlog is small now.
        conn: ConnId,
    },
    /// The connection is gone, or a dial failed. Not sent for a connection that the core itself
    /// closed.
    Closed {
        /// The connection that is gone.
        conn: ConnId,
    },
}

/// A report of the disk.
#[derive(Debug)]
pub enum DiskEvent<S> {
    /// Everything ticketed up to here is durable.
    Persisted {
        /// The highest durable ticket.
        upto: Ticket,
    },
    /// An answer to [`DiskAction::ReadLog`](crate::action::DiskAction::ReadLog).
    LogRead(LogBatch),
    /// The disk took a snapshot chunk and is ready for the next.
    SnapshotReady,
    /// A recovery makes progress: for `srvr` and the log.
    Recovering(Progress),
    /// The data directory is loaded: at start, and again after a truncation.
    Recovered(Box<Recovered<S>>),
    /// The disk can no longer be trusted with new writes.
    Failed(DiskFault),
}

/// A part of the answer to one [`DiskAction::ReadLog`](crate::action::DiskAction::ReadLog).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogBatch {
    /// The id of the read.
    pub read: ReadId,
    /// Entries in log order.
    pub entries: Vec<Entry>,
    /// Whether more batches follow.
    pub end: LogEnd,
}

/// Figures of the process and its machine that four-letter words report.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HostStats {
    /// Bytes of the snapshots.
    pub data_dir_bytes: u64,
    /// Bytes of the logs.
    pub data_log_dir_bytes: u64,
    /// Open file descriptors of the process; none if the system does not report them.
    pub open_files: Option<u64>,
    /// The limit of open file descriptors.
    pub max_files: Option<u64>,
    /// Lines of the process's log that could not be written.
    pub log_lines_dropped: u64,
    /// Names and values for `envi`, in the order of its output.
    pub environment: Vec<(String, String)>,
}

/// How a read of the log ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogEnd {
    /// A further batch follows.
    More,
    /// This was the last batch of the requested range.
    Complete,
    /// The log does not reach back to the requested zxid, or cannot be used: the learner needs a
    /// snapshot.
    Unusable,
}

/// The progress of a recovery.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// Bytes of snapshot and log read so far.
    pub bytes_done: u64,
    /// Bytes of snapshot and log in all.
    pub bytes_total: u64,
    /// Znodes and transactions loaded so far.
    pub entries: u64,
}

/// The content of a data directory.
#[derive(Debug)]
pub struct Recovered<S> {
    /// The ticket of the truncation that this answers; 0 at start.
    pub ticket: Ticket,
    /// The state after snapshot and log.
    pub state: S,
    /// The last zxid of the state; [`Zxid::UNTRUSTED`] if the database is empty and must not vote.
    pub last_zxid: Zxid,
    /// The newest transactions, at most `commitLogCount`, oldest first and without gaps up to
    /// `last_zxid`: a leader sends them to learners as a DIFF.
    pub tail: Vec<Entry>,
    /// `currentEpoch`.
    pub current_epoch: i64,
    /// `acceptedEpoch`.
    pub accepted_epoch: i64,
    /// Bytes of the newest valid snapshot, for the `snapshotSizeFactor` rule.
    pub snapshot_bytes: u64,
}

/// The reason why the disk has stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskFault {
    /// Operation, file, cause and remedy, for the log and the exit message.
    pub what: String,
    /// The exit code of the process, as ZooKeeper's `ExitCode`.
    pub exit_code: i32,
}
