//! What came of a run.

use std::collections::BTreeMap;

use zabkeeper_core::zab::Role;

use crate::check::Violation;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What went wrong first, if anything did.
    pub violation: Option<Violation>,
    /// How long it took in the world's own time, ms.
    pub simulated_ms: u64,
    /// How many things happened.
    pub steps: u64,
    /// Transactions that were committed.
    pub committed: usize,
    /// How often what was reached.
    pub counters: Counters,
}

/// How often something was reached.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    named: BTreeMap<&'static str, u64>,
    /// Bytes that servers sent.
    pub bytes_sent: u64,
}

impl Counters {
    /// Once more.
    pub fn add(&mut self, name: &'static str) {
        *self.named.entry(name).or_default() += 1;
    }

    /// A server's role changed to this.
    pub(crate) fn role(&mut self, role: Role) {
        self.add(match role {
            Role::Recovering => "recovering",
            Role::Looking => "looking",
            Role::Leading { established: false } => "elected, not established",
            Role::Leading { established: true } => "leading",
            Role::Following { active: false, .. } => "joins a leader",
            Role::Following { active: true, observing: false } => "following",
            Role::Following { active: true, observing: true } => "observing",
            Role::Standalone => "standalone",
        });
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Counters) {
        for (name, n) in &other.named {
            *self.named.entry(name).or_default() += n;
        }
        self.bytes_sent += other.bytes_sent;
    }

    /// Names and numbers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.named.iter().map(|(name, n)| (*name, *n))
    }
}
