//! Leader election as ZooKeeper does it: FastLeaderElection over its own connections, as one
//! pure machine.
//!
//! `Round` counts the votes; `Connections` keeps one connection with each peer (the server with
//! the larger id dials); `claims` decides which connection speaks for a member.

mod claims;
mod connections;
mod hello;
mod notification;
mod round;
#[cfg(test)]
mod tests;
mod vote;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::Bytes;
use tracing::{debug, info, warn};

use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::mutant::mutant;
use crate::quorum::Membership;
use crate::types::{ConnId, Epoch, ServerId, Time, Zxid};

pub use claims::Proof;
use connections::{Connections, Incoming};
pub use notification::Notification;
use round::{NOBODY, Round, RoundOutcome};
pub use vote::{PeerState, Vote};

/// A decision of the election, returned by the step that leads to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A leader is elected. The round has ended.
    Elected(ServerId),
    /// A peer has sent a newer configuration. Votes are counted again after [`Election::look`] with
    /// it.
    NewerConfiguration(Box<EnsembleConfig>),
}

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
    /// Whether a newer configuration in a notification is taken over (`reconfigEnabled`).
    pub adopts_configurations: bool,
}

impl Default for ElectionOptions {
    fn default() -> Self {
        ElectionOptions {
            min_notification_ms: 200,
            max_notification_ms: 60_000,
            finalize_wait_ms: 200,
            handshake_ms: 5_000,
            adopts_configurations: false,
        }
    }
}

/// Once the interval between a server's notifications is this long, ms, it withdraws its fallback
/// candidacy: the servers that it needs for that do not answer.
const MAX_FALLBACK_INTERVAL_MS: u64 = 3_200;

/// Servers without a vote whose answers are counted.
const MAX_NONMEMBERS: usize = 64;
/// Answers to one of them within half of the shortest interval between two notifications.
const MAX_ANSWERS: u32 = 8;

/// One server's part in elections, for the life of the process.
#[derive(Debug)]
pub struct Election {
    me: ServerId,
    members: Arc<Membership>,
    options: ElectionOptions,
    connections: Connections,
    /// Counts rounds (`logicalclock`).
    clock: i64,
    /// Whether this server has a vote to send: false before the first round.
    begun: bool,
    state: State,
    /// The vote that is sent to others: the proposal while looking, the outcome afterwards.
    current: Vote,
    result: Option<Vote>,
    /// Answers to servers without a vote: since when they are counted, and their number.
    answered: BTreeMap<ServerId, (Time, u32)>,
    /// A newer configuration that a peer has sent.
    newer_config: Option<Box<EnsembleConfig>>,
    /// Members' answers at their configured addresses.
    proofs: Vec<Proof>,
    /// Whether the log has the warning that newer configurations are not adopted.
    has_warned: bool,
}

#[derive(Debug)]
enum State {
    /// Not begun, or the outcome stands.
    Idle,
    Looking {
        round: Box<Round>,
        resend_at: Time,
        resend_interval_ms: u64,
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
        let members = Arc::new(Membership::new(config, None));
        Election {
            me,
            connections: Connections::new(me, members.clone(), options.handshake_ms),
            members,
            options,
            clock: 0,
            begun: false,
            state: State::Idle,
            current: vote,
            result: None,
            answered: BTreeMap::new(),
            newer_config: None,
            proofs: Vec::new(),
            has_warned: false,
        }
    }

    /// Replaces the members. A round in progress has to be restarted with
    /// [`Election::look`] (`QuorumPeer.restartLeaderElection`).
    pub fn set_members(&mut self, members: Arc<Membership>) {
        self.connections.set_members(members.clone());
        self.members = members;
    }

    /// The members that notifications are judged by.
    pub(crate) fn members(&self) -> &Arc<Membership> {
        &self.members
    }

    /// The outcome that the step has led to, once.
    fn take_outcome(&mut self) -> Option<Outcome> {
        if let Some(config) = self.newer_config.take() {
            return Some(Outcome::NewerConfiguration(config));
        }
        self.result.take().map(|vote| Outcome::Elected(vote.leader))
    }

    /// A reconfiguration has named the next leader: no round is needed
    /// (`QuorumPeer.updateVote`).
    pub fn appoint(&mut self, leader: ServerId, zxid: Zxid) {
        let (round, peer_epoch, version) = (-1, Epoch(-1), 0);
        let state = self.state_under(leader);
        self.begun = true;
        self.current = Vote { leader, zxid, peer_epoch, round, state, version };
        self.state = State::Idle;
        self.result = None;
    }

