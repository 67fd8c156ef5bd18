//! Histories that do not fit together: the transactions that a leader refuses in a learner, and the
//! state of a learner that is refused.
//!
//! Transactions of an epoch come from an established leader. A quorum had acknowledged that epoch,
//! and its servers report it in every later discovery. So a leader that was elected with an earlier
//! `currentEpoch`, and meets such a transaction, is of another ensemble, or a quorum has lost its
//! data. The learner may hold the last copy: the leader refuses it, and never truncates it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use tracing::error;

use super::Replica;
use super::learner_handler::LearnerHandler;
use crate::mutant::mutant;
use crate::types::{Epoch, ServerId, Time, Zxid};

/// The pause between two log lines about the same server.
const LOG_INTERVAL_MS: u64 = 60_000;
/// The pause between two attempts to join a leader that refuses is doubled this often at most.
const MAX_DOUBLINGS: u32 = 4;
/// This many refusals in a row can come from an election that is under way, and are not logged.
const MAX_UNLOGGED: u32 = 2;

/// The history that a leader was elected with, against which it checks those of learners.
#[derive(Debug)]
pub(super) struct ElectedHistory {
    /// The `currentEpoch` at the time of the election.
    base: Epoch,
    /// The servers that were refused, with the time of the last log line.
    logged_at: BTreeMap<ServerId, Time>,
}

impl ElectedHistory {
    pub(super) fn new(base: Epoch) -> ElectedHistory {
        ElectedHistory { base, logged_at: BTreeMap::new() }
    }

    /// Whether this leader's history cannot lack a transaction with this zxid, and lacks it.
    /// `epoch` is the leader's own epoch, and `last_proposed` its last zxid.
    pub(super) fn is_unknown(&self, zxid: Zxid, epoch: Epoch, last_proposed: Zxid) -> bool {
        mutant!(NewerHistoryThrownAway => return false);
        mutant!(LeaderForgetsNewerHistory => return false);
        mutant!(VoteIgnoresZxid => return false);
        let is_own = zxid.epoch() == epoch && zxid <= last_proposed;
        zxid.epoch() > self.base && !is_own
    }

    /// Whether a learner is refused for that. It is logged once a minute.
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
        let logged_at = self.logged_at.get(&server);
        if logged_at.is_some_and(|at| now.ms_since(*at) < LOG_INTERVAL_MS) {
            return true;
        }
        self.logged_at.insert(server, now);
        error!(
            "refusing server {server}: its history ends at {zxid}, and this leader was elected with \
            one of epoch {base}. Either a quorum has lost its data, or the server is from another \
            ensemble. Its files stay as they are. To keep the data of server {server}, stop all \
            servers, empty the data directories of the others, and start server {server} first. To \
            keep the data of this leader, empty the data directory of server {server}, if a quorum \
            of the others has the data"
        );
        true
    }
}

/// Joins that leaders have refused, in a row.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    count: u32,
    last_logged_at: Option<Time>,
}

impl Refusals {
    /// This server has joined a leader.
    pub(super) fn forget(&mut self) {
        *self = Refusals::default();
    }

    /// The pause before the next attempt.
    pub(super) fn pause_ms(&self, shortest_ms: u64) -> u64 {
        shortest_ms << self.count.min(MAX_DOUBLINGS)
    }
}

impl Replica {
    /// Notes that a leader refuses this server, and gives the reason to leave the role. `what` is
    /// the leader's word or deed. After some refusals it is logged, once a minute.
    pub(super) fn refused(&mut self, now: Time, leader: ServerId, what: &str) -> String {
        let refusals = &mut self.refusals;
        refusals.count = refusals.count.saturating_add(1);
        let is_logged =
            refusals.last_logged_at.is_some_and(|at| now.ms_since(at) < LOG_INTERVAL_MS);
        if refusals.count > MAX_UNLOGGED && !is_logged {
            refusals.last_logged_at = Some(now);
            let (last, accepted) = (self.history.last_logged, self.history.accepted_epoch);
            error!(
                "leader {leader} refuses this server: {what}. The history of this server ends at \
                {last}, and it has accepted epoch {accepted}. It serves no clients, and its files \
                stay as they are. To keep its data, stop all servers, empty the data directories of \
                the others, and start this one first. If a quorum of the others has the data, empty \
                the data directory of this server"
            );
        }
        format!("leader {leader} refuses this server: {what}")
    }
}

/// The reason why a learner needs the leader's whole state, however little it lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FullSyncReason {
    /// Its log does not contain the place where it has to be cut.
    CannotTruncate,
    /// Its state differs from the leader's. Until a leader's snapshot replaces it, this server is
    /// no candidate. Its log still counts in discovery.
    Diverged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_later_than_that_of_the_elected_history_is_unknown() {
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
