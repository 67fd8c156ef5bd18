//! Joining a leader: from the first dial until this server is up to date.
//!
//! The leader is elected, but it has to prove that a quorum accepts it, and this server has to get
//! the leader's history. In Raft the same happens in AppendEntries: the term check, the search for
//! the last common entry, and the leader's no-op. Zab does it once, before broadcast:
//!
//! ```text
//!  stage here          this server                        leader
//!  Dialling            FOLLOWERINFO(accepted epoch) ────▶
//!  AwaitLeaderInfo                                        a quorum has sent it: the new epoch is
//!                                                         one more than the largest
//!                      ◀──────────────── LEADERINFO(new epoch)
//!  SavingAccepted      acceptedEpoch is written: no older leader is followed any more
//!                      ACKEPOCH(current epoch, end of the log) ────▶
//!  AwaitSync                                              a quorum has sent it, and none has a
//!                                                         newer history
//!                      ◀──────────────── DIFF, TRUNC or SNAP
//!  Truncating          TRUNC: the log is cut, the state loaded again
//!  Snapshot            SNAP: the snapshot replaces the state
//!  Syncing             ◀──────────────── PROPOSALs and COMMITs that are missing, NEWLEADER
//!  SavingCurrent       the log, then currentEpoch, are written
//!                      ACK(NEWLEADER) ────▶
//!  AwaitUpToDate                                          a quorum has sent it: established
//!                      ◀──────────────── UPTODATE
//!  Broadcast           ACK(UPTODATE) ────▶                clients are served from here on
//! ```
//!
//! Two epochs are on disk. `acceptedEpoch` is a promise, as Raft's term: no leader of an earlier
//! epoch is followed. `currentEpoch` says whose history this is: it is written after the history
//! is, and elections compare it, with the end of the log, to find the server that knows most.
//!
//! If anything fails, the connection closes and the server looks for a leader again. Only while it
//! waits for LEADERINFO does it dial the same leader again, because a leader that does not yet know
//! of its election refuses connections. The whole join has to finish within `initLimit`.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

use super::{Learner, RequestBacklog, Stage};
use crate::action::{Action, Actions, DiskAction, EpochFile, Reason};
use crate::event::Port;
use crate::mutant::mutant;
use crate::types::{ConnId, Time, Zxid};
use crate::wire::PeerError;
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket};
use crate::zab::foreign_history::FullSyncReason;
use crate::zab::leader_addresses::{leader_addresses, not_listed, not_reached};
use crate::zab::membership::ConfigEvent;
use crate::zab::observer_master::ObserverMaster;
use crate::zab::packet_stream::{Outbound, PacketReader};
use crate::zab::transition::Transition;
use crate::zab::{Delivery, RecoveredLog, Replica};

/// The pause between two attempts to reach the leader (`leaderConnectDelayDuringRetryMs`).
pub(in crate::zab) const RETRY_MS: u64 = 100;
/// Attempts at each of the leader's addresses (`Learner.LeaderConnector`).
const ATTEMPTS: usize = 5;

/// The `currentEpoch` in ACKEPOCH if the leader's epoch was accepted before: the leader
/// must not count this server twice.
const COUNTED_BEFORE: i32 = -1;

impl Learner {
    // ---- connection

    /// Dials the leader, or for an observer with an `observerMasterPort` a follower. Fails if no
    /// address is known.
    pub(super) fn dial(&mut self, replica: &mut Replica, out: &mut Actions) -> Option<Transition> {
        let mut addresses = leader_addresses(replica, self.leader, self.observer);
        if addresses.is_empty() {
            return Some(Transition::look(not_listed(self.leader)));
        }
        let max_attempts = ATTEMPTS * addresses.len();
        let to = addresses.swap_remove(self.attempts % addresses.len());
        self.attempts += 1;
        self.is_last_attempt = self.attempts >= max_attempts;
        let conn = replica.dial_id();
        self.conn = Some(conn);
        self.stage = Stage::Dialling;
        out.push(Action::Dial { conn, port: Port::Quorum, to });
        None
    }

    /// Connected: sends FOLLOWERINFO or OBSERVERINFO.
    pub(in crate::zab) fn opened(
        &mut self,
        now: Time,
        replica: &Replica,
        conn: ConnId,
        out: &mut Actions,
    ) {
        self.last_received = now;
        self.reader = PacketReader::default();
        self.backlog = RequestBacklog::default();
        let mut outbound = Outbound::new(conn);
        let kind = if self.observer { PacketType::ObserverInfo } else { PacketType::FollowerInfo };
        let info = LearnerInfo {
            server: replica.me,
            protocol_version: PROTOCOL_VERSION,
            config_version: replica.members().committed().version,
        };
        let zxid = replica.history.accepted_epoch.first_zxid();
        outbound.packet(&QuorumPacket::new(kind, zxid, Some(info.to_bytes())));
        outbound.flush(out);
        self.outbound = Some(outbound);
        self.stage = Stage::AwaitLeaderInfo;
    }

