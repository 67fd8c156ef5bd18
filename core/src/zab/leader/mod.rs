//! The leader (`Leader`): discovery and synchronisation ([`discovery`]), broadcast ([`broadcast`]),
//! reconfiguration ([`reconfig`]). [`admission`] decides which servers it accepts as learners.

mod admission;
mod broadcast;
mod claims;
mod discovery;
mod reconfig;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use bytes::Bytes;
use tracing::debug;

use super::ack_tracker::{AckBits, AckTracker};
use super::confirmation::Confirmation;
use super::foreign_history::ElectedHistory;
use super::learner_handler::Phase;
use super::learners::{Learners, Limits};
use super::transition::Transition;
use super::{Delivery, Replica};
use crate::action::{Action, Actions, Reason};
use crate::config::EnsembleConfig;
use crate::event::LogBatch;
use crate::quorum::{self, AckSet, Verifier};
use crate::types::{ConnId, Epoch, ServerId, Ticket, Time, Zxid};
use crate::wire::PeerError;
use crate::wire::jute::Reader;
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketType, Packets, QuorumPacket};
use claims::Claims;

const LIMITS: Limits = Limits { unidentified: 64, deferred_bytes: 256 << 20 };
/// How long a leader that hands over waits for its learners to leave, in half ticks.
const HANDOVER_HALF_TICKS: u8 = 2;

/// The event that the leader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// FOLLOWERINFOs of a quorum: they decide the new epoch.
    Discovery,
    /// The new epoch in `acceptedEpoch`.
    SavingAccepted(Ticket),
    /// ACKEPOCHs of a quorum: none of them has a newer history.
    EpochAcks,
    /// Acknowledgements of NEWLEADER by a quorum; this server's own, once `currentEpoch` is
    /// durable.
    NewLeaderAcks { saving: Option<Ticket> },
    /// Established: clients are served.
    Broadcast,
}

/// A proposal that is not committed yet.
#[derive(Debug)]
struct Outstanding {
    zxid: Zxid,
    acks: AckBits,
}

/// A sync that is not answered yet.
#[derive(Debug)]
struct Sync {
    /// It is answered after the commit of this proposal,
    commit: Zxid,
    /// and when a quorum has confirmed this leader: by this round,
    round: u64,
    /// or by acknowledging a proposal later than this one, the last at the time of the request.
    asked_at: Zxid,
    /// The learner that forwarded it; `None` for a client of this server.
    from: Option<ConnId>,
}

/// A leadership term.
#[derive(Debug)]
pub(super) struct Leader {
    /// The new epoch; during discovery, the lowest that is possible so far.
    pub(super) epoch: Epoch,
    elected_history: ElectedHistory,
    stage: Stage,
    /// The servers whose FOLLOWERINFO counts, and the earliest epoch that one of them has accepted.
    connecting: AckSet,
    earliest: Epoch,
    claims: Claims,
    epoch_acks: AckSet,
    /// The servers of `epoch_acks` that have not logged the proposed configuration.
    lacking_proposed: AckSet,
    new_leader_acks: AckSet,
    pub(super) learners: Learners,
    outstanding: VecDeque<Outstanding>,
    ack_tracker: AckTracker,
    /// Appends that are not durable here, with the last proposal of each.
    appended: VecDeque<(Ticket, Zxid)>,
    /// The last proposal that is durable here.
    durable: Zxid,
    pub(super) last_proposed: Zxid,
    syncs: VecDeque<Sync>,
    confirmation: Confirmation,
    give_up_at: Time,
    half_tick_at: Time,
    odd_half_tick: bool,
    /// The leader that a reconfiguration has named, and the half ticks that are left for the
    /// learners of this one to go there.
    handing_over_to: Option<(ServerId, u8)>,
}

impl Leader {
    /// A server that was elected or appointed. It counts its own FOLLOWERINFO, which can end the
    /// term at once.
    pub(super) fn new(
        now: Time,
        replica: &mut Replica,
        out: &mut Actions,
    ) -> (Leader, Option<Transition>) {
        let mut leader = Leader {
            epoch: replica.history.accepted_epoch,
            elected_history: ElectedHistory::new(replica.history.current_epoch),
            stage: Stage::Discovery,
            connecting: AckSet::new(),
            earliest: replica.history.accepted_epoch,
            claims: Claims::default(),
            epoch_acks: AckSet::new(),
            lacking_proposed: AckSet::new(),
            new_leader_acks: AckSet::new(),
            learners: Learners::new(LIMITS),
            outstanding: VecDeque::new(),
            ack_tracker: AckTracker::default(),
            appended: VecDeque::new(),
            durable: Zxid::ZERO,
            last_proposed: replica.history.last_logged,
            syncs: VecDeque::new(),
            confirmation: Confirmation::default(),
            give_up_at: now.plus_ms(replica.limit_ms(replica.options.init_limit)),
            half_tick_at: now.plus_ms(replica.options.tick_time_ms / 2),
            odd_half_tick: false,
            handing_over_to: None,
        };
        let accepted = replica.history.accepted_epoch.max(replica.later_epoch_reported);
        let transition = leader.follower_info_received(replica, replica.me, accepted, out);
        (leader, transition)
    }

