//! Watches: one-shot, persistent and recursive (`DataTree`'s two
//! `WatchManager`s).
//!
//! Paths and connections are small numbers here. A path knows its watchers; a connection has a
//! list of its paths, which may name some that it does not watch any more: they are sorted out
//! when there are too many.

mod paths;
mod recursive;
mod table;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use self::paths::{PathId, Paths};
use self::recursive::Recursive;
use self::table::{Change, Modes, Slot, Table};
use crate::hash::HashKey;
use crate::mutant::mutant;
use crate::types::ConnId;
use crate::wire::{AddWatchMode, ErrorCode, EventType, WatcherType};

/// The limits of one connection and of all: a path counts once for each watch of a connection, and
/// once for all connections.
const MOST: [Limit; 2] =
    [Limit { watches: 4 << 20, bytes: 64 << 20 }, Limit { watches: 64 << 20, bytes: 256 << 20 }];

/// Watches, and bytes of their paths.
struct Limit {
    watches: usize,
    bytes: usize,
}

impl Limit {
    fn has_room(&self, watches: usize, bytes: usize) -> bool {
        watches <= self.watches && bytes <= self.bytes
    }
}

/// Paths that a connection may name in vain beside as many as it watches.
const STALE: usize = 16;

/// One of the two tables.
#[derive(Clone, Copy, Debug)]
enum Of {
    Data = 0,
    Child = 1,
}

#[derive(Debug)]
struct Watcher {
    conn: ConnId,
    /// All that it watches, some twice, and some that it watched.
    paths: Vec<PathId>,
    /// How many it watches, by table.
    live: [usize; 2],
    /// Bytes of the paths of these watches.
    bytes: usize,
    /// Whether it watches data. As in ZooKeeper it still counts after its last watch has fired;
    /// it does not after its last watch was removed.
    known: bool,
}

/// The watches of one server's clients. What is watched need not be a path of a node.
#[derive(Debug)]
pub(super) struct Watches {
    paths: Paths,
    tables: [Table; 2],
    recursive: Recursive,
    watchers: Vec<Watcher>,
    free: Vec<Slot>,
    by_conn: HashMap<ConnId, Slot, FxBuildHasher>,
    /// Watchers of an event, to be told.
    found: Vec<Slot>,
}

impl Watches {
    /// Nobody watches anything.
    pub(super) fn new(key: HashKey) -> Watches {
        Watches {
            recursive: Recursive::new(key.clone()),
            paths: Paths::new(key),
            tables: Default::default(),
            watchers: Vec::new(),
            free: Vec::new(),
            by_conn: HashMap::default(),
            found: Vec::new(),
        }
    }

