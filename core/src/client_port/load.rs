//! The waiting requests of all clients: a bound on their memory, which clients can exceed by at
//! most one request each.

use alloc::collections::VecDeque;

use super::connection::Pending;
use super::{ClientPortOptions, ClientRequest, WAITING_FRAMES};

/// Bytes of requests that wait, of all connections, where no request may be larger than a
/// quarter of it.
const WAITING_BYTES: usize = 64 << 20;

/// Requests that have no answer yet.
#[derive(Default, Debug)]
pub(super) struct Load {
    /// How many.
    pub(super) requests: usize,
    /// Their bytes, and those of the ids that go with them to the leader.
    bytes: usize,
    /// Bytes of those that are large.
    pub(super) large: usize,
    /// Bytes of those that nobody has taken from here, some of connections that are gone.
    submitted: usize,
}

impl Load {
    pub(super) fn add(&mut self, options: &ClientPortOptions, pending: &Pending) {
        self.requests += 1;
        self.bytes += pending.bytes + pending.ids;
        self.large += large(options, pending.bytes);
    }

    pub(super) fn remove(&mut self, options: &ClientPortOptions, pending: &Pending) {
        self.requests -= 1;
        self.bytes -= pending.bytes + pending.ids;
        self.large -= large(options, pending.bytes);
    }

    /// A submission is made.
    pub(super) fn submit(
        &mut self,
        queue: &mut VecDeque<ClientRequest>,
        submission: ClientRequest,
    ) {
        self.submitted += bytes(&submission);
        queue.push_back(submission);
    }

    /// A submission is taken.
    pub(super) fn take(&mut self, submission: &ClientRequest) {
        self.submitted -= bytes(submission);
    }

    /// There are no submissions any more.
    pub(super) fn clear_submitted(&mut self) {
        self.submitted = 0;
    }

    /// Whether nobody may have more than one request.
    pub(super) fn is_full(&self, options: &ClientPortOptions) -> bool {
        let most = WAITING_BYTES.max(WAITING_FRAMES * options.jute_max_buffer);
        self.requests > options.outstanding_limit || self.bytes.max(self.submitted) > most
    }
}

fn bytes(submission: &ClientRequest) -> usize {
    match submission {
        ClientRequest::Write(request, _) | ClientRequest::Sync { request, .. } => {
            let ids = request.auth.iter().map(|id| id.scheme.len() + id.id.len());
            request.body.len() + ids.sum::<usize>()
        }
        _ => 0,
    }
}

/// A request's bytes, if it is a large one.
fn large(options: &ClientPortOptions, bytes: usize) -> usize {
    if bytes > options.large_request_bytes { bytes } else { 0 }
}
