//! How a role ends. Roles return a [`Transition`] where the end is decided; the
//! [`Ensemble`](super::Ensemble) carries it out.

use alloc::string::String;

use crate::types::ServerId;

/// The end of a role and its successor, with the reason for the log.
#[derive(Debug)]
pub(super) enum Transition {
    /// Look for a leader.
    Look { why: String },
    /// Look for a leader. The elected one was never reached: notifications in its name could come
    /// from another server.
    LookDoubting { leader: ServerId, why: String },
    /// Join this leader, or become it, without an election: a reconfiguration has named it
    /// (`QuorumPeer.reconfigFlagSet`).
    Appointed { leader: ServerId, why: String },
}

impl Transition {
    pub(super) fn look(why: impl Into<String>) -> Transition {
        Transition::Look { why: why.into() }
    }

    pub(super) fn why(&self) -> &str {
        match self {
            Transition::Look { why }
            | Transition::LookDoubting { why, .. }
            | Transition::Appointed { why, .. } => why,
        }
    }
}
