//! Broadcast at a learner: proposals are logged, acknowledged when they are durable, and applied
//! when they are committed; requests of clients go to the leader.

use alloc::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::{Learner, Stage};
use crate::action::Actions;
use crate::mutant::mutant;
use crate::types::{ConnId, ServerId, Time, Zxid};
use crate::wire::PeerError;
use crate::wire::client::Id;
use crate::wire::entries::Entries;
use crate::wire::quorum::{PacketType, QuorumPacket};
use crate::zab::observer_master::is_sync;
use crate::zab::transition::Transition;
use crate::zab::{Delivery, Replica, limits};

impl Learner {
    // ---- from the leader

    /// PROPOSALs (or INFORMs): they go to the log. The ACK follows when they are durable.
    ///
    /// The role can end here, because a reconfiguration among them shows that the configuration of
    /// NEWLEADER is in force. They are logged even then.
    pub(super) fn proposals(
        &mut self,
        replica: &mut Replica,
        mut entries: Entries,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let last = replica.history.last_logged;
        let known = entries.iter().take_while(|(zxid, _)| *zxid <= last).count();
        if known > 0 {
            // Some leaders repeat proposals. An entry must not be logged twice.
            debug!(zxid = %entries.first(), %last, known, "proposals that are logged already");
            if known == entries.len() {
                return Ok(None);
            }
            entries.split_to(known);
        }
        let first = entries.first();
        if first.epoch() == last.epoch() && first != last.next() {
            return Err(PeerError::ProposalGap { got: first, expected: last.next() });
        }
        let mut transition = None;
        if self.leaders_config.is_some()
            && entries.iter().any(|(_, body)| replica.config_in(body).is_some())
        {
            // The leader proposes one reconfiguration at a time: that of NEWLEADER is committed.
            transition = self.commit_leaders_config(replica, out);
        }
        limits::warn_oversized(self.last_received, replica, &entries);
        let is_in_broadcast = self.stage == Stage::Broadcast;
        let ticket = replica.append(entries, is_in_broadcast, out);
        if self.observer {
            return Ok(transition);
        }
        mutant!(AckBeforeDurable => if is_in_broadcast {
            self.acknowledge(first, replica.history.last_logged);
            return Ok(transition);
        });
        self.unacked.push_back((ticket, first, replica.history.last_logged));
        Ok(transition)
    }

    /// COMMITs of `count` consecutive proposals. `next_leader` is that of a reconfiguration, which
    /// observers of this follower are to learn of.
    pub(super) fn commit(
        &mut self,
        replica: &mut Replica,
        first: Zxid,
        count: usize,
        next_leader: Option<ServerId>,
        out: &mut Actions,
    ) -> Result<(), PeerError> {
        let last = Zxid(first.0.saturating_add(count as i64 - 1));
        let processed = replica.history.last_processed;
        if last <= processed {
            return Ok(());
        }
        let mut next = if processed < first { first } else { processed.next() };
        while next <= last {
            let pending = replica.history.next_pending();
            let Some((_, available)) = pending.filter(|(at, _)| *at == next) else {
                let expected = pending.map(|(at, _)| at);
                return Err(PeerError::CommitOutOfOrder { got: next, expected });
            };
            let count = available.min((last.0 - next.0 + 1) as usize);
            if let Some(observers) = &mut self.observers {
                for entry in replica.history.pending().take(count) {
                    observers.committed(&entry, next_leader, out);
                }
            }
            replica.history.commit(count, &mut replica.deliveries);
            let Some(after) = next.0.checked_add(count as i64) else { break };
            next = Zxid(after);
        }
        if matches!(self.stage, Stage::Syncing) {
            // The ACK of NEWLEADER covers what was committed before it.
            self.unacked.retain(|(_, _, unacked)| *unacked > last);
            if let Some((_, first, _)) = self.unacked.front_mut() {
                *first = (*first).max(last.next());
            }
        }
        Ok(())
    }

