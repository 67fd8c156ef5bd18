//! What other threads say to a node's.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use zabkeeper_core::event::{DiskEvent, HostStats};
use zabkeeper_core::node::Node;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{Epoch, HostPort};
use zabkeeper_core::zab::Role;

/// What other threads say to a node.
#[derive(Debug)]
pub enum Message {
    /// Its disk did something.
    Disk(Vec<DiskEvent<Store>>),
    /// How its machine is.
    Surveyed(HostStats),
    /// Answer what is answered, let the disk finish, end.
    Stop,
    /// End as if the process had been killed: nothing more is said to anybody.
    Kill,
    /// These cannot be reached from now on, and all others can: connections to them break.
    Partition(Vec<HostPort>),
    /// Say how it is.
    Report(Sender<Report>),
    /// Log what it is doing, then say so.
    Describe(Sender<()>),
}

/// How a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Whether it serves clients.
    pub serving: bool,
    /// What it is in its ensemble.
    pub role: Role,
    /// [`Node::epoch`].
    pub epoch: Epoch,
}

/// Where messages to a node are put; never blocks. What comes after its end is lost.
#[derive(Clone)]
pub struct Inbox(Arc<dyn Fn(Message) + Send + Sync>);

impl Inbox {
    /// An inbox that puts messages there.
    pub fn new(put: impl Fn(Message) + Send + Sync + 'static) -> Inbox {
        Inbox(Arc::new(put))
    }

    /// Puts a message.
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
