//! The replicated state machine: znodes, ACLs and sessions (`DataTree`, `ZKDatabase`).
//!
//! [`Store::apply`] is a pure function of the state and the transaction, so equal zxids mean
//! equal stores on every server. It tolerates replay: a transaction whose effect is there
//! already changes nothing that a later one would not set again.

mod acls;
mod apply;
mod arena;
mod children;
mod image;
mod packed_node;
mod quota;
mod snapshot;
mod stat;
#[cfg(test)]
mod tests;
mod tree;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Bound;

use bytestring::ByteString;

use crate::hash::HashKey;
use crate::types::{SessionId, Zxid};
use crate::wire::EventType;
use crate::wire::acl::AclList;
use crate::wire::client::{Acl, Id, Stat, perms};

use acls::Acls;
pub use image::ImageError;
use packed_node::{Contents, PackedNode};
pub use quota::{Quota, QuotaFigures, StatsTrack};
pub use snapshot::{
    SnapshotDecoder, SnapshotError, SnapshotItem, SnapshotNode, SnapshotReader, SnapshotWalk,
};
pub use stat::{OwnerKind, StoredStat, digest_of, hash_contents, node_digest};
use tree::{NodeId, Tree};

/// `DataTree.DIGEST_LOG_INTERVAL`.
const DIGEST_LOG_INTERVAL: i64 = 128;
/// `DataTree.DIGEST_LOG_LIMIT`.
const DIGEST_LOG_LIMIT: usize = 1024;

/// The path of the node that shows the ensemble's configuration.
pub const CONFIG_PATH: &str = "/zookeeper/config";

/// The settings of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreOptions {
    /// `zookeeper.extendedTypesEnabled`: TTL nodes exist.
    pub extended_types: bool,
    /// `zookeeper.emulate353TTLNodes`: an owner of either spelling makes a TTL node.
    pub emulate_353: bool,
    /// `zookeeper.digest.enabled`.
    pub digest: bool,
    /// The longest field of a snapshot: `jute.maxbuffer` plus its extra size.
    pub max_field_bytes: usize,
    /// Makes the key of the names' hashes: what clients do not know.
    pub hash_seed: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            extended_types: false,
            emulate_353: false,
            digest: true,
            max_field_bytes: 2 * 1_048_575,
            hash_seed: 0,
        }
    }
}

/// The state of one server.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    tree: Tree,
    acls: Acls,
    sessions: BTreeMap<SessionId, i32>,
    ephemerals: BTreeMap<SessionId, BTreeSet<ByteString>>,
    /// Containers and TTL nodes.
    reapable: BTreeSet<ByteString>,
    last_zxid: Zxid,
    digest: u64,
    /// The digests at every so many zxids, the newest last.
    digest_log: VecDeque<(Zxid, u64)>,
    mismatch: Option<Mismatch>,
    /// In a transaction of many changes: parents whose digest is to be computed at its end.
    stale: Option<Vec<NodeId>>,
    /// A snapshot's digest, compared when the replay reaches its zxid.
    expected: Option<(Zxid, u64)>,
}

/// A transaction came with another digest than this tree has after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The transaction.
    pub zxid: Zxid,
    /// This tree's.
    pub here: u64,
    /// The one that came with it.
    pub said: u64,
}

/// The answer of an applied transaction to its client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Refused, with this code; 0 for what a failed multi did not get to blame.
    Error(i32),
    /// create: the path.
    Created(ByteString),
    /// create2, createContainer, createTTL: path and stat.
    Created2(ByteString, Stat),
    /// setData, setACL: the new stat.
    Changed(Stat),
    /// delete, check, createSession, closeSession.
    Done,
    /// multi: one for each part.
    Multi(Vec<Outcome>),
}

/// An event for whoever watches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trigger {
    /// The kind of event.
    pub kind: EventType,
    /// To which node.
    pub path: ByteString,
    /// The ACL of the node, or its last one if it was deleted.
    pub acl: AclList,
}

/// Events in the order in which they must be seen.
#[derive(Debug, Default)]
pub struct Effects {
    /// Whether anybody wants to know; false during replay.
    pub wanted: bool,
    /// The events; the caller clears them.
    pub triggers: Vec<Trigger>,
}

/// A node as readers see it.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a> {
    store: &'a Store,
    node: PackedNode<'a>,
}

impl Store {
    /// An empty store: the root and what every server has below `/zookeeper`.
    pub fn new(options: StoreOptions) -> Store {
        let mut store = Store::bare(options);
        let none = StoredStat::default();
        let zookeeper = store.tree.insert(tree::ROOT, "zookeeper", Some(&[]), acls::OPEN, &none);
        store.tree.insert(zookeeper, "quota", Some(&[]), acls::OPEN, &none);
        store.add_config_node();
        for (id, path) in [(tree::ROOT, ""), (zookeeper, "/zookeeper")] {
            store.redigest(id, path, &none);
        }
        store
    }