    /// Begins a round with these credentials: the last logged zxid and `currentEpoch`. A server
    /// that may not lead votes for others.
    pub fn look(
        &mut self,
        now: Time,
        last_zxid: Zxid,
        current_epoch: Epoch,
        may_lead: bool,
        out: &mut Actions,
    ) {
        self.begun = true;
        self.result = None;
        self.newer_config = None;
        // An incoming voter votes for others. If its history is longer than that of the server that
        // was elected, which it could not follow, it may be the only server that can lead: it
        // stands as a fallback candidate.
        let is_candidate = self.members.committed().is_voter(self.me);
        let is_incoming_voter = !is_candidate && self.members.is_voter_in_any(self.me);
        let last = self.current;
        let was_elected = last.state == PeerState::Following && last.peer_epoch.0 >= 0;
        let knew_less = (last.peer_epoch, last.zxid) < (current_epoch, last_zxid);
        let stands_in = is_incoming_voter && was_elected && knew_less && may_lead;
        let is_candidate = is_candidate && may_lead;
        self.begin(now, is_candidate.then_some((last_zxid, current_epoch)), |round| {
            info!(zxid = %last_zxid, epoch = %current_epoch, stands_in, "looking for a leader");
            if stands_in {
                round.stand_as_fallback(last_zxid, current_epoch);
            }
        });
        self.broadcast(now, out);
    }

    /// Begins the next round.
    fn begin(
        &mut self,
        now: Time,
        candidate: Option<(Zxid, Epoch)>,
        prepare: impl FnOnce(&mut Round),
    ) {
        // The round number may come from a peer, so it can be any number.
        self.clock = self.clock.wrapping_add(1);
        let votes = self.members.is_voter_in_any(self.me);
        let finalize_ms = self.options.finalize_wait_ms;
        let mut round = Round::new(self.me, candidate, votes, finalize_ms, self.clock);
        prepare(&mut round);
        round.update_quorum_wait(now, &self.members);
        self.current = round.proposal;
        let resend_interval_ms = self.options.min_notification_ms;
        self.state = State::Looking {
            round: Box::new(round),
            resend_at: now.plus_ms(resend_interval_ms),
            resend_interval_ms,
        };
    }

    /// The established epoch replaces the elected one in later notifications
    /// (`QuorumPeer.updateElectionVote`).
    pub fn update_epoch(&mut self, epoch: Epoch) {
        // A proposal keeps the epoch of its candidate.
        if matches!(self.state, State::Idle) {
            self.current.peer_epoch = epoch;
        }
    }

    /// The vote that is sent to others.
    pub fn current_vote(&self) -> Vote {
        self.current
    }

