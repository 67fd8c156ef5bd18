//! One server's view of one election round (`FastLeaderElection.lookForLeader`).
//!
//! All servers without a leader exchange votes. A vote names a candidate with its credentials: the
//! epoch and the last zxid of its log. A server first votes for itself; when it receives a better
//! vote (higher epoch, then higher zxid, then higher id: [`Vote::beats`]) it adopts that vote and
//! broadcasts it. So all votes converge on the server with the longest history, without which
//! committed transactions could be lost. Votes carry a round number; a vote of an earlier round is
//! ignored, and a later round discards the votes received so far.
//!
//! Once a quorum has the same vote, the server waits a little (`finalizeWait`) for a better one,
//! because votes travel at different speeds; then the vote is final. A server that arrives late may
//! instead find servers that already follow a leader. It joins them if a quorum reports the same
//! leader and that leader itself reports that it leads.
//!
//! Example with servers 1, 2, 3 and equal histories. Each votes for itself. Server 1 receives the
//! vote of 2, which is better (higher id), adopts and broadcasts it: servers 1 and 2 are a quorum
//! for 2, and both start the wait. Within it the vote of 3 arrives, which is better again: both
//! adopt it, the wait starts again, and all three end with 3.

use alloc::collections::BTreeMap;

use super::vote::{PeerState, Vote};
use crate::quorum::{AckSet, Membership, Verifier};
use crate::types::{Epoch, ServerId, Time, Zxid};

/// The effect of a notification on the round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RoundOutcome {
    /// No change that others need to know.
    Quiet,
    /// The proposal or the round changed: broadcast it.
    Broadcast,
    /// A quorum of servers follows this leader: the vote is final.
    Settled(Vote),
}

/// The leader in the vote of a server that has no candidate yet (`FastLeaderElection.getInitId`).
pub(super) const NOBODY: ServerId = ServerId(i64::MIN);

/// The votes of the servers that look for a leader in this round, and of those that have one.
#[derive(Debug)]
pub(super) struct Round {
    me: ServerId,
    /// Whether this server's own vote counts.
    votes: bool,
    finalize_ms: u64,
    /// This server's first vote: for itself, or, if it is no candidate, one that every other vote
    /// beats.
    initial: Vote,
    /// The credentials with which an incoming voter stands against candidates with a shorter
    /// history.
    fallback_vote: Option<(Epoch, Zxid)>,
    pub(super) proposal: Vote,
    /// Votes of this round.
    received: BTreeMap<ServerId, Vote>,
    /// Votes of servers that have a leader, of any round.
    settled: BTreeMap<ServerId, Vote>,
    /// The end of the wait for better votes, while a quorum agrees on the proposal.
    pub(super) finalize_at: Option<Time>,
}

impl Round {
    /// `candidate`: last zxid and current epoch of a server that may lead. `votes`: whether this
    /// server's own vote counts. `finalize_ms`: the wait for better votes.
    pub(super) fn new(
        me: ServerId,
        candidate: Option<(Zxid, Epoch)>,
        votes: bool,
        finalize_ms: u64,
        round: i64,
    ) -> Round {
        let (state, version) = (PeerState::Looking, 0);
        let initial = match candidate {
            Some((zxid, peer_epoch)) => {
                Vote { leader: me, zxid, peer_epoch, round, state, version }
            }
            None => {
                let (leader, zxid, epoch) = (NOBODY, Zxid(i64::MIN), Epoch(i64::MIN));
                Vote { leader, zxid, peer_epoch: epoch, round, state, version }
            }
        };
        let mut new = Round {
            me,
            votes,
            finalize_ms,
            initial,
            fallback_vote: None,
            proposal: initial,
            received: BTreeMap::new(),
            settled: BTreeMap::new(),
            finalize_at: None,
        };
        new.record_own_vote();
        new
    }

    /// This server is no candidate, but stands against candidates with a shorter history than its
    /// own last zxid and current epoch.
    pub(super) fn stand_as_fallback(&mut self, zxid: Zxid, peer_epoch: Epoch) {
        self.fallback_vote = Some((peer_epoch, zxid));
    }

    /// Whether this server currently proposes itself as a fallback.
    pub(super) fn is_fallback(&self) -> bool {
        self.fallback_vote.is_some() && self.proposal.leader == self.me
    }

    /// Counts a notification of a voting member.
    pub(super) fn on_vote(
        &mut self,
        now: Time,
        from: ServerId,
        vote: Vote,
        members: &Membership,
    ) -> RoundOutcome {
        match vote.state {
            PeerState::Looking => self.on_looking(now, from, vote, members),
            PeerState::Following | PeerState::Leading => self.on_settled(from, vote, members),
            PeerState::Observing => RoundOutcome::Quiet,
        }
    }

