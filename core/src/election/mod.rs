//! Leader election as ZooKeeper does it: FastLeaderElection over its own connections, as one
//! pure machine.
//!
//! A server that looks for a leader tells everybody whom it would follow, adopts every better
//! vote, and is done when a quorum votes alike and nothing better came for a while, or when a
//! quorum of servers that have settled names their leader.

mod connections;
mod hello;
mod notification;
mod round;
#[cfg(test)]
mod tests;
mod vote;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use tracing::{debug, info};

use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::quorum::{Verifier, verifier};
use crate::types::{ConnId, Epoch, ServerId, Time, Zxid};

use connections::{Connections, Incoming};
pub use notification::Notification;
use round::{Outcome, Round};
pub use vote::{PeerState, Vote};

/// The times of an election, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ElectionOptions {
    /// First wait before a vote is said again (`fastleader.minNotificationInterval`).
    pub min_notification_ms: u64,
    /// The wait doubles up to this (`fastleader.maxNotificationInterval`).
    pub max_notification_ms: u64,
    /// How long a quorum's choice waits for a better vote (`finalizeWait`).
    pub finalize_wait_ms: u64,
    /// For dialling and for the peer's hello (`cnxTimeout`).
    pub handshake_ms: u64,
}

impl Default for ElectionOptions {
    fn default() -> Self {
        ElectionOptions {
            min_notification_ms: 200,
            max_notification_ms: 60_000,
            finalize_wait_ms: 200,
            handshake_ms: 5_000,
        }
    }
}

/// One server's part in elections, for the life of the process.
#[derive(Debug)]
pub struct Election {
    me: ServerId,
    config: Arc<EnsembleConfig>,
    config_text: String,
    verifier: Box<dyn Verifier>,
    options: ElectionOptions,
    connections: Connections,
    /// The logical clock: counts rounds.
    clock: i64,
    /// Whether there is anything to tell: not before the first round.
    begun: bool,
    state: State,
    /// The vote that is told to others: the proposal while looking, the outcome afterwards.
    current: Vote,
    result: Option<Vote>,
}

#[derive(Debug)]
enum State {
    /// Not begun, or the outcome stands.
    Idle,
    Looking {
        round: Round,
        say_again_at: Time,
        wait_ms: u64,
    },
}

impl Election {
    /// A server that has not looked for a leader yet.
    pub fn new(me: ServerId, config: Arc<EnsembleConfig>, options: ElectionOptions) -> Election {
        let vote = Vote {
            leader: me,
            zxid: Zxid::ZERO,
            peer_epoch: Epoch(0),
            round: 0,
            state: PeerState::Looking,
            version: 0,
        };
        Election {
            me,
            config_text: config.to_text(),
            verifier: verifier(&config),
            connections: Connections::new(me, config.clone(), options.handshake_ms),
            config,
            options,
            clock: 0,
            begun: false,
            state: State::Idle,
            current: vote,
            result: None,
        }
    }

    /// Begins a round with these credentials: the last logged zxid and `currentEpoch`.
    pub fn look(&mut self, now: Time, last_zxid: Zxid, current_epoch: Epoch, out: &mut Actions) {
        // The clock may have been taken from a peer, so that it can be anything.
        self.clock = self.clock.wrapping_add(1);
        self.begun = true;
        self.result = None;
        let voter = self.config.is_voter(self.me);
        let mut round = Round::new(self.me, voter, self.clock, last_zxid, current_epoch);
        round.weigh(now, self.verifier.as_ref(), self.options.finalize_wait_ms);
        info!(round = self.clock, zxid = %last_zxid, epoch = %current_epoch, "looking for a leader");
        self.current = round.proposal;
        let wait_ms = self.options.min_notification_ms;
        self.state = State::Looking { round, say_again_at: now.plus_ms(wait_ms), wait_ms };
        self.broadcast(now, out);
    }

    /// The outcome of a round, once.
    pub fn take_result(&mut self) -> Option<Vote> {
        self.result.take()
    }

    /// From now on LOOKING peers are told that this server has settled in this state.
    pub fn settled(&mut self, state: PeerState) {
        self.current.state = state;
    }

    /// The established epoch replaces the elected one in what joiners are told
    /// (`QuorumPeer.updateElectionVote`).
    pub fn update_epoch(&mut self, epoch: Epoch) {
        // A proposal keeps the epoch of its candidate.
        if matches!(self.state, State::Idle) {
            self.current.peer_epoch = epoch;
        }
    }

