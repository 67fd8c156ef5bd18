//! The ACL of a node, which for most nodes is the same.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::acl_index::AclIndex;
use super::client::{Acl, Id, perms};
use super::jute::{Malformed, Reader, Record, Writer};

/// An ACL, shared by all who have it. The one that is open to anyone takes no memory at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclList(
    /// None: open.
    Option<Arc<Entries>>,
);

#[derive(Debug)]
struct Entries {
    all: Vec<Acl>,
    index: Option<Box<AclIndex>>,
}

impl PartialEq for Entries {
    fn eq(&self, other: &Entries) -> bool {
        self.all == other.all
    }
}

impl Eq for Entries {}

static OPEN: [Acl; 1] = [Acl {
    perms: perms::ALL,
    id: Id { scheme: ByteString::from_static("world"), id: ByteString::from_static("anyone") },
}];

/// The same as a vector of jute.
const OPEN_BYTES: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

impl AclList {
    /// world:anyone with all permissions.
    pub const OPEN: AclList = AclList(None);

    /// The index of a long one.
    pub(crate) fn index(&self) -> Option<&AclIndex> {
        self.0.as_ref()?.index.as_deref()
    }

    /// Passes over a vector that is [`AclList::OPEN`]; false, and nothing is read, if it is
    /// another.
    pub(crate) fn skip_open(r: &mut Reader<'_>) -> bool {
        r.skip_if(OPEN_BYTES)
    }
}

impl Deref for AclList {
    type Target = [Acl];

    fn deref(&self) -> &[Acl] {
        self.0.as_ref().map_or(&OPEN, |entries| &entries.all)
    }
}

impl Record for AclList {
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if AclList::skip_open(r) { Ok(AclList::OPEN) } else { Vec::read(r).map(AclList::from) }
    }

    fn write(&self, out: &mut BytesMut) {
        match &self.0 {
            None => out.put_slice(OPEN_BYTES),
            Some(entries) => {
                out.put_count(entries.all.len());
                entries.all.iter().for_each(|entry| entry.write(out));
            }
        }
    }
}

impl From<&[Acl]> for AclList {
    fn from(all: &[Acl]) -> AclList {
        if *all == OPEN { AclList::OPEN } else { AclList::from(all.to_vec()) }
    }
}

impl From<Vec<Acl>> for AclList {
    fn from(all: Vec<Acl>) -> AclList {
        if *all == OPEN {
            return AclList::OPEN;
        }
        let index = AclIndex::new(&all);
        AclList(Some(Arc::new(Entries { all, index })))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_open_one_is_known_however_it_comes() {
        let open = Vec::from(&OPEN[..]);
        assert_eq!(open.to_bytes(), OPEN_BYTES);
        assert_eq!(AclList::from(open.clone()), AclList::OPEN);
        assert_eq!(AclList::from(&open[..]), AclList::OPEN);
        assert_eq!(AclList::OPEN[..], open);
        assert_eq!(AclList::OPEN.to_bytes(), OPEN_BYTES);
        let bytes = Bytes::from_static(OPEN_BYTES);
        assert_eq!(Reader::new(&bytes).record(), Ok(AclList::OPEN));
    }

    #[test]
    fn another_is_not_taken_for_it() {
        let other = Acl { perms: 1, ..OPEN[0].clone() };
        for acl in [Vec::new(), Vec::from([other]), [&OPEN[..], &OPEN[..]].concat()] {
            let list = AclList::from(acl.clone());
            assert!(list != AclList::OPEN && list[..] == acl[..]);
            let bytes = acl.to_bytes();
            assert_eq!(list.to_bytes(), bytes);
            assert_eq!(Reader::new(&bytes).record(), Ok(list));
            let mut r = Reader::new(&bytes);
            assert!(!AclList::skip_open(&mut r));
            assert_eq!(r.record(), Ok(acl));
        }
        let cut = Bytes::from_static(&OPEN_BYTES[..OPEN_BYTES.len() - 1]);
        assert!(!AclList::skip_open(&mut Reader::new(&cut)));
    }
}
