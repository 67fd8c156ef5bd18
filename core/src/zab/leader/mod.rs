//! The leader (`Leader`, `LearnerHandler`): discovery, synchronisation, broadcast.

mod admission;
mod broadcast;
mod claims;
mod discovery;
mod reconfig;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use core::net::IpAddr;

use bytes::Bytes;
use tracing::{debug, info};

use super::ack_tracker::{AckBits, AckTracker};
use super::confirmation::Confirmation;
use super::foreign_history::ElectedHistory;
use super::learner_handler::Phase;
use super::learners::{Learners, Limits};
use super::{Delivery, Ended, Replica};
use crate::action::{Action, Actions, Reason};
use crate::config::EnsembleConfig;
use crate::event::LogBatch;
use crate::quorum::{self, AckSet, Verifier};
use crate::types::{ConnId, Epoch, ServerId, Ticket, Time, Zxid};
use crate::wire::jute::Reader;
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketType, Packets, QuorumPacket};
use claims::Claims;

const LIMITS: Limits = Limits { unidentified: 64, deferred_bytes: 256 << 20 };
/// How to go on when there are no epochs left.
const MEND: &str = "the epochs of this ensemble are used up or too far apart. Stop all servers; keep \
    the data of the one with the largest currentEpoch, and of these with the largest zxid, write the \
    upper half of that zxid into its acceptedEpoch and currentEpoch, empty the other servers' data \
    directories, and start it first";
const OUT_OF_TURN: &str = "a quorum packet out of turn";
/// How long a leader that is not to lead any more waits for its learners to leave, in half ticks.
const HANDOVER_HALF_TICKS: u8 = 2;

/// What the leader waits for before it may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// A quorum of FOLLOWERINFOs.
    Discovery,
    /// The new epoch in `acceptedEpoch`.
    SavingAccepted(Ticket),
    /// A quorum of ACKEPOCHs.
    EpochAcks,
    /// A quorum of NEWLEADER acknowledgements; our own once `currentEpoch` is durable.
    NewLeaderAcks { saving: Option<Ticket> },
    /// Established.
    Broadcast,
}

/// A proposal on its way.
#[derive(Debug)]
struct Outstanding {
    zxid: Zxid,
    acks: AckBits,
}

/// A sync that is not answered yet.
#[derive(Debug)]
struct Sync {
    /// It waits for the commit of this,
    commit: Zxid,
    /// The last proposal when it was asked: who acknowledges a later one follows this leader still.
    asked_at: Zxid,
    /// and for the quorum of this round.
    round: u64,
    /// Through whom it came; none: from this server's own client.
    from: Option<ConnId>,
}

/// A leadership term.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) epoch: Epoch,
    /// The history that it was elected with.
    pub(super) elected_history: ElectedHistory,
    stage: Stage,
    connecting: AckSet,
    /// The earliest epoch that one of them has accepted.
    earliest: Epoch,
    claims: Claims,
    epoch_acks: AckSet,
    /// Who of them has not logged the configuration that may come, and will not under an old leader.
    lacking_proposed: AckSet,
    new_leader_acks: AckSet,
    pub(super) learners: Learners,
    outstanding: VecDeque<Outstanding>,
    ack_tracker: AckTracker,
    /// What waits for the disk, and the last proposal in it.
    appended: VecDeque<(Ticket, Zxid)>,
    /// The last proposal that is durable here.
    durable: Zxid,
    pub(super) last_proposed: Zxid,
    syncs: VecDeque<Sync>,
    confirmation: Confirmation,
    give_up_at: Time,
    half_tick_at: Time,
    odd_half_tick: bool,
    /// A reconfiguration has named another leader: who, and for how many half ticks its learners
    /// still have time to go there by themselves.
    handing_over_to: Option<(ServerId, u8)>,
    pub(super) ended: Option<Ended>,
}

