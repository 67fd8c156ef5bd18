//! Whom a leader takes in, and what it believes of whoever says to be a member.
//!
//! What somebody says of a member on the quorum port changes nothing while the member is here, nor
//! before the member has said it at its configured election address.

use alloc::format;

use tracing::debug;

use super::Leader;
use super::claims::Claim;
use crate::action::{Actions, Reason};
use crate::election::{Election, Proof};
use crate::mutant::Mutant;
use crate::types::{ConnId, Epoch, ServerId, Time};
use crate::wire::quorum::LearnerInfo;
use crate::zab::Replica;
use crate::zab::learner_handler::Phase;
use crate::zab::learners::{ALREADY_HERE, Contest};

impl Leader {
    /// Whether a learner that introduces itself may go on. What would end this reign is noted as
    /// a claim, and the connection closes.
    pub(super) fn admit(
        &mut self,
        now: Time,
        replica: &mut Replica,
        info: &LearnerInfo,
        accepted: Epoch,
    ) -> Result<(), &'static str> {
        let is_member = replica.members().member(info.server).is_some();
        let repeat_ms = replica.limit_ms(replica.options.init_limit);
        if info.config_version > replica.members().committed().version {
            // Who was elected by the old members, and waits for them, can wait for long.
            if is_member && !self.established() {
                let claim = Claim::Version(info.config_version);
                self.claims.make(now, info.server, claim, repeat_ms);
                self.believe(replica, info.server, claim);
            }
            return Err("a learner with a newer configuration");
        }
        if !replica.history.accepted_epoch.may_advance_to(accepted) {
            return Err("a learner whose accepted epoch cannot be (its acceptedEpoch file)");
        }
        // It follows no leader of an earlier epoch than it has accepted, and would stay out.
        if self.established() && accepted > self.epoch {
            if is_member && !self.learners.is_here(info.server) {
                let claim = Claim::LeftOut(accepted);
                self.claims.make(now, info.server, claim, repeat_ms);
                self.believe(replica, info.server, claim);
            }
            return Err("a learner that has accepted a later epoch");
        }
        Ok(())
    }

    fn believe(&mut self, replica: &mut Replica, server: ServerId, claim: Claim) {
        if Mutant::ClaimsAreBelieved.is_on() {
            self.give_way(replica, server, claim);
        }
    }

    /// Somebody introduces itself while the next epoch is being chosen. A later one than this
    /// server has accepted counts once the member has answered.
    pub(super) fn choose_epoch(
        &mut self,
        now: Time,
        replica: &mut Replica,
        server: ServerId,
        accepted: Epoch,
        out: &mut Actions,
    ) {
        let is_member = replica.members().member(server).is_some();
        if accepted <= replica.history.accepted_epoch || Mutant::ClaimsAreBelieved.is_on() {
            self.follower_info_received(replica, server, accepted, out);
        } else if is_member && self.is_choosing() && !self.is_counted(server) {
            let repeat_ms = replica.limit_ms(replica.options.init_limit);
            self.claims.make(now, server, Claim::Accepted(accepted), repeat_ms);
        }
    }

    /// What is claimed of members is asked of them, and what they answer counts.
    pub(in crate::zab) fn prove(
        &mut self,
        now: Time,
        replica: &mut Replica,
        election: &mut Election,
        out: &mut Actions,
    ) {
        while let Some(proof) = election.take_proof() {
            self.proven(now, replica, &proof, out);
        }
        for member in self.claims.to_ask(now, replica.options.tick_time_ms) {
            election.ask(now, member, out);
        }
    }

    /// A member has answered at its configured address.
    fn proven(&mut self, now: Time, replica: &mut Replica, proof: &Proof, out: &mut Actions) {
        let server = proof.member;
        match self.claims.take(server) {
            Some(claim @ Claim::Version(_))
                if !self.established() && proof.version > replica.members().committed().version =>
            {
                self.give_way(replica, server, claim);
            }
            Some(Claim::Accepted(epoch))
                if proof.may_follow(replica.me) && !self.is_counted(server) =>
            {
                self.follower_info_received(replica, server, epoch, out);
            }
            Some(claim @ Claim::LeftOut(_)) => {
                let limit = replica.limit_ms(replica.options.init_limit);
                let is_soon = |at: Time| now.ms_since(at) < limit;
                let history = &replica.history;
                // A history that this leader was not elected with must not be given up for another
                // election, either.
                let has_nothing_new = proof.log.is_some_and(|(epoch, zxid)| {
                    (epoch, zxid) <= (history.current_epoch, history.last_logged)
                        && !self.elected_history.is_unknown(zxid, self.epoch, self.last_proposed)
                });
                if self.established()
                    && proof.may_follow(replica.me)
                    && has_nothing_new
                    && !self.learners.is_here(server)
                    && !replica.gave_way_at.is_some_and(is_soon)
                {
                    replica.gave_way_at = Some(now);
                    self.give_way(replica, server, claim);
                }
            }
            Some(Claim::Version(_) | Claim::Accepted(_)) | None => {}
        }
    }

    /// This reign ends for the sake of a member.
    fn give_way(&mut self, replica: &mut Replica, server: ServerId, claim: Claim) {
        self.ended = Some(match claim {
            Claim::Version(version) => format!("server {server} goes by a later list, {version:x}"),
            Claim::LeftOut(epoch) | Claim::Accepted(epoch) => {
                replica.later_epoch_reported = replica.later_epoch_reported.max(epoch);
                format!("server {server} has accepted epoch {epoch}: only a later one takes it in")
            }
        });
    }

    /// A learner that has acknowledged the epoch has its server's place.
    pub(super) fn goes_on(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        learner.phase = Phase::EpochAcked;
        let epoch = learner.acked_epoch;
        self.epoch_acked(replica, conn, epoch, out)
    }

    /// Decides about links that claim another one's place.
    pub(super) fn contest(&mut self, now: Time, replica: &mut Replica, out: &mut Actions) {
        while let Some(contest) = self.learners.contest(now, replica) {
            debug!(?contest, "two links claim one server's place");
            match contest {
                Contest::GoesOn(conn) => {
                    if let Err(what) = self.goes_on(replica, conn, out) {
                        self.drop_learner(replica, conn, Reason::Protocol(what), out);
                    }
                }
                Contest::Refused(conn) => self.drop_learner(replica, conn, ALREADY_HERE, out),
                Contest::Replaced(conn) => self.drop_learner(replica, conn, Reason::Replaced, out),
            }
        }
    }
}
