//! The log and snapshot store as a pure machine.
//!
//! It takes the disk lane's [`DiskAction`]s, asks for one [`FileOp`] at a time, takes its
//! [`Completion`], and reports the results as [`DiskEvent`]s. Formats, names, rolling,
//! preallocation, group commit, recovery, truncation and purging are all here; an executor
//! knows nothing of file contents.
//!
//! Its runner (a file thread, a simulator) repeats: submit all actions that have arrived, then ask
//! for the next operation, execute it, complete it. All appends that arrive during one operation
//! become one write and one sync: that is the group commit.
//!
//! A recovery rebuilds a [`State`]. The machine is made on the thread that runs it.

mod compression;
mod config_files;
mod epochs;
mod files;
mod given_up;
mod io;
mod log;
mod machine;
mod memory;
mod options;
mod purge;
mod queue;
mod recovery;
mod snapshot;
mod state;
mod truncate;

#[cfg(test)]
mod tests;

pub use compression::Compression;
pub use files::{Completion, DirEntry, FailureKind, FileOp, FilePath, VERSION_DIR};
pub use memory::MemoryFiles;
pub use options::{DiskOptions, STORABLE_BYTES};
pub use snapshot::format::SnapshotDigest;
pub use snapshot::trigger::SnapshotTrigger;
pub use state::{SnapshotDecoder, State};

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::pin::Pin;
use core::task::{Poll, Waker};

use crate::action::DiskAction;
use crate::event::DiskEvent;
// For inspections: readers that change nothing.
pub(crate) use files::{DirLayout, Named, join};
pub(crate) use given_up::PREFIX as GIVEN_UP;
pub(crate) use io::{DiskError, Io};
pub(crate) use log::format::{Damage, HEADER_LEN as LOG_HEADER_LEN, MAGIC as IS_LOG};
pub(crate) use log::reader::{LogFile, LogReader, Next};
pub(crate) use log::tail::{Tail, examine};
use queue::Queue;
pub(crate) use recovery::{follows, log_files};
pub(crate) use snapshot::format::{DIGEST_VERSION, MAGIC as IS_SNAPSHOT, SnapshotTail};
pub(crate) use snapshot::reader::{SnapshotFile, looks_complete, read as read_snapshot, snapshots};

/// The log and snapshot store. It recovers what is on disk as soon as it is driven, and
/// emits `Recovered` before it touches any action.
pub struct Disk<S: State> {
    io: Io,
    queue: Rc<RefCell<Queue>>,
    events: Events<S>,
    work: Option<Pin<Box<dyn Future<Output = ()>>>>,
    is_waiting: bool,
}

type Events<S> = Rc<RefCell<Vec<DiskEvent<S>>>>;

impl<S: State> Disk<S> {
    /// A disk that has done nothing yet.
    pub fn new(options: DiskOptions, state_options: S::Options) -> Disk<S> {
        let (io, queue, events) = (Io::default(), Rc::default(), Events::<S>::default());
        let context = Context(Rc::new(Shared {
            io: io.clone(),
            layout: options.layout(),
            options,
            state_options,
            events: events.clone(),
        }));
        let work = machine::run(context, Rc::clone(&queue));
        Disk { io, queue, events, work: Some(Box::pin(work)), is_waiting: false }
    }

    /// One more action of the disk's lane. Nothing happens before the next
    /// [`next_op`](Disk::next_op).
    pub fn submit(&mut self, action: DiskAction) {
        if self.work.is_some() {
            self.queue.borrow_mut().submit(action);
        }
    }

    /// The time to purge has come (`autopurge.purgeInterval`).
    pub fn purge_due(&mut self) {
        self.queue.borrow_mut().purge = true;
    }

    /// The next operation to execute. `None`: nothing to do until something is submitted (or
    /// ever, after `DiskFailed`), or the last operation is not completed yet.
    pub fn next_op(&mut self, events: &mut Vec<DiskEvent<S>>) -> Option<FileOp> {
        if self.is_waiting {
            return None;
        }
        loop {
            self.poll(events);
            let op = self.io.take_op();
            self.is_waiting = op.is_some();
            // Without an operation it goes on as long as there is something to do.
            if self.is_waiting || !self.io.take_pause() {
                return op;
            }
        }
    }

    /// The last operation's outcome. What it leads to is said at once, but no new work is begun
    /// before `next_op`: submit what has come meanwhile first.
    pub fn complete(&mut self, completion: Completion, events: &mut Vec<DiskEvent<S>>) {
        debug_assert!(self.is_waiting, "a completion without an operation");
        self.is_waiting = false;
        self.io.complete(completion);
        self.poll(events);
    }

    fn poll(&mut self, events: &mut Vec<DiskEvent<S>>) {
        if let Some(work) = &mut self.work {
            // Nothing wakes it: it is polled when there is news.
            let mut context = core::task::Context::from_waker(Waker::noop());
            if let Poll::Ready(()) = work.as_mut().poll(&mut context) {
                self.work = None;
            }
        }
        events.append(&mut self.events.borrow_mut());
    }
}

/// Executes operations until there are none; for whoever has the files at hand.
pub fn drive<S: State>(
    disk: &mut Disk<S>,
    execute: &mut impl FnMut(&FileOp) -> Completion,
    events: &mut Vec<DiskEvent<S>>,
) {
    while let Some(op) = disk.next_op(events) {
        let completion = execute(&op);
        disk.complete(completion, events);
    }
}

/// The data that all procedures of one disk share.
struct Context<S: State>(Rc<Shared<S>>);

struct Shared<S: State> {
    io: Io,
    layout: DirLayout,
    options: DiskOptions,
    state_options: S::Options,
    events: Events<S>,
}

impl<S: State> Context<S> {
    fn emit(&self, event: DiskEvent<S>) {
        self.0.events.borrow_mut().push(event);
    }
}
impl<S: State> Clone for Context<S> {
    fn clone(&self) -> Self {
        Context(Rc::clone(&self.0))
    }
}
impl<S: State> core::ops::Deref for Context<S> {
    type Target = Shared<S>;
    fn deref(&self) -> &Shared<S> {
        &self.0
    }
}
