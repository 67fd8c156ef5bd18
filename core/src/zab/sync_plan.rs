//! The choice between DIFF, TRUNC and SNAP for a learner, as ZooKeeper makes it
//! (`LearnerHandler.syncFollower`, `queueCommittedProposals`). Pure functions.

use crate::mutant::mutant;
use crate::types::Zxid;

/// The source of the transactions that a learner lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SyncPlan {
    /// The learner lacks nothing.
    UpToDate,
    /// TRUNC to this zxid. Nothing else is needed.
    Truncate(Zxid),
    /// Walk the committed log in memory.
    Window,
    /// Walk the log on disk up to the committed log in memory, then that.
    Log,
    /// Send the whole state.
    Snapshot,
}

/// The facts that decide.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyncInput {
    /// The learner's last logged zxid.
    pub(super) peer: Zxid,
    /// The leader's last processed zxid.
    pub(super) last_processed: Zxid,
    /// First and last zxid of the committed log in memory; both `last_processed` if it is empty.
    pub(super) window: (Zxid, Zxid),
    /// Whether a DIFF may be read from the log on disk (`snapshotSizeFactor` ≥ 0).
    pub(super) log_allowed: bool,
    /// Always send a snapshot (`forceSnapshotSync`).
    pub(super) force_snapshot: bool,
}

/// The table of plans. The first line that fits wins.
pub(super) fn plan(s: SyncInput) -> SyncPlan {
    let (min, max) = s.window;
    let new_epoch_zxid = s.peer.counter() == 0;
    if s.force_snapshot {
        SyncPlan::Snapshot
    } else if s.peer == s.last_processed {
        SyncPlan::UpToDate
    } else if s.peer == Zxid::ZERO {
        // Its log is empty, or it asks for the whole state.
        SyncPlan::Snapshot
    } else if s.peer > max && !new_epoch_zxid {
        // The first zxid of an epoch is in no log, so no log can be cut there.
        if max.counter() == 0 { SyncPlan::Snapshot } else { SyncPlan::Truncate(max) }
    } else if min <= s.peer && s.peer <= max {
        SyncPlan::Window
    } else if s.peer < min && s.log_allowed {
        SyncPlan::Log
    } else {
        SyncPlan::Snapshot
    }
}

/// The packets for one committed entry of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DiffStep {
    /// The learner has it.
    Skip,
    /// DIFF. The learner has this entry.
    DiffThenSkip,
    /// DIFF, then this entry.
    DiffThenSend,
    /// TRUNC to the entry before this one, then this entry.
    TruncThenSend(Zxid),
    /// This entry.
    Send,
    /// No common entry in this epoch: only a snapshot helps.
    GiveUp,
}

/// A walk over committed entries, in order, that finds the end of the learner's log among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiffWalk {
    peer: Zxid,
    previous: Option<Zxid>,
    begun: bool,
    queued: Zxid,
}

impl DiffWalk {
    pub(super) fn new(peer: Zxid) -> DiffWalk {
        DiffWalk { peer, previous: None, begun: false, queued: peer }
    }

    pub(super) fn step(&mut self, zxid: Zxid) -> DiffStep {
        let previous = self.previous.replace(zxid);
        if zxid < self.peer {
            return DiffStep::Skip;
        }
        if self.begun {
            if zxid <= self.queued {
                return DiffStep::Skip;
            }
            self.queued = zxid;
            return DiffStep::Send;
        }
        self.begun = true;
        if zxid == self.peer {
            return DiffStep::DiffThenSkip;
        }
        // The first zxid of an epoch is in no log. A log that continues in that epoch has it in
        // common with the learner; another log proves nothing.
        let mut is_epoch_of_peer = zxid.epoch() == self.peer.epoch();
        mutant!(BeginningTakenForCommon => is_epoch_of_peer = true);
        if self.peer.counter() == 0 && is_epoch_of_peer {
            self.queued = zxid;
            return DiffStep::DiffThenSend;
        }
        match previous {
            // A TRUNC cannot cross the border of an epoch.
            Some(previous) if zxid.epoch() == self.peer.epoch() && self.peer.counter() != 0 => {
                self.queued = zxid;
                DiffStep::TruncThenSend(previous)
            }
            _ => {
                self.begun = false;
                mutant!(WalkBegunByGivingUp => self.begun = true);
                DiffStep::GiveUp
            }
        }
    }

