//! What a connection has to send: gathered, written in few calls, bounded.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

/// Most chunks of one gathered write.
const WRITE_CHUNKS: usize = 64;
/// `AwaitWritable` is answered below this backlog.
const LOW_MARK_BYTES: usize = 256 << 10;
/// Who lets more than this pile up is cut off.
const BACKLOG_LIMIT_BYTES: usize = 64 << 20;

/// The outgoing bytes of one connection, in their order.
#[derive(Default, Debug)]
pub struct SendQueue {
    queue: VecDeque<Bytes>,
    backlog: usize,
}

impl SendQueue {
    /// Adds to the queue. False: too much piles up here.
    #[must_use]
    pub(crate) fn push(&mut self, bytes: Bytes) -> bool {
        if !bytes.is_empty() {
            self.backlog += bytes.len();
            self.queue.push_back(bytes);
        }
        self.backlog <= BACKLOG_LIMIT_BYTES
    }

    /// Bytes that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog
    }

    /// Whether the backlog is below the low mark.
    pub(crate) fn has_room(&self) -> bool {
        self.backlog < LOW_MARK_BYTES
    }

    /// Writes until nothing is left (true) or the socket takes no more now (false).
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
    fn what_a_full_socket_left_goes_on_where_it_stopped() {
        let mut queue = SendQueue::default();
        for _ in 0..100 {
            assert!(queue.push(Bytes::from_static(b"0123456789")));
        }
        assert!(queue.push(Bytes::new()));
        let (mut taken, mut room) = (Vec::new(), 0);
        let mut calls = 0;
        while !queue
            .write(|slices| {
                calls += 1;
                if room == 0 {
                    room = 333;
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let before = taken.len();
                for slice in slices {
                    let n = slice.len().min(room);
                    taken.extend_from_slice(&slice[..n]);
                    room -= n;
                }
                Ok(taken.len() - before)
            })
            .unwrap()
        {}
        assert_eq!(taken, b"0123456789".repeat(100));
        assert!(calls < 12, "{calls}");
        assert!(queue.has_room() && queue.backlog == 0);
    }

    #[test]
    fn who_takes_nothing_has_a_limit() {
        let chunk = Bytes::from(vec![0; 1 << 20]);
        let mut queue = SendQueue::default();
        for _ in 0..64 {
            assert!(queue.push(chunk.clone()));
        }
        assert!(!queue.has_room());
        assert!(!queue.push(Bytes::from_static(b"x")));
        let broken = queue.write(|_| Err(io::ErrorKind::BrokenPipe.into()));
        assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
