//! File operations as awaits: how a procedure of many steps is written in one piece.
//!
//! The machine is one future whose only awaits are a file operation's completion and the
//! next submitted action. Nothing here runs by itself: `Disk` polls the future when it is
//! asked for an operation or handed a completion, so it stays a pure machine.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::files::{Completion, DirEntry, FailureKind, FileOp, FilePath};
use crate::event::DiskFault;
use crate::mutant::mutant;

/// Why a procedure of the disk ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// A file operation failed.
    #[error("cannot {verb} {path}: {text}; {}", advice(*kind))]
    Io {
        /// The operation.
        verb: &'static str,
        /// On what.
        path: FilePath,
        /// Distinguished.
        kind: FailureKind,
        /// The system's words.
        text: String,
    },
    /// The data on disk cannot be trusted, or a request cannot be carried out.
    #[error("{what}")]
    Refused {
        /// Which file, where, and what to do.
        what: String,
        /// The process exit code.
        exit_code: i32,
    },
}

impl DiskError {
    /// A refusal to load what is on disk.
    pub(crate) fn refused(what: String) -> DiskError {
        DiskError::Refused { what, exit_code: EXIT_UNEXPECTED }
    }
    /// Whether there is no room, in the file system or for one more open file.
    pub(crate) fn is_no_space(&self) -> bool {
        let none = [FailureKind::NoSpace, FailureKind::NoDescriptors];
        matches!(self, DiskError::Io { kind, .. } if none.contains(kind))
    }
    /// Whether a file is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, DiskError::Io { kind: FailureKind::NotFound, .. })
    }
    /// The report to the node.
    pub(crate) fn into_fault(self) -> DiskFault {
        let exit_code = match &self {
            DiskError::Io { .. } => EXIT_UNEXPECTED,
            DiskError::Refused { exit_code, .. } => *exit_code,
        };
        DiskFault { what: format!("{self}"), exit_code }
    }
}

/// The other remedy of a member with unusable files. On all members it would lose all data.
pub(crate) const COPY: &str = "if a quorum of the others has the data, empty the data directory and \
                               let the server copy its state from the leader";

/// ZooKeeper's `ExitCode.UNEXPECTED_ERROR`.
pub(crate) const EXIT_UNEXPECTED: i32 = 1;
/// ZooKeeper's `ExitCode.UNABLE_TO_ACCESS_DATADIR`.
pub(crate) const EXIT_DATA_DIR: i32 = 3;

fn advice(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::NotFound => {
            "restore the file from a backup, or, if a quorum of the others has the data, start with an \
             empty data directory"
        }
        FailureKind::NoSpace => "free space in the file system, then start the server again",
        FailureKind::NoDescriptors => {
            "allow more open files, or let others have fewer, then start the server again"
        }
        FailureKind::Other => "check the disk and the permissions, then start the server again",
    }
}

#[derive(Default)]
struct Slot {
    op: Option<FileOp>,
    completion: Option<Completion>,
    is_paused: bool,
}

/// The machine's side of the file executor.
#[derive(Clone, Default)]
pub(crate) struct Io {
    slot: Rc<RefCell<Slot>>,
}

impl Io {
    /// The operation that waits to be executed.
    pub(super) fn take_op(&self) -> Option<FileOp> {
        self.slot.borrow_mut().op.take()
    }
    /// Hands in the answer to the last operation.
    pub(super) fn complete(&self, completion: Completion) {
        self.slot.borrow_mut().completion = Some(completion);
    }

    /// Whether the work stopped only to let the caller submit what has come meanwhile.
    pub(super) fn take_pause(&self) -> bool {
        core::mem::take(&mut self.slot.borrow_mut().is_paused)
    }

    /// Stops until `Disk::next_op`: whatever was submitted before that is in the next batch.
    pub(super) async fn pause(&self) {
        let mut is_over = false;
        poll_fn(|_| {
            if core::mem::replace(&mut is_over, true) {
                return Poll::Ready(());
            }
            self.slot.borrow_mut().is_paused = true;
            Poll::Pending
        })
        .await;
    }

