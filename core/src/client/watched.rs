//! The watches of a client, which it sets again at the next server (`ZKWatchManager`,
//! `SendThread.primeConnection`).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use super::request::Request;
use crate::types::Zxid;
use crate::wire::client::{SetWatches, SetWatches2, WatchedRequest};
use crate::wire::{AddWatchMode, EventType, OpCode, Record, WatcherType};

/// About the most bytes of paths in one setWatches, below the `jute.maxbuffer` of every server.
const BATCH_BYTES: usize = 128 * 1024;

/// The kinds of watches that a server keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Table {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

/// The effect of a request on the watches once it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Intent {
    /// Sets a watch that fires once.
    Read(OpCode, ByteString),
    /// Sets a persistent watch.
    Add(AddWatchMode, ByteString),
    /// Removes watches.
    Remove(WatcherType, ByteString),
}

impl Intent {
    /// The effect of a request; none if it has no watch.
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

/// A request that sets watches again. As in ZooKeeper's client, it is a setWatches2 only with
/// persistent watches: older servers know setWatches alone.
#[derive(Debug)]
pub(super) struct SetWatchesBatch(SetWatches2);

impl SetWatchesBatch {
    /// The operation.
    pub(super) fn op(&self) -> OpCode {
        let is_plain = self.0.persistent.is_empty() && self.0.recursive.is_empty();
        if is_plain { OpCode::SetWatches } else { OpCode::SetWatches2 }
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
    /// A request is answered; `exists` tells whether its znode exists.
    pub(super) fn answered(&mut self, intent: Intent, exists: bool) {
        let (table, path) = match intent {
            Intent::Read(OpCode::Exists, path) if !exists => (Table::Exist, path),
            Intent::Read(OpCode::Exists | OpCode::GetData, path) if exists => (Table::Data, path),
            Intent::Read(OpCode::GetChildren | OpCode::GetChildren2, path) if exists => {
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

    /// A watch has fired. The server has removed it, unless it is persistent.
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

    /// The requests that set all watches again.
    pub(super) fn restore(&self, relative_zxid: Zxid) -> Vec<SetWatchesBatch> {
        let mut all: Vec<SetWatchesBatch> = Vec::new();
        let mut bytes_left = 0;
        for (table, path) in &self.0 {
            let bytes = path.len() + 4;
            if bytes > bytes_left {
                all.push(SetWatchesBatch(SetWatches2 {
                    relative_zxid,
                    data: Vec::new(),
                    exist: Vec::new(),
                    child: Vec::new(),
                    persistent: Vec::new(),
                    recursive: Vec::new(),
                }));
                bytes_left = BATCH_BYTES.max(bytes);
            }
            bytes_left -= bytes;
            if let Some(SetWatchesBatch(batch)) = all.last_mut() {
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
