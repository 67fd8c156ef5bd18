//! The watches that a client waits for, so that it can leave them again at another server
//! (`ZKWatchManager`, `SendThread.primeConnection`).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use super::request::Request;
use crate::types::Zxid;
use crate::wire::client::{SetWatches, SetWatches2, WatchedRequest};
use crate::wire::{AddWatchMode, EventType, OpCode, Record, WatcherType};

/// Paths in one setWatches take about this many bytes, so that it never exceeds a server's
/// `jute.maxbuffer`.
const BATCH_BYTES: usize = 128 * 1024;

/// Which of a server's watches a path has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Table {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

/// What a request does to the watches when it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Intent {
    /// Leaves one that fires once.
    Read(OpCode, ByteString),
    /// Leaves one that stays.
    Add(AddWatchMode, ByteString),
    /// Takes some away.
    Remove(WatcherType, ByteString),
}

impl Intent {
    /// Of a request, if it has one.
    pub(super) fn of(request: &Request) -> Option<Intent> {
        match request {
            Request::Exists(WatchedRequest { path, watch: true })
            | Request::GetData(WatchedRequest { path, watch: true })
            | Request::GetChildren(WatchedRequest { path, watch: true })
            | Request::GetChildren2(WatchedRequest { path, watch: true }) => {
                Some(Intent::Read(request.op(), path.clone()))
            }
            Request::AddWatch(r) => {
                AddWatchMode::from_i32(r.mode).map(|mode| Intent::Add(mode, r.path.clone()))
            }
            Request::RemoveWatches(r) => {
                WatcherType::from_i32(r.kind).map(|kind| Intent::Remove(kind, r.path.clone()))
            }
            _ => None,
        }
    }
}

/// A request that leaves watches again: the newer one only if it has to be, as ZooKeeper's own
/// client does, so that older servers are served too.
#[derive(Debug)]
pub(super) struct Again(SetWatches2);

impl Again {
    /// The operation.
    pub(super) fn op(&self) -> OpCode {
        let is_old = self.0.persistent.is_empty() && self.0.recursive.is_empty();
        if is_old { OpCode::SetWatches } else { OpCode::SetWatches2 }
    }

    /// Appends the record.
    pub(super) fn write(&self, out: &mut BytesMut) {
        if self.op() == OpCode::SetWatches2 {
            return self.0.write(out);
        }
        let SetWatches2 { relative_zxid, data, exist, child, .. } = self.0.clone();
        SetWatches { relative_zxid, data, exist, child }.write(out);
    }
}

#[derive(Debug, Default)]
pub(super) struct Watched(BTreeSet<(Table, ByteString)>);

impl Watched {
    /// A request was answered; `there` tells whether its node is.
    pub(super) fn answered(&mut self, intent: Intent, there: bool) {
        let (table, path) = match intent {
            Intent::Read(OpCode::Exists, path) if !there => (Table::Exist, path),
            Intent::Read(OpCode::Exists | OpCode::GetData, path) if there => (Table::Data, path),
            Intent::Read(OpCode::GetChildren | OpCode::GetChildren2, path) if there => {
                (Table::Child, path)
            }
            Intent::Read(..) => return,
            Intent::Add(AddWatchMode::Persistent, path) => (Table::Persistent, path),
            Intent::Add(AddWatchMode::PersistentRecursive, path) => (Table::Recursive, path),
            Intent::Remove(kind, path) => return self.remove(kind, &path),
        };
        self.0.insert((table, path));
    }

    fn remove(&mut self, kind: WatcherType, path: &ByteString) {
        use Table::{Child, Data, Exist, Persistent, Recursive};
        let tables: &[Table] = match kind {
            WatcherType::Children => &[Child],
            WatcherType::Data => &[Data, Exist],
            WatcherType::Any => &[Data, Exist, Child, Persistent, Recursive],
            WatcherType::Persistent => &[Persistent],
            WatcherType::PersistentRecursive => &[Recursive],
        };
        for table in tables {
            self.0.remove(&(*table, path.clone()));
        }
    }

    /// An event came: the server has forgotten the watch, unless it stays.
    pub(super) fn fired(&mut self, kind: EventType, path: &ByteString) {
        let tables: &[Table] = match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => &[Table::Data, Table::Exist],
            EventType::NodeDeleted => &[Table::Data, Table::Exist, Table::Child],
            EventType::NodeChildrenChanged => &[Table::Child],
        };
        for table in tables {
            self.0.remove(&(*table, path.clone()));
        }
    }

    /// The requests that leave them all again.
    pub(super) fn again(&self, relative_zxid: Zxid) -> Vec<Again> {
        let mut all: Vec<Again> = Vec::new();
        let mut room = 0;
        for (table, path) in &self.0 {
            let bytes = path.len() + 4;
            if bytes > room {
                all.push(Again(SetWatches2 {
                    relative_zxid,
                    data: Vec::new(),
                    exist: Vec::new(),
                    child: Vec::new(),
                    persistent: Vec::new(),
                    recursive: Vec::new(),
                }));
                room = BATCH_BYTES.max(bytes);
            }
            room -= bytes;
            if let Some(Again(batch)) = all.last_mut() {
                let paths = match table {
                    Table::Data => &mut batch.data,
                    Table::Exist => &mut batch.exist,
                    Table::Child => &mut batch.child,
                    Table::Persistent => &mut batch.persistent,
                    Table::Recursive => &mut batch.recursive,
                };
                paths.push(path.clone());
            }
        }
        all
    }
}
