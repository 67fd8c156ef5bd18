//! The body of a snapshot (`SerializeUtils`, `DataTree.serialize`): sessions, ACLs, nodes.
//!
//! The walk goes on while the store changes. A node that is newer than the walk is left out,
//! one that changed is written as it is when the walk comes by: the transactions that did it
//! are newer than the snapshot's name, so replay repairs both.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::packed_node::Contents;
use super::tree::{NodeId, ROOT, split};
use super::{Store, StoreOptions, StoredStat};
use crate::types::{SessionId, Zxid};
use crate::wire::client::{Acl, Id};
use crate::wire::jute::{Malformed, Reader, Record, Writer, text_of};

/// A walk over the store, a chunk at a time.
#[derive(Debug)]
pub struct SnapshotWalk {
    since: Zxid,
    head: Option<Bytes>,
    stack: Vec<NodeId>,
    /// ACLs from this index on are not in the map that was written.
    later_acls: i64,
    nodes: u64,
}

impl Store {
    /// Begins a walk of the store as it is now.
    pub fn snapshot_walk(&mut self) -> SnapshotWalk {
        let later_acls = self.acls.reserve();
        SnapshotWalk {
            since: self.last_zxid,
            head: Some(self.head(Some(later_acls))),
            stack: Vec::from([ROOT]),
            later_acls,
            nodes: 0,
        }
    }

    /// Sessions and ACLs, with a place for ACLs that are newer.
    fn head(&self, later_acls: Option<i64>) -> Bytes {
        let mut head = BytesMut::new();
        head.put_i32(self.sessions.len() as i32);
        for (session, timeout_ms) in &self.sessions {
            head.put_i64(session.0);
            head.put_i32(*timeout_ms);
        }
        head.put_i32((self.acls.iter().len() + usize::from(later_acls.is_some())) as i32);
        for (index, acl) in self.acls.iter() {
            head.put_i64(index);
            put_acl(&mut head, acl);
        }
        if let Some(index) = later_acls {
            // For nodes whose ACL is newer than this map: it permits nothing, until the replay
            // of the newer transaction sets the right one.
            let nobody = Acl { perms: 0, id: Id { scheme: "world".into(), id: "anyone".into() } };
            head.put_i64(index);
            put_acl(&mut head, &[nobody]);
        }
        head.freeze()
    }
}

impl Store {
    /// The whole body at once, as ZooKeeper writes it: for the first snapshot of an empty
    /// database.
    pub fn encode_snapshot(&self, out: &mut BytesMut) {
        let head = self.head(None);
        let later_acls = i64::MAX;
        let stack = Vec::from([ROOT]);
        let since = Zxid(i64::MAX);
        let mut walk = SnapshotWalk { since, head: Some(head), stack, later_acls, nodes: 0 };
        while !walk.next_chunk(self, out, 1 << 20) {}
    }
}

impl SnapshotWalk {
    /// The last zxid that the snapshot surely contains: the one in its name.
    pub fn zxid(&self) -> Zxid {
        self.since
    }

    /// Nodes written so far.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Appends about `soft_limit` bytes; true when the walk is complete.
    pub fn next_chunk(&mut self, store: &Store, out: &mut BytesMut, soft_limit: usize) -> bool {
        let until = out.len() + soft_limit;
        if let Some(head) = self.head.take() {
            out.put_slice(&head);
        }
        // Siblings mostly follow each other.
        let (mut parent, mut above) = (ROOT, Vec::new());
        while out.len() < until {
            let Some(id) = self.stack.pop() else {
                out.put_ustring("/");
                return true;
            };
            // A place that was freed and taken again holds a newer node.
            let Some(node) = store.tree.get(id) else { continue };
            let Contents { name, data, acl, stat } = store.tree.contents(node);
            if stat.czxid > self.since {
                continue;
            }
            if id == ROOT {
                out.put_count(0);
            } else {
                if node.parent() != parent {
                    parent = node.parent();
                    store.tree.path(parent, &mut above);
                }
                out.put_count(above.len() + 1 + name.len());
                out.put_slice(&above);
                out.put_u8(b'/');
                out.put_slice(name);
            }
            out.put_buffer(data);
            out.put_i64(acl.min(self.later_acls));
            put_stat(out, &stat);
            self.nodes += 1;
            self.stack.extend(store.tree.children(node));
        }
        false
    }
}

pub(super) fn put_acl(out: &mut BytesMut, acl: &[Acl]) {
    out.put_count(acl.len());
    for entry in acl {
        entry.write(out);
    }
}

pub(super) fn put_stat(out: &mut BytesMut, stat: &StoredStat) {
    for long in [stat.czxid.0, stat.mzxid.0, stat.ctime, stat.mtime] {
        out.put_i64(long);
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        out.put_i32(int);
    }
    out.put_i64(stat.ephemeral_owner);
    out.put_i64(stat.pzxid.0);
}

