//! Three nodes of `raft`, each with its `MemStorage`.

use raft::prelude::{Config, Entry, Message};
use raft::storage::MemStorage;
use raft::{RawNode, StateRole};

use crate::{Cluster, PAYLOAD};

pub(crate) struct Raft {
    nodes: Vec<RawNode<MemStorage>>,
    leader: usize,
    /// Of all nodes together.
    committed: usize,
    messages: Vec<Message>,
}

impl Raft {
    pub(crate) fn elected() -> Raft {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = |id| {
            let storage = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
            let config = Config {
                id,
                max_size_per_msg: u64::MAX,
                max_inflight_msgs: 100_000,
                batch_append: true,
                ..Config::default()
            };
            RawNode::new(&config, storage, &logger).expect("a node")
        };
        let nodes = [1, 2, 3].map(node).into();
        let mut raft = Raft { nodes, leader: 0, committed: 0, messages: Vec::new() };
        raft.nodes[0].campaign().expect("a candidate");
        raft.drain();
        assert_eq!(raft.nodes[0].raft.state, StateRole::Leader);
        raft
    }

    fn drain(&mut self) {
        loop {
            for at in 0..self.nodes.len() {
                while self.nodes[at].has_ready() {
                    self.ready(at);
                }
            }
            if self.messages.is_empty() {
                return;
            }
            for message in std::mem::take(&mut self.messages) {
                self.nodes[message.to as usize - 1].step(message).expect("a message");
            }
        }
    }

    /// What there is to do, in the order that the crate's documentation gives.
    fn ready(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let storage = node.raft.raft_log.store.clone();
        let mut ready = node.ready();
        self.messages.append(&mut ready.take_messages());
        self.committed += payloads(&ready.take_committed_entries());
        storage.wl().append(ready.entries()).expect("in order");
        if let Some(state) = ready.hs() {
            storage.wl().set_hardstate(state.clone());
        }
        self.messages.append(&mut ready.take_persisted_messages());
        let mut rest = node.advance(ready);
        if let Some(commit) = rest.commit_index() {
            storage.wl().mut_hard_state().set_commit(commit);
        }
        self.messages.append(&mut rest.take_messages());
        self.committed += payloads(&rest.take_committed_entries());
        node.advance_apply();
    }
}

fn payloads(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| !entry.data.is_empty()).count()
}

impl Cluster for Raft {
    fn commit(&mut self, count: usize) {
        let before = self.committed;
        for _ in 0..count {
            self.nodes[self.leader].propose(Vec::new(), PAYLOAD.to_vec()).expect("it leads");
        }
        self.drain();
        // Followers learn of the last commits with the next message.
        while self.committed - before < count * self.nodes.len() {
            self.nodes[self.leader].ping();
            self.drain();
        }
    }
}