    /// getData and exists leave this.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn watch_data(&mut self, path: &str, conn: ConnId) -> Result<(), ErrorCode> {
        self.add(path, conn, &[(Of::Data, Modes::STANDARD)])
    }

    /// getChildren leaves this.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn watch_children(&mut self, path: &str, conn: ConnId) -> Result<(), ErrorCode> {
        self.add(path, conn, &[(Of::Child, Modes::STANDARD)])
    }

    /// addWatch leaves this.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn watch(
        &mut self,
        path: &str,
        conn: ConnId,
        mode: AddWatchMode,
    ) -> Result<(), ErrorCode> {
        match mode {
            AddWatchMode::Persistent => {
                let both = [(Of::Data, Modes::PERSISTENT), (Of::Child, Modes::PERSISTENT)];
                self.add(path, conn, &both)
            }
            AddWatchMode::PersistentRecursive => {
                self.add(path, conn, &[(Of::Data, Modes::RECURSIVE)])
            }
        }
    }

    /// Whether there is such a watch (`DataTree.containsWatcher`).
    pub(super) fn contains(&self, path: &str, conn: ConnId, kind: WatcherType) -> bool {
        let Some((path, slot)) = self.numbers(path, conn) else { return false };
        let has = |of: Of, modes| self.tables[of as usize].modes(path, slot).has(modes);
        match kind {
            WatcherType::Children => has(Of::Child, Modes::STANDARD),
            WatcherType::Data => has(Of::Data, Modes::STANDARD),
            WatcherType::Persistent => has(Of::Data, Modes::PERSISTENT),
            WatcherType::PersistentRecursive => has(Of::Data, Modes::RECURSIVE),
            WatcherType::Any => has(Of::Child, Modes::ALL) || has(Of::Data, Modes::ALL),
        }
    }

    /// Removes watches; whether there were any (`DataTree.removeWatch`).
    pub(super) fn remove(&mut self, path: &str, conn: ConnId, kind: WatcherType) -> bool {
        let Some((id, slot)) = self.numbers(path, conn) else { return false };
        let parts: &[(Of, Modes)] = match kind {
            WatcherType::Children => &[(Of::Child, Modes::STANDARD)],
            WatcherType::Data => &[(Of::Data, Modes::STANDARD)],
            WatcherType::Persistent => {
                &[(Of::Child, Modes::PERSISTENT), (Of::Data, Modes::PERSISTENT)]
            }
            WatcherType::PersistentRecursive => &[(Of::Data, Modes::RECURSIVE)],
            WatcherType::Any => &[(Of::Child, Modes::ALL), (Of::Data, Modes::ALL)],
        };
        let mut removed = false;
        for (of, modes) in parts {
            let change = self.tables[*of as usize].remove(id, slot, *modes);
            self.count_recursive(id, change);
            removed |= change.before != change.after;
            if change.ended() {
                let watcher = &mut self.watchers[slot.0 as usize];
                watcher.live[*of as usize] -= 1;
                watcher.bytes -= path.len();
                watcher.known &= matches!(of, Of::Child) || watcher.live[Of::Data as usize] > 0;
            }
        }
        self.tidy_path(id);
        self.tidy_watcher(slot);
        removed
    }

    /// The connections that get an event, each once; one-shot watches end with it.
    pub(super) fn fire(&mut self, kind: EventType, path: &str, told: &mut Vec<ConnId>) {
        let mut found = core::mem::take(&mut self.found);
        match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => {
                self.fire_table(Of::Data, kind, path, &mut found);
            }
            EventType::NodeChildrenChanged => {
                self.fire_table(Of::Child, kind, path, &mut found);
            }
            EventType::NodeDeleted => {
                self.fire_table(Of::Data, kind, path, &mut found);
                let mut tables = &[Of::Child][..];
                mutant!(ChildWatchOutlivesNode => tables = &[]);
                for of in tables {
                    self.fire_table(*of, kind, path, &mut found);
                }
                found.sort_unstable();
                found.dedup();
            }
        }
        let watchers = &self.watchers;
        told.extend(found.iter().map(|slot| watchers[slot.0 as usize].conn));
        if let Some(path) = self.paths.find(path) {
            self.tidy_path(path);
        }
        for slot in found.drain(..) {
            self.tidy_watcher(slot);
        }
        self.found = found;
    }

    /// A connection is gone, and its watches with it.
    pub(super) fn forget(&mut self, conn: ConnId) {
        let Some(slot) = self.by_conn.remove(&conn) else { return };
        let watcher = &mut self.watchers[slot.0 as usize];
        let paths = core::mem::take(&mut watcher.paths);
        (watcher.live, watcher.bytes, watcher.known) = ([0; 2], 0, false);
        for path in paths {
            for of in [Of::Data, Of::Child] {
                let change = self.tables[of as usize].remove(path, slot, Modes::ALL);
                self.count_recursive(path, change);
            }
            self.tidy_path(path);
        }
        if self.by_conn.is_empty() {
            *self = Watches::new(self.paths.key().clone());
        } else {
            self.free.push(slot);
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are: a connection's on a path's data are one, those on its children
    /// another.
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(|table| table.pairs).sum()
    }

    /// Connections that watch data, paths whose data is watched, and watches of data.
    pub(super) fn summary(&self) -> [usize; 3] {
        let data = &self.tables[Of::Data as usize];
        [self.watchers.iter().filter(|watcher| watcher.known).count(), data.paths, data.pairs]
    }

    /// The watches of data, each connection with its paths in their order.
    pub(super) fn by_connection(&self) -> Vec<(ConnId, Vec<&str>)> {
        let table = &self.tables[Of::Data as usize];
        let mut all: Vec<_> = self.by_conn.iter().map(|(conn, slot)| (*conn, *slot)).collect();
        all.sort_unstable();
        let known = all.into_iter().filter(|(_, slot)| self.watchers[slot.0 as usize].known);
        let paths = |slot: Slot| {
            let all = &self.watchers[slot.0 as usize].paths;
            let watched = |path: &&PathId| table.modes(**path, slot).has(Modes::ALL);
            let mut paths: Vec<_> =
                all.iter().filter(watched).map(|path| self.paths.text(*path)).collect();
            paths.sort_unstable();
            paths.dedup();
            paths
        };
        known.map(|(conn, slot)| (conn, paths(slot))).collect()
    }

    /// The watches of data, each path with its connections.
    pub(super) fn by_path(&self) -> Vec<(&str, Vec<ConnId>)> {
        let table = &self.tables[Of::Data as usize];
        let connections = |path| {
            let of = |(slot, _): (Slot, Modes)| self.watchers[slot.0 as usize].conn;
            table.slots(path).map(of).collect::<Vec<_>>()
        };
        let all = self.paths.all().map(|(path, text)| (text, connections(path)));
        let mut all: Vec<_> = all.filter(|(_, connections)| !connections.is_empty()).collect();
        all.sort_unstable();
        all
    }

    fn numbers(&self, path: &str, conn: ConnId) -> Option<(PathId, Slot)> {
        Some((self.paths.find(path)?, *self.by_conn.get(&conn)?))
    }

    fn add(&mut self, path: &str, conn: ConnId, parts: &[(Of, Modes)]) -> Result<(), ErrorCode> {
        let slot = self.slot(conn).ok_or(ErrorCode::SystemError)?;
        let length = path.len();
        let watcher = &self.watchers[slot.0 as usize];
        let (own, all) = (watcher.live[0] + watcher.live[1], self.len());
        let known = self.paths.find(path);
        let is_there = |(of, _): &&(Of, Modes)| {
            known.is_some_and(|path| self.tables[*of as usize].modes(path, slot).has(Modes::ALL))
        };
        let more = parts.len() - parts.iter().filter(is_there).count();
        let new = if known.is_some() { 0 } else { length };
        if !MOST[0].has_room(own + more, watcher.bytes + more * length)
            || !MOST[1].has_room(all + more, self.paths.live_bytes() + new)
        {
            return Err(ErrorCode::SystemError);
        }
        let path = match known {
            Some(known) => known,
            None => self.paths.intern(path).ok_or(ErrorCode::SystemError)?,
        };
        let is_new = self.tables.iter().all(|table| !table.modes(path, slot).has(Modes::ALL));
        for (of, modes) in parts {
            let change: Change = self.tables[*of as usize].add(path, slot, *modes);
            self.count_recursive(path, change);
            let watcher = &mut self.watchers[slot.0 as usize];
            watcher.live[*of as usize] += usize::from(change.began());
            watcher.bytes += if change.began() { length } else { 0 };
            watcher.known |= matches!(of, Of::Data);
        }
        let watcher = &mut self.watchers[slot.0 as usize];
        if is_new {
            push_tight(&mut watcher.paths, path);
            self.tidy_watcher(slot);
        }
        Ok(())
    }

    fn slot(&mut self, conn: ConnId) -> Option<Slot> {
        if let Some(slot) = self.by_conn.get(&conn) {
            return Some(*slot);
        }
        let watcher = Watcher { conn, paths: Vec::new(), live: [0; 2], bytes: 0, known: false };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.watchers[slot.0 as usize] = watcher;
                slot
            }
            None if self.watchers.len() == Slot::LIMIT => return None,
            None => {
                self.watchers.push(watcher);
                Slot(self.watchers.len() as u32 - 1)
            }
        };
        self.by_conn.insert(conn, slot);
        Some(slot)
    }

    /// Finds the watchers of an event in one table, sorted unless there were some before.
    fn fire_table(&mut self, of: Of, kind: EventType, path: &str, found: &mut Vec<Slot>) {
        let table = &mut self.tables[of as usize];
        let id = self.paths.find(path);
        if let Some(id) = id {
            mutant!(WatchFiresTwice => if kind == EventType::NodeChildrenChanged {
                return found.extend(table.slots(id).map(|(slot, _)| slot));
            });
            let watchers = &mut self.watchers;
            table.fire(id, |slot, ended| {
                found.push(slot);
                let watcher = &mut watchers[slot.0 as usize];
                watcher.live[of as usize] -= usize::from(ended);
                watcher.bytes -= if ended { path.len() } else { 0 };
            });
        }
        mutant!(RecursiveWatchMissesDeletes => if kind == EventType::NodeDeleted { return });
        if !table.any_recursive() {
            return;
        }
        self.recursive.above(&self.paths, path, |above| {
            let recursive = table.slots(above).filter(|(_, modes)| modes.has(Modes::RECURSIVE));
            found.extend(recursive.map(|(slot, _)| slot));
        });
        found.sort_unstable();
        found.dedup();
    }

    fn count_recursive(&mut self, path: PathId, change: Change) {
        match change.recursive() {
            0 => {}
            change => self.recursive.count(&self.paths, path, change > 0),
        }
    }

    fn tidy_path(&mut self, path: PathId) {
        if self.tables.iter().all(|table| table.is_free(path)) && self.paths.is_in_use(path) {
            self.paths.remove(path);
        }
    }

    /// Sorts out what a connection does not watch any more, if it is much.
    fn tidy_watcher(&mut self, slot: Slot) {
        let Watches { watchers, tables, .. } = self;
        let Watcher { paths, live, .. } = &mut watchers[slot.0 as usize];
        if paths.len() > 2 * (live[0] + live[1]) + STALE {
            paths.sort_unstable();
            paths.dedup();
            paths.retain(|path| tables.iter().any(|t| t.modes(*path, slot).has(Modes::ALL)));
            paths.shrink_to(paths.len() + STALE);
        }
    }
}

/// Appends without the room to spare that doubling would leave in what is large.
fn push_tight<T>(all: &mut Vec<T>, element: T) {
    if all.len() == all.capacity() {
        all.reserve_exact((all.len() / 8).max(4));
    }
    all.push(element);
}
