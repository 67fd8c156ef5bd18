//! The configuration that counts, and the one that may come: while there are two, whatever is
//! decided is decided by quorums of both (`QuorumPeer.getQuorumVerifier`,
//! `getLastSeenQuorumVerifier`, `SyncedLearnerTracker`).

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{AckSet, Verifier, verifier};
use crate::config::{EnsembleConfig, LearnerType, Member};
use crate::mutant::Mutant;
use crate::types::ServerId;

/// The members as one server knows them. It never changes: a reconfiguration makes a new one.
#[derive(Debug)]
pub struct Membership {
    current: Arc<EnsembleConfig>,
    verifier: Box<dyn Verifier>,
    /// Proposed, and not known to be committed: newer than `current`.
    next: Option<(Arc<EnsembleConfig>, Box<dyn Verifier>)>,
}

impl Membership {
    /// `last_seen` counts while it is newer than `current`.
    pub fn new(current: Arc<EnsembleConfig>, last_seen: Option<Arc<EnsembleConfig>>) -> Membership {
        let next = last_seen.filter(|seen| seen.version > current.version);
        let next = next.map(|next| {
            let verifier = verifier(&next);
            (next, verifier)
        });
        Membership { verifier: verifier(&current), current, next }
    }

    /// The configuration that was committed last.
    pub fn current(&self) -> &Arc<EnsembleConfig> {
        &self.current
    }

    /// The one that was proposed and is not known to be committed.
    pub fn next(&self) -> Option<&Arc<EnsembleConfig>> {
        self.next.as_ref().map(|(next, _)| next)
    }

    /// The newest that was seen, committed or not.
    pub fn last_seen(&self) -> &Arc<EnsembleConfig> {
        self.next().unwrap_or(&self.current)
    }

    /// Whether these are a quorum of the current members alone.
    pub fn is_current_quorum(&self, acks: &AckSet) -> bool {
        self.verifier.is_quorum(acks)
    }

    /// Whether a server has a vote, now or in the configuration that may come.
    pub fn may_vote(&self, id: ServerId) -> bool {
        self.current.is_voter(id) || self.next().is_some_and(|next| next.is_voter(id))
    }

    /// Everybody who may vote, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        let both = self
            .current
            .members
            .keys()
            .chain(self.next().into_iter().flat_map(|next| next.members.keys()));
        let mut all: alloc::vec::Vec<ServerId> =
            both.copied().filter(|id| self.may_vote(*id)).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// A member of either configuration, as the current one says if it knows it.
    pub fn member(&self, id: ServerId) -> Option<&Member> {
        let of_next = || self.next().and_then(|next| next.members.get(&id));
        self.current.members.get(&id).or_else(of_next)
    }

    /// Whether a server is to observe. One that is no member follows without a vote
    /// (`QuorumPeer.updateLearnerType`).
    pub fn observes(&self, id: ServerId) -> bool {
        self.current.members.get(&id).is_some_and(|member| member.role == LearnerType::Observer)
    }
}

impl Verifier for Membership {
    fn is_quorum(&self, acks: &AckSet) -> bool {
        let of_next = |(_, next): &(_, Box<dyn Verifier>)| next.is_quorum(acks);
        let is_agreed =
            self.next.as_ref().is_none_or(of_next) || Mutant::NextMembersNotAsked.is_on();
        self.verifier.is_quorum(acks) && is_agreed
    }

    fn weight(&self, id: ServerId) -> i64 {
        self.verifier.weight(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(version: i64, ids: &[i64]) -> Arc<EnsembleConfig> {
        let lines: alloc::vec::Vec<_> =
            ids.iter().map(|id| alloc::format!("server.{id}=h{id}:1:2")).collect();
        let config = EnsembleConfig::parse("x", &lines.join("\n")).unwrap();
        Arc::new(EnsembleConfig { version, ..config })
    }

    fn acks(ids: &[i64]) -> AckSet {
        ids.iter().map(|id| ServerId(*id)).collect()
    }

    #[test]
    fn while_two_configurations_count_both_have_to_agree() {
        let joint = Membership::new(config(1, &[1, 2, 3]), Some(config(2, &[3, 4, 5])));
        for (ids, expected) in [
            (&[1, 2][..], false),
            (&[4, 5], false),
            (&[1, 3, 4], true),
            (&[1, 2, 4, 5], true),
            (&[3, 4, 5], false),
        ] {
            assert_eq!(joint.is_quorum(&acks(ids)), expected, "{ids:?}");
        }
        assert!(joint.is_current_quorum(&acks(&[1, 2])));
        assert_eq!(joint.voters().map(|id| id.0).collect::<alloc::vec::Vec<_>>(), [1, 2, 3, 4, 5]);
        assert!(joint.may_vote(ServerId(5)) && joint.member(ServerId(5)).is_some());
        assert_eq!(joint.last_seen().version, 2);
    }

    #[test]
    fn what_is_not_newer_does_not_count() {
        let alone = Membership::new(config(2, &[1, 2, 3]), Some(config(1, &[7])));
        assert!(alone.next().is_none() && alone.is_quorum(&acks(&[1, 2])));
        assert!(!alone.may_vote(ServerId(7)));
    }
}
