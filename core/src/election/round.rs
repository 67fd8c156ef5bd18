//! One server's view of one election round (`FastLeaderElection.lookForLeader`).

use alloc::collections::BTreeMap;

use super::vote::{PeerState, Vote};
use crate::quorum::{AckSet, Verifier};
use crate::types::{Epoch, ServerId, Time, Zxid};

/// What a notification led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Nothing to say.
    Quiet,
    /// The proposal or the round changed: tell everybody.
    Broadcast,
    /// A quorum of settled servers agrees: this vote is final.
    Settled(Vote),
}

/// The votes of a round and of those who settled in another.
#[derive(Debug)]
pub(super) struct Round {
    me: ServerId,
    /// This server's own credentials; an observer's lose to everybody's.
    initial: Vote,
    pub(super) proposal: Vote,
    received: BTreeMap<ServerId, Vote>,
    settled: BTreeMap<ServerId, Vote>,
    /// When the wait for better votes ends; set while a quorum agrees.
    pub(super) finalize_at: Option<Time>,
}

impl Round {
    pub(super) fn new(me: ServerId, voter: bool, round: i64, zxid: Zxid, epoch: Epoch) -> Round {
        let (state, version) = (PeerState::Looking, 0);
        let initial = if voter {
            Vote { leader: me, zxid, peer_epoch: epoch, round, state, version }
        } else {
            let (leader, zxid, peer_epoch) = (ServerId(i64::MIN), Zxid(i64::MIN), Epoch(i64::MIN));
            Vote { leader, zxid, peer_epoch, round, state, version }
        };
        let (received, settled) = (BTreeMap::new(), BTreeMap::new());
        let mut new =
            Round { me, initial, proposal: initial, received, settled, finalize_at: None };
        new.note_own(voter);
        new
    }

    /// Takes a notification of a voting member.
    pub(super) fn take(
        &mut self,
        now: Time,
        from: ServerId,
        vote: Vote,
        voter: bool,
        verifier: &dyn Verifier,
        finalize_ms: u64,
    ) -> Outcome {
        match vote.state {
            PeerState::Looking => self.take_looking(now, from, vote, voter, verifier, finalize_ms),
            PeerState::Following | PeerState::Leading => self.take_settled(from, vote, verifier),
            PeerState::Observing => Outcome::Quiet,
        }
    }

    fn take_looking(
        &mut self,
        now: Time,
        from: ServerId,
        vote: Vote,
        voter: bool,
        verifier: &dyn Verifier,
        finalize_ms: u64,
    ) -> Outcome {
        let untrusted = |v: &Vote| v.zxid == Zxid::UNTRUSTED;
        if untrusted(&self.initial) || untrusted(&vote) || vote.round < self.proposal.round {
            return Outcome::Quiet;
        }
        let mut changed = false;
        if vote.round > self.proposal.round {
            self.received.clear();
            self.proposal = Vote { round: vote.round, ..self.initial };
            changed = true;
        }
        if vote.beats(&self.proposal, verifier) {
            self.proposal = Vote { state: PeerState::Looking, version: 0, ..vote };
            changed = true;
        }
        self.received.insert(from, Vote { version: 0, ..vote });
        if changed {
            self.note_own(voter);
            self.finalize_at = None;
        }
        self.weigh(now, verifier, finalize_ms);
        if changed { Outcome::Broadcast } else { Outcome::Quiet }
    }

    /// Starts the wait for better votes once a quorum shares this proposal. A vote that
    /// arrives meanwhile starts it anew.
    pub(super) fn weigh(&mut self, now: Time, verifier: &dyn Verifier, finalize_ms: u64) {
        self.finalize_at =
            agreed(&self.received, &self.proposal, verifier).then(|| now.plus_ms(finalize_ms));
    }

    fn take_settled(&mut self, from: ServerId, vote: Vote, verifier: &dyn Verifier) -> Outcome {
        if vote.round == self.proposal.round {
            // Within a round the leader says it all: some may not know the new epoch yet.
            self.received.insert(from, Vote { version: 0, ..vote });
            if agreed(&self.received, &vote, verifier)
                && self.leader_confirms(&self.received, &vote)
            {
                return Outcome::Settled(vote);
            }
        }
        self.settled.insert(from, vote);
        if agreed(&self.settled, &vote, verifier) && self.leader_confirms(&self.settled, &vote) {
            return Outcome::Settled(vote);
        }
        Outcome::Quiet
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

    fn note_own(&mut self, voter: bool) {
        if voter {
            self.received.insert(self.me, self.proposal);
        }
    }
}

fn agreed(votes: &BTreeMap<ServerId, Vote>, on: &Vote, verifier: &dyn Verifier) -> bool {
    let yes: AckSet = votes.iter().filter(|(_, v)| v.agrees_with(on)).map(|(id, _)| *id).collect();
    verifier.is_quorum(&yes)
}
