//! One server's part in the ensemble: routes events to its election and its role, and carries out
//! the transitions between roles.

mod status;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::IpAddr;

use bytes::{Bytes, BytesMut};
use tracing::{info, warn};

use super::foreign_history::FullSyncReason;
use super::leader::Leader;
use super::learner::Learner;
use super::learners::Learners;
use super::membership::ConfigEvent;
use super::pending_learners::{PendingLearner, PendingLearners};
use super::standalone::Standalone;
use super::transition::Transition;
use super::{Delivery, EnsembleOptions, RecoveredLog, Replica};
use crate::action::{Action, Actions, Reason};
use crate::config::EnsembleConfig;
use crate::election::{Election, Outcome};
use crate::event::{LogBatch, NetEvent, Port};
use crate::quorum::Membership;
use crate::types::{ConnId, ServerId, Ticket, Time, Zxid};
use crate::wire::client::Id;
use crate::wire::quorum::{PacketType, QuorumPacket};

#[derive(Debug)]
enum RoleState {
    Recovering,
    /// The role has ended while the log was being cut. The vote depends on the outcome.
    Reloading(Ticket),
    Looking,
    Leader(Box<Leader>),
    Learner(Box<Learner>),
    Standalone(Standalone),
}

/// The decisions of one step, which [`Ensemble::finish`] carries out.
#[derive(Debug, Default)]
struct Decided {
    transition: Option<Transition>,
    outcome: Option<Outcome>,
}

impl From<Option<Transition>> for Decided {
    fn from(transition: Option<Transition>) -> Decided {
        Decided { transition, outcome: None }
    }
}

/// One server's part in an ensemble, or a standalone server.
#[derive(Debug)]
pub struct Ensemble {
    replica: Replica,
    election: Option<Election>,
    state: RoleState,
    pending_learners: PendingLearners,
}

impl Ensemble {
    /// A member of an ensemble. [`Ensemble::start`] makes it look for a leader.
    pub fn new(me: ServerId, config: Arc<EnsembleConfig>, options: EnsembleOptions) -> Ensemble {
        let election = Election::new(me, config.clone(), options.election);
        let replica = Replica::new(me, config, options);
        Ensemble {
            replica,
            election: Some(election),
            state: RoleState::Recovering,
            pending_learners: PendingLearners::default(),
        }
    }

    /// A standalone server: no election, no epochs; zxids continue from the end of the log
    /// (`ZooKeeperServer`).
    pub fn standalone(options: EnsembleOptions) -> Ensemble {
        let replica = Replica::new(ServerId(0), Arc::default(), options);
        Ensemble {
            replica,
            election: None,
            state: RoleState::Recovering,
            pending_learners: PendingLearners::default(),
        }
    }

    /// The configuration in `zoo.cfg.dynamic.next`: it was proposed, and may have been committed.
    /// Call it before [`Ensemble::start`].
    pub fn restore_proposed_config(&mut self, config: EnsembleConfig) {
        self.restore_config(ConfigEvent::ReadFromFile(Arc::new(config)));
    }

    /// The configuration in a loaded state. Call it before [`Ensemble::start`],
    /// [`Ensemble::truncated`] or [`Ensemble::snapshot_received`] for that state.
    pub fn restore_state_config(&mut self, config: EnsembleConfig) {
        self.restore_config(ConfigEvent::ReadFromState(Arc::new(config)));
    }

    fn restore_config(&mut self, event: ConfigEvent) {
        if self.replica.options.reconfig.is_some() {
            let effects = self.replica.configs.apply(event);
            debug_assert!(effects.is_empty(), "a configuration from the disk needs no writing");
        }
    }

