//! The session of a request: alive, ended, moved or local (`SessionTracker.checkSession`).

use crate::wire::ErrorCode;

/// What the session tracker says of the session that asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionCheck {
    /// It lives, and the request came through its present server.
    Ok,
    /// It has ended, or is about to.
    Expired,
    /// It is attached to another server by now.
    Moved,
    /// It is known to its own server only, and may do anything but own an ephemeral, which is
    /// refused with this code.
    Local(ErrorCode),
}

impl SessionCheck {
    pub(crate) fn ok(self) -> Result<(), ErrorCode> {
        match self {
            SessionCheck::Ok | SessionCheck::Local(_) => Ok(()),
            SessionCheck::Expired => Err(ErrorCode::SessionExpired),
            SessionCheck::Moved => Err(ErrorCode::SessionMoved),
        }
    }

    /// Whatever else may be wrong with a request: the session's present server has to know that it
    /// is none of its own.
    pub(crate) fn still_here(self) -> Result<(), ErrorCode> {
        if self == SessionCheck::Moved { Err(ErrorCode::SessionMoved) } else { Ok(()) }
    }

    pub(crate) fn may_own(self) -> Result<(), ErrorCode> {
        match self {
            SessionCheck::Local(code) => Err(code),
            other => other.ok(),
        }
    }
}
