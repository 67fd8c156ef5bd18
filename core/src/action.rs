//! Actions: the output of the core. Every action may be executed the moment it is emitted. Within
//! a lane (one connection, or the disk) order is kept; between lanes there is none.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::event::Port;
use crate::types::{ConnId, Epoch, HostPort, ReadId, Ticket, Zxid};
use crate::wire::PeerError;
use crate::wire::entries::Entries;

/// The buffer that a step appends its actions to.
pub type Actions = Vec<Action>;

/// One action for the host to execute.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Action {
    /// Dial a member at this port. The host resolves the name at every dial, and answers with
    /// `Opened` or `Closed` for the connection id, which the core has chosen.
    Dial { conn: ConnId, port: Port, to: HostPort },
    /// Write bytes to a connection. Several sends in one turn may be one write.
    Send { conn: ConnId, bytes: Bytes },
    /// Close a connection after the bytes sent before are written, or after a limit of the host's.
    /// No `Closed` follows. The reason is for the log.
    Close { conn: ConnId, why: Reason },
    /// Stop reading from a connection: its peer sends faster than the core works.
    Pause { conn: ConnId },
    /// Read from a paused connection again.
    Resume { conn: ConnId },
    /// Report `Writable` once the send queue of the connection is below the low mark, at once if
    /// it is.
    AwaitWritable { conn: ConnId },
    /// Listen at these addresses, and no others, for one kind of port. A wildcard stands for every
    /// address. Open connections stay.
    Listen { port: Port, at: Arc<[HostPort]> },
    /// An action of the disk's lane.
    Disk(DiskAction),
    /// Stop the process: an invariant is broken, or the disk cannot be trusted.
    Halt(Fault),
}

const _: () = assert!(size_of::<Action>() <= 64);

/// One action of the disk's lane. [`Disk`](crate::disk::Disk) executes them in order.
///
/// A ticket names a durable write: [`Persisted`](crate::event::DiskEvent::Persisted) reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum DiskAction {
    /// Append entries to the log.
    Append { ticket: Ticket, entries: Entries },
    /// Cut the log after `after`, the last zxid to keep, delete newer snapshots, and load again.
    /// Answered by `Recovered`.
    Truncate { ticket: Ticket, after: Zxid },
    /// Replace the content of an epoch file atomically.
    SaveEpoch { ticket: Ticket, file: EpochFile, epoch: Epoch },
    /// Write a configuration of the ensemble beside `zoo.cfg`.
    SaveConfig { ticket: Ticket, save: Box<ConfigSave> },
    /// Begin the snapshot `snapshot.<zxid>` and a new log file. `zxid` is the last one applied
    /// before the snapshot began. A snapshot `from_leader` replaces the history: it is written
    /// under another name, synced and renamed, and the log before it no longer counts.
    SnapshotBegin { zxid: Zxid, from_leader: bool },
    /// The next bytes of the snapshot's body: sessions, ACLs and znodes, without header, seals and
    /// tail. Answered by `SnapshotReady`.
    SnapshotChunk { bytes: Bytes },
    /// End the snapshot: the disk adds its seals, and the state when the walk ended: the digest of
    /// the tree with its zxid, and the last applied zxid (the tail of ZooKeeper 3.9's snapshots).
    SnapshotEnd { ticket: Ticket, digest: Option<(Zxid, u64)>, last_zxid: Zxid },
    /// Delete the unfinished snapshot: the leader's stream has ended early.
    SnapshotAbort,
    /// Read committed entries for a DIFF, `from` and `upto` inclusive, and answer with batches of
    /// this read id. The log has to reach back to an entry at or before `from`, the learner's last
    /// zxid. A log of more than `max_bytes` from there on is not read (`snapshotSizeFactor`).
    ReadLog { read: ReadId, from: Zxid, upto: Zxid, max_bytes: u64 },
    /// End a read: no more of its entries are needed.
    CancelRead { read: ReadId },
}

impl DiskAction {
    /// The ticket of a durable write. Tickets grow along the lane: one `Persisted` reports all of
    /// them up to its own.
    pub fn ticket(&self) -> Option<Ticket> {
        match self {
            DiskAction::Append { ticket, .. }
            | DiskAction::Truncate { ticket, .. }
            | DiskAction::SaveEpoch { ticket, .. }
            | DiskAction::SaveConfig { ticket, .. }
            | DiskAction::SnapshotEnd { ticket, .. } => Some(*ticket),
            DiskAction::SnapshotBegin { .. }
            | DiskAction::SnapshotChunk { .. }
            | DiskAction::SnapshotAbort
            | DiskAction::ReadLog { .. }
            | DiskAction::CancelRead { .. } => None,
        }
    }
}

/// A configuration for the disk to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigSave {
    /// The proposed configuration: `zoo.cfg.dynamic.next`, with a version line.
    Next {
        /// The file's content.
        text: String,
    },
    /// The committed configuration: `zoo.cfg.dynamic.<version>`, to which `zoo.cfg` then refers.
    Current {
        /// The end of the file's name.
        version: i64,
        /// The file's content.
        text: String,
        /// The file holds this server's client address: it is removed from `zoo.cfg`.
        erases_client: bool,
        /// A newer configuration is proposed: `zoo.cfg.dynamic.next` stays.
        keeps_next: bool,
    },
}

/// The two epoch files of a data directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochFile {
    /// `acceptedEpoch`: the last epoch that this server has promised to a leader.
    Accepted,
    /// `currentEpoch`: the last epoch whose history is durable on this server.
    Current,
}

/// Why a connection is closed, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The ordinary end: a closed session, an answered four-letter word, a lost tie-break.
    Done,
    /// It broke the protocol: logged once, with what was wrong.
    Protocol(&'static str),
    /// A server broke the protocol of the quorum port, or its state does not fit.
    Peer(PeerError),
    /// The peer was too slow, or silent for too long.
    Timeout(&'static str),
    /// The role of this server has changed, or it does not serve.
    NotServing,
    /// A newer connection has replaced it.
    Replaced,
    /// A limit of the configuration is reached.
    Limit(&'static str),
    /// The peer announced a longer frame or field than the limit allows.
    TooLong {
        /// The kind of frame or field.
        what: &'static str,
        /// Its length, bytes.
        length: i32,
        /// The limit, bytes.
        limit: usize,
    },
}

/// The reason to stop the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The cause and the remedy, for the log and the exit message.
    pub what: FaultText,
    /// The process exit code.
    pub exit_code: i32,
}

/// A boxed message, which keeps an action small.
pub type FaultText = alloc::boxed::Box<String>;