pub(super) fn read_stat(r: &mut Reader<'_>) -> Result<StoredStat, Malformed> {
    Ok(StoredStat {
        czxid: r.record()?,
        mzxid: r.record()?,
        ctime: r.long()?,
        mtime: r.long()?,
        version: r.int()?,
        cversion: r.int()?,
        aversion: r.int()?,
        ephemeral_owner: r.long()?,
        pzxid: r.record()?,
    })
}

/// The bytes are no snapshot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A field cannot be read.
    #[error("malformed snapshot: {0}")]
    Malformed(#[from] Malformed),
    /// A field is longer than what is taken.
    #[error("a field of {length} bytes, where at most {limit} are taken (jute.maxbuffer)")]
    TooLong {
        /// As it was read.
        length: i32,
        /// The longest that is accepted.
        limit: usize,
    },
    /// A node stands before its parent, or twice.
    #[error("the snapshot's node {0} has no parent before it, or is there twice")]
    Misplaced(String),
    /// A node refers to an ACL that is not in the map.
    #[error("the snapshot's node {0} refers to an ACL that is not there")]
    NoAcl(String),
}

#[derive(Clone, Copy, Debug)]
enum Section {
    SessionCount,
    Sessions(u32),
    AclCount,
    Acls(u32),
    Nodes,
    Done,
}

/// The items of a snapshot's body, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotItem<'a> {
    /// A session, with its time-out in ms.
    Session(SessionId, i32),
    /// An ACL that nodes refer to by this index; -1 is open to anyone, and not in the table.
    Acl(i64, Vec<Acl>),
    /// A node.
    Node(SnapshotNode<'a>),
}

/// A node of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotNode<'a> {
    /// Where; the root is the empty path.
    pub path: Cow<'a, str>,
    /// Its data.
    pub data: Option<&'a [u8]>,
    /// The ACL's index.
    pub acl: i64,
    /// Its counters.
    pub stat: StoredStat,
}

/// An item that was cut is first put together with this many bytes of what follows.
const JOINED: usize = 4096;

/// Reads a snapshot's body, which may arrive cut anywhere, item by item.
#[derive(Debug)]
pub struct SnapshotReader {
    max_field_bytes: usize,
    section: Section,
    rest: Bytes,
}

impl SnapshotReader {
    /// Expects the body from its first byte.
    pub fn new(max_field_bytes: usize) -> SnapshotReader {
        SnapshotReader { max_field_bytes, section: Section::SessionCount, rest: Bytes::new() }
    }

    /// Takes more bytes, and hands out what is complete. When the end mark is reached, gives what
    /// follows it.
    ///
    /// # Errors
    /// The bytes are no snapshot, or `each` refuses an item; the reader is of no further use.
    pub fn push(
        &mut self,
        mut bytes: Bytes,
        mut each: impl FnMut(SnapshotItem<'_>) -> Result<(), SnapshotError>,
    ) -> Result<Option<Bytes>, SnapshotError> {
        let mut most = JOINED;
        // The item that was cut is put together with as much as it needs, and not with all.
        while !self.rest.is_empty() {
            let cut = core::mem::take(&mut self.rest);
            let next = most.min(bytes.len());
            let joined = Bytes::from([&cut[..], &bytes[..next]].concat());
            let mut r = Reader::new(&joined);
            if self.next(&mut r, &mut each)? {
                bytes.advance(r.position().saturating_sub(cut.len()));
            } else if next == bytes.len() {
                self.rest = joined;
                return Ok(None);
            } else {
                (self.rest, most) = (cut, most * 2);
            }
        }
        let mut r = Reader::new(&bytes);
        while !matches!(self.section, Section::Done) {
            if !self.next(&mut r, &mut each)? {
                self.rest = r.rest();
                return Ok(None);
            }
        }
        Ok(Some(r.rest()))
    }

    /// Hands out what is next; false, and nothing is read, if that is not complete.
    fn next(
        &mut self,
        r: &mut Reader<'_>,
        each: &mut impl FnMut(SnapshotItem<'_>) -> Result<(), SnapshotError>,
    ) -> Result<bool, SnapshotError> {
        let before = r.clone();
        match self.item(r) {
            Ok(item) => item.map_or(Ok(()), each).map(|()| true),
            Err(what) if self.may_be_cut(what) => {
                *r = before;
                Ok(false)
            }
            Err(Malformed::Length(length)) if length > 0 => {
                Err(SnapshotError::TooLong { length, limit: self.max_field_bytes })
            }
            Err(what) => Err(what.into()),
        }
    }

    fn may_be_cut(&self, what: Malformed) -> bool {
        match what {
            Malformed::Truncated => true,
            Malformed::Length(n) => usize::try_from(n).is_ok_and(|n| n <= self.max_field_bytes),
            Malformed::TooLong { .. } | Malformed::Value(_) => false,
        }
    }

    /// The next item, or a step to the next section.
    fn item<'a>(&mut self, r: &mut Reader<'a>) -> Result<Option<SnapshotItem<'a>>, Malformed> {
        let (section, item) = match self.section {
            Section::SessionCount => (Section::Sessions(count(r)?), None),
            Section::Sessions(0) => (Section::AclCount, None),
            Section::Sessions(n) => {
                let item = SnapshotItem::Session(r.record()?, r.int()?);
                (Section::Sessions(n - 1), Some(item))
            }
            Section::AclCount => (Section::Acls(count(r)?), None),
            Section::Acls(0) => (Section::Nodes, None),
            Section::Acls(n) => {
                let item = SnapshotItem::Acl(r.long()?, r.record::<Vec<Acl>>()?);
                (Section::Acls(n - 1), Some(item))
            }
            Section::Nodes => {
                let path = text_of(r.slice()?.ok_or(Malformed::Value("a null string"))?);
                if path == "/" {
                    (Section::Done, None)
                } else {
                    let (data, acl, stat) = (r.slice()?, r.long()?, read_stat(r)?);
                    let node = SnapshotNode { path, data, acl, stat };
                    (Section::Nodes, Some(SnapshotItem::Node(node)))
                }
            }
            Section::Done => (Section::Done, None),
        };
        self.section = section;
        Ok(item)
    }
}

