//! The nodes: a slab, an index of (parent, name), and sibling lists in order of creation.
//! Names are stored once; a path is looked up name by name, and put together when asked for.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use bytes::Bytes;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use slab::Slab;

use super::stat::StoredStat;

/// A node's place in the slab; reused after a delete.
pub(super) type NodeId = u32;
/// The root's place.
pub(super) const ROOT: NodeId = 0;
const NONE: NodeId = u32::MAX;

/// A znode.
#[derive(Debug)]
pub(super) struct Node {
    name: Box<str>,
    parent: NodeId,
    first_child: NodeId,
    last_child: NodeId,
    previous: NodeId,
    next: NodeId,
    pub(super) children: u32,
    /// Its part of the tree's digest; 0 where none is computed.
    pub(super) digest: u32,
    pub(super) acl: i64,
    pub(super) data: Option<Bytes>,
    pub(super) stat: StoredStat,
}

/// All nodes.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Slab<Node>,
    index: HashTable<NodeId>,
    /// Bytes of paths and data.
    pub(super) bytes: usize,
}

impl Tree {
    /// A tree that is a root without counters.
    pub(super) fn new() -> Tree {
        let mut nodes = Slab::new();
        nodes.insert(Node::new("", NONE, Some(Bytes::new()), -1, StoredStat::default()));
        Tree { nodes, index: HashTable::new(), bytes: 0 }
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
        let found = self.index.find(hash(parent, name), |id| {
            let node = &self.nodes[*id as usize];
            node.parent == parent && *node.name == *name
        });
        found.copied()
    }

    /// Adds a node that is not there yet.
    pub(super) fn insert(
        &mut self,
        parent: NodeId,
        name: &str,
        data: Option<Bytes>,
        acl: i64,
        stat: StoredStat,
    ) -> NodeId {
        self.bytes += name.len() + data.as_ref().map_or(0, Bytes::len);
        let id = self.nodes.insert(Node::new(name, parent, data, acl, stat)) as NodeId;
        let nodes = &self.nodes;
        self.index.insert_unique(hash(parent, name), id, |id| {
            let node = &nodes[*id as usize];
            hash(node.parent, &node.name)
        });
        let last = self.node(parent).last_child;
        self.node_mut(id).previous = last;
        if last == NONE {
            self.node_mut(parent).first_child = id;
        } else {
            self.node_mut(last).next = id;
        }
        let parent = self.node_mut(parent);
        parent.last_child = id;
        parent.children += 1;
        id
    }

    /// Removes a node without children.
    pub(super) fn remove(&mut self, id: NodeId) -> Node {
        let node = self.nodes.remove(id as usize);
        self.bytes -= node.name.len() + node.data.as_ref().map_or(0, Bytes::len);
        if let Ok(entry) = self.index.find_entry(hash(node.parent, &node.name), |i| *i == id) {
            entry.remove();
        }
        if node.previous == NONE {
            self.node_mut(node.parent).first_child = node.next;
        } else {
            self.node_mut(node.previous).next = node.next;
        }
        if node.next == NONE {
            self.node_mut(node.parent).last_child = node.previous;
        } else {
            self.node_mut(node.next).previous = node.previous;
        }
        self.node_mut(node.parent).children -= 1;
        node
    }

    /// Replaces a node's data; what it was.
    pub(super) fn set_data(&mut self, id: NodeId, data: Option<Bytes>) -> Option<Bytes> {
        let node = &mut self.nodes[id as usize];
        self.bytes += data.as_ref().map_or(0, Bytes::len);
        self.bytes -= node.data.as_ref().map_or(0, Bytes::len);
        core::mem::replace(&mut node.data, data)
    }

    /// A node's children, in order of creation.
    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &str)> {
        let mut at = self.get(id).map_or(NONE, |n| n.first_child);
        core::iter::from_fn(move || {
            let node = self.get(at)?;
            let child = (at, &*node.name);
            at = node.next;
            Some(child)
        })
    }

    /// A node's path; the root's is empty.
    pub(super) fn path(&self, id: NodeId) -> String {
        let mut names: Vec<&str> = Vec::new();
        let mut at = id;
        while at != ROOT {
            let node = self.node(at);
            names.push(&node.name);
            at = node.parent;
        }
        let mut path = String::with_capacity(names.iter().map(|n| n.len() + 1).sum());
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

impl Node {
    fn new(name: &str, parent: NodeId, data: Option<Bytes>, acl: i64, stat: StoredStat) -> Node {
        Node {
            name: Box::from(name),
            parent,
            first_child: NONE,
            last_child: NONE,
            previous: NONE,
            next: NONE,
            children: 0,
            digest: 0,
            acl,
            data,
            stat,
        }
    }
}

fn hash(parent: NodeId, name: &str) -> u64 {
    FxBuildHasher.hash_one((parent, name))
}

/// A path's parent and last name; `None` for the root and for what is no path.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/').filter(|(_, name)| !name.is_empty())
}
