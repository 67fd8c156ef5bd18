//! An ensemble: its members, groups and weights, and its text form (`QuorumVerifier.toString`).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::types::{HostPort, ServerId};

/// The role of a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LearnerType {
    /// A voter: its vote and its ACKs count.
    Participant,
    /// A learner without a vote, which receives INFORMs.
    Observer,
}

/// One of a member's addresses (several only with `multiAddress.enabled`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServerAddress {
    /// The address for learners while this member leads.
    pub quorum: HostPort,
    /// The address for election notifications.
    pub election: HostPort,
}

/// A `server.N` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// At least one address, in the order of the file.
    pub addresses: Vec<ServerAddress>,
    /// Voter or observer.
    pub role: LearnerType,
    /// The client address, which stands after `;`.
    pub client: Option<HostPort>,
}

impl Member {
    /// Reads the value of a `server.N` line: `host:quorum:election[:type][;[host:]port]`. None if
    /// it is malformed.
    pub fn parse(line: &str) -> Option<Member> {
        super::server_line::parse(line).ok()
    }
}

/// A list of members, with a version (`QuorumMaj`, `QuorumHierarchical`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EnsembleConfig {
    /// All members by id.
    pub members: BTreeMap<ServerId, Member>,
    /// The group of each server, for hierarchical quorums; empty: majority quorums.
    pub groups: BTreeMap<ServerId, i64>,
    /// The weight of each server; 1 if it is missing.
    pub weights: BTreeMap<ServerId, i64>,
    /// The version: the zxid of the transaction that proposed it; 0 of a list in a file.
    pub version: i64,
}

impl EnsembleConfig {
    /// The ids of the voting members, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.members.iter().filter(|(_, m)| m.role == LearnerType::Participant).map(|(id, _)| *id)
    }

    /// A member with several addresses, which needs `multiAddress.enabled`.
    pub fn with_several_addresses(&self) -> Option<ServerId> {
        self.members.iter().find(|(_, m)| m.addresses.len() > 1).map(|(id, _)| *id)
    }

    /// Whether this id is a voting member.
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.members.get(&id).is_some_and(|m| m.role == LearnerType::Participant)
    }

    /// The text form: one line a member, group and weight lines, `version=<hex>` last, no
    /// newline at the end.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (id, member) in &self.members {
            let _ = write!(text, "server.{id}=");
            let mut addresses: Vec<_> = member.addresses.iter().collect();
            addresses.sort_by(|a, b| a.quorum.host.cmp(&b.quorum.host));
            for (i, a) in addresses.iter().enumerate() {
                let bar = if i == 0 { "" } else { "|" };
                let _ = write!(text, "{bar}{}:{}", a.quorum, a.election.port);
            }
            text.push_str(match member.role {
                LearnerType::Participant => ":participant",
                LearnerType::Observer => ":observer",
            });
            if let Some(client) = &member.client {
                let _ = write!(text, ";{client}");
            }
            text.push('\n');
        }
        let mut by_group: BTreeMap<i64, Vec<ServerId>> = BTreeMap::new();
        for (id, group) in &self.groups {
            by_group.entry(*group).or_default().push(*id);
        }
        for (group, ids) in &by_group {
            let _ = write!(text, "group.{group}=");
            for (i, id) in ids.iter().enumerate() {
                let _ = write!(text, "{}{id}", if i == 0 { "" } else { ":" });
            }
            text.push('\n');
        }
        if !self.groups.is_empty() {
            for id in self.members.keys() {
                let weight = self.weights.get(id).copied().unwrap_or(1);
                let _ = writeln!(text, "weight.{id}={weight}");
            }
        }
        let _ = write!(text, "version={:x}", self.version);
        text
    }
}
