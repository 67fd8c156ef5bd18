//! The link to the leader: from the first dial to its end.

use super::super::leader_addresses::{leader_addresses, not_listed, not_reached};
use alloc::format;

use bytes::Bytes;
use tracing::warn;

use super::request_backlog::RequestBacklog;
use super::{ATTEMPTS, Learner, RETRY_MS, Stage};
use crate::action::{Action, Actions, DiskAction, EpochFile, Reason};
use crate::event::Port;
use crate::mutant::Mutant;
use crate::types::{ConnId, Time, Zxid};
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket};
use crate::zab::foreign_history::FullSyncReason;
use crate::zab::membership::ConfigEvent;
use crate::zab::packet_stream::{Outbound, PacketReader};
use crate::zab::{RecoveredLog, Replica};

impl Learner {
    pub(super) fn dial(&mut self, replica: &mut Replica, out: &mut Actions) {
        let mut addresses = leader_addresses(replica, self.leader, self.observer);
        if addresses.is_empty() {
            self.ended = Some(not_listed(self.leader));
            return;
        }
        let most = ATTEMPTS * addresses.len();
        let to = addresses.swap_remove(self.attempts % addresses.len());
        self.attempts += 1;
        self.is_last_attempt = self.attempts >= most;
        let conn = replica.dial_id();
        self.conn = Some(conn);
        self.stage = Stage::Dialling;
        out.push(Action::Dial { conn, port: Port::Quorum, to });
    }

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

    pub(in crate::zab) fn closed(&mut self, now: Time, replica: &mut Replica) {
        self.conn = None;
        self.outbound = None;
        match self.stage {
            // A leader that is not ready yet refuses or closes: try again.
            Stage::Dialling | Stage::AwaitLeaderInfo if !self.is_last_attempt => {
                self.stage = Stage::Disconnected(now.plus_ms(RETRY_MS));
            }
            Stage::Dialling => self.ended = Some(not_reached(self.leader)),
            Stage::AwaitSync => {
                let what = "it closed the connection after this server had said what it has";
                self.ended = Some(replica.refused(now, self.leader, what));
            }
            _ => self.end("the connection to the leader broke"),
        }
    }

    pub(super) fn leader_info(
        &mut self,
        replica: &mut Replica,
        zxid: Zxid,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let epoch = zxid.epoch();
        let accepted = replica.history.accepted_epoch;
        if !accepted.may_advance_to(epoch) {
            return Err("the leader proposes an epoch that cannot be");
        }
        self.epoch = epoch;
        if epoch < accepted {
            let what = format!("it leads epoch {epoch}, and this server has accepted a later one");
            self.ended = Some(replica.refused(self.last_received, self.leader, &what));
            return Ok(());
        }
        if epoch == accepted {
            // Accepted before: not counted again.
            self.ack_epoch(replica, -1);
            return Ok(());
        }
        let ticket = replica.ticket();
        replica.history.accepted_epoch = epoch;
        if Mutant::EpochNotSaved.is_on() {
            self.ack_epoch(replica, replica.history.current_epoch.0 as i32);
            return Ok(());
        }
        self.stage = Stage::SavingAccepted(ticket);
        out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file: EpochFile::Accepted, epoch }));
        Ok(())
    }

    pub(super) fn ack_epoch(&mut self, replica: &Replica, current: i32) {
        let data = Some(Bytes::copy_from_slice(&current.to_be_bytes()));
        self.stage = Stage::AwaitSync;
        // Who is counted says what it has. Who was counted before may ask for everything.
        self.requested_full_sync = current == -1 && replica.full_sync_reason.is_some();
        if let Some(outbound) = &mut self.outbound {
            let last =
                if self.requested_full_sync { Zxid::ZERO } else { replica.history.last_logged };
            outbound.packet(&QuorumPacket::new(PacketType::AckEpoch, last, data));
        }
    }

    /// The log is cut and the state loaded anew.
    pub(in crate::zab) fn truncated(
        &mut self,
        replica: &mut Replica,
        start: RecoveredLog,
        out: &mut Actions,
    ) {
        replica.load(start);
        if let Stage::Truncating(_, after) = self.stage
            && replica.history.last_logged > after
        {
            warn!(to = %after, "the log does not show that place: the leader is asked for all of its \
                state");
            replica.full_sync_reason = Some(FullSyncReason::CannotTruncate);
            return self.ask_again(out);
        }
        replica.config_event(ConfigEvent::HistoryAgreed, out);
        self.stage = Stage::Syncing;
        self.read_on(replica, out);
    }

    /// Begins the join anew, with the same leader: this time it is asked for everything. In
    /// discovery this server has been counted with what it has.
    pub(super) fn ask_again(&mut self, out: &mut Actions) {
        if let Some(conn) = self.conn.take() {
            out.push(Action::Close { conn, why: Reason::NotServing });
        }
        self.outbound = None;
        self.reader = PacketReader::default();
        (self.attempts, self.is_last_attempt) = (0, false);
        self.stage = Stage::Disconnected(self.last_received.plus_ms(RETRY_MS));
    }

    /// The rider found the end of the snapshot; `rest` follows it in the stream.
    pub(in crate::zab) fn snapshot_received(
        &mut self,
        replica: &mut Replica,
        rest: Bytes,
        out: &mut Actions,
    ) {
        let Stage::Snapshot(zxid) = self.stage else { return };
        replica.history.replace(zxid);
        replica.full_sync_reason = None;
        self.stage = Stage::Syncing;
        self.reader.push(rest);
        self.read_on(replica, out);
    }

    pub(in crate::zab) fn snapshot_refused(&mut self, what: &str) {
        self.end(what);
    }
}
