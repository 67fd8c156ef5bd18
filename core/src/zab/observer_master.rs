//! A follower that leads observers (`ObserverMaster`): it brings them up to date out of its own
//! history, tells them what is committed, and passes what they ask on to the leader.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use tracing::{debug, info};

use super::learner_handler::Phase;
use super::learners::{ALREADY_HERE, Contest, Learners, Limits};
use super::{Delivery, Replica};
use crate::action::{Action, Actions, Reason};
use crate::event::LogBatch;
use crate::types::{ConnId, Epoch, ServerId, Time, Zxid};
use crate::wire::OpCode;
use crate::wire::entries::Entry;
use crate::wire::quorum::{
    ForwardedRequest, LearnerInfo, PROTOCOL_VERSION, PacketType, Packets, QuorumPacket,
};

const LIMITS: Limits = Limits { unidentified: 16, deferred_bytes: 64 << 20 };

const OUT_OF_TURN: &str = "a quorum packet out of turn";

/// The observers of one term.
#[derive(Debug)]
pub(super) struct ObserverMaster {
    epoch: Epoch,
    pub(super) learners: Learners,
    half_tick_at: Time,
    /// Who waits for the leader's answers to syncs, in their order: an observer, or this server.
    pub(super) syncs: VecDeque<Option<ConnId>>,
    /// The same for revalidations.
    pub(super) revalidations: VecDeque<Option<ConnId>>,
}

impl ObserverMaster {
    pub(super) fn new(now: Time, replica: &Replica, epoch: Epoch) -> ObserverMaster {
        ObserverMaster {
            epoch,
            learners: Learners::new(LIMITS),
            half_tick_at: now.plus_ms(replica.options.tick_time_ms / 2),
            syncs: VecDeque::new(),
            revalidations: VecDeque::new(),
        }
    }

    fn drop(&mut self, replica: &mut Replica, conn: ConnId, why: Reason, out: &mut Actions) {
        self.learners.closed(replica, conn);
        out.push(Action::Close { conn, why });
    }

    /// Takes what an observer says; gives what goes on to the leader, in order.
    pub(super) fn received(
        &mut self,
        now: Time,
        replica: &mut Replica,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) -> Vec<QuorumPacket> {
        let mut upstream = Vec::new();
        self.learners.heard(now, conn, bytes);
        while let Some(packets) = self.learners.next_packets(replica, conn) {
            let done = packets.and_then(|packets| {
                let done = match packets {
                    Packets::One(packet) => self.packet(replica, conn, packet, &mut upstream, out),
                    Packets::Bare { kind: PacketType::Ack, first, .. } => self.acked(conn, first),
                    Packets::Bare { .. } | Packets::Entries { .. } => Err(OUT_OF_TURN),
                };
                done.map_err(Reason::Protocol)
            });
            if let Err(why) = done {
                self.drop(replica, conn, why, out);
            }
        }
        self.contest(now, replica, out);
        self.learners.flush(out);
        upstream
    }

    /// Decides about links that claim another one's place.
    fn contest(&mut self, now: Time, replica: &mut Replica, out: &mut Actions) {
        while let Some(contest) = self.learners.contest(now, replica) {
            match contest {
                Contest::GoesOn(conn) => self.learners.synchronise(replica, conn, self.epoch, out),
                Contest::Refused(conn) => self.drop(replica, conn, ALREADY_HERE, out),
                Contest::Replaced(conn) => self.drop(replica, conn, Reason::Replaced, out),
            }
        }
    }

