//! Records what enters a node: a journal on disk that the node's thread never waits for.
//!
//! The node's thread puts events and digests of the answers into a buffer; a thread of its own
//! writes what has gathered there. If the disk cannot keep up, or fails, the recording ends, says
//! so in the journal and in the log, and the server goes on. The journal is not synced: it
//! survives the process, not the machine.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use zabkeeper_core::action::Actions;
use zabkeeper_core::config::Config;
use zabkeeper_core::event::{DiskEvent, Event};
use zabkeeper_core::journal::{
    ActionsDigest, Encoder, Start, segment_head, segment_name, segment_number,
};
use zabkeeper_core::node::Node;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::Now;

use crate::exit::{self, Failure};
use crate::files;

/// What may wait for the disk, bytes; then the recording ends.
const MAX_WAITING: usize = 64 << 20;
/// How long events gather before they are written.
const GATHER: Duration = Duration::from_millis(2);
/// A buffer up to this size is used again.
const MAX_SPARE: usize = 4 << 20;
/// How long the end may take.
const LINGER: Duration = Duration::from_secs(2);
/// No segment is larger, except for the state that a node starts with.
const MAX_SEGMENT: u64 = 64 << 20;
/// The limit is at least as many segments.
const SEGMENTS: u64 = 16;
/// No larger state is recorded: a batch has a length of 32 bits.
const MAX_STATE: u64 = 2 << 30;
/// What a znode takes in the journal beside its name and data, about.
const NODE_BYTES: u64 = 128;

/// Where to record, and how much.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordOptions {
    /// The journal's name: its segments are `JOURNAL.000001`, `JOURNAL.000002`, ...
    pub journal: PathBuf,
    /// All segments together take about this many bytes; the oldest ones go first, also those
    /// of earlier runs.
    pub limit_bytes: u64,
}

/// Steps a node, and keeps the journal. Dropping it ends the journal.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    limit_bytes: u64,
    max_waiting: usize,
    scratch: BytesMut,
    is_on: bool,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    encoder: Encoder,
    /// Whether more is taken.
    recording: bool,
    /// Whether the writer is to end once all is written.
    closing: bool,
    /// Whether it has.
    done: bool,
}

impl Recorder {
    /// Begins the journal of a run, after the segments that are there. `config` is what
    /// `start`'s texts say.
    ///
    /// # Errors
    /// The first segment cannot be written.
    pub fn begin(
        options: &RecordOptions,
        start: Start,
        config: &Config,
    ) -> Result<Recorder, Failure> {
        let encoder = Encoder::new(start.now);
        let mut segments = Segments::open(options, start, config.clone())
            .and_then(|mut segments| segments.roll(0).map(|()| segments))
            .map_err(|e| {
                let what = format!("--record {}: {e}", options.journal.display());
                Failure::new(exit::INVALID_INVOCATION, what)
            })?;
        let queue = Queue { encoder, recording: true, closing: false, done: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        let writer = thread::Builder::new()
            .name(format!("record-{}", config.my_id))
            .spawn(move || own.write_all(&mut segments))
            .map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("record thread: {e}")))?;
        end_at_panic(&shared);
        Ok(Recorder {
            shared,
            writer: Some(writer),
            limit_bytes: options.limit_bytes,
            max_waiting: MAX_WAITING,
            scratch: BytesMut::new(),
            is_on: true,
        })
    }

    /// [`Node::step`], recorded. The event is in the journal's buffer before the node sees it.
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

    /// Ends the journal, and says there why. Waits a little for the disk.
    pub fn finish(mut self, why: &str) {
        self.close(why);
    }

    fn close(&mut self, why: &str) {
        self.shared.close(why);
        // It has ended, or hangs in a write: then it is left alone.
        if let Some(writer) = self.writer.take()
            && writer.is_finished()
        {
            let _ = writer.join();
        }
    }

    fn record(&mut self, put: impl FnOnce(&mut Encoder), state_bytes: u64) {
        let mut queue = self.shared.lock();
        if !queue.recording {
            self.is_on = false;
            return;
        }
        let waiting = queue.encoder.waiting();
        let why = if waiting > self.max_waiting {
            format!("the disk was too slow: {} MiB waited to be written", waiting >> 20)
        } else if state_bytes > self.limit_bytes.min(MAX_STATE) {
            format!(
                "the loaded state is about {} MiB, the journal's limit {} MiB",
                state_bytes >> 20,
                self.limit_bytes.min(MAX_STATE) >> 20
            )
        } else {
            put(&mut queue.encoder);
            drop(queue);
            if waiting == 0 {
                self.shared.changed.notify_all();
            }
            return;
        };
        queue.encoder.end(&why);
        queue.recording = false;
        self.is_on = false;
        drop(queue);
        self.shared.changed.notify_all();
        tracing::warn!("nothing more is recorded: {why}");
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.writer.is_some() {
            self.close("the node ended");
        }
    }
}

