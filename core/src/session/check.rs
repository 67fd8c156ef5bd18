//! The session of a request: alive, ended, moved or local (`SessionTracker.checkSession`).

use crate::wire::ErrorCode;

/// The session tracker's verdict on a request's session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionCheck {
    /// It is alive, and the request came through its present server.
    Ok,
    /// It has ended, or is about to.
    Expired,
    /// It has moved to another server.
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

    /// A moved session is reported before any other error: the session's present server must not
    /// take the answer for one of its own.
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
