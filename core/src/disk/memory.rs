//! Files in memory that can crash: an executor for tests and simulations.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use fastrand::Rng;

use super::files::{Completion, DirEntry, FailureKind, FileOp, FilePath};

const SECTOR: u64 = 512;

/// A file system that keeps what is synced apart from what is not, and can lose the latter
/// as a power failure does: content up to any byte, single directory entries.
#[derive(Clone, Default, Debug)]
pub struct MemoryFiles {
    nodes: Vec<Node>,
    names: BTreeMap<FilePath, usize>,
    durable_names: BTreeMap<FilePath, usize>,
    unsynced_names: Vec<NameChange>,
    dirs: Vec<FilePath>,
    capacity: Option<u64>,
    syncs: u64,
}

#[derive(Clone, Default, Debug)]
struct Node {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Bytes),
    SetLen(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(FilePath, usize),
    Unlink(FilePath),
    Rename(FilePath, FilePath),
}

impl MemoryFiles {
    /// No file, no directory.
    pub fn new() -> MemoryFiles {
        MemoryFiles::default()
    }
    /// From now on the files together may have this many bytes (`None`: any number).
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }
    /// How many `SyncData` were executed.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }
    /// The content of a file.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.names.get(path).and_then(|node| self.nodes.get(*node)).map(|node| &*node.content)
    }
    /// Puts a durable file there.
    pub fn put(&mut self, path: &str, content: &[u8]) {
        let path = FilePath::from(path);
        let node =
            Node { content: content.to_vec(), durable: content.to_vec(), unsynced: Vec::new() };
        self.dirs.extend(path.rsplit_once('/').map(|(dir, _)| FilePath::from(dir)));
        self.names.insert(path.clone(), self.nodes.len());
        self.durable_names.insert(path, self.nodes.len());
        self.nodes.push(node);
    }
    /// Removes a file, durably.
    pub fn remove(&mut self, path: &str) {
        self.names.remove(path);
        self.durable_names.remove(path);
    }
    /// All files, by path.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|path| &**path)
    }

    /// Executes one operation.
    pub fn execute(&mut self, op: &FileOp) -> Completion {
        match self.try_execute(op) {
            Ok(completion) => completion,
            Err(kind) => {
                let text = match kind {
                    FailureKind::NotFound => "no such file or directory",
                    FailureKind::NoSpace => "no space left on device",
                    FailureKind::NoDescriptors => "too many open files",
                    FailureKind::Other => "input/output error",
                };
                Completion::Failed { kind, text: String::from(text) }
            }
        }
    }

    /// Loses a random part of everything that is not synced. `reorder`: of the content that
    /// is lost, single sectors may be lost that precede others that made it.
    pub fn crash(&mut self, rng: &mut Rng, reorder: bool) {
        for node in &mut self.nodes {
            let kept = rng.usize(..=node.unsynced.len());
            for (i, change) in node.unsynced.drain(..).enumerate() {
                match change {
                    Change::SetLen(len) if i <= kept => set_len(&mut node.durable, len),
                    Change::Write(at, bytes) if i < kept => write(&mut node.durable, at, &bytes),
                    Change::Write(at, bytes) if i == kept && !reorder => {
                        let torn = bytes.get(..rng.usize(..=bytes.len())).unwrap_or_default();
                        write(&mut node.durable, at, torn);
                    }
                    Change::Write(at, bytes) if i == kept => {
                        write_some_sectors(&mut node.durable, at, &bytes, rng);
                    }
                    Change::SetLen(_) | Change::Write(..) => {}
                }
            }
            node.content = node.durable.clone();
        }
        for change in self.unsynced_names.drain(..) {
            if rng.bool() {
                apply(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
    }

    /// Loses what is not synced: of each file all but its new length and the first `bytes` bytes
    /// of the first write, of the directories every name.
    pub fn tear(&mut self, bytes: usize) {
        for node in &mut self.nodes {
            for change in node.unsynced.drain(..) {
                match change {
                    Change::SetLen(len) => set_len(&mut node.durable, len),
                    Change::Write(at, written) => {
                        let torn = written.get(..bytes.min(written.len())).unwrap_or_default();
                        write(&mut node.durable, at, torn);
                        break;
                    }
                }
            }
            node.content = node.durable.clone();
        }
        self.unsynced_names.clear();
        self.names = self.durable_names.clone();
    }

    fn try_execute(&mut self, op: &FileOp) -> Result<Completion, FailureKind> {
        match op {
            FileOp::MakeDir { path } => self.dirs.push(path.clone()),
            FileOp::List { path } => return self.list(path),
            FileOp::Create { path } => self.create(path),
            FileOp::Write { path, offset, bytes } => {
                let end = offset.saturating_add(bytes.len() as u64);
                self.reserve(path, end)?;
                let node = self.node(path)?;
                write(&mut node.content, *offset, bytes);
                node.unsynced.push(Change::Write(*offset, bytes.clone()));
            }
            FileOp::SetLen { path, len } => {
                self.reserve(path, *len)?;
                let node = self.node(path)?;
                set_len(&mut node.content, *len);
                node.unsynced.push(Change::SetLen(*len));
            }
            FileOp::SyncData { path } => {
                self.syncs += 1;
                let node = self.node(path)?;
                for change in node.unsynced.drain(..) {
                    match change {
                        Change::Write(at, bytes) => write(&mut node.durable, at, &bytes),
                        Change::SetLen(len) => set_len(&mut node.durable, len),
                    }
                }
            }
            FileOp::SyncDir { path } => self.sync_dir(path),
            FileOp::Rename { from, to } => {
                let node = self.names.remove(from).ok_or(FailureKind::NotFound)?;
                self.names.insert(to.clone(), node);
                self.unsynced_names.push(NameChange::Rename(from.clone(), to.clone()));
            }
            FileOp::Delete { path } => {
                self.names.remove(path).ok_or(FailureKind::NotFound)?;
                self.unsynced_names.push(NameChange::Unlink(path.clone()));
            }
            FileOp::Read { path, offset, len } => {
                let content = &self.node(path)?.content;
                let from = content.len().min(*offset as usize);
                let to = content.len().min(from.saturating_add(*len));
                let bytes = content.get(from..to).unwrap_or_default();
                return Ok(Completion::Data(Bytes::copy_from_slice(bytes)));
            }
            FileOp::Close { .. } => {}
        }
        Ok(Completion::Done)
    }

    fn node(&mut self, path: &str) -> Result<&mut Node, FailureKind> {
        let node = *self.names.get(path).ok_or(FailureKind::NotFound)?;
        self.nodes.get_mut(node).ok_or(FailureKind::NotFound)
    }

    fn create(&mut self, path: &FilePath) {
        if let Ok(node) = self.node(path) {
            node.content.clear();
            node.unsynced.push(Change::SetLen(0));
            return;
        }
        self.names.insert(path.clone(), self.nodes.len());
        self.unsynced_names.push(NameChange::Link(path.clone(), self.nodes.len()));
        self.nodes.push(Node::default());
    }

    fn list(&self, dir: &FilePath) -> Result<Completion, FailureKind> {
        let here = |path: &FilePath| {
            let (parent, name) = path.rsplit_once('/')?;
            (parent == &**dir).then(|| String::from(name))
        };
        let is_there = self.dirs.iter().any(|known| {
            known.strip_prefix(&**dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if !is_there {
            return Err(FailureKind::NotFound);
        }
        let entries = self.names.iter().filter_map(|(path, node)| {
            let len = self.nodes.get(*node).map_or(0, |node| node.content.len() as u64);
            here(path).map(|name| DirEntry { name, len })
        });
        Ok(Completion::Listing(entries.collect()))
    }

    fn sync_dir(&mut self, dir: &FilePath) {
        let is_here = |path: &FilePath| path.rsplit_once('/').is_some_and(|(d, _)| d == &**dir);
        let (here, elsewhere) = core::mem::take(&mut self.unsynced_names).into_iter().partition(
            |change| match change {
                NameChange::Link(path, _)
                | NameChange::Unlink(path)
                | NameChange::Rename(path, _) => is_here(path),
            },
        );
        self.unsynced_names = elsewhere;
        let here: Vec<NameChange> = here;
        let is_smaller = here.iter().any(|change| !matches!(change, NameChange::Link(..)));
        for change in here {
            apply(&mut self.durable_names, change);
        }
        if is_smaller && self.unsynced_names.is_empty() {
            self.forget_deleted();
        }
    }

    /// Frees what no name leads to any more, now or after a crash.
    fn forget_deleted(&mut self) {
        let mut is_named = alloc::vec![false; self.nodes.len()];
        for node in self.names.values().chain(self.durable_names.values()) {
            if let Some(named) = is_named.get_mut(*node) {
                *named = true;
            }
        }
        for (node, _) in self.nodes.iter_mut().zip(is_named).filter(|(_, is_named)| !is_named) {
            *node = Node::default();
        }
    }

    /// Whether the file may grow to this length.
    fn reserve(&mut self, path: &str, len: u64) -> Result<(), FailureKind> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let used: u64 = self
            .names
            .iter()
            .filter(|(known, _)| &***known != path)
            .filter_map(|(_, node)| self.nodes.get(*node))
            .map(|node| node.content.len() as u64)
            .sum();
        let now = self.node(path)?.content.len() as u64;
        if len <= now || used.saturating_add(len) <= capacity {
            Ok(())
        } else {
            Err(FailureKind::NoSpace)
        }
    }
}

fn apply(names: &mut BTreeMap<FilePath, usize>, change: NameChange) {
    match change {
        NameChange::Link(path, node) => {
            names.insert(path, node);
        }
        NameChange::Unlink(path) => {
            names.remove(&path);
        }
        NameChange::Rename(from, to) => {
            if let Some(node) = names.remove(&from) {
                names.insert(to, node);
            }
        }
    }
}

fn set_len(content: &mut Vec<u8>, len: u64) {
    content.resize(len as usize, 0);
}

fn write(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let (at, end) = (at as usize, at as usize + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(range) = content.get_mut(at..end) {
        range.copy_from_slice(bytes);
    }
}

fn write_some_sectors(content: &mut Vec<u8>, at: u64, bytes: &[u8], rng: &mut Rng) {
    let mut from = 0;
    while from < bytes.len() {
        let place = at + from as u64;
        let len = ((SECTOR - place % SECTOR) as usize).min(bytes.len() - from);
        if rng.bool() {
            write(content, place, bytes.get(from..from + len).unwrap_or_default());
        }
        from += len;
    }
}
