//! Lines on their way to a stream that may fail or take nothing: a bounded buffer, and a thread
//! that writes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes that wait.
const MOST_BYTES: usize = 1 << 20;
/// What a line takes beside its text.
const LINE_BYTES: usize = size_of::<Vec<u8>>();
/// Most bytes of one write, but for a longer line.
const CHUNK_BYTES: usize = 64 << 10;
/// Between two attempts to write to a stream that fails.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at a stream that takes nothing and does not block.
const LOOK: Duration = Duration::from_millis(20);

/// A stream's lines. Whoever adds one never waits for the stream: what does not fit is dropped and
/// counted, and the count is logged once the stream takes lines again.
pub(super) struct LineSink {
    state: Mutex<State>,
    /// There is something to write, or everything is written.
    changed: Condvar,
}

struct State {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines, and of what the thread holds.
    bytes: usize,
    /// The thread is there.
    started: bool,
    /// The last attempt to write failed.
    failing: bool,
    dropped: u64,
}

impl LineSink {
    pub(super) const fn new() -> LineSink {
        let state =
            State { lines: VecDeque::new(), bytes: 0, started: false, failing: false, dropped: 0 };
        LineSink { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Starts the thread, unless it is there. It calls `every_second`, beside its work.
    ///
    /// # Errors
    /// There can be no more threads.
    pub(super) fn start(
        &'static self,
        name: &str,
        mut stream: File,
        every_second: fn(),
    ) -> io::Result<()> {
        let mut state = self.lock();
        if !state.started {
            let told = |lines: u64| {
                tracing::warn!("{lines} log lines are lost: they could not be written in time");
            };
            let write = move || {
                let mut writer = Writer::new(self);
                loop {
                    writer.turn(&mut stream, told);
                    every_second();
                }
            };
            thread::Builder::new().name(name.into()).spawn(write)?;
            state.started = true;
        }
        Ok(())
    }

    /// Adds whole lines, or drops them.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let size = line.len() + LINE_BYTES;
        if state.bytes + size > MOST_BYTES {
            state.dropped += 1;
            return;
        }
        state.bytes += size;
        state.lines.push_back(line.to_vec());
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until everything is written, the stream fails, or the time is over.
    pub(super) fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        while state.started && state.bytes > 0 && !state.failing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For whoever formats lines: each write is a whole one, and none fails.
impl Write for &LineSink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the thread knows.
struct Writer<'a> {
    sink: &'a LineSink,
    chunk: Vec<u8>,
    /// How much of the chunk is written.
    written: usize,
    /// What the lines in the chunk took of the buffer.
    held: usize,
    /// How many lost lines were told of.
    told: u64,
    /// Between two attempts to write to a stream that fails.
    pause: Duration,
}

impl<'a> Writer<'a> {
    fn new(sink: &'a LineSink) -> Writer<'a> {
        Writer { sink, chunk: Vec::new(), written: 0, held: 0, told: 0, pause: AGAIN }
    }

    /// Waits for lines, a second at most, and writes what there is as far as the stream takes it.
    fn turn(&mut self, stream: &mut impl Write, told: impl Fn(u64)) {
        self.take();
        if self.chunk.is_empty() {
            return;
        }
        match stream.write(self.chunk.get(self.written..).unwrap_or_default()) {
            Ok(0) => self.failed(),
            Ok(n) => self.took(n, told),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(_) => self.failed(),
        }
    }

    /// The next chunk, if the last one is written.
    fn take(&mut self) {
        if !self.chunk.is_empty() {
            return;
        }
        let mut state = self.sink.lock();
        if state.lines.is_empty() {
            let waited = self.sink.changed.wait_timeout(state, AGAIN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while let Some(next) = state.lines.front()
            && (self.chunk.is_empty() || self.chunk.len() + next.len() <= CHUNK_BYTES)
        {
            self.chunk.extend_from_slice(next);
            self.held += next.len() + LINE_BYTES;
            state.lines.pop_front();
        }
    }

    fn took(&mut self, n: usize, told: impl Fn(u64)) {
        self.written += n;
        if self.written < self.chunk.len() {
            return;
        }
        let mut state = self.sink.lock();
        state.bytes = state.bytes.saturating_sub(self.held);
        state.failing = false;
        let dropped = state.dropped;
        drop(state);
        self.sink.changed.notify_all();
        self.chunk.clear();
        self.chunk.shrink_to(CHUNK_BYTES);
        (self.written, self.held) = (0, 0);
        if dropped > self.told {
            told(dropped - self.told);
            // If that did not fit either, it is told again.
            if self.sink.dropped() == dropped {
                self.told = dropped;
            }
        }
    }

    /// What is not written stays: a full disk may have room again.
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

    /// A stream that takes what it is allowed to.
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
    fn lines_beyond_the_bound_are_dropped_counted_and_told_of_when_it_writes_again() {
        let sink = LineSink::new();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let fit = MOST_BYTES / (line.len() + LINE_BYTES);
        for _ in 0..fit + 7 {
            sink.push(&line);
        }
        assert_eq!(sink.dropped(), 7);
        let (mut stream, told) = (Stream::default(), RefCell::new(Vec::new()));
        let mut writer = Writer::new(&sink);
        while sink.lock().bytes > 0 {
            writer.turn(&mut stream, |lines| told.borrow_mut().push(lines));
        }
        assert_eq!(stream.taken.len(), fit * line.len());
        assert_eq!(*told.borrow(), [7]);
        // There is room again.
        sink.push(&line);
        assert_eq!(sink.dropped(), 7);
    }

    #[test]
    fn a_line_that_was_cut_short_goes_on_where_it_stopped() {
        let sink = LineSink::new();
        sink.push(b"first\n");
        sink.push(b"second\n");
        let answers = [Ok(3), broken(), Err(io::ErrorKind::WouldBlock.into()), Ok(5)].into();
        let mut stream = Stream { answers, ..Stream::default() };
        let mut writer = Writer { pause: Duration::ZERO, ..Writer::new(&sink) };
        while sink.lock().bytes > 0 {
            writer.turn(&mut stream, |_| panic!("nothing is lost"));
        }
        assert_eq!(stream.taken, b"first\nsecond\n");
    }

    #[test]
    fn nobody_waits_for_a_stream_that_fails() {
        let sink = LineSink::new();
        sink.lock().started = true;
        sink.push(b"line\n");
        let mut stream = Stream { answers: [broken()].into(), ..Stream::default() };
        let mut writer = Writer { pause: Duration::ZERO, ..Writer::new(&sink) };
        writer.turn(&mut stream, |_| {});
        let began = Instant::now();
        sink.flush(Duration::from_secs(600));
        assert!(began.elapsed() < Duration::from_secs(300));
        // The one that takes nothing is waited for as long as it was said.
        sink.lock().failing = false;
        sink.flush(Duration::from_millis(5));
        assert!(sink.lock().bytes > 0);
    }

    #[test]
    fn the_thread_writes_what_is_pushed() {
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