impl Leader {
    pub(super) fn new(now: Time, replica: &mut Replica, out: &mut Actions) -> Leader {
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
            ended: None,
        };
        let accepted = replica.history.accepted_epoch.max(replica.later_epoch_reported);
        leader.follower_info_received(replica, replica.me, accepted, out);
        leader
    }

    /// Why the reign is over, if it is.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        if self.handing_over_to.is_some()
            && self.learners.iter().all(|l| l.phase == Phase::Unidentified)
        {
            self.ended.get_or_insert_with(|| "all have gone to the next leader".to_string());
        }
        self.ended.take()
    }

    /// Who leads next, if a reconfiguration says so.
    pub(super) fn successor(&mut self) -> Option<ServerId> {
        self.handing_over_to.take().map(|(id, _)| id)
    }

    /// Whether another one is to lead.
    pub(super) fn is_handing_over(&self) -> bool {
        self.handing_over_to.is_some()
    }

    /// Whether a quorum of these members is connected and up to date.
    pub(super) fn has_synced_quorum(
        &self,
        now: Time,
        replica: &Replica,
        config: &EnsembleConfig,
    ) -> bool {
        quorum::verifier(config).is_quorum(&self.in_sync(now, replica))
    }

    /// This server and the followers that are up to date and were heard of late.
    fn in_sync(&self, now: Time, replica: &Replica) -> AckSet {
        let limit = replica.limit_ms(replica.options.sync_limit);
        let responsive = self.learners.iter().filter(|l| {
            l.phase == Phase::Active && !l.observer && now.ms_since(l.last_received) <= limit
        });
        let mut in_sync: AckSet = responsive.map(|l| l.server).collect();
        in_sync.insert(replica.me);
        in_sync
    }

    pub(super) fn established(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    /// Whether the next epoch is not known yet.
    pub(super) fn is_choosing(&self) -> bool {
        self.stage == Stage::Discovery
    }

    /// Whether the epoch that a server has accepted is known.
    pub(super) fn is_counted(&self, id: ServerId) -> bool {
        self.connecting.contains(id)
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
        if self.handing_over_to.is_some() {
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

    pub(super) fn received(
        &mut self,
        now: Time,
        replica: &mut Replica,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) {
        self.learners.heard(now, conn, bytes);
        while let Some(packets) = self.learners.next_packets(replica, conn) {
            let done = packets.and_then(|packets| {
                self.packets(replica, conn, packets, out).map_err(Reason::Protocol)
            });
            if let Err(why) = done {
                self.drop_learner(replica, conn, why, out);
            }
            if self.ended.is_some() {
                return;
            }
        }
        self.contest(now, replica, out);
        self.commit(replica, out);
        self.confirm(replica);
    }

    pub(super) fn drop_learner(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        why: Reason,
        out: &mut Actions,
    ) {
        self.closed(replica, conn);
        out.push(Action::Close { conn, why });
    }

    fn packets(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        packets: Packets,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        match (packets, learner.phase) {
            (
                Packets::Bare { kind: PacketType::Ack, first, count },
                Phase::NewLeaderAcked | Phase::Active,
            ) => {
                let last = first.0.saturating_add(count as i64 - 1).min(self.last_proposed.0);
                self.confirmation.acked(learner, Zxid(last));
                let server = learner.server;
                self.acked(replica, server, first, count);
                Ok(())
            }
            (Packets::Bare { kind: PacketType::Ack, first, count: 1 }, Phase::Syncing) => {
                self.in_sync_now(replica, conn, first, out)
            }
            (Packets::One(packet), _) => self.packet(replica, conn, packet, out),
            (Packets::Bare { kind, .. } | Packets::Entries { kind, .. }, phase) => {
                debug!(learner = %learner.server, ?phase, ?kind, "a packet out of turn");
                Err(OUT_OF_TURN)
            }
        }
    }

    /// NEWLEADER is acknowledged.
    fn in_sync_now(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        zxid: Zxid,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        if zxid != self.epoch.first_zxid() {
            return Err("an ACK before that of NEWLEADER");
        }
        learner.phase = Phase::NewLeaderAcked;
        let server = learner.server;
        info!(learner = %server, "a learner is in sync");
        self.learners.in_sync(server);
        if self.established() {
            self.up_to_date(conn);
        } else {
            self.new_leader_acks.insert(server);
            self.try_establish(replica, out);
        }
        Ok(())
    }

    fn packet(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        let kind = PacketType::from_i32(packet.kind).ok_or("unknown type of quorum packet")?;
        match (learner.phase, kind) {
            (Phase::Unidentified, PacketType::FollowerInfo | PacketType::ObserverInfo) => {
                let data = packet.data.ok_or("FOLLOWERINFO without its payload")?;
                let info = LearnerInfo::parse(&data).map_err(|_| "malformed FOLLOWERINFO")?;
                if info.protocol_version < PROTOCOL_VERSION {
                    return Err("a learner older than Zab 1.0");
                }
                let (now, accepted) = (learner.last_received, packet.zxid.epoch());
                self.admit(now, replica, &info, accepted)?;
                let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
                learner.server = info.server;
                learner.observer = kind == PacketType::ObserverInfo;
                learner.phase = Phase::Identified;
                self.learners.named(replica, conn, info.server, out)?;
                debug!(learner = %info.server, %accepted, "a learner introduces itself");
                self.choose_epoch(now, replica, info.server, accepted, out);
                if !matches!(self.stage, Stage::Discovery | Stage::SavingAccepted(_)) {
                    self.learners.greet(conn, self.epoch, out);
                }
            }
            (Phase::AwaitAckEpoch, PacketType::AckEpoch) => {
                let data = packet.data.ok_or("ACKEPOCH without its payload")?;
                let epoch = Reader::new(&data).int().map_err(|_| "malformed ACKEPOCH")?;
                learner.last_zxid = packet.zxid;
                learner.acked_epoch = epoch;
                let now = learner.last_received;
                if self.learners.may_go_on(now, replica, conn) {
                    self.goes_on(replica, conn, out)?;
                }
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Ping) => {
                self.confirmation.ponged(learner, self.last_proposed);
                let data = packet.data.unwrap_or_default();
                replica.deliveries.push_back(Delivery::Touched { learner: conn, data });
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Request) => {
                let data = packet.data.ok_or("REQUEST without its payload")?;
                let (server, auth) = (learner.server, packet.auth.unwrap_or_default());
                replica.deliveries.push_back(Delivery::Request {
                    learner: conn,
                    server,
                    data,
                    auth,
                });
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Revalidate) => {
                let data = packet.data.ok_or("REVALIDATE without its payload")?;
                replica.deliveries.push_back(Delivery::Revalidate { learner: conn, data });
            }
            (_, PacketType::Ping) => {}
            (phase, kind) => {
                debug!(learner = %learner.server, ?phase, ?kind, "a packet out of turn");
                return Err(OUT_OF_TURN);
            }
        }
        Ok(())
    }

    pub(super) fn log_read(&mut self, replica: &mut Replica, batch: &LogBatch, out: &mut Actions) {
        let failed = self.learners.log_read(replica, self.epoch, batch, out);
        if let Some((conn, why)) = failed {
            self.drop_learner(replica, conn, why, out);
        }
    }

    // ---- time

    pub(super) fn tick(&mut self, now: Time, replica: &mut Replica, out: &mut Actions) {
        if !self.established() && self.give_up_at <= now {
            self.ended = Some(format!(
                "no quorum joined within initLimit, at {:?}: can the others reach this server's \
                 quorum port, and are their lists of members the same",
                self.stage
            ));
            return;
        }
        if now < self.half_tick_at {
            return;
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
            if *half_ticks == 0 {
                self.ended = Some("another server leads now".to_string());
            }
            return;
        }
        if self.established() && !self.odd_half_tick {
            let synced = self.in_sync(now, replica);
            if !replica.members().is_quorum(&synced) {
                self.ended = Some(format!("only {} in sync, no quorum", synced.iter().count()));
            }
        }
    }

    pub(super) fn deadline(&self) -> Time {
        if self.established() { self.half_tick_at } else { self.half_tick_at.min(self.give_up_at) }
    }
}
