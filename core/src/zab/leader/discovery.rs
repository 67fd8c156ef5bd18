//! Discovery and synchronisation: a new epoch, then a quorum in sync with this leader.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use tracing::{info, warn};

use super::{Leader, MEND, Stage};
use crate::action::{Action, Actions, DiskAction, EpochFile, Reason};
use crate::mutant::Mutant;
use crate::quorum::Verifier;
use crate::types::{ConnId, Epoch, ServerId, Zxid};
use crate::wire::quorum::PacketType;
use crate::zab::foreign_history::UNKNOWN_HISTORY;
use crate::zab::learner_handler::Phase;
use crate::zab::membership::{ConfigEvent, remains_leader};
use crate::zab::{Delivery, Replica};

impl Leader {
    /// A server (or this one) says which epoch it last accepted (`getEpochToPropose`).
    pub(in crate::zab) fn follower_info_received(
        &mut self,
        replica: &mut Replica,
        id: ServerId,
        accepted: Epoch,
        out: &mut Actions,
    ) {
        if self.stage != Stage::Discovery {
            return;
        }
        self.epoch = self.epoch.max(Epoch(accepted.0.saturating_add(1)));
        self.earliest = self.earliest.min(accepted);
        self.connecting.insert(id);
        if self.connecting.contains(replica.me) && replica.members().is_quorum(&self.connecting) {
            if !self.earliest.may_advance_to(self.epoch) {
                self.ended =
                    Some(format!("epoch {} cannot follow {}: {MEND}", self.epoch, self.earliest));
                return;
            }
            info!(epoch = %self.epoch, "a new epoch is proposed");
            self.version_configuration(replica, out);
            let ticket = replica.ticket();
            replica.history.accepted_epoch = self.epoch;
            let (file, epoch) = (EpochFile::Accepted, self.epoch);
            out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
            self.stage = Stage::SavingAccepted(ticket);
        }
    }

    /// `waitForEpochAck`.
    pub(in crate::zab) fn epoch_acked(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        epoch: i32,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        if self.stage != Stage::EpochAcks {
            if let Some(learner) = self.learners.get(conn) {
                if self.elected_history.refuses(learner, self.epoch, self.last_proposed) {
                    return Err(UNKNOWN_HISTORY);
                }
                // What it acknowledged and is not committed it may be told to cut off: it will be
                // sent that again, and acknowledge it again.
                if !Mutant::AcksOutliveASync.is_on() {
                    for outstanding in &mut self.outstanding {
                        self.ack_tracker.remove(&mut outstanding.acks, learner.server);
                    }
                }
                self.learners.synchronise(replica, conn, self.epoch, out);
            }
            return Ok(());
        }
        let Some(learner) = self.learners.get(conn) else { return Ok(()) };
        if epoch == -1 {
            return Ok(());
        }
        let theirs = (Epoch(i64::from(epoch)), learner.last_zxid);
        if theirs > (replica.history.current_epoch, replica.history.last_logged)
            && !Mutant::LeaderForgetsNewerHistory.is_on()
            && !Mutant::VoteIgnoresZxid.is_on()
        {
            warn!(learner = %learner.server, epoch, zxid = %learner.last_zxid,
                "a learner has a newer history than this leader");
            return Err("a learner with a newer history");
        }
        if replica.configs.lacks_proposed(theirs.0, theirs.1) {
            self.lacking_proposed.insert(learner.server);
        }
        // Who observes may vote in the configuration that comes next.
        self.epoch_acks.insert(learner.server);
        self.try_finish_discovery(replica, out);
        Ok(())
    }

    pub(super) fn try_finish_discovery(&mut self, replica: &mut Replica, out: &mut Actions) {
        let members = replica.members();
        let know_all = members.is_quorum(&self.epoch_acks)
            || (members.is_committed_quorum(&self.epoch_acks)
                && replica.configs.proposed_cannot_have_committed(&self.lacking_proposed));
        if self.stage != Stage::EpochAcks || !know_all {
            return;
        }
        replica.config_event(ConfigEvent::HistoryAgreed, out);
        let ticket = replica.ticket();
        replica.history.current_epoch = self.epoch;
        let (file, epoch) = (EpochFile::Current, self.epoch);
        out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
        self.stage = Stage::NewLeaderAcks { saving: Some(ticket) };
        let (elected_history, last) = (&mut self.elected_history, self.last_proposed);
        let waiting = self.learners.iter().filter(|l| l.phase == Phase::EpochAcked);
        let unknown = waiting.filter(|l| elected_history.refuses(l, epoch, last)).map(|l| l.conn);
        for conn in unknown.collect::<Vec<_>>() {
            self.drop_learner(replica, conn, Reason::Protocol(UNKNOWN_HISTORY), out);
        }
        for learner in self.learners.iter_mut().filter(|l| l.phase == Phase::EpochAcked) {
            learner.synchronise(replica, epoch, true, out);
        }
    }

    // ---- synchronisation

    pub(super) fn try_establish(&mut self, replica: &mut Replica, out: &mut Actions) {
        let ready = self.stage == (Stage::NewLeaderAcks { saving: None });
        if !ready || !replica.members().is_quorum(&self.new_leader_acks) {
            return;
        }
        self.stage = Stage::Broadcast;
        replica.history.last_processed = self.epoch.first_zxid();
        self.last_proposed = self.epoch.first_zxid();
        info!(epoch = %self.epoch, "leading: a quorum is in sync");
        // What was proposed under an earlier leader is committed with the history.
        let before = replica.members().committed().clone();
        if let Some(next) = replica.members().proposed().cloned() {
            replica.config_event(ConfigEvent::Committed(next), out);
        }
        if remains_leader(replica.me, &before, replica.members().committed()) {
            replica.deliveries.push_back(Delivery::Leading { epoch: self.epoch });
            replica.serves = true;
        } else {
            let why = "the configuration that was to be completed has other voters";
            self.ended = Some(why.to_string());
        }
        let acked = self.learners.iter().filter(|l| l.phase == Phase::NewLeaderAcked);
        for conn in acked.map(|l| l.conn).collect::<Vec<_>>() {
            self.up_to_date(conn);
        }
        self.learners.flush(out);
    }

    pub(super) fn up_to_date(&mut self, conn: ConnId) {
        if let Some(learner) = self.learners.get_mut(conn) {
            learner.outbound.header_only(PacketType::UpToDate, Zxid(-1));
            learner.phase = Phase::Active;
        }
    }
}
