//! The file thread: runs the disk machine over real files.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use zabkeeper_core::action::DiskAction;
use zabkeeper_core::disk::{Completion, Disk, DiskOptions, FileOp, State};
use zabkeeper_core::event::Event;

use crate::files::Files;

/// The disk's lane, as its node's thread holds it. Dropping it lets the thread finish all
/// that was submitted.
#[derive(Debug)]
pub struct DiskThread {
    actions: Sender<DiskAction>,
    thread: thread::JoinHandle<()>,
}

impl DiskThread {
    /// Starts the thread, which recovers what is on disk at once. `deliver` gets all events,
    /// in batches and in order, on that thread. `purge_every` is `autopurge.purgeInterval`.
    pub fn start<S: State>(
        name: String,
        options: DiskOptions,
        state_options: S::Options,
        purge_every: Option<Duration>,
        deliver: impl Fn(Vec<Event<S>>) + Send + 'static,
    ) -> io::Result<DiskThread>
    where
        S::Options: Send,
    {
        let (sender, receiver) = channel();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let slow_sync = Duration::from_millis(options.slow_sync_ms);
            let disk = Disk::<S>::new(options, state_options);
            run(disk, &receiver, purge_every, slow_sync, deliver);
        })?;
        Ok(DiskThread { actions: sender, thread })
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
    slow_sync: Duration,
    deliver: impl Fn(Vec<Event<S>>),
) {
    let (mut files, mut events) = (Files::new(), Vec::new());
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
            let completion = execute(&mut files, &op, slow_sync);
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

/// Tells of a sync that takes long: everybody waits for it.
fn execute(files: &mut Files, op: &FileOp, slow_sync: Duration) -> Completion {
    let FileOp::SyncData { path } = op else { return files.execute(op) };
    let begin = Instant::now();
    let completion = files.execute(op);
    let took = begin.elapsed();
    if took > slow_sync {
        tracing::warn!(
            "the sync of {path} took {} ms: writes are answered that late; is the disk shared or \
             failing?",
            took.as_millis()
        );
    }
    completion
}

fn hand_over<S>(events: &mut Vec<Event<S>>, deliver: &impl Fn(Vec<Event<S>>)) {
    if !events.is_empty() {
        deliver(std::mem::take(events));
    }
}
