//! How many requests may be under way at once (`RequestThrottler`).

use super::ClientPort;
use crate::action::Actions;
use crate::store::Store;
use crate::types::{ConnId, Now, Time};
use crate::wire::OpCode;

/// `request_throttle_max_requests` and `throttled_op_wait_time`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct RequestThrottle {
    /// Requests of all connections that have no answer yet; while there are so many, no more
    /// are taken. 0: no limit.
    pub max_requests: usize,
    /// A request that had to wait longer than this, ms, is refused with THROTTLEDOP. 0: never.
    pub max_wait_ms: u64,
}

impl RequestThrottle {
    pub(super) fn is_full(&self, waiting: usize) -> bool {
        self.max_requests > 0 && waiting >= self.max_requests
    }

    /// Pings and closeSession are never too late.
    pub(super) fn is_late(&self, op: OpCode, waited_ms: u64) -> bool {
        self.max_wait_ms > 0
            && waited_ms > self.max_wait_ms
            && !matches!(op, OpCode::Ping | OpCode::CloseSession)
    }
}

impl ClientPort {
    /// The next request of this connection has to wait.
    pub(super) fn stall(&mut self, now: Time, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.frames.buffered() > 0 && !connection.is_throttled {
            connection.is_throttled = true;
            connection.throttled_since.get_or_insert(now);
            self.stats.throttle_waits.add(1);
            self.throttled.push_back(conn);
        }
    }

    /// Takes the requests of the connection that has waited longest, if there is room now.
    /// False: there is nothing to take.
    pub(crate) fn admit_stalled(&mut self, now: Now, store: &Store, out: &mut Actions) -> bool {
        if self.options.requests.is_full(self.load.requests) {
            return false;
        }
        let Some(conn) = self.throttled.pop_front() else { return false };
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.is_throttled = false;
            self.pump(now, store, conn, out);
            self.resume(now, store, conn, out);
        }
        true
    }
}
