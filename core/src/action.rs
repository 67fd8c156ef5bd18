//! What the core asks for. Every action may be executed the moment it is emitted; within a
//! lane (one connection, the disk) order is kept; between lanes there is none.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::event::Port;
use crate::types::{ConnId, Epoch, HostPort, ReadId, Ticket, Zxid};
use crate::wire::entries::Entries;

/// The reused buffer that a step fills.
pub type Actions = Vec<Action>;

/// One thing to do outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Connect; answered by `Opened` or `Closed` with this `conn`.
    Dial {
        /// Chosen by the core.
        conn: ConnId,
        /// The kind of port that is dialled.
        port: Port,
        /// Resolved anew each time.
        to: HostPort,
    },
    /// Write these bytes.
    Send {
        /// Where.
        conn: ConnId,
        /// What; several sends to one connection are one write.
        bytes: Bytes,
    },
    /// Close after what was sent before is written (bounded by the host). No `Closed` follows.
    Close {
        /// Which.
        conn: ConnId,
        /// For the log.
        why: Reason,
    },
    /// Stop reading from whoever floods us.
    Pause {
        /// Which.
        conn: ConnId,
    },
    /// Read again.
    Resume {
        /// Which.
        conn: ConnId,
    },
    /// Say `Writable` once this connection's backlog is below the low mark (at once if it is).
    AwaitWritable {
        /// Which.
        conn: ConnId,
    },
    /// Listen at these addresses and no others for this kind of port: the configuration has
    /// changed. Connections that are open stay. A wildcard means every address.
    Listen {
        /// What for.
        port: Port,
        /// Where.
        at: Arc<[HostPort]>,
    },
    /// The disk's lane.
    Disk(DiskAction),
    /// Stop the process: our own impossibility, or a disk that cannot be trusted.
    Halt(Fault),
}

const _: () = assert!(size_of::<Action>() <= 64);

/// One action of the disk's lane, executed in order by [`crate::disk`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskAction {
    /// Append to the log; durable when `Persisted` reaches the ticket.
    Append {
        /// Names this write.
        ticket: Ticket,
        /// What.
        entries: Entries,
    },
    /// Cut the log after this zxid, drop newer snapshots, reload; answered by `Recovered`.
    Truncate {
        /// Names this write.
        ticket: Ticket,
        /// The last zxid to keep.
        after: Zxid,
    },
    /// Replace an epoch file atomically.
    SaveEpoch {
        /// Names this write.
        ticket: Ticket,
        /// Which file.
        file: EpochFile,
        /// Its new content.
        epoch: Epoch,
    },
    /// Write the ensemble's configuration beside `zoo.cfg`.
    SaveConfig {
        /// Names this write.
        ticket: Ticket,
        /// What, and as which file.
        save: Box<ConfigSave>,
    },
    /// A snapshot begins: rolls the log, opens `snapshot.<zxid>`. Chunks follow.
    SnapshotBegin {
        /// The zxid in its name: the last one applied before it began.
        zxid: Zxid,
        /// Received from a leader: written aside, fsynced and renamed, and the log before it
        /// no longer counts.
        from_leader: bool,
    },
    /// The next bytes of the snapshot's body; answered by `SnapshotReady`.
    SnapshotChunk {
        /// Sessions, ACLs and nodes, without header, seals and tail.
        bytes: Bytes,
    },
    /// The snapshot's body is complete; the disk adds seals, digest and last zxid.
    SnapshotEnd {
        /// Durable (if `from_leader`) when `Persisted` reaches it.
        ticket: Ticket,
        /// The digest section: zxid and tree digest when the walk ended.
        digest: Option<(Zxid, u64)>,
        /// The last applied zxid when the walk ended (3.9's tail).
        last_zxid: Zxid,
    },
    /// Forget the unfinished snapshot (the leader's stream broke).
    SnapshotAbort,
    /// Read committed entries for a DIFF, `from` inclusive to `upto` inclusive, in batches.
    ReadLog {
        /// Matches the answers.
        read: ReadId,
        /// The learner's last zxid; the log must reach back to an entry ≤ it.
        from: Zxid,
        /// The last wanted.
        upto: Zxid,
        /// Give up if the log from there is larger (`snapshotSizeFactor`).
        max_bytes: u64,
    },
    /// No more entries of this read are wanted.
    CancelRead {
        /// Which.
        read: ReadId,
    },
}

impl DiskAction {
    /// The name of this write. In the lane each is larger than those before it: `Persisted` says
    /// of all of them at once that they are durable.
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

/// A configuration on its way to disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigSave {
    /// It is proposed: `zoo.cfg.dynamic.next`, with its version inside.
    Next {
        /// The file's content.
        text: String,
    },
    /// It is committed: `zoo.cfg.dynamic.<version>`, and `zoo.cfg` points to that.
    Current {
        /// Names the file.
        version: i64,
        /// Its content.
        text: String,
        /// The client address is in it, and no longer in `zoo.cfg`.
        erases_client: bool,
        /// A newer one is proposed already: `zoo.cfg.dynamic.next` stays.
        keeps_next: bool,
    },
}

/// The two epoch files of a data directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochFile {
    /// `acceptedEpoch`: the last NEWEPOCH that was accepted.
    Accepted,
    /// `currentEpoch`: the last epoch whose history is durable here.
    Current,
}

/// Why a connection is closed, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The protocol's ordinary end (closeSession, four-letter word answered, tie break).
    Done,
    /// It broke the protocol: logged once, with what was wrong.
    Protocol(&'static str),
    /// It was too slow or silent.
    Timeout(&'static str),
    /// This server's role changed, or it is not serving.
    NotServing,
    /// A newer connection took its place.
    Replaced,
    /// A limit of the configuration was reached.
    Limit(&'static str),
    /// It said, or began to say, more than is taken.
    TooLong {
        /// What.
        what: &'static str,
        /// Of so many bytes.
        length: i32,
        /// At most so many are taken.
        limit: usize,
    },
}

/// Why the process must end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// For the log and the exit message: what happened, and what to do.
    pub what: FaultText,
    /// The process exit code.
    pub exit_code: i32,
}

/// A boxed message, so that an action stays small.
pub type FaultText = alloc::boxed::Box<String>;
