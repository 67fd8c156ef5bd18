//! The nodes: a slab, an index of (parent, name), and sibling lists in order of creation.
//! Names are stored once; a path is looked up name by name, and put together when asked for.
//!
//! Most nodes are leaves. What only parents have is in a slab of its own.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use slab::Slab;

use super::acls;
use super::quota::LIMITS;
use super::record::{Contents, Record};
use super::stat::StoredStat;
use crate::types::Zxid;

/// A node's place in the slab; reused after a delete.
pub(super) type NodeId = u32;
/// The root's place.
pub(super) const ROOT: NodeId = 0;
const NONE: NodeId = u32::MAX;

/// A znode.
#[derive(Debug)]
pub(super) struct Node {
    record: Record,
    parent: NodeId,
    previous: NodeId,
    next: NodeId,
    /// Its place among the parents; none for who never had a child.
    family: u32,
    /// Its part of the tree's digest; 0 where none is computed.
    pub(super) digest: u32,
    /// Of parent and name: the index looks at the record only where it is the right one.
    hash: u32,
}

/// What a node has that has, or had, children.
#[derive(Debug)]
struct Family {
    first: NodeId,
    last: NodeId,
    children: u32,
    cversion: i32,
    pzxid: Zxid,
}

/// All nodes.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Slab<Node>,
    families: Slab<Family>,
    index: HashTable<NodeId>,
    /// Bytes of names and data.
    pub(super) bytes: usize,
    /// Nodes that are named as those with a quota's limits: mostly none.
    pub(super) limits: usize,
}

