//! Claims about a member, and their proof.
//!
//! Any process that reaches a port can claim a member's id. A claim is believed as long as nothing
//! contradicts it, since a member may connect from any address. Two connections that claim one
//! member, or an elected leader that cannot be reached, make it doubtful: then only votes count
//! that the member sends at its configured election address, where this server dials it.

use crate::types::{Epoch, ServerId, Time, Zxid};

use super::vote::{PeerState, Vote};

/// The duration of a doubt after its last cause, ms.
const DOUBT_MS: u64 = 10_000;
/// A member is asked at its configured address at most once in this time.
const ASK_EVERY_MS: u64 = 200;

/// The id that a question is asked under: no member's, and larger than any, so that the answer
/// comes on the connection that asked (`QuorumCnxManager.receiveConnection`).
pub(super) fn asks_as(me: ServerId) -> ServerId {
    ServerId((i64::MAX - 1).wrapping_sub(me.0.max(0)))
}

/// A member's answer at its configured election address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Proof {
    pub member: ServerId,
    /// Its present state.
    pub state: PeerState,
    /// The server that it votes for or follows.
    pub leader: ServerId,
    /// The version of its configuration.
    pub version: i64,
    /// How far its own log reaches, from its last vote for itself: epoch and zxid.
    pub log: Option<(Epoch, Zxid)>,
}

impl Proof {
    /// Whether the member could follow this server: it looks for a leader, or waits for this one.
    pub fn may_follow(&self, leader: ServerId) -> bool {
        match self.state {
            PeerState::Looking => true,
            PeerState::Following | PeerState::Observing => self.leader == leader,
            PeerState::Leading => false,
        }
    }
}

/// Claims and knowledge about one member.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claims {
    doubted_until: Option<Time>,
    asked_at: Option<Time>,
    /// Its last vote for itself, and whether that is proven.
    log: Option<(bool, Epoch, Zxid)>,
}

impl Claims {
    /// Something speaks against what is claimed.
    pub(super) fn doubt(&mut self, now: Time) {
        self.doubted_until = Some(now.plus_ms(DOUBT_MS));
    }

    /// Nothing does any more.
    pub(super) fn trust(&mut self) {
        self.doubted_until = None;
    }

    /// Whether only proven words count.
    pub(super) fn is_doubted(&self, now: Time) -> bool {
        self.doubted_until.is_some_and(|until| now < until)
    }

    /// Whether the member may be asked now; if so, it counts as asked.
    pub(super) fn may_ask(&mut self, now: Time) -> bool {
        let may = self.asked_at.is_none_or(|at| now.ms_since(at) >= ASK_EVERY_MS);
        if may {
            self.asked_at = Some(now);
        }
        may
    }

    /// Takes note of a vote: one for itself tells of the member's own log.
    pub(super) fn note(&mut self, from: ServerId, vote: &Vote, proven: bool) {
        let was_proven = self.log.is_some_and(|(proven, ..)| proven);
        let is_own = vote.state == PeerState::Looking && vote.leader == from;
        if is_own && (proven || !was_proven) {
            self.log = Some((proven, vote.peer_epoch, vote.zxid));
        }
    }

    /// How far the member's own log reaches.
    pub(super) fn log(&self) -> Option<(Epoch, Zxid)> {
        self.log.map(|(_, epoch, zxid)| (epoch, zxid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(leader: i64, state: PeerState, zxid: i64) -> Vote {
        let (leader, zxid, peer_epoch) = (ServerId(leader), Zxid(zxid), Epoch(1));
        Vote { leader, zxid, peer_epoch, round: 1, state, version: 2 }
    }

    #[test]
    fn a_doubt_ends_by_itself_and_by_proof() {
        let mut claims = Claims::default();
        assert!(!claims.is_doubted(Time(0)));
        claims.doubt(Time(0));
        assert!(claims.is_doubted(Time(0).plus_ms(DOUBT_MS - 1)));
        assert!(!claims.is_doubted(Time(0).plus_ms(DOUBT_MS)));
        claims.doubt(Time(0));
        claims.trust();
        assert!(!claims.is_doubted(Time(0)));
    }

    #[test]
    fn a_member_is_not_asked_over_and_over() {
        let mut claims = Claims::default();
        assert!(claims.may_ask(Time(0)) && !claims.may_ask(Time(0).plus_ms(199)));
        assert!(claims.may_ask(Time(0).plus_ms(200)));
    }

    #[test]
    fn a_proven_log_is_not_overwritten_by_a_claim() {
        let (me, mut claims) = (ServerId(2), Claims::default());
        claims.note(me, &vote(3, PeerState::Looking, 9), true);
        claims.note(me, &vote(2, PeerState::Leading, 9), true);
        assert_eq!(claims.log(), None, "neither tells of its own log");
        claims.note(me, &vote(2, PeerState::Looking, 9), false);
        claims.note(me, &vote(2, PeerState::Looking, 5), true);
        claims.note(me, &vote(2, PeerState::Looking, 7), false);
        assert_eq!(claims.log(), Some((Epoch(1), Zxid(5))));
    }

    #[test]
    fn member_that_leads_or_follows_another_does_not_follow_this_server() {
        let proof = |state, leader| Proof {
            member: ServerId(2),
            state,
            leader: ServerId(leader),
            version: 0,
            log: None,
        };
        let may = |state, leader| proof(state, leader).may_follow(ServerId(3));
        assert!(may(PeerState::Looking, 1) && may(PeerState::Following, 3));
        assert!(!may(PeerState::Following, 1) && !may(PeerState::Leading, 3));
    }

    #[test]
    fn a_question_is_asked_under_an_id_that_is_larger_than_any_members() {
        assert!(asks_as(ServerId(255)) > ServerId(255));
        assert_ne!(asks_as(ServerId(1)), asks_as(ServerId(2)));
    }
}
