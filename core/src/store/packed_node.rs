//! A node in one piece of bytes: who is above it, its name, its data, and its counters in few
//! bytes.
//!
//! ```text
//! parent   own   flags   length of the name   name   length of the data   data   ACL   counters
//! ```
//! The first two take four bytes each. Other numbers take as many as they need, and what most
//! nodes do not have takes none: who was never changed has no `mzxid`, `mtime` and `version` of its
//! own. What only parents need is not in it: `cversion` is 0 here, and `pzxid` is `czxid`. Behind
//! the last counter there may be bytes that mean nothing.

use super::acls;
use super::arena::size_class;
use super::stat::StoredStat;
use super::tree::NodeId;
use crate::types::Zxid;

/// The data are not null.
const HAS_DATA: u8 = 1;
/// The index of the ACL is there: it is not the open one's.
const HAS_ACL: u8 = 2;
/// `mzxid`, `mtime` and `version` are there: they are not as they were created.
const CHANGED: u8 = 4;
/// `aversion` is there: it is not 0.
const ACL_CHANGED: u8 = 8;
/// The owner is there.
const OWNED: u8 = 16;

/// Where the flags are: behind the parent and what is the node's own.
const FLAGS: usize = 8;
/// A number in its longest form, bytes.
const LONGEST: usize = 10;
/// All of a record's: flags, two lengths, and behind the data eight numbers at most.
const NUMBERS: usize = 1 + 10 * LONGEST;
/// Marks a parent's number: the node itself is a parent, too.
const IS_PARENT: u32 = 1 << 31;

/// The second word of a node: its digest, or its data as a parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Own {
    /// The part of the tree's digest of a node that never had a child; 0 where none is computed.
    Digest(u32),
    /// The place of one that had, among the parents.
    Parent(u32),
}

/// A node's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedNode<'a>(&'a [u8]);

impl<'a> PackedNode<'a> {
    /// Bytes that [`Draft::write`] has written.
    pub(super) fn new(bytes: &'a [u8]) -> PackedNode<'a> {
        PackedNode(bytes)
    }

    /// The node above; the root's is the root.
    pub(super) fn parent(self) -> NodeId {
        self.int(0) & !IS_PARENT
    }

    /// See [`Own`].
    pub(super) fn own(self) -> Own {
        match self.int(0) & IS_PARENT {
            0 => Own::Digest(self.int(4)),
            _ => Own::Parent(self.int(4)),
        }
    }

    fn int(self, at: usize) -> u32 {
        self.0[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    #[inline]
    pub(super) fn name_bytes(self) -> &'a [u8] {
        let mut rest = &self.0[FLAGS + 1..];
        let length = take(&mut rest) as usize;
        &rest[..length]
    }

    pub(super) fn name(self) -> &'a str {
        // It came as text.
        core::str::from_utf8(self.name_bytes()).unwrap_or_default()
    }

    /// Its data; null and empty differ.
    pub(super) fn data(self) -> Option<&'a [u8]> {
        let at = self.layout();
        (self.flags() & HAS_DATA != 0).then(|| &self.0[at.data..at.numbers])
    }

    /// How many bytes of data.
    pub(super) fn data_len(self) -> usize {
        let at = self.layout();
        at.numbers - at.data
    }

    /// The counters that are in it.
    pub(super) fn stat(self) -> StoredStat {
        self.counters(self.acl_and_counters().1)
    }

    /// All that is in it, found at once.
    pub(super) fn contents(self) -> Contents<'a> {
        let at = self.layout();
        let (acl, counters) = self.acl_and_counters_at(&at);
        Contents {
            name: self.name_bytes(),
            data: (self.flags() & HAS_DATA != 0).then(|| &self.0[at.data..at.numbers]),
            acl,
            stat: self.counters(counters),
        }
    }

    fn counters(self, mut rest: &[u8]) -> StoredStat {
        let flags = self.flags();
        let (czxid, ctime) = (Zxid(take(&mut rest) as i64), take(&mut rest) as i64);
        let mut stat = StoredStat { czxid, ctime, ..StoredStat::default() };
        (stat.mzxid, stat.mtime, stat.pzxid) = (czxid, ctime, czxid);
        if flags & CHANGED != 0 {
            stat.mzxid = Zxid(czxid.0.wrapping_add(take_signed(&mut rest)));
            stat.mtime = ctime.wrapping_add(take_signed(&mut rest));
            stat.version = take_signed(&mut rest) as i32;
        }
        if flags & ACL_CHANGED != 0 {
            stat.aversion = take_signed(&mut rest) as i32;
        }
        if flags & OWNED != 0 {
            stat.ephemeral_owner = take(&mut rest) as i64;
        }
        stat
    }

    /// When it was created.
    pub(super) fn czxid(self) -> Zxid {
        let (_, mut counters) = self.acl_and_counters();
        Zxid(take(&mut counters) as i64)
    }

    /// The ACL's index.
    pub(super) fn acl(self) -> i64 {
        self.acl_and_counters().0
    }

    fn flags(self) -> u8 {
        self.0[FLAGS]
    }

    fn acl_and_counters(self) -> (i64, &'a [u8]) {
        self.acl_and_counters_at(&self.layout())
    }

    fn acl_and_counters_at(self, at: &Layout) -> (i64, &'a [u8]) {
        let mut rest = &self.0[at.numbers..];
        let has_acl = self.flags() & HAS_ACL != 0;
        let acl = if has_acl { take_signed(&mut rest) } else { acls::OPEN };
        (acl, rest)
    }

    fn layout(self) -> Layout {
        let mut rest = &self.0[FLAGS + 1..];
        let name = take(&mut rest) as usize;
        rest = &rest[name..];
        let length = self.0.len() - rest.len();
        let data = take(&mut rest) as usize;
        let begin = self.0.len() - rest.len();
        Layout { length, data: begin, numbers: begin + data }
    }
}

