//! The nodes: records in an arena, found by number; each parent knows its children.
//! Names are stored once; a path is looked up name by name, and put together when asked for.
//!
//! Most nodes are leaves. What only parents have is in a slab of its own.

use alloc::vec::Vec;

use slab::Slab;

use super::acls;
use super::arena::{Arena, Place};
use super::children::Children;
use super::packed_node::{self, Contents, Draft, Own, PackedNode};
use super::quota::LIMITS;
use super::stat::StoredStat;
use crate::hash::HashKey;
use crate::types::Zxid;

/// A node's number, below 2^31; another one's after a delete.
pub(super) type NodeId = u32;
/// The root's number.
pub(super) const ROOT: NodeId = 0;

/// The data of a node that has or had children.
#[derive(Debug)]
struct ParentData {
    children: Children,
    /// See [`Own::Digest`].
    digest: u32,
    cversion: i32,
    /// Nodes below, at any depth.
    below: u32,
    pzxid: Zxid,
}

/// All nodes.
#[derive(Debug)]
pub(super) struct Tree {
    /// Where each is.
    places: Vec<Place>,
    /// Numbers of those that are gone.
    vacant: Vec<NodeId>,
    records: Arena,
    parents: Slab<ParentData>,
    /// Of names.
    key: HashKey,
    /// Bytes of names and data.
    pub(super) bytes: usize,
    /// Nodes that are named as those with a quota's limits: mostly none.
    pub(super) limits: usize,
}

impl Tree {
    /// A tree that is a root without counters.
    pub(super) fn new(key: HashKey) -> Tree {
        let mut tree = Tree {
            places: Vec::new(),
            vacant: Vec::new(),
            records: Arena::new(),
            parents: Slab::new(),
            key,
            bytes: 0,
            limits: 0,
        };
        let root = Draft::new(b"", Some(&[]), acls::OPEN, &StoredStat::default());
        let place = tree.put(&root, ROOT, Own::Digest(0));
        tree.places.push(place);
        tree
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    pub(super) fn get(&self, id: NodeId) -> Option<PackedNode<'_>> {
        let place = self.places.get(id as usize).filter(|place| **place != Place::NOWHERE);
        place.map(|place| PackedNode::new(self.records.get(*place)))
    }