/// About what a recovered state takes in the journal.
fn state_bytes(event: &Event<Store>) -> u64 {
    let Event::Disk(DiskEvent::Recovered(recovered)) = event else { return 0 };
    let tail: usize = recovered.tail.iter().map(|entry| entry.body.len()).sum();
    let state = &recovered.state;
    let bytes = (state.data_bytes() + tail) as u64;
    bytes.saturating_add(state.node_count() as u64 * NODE_BYTES)
}

/// A panic's event is in the buffer: it is written before the process ends.
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
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the journal; waits a little until it is written. Also called in a panic, maybe of
    /// who holds the lock.
    fn close(&self, why: &str) {
        let limit = Instant::now() + LINGER;
        let mut said = false;
        while Instant::now() < limit {
            let queue = match self.queue.try_lock() {
                Ok(queue) => Some(queue),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut queue) = queue {
                if queue.done {
                    return;
                }
                if !std::mem::replace(&mut said, true) {
                    if std::mem::replace(&mut queue.recording, false) {
                        queue.encoder.end(why);
                    }
                    queue.closing = true;
                    self.changed.notify_all();
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The writer's thread.
    fn write_all(&self, segments: &mut Segments) {
        let mut spare = BytesMut::new();
        loop {
            let mut queue = self.lock();
            while queue.encoder.waiting() == 0 && !queue.closing {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if !queue.closing {
                drop(queue);
                thread::sleep(GATHER);
                queue = self.lock();
            }
            let Some(batch) = queue.encoder.take(std::mem::take(&mut spare)) else {
                queue.done = true;
                return;
            };
            drop(queue);
            let batch = batch.seal();
            if let Err(e) = segments.write(&batch) {
                let name = segments.journal.display();
                tracing::warn!("nothing more is recorded: {name}: {e}");
                let mut queue = self.lock();
                (queue.recording, queue.done) = (false, true);
                queue.encoder.take(BytesMut::new());
                return;
            }
            if batch.capacity() <= MAX_SPARE {
                spare = batch;
            }
        }
    }
}

/// The files.
struct Segments {
    journal: PathBuf,
    start: Start,
    config: Config,
    limit: u64,
    /// Numbers and sizes of the segments that are complete, oldest first.
    complete: VecDeque<(u64, u64)>,
    /// The number in the last file's name.
    number: u64,
    /// The number of this run's first segment.
    first: u64,
    file: Option<File>,
    written: u64,
    /// Whether there is more in it than its head.
    used: bool,
}

impl Segments {
    fn open(options: &RecordOptions, start: Start, config: Config) -> io::Result<Segments> {
        let journal = options.journal.clone();
        if let Some(dir) = journal.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(files::DIRECTORY_MODE).create(dir)?;
        }
        let complete = segments(&journal)?;
        let number = complete.back().map_or(0, |(number, _)| *number);
        let (limit, first) = (options.limit_bytes, number + 1);
        Ok(Segments {
            journal,
            start,
            config,
            limit,
            complete,
            number,
            first,
            file: None,
            written: 0,
            used: false,
        })
    }

    /// No segment is larger.
    fn max_segment(&self) -> u64 {
        (self.limit / SEGMENTS).min(MAX_SEGMENT)
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        let length = batch.len() as u64;
        if self.used && self.written.saturating_add(length) > self.max_segment() {
            self.roll(length)?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(batch)?;
            self.written += length;
            self.used = true;
        }
        Ok(())
    }

    /// Begins the next segment, and removes as many of the oldest ones as that takes.
    fn roll(&mut self, length: u64) -> io::Result<()> {
        if self.file.take().is_some() {
            self.complete.push_back((self.number, self.written));
        }
        let room = self.max_segment().max(length);
        let mut total: u64 = self.complete.iter().map(|(_, length)| length).sum();
        while total.saturating_add(room) > self.limit
            && let Some((oldest, length)) = self.complete.pop_front()
        {
            total -= length;
            fs::remove_file(segment_path(&self.journal, oldest))?;
            if oldest == self.first {
                tracing::warn!(
                    "the journal {} does not reach back to the start of this server any more: it \
                     can be read, not replayed; raise --record-limit",
                    self.journal.display()
                );
            }
        }
        self.number += 1;
        let head = segment_head(&self.start, &self.config, self.number - self.first + 1);
        let mut create = OpenOptions::new();
        // It holds all that clients send: their data, and their passwords.
        create.write(true).create_new(true).mode(files::FILE_MODE);
        let mut file = create.open(segment_path(&self.journal, self.number))?;
        file.write_all(&head)?;
        (self.file, self.written, self.used) = (Some(file), head.len() as u64, false);
        Ok(())
    }
}

fn segment_path(journal: &Path, number: u64) -> PathBuf {
    let name = journal.file_name().unwrap_or_default().to_string_lossy();
    journal.with_file_name(segment_name(&name, number))
}

/// Numbers and sizes of a journal's segments, oldest first.
fn segments(journal: &Path) -> io::Result<VecDeque<(u64, u64)>> {
    let Some(name) = journal.file_name().and_then(|name| name.to_str()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    };
    let dir = journal.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut all = Vec::new();
    for entry in fs::read_dir(dir.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        if let Some(number) = segment_number(name, &entry.file_name().to_string_lossy()) {
            all.push((number, entry.metadata()?.len()));
        }
    }
    all.sort_unstable();
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use zabkeeper_core::event::{HostStats, NetEvent, Port, Recovered};
    use zabkeeper_core::journal::{ConfigSource, Item, SegmentReader};
    use zabkeeper_core::node;
    use zabkeeper_core::types::{ConnId, Ticket, Time, Zxid};

    use super::*;

    fn start() -> Start {
        let text = "dataDir=/d\nclientPort=2181\n".to_string();
        let source = ConfigSource { name: "zoo.cfg".to_string(), text, ..Default::default() };
        Start::new(source, 7, Now { mono: Time(1), wall_ms: 2 })
    }

    fn begin(journal: &Path, limit_bytes: u64) -> (Recorder, Node) {
        let options = RecordOptions { journal: journal.to_path_buf(), limit_bytes };
        let config = start().source.parse().unwrap().0;
        (Recorder::begin(&options, start(), &config).unwrap(), start().node().unwrap())
    }

    fn items(journal: &Path, number: u64) -> (u64, Vec<Item>) {
        let bytes = fs::read(segment_path(journal, number)).unwrap();
        let mut reader = SegmentReader::new(bytes.into()).unwrap();
        let all = std::iter::from_fn(|| reader.next_item().unwrap()).map(|p| p.item).collect();
        (reader.number(), all)
    }

    fn opened(n: u64) -> Event<Store> {
        let peer = ([127, 0, 0, 1], 1).into();
        Event::Net(NetEvent::Opened { conn: ConnId::accepted(n), port: Port::Client, peer })
    }

    #[test]
    fn each_run_begins_a_segment_of_its_own_and_says_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("below/journal");
        let mut out = Actions::new();
        for why in ["stopped", "stopped again"] {
            let (mut recorder, mut node) = begin(&journal, 1 << 30);
            recorder.step(&mut node, start().now, opened(1), &mut out);
            let host = HostStats { data_dir_bytes: 3, ..HostStats::default() };
            let surveyed = Event::Host(Box::new(host));
            recorder.step(&mut node, start().now, surveyed, &mut out);
            recorder.finish(why);
        }
        for (number, why) in [(1, "stopped"), (2, "stopped again")] {
            let (in_run, all) = items(&journal, number);
            assert_eq!(in_run, 1);
            let [
                Item::Event(now, Event::Net(NetEvent::Opened { .. })),
                Item::Actions(digest),
                host,
                _,
                end,
            ] = &all[..]
            else {
                panic!("{all:?}")
            };
            assert_eq!((*now, digest.count), (start().now, out.len() as u64 / 2));
            let Item::Event(_, Event::Host(host)) = host else { panic!("{host:?}") };
            assert_eq!(host.data_dir_bytes, 3);
            assert!(matches!(end, Item::End(text) if text == why), "{end:?}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = fs::metadata(segment_path(&journal, 1)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn the_limit_holds_and_the_oldest_segments_go() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        let limit = 160 << 10;
        fs::write(dir.path().join("journal.old"), "not a segment").unwrap();
        let (mut recorder, mut node) = begin(&journal, limit);
        let mut out = Actions::new();
        for n in 0..400 {
            let bytes = vec![n as u8; 1000].into();
            let event = Event::Net(NetEvent::Received { conn: ConnId::accepted(9), bytes });
            recorder.step(&mut node, start().now, event, &mut out);
            // The writer takes as many at a time, however busy the machine is.
            while n % 4 == 0 && recorder.is_on && recorder.shared.lock().encoder.waiting() > 0 {
                thread::sleep(GATHER);
            }
        }
        recorder.finish("done");
        let all = segments(&journal).unwrap();
        assert!(all.len() > 4 && all[0].0 > 1, "{all:?}");
        assert!(all.iter().map(|(_, length)| length).sum::<u64>() <= limit, "{all:?}");
        let (mut events, mut numbers) = (0, Vec::new());
        for (number, _) in &all {
            let (in_run, all) = items(&journal, *number);
            numbers.push((in_run, *number));
            events += all.iter().filter(|item| matches!(item, Item::Event(..))).count();
        }
        assert!(numbers.iter().all(|(in_run, number)| in_run == number), "{numbers:?}");
        assert!(events > 50 && events < 400, "{events}");
        assert!(dir.path().join("journal.old").exists());
    }

    #[test]
    fn a_disk_that_fails_ends_the_recording_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        let (mut recorder, mut node) = begin(&journal, 16 << 10);
        // The next segment cannot be made: there is a directory of that name.
        fs::create_dir(segment_path(&journal, 2)).unwrap();
        let mut out = Actions::new();
        for n in 1..2_000 {
            recorder.step(
                &mut node,
                start().now,
                Event::Disk(DiskEvent::Persisted { upto: Ticket(n) }),
                &mut out,
            );
            if !recorder.is_on {
                break;
            }
            thread::sleep(Duration::from_micros(500));
        }
        assert!(!recorder.is_on);
        recorder.step(&mut node, start().now, Event::Tick, &mut out);
        drop(recorder);
        assert!(!items(&journal, 1).1.is_empty());
    }

    /// What the journal of a single segment ends with.
    fn last_word(journal: &Path) -> String {
        match items(journal, 1).1.pop() {
            Some(Item::End(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_disk_that_is_too_slow_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        let (mut recorder, mut node) = begin(&journal, 1 << 30);
        recorder.max_waiting = 1000;
        let mut out = Actions::new();
        let bytes = vec![7; 2000].into();
        let large = Event::Net(NetEvent::Received { conn: ConnId::accepted(9), bytes });
        recorder.step(&mut node, start().now, large, &mut out);
        recorder.step(&mut node, start().now, Event::Tick, &mut out);
        assert!(!recorder.is_on);
        recorder.finish("not this");
        assert!(last_word(&journal).starts_with("the disk was too slow"));
        let (_, all) = items(&journal, 1);
        assert!(matches!(all[0], Item::Event(_, Event::Net(NetEvent::Received { .. }))), "{all:?}");
    }

    #[test]
    fn a_state_that_is_larger_than_the_limit_is_not_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        let (mut recorder, mut node) = begin(&journal, 256);
        let recovered = Recovered {
            ticket: Ticket(0),
            state: Store::new(node::store_options(&start().source.parse().unwrap().0)),
            last_zxid: Zxid::ZERO,
            tail: Vec::new(),
            current_epoch: 0,
            accepted_epoch: 0,
            snapshot_bytes: 0,
        };
        let event = Event::Disk(DiskEvent::Recovered(Box::new(recovered)));
        recorder.step(&mut node, start().now, event, &mut Actions::new());
        recorder.finish("not this");
        assert!(last_word(&journal).starts_with("the loaded state is about"));
    }

    #[test]
    fn a_journal_that_cannot_be_begun_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let journal = dir.path().join("file/journal");
        let options = RecordOptions { journal, limit_bytes: 1 << 30 };
        let config = start().source.parse().unwrap().0;
        let failure = Recorder::begin(&options, start(), &config).unwrap_err();
        assert!(failure.message.contains("file/journal"), "{failure}");
    }
}