/// Says whose child a node is, and what it has beside that, in place of what was said before.
pub(super) fn set_parent(record: &mut [u8], parent: NodeId, own: Own) {
    let (parent, own) = match own {
        Own::Digest(digest) => (parent, digest),
        Own::Parent(parent_data) => (parent | IS_PARENT, parent_data),
    };
    record[..4].copy_from_slice(&parent.to_le_bytes());
    record[4..FLAGS].copy_from_slice(&own.to_le_bytes());
}

/// The contents of a packed node.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) name: &'a [u8],
    /// Null and empty differ.
    pub(super) data: Option<&'a [u8]>,
    /// The ACL's index.
    pub(super) acl: i64,
    pub(super) stat: StoredStat,
}

/// The contents of a packed node, except its parent.
pub(super) struct Draft<'a> {
    name: &'a [u8],
    data: &'a [u8],
    numbers: Numbers,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        name: &'a [u8],
        data: Option<&'a [u8]>,
        acl: i64,
        stat: &StoredStat,
    ) -> Draft<'a> {
        let numbers = Numbers::of(name.len(), data.map(<[u8]>::len), acl, stat);
        Draft { name, data: data.unwrap_or_default(), numbers }
    }

    /// How many bytes it takes, those that say who is above included.
    pub(super) fn len(&self) -> usize {
        FLAGS + self.numbers.end + self.name.len() + self.data.len()
    }

    /// Puts it into a record, all but its first [`FLAGS`] bytes.
    pub(super) fn write(&self, record: &mut [u8]) {
        let numbers = &self.numbers;
        let parts = [numbers.head(), self.name, numbers.length(), self.data, numbers.tail()];
        write(record, FLAGS, &parts);
    }
}