    fn packet(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        packet: QuorumPacket,
        upstream: &mut Vec<QuorumPacket>,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(observer) = self.learners.get_mut(conn) else { return Ok(()) };
        let kind = PacketType::from_i32(packet.kind).ok_or("unknown type of quorum packet")?;
        match (observer.phase, kind) {
            (Phase::Unidentified, PacketType::ObserverInfo) => {
                let data = packet.data.ok_or("OBSERVERINFO without its payload")?;
                let info = LearnerInfo::parse(&data).map_err(|_| "malformed OBSERVERINFO")?;
                if info.protocol_version < PROTOCOL_VERSION {
                    return Err("an observer older than Zab 1.0");
                }
                if info.config_version > replica.members().committed().version {
                    return Err("an observer with a newer configuration");
                }
                (observer.server, observer.observer) = (info.server, true);
                observer.phase = Phase::Identified;
                debug!(observer = %info.server, "an observer introduces itself");
                self.learners.named(replica, conn, info.server, out)?;
                self.learners.greet(conn, self.epoch, out);
            }
            (Phase::AwaitAckEpoch, PacketType::AckEpoch) => {
                observer.last_zxid = packet.zxid;
                let now = observer.last_received;
                if self.learners.may_go_on(now, replica, conn) {
                    self.learners.synchronise(replica, conn, self.epoch, out);
                }
            }
            (Phase::Active, PacketType::Ping) => {
                let data = packet.data.unwrap_or_default();
                replica.deliveries.push_back(Delivery::Touched { learner: conn, data });
            }
            (Phase::Active, PacketType::Request | PacketType::Revalidate) => upstream.push(packet),
            (_, PacketType::Ping) => {}
            (phase, kind) => {
                debug!(observer = %observer.server, ?phase, ?kind, "a packet out of turn");
                return Err(OUT_OF_TURN);
            }
        }
        Ok(())
    }

    /// An observer acknowledges NEWLEADER and UPTODATE, and nothing else.
    fn acked(&mut self, conn: ConnId, zxid: Zxid) -> Result<(), &'static str> {
        let Some(observer) = self.learners.get_mut(conn) else { return Ok(()) };
        match observer.phase {
            Phase::Syncing if zxid == self.epoch.first_zxid() => {
                observer.outbound.header_only(PacketType::UpToDate, Zxid(-1));
                observer.phase = Phase::Active;
                let server = observer.server;
                info!(observer = %server, "an observer is in sync");
                self.learners.in_sync(server);
                Ok(())
            }
            Phase::Syncing => Err("an ACK before that of NEWLEADER"),
            Phase::Active if zxid.counter() == 0 => Ok(()),
            _ => Err(OUT_OF_TURN),
        }
    }

    /// The leader has answered something of this observer's.
    pub(super) fn answer(&mut self, conn: ConnId, packet: &QuorumPacket, out: &mut Actions) {
        if let Some(observer) = self.learners.get_mut(conn) {
            observer.outbound.packet(packet);
            observer.outbound.flush(out);
        }
    }

    /// A transaction is committed; a reconfiguration, which says who leads next, is told at once.
    pub(super) fn committed(
        &mut self,
        entry: &Entry,
        next_leader: Option<ServerId>,
        out: &mut Actions,
    ) {
        for observer in self.learners.iter_mut().filter(|o| o.forwarding) {
            let Some(leader) = next_leader else {
                observer.outbound.framed(PacketType::Inform, entry.zxid, &entry.body, out);
                continue;
            };
            let data = Bytes::from([&leader.0.to_be_bytes(), &*entry.body].concat());
            let kind = PacketType::InformAndActivate;
            observer.outbound.packet(&QuorumPacket::new(kind, entry.zxid, Some(data)));
            observer.outbound.flush(out);
        }
    }

    pub(super) fn log_read(&mut self, replica: &mut Replica, batch: &LogBatch, out: &mut Actions) {
        let failed = self.learners.log_read(replica, self.epoch, batch, out);
        if let Some((conn, why)) = failed {
            self.drop(replica, conn, why, out);
        }
    }

    pub(super) fn tick(&mut self, now: Time, replica: &mut Replica, out: &mut Actions) {
        if now < self.half_tick_at {
            return;
        }
        self.half_tick_at = now.plus_ms(replica.options.tick_time_ms / 2);
        while let Some(conn) = self.learners.late(now, replica) {
            self.drop(replica, conn, Reason::Timeout("a silent observer"), out);
        }
        self.contest(now, replica, out);
        let zxid = replica.history.last_processed;
        for observer in self.learners.iter_mut().filter(|o| o.phase == Phase::Active) {
            observer.outbound.header_only(PacketType::Ping, zxid);
        }
        self.learners.flush(out);
    }

    pub(super) fn deadline(&self) -> Time {
        self.half_tick_at
    }
}

/// Whether a forwarded request is a sync, which the leader answers by a packet of its own.
pub(super) fn is_sync(data: &Bytes) -> bool {
    ForwardedRequest::parse(data).is_ok_and(|request| request.op == OpCode::Sync as i32)
}
