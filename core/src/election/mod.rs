//! Leader election as ZooKeeper does it: FastLeaderElection over its own connections, as one
//! pure machine.
//!
//! A server that looks for a leader tells everybody whom it would follow, adopts every better
//! vote, and is done when a quorum votes alike and nothing better came for a while, or when a
//! quorum of servers that have settled names their leader.

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

/// As soon as a server's wait before it says its vote again is so long, it does not stand in for
/// others any more: those who are needed for that do not hear of it.
const STANDS_IN_MS: u64 = 3_200;

/// So many servers without a vote are remembered.
const MOST_STRANGERS: usize = 64;
/// And answered so often within half of the shortest time between two notifications.
const MOST_ANSWERS: u32 = 8;

/// One server's part in elections, for the life of the process.
#[derive(Debug)]
pub struct Election {
    me: ServerId,
    members: Arc<Membership>,
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
    /// How often servers without a vote were answered of late, and since when that is counted.
    answered: BTreeMap<ServerId, (Time, u32)>,
    /// A newer configuration that a peer has told of.
    heard: Option<Box<EnsembleConfig>>,
    /// Members' answers at their configured addresses.
    proofs: Vec<Proof>,
    /// Whether somebody has read that newer ones are not taken over.
    has_warned: bool,
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
            heard: None,
            proofs: Vec::new(),
            has_warned: false,
        }
    }

    /// From now on these are the members. A round that is under way has to begin anew with
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
        if let Some(config) = self.heard.take() {
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

    /// Begins a round with these credentials: the last logged zxid and `currentEpoch`. Who may not
    /// lead votes for others.
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
        self.heard = None;
        // Who votes in a configuration that may come does so for others. If it knew more than the
        // one whom they elected, and who was not taken for a leader by it, then it may be the only
        // one who can lead.
        let is_candidate = self.members.committed().is_voter(self.me);
        let is_voter_to_be = !is_candidate && self.members.is_voter_in_any(self.me);
        let last = self.current;
        let was_elected = last.state == PeerState::Following && last.peer_epoch.0 >= 0;
        let knew_less = (last.peer_epoch, last.zxid) < (current_epoch, last_zxid);
        let stands_in = is_voter_to_be && was_elected && knew_less && may_lead;
        let is_candidate = is_candidate && may_lead;
        self.begin(now, is_candidate.then_some((last_zxid, current_epoch)), |round| {
            info!(zxid = %last_zxid, epoch = %current_epoch, stands_in, "looking for a leader");
            if stands_in {
                round.stand_in(last_zxid, current_epoch);
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
        // The clock may have been taken from a peer, so that it can be anything.
        self.clock = self.clock.wrapping_add(1);
        let votes = self.members.is_voter_in_any(self.me);
        let mut round = Round::new(self.me, candidate, votes, self.clock);
        prepare(&mut round);
        round.weigh(now, &self.members, self.options.finalize_wait_ms);
        self.current = round.proposal;
        let wait_ms = self.options.min_notification_ms;
        self.state = State::Looking { round, say_again_at: now.plus_ms(wait_ms), wait_ms };
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
    pub fn opened(&mut self, now: Time, conn: ConnId, ip: IpAddr, out: &mut Actions) {
        self.connections.opened(now, conn, ip, out);
    }

    /// Asks a member at its configured address what it says: [`Election::take_proof`] tells.
    pub fn ask(&mut self, now: Time, member: ServerId, out: &mut Actions) {
        let vote = Vote { state: PeerState::Looking, ..self.current };
        let question = Notification::encode(&vote, self.members.text());
        self.connections.ask(now, member, &question, out);
    }

    /// A member's answer, once.
    pub fn take_proof(&mut self) -> Option<Proof> {
        self.proofs.pop()
    }

    /// An elected leader could not be reached: whoever claims to be it may be somebody else.
    pub fn doubt(&mut self, now: Time, member: ServerId) {
        if let Some(claims) = self.connections.claims(member) {
            claims.doubt(now);
        }
    }

    /// Bytes arrived on such a connection.
    pub fn received(
        &mut self,
        now: Time,
        conn: ConnId,
        bytes: &Bytes,
        out: &mut Actions,
    ) -> Option<Outcome> {
        let mut messages: Vec<Incoming> = Vec::new();
        self.connections.received(now, conn, bytes, &mut messages, out);
        for Incoming { from, payload, proven, answer } in messages {
            match Notification::parse(&payload) {
                Ok(notification) => self.told(now, from, &notification, proven, answer, out),
                Err(what) => debug!(peer = %from, %what, "a notification is ignored"),
            }
        }
        self.take_outcome()
    }

    /// A peer has told its vote and its configuration, or whoever claims to be that peer has.
    fn told(
        &mut self,
        now: Time,
        from: ServerId,
        notification: &Notification,
        proven: bool,
        answer: bool,
        out: &mut Actions,
    ) {
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
            // Only its answer at its configured address counts.
            return self.ask(now, from, out);
        }
        self.hear(from, text);
        // The votes of another configuration are not counted in this one.
        if self.heard.is_none() {
            self.take(now, from, vote, answer, out);
        }
    }

    /// Such a connection is gone, or its dial failed.
    pub fn closed(&mut self, now: Time, conn: ConnId, out: &mut Actions) -> Option<Outcome> {
        self.connections.closed(now, conn);
        self.lead_at_once(now, out);
        self.take_outcome()
    }

    /// Whoever leads by a vote that nobody can better any more does so at once: every voter has
    /// agreed, or was there and is gone. It says so, and then the others do not wait for
    /// better votes either (`FastLeaderElection` waits for them in any case).
    fn lead_at_once(&mut self, now: Time, out: &mut Actions) {
        let State::Looking { round, .. } = &self.state else { return };
        if round.finalize_at.is_none() || round.proposal.leader != self.me {
            return;
        }
        let mut may_better = false;
        for id in self.members.voters() {
            if !round.has_agreed(id) && !self.connections.is_gone(id) {
                self.connections.look_for(now, id, out);
                may_better = true;
            }
        }
        if may_better {
            return;
        }
        self.conclude(round.proposal);
        let message = Notification::encode(&self.current, self.members.text());
        for to in self.members.clone().voters().filter(|id| *id != self.me) {
            self.connections.announce(to, &message, out);
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Time, out: &mut Actions) -> Option<Outcome> {
        self.connections.tick(now, out);
        self.round_tick(now, out);
        self.take_outcome()
    }

    fn round_tick(&mut self, now: Time, out: &mut Actions) {
        let max = self.options.max_notification_ms;
        let State::Looking { round, say_again_at, wait_ms } = &mut self.state else { return };
        if round.finalize_at.is_some_and(|at| at <= now) {
            let vote = round.proposal;
            return self.conclude(vote);
        }
        if *say_again_at <= now {
            *wait_ms = (*wait_ms * 2).min(max);
            *say_again_at = now.plus_ms(*wait_ms);
            if round.stands_in() && *wait_ms >= STANDS_IN_MS {
                self.begin(now, None, |_| info!("not standing in for others any more"));
            }
            self.broadcast(now, out);
            self.ask_doubted(now, out);
        }
    }

    /// Voters that are heard only at their configured addresses are asked there.
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
            State::Looking { round, say_again_at, .. } => {
                Some(round.finalize_at.map_or(*say_again_at, |at| at.min(*say_again_at)))
            }
        };
        [looking, self.connections.deadline()].into_iter().flatten().min()
    }

    /// Whether this is a newer configuration that could be taken over.
    fn is_to_adopt(&self, text: &str) -> bool {
        self.options.adopts_configurations && version_of(text) > self.members.committed().version
    }

    /// A peer's configuration: whoever looks for a leader by an older one takes it over.
    fn hear(&mut self, from: ServerId, text: &str) {
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
            return debug!(peer = %from, "a configuration that no member tells is ignored");
        }
        match EnsembleConfig::parse("a notification", text) {
            Ok(config) => self.heard = Some(Box::new(config)),
            Err(error) => debug!(peer = %from, %error, "a configuration is ignored"),
        }
    }

    fn take(&mut self, now: Time, from: ServerId, vote: Vote, answer: bool, out: &mut Actions) {
        if !self.begun {
            return;
        }
        if !self.members.is_voter_in_any(from) {
            if vote.state == PeerState::Looking && self.answers_stranger(now, from) {
                self.tell(now, from, out);
            }
            return;
        }
        let State::Looking { round, say_again_at, wait_ms } = &mut self.state else {
            if vote.state == PeerState::Looking && !answer {
                self.tell(now, from, out);
            }
            return;
        };
        let votes = self.members.is_voter_in_any(self.me);
        let finalize = self.options.finalize_wait_ms;
        // A peer that had a leader when it received the vote has ignored it.
        let unaware = vote.state == PeerState::Looking
            && (round.wakes(from) | (vote.round < round.proposal.round));
        let mut is_unaware_of_config = vote.state == PeerState::Looking && vote.leader == NOBODY;
        mutant!(VoterToBeUnheard => is_unaware_of_config = false);
        let outcome = if self.members.is_voter_in_any(vote.leader) {
            *say_again_at = now.plus_ms(*wait_ms);
            round.take(now, from, vote, votes, &self.members, finalize)
        } else if is_unaware_of_config {
            // The peer does not know the configuration that gives it a vote, and is needed to
            // commit it.
            round.catch_up(vote.round, votes)
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
            RoundOutcome::Quiet if unaware => self.tell(now, from, out),
            RoundOutcome::Quiet => {}
        }
        self.lead_at_once(now, out);
    }

    /// Whether a server without a vote, which looks for a leader, is told what this one thinks. Two
    /// that have no vote for each other must not answer each other's answers for ever.
    fn answers_stranger(&mut self, now: Time, from: ServerId) -> bool {
        if self.answered.len() >= MOST_STRANGERS {
            self.answered.clear();
        }
        let (since, count) = self.answered.entry(from).or_insert((now, 0));
        if now.ms_since(*since) >= self.options.min_notification_ms / 2 {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MOST_ANSWERS
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

    /// What this server is under a leader.
    fn state_under(&self, leader: ServerId) -> PeerState {
        if leader == self.me {
            PeerState::Leading
        } else if self.members.observes(self.me) {
            PeerState::Observing
        } else {
            PeerState::Following
        }
    }

    fn tell(&mut self, now: Time, to: ServerId, out: &mut Actions) {
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