    /// Nothing but the root: what a snapshot is loaded into.
    fn bare(options: StoreOptions) -> Store {
        Store {
            options,
            tree: Tree::new(HashKey::new(options.hash_seed)),
            acls: Acls::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            reapable: BTreeSet::new(),
            last_zxid: Zxid::ZERO,
            digest: 0,
            digest_log: VecDeque::new(),
            mismatch: None,
            stale: None,
            expected: None,
        }
    }

    /// The last applied zxid.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// A snapshot's name, or a new epoch's beginning, says what this state contains.
    pub fn set_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = zxid;
    }

    /// The node of a path; `/` and the empty path are the root.
    pub fn node(&self, path: &str) -> Option<NodeRef<'_>> {
        let node = self.tree.node(self.tree.lookup(path)?);
        Some(NodeRef { store: self, node })
    }

    /// The paths of a session's ephemerals, sorted.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &ByteString> {
        self.ephemerals.get(&session).into_iter().flatten()
    }

    /// How many ephemerals there are.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// The paths of containers and TTL nodes after this one, in order.
    pub fn reapable_after(&self, path: &str) -> impl Iterator<Item = &ByteString> {
        self.reapable.range::<str, _>((Bound::Excluded(path), Bound::Unbounded))
    }

    /// The time-out (ms) with which a global session was created.
    pub fn session(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    /// All global sessions with their time-outs (ms), by id.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> + '_ {
        self.sessions.iter().map(|(id, timeout)| (*id, *timeout))
    }

    /// Nodes, counted as ZooKeeper does: the root twice.
    pub fn node_count(&self) -> usize {
        self.tree.len() + 1
    }

    /// Bytes of names and data (`approximate_data_size`).
    pub fn data_bytes(&self) -> usize {
        self.tree.bytes
    }

    /// Whether digests are kept.
    pub fn digest_enabled(&self) -> bool {
        self.options.digest
    }

    /// The digest of the tree.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The tree's digests of late, at every 128th zxid, oldest first: for `hash`.
    pub fn digest_log(&self) -> impl Iterator<Item = (Zxid, u64)> + '_ {
        self.digest_log.iter().copied()
    }

    fn log_digest(&mut self, zxid: Zxid) {
        if self.options.digest && self.expected.is_none() && zxid.0 % DIGEST_LOG_INTERVAL == 0 {
            if self.digest_log.len() == DIGEST_LOG_LIMIT {
                self.digest_log.pop_front();
            }
            self.digest_log.push_back((zxid, self.digest));
        }
    }

    /// All ephemerals, by session.
    pub fn ephemerals_by_session(
        &self,
    ) -> impl Iterator<Item = (SessionId, &BTreeSet<ByteString>)> + '_ {
        self.ephemerals.iter().map(|(session, paths)| (*session, paths))
    }

    /// A snapshot says what the digest is at a zxid that the replay has not reached yet. One
    /// that is older than the snapshot itself says nothing.
    pub fn expect_digest(&mut self, expected: Option<(Zxid, u64)>) {
        self.expected = expected.filter(|(zxid, _)| *zxid >= self.last_zxid && zxid.0 != 0);
        self.compare_expected();
    }

    /// It is not known up to which zxid this tree has traces of transactions that are not in its
    /// history: no digest is compared before [`Store::judge`].
    pub fn leave_unjudged(&mut self) {
        self.expected = Some((Zxid(i64::MAX), 0));
    }

    /// From here on the tree is what its history says, and every digest counts; none before.
    pub fn judge(&mut self) {
        (self.expected, self.mismatch) = (None, None);
    }

    fn compare_expected(&mut self) {
        if let Some((zxid, digest)) = self.expected
            && self.last_zxid >= zxid
        {
            self.expected = None;
            if self.options.digest && self.last_zxid == zxid && self.digest != digest {
                let here = self.digest;
                self.mismatch.get_or_insert(Mismatch { zxid, here, said: digest });
            }
        }
    }

    /// Where this tree's digest was first not the one that came with a transaction, once.
    pub fn take_mismatch(&mut self) -> Option<Mismatch> {
        self.mismatch.take()
    }

    /// The meaning of an owner field here.
    pub fn owner_kind(&self, owner: i64) -> OwnerKind {
        OwnerKind::of(owner, self.options.extended_types, self.options.emulate_353)
    }

    /// How many descendants a node has.
    pub fn descendants(&self, path: &str) -> Option<usize> {
        let node = self.tree.node(self.tree.lookup(path)?);
        Some(self.tree.descendant_count(node))
    }

    /// Shows this server's configuration in `/zookeeper/config`; no transaction, because every
    /// server writes its own (`initConfigInZKDatabase`).
    pub fn show_config(&mut self, text: &str, version: i64, wall_ms: i64) {
        self.add_config_node();
        if let Some(id) = self.tree.lookup(CONFIG_PATH) {
            let mut stat = self.tree.stat(self.tree.node(id));
            (stat.mtime, stat.mzxid, stat.version) = (wall_ms, Zxid(version), -1);
            self.tree.write(id, Some(text.as_bytes()), &stat);
        }
    }

    fn add_config_node(&mut self) {
        let Some(zookeeper) = self.tree.lookup("/zookeeper") else { return };
        if self.tree.child(zookeeper, "config").is_some() {
            return;
        }
        let anyone = Id { scheme: "world".into(), id: "anyone".into() };
        let acl = self.acls.acquire(&AclList::from(&[Acl { perms: perms::READ, id: anyone }][..]));
        let stat = StoredStat { aversion: -1, ..StoredStat::default() };
        self.tree.insert(zookeeper, "config", Some(&[]), acl, &stat);
    }

    /// A node is there that its owner, or the leader's cleaner, will delete one day.
    fn index_owner(&mut self, owner: i64, path: &str) {
        match self.owner_kind(owner) {
            OwnerKind::Persistent => {}
            OwnerKind::Ephemeral => {
                let owned = self.ephemerals.entry(SessionId(owner)).or_default();
                owned.insert(ByteString::from(path));
            }
            OwnerKind::Container | OwnerKind::Ttl(_) => {
                self.reapable.insert(ByteString::from(path));
            }
        }
    }

    /// That node is gone.
    fn unindex_owner(&mut self, owner: i64, path: &str) {
        match self.owner_kind(owner) {
            OwnerKind::Persistent => {}
            OwnerKind::Ephemeral => {
                let owner = SessionId(owner);
                if let Some(owned) = self.ephemerals.get_mut(&owner) {
                    owned.remove(path);
                    if owned.is_empty() {
                        self.ephemerals.remove(&owner);
                    }
                }
            }
            OwnerKind::Container | OwnerKind::Ttl(_) => {
                self.reapable.remove(path);
            }
        }
    }

    /// A parent's counters have changed. While many of them change, its digest waits for the end.
    fn redigest_parent(&mut self, id: NodeId, path: &str, stat: &StoredStat) {
        match &mut self.stale {
            Some(stale) if stale.last() == Some(&id) => {}
            Some(stale) => stale.push(id),
            None => self.redigest(id, path, stat),
        }
    }

    /// Makes many changes, and computes digests that wait for the last of them.
    fn all_at_once<T>(&mut self, change: impl FnOnce(&mut Store) -> T) -> T {
        if !self.options.digest || self.stale.is_some() {
            return change(self);
        }
        self.stale = Some(Vec::new());
        let done = change(self);
        let mut stale = self.stale.take().unwrap_or_default();
        stale.sort_unstable();
        stale.dedup();
        let mut path = Vec::new();
        for id in stale {
            let Some(node) = self.tree.get(id) else { continue };
            let stat = self.tree.stat(node);
            self.tree.path(id, &mut path);
            let path = ByteString::try_from(core::mem::take(&mut path)).unwrap_or_default();
            self.redigest(id, &path, &stat);
        }
        done
    }

    /// Computes a node's digest anew and puts the difference into the tree's.
    fn redigest(&mut self, id: NodeId, path: &str, stat: &StoredStat) {
        if self.options.digest {
            let new = node_digest(path, self.tree.node(id).data(), stat) as u32;
            let old = self.tree.set_digest(id, new);
            self.digest = self.digest.wrapping_add(new.into()).wrapping_sub(old.into());
        }
    }
}

