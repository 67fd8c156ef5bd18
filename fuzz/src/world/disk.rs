//! One server's disk: files in memory beneath the real disk machine, with latency, faults and
//! decay.

use arbitrary::Arbitrary;
use fastrand::Rng;
use zabkeeper_core::disk::{Completion, FailureKind, FileOp, MemoryFiles};
use zabkeeper_core::types::Time;

/// How fast a disk is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DiskSpeed {
    /// A sync takes this long, µs.
    pub sync_us: u64,
    /// Every other operation, µs.
    pub other_us: u64,
}

/// What an operation that shall fail is.
#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailingOp {
    /// The next sync of a file or a directory.
    Sync,
    /// The next write, of which a part may reach the file.
    Write,
    /// The next read.
    Read,
    /// The next of any kind.
    Any,
}

/// A disk.
#[derive(Debug)]
pub(crate) struct SimDisk {
    pub(crate) files: MemoryFiles,
    speed: DiskSpeed,
    factor: u64,
    failing: Option<FailingOp>,
    is_full: bool,
    /// Nothing becomes durable: a sync is not over before it is let go.
    is_held: bool,
    /// A sync that waits for it.
    is_waiting: bool,
    /// A power failure leaves just so many bytes of what was written last.
    torn: Option<usize>,
    rng: Rng,
}

impl SimDisk {
    pub(crate) fn new(speed: DiskSpeed, rng: Rng) -> SimDisk {
        let files = MemoryFiles::new();
        SimDisk {
            files,
            speed,
            factor: 1,
            failing: None,
            is_full: false,
            is_held: false,
            is_waiting: false,
            torn: None,
            rng,
        }
    }

    /// From now on everything takes this many times as long.
    pub(crate) fn slow(&mut self, factor: u64) {
        self.factor = factor;
    }

    /// No more bytes fit than are there; false: room for everything again.
    pub(crate) fn fill(&mut self, is_full: bool) {
        let used = || {
            let sizes = self.files.paths().filter_map(|path| self.files.get(path));
            sizes.map(|content| content.len() as u64).sum::<u64>()
        };
        let capacity = is_full.then(used);
        self.files.set_capacity(capacity);
        self.is_full = is_full;
    }

    /// The next such operation fails.
    pub(crate) fn fail(&mut self, failing: Option<FailingOp>) {
        self.failing = failing;
    }

    /// Whether it may refuse a write or a read now.
    pub(crate) fn is_unreliable(&self) -> bool {
        self.failing.is_some() || self.is_full
    }

    /// When an operation that is begun now is done.
    pub(crate) fn done_at(&mut self, now: Time, op: &FileOp) -> Time {
        let us = match op {
            FileOp::SyncData { .. } | FileOp::SyncDir { .. } => self.speed.sync_us,
            FileOp::MakeDir { .. }
            | FileOp::List { .. }
            | FileOp::Create { .. }
            | FileOp::Write { .. }
            | FileOp::SetLen { .. }
            | FileOp::Rename { .. }
            | FileOp::Delete { .. }
            | FileOp::Read { .. }
            | FileOp::Close { .. } => self.speed.other_us,
        };
        let spread = self.rng.u64(0..=us);
        Time(now.0 + 1000 * self.factor * (us / 2 + spread))
    }

    /// What an operation that is done changes at once: everything but a sync, which takes
    /// effect only when it is over.
    pub(crate) fn begin(&mut self, op: &FileOp) -> Option<Completion> {
        if self.fails(op) {
            self.failing = None;
            if let FileOp::Write { path, offset, bytes } = op {
                let bytes = bytes.slice(..self.rng.usize(..=bytes.len()));
                self.files.execute(&FileOp::Write { path: path.clone(), offset: *offset, bytes });
            }
            let text = String::from("input/output error (injected)");
            return Some(Completion::Failed { kind: FailureKind::Other, text });
        }
        (!is_sync(op)).then(|| self.files.execute(op))
    }

    /// The power fails: what is not synced is lost in part.
    pub(crate) fn lose_power(&mut self) {
        let reorder = self.rng.bool();
        match self.torn.take() {
            Some(bytes) => self.files.tear(bytes),
            None => self.files.crash(&mut self.rng, reorder),
        }
    }

    /// The next power failure leaves of each file just so many bytes of the first write that is
    /// not synced, and nothing of what came after.
    pub(crate) fn will_tear(&mut self, bytes: usize) {
        self.torn = Some(bytes);
    }

    /// From now on no sync is over before it is let go.
    pub(crate) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Whether this operation, which could be done now, has to wait.
    pub(crate) fn holds(&mut self, op: &FileOp) -> bool {
        self.is_waiting = self.is_held && is_sync(op);
        self.is_waiting
    }

    /// Whether a sync waits to be let go.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// The sync that waits is over; false if there is none.
    pub(crate) fn lets_go(&mut self) -> bool {
        std::mem::take(&mut self.is_waiting)
    }

    /// Everything is lost but what is in this folder.
    pub(crate) fn wipe(&mut self, but: &str) {
        let old = std::mem::take(&mut self.files);
        for path in old.paths().filter(|path| path.starts_with(but)) {
            self.files.put(path, old.get(path).unwrap_or_default());
        }
    }

    /// Flips a bit of a snapshot, if there is an older one to fall back on. Says which.
    pub(crate) fn rot(&mut self) -> Option<String> {
        let is_snapshot = |path: &&str| {
            let name = path.rsplit('/').next().unwrap_or_default();
            let zxid = name.strip_prefix("snapshot.").map(|zxid| i64::from_str_radix(zxid, 16));
            matches!(zxid, Some(Ok(_)))
        };
        let snapshots: Vec<String> =
            self.files.paths().filter(is_snapshot).map(String::from).collect();
        if snapshots.len() < 2 {
            return None;
        }
        let path = snapshots.get(self.rng.usize(..snapshots.len()))?;
        let mut content = self.files.get(path)?.to_vec();
        let at = self.rng.usize(..content.len().max(1));
        *content.get_mut(at)? ^= 1 << self.rng.u32(..8);
        self.files.put(path, &content);
        Some(path.clone())
    }

    fn fails(&self, op: &FileOp) -> bool {
        match (self.failing, op) {
            (None, _) | (_, FileOp::Close { .. }) => false,
            (Some(FailingOp::Any), _) => true,
            (Some(FailingOp::Sync), op) => is_sync(op),
            (Some(FailingOp::Write), op) => matches!(op, FileOp::Write { .. }),
            (Some(FailingOp::Read), op) => matches!(op, FileOp::Read { .. }),
        }
    }
}

fn is_sync(op: &FileOp) -> bool {
    matches!(op, FileOp::SyncData { .. } | FileOp::SyncDir { .. })
}
