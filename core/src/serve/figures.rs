//! What operators see of the clients (`ServerStats`, `ServerCnxn.dumpConnectionInfo`).

use alloc::vec::Vec;

use super::Serve;
use super::connection::{Connection, Phase};
use crate::admin;
use crate::types::Zxid;

impl Serve {
    /// How many clients are connected.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// How many watches there are.
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// Requests that have no answer yet.
    pub fn outstanding(&self) -> usize {
        self.connections.values().map(|c| c.pending.len()).sum()
    }

    /// All connections, for `stat` and `cons`.
    pub fn clients(&self) -> Vec<admin::Client> {
        let session = |c: &Connection| admin::ClientSession {
            id: c.session,
            last_operation: c.figures.last_op,
            established_ms: c.figures.established_ms,
            timeout_ms: c.timeout_ms,
            last_cxid: c.figures.last_cxid,
            last_zxid: c.figures.last_zxid.unwrap_or(Zxid(-1)),
            last_response_ms: c.figures.last_response_ms,
            last_latency_ms: c.figures.last_latency_ms,
            latency: c.figures.latency,
        };
        let client = |c: &Connection| admin::Client {
            address: c.peer,
            reading: !c.paused && c.phase != Phase::Closing,
            writing: !c.out.is_empty(),
            queued: c.pending.len() as u64,
            received: c.figures.received,
            sent: c.figures.sent,
            session: (c.phase == Phase::Established).then(|| session(c)),
        };
        self.connections.values().map(client).collect()
    }
}