    /// Runs a procedure to its end, for whoever has the files at hand.
    pub(crate) fn run<T>(
        &self,
        procedure: impl Future<Output = T>,
        execute: &mut impl FnMut(&FileOp) -> Completion,
    ) -> T {
        let mut procedure = pin!(procedure);
        // Nothing wakes it: it is polled when there is news.
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(result) = procedure.as_mut().poll(&mut context) {
                return result;
            }
            if let Some(op) = self.take_op() {
                self.complete(execute(&op));
            }
        }
    }

    async fn perform(&self, op: FileOp) -> Result<Completion, DiskError> {
        let (verb, path) = (op.verb(), op.path().clone());
        self.slot.borrow_mut().op = Some(op);
        let completion = poll_fn(|_| match self.slot.borrow_mut().completion.take() {
            Some(completion) => Poll::Ready(completion),
            None => Poll::Pending,
        })
        .await;
        match completion {
            Completion::Failed { kind, text } => {
                let is_ignored = matches!(kind, FailureKind::Other | FailureKind::NoSpace)
                    && matches!(verb, "write" | "sync");
                mutant!(DiskErrorIgnored => if is_ignored { return Ok(Completion::Done) });
                Err(DiskError::Io { verb, path, kind, text })
            }
            Completion::Done | Completion::Data(_) | Completion::Listing(_) => Ok(completion),
        }
    }

    pub(crate) async fn make_dir(&self, path: &FilePath) -> Result<(), DiskError> {
        self.perform(FileOp::MakeDir { path: path.clone() }).await.map(drop)
    }
    pub(crate) async fn create(&self, path: &FilePath) -> Result<(), DiskError> {
        self.perform(FileOp::Create { path: path.clone() }).await.map(drop)
    }
    pub(crate) async fn write(
        &self,
        path: &FilePath,
        offset: u64,
        bytes: Bytes,
    ) -> Result<(), DiskError> {
        self.perform(FileOp::Write { path: path.clone(), offset, bytes }).await.map(drop)
    }
    pub(crate) async fn set_len(&self, path: &FilePath, len: u64) -> Result<(), DiskError> {
        self.perform(FileOp::SetLen { path: path.clone(), len }).await.map(drop)
    }
    pub(crate) async fn sync_data(&self, path: &FilePath) -> Result<(), DiskError> {
        self.perform(FileOp::SyncData { path: path.clone() }).await.map(drop)
    }
    pub(crate) async fn sync_dir(&self, path: &FilePath) -> Result<(), DiskError> {
        self.perform(FileOp::SyncDir { path: path.clone() }).await.map(drop)
    }
    pub(crate) async fn rename(&self, from: &FilePath, to: &FilePath) -> Result<(), DiskError> {
        self.perform(FileOp::Rename { from: from.clone(), to: to.clone() }).await.map(drop)
    }
    pub(crate) async fn delete(&self, path: &FilePath) -> Result<(), DiskError> {
        self.perform(FileOp::Delete { path: path.clone() }).await.map(drop)
    }
    /// Deletes; fine if it is not there.
    pub(crate) async fn delete_if_there(&self, path: &FilePath) -> Result<(), DiskError> {
        match self.delete(path).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
    pub(crate) async fn close(&self, path: &FilePath) -> Result<(), DiskError> {
        self.perform(FileOp::Close { path: path.clone() }).await.map(drop)
    }
    pub(crate) async fn read(
        &self,
        path: &FilePath,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, DiskError> {
        match self.perform(FileOp::Read { path: path.clone(), offset, len }).await? {
            Completion::Data(bytes) => Ok(bytes),
            Completion::Done | Completion::Listing(_) | Completion::Failed { .. } => {
                Err(wrong_answer("read", path))
            }
        }
    }
    /// The files of a directory, by name.
    pub(crate) async fn list(&self, path: &FilePath) -> Result<Vec<DirEntry>, DiskError> {
        match self.perform(FileOp::List { path: path.clone() }).await? {
            Completion::Listing(mut entries) => {
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(entries)
            }
            Completion::Done | Completion::Data(_) | Completion::Failed { .. } => {
                Err(wrong_answer("list", path))
            }
        }
    }
}

fn wrong_answer(verb: &'static str, path: &FilePath) -> DiskError {
    DiskError::Io {
        verb,
        path: path.clone(),
        kind: FailureKind::Other,
        text: String::from("the executor answered another operation"),
    }
}
