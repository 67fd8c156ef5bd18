//! Length-prefixed framing of the client port: bytes cut anywhere in, whole frames out.

use bytes::{Buf, Bytes, BytesMut};

/// The length prefix was negative or above the limit; the connection must close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a frame of {length} bytes exceeds the limit of {limit} (jute.maxbuffer)")]
pub struct FrameTooLong {
    /// As it was read.
    pub length: i32,
    /// The limit.
    pub limit: usize,
}

/// Collects bytes until frames are whole. A frame that arrived in one piece is not copied.
#[derive(Debug, Default)]
pub struct FrameReader {
    partial: BytesMut,
    whole: Bytes,
}

impl FrameReader {
    /// Adds what arrived.
    pub fn push(&mut self, bytes: Bytes) {
        if self.partial.is_empty() && self.whole.is_empty() {
            self.whole = bytes;
        } else {
            self.spill();
            self.partial.extend_from_slice(&bytes);
        }
    }

    /// The next whole frame's payload, without its length.
    pub fn next(&mut self, limit: usize) -> Result<Option<Bytes>, FrameTooLong> {
        let Some(length) = self.peek_length() else { return Ok(None) };
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > limit {
            return Err(FrameTooLong { length, limit });
        }
        if self.buffered() < 4 + size {
            return Ok(None);
        }
        if self.partial.is_empty() {
            self.whole.advance(4);
            Ok(Some(self.whole.split_to(size)))
        } else {
            // Everything whole becomes shared at once; only the rest is copied, next time.
            self.whole = core::mem::take(&mut self.partial).freeze();
            self.whole.advance(4);
            Ok(Some(self.whole.split_to(size)))
        }
    }

    /// Whether [`FrameReader::next`] has a frame.
    pub fn has_next(&self) -> bool {
        let size = self.peek_length().and_then(|length| usize::try_from(length).ok());
        size.is_some_and(|size| self.buffered() - 4 >= size)
    }

    /// The first four bytes of what is buffered, as a number.
    pub fn peek_length(&self) -> Option<i32> {
        self.head().first_chunk::<4>().map(|b| i32::from_be_bytes(*b))
    }

    /// The eight bytes after those, as a number.
    pub fn peek_after_length(&self) -> Option<i64> {
        self.head().get(4..)?.first_chunk::<8>().map(|b| i64::from_be_bytes(*b))
    }

    fn head(&self) -> &[u8] {
        if self.partial.is_empty() { &self.whole } else { &self.partial }
    }

    /// Bytes held.
    pub fn buffered(&self) -> usize {
        self.partial.len() + self.whole.len()
    }

    fn spill(&mut self) {
        if !self.whole.is_empty() {
            debug_assert!(self.partial.is_empty());
            self.partial.extend_from_slice(&self.whole);
            self.whole = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_cut() {
        let stream: Vec<u8> =
            [&[0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0], &[0, 0, 0, 1], b"z"].concat();
        for cut in 1..stream.len() {
            let mut reader = FrameReader::default();
            let mut got = Vec::new();
            for piece in stream.chunks(cut) {
                reader.push(Bytes::copy_from_slice(piece));
                while let Some(frame) = reader.next(10).unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, ["abc", "", "z"], "cut every {cut}");
            assert_eq!(reader.buffered(), 0);
        }
    }

    #[test]
    fn negative_and_huge_lengths_are_refused() {
        for head in [[0xff, 0xff, 0xff, 0xff], *b"GET ", [0, 0, 0, 11]] {
            let mut reader = FrameReader::default();
            reader.push(Bytes::copy_from_slice(&head));
            assert!(reader.next(10).is_err());
        }
    }
}
