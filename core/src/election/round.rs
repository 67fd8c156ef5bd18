//! One server's view of one election round (`FastLeaderElection.lookForLeader`).

use alloc::collections::BTreeMap;

use super::vote::{PeerState, Vote};
use crate::quorum::{AckSet, Membership, Verifier};
use crate::types::{Epoch, ServerId, Time, Zxid};

/// What a notification led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RoundOutcome {
    /// Nothing to say.
    Quiet,
    /// The proposal or the round changed: tell everybody.
    Broadcast,
    /// A quorum of settled servers agrees: this vote is final.
    Settled(Vote),
}

/// Whom a server proposes that has no candidate (`FastLeaderElection.getInitId`).
pub(super) const NOBODY: ServerId = ServerId(i64::MIN);

/// The votes of a round and of those who settled in another.
#[derive(Debug)]
pub(super) struct Round {
    me: ServerId,
    /// This server's own credentials; an observer's lose to everybody's.
    initial: Vote,
    /// With what a voter-to-be proposes itself in place of whoever knows less.
    reserve: Option<(Epoch, Zxid)>,
    pub(super) proposal: Vote,
    received: BTreeMap<ServerId, Vote>,
    settled: BTreeMap<ServerId, Vote>,
    /// When the wait for better votes ends; set while a quorum agrees.
    pub(super) finalize_at: Option<Time>,
}

impl Round {
    /// `candidate`: last zxid and current epoch of a server that may lead. `votes`: whether its
    /// own vote counts.
    pub(super) fn new(
        me: ServerId,
        candidate: Option<(Zxid, Epoch)>,
        votes: bool,
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
            initial,
            reserve: None,
            proposal: initial,
            received: BTreeMap::new(),
            settled: BTreeMap::new(),
            finalize_at: None,
        };
        new.note_own(votes);
        new
    }

    /// This server, which is no candidate, stands in for those who know less: its last zxid and
    /// current epoch.
    pub(super) fn stand_in(&mut self, zxid: Zxid, peer_epoch: Epoch) {
        self.reserve = Some((peer_epoch, zxid));
    }

    /// Whether it does.
    pub(super) fn stands_in(&self) -> bool {
        self.reserve.is_some() && self.proposal.leader == self.me
    }

    /// Takes a notification of a voting member.
    pub(super) fn take(
        &mut self,
        now: Time,
        from: ServerId,
        vote: Vote,
        votes: bool,
        members: &Membership,
        finalize_ms: u64,
    ) -> RoundOutcome {
        match vote.state {
            PeerState::Looking => self.take_looking(now, from, vote, votes, members, finalize_ms),
            PeerState::Following | PeerState::Leading => self.take_settled(from, vote, members),
            PeerState::Observing => RoundOutcome::Quiet,
        }
    }

    fn take_looking(
        &mut self,
        now: Time,
        from: ServerId,
        vote: Vote,
        votes: bool,
        members: &Membership,
        finalize_ms: u64,
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
            && let Some((peer_epoch, zxid)) = self.reserve.filter(|own| *own > known)
        {
            self.proposal = Vote { leader: self.me, zxid, peer_epoch, ..self.proposal };
            changed = true;
        }
        self.received.insert(from, Vote { version: 0, ..vote });
        if changed {
            self.note_own(votes);
            self.finalize_at = None;
        }
        self.weigh(now, members, finalize_ms);
        if changed { RoundOutcome::Broadcast } else { RoundOutcome::Quiet }
    }

    /// A server looks for a leader. Says whether it told before that it had one.
    pub(super) fn wakes(&mut self, from: ServerId) -> bool {
        self.settled.remove(&from).is_some()
    }

    /// Goes on to a later round that a voter is in who has nobody to propose.
    pub(super) fn catch_up(&mut self, round: i64, votes: bool) -> RoundOutcome {
        if self.initial.zxid == Zxid::UNTRUSTED || round <= self.proposal.round {
            return RoundOutcome::Quiet;
        }
        self.received.clear();
        self.proposal = Vote { round, ..self.initial };
        self.note_own(votes);
        self.finalize_at = None;
        RoundOutcome::Broadcast
    }

    /// Starts the wait for better votes once a quorum shares this proposal. A vote that
    /// arrives meanwhile starts it anew.
    pub(super) fn weigh(&mut self, now: Time, members: &Membership, finalize_ms: u64) {
        self.finalize_at =
            agreed(&self.received, &self.proposal, members).then(|| now.plus_ms(finalize_ms));
    }

    /// Whether somebody shares this proposal.
    pub(super) fn has_agreed(&self, id: ServerId) -> bool {
        self.received.get(&id).is_some_and(|vote| vote.agrees_with(&self.proposal))
    }

    /// Whom those follow who have settled is for the leader and its quorums to judge: to join
    /// them, the word of a quorum of the current members is enough. To lead by it is not.
    fn take_settled(&mut self, from: ServerId, vote: Vote, members: &Membership) -> RoundOutcome {
        let agreed = |votes: &BTreeMap<ServerId, Vote>| {
            let yes = supporters(votes, &vote);
            members.is_quorum(&yes) || (vote.leader != self.me && members.is_committed_quorum(&yes))
        };
        if vote.round == self.proposal.round {
            // Within a round the leader says it all: some may not know the new epoch yet.
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

    /// The leader itself must say that it leads; if it is this server, the round must be ours
    /// (`checkLeader`).
    fn leader_confirms(&self, votes: &BTreeMap<ServerId, Vote>, vote: &Vote) -> bool {
        if vote.leader == self.me {
            self.proposal.round == vote.round
        } else {
            votes.get(&vote.leader).is_some_and(|v| v.state == PeerState::Leading)
        }
    }

    fn note_own(&mut self, votes: bool) {
        if votes {
            self.received.insert(self.me, self.proposal);
        }
    }
}

fn agreed(votes: &BTreeMap<ServerId, Vote>, on: &Vote, members: &Membership) -> bool {
    members.is_quorum(&supporters(votes, on))
}

fn supporters(votes: &BTreeMap<ServerId, Vote>, on: &Vote) -> AckSet {
    votes.iter().filter(|(_, v)| v.agrees_with(on)).map(|(id, _)| *id).collect()
}
