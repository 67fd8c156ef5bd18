//! The file thread: runs the disk machine over the file system.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use zabkeeper_core::action::DiskAction;
use zabkeeper_core::disk::{Completion, Disk, DiskOptions, FileOp, FilePath, State};
use zabkeeper_core::event::DiskEvent;

use crate::files::Files;

/// The handle of a file thread: the disk's lane of actions. Dropping it lets the thread finish all
/// submitted actions.
#[derive(Debug)]
pub(crate) struct DiskThread {
    actions: Sender<DiskAction>,
    thread: thread::JoinHandle<()>,
    current: CurrentOp,
}

/// The current operation, its path and its start.
type CurrentOp = Arc<Mutex<Option<(&'static str, FilePath, Instant)>>>;

impl DiskThread {
    /// Starts the thread, which begins with the recovery. It calls `deliver` with all events, in
    /// batches and in order. `purge_every` is `autopurge.purgeInterval`.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub(crate) fn start<S: State>(
        name: String,
        options: DiskOptions,
        state_options: S::Options,
        purge_every: Option<Duration>,
        deliver: impl Fn(Vec<DiskEvent<S>>) + Send + 'static,
    ) -> io::Result<DiskThread>
    where
        S::Options: Send,
    {
        let (sender, receiver) = channel();
        let current = CurrentOp::default();
        let shown = Arc::clone(&current);
        let thread = thread::Builder::new().name(name).spawn(move || {
            let slow_sync = Duration::from_millis(options.slow_sync_ms);
            let disk = Disk::<S>::new(options, state_options);
            let mut files = Executor { files: Files::new(), slow_sync, current: shown };
            run(disk, &receiver, purge_every, &mut files, deliver);
        })?;
        Ok(DiskThread { actions: sender, thread, current })
    }

    /// The current operation in words.
    pub(crate) fn status(&self) -> String {
        match &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((verb, path, since)) => {
                format!("{verb} {path} for {} ms", since.elapsed().as_millis())
            }
            None => String::from("idle"),
        }
    }

    /// Submits an action; never blocks.
    pub(crate) fn submit(&self, action: DiskAction) {
        // After a disk failure the thread has ended, and actions are dropped.
        let _ = self.actions.send(action);
    }

    /// Waits until all submitted actions are done, at most `limit`. Returns whether they are.
    pub(crate) fn finish(self, limit: Duration) -> bool {
        drop(self.actions);
        let end = Instant::now() + limit;
        while !self.thread.is_finished() {
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.thread.join().is_ok()
    }
}

fn run<S: State>(
    mut disk: Disk<S>,
    actions: &Receiver<DiskAction>,
    purge_every: Option<Duration>,
    files: &mut Executor,
    deliver: impl Fn(Vec<DiskEvent<S>>),
) {
    let mut events = Vec::new();
    // The first purge is at the start, as in `DatadirCleanupManager`.
    let mut purge_at = purge_every.map(|_| Instant::now());
    let mut ended = false;
    loop {
        // Actions that have arrived meanwhile form one group with one sync.
        loop {
            match actions.try_recv() {
                Ok(action) => disk.submit(action),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    ended = true;
                    break;
                }
            }
        }
        if let (Some(at), Some(every)) = (purge_at, purge_every)
            && at <= Instant::now()
        {
            disk.purge_due();
            purge_at = Instant::now().checked_add(every);
        }
        let op = disk.next_op(&mut events);
        deliver_events(&mut events, &deliver);
        if let Some(op) = op {
            let completion = files.execute(&op);
            disk.complete(completion, &mut events);
            deliver_events(&mut events, &deliver);
            continue;
        }
        if ended {
            return;
        }
        let received = match purge_at {
            None => actions.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => actions.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(action) => disk.submit(action),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => ended = true,
        }
    }
}

/// Executes operations, and keeps the current one for [`DiskThread::status`].
struct Executor {
    files: Files,
    slow_sync: Duration,
    current: CurrentOp,
}

impl Executor {
    /// Logs a sync that takes long: all writes wait for it.
    fn execute(&mut self, op: &FileOp) -> Completion {
        let begin = Instant::now();
        self.set_current(Some((op.verb(), op.path().clone(), begin)));
        let completion = self.files.execute(op);
        self.set_current(None);
        let took = begin.elapsed();
        if let FileOp::SyncData { path } = op
            && took > self.slow_sync
        {
            tracing::warn!(
                "slow sync of {path}: {} ms; all writes were delayed by it; is the disk shared or \
                 failing?",
                took.as_millis()
            );
        }
        completion
    }

    fn set_current(&self, op: Option<(&'static str, FilePath, Instant)>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = op;
    }
}

fn deliver_events<S>(events: &mut Vec<DiskEvent<S>>, deliver: &impl Fn(Vec<DiskEvent<S>>)) {
    if !events.is_empty() {
        deliver(std::mem::take(events));
    }
}