impl Tree {
    /// A tree that is a root without counters.
    pub(super) fn new() -> Tree {
        let mut nodes = Slab::new();
        let record = Record::new("", Some(&[]), acls::OPEN, &StoredStat::default());
        nodes.insert(Node::new(record, NONE, 0));
        Tree { nodes, families: Slab::new(), index: HashTable::new(), bytes: 0, limits: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    /// # Panics
    /// If the id is not of a node that is there.
    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// # Panics
    /// As [`Tree::node_mut`].
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The node of a path; the root's is "/" or empty.
    pub(super) fn lookup(&self, path: &str) -> Option<NodeId> {
        if path.is_empty() || path == "/" {
            return Some(ROOT);
        }
        let mut at = ROOT;
        for name in path.strip_prefix('/')?.split('/') {
            at = self.child(at, name)?;
        }
        Some(at)
    }

    pub(super) fn child(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        let hash = hash(parent, name);
        let found = self.index.find(spread(hash), |id| {
            let node = &self.nodes[*id as usize];
            (node.hash, node.parent) == (hash, parent)
                && node.record.name_bytes() == name.as_bytes()
        });
        found.copied()
    }

    /// Adds a node that is not there yet.
    pub(super) fn insert(
        &mut self,
        parent: NodeId,
        name: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StoredStat,
    ) -> NodeId {
        self.bytes += name.len() + data.map_or(0, <[u8]>::len);
        self.limits += usize::from(name == LIMITS);
        let record = Record::new(name, data, acl, stat);
        let hash = hash(parent, name);
        let id = self.nodes.insert(Node::new(record, parent, hash)) as NodeId;
        let nodes = &self.nodes;
        self.index.insert_unique(spread(hash), id, |id| spread(nodes[*id as usize].hash));
        let family = self.family_mut(parent);
        family.children += 1;
        let last = core::mem::replace(&mut family.last, id);
        if last == NONE {
            family.first = id;
        } else {
            self.node_mut(last).next = id;
            self.node_mut(id).previous = last;
        }
        self.set_family(id, stat);
        id
    }

    /// Removes a node without children.
    pub(super) fn remove(&mut self, id: NodeId) {
        let node = self.nodes.remove(id as usize);
        let Node { record, parent, previous, next, family, hash, .. } = node;
        self.bytes -= record.name_bytes().len() + record.data_len();
        self.limits -= usize::from(record.name_bytes() == LIMITS.as_bytes());
        if let Ok(entry) = self.index.find_entry(spread(hash), |i| *i == id) {
            entry.remove();
        }
        self.families.try_remove(family as usize);
        let family = self.family_mut(parent);
        family.children -= 1;
        if previous == NONE {
            family.first = next;
        }
        if next == NONE {
            family.last = previous;
        }
        if let Some(node) = self.nodes.get_mut(previous as usize) {
            node.next = next;
        }
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.previous = previous;
        }
    }

    /// A node's counters.
    pub(super) fn stat(&self, id: NodeId) -> StoredStat {
        let node = self.node(id);
        self.with_family(node, node.record.stat())
    }

    /// All that a node has beside its children, read at once.
    pub(super) fn contents<'a>(&self, node: &'a Node) -> Contents<'a> {
        let contents = node.record.contents();
        Contents { stat: self.with_family(node, contents.stat), ..contents }
    }

    fn with_family(&self, node: &Node, mut stat: StoredStat) -> StoredStat {
        if let Some(family) = self.families.get(node.family as usize) {
            (stat.cversion, stat.pzxid) = (family.cversion, family.pzxid);
        }
        stat
    }

    /// How many children a node has.
    pub(super) fn child_count(&self, id: NodeId) -> u32 {
        self.families.get(self.node(id).family as usize).map_or(0, |family| family.children)
    }

    /// Replaces a node's data, with its counters.
    pub(super) fn write(&mut self, id: NodeId, data: Option<&[u8]>, stat: &StoredStat) {
        let record = &mut self.nodes[id as usize].record;
        self.bytes += data.map_or(0, <[u8]>::len);
        self.bytes -= record.data_len();
        let acl = record.acl();
        record.replace(data, acl, stat);
        self.set_family(id, stat);
    }

    /// Replaces a node's data alone.
    pub(super) fn set_data(&mut self, id: NodeId, data: Option<&[u8]>) {
        self.write(id, data, &self.stat(id));
    }

    /// Replaces a node's ACL, with its counters.
    pub(super) fn set_acl(&mut self, id: NodeId, acl: i64, stat: &StoredStat) {
        self.nodes[id as usize].record.set_counters(acl, stat);
        self.set_family(id, stat);
    }

    /// Replaces those counters that children change: `cversion` and `pzxid`.
    pub(super) fn set_family(&mut self, id: NodeId, stat: &StoredStat) {
        if (stat.cversion, stat.pzxid) != (0, stat.czxid) || self.node(id).family != NONE {
            let family = self.family_mut(id);
            (family.cversion, family.pzxid) = (stat.cversion, stat.pzxid);
        }
    }

    /// What the node has as a parent; from now on it is one.
    fn family_mut(&mut self, id: NodeId) -> &mut Family {
        let node = &mut self.nodes[id as usize];
        if node.family == NONE {
            let pzxid = node.record.czxid();
            let family = Family { first: NONE, last: NONE, children: 0, cversion: 0, pzxid };
            node.family = self.families.insert(family) as u32;
        }
        &mut self.families[node.family as usize]
    }

    /// A node's children, in order of creation.
    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let family = self.get(id).and_then(|node| self.families.get(node.family as usize));
        let mut at = family.map_or(NONE, |family| family.first);
        core::iter::from_fn(move || {
            let next = self.get(at)?.next;
            Some(core::mem::replace(&mut at, next))
        })
    }

    /// The same with their names.
    pub(super) fn named_children(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &str)> {
        self.children(id).map(|child| (child, self.node(child).record.name()))
    }

    /// Puts a node's path into `out` in place of what is there; the root's is empty.
    pub(super) fn path(&self, id: NodeId, out: &mut Vec<u8>) {
        let upwards = || {
            let mut at = id;
            core::iter::from_fn(move || {
                let node = self.get(at).filter(|_| at != ROOT)?;
                at = node.parent;
                Some(node.record.name_bytes())
            })
        };
        let mut end = upwards().map(|name| 1 + name.len()).sum();
        out.clear();
        out.resize(end, 0);
        for name in upwards() {
            out[end - name.len()..end].copy_from_slice(name);
            end -= name.len() + 1;
            out[end] = b'/';
        }
    }
}

impl Node {
    fn new(record: Record, parent: NodeId, hash: u32) -> Node {
        Node { record, parent, previous: NONE, next: NONE, family: NONE, digest: 0, hash }
    }

    /// Its data; null and empty differ.
    pub(super) fn data(&self) -> Option<&[u8]> {
        self.record.data()
    }

    /// How many bytes of data.
    pub(super) fn data_len(&self) -> usize {
        self.record.data_len()
    }

    /// The index of its ACL.
    pub(super) fn acl(&self) -> i64 {
        self.record.acl()
    }

    /// The node above; the root has none.
    pub(super) fn parent(&self) -> NodeId {
        self.parent
    }
}

fn hash(parent: NodeId, name: &str) -> u32 {
    (FxBuildHasher.hash_one((parent, name)) >> 32) as u32
}

/// The table goes by the highest and by the lowest bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A path's parent and last name; `None` for the root and for what is no path.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/').filter(|(_, name)| !name.is_empty())
}
