//! What this server has logged, and how much of that is committed.
//!
//! `window` holds the newest committed transactions (`committedLog`), `pending` what is logged
//! but not known to be committed. When a role ends, everything pending is delivered as if the
//! database were loaded anew from disk: no client is connected then, and the next leader either
//! commits it or cuts it off with a TRUNC, which replaces the state.

use alloc::collections::VecDeque;

use super::Delivery;
use crate::event::Entry;
use crate::mutant::Mutant;
use crate::types::{Epoch, Zxid};

/// Bytes of transactions in the window. A learner is sent all of it without waiting, and a link
/// holds only so much.
const WINDOW_BYTES: usize = 24 << 20;

/// What recovery found, as far as the ensemble is concerned.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Start {
    /// The last zxid of the recovered state, [`Zxid::UNTRUSTED`] if it may not vote.
    pub last_zxid: Zxid,
    /// The newest transactions, oldest first, up to `last_zxid`.
    pub tail: alloc::vec::Vec<Entry>,
    /// `currentEpoch`.
    pub current_epoch: Epoch,
    /// `acceptedEpoch`.
    pub accepted_epoch: Epoch,
    /// Size of the newest snapshot, which bounds how much log a DIFF may read.
    pub snapshot_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct History {
    window: VecDeque<Entry>,
    window_limit: usize,
    window_bytes: usize,
    pending: VecDeque<Entry>,
    /// The last zxid in the log.
    pub(super) last_logged: Zxid,
    /// The last zxid that the rider was given; `epoch<<32` once a leader is established.
    pub(super) last_processed: Zxid,
    pub(super) current_epoch: Epoch,
    pub(super) accepted_epoch: Epoch,
    pub(super) snapshot_bytes: u64,
}

impl History {
    pub(super) fn new(window_limit: usize) -> History {
        History { window_limit, ..History::default() }
    }

    /// The state was loaded from disk.
    pub(super) fn load(&mut self, start: Start) {
        self.pending.clear();
        self.window = start.tail.into();
        self.window_bytes = self.window.iter().map(|e| e.body.len()).sum();
        self.trim();
        self.last_logged = start.last_zxid;
        self.last_processed = start.last_zxid;
        self.current_epoch = start.current_epoch;
        self.accepted_epoch = start.accepted_epoch;
        self.snapshot_bytes = start.snapshot_bytes;
    }

    /// The state was replaced by a leader's snapshot.
    pub(super) fn replace(&mut self, zxid: Zxid) {
        self.pending.clear();
        self.window.clear();
        self.window_bytes = 0;
        self.last_logged = zxid;
        self.last_processed = zxid;
    }

    /// An entry is being logged.
    pub(super) fn logged(&mut self, entry: Entry) {
        self.last_logged = entry.zxid;
        self.pending.push_back(entry);
    }

    /// The oldest entry that is not known to be committed.
    pub(super) fn next_pending(&self) -> Option<Zxid> {
        self.pending.front().map(|e| e.zxid)
    }

    /// Everything logged and not known to be committed, oldest first.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.pending.iter()
    }

    /// The oldest pending entry is committed: the rider gets it.
    pub(super) fn commit_next(&mut self, deliveries: &mut VecDeque<Delivery>) {
        if let Some(entry) = self.pending.pop_front() {
            self.deliver(entry, deliveries);
        }
    }

    /// An entry that is committed already, and not logged here (observers without a log).
    pub(super) fn deliver(&mut self, entry: Entry, deliveries: &mut VecDeque<Delivery>) {
        self.last_processed = entry.zxid;
        deliveries.push_back(Delivery::Committed { zxid: entry.zxid, body: entry.body.clone() });
        if Mutant::WindowHasAHole.is_on() && entry.zxid.counter().is_multiple_of(8) {
            return;
        }
        self.window_bytes += entry.body.len();
        self.window.push_back(entry);
        self.trim();
    }

    /// A role ends: see the head of this file.
    pub(super) fn settle(&mut self, deliveries: &mut VecDeque<Delivery>) {
        while !self.pending.is_empty() {
            self.commit_next(deliveries);
        }
    }

    /// The committed log, oldest first.
    pub(super) fn window(&self) -> &VecDeque<Entry> {
        &self.window
    }

    fn trim(&mut self) {
        while self.window.len() > self.window_limit || self.window_bytes > WINDOW_BYTES {
            let Some(entry) = self.window.pop_front() else { return };
            self.window_bytes -= entry.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_window_is_bounded_in_entries_and_in_bytes() {
        let entry = |n: i64, bytes| Entry { zxid: Zxid(n), body: Bytes::from(vec![0; bytes]) };
        let mut history = History::new(50);
        let window = |h: &History| (h.window.front().map(|e| e.zxid.0), h.window.len());
        for n in 1..=100 {
            history.deliver(entry(n, 10), &mut VecDeque::new());
        }
        assert_eq!(window(&history), (Some(51), 50));
        for n in 101..=200 {
            history.deliver(entry(n, 1 << 20), &mut VecDeque::new());
        }
        assert_eq!(window(&history), (Some(177), 24));
        let tail = (1..=40).map(|n| entry(n, 1 << 20)).collect();
        history.load(Start { tail, ..Start::default() });
        assert_eq!(window(&history), (Some(17), 24));
        history.replace(Zxid(300));
        assert_eq!((window(&history), history.window_bytes), ((None, 0), 0));
    }
}
