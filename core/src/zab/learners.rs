//! The learners of a leader, or the observers of a follower: the part of serving them that is the
//! same for both.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::slice;

use bytes::Bytes;
use tracing::info;

use super::learner_handler::{LearnerHandler, Phase};
use super::{Delivery, Replica, limits};
use crate::action::{Action, Actions, Reason};
use crate::event::LogBatch;
use crate::quorum::AckSet;
use crate::types::{ConnId, Epoch, ServerId, Time};
use crate::wire::PeerError;
use crate::wire::quorum::{PROTOCOL_VERSION, PacketType, Packets, QuorumPacket};

/// The longest packet of a learner before it is in sync, bytes.
const MAX_JOIN_PACKET_BYTES: usize = 4096;
/// Links that may claim to be of one member, beside the one that holds its place.
const MAX_CLAIMS_PER_MEMBER: usize = 16;
/// Learners that are no members, and those of them at one address.
const MAX_NONMEMBERS: usize = 64;
const MAX_NONMEMBERS_PER_ADDRESS: usize = 32;

/// The reason to close a link that claims another one's place.
pub(super) const ALREADY_HERE: Reason =
    Reason::Limit("links of one server: the earlier one is alive");

/// The outcome for a link whose server's place is held by another link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contest {
    /// The place is free now.
    GoesOn(ConnId),
    /// The other link has answered: this one closes.
    Refused(ConnId),
    /// The other link has not answered, and closes.
    Replaced(ConnId),
}

/// Whether a connection comes from an address in the configuration. Names are not resolved here,
/// and members may connect from other addresses: it only decides which link closes first when there
/// are too many.
fn is_address_of_a_member(replica: &Replica, ip: IpAddr) -> bool {
    let is_host = |host: &str| host.parse() == Ok(ip);
    let members = replica.members().committed().members.values();
    members
        .flat_map(|member| &member.addresses)
        .any(|a| is_host(&a.quorum.host) || is_host(&a.election.host))
}

/// The limits of one server for its learners.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections that have not introduced themselves.
    pub(super) unidentified: usize,
    /// Packets that wait for the end of one learner's synchronisation, bytes.
    pub(super) deferred_bytes: usize,
}

/// The links of learners, from their first byte on.
#[derive(Debug)]
pub(super) struct Learners {
    limits: Limits,
    /// In the order of their connections. There are few, and every batch goes to all of them.
    all: Vec<LearnerHandler>,
    /// Learners whose DIFF broke off because the log could not be read. They get a snapshot next.
    failed_by_log: AckSet,
}