    /// Whether the walk has found the end of the learner's log. Otherwise the learner needs a
    /// snapshot.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Epoch;

    fn z(epoch: i64, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    #[test]
    fn table_of_plans() {
        let base = SyncInput {
            peer: z(2, 5),
            last_processed: z(2, 9),
            window: (z(2, 3), z(2, 9)),
            log_allowed: true,
            force_snapshot: false,
        };
        for (name, input, expected) in [
            ("forced", SyncInput { force_snapshot: true, ..base }, SyncPlan::Snapshot),
            ("in sync", SyncInput { peer: z(2, 9), ..base }, SyncPlan::UpToDate),
            ("ahead", SyncInput { peer: z(2, 12), ..base }, SyncPlan::Truncate(z(2, 9))),
            ("ahead, new epoch", SyncInput { peer: z(3, 0), ..base }, SyncPlan::Snapshot),
            (
                "ahead of a leader that has committed nothing yet",
                SyncInput {
                    peer: z(2, 3),
                    last_processed: z(2, 0),
                    window: (z(2, 0), z(2, 0)),
                    ..base
                },
                SyncPlan::Snapshot,
            ),
            ("within", base, SyncPlan::Window),
            ("older", SyncInput { peer: z(1, 7), ..base }, SyncPlan::Log),
            ("nothing", SyncInput { peer: Zxid::ZERO, ..base }, SyncPlan::Snapshot),
            (
                "older, no log",
                SyncInput { peer: z(1, 7), log_allowed: false, ..base },
                SyncPlan::Snapshot,
            ),
            (
                "empty, fresh leader",
                SyncInput {
                    peer: Zxid::ZERO,
                    last_processed: z(1, 0),
                    window: (z(1, 0), z(1, 0)),
                    log_allowed: false,
                    ..base
                },
                SyncPlan::Snapshot,
            ),
        ] {
            assert_eq!(plan(input), expected, "{name}");
        }
    }

    fn walk(peer: Zxid, entries: &[Zxid]) -> alloc::vec::Vec<DiffStep> {
        let mut walk = DiffWalk::new(peer);
        entries.iter().map(|z| walk.step(*z)).collect()
    }

    #[test]
    fn walk_finds_the_end_of_the_learners_log() {
        let entries = [z(1, 1), z(1, 2), z(2, 1), z(2, 2)];
        use DiffStep::*;
        assert_eq!(walk(z(1, 2), &entries), [Skip, DiffThenSkip, Send, Send]);
        assert_eq!(walk(z(2, 0), &entries), [Skip, Skip, DiffThenSend, Send]);
        assert_eq!(walk(z(1, 3), &entries)[..3], [Skip, Skip, GiveUp], "orphans across an epoch");
        let gap = [z(1, 1), z(1, 2), z(1, 5)];
        assert_eq!(walk(z(1, 3), &gap), [Skip, Skip, TruncThenSend(z(1, 2))]);
    }

    #[test]
    fn first_zxid_of_an_epoch_is_common_only_to_logs_of_that_epoch() {
        use DiffStep::*;
        assert_eq!(walk(z(2, 0), &[z(1, 2), z(2, 1)]), [Skip, DiffThenSend]);
        // This leader has no transaction of epoch 3.
        assert_eq!(walk(z(3, 0), &[z(1, 2), z(4, 1)]), [Skip, GiveUp]);
        assert_eq!(walk(Zxid::ZERO, &[z(1, 1)]), [GiveUp]);
        assert!(!DiffWalk::new(z(2, 0)).begun());
    }
}