    /// The data directory is loaded: the server looks for a leader, or serves alone.
    pub fn start(&mut self, now: Time, log: RecoveredLog, out: &mut Actions) {
        self.replica.load(log);
        if self.election.is_some() {
            self.look(now, out);
        } else {
            let last_proposed = self.replica.history.last_logged.max(Zxid::ZERO);
            self.state =
                RoleState::Standalone(Standalone { outstanding: VecDeque::new(), last_proposed });
            let epoch = last_proposed.epoch();
            self.replica.deliveries.push_back(Delivery::Leading { epoch });
        }
    }

    /// Handles an event of a connection of the ensemble (`Port::Election`, `Port::Quorum`).
    pub fn step(&mut self, now: Time, event: NetEvent, out: &mut Actions) {
        self.append_proposed(out);
        let mut decided = Decided::default();
        match event {
            NetEvent::Opened { conn, port, peer } => {
                self.opened(now, conn, port, peer.ip().to_canonical(), out);
            }
            NetEvent::Received { conn, bytes } => {
                decided = self.received(now, conn, bytes, out);
            }
            NetEvent::Closed { conn } => decided = self.closed(now, conn, out),
            NetEvent::Writable { conn } => {
                if let RoleState::Learner(learner) = &mut self.state {
                    learner.writable(conn);
                }
                if let Some((learners, replica)) = self.learners() {
                    learners.writable(replica, conn);
                }
            }
            // Only clients have certificates.
            NetEvent::Identified { .. } => {}
        }
        self.finish(now, decided, out);
    }

    /// Handles the timers. Call it when [`Ensemble::deadline`] has come; any other time is
    /// harmless.
    pub fn tick(&mut self, now: Time, out: &mut Actions) {
        self.append_proposed(out);
        let decided = self.time_passed(now, out);
        self.finish(now, decided, out);
    }

    /// Writes up to this ticket are durable.
    pub fn persisted(&mut self, now: Time, upto: Ticket, out: &mut Actions) {
        self.append_proposed(out);
        self.replica.persisted = self.replica.persisted.max(upto);
        let transition = match &mut self.state {
            RoleState::Leader(leader) => leader.persisted(&mut self.replica, out),
            RoleState::Learner(learner) => learner.persisted(&mut self.replica, out),
            RoleState::Standalone(standalone) => {
                while let Some((_, count)) =
                    standalone.outstanding.pop_front_if(|(ticket, _)| *ticket <= upto)
                {
                    self.replica.history.commit(count, &mut self.replica.deliveries);
                }
                None
            }
            RoleState::Recovering | RoleState::Reloading(_) | RoleState::Looking => None,
        };
        self.finish(now, transition.into(), out);
    }

    /// A batch of entries of a [`ReadLog`](crate::action::DiskAction::ReadLog).
    pub fn log_read(&mut self, now: Time, batch: &LogBatch, out: &mut Actions) {
        self.append_proposed(out);
        let replica = &mut self.replica;
        match &mut self.state {
            RoleState::Leader(leader) => leader.log_read(replica, batch, out),
            RoleState::Learner(learner) => {
                if let Some(observers) = &mut learner.observers {
                    observers.log_read(replica, batch, out);
                }
            }
            _ => {}
        }
        self.finish(now, Decided::default(), out);
    }

    /// The next delivery for the application. Drain them after every call.
    pub fn next_delivery(&mut self) -> Option<Delivery> {
        self.replica.deliveries.pop_front()
    }

    /// The time of the next [`Ensemble::tick`].
    pub fn deadline(&self) -> Option<Time> {
        let part = match &self.state {
            RoleState::Leader(leader) => Some(leader.deadline()),
            RoleState::Learner(learner) => Some(learner.deadline(&self.replica)),
            RoleState::Recovering
            | RoleState::Reloading(_)
            | RoleState::Looking
            | RoleState::Standalone(_) => None,
        };
        let election = self.election.as_ref().and_then(Election::deadline);
        [part, election].into_iter().flatten().min()
    }