/// Builds a store from a snapshot's body, which may arrive cut anywhere.
#[derive(Debug)]
pub struct SnapshotDecoder {
    store: Store,
    reader: SnapshotReader,
    loader: Loader,
    nodes: u64,
}

impl SnapshotDecoder {
    /// Expects the body from its first byte.
    pub fn new(options: StoreOptions) -> SnapshotDecoder {
        let reader = SnapshotReader::new(options.max_field_bytes);
        SnapshotDecoder { store: Store::bare(options), reader, loader: Loader::default(), nodes: 0 }
    }

    /// Takes more bytes. When the end mark is reached, gives what follows it.
    ///
    /// # Errors
    /// The bytes are no snapshot; the decoder is of no further use.
    pub fn push(&mut self, bytes: Bytes) -> Result<Option<Bytes>, SnapshotError> {
        let (store, loader, nodes) = (&mut self.store, &mut self.loader, &mut self.nodes);
        self.reader.push(bytes, |item| {
            match item {
                SnapshotItem::Session(session, timeout_ms) => {
                    store.sessions.insert(session, timeout_ms);
                }
                SnapshotItem::Acl(index, acl) => store.acls.load(index, acl),
                SnapshotItem::Node(SnapshotNode { path, data, acl, stat }) => {
                    loader.load(store, &path, data, acl, &stat)?;
                    *nodes += 1;
                }
            }
            Ok(())
        })
    }

    /// Znodes so far.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// The store of a complete body, which contains everything up to `zxid`.
    pub fn finish(mut self, zxid: Zxid) -> Store {
        self.store.acls.loaded();
        self.store.last_zxid = zxid;
        self.store.add_config_node();
        self.store.count_all_anew();
        self.store
    }
}

fn count(r: &mut Reader<'_>) -> Result<u32, Malformed> {
    let n = r.int()?;
    u32::try_from(n).map_err(|_| Malformed::Length(n))
}

/// Puts nodes into a store, parents first.
#[derive(Debug, Default)]
pub(super) struct Loader {
    /// The parent of the last one: the next one has mostly the same.
    above: String,
    parent: NodeId,
}

impl Loader {
    pub(super) fn load(
        &mut self,
        store: &mut Store,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StoredStat,
    ) -> Result<(), SnapshotError> {
        if !store.acls.refer(acl) {
            return Err(SnapshotError::NoAcl(String::from(path)));
        }
        if path.is_empty() {
            store.tree.write(ROOT, data, stat);
            store.tree.set_acl(ROOT, acl, stat);
            store.redigest(ROOT, "", stat);
            return Ok(());
        }
        let misplaced = || SnapshotError::Misplaced(String::from(path));
        let (above, name) = split(path).ok_or_else(misplaced)?;
        // At first that is the root's.
        if above != self.above {
            self.parent = store.tree.lookup(above).ok_or_else(misplaced)?;
            self.above.clear();
            self.above.push_str(above);
        }
        if store.tree.child(self.parent, name).is_some() {
            return Err(misplaced());
        }
        let id = store.tree.insert(self.parent, name, data, acl, stat);
        store.index_owner(stat.ephemeral_owner, path);
        store.redigest(id, path, stat);
        Ok(())
    }
}
