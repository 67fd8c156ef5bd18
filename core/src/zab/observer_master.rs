//! The observers of a follower (`ObserverMaster`): it synchronises them out of its own history,
//! sends them committed transactions, and passes their requests on to the leader.

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
use crate::wire::entries::Entry;
use crate::wire::quorum::{
    ForwardedRequest, LearnerInfo, PROTOCOL_VERSION, PacketType, Packets, QuorumPacket,
};
use crate::wire::{OpCode, PeerError};

const LIMITS: Limits = Limits { unidentified: 16, deferred_bytes: 64 << 20 };

/// The observers that a follower serves under one leader.
#[derive(Debug)]
pub(super) struct ObserverMaster {
    epoch: Epoch,
    pub(super) learners: Learners,
    half_tick_at: Time,
    /// The requesters of syncs that the leader has to answer, in order: an observer, or `None` for
    /// a client of this server.
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

    /// Handles bytes of an observer. Returns the packets to pass on to the leader, in order.
    pub(super) fn received(
        &mut self,
        now: Time,
        replica: &mut Replica,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) -> Vec<QuorumPacket> {
        let mut upstream = Vec::new();
        self.learners.received(now, conn, bytes);
        while let Some(packets) = self.learners.next_packets(replica, conn) {
            let done = packets.and_then(|packets| {
                let done = match packets {
                    Packets::One(packet) => self.packet(replica, conn, packet, &mut upstream, out),
                    Packets::Bare { kind: PacketType::Ack, first, .. } => self.acked(conn, first),
                    Packets::Bare { kind, .. } | Packets::Entries { kind, .. } => {
                        let expected = "REQUEST, REVALIDATE or PING";
                        Err(PeerError::UnexpectedPacket { got: kind, expected })
                    }
                };
                done.map_err(Reason::Peer)
            });
            if let Err(why) = done {
                self.drop(replica, conn, why, out);
            }
        }
        self.contest(now, replica, out);
        self.learners.flush(out);
        upstream
    }

    /// Decides between links that claim the same server's place.
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
    ) -> Result<(), PeerError> {
        let Some(observer) = self.learners.get_mut(conn) else { return Ok(()) };
        let kind = PacketType::from_i32(packet.kind)
            .ok_or(PeerError::UnknownPacket { kind: packet.kind })?;
        match (observer.phase, kind) {
            (Phase::Unidentified, PacketType::ObserverInfo) => {
                let data = packet.data.ok_or(PeerError::MissingPayload(kind))?;
                let info =
                    LearnerInfo::parse(&data).map_err(|_| PeerError::MalformedPayload(kind))?;
                let got = info.protocol_version;
                if got < PROTOCOL_VERSION {
                    return Err(PeerError::OldProtocol { got, expected: PROTOCOL_VERSION });
                }
                let (got, own) = (info.config_version, replica.members().committed().version);
                if got > own {
                    return Err(PeerError::NewerConfiguration { got, own });
                }
                (observer.server, observer.observer) = (info.server, true);
                observer.phase = Phase::Identified;
                debug!(observer = %info.server, "observer identified");
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
                debug!(observer = %observer.server, ?phase, ?kind, "unexpected packet");
                return Err(PeerError::UnexpectedPacket { got: kind, expected: phase.expected() });
            }
        }
        Ok(())
    }

    /// An ACK: of NEWLEADER or UPTODATE, as an observer acknowledges nothing else.
    fn acked(&mut self, conn: ConnId, zxid: Zxid) -> Result<(), PeerError> {
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
            Phase::Syncing => {
                let expected = self.epoch.first_zxid();
                Err(PeerError::AckBeforeNewLeader { got: zxid, expected })
            }
            Phase::Active if zxid.counter() == 0 => Ok(()),
            phase => {
                let expected = phase.expected();
                Err(PeerError::UnexpectedPacket { got: PacketType::Ack, expected })
            }
        }
    }

    /// Passes an answer of the leader to an observer.
    pub(super) fn answer(&mut self, conn: ConnId, packet: &QuorumPacket, out: &mut Actions) {
        if let Some(observer) = self.learners.get_mut(conn) {
            observer.outbound.packet(packet);
            observer.outbound.flush(out);
        }
    }

    /// A transaction is committed. `next_leader` is that of a reconfiguration, which is sent at
    /// once.
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

/// Whether a forwarded request is a sync, which the leader answers with a packet of its own.
pub(super) fn is_sync(data: &Bytes) -> bool {
    ForwardedRequest::parse(data).is_ok_and(|request| request.op == OpCode::Sync as i32)
}
