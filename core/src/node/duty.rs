//! The data of the present role: created when the role begins, dropped as a whole when it ends.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::client_requests::PendingSync;
use super::following::Following;
use super::leading::Leading;
use crate::session::SessionTracker;

/// The work of a server for its clients and its ensemble.
#[derive(Default, Debug)]
pub(super) enum Duty {
    /// It loads its data directory, looks for a leader, or is being synchronised.
    #[default]
    Idle,
    /// It decides about writes: an established leader, or a standalone server.
    Leading(Box<Leading>),
    /// It sends writes to its leader.
    Following(Following),
}

impl Duty {
    pub(super) fn is_leading(&self) -> bool {
        matches!(self, Duty::Leading(_))
    }

    pub(super) fn leading(&mut self) -> Option<&mut Leading> {
        match self {
            Duty::Leading(leading) => Some(leading),
            Duty::Idle | Duty::Following(_) => None,
        }
    }

    pub(super) fn following(&mut self) -> Option<&mut Following> {
        match self {
            Duty::Following(following) => Some(following),
            Duty::Idle | Duty::Leading(_) => None,
        }
    }

    pub(super) fn tracker(&mut self) -> Option<&mut SessionTracker> {
        self.leading().map(|leading| &mut leading.tracker)
    }

    /// This server's own syncs that its leader has not answered, oldest first.
    pub(super) fn pending_syncs(&mut self) -> Option<&mut VecDeque<PendingSync>> {
        match self {
            Duty::Leading(leading) => Some(&mut leading.pending_syncs),
            Duty::Following(following) => Some(&mut following.pending_syncs),
            Duty::Idle => None,
        }
    }
}
