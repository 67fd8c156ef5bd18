//! A snapshot's bytes around its body: header, cumulative seals, digest section, last zxid
//! (`FileSnap`, `SnapStream`).

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use simd_adler32::Adler32;

use crate::types::Zxid;
use crate::wire::{Malformed, Reader};

/// Length of the header: magic, version 2, dbid -1.
pub(crate) const HEADER_LEN: usize = 16;
/// The version of the digest that is written.
pub(crate) const DIGEST_VERSION: i32 = 2;
/// The end of every complete snapshot: the seal's path `/`.
pub(crate) const LAST_BYTES: [u8; 5] = [0, 0, 0, 1, b'/'];
/// No tail is longer: three seals, a digest section of any version, a zxid.
const MAX_TAIL: usize = 4096;
const SEAL_LEN: usize = 8 + LAST_BYTES.len();

/// The first bytes of a snapshot.
pub(crate) const MAGIC: &[u8] = b"ZKSN";

const HEADER: [u8; HEADER_LEN] = *b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";

/// The digest section: the tree's digest when the walk over it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotDigest {
    /// The last transaction applied then.
    pub zxid: Zxid,
    /// The digest's version; only 2 can be compared.
    pub version: i32,
    /// The sum of the nodes' digests.
    pub digest: u64,
}

/// Counts the bytes of a snapshot into its running checksum.
pub(crate) struct Sealer {
    adler: Adler32,
}

impl Sealer {
    /// Begins with the header, which is handed out.
    pub(crate) fn new() -> (Sealer, Bytes) {
        let mut sealer = Sealer { adler: Adler32::new() };
        sealer.adler.write(&HEADER);
        (sealer, Bytes::from_static(&HEADER))
    }
    /// More of the body.
    pub(crate) fn body(&mut self, bytes: &[u8]) {
        self.adler.write(bytes);
    }
    /// The part after the body.
    pub(crate) fn tail(mut self, digest: Option<(Zxid, u64)>, last_zxid: Option<Zxid>) -> BytesMut {
        let mut out = BytesMut::new();
        self.seal(&mut out, 0);
        if let Some((zxid, digest)) = digest {
            let from = out.len();
            out.put_i64(zxid.0);
            out.put_i32(DIGEST_VERSION);
            out.put_u64(digest);
            self.seal(&mut out, from);
        }
        if let Some(zxid) = last_zxid {
            let from = out.len();
            out.put_i64(zxid.0);
            self.seal(&mut out, from);
        }
        out
    }
    /// Counts what is new since `from`, and appends a seal, which counts for the next one.
    fn seal(&mut self, out: &mut BytesMut, from: usize) {
        self.adler.write(out.get(from..).unwrap_or_default());
        let from = out.len();
        out.put_i64(i64::from(self.adler.finish()));
        out.put_slice(&LAST_BYTES);
        self.adler.write(out.get(from..).unwrap_or_default());
    }
}

/// Why a snapshot cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Unsound {
    /// Magic or version is another.
    #[error("its header is not a snapshot's")]
    Header,
    /// A seal's checksum is another.
    #[error("a checksum is wrong")]
    Seal,
    /// The part after the body is not as it must be.
    #[error("its end cannot be read: {0}")]
    Tail(Malformed),
    /// The part after the body is too long.
    #[error("its end is too long")]
    TooLong,
}

/// The part after the body, gathered while the checksum continues.
pub(crate) struct Unsealer {
    adler: Adler32,
    tail: Vec<u8>,
}

/// The content of the part after the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SnapshotTail {
    /// The digest section, if there is one.
    pub(crate) digest: Option<SnapshotDigest>,
    /// The last transaction applied when the writing ended, if that is said.
    pub(crate) last_zxid: Option<Zxid>,
}

impl SnapshotTail {
    /// The last transaction that may have left traces in the body, if that is known.
    pub(crate) fn reach(&self) -> Option<Zxid> {
        // An epoch's first zxid is that of no transaction.
        self.digest.map(|d| d.zxid).or(self.last_zxid).filter(|zxid| zxid.counter() > 0)
    }
}

