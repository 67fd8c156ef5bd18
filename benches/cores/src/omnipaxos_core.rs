//! Three servers of `omnipaxos`, each with its `MemoryStorage`.

use bytes::Bytes;
use omnipaxos::macros::Entry;
use omnipaxos::messages::Message;
use omnipaxos::storage::Entry;
use omnipaxos::{ClusterConfig, OmniPaxos, OmniPaxosConfig, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;

use crate::Cluster;

/// A payload that every server has for itself.
#[derive(Clone, Debug, Entry)]
#[expect(dead_code, reason = "what it costs to copy it is what matters")]
pub(crate) struct Copied(pub(crate) Vec<u8>);

/// A payload that all have together.
#[derive(Clone, Debug, Entry)]
#[expect(dead_code, reason = "what it costs to copy it is what matters")]
pub(crate) struct Shared(pub(crate) Bytes);

pub(crate) struct Omni<T: Entry> {
    servers: Vec<OmniPaxos<T, MemoryStorage<T>>>,
    payload: Box<dyn Fn() -> T>,
    leader: usize,
    messages: Vec<Message<T>>,
}

impl<T: Entry + 'static> Omni<T> {
    /// A batch is what is proposed at once.
    pub(crate) fn elected(batch_size: usize, payload: impl Fn() -> T + 'static) -> Omni<T> {
        let server = |pid| {
            let cluster_config =
                ClusterConfig { configuration_id: 1, nodes: vec![1, 2, 3], ..Default::default() };
            let server_config = ServerConfig { pid, batch_size, ..Default::default() };
            let config = OmniPaxosConfig { cluster_config, server_config };
            config.build(MemoryStorage::default()).expect("a server")
        };
        let servers = [1, 2, 3].map(server).into();
        let mut omni =
            Omni { servers, payload: Box::new(payload), leader: 0, messages: Vec::new() };
        for _ in 0..100 {
            omni.servers.iter_mut().for_each(OmniPaxos::tick);
            omni.drain();
        }
        let (leader, _) = omni.servers[0].get_current_leader().expect("a leader");
        omni.leader = leader as usize - 1;
        omni
    }

    fn drain(&mut self) {
        loop {
            for server in &mut self.servers {
                server.take_outgoing_messages(&mut self.messages);
            }
            if self.messages.is_empty() {
                return;
            }
            for message in self.messages.drain(..) {
                self.servers[message.get_receiver() as usize - 1].handle_incoming(message);
            }
        }
    }

    /// What is decided, on all servers together. It is not read, because that would copy it.
    fn decided(&self) -> usize {
        self.servers.iter().map(OmniPaxos::get_decided_idx).sum()
    }
}

impl<T: Entry + 'static> Cluster for Omni<T> {
    fn commit(&mut self, count: usize) {
        let before = self.decided();
        for _ in 0..count {
            assert!(self.servers[self.leader].append((self.payload)()).is_ok());
        }
        self.drain();
        assert_eq!(self.decided() - before, count * self.servers.len());
    }
}