    /// Whether a connection belongs to the ensemble.
    pub fn owns(&self, conn: ConnId) -> bool {
        let part = match &self.state {
            RoleState::Leader(leader) => leader.learners.owns(conn),
            RoleState::Learner(learner) => learner.owns(conn),
            RoleState::Recovering
            | RoleState::Reloading(_)
            | RoleState::Looking
            | RoleState::Standalone(_) => false,
        };
        part || self.pending_learners.owns(conn)
            || self.election.as_ref().is_some_and(|e| e.owns(conn))
    }

    // ---- for the application

    /// The next ticket of the disk's lane. Writes of the application share the count.
    pub fn ticket(&mut self) -> Ticket {
        self.replica.ticket()
    }

    /// The zxid of the next proposal. `None`: this server is no established leader, hands over, or
    /// has used up the epoch's counter ([`Ensemble::tick`] then begins a new epoch).
    pub fn next_zxid(&self) -> Option<Zxid> {
        match &self.state {
            RoleState::Leader(leader) if leader.established() => leader.next_zxid(),
            RoleState::Standalone(standalone) => Some(standalone.last_proposed.next()),
            _ => None,
        }
    }

    /// The last transaction that this leader has proposed, sent or not; for other servers the last
    /// in the log.
    pub fn last_proposed(&self) -> Zxid {
        match &self.state {
            RoleState::Leader(leader) => leader.last_proposed,
            RoleState::Standalone(standalone) => standalone.last_proposed,
            _ => self.replica.history.last_logged,
        }
    }

    /// Proposes a transaction with the zxid of [`Ensemble::next_zxid`]. `body` appends its payload,
    /// about `size` bytes, to the buffer; returns the length. Proposals wait for
    /// [`Ensemble::flush`], and come back in [`Delivery::Committed`] when a quorum has them on
    /// disk.
    ///
    /// # Panics
    /// If `zxid` is not the next one, or this server does not lead.
    pub fn propose(
        &mut self,
        zxid: Zxid,
        size: usize,
        body: impl FnOnce(&mut BytesMut),
        out: &mut Actions,
    ) -> usize {
        assert_eq!(Some(zxid), self.next_zxid(), "only a leader proposes, without a gap");
        let (mut bytes, mut has_config) = (0, false);
        let read_config = self.replica.options.reconfig;
        let before = self.replica.proposal_buffer.encode(zxid, size, |room| {
            let start = room.len();
            body(room);
            let body = room.get(start..).unwrap_or_default();
            bytes = body.len();
            has_config = read_config.is_some_and(|read| read(body).is_some());
        });
        let replica = &mut self.replica;
        match &mut self.state {
            RoleState::Leader(leader) => {
                if let Some(before) = before {
                    leader.append(replica, before, out);
                }
                leader.proposed(zxid);
            }
            RoleState::Standalone(standalone) => {
                if let Some(before) = before {
                    standalone.append(replica, before, out);
                }
                standalone.last_proposed = zxid;
            }
            RoleState::Recovering
            | RoleState::Reloading(_)
            | RoleState::Looking
            | RoleState::Learner(_) => {}
        }
        if has_config {
            // Its quorums count from this proposal on.
            self.append_proposed(out);
        }
        bytes
    }

    /// Ends a batch: the proposals go to the log and to the learners, with the other packets that
    /// were gathered for these.
    pub fn flush(&mut self, out: &mut Actions) {
        self.append_proposed(out);
        if let RoleState::Leader(leader) = &mut self.state {
            leader.learners.flush(out);
        }
    }

    fn append_proposed(&mut self, out: &mut Actions) {
        let Some(entries) = self.replica.proposal_buffer.take() else { return };
        match &mut self.state {
            RoleState::Leader(leader) => leader.append(&mut self.replica, entries, out),
            RoleState::Standalone(standalone) => standalone.append(&mut self.replica, entries, out),
            RoleState::Recovering
            | RoleState::Reloading(_)
            | RoleState::Looking
            | RoleState::Learner(_) => {}
        }
    }

