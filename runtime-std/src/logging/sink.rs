//! A bounded buffer of lines for a stream that may block or fail, and the thread that writes them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes that wait.
const MAX_BYTES: usize = 1 << 20;
/// The size of a line in memory beside its text.
const LINE_BYTES: usize = size_of::<Vec<u8>>();
/// The most bytes of one write, apart from a longer line.
const CHUNK_BYTES: usize = 64 << 10;
/// The pause after a failed write, and the longest wait for lines.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before the next attempt on a full non-blocking stream.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// The lines for a stream. Adding a line never waits for the stream: lines that do not fit are
/// dropped and counted, and the count is logged when the stream takes lines again.
pub(super) struct LineSink {
    buffer: Mutex<Buffer>,
    /// There are lines to write, or all are written.
    changed: Condvar,
}

struct Buffer {
    lines: VecDeque<Vec<u8>>,
    /// The size of the lines, and of the chunk that the thread is writing.
    bytes: usize,
    /// The thread has been started.
    started: bool,
    /// The last attempt to write failed.
    failing: bool,
    dropped: u64,
}

impl LineSink {
    pub(super) const fn new() -> LineSink {
        let buffer =
            Buffer { lines: VecDeque::new(), bytes: 0, started: false, failing: false, dropped: 0 };
        LineSink { buffer: Mutex::new(buffer), changed: Condvar::new() }
    }

    /// Starts the thread, unless it is running. It calls `every_second` at least every second.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub(super) fn start(
        &'static self,
        name: &str,
        mut stream: File,
        every_second: fn(),
    ) -> io::Result<()> {
        let mut buffer = self.lock();
        if !buffer.started {
            let log_dropped = |lines: u64| {
                tracing::warn!("{lines} log lines dropped: stderr is too slow");
            };
            let write = move || {
                let mut writer = Writer::new(self);
                loop {
                    writer.turn(&mut stream, log_dropped);
                    every_second();
                }
            };
            thread::Builder::new().name(name.into()).spawn(write)?;
            buffer.started = true;
        }
        Ok(())
    }

    /// Adds a line, or drops it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut buffer = self.lock();
        let size = line.len() + LINE_BYTES;
        if buffer.bytes + size > MAX_BYTES {
            buffer.dropped += 1;
            return;
        }
        buffer.bytes += size;
        buffer.lines.push_back(line.to_vec());
        drop(buffer);
        self.changed.notify_all();
    }

    /// Waits until all lines are written or the stream fails, at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let mut buffer = self.lock();
        while buffer.started && buffer.bytes > 0 && !buffer.failing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(buffer, left);
            buffer = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the formatting of log lines: each write is one whole line, and none fails.
impl Write for &LineSink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The state of the thread.
struct Writer<'a> {
    sink: &'a LineSink,
    chunk: Vec<u8>,
    /// The number of bytes of the chunk that are written.
    written: usize,
    /// The size in the buffer of the lines in the chunk.
    held: usize,
    /// The number of dropped lines that is logged already.
    logged: u64,
    /// The pause after a failed write.
    pause: Duration,
}

