//! The submitted actions that are not done yet, in two queues.
//!
//! Work that must be durable in order is in the first. The content of a local snapshot is in the
//! second: it needs no order with the log, and must not delay it.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::action::DiskAction;
use crate::types::{Ticket, Zxid};

/// Counts the snapshots that were begun, to match a part with its snapshot.
pub(crate) type Generation = u64;

/// One piece of work that keeps its order.
pub(crate) enum LogWork {
    Action(DiskAction),
    /// The ticket of a local snapshot's end: it takes its place in the order, and nothing waits for
    /// the snapshot.
    SnapshotMark(Ticket),
}

/// A part of a local snapshot.
pub(crate) enum SnapshotPart {
    Chunk(Bytes),
    End { ticket: Ticket, digest: Option<(Zxid, u64)>, last_zxid: Zxid },
    Abort,
}

/// All work that waits.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) log_work: VecDeque<LogWork>,
    pub(crate) snapshot_work: VecDeque<(Generation, SnapshotPart)>,
    pub(crate) purge: bool,
    generation: Generation,
    is_from_leader: bool,
    last_ticket: Ticket,
}

impl Queue {
    pub(crate) fn submit(&mut self, action: DiskAction) {
        if let Some(ticket) = action.ticket() {
            let last = core::mem::replace(&mut self.last_ticket, ticket);
            debug_assert!(last < ticket, "{ticket:?} comes after {last:?}");
        }
        if let DiskAction::SnapshotBegin { from_leader, .. } = &action {
            self.generation += 1;
            self.is_from_leader = *from_leader;
        }
        let part = match action {
            DiskAction::SnapshotChunk { bytes } if !self.is_from_leader => {
                SnapshotPart::Chunk(bytes)
            }
            DiskAction::SnapshotEnd { ticket, digest, last_zxid } if !self.is_from_leader => {
                self.log_work.push_back(LogWork::SnapshotMark(ticket));
                SnapshotPart::End { ticket, digest, last_zxid }
            }
            DiskAction::SnapshotAbort if !self.is_from_leader => SnapshotPart::Abort,
            // A leader's snapshot replaces the log: its parts keep their order with it.
            action => return self.log_work.push_back(LogWork::Action(action)),
        };
        self.snapshot_work.push_back((self.generation, part));
    }
}
