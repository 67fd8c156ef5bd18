//! The status of a server, for reports and metrics.

use alloc::vec::Vec;

use super::{Ensemble, RoleState};
use crate::types::{Epoch, ServerId};
use crate::zab::Role;

impl Ensemble {
    /// The role of this server.
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

    /// The `currentEpoch` of this server.
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

    /// The learners of this server that are up to date (a leader's, or the observers of a
    /// follower), and whether each is an observer.
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

    /// The number of learners that were synchronised without a snapshot since the last call.
    pub fn take_diffs(&mut self) -> u64 {
        core::mem::take(&mut self.replica.diff_syncs)
    }

    /// Leader: the number of connected learners, up to date or not.
    pub fn learner_count(&self) -> usize {
        match &self.state {
            RoleState::Leader(leader) => leader.learners.len(),
            _ => 0,
        }
    }
}
