//! The writer of a journal: a buffer that the node's thread fills, and a thread that empties it.

use std::panic;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use zabkeeper_core::action::Actions;
use zabkeeper_core::config::Config;
use zabkeeper_core::event::{DiskEvent, Event};
use zabkeeper_core::journal::{ActionsDigest, Encoder, Start};
use zabkeeper_core::node::Node;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::Now;

use super::JournalOptions;
use super::segments::Segments;
use crate::exit::{self, Failure};

/// The recording ends when more bytes than this wait for the disk.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// How long events gather before they are written.
pub(super) const GATHER: Duration = Duration::from_millis(2);
/// A buffer up to this size is used again.
const MAX_SPARE_BYTES: usize = 4 << 20;
/// How long the end of a journal may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// The largest state that is recorded: the length of a batch has 32 bits.
const MAX_STATE_BYTES: u64 = 2 << 30;
/// About what a znode takes in the journal beside its name and data.
const NODE_BYTES: u64 = 128;

/// Steps a node and records its events and answers. Dropping it ends the journal.
#[derive(Debug)]
pub struct JournalWriter {
    pub(super) shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    limit_bytes: u64,
    pub(super) max_waiting: usize,
    scratch: BytesMut,
    /// False once the recording has ended.
    pub(super) is_on: bool,
}

/// The part of a writer that both threads use.
#[derive(Debug)]
pub(super) struct Shared {
    buffer: Mutex<Buffer>,
    changed: Condvar,
}

#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) encoder: Encoder,
    /// Whether events are still recorded.
    recording: bool,
    /// Whether the thread ends once the buffer is empty.
    closing: bool,
    /// Whether the thread has ended.
    done: bool,
}

impl JournalWriter {
    /// Begins the journal of a run, after the segments of earlier runs. `config` is the parsed
    /// configuration of `start`.
    ///
    /// # Errors
    /// The first segment cannot be written.
    pub fn begin(
        options: &JournalOptions,
        start: Start,
        config: &Config,
    ) -> Result<JournalWriter, Failure> {
        let encoder = Encoder::new(start.now);
        let mut segments = Segments::open(options, start, config.clone())
            .and_then(|mut segments| segments.roll(0).map(|()| segments))
            .map_err(|e| {
                let what = format!("--record {}: {e}", options.journal.display());
                Failure::new(exit::INVALID_INVOCATION, what)
            })?;
        let buffer = Buffer { encoder, recording: true, closing: false, done: false };
        let shared = Arc::new(Shared { buffer: Mutex::new(buffer), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        let writer = thread::Builder::new()
            .name(format!("record-{}", config.my_id))
            .spawn(move || own.write_batches(&mut segments))
            .map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("journal thread: {e}")))?;
        end_at_panic(&shared);
        Ok(JournalWriter {
            shared,
            writer: Some(writer),
            limit_bytes: options.limit_bytes,
            max_waiting: MAX_WAITING_BYTES,
            scratch: BytesMut::new(),
            is_on: true,
        })
    }

    /// Calls [`Node::step`]. The event is in the journal's buffer before the node receives it.
    pub fn step(&mut self, node: &mut Node, now: Now, event: Event<Store>, out: &mut Actions) {
        if !self.is_on {
            return node.step(now, event, out);
        }
        self.record(|encoder| encoder.event(now, &event), state_bytes(&event));
        let before = out.len();
        node.step(now, event, out);
        let new = out.get(before..).unwrap_or_default();
        let digest = ActionsDigest::of(new, &mut self.scratch);
        self.record(|encoder| encoder.actions(digest), 0);
    }

    /// Ends the journal with the reason `why`. Waits for the disk, at most 2 s.
    pub fn finish(mut self, why: &str) {
        self.close(why);
    }

    fn close(&mut self, why: &str) {
        self.shared.close(why);
        // A thread that hangs in a write is left behind.
        if let Some(writer) = self.writer.take()
            && writer.is_finished()
        {
            let _ = writer.join();
        }
    }

    fn record(&mut self, put: impl FnOnce(&mut Encoder), state_bytes: u64) {
        let mut buffer = self.shared.lock();
        if !buffer.recording {
            self.is_on = false;
            return;
        }
        let waiting = buffer.encoder.waiting();
        let why = if waiting > self.max_waiting {
            format!("the disk was too slow: {} MiB waited to be written", waiting >> 20)
        } else if state_bytes > self.limit_bytes.min(MAX_STATE_BYTES) {
            format!(
                "the loaded state is about {} MiB, the journal's limit {} MiB",
                state_bytes >> 20,
                self.limit_bytes.min(MAX_STATE_BYTES) >> 20
            )
        } else {
            put(&mut buffer.encoder);
            drop(buffer);
            if waiting == 0 {
                self.shared.changed.notify_all();
            }
            return;
        };
        buffer.encoder.end(&why);
        buffer.recording = false;
        self.is_on = false;
        drop(buffer);
        self.shared.changed.notify_all();
        tracing::warn!("recording ended: {why}");
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        if self.writer.is_some() {
            self.close("the node ended");
        }
    }
}

/// About how many bytes a recovered state takes in the journal.
fn state_bytes(event: &Event<Store>) -> u64 {
    let Event::Disk(DiskEvent::Recovered(recovered)) = event else { return 0 };
    let tail: usize = recovered.tail.iter().map(|entry| entry.body.len()).sum();
    let state = &recovered.state;
    let bytes = (state.data_bytes() + tail) as u64;
    bytes.saturating_add(state.node_count() as u64 * NODE_BYTES)
}

/// In a panic, writes the buffer before the process ends: it holds the event that led to the panic.
fn end_at_panic(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    let next = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        next(info);
        if let Some(shared) = shared.upgrade() {
            shared.close(&info.to_string());
        }
    }));
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the journal, and waits until it is written, at most [`CLOSE_LIMIT`]. A panicking thread
    /// calls this, too, and may hold the lock itself: so the lock is only tried.
    fn close(&self, why: &str) {
        let limit = Instant::now() + CLOSE_LIMIT;
        let mut requested = false;
        while Instant::now() < limit {
            let buffer = match self.buffer.try_lock() {
                Ok(buffer) => Some(buffer),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut buffer) = buffer {
                if buffer.done {
                    return;
                }
                if !std::mem::replace(&mut requested, true) {
                    if std::mem::replace(&mut buffer.recording, false) {
                        buffer.encoder.end(why);
                    }
                    buffer.closing = true;
                    self.changed.notify_all();
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The body of the thread: writes what has gathered, until the journal is closed.
    fn write_batches(&self, segments: &mut Segments) {
        let mut spare = BytesMut::new();
        loop {
            let mut buffer = self.lock();
            while buffer.encoder.waiting() == 0 && !buffer.closing {
                buffer = self.changed.wait(buffer).unwrap_or_else(PoisonError::into_inner);
            }
            if !buffer.closing {
                drop(buffer);
                thread::sleep(GATHER);
                buffer = self.lock();
            }
            let Some(batch) = buffer.encoder.take(std::mem::take(&mut spare)) else {
                buffer.done = true;
                return;
            };
            drop(buffer);
            let batch = batch.seal();
            if let Err(e) = segments.write(&batch) {
                let name = segments.journal().display();
                tracing::warn!("recording ended: {name}: {e}");
                let mut buffer = self.lock();
                (buffer.recording, buffer.done) = (false, true);
                buffer.encoder.take(BytesMut::new());
                return;
            }
            if batch.capacity() <= MAX_SPARE_BYTES {
                spare = batch;
            }
        }
    }
}
