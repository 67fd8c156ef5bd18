//! The outgoing bytes of a connection: gathered, written with few system calls, bounded.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

/// Most chunks of one gathered write.
const WRITE_CHUNKS: usize = 64;
/// `AwaitWritable` is answered below this backlog.
const LOW_MARK_BYTES: usize = 256 << 10;
/// A connection with a larger backlog is closed.
const BACKLOG_LIMIT_BYTES: usize = 64 << 20;

/// The bytes that wait for one connection, in order.
#[derive(Default, Debug)]
pub struct SendQueue {
    queue: VecDeque<Bytes>,
    backlog: usize,
}

impl SendQueue {
    /// Appends bytes. Returns false if the backlog exceeds its limit.
    #[must_use]
    pub(crate) fn push(&mut self, bytes: Bytes) -> bool {
        if !bytes.is_empty() {
            self.backlog += bytes.len();
            self.queue.push_back(bytes);
        }
        self.backlog <= BACKLOG_LIMIT_BYTES
    }

    /// The number of bytes that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog
    }

    /// Whether the backlog is below the low mark.
    pub(crate) fn is_drained(&self) -> bool {
        self.backlog < LOW_MARK_BYTES
    }

    /// Writes until the queue is empty (returns true) or the socket takes no more (false).
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(self.queue.iter()) {
                *slice = IoSlice::new(chunk);
                count += 1;
            }
            match write(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written(written),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    fn written(&mut self, mut written: usize) {
        self.backlog = self.backlog.saturating_sub(written);
        while let Some(first) = self.queue.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_write_continues_where_it_stopped() {
        let mut queue = SendQueue::default();
        for _ in 0..100 {
            assert!(queue.push(Bytes::from_static(b"0123456789")));
        }
        assert!(queue.push(Bytes::new()));
        let (mut taken, mut space) = (Vec::new(), 0);
        let mut calls = 0;
        while !queue
            .write(|slices| {
                calls += 1;
                if space == 0 {
                    space = 333;
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let before = taken.len();
                for slice in slices {
                    let n = slice.len().min(space);
                    taken.extend_from_slice(&slice[..n]);
                    space -= n;
                }
                Ok(taken.len() - before)
            })
            .unwrap()
        {}
        assert_eq!(taken, b"0123456789".repeat(100));
        assert!(calls < 12, "{calls}");
        assert!(queue.is_drained() && queue.backlog == 0);
    }

    #[test]
    fn backlog_is_limited() {
        let chunk = Bytes::from(vec![0; 1 << 20]);
        let mut queue = SendQueue::default();
        for _ in 0..64 {
            assert!(queue.push(chunk.clone()));
        }
        assert!(!queue.is_drained());
        assert!(!queue.push(Bytes::from_static(b"x")));
        let broken = queue.write(|_| Err(io::ErrorKind::BrokenPipe.into()));
        assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
