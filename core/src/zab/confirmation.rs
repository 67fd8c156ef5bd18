//! Confirmation that this server still leads, for syncs (as Raft's ReadIndex): a quorum has
//! answered packets that were sent after the request.
//!
//! Learners answer PINGs in order, and acknowledge proposals. A learner that answers has received
//! the packet as a follower of this leader; a server that follows a later leader has closed its
//! link to this one. So the answers of a quorum prove that no later leader had a quorum at the time
//! of the request.
//!
//! A *round* is one such question to the learners. Requests that arrive during a round share the
//! next one.

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
    /// The last round that has its quorum. All before it have theirs.
    confirmed: u64,
    /// The last proposal when the round began: an ACK of a later one is an answer.
    proposed: Zxid,
    /// Whether a request waits for the next round.
    is_requested: bool,
}

/// The answers of one learner.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pings_sent: u64,
    pings_answered: u64,
    /// The number of the PING that asks for a round, and that round, until it is answered.
    asked: Option<(u64, u64)>,
    /// The last round that this learner has confirmed.
    confirmed: u64,
}

impl Answers {
    /// A PING is sent. It asks for this round, unless an earlier PING is not answered yet.
    fn ping(&mut self, round: u64) {
        self.pings_sent += 1;
        if self.asked.is_none() && self.confirmed < round {
            self.asked = Some((self.pings_sent, round));
        }
    }

    /// A PING is sent that asks for no round. It is counted, so that its answer is not taken for
    /// that of another. Before UPTODATE a learner answers no PING.
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
    /// Requests a confirmation. Returns its round, which [`Confirmation::advance`] begins.
    pub(super) fn request(&mut self) -> u64 {
        self.is_requested = true;
        self.round + 1
    }

    /// Whether a round has its quorum.
    pub(super) fn has(&self, round: u64) -> bool {
        round <= self.confirmed
    }

    /// Sends a PING to a learner.
    pub(super) fn ping(&self, learner: &mut LearnerHandler, last_proposed: Zxid) {
        learner.outbound.header_only(PacketType::Ping, last_proposed);
        // Before UPTODATE a learner answers no PING.
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

    /// Ends the round if it has its quorum, and begins the next if it is requested. Returns whether
    /// another round is confirmed.
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
            if !core::mem::take(&mut self.is_requested) {
                return has_more;
            }
            (self.round, self.proposed) = (self.round + 1, last_proposed);
            let is_asked = |l: &&mut LearnerHandler| {
                l.phase == Phase::Active && members.is_voter_in_any(l.server)
            };
            for learner in learners.iter_mut().filter(is_asked) {
                // A slow learner is asked again when it has answered.
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

    /// A round that one learner has to confirm.
    fn begun(learner: &mut LearnerHandler) -> Confirmation {
        let confirmation = Confirmation { round: 1, proposed: Zxid(7), ..Default::default() };
        confirmation.ping(learner, Zxid(7));
        confirmation
    }

    #[test]
    fn earlier_ping_confirms_nothing() {
        let mut learner = learner();
        let confirmation = Confirmation::default();
        confirmation.ping(&mut learner, Zxid(7));
        let confirmation = Confirmation { round: 1, ..confirmation };
        confirmation.ping(&mut learner, Zxid(7));
        confirmation.ponged(&mut learner, Zxid(7));
        assert_eq!(learner.answers.confirmed, 0);
        confirmation.ponged(&mut learner, Zxid(7));
        assert_eq!(learner.answers.confirmed, 1);
        // An answer too many does not count for the next round.
        confirmation.ponged(&mut learner, Zxid(7));
        let confirmation = Confirmation { round: 2, ..confirmation };
        confirmation.ping(&mut learner, Zxid(7));
        assert_eq!(learner.answers.confirmed, 1);
    }

    #[test]
    fn ack_of_a_later_proposal_confirms() {
        let mut learner = learner();
        let confirmation = begun(&mut learner);
        confirmation.acked(&mut learner, Zxid(7));
        assert_eq!(learner.answers.confirmed, 0);
        confirmation.acked(&mut learner, Zxid(8));
        assert_eq!(learner.answers.confirmed, 1);
    }

    #[test]
    fn slow_learner_is_asked_for_one_round_at_a_time() {
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
    fn requests_during_a_round_share_the_next() {
        let mut confirmation = Confirmation { round: 3, confirmed: 2, ..Default::default() };
        assert_eq!([confirmation.request(), confirmation.request()], [4, 4]);
        assert!(confirmation.has(2) && !confirmation.has(3));
    }
}