impl Learners {
    pub(super) fn new(limits: Limits) -> Learners {
        Learners { limits, all: Vec::new(), failed_by_log: AckSet::new() }
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.index(conn).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The index of a connection, or the one where it would be.
    fn index(&self, conn: ConnId) -> Result<usize, usize> {
        self.all.binary_search_by_key(&conn, |learner| learner.conn)
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&LearnerHandler> {
        self.index(conn).ok().and_then(|at| self.all.get(at))
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut LearnerHandler> {
        self.index(conn).ok().and_then(|at| self.all.get_mut(at))
    }

    pub(super) fn iter(&self) -> slice::Iter<'_, LearnerHandler> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> slice::IterMut<'_, LearnerHandler> {
        self.all.iter_mut()
    }

    /// The learners that are up to date.
    pub(super) fn active(&self) -> impl Iterator<Item = &LearnerHandler> {
        self.iter().filter(|l| l.phase == Phase::Active)
    }

    /// Whether a link holds the place of a server.
    pub(super) fn is_here(&self, server: ServerId) -> bool {
        self.iter().any(|l| l.server == server && l.phase.holds_place())
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
        let unidentified = self.iter().filter(|l| l.phase == Phase::Unidentified);
        if unidentified.clone().count() >= self.limits.unidentified {
            // The oldest has had the longest time to introduce itself.
            let is_elsewhere = |l: &&LearnerHandler| !is_address_of_a_member(replica, l.ip);
            let oldest =
                unidentified.clone().find(is_elsewhere).or_else(|| unidentified.clone().next());
            if let Some(oldest) = oldest.map(|l| l.conn) {
                self.shed(oldest, "unidentified learners", out);
            }
        }
        match self.index(conn) {
            Ok(at) => self.all[at] = LearnerHandler::new(conn, now, ip),
            Err(at) => self.all.insert(at, LearnerHandler::new(conn, now, ip)),
        }
    }

    /// Closes one link of a kind of which there are too many.
    fn shed(&mut self, conn: ConnId, what: &'static str, out: &mut Actions) {
        if let Ok(at) = self.index(conn) {
            self.all.remove(at);
            out.push(Action::Close { conn, why: Reason::Limit(what) });
        }
    }

    /// A learner has introduced itself as this server. Limits the links that claim one member, and
    /// the links of servers that are no members.
    pub(super) fn named(
        &mut self,
        replica: &Replica,
        conn: ConnId,
        server: ServerId,
        out: &mut Actions,
    ) -> Result<(), PeerError> {
        let Some(ip) = self.get(conn).map(|l| l.ip) else { return Ok(()) };
        if replica.members().member(server).is_some() {
            let is_claim = |l: &&LearnerHandler| {
                l.server == server && l.conn != conn && !l.phase.holds_place()
            };
            let claims = self.iter().filter(|l| l.phase != Phase::Unidentified).filter(is_claim);
            if claims.clone().count() >= MAX_CLAIMS_PER_MEMBER {
                let is_elsewhere = |l: &&LearnerHandler| !is_address_of_a_member(replica, l.ip);
                let oldest = claims.clone().find(is_elsewhere).or_else(|| claims.clone().next());
                if let Some(oldest) = oldest.map(|l| l.conn) {
                    self.shed(oldest, "learners that claim one member", out);
                }
            }
            return Ok(());
        }
        let is_nonmember = |l: &&LearnerHandler| {
            l.phase != Phase::Unidentified
                && l.conn != conn
                && replica.members().member(l.server).is_none()
        };
        let nonmembers = self.iter().filter(is_nonmember);
        let at_address = nonmembers.clone().filter(|l| l.ip == ip).count();
        if nonmembers.clone().count() >= MAX_NONMEMBERS || at_address >= MAX_NONMEMBERS_PER_ADDRESS
        {
            let is_new = |l: &&LearnerHandler| {
                !l.phase.is_in_sync() && (at_address < MAX_NONMEMBERS_PER_ADDRESS || l.ip == ip)
            };
            let Some(oldest) = nonmembers.clone().find(is_new).map(|l| l.conn) else {
                return Err(PeerError::TooManyNonmembers);
            };
            if self.get(oldest).is_some_and(|l| l.snapshotting) {
                return Err(PeerError::TooManyNonmembers);
            }
            self.shed(oldest, "learners that are no members", out);
        }
        Ok(())
    }

    /// A learner has acknowledged the epoch. Returns whether it takes its server's place. If
    /// another link holds the place, the learner waits, and the other link has to answer a PING.
    pub(super) fn may_go_on(&mut self, now: Time, replica: &Replica, conn: ConnId) -> bool {
        let Some(server) = self.get(conn).map(|l| l.server) else { return false };
        let zxid = replica.history.last_processed;
        let mut may_go_on = true;
        for holder in self.iter_mut() {
            if holder.server == server && holder.conn != conn && holder.phase.holds_place() {
                if holder.challenged_at.is_none() && holder.phase.is_in_sync() {
                    holder.outbound.header_only(PacketType::Ping, zxid);
                    holder.answers.pinged(holder.phase);
                }
                holder.challenged_at.get_or_insert(now);
                may_go_on = false;
            }
        }
        if let Some(learner) = self.get_mut(conn).filter(|_| !may_go_on) {
            learner.phase = Phase::Contending;
        }
        may_go_on
    }

    /// The next decision about a link that claims the place of another one.
    pub(super) fn contest(&self, now: Time, replica: &Replica) -> Option<Contest> {
        let half_tick = replica.options.tick_time_ms / 2;
        let silence = replica.limit_ms(replica.options.sync_limit);
        for newcomer in self.iter().filter(|l| l.phase == Phase::Contending) {
            let is_holder =
                |l: &&LearnerHandler| l.server == newcomer.server && l.phase.holds_place();
            let Some(holder) = self.iter().find(is_holder) else {
                return Some(Contest::GoesOn(newcomer.conn));
            };
            let Some(since) = holder.challenged_at else {
                return Some(Contest::Refused(newcomer.conn));
            };
            // A learner that is being synchronised has nothing to send, so it gets more time.
            let wait = if holder.phase.is_in_sync() { half_tick } else { silence };
            if now.ms_since(since) >= wait {
                return Some(Contest::Replaced(holder.conn));
            }
        }
        None
    }

    /// Forgets a link. Returns false if there was none.
    pub(super) fn closed(&mut self, replica: &mut Replica, conn: ConnId) -> bool {
        let Ok(at) = self.index(conn) else { return false };
        let learner = self.all.remove(at);
        if learner.phase != Phase::Unidentified {
            info!(learner = %learner.server, "learner disconnected");
        }
        if learner.snapshotting {
            replica.deliveries.push_back(Delivery::SnapshotDropped { learner: conn });
        }
        true
    }

    /// Closes all links.
    pub(super) fn close(&mut self, out: &mut Actions) {
        for LearnerHandler { conn, .. } in self.all.drain(..) {
            out.push(Action::Close { conn, why: Reason::NotServing });
        }
    }

    pub(super) fn received(&mut self, now: Time, conn: ConnId, bytes: Bytes) {
        if let Some(learner) = self.get_mut(conn) {
            learner.last_received = now;
            learner.challenged_at = None;
            learner.reader.push(bytes);
        }
    }

    /// The next complete packets of a learner; `None` if there are none, or the link is gone.
    pub(super) fn next_packets(
        &mut self,
        replica: &Replica,
        conn: ConnId,
    ) -> Option<Result<Packets, Reason>> {
        let learner = self.get_mut(conn)?;
        // An unknown peer must not make this server buffer much. A request that a member forwards
        // is checked, and refused, as a request.
        let limit = match learner.phase {
            Phase::Active => replica.options.max_from_members.max(replica.options.max_payload),
            phase if phase.is_in_sync() => replica.options.max_payload,
            _ => MAX_JOIN_PACKET_BYTES.min(replica.options.max_payload),
        };
        learner.reader.next(limit).map_err(limits::learner_close_reason).transpose()
    }

    // ---- synchronisation

    /// Sends LEADERINFO with the new epoch.
    pub(super) fn greet(&mut self, conn: ConnId, epoch: Epoch, out: &mut Actions) {
        let Some(learner) = self.get_mut(conn) else { return };
        let version = Bytes::copy_from_slice(&PROTOCOL_VERSION.to_be_bytes());
        let (kind, zxid) = (PacketType::LeaderInfo, epoch.first_zxid());
        learner.outbound.packet(&QuorumPacket::new(kind, zxid, Some(version)));
        learner.outbound.flush(out);
        learner.phase = Phase::AwaitAckEpoch;
    }

    /// Begins the synchronisation of a learner.
    pub(super) fn synchronise(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        epoch: Epoch,
        out: &mut Actions,
    ) {
        if let Ok(at) = self.index(conn) {
            let learner = &mut self.all[at];
            let log_allowed = !self.failed_by_log.contains(learner.server);
            learner.synchronise(replica, epoch, log_allowed, out);
        }
    }

    /// A learner is in sync. The log may serve it the next time.
    pub(super) fn in_sync(&mut self, server: ServerId) {
        self.failed_by_log.remove(server);
    }

    /// Entries of the log on disk have arrived. Returns a learner whose DIFF breaks off, because
    /// the log cannot be read further: it has to connect again.
    pub(super) fn log_read(
        &mut self,
        replica: &mut Replica,
        epoch: Epoch,
        batch: &LogBatch,
        out: &mut Actions,
    ) -> Option<(ConnId, Reason)> {
        let mut failed = None;
        for learner in &mut self.all {
            if !learner.log_read(replica, epoch, batch, out) {
                self.failed_by_log.insert(learner.server);
                let why = Reason::Protocol("the log cannot be read to the end of a DIFF");
                failed = Some((learner.conn, why));
            }
        }
        failed
    }

    pub(super) fn writable(&self, replica: &mut Replica, conn: ConnId) {
        if self.get(conn).is_some_and(|l| l.snapshotting) {
            replica.deliveries.push_back(Delivery::SnapshotMore { learner: conn });
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

    /// A learner that was silent for too long, or has too many packets waiting.
    pub(super) fn late(&self, now: Time, replica: &Replica) -> Option<ConnId> {
        let options = &replica.options;
        let (init, sync) =
            (replica.limit_ms(options.init_limit), replica.limit_ms(options.sync_limit));
        let late = |l: &&LearnerHandler| {
            let limit = if l.phase == Phase::Active { sync } else { init };
            let is_unidentified = l.phase == Phase::Unidentified && now.ms_since(l.opened) > sync;
            is_unidentified
                || now.ms_since(l.last_received) > limit
                || l.outbound.deferred_bytes() > self.limits.deferred_bytes
        };
        self.iter().find(late).map(|l| l.conn)
    }

    /// Ends a step: sends the gathered packets, in one send for each learner.
    pub(super) fn flush(&mut self, out: &mut Actions) {
        for learner in self.iter_mut() {
            learner.outbound.flush(out);
        }
    }
}
