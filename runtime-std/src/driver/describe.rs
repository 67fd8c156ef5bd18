//! What a server is doing, for its log.

use zabkeeper_core::event::Port;

use super::{Driver, Sockets};

impl<S: Sockets> Driver<S> {
    /// Logs what it is, who is connected, and what waits for what.
    pub(super) fn describe(&self) {
        let node = &self.node;
        tracing::warn!(
            role = ?node.role(),
            epoch = %node.epoch(),
            zxid = %node.store().last_zxid(),
            nodes = node.store().node_count(),
            serving = node.serving(),
            "this server"
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
            "connections: `blocked` take nothing now, `backlog` bytes wait for them"
        );
        let ports = |at: &mut dyn Iterator<Item = u16>| -> String {
            at.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
        };
        tracing::warn!(
            listens = ports(&mut self.listening.iter().map(|(at, _)| at.number)),
            cannot_listen =
                ports(&mut self.pending_listens.iter().map(|pending| pending.at.number)),
            "disk thread: {}",
            self.disk.doing()
        );
    }
}
