//! A node's stat, and its part of the digest.

use crate::types::Zxid;
use crate::wire::client::Stat;

/// A node's persistent counters (`StatPersisted`). `cversion` counts creates only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoredStat {
    /// Created by.
    pub czxid: Zxid,
    /// Modified by.
    pub mzxid: Zxid,
    /// Created at, ms since 1970.
    pub ctime: i64,
    /// Modified at, ms since 1970.
    pub mtime: i64,
    /// Data changes.
    pub version: i32,
    /// Children created, ever.
    pub cversion: i32,
    /// ACL changes.
    pub aversion: i32,
    /// Session id, or the mark of a container or TTL node.
    pub ephemeral_owner: i64,
    /// Last child created or deleted by.
    pub pzxid: Zxid,
}

impl StoredStat {
    /// The counters of a node made by this transaction.
    pub fn created(zxid: Zxid, time_ms: i64, ephemeral_owner: i64) -> StoredStat {
        StoredStat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            ephemeral_owner,
            ..StoredStat::default()
        }
    }

    /// The stat that clients get (`DataNode.copyStat`).
    pub(super) fn visible(&self, kind: OwnerKind, data_length: usize, children: u32) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(children as i32),
            aversion: self.aversion,
            ephemeral_owner: if kind == OwnerKind::Ephemeral { self.ephemeral_owner } else { 0 },
            data_length: data_length as i32,
            num_children: children as i32,
            pzxid: self.pzxid,
        }
    }
}

/// The meaning of a node's owner field (`EphemeralType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnerKind {
    /// No owner.
    Persistent,
    /// Removed with its session.
    Ephemeral,
    /// Removed once it has lost its last child.
    Container,
    /// Removed when it was not changed for this many ms and has no children.
    Ttl(i64),
}

const TTL_MASK: i64 = 0xff00_0000_0000_0000_u64 as i64;
const TTL_RESERVED: i64 = 0x00ff_ff00_0000_0000;
const TTL_VALUE: i64 = 0x0000_00ff_ffff_ffff;

impl OwnerKind {
    /// The owner field of a container.
    pub const CONTAINER_OWNER: i64 = i64::MIN;

    /// The owner field of a TTL node.
    pub const fn ttl_owner(ttl_ms: i64) -> i64 {
        TTL_MASK | (ttl_ms & TTL_VALUE)
    }

    /// Reads an owner field. TTL nodes exist only with extended types; without them such an
    /// owner is a session. ZooKeeper 3.5.3 marked them with the sign alone: with `emulate_353`
    /// its nodes are TTL nodes, too.
    pub const fn of(owner: i64, extended_types: bool, emulate_353: bool) -> OwnerKind {
        if owner == 0 {
            OwnerKind::Persistent
        } else if owner == Self::CONTAINER_OWNER {
            OwnerKind::Container
        } else if extended_types
            && (owner & TTL_MASK == TTL_MASK && owner & TTL_RESERVED == 0
                || emulate_353 && owner < 0)
        {
            OwnerKind::Ttl(owner & TTL_VALUE)
        } else {
            OwnerKind::Ephemeral
        }
    }
}

/// A node's part of the tree's digest (`DigestCalculator` version 2). What lies below
/// `/zookeeper` does not count, ACLs neither.
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StoredStat) -> u64 {
    digest_of(path, hash_contents(path, data), stat)
}

/// The part of it that counters do not change.
pub fn hash_contents(path: &str, data: Option<&[u8]>) -> u32 {
    if path.starts_with(UNCOUNTED) {
        return 0;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(if path == "/" { b"" } else { path.as_bytes() });
    crc.update(data.unwrap_or_default());
    crc.finalize()
}

/// A node's part, from what [`hash_contents`] gave.
pub fn digest_of(path: &str, contents: u32, stat: &StoredStat) -> u64 {
    if path.starts_with(UNCOUNTED) {
        return 0;
    }
    let mut crc = crc32fast::Hasher::new_with_initial(contents);
    let mut counters = [0u8; 60];
    let longs = [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime, stat.mtime];
    for (at, value) in longs.iter().enumerate() {
        counters[at * 8..at * 8 + 8].copy_from_slice(&value.to_be_bytes());
    }
    for (at, value) in [stat.version, stat.cversion, stat.aversion].iter().enumerate() {
        counters[40 + at * 4..44 + at * 4].copy_from_slice(&value.to_be_bytes());
    }
    counters[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    crc.update(&counters);
    u64::from(crc.finalize())
}

/// The nodes below this are each server's own, and no part of the digest.
const UNCOUNTED: &str = "/zookeeper/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_apart() {
        let ttl = OwnerKind::ttl_owner(60_000);
        for (owner, extended, expected) in [
            (0, true, OwnerKind::Persistent),
            (0x0100_0060_2919_0000, true, OwnerKind::Ephemeral),
            (i64::MIN, false, OwnerKind::Container),
            (ttl, true, OwnerKind::Ttl(60_000)),
            (ttl, false, OwnerKind::Ephemeral),
            (-1, true, OwnerKind::Ephemeral),
        ] {
            assert_eq!(OwnerKind::of(owner, extended, false), expected, "{owner:#x} {extended}");
        }
        let old = i64::MIN | 60_000;
        assert_eq!(OwnerKind::of(old, true, true), OwnerKind::Ttl(60_000));
        assert_eq!(OwnerKind::of(old, false, true), OwnerKind::Ephemeral);
        assert_eq!(OwnerKind::of(i64::MIN, true, true), OwnerKind::Container);
    }
}
