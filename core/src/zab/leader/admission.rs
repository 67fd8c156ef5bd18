//! Admission: which learners a leader accepts, and what it believes of their introductions.
//!
//! Any process can connect to the quorum port and introduce itself as a member. If its words were
//! believed, it could end a leadership term (by a newer configuration, or by a later accepted
//! epoch) or drive the epoch up. So an introduction that would change anything is kept as a
//! [`Claim`], and counts only after the member itself has answered at its configured election
//! address. And while a member has a working link, another link in its name changes nothing.

use alloc::format;

use tracing::debug;

use super::Leader;
use super::claims::Claim;
use crate::action::{Actions, Reason};
use crate::election::{Election, Proof};
use crate::mutant::mutant;
use crate::types::{ConnId, Epoch, ServerId, Time};
use crate::wire::PeerError;
use crate::wire::quorum::LearnerInfo;
use crate::zab::Replica;
use crate::zab::learner_handler::Phase;
use crate::zab::learners::{ALREADY_HERE, Contest};
use crate::zab::transition::Transition;

impl Leader {
    /// Whether a learner that introduces itself may stay. A reason to end this term is noted as a
    /// claim, and the connection closes.
    pub(super) fn admit(
        &mut self,
        now: Time,
        replica: &mut Replica,
        info: &LearnerInfo,
        accepted: Epoch,
    ) -> Result<Option<Transition>, PeerError> {
        let server = info.server;
        let is_member = replica.members().member(server).is_some();
        let repeat_ms = replica.limit_ms(replica.options.init_limit);
        let (got, own) = (info.config_version, replica.members().committed().version);
        if got > own {
            // Elected by the old members, this leader could wait for them in vain.
            if is_member && !self.established() {
                let claim = Claim::NewerConfiguration(got);
                self.claims.make(now, server, claim, repeat_ms);
                mutant!(ClaimsAreBelieved => {
                    return Ok(Some(self.give_way(replica, server, claim)));
                });
            }
            return Err(PeerError::NewerConfiguration { got, own });
        }
        if !replica.history.accepted_epoch.may_advance_to(accepted) {
            let own = replica.history.accepted_epoch;
            return Err(PeerError::ImpossibleAcceptedEpoch { got: accepted, own });
        }
        if self.established() && accepted > self.epoch {
            // It follows no leader of an earlier epoch, and would stay out for ever.
            if is_member && !self.learners.is_here(server) {
                let claim = Claim::LeftOut(accepted);
                self.claims.make(now, server, claim, repeat_ms);
                mutant!(ClaimsAreBelieved => {
                    return Ok(Some(self.give_way(replica, server, claim)));
                });
            }
            return Err(PeerError::LaterEpochAccepted { got: accepted, own: self.epoch });
        }
        Ok(None)
    }

    /// The accepted epoch of a learner, which the next epoch has to exceed. An epoch that is later
    /// than this server's own counts after the member has confirmed that it is the sender.
    pub(super) fn choose_epoch(
        &mut self,
        now: Time,
        replica: &mut Replica,
        server: ServerId,
        accepted: Epoch,
        out: &mut Actions,
    ) -> Option<Transition> {
        let mut is_believed = accepted <= replica.history.accepted_epoch;
        mutant!(ClaimsAreBelieved => is_believed = true);
        if is_believed {
            return self.follower_info_received(replica, server, accepted, out);
        }
        if replica.members().member(server).is_some() && self.awaits_epoch_of(server) {
            let repeat_ms = replica.limit_ms(replica.options.init_limit);
            self.claims.make(now, server, Claim::Accepted(accepted), repeat_ms);
        }
        None
    }

    /// Asks the members about claims in their names, by the election's connections, and acts on the
    /// answers that have arrived.
    pub(in crate::zab) fn check_claims(
        &mut self,
        now: Time,
        replica: &mut Replica,
        election: &mut Election,
        out: &mut Actions,
    ) -> Option<Transition> {
        let mut transition = None;
        while let Some(proof) = election.take_proof() {
            transition = self.proven(now, replica, &proof, out).or(transition);
        }
        for member in self.claims.to_ask(now, replica.options.tick_time_ms) {
            election.ask(now, member, out);
        }
        transition
    }

    /// A member has answered at its configured address.
    fn proven(
        &mut self,
        now: Time,
        replica: &mut Replica,
        proof: &Proof,
        out: &mut Actions,
    ) -> Option<Transition> {
        let server = proof.member;
        let claim = self.claims.take(server)?;
        match claim {
            Claim::NewerConfiguration(_) => {
                let is_newer = proof.version > replica.members().committed().version;
                (!self.established() && is_newer).then(|| self.give_way(replica, server, claim))
            }
            Claim::Accepted(epoch) => {
                if !proof.may_follow(replica.me) || self.connecting.contains(server) {
                    return None;
                }
                self.follower_info_received(replica, server, epoch, out)
            }
            Claim::LeftOut(_) => {
                if !self.may_give_way_to(now, replica, proof) {
                    return None;
                }
                replica.gave_way_at = Some(now);
                Some(self.give_way(replica, server, claim))
            }
        }
    }

    /// Whether this term may end to let in a member that has accepted a later epoch: that member
    /// has nothing that this leader lacks, and terms do not end for this reason all the time.
    fn may_give_way_to(&self, now: Time, replica: &Replica, proof: &Proof) -> bool {
        let limit_ms = replica.limit_ms(replica.options.init_limit);
        let is_recent = |at: Time| now.ms_since(at) < limit_ms;
        let history = &replica.history;
        // An election must not cost the member a history that this leader does not know.
        let has_nothing_new = proof.log.is_some_and(|(epoch, zxid)| {
            (epoch, zxid) <= (history.current_epoch, history.last_logged)
                && !self.elected_history.is_unknown(zxid, self.epoch, self.last_proposed)
        });
        self.established()
            && proof.may_follow(replica.me)
            && has_nothing_new
            && !self.learners.is_here(proof.member)
            && !replica.gave_way_at.is_some_and(is_recent)
    }

    /// Ends this term for the sake of a member.
    fn give_way(&self, replica: &mut Replica, server: ServerId, claim: Claim) -> Transition {
        self.end(match claim {
            Claim::NewerConfiguration(version) => {
                format!("server {server} has a newer configuration, {version:x}")
            }
            Claim::LeftOut(epoch) | Claim::Accepted(epoch) => {
                replica.later_epoch_reported = replica.later_epoch_reported.max(epoch);
                format!("server {server} has accepted epoch {epoch}, and follows only a later one")
            }
        })
    }

    /// ACKEPOCH of a learner, which takes its server's place now.
    pub(super) fn takes_its_place(
        &mut self,
        replica: &mut Replica,
        conn: ConnId,
        out: &mut Actions,
    ) -> Result<(), PeerError> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        learner.phase = Phase::EpochAcked;
        let epoch = learner.acked_epoch;
        self.epoch_acked(replica, conn, epoch, out)
    }

    /// Decides between links that claim the same server's place.
    pub(super) fn contest(&mut self, now: Time, replica: &mut Replica, out: &mut Actions) {
        while let Some(contest) = self.learners.contest(now, replica) {
            debug!(?contest, "two links claim one server's place");
            match contest {
                Contest::GoesOn(conn) => {
                    if let Err(error) = self.takes_its_place(replica, conn, out) {
                        self.drop_learner(replica, conn, Reason::Peer(error), out);
                    }
                }
                Contest::Refused(conn) => self.drop_learner(replica, conn, ALREADY_HERE, out),
                Contest::Replaced(conn) => self.drop_learner(replica, conn, Reason::Replaced, out),
            }
        }
    }
}
