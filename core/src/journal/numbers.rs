//! Numbers in as many bytes as they need, and texts with their length before them.

use alloc::string::String;

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::jute::{Malformed, Reader};

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put_number(out: &mut BytesMut, mut n: u64) {
    while n >= 0x80 {
        out.put_u8(n as u8 | 0x80);
        n >>= 7;
    }
    out.put_u8(n as u8);
}

/// Reads a number.
pub(super) fn number(r: &mut Reader<'_>) -> Result<u64, Malformed> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = r.byte()?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        n |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(n);
        }
    }
    Err(Malformed::Value("a number"))
}

/// Appends a signed number; small ones of both signs are short.
pub(super) fn put_signed(out: &mut BytesMut, n: i64) {
    put_number(out, ((n << 1) ^ (n >> 63)) as u64);
}

/// Reads a signed number.
pub(super) fn signed(r: &mut Reader<'_>) -> Result<i64, Malformed> {
    let n = number(r)?;
    Ok((n >> 1) as i64 ^ -((n & 1) as i64))
}

/// Appends bytes after their length.
pub(super) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// Reads bytes; they share the segment's memory.
pub(super) fn bytes(r: &mut Reader<'_>) -> Result<Bytes, Malformed> {
    let n = usize::try_from(number(r)?).map_err(|_| Malformed::Truncated)?;
    r.bytes(n)
}

/// Reads a text.
pub(super) fn text(r: &mut Reader<'_>) -> Result<String, Malformed> {
    String::from_utf8(bytes(r)?.to_vec()).map_err(|_| Malformed::Value("a text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(n: u64, shift in 0..64u32, s: i64) {
            let mut out = BytesMut::new();
            put_number(&mut out, n >> shift);
            put_signed(&mut out, s >> shift);
            let all = out.freeze();
            let mut r = Reader::new(&all);
            prop_assert_eq!(number(&mut r), Ok(n >> shift));
            prop_assert_eq!(signed(&mut r), Ok(s >> shift));
            prop_assert!(r.is_empty());
        }
    }

    #[test]
    fn overlong_number_is_refused() {
        let too_long = Bytes::from_static(&[0xff; 11]);
        assert!(number(&mut Reader::new(&too_long)).is_err());
        let too_large = Bytes::from_static(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2]);
        assert!(number(&mut Reader::new(&too_large)).is_err());
    }
}
