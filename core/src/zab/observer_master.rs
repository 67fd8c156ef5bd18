//! A follower that leads observers (`ObserverMaster`): it brings them up to date out of its own
//! history, tells them what is committed, and passes what they ask on to the leader.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use tracing::{debug, info};

use super::learner_handler::{LearnerHandler, Phase};
use super::{Delivery, Shared};
use crate::action::{Action, Actions, Reason};
use crate::event::{Entry, LogEnd};
use crate::quorum::AckSet;
use crate::types::{ConnId, Epoch, ReadId, ServerId, Time, Zxid};
use crate::wire::OpCode;
use crate::wire::quorum::{
    ForwardedRequest, LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket,
};

/// Connections that have not said who they are.
const MAX_STRANGERS: usize = 16;
/// What may wait for one observer while its snapshot is sent.
const MAX_HELD_BYTES: usize = 64 << 20;

/// The observers of one term.
#[derive(Debug)]
pub(super) struct ObserverMaster {
    epoch: Epoch,
    observers: BTreeMap<ConnId, LearnerHandler>,
    /// Observers whose DIFF broke off because the log could not be read: they get a snapshot.
    failed_by_log: AckSet,
    half_tick_at: Time,
    /// Who waits for the leader's answers to syncs, in their order: an observer, or this server.
    pub(super) syncs: VecDeque<Option<ConnId>>,
    /// The same for revalidations.
    pub(super) revalidations: VecDeque<Option<ConnId>>,
}

impl ObserverMaster {
    pub(super) fn new(now: Time, shared: &Shared, epoch: Epoch) -> ObserverMaster {
        ObserverMaster {
            epoch,
            observers: BTreeMap::new(),
            failed_by_log: AckSet::new(),
            half_tick_at: now.plus_ms(shared.options.tick_time_ms / 2),
            syncs: VecDeque::new(),
            revalidations: VecDeque::new(),
        }
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.observers.contains_key(&conn)
    }

    /// Observers that are up to date.
    pub(super) fn active(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.observers.values().filter(|o| o.phase == Phase::Active).map(|o| o.server)
    }

    /// The term ends here.
    pub(super) fn close(&mut self, out: &mut Actions) {
        for conn in core::mem::take(&mut self.observers).into_keys() {
            out.push(Action::Close { conn, why: Reason::NotServing });
        }
    }

    pub(super) fn opened(&mut self, now: Time, conn: ConnId, out: &mut Actions) {
        let strangers = self.observers.values().filter(|o| o.phase == Phase::Hello).count();
        if strangers >= MAX_STRANGERS {
            let why = Reason::Limit("observers without a hello");
            return out.push(Action::Close { conn, why });
        }
        self.observers.insert(conn, LearnerHandler::new(conn, now));
    }

    pub(super) fn closed(&mut self, shared: &mut Shared, conn: ConnId) {
        if let Some(observer) = self.observers.remove(&conn) {
            if observer.phase != Phase::Hello {
                info!(observer = %observer.server, "an observer is gone");
            }
            if observer.snapshotting {
                shared.deliveries.push_back(Delivery::SnapshotDropped { learner: conn });
            }
        }
    }

    fn drop(&mut self, shared: &mut Shared, conn: ConnId, why: Reason, out: &mut Actions) {
        self.closed(shared, conn);
        out.push(Action::Close { conn, why });
    }

    /// Takes what an observer says; gives what goes on to the leader, in order.
    pub(super) fn received(
        &mut self,
        now: Time,
        shared: &mut Shared,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) -> Vec<QuorumPacket> {
        let mut upstream = Vec::new();
        if let Some(observer) = self.observers.get_mut(&conn) {
            observer.heard = now;
            observer.reader.push(bytes);
        }
        while let Some(observer) = self.observers.get_mut(&conn) {
            let done = match observer.reader.next(shared.options.max_payload) {
                Ok(None) => break,
                Ok(Some(packet)) => self.packet(shared, conn, packet, &mut upstream, out),
                Err(_) => Err("malformed quorum packet"),
            };
            if let Err(what) = done {
                self.drop(shared, conn, Reason::Protocol(what), out);
            }
        }
        self.flush(out);
        upstream
    }

