//! Files as they would be: what is changed is kept here, and what is below is only read.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::Serialize;

use super::Execute;
use crate::disk::{Completion, DirEntry, FailureKind, FileOp, FilePath};

/// Of a file that would be written, so much is kept; nobody reads back more.
const MOST_KEPT: u64 = 1 << 20;

/// Something that would be changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum WouldChange {
    /// A directory would be made.
    MakeDir { path: String },
    /// A file would be written.
    Write {
        path: String,
        /// How long it would be.
        bytes: u64,
    },
    /// A file would be cut.
    Cut {
        path: String,
        /// To this length.
        bytes: u64,
    },
    /// A file would be renamed.
    Rename {
        path: String,
        /// To what.
        to: String,
    },
    /// A file would be deleted.
    Delete { path: String },
}

/// A file that would be there.
#[derive(Default)]
struct Written {
    len: u64,
    kept: Vec<u8>,
}

/// Executes everything, over files that only read.
pub(super) struct Overlay<'a, E> {
    below: &'a mut E,
    written: BTreeMap<FilePath, Written>,
    /// New name → where the file below is.
    renamed: BTreeMap<FilePath, FilePath>,
    /// Names below that are gone.
    gone: BTreeSet<FilePath>,
    cut: BTreeMap<FilePath, u64>,
    dirs: BTreeSet<FilePath>,
    changes: Vec<WouldChange>,
    /// Every file that was read, once, in the order of the first read.
    read: Vec<FilePath>,
}

impl<'a, E: Execute> Overlay<'a, E> {
    pub(super) fn new(below: &'a mut E) -> Overlay<'a, E> {
        Overlay {
            below,
            written: BTreeMap::new(),
            renamed: BTreeMap::new(),
            gone: BTreeSet::new(),
            cut: BTreeMap::new(),
            dirs: BTreeSet::new(),
            changes: Vec::new(),
            read: Vec::new(),
        }
    }

    /// The changes since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<WouldChange> {
        core::mem::take(&mut self.changes)
    }

    /// Every file that was read, in the order of the first read.
    pub(super) fn read(&self) -> &[FilePath] {
        &self.read
    }

    pub(super) fn execute(&mut self, op: &FileOp) -> Completion {
        match op {
            FileOp::MakeDir { path } => {
                self.dirs.insert(path.clone());
                self.changes.push(WouldChange::MakeDir { path: text(path) });
            }
            FileOp::List { path } => return self.list(path),
            FileOp::Create { path } => {
                self.written.insert(path.clone(), Written::default());
                self.changes.push(WouldChange::Write { path: text(path), bytes: 0 });
            }
            FileOp::Write { path, offset, bytes } => {
                let Some(file) = self.written.get_mut(path) else { return refused(op) };
                file.write(*offset, bytes);
                let len = file.len;
                self.grown(path, len);
            }
            FileOp::SetLen { path, len } => {
                if let Some(file) = self.written.get_mut(path) {
                    file.set_len(*len);
                    self.grown(path, *len);
                } else {
                    self.cut.insert(path.clone(), *len);
                    self.changes.push(WouldChange::Cut { path: text(path), bytes: *len });
                }
            }
            FileOp::SyncData { .. } | FileOp::SyncDir { .. } => {}
            FileOp::Rename { from, to } => return self.rename(op, from, to),
            FileOp::Delete { path } => return self.delete(op, path),
            FileOp::Read { path, offset, len } => return self.read_at(path, *offset, *len),
            FileOp::Close { path } => {
                if let Some(path) = self.below_of(path) {
                    (self.below)(&FileOp::Close { path });
                }
            }
        }
        Completion::Done
    }

    fn grown(&mut self, grown: &FilePath, len: u64) {
        for change in self.changes.iter_mut().rev() {
            if let WouldChange::Write { path, bytes } = change
                && **path == **grown
            {
                *bytes = len;
                return;
            }
        }
    }

    /// The file below that has this name now.
    fn below_of(&self, path: &FilePath) -> Option<FilePath> {
        match self.renamed.get(path) {
            Some(below) => Some(below.clone()),
            None if self.gone.contains(path) => None,
            None => Some(path.clone()),
        }
    }

    fn rename(&mut self, op: &FileOp, from: &FilePath, to: &FilePath) -> Completion {
        if let Some(file) = self.written.remove(from) {
            // As far as anybody can tell afterwards it is written where it ends up.
            self.changes.retain(
                |change| !matches!(change, WouldChange::Write { path, .. } if **path == **from),
            );
            self.changes.push(WouldChange::Write { path: text(to), bytes: file.len });
            self.written.insert(to.clone(), file);
            return Completion::Done;
        }
        let Some(below) = self.below_of(from) else { return not_found(op) };
        self.renamed.remove(from);
        self.gone.insert(from.clone());
        self.written.remove(to);
        self.renamed.insert(to.clone(), below);
        self.changes.push(WouldChange::Rename { path: text(from), to: text(to) });
        Completion::Done
    }