    /// A vote of a server that looks for a leader, too.
    fn on_looking(
        &mut self,
        now: Time,
        from: ServerId,
        vote: Vote,
        members: &Membership,
    ) -> RoundOutcome {
        let untrusted = |v: &Vote| v.zxid == Zxid::UNTRUSTED;
        if untrusted(&self.initial) || untrusted(&vote) || vote.round < self.proposal.round {
            return RoundOutcome::Quiet;
        }
        let mut changed = false;
        if vote.round > self.proposal.round {
            self.received.clear();
            self.proposal = Vote { round: vote.round, ..self.initial };
            changed = true;
        }
        if vote.beats(&self.proposal, members) {
            self.proposal = Vote { state: PeerState::Looking, version: 0, ..vote };
            changed = true;
        }
        let known = (self.proposal.peer_epoch, self.proposal.zxid);
        if self.proposal.leader != NOBODY
            && let Some((peer_epoch, zxid)) = self.fallback_vote.filter(|own| *own > known)
        {
            self.proposal = Vote { leader: self.me, zxid, peer_epoch, ..self.proposal };
            changed = true;
        }
        self.received.insert(from, Vote { version: 0, ..vote });
        if changed {
            self.record_own_vote();
            self.finalize_at = None;
        }
        self.update_quorum_wait(now, members);
        if changed { RoundOutcome::Broadcast } else { RoundOutcome::Quiet }
    }

    /// A server looks for a leader. Whether it had reported one before.
    pub(super) fn clear_settled(&mut self, from: ServerId) -> bool {
        self.settled.remove(&from).is_some()
    }

    /// Continues in the later round of a voter that has no candidate.
    pub(super) fn jump_to_round(&mut self, round: i64) -> RoundOutcome {
        if self.initial.zxid == Zxid::UNTRUSTED || round <= self.proposal.round {
            return RoundOutcome::Quiet;
        }
        self.received.clear();
        self.proposal = Vote { round, ..self.initial };
        self.record_own_vote();
        self.finalize_at = None;
        RoundOutcome::Broadcast
    }

    /// Starts the wait for better votes once a quorum has this proposal. Each further vote restarts
    /// it.
    pub(super) fn update_quorum_wait(&mut self, now: Time, members: &Membership) {
        let finalize_ms = self.finalize_ms;
        self.finalize_at =
            agreed(&self.received, &self.proposal, members).then(|| now.plus_ms(finalize_ms));
    }

    /// Whether this server has voted for the proposal.
    pub(super) fn has_agreed(&self, id: ServerId) -> bool {
        self.received.get(&id).is_some_and(|vote| vote.agrees_with(&self.proposal))
    }

    /// A vote of a server that has a leader. During a reconfiguration a quorum of the committed
    /// members is enough to join their leader; to lead, a server needs quorums of both
    /// configurations.
    fn on_settled(&mut self, from: ServerId, vote: Vote, members: &Membership) -> RoundOutcome {
        let agreed = |votes: &BTreeMap<ServerId, Vote>| {
            let yes = supporters(votes, &vote);
            members.is_quorum(&yes) || (vote.leader != self.me && members.is_committed_quorum(&yes))
        };
        if vote.round == self.proposal.round {
            // Epochs are not compared within a round: some servers may not know the new one yet.
            self.received.insert(from, Vote { version: 0, ..vote });
            if agreed(&self.received) && self.leader_confirms(&self.received, &vote) {
                return RoundOutcome::Settled(vote);
            }
        }
        self.settled.insert(from, vote);
        if agreed(&self.settled) && self.leader_confirms(&self.settled, &vote) {
            return RoundOutcome::Settled(vote);
        }
        RoundOutcome::Quiet
    }

    /// The leader itself must report that it leads. If it is this server, the vote must be of its
    /// own round (`checkLeader`).
    fn leader_confirms(&self, votes: &BTreeMap<ServerId, Vote>, vote: &Vote) -> bool {
        if vote.leader == self.me {
            self.proposal.round == vote.round
        } else {
            votes.get(&vote.leader).is_some_and(|v| v.state == PeerState::Leading)
        }
    }

    fn record_own_vote(&mut self) {
        if self.votes {
            self.received.insert(self.me, self.proposal);
        }
    }
}

/// Whether a quorum has this vote.
fn agreed(votes: &BTreeMap<ServerId, Vote>, on: &Vote, members: &Membership) -> bool {
    members.is_quorum(&supporters(votes, on))
}

fn supporters(votes: &BTreeMap<ServerId, Vote>, on: &Vote) -> AckSet {
    votes.iter().filter(|(_, v)| v.agrees_with(on)).map(|(id, _)| *id).collect()
}