    /// Leader: ends the leadership term. `why` is for the log.
    pub fn abdicate(&mut self, now: Time, why: &str, out: &mut Actions) {
        if matches!(self.state, RoleState::Leader(_)) {
            self.append_proposed(out);
            warn!(why, "stepping down");
            self.look(now, out);
        }
    }

    /// Learner: forwards a client's request.
    pub fn request(&mut self, data: Bytes, auth: Option<Arc<[Id]>>, out: &mut Actions) {
        if let RoleState::Learner(learner) = &mut self.state {
            learner.request(data, auth, out);
        }
    }

    /// Learner: the link to the leader takes no more requests for now.
    pub fn is_request_backlog_full(&self) -> bool {
        matches!(&self.state, RoleState::Learner(learner) if learner.backlog.is_full())
    }

    /// Learner: asks the leader whether a session may be re-attached.
    pub fn revalidate(&mut self, data: Bytes, out: &mut Actions) {
        if let RoleState::Learner(learner) = &mut self.state {
            learner.revalidate(data, out);
        }
    }

    /// Learner: answers [`Delivery::Ping`] with the sessions that were active since the last one.
    pub fn pong(&mut self, touches: Bytes, out: &mut Actions) {
        if let RoleState::Learner(learner) = &mut self.state {
            learner.pong(touches, out);
        }
    }

    /// Leader: answers [`Delivery::Revalidate`].
    pub fn revalidated(&mut self, learner: ConnId, data: Bytes) {
        if let RoleState::Leader(leader) = &mut self.state {
            let packet = QuorumPacket::new(PacketType::Revalidate, Zxid(-1), Some(data));
            leader.send(learner, &packet);
        }
    }

    /// Leader: a sync, which `learner` has forwarded, or of a client of this server, which
    /// [`Delivery::Synced`] answers.
    pub fn sync(&mut self, learner: Option<ConnId>) {
        match &mut self.state {
            RoleState::Leader(leader) => leader.sync(&mut self.replica, learner),
            RoleState::Standalone(_) => self.replica.deliveries.push_back(Delivery::Synced),
            _ => {}
        }
    }

    /// Leader: the next bytes of the snapshot for a learner. [`Delivery::SnapshotMore`] asks for
    /// more.
    pub fn snapshot_chunk(&mut self, learner: ConnId, bytes: Bytes, out: &mut Actions) {
        if let Some((learners, _)) = self.learners() {
            learners.snapshot_chunk(learner, bytes, out);
        }
    }

    /// Leader: the snapshot for a learner is complete.
    pub fn snapshot_end(&mut self, learner: ConnId, out: &mut Actions) {
        if let Some((learners, _)) = self.learners() {
            learners.snapshot_end(learner, out);
        }
    }

    /// Learner: the snapshot is complete and its writes are in the disk's lane. `rest` are the
    /// bytes after it in the stream.
    pub fn snapshot_received(&mut self, now: Time, rest: Bytes, out: &mut Actions) {
        let mut transition = None;
        if let RoleState::Learner(learner) = &mut self.state {
            transition = learner.snapshot_received(&mut self.replica, rest, out);
        }
        self.finish(now, transition.into(), out);
    }

    /// Learner: the snapshot cannot be decoded.
    pub fn snapshot_refused(&mut self, now: Time, why: &str, out: &mut Actions) {
        let is_learner = matches!(self.state, RoleState::Learner(_));
        self.finish(now, is_learner.then(|| Transition::look(why)).into(), out);
    }

    /// Learner: its state differs from the leader's. It looks for a leader, and is no candidate
    /// until a leader's snapshot has replaced its state.
    pub fn diverged(&mut self, now: Time, out: &mut Actions) {
        let mut transition = None;
        if let RoleState::Learner(_) = &self.state {
            self.replica.full_sync_reason = Some(FullSyncReason::Diverged);
            transition = Some(Transition::look("the state of this server is not the leader's"));
        }
        self.finish(now, transition.into(), out);
    }

