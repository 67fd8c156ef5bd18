//! Transactions on their way: one alone, and those that go together.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::Zxid;

/// One log entry: a transaction as it is on the wire and on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The transaction's zxid, as in its header.
    pub zxid: Zxid,
    /// TxnHeader, record, and digest: opaque below `prep`.
    pub body: Bytes,
}

/// Before a transaction on the wire: what kind of packet, its zxid, how long it is.
pub(crate) const FRAME_HEAD: usize = 16;
/// After it: that there are no ids.
pub(crate) const FRAME_TAIL: usize = 4;

/// Consecutive transactions as they stand on the wire: whole packets (PROPOSAL or INFORM, without
/// ids), one after the other, in one piece of memory. Wherever they go together, to the followers,
/// to the log, into the history and to the state machine, that memory is shared and nothing is done
/// for each of them. There is at least one, and each one's zxid is the last one's next.
#[derive(Clone, PartialEq, Eq)]
pub struct Entries {
    frames: Bytes,
    count: usize,
}

impl Entries {
    /// A transaction alone, copied.
    pub fn one(zxid: Zxid, body: &[u8]) -> Entries {
        let mut frames = BytesMut::with_capacity(FRAME_HEAD + body.len() + FRAME_TAIL);
        put_entry(&mut frames, zxid, body);
        Entries { frames: frames.freeze(), count: 1 }
    }

    /// The entries of `count` complete PROPOSAL packets of consecutive zxids.
    pub(crate) fn of_frames(frames: Bytes, count: usize) -> Entries {
        debug_assert_eq!(Iter { rest: &frames }.count(), count);
        Entries { frames, count }
    }

    /// Copies entries together, those of consecutive zxids in one piece each.
    pub fn gather(entries: &[Entry]) -> impl Iterator<Item = Entries> {
        let runs = entries.chunk_by(|one, other| one.zxid.0.checked_add(1) == Some(other.zxid.0));
        runs.map(|run| {
            let bytes = run.iter().map(|one| FRAME_HEAD + one.body.len() + FRAME_TAIL).sum();
            let mut frames = BytesMut::with_capacity(bytes);
            for Entry { zxid, body } in run {
                put_entry(&mut frames, *zxid, body);
            }
            Entries { frames: frames.freeze(), count: run.len() }
        })
    }

    /// How many.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The zxid of the first.
    pub fn first(&self) -> Zxid {
        self.iter().next().map_or(Zxid::ZERO, |(zxid, _)| zxid)
    }

    /// The zxid of the last.
    pub fn last(&self) -> Zxid {
        Zxid(self.first().0.saturating_add(self.count as i64 - 1))
    }

    /// Zxids and transactions.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.frames }
    }

    /// One by one, sharing the memory.
    pub fn each(&self) -> impl Iterator<Item = Entry> + '_ {
        self.iter().map(|(zxid, body)| Entry { zxid, body: self.frames.slice_ref(body) })
    }

    /// The packets.
    pub fn frames(&self) -> &Bytes {
        &self.frames
    }

    /// Bytes of the transactions alone.
    pub fn body_bytes(&self) -> usize {
        self.frames.len() - self.count * (FRAME_HEAD + FRAME_TAIL)
    }

    /// Cuts off the first ones, so many; none if that is nothing, or would be all.
    pub(crate) fn split_to(&mut self, count: usize) -> Option<Entries> {
        if count == 0 || count >= self.count {
            return None;
        }
        let mut iter = self.iter();
        iter.nth(count - 1);
        let at = self.frames.len() - iter.rest.len();
        self.count -= count;
        Some(Entries { frames: self.frames.split_to(at), count })
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.each()).finish()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = (Zxid, &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Goes through [`Entries`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Zxid, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(Zxid, &'a [u8])> {
        let (head, rest) = self.rest.split_first_chunk::<FRAME_HEAD>()?;
        let [_, _, _, _, zxid @ .., l0, l1, l2, l3] = head;
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        self.rest = rest.get(FRAME_TAIL..)?;
        Some((Zxid(i64::from_be_bytes(*zxid)), body))
    }
}

/// As the PROPOSAL that `wire` would write, which stands above this room.
fn put_entry(out: &mut BytesMut, zxid: Zxid, body: &[u8]) {
    const PROPOSAL: i32 = 2;
    out.put_i32(PROPOSAL);
    out.put_i64(zxid.0);
    out.put_i32(body.len() as i32);
    out.put_slice(body);
    out.put_slice(&[0xff; FRAME_TAIL]);
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn entry(zxid: i64) -> Entry {
        Entry { zxid: Zxid(zxid), body: Bytes::from(alloc::format!("transaction {zxid}")) }
    }

    #[test]
    fn gathered_entries_are_returned() {
        let all: Vec<Entry> = [3, 4, 5, 9, 10, 12].map(entry).into();
        let runs: Vec<Entries> = Entries::gather(&all).collect();
        let bounds: Vec<_> = runs.iter().map(|run| (run.first().0, run.last().0)).collect();
        assert_eq!(bounds, [(3, 5), (9, 10), (12, 12)]);
        assert_eq!(runs.iter().flat_map(Entries::each).collect::<Vec<_>>(), all);
        assert_eq!(runs[2], Entries::one(Zxid(12), b"transaction 12"));
        assert_eq!(runs[0].body_bytes(), 3 * 13);
    }

    #[test]
    fn the_first_ones_can_be_cut_off() {
        let all: Vec<Entry> = (1..=5).map(entry).collect();
        let mut rest = Entries::gather(&all).next().unwrap();
        assert_eq!((rest.split_to(0), rest.split_to(5), rest.split_to(6)), (None, None, None));
        let first = rest.split_to(2).unwrap();
        assert_eq!((first.first(), first.last(), first.len()), (Zxid(1), Zxid(2), 2));
        assert_eq!((rest.first(), rest.last(), rest.len()), (Zxid(3), Zxid(5), 3));
        let together: Vec<Entry> = first.each().chain(rest.each()).collect();
        assert_eq!(together, all);
    }
}
