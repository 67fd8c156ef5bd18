//! What an ensemble's server tells of itself.

use alloc::vec::Vec;

use super::{Ensemble, RoleState};
use crate::types::{Epoch, ServerId};
use crate::zab::Role;

impl Ensemble {
    /// What this server is.
    pub fn role(&self) -> Role {
        match &self.state {
            RoleState::Recovering => Role::Recovering,
            RoleState::Reloading(_) | RoleState::Looking => Role::Looking,
            RoleState::Leader(leader) => Role::Leading { established: leader.established() },
            RoleState::Learner(learner) => {
                Role::Following { active: learner.active(), observing: learner.observer }
            }
            RoleState::Standalone(_) => Role::Standalone,
        }
    }

    /// The current epoch of this server.
    pub fn epoch(&self) -> Epoch {
        self.replica.history.current_epoch
    }

    /// The leader, if one is known.
    pub fn leader(&self) -> Option<ServerId> {
        match &self.state {
            RoleState::Leader(_) => Some(self.replica.me),
            RoleState::Learner(learner) => Some(learner.leader),
            _ => None,
        }
    }

    /// Learners of this leader, or of this observer master, that are up to date, with whether they
    /// observe.
    pub fn active_learners(&self) -> Vec<(ServerId, bool)> {
        let learners = match &self.state {
            RoleState::Leader(leader) => Some(&leader.learners),
            RoleState::Learner(learner) => {
                learner.observers.as_ref().map(|master| &master.learners)
            }
            _ => None,
        };
        let active = learners.into_iter().flat_map(|learners| learners.active());
        active.map(|learner| (learner.server, learner.observer)).collect()
    }

    /// How many learners were brought up to date by a DIFF or a TRUNC, since the last time of
    /// asking.
    pub fn take_diffs(&mut self) -> u64 {
        core::mem::take(&mut self.replica.diff_syncs)
    }

    /// Leader: learners that are connected at all.
    pub fn learner_count(&self) -> usize {
        match &self.state {
            RoleState::Leader(leader) => leader.learners.len(),
            _ => 0,
        }
    }
}
