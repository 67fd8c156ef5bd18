//! One raw Snappy block: its length, then literals and copies of what came before.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

/// Blocks that are larger than this are not read. Java's writer takes 32 KiB.
const MOST_BYTES: usize = 1 << 20;
/// The greatest length of such a block (`MaxCompressedLength`).
pub(super) const MOST_COMPRESSED: usize = 32 + MOST_BYTES + MOST_BYTES / 6;

const TABLE_BITS: u32 = 14;
/// No copy reaches into the last bytes of a block.
const MARGIN: usize = 15;
const LEAST_COPY: usize = 4;
const MOST_COPY: usize = 64;

/// The decompressed block; `None` if these bytes are no block.
pub(super) fn decompress(bytes: &[u8]) -> Option<Bytes> {
    let (length, mut rest) = varint(bytes)?;
    if length > MOST_BYTES {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    while let Some((tag, after)) = rest.split_first() {
        rest = match tag & 3 {
            0 => {
                let short = usize::from(tag >> 2);
                let (n, after) = match short {
                    // 60 to 63: so many bytes of length follow, less 59.
                    60.. => {
                        let (n, after) = little_endian(after, short - 59)?;
                        (n.checked_add(1)?, after)
                    }
                    _ => (short + 1, after),
                };
                let (literal, after) = after.split_at_checked(n)?;
                if literal.len() > length - out.len() {
                    return None;
                }
                out.extend_from_slice(literal);
                after
            }
            1 => {
                let (low, after) = little_endian(after, 1)?;
                let offset = usize::from(tag >> 5) << 8 | low;
                copy(&mut out, offset, usize::from(tag >> 2 & 7) + LEAST_COPY, length)?;
                after
            }
            kind => {
                let (offset, after) = little_endian(after, if kind == 2 { 2 } else { 4 })?;
                copy(&mut out, offset, usize::from(tag >> 2) + 1, length)?;
                after
            }
        };
    }
    (out.len() == length).then(|| Bytes::from(out))
}

fn copy(out: &mut Vec<u8>, offset: usize, n: usize, length: usize) -> Option<()> {
    let from = out.len().checked_sub(offset).filter(|_| offset > 0)?;
    if n > length - out.len() {
        return None;
    }
    if n <= offset {
        out.extend_from_within(from..from + n);
    } else {
        // It goes on into what it writes.
        for i in from..from + n {
            let byte = *out.get(i)?;
            out.push(byte);
        }
    }
    Some(())
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(i + 1..)?));
        }
    }
    None
}

fn little_endian(bytes: &[u8], n: usize) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_at_checked(n)?;
    let value = number.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    Some((usize::try_from(value).ok()?, rest))
}

/// Compresses blocks of at most 64 KiB.
pub(super) struct Compressor {
    /// Where four bytes with this hash were seen last.
    table: Box<[u16]>,
}

impl Compressor {
    pub(super) fn new() -> Compressor {
        Compressor { table: vec![0; 1 << TABLE_BITS].into_boxed_slice() }
    }

    pub(super) fn compress(&mut self, block: &[u8], out: &mut BytesMut) {
        debug_assert!(block.len() <= 1 << 16);
        self.table.fill(0);
        put_varint(block.len(), out);
        // From here on nothing is written yet.
        let mut written = 0;
        let (mut at, mut missed) = (0, 0);
        while at + MARGIN < block.len() {
            let Some(candidate) = self.seen(block, at) else {
                // The longer nothing repeats, the larger the steps.
                missed += 1;
                at += 1 + (missed >> 5);
                continue;
            };
            missed = 0;
            let n = common(block, candidate, at);
            put_literal(block.get(written..at).unwrap_or_default(), out);
            put_copies(at - candidate, n, out);
            at += n;
            written = at;
        }
        put_literal(block.get(written..).unwrap_or_default(), out);
    }

    /// An earlier place with the same four bytes; the table then knows this one.
    fn seen(&mut self, block: &[u8], at: usize) -> Option<usize> {
        let four = four(block, at)?;
        let hash = (four.wrapping_mul(0x1e35_a7bd) >> (32 - TABLE_BITS)) as usize;
        let place = self.table.get_mut(hash)?;
        let candidate = usize::from(core::mem::replace(place, at as u16));
        let is_same = candidate < at && self::four(block, candidate) == Some(four);
        is_same.then_some(candidate)
    }
}

fn four(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk::<4>().map(|four| u32::from_le_bytes(*four))
}

/// How far the bytes at both layout are the same.
fn common(block: &[u8], from: usize, at: usize) -> usize {
    let (a, b) = (block.get(from..).unwrap_or_default(), block.get(at..).unwrap_or_default());
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn put_varint(mut n: usize, out: &mut BytesMut) {
    while n >= 0x80 {
        out.put_u8((n as u8) | 0x80);
        n >>= 7;
    }
    out.put_u8(n as u8);
}

fn put_literal(literal: &[u8], out: &mut BytesMut) {
    let Some(n) = literal.len().checked_sub(1) else { return };
    match n {
        0..60 => out.put_u8((n as u8) << 2),
        60..256 => out.put_slice(&[60 << 2, n as u8]),
        _ => {
            out.put_u8(61 << 2);
            out.put_u16_le(n as u16);
        }
    }
    out.put_slice(literal);
}

fn put_copies(offset: usize, mut n: usize, out: &mut BytesMut) {
    while n > 0 {
        // None of the copies may be too short for its kind.
        let now = match n {
            ..=MOST_COPY => n,
            _ if n < MOST_COPY + LEAST_COPY => MOST_COPY - LEAST_COPY,
            _ => MOST_COPY,
        };
        if (LEAST_COPY..12).contains(&now) && offset < 2048 {
            out.put_u8(1 | ((now - LEAST_COPY) as u8) << 2 | ((offset >> 8) as u8) << 5);
            out.put_u8(offset as u8);
        } else {
            out.put_u8(2 | ((now - 1) as u8) << 2);
            out.put_u16_le(offset as u16);
        }
        n -= now;
    }
}
