//! Broadcast: proposals, commits, acknowledgements, and what goes to the leader.

use alloc::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::{Learner, Stage};
use crate::action::Actions;
use crate::mutant::Mutant;
use crate::types::{ConnId, ServerId, Time, Zxid};
use crate::wire::client::Id;
use crate::wire::entries::Entries;
use crate::wire::quorum::{PacketType, QuorumPacket};
use crate::zab::observer_master::is_sync;
use crate::zab::{Replica, limits};

impl Learner {
    pub(super) fn proposals(
        &mut self,
        replica: &mut Replica,
        mut entries: Entries,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let last = replica.history.last_logged;
        let seen = entries.iter().take_while(|(zxid, _)| *zxid <= last).count();
        if seen > 0 {
            // Leaders have been known to repeat a zxid; it can never commit twice.
            debug!(zxid = %entries.first(), %last, seen, "proposals that are logged already");
            if seen == entries.len() {
                return Ok(());
            }
            entries.split_to(seen);
        }
        let first = entries.first();
        if first.epoch() == last.epoch() && first != last.next() {
            return Err("a gap in the leader's proposals");
        }
        if self.config.is_some()
            && entries.iter().any(|(_, body)| replica.config_in(body).is_some())
        {
            // NEWLEADER's configuration counted before this one was proposed.
            self.take_leaders_config(replica, out);
        }
        limits::warn_oversized(self.last_received, replica, &entries);
        let ticket = replica.append(entries, self.stage == Stage::Broadcast, out);
        if Mutant::AckBeforeDurable.is_on() && self.stage == Stage::Broadcast && !self.observer {
            self.acknowledge(first, replica.history.last_logged);
        } else if !self.observer {
            self.unacked.push_back((ticket, first, replica.history.last_logged));
        }
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        replica: &mut Replica,
        first: Zxid,
        count: usize,
        next_leader: Option<ServerId>,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let last = Zxid(first.0.saturating_add(count as i64 - 1));
        let processed = replica.history.last_processed;
        if last <= processed {
            return Ok(());
        }
        let mut next = if processed < first { first } else { processed.next() };
        while next <= last {
            let Some((_, there)) = replica.history.next_pending().filter(|(at, _)| *at == next)
            else {
                return Err("a COMMIT out of order");
            };
            let count = there.min((last.0 - next.0 + 1) as usize);
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
            // Committed before NEWLEADER: its acknowledgement covers it.
            self.unacked.retain(|(_, _, unacked)| *unacked > last);
            if let Some((_, first, _)) = self.unacked.front_mut() {
                *first = (*first).max(last.next());
            }
        }
        Ok(())
    }

    /// Something became durable here.
    pub(in crate::zab) fn persisted(&mut self, replica: &mut Replica, out: &mut Actions) {
        let upto = replica.persisted;
        match self.stage {
            Stage::SavingAccepted(ticket) if ticket <= upto => {
                let current = replica.history.current_epoch.0 as i32;
                self.ack_epoch(replica, current);
                self.flush(out);
                self.read_on(replica, out);
            }
            Stage::SavingCurrent(ticket) if ticket <= upto => {
                self.stage = Stage::AwaitUpToDate;
                let zxid = self.epoch.first_zxid();
                self.header_only(PacketType::Ack, zxid);
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
    }

    /// An observer said something: what the leader has to decide goes on to it.
    pub(in crate::zab) fn observer_said(
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

    /// A client's request goes to the leader.
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