    /// The end of this term. If a reconfiguration has named the next leader, it is that one's turn.
    fn end(&self, why: impl Into<String>) -> Transition {
        let why = why.into();
        match self.handing_over_to {
            Some((leader, _)) => Transition::Appointed { leader, why },
            None => Transition::Look { why },
        }
    }

    /// Ends the term of a leader that hands over, if all its learners have left.
    pub(super) fn handover_done(&self) -> Option<Transition> {
        let have_left = self.learners.iter().all(|l| l.phase == Phase::Unidentified);
        (self.is_handing_over() && have_left)
            .then(|| self.end("all learners have left for the next leader"))
    }

    /// Whether a reconfiguration has named another leader.
    pub(super) fn is_handing_over(&self) -> bool {
        self.handing_over_to.is_some()
    }

    /// Whether a quorum of these members is connected and up to date (`Leader.isQuorumSynced`).
    pub(super) fn has_synced_quorum(
        &self,
        now: Time,
        replica: &Replica,
        config: &EnsembleConfig,
    ) -> bool {
        quorum::verifier(config).is_quorum(&self.in_sync(now, replica))
    }

    /// This server and the followers that are up to date and have answered within `syncLimit`.
    fn in_sync(&self, now: Time, replica: &Replica) -> AckSet {
        let limit_ms = replica.limit_ms(replica.options.sync_limit);
        let responsive = self.learners.iter().filter(|l| {
            l.phase == Phase::Active && !l.observer && now.ms_since(l.last_received) <= limit_ms
        });
        let mut in_sync: AckSet = responsive.map(|l| l.server).collect();
        in_sync.insert(replica.me);
        in_sync
    }

    pub(super) fn established(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    // ---- connections

    pub(super) fn opened(
        &mut self,
        now: Time,
        replica: &Replica,
        conn: ConnId,
        ip: IpAddr,
        out: &mut Actions,
    ) {
        if self.is_handing_over() {
            return out.push(Action::Close { conn, why: Reason::NotServing });
        }
        self.learners.opened(now, replica, conn, ip, out);
    }

    pub(super) fn closed(&mut self, replica: &mut Replica, conn: ConnId) {
        if self.learners.closed(replica, conn) {
            replica.deliveries.push_back(Delivery::LearnerGone { learner: conn });
            self.syncs.retain(|sync| sync.from != Some(conn));
        }
    }

    fn drop_learner(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        why: Reason,
        out: &mut Actions,
    ) {
        self.closed(replica, conn);
        out.push(Action::Close { conn, why });
    }

    pub(super) fn received(
        &mut self,
        now: Time,
        replica: &mut Replica,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) -> Option<Transition> {
        self.learners.received(now, conn, bytes);
        while let Some(packets) = self.learners.next_packets(replica, conn) {
            let done = packets.and_then(|packets| {
                self.packets(replica, conn, packets, out).map_err(Reason::Peer)
            });
            match done {
                Ok(None) => {}
                Ok(transition) => return transition,
                Err(why) => self.drop_learner(replica, conn, why, out),
            }
        }
        self.contest(now, replica, out);
        self.commit(replica, out);
        self.confirm(replica);
        None
    }

    fn packets(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        packets: Packets,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(None) };
        match (packets, learner.phase) {
            (
                Packets::Bare { kind: PacketType::Ack, first, count },
                Phase::NewLeaderAcked | Phase::Active,
            ) => {
                let last = first.0.saturating_add(count as i64 - 1).min(self.last_proposed.0);
                self.confirmation.acked(learner, Zxid(last));
                let server = learner.server;
                self.acked(replica, server, first, count);
                Ok(None)
            }
            (Packets::Bare { kind: PacketType::Ack, first, count: 1 }, Phase::Syncing) => {
                self.new_leader_acked(replica, conn, first, out)
            }
            (Packets::One(packet), _) => self.packet(replica, conn, packet, out),
            (Packets::Bare { kind, .. } | Packets::Entries { kind, .. }, phase) => {
                debug!(learner = %learner.server, ?phase, ?kind, "unexpected packet");
                Err(PeerError::UnexpectedPacket { got: kind, expected: phase.expected() })
            }
        }
    }

