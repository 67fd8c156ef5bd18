//! The ACL of a node, which for most nodes is the same.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use bytestring::ByteString;

use super::client::{Acl, Id, perms};
use super::jute::Reader;

/// An ACL, shared by all who have it. The one that is open to anyone takes no memory at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclList(
    /// None: open.
    Option<Arc<[Acl]>>,
);

static OPEN: [Acl; 1] = [Acl {
    perms: perms::ALL,
    id: Id { scheme: ByteString::from_static("world"), id: ByteString::from_static("anyone") },
}];

/// The same as a vector of jute.
const OPEN_BYTES: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

impl AclList {
    /// world:anyone with all permissions.
    pub const OPEN: AclList = AclList(None);

    /// Passes over a vector that is [`AclList::OPEN`]; false, and nothing is read, if it is
    /// another.
    pub(crate) fn skip_open(r: &mut Reader<'_>) -> bool {
        r.skip_if(OPEN_BYTES)
    }
}

impl Deref for AclList {
    type Target = [Acl];

    fn deref(&self) -> &[Acl] {
        self.0.as_deref().unwrap_or(&OPEN)
    }
}

impl From<&[Acl]> for AclList {
    fn from(all: &[Acl]) -> AclList {
        AclList((*all != OPEN).then(|| Arc::from(all)))
    }
}

impl From<Vec<Acl>> for AclList {
    fn from(all: Vec<Acl>) -> AclList {
        AclList((*all != OPEN).then(|| Arc::from(all)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::jute::Record;

    #[test]
    fn the_open_one_is_known_however_it_comes() {
        let open = Vec::from(&OPEN[..]);
        assert_eq!(open.to_bytes(), OPEN_BYTES);
        assert_eq!(AclList::from(open.clone()), AclList::OPEN);
        assert_eq!(AclList::from(&open[..]), AclList::OPEN);
        assert_eq!(AclList::OPEN[..], open);
    }

    #[test]
    fn another_is_not_taken_for_it() {
        let other = Acl { perms: 1, ..OPEN[0].clone() };
        for acl in [Vec::new(), Vec::from([other]), [&OPEN[..], &OPEN[..]].concat()] {
            let list = AclList::from(acl.clone());
            assert!(list != AclList::OPEN && list[..] == acl[..]);
            let bytes = acl.to_bytes();
            let mut r = Reader::new(&bytes);
            assert!(!AclList::skip_open(&mut r));
            assert_eq!(r.record(), Ok(acl));
        }
        let cut = Bytes::from_static(&OPEN_BYTES[..OPEN_BYTES.len() - 1]);
        assert!(!AclList::skip_open(&mut Reader::new(&cut)));
    }
}