    /// Answers [`Delivery::Truncating`]: the log is cut and the state loaded again, or both are as
    /// they were, if the log does not contain the place of the cut.
    pub fn truncated(&mut self, now: Time, ticket: Ticket, log: RecoveredLog, out: &mut Actions) {
        self.replica.persisted = self.replica.persisted.max(ticket);
        let mut transition = None;
        match &mut self.state {
            RoleState::Learner(learner) if learner.truncating() == Some(ticket) => {
                transition = learner.truncated(&mut self.replica, log, out);
            }
            RoleState::Reloading(expected) if *expected == ticket => {
                self.replica.load(log);
                self.look(now, out);
            }
            _ => {}
        }
        self.finish(now, transition.into(), out);
    }

    /// The members of the ensemble, as this server knows them.
    pub fn members(&self) -> &Arc<Membership> {
        self.replica.members()
    }

    /// Leader: whether a quorum of these members is connected and up to date
    /// (`Leader.isQuorumSynced`).
    pub fn has_synced_quorum(&self, now: Time, config: &EnsembleConfig) -> bool {
        match &self.state {
            RoleState::Leader(leader) => leader.has_synced_quorum(now, &self.replica, config),
            _ => false,
        }
    }

    /// Leader: a reconfiguration has named another leader. This one proposes nothing more.
    pub fn is_handing_over(&self) -> bool {
        matches!(&self.state, RoleState::Leader(leader) if leader.is_handing_over())
    }

    // ---- inside

    /// The learners of this server: of a leader, or the observers of a follower.
    fn learners(&mut self) -> Option<(&mut Learners, &mut Replica)> {
        let learners = match &mut self.state {
            RoleState::Leader(leader) => &mut leader.learners,
            RoleState::Learner(learner) => &mut learner.observers.as_mut()?.learners,
            _ => return None,
        };
        Some((learners, &mut self.replica))
    }

    fn time_passed(&mut self, now: Time, out: &mut Actions) -> Decided {
        let outcome = self.election.as_mut().and_then(|election| election.tick(now, out));
        let transition = match &mut self.state {
            RoleState::Leader(leader) => {
                let transition = leader.tick(now, &mut self.replica, out);
                let is_used_up = leader.next_zxid().is_none() && !leader.is_handing_over();
                if leader.established() && is_used_up {
                    self.abdicate(now, "the epoch's zxid counter is used up", out);
                    return Decided::default();
                }
                transition
            }
            RoleState::Learner(learner) => learner.tick(now, &mut self.replica, out),
            RoleState::Recovering
            | RoleState::Reloading(_)
            | RoleState::Looking
            | RoleState::Standalone(_) => None,
        };
        Decided { transition, outcome }
    }

    fn opened(&mut self, now: Time, conn: ConnId, port: Port, ip: IpAddr, out: &mut Actions) {
        match (port, &mut self.state) {
            (Port::Election, RoleState::Recovering | RoleState::Standalone(_))
            | (Port::Client, _) => {
                out.push(Action::Close { conn, why: Reason::NotServing });
            }
            (Port::Election, _) => {
                if let Some(election) = &mut self.election {
                    election.opened(now, conn, ip, out);
                }
            }
            (Port::Quorum, RoleState::Learner(learner)) if learner.owns(conn) => {
                learner.opened(now, &self.replica, conn, out);
            }
            (Port::Quorum, RoleState::Leader(leader)) if !conn.is_dialled() => {
                leader.opened(now, &self.replica, conn, ip, out);
            }
            (Port::Quorum, RoleState::Learner(learner)) if !conn.is_dialled() => {
                match &mut learner.observers {
                    Some(observers) => {
                        observers.learners.opened(now, &self.replica, conn, ip, out);
                    }
                    None => out.push(Action::Close { conn, why: Reason::NotServing }),
                }
            }
            (Port::Quorum, RoleState::Looking) if !conn.is_dialled() => {
                self.pending_learners.opened(conn, ip, out);
            }
            (Port::Quorum, _) => out.push(Action::Close { conn, why: Reason::NotServing }),
        }
    }