impl<'a> NodeRef<'a> {
    /// Its data; null and empty differ.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.node.data()
    }
    /// Its counters as stored.
    pub fn stored(&self) -> StoredStat {
        self.store.tree.stat(self.node)
    }
    /// Its stat as clients see it.
    pub fn stat(&self) -> Stat {
        let tree = &self.store.tree;
        let (Contents { data, stat, .. }, children) =
            (tree.contents(self.node), tree.child_count(self.node));
        let kind = self.store.owner_kind(stat.ephemeral_owner);
        stat.visible(kind, data.map_or(0, <[u8]>::len), children)
    }
    /// Its ACL.
    pub fn acl(&self) -> &'a AclList {
        self.store.acls.get(self.node.acl())
    }
    /// The kind of node.
    pub fn kind(&self) -> OwnerKind {
        self.store.owner_kind(self.stored().ephemeral_owner)
    }
    /// How many children it has.
    pub fn child_count(&self) -> usize {
        self.store.tree.child_count(self.node) as usize
    }
    /// The names of its children, in an order that follows from what was created and deleted.
    pub fn children(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.store.tree.named_children(self.node).map(|(_, name)| name)
    }
    /// Its part of the tree's digest.
    pub fn digest(&self) -> u64 {
        self.store.tree.digest(self.node).into()
    }
}
