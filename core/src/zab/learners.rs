//! The learners of one term: what serving them is the same for a leader and for a follower that
//! leads observers.

use alloc::vec::Vec;
use core::slice;

use bytes::Bytes;
use tracing::info;

use super::learner_handler::{LearnerHandler, Phase};
use super::{Delivery, Shared, limits};
use crate::action::{Action, Actions, Reason};
use crate::entries::Entry;
use crate::event::LogEnd;
use crate::quorum::AckSet;
use crate::types::{ConnId, Epoch, ReadId, ServerId, Time};
use crate::wire::quorum::{PROTOCOL_VERSION, PacketType, Packets, QuorumPacket};

/// How much of learners one server bears.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections that have not said who they are.
    pub(super) strangers: usize,
    /// What may wait for one learner while it is synchronised, in bytes.
    pub(super) held_bytes: usize,
}

/// Connections of learners, from their first byte on.
#[derive(Debug)]
pub(super) struct Learners {
    limits: Limits,
    /// By connection. There are few, and all are gone through for every batch.
    all: Vec<LearnerHandler>,
    /// Learners whose DIFF broke off because the log could not be read: they get a snapshot.
    failed_by_log: AckSet,
}

impl Learners {
    pub(super) fn new(limits: Limits) -> Learners {
        Learners { limits, all: Vec::new(), failed_by_log: AckSet::new() }
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.place(conn).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Where a connection is, or would be.
    fn place(&self, conn: ConnId) -> Result<usize, usize> {
        self.all.binary_search_by_key(&conn, |learner| learner.conn)
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&LearnerHandler> {
        self.place(conn).ok().and_then(|at| self.all.get(at))
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut LearnerHandler> {
        self.place(conn).ok().and_then(|at| self.all.get_mut(at))
    }

    pub(super) fn iter(&self) -> slice::Iter<'_, LearnerHandler> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> slice::IterMut<'_, LearnerHandler> {
        self.all.iter_mut()
    }

    /// Those that are up to date.
    pub(super) fn active(&self) -> impl Iterator<Item = &LearnerHandler> {
        self.iter().filter(|l| l.phase == Phase::Active)
    }

    /// Another connection of the server that has just introduced itself.
    pub(super) fn older(&self, server: ServerId, conn: ConnId) -> Option<ConnId> {
        self.iter().find(|l| l.server == server && l.conn != conn).map(|l| l.conn)
    }

    // ---- connections

    pub(super) fn opened(&mut self, now: Time, conn: ConnId, out: &mut Actions) {
        let strangers = self.iter().filter(|l| l.phase == Phase::Hello).count();
        if strangers >= self.limits.strangers {
            let why = Reason::Limit("learners without a hello");
            return out.push(Action::Close { conn, why });
        }
        match self.place(conn) {
            Ok(at) => self.all[at] = LearnerHandler::new(conn, now),
            Err(at) => self.all.insert(at, LearnerHandler::new(conn, now)),
        }
    }

    /// False: it was nobody's.
    pub(super) fn closed(&mut self, shared: &mut Shared, conn: ConnId) -> bool {
        let Ok(at) = self.place(conn) else { return false };
        let learner = self.all.remove(at);
        if learner.phase != Phase::Hello {
            info!(learner = %learner.server, "a learner is gone");
        }
        if learner.snapshotting {
            shared.deliveries.push_back(Delivery::SnapshotDropped { learner: conn });
        }
        true
    }

    /// The term ends here: all links close.
    pub(super) fn close(&mut self, out: &mut Actions) {
        for LearnerHandler { conn, .. } in self.all.drain(..) {
            out.push(Action::Close { conn, why: Reason::NotServing });
        }
    }

    pub(super) fn heard(&mut self, now: Time, conn: ConnId, bytes: Bytes) {
        if let Some(learner) = self.get_mut(conn) {
            learner.heard = now;
            learner.reader.push(bytes);
        }
    }

    /// The next whole packets of a learner that is still there.
    pub(super) fn next_packets(
        &mut self,
        shared: &Shared,
        conn: ConnId,
    ) -> Option<Result<Packets, Reason>> {
        let learner = self.get_mut(conn)?;
        // What a member forwards is judged, and answered, as a request.
        let limit = match learner.phase {
            Phase::Active => shared.options.max_from_members.max(shared.options.max_payload),
            _ => shared.options.max_payload,
        };
        learner.reader.next(limit).map_err(limits::of_learner).transpose()
    }

    // ---- synchronisation

    /// LEADERINFO: the epoch that the learner is to accept.
    pub(super) fn greet(&mut self, conn: ConnId, epoch: Epoch, out: &mut Actions) {
        let Some(learner) = self.get_mut(conn) else { return };
        let version = Bytes::copy_from_slice(&PROTOCOL_VERSION.to_be_bytes());
        let (kind, zxid) = (PacketType::LeaderInfo, epoch.first_zxid());
        learner.outbound.packet(&QuorumPacket::new(kind, zxid, Some(version)));
        learner.outbound.flush(out);
        learner.phase = Phase::AwaitAckEpoch;
    }

    /// Begins to bring a learner up to date.
    pub(super) fn synchronise(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        epoch: Epoch,
        out: &mut Actions,
    ) {
        if let Ok(at) = self.place(conn) {
            let learner = &mut self.all[at];
            let log_allowed = !self.failed_by_log.contains(learner.server);
            learner.synchronise(shared, epoch, log_allowed, out);
        }
    }

    /// A learner is in sync: the log may serve it again.
    pub(super) fn in_sync(&mut self, server: ServerId) {
        self.failed_by_log.remove(server);
    }

    /// Entries of the log on disk arrived; gives whom the log has failed in the middle of a DIFF,
    /// and why it has to begin anew.
    pub(super) fn log_read(
        &mut self,
        shared: &mut Shared,
        epoch: Epoch,
        read: ReadId,
        entries: &[Entry],
        end: LogEnd,
        out: &mut Actions,
    ) -> Option<(ConnId, Reason)> {
        let mut failed = None;
        for learner in &mut self.all {
            if !learner.log_read(shared, epoch, read, entries, end, out) {
                self.failed_by_log.insert(learner.server);
                let why = Reason::Protocol("the log cannot be read to the end of a DIFF");
                failed = Some((learner.conn, why));
            }
        }
        failed
    }

    pub(super) fn writable(&self, shared: &mut Shared, conn: ConnId) {
        if self.get(conn).is_some_and(|l| l.snapshotting) {
            shared.deliveries.push_back(Delivery::SnapshotMore { learner: conn });
        }
    }

    pub(super) fn snapshot_chunk(&mut self, conn: ConnId, bytes: Bytes, out: &mut Actions) {
        if let Some(learner) = self.get_mut(conn).filter(|l| l.snapshotting) {
            learner.outbound.stream(bytes, out);
            out.push(Action::AwaitWritable { conn });
        }
    }

    pub(super) fn snapshot_end(&mut self, conn: ConnId, out: &mut Actions) {
        if let Some(learner) = self.get_mut(conn).filter(|l| l.snapshotting) {
            learner.snapshotting = false;
            learner.outbound.release(out);
        }
    }

    // ---- time

    /// One that was silent for too long, or for whom too much waits.
    pub(super) fn late(&self, now: Time, shared: &Shared) -> Option<ConnId> {
        let options = &shared.options;
        let (init, sync) =
            (shared.limit_ms(options.init_limit), shared.limit_ms(options.sync_limit));
        let late = |l: &&LearnerHandler| {
            let limit = if l.phase == Phase::Active { sync } else { init };
            now.ms_since(l.heard) > limit || l.outbound.held_bytes() > self.limits.held_bytes
        };
        self.iter().find(late).map(|l| l.conn)
    }

    /// Ends a step: one send for each learner.
    pub(super) fn flush(&mut self, out: &mut Actions) {
        for learner in self.iter_mut() {
            learner.outbound.flush(out);
        }
    }
}
