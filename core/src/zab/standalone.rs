//! A server without an ensemble.

use alloc::collections::VecDeque;

use super::Replica;
use crate::action::Actions;
use crate::types::{Ticket, Zxid};
use crate::wire::entries::Entries;

/// A standalone server: its own disk is the quorum.
#[derive(Debug, Default)]
pub(super) struct Standalone {
    /// Appends that are not durable, with the number of their transactions.
    pub(super) outstanding: VecDeque<(Ticket, usize)>,
    pub(super) last_proposed: Zxid,
}

impl Standalone {
    pub(super) fn append(&mut self, replica: &mut Replica, entries: Entries, out: &mut Actions) {
        let count = entries.len();
        let ticket = replica.append(entries, true, out);
        self.outstanding.push_back((ticket, count));
    }
}
