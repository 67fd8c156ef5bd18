//! Whether this server still leads: a quorum has answered what it was sent after that was asked.
//!
//! Learners answer PINGs in order, and acknowledge proposals. Whoever does so had received them as a
//! follower of this leader; a server that follows a later one reads nothing more from this. So a
//! quorum of such answers says that no later leader had a quorum when the question was asked.
//!
//! All that ask while a round is under way wait for the next one, together.

use super::learner_handler::{LearnerHandler, Phase};
use super::learners::Learners;
use crate::quorum::{AckSet, Membership, Verifier};
use crate::types::{ServerId, Zxid};
use crate::wire::quorum::PacketType;

/// The rounds of one leadership term.
#[derive(Debug, Default)]
pub(super) struct Confirmation {
    /// The round that began last.
    round: u64,
    /// The last that has its quorum: all before it do, too.
    confirmed: u64,
    /// The last proposal when the last round began: later ones count for it.
    proposed: Zxid,
    /// Somebody waits for the round after that.
    is_wanted: bool,
}

/// What a learner has answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pings_sent: u64,
    pings_answered: u64,
    /// The PING that asked last for a round, and which; none: it is answered.
    asked: Option<(u64, u64)>,
    /// The last round that it has confirmed.
    confirmed: u64,
}

impl Answers {
    /// A PING is sent that will be answered, in this round or an earlier one.
    fn ping(&mut self, round: u64) {
        self.pings_sent += 1;
        if self.asked.is_none() && self.confirmed < round {
            self.asked = Some((self.pings_sent, round));
        }
    }

    /// A PING is sent that asks for no round: its answer is not another one's. Before UPTODATE a
    /// learner answers none.
    pub(super) fn pinged(&mut self, phase: Phase) {
        self.pings_sent += u64::from(phase == Phase::Active);
    }

    /// A PING is answered.
    fn ponged(&mut self) {
        self.pings_answered = self.pings_sent.min(self.pings_answered + 1);
        if let Some((_, round)) = self.asked.take_if(|(ping, _)| *ping <= self.pings_answered) {
            self.confirmed = self.confirmed.max(round);
        }
    }
}

impl Confirmation {
    /// Somebody wants to know: the round that will tell. [`Confirmation::advance`] begins it.
    pub(super) fn want(&mut self) -> u64 {
        self.is_wanted = true;
        self.round + 1
    }

    /// Whether a round has its quorum.
    pub(super) fn has(&self, round: u64) -> bool {
        round <= self.confirmed
    }

    /// A learner is sent a PING.
    pub(super) fn ping(&self, learner: &mut LearnerHandler, last_proposed: Zxid) {
        learner.outbound.header_only(PacketType::Ping, last_proposed);
        // Before UPTODATE it answers none.
        if learner.phase == Phase::Active {
            learner.answers.ping(self.round);
        }
    }

    /// A learner has answered a PING.
    pub(super) fn ponged(&self, learner: &mut LearnerHandler, last_proposed: Zxid) {
        if learner.phase != Phase::Active {
            return;
        }
        learner.answers.ponged();
        if learner.answers.asked.is_none() && learner.answers.confirmed < self.round {
            self.ping(learner, last_proposed);
        }
    }

    /// A learner has acknowledged proposals, up to this one.
    pub(super) fn acked(&self, learner: &mut LearnerHandler, last: Zxid) {
        if last > self.proposed {
            learner.answers.confirmed = self.round;
        }
    }

    /// Ends a round that has its quorum, and begins the next if somebody wants it. True: more rounds
    /// have their quorum than before.
    pub(super) fn advance(
        &mut self,
        me: ServerId,
        members: &Membership,
        last_proposed: Zxid,
        learners: &mut Learners,
    ) -> bool {
        let mut has_more = false;
        loop {
            if self.confirmed < self.round {
                let answered = learners.active().filter(|l| l.answers.confirmed >= self.round);
                let answered: AckSet = answered.map(|l| l.server).chain([me]).collect();
                if !members.is_quorum(&answered) {
                    return has_more;
                }
                (self.confirmed, has_more) = (self.round, true);
            }
            if !core::mem::take(&mut self.is_wanted) {
                return has_more;
            }
            (self.round, self.proposed) = (self.round + 1, last_proposed);
            let is_asked = |l: &&mut LearnerHandler| {
                l.phase == Phase::Active && members.is_voter_in_any(l.server)
            };
            for learner in learners.iter_mut().filter(is_asked) {
                // One that is slow is asked again when it has answered.
                if learner.answers.asked.is_none() {
                    self.ping(learner, last_proposed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ConnId, Time};

    fn learner() -> LearnerHandler {
        let mut learner = LearnerHandler::new(
            ConnId::accepted(1),
            Time(0),
            core::net::Ipv4Addr::LOCALHOST.into(),
        );
        learner.phase = Phase::Active;
        learner
    }

    /// One server that needs its learner's word.
    fn begun(learner: &mut LearnerHandler) -> Confirmation {
        let confirmation = Confirmation { round: 1, proposed: Zxid(7), ..Default::default() };
        confirmation.ping(learner, Zxid(7));
        confirmation
    }

    #[test]
    fn a_ping_that_was_sent_before_confirms_nothing() {
        let mut learner = learner();
        let confirmation = Confirmation::default();
        confirmation.ping(&mut learner, Zxid(7));
        let confirmation = Confirmation { round: 1, ..confirmation };
        confirmation.ping(&mut learner, Zxid(7));
        confirmation.ponged(&mut learner, Zxid(7));
        assert_eq!(learner.answers.confirmed, 0);
        confirmation.ponged(&mut learner, Zxid(7));
        assert_eq!(learner.answers.confirmed, 1);
        // What was not asked is no answer to what will be.
        confirmation.ponged(&mut learner, Zxid(7));
        let confirmation = Confirmation { round: 2, ..confirmation };
        confirmation.ping(&mut learner, Zxid(7));
        assert_eq!(learner.answers.confirmed, 1);
    }

    #[test]
    fn an_acknowledgement_counts_if_its_proposal_is_younger() {
        let mut learner = learner();
        let confirmation = begun(&mut learner);
        confirmation.acked(&mut learner, Zxid(7));
        assert_eq!(learner.answers.confirmed, 0);
        confirmation.acked(&mut learner, Zxid(8));
        assert_eq!(learner.answers.confirmed, 1);
    }

    #[test]
    fn a_slow_learner_is_asked_for_one_round_at_a_time() {
        let mut learner = learner();
        let mut confirmation = begun(&mut learner);
        confirmation.round = 5;
        assert_eq!(learner.answers.pings_sent, 1);
        confirmation.ponged(&mut learner, Zxid(7));
        assert_eq!((learner.answers.confirmed, learner.answers.pings_sent), (1, 2));
        confirmation.ponged(&mut learner, Zxid(7));
        assert_eq!((learner.answers.confirmed, learner.answers.pings_sent), (5, 2));
    }

    #[test]
    fn all_that_ask_during_a_round_share_the_next() {
        let mut confirmation = Confirmation { round: 3, confirmed: 2, ..Default::default() };
        assert_eq!([confirmation.want(), confirmation.want()], [4, 4]);
        assert!(confirmation.has(2) && !confirmation.has(3));
    }
}
