//! Figures of the clients (`ServerStats`, `ServerCnxn.dumpConnectionInfo`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::ClientPort;
use super::connection::{Connection, Phase};
use crate::admin;
use crate::types::{ConnId, Now, SessionId, Time};

impl ClientPort {
    /// How many clients are connected.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// How many watches there are.
    pub(crate) fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// Connections that watch data, paths whose data is watched, and watches of data (`wchs`).
    pub(crate) fn watch_summary(&self) -> [usize; 3] {
        self.watches.summary()
    }

    /// Watches of data: each session with its paths (`wchc`).
    pub(crate) fn watches_by_session(&self) -> Vec<(SessionId, Vec<&str>)> {
        let all = self.watches.by_connection().into_iter();
        all.map(|(conn, paths)| (self.session_of(conn), paths)).collect()
    }

    /// Watches of data: each path with its sessions (`wchp`).
    pub(crate) fn watches_by_path(&self) -> Vec<(&str, Vec<SessionId>)> {
        let sessions = |all: Vec<ConnId>| all.into_iter().map(|c| self.session_of(c)).collect();
        self.watches.by_path().into_iter().map(|(path, all)| (path, sessions(all))).collect()
    }

    fn session_of(&self, conn: ConnId) -> SessionId {
        self.connections.get(&conn).map_or(SessionId(0), |connection| connection.session)
    }

    /// Connections by the wall-clock time (ms) at which they would be given up if nothing more
    /// were heard of them, each with its session, for `dump`.
    pub(crate) fn expiring(&self, now: Now) -> Vec<(i64, Vec<(SocketAddr, SessionId)>)> {
        let interval = self.options.sessionless_timeout_ms.max(1);
        let mut all: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for c in self.connections.values() {
            let timeout_ms = match c.phase {
                Phase::Established => u64::try_from(c.timeout_ms).unwrap_or(0),
                Phase::New | Phase::Establishing | Phase::Closing => interval,
            };
            let end = (c.heard.as_millis() + timeout_ms) / interval + 1;
            all.entry(end).or_default().push((c.peer, c.session));
        }
        let at = |end: u64| now.wall_at(Time(0).plus_ms(end * interval));
        all.into_iter().map(|(end, connections)| (at(end), connections)).collect()
    }

    /// Begins all figures of the connections anew (`crst`).
    pub(crate) fn reset_connections(&mut self) {
        for connection in self.connections.values_mut() {
            connection.figures.reset();
        }
    }

    /// Requests that have no answer yet.
    pub(crate) fn outstanding(&self) -> usize {
        self.connections.values().map(|c| c.pending.len()).sum()
    }

    /// All connections, for `stat` and `cons`.
    pub(crate) fn clients(&self) -> Vec<admin::Client> {
        let session = |c: &Connection| admin::ClientSession {
            id: c.session,
            last_operation: c.figures.last_op,
            established_ms: c.figures.established_ms,
            timeout_ms: c.timeout_ms,
            last_cxid: c.figures.last_cxid,
            last_zxid: c.figures.last_zxid,
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