    /// Whether a connection belongs to the election.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.connections.owns(conn)
    }

    /// A connection of the election port is established.
    pub fn opened(&mut self, now: Time, conn: ConnId, ip: IpAddr, out: &mut Actions) {
        self.connections.opened(now, conn, ip, out);
    }

    /// Asks a member for its vote at its configured address; [`Election::take_proof`] has the
    /// answer.
    pub fn ask(&mut self, now: Time, member: ServerId, out: &mut Actions) {
        let vote = Vote { state: PeerState::Looking, ..self.current };
        let question = Notification::encode(&vote, self.members.text());
        self.connections.ask(now, member, &question, out);
    }

    /// A member's answer, once.
    pub fn take_proof(&mut self) -> Option<Proof> {
        self.proofs.pop()
    }

    /// An elected leader could not be reached: the connection that claims to be of it may be of
    /// another server.
    pub fn doubt(&mut self, now: Time, member: ServerId) {
        if let Some(claims) = self.connections.claims(member) {
            claims.doubt(now);
        }
    }

    /// Bytes arrived on a connection of the election.
    pub fn received(
        &mut self,
        now: Time,
        conn: ConnId,
        bytes: &Bytes,
        out: &mut Actions,
    ) -> Option<Outcome> {
        let mut messages: Vec<Incoming> = Vec::new();
        self.connections.received(now, conn, bytes, &mut messages, out);
        for message in messages {
            match Notification::parse(&message.payload) {
                Ok(notification) => self.on_notification(now, &message, &notification, out),
                Err(what) => debug!(peer = %message.from, %what, "ignoring a notification"),
            }
        }
        self.take_outcome()
    }

    /// A notification of a peer, or of a connection that claims to be of that peer: a vote and a
    /// configuration.
    fn on_notification(
        &mut self,
        now: Time,
        message: &Incoming,
        notification: &Notification,
        out: &mut Actions,
    ) {
        let Incoming { from, proven, answer, .. } = *message;
        let (vote, text) = (notification.vote, notification.config.as_deref().unwrap_or_default());
        let is_member = self.members.member(from).is_some();
        let mut is_doubted = false;
        if let Some(claims) = self.connections.claims(from) {
            claims.note(from, &vote, proven);
            is_doubted = claims.is_doubted(now) && !proven;
            mutant!(ClaimsAreBelieved => is_doubted = false);
            if answer {
                let (state, leader, log) = (vote.state, vote.leader, claims.log());
                let version = version_of(text);
                self.proofs.push(Proof { member: from, state, leader, version, log });
                self.connections.answered(from);
            }
        }
        if matches!(self.state, State::Looking { .. })
            && (is_doubted || (!proven && is_member && self.is_to_adopt(text)))
        {
            // Only an answer from the configured address counts.
            return self.ask(now, from, out);
        }
        self.on_config(from, text);
        // Votes of another configuration do not count in this one.
        if self.newer_config.is_none() {
            self.on_vote(now, from, vote, answer, out);
        }
    }

    /// A connection of the election has ended, or its dial failed.
    pub fn closed(&mut self, now: Time, conn: ConnId, out: &mut Actions) -> Option<Outcome> {
        self.connections.closed(now, conn);
        self.try_conclude_early(now, out);
        self.take_outcome()
    }

    /// Skips the wait for better votes when none can arrive: this server is the candidate, and
    /// every other voter has agreed or is known to be down. It dials the voters that have not
    /// answered to find out, and announces the result, so that the others need not wait either
    /// (`FastLeaderElection` always waits).
    fn try_conclude_early(&mut self, now: Time, out: &mut Actions) {
        let State::Looking { round, .. } = &self.state else { return };
        if round.finalize_at.is_none() || round.proposal.leader != self.me {
            return;
        }
        let mut is_open = false;
        for id in self.members.voters() {
            if !round.has_agreed(id) && !self.connections.is_down(id) {
                self.connections.probe(now, id, out);
                is_open = true;
            }
        }
        if is_open {
            return;
        }
        self.conclude(round.proposal);
        let message = Notification::encode(&self.current, self.members.text());
        for to in self.members.clone().voters().filter(|id| *id != self.me) {
            self.connections.announce(to, &message, out);
        }
    }

    /// The time of [`Election::deadline`] has come.
    pub fn tick(&mut self, now: Time, out: &mut Actions) -> Option<Outcome> {
        self.connections.tick(now, out);
        self.round_tick(now, out);
        self.take_outcome()
    }

    fn round_tick(&mut self, now: Time, out: &mut Actions) {
        let max = self.options.max_notification_ms;
        let State::Looking { round, resend_at, resend_interval_ms } = &mut self.state else {
            return;
        };
        if round.finalize_at.is_some_and(|at| at <= now) {
            let vote = round.proposal;
            return self.conclude(vote);
        }
        if *resend_at <= now {
            *resend_interval_ms = (*resend_interval_ms * 2).min(max);
            *resend_at = now.plus_ms(*resend_interval_ms);
            if round.is_fallback() && *resend_interval_ms >= MAX_FALLBACK_INTERVAL_MS {
                self.begin(now, None, |_| info!("not standing in for others any more"));
            }
            self.broadcast(now, out);
            self.ask_doubted(now, out);
        }
    }

    /// Dials voters whose votes count only at their configured addresses.
    fn ask_doubted(&mut self, now: Time, out: &mut Actions) {
        for id in self.members.clone().voters() {
            if self.connections.claims(id).is_some_and(|claims| claims.is_doubted(now)) {
                self.ask(now, id, out);
            }
        }
    }

    /// When [`Election::tick`] has work.
    pub fn deadline(&self) -> Option<Time> {
        let looking = match &self.state {
            State::Idle => None,
            State::Looking { round, resend_at, .. } => {
                Some(round.finalize_at.map_or(*resend_at, |at| at.min(*resend_at)))
            }
        };
        [looking, self.connections.deadline()].into_iter().flatten().min()
    }

    /// Whether this is a newer configuration that may be adopted.
    fn is_to_adopt(&self, text: &str) -> bool {
        self.options.adopts_configurations && version_of(text) > self.members.committed().version
    }

    /// Adopts the configuration of a peer if it is newer and this server looks for a leader.
    fn on_config(&mut self, from: ServerId, text: &str) {
        let version = version_of(text);
        let mine = self.members.committed().version;
        if version <= mine || !matches!(self.state, State::Looking { .. }) {
            return;
        }
        if !self.options.adopts_configurations {
            if !core::mem::replace(&mut self.has_warned, true) {
                warn!(peer = %from, "it has configuration {version:x}, this server {mine:x}, and \
                    with reconfigEnabled=false it is not taken over: compare the server lines");
            }
            return;
        }
        if self.members.member(from).is_none() {
            return debug!(peer = %from, "ignoring a configuration from a server outside the members");
        }
        match EnsembleConfig::parse("a notification", text) {
            Ok(config) => self.newer_config = Some(Box::new(config)),
            Err(error) => debug!(peer = %from, %error, "ignoring a configuration"),
        }
    }

    fn on_vote(&mut self, now: Time, from: ServerId, vote: Vote, answer: bool, out: &mut Actions) {
        if !self.begun {
            return;
        }
        if !self.members.is_voter_in_any(from) {
            if vote.state == PeerState::Looking && self.may_reply_to_nonmember(now, from) {
                self.reply_to(now, from, out);
            }
            return;
        }
        let State::Looking { round, resend_at, resend_interval_ms } = &mut self.state else {
            if vote.state == PeerState::Looking && !answer {
                self.reply_to(now, from, out);
            }
            return;
        };
        // A peer that had a leader when it received the vote has ignored it.
        let unaware = vote.state == PeerState::Looking
            && (round.clear_settled(from) | (vote.round < round.proposal.round));
        let mut is_unaware_of_config = vote.state == PeerState::Looking && vote.leader == NOBODY;
        mutant!(VoterToBeUnheard => is_unaware_of_config = false);
        let outcome = if self.members.is_voter_in_any(vote.leader) {
            *resend_at = now.plus_ms(*resend_interval_ms);
            round.on_vote(now, from, vote, &self.members)
        } else if is_unaware_of_config {
            // The peer does not know the configuration that gives it a vote, and is needed to
            // commit it.
            round.jump_to_round(vote.round)
        } else {
            return debug!(peer = %from, leader = %vote.leader, "a vote for a server that does not vote");
        };
        match outcome {
            RoundOutcome::Broadcast => {
                self.current = round.proposal;
                self.clock = round.proposal.round;
                self.broadcast(now, out);
            }
            RoundOutcome::Settled(vote) => self.conclude(vote),
            RoundOutcome::Quiet if unaware => self.reply_to(now, from, out),
            RoundOutcome::Quiet => {}
        }
        self.try_conclude_early(now, out);
    }

    /// Whether to answer a server without a vote that looks for a leader. Two servers that have no
    /// vote for each other must not answer each other's answers for ever.
    fn may_reply_to_nonmember(&mut self, now: Time, from: ServerId) -> bool {
        if self.answered.len() >= MAX_NONMEMBERS {
            self.answered.clear();
        }
        let (since, count) = self.answered.entry(from).or_insert((now, 0));
        if now.ms_since(*since) >= self.options.min_notification_ms / 2 {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MAX_ANSWERS
    }

    fn conclude(&mut self, vote: Vote) {
        self.clock = vote.round;
        let state = self.state_under(vote.leader);
        info!(leader = %vote.leader, round = vote.round, zxid = %vote.zxid, ?state, "elected");
        self.current = Vote { state, version: 0, ..vote };
        self.state = State::Idle;
        self.proofs.clear();
        self.result = Some(self.current);
    }

    /// This server's state under a leader.
    fn state_under(&self, leader: ServerId) -> PeerState {
        if leader == self.me {
            PeerState::Leading
        } else if self.members.observes(self.me) {
            PeerState::Observing
        } else {
            PeerState::Following
        }
    }

    fn reply_to(&mut self, now: Time, to: ServerId, out: &mut Actions) {
        let message = Notification::encode(&self.current, self.members.text());
        self.connections.send(now, to, &message, out);
    }

    fn broadcast(&mut self, now: Time, out: &mut Actions) {
        let message = Notification::encode(&self.current, self.members.text());
        let me = self.me;
        for to in self.members.clone().voters().filter(|id| *id != me) {
            self.connections.send(now, to, &message, out);
        }
    }
}

/// The version at the end of a configuration's text; 0 if there is none.
fn version_of(text: &str) -> i64 {
    let version = text.rsplit_once("version=").map_or("", |(_, version)| version.trim());
    i64::from_str_radix(version, 16).unwrap_or(0)
}
