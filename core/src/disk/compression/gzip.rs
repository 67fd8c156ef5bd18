//! gzip (RFC 1952): what `java.util.zip.GZIPOutputStream` writes, and what it can read.

use alloc::boxed::Box;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::{Broken, Input, PIECE};

/// The first bytes of such a file.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
/// A name or a comment that is longer is none.
const MOST_TEXT: usize = 64 << 10;
/// Fast: a snapshot is compressed between two syncs of the log.
const LEVEL: i32 = 1;
/// No preset dictionary, no zlib header around.
const RAW_WINDOW: i32 = -15;

#[derive(Clone, Copy)]
enum State {
    /// Ten bytes.
    Head,
    /// The parts of the header that these flags promise.
    ExtraLength(u8),
    Extra(u8, usize),
    /// A text that ends with a zero; so much of it has come.
    Text(u8, usize),
    HeaderCrc,
    Body,
    /// Checksum and length.
    Trailer,
}

/// Reads one stream after the other until the file ends.
pub(crate) struct Decoder {
    input: Input,
    state: State,
    inflater: Box<InflateState>,
    crc: crc32fast::Hasher,
    length: u32,
    streams: u64,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder {
            input: Input::default(),
            state: State::Head,
            inflater: InflateState::new_boxed(DataFormat::Raw),
            crc: crc32fast::Hasher::new(),
            length: 0,
            streams: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            self.state = match self.state {
                State::Head => {
                    let Some(head) = self.input.take(10) else { return Ok(None) };
                    if head[..2] != MAGIC || head[2] != DEFLATE {
                        return Err(Broken::Header);
                    }
                    after_extra_is_known(head[3])
                }
                State::ExtraLength(flags) => {
                    let Some(mut length) = self.input.take(2) else { return Ok(None) };
                    State::Extra(flags & !EXTRA, length.get_u16_le().into())
                }
                State::Extra(flags, 0) => after_extra_is_known(flags),
                State::Extra(flags, left) => {
                    if self.input.take(1).is_none() {
                        return Ok(None);
                    }
                    State::Extra(flags, left - 1)
                }
                State::Text(flags, length) => match self.input.take(1).as_deref() {
                    None => return Ok(None),
                    Some([0]) if flags & NAME != 0 => after_extra_is_known(flags & !NAME),
                    Some([0]) => after_extra_is_known(flags & !COMMENT),
                    Some(_) if length == MOST_TEXT => return Err(Broken::Header),
                    Some(_) => State::Text(flags, length + 1),
                },
                State::HeaderCrc => {
                    if self.input.take(2).is_none() {
                        return Ok(None);
                    }
                    State::Body
                }
                State::Body => {
                    let (piece, is_over) = self.inflate()?;
                    if is_over {
                        self.state = State::Trailer;
                    }
                    if let Some(piece) = piece {
                        return Ok(Some(piece));
                    }
                    if !is_over {
                        return Ok(None);
                    }
                    State::Trailer
                }
                State::Trailer => {
                    let Some(mut trailer) = self.input.take(8) else { return Ok(None) };
                    let crc = core::mem::take(&mut self.crc).finalize();
                    if trailer.get_u32_le() != crc || trailer.get_u32_le() != self.length {
                        return Err(Broken::Checksum);
                    }
                    self.length = 0;
                    self.streams += 1;
                    self.inflater.reset(DataFormat::Raw);
                    State::Head
                }
            };
        }
    }

    pub(super) fn finish(&self) -> Result<(), Broken> {
        let is_between = matches!(self.state, State::Head) && self.input.is_empty();
        if is_between && self.streams > 0 { Ok(()) } else { Err(Broken::CutShort) }
    }

    /// A piece, if there is one, and whether the stream ends after it.
    fn inflate(&mut self) -> Result<(Option<Bytes>, bool), Broken> {
        let mut piece = BytesMut::zeroed(PIECE);
        let result = inflate(&mut self.inflater, &self.input.bytes, &mut piece, MZFlush::None);
        self.input.advance(result.bytes_consumed);
        piece.truncate(result.bytes_written);
        self.crc.update(&piece);
        self.length = self.length.wrapping_add(piece.len() as u32);
        let is_over = match result.status {
            Ok(MZStatus::StreamEnd) => true,
            // No room or no input: neither is wrong.
            Ok(MZStatus::Ok) | Err(MZError::Buf) => false,
            Ok(MZStatus::NeedDict) | Err(_) => return Err(Broken::Data),
        };
        Ok(((!piece.is_empty()).then(|| piece.freeze()), is_over))
    }
}

/// The part of the header that comes next, where these are still to come.
fn after_extra_is_known(flags: u8) -> State {
    if flags & EXTRA != 0 {
        State::ExtraLength(flags)
    } else if flags & (NAME | COMMENT) != 0 {
        State::Text(flags, 0)
    } else if flags & HEADER_CRC != 0 {
        State::HeaderCrc
    } else {
        State::Body
    }
}

/// Writes one stream.
pub(crate) struct Encoder {
    deflater: Box<CompressorOxide>,
    crc: crc32fast::Hasher,
    length: u32,
    is_begun: bool,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        let flags = create_comp_flags_from_zip_params(LEVEL, RAW_WINDOW, 0);
        Encoder {
            deflater: Box::new(CompressorOxide::new(flags)),
            crc: crc32fast::Hasher::new(),
            length: 0,
            is_begun: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut BytesMut) {
        self.begin(out);
        self.crc.update(bytes);
        self.length = self.length.wrapping_add(bytes.len() as u32);
        self.deflate(bytes, MZFlush::None, out);
    }

    pub(super) fn finish(mut self, out: &mut BytesMut) {
        self.begin(out);
        self.deflate(&[], MZFlush::Finish, out);
        out.put_u32_le(self.crc.finalize());
        out.put_u32_le(self.length);
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if !core::mem::replace(&mut self.is_begun, true) {
            out.put_slice(&MAGIC);
            // No flags, no time, no extra flags, no operating system.
            out.put_slice(&[DEFLATE, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    fn deflate(&mut self, mut bytes: &[u8], flush: MZFlush, out: &mut BytesMut) {
        let mut piece = alloc::vec![0; PIECE];
        loop {
            let result = deflate(&mut self.deflater, bytes, &mut piece, flush);
            out.put_slice(piece.get(..result.bytes_written).unwrap_or_default());
            bytes = bytes.get(result.bytes_consumed..).unwrap_or_default();
            let is_full = result.bytes_written == piece.len();
            let goes_on = matches!(result.status, Ok(MZStatus::Ok));
            if !goes_on || (bytes.is_empty() && !is_full && flush == MZFlush::None) {
                return;
            }
        }
    }
}
