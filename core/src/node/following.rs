//! A follower or an observer: its clients' writes and syncs go to the leader, and with each answer
//! to a PING the sessions that were active here (`LearnerZooKeeperServer`).

use alloc::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use super::Node;
use super::client_requests::PendingSync;
use crate::action::Actions;
use crate::prep::Request;
use crate::types::SessionId;
use crate::wire::quorum::ForwardedRequest;

/// The data of a learner that serves clients.
#[derive(Default, Debug)]
pub(super) struct Following {
    /// Sessions that were active since the last PING, with their timeouts in ms.
    touched: BTreeMap<SessionId, i32>,
    pub(super) pending_syncs: VecDeque<PendingSync>,
}

impl Following {
    /// A session was active, here or at an observer that this follower leads.
    pub(super) fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        self.touched.insert(session, timeout_ms);
    }

    /// The body of the answer to a PING: the sessions that were active since the last one.
    fn take_touched(&mut self) -> Bytes {
        let mut out = BytesMut::with_capacity(12 * self.touched.len());
        for (session, timeout_ms) in core::mem::take(&mut self.touched) {
            out.put_i64(session.0);
            out.put_i32(timeout_ms);
        }
        out.freeze()
    }
}

impl Node {
    /// Sends a request of an own client to the leader.
    pub(super) fn forward(&mut self, request: &Request, out: &mut Actions) {
        let forwarded = ForwardedRequest {
            session: request.session,
            cxid: request.cxid,
            op: request.op as i32,
            body: request.body.clone(),
        };
        self.ensemble.request(forwarded.to_bytes(), Some(request.auth.clone()), out);
    }

    /// Answers the leader's PING.
    pub(super) fn answer_ping(&mut self, out: &mut Actions) {
        let touched = self.duty.following().map(Following::take_touched).unwrap_or_default();
        self.ensemble.pong(touched, out);
    }
}
