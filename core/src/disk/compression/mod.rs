//! Compressed snapshots, as streams (`SnapStream`): bytes come in and go out piece by piece, so
//! that memory does not grow with what is in the file.

mod block;
mod gzip;
mod snappy;

use bytes::{Buf, Bytes, BytesMut};

/// Decompressed bytes are handed out in pieces of at most this many.
pub(crate) const PIECE: usize = 64 << 10;

/// How a snapshot is compressed; its file's name ends so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// `.gz`: RFC 1952.
    Gzip,
    /// `.snappy`: raw Snappy blocks in the framing of the Java library.
    Snappy,
}

impl Compression {
    /// A value of `snapshot.compression.method`: `gz` or `snappy`. Any other means none, as in
    /// ZooKeeper.
    pub fn from_name(name: &str) -> Compression {
        if name.eq_ignore_ascii_case("gz") {
            Compression::Gzip
        } else if name.eq_ignore_ascii_case("snappy") {
            Compression::Snappy
        } else {
            Compression::None
        }
    }

    /// The ending of the file's name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }

    /// The first bytes of the file.
    pub(crate) fn magic(self) -> &'static [u8] {
        match self {
            Compression::None => b"",
            Compression::Gzip => &gzip::MAGIC,
            Compression::Snappy => &snappy::MAGIC,
        }
    }
}

/// Why compressed bytes cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// They do not begin as such a stream does.
    #[error("it does not begin as a compressed file of its kind")]
    Header,
    /// They are not what a compressor writes.
    #[error("its compressed bytes are damaged")]
    Data,
    /// The checksum of what comes out is another.
    #[error("the checksum of its compressed bytes is wrong")]
    Checksum,
    /// They end too early.
    #[error("its compressed bytes end too early")]
    CutShort,
}

/// Bytes of a file → what was compressed.
pub(crate) enum Decompressor {
    Plain(Bytes),
    Gzip(gzip::Decoder),
    Snappy(snappy::Decoder),
}

impl Decompressor {
    pub(crate) fn new(compression: Compression) -> Decompressor {
        match compression {
            Compression::None => Decompressor::Plain(Bytes::new()),
            Compression::Gzip => Decompressor::Gzip(gzip::Decoder::new()),
            Compression::Snappy => Decompressor::Snappy(snappy::Decoder::new()),
        }
    }

    /// The next bytes of the file. Everything that the last ones gave was taken.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        match self {
            Decompressor::Plain(rest) => {
                debug_assert!(rest.is_empty());
                *rest = bytes;
            }
            Decompressor::Gzip(decoder) => decoder.push(bytes),
            Decompressor::Snappy(decoder) => decoder.push(bytes),
        }
    }

    /// The next piece, never empty. `None`: more of the file is needed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        match self {
            Decompressor::Plain(rest) if rest.is_empty() => Ok(None),
            Decompressor::Plain(rest) => Ok(Some(rest.split_to(rest.len().min(PIECE)))),
            Decompressor::Gzip(decoder) => decoder.next(),
            Decompressor::Snappy(decoder) => decoder.next(),
        }
    }

    /// The file is over: whether the stream is, too.
    pub(crate) fn finish(&self) -> Result<(), Broken> {
        match self {
            Decompressor::Plain(_) => Ok(()),
            Decompressor::Gzip(decoder) => decoder.finish(),
            Decompressor::Snappy(decoder) => decoder.finish(),
        }
    }
}

/// Compresses a stream into the bytes of a file.
pub(crate) enum Compressor {
    Plain,
    Gzip(gzip::Encoder),
    Snappy(snappy::Encoder),
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Compressor {
        match compression {
            Compression::None => Compressor::Plain,
            Compression::Gzip => Compressor::Gzip(gzip::Encoder::new()),
            Compression::Snappy => Compressor::Snappy(snappy::Encoder::new()),
        }
    }

    /// The bytes to write for these; possibly none yet.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Compressor::Plain => return bytes,
            Compressor::Gzip(encoder) => encoder.push(&bytes, &mut out),
            Compressor::Snappy(encoder) => encoder.push(&bytes, &mut out),
        }
        out.freeze()
    }

    /// The end of the stream.
    pub(crate) fn finish(self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Compressor::Plain => {}
            Compressor::Gzip(encoder) => encoder.finish(&mut out),
            Compressor::Snappy(encoder) => encoder.finish(&mut out),
        }
        out.freeze()
    }
}

/// Bytes of the file that wait until there are enough of them.
#[derive(Default)]
struct Input {
    bytes: Bytes,
    /// The rest of earlier bytes: the beginning of a block.
    begun: BytesMut,
}

impl Input {
    fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.bytes.is_empty());
        self.bytes = bytes;
    }
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.begun.is_empty()
    }
    /// The next `n` bytes, if they are there. What there is of them is remembered.
    fn take(&mut self, n: usize) -> Option<Bytes> {
        if self.begun.is_empty() && self.bytes.len() >= n {
            return Some(self.bytes.split_to(n));
        }
        let more = n.saturating_sub(self.begun.len()).min(self.bytes.len());
        self.begun.extend_from_slice(&self.bytes.split_to(more));
        (self.begun.len() == n).then(|| self.begun.split().freeze())
    }
    /// These bytes of what came last are used up.
    fn advance(&mut self, n: usize) {
        self.bytes.advance(n.min(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests;