    fn received(&mut self, now: Time, conn: ConnId, bytes: Bytes, out: &mut Actions) -> Decided {
        match &mut self.state {
            RoleState::Leader(leader) if leader.learners.owns(conn) => {
                leader.received(now, &mut self.replica, conn, bytes, out).into()
            }
            RoleState::Learner(learner) if learner.leads(conn) => {
                learner.observer_received(now, &mut self.replica, conn, bytes, out);
                Decided::default()
            }
            RoleState::Learner(learner) if learner.owns(conn) => {
                learner.received(now, &mut self.replica, bytes, out).into()
            }
            _ => match self.election.as_mut().filter(|election| election.owns(conn)) {
                Some(election) => {
                    let outcome = election.received(now, conn, &bytes, out);
                    Decided { transition: None, outcome }
                }
                None => {
                    self.pending_learners.received(conn, &bytes, out);
                    Decided::default()
                }
            },
        }
    }

    fn closed(&mut self, now: Time, conn: ConnId, out: &mut Actions) -> Decided {
        let outcome = self.election.as_mut().and_then(|election| election.closed(now, conn, out));
        self.pending_learners.closed(conn);
        let mut transition = None;
        match &mut self.state {
            RoleState::Leader(leader) => leader.closed(&mut self.replica, conn),
            RoleState::Learner(learner) if learner.leads(conn) => {
                if let Some(observers) = &mut learner.observers {
                    observers.learners.closed(&mut self.replica, conn);
                }
            }
            RoleState::Learner(learner) if learner.owns(conn) => {
                transition = learner.closed(now, &mut self.replica);
            }
            _ => {}
        }
        Decided { transition, outcome }
    }

    /// Ends a step: carries out what the role or the election has decided, and flushes. A server
    /// that looks for a leader has no role, so that only one of the two decides.
    fn finish(&mut self, now: Time, decided: Decided, out: &mut Actions) {
        let transition = self.end_of_role(now, out).or(decided.transition);
        self.carry_out(now, transition, out);
        self.share_members();
        match decided.outcome {
            Some(Outcome::NewerConfiguration(config)) => {
                let event = ConfigEvent::Committed(config.into());
                if matches!(self.state, RoleState::Looking) && self.replica.config_event(event, out)
                {
                    // The votes so far were those of other members.
                    self.search(now, out);
                }
            }
            Some(Outcome::Elected(leader)) => {
                let transition = self.elected(now, leader, out);
                self.carry_out(now, transition, out);
            }
            None => {}
        }
        if self.serves()
            && let Some(election) = &mut self.election
        {
            election.update_epoch(self.replica.history.current_epoch);
        }
        if let RoleState::Leader(leader) = &mut self.state {
            leader.learners.flush(out);
        }
    }

    /// The end of a leadership term that depends on other members' answers, or on their leaving.
    fn end_of_role(&mut self, now: Time, out: &mut Actions) -> Option<Transition> {
        let RoleState::Leader(leader) = &mut self.state else { return None };
        let election = self.election.as_mut()?;
        let transition = leader.check_claims(now, &mut self.replica, election, out);
        transition.or_else(|| leader.handover_done())
    }

    /// Whether this server is an established leader, or up to date with one.
    fn serves(&self) -> bool {
        match &self.state {
            RoleState::Leader(leader) => leader.established(),
            RoleState::Learner(learner) => learner.active(),
            RoleState::Recovering
            | RoleState::Reloading(_)
            | RoleState::Looking
            | RoleState::Standalone(_) => false,
        }
    }

    fn carry_out(&mut self, now: Time, transition: Option<Transition>, out: &mut Actions) {
        let Some(transition) = transition else { return };
        warn!(why = transition.why(), "leaving role");
        match transition {
            Transition::Look { .. } => self.look(now, out),
            Transition::LookDoubting { leader, .. } => {
                if let Some(election) = &mut self.election {
                    election.doubt(now, leader);
                }
                self.look(now, out);
            }
            Transition::Appointed { leader, .. } => self.appoint(now, leader, out),
        }
    }