fn write(record: &mut [u8], mut at: usize, parts: &[&[u8]]) {
    for part in parts {
        record[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
}

/// Replaces all of a record but its name and who is above; false, and nothing is done, unless the
/// arena would give as much room as there is.
pub(super) fn replace(record: &mut [u8], data: Option<&[u8]>, acl: i64, stat: &StoredStat) -> bool {
    let (at, name) = (PackedNode(record).layout(), PackedNode(record).name_bytes().len());
    let numbers = Numbers::of(name, data.map(<[u8]>::len), acl, stat);
    let data = data.unwrap_or_default();
    let len = FLAGS + numbers.end + name + data.len();
    if size_class(len) != record.len() {
        return false;
    }
    record[FLAGS] = numbers.head()[0];
    write(record, at.length, &[numbers.length(), data, numbers.tail()]);
    true
}

/// Replaces a record's ACL and counters; false, and nothing is done, unless the arena would give as
/// much room as there is.
pub(super) fn set_counters(record: &mut [u8], acl: i64, stat: &StoredStat) -> bool {
    let (at, has_data) = (PackedNode(record).layout(), PackedNode(record).flags() & HAS_DATA != 0);
    let data = has_data.then_some(at.numbers - at.data);
    let numbers = Numbers::of(PackedNode(record).name_bytes().len(), data, acl, stat);
    if size_class(at.numbers + numbers.tail().len()) != record.len() {
        return false;
    }
    record[FLAGS] = numbers.head()[0];
    write(record, at.numbers, &[numbers.tail()]);
    true
}

/// Where the parts of a record begin.
struct Layout {
    /// The length of the data.
    length: usize,
    data: usize,
    numbers: usize,
}

/// The numbers before the name, between name and data, and behind the data.
struct Numbers {
    bytes: [u8; NUMBERS],
    head: usize,
    length: usize,
    end: usize,
}

impl Numbers {
    fn of(name: usize, data: Option<usize>, acl: i64, stat: &StoredStat) -> Numbers {
        let mut out = Numbers { bytes: [0; NUMBERS], head: 0, length: 0, end: 1 };
        let is_changed = (stat.mzxid, stat.mtime, stat.version) != (stat.czxid, stat.ctime, 0);
        let flags = [
            (data.is_some(), HAS_DATA),
            (is_changed, CHANGED),
            (stat.aversion != 0, ACL_CHANGED),
            (stat.ephemeral_owner != 0, OWNED),
            (acl != acls::OPEN, HAS_ACL),
        ];
        let flags = flags.iter().filter(|(is_so, _)| *is_so).map(|(_, flag)| flag).sum();
        out.bytes[0] = flags;
        out.put(name as u64);
        out.head = out.end;
        out.put(data.unwrap_or_default() as u64);
        out.length = out.end;
        if flags & HAS_ACL != 0 {
            out.put_signed(acl);
        }
        out.put(stat.czxid.0 as u64);
        out.put(stat.ctime as u64);
        if flags & CHANGED != 0 {
            out.put_signed(stat.mzxid.0.wrapping_sub(stat.czxid.0));
            out.put_signed(stat.mtime.wrapping_sub(stat.ctime));
            out.put_signed(stat.version.into());
        }
        if flags & ACL_CHANGED != 0 {
            out.put_signed(stat.aversion.into());
        }
        if flags & OWNED != 0 {
            out.put(stat.ephemeral_owner as u64);
        }
        out
    }

    fn head(&self) -> &[u8] {
        &self.bytes[..self.head]
    }

    fn length(&self) -> &[u8] {
        &self.bytes[self.head..self.length]
    }

    fn tail(&self) -> &[u8] {
        &self.bytes[self.length..self.end]
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn put(&mut self, mut value: u64) {
        while value > 0x7f {
            self.bytes[self.end] = value as u8 | 0x80;
            self.end += 1;
            value >>= 7;
        }
        self.bytes[self.end] = value as u8;
        self.end += 1;
    }

    /// Small numbers of either sign are short.
    fn put_signed(&mut self, value: i64) {
        self.put((value << 1 ^ value >> 63) as u64);
    }
}

#[inline]
fn take(rest: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((byte, more)) = rest.split_first() {
        *rest = more;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 || shift == 63 {
            break;
        }
        shift += 7;
    }
    value
}

fn take_signed(rest: &mut &[u8]) -> i64 {
    let value = take(rest);
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn random_stat(rng: &mut fastrand::Rng) -> StoredStat {
        let some = |rng: &mut fastrand::Rng| match rng.u32(..4) {
            0 => 0,
            1 => rng.i64(..),
            2 => i64::from(rng.i32(..)),
            _ => [i64::MIN, i64::MAX, -1, 1][rng.usize(..4)],
        };
        let czxid = Zxid(some(rng));
        let mut stat =
            StoredStat { czxid, pzxid: czxid, ctime: some(rng), ..StoredStat::default() };
        (stat.mzxid, stat.mtime) = (czxid, stat.ctime);
        if rng.bool() {
            (stat.mzxid, stat.mtime, stat.version) = (Zxid(some(rng)), some(rng), some(rng) as i32);
        }
        (stat.aversion, stat.ephemeral_owner) = (some(rng) as i32, some(rng));
        stat
    }

    fn written(draft: &Draft<'_>) -> Vec<u8> {
        let mut bytes = vec![0xff; size_class(draft.len())];
        draft.write(&mut bytes);
        set_parent(&mut bytes, 5, Own::Digest(6));
        bytes
    }

    #[test]
    fn packed_node_returns_its_contents() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut name = String::new();
        let mut known = written(&Draft::new(b"", None, acls::OPEN, &StoredStat::default()));
        let (mut replaced, mut moved) = (0, 0);
        for _ in 0..20_000 {
            let stat = random_stat(&mut rng);
            let acl = if rng.bool() { acls::OPEN } else { rng.i64(..) };
            let data = rng.bool().then(|| vec![rng.u8(..); rng.usize(..300)]);
            let mut data = data.as_deref();
            let old = PackedNode(&known).data().map(<[u8]>::to_vec);
            let done = match rng.u32(..3) {
                0 => {
                    name = "äx".repeat(rng.usize(..80));
                    false
                }
                1 => replace(&mut known, data, acl, &stat),
                _ => {
                    data = old.as_deref();
                    set_counters(&mut known, acl, &stat)
                }
            };
            if done {
                replaced += 1;
            } else {
                moved += 1;
                known = written(&Draft::new(name.as_bytes(), data, acl, &stat));
            }
            let own = [Own::Digest(rng.u32(..)), Own::Parent(rng.u32(..))][rng.usize(..2)];
            set_parent(&mut known, 77, own);
            let record = PackedNode(&known);
            assert_eq!((record.parent(), record.own()), (77, own));
            assert_eq!((record.name(), record.name_bytes()), (name.as_str(), name.as_bytes()));
            assert_eq!((record.data(), record.data_len()), (data, data.map_or(0, <[u8]>::len)));
            assert_eq!((record.stat(), record.czxid(), record.acl()), (stat, stat.czxid, acl));
            let all = record.contents();
            assert_eq!((all.name, all.data), (name.as_bytes(), data));
            assert_eq!((all.acl, all.stat), (acl, stat));
        }
        assert!(replaced > 1000 && moved > 1000, "{replaced} {moved}");
    }

    #[test]
    fn a_new_node_takes_few_bytes_beside_its_name_and_data() {
        let stat = StoredStat::created(Zxid(1 << 32 | 77), 1_700_000_000_000, 0);
        let draft = Draft::new(b"name", Some(&[7; 100]), acls::OPEN, &stat);
        assert_eq!(draft.len(), 4 + 100 + 8 + 14);
    }
}
