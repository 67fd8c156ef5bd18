//! What an ensemble's server tells of itself.

use alloc::vec::Vec;

use super::{Ensemble, Part, Role};
use crate::types::{Epoch, ServerId};

impl Ensemble {
    /// What this server is.
    pub fn role(&self) -> Role {
        match &self.part {
            Part::Recovering => Role::Recovering,
            Part::Reloading(_) | Part::Looking => Role::Looking,
            Part::Leader(leader) => Role::Leading { established: leader.established() },
            Part::Learner(learner) => {
                Role::Following { active: learner.active(), observing: learner.observer }
            }
            Part::Solo(_) => Role::Standalone,
        }
    }

    /// The current epoch of this server.
    pub fn epoch(&self) -> Epoch {
        self.shared.history.current_epoch
    }

    /// The leader, if one is known.
    pub fn leader(&self) -> Option<ServerId> {
        match &self.part {
            Part::Leader(_) => Some(self.shared.me),
            Part::Learner(learner) => Some(learner.leader),
            _ => None,
        }
    }

    /// Learners of this leader, or of this observer master, that are up to date, with whether they
    /// observe.
    pub fn active_learners(&self) -> Vec<(ServerId, bool)> {
        let learners = match &self.part {
            Part::Leader(leader) => Some(&leader.learners),
            Part::Learner(learner) => learner.observers.as_ref().map(|master| &master.learners),
            _ => None,
        };
        let active = learners.into_iter().flat_map(|learners| learners.active());
        active.map(|learner| (learner.server, learner.observer)).collect()
    }

    /// How many learners were brought up to date by a DIFF or a TRUNC, since the last time of
    /// asking.
    pub fn take_diffs(&mut self) -> u64 {
        core::mem::take(&mut self.shared.diffs)
    }

    /// Leader: learners that are connected at all.
    pub fn learner_count(&self) -> usize {
        match &self.part {
            Part::Leader(leader) => leader.learners.len(),
            _ => 0,
        }
    }
}
