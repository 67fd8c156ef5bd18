//! Histories that do not go together: what a leader does not take in, and what a learner that is not
//! taken in says.
//!
//! A transaction of an epoch later than the `currentEpoch` that a leader was elected with was
//! proposed by an established leader. A quorum had acknowledged that epoch, and would have told
//! this leader of it. So the two are of different ensembles, or a quorum has lost its data: the
//! member that has the transaction may have the last copy, and is told nothing that it would have
//! to give it up for.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use tracing::error;

use super::Replica;
use super::learner_handler::LearnerHandler;
use crate::mutant::Mutant;
use crate::types::{Epoch, ServerId, Time, Zxid};

/// Between two lines of the log about the same thing.
const SAY_AGAIN_MS: u64 = 60_000;
/// Between two attempts to join a leader that refuses: doubled so often at most.
const MOST_DOUBLINGS: u32 = 4;
/// So many refusals in a row are no matter of an election that is under way.
const MOST_UNTOLD: u32 = 2;

/// What a leader knows of the history that it was elected with.
#[derive(Debug)]
pub(super) struct ElectedHistory {
    /// `currentEpoch` when it was elected.
    base: Epoch,
    /// Who was refused, and when that was said last.
    logged_at: BTreeMap<ServerId, Time>,
}

impl ElectedHistory {
    pub(super) fn new(base: Epoch) -> ElectedHistory {
        ElectedHistory { base, logged_at: BTreeMap::new() }
    }

    /// Whether a learner's last zxid is of an epoch that nobody can have established: `epoch` is the
    /// leader's own, in which `last_proposed` is the last zxid.
    pub(super) fn is_unknown(&self, zxid: Zxid, epoch: Epoch, last_proposed: Zxid) -> bool {
        let is_off = Mutant::NewerHistoryThrownAway.is_on()
            || Mutant::LeaderForgetsNewerHistory.is_on()
            || Mutant::VoteIgnoresZxid.is_on();
        let is_own = zxid.epoch() == epoch && zxid <= last_proposed;
        zxid.epoch() > self.base && !is_own && !is_off
    }

    /// Whether a learner is not let in for that; says so once a minute.
    pub(super) fn refuses(
        &mut self,
        learner: &LearnerHandler,
        epoch: Epoch,
        last_proposed: Zxid,
    ) -> bool {
        let LearnerHandler { server, last_zxid: zxid, last_received: now, .. } = *learner;
        if !self.is_unknown(zxid, epoch, last_proposed) {
            return false;
        }
        let base = self.base;
        let is_told =
            self.logged_at.get(&server).is_some_and(|at| now.ms_since(*at) < SAY_AGAIN_MS);
        if is_told {
            return true;
        }
        self.logged_at.insert(server, now);
        error!(
            "server {server} is not let in: its history goes up to {zxid}, and this leader was \
            elected with one of epoch {base}, so that a quorum must have lost that, or it is of \
            another ensemble; it keeps its files. To go on with its data, stop all, and start it \
            with empty data directories at the others; to go on with this leader's, empty the data \
            directory of server {server}, if a quorum of the others has the data"
        );
        true
    }
}

/// A learner that is not let in.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// In a row.
    count: u32,
    last_logged_at: Option<Time>,
}

impl Refusals {
    /// It is in sync with a leader.
    pub(super) fn forget(&mut self) {
        *self = Refusals::default();
    }

    /// The pause before the next attempt.
    pub(super) fn pause_ms(&self, shortest_ms: u64) -> u64 {
        shortest_ms << self.count.min(MOST_DOUBLINGS)
    }
}

impl Replica {
    /// The leader does not take this server in; `what` it said or did.
    pub(super) fn refused(&mut self, now: Time, leader: ServerId, what: &str) -> String {
        let refusals = &mut self.refusals;
        refusals.count = refusals.count.saturating_add(1);
        let is_told = refusals.last_logged_at.is_some_and(|at| now.ms_since(at) < SAY_AGAIN_MS);
        if refusals.count > MOST_UNTOLD && !is_told {
            refusals.last_logged_at = Some(now);
            let (last, accepted) = (self.history.last_logged, self.history.accepted_epoch);
            error!(
                "server {leader} leads, and does not take this server in: {what}. This server's \
                history goes up to {last}, and it has accepted epoch {accepted}. It serves nobody, \
                and its files stay as they are. If its data is the right one, stop all, and start \
                it with empty data directories at the others; if a quorum of the others has the \
                data, empty its data directory"
            );
        }
        format!("server {leader} does not take this server in: {what}")
    }
}

/// Why a learner wants all of the leader's state, whatever it has itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FullSyncReason {
    /// Its log does not show the place where it was to be cut.
    CannotTruncate,
    /// Its tree is not the leader's. Until it has that, it is no candidate: what it has in its log
    /// it goes on to vouch for.
    Diverged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_a_leader_was_not_elected_with_is_unknown_to_it() {
        let elected_history = ElectedHistory::new(Epoch(3));
        let z = |epoch, counter| Zxid::new(Epoch(epoch), counter);
        for (zxid, is_unknown) in [
            (Zxid::UNTRUSTED, false),
            (z(3, 99), false),
            (z(4, 0), true),
            (z(4, 1), true),
            (z(5, 0), false),
            (z(5, 7), false),
            (z(5, 8), true),
            (z(6, 1), true),
        ] {
            assert_eq!(elected_history.is_unknown(zxid, Epoch(5), z(5, 7)), is_unknown, "{zxid}");
        }
        assert!(elected_history.is_unknown(z(5, 0), Epoch(5), z(3, 9)), "not established yet");
    }
}
