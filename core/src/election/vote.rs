//! Votes: their order, and when two are the same (`Vote`, `totalOrderPredicate`).

use crate::mutant::mutant;
use crate::quorum::Verifier;
use crate::types::{Epoch, ServerId, Zxid};
use crate::wire::code::codes;

codes! {
    /// The state of a server in a notification.
    PeerState {
        /// Electing.
        Looking = 0,
        /// Follows a leader.
        Following = 1,
        /// Leads.
        Leading = 2,
        /// Observes a leader.
        Observing = 3,
    }
}

/// A vote: for whom, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vote {
    /// The proposed leader.
    pub leader: ServerId,
    /// Its last logged zxid.
    pub zxid: Zxid,
    /// Its `currentEpoch`.
    pub peer_epoch: Epoch,
    /// The round of the election (the logical clock).
    pub round: i64,
    /// The voter's state when it voted.
    pub state: PeerState,
    /// The notification's version, 0 where it does not matter.
    pub version: i32,
}

impl Vote {
    /// Whether this vote is better than `other`: epoch, then zxid, then server id; a candidate
    /// without weight is never better.
    pub fn beats(&self, other: &Vote, verifier: &dyn Verifier) -> bool {
        let rank = |v: &Vote| {
            mutant!(VoteIgnoresZxid => return (v.peer_epoch, Zxid(0), v.leader));
            (v.peer_epoch, v.zxid, v.leader)
        };
        verifier.weight(self.leader) != 0 && rank(self) > rank(other)
    }

    /// Whether two votes are for the same thing. Among servers that have settled, zxid and
    /// round may differ: late joiners saw other rounds.
    pub fn agrees_with(&self, other: &Vote) -> bool {
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return (self.leader, self.zxid, self.round, self.peer_epoch)
                == (other.leader, other.zxid, other.round, other.peer_epoch);
        }
        let comparable = (self.version > 0) == (other.version > 0);
        self.leader == other.leader && (!comparable || self.peer_epoch == other.peer_epoch)
    }
}
