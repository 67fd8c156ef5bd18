//! Whom a leader takes in, and what it believes of whoever says to be a member.
//!
//! What somebody says of a member on the quorum port changes nothing while the member is here, nor
//! before the member has said it at its configured election address.

use alloc::format;

use tracing::debug;

use super::Shared;
use super::claims::Claim;
use super::leader::Leader;
use super::learner_handler::Phase;
use super::learners::{ALREADY_HERE, Contest};
use crate::action::{Actions, Reason};
use crate::election::{Election, Proof};
use crate::mutant::Mutant;
use crate::types::{ConnId, Epoch, ServerId, Time};
use crate::wire::quorum::LearnerInfo;

impl Leader {
    /// Whether a learner that introduces itself may go on. What would end this reign is noted as
    /// a claim, and the connection closes.
    pub(super) fn admit(
        &mut self,
        now: Time,
        shared: &mut Shared,
        info: &LearnerInfo,
        accepted: Epoch,
    ) -> Result<(), &'static str> {
        let is_member = shared.members.member(info.server).is_some();
        let repeat_ms = shared.limit_ms(shared.options.init_limit);
        if info.config_version > shared.members.current().version {
            // Who was elected by the old members, and waits for them, can wait for long.
            if is_member && !self.established() {
                let claim = Claim::Version(info.config_version);
                self.claims.make(now, info.server, claim, repeat_ms);
                self.believe(shared, info.server, claim);
            }
            return Err("a learner with a newer configuration");
        }
        if !shared.history.accepted_epoch.may_go_on_to(accepted) {
            return Err("a learner whose accepted epoch cannot be (its acceptedEpoch file)");
        }
        // It follows no leader of an earlier epoch than it has accepted, and would stay out.
        if self.established() && accepted > self.epoch {
            if is_member && !self.learners.is_here(info.server) {
                let claim = Claim::LeftOut(accepted);
                self.claims.make(now, info.server, claim, repeat_ms);
                self.believe(shared, info.server, claim);
            }
            return Err("a learner that has accepted a later epoch");
        }
        Ok(())
    }

    fn believe(&mut self, shared: &mut Shared, server: ServerId, claim: Claim) {
        if Mutant::ClaimsAreBelieved.is_on() {
            self.give_way(shared, server, claim);
        }
    }

    /// Somebody introduces itself while the next epoch is being chosen. A later one than this
    /// server has accepted counts once the member has answered.
    pub(super) fn choose_epoch(
        &mut self,
        now: Time,
        shared: &mut Shared,
        server: ServerId,
        accepted: Epoch,
        out: &mut Actions,
    ) {
        let is_member = shared.members.member(server).is_some();
        if accepted <= shared.history.accepted_epoch || Mutant::ClaimsAreBelieved.is_on() {
            self.introduced(shared, server, accepted, out);
        } else if is_member && self.is_choosing() && !self.is_counted(server) {
            let repeat_ms = shared.limit_ms(shared.options.init_limit);
            self.claims.make(now, server, Claim::Accepted(accepted), repeat_ms);
        }
    }

    /// What is claimed of members is asked of them, and what they answer counts.
    pub(super) fn prove(
        &mut self,
        now: Time,
        shared: &mut Shared,
        election: &mut Election,
        out: &mut Actions,
    ) {
        while let Some(proof) = election.take_proof() {
            self.proven(now, shared, &proof, out);
        }
        for member in self.claims.to_ask(now, shared.options.tick_time_ms) {
            election.ask(now, member, out);
        }
    }

    /// A member has answered at its configured address.
    fn proven(&mut self, now: Time, shared: &mut Shared, proof: &Proof, out: &mut Actions) {
        let server = proof.member;
        match self.claims.take(server) {
            Some(claim @ Claim::Version(_))
                if !self.established() && proof.version > shared.members.current().version =>
            {
                self.give_way(shared, server, claim);
            }
            Some(Claim::Accepted(epoch))
                if proof.may_follow(shared.me) && !self.is_counted(server) =>
            {
                self.introduced(shared, server, epoch, out);
            }
            Some(claim @ Claim::LeftOut(_)) => {
                let limit = shared.limit_ms(shared.options.init_limit);
                let is_soon = |at: Time| now.ms_since(at) < limit;
                let history = &shared.history;
                // A history that this leader was not elected with must not be given up for another
                // election, either.
                let has_nothing_new = proof.log.is_some_and(|(epoch, zxid)| {
                    (epoch, zxid) <= (history.current_epoch, history.last_logged)
                        && !self.reign.is_unknown(zxid, self.epoch, self.last_proposed)
                });
                if self.established()
                    && proof.may_follow(shared.me)
                    && has_nothing_new
                    && !self.learners.is_here(server)
                    && !shared.gave_way_at.is_some_and(is_soon)
                {
                    shared.gave_way_at = Some(now);
                    self.give_way(shared, server, claim);
                }
            }
            Some(Claim::Version(_) | Claim::Accepted(_)) | None => {}
        }
    }

    /// This reign ends for the sake of a member.
    fn give_way(&mut self, shared: &mut Shared, server: ServerId, claim: Claim) {
        self.ended = Some(match claim {
            Claim::Version(version) => format!("server {server} goes by a later list, {version:x}"),
            Claim::LeftOut(epoch) | Claim::Accepted(epoch) => {
                shared.epoch_heard = shared.epoch_heard.max(epoch);
                format!("server {server} has accepted epoch {epoch}: only a later one takes it in")
            }
        });
    }

    /// A learner that has acknowledged the epoch has its server's place.
    pub(super) fn goes_on(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        learner.phase = Phase::EpochAcked;
        let epoch = learner.acked_epoch;
        self.epoch_acked(shared, conn, epoch, out)
    }

    /// Decides about links that claim another one's place.
    pub(super) fn contest(&mut self, now: Time, shared: &mut Shared, out: &mut Actions) {
        while let Some(contest) = self.learners.contest(now, shared) {
            debug!(?contest, "two links claim one server's place");
            match contest {
                Contest::GoesOn(conn) => {
                    if let Err(what) = self.goes_on(shared, conn, out) {
                        self.drop_learner(shared, conn, Reason::Protocol(what), out);
                    }
                }
                Contest::Refused(conn) => self.drop_learner(shared, conn, ALREADY_HERE, out),
                Contest::Replaced(conn) => self.drop_learner(shared, conn, Reason::Replaced, out),
            }
        }
    }
}