impl Unsealer {
    /// Begins with the header.
    pub(crate) fn new(header: &[u8]) -> Result<Unsealer, Unsound> {
        if header.len() != HEADER_LEN || header[..8] != HEADER[..8] {
            return Err(Unsound::Header);
        }
        let mut adler = Adler32::new();
        adler.write(header);
        Ok(Unsealer { adler, tail: Vec::new() })
    }
    /// More of the body.
    pub(crate) fn body(&mut self, bytes: &[u8]) {
        self.adler.write(bytes);
    }
    /// More of what follows the body.
    pub(crate) fn tail(&mut self, bytes: &[u8]) -> Result<(), Unsound> {
        if self.tail.len() + bytes.len() > MAX_TAIL {
            return Err(Unsound::TooLong);
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }
    /// Checks the seals, of which there are as many as the writer's version had sections.
    pub(crate) fn finish(mut self) -> Result<SnapshotTail, Unsound> {
        let bytes = Bytes::from(core::mem::take(&mut self.tail));
        let mut r = Reader::new(&bytes);
        self.check_seal(&mut r)?;
        // 21 bytes are the last zxid with its seal; it is for restoring by an
        // administrator, the name of the file tells where the replay begins.
        let has_digest = !r.is_empty() && r.remaining() != 8 + SEAL_LEN;
        let digest = if has_digest { Some(self.digest(&mut r)?) } else { None };
        let mut last_zxid = None;
        if !r.is_empty() {
            let before = r.rest();
            last_zxid = Some(Zxid(r.long().map_err(Unsound::Tail)?));
            self.count(&before, &r);
            self.check_seal(&mut r)?;
        }
        Ok(SnapshotTail { digest, last_zxid })
    }

    fn digest(&mut self, r: &mut Reader<'_>) -> Result<SnapshotDigest, Unsound> {
        let before = r.rest();
        let zxid = Zxid(r.long().map_err(Unsound::Tail)?);
        let version = r.int().map_err(Unsound::Tail)?;
        let digest = if version < 2 {
            let hex = r.text().map_err(Unsound::Tail)?;
            u64::from_str_radix(&hex, 16).unwrap_or(0)
        } else {
            r.long().map_err(Unsound::Tail)? as u64
        };
        self.count(&before, r);
        self.check_seal(r)?;
        Ok(SnapshotDigest { zxid, version, digest })
    }

    fn check_seal(&mut self, r: &mut Reader<'_>) -> Result<(), Unsound> {
        let before = r.rest();
        let seal = r.long().map_err(Unsound::Tail)?;
        r.text().map_err(Unsound::Tail)?;
        if seal != i64::from(self.adler.finish()) {
            return Err(Unsound::Seal);
        }
        self.count(&before, r);
        Ok(())
    }

    /// Counts what was read since `before` was the rest.
    fn count(&mut self, before: &Bytes, r: &Reader<'_>) {
        let read = before.len() - r.remaining();
        self.adler.write(before.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(digest: Option<(Zxid, u64)>, last: Option<Zxid>) -> Vec<u8> {
        let (mut sealer, header) = Sealer::new();
        sealer.body(b"the body");
        let mut all = header.to_vec();
        all.extend_from_slice(b"the body");
        all.extend_from_slice(&sealer.tail(digest, last));
        all
    }

    fn read(all: &[u8]) -> Result<SnapshotTail, Unsound> {
        let mut unsealer = Unsealer::new(&all[..16])?;
        unsealer.body(&all[16..24]);
        unsealer.tail(&all[24..])?;
        unsealer.finish()
    }

    #[test]
    fn every_combination_of_sections_is_read_back() {
        let digest = Some((Zxid(5), 77));
        for (d, l) in [(None, None), (digest, None), (None, Some(Zxid(6))), (digest, Some(Zxid(6)))]
        {
            let all = written(d, l);
            assert_eq!(all[all.len() - 5..], LAST_BYTES);
            let expected = d.map(|(zxid, digest)| SnapshotDigest { zxid, version: 2, digest });
            assert_eq!(read(&all), Ok(SnapshotTail { digest: expected, last_zxid: l }));
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let all = written(Some((Zxid(5), 77)), Some(Zxid(6)));
        for at in 0..all.len() - 5 {
            let mut bad = all.clone();
            bad[at] ^= 0x10;
            assert!(read(&bad).is_err(), "byte {at}");
        }
        // A whole section less is an older writer's snapshot.
        let whole = [24 + 13, 24 + 13 + 33];
        for n in (24..all.len()).filter(|n| !whole.contains(n)) {
            assert!(read(&all[..n]).is_err(), "cut at {n}");
        }
    }
}