    fn delete(&mut self, op: &FileOp, path: &FilePath) -> Completion {
        if self.written.remove(path).is_none() {
            // Whether it is there at all, only reading can tell.
            let Some(below) = self.below_of(path) else { return not_found(op) };
            let probe = (self.below)(&FileOp::Read { path: below, offset: 0, len: 1 });
            if let Completion::Failed { .. } = probe {
                return probe;
            }
        }
        self.renamed.remove(path);
        self.cut.remove(path);
        self.gone.insert(path.clone());
        self.changes.push(WouldChange::Delete { path: text(path) });
        Completion::Done
    }

    fn read_at(&mut self, path: &FilePath, offset: u64, len: usize) -> Completion {
        if let Some(file) = self.written.get(path) {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(file.kept.len());
            let to = from.saturating_add(len).min(file.kept.len());
            let bytes = file.kept.get(from..to).unwrap_or_default();
            return Completion::Data(Bytes::copy_from_slice(bytes));
        }
        let Some(below) = self.below_of(path) else {
            return not_found(&FileOp::Read { path: path.clone(), offset, len });
        };
        if !self.read.contains(path) {
            self.read.push(path.clone());
        }
        let left = self.cut.get(path).map_or(u64::MAX, |end| end.saturating_sub(offset));
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        (self.below)(&FileOp::Read { path: below, offset, len })
    }

    fn list(&mut self, dir: &FilePath) -> Completion {
        let mut entries = match (self.below)(&FileOp::List { path: dir.clone() }) {
            Completion::Listing(entries) => entries,
            Completion::Failed { kind: FailureKind::NotFound, .. } if self.dirs.contains(dir) => {
                Vec::new()
            }
            other => return other,
        };
        let at = |name: &str| FilePath::from(format!("{}/{name}", dir.trim_end_matches('/')));
        let mut lens: BTreeMap<FilePath, u64> = BTreeMap::new();
        for entry in &entries {
            lens.insert(at(&entry.name), entry.len);
        }
        entries.retain(|entry| {
            let path = at(&entry.name);
            !(self.gone.contains(&path)
                || self.written.contains_key(&path)
                || self.renamed.contains_key(&path))
        });
        for entry in &mut entries {
            if let Some(cut) = self.cut.get(&at(&entry.name)) {
                entry.len = *cut;
            }
        }
        let name = |path: &FilePath| {
            let (parent, name) = path.rsplit_once('/')?;
            (parent == dir.trim_end_matches('/')).then(|| String::from(name))
        };
        let written = self.written.iter().filter_map(|(path, file)| Some((name(path)?, file.len)));
        let renamed = self.renamed.iter().filter_map(|(path, below)| {
            Some((name(path)?, lens.get(below).copied().unwrap_or_default()))
        });
        entries.extend(written.chain(renamed).map(|(name, len)| DirEntry { name, len }));
        Completion::Listing(entries)
    }
}

impl Written {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len() as u64);
        self.len = self.len.max(end);
        if let (true, Ok(from), Ok(to)) =
            (end <= MOST_KEPT, usize::try_from(offset), usize::try_from(end))
        {
            self.kept.resize(self.kept.len().max(to), 0);
            if let Some(place) = self.kept.get_mut(from..to) {
                place.copy_from_slice(bytes);
            }
        }
    }
    fn set_len(&mut self, len: u64) {
        self.len = len;
        self.kept.resize(usize::try_from(len.min(MOST_KEPT)).unwrap_or_default(), 0);
    }
}

fn text(path: &FilePath) -> String {
    String::from(&**path)
}

fn refused(op: &FileOp) -> Completion {
    let text = format!("would {} {}, which it did not create", op.verb(), op.path());
    Completion::Failed { kind: FailureKind::Other, text }
}

fn not_found(op: &FileOp) -> Completion {
    let text = format!("no such file or directory: {}", op.path());
    Completion::Failed { kind: FailureKind::NotFound, text }
}

impl core::fmt::Display for WouldChange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use super::text::{Count, Plain};
        match self {
            WouldChange::MakeDir { path } => write!(f, "make directory {}", Plain(path)),
            WouldChange::Write { path, bytes } => {
                write!(f, "write {} ({})", Plain(path), Count(*bytes, "byte"))
            }
            WouldChange::Cut { path, bytes } => {
                write!(f, "cut {} to {}", Plain(path), Count(*bytes, "byte"))
            }
            WouldChange::Rename { path, to } => {
                write!(f, "rename {} to {}", Plain(path), Plain(to))
            }
            WouldChange::Delete { path } => write!(f, "delete {}", Plain(path)),
        }
    }
}
