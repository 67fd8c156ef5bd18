//! The watches that a client waits for, so that it can leave them again at another server
//! (`ZKWatchManager`, `SendThread.primeConnection`).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytestring::ByteString;

use crate::types::Zxid;
use crate::wire::client::SetWatches;
use crate::wire::{EventType, OpCode};

/// Paths in one setWatches take about this many bytes, so that it never exceeds a server's
/// `jute.maxbuffer`.
const BATCH_BYTES: usize = 128 * 1024;

/// Which of a server's watches a path has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Table {
    Data,
    Exist,
    Child,
}

#[derive(Debug, Default)]
pub(super) struct Watched(BTreeSet<(Table, ByteString)>);

impl Watched {
    /// A request that asked for a watch was answered; `there` tells whether its node is.
    pub(super) fn left(&mut self, op: OpCode, path: ByteString, there: bool) {
        let table = match op {
            OpCode::Exists if !there => Table::Exist,
            OpCode::Exists | OpCode::GetData if there => Table::Data,
            OpCode::GetChildren | OpCode::GetChildren2 if there => Table::Child,
            _ => return,
        };
        self.0.insert((table, path));
    }

    /// An event came: the server has forgotten the watch.
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
    pub(super) fn again(&self, relative_zxid: Zxid) -> Vec<SetWatches> {
        let mut all: Vec<SetWatches> = Vec::new();
        let mut room = 0;
        for (table, path) in &self.0 {
            let bytes = path.len() + 4;
            if bytes > room {
                let (data, exist, child) = (Vec::new(), Vec::new(), Vec::new());
                all.push(SetWatches { relative_zxid, data, exist, child });
                room = BATCH_BYTES.max(bytes);
            }
            room -= bytes;
            if let Some(batch) = all.last_mut() {
                match table {
                    Table::Data => batch.data.push(path.clone()),
                    Table::Exist => batch.exist.push(path.clone()),
                    Table::Child => batch.child.push(path.clone()),
                }
            }
        }
        all
    }
}
