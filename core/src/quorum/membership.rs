//! Joint quorums: the members of an ensemble while a reconfiguration is under way.
//!
//! An ensemble always has one *committed* configuration. From the proposal of a reconfiguration
//! until its commit there is a *proposed* configuration as well, and every decision (an election,
//! a new epoch, NEWLEADER, a later proposal) needs a quorum of each of the two. This is the joint
//! consensus of Raft, without its second step: the one transaction that starts the joint phase
//! also ends it, when it is committed.
//!
//! ```text
//!   committed  1 2 3        a quorum is two of them
//!   proposed       3 4 5    a quorum is two of them
//!
//!   acknowledged by  1 2      no: only server 3 could speak for the proposed configuration
//!   acknowledged by  1 3 4    yes: 1 3 of the first, 3 4 of the second
//!   acknowledged by  1 2 4 5  yes: 1 2 of the first, 4 5 of the second
//! ```
//!
//! A server counts a proposed configuration only once the proposal is in its log. A configuration
//! that it knows from elsewhere (its file was written, the log entry was not) is kept as
//! [`Membership::proposed_not_logged`]: no quorum of it is needed, but notifications of its voters
//! are accepted, because other servers may have logged it and may need its voters to elect a
//! leader.
//!
//! The type answers ZooKeeper's `QuorumPeer.getQuorumVerifier` (committed),
//! `getLastSeenQuorumVerifier` (the newest of committed and proposed) and `SyncedLearnerTracker`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{AckSet, Verifier, verifier};
use crate::config::{EnsembleConfig, LearnerType, Member};
use crate::mutant::mutant;
use crate::types::ServerId;

/// One configuration with what is derived from it: its quorums and its text.
#[derive(Debug)]
struct Configuration {
    config: Arc<EnsembleConfig>,
    verifier: Box<dyn Verifier>,
    text: String,
}

impl Configuration {
    fn new(config: Arc<EnsembleConfig>) -> Configuration {
        Configuration { verifier: verifier(&config), text: config.to_text(), config }
    }
}

/// Derived fields are not compared.
impl PartialEq for Configuration {
    fn eq(&self, other: &Configuration) -> bool {
        self.config == other.config
    }
}

impl Eq for Configuration {}

/// The members as one server knows them. The value never changes: each transition of a
/// reconfiguration makes a new one, which the rooms share in an `Arc`.
#[derive(PartialEq, Eq, Debug)]
pub struct Membership {
    committed: Configuration,
    /// Proposed and logged, and not known to be committed. Its version is newer than that of
    /// `committed`.
    proposed: Option<Configuration>,
    /// Proposed, but not in this server's log. Its version is newer than that of `proposed`.
    proposed_not_logged: Option<Arc<EnsembleConfig>>,
}

impl Membership {
    /// The membership with this committed configuration. `last_seen` becomes the proposed
    /// configuration if it is newer, and is ignored otherwise.
    pub fn new(
        committed: Arc<EnsembleConfig>,
        last_seen: Option<Arc<EnsembleConfig>>,
    ) -> Membership {
        let proposed = last_seen.filter(|seen| seen.version > committed.version);
        Membership {
            committed: Configuration::new(committed),
            proposed: proposed.map(Configuration::new),
            proposed_not_logged: None,
        }
    }

    /// Adds a configuration that was proposed and is not in the log, if it is newer than all
    /// others.
    #[must_use]
    pub fn with_proposed_not_logged(self, config: Option<Arc<EnsembleConfig>>) -> Membership {
        let config = config.filter(|config| config.version > self.last_seen().version);
        Membership { proposed_not_logged: config, ..self }
    }

    /// The configuration that was committed last.
    pub fn committed(&self) -> &Arc<EnsembleConfig> {
        &self.committed.config
    }

    /// The configuration that is proposed, logged by this server, and not known to be committed.
    pub fn proposed(&self) -> Option<&Arc<EnsembleConfig>> {
        self.proposed.as_ref().map(|proposed| &proposed.config)
    }

    /// A configuration that was proposed and is not in this server's log. Its quorums do not count.
    pub fn proposed_not_logged(&self) -> Option<&Arc<EnsembleConfig>> {
        self.proposed_not_logged.as_ref()
    }

    /// The newest configuration whose quorums count, committed or not.
    pub fn last_seen(&self) -> &Arc<EnsembleConfig> {
        self.proposed().unwrap_or(&self.committed.config)
    }

    /// The text of the committed configuration ([`EnsembleConfig::to_text`]), as notifications and
    /// `/zookeeper/config` carry it.
    pub fn text(&self) -> &str {
        &self.committed.text
    }

    /// The text of [`Membership::last_seen`].
    pub fn last_seen_text(&self) -> &str {
        &self.proposed.as_ref().unwrap_or(&self.committed).text
    }