    fn packet(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        packet: QuorumPacket,
        upstream: &mut Vec<QuorumPacket>,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(observer) = self.observers.get_mut(&conn) else { return Ok(()) };
        let kind = PacketType::from_i32(packet.kind).ok_or("unknown type of quorum packet")?;
        match (observer.phase, kind) {
            (Phase::Hello, PacketType::ObserverInfo) => {
                let data = packet.data.ok_or("OBSERVERINFO without its payload")?;
                let info = LearnerInfo::parse(&data).map_err(|_| "malformed OBSERVERINFO")?;
                if info.protocol_version < PROTOCOL_VERSION {
                    return Err("an observer older than Zab 1.0");
                }
                if info.config_version > shared.members.current().version {
                    return Err("an observer with a newer configuration");
                }
                (observer.server, observer.observer) = (info.server, true);
                observer.phase = Phase::AwaitAckEpoch;
                let version = Some(Bytes::copy_from_slice(&PROTOCOL_VERSION.to_be_bytes()));
                let zxid = self.epoch.first_zxid();
                let hello = QuorumPacket::new(PacketType::LeaderInfo, zxid, version);
                observer.outbound.packet(&hello);
                info!(observer = %info.server, "an observer introduces itself");
                let twice =
                    self.observers.values().find(|o| o.server == info.server && o.conn != conn);
                if let Some(old) = twice.map(|o| o.conn) {
                    self.drop(shared, old, Reason::Replaced, out);
                }
            }
            (Phase::AwaitAckEpoch, PacketType::AckEpoch) => {
                observer.last_zxid = packet.zxid;
                let log_allowed = !self.failed_by_log.contains(observer.server);
                observer.synchronise(shared, self.epoch, log_allowed, out);
            }
            (Phase::Syncing, PacketType::Ack) => {
                if packet.zxid != self.epoch.first_zxid() {
                    return Err("an ACK before that of NEWLEADER");
                }
                self.failed_by_log.remove(observer.server);
                observer.outbound.bare(PacketType::UpToDate, Zxid(-1));
                observer.phase = Phase::Active;
                info!(observer = %observer.server, "an observer is in sync");
            }
            (Phase::Active, PacketType::Ack) if packet.zxid.counter() == 0 => {}
            (Phase::Active, PacketType::Ping) => {
                let data = packet.data.unwrap_or_default();
                shared.deliveries.push_back(Delivery::Touched { learner: conn, data });
            }
            (Phase::Active, PacketType::Request | PacketType::Revalidate) => upstream.push(packet),
            (_, PacketType::Ping) => {}
            (phase, kind) => {
                debug!(observer = %observer.server, ?phase, ?kind, "a packet out of turn");
                return Err("a quorum packet out of turn");
            }
        }
        Ok(())
    }

    /// The leader has answered something of this observer's.
    pub(super) fn answer(&mut self, conn: ConnId, packet: &QuorumPacket, out: &mut Actions) {
        if let Some(observer) = self.observers.get_mut(&conn) {
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
        for observer in self.observers.values_mut().filter(|o| o.forwarding) {
            let Some(leader) = next_leader else {
                observer.outbound.enveloped(PacketType::Inform, entry.zxid, &entry.body, out);
                continue;
            };
            let data = Bytes::from([&leader.0.to_be_bytes(), &*entry.body].concat());
            let kind = PacketType::InformAndActivate;
            observer.outbound.packet(&QuorumPacket::new(kind, entry.zxid, Some(data)));
            observer.outbound.flush(out);
        }
    }

    pub(super) fn log_read(
        &mut self,
        shared: &mut Shared,
        read: ReadId,
        entries: &[Entry],
        end: LogEnd,
        out: &mut Actions,
    ) {
        let mut failed = None;
        for observer in self.observers.values_mut() {
            if !observer.log_read(shared, self.epoch, read, entries, end, out) {
                failed = Some((observer.conn, observer.server));
            }
        }
        if let Some((conn, server)) = failed {
            self.failed_by_log.insert(server);
            let why = Reason::Protocol("the log cannot be read to the end of a DIFF");
            self.drop(shared, conn, why, out);
        }
    }

    pub(super) fn writable(&mut self, shared: &mut Shared, conn: ConnId) {
        if self.observers.get(&conn).is_some_and(|o| o.snapshotting) {
            shared.deliveries.push_back(Delivery::SnapshotMore { learner: conn });
        }
    }

    pub(super) fn snapshot_chunk(&mut self, conn: ConnId, bytes: Bytes, out: &mut Actions) {
        if let Some(observer) = self.observers.get_mut(&conn).filter(|o| o.snapshotting) {
            observer.outbound.stream(bytes, out);
            out.push(Action::AwaitWritable { conn });
        }
    }

    pub(super) fn snapshot_end(&mut self, conn: ConnId, out: &mut Actions) {
        if let Some(observer) = self.observers.get_mut(&conn).filter(|o| o.snapshotting) {
            observer.snapshotting = false;
            observer.outbound.release(out);
        }
    }

    pub(super) fn tick(&mut self, now: Time, shared: &mut Shared, out: &mut Actions) {
        if now < self.half_tick_at {
            return;
        }
        self.half_tick_at = now.plus_ms(shared.options.tick_time_ms / 2);
        let (init, sync) = (
            shared.limit_ms(shared.options.init_limit),
            shared.limit_ms(shared.options.sync_limit),
        );
        let late = |o: &LearnerHandler| {
            let limit = if o.phase == Phase::Active { sync } else { init };
            now.ms_since(o.heard) > limit || o.outbound.held_bytes() > MAX_HELD_BYTES
        };
        while let Some(conn) = self.observers.values().find(|o| late(o)).map(|o| o.conn) {
            self.drop(shared, conn, Reason::Timeout("a silent observer"), out);
        }
        let zxid = shared.history.last_processed;
        for observer in self.observers.values_mut().filter(|o| o.phase == Phase::Active) {
            observer.outbound.bare(PacketType::Ping, zxid);
        }
        self.flush(out);
    }

    pub(super) fn deadline(&self) -> Time {
        self.half_tick_at
    }

    pub(super) fn flush(&mut self, out: &mut Actions) {
        for observer in self.observers.values_mut() {
            observer.outbound.flush(out);
        }
    }
}

/// Whether a forwarded request is a sync, which the leader answers by a packet of its own.
pub(super) fn is_sync(data: &Bytes) -> bool {
    ForwardedRequest::parse(data).is_ok_and(|request| request.op == OpCode::Sync as i32)
}