    fn packet(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(None) };
        let kind = PacketType::from_i32(packet.kind)
            .ok_or(PeerError::UnknownPacket { kind: packet.kind })?;
        let missing = PeerError::MissingPayload(kind);
        match (learner.phase, kind) {
            (Phase::Unidentified, PacketType::FollowerInfo | PacketType::ObserverInfo) => {
                let (accepted, payload) = (packet.zxid.epoch(), packet.data.ok_or(missing)?);
                return self.identified(replica, conn, kind, accepted, &payload, out);
            }
            (Phase::AwaitAckEpoch, PacketType::AckEpoch) => {
                let epoch = Reader::new(&packet.data.ok_or(missing)?).int();
                learner.acked_epoch = epoch.map_err(|_| PeerError::MalformedPayload(kind))?;
                learner.last_zxid = packet.zxid;
                let now = learner.last_received;
                if self.learners.may_go_on(now, replica, conn) {
                    self.takes_its_place(replica, conn, out)?;
                }
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Ping) => {
                self.confirmation.ponged(learner, self.last_proposed);
                let data = packet.data.unwrap_or_default();
                replica.deliveries.push_back(Delivery::Touched { learner: conn, data });
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Request) => {
                let (data, server) = (packet.data.ok_or(missing)?, learner.server);
                let auth = packet.auth.unwrap_or_default();
                let request = Delivery::Request { learner: conn, server, data, auth };
                replica.deliveries.push_back(request);
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Revalidate) => {
                let data = packet.data.ok_or(missing)?;
                replica.deliveries.push_back(Delivery::Revalidate { learner: conn, data });
            }
            (_, PacketType::Ping) => {}
            (phase, kind) => {
                debug!(learner = %learner.server, ?phase, ?kind, "unexpected packet");
                return Err(PeerError::UnexpectedPacket { got: kind, expected: phase.expected() });
            }
        }
        Ok(None)
    }

    /// FOLLOWERINFO or OBSERVERINFO: the learner says which server it is, and which epoch it has
    /// accepted.
    fn identified(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        kind: PacketType,
        accepted: Epoch,
        payload: &Bytes,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(None) };
        let info = LearnerInfo::parse(payload).map_err(|_| PeerError::MalformedPayload(kind))?;
        let got = info.protocol_version;
        if got < PROTOCOL_VERSION {
            return Err(PeerError::OldProtocol { got, expected: PROTOCOL_VERSION });
        }
        let now = learner.last_received;
        if let Some(transition) = self.admit(now, replica, &info, accepted)? {
            return Ok(Some(transition));
        }
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(None) };
        learner.server = info.server;
        learner.observer = kind == PacketType::ObserverInfo;
        learner.phase = Phase::Identified;
        self.learners.named(replica, conn, info.server, out)?;
        debug!(learner = %info.server, %accepted, "learner identified");
        let transition = self.choose_epoch(now, replica, info.server, accepted, out);
        if !matches!(self.stage, Stage::Discovery | Stage::SavingAccepted(_)) {
            self.learners.greet(conn, self.epoch, out);
        }
        Ok(transition)
    }

    pub(super) fn log_read(&mut self, replica: &mut Replica, batch: &LogBatch, out: &mut Actions) {
        let failed = self.learners.log_read(replica, self.epoch, batch, out);
        if let Some((conn, why)) = failed {
            self.drop_learner(replica, conn, why, out);
        }
    }

    pub(super) fn send(&mut self, conn: ConnId, packet: &QuorumPacket) {
        if let Some(learner) = self.learners.get_mut(conn) {
            learner.outbound.packet(packet);
        }
    }

    // ---- time

    pub(super) fn tick(
        &mut self,
        now: Time,
        replica: &mut Replica,
        out: &mut Actions,
    ) -> Option<Transition> {
        if !self.established() && self.give_up_at <= now {
            return Some(self.end(format!(
                "no quorum joined within initLimit, at {:?}: can the others reach this server's \
                 quorum port, and are their lists of members the same",
                self.stage
            )));
        }
        if now < self.half_tick_at {
            return None;
        }
        self.half_tick_at = now.plus_ms(replica.options.tick_time_ms / 2);
        self.odd_half_tick = !self.odd_half_tick;
        while let Some(conn) = self.learners.late(now, replica) {
            self.drop_learner(replica, conn, Reason::Timeout("a silent learner"), out);
        }
        self.contest(now, replica, out);
        for learner in self.learners.iter_mut() {
            if learner.phase.is_in_sync() {
                self.confirmation.ping(learner, self.last_proposed);
            }
        }
        if let Some((_, half_ticks)) = &mut self.handing_over_to {
            *half_ticks = half_ticks.saturating_sub(1);
            let is_over = *half_ticks == 0;
            return is_over.then(|| self.end("another server leads now"));
        }
        if self.established() && !self.odd_half_tick {
            let in_sync = self.in_sync(now, replica);
            if !replica.members().is_quorum(&in_sync) {
                let count = in_sync.iter().count();
                return Some(self.end(format!("no quorum: only {count} servers are in sync")));
            }
        }
        None
    }

    pub(super) fn deadline(&self) -> Time {
        if self.established() { self.half_tick_at } else { self.half_tick_at.min(self.give_up_at) }
    }
}