    fn all(&self) -> impl Iterator<Item = &Arc<EnsembleConfig>> {
        core::iter::once(self.committed()).chain(self.proposed()).chain(&self.proposed_not_logged)
    }

    /// Whether these servers are a quorum of the committed configuration, with or without a
    /// proposed one.
    pub fn is_committed_quorum(&self, acks: &AckSet) -> bool {
        self.committed.verifier.is_quorum(acks)
    }

    /// Whether the committed configuration has no quorum without these servers.
    pub fn is_blocked_by(&self, absent: &AckSet) -> bool {
        let others = self.committed().voters().filter(|id| !absent.contains(*id));
        !self.committed.verifier.is_quorum(&others.collect())
    }

    /// Whether a server has a vote in any known configuration.
    pub fn is_voter_in_any(&self, id: ServerId) -> bool {
        self.all().any(|config| config.is_voter(id))
    }

    /// The voters of all known configurations, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        let mut all: Vec<ServerId> = self.all().flat_map(|config| config.voters()).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// A member of any known configuration, with its line in the oldest one that lists it.
    pub fn member(&self, id: ServerId) -> Option<&Member> {
        self.all().find_map(|config| config.members.get(&id))
    }

    /// Whether a server is an observer of the committed configuration. A server that is no member
    /// joins as a follower, without a vote (`QuorumPeer.updateLearnerType`).
    pub fn observes(&self, id: ServerId) -> bool {
        self.committed().members.get(&id).is_some_and(|member| member.role == LearnerType::Observer)
    }
}

impl Verifier for Membership {
    fn is_quorum(&self, acks: &AckSet) -> bool {
        let mut has_proposed_quorum =
            self.proposed.as_ref().is_none_or(|proposed| proposed.verifier.is_quorum(acks));
        mutant!(NextMembersNotAsked => has_proposed_quorum = true);
        self.committed.verifier.is_quorum(acks) && has_proposed_quorum
    }

    fn weight(&self, id: ServerId) -> i64 {
        self.committed.verifier.weight(id)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn config(version: i64, ids: &[i64]) -> Arc<EnsembleConfig> {
        let lines: Vec<_> = ids.iter().map(|id| format!("server.{id}=h{id}:1:2")).collect();
        let config = EnsembleConfig::parse("x", &lines.join("\n")).unwrap();
        Arc::new(EnsembleConfig { version, ..config })
    }

    fn acks(ids: &[i64]) -> AckSet {
        ids.iter().map(|id| ServerId(*id)).collect()
    }

    #[test]
    fn joint_quorum_needs_quorums_of_both_configurations() {
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
        assert_eq!(joint.voters().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert!(joint.is_voter_in_any(ServerId(5)) && joint.member(ServerId(5)).is_some());
        assert_eq!(joint.last_seen().version, 2);
        assert_eq!(joint.text(), joint.committed().to_text());
        assert_eq!(joint.last_seen_text(), config(2, &[3, 4, 5]).to_text());
    }

    #[test]
    fn voters_of_a_configuration_that_is_not_logged_are_accepted_but_not_needed() {
        let not_logged = Some(config(2, &[3, 4]));
        let members = Membership::new(config(1, &[1, 2, 3]), None)
            .with_proposed_not_logged(not_logged.clone());
        assert!(members.is_quorum(&acks(&[1, 2])) && !members.is_quorum(&acks(&[3, 4])));
        assert!(members.is_voter_in_any(ServerId(4)) && members.member(ServerId(4)).is_some());
        assert!(members.proposed().is_none() && members.last_seen().version == 1);
        let later =
            Membership::new(config(2, &[1, 2, 3]), None).with_proposed_not_logged(not_logged);
        assert!(later.proposed_not_logged().is_none() && !later.is_voter_in_any(ServerId(4)));
    }

    #[test]
    fn half_of_the_committed_voters_block_its_quorums() {
        let joint = Membership::new(config(1, &[1, 2, 3]), Some(config(2, &[3, 4, 5])));
        for (absent, expected) in [(&[][..], false), (&[1], false), (&[1, 3], true)] {
            assert_eq!(joint.is_blocked_by(&acks(absent)), expected, "{absent:?}");
        }
        assert!(!joint.is_blocked_by(&acks(&[1, 4, 5])), "4 and 5 are not committed voters");
        assert!(Membership::new(config(1, &[1, 2]), None).is_blocked_by(&acks(&[2])));
    }

    #[test]
    fn older_configuration_is_not_taken_for_a_proposal() {
        let alone = Membership::new(config(2, &[1, 2, 3]), Some(config(1, &[7])));
        assert!(alone.proposed().is_none() && alone.is_quorum(&acks(&[1, 2])));
        assert!(!alone.is_voter_in_any(ServerId(7)));
    }
}