    /// Begins the role that an elected or appointed leader gives this server. A role can end as it
    /// begins.
    fn elected(&mut self, now: Time, leader: ServerId, out: &mut Actions) -> Option<Transition> {
        let pending = self.pending_learners.take();
        if leader != self.replica.me {
            for PendingLearner { conn, .. } in pending {
                out.push(Action::Close { conn, why: Reason::NotServing });
            }
            let mut learner = Box::new(Learner::new(now, &self.replica, leader));
            let transition = learner.tick(now, &mut self.replica, out);
            self.state = RoleState::Learner(learner);
            return transition;
        }
        let (leader, mut transition) = Leader::new(now, &mut self.replica, out);
        let mut leader = Box::new(leader);
        for PendingLearner { conn, ip, buffered } in pending {
            leader.opened(now, &self.replica, conn, ip, out);
            if !buffered.is_empty() {
                let bytes = buffered.freeze();
                let end = leader.received(now, &mut self.replica, conn, bytes, out);
                transition = end.or(transition);
            }
        }
        self.state = RoleState::Leader(leader);
        transition
    }

    /// Passes the members on to the election, if they have changed.
    fn share_members(&mut self) {
        if let Some(election) = &mut self.election
            && !Arc::ptr_eq(election.members(), self.replica.members())
        {
            election.set_members(self.replica.members().clone());
        }
    }

    /// Joins or becomes the leader that a reconfiguration has named.
    fn appoint(&mut self, now: Time, leader: ServerId, out: &mut Actions) {
        if let Some(ticket) = self.leave(now, out) {
            self.state = RoleState::Reloading(ticket);
            return;
        }
        self.share_members();
        let Some(election) = &mut self.election else { return };
        election.appoint(leader, self.replica.history.last_logged);
        if let Some(transition) = self.elected(now, leader, out) {
            // It cannot be reached, or cannot lead: an election has to decide.
            warn!(why = transition.why(), "leaving role");
            self.look(now, out);
        }
    }

    fn look(&mut self, now: Time, out: &mut Actions) {
        if let Some(ticket) = self.leave(now, out) {
            info!("waiting for the truncation before the next election");
            self.state = RoleState::Reloading(ticket);
            return;
        }
        self.state = RoleState::Looking;
        self.search(now, out);
    }

    fn search(&mut self, now: Time, out: &mut Actions) {
        self.share_members();
        let (zxid, epoch) = (self.replica.history.last_logged, self.replica.history.current_epoch);
        if let Some(election) = &mut self.election {
            let may_lead = self.replica.full_sync_reason != Some(FullSyncReason::Diverged);
            election.look(now, zxid, epoch, may_lead, out);
        }
    }

    /// Ends the role. Returns the truncation that has to finish first, if one is under way.
    fn leave(&mut self, now: Time, out: &mut Actions) -> Option<Ticket> {
        let mut reloading = None;
        match &mut self.state {
            RoleState::Leader(leader) => leader.learners.close(out),
            RoleState::Learner(learner) => {
                reloading = learner.truncating();
                if !learner.active() {
                    // The next election may find the same leader at once.
                    let pause_ms = self.replica.refusals.pause_ms(super::learner::RETRY_MS);
                    let pause = now.plus_ms(pause_ms);
                    self.replica.join_not_before = self.replica.join_not_before.max(pause);
                }
                learner.close(out);
            }
            RoleState::Recovering
            | RoleState::Reloading(_)
            | RoleState::Looking
            | RoleState::Standalone(_) => {}
        }
        // Clients are disconnected before entries are delivered that may not be committed.
        self.replica.deliveries.push_back(Delivery::Looking);
        self.replica.history.deliver_pending(&mut self.replica.deliveries);
        reloading
    }
}
