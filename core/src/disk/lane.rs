//! What is submitted and not done yet, in two lanes.
//!
//! Everything that must be durable in order is in the first. A local snapshot's content is in
//! the second: it needs no order with the log, and must not hold it up.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::action::{ConfigSave, DiskAction, EpochFile};
use crate::types::{Epoch, ReadId, Ticket, Zxid};
use crate::wire::entries::Entries;

/// Numbers the snapshots, to match their pieces with the right one.
pub(crate) type Generation = u64;

/// Work that is done in the order in which it came.
pub(crate) enum Ordered {
    Append {
        ticket: Ticket,
        entries: Entries,
    },
    Truncate {
        ticket: Ticket,
        after: Zxid,
    },
    SaveEpoch {
        ticket: Ticket,
        file: EpochFile,
        epoch: Epoch,
    },
    SaveConfig {
        ticket: Ticket,
        save: Box<ConfigSave>,
    },
    SnapshotBegin {
        generation: Generation,
        zxid: Zxid,
        from_leader: bool,
    },
    /// A piece of a snapshot from the leader.
    Snapshot(Piece),
    /// A local snapshot's ticket: nothing of the log waits for it.
    Mark(Ticket),
    ReadLog {
        read: ReadId,
        from: Zxid,
        upto: Zxid,
        max_bytes: u64,
    },
    CancelRead {
        read: ReadId,
    },
}

/// A piece of a snapshot.
pub(crate) enum Piece {
    Chunk(Bytes),
    End { ticket: Ticket, digest: Option<(Zxid, u64)>, last_zxid: Zxid },
    Abort,
}

/// All that waits.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) ordered: VecDeque<Ordered>,
    /// Pieces of local snapshots.
    pub(crate) aside: VecDeque<(Generation, Piece)>,
    pub(crate) purge: bool,
    generation: Generation,
    is_from_leader: bool,
    last_ticket: Ticket,
}

impl Inbox {
    pub(crate) fn submit(&mut self, action: DiskAction) {
        if let Some(ticket) = action.ticket() {
            let last = core::mem::replace(&mut self.last_ticket, ticket);
            debug_assert!(last < ticket, "{ticket:?} comes after {last:?}");
        }
        let ordered = match action {
            DiskAction::Append { ticket, entries } => Ordered::Append { ticket, entries },
            DiskAction::Truncate { ticket, after } => Ordered::Truncate { ticket, after },
            DiskAction::SaveEpoch { ticket, file, epoch } => {
                Ordered::SaveEpoch { ticket, file, epoch }
            }
            DiskAction::SaveConfig { ticket, save } => Ordered::SaveConfig { ticket, save },
            DiskAction::SnapshotBegin { zxid, from_leader } => {
                self.generation += 1;
                self.is_from_leader = from_leader;
                Ordered::SnapshotBegin { generation: self.generation, zxid, from_leader }
            }
            DiskAction::SnapshotChunk { bytes } => return self.piece(Piece::Chunk(bytes)),
            DiskAction::SnapshotEnd { ticket, digest, last_zxid } => {
                if !self.is_from_leader {
                    self.ordered.push_back(Ordered::Mark(ticket));
                }
                return self.piece(Piece::End { ticket, digest, last_zxid });
            }
            DiskAction::SnapshotAbort => return self.piece(Piece::Abort),
            DiskAction::ReadLog { read, from, upto, max_bytes } => {
                Ordered::ReadLog { read, from, upto, max_bytes }
            }
            DiskAction::CancelRead { read } => Ordered::CancelRead { read },
        };
        self.ordered.push_back(ordered);
    }

    fn piece(&mut self, piece: Piece) {
        if self.is_from_leader {
            self.ordered.push_back(Ordered::Snapshot(piece));
        } else {
            self.aside.push_back((self.generation, piece));
        }
    }
}
