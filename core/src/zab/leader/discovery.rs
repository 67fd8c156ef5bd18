//! Discovery and synchronisation: how an elected server becomes an established leader.
//!
//! ```text
//!  Discovery        FOLLOWERINFO of a quorum       the new epoch is one more than the largest
//!                                                  that one of them has accepted
//!  SavingAccepted   acceptedEpoch is durable here  LEADERINFO goes to all
//!  EpochAcks        ACKEPOCH of a quorum           none of them has a newer history; currentEpoch
//!                                                  is written; every learner is synchronised,
//!                                                  with NEWLEADER at the end
//!  NewLeaderAcks    ACK of NEWLEADER by a quorum   the history is committed; UPTODATE goes to all
//!  Broadcast
//! ```
//!
//! A learner that arrives later passes the same stages, and waits for no quorum.
//! `learner/join.rs` is the other side.

use alloc::format;
use alloc::vec::Vec;

use tracing::{info, warn};

use super::{Leader, Stage};
use crate::action::{Action, Actions, DiskAction, EpochFile, Reason};
use crate::mutant::mutant;
use crate::quorum::Verifier;
use crate::types::{ConnId, Epoch, ServerId, Zxid};
use crate::wire::PeerError;
use crate::wire::quorum::PacketType;
use crate::zab::learner_handler::Phase;
use crate::zab::membership::{ConfigEvent, remains_leader};
use crate::zab::transition::Transition;
use crate::zab::{Delivery, Replica};

/// The remedy when no epoch is left.
const NO_EPOCH_LEFT: &str = "the epochs of this ensemble are used up or too far apart. Stop all \
    servers; keep the data of the one with the largest currentEpoch, and of these with the largest \
    zxid, write the upper half of that zxid into its acceptedEpoch and currentEpoch, empty the other \
    servers' data directories, and start it first";

impl Leader {
    /// Whether the new epoch is still being chosen, and the accepted epoch of this server is not
    /// counted yet.
    pub(super) fn awaits_epoch_of(&self, id: ServerId) -> bool {
        self.stage == Stage::Discovery && !self.connecting.contains(id)
    }

    /// The epoch that a server, or this one, has accepted counts (`getEpochToPropose`). With a
    /// quorum the new epoch is known.
    pub(super) fn follower_info_received(
        &mut self,
        replica: &mut Replica,
        id: ServerId,
        accepted: Epoch,
        out: &mut Actions,
    ) -> Option<Transition> {
        if self.stage != Stage::Discovery {
            return None;
        }
        self.epoch = self.epoch.max(Epoch(accepted.0.saturating_add(1)));
        self.earliest = self.earliest.min(accepted);
        self.connecting.insert(id);
        if !self.connecting.contains(replica.me) || !replica.members().is_quorum(&self.connecting) {
            return None;
        }
        if !self.earliest.may_advance_to(self.epoch) {
            let (epoch, earliest) = (self.epoch, self.earliest);
            return Some(
                self.end(format!("epoch {epoch} cannot follow {earliest}: {NO_EPOCH_LEFT}")),
            );
        }
        info!(epoch = %self.epoch, "proposing a new epoch");
        self.version_configuration(replica, out);
        let ticket = replica.ticket();
        replica.history.accepted_epoch = self.epoch;
        let (file, epoch) = (EpochFile::Accepted, self.epoch);
        out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
        self.stage = Stage::SavingAccepted(ticket);
        None
    }

    /// `acceptedEpoch` is durable: LEADERINFO can go out.
    pub(super) fn accepted_saved(&mut self, replica: &mut Replica, out: &mut Actions) {
        self.stage = Stage::EpochAcks;
        let waiting = self.learners.iter().filter(|l| l.phase == Phase::Identified);
        for conn in waiting.map(|l| l.conn).collect::<Vec<_>>() {
            self.learners.greet(conn, self.epoch, out);
        }
        self.epoch_acks.insert(replica.me);
        self.try_finish_discovery(replica, out);
    }

    /// ACKEPOCH of a learner that holds its server's place (`waitForEpochAck`). During discovery it
    /// counts; later the learner is synchronised at once.
    pub(super) fn epoch_acked(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        epoch: i32,
        out: &mut Actions,
    ) -> Result<(), PeerError> {
        let Some(learner) = self.learners.get(conn) else { return Ok(()) };
        if self.stage != Stage::EpochAcks {
            if self.elected_history.refuses(learner, self.epoch, self.last_proposed) {
                return Err(PeerError::UnknownHistory { got: learner.last_zxid });
            }
            let server = learner.server;
            self.forget_acks(server);
            self.learners.synchronise(replica, conn, self.epoch, out);
            return Ok(());
        }
        if epoch == -1 {
            // It has accepted this epoch before, and is counted already.
            return Ok(());
        }
        let got = (Epoch(i64::from(epoch)), learner.last_zxid);
        let own = (replica.history.current_epoch, replica.history.last_logged);
        let mut is_newer = got > own;
        mutant!(LeaderForgetsNewerHistory => is_newer = false);
        mutant!(VoteIgnoresZxid => is_newer = false);
        if is_newer {
            warn!(learner = %learner.server, epoch, zxid = %learner.last_zxid,
                "a learner has a newer history than this leader");
            return Err(PeerError::NewerHistory { got, own });
        }
        if replica.configs.lacks_proposed(got.0, got.1) {
            self.lacking_proposed.insert(learner.server);
        }
        // An observer counts as well: it may be a voter of the proposed configuration.
        self.epoch_acks.insert(learner.server);
        self.try_finish_discovery(replica, out);
        Ok(())
    }

