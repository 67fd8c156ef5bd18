//! Local sessions: known to their own server only, until they need an ephemeral
//! (`UpgradeableSessionTracker`).

use tracing::info;

use super::Node;
use crate::action::{Actions, Reason};
use crate::config::Config;
use crate::prep::{Parsed, Request};
use crate::session::SessionTracker;
use crate::types::{Now, SessionId, Time};
use crate::wire::{ErrorCode, OpCode};

/// A standalone server has no use for local sessions.
pub(super) fn local_tracker(config: &Config, now: Time) -> Option<SessionTracker> {
    let is_wanted = config.sessions.local_sessions && config.ensemble.is_some();
    is_wanted.then(|| SessionTracker::new(now, config.sessions.tick_time_ms))
}

impl Node {
    /// Handles the writes that concern a local session before they go to the leader: closing it
    /// needs no leader; an ephemeral makes it a global session, or is refused. True: nothing is
    /// left to do.
    pub(super) fn is_done_locally(
        &mut self,
        now: Now,
        request: &Request,
        parsed: &Parsed,
        out: &mut Actions,
    ) -> bool {
        let (session, cxid) = (request.session, request.cxid);
        let timeout_ms = self.local.as_ref().and_then(|local| local.timeout_ms(session));
        if request.op == OpCode::CloseSession {
            if timeout_ms.is_some() {
                self.forget_local(session);
                self.client_port.ended(now, &self.store, session, cxid, out);
            } else if self.client_port.is_read_only() {
                let code = ErrorCode::NotReadOnly;
                self.client_port.refused(now, &self.store, session, cxid, code, out);
            }
            return timeout_ms.is_some() || self.client_port.is_read_only();
        }
        let Some(timeout_ms) = timeout_ms.filter(|_| parsed.creates_ephemeral()) else {
            return false;
        };
        if self.config.sessions.upgrades_local_sessions {
            if self.duty.is_leading() && self.next_zxid(now, out).is_none() {
                // The client will ask the leader of the next epoch; the session stays local until
                // then.
                return true;
            }
            info!(%session, "upgrading a local session to a global one");
            self.forget_local(session);
            self.begin_global_session(now, session, timeout_ms, out);
        } else if !self.duty.is_leading() && !parsed.is_multi() {
            // The leader does not know the session, and would answer that it has expired.
            let code = ErrorCode::EphemeralOnLocalSession;
            self.client_port.refused(now, &self.store, session, cxid, code, out);
            return true;
        }
        false
    }

    pub(super) fn forget_local(&mut self, session: SessionId) {
        if let Some(local) = &mut self.local {
            local.remove(session);
        }
    }

    /// Restarts the timeouts of all local sessions: no client could be active while this server did
    /// not serve.
    pub(super) fn touch_local_sessions(&mut self, now: Now) {
        if let Some(local) = &mut self.local {
            local.touch_all(now.mono);
        }
    }

    /// Ends the local sessions that have timed out.
    pub(super) fn expire_local_sessions(&mut self, now: Now, out: &mut Actions) {
        let silent = self.local.as_mut().map(|local| local.expired(now.mono));
        for session in silent.unwrap_or_default() {
            info!(%session, "a local session expired");
            self.metrics.stale_sessions_expired.add(1);
            self.forget_local(session);
            self.client_port.drop_session(session, Reason::Timeout("the session expired"), out);
        }
    }
}
