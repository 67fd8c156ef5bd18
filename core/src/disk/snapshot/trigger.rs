//! When a snapshot is due (`SyncRequestProcessor.shouldSnapshot`).

use fastrand::Rng;

/// Counts what is logged since the last snapshot. The limits are drawn anew for each round,
/// so that the members of an ensemble do not all take snapshots at once.
#[derive(Clone, Debug)]
pub struct SnapshotTrigger {
    snap_count: u64,
    size_limit_bytes: u64,
    rng: Rng,
    count: u64,
    bytes: u64,
    count_limit: u64,
    bytes_limit: u64,
}

impl SnapshotTrigger {
    /// `snap_count`: `snapCount`, at least 2; `size_limit_bytes`: `snapSizeLimitInKb` in
    /// bytes, 0 for none.
    pub fn new(snap_count: u64, size_limit_bytes: u64, seed: u64) -> SnapshotTrigger {
        let mut trigger = SnapshotTrigger {
            snap_count: snap_count.max(2),
            size_limit_bytes,
            rng: Rng::with_seed(seed),
            count: 0,
            bytes: 0,
            count_limit: 0,
            bytes_limit: 0,
        };
        trigger.reset();
        trigger
    }

    /// One more transaction of this many bytes is logged. True: a snapshot is due, and the
    /// counting begins anew (also when the snapshot is then skipped because one is still
    /// being written).
    pub fn appended(&mut self, bytes: usize) -> bool {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let is_due = self.count > self.count_limit
            || (self.size_limit_bytes > 0 && self.bytes > self.bytes_limit);
        if is_due {
            self.reset();
        }
        is_due
    }

    /// Counts from 0, against newly drawn limits.
    pub fn reset(&mut self) {
        (self.count, self.bytes) = (0, 0);
        let (count, bytes) = (self.snap_count / 2, self.size_limit_bytes / 2);
        self.count_limit = count + self.rng.u64(..count.max(1));
        self.bytes_limit = bytes + self.rng.u64(..bytes.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_between_half_and_all_of_snap_count() {
        let mut trigger = SnapshotTrigger::new(100, 0, 7);
        let mut rounds = [0; 20];
        for round in &mut rounds {
            *round = 1 + (0..).take_while(|_| !trigger.appended(1)).count();
        }
        assert!(rounds.iter().all(|n| (51..=100).contains(n)), "{rounds:?}");
        assert!(rounds.iter().any(|n| *n != rounds[0]), "the limit is drawn anew");
        let mut sized = SnapshotTrigger::new(100_000, 1000, 7);
        let n = 1 + (0..).take_while(|_| !sized.appended(100)).count();
        assert!((6..=10).contains(&n), "{n}");
    }
}
