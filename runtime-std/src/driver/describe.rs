//! The state of a server as log lines, on SIGQUIT.

use zabkeeper_core::event::Port;

use super::{Driver, Sockets};

impl<S: Sockets> Driver<S> {
    /// Logs role, connections, backlogs, listeners and the state of the disk thread.
    pub(super) fn describe(&self) {
        let node = &self.node;
        tracing::warn!(
            role = ?node.role(),
            epoch = %node.epoch(),
            zxid = %node.store().last_zxid(),
            nodes = node.store().node_count(),
            serving = node.serving(),
            "state of this server"
        );
        let count = |port| self.connections.values().filter(|c| c.port == port).count();
        let (mut blocked, mut backlog) = (0, 0);
        for connection in self.connections.values() {
            blocked += usize::from(connection.blocked);
            backlog += connection.queue.backlog();
        }
        tracing::warn!(
            clients = count(Port::Client),
            quorum = count(Port::Quorum),
            election = count(Port::Election),
            dials = self.dialled.keys().filter(|c| !self.connections.contains_key(c)).count(),
            blocked,
            backlog,
            "connections; blocked: sockets that take no bytes now, backlog: bytes queued for sending"
        );
        let ports = |numbers: &mut dyn Iterator<Item = u16>| -> String {
            numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
        };
        tracing::warn!(
            listens = ports(&mut self.listening.iter().map(|(at, _)| at.number)),
            cannot_listen =
                ports(&mut self.pending_listens.iter().map(|pending| pending.at.number)),
            "disk thread: {}",
            self.disk.status()
        );
    }
}
