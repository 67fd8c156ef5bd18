//! The file thread: runs the disk machine over real files.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use zabkeeper_core::action::DiskAction;
use zabkeeper_core::disk::{Completion, Disk, DiskOptions, FileOp, FilePath, State};
use zabkeeper_core::event::DiskEvent;

use crate::files::Files;

/// The disk's lane, as its node's thread holds it. Dropping it lets the thread finish all
/// that was submitted.
#[derive(Debug)]
pub struct DiskThread {
    actions: Sender<DiskAction>,
    thread: thread::JoinHandle<()>,
    doing: Doing,
}

/// The operation that is under way, and since when.
type Doing = Arc<Mutex<Option<(&'static str, FilePath, Instant)>>>;

impl DiskThread {
    /// Starts the thread, which recovers what is on disk at once. `deliver` gets all events,
    /// in batches and in order, on that thread. `purge_every` is `autopurge.purgeInterval`.
    pub fn start<S: State>(
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
        let doing = Doing::default();
        let told = Arc::clone(&doing);
        let thread = thread::Builder::new().name(name).spawn(move || {
            let slow_sync = Duration::from_millis(options.slow_sync_ms);
            let disk = Disk::<S>::new(options, state_options);
            let mut files = Executor { files: Files::new(), slow_sync, doing: told };
            run(disk, &receiver, purge_every, &mut files, deliver);
        })?;
        Ok(DiskThread { actions: sender, thread, doing })
    }

    /// What it does now, in words.
    pub fn doing(&self) -> String {
        match &*self.doing.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((verb, path, since)) => {
                format!("{verb} {path} for {} ms", since.elapsed().as_millis())
            }
            None => String::from("has nothing to do"),
        }
    }

    /// Adds to the lane; never blocks.
    pub fn submit(&self, action: DiskAction) {
        // After the thread's end (a disk failure) nothing is written any more.
        let _ = self.actions.send(action);
    }

    /// Waits until everything submitted is done, at most `limit`. Says whether it is.
    pub fn finish(self, limit: Duration) -> bool {
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
    // The first purge is at start, as in `DatadirCleanupManager`.
    let mut purge_at = purge_every.map(|_| Instant::now());
    let mut ended = false;
    loop {
        // What has come meanwhile is one group with one sync.
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
        hand_over(&mut events, &deliver);
        if let Some(op) = op {
            let completion = files.execute(&op);
            disk.complete(completion, &mut events);
            hand_over(&mut events, &deliver);
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

/// Executes operations, and tells what it does.
struct Executor {
    files: Files,
    slow_sync: Duration,
    doing: Doing,
}

impl Executor {
    /// Tells of a sync that takes long: everybody waits for it.
    fn execute(&mut self, op: &FileOp) -> Completion {
        let begin = Instant::now();
        self.emit(Some((op.verb(), op.path().clone(), begin)));
        let completion = self.files.execute(op);
        self.emit(None);
        let took = begin.elapsed();
        if let FileOp::SyncData { path } = op
            && took > self.slow_sync
        {
            tracing::warn!(
                "the sync of {path} took {} ms: writes are answered that late; is the disk shared \
                 or failing?",
                took.as_millis()
            );
        }
        completion
    }

    fn emit(&self, doing: Option<(&'static str, FilePath, Instant)>) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }
}

fn hand_over<S>(events: &mut Vec<DiskEvent<S>>, deliver: &impl Fn(Vec<DiskEvent<S>>)) {
    if !events.is_empty() {
        deliver(std::mem::take(events));
    }
}
