//! What a node keeps in one allocation: its name, its data, and its counters in few bytes.
//!
//! ```text
//! flags   length of the name   length of the data   name   data   ACL   counters
//! ```
//! Numbers take as many bytes as they need, and what most nodes do not have takes none: who was
//! never changed has no `mzxid`, `mtime` and `version` of its own. What only parents need is not
//! in it: `cversion` is 0 here, and `pzxid` is `czxid`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::acls;
use super::stat::StoredStat;
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

/// A number in its longest form, bytes.
const LONGEST: usize = 10;
/// All of a record's: flags, two lengths, and behind the data eight numbers at most.
const NUMBERS: usize = 1 + 10 * LONGEST;

/// A node's bytes.
#[derive(Debug)]
pub(super) struct Record(Box<[u8]>);

impl Record {
    pub(super) fn new(name: &str, data: Option<&[u8]>, acl: i64, stat: &StoredStat) -> Record {
        Record::of(name.as_bytes(), data, acl, stat)
    }

    fn of(name: &[u8], data: Option<&[u8]>, acl: i64, stat: &StoredStat) -> Record {
        let numbers = Numbers::of(name, data, acl, stat);
        let parts = [numbers.head(), name, data.unwrap_or_default(), numbers.tail()];
        let mut all = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| all.extend_from_slice(part));
        Record(all.into_boxed_slice())
    }

    /// Replaces all but the name; in place, if it takes as many bytes as before.
    pub(super) fn replace(&mut self, data: Option<&[u8]>, acl: i64, stat: &StoredStat) {
        let at = self.layout();
        let numbers = Numbers::of(self.name_bytes(), data, acl, stat);
        let (head, numbers) = (numbers.head(), numbers.tail());
        let parts = [head, data.unwrap_or_default(), numbers];
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if head.len() != at.name || length + at.data - at.name != self.0.len() {
            *self = Record::of(self.name_bytes(), data, acl, stat);
            return;
        }
        let (first, rest) = self.0.split_at_mut(at.data);
        first[..head.len()].copy_from_slice(head);
        let (middle, last) = rest.split_at_mut(parts[1].len());
        middle.copy_from_slice(parts[1]);
        last.copy_from_slice(numbers);
    }

    /// The same with the data that are there.
    pub(super) fn set_counters(&mut self, acl: i64, stat: &StoredStat) {
        let at = self.layout();
        let numbers = Numbers::of(self.name_bytes(), self.data(), acl, stat);
        let (head, numbers) = (numbers.head(), numbers.tail());
        if at.numbers + numbers.len() != self.0.len() {
            *self = Record::of(self.name_bytes(), self.data(), acl, stat);
            return;
        }
        self.0[..head.len()].copy_from_slice(head);
        self.0[at.numbers..].copy_from_slice(numbers);
    }

    pub(super) fn name_bytes(&self) -> &[u8] {
        let at = self.layout();
        &self.0[at.name..at.data]
    }

    pub(super) fn name(&self) -> &str {
        // It came as text.
        core::str::from_utf8(self.name_bytes()).unwrap_or_default()
    }

    pub(super) fn data(&self) -> Option<&[u8]> {
        let at = self.layout();
        (self.0[0] & HAS_DATA != 0).then(|| &self.0[at.data..at.numbers])
    }

    pub(super) fn data_len(&self) -> usize {
        let at = self.layout();
        at.numbers - at.data
    }

    /// The counters that are in it.
    pub(super) fn stat(&self) -> StoredStat {
        self.counters(self.acl_and_counters().1)
    }

    /// All that is in it, found at once.
    pub(super) fn contents(&self) -> Contents<'_> {
        let at = self.layout();
        let (acl, counters) = self.acl_and_counters_at(&at);
        Contents {
            name: &self.0[at.name..at.data],
            data: (self.0[0] & HAS_DATA != 0).then(|| &self.0[at.data..at.numbers]),
            acl,
            stat: self.counters(counters),
        }
    }

    fn counters(&self, mut rest: &[u8]) -> StoredStat {
        let flags = self.0[0];
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
    pub(super) fn czxid(&self) -> Zxid {
        let (_, mut counters) = self.acl_and_counters();
        Zxid(take(&mut counters) as i64)
    }

    /// The ACL's index.
    pub(super) fn acl(&self) -> i64 {
        self.acl_and_counters().0
    }

    fn acl_and_counters(&self) -> (i64, &[u8]) {
        self.acl_and_counters_at(&self.layout())
    }

    fn acl_and_counters_at(&self, at: &Layout) -> (i64, &[u8]) {
        let mut rest = &self.0[at.numbers..];
        let acl = if self.0[0] & HAS_ACL == 0 { acls::OPEN } else { take_signed(&mut rest) };
        (acl, rest)
    }

    fn layout(&self) -> Layout {
        let mut rest = &self.0[1..];
        let (name, data) = (take(&mut rest) as usize, take(&mut rest) as usize);
        let begin = self.0.len() - rest.len();
        Layout { name: begin, data: begin + name, numbers: begin + name + data }
    }
}

/// What a record holds.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) name: &'a [u8],
    /// Null and empty differ.
    pub(super) data: Option<&'a [u8]>,
    /// The ACL's index.
    pub(super) acl: i64,
    pub(super) stat: StoredStat,
}

/// Where the parts of a record begin.
struct Layout {
    name: usize,
    data: usize,
    numbers: usize,
}

/// What is before the name and what is behind the data.
struct Numbers {
    bytes: [u8; NUMBERS],
    head: usize,
    end: usize,
}

impl Numbers {
    fn of(name: &[u8], data: Option<&[u8]>, acl: i64, stat: &StoredStat) -> Numbers {
        let mut out = Numbers { bytes: [0; NUMBERS], head: 0, end: 1 };
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
        out.put(name.len() as u64);
        out.put(data.map_or(0, <[u8]>::len) as u64);
        out.head = out.end;
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

    fn tail(&self) -> &[u8] {
        &self.bytes[self.head..self.end]
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
    use alloc::vec;

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

    #[test]
    fn whatever_is_put_in_comes_out() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut known = Record::new("", None, acls::OPEN, &StoredStat::default());
        for _ in 0..20_000 {
            let stat = random_stat(&mut rng);
            let acl = if rng.bool() { acls::OPEN } else { rng.i64(..) };
            let data = rng.bool().then(|| vec![rng.u8(..); rng.usize(..300)]);
            let mut data = data.as_deref();
            match rng.u32(..3) {
                0 => known = Record::new(&"äx".repeat(rng.usize(..80)), data, acl, &stat),
                1 => known.replace(data, acl, &stat),
                _ => known.set_counters(acl, &stat),
            }
            let copy = Record::new(known.name(), known.data(), known.acl(), &known.stat());
            assert_eq!(copy.0, known.0);
            if known.data() != data {
                data = known.data();
            }
            assert_eq!((known.data(), known.data_len()), (data, data.map_or(0, <[u8]>::len)));
            assert_eq!((known.stat(), known.czxid(), known.acl()), (stat, stat.czxid, acl));
            let all = known.contents();
            assert_eq!((all.name, all.data), (known.name_bytes(), data));
            assert_eq!((all.acl, all.stat), (acl, stat));
        }
    }

    #[test]
    fn a_new_node_takes_few_bytes_beside_its_name_and_data() {
        let stat = StoredStat::created(Zxid(1 << 32 | 77), 1_700_000_000_000, 0);
        let record = Record::new("name", Some(&[7; 100]), acls::OPEN, &stat);
        assert_eq!(record.0.len(), 4 + 100 + 14);
    }
}