    /// # Panics
    /// If the number is not of a node that is there.
    pub(super) fn node(&self, id: NodeId) -> PackedNode<'_> {
        PackedNode::new(self.records.get(self.places[id as usize]))
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
        let name = name.as_bytes();
        let children = &self.parent_data(self.node(parent))?.children;
        children.find(self.key.of(name), |id| self.node(id).name_bytes() == name)
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
        let place = self.put(&Draft::new(name.as_bytes(), data, acl, stat), parent, Own::Digest(0));
        let id = match self.vacant.pop() {
            Some(id) => {
                self.places[id as usize] = place;
                id
            }
            None => {
                self.places.push(place);
                self.places.len() as NodeId - 1
            }
        };
        let parent_data = self.family_mut(parent);
        let (children, hash) = self.children_of(parent_data);
        children.add(id, hash);
        self.count_below(parent, 1);
        self.set_family(id, stat);
        id
    }

    /// Removes a node without children.
    pub(super) fn remove(&mut self, id: NodeId) {
        let node = self.node(id);
        let (parent, own, contents) = (node.parent(), node.own(), node.contents());
        let bytes = contents.name.len() + contents.data.map_or(0, <[u8]>::len);
        let limits = usize::from(contents.name == LIMITS.as_bytes());
        self.bytes -= bytes;
        self.limits -= limits;
        if let Own::Parent(parent_data) = own {
            self.parents.remove(parent_data as usize);
        }
        let parent_data = self.family_mut(parent);
        let (children, hash) = self.children_of(parent_data);
        children.remove(id, hash);
        self.count_below(parent, -1);
        self.records.give_back(core::mem::replace(&mut self.places[id as usize], Place::NOWHERE));
        self.vacant.push(id);
    }

    /// So many nodes more are below this one, and so below all that are above it. Whoever found
    /// the parent by its path has passed them all.
    fn count_below(&mut self, parent: NodeId, more: i32) {
        let mut at = parent;
        loop {
            let node = self.node(at);
            let (above, own) = (node.parent(), node.own());
            if let Own::Parent(parent_data) = own {
                let parent_data = &mut self.parents[parent_data as usize];
                parent_data.below = parent_data.below.wrapping_add_signed(more);
            }
            if at == ROOT {
                return;
            }
            at = above;
        }
    }

    /// How many nodes are below one, at any depth.
    pub(super) fn descendant_count(&self, node: PackedNode<'_>) -> usize {
        self.parent_data(node).map_or(0, |parent_data| parent_data.below as usize)
    }

    /// Makes a record.
    fn put(&mut self, draft: &Draft<'_>, parent: NodeId, own: Own) -> Place {
        let place = self.records.take(draft.len());
        let record = self.records.get_mut(place);
        draft.write(record);
        packed_node::set_parent(record, parent, own);
        place
    }

    /// A node's counters.
    pub(super) fn stat(&self, node: PackedNode<'_>) -> StoredStat {
        self.with_family(node, node.stat())
    }

    /// All that a node has beside its children, read at once.
    pub(super) fn contents<'a>(&self, node: PackedNode<'a>) -> Contents<'a> {
        let contents = node.contents();
        Contents { stat: self.with_family(node, contents.stat), ..contents }
    }

    fn with_family(&self, node: PackedNode<'_>, mut stat: StoredStat) -> StoredStat {
        if let Some(parent_data) = self.parent_data(node) {
            (stat.cversion, stat.pzxid) = (parent_data.cversion, parent_data.pzxid);
        }
        stat
    }

    /// How many children a node has.
    pub(super) fn child_count(&self, node: PackedNode<'_>) -> u32 {
        self.parent_data(node).map_or(0, |parent_data| parent_data.children.len() as u32)
    }

    /// Replaces a node's data, with its counters.
    pub(super) fn write(&mut self, id: NodeId, data: Option<&[u8]>, stat: &StoredStat) {
        let node = self.node(id);
        let (before, acl) = (node.data_len(), node.acl());
        self.bytes += data.map_or(0, <[u8]>::len);
        self.bytes -= before;
        if !packed_node::replace(self.record_mut(id), data, acl, stat) {
            let name = self.node(id).name_bytes().to_vec();
            self.move_to(id, &Draft::new(&name, data, acl, stat));
        }
        self.set_family(id, stat);
    }

    /// Replaces a node's data alone.
    pub(super) fn set_data(&mut self, id: NodeId, data: Option<&[u8]>) {
        self.write(id, data, &self.stat(self.node(id)));
    }

    /// Replaces a node's ACL, with its counters.
    pub(super) fn set_acl(&mut self, id: NodeId, acl: i64, stat: &StoredStat) {
        if !packed_node::set_counters(self.record_mut(id), acl, stat) {
            let Contents { name, data, .. } = self.node(id).contents();
            let (name, data) = (name.to_vec(), data.map(<[u8]>::to_vec));
            self.move_to(id, &Draft::new(&name, data.as_deref(), acl, stat));
        }
        self.set_family(id, stat);
    }

    /// A node's record becomes another one.
    fn move_to(&mut self, id: NodeId, draft: &Draft<'_>) {
        let node = self.node(id);
        let place = self.put(draft, node.parent(), node.own());
        self.records.give_back(core::mem::replace(&mut self.places[id as usize], place));
    }

    /// Replaces those counters that children change: `cversion` and `pzxid`.
    pub(super) fn set_family(&mut self, id: NodeId, stat: &StoredStat) {
        let is_new = (stat.cversion, stat.pzxid) == (0, stat.czxid);
        if !is_new || matches!(self.node(id).own(), Own::Parent(_)) {
            let parent_data = self.family_mut(id);
            let parent_data = &mut self.parents[parent_data];
            (parent_data.cversion, parent_data.pzxid) = (stat.cversion, stat.pzxid);
        }
    }

    /// A node's part of the tree's digest; 0 where none is computed.
    pub(super) fn digest(&self, node: PackedNode<'_>) -> u32 {
        match node.own() {
            Own::Digest(digest) => digest,
            Own::Parent(parent_data) => self.parents[parent_data as usize].digest,
        }
    }

    /// Another one; gives the one before.
    pub(super) fn set_digest(&mut self, id: NodeId, new: u32) -> u32 {
        let node = self.node(id);
        let parent = node.parent();
        match node.own() {
            Own::Digest(old) => {
                packed_node::set_parent(self.record_mut(id), parent, Own::Digest(new));
                old
            }
            Own::Parent(parent_data) => {
                core::mem::replace(&mut self.parents[parent_data as usize].digest, new)
            }
        }
    }

    fn record_mut(&mut self, id: NodeId) -> &mut [u8] {
        self.records.get_mut(self.places[id as usize])
    }

    fn parent_data(&self, node: PackedNode<'_>) -> Option<&ParentData> {
        match node.own() {
            Own::Parent(parent_data) => self.parents.get(parent_data as usize),
            Own::Digest(_) => None,
        }
    }

    /// The place of what the node has as a parent; from now on it is one.
    fn family_mut(&mut self, id: NodeId) -> usize {
        let node = self.node(id);
        match node.own() {
            Own::Parent(parent_data) => parent_data as usize,
            Own::Digest(digest) => {
                let (parent, pzxid, children) = (node.parent(), node.czxid(), Children::default());
                let parent_data = self.parents.insert(ParentData {
                    children,
                    digest,
                    cversion: 0,
                    below: 0,
                    pzxid,
                });
                packed_node::set_parent(
                    self.record_mut(id),
                    parent,
                    Own::Parent(parent_data as u32),
                );
                parent_data
            }
        }
    }

    /// A parent_data's children, and what says each one's hash.
    fn children_of(&mut self, parent_data: usize) -> (&mut Children, impl Fn(NodeId) -> u64) {
        let (places, records, key) = (&self.places, &self.records, &self.key);
        let hash =
            |id: NodeId| key.of(PackedNode::new(records.get(places[id as usize])).name_bytes());
        (&mut self.parents[parent_data].children, hash)
    }

    /// A node's children.
    pub(super) fn children(&self, node: PackedNode<'_>) -> impl Iterator<Item = NodeId> + use<'_> {
        self.parent_data(node).into_iter().flat_map(|parent_data| parent_data.children.iter())
    }

    /// The same with their names.
    pub(super) fn named_children(
        &self,
        node: PackedNode<'_>,
    ) -> impl Iterator<Item = (NodeId, &str)> + use<'_> {
        self.children(node).map(|child| (child, self.node(child).name()))
    }

    /// Puts a node's path into `out` in place of what is there; the root's is empty.
    pub(super) fn path(&self, id: NodeId, out: &mut Vec<u8>) {
        let upwards = || {
            let mut at = id;
            core::iter::from_fn(move || {
                let node = self.get(at).filter(|_| at != ROOT)?;
                at = node.parent();
                Some(node.name_bytes())
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

/// A path's parent and last name; `None` for the root and for what is no path.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/').filter(|(_, name)| !name.is_empty())
}
