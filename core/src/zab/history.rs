//! What this server has logged, and how much of that is committed.
//!
//! `window` holds the newest committed transactions (`committedLog`), `pending` what is logged
//! but not known to be committed. When a role ends, everything pending is delivered as if the
//! database were loaded anew from disk: no client is connected then, and the next leader either
//! commits it or cuts it off with a TRUNC, which replaces the state.

use alloc::collections::VecDeque;

use super::Delivery;
use crate::mutant::Mutant;
use crate::types::{Epoch, Zxid};
use crate::wire::entries::{Entries, Entry};

/// Bytes of transactions in the window. A learner is sent all of it without waiting, and a link
/// holds only so much.
const WINDOW_BYTES: usize = 24 << 20;

/// What recovery found, as far as the ensemble is concerned.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveredLog {
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
    window: VecDeque<Entries>,
    window_limit: usize,
    window_len: usize,
    window_bytes: usize,
    pending: VecDeque<Entries>,
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
    pub(super) fn load(&mut self, start: RecoveredLog) {
        self.pending.clear();
        self.clear_window();
        Entries::gather(&start.tail).for_each(|entries| self.remember(entries));
        self.last_logged = start.last_zxid;
        self.last_processed = start.last_zxid;
        self.current_epoch = start.current_epoch;
        self.accepted_epoch = start.accepted_epoch;
        self.snapshot_bytes = start.snapshot_bytes;
    }

    /// The state was replaced by a leader's snapshot.
    pub(super) fn replace(&mut self, zxid: Zxid) {
        self.pending.clear();
        self.clear_window();
        self.last_logged = zxid;
        self.last_processed = zxid;
    }

    /// Entries are being logged.
    pub(super) fn logged(&mut self, entries: Entries) {
        self.last_logged = entries.last();
        self.pending.push_back(entries);
    }

    /// The oldest entry that is not known to be committed, and how many follow it without a gap.
    pub(super) fn next_pending(&self) -> Option<(Zxid, usize)> {
        self.pending.front().map(|entries| (entries.first(), entries.len()))
    }

    /// Everything logged and not known to be committed, oldest first.
    pub(super) fn pending(&self) -> impl Iterator<Item = Entry> {
        self.pending.iter().flat_map(Entries::each)
    }

    /// The oldest pending entries, so many, are committed: the rider gets them.
    pub(super) fn commit(&mut self, mut count: usize, deliveries: &mut VecDeque<Delivery>) {
        while count > 0 {
            let Some(front) = self.pending.front_mut() else { return };
            let Some(entries) = front.split_to(count).or_else(|| self.pending.pop_front()) else {
                return;
            };
            count -= entries.len();
            self.last_processed = entries.last();
            deliveries.push_back(Delivery::Committed(entries.clone()));
            self.remember(entries);
        }
    }

    /// A role ends: see the head of this file.
    pub(super) fn settle(&mut self, deliveries: &mut VecDeque<Delivery>) {
        self.commit(usize::MAX, deliveries);
    }

    /// The committed log, oldest first.
    pub(super) fn window(&self) -> &VecDeque<Entries> {
        &self.window
    }

    fn clear_window(&mut self) {
        self.window.clear();
        (self.window_len, self.window_bytes) = (0, 0);
    }

    fn remember(&mut self, entries: Entries) {
        if Mutant::WindowHasAHole.is_on() {
            let kept = entries.each().filter(|entry| !entry.zxid.counter().is_multiple_of(8));
            let kept: alloc::vec::Vec<Entry> = kept.collect();
            return Entries::gather(&kept).for_each(|entries| self.put_in_window(entries));
        }
        self.put_in_window(entries);
    }

    fn put_in_window(&mut self, mut entries: Entries) {
        let surplus = entries.len().saturating_sub(self.window_limit);
        entries.split_to(surplus);
        self.window_len += entries.len();
        self.window_bytes += entries.body_bytes();
        self.window.push_back(entries);
        while self.window_len > self.window_limit || self.window_bytes > WINDOW_BYTES {
            let surplus = self.window_len.saturating_sub(self.window_limit).max(1);
            let Some(front) = self.window.front_mut() else { return };
            let Some(gone) = front.split_to(surplus).or_else(|| self.window.pop_front()) else {
                return;
            };
            self.window_len -= gone.len();
            self.window_bytes -= gone.body_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_window_is_bounded_in_entries_and_in_bytes() {
        let entry = |n: i64, bytes| Entry { zxid: Zxid(n), body: Bytes::from(vec![0; bytes]) };
        let mut history = History::new(50);
        let window = |h: &History| (h.window.front().map(|e| e.first().0), h.window_len);
        let commit = |history: &mut History, n, bytes| {
            history.logged(Entries::one(Zxid(n), &vec![0; bytes]));
            history.commit(1, &mut VecDeque::new());
        };
        for n in 1..=100 {
            commit(&mut history, n, 10);
        }
        assert_eq!(window(&history), (Some(51), 50));
        for n in 101..=200 {
            commit(&mut history, n, 1 << 20);
        }
        assert_eq!(window(&history), (Some(177), 24));
        let tail = (1..=40).map(|n| entry(n, 1 << 20)).collect();
        history.load(RecoveredLog { tail, ..RecoveredLog::default() });
        assert_eq!(window(&history), (Some(17), 24));
        history.replace(Zxid(300));
        assert_eq!((window(&history), history.window_bytes), ((None, 0), 0));
    }

    #[test]
    fn a_batch_is_committed_in_parts() {
        let all: Vec<Entry> =
            (1..=120).map(|n| Entry { zxid: Zxid(n), body: Bytes::from(vec![7; 3]) }).collect();
        let mut history = History::new(50);
        for batch in all.chunks(40) {
            Entries::gather(batch).for_each(|entries| history.logged(entries));
        }
        let mut deliveries = VecDeque::new();
        for count in [1, 38, 2, 60] {
            history.commit(count, &mut deliveries);
        }
        let committed = deliveries.iter().flat_map(|delivery| match delivery {
            Delivery::Committed(entries) => entries.each(),
            other => panic!("{other:?}"),
        });
        assert!(committed.eq(all[..101].iter().cloned()));
        assert_eq!(
            (history.last_processed, history.next_pending()),
            (Zxid(101), Some((Zxid(102), 19)))
        );
        let window: Vec<Entry> = history.window().iter().flat_map(Entries::each).collect();
        assert_eq!(window, all[51..101]);
        assert_eq!((history.window_len, history.window_bytes), (50, 150));
        history.settle(&mut deliveries);
        assert_eq!((history.last_processed, history.next_pending()), (Zxid(120), None));
    }
}