    /// The connection is gone, or the dial failed.
    pub(in crate::zab) fn closed(
        &mut self,
        now: Time,
        replica: &mut Replica,
    ) -> Option<Transition> {
        self.conn = None;
        self.outbound = None;
        let leader = self.leader;
        match self.stage {
            Stage::Dialling | Stage::AwaitLeaderInfo if !self.is_last_attempt => {
                self.stage = Stage::Disconnected(now.plus_ms(RETRY_MS));
                None
            }
            Stage::Dialling => Some(Transition::LookDoubting { leader, why: not_reached(leader) }),
            Stage::AwaitSync => {
                let what = "it closed the connection after this server's ACKEPOCH";
                Some(Transition::look(replica.refused(now, leader, what)))
            }
            _ => Some(Transition::look("the connection to the leader broke")),
        }
    }

    // ---- discovery

    /// LEADERINFO: the leader's new epoch is accepted, unless this server has accepted a later one.
    pub(super) fn leader_info(
        &mut self,
        replica: &mut Replica,
        zxid: Zxid,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let epoch = zxid.epoch();
        let accepted = replica.history.accepted_epoch;
        if !accepted.may_advance_to(epoch) {
            return Err(PeerError::ImpossibleEpoch { got: epoch, accepted });
        }
        self.epoch = epoch;
        if epoch < accepted {
            let what = format!("its epoch is {epoch}, and this server has accepted {accepted}");
            let why = replica.refused(self.last_received, self.leader, &what);
            return Ok(Some(Transition::look(why)));
        }
        if epoch == accepted {
            self.ack_epoch(replica, COUNTED_BEFORE);
            return Ok(None);
        }
        let ticket = replica.ticket();
        replica.history.accepted_epoch = epoch;
        mutant!(EpochNotSaved => {
            self.ack_epoch(replica, replica.history.current_epoch.0 as i32);
            return Ok(None);
        });
        self.stage = Stage::SavingAccepted(ticket);
        out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file: EpochFile::Accepted, epoch }));
        Ok(None)
    }

    /// Sends ACKEPOCH: the current epoch and the end of the log.
    ///
    /// A server that wants the whole state reports an empty log, but only if it is not counted in
    /// discovery with this ACKEPOCH: a leader must learn of every log that a quorum may have
    /// acknowledged.
    pub(super) fn ack_epoch(&mut self, replica: &Replica, current: i32) {
        self.stage = Stage::AwaitSync;
        self.requested_full_sync = current == COUNTED_BEFORE && replica.full_sync_reason.is_some();
        if let Some(outbound) = &mut self.outbound {
            let is_empty = self.requested_full_sync;
            let last = if is_empty { Zxid::ZERO } else { replica.history.last_logged };
            let data = Some(Bytes::copy_from_slice(&current.to_be_bytes()));
            outbound.packet(&QuorumPacket::new(PacketType::AckEpoch, last, data));
        }
    }

    // ---- synchronisation

    /// DIFF, TRUNC or SNAP: the way in which the leader brings this server up to date.
    pub(super) fn sync_begins(
        &mut self,
        replica: &mut Replica,
        kind: PacketType,
        zxid: Zxid,
        out: &mut Actions,
    ) -> Result<(), PeerError> {
        let is_snapshot = kind == PacketType::Snap;
        if self.requested_full_sync && !is_snapshot {
            return Err(PeerError::SnapshotRefused { got: kind });
        }
        if replica.full_sync_reason == Some(FullSyncReason::Diverged) && !is_snapshot {
            self.rejoin_for_full_sync(out);
            return Ok(());
        }
        let own = replica.history.last_logged;
        match kind {
            PacketType::Trunc => {
                info!(zxid = %own, to = %zxid, "TRUNC from the leader");
                mutant!(TruncIgnored => {
                    self.stage = Stage::Syncing;
                    return Ok(());
                });
                let ticket = replica.ticket();
                self.stage = Stage::Truncating(ticket, zxid);
                replica.deliveries.push_back(Delivery::Truncating);
                out.push(Action::Disk(DiskAction::Truncate { ticket, after: zxid }));
            }
            PacketType::Snap => {
                info!(zxid = %own, leader_zxid = %zxid, "SNAP from the leader");
                replica.config_event(ConfigEvent::SnapshotStarted, out);
                self.stage = Stage::Snapshot(zxid);
                replica.deliveries.push_back(Delivery::SnapshotBegin { zxid });
            }
            _ => {
                info!(zxid = %own, leader_zxid = %zxid, "DIFF from the leader");
                replica.full_sync_reason = None;
                replica.config_event(ConfigEvent::HistoryAgreed, out);
                self.stage = Stage::Syncing;
            }
        }
        Ok(())
    }

    /// TRUNC is carried out: the log is cut and the state loaded again. A log that does not contain
    /// the place of the cut stays as it was; then only a snapshot helps.
    pub(in crate::zab) fn truncated(
        &mut self,
        replica: &mut Replica,
        log: RecoveredLog,
        out: &mut Actions,
    ) -> Option<Transition> {
        replica.load(log);
        if let Stage::Truncating(_, after) = self.stage
            && replica.history.last_logged > after
        {
            warn!(to = %after, "the log cannot be cut there: requesting a snapshot");
            replica.full_sync_reason = Some(FullSyncReason::CannotTruncate);
            self.rejoin_for_full_sync(out);
            return None;
        }
        replica.config_event(ConfigEvent::HistoryAgreed, out);
        self.stage = Stage::Syncing;
        self.read_on(replica, out)
    }

    /// Joins the same leader once more, to ask it for the whole state. That is possible now,
    /// because discovery has counted this server with the log that it has.
    fn rejoin_for_full_sync(&mut self, out: &mut Actions) {
        if let Some(conn) = self.conn.take() {
            out.push(Action::Close { conn, why: Reason::NotServing });
        }
        self.outbound = None;
        self.reader = PacketReader::default();
        (self.attempts, self.is_last_attempt) = (0, false);
        self.stage = Stage::Disconnected(self.last_received.plus_ms(RETRY_MS));
    }

    /// The application has found the end of the snapshot; `rest` are the bytes after it.
    pub(in crate::zab) fn snapshot_received(
        &mut self,
        replica: &mut Replica,
        rest: Bytes,
        out: &mut Actions,
    ) -> Option<Transition> {
        let Stage::Snapshot(zxid) = self.stage else { return None };
        replica.history.replace(zxid);
        replica.full_sync_reason = None;
        self.stage = Stage::Syncing;
        self.reader.push(rest);
        self.read_on(replica, out)
    }

    /// NEWLEADER: the history is complete. It becomes durable before the epoch, as the log entries
    /// precede it in the disk's lane, and it is acknowledged when both are.
    pub(super) fn new_leader(
        &mut self,
        replica: &mut Replica,
        packet: &QuorumPacket,
        out: &mut Actions,
    ) -> Result<(), PeerError> {
        let expected = self.epoch.first_zxid();
        if packet.zxid != expected {
            return Err(PeerError::WrongNewLeader { got: packet.zxid, expected });
        }
        self.leaders_config = replica.config_of_leader(packet.data.as_ref());
        if let Some(config) = self.leaders_config.clone() {
            replica.config_event(ConfigEvent::Announced(Arc::new(config)), out);
        }
        let ticket = replica.ticket();
        self.stage = Stage::SavingCurrent(ticket);
        replica.history.current_epoch = self.epoch;
        let (file, epoch) = (EpochFile::Current, self.epoch);
        out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
        mutant!(NewLeaderAckedBeforeDurable => {
            self.stage = Stage::AwaitUpToDate;
            self.header_only(PacketType::Ack, packet.zxid);
        });
        Ok(())
    }

    /// UPTODATE: a quorum has the leader's history, so that it is committed; clients are served.
    pub(super) fn up_to_date(
        &mut self,
        replica: &mut Replica,
        out: &mut Actions,
    ) -> Option<Transition> {
        if let Some(transition) = self.commit_leaders_config(replica, out) {
            return Some(transition);
        }
        self.stage = Stage::Broadcast;
        replica.limit_pause_ms = 0;
        replica.refusals.forget();
        self.header_only(PacketType::Ack, self.epoch.first_zxid());
        info!(leader = %self.leader, epoch = %self.epoch, "following: up to date");
        if !self.observer && replica.options.observer_master_port.is_some() {
            let observers = ObserverMaster::new(self.last_received, replica, self.epoch);
            self.observers = Some(Box::new(observers));
        }
        let (leader, epoch, observing) = (self.leader, self.epoch, self.observer);
        replica.deliveries.push_back(Delivery::Following { leader, epoch, observing });
        None
    }
}