    /// A learner joins again, and may have to truncate what it has acknowledged: it acknowledges
    /// those proposals once more, after the synchronisation has sent them.
    fn forget_acks(&mut self, server: ServerId) {
        mutant!(AcksOutliveASync => return);
        for outstanding in &mut self.outstanding {
            self.ack_tracker.remove(&mut outstanding.acks, server);
        }
    }

    fn try_finish_discovery(&mut self, replica: &mut Replica, out: &mut Actions) {
        let members = replica.members();
        let is_complete = members.is_quorum(&self.epoch_acks)
            || (members.is_committed_quorum(&self.epoch_acks)
                && replica.configs.proposed_cannot_have_committed(&self.lacking_proposed));
        if self.stage != Stage::EpochAcks || !is_complete {
            return;
        }
        replica.config_event(ConfigEvent::HistoryAgreed, out);
        let ticket = replica.ticket();
        replica.history.current_epoch = self.epoch;
        let (file, epoch) = (EpochFile::Current, self.epoch);
        out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
        self.stage = Stage::NewLeaderAcks { saving: Some(ticket) };
        let (history, last) = (&mut self.elected_history, self.last_proposed);
        let waiting = self.learners.iter().filter(|l| l.phase == Phase::EpochAcked);
        let unknown = waiting.filter(|l| history.refuses(l, epoch, last));
        for (conn, got) in unknown.map(|l| (l.conn, l.last_zxid)).collect::<Vec<_>>() {
            let why = Reason::Peer(PeerError::UnknownHistory { got });
            self.drop_learner(replica, conn, why, out);
        }
        for learner in self.learners.iter_mut().filter(|l| l.phase == Phase::EpochAcked) {
            learner.synchronise(replica, epoch, true, out);
        }
    }

    // ---- synchronisation

    /// The first ACK of a learner: it acknowledges NEWLEADER, the learner is in sync.
    pub(super) fn new_leader_acked(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        zxid: Zxid,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(None) };
        let expected = self.epoch.first_zxid();
        if zxid != expected {
            return Err(PeerError::AckBeforeNewLeader { got: zxid, expected });
        }
        learner.phase = Phase::NewLeaderAcked;
        let server = learner.server;
        info!(learner = %server, "a learner is in sync");
        self.learners.in_sync(server);
        if self.established() {
            self.up_to_date(conn);
            return Ok(None);
        }
        self.new_leader_acks.insert(server);
        Ok(self.try_establish(replica, out))
    }

    /// `currentEpoch` is durable: this server acknowledges its own NEWLEADER.
    pub(super) fn current_saved(
        &mut self,
        replica: &mut Replica,
        out: &mut Actions,
    ) -> Option<Transition> {
        self.stage = Stage::NewLeaderAcks { saving: None };
        self.new_leader_acks.insert(replica.me);
        self.try_establish(replica, out)
    }

    /// With a quorum in sync the history is committed, and with it a configuration that was
    /// proposed under an earlier leader. The term ends at once if that has other voters.
    fn try_establish(&mut self, replica: &mut Replica, out: &mut Actions) -> Option<Transition> {
        let ready = self.stage == (Stage::NewLeaderAcks { saving: None });
        if !ready || !replica.members().is_quorum(&self.new_leader_acks) {
            return None;
        }
        self.stage = Stage::Broadcast;
        replica.history.last_processed = self.epoch.first_zxid();
        self.last_proposed = self.epoch.first_zxid();
        info!(epoch = %self.epoch, "leading: a quorum is in sync");
        let before = replica.members().committed().clone();
        if let Some(proposed) = replica.members().proposed().cloned() {
            replica.config_event(ConfigEvent::Committed(proposed), out);
        }
        let mut transition = None;
        if remains_leader(replica.me, &before, replica.members().committed()) {
            replica.deliveries.push_back(Delivery::Leading { epoch: self.epoch });
        } else {
            transition = Some(self.end("the configuration that is committed now has other voters"));
        }
        let acked = self.learners.iter().filter(|l| l.phase == Phase::NewLeaderAcked);
        for conn in acked.map(|l| l.conn).collect::<Vec<_>>() {
            self.up_to_date(conn);
        }
        self.learners.flush(out);
        transition
    }

    fn up_to_date(&mut self, conn: ConnId) {
        if let Some(learner) = self.learners.get_mut(conn) {
            learner.outbound.header_only(PacketType::UpToDate, Zxid(-1));
            learner.phase = Phase::Active;
        }
    }
}
