//! Quorums: majority and weighted groups behind one trait (`QuorumVerifier`).

mod membership;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::fmt::Debug;

use smallvec::SmallVec;

use crate::config::EnsembleConfig;
use crate::types::ServerId;

pub use membership::Membership;

/// The servers that said yes to something. No allocation for up to seven.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AckSet(SmallVec<[ServerId; 7]>);

impl AckSet {
    /// Nobody yet.
    pub fn new() -> AckSet {
        AckSet(SmallVec::new())
    }
    /// Adds a server; false if it was there.
    pub fn insert(&mut self, id: ServerId) -> bool {
        if self.0.contains(&id) {
            return false;
        }
        self.0.push(id);
        true
    }
    /// Takes a server's word back.
    pub fn remove(&mut self, id: ServerId) {
        self.0.retain(|known| *known != id);
    }
    /// Whether it said yes.
    pub fn contains(&self, id: ServerId) -> bool {
        self.0.contains(&id)
    }
    /// The servers, in the order of their acknowledgements.
    pub fn iter(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<ServerId> for AckSet {
    fn from_iter<I: IntoIterator<Item = ServerId>>(ids: I) -> AckSet {
        let mut set = AckSet::new();
        for id in ids {
            set.insert(id);
        }
        set
    }
}

/// Decides whether a set of servers is a quorum.
pub trait Verifier: Debug + Send + Sync {
    /// Whether these servers form a quorum. Servers that do not vote do not count.
    fn is_quorum(&self, acks: &AckSet) -> bool;
    /// The weight of a server's vote; a candidate of weight 0 never wins.
    fn weight(&self, id: ServerId) -> i64;
}

/// The verifier that a configuration asks for: majority, or weighted groups if it has any.
pub fn verifier(config: &EnsembleConfig) -> Box<dyn Verifier> {
    if config.groups.is_empty() {
        Box::new(Majority { voters: config.voters().collect() })
    } else {
        Box::new(WeightedGroups::new(config))
    }
}

/// More than half of the voters (`QuorumMaj`).
#[derive(Debug)]
struct Majority {
    voters: SmallVec<[ServerId; 7]>,
}

impl Verifier for Majority {
    fn is_quorum(&self, acks: &AckSet) -> bool {
        acks.iter().filter(|id| self.voters.contains(id)).count() > self.voters.len() / 2
    }
    fn weight(&self, _: ServerId) -> i64 {
        1
    }
}

/// More than half of the groups, each by more than half of its weight (`QuorumHierarchical`).
/// Groups whose weight is 0 do not count.
#[derive(Debug)]
struct WeightedGroups {
    group_of: BTreeMap<ServerId, i64>,
    weight_of: BTreeMap<ServerId, i64>,
    group_weight: BTreeMap<i64, i64>,
}

impl WeightedGroups {
    fn new(config: &EnsembleConfig) -> WeightedGroups {
        let mut group_weight = BTreeMap::new();
        let mut weight_of = BTreeMap::new();
        let mut group_of = BTreeMap::new();
        for id in config.voters() {
            let weight = config.weights.get(&id).copied().unwrap_or(1);
            weight_of.insert(id, weight);
            if let Some(group) = config.groups.get(&id) {
                group_of.insert(id, *group);
                *group_weight.entry(*group).or_insert(0) += weight;
            }
        }
        group_weight.retain(|_, weight| *weight > 0);
        WeightedGroups { group_of, weight_of, group_weight }
    }
}

impl Verifier for WeightedGroups {
    fn is_quorum(&self, acks: &AckSet) -> bool {
        let mut said: BTreeMap<i64, i64> = BTreeMap::new();
        for id in acks.iter() {
            if let Some(group) = self.group_of.get(&id) {
                *said.entry(*group).or_insert(0) += self.weight(id);
            }
        }
        let groups = self.group_weight.iter();
        let won = groups.filter(|(g, all)| said.get(g).is_some_and(|w| *w > **all / 2)).count();
        won > self.group_weight.len() / 2
    }
    fn weight(&self, id: ServerId) -> i64 {
        self.weight_of.get(&id).copied().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LearnerType, Member};

    fn config(voters: &[i64], observers: &[i64], groups: &[(i64, i64, i64)]) -> EnsembleConfig {
        let mut config = EnsembleConfig::default();
        let roles = voters.iter().map(|v| (v, LearnerType::Participant));
        for (id, role) in roles.chain(observers.iter().map(|o| (o, LearnerType::Observer))) {
            let member = Member { addresses: alloc::vec![], role, client: None };
            config.members.insert(ServerId(*id), member);
        }
        for (id, group, weight) in groups {
            config.groups.insert(ServerId(*id), *group);
            config.weights.insert(ServerId(*id), *weight);
        }
        config
    }

    fn quorum(config: &EnsembleConfig, ids: &[i64]) -> bool {
        verifier(config).is_quorum(&ids.iter().map(|id| ServerId(*id)).collect())
    }

    #[test]
    fn a_majority_of_the_voters_is_a_quorum_and_observers_do_not_count() {
        let three = config(&[1, 2, 3], &[4, 5], &[]);
        for (ids, expected) in [
            (&[][..], false),
            (&[1], false),
            (&[1, 1], false),
            (&[1, 4, 5], false),
            (&[1, 3], true),
            (&[1, 2, 3], true),
            (&[1, 9], false),
        ] {
            assert_eq!(quorum(&three, ids), expected, "{ids:?}");
        }
        assert!(!quorum(&config(&[1, 2, 3, 4], &[], &[]), &[1, 2]));
        assert!(quorum(&config(&[1], &[], &[]), &[1]));
    }

    /// Groups stand in brackets, each server as `id` or `id*weight`; who said yes is in
    /// capitals: `[A B c] [D e f]`. Observers stand behind a bar.
    fn picture(text: &str) -> bool {
        let (mut config, mut yes) = (config(&[], &[], &[]), AckSet::new());
        let (mut group, mut role) = (None, LearnerType::Participant);
        for word in text.replace('[', "[ ").replace(']', " ]").split_whitespace() {
            let mut letters = word.chars();
            match letters.next() {
                Some('[') => group = Some(group.map_or(0, |g: i64| g + 1)),
                Some(']') => {}
                Some('|') => role = LearnerType::Observer,
                Some(letter) => {
                    let id = ServerId(i64::from(letter.to_ascii_lowercase() as u8));
                    let member = Member { addresses: alloc::vec![], role, client: None };
                    config.members.insert(id, member);
                    if let (Some(group), LearnerType::Participant) = (group, role) {
                        config.groups.insert(id, group);
                    }
                    if let Some(weight) = letters.as_str().strip_prefix('*') {
                        config.weights.insert(id, weight.parse().unwrap());
                    }
                    if letter.is_ascii_uppercase() {
                        yes.insert(id);
                    }
                }
                None => {}
            }
        }
        verifier(&config).is_quorum(&yes)
    }

    #[test]
    fn quorums_in_pictures() {
        for (text, expected) in [
            ("A", true),
            ("a", false),
            ("A b", false),
            ("A B c", true),
            ("A B c d", false),
            ("A B C d", true),
            ("A b c | D E", false),
            ("A B c | d e", true),
            // Two of three groups, each by its own majority.
            ("[A B c] [D E f] [g h i]", true),
            ("[A B C] [D e f] [G h i]", false),
            ("[A B C] [D E F]", true),
            ("[A B C] [d e f]", false),
            // Weights decide within a group; a half is not enough.
            ("[A*3 b c]", true),
            ("[a*3 B C]", false),
            ("[A*2 b c]", false),
            ("[A*2 B c]", true),
            // A group without weight is no group.
            ("[A B c] [d*0 e*0 f*0]", true),
            ("[a b C] [D*0 E*0 F*0]", false),
            ("[A B c] [D E f] [g*0 h*0 i*0]", true),
            ("[A B c] [d e f] [G*0 H*0 I*0]", false),
            // A server without weight does not help its group.
            ("[A*0 B c]", false),
            ("[a*0 B C] | D", true),
        ] {
            assert_eq!(picture(text), expected, "{text}");
        }
    }

    #[test]
    fn weighted_groups_need_a_majority_of_groups_each_by_weight() {
        // three groups of three, the third of no weight at all
        let groups: alloc::vec::Vec<_> =
            (1..=9).map(|id| (id, (id - 1) / 3, i64::from(id <= 6))).collect();
        let config = config(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[], &groups);
        assert!(quorum(&config, &[1, 2, 4, 5]), "two of three in both groups that count");
        assert!(!quorum(&config, &[1, 2, 3, 4, 7, 8, 9]), "one group only");
        assert_eq!(verifier(&config).weight(ServerId(8)), 0);
    }
}
