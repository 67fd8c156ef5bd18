//! Claims: what is said of members on the quorum port, and would end the leadership term or begin a
//! later epoch. Nothing follows from a claim before the member has confirmed it from its configured
//! election address.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::types::{Epoch, ServerId, Time};

/// The part of an introduction in a member's name that would change something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// Its committed configuration has this version, newer than the leader's.
    NewerConfiguration(i64),
    /// It has accepted this epoch, later than that of the established leader, and cannot follow it.
    LeftOut(Epoch),
    /// It has accepted this epoch, later than that of the leader, which is choosing the next one.
    Accepted(Epoch),
}

#[derive(Clone, Copy, Debug)]
struct Made {
    claim: Claim,
    since: Time,
    last: Time,
}

/// The claims of one leadership term, one for each member at most.
#[derive(Debug, Default)]
pub(super) struct Claims {
    made: BTreeMap<ServerId, Made>,
}

impl Claims {
    /// Notes a claim. It stands from its first time on, if it is repeated within `repeat_ms`. Of
    /// several epochs the earliest counts, so that a stranger cannot make one later.
    pub(super) fn make(&mut self, now: Time, member: ServerId, claim: Claim, repeat_ms: u64) {
        let made = self.made.entry(member).or_insert(Made { claim, since: now, last: now });
        let is_repeated = now.ms_since(made.last) <= repeat_ms;
        made.claim = match (made.claim, claim) {
            (Claim::LeftOut(a), Claim::LeftOut(b)) if is_repeated => Claim::LeftOut(a.min(b)),
            (Claim::Accepted(a), Claim::Accepted(b)) if is_repeated => Claim::Accepted(a.min(b)),
            (_, new) => new,
        };
        if !is_repeated {
            made.since = now;
        }
        made.last = now;
    }

    /// The members to ask about their claims: about a newer configuration at once, about an
    /// accepted epoch when the claim has stood for half of `stands_ms`, and about being left out
    /// when it has stood for all of it, as the member may find another way in.
    pub(super) fn to_ask(&self, now: Time, stands_ms: u64) -> Vec<ServerId> {
        let is_due = |made: &Made| match made.claim {
            Claim::LeftOut(_) => now.ms_since(made.since) >= stands_ms,
            Claim::Accepted(_) => now.ms_since(made.since) >= stands_ms / 2,
            Claim::NewerConfiguration(_) => true,
        };
        self.made.iter().filter(|(_, made)| is_due(made)).map(|(id, _)| *id).collect()
    }

    /// The claim of a member that has answered.
    pub(super) fn take(&mut self, member: ServerId) -> Option<Claim> {
        self.made.remove(&member).map(|made| made.claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ServerId = ServerId(1);

    fn at(ms: u64) -> Time {
        Time(0).plus_ms(ms)
    }

    #[test]
    fn left_out_claim_is_asked_about_when_it_has_stood() {
        let mut claims = Claims::default();
        claims.make(at(0), ONE, Claim::LeftOut(Epoch(5)), 300);
        assert!(claims.to_ask(at(99), 100).is_empty());
        claims.make(at(100), ONE, Claim::LeftOut(Epoch(5)), 300);
        assert_eq!(claims.to_ask(at(100), 100), [ONE]);
        claims.make(at(1000), ONE, Claim::LeftOut(Epoch(5)), 300);
        assert!(claims.to_ask(at(1000), 100).is_empty(), "it was not repeated in time");
    }

    #[test]
    fn earliest_of_several_claimed_epochs_counts() {
        let mut claims = Claims::default();
        for epoch in [5, 7000, 6] {
            claims.make(at(0), ONE, Claim::Accepted(Epoch(epoch)), 300);
        }
        assert!(claims.to_ask(at(49), 100).is_empty());
        assert_eq!(claims.to_ask(at(50), 100), [ONE]);
        assert_eq!(claims.take(ONE), Some(Claim::Accepted(Epoch(5))));
        assert_eq!(claims.take(ONE), None);
    }
}
