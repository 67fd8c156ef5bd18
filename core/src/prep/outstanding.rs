//! The tree as it will be once every proposal is committed: outstanding changes over the store
//! (`ZooKeeperServer.outstandingChanges`, `ChangeRecord`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};
use rustc_hash::FxBuildHasher;

use super::quota::Excess;
use crate::budget::Work;
use crate::hash::HashKey;
use crate::mutant::mutant;
use crate::store::{Store, StoredStat, digest_of, hash_contents};
use crate::types::{SessionId, Zxid};
use crate::wire::acl::AclList;

/// A node's data as they will be.
#[derive(Clone, Debug)]
pub(super) enum NodeData {
    /// As they are in the store, so many bytes: nothing under way changes them.
    Stored(usize),
    /// As something under way sets them.
    Set(Option<Bytes>),
}

impl NodeData {
    /// How many bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            NodeData::Stored(bytes) => *bytes,
            NodeData::Set(data) => data.as_ref().map_or(0, Bytes::len),
        }
    }

    fn bytes<'a>(&'a self, store: &'a Store, path: &str) -> Option<&'a [u8]> {
        match self {
            NodeData::Stored(0) => None,
            NodeData::Stored(_) => store.node(path)?.data(),
            NodeData::Set(data) => data.as_deref(),
        }
    }
}

/// A node as it will be.
#[derive(Clone, Debug)]
pub(super) struct NodeState {
    pub(super) stat: StoredStat,
    pub(super) data: NodeData,
    pub(super) acl: AclList,
    pub(super) children: usize,
    /// Its part of the tree's digest, as of the last change; 0 where none is computed.
    digest: u64,
    /// The digest of its path and data, if it is known.
    hashed: Option<u32>,
}

impl NodeState {
    /// A node that a create makes.
    pub(super) fn new(stat: StoredStat, data: Option<Bytes>, acl: AclList) -> NodeState {
        let data = NodeData::Set(data);
        NodeState { stat, data, acl, children: 0, digest: 0, hashed: None }
    }

    /// Its data are to be these.
    pub(super) fn set_data(&mut self, data: Option<Bytes>) {
        (self.data, self.hashed) = (NodeData::Set(data), None);
    }
}

/// The state that a transaction gives a path.
#[derive(Debug)]
struct Change {
    zxid: Zxid,
    path: ByteString,
    hash: u64,
    /// `None`: deleted.
    state: Option<NodeState>,
    /// The change of the same path before it that was under way then.
    before: Option<Number>,
}

/// Changes are numbered as they come.
type Number = u64;

/// The changes that are proposed and not committed.
///
/// A transaction is prepared between [`begin`](Self::begin) and, if it is refused,
/// [`roll_back`](Self::roll_back).
#[derive(Debug)]
pub(super) struct Outstanding {
    /// All, in order of proposal.
    changes: VecDeque<Change>,
    /// That of the first one of them.
    first: Number,
    /// The newest change of each path.
    newest: HashTable<Number>,
    /// Of paths.
    key: HashKey,
    /// Ephemerals that are to be created, in order of proposal.
    ephemerals: VecDeque<(Zxid, SessionId, ByteString)>,
    /// Sessions that are to be closed, each with the last transaction that does it.
    closing: HashMap<SessionId, Zxid, FxBuildHasher>,
    closing_order: VecDeque<(Zxid, SessionId)>,
    /// The tree's digest after the last change; stands only while there are changes.
    tree_digest: u64,
    before: Mark,
    /// Quotas that the transaction in preparation exceeds.
    excesses: Vec<Excess>,
    /// Changes that came and went since they were taken.
    counted: (u64, u64),
    /// The cost of preparing since it was last taken.
    pub(super) work: Work,
}

/// Where the transaction in preparation began.
#[derive(Debug, Default)]
struct Mark {
    changes: usize,
    ephemerals: usize,
    tree_digest: u64,
}

impl Outstanding {
    /// Nothing is under way.
    pub(super) fn new(key: HashKey) -> Outstanding {
        Outstanding {
            changes: VecDeque::new(),
            first: 0,
            newest: HashTable::new(),
            key,
            ephemerals: VecDeque::new(),
            closing: HashMap::default(),
            closing_order: VecDeque::new(),
            tree_digest: 0,
            before: Mark::default(),
            excesses: Vec::new(),
            counted: (0, 0),
            work: Work::default(),
        }
    }

    /// A transaction begins: what follows can be rolled back.
    pub(super) fn begin(&mut self) {
        self.before = Mark {
            changes: self.changes.len(),
            ephemerals: self.ephemerals.len(),
            tree_digest: self.tree_digest,
        };
    }

    /// The transaction is refused: nothing of it happens.
    pub(super) fn roll_back(&mut self) {
        while self.changes.len() > self.before.changes
            && let Some(change) = self.changes.pop_back()
        {
            let number = self.first + self.changes.len() as Number;
            if let Ok(mut newest) = self.newest.find_entry(change.hash, |n| *n == number) {
                match change.before {
                    Some(before) => *newest.get_mut() = before,
                    None => drop(newest.remove()),
                }
            }
        }
        self.ephemerals.truncate(self.before.ephemerals);
        self.tree_digest = self.before.tree_digest;
    }

    fn newest(&self, path: &str) -> Option<&Change> {
        let change = |number: &Number| &self.changes[(number - self.first) as usize];
        self.newest
            .find(self.key.of(path.as_bytes()), |number| change(number).path == *path)
            .map(change)
    }

