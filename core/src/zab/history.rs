//! The log of this server in memory, as far as others may need it.
//!
//! `pending` holds the entries that are logged and not known to be committed, `window` the newest
//! committed ones (`committedLog`), out of which learners are brought up to date.
//!
//! When a role ends, pending entries are delivered to the application as if the state were loaded
//! from disk. No client is connected at that time. The next leader either commits them, or cuts
//! them off with a TRUNC, which replaces the state.

use alloc::collections::VecDeque;

use super::Delivery;
use crate::mutant::mutant;
use crate::types::{Epoch, Zxid};
use crate::wire::entries::{Entries, Entry};

/// The size of the window, bytes. A learner is sent all of it at once, and the send queue of a link
/// has a limit.
const WINDOW_BYTES: usize = 24 << 20;

/// The result of recovery that the ensemble needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveredLog {
    /// The last zxid of the recovered state; [`Zxid::UNTRUSTED`] if the server must not vote with
    /// it.
    pub last_zxid: Zxid,
    /// The newest transactions, oldest first, up to `last_zxid`.
    pub tail: alloc::vec::Vec<Entry>,
    /// `currentEpoch`.
    pub current_epoch: Epoch,
    /// `acceptedEpoch`.
    pub accepted_epoch: Epoch,
    /// The size of the newest snapshot, which limits how much log a DIFF may read.
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
    /// The last zxid that was delivered. On a leader that is established, at least `epoch << 32`.
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
    pub(super) fn load(&mut self, log: RecoveredLog) {
        self.pending.clear();
        self.clear_window();
        Entries::gather(&log.tail).for_each(|entries| self.add_to_window(entries));
        self.last_logged = log.last_zxid;
        self.last_processed = log.last_zxid;
        self.current_epoch = log.current_epoch;
        self.accepted_epoch = log.accepted_epoch;
        self.snapshot_bytes = log.snapshot_bytes;
    }

    /// The state was replaced by a leader's snapshot.
    pub(super) fn replace(&mut self, zxid: Zxid) {
        self.pending.clear();
        self.clear_window();
        self.last_logged = zxid;
        self.last_processed = zxid;
    }

    /// Entries go to the log.
    pub(super) fn append(&mut self, entries: Entries) {
        self.last_logged = entries.last();
        self.pending.push_back(entries);
    }

    /// The zxid of the oldest pending entry, and the number of consecutive entries from there.
    pub(super) fn next_pending(&self) -> Option<(Zxid, usize)> {
        self.pending.front().map(|entries| (entries.first(), entries.len()))
    }

    /// The pending entries, oldest first.
    pub(super) fn pending(&self) -> impl Iterator<Item = Entry> {
        self.pending.iter().flat_map(Entries::each)
    }

    /// Delivers the oldest `count` pending entries as committed.
    pub(super) fn commit(&mut self, mut count: usize, deliveries: &mut VecDeque<Delivery>) {
        while count > 0 {
            let Some(front) = self.pending.front_mut() else { return };
            let Some(entries) = front.split_to(count).or_else(|| self.pending.pop_front()) else {
                return;
            };
            count -= entries.len();
            self.last_processed = entries.last();
            deliveries.push_back(Delivery::Committed(entries.clone()));
            self.add_to_window(entries);
        }
    }

    /// Delivers all pending entries, because the role ends: see the [module](self).
    pub(super) fn deliver_pending(&mut self, deliveries: &mut VecDeque<Delivery>) {
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

    fn add_to_window(&mut self, entries: Entries) {
        mutant!(WindowHasAHole => {
            let kept = entries.each().filter(|entry| !entry.zxid.counter().is_multiple_of(8));
            let kept: alloc::vec::Vec<Entry> = kept.collect();
            return Entries::gather(&kept).for_each(|entries| self.put_in_window(entries));
        });
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
    fn window_is_bounded_in_entries_and_in_bytes() {
        let entry = |n: i64, bytes| Entry { zxid: Zxid(n), body: Bytes::from(vec![0; bytes]) };
        let mut history = History::new(50);
        let window = |h: &History| (h.window.front().map(|e| e.first().0), h.window_len);
        let commit = |history: &mut History, n, bytes| {
            history.append(Entries::one(Zxid(n), &vec![0; bytes]));
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
    fn batch_is_committed_in_parts() {
        let all: Vec<Entry> =
            (1..=120).map(|n| Entry { zxid: Zxid(n), body: Bytes::from(vec![7; 3]) }).collect();
        let mut history = History::new(50);
        for batch in all.chunks(40) {
            Entries::gather(batch).for_each(|entries| history.append(entries));
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
        history.deliver_pending(&mut deliveries);
        assert_eq!((history.last_processed, history.next_pending()), (Zxid(120), None));
    }
}
