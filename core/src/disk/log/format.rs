//! The transaction log's bytes: header, entries, and how an entry can be damaged
//! (`FileTxnLog`).

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::Zxid;
use crate::wire::entries::Entry;

/// Length of a log file's header.
pub(crate) const HEADER_LEN: u64 = 16;
/// Checksum and length before a body.
pub(crate) const ENTRY_HEAD: usize = 12;
/// A TxnHeader: no body is shorter.
pub(crate) const LEAST_BODY: usize = 32;

/// The first bytes of a log file.
pub(crate) const MAGIC: &[u8] = b"ZKLG";

const HEADER: [u8; 16] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";
/// The mark behind a body.
pub(crate) const END_MARK: u8 = b'B';

/// Appends a log file's header.
pub(crate) fn put_header(out: &mut BytesMut) {
    out.put_slice(&HEADER);
}

/// Whether these bytes begin a log file that can be read: magic and version, any dbid.
pub(crate) fn is_header(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER.len() && bytes[..8] == HEADER[..8]
}

/// Appends one entry.
pub(crate) fn put_entry(out: &mut BytesMut, body: &[u8]) {
    out.put_i64(i64::from(simd_adler32::adler32(&body)));
    out.put_i32(body.len() as i32);
    out.put_slice(body);
    out.put_u8(END_MARK);
}

/// The damage of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Damage {
    /// The file ends inside it.
    #[error("the file ends inside the entry")]
    CutShort,
    /// Its length cannot be.
    #[error("the entry's length {0} cannot be")]
    Length(i32),
    /// Its length is above the limit.
    #[error("the entry's length {0} is above the limit for a record")]
    TooLong(i32),
    /// The byte after the body is not `B`.
    #[error("the entry's end mark is missing")]
    EndMark,
    /// The body's checksum is another.
    #[error("the entry's checksum is wrong")]
    Checksum,
    /// No header where the file begins.
    #[error("the file's header is missing")]
    Header,
}

/// The content at an offset of a log file.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// An entry, `len` bytes long.
    Entry {
        /// Its body is a copy: it outlives the buffer that it was read into.
        entry: Entry,
        /// With checksum, length and end mark.
        len: usize,
    },
    /// At least this many bytes are needed to say.
    Need(usize),
    /// Padding, or the end of the file.
    End,
    /// Not an entry.
    Damaged(Damage),
}

/// Reads the entry at the front of `bytes`. `is_rest`: nothing of the file follows them.
pub(crate) fn parse(bytes: &[u8], is_rest: bool, max_body: usize) -> Parsed {
    let Some((head, after)) = bytes.split_first_chunk::<ENTRY_HEAD>() else {
        return match (is_rest, bytes.iter().all(|b| *b == 0)) {
            (false, _) => Parsed::Need(ENTRY_HEAD),
            (true, true) => Parsed::End,
            (true, false) => Parsed::Damaged(Damage::CutShort),
        };
    };
    let (checksum, length) = parse_head(head);
    if length == 0 && checksum == 0 {
        return Parsed::End;
    }
    let len = match usize::try_from(length) {
        Ok(len) if len > max_body => return Parsed::Damaged(Damage::TooLong(length)),
        Ok(len) if len >= LEAST_BODY => len,
        Ok(_) | Err(_) => return Parsed::Damaged(Damage::Length(length)),
    };
    if after.len() <= len {
        return if is_rest {
            Parsed::Damaged(Damage::CutShort)
        } else {
            Parsed::Need(ENTRY_HEAD + len + 1)
        };
    }
    let (body, end) = after.split_at(len);
    if end.first() != Some(&END_MARK) {
        return Parsed::Damaged(Damage::EndMark);
    }
    if i64::from(simd_adler32::adler32(&body)) != checksum {
        return Parsed::Damaged(Damage::Checksum);
    }
    let entry = Entry { zxid: zxid_of(body), body: Bytes::copy_from_slice(body) };
    Parsed::Entry { entry, len: ENTRY_HEAD + len + 1 }
}

/// Checksum and length.
pub(crate) fn parse_head(head: &[u8; ENTRY_HEAD]) -> (i64, i32) {
    let (mut checksum, mut length) = ([0; 8], [0; 4]);
    checksum.copy_from_slice(&head[..8]);
    length.copy_from_slice(&head[8..]);
    (i64::from_be_bytes(checksum), i32::from_be_bytes(length))
}

/// Whether an entry could begin here: a cheap look before the checksum.
pub(crate) fn looks_like_entry(bytes: &[u8], max_body: usize) -> bool {
    let Some((head, _)) = bytes.split_first_chunk::<ENTRY_HEAD>() else { return false };
    let (checksum, length) = parse_head(head);
    checksum > 0
        && checksum <= i64::from(u32::MAX)
        && usize::try_from(length).is_ok_and(|n| (LEAST_BODY..=max_body).contains(&n))
}

/// The zxid in a body's TxnHeader (after client id and cxid).
fn zxid_of(body: &[u8]) -> Zxid {
    let zxid = body.get(12..20).and_then(|b| b.try_into().ok()).map_or(0, i64::from_be_bytes);
    Zxid(zxid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(zxid: i64, more: usize) -> BytesMut {
        let mut body = BytesMut::new();
        body.put_i64(7);
        body.put_i32(1);
        body.put_i64(zxid);
        body.put_i64(0);
        body.put_i32(5);
        body.put_bytes(b'x', more);
        body
    }

    #[test]
    fn an_entry_is_read_back_from_any_cut_or_asks_for_more() {
        let mut bytes = BytesMut::new();
        put_entry(&mut bytes, &body(9, 5));
        for n in 0..bytes.len() {
            assert!(matches!(parse(&bytes[..n], false, 100), Parsed::Need(_)), "{n}");
            let rest = parse(&bytes[..n], true, 100);
            match n {
                // A checksum's upper half is zero, as padding is.
                0..=4 => assert!(matches!(rest, Parsed::End), "{n}"),
                _ => assert!(matches!(rest, Parsed::Damaged(Damage::CutShort)), "{n}"),
            }
        }
        match parse(&bytes, false, 100) {
            Parsed::Entry { entry, len } => assert_eq!((entry.zxid, len), (Zxid(9), bytes.len())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut bytes = BytesMut::new();
        put_entry(&mut bytes, &body(9, 5));
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(matches!(parse(&bad, true, 100), Parsed::Damaged(_)), "bit {at}");
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_allocated() {
        let mut bytes = BytesMut::new();
        put_entry(&mut bytes, &body(9, 100));
        assert!(matches!(parse(&bytes, true, 131), Parsed::Damaged(Damage::TooLong(132))));
        let mut negative = BytesMut::new();
        negative.put_i64(1);
        negative.put_i32(-5);
        assert!(matches!(parse(&negative, true, 131), Parsed::Damaged(Damage::Length(-5))));
    }
}