    /// The node of a path as it will be.
    pub(super) fn get(&self, store: &Store, path: &str) -> Option<NodeState> {
        let key = key(path);
        mutant!(OutstandingIgnored => return load(store, key));
        match self.newest(key) {
            Some(change) => change.state.clone(),
            None => load(store, key),
        }
    }

    /// Changes or makes a node. `state` came from [`get`](Self::get), or is new.
    pub(super) fn put(
        &mut self,
        store: &Store,
        zxid: Zxid,
        path: ByteString,
        mut state: NodeState,
    ) {
        let path = path.slice_ref(key(&path));
        let before = state.digest;
        if store.digest_enabled() {
            // Many nodes may come and go below one whose data are long.
            let hashed = *state.hashed.get_or_insert_with(|| {
                self.work.bytes += path.len() + state.data.len();
                hash_contents(&path, state.data.bytes(store, &path))
            });
            state.digest = digest_of(&path, hashed, &state.stat);
        }
        let delta = state.digest.wrapping_sub(before);
        self.change(store, zxid, path, Some(state), delta);
    }

    /// Deletes a node whose state came from [`get`](Self::get).
    pub(super) fn remove(
        &mut self,
        store: &Store,
        zxid: Zxid,
        path: ByteString,
        state: &NodeState,
    ) {
        self.change(store, zxid, path, None, 0u64.wrapping_sub(state.digest));
    }

    fn change(
        &mut self,
        store: &Store,
        zxid: Zxid,
        path: ByteString,
        state: Option<NodeState>,
        delta: u64,
    ) {
        self.tree_digest = self.tree_digest(store).wrapping_add(delta);
        self.counted.0 += 1;
        self.work.nodes += 3;
        let (changes, hash) = (&self.changes, self.key.of(path.as_bytes()));
        let change = |number: &Number| &changes[(number - self.first) as usize];
        let number = self.first + changes.len() as Number;
        let is_same = |number: &Number| change(number).path == path;
        let before = match self.newest.entry(hash, is_same, |number| change(number).hash) {
            Entry::Occupied(mut newest) => Some(core::mem::replace(newest.get_mut(), number)),
            Entry::Vacant(newest) => {
                newest.insert(number);
                None
            }
        };
        self.changes.push_back(Change { zxid, path, hash, state, before });
    }

    /// Remembers that a create makes an ephemeral.
    pub(super) fn ephemeral(&mut self, zxid: Zxid, session: SessionId, path: ByteString) {
        self.ephemerals.push_back((zxid, session, path));
    }

    /// The ephemerals that a session will own, sorted.
    pub(super) fn ephemerals_of(&self, store: &Store, session: SessionId) -> Vec<ByteString> {
        let is_own = |owner| {
            mutant!(EphemeralsUnderWayForgotten => return false);
            owner == session
        };
        let created = self.ephemerals.iter().filter(|(_, owner, _)| is_own(*owner));
        let mut all: Vec<ByteString> = store
            .ephemerals(session)
            .cloned()
            .chain(created.map(|(_, _, path)| path.clone()))
            .filter(|path| match self.newest(path) {
                Some(change) => {
                    change.state.as_ref().is_some_and(|s| s.stat.ephemeral_owner == session.0)
                }
                None => true,
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The tree's digest once everything is committed.
    pub(super) fn tree_digest(&self, store: &Store) -> u64 {
        if self.changes.is_empty() { store.digest() } else { self.tree_digest }
    }

    /// A session will be closed by this transaction.
    pub(super) fn close(&mut self, zxid: Zxid, session: SessionId) {
        self.closing.insert(session, zxid);
        self.closing_order.push_back((zxid, session));
    }

    /// Whether a session will be closed.
    pub(super) fn is_closing(&self, session: SessionId) -> bool {
        self.closing.contains_key(&session)
    }

    /// Everything up to `zxid` is in the store.
    pub(super) fn committed(&mut self, zxid: Zxid) {
        while let Some(change) = self.changes.pop_front_if(|change| change.zxid <= zxid) {
            if let Ok(newest) = self.newest.find_entry(change.hash, |n| *n == self.first) {
                newest.remove();
            }
            self.first += 1;
            self.counted.1 += 1;
        }
        while self.ephemerals.front().is_some_and(|(at, ..)| *at <= zxid) {
            self.ephemerals.pop_front();
        }
        while let Some((at, session)) = self.closing_order.front()
            && *at <= zxid
        {
            if self.closing.get(session) == Some(at) {
                self.closing.remove(session);
            }
            self.closing_order.pop_front();
        }
    }

    /// A quota is exceeded, softly or not.
    pub(super) fn exceed(&mut self, excess: Excess) {
        self.excesses.push(excess);
    }

    /// The quotas that were exceeded since the last time of asking.
    pub(super) fn take_excesses(&mut self) -> Vec<Excess> {
        core::mem::take(&mut self.excesses)
    }

    /// How many changes are under way.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Forgets everything under way.
    pub(super) fn clear(&mut self) {
        let empty = Outstanding::new(self.key.clone());
        *self = Outstanding { counted: self.counted, work: self.work, ..empty };
    }

    /// How many changes came, and how many went, since the last time of asking.
    pub(super) fn take_counted(&mut self) -> (u64, u64) {
        core::mem::take(&mut self.counted)
    }
}

/// The tree knows its root by the empty name.
fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

fn load(store: &Store, key: &str) -> Option<NodeState> {
    let node = store.node(key)?;
    Some(NodeState {
        stat: node.stored(),
        data: NodeData::Stored(node.data().map_or(0, <[u8]>::len)),
        acl: node.acl().clone(),
        children: node.child_count(),
        digest: node.digest(),
        hashed: None,
    })
}