impl<'a> Writer<'a> {
    fn new(sink: &'a LineSink) -> Writer<'a> {
        Writer { sink, chunk: Vec::new(), written: 0, held: 0, logged: 0, pause: RETRY_INTERVAL }
    }

    /// Waits for lines, at most a second, and writes as many bytes as the stream takes.
    fn turn(&mut self, stream: &mut impl Write, log_dropped: impl Fn(u64)) {
        self.next_chunk();
        if self.chunk.is_empty() {
            return;
        }
        match stream.write(self.chunk.get(self.written..).unwrap_or_default()) {
            Ok(0) => self.failed(),
            Ok(n) => self.advance(n, log_dropped),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            Err(_) => self.failed(),
        }
    }

    /// Takes the next chunk if the last one is written.
    fn next_chunk(&mut self) {
        if !self.chunk.is_empty() {
            return;
        }
        let mut buffer = self.sink.lock();
        if buffer.lines.is_empty() {
            let waited = self.sink.changed.wait_timeout(buffer, RETRY_INTERVAL);
            buffer = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while let Some(next) = buffer.lines.front()
            && (self.chunk.is_empty() || self.chunk.len() + next.len() <= CHUNK_BYTES)
        {
            self.chunk.extend_from_slice(next);
            self.held += next.len() + LINE_BYTES;
            buffer.lines.pop_front();
        }
    }

    fn advance(&mut self, n: usize, log_dropped: impl Fn(u64)) {
        self.written += n;
        if self.written < self.chunk.len() {
            return;
        }
        let mut buffer = self.sink.lock();
        buffer.bytes = buffer.bytes.saturating_sub(self.held);
        buffer.failing = false;
        let dropped = buffer.dropped;
        drop(buffer);
        self.sink.changed.notify_all();
        self.chunk.clear();
        self.chunk.shrink_to(CHUNK_BYTES);
        (self.written, self.held) = (0, 0);
        if dropped > self.logged {
            log_dropped(dropped - self.logged);
            // If that line was dropped, too, it is logged again.
            if self.sink.dropped() == dropped {
                self.logged = dropped;
            }
        }
    }

    /// Keeps the unwritten bytes: a full disk may have space again later.
    fn failed(&mut self) {
        self.sink.lock().failing = true;
        self.sink.changed.notify_all();
        thread::sleep(self.pause);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A stream with given results of its writes.
    #[derive(Default)]
    struct Stream {
        taken: Vec<u8>,
        answers: VecDeque<io::Result<usize>>,
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = self.answers.pop_front().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn broken<T>() -> io::Result<T> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    #[test]
    fn lines_beyond_the_bound_are_dropped_and_their_count_is_logged() {
        let sink = LineSink::new();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let fit = MAX_BYTES / (line.len() + LINE_BYTES);
        for _ in 0..fit + 7 {
            sink.push(&line);
        }
        assert_eq!(sink.dropped(), 7);
        let (mut stream, logged) = (Stream::default(), RefCell::new(Vec::new()));
        let mut writer = Writer::new(&sink);
        while sink.lock().bytes > 0 {
            writer.turn(&mut stream, |lines| logged.borrow_mut().push(lines));
        }
        assert_eq!(stream.taken.len(), fit * line.len());
        assert_eq!(*logged.borrow(), [7]);
        // The buffer has space again.
        sink.push(&line);
        assert_eq!(sink.dropped(), 7);
    }

    #[test]
    fn partial_write_continues_where_it_stopped() {
        let sink = LineSink::new();
        sink.push(b"first\n");
        sink.push(b"second\n");
        let answers = [Ok(3), broken(), Err(io::ErrorKind::WouldBlock.into()), Ok(5)].into();
        let mut stream = Stream { answers, ..Stream::default() };
        let mut writer = Writer { pause: Duration::ZERO, ..Writer::new(&sink) };
        while sink.lock().bytes > 0 {
            writer.turn(&mut stream, |_| panic!("no line is dropped"));
        }
        assert_eq!(stream.taken, b"first\nsecond\n");
    }

    #[test]
    fn flush_does_not_wait_for_a_failing_stream() {
        let sink = LineSink::new();
        sink.lock().started = true;
        sink.push(b"line\n");
        let mut stream = Stream { answers: [broken()].into(), ..Stream::default() };
        let mut writer = Writer { pause: Duration::ZERO, ..Writer::new(&sink) };
        writer.turn(&mut stream, |_| {});
        let began = Instant::now();
        sink.flush(Duration::from_secs(600));
        assert!(began.elapsed() < Duration::from_secs(300));
        // A stream that blocks is waited for, up to the limit.
        sink.lock().failing = false;
        sink.flush(Duration::from_millis(5));
        assert!(sink.lock().bytes > 0);
    }

    #[test]
    fn thread_writes_pushed_lines() {
        static SINK: LineSink = LineSink::new();
        let mut file = tempfile::tempfile().unwrap();
        SINK.push(b"before\n");
        SINK.start("sink", file.try_clone().unwrap(), || {}).unwrap();
        SINK.push(b"after\n");
        SINK.flush(Duration::from_secs(20));
        let mut text = String::new();
        io::Seek::rewind(&mut file).unwrap();
        io::Read::read_to_string(&mut file, &mut text).unwrap();
        assert_eq!(text, "before\nafter\n");
    }
}
