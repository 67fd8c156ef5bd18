//! Messages of other threads to a node's thread.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use zabkeeper_core::event::{DiskEvent, HostStats};
use zabkeeper_core::node::Node;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{Epoch, HostPort};
use zabkeeper_core::zab::Role;

/// A message of another thread to a node's thread.
#[derive(Debug)]
pub enum Message {
    /// Events of the node's disk.
    Disk(Vec<DiskEvent<Store>>),
    /// Figures of the machine.
    Host(HostStats),
    /// Stop in order: send the replies that are queued, let the disk finish, end.
    Stop,
    /// End as if the process had been killed: nothing more is sent.
    Kill,
    /// These peers, and no others, cannot be reached from now on: connections to them break.
    Partition(Vec<HostPort>),
    /// Send a report of the node.
    Report(Sender<Report>),
    /// Log the state of the node, then send the acknowledgement.
    Describe(Sender<()>),
}

/// The state of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Whether the node serves clients.
    pub serving: bool,
    /// [`Node::role`].
    pub role: Role,
    /// [`Node::epoch`].
    pub epoch: Epoch,
}

/// The sending end of a node's inbox; never blocks. Messages after the node's end are lost.
#[derive(Clone)]
pub struct Inbox(Arc<dyn Fn(Message) + Send + Sync>);

impl Inbox {
    /// An inbox whose messages go to `put`.
    pub fn new(put: impl Fn(Message) + Send + Sync + 'static) -> Inbox {
        Inbox(Arc::new(put))
    }

    /// Sends a message.
    pub fn put(&self, message: Message) {
        (self.0)(message);
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

impl Report {
    pub(super) fn of(node: &Node) -> Report {
        Report { serving: node.serving(), role: node.role(), epoch: node.epoch() }
    }
}
