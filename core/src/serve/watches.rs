//! One-shot watches: who waits for which event (`WatchManager`).

use bytestring::ByteString;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use crate::mutant::Mutant;
use crate::types::ConnId;
use crate::wire::EventType;

type Watchers = SmallVec<[ConnId; 2]>;

/// Paths and who watches them, in order of registration.
#[derive(Debug, Default)]
struct Table {
    by_path: HashMap<ByteString, Watchers, FxBuildHasher>,
    by_conn: HashMap<ConnId, alloc::collections::BTreeSet<ByteString>, FxBuildHasher>,
    count: usize,
}

impl Table {
    fn add(&mut self, path: &ByteString, conn: ConnId) {
        let owned = self.by_conn.entry(conn).or_default();
        if owned.contains(&**path) {
            return;
        }
        // A copy of its own: the path that was asked for is part of a larger buffer.
        let path = ByteString::from(&**path);
        owned.insert(path.clone());
        self.by_path.entry(path).or_default().push(conn);
        self.count += 1;
    }

    fn take(&mut self, path: &str) -> Watchers {
        let watchers = self.by_path.remove(path).unwrap_or_default();
        for conn in &watchers {
            if let Some(owned) = self.by_conn.get_mut(conn) {
                owned.remove(path);
                if owned.is_empty() {
                    self.by_conn.remove(conn);
                }
            }
        }
        self.count -= watchers.len();
        watchers
    }

    fn forget(&mut self, conn: ConnId) {
        for path in self.by_conn.remove(&conn).unwrap_or_default() {
            self.count -= 1;
            if let Some(watchers) = self.by_path.get_mut(&path) {
                watchers.retain(|c| *c != conn);
                if watchers.is_empty() {
                    self.by_path.remove(&path);
                }
            }
        }
    }
}

/// The watches of one server's clients.
#[derive(Debug, Default)]
pub(super) struct Watches {
    data: Table,
    child: Table,
}

impl Watches {
    /// getData and exists leave this.
    pub(super) fn watch_data(&mut self, path: &ByteString, conn: ConnId) {
        self.data.add(path, conn);
    }

    /// getChildren leaves this.
    pub(super) fn watch_children(&mut self, path: &ByteString, conn: ConnId) {
        self.child.add(path, conn);
    }

    /// Who is to hear of an event, each once; their watches are gone with it.
    pub(super) fn fire(&mut self, kind: EventType, path: &str) -> Watchers {
        match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => self.data.take(path),
            EventType::NodeChildrenChanged if Mutant::WatchFiresTwice.is_on() => {
                self.child.by_path.get(path).cloned().unwrap_or_default()
            }
            EventType::NodeChildrenChanged => self.child.take(path),
            EventType::NodeDeleted => {
                let mut watchers = self.data.take(path);
                if Mutant::ChildWatchOutlivesNode.is_on() {
                    return watchers;
                }
                for conn in self.child.take(path) {
                    if !watchers.contains(&conn) {
                        watchers.push(conn);
                    }
                }
                watchers
            }
        }
    }

    /// A connection is gone, and its watches with it.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.data.forget(conn);
        self.child.forget(conn);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.data.count + self.child.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_fires_once_and_a_delete_tells_each_connection_once() {
        let (a, b) = (ConnId::accepted(1), ConnId::accepted(2));
        let path = ByteString::from("/p");
        let mut watches = Watches::default();
        watches.watch_data(&path, a);
        watches.watch_data(&path, a);
        watches.watch_children(&path, a);
        watches.watch_children(&path, b);
        assert_eq!(watches.len(), 3);
        assert_eq!(watches.fire(EventType::NodeDeleted, "/p")[..], [a, b]);
        assert!(watches.fire(EventType::NodeDeleted, "/p").is_empty());
        watches.watch_data(&path, a);
        watches.watch_children(&path, b);
        watches.forget(a);
        assert!(watches.fire(EventType::NodeDataChanged, "/p").is_empty());
        assert_eq!(watches.fire(EventType::NodeChildrenChanged, "/p")[..], [b]);
        assert_eq!(watches.len(), 0);
    }
}