    /// The vote that others are told.
    pub fn current_vote(&self) -> Vote {
        self.current
    }

    /// Whether a connection is the election's.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.connections.owns(conn)
    }

    /// A connection of the election port is established.
    pub fn opened(&mut self, now: Time, conn: ConnId, out: &mut Actions) {
        self.connections.opened(now, conn, out);
    }

    /// Bytes arrived on such a connection.
    pub fn received(&mut self, now: Time, conn: ConnId, bytes: &Bytes, out: &mut Actions) {
        let mut messages: Vec<Incoming> = Vec::new();
        self.connections.received(now, conn, bytes, &mut messages, out);
        for (from, payload) in messages {
            match Notification::parse(&payload) {
                Ok(notification) => self.take(now, from, notification.vote, out),
                Err(what) => debug!(peer = %from, %what, "a notification is ignored"),
            }
        }
    }

    /// Such a connection is gone, or its dial failed.
    pub fn closed(&mut self, conn: ConnId) {
        self.connections.closed(conn);
    }

    /// Time passed.
    pub fn tick(&mut self, now: Time, out: &mut Actions) {
        self.connections.tick(now, out);
        let max = self.options.max_notification_ms;
        let State::Looking { round, say_again_at, wait_ms } = &mut self.state else { return };
        if round.finalize_at.is_some_and(|at| at <= now) {
            let vote = round.proposal;
            return self.conclude(vote);
        }
        if *say_again_at <= now {
            *wait_ms = (*wait_ms * 2).min(max);
            *say_again_at = now.plus_ms(*wait_ms);
            self.broadcast(now, out);
        }
    }

    /// When [`Election::tick`] has work.
    pub fn deadline(&self) -> Option<Time> {
        let looking = match &self.state {
            State::Idle => None,
            State::Looking { round, say_again_at, .. } => {
                Some(round.finalize_at.map_or(*say_again_at, |at| at.min(*say_again_at)))
            }
        };
        [looking, self.connections.deadline()].into_iter().flatten().min()
    }

    fn take(&mut self, now: Time, from: ServerId, vote: Vote, out: &mut Actions) {
        if !self.begun {
            return;
        }
        if !self.config.is_voter(from) {
            // Observers and strangers only learn the outcome.
            return self.tell(now, from, out);
        }
        let State::Looking { round, say_again_at, wait_ms } = &mut self.state else {
            if vote.state == PeerState::Looking {
                self.tell(now, from, out);
            }
            return;
        };
        if !self.config.is_voter(vote.leader) {
            return debug!(peer = %from, leader = %vote.leader, "a vote for a server that does not vote");
        }
        *say_again_at = now.plus_ms(*wait_ms);
        let behind = vote.state == PeerState::Looking && vote.round < round.proposal.round;
        let voter = self.config.is_voter(self.me);
        let finalize = self.options.finalize_wait_ms;
        match round.take(now, from, vote, voter, self.verifier.as_ref(), finalize) {
            Outcome::Broadcast => {
                self.current = round.proposal;
                self.clock = round.proposal.round;
                self.broadcast(now, out);
            }
            Outcome::Settled(vote) => self.conclude(vote),
            Outcome::Quiet if behind => self.tell(now, from, out),
            Outcome::Quiet => {}
        }
    }

    fn conclude(&mut self, vote: Vote) {
        self.clock = vote.round;
        let state = if vote.leader == self.me {
            PeerState::Leading
        } else if self.config.is_voter(self.me) {
            PeerState::Following
        } else {
            PeerState::Observing
        };
        info!(leader = %vote.leader, round = vote.round, zxid = %vote.zxid, ?state, "elected");
        self.current = Vote { state, version: 0, ..vote };
        self.state = State::Idle;
        self.result = Some(self.current);
    }

    fn tell(&mut self, now: Time, to: ServerId, out: &mut Actions) {
        let message = Notification::encode(&self.current, &self.config_text);
        self.connections.send(now, to, &message, out);
    }

    fn broadcast(&mut self, now: Time, out: &mut Actions) {
        let message = Notification::encode(&self.current, &self.config_text);
        let me = self.me;
        for to in self.config.clone().voters().filter(|id| *id != me) {
            self.connections.send(now, to, &message, out);
        }
    }
}
