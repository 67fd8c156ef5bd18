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
    committed: Arc<EnsembleConfig>,
    verifier: Box<dyn Verifier>,
    /// Proposed, and not known to be committed: newer than `current`.
    proposed: Option<(Arc<EnsembleConfig>, Box<dyn Verifier>)>,
    /// Proposed, and not logged by this server: it has not agreed to that.
    proposed_not_logged: Option<Arc<EnsembleConfig>>,
}

impl Membership {
    /// `last_seen` counts while it is newer than `current`.
    pub fn new(current: Arc<EnsembleConfig>, last_seen: Option<Arc<EnsembleConfig>>) -> Membership {
        let next = last_seen.filter(|seen| seen.version > current.version);
        let next = next.map(|next| {
            let verifier = verifier(&next);
            (next, verifier)
        });
        Membership {
            verifier: verifier(&current),
            committed: current,
            proposed: next,
            proposed_not_logged: None,
        }
    }

    /// Quorums of `unlogged` are not needed. But others may have agreed to it, and need a leader
    /// among its voters: they are heard.
    pub fn with_proposed_not_logged(self, unlogged: Option<Arc<EnsembleConfig>>) -> Membership {
        let unlogged = unlogged.filter(|config| config.version > self.last_seen().version);
        Membership { proposed_not_logged: unlogged, ..self }
    }

    /// The configuration that was committed last.
    pub fn committed(&self) -> &Arc<EnsembleConfig> {
        &self.committed
    }

    /// The one that was proposed and is not known to be committed.
    pub fn proposed(&self) -> Option<&Arc<EnsembleConfig>> {
        self.proposed.as_ref().map(|(next, _)| next)
    }

    /// One that was proposed and does not count for this server.
    pub fn proposed_not_logged(&self) -> Option<&Arc<EnsembleConfig>> {
        self.proposed_not_logged.as_ref()
    }

    /// All that are known.
    fn all(&self) -> impl Iterator<Item = &Arc<EnsembleConfig>> {
        core::iter::once(&self.committed).chain(self.proposed()).chain(&self.proposed_not_logged)
    }

    /// The newest that was seen, committed or not.
    pub fn last_seen(&self) -> &Arc<EnsembleConfig> {
        self.proposed().unwrap_or(&self.committed)
    }

    /// Whether these are a quorum of the current members alone.
    pub fn is_committed_quorum(&self, acks: &AckSet) -> bool {
        self.verifier.is_quorum(acks)
    }

    /// Whether there is no quorum of the current members without these.
    pub fn is_blocked_by(&self, absent: &AckSet) -> bool {
        !self
            .verifier
            .is_quorum(&self.committed.voters().filter(|id| !absent.contains(*id)).collect())
    }

    /// Whether a server has a vote, now or in a configuration that may come.
    pub fn is_voter_in_any(&self, id: ServerId) -> bool {
        self.all().any(|config| config.is_voter(id))
    }

    /// Everybody who may vote, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        let mut all: alloc::vec::Vec<ServerId> =
            self.all().flat_map(|config| config.voters()).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// A member of any configuration, as the first says that knows it.
    pub fn member(&self, id: ServerId) -> Option<&Member> {
        self.all().find_map(|config| config.members.get(&id))
    }

    /// Whether a server is to observe. One that is no member follows without a vote
    /// (`QuorumPeer.updateLearnerType`).
    pub fn observes(&self, id: ServerId) -> bool {
        self.committed.members.get(&id).is_some_and(|member| member.role == LearnerType::Observer)
    }
}

impl Verifier for Membership {
    fn is_quorum(&self, acks: &AckSet) -> bool {
        let of_next = |(_, next): &(_, Box<dyn Verifier>)| next.is_quorum(acks);
        let is_agreed =
            self.proposed.as_ref().is_none_or(of_next) || Mutant::NextMembersNotAsked.is_on();
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
        assert!(joint.is_committed_quorum(&acks(&[1, 2])));
        assert_eq!(joint.voters().map(|id| id.0).collect::<alloc::vec::Vec<_>>(), [1, 2, 3, 4, 5]);
        assert!(joint.is_voter_in_any(ServerId(5)) && joint.member(ServerId(5)).is_some());
        assert_eq!(joint.last_seen().version, 2);
    }

    #[test]
    fn voters_of_what_is_not_logged_are_heard_and_not_needed() {
        let unlogged = Some(config(2, &[3, 4]));
        let members =
            Membership::new(config(1, &[1, 2, 3]), None).with_proposed_not_logged(unlogged.clone());
        assert!(members.is_quorum(&acks(&[1, 2])) && !members.is_quorum(&acks(&[3, 4])));
        assert!(members.is_voter_in_any(ServerId(4)) && members.member(ServerId(4)).is_some());
        assert!(members.proposed().is_none() && members.last_seen().version == 1);
        let later = Membership::new(config(2, &[1, 2, 3]), None).with_proposed_not_logged(unlogged);
        assert!(later.proposed_not_logged().is_none() && !later.is_voter_in_any(ServerId(4)));
    }

    #[test]
    fn without_half_of_the_current_voters_there_is_no_quorum_of_them() {
        let joint = Membership::new(config(1, &[1, 2, 3]), Some(config(2, &[3, 4, 5])));
        for (absent, expected) in [(&[][..], false), (&[1], false), (&[1, 3], true)] {
            assert_eq!(joint.is_blocked_by(&acks(absent)), expected, "{absent:?}");
        }
        assert!(!joint.is_blocked_by(&acks(&[1, 4, 5])), "these have no vote yet");
        assert!(Membership::new(config(1, &[1, 2]), None).is_blocked_by(&acks(&[2])));
    }

    #[test]
    fn what_is_not_newer_does_not_count() {
        let alone = Membership::new(config(2, &[1, 2, 3]), Some(config(1, &[7])));
        assert!(alone.proposed().is_none() && alone.is_quorum(&acks(&[1, 2])));
        assert!(!alone.is_voter_in_any(ServerId(7)));
    }
}
