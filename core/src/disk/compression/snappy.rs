//! The framing of snappy-java's `SnappyOutputStream`: a header, then blocks, each with its length.

use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::block::{self, MOST_COMPRESSED};
use super::{Broken, Input};

/// The first bytes of such a file.
pub(super) const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Magic, version, the oldest version that can read it.
const HEADER_LEN: usize = 16;
const VERSION: i32 = 1;
/// The block size of Java's writer.
const BLOCK: usize = 32 << 10;

#[derive(Clone, Copy)]
enum State {
    /// The first block, or the next stream, must begin here.
    Header,
    /// A block's length, or the magic of a next stream.
    Length,
    /// The rest of a header, of which the first four bytes have come.
    RestOfHeader,
    Block(usize),
}

/// Reads one stream after the other until the file ends.
pub(crate) struct Decoder {
    input: Input,
    state: State,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder { input: Input::default(), state: State::Header }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            self.state = match self.state {
                State::Header => {
                    let Some(magic) = self.input.take(4) else { return Ok(None) };
                    if magic[..] != MAGIC[..4] {
                        return Err(Broken::Header);
                    }
                    State::RestOfHeader
                }
                State::RestOfHeader => {
                    let Some(mut rest) = self.input.take(HEADER_LEN - 4) else { return Ok(None) };
                    let is_magic = rest[..4] == MAGIC[4..];
                    rest.advance(8);
                    if !is_magic || rest.get_i32() > VERSION {
                        return Err(Broken::Header);
                    }
                    State::Length
                }
                State::Length => {
                    let Some(mut length) = self.input.take(4) else { return Ok(None) };
                    if length[..] == MAGIC[..4] {
                        State::RestOfHeader
                    } else {
                        match usize::try_from(length.get_i32()) {
                            Ok(length) if length <= MOST_COMPRESSED => State::Block(length),
                            Ok(_) | Err(_) => return Err(Broken::Data),
                        }
                    }
                }
                State::Block(length) => {
                    let Some(compressed) = self.input.take(length) else { return Ok(None) };
                    self.state = State::Length;
                    let block = block::decompress(&compressed).ok_or(Broken::Data)?;
                    if !block.is_empty() {
                        return Ok(Some(block));
                    }
                    State::Length
                }
            };
        }
    }

    pub(super) fn finish(&self) -> Result<(), Broken> {
        let is_between = matches!(self.state, State::Length) && self.input.is_empty();
        if is_between { Ok(()) } else { Err(Broken::CutShort) }
    }
}

/// Writes one stream.
pub(crate) struct Encoder {
    is_begun: bool,
    block: Vec<u8>,
    compressor: block::Compressor,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        let compressor = block::Compressor::new();
        Encoder { is_begun: false, block: Vec::with_capacity(BLOCK), compressor }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut BytesMut) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.flush(out);
            }
        }
    }

    pub(super) fn finish(mut self, out: &mut BytesMut) {
        self.flush(out);
    }

    fn flush(&mut self, out: &mut BytesMut) {
        if !core::mem::replace(&mut self.is_begun, true) {
            out.put_slice(&MAGIC);
            out.put_i32(VERSION);
            out.put_i32(VERSION);
        }
        if self.block.is_empty() {
            return;
        }
        let at = out.len();
        out.put_i32(0);
        self.compressor.compress(&self.block, out);
        let length = (out.len() - at - 4) as i32;
        if let Some(place) = out.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        self.block.clear();
    }
}