    /// REVALIDATE: the leader's answer to the oldest request for a session, which was an observer's
    /// or this server's own.
    pub(super) fn revalidated(
        &mut self,
        replica: &mut Replica,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<(), PeerError> {
        if let Some(observers) = &mut self.observers
            && let Some(Some(conn)) = observers.revalidations.pop_front()
        {
            observers.answer(conn, &packet, out);
            return Ok(());
        }
        let data = packet.data.ok_or(PeerError::MissingPayload(PacketType::Revalidate))?;
        replica.deliveries.push_back(Delivery::Revalidated { data });
        Ok(())
    }

    /// SYNC: the same for syncs.
    pub(super) fn synced(
        &mut self,
        replica: &mut Replica,
        packet: &QuorumPacket,
        out: &mut Actions,
    ) {
        if let Some(observers) = &mut self.observers
            && let Some(Some(conn)) = observers.syncs.pop_front()
        {
            return observers.answer(conn, packet, out);
        }
        replica.deliveries.push_back(Delivery::Synced);
    }

    // ---- from the disk

    /// Writes up to `replica.persisted` are durable: sends the acknowledgements that waited for
    /// them.
    pub(in crate::zab) fn persisted(
        &mut self,
        replica: &mut Replica,
        out: &mut Actions,
    ) -> Option<Transition> {
        let upto = replica.persisted;
        let mut transition = None;
        match self.stage {
            Stage::SavingAccepted(ticket) if ticket <= upto => {
                let current = replica.history.current_epoch.0 as i32;
                self.ack_epoch(replica, current);
                self.flush(out);
                transition = self.read_on(replica, out);
            }
            Stage::SavingCurrent(ticket) if ticket <= upto => {
                self.stage = Stage::AwaitUpToDate;
                self.header_only(PacketType::Ack, self.epoch.first_zxid());
            }
            _ => {}
        }
        if matches!(self.stage, Stage::AwaitUpToDate | Stage::Broadcast) {
            while let Some((_, first, last)) =
                self.unacked.pop_front_if(|(ticket, ..)| *ticket <= upto)
            {
                self.acknowledge(first, last);
            }
        }
        self.flush(out);
        transition
    }

    // ---- to the leader

    /// Bytes of an observer that this follower serves: requests for the leader are passed on.
    pub(in crate::zab) fn observer_received(
        &mut self,
        now: Time,
        replica: &mut Replica,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) {
        let Some(observers) = &mut self.observers else { return };
        for packet in observers.received(now, replica, conn, bytes, out) {
            if packet.kind == PacketType::Revalidate as i32 {
                observers.revalidations.push_back(Some(conn));
            } else if packet.data.as_ref().is_some_and(is_sync) {
                observers.syncs.push_back(Some(conn));
            }
            if let Some(outbound) = &mut self.outbound {
                outbound.packet(&packet);
            }
        }
        self.flush(out);
    }

    /// REQUEST: forwards a client's request.
    pub(in crate::zab) fn request(
        &mut self,
        data: Bytes,
        auth: Option<Arc<[Id]>>,
        out: &mut Actions,
    ) {
        if let Some(observers) = &mut self.observers
            && is_sync(&data)
        {
            observers.syncs.push_back(None);
        }
        self.add_to_backlog(data.len(), auth.as_ref(), out);
        self.send(QuorumPacket {
            kind: PacketType::Request as i32,
            zxid: Zxid(-1),
            data: Some(data),
            auth,
        });
        self.flush(out);
    }

    pub(in crate::zab) fn revalidate(&mut self, data: Bytes, out: &mut Actions) {
        if let Some(observers) = &mut self.observers {
            observers.revalidations.push_back(None);
        }
        self.send(QuorumPacket::new(PacketType::Revalidate, Zxid(-1), Some(data)));
        self.flush(out);
    }

    pub(in crate::zab) fn pong(&mut self, touches: Bytes, out: &mut Actions) {
        let zxid = self.ping;
        self.send(QuorumPacket::new(PacketType::Ping, zxid, Some(touches)));
        self.flush(out);
    }

    pub(super) fn acknowledge(&mut self, first: Zxid, last: Zxid) {
        let count = usize::try_from(last.0 - first.0 + 1).unwrap_or(0);
        if let Some(outbound) = &mut self.outbound {
            outbound.header_only_run(PacketType::Ack, first, count);
        }
    }

    pub(super) fn send(&mut self, packet: QuorumPacket) {
        if let Some(outbound) = &mut self.outbound {
            outbound.packet(&packet);
        }
    }

    pub(super) fn header_only(&mut self, kind: PacketType, zxid: Zxid) {
        if let Some(outbound) = &mut self.outbound {
            outbound.header_only(kind, zxid);
        }
    }

    pub(super) fn flush(&mut self, out: &mut Actions) {
        if let Some(outbound) = &mut self.outbound {
            outbound.flush(out);
        }
        if let Some(observers) = &mut self.observers {
            observers.learners.flush(out);
        }
    }
}
