//! The table of distinct ACLs that nodes refer to (`ReferenceCountedACLCache`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::wire::acl::AclList;
use crate::wire::client::Acl;
use crate::wire::jute::Record;

/// Index of world:anyone with all permissions, which needs no entry.
pub(super) const OPEN: i64 = -1;

/// ACLs by index. Indexes are never reused, so that a snapshot under way can tell what came
/// later.
#[derive(Debug)]
pub(super) struct Acls {
    by_index: BTreeMap<i64, (AclList, u32)>,
    by_content: BTreeMap<Bytes, i64>,
    next: i64,
}

impl Acls {
    pub(super) fn new() -> Acls {
        Acls { by_index: BTreeMap::new(), by_content: BTreeMap::new(), next: 1 }
    }

    /// The index of an ACL, with one reference more.
    pub(super) fn acquire(&mut self, acl: &AclList) -> i64 {
        if *acl == AclList::OPEN {
            return OPEN;
        }
        let content = encode(acl);
        let index = *self.by_content.entry(content).or_insert_with(|| {
            self.next += 1;
            self.next - 1
        });
        self.by_index.entry(index).or_insert_with(|| (acl.clone(), 0)).1 += 1;
        index
    }

    /// One reference less; an ACL without references is forgotten.
    pub(super) fn release(&mut self, index: i64) {
        if let Some((acl, references)) = self.by_index.get_mut(&index) {
            *references = references.saturating_sub(1);
            if *references == 0 {
                self.by_content.remove(&encode(acl));
                self.by_index.remove(&index);
            }
        }
    }

    pub(super) fn get(&self, index: i64) -> &AclList {
        self.by_index.get(&index).map_or(&AclList::OPEN, |(acl, _)| acl)
    }

    /// One reference more to an index of a snapshot; false if it is not there.
    pub(super) fn refer(&mut self, index: i64) -> bool {
        match self.by_index.get_mut(&index) {
            Some((_, references)) => {
                *references += 1;
                true
            }
            None => index == OPEN,
        }
    }

    /// An entry of a snapshot's map, without references yet.
    pub(super) fn load(&mut self, index: i64, acl: Vec<Acl>) {
        self.by_content.insert(encode(&acl), index);
        self.by_index.insert(index, (acl.into(), 0));
        self.next = self.next.max(index.saturating_add(1));
    }

    /// After a snapshot: entries that no node refers to are forgotten.
    pub(super) fn loaded(&mut self) {
        let unused: Vec<i64> =
            self.by_index.iter().filter(|(_, (_, n))| *n == 0).map(|(i, _)| *i).collect();
        for index in unused {
            if let Some((acl, _)) = self.by_index.remove(&index) {
                let content = encode(&acl);
                if self.by_content.get(&content) == Some(&index) {
                    self.by_content.remove(&content);
                }
            }
        }
    }

    /// All entries, by index.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &AclList)> {
        self.by_index.iter().map(|(index, (acl, _))| (*index, acl))
    }

    /// The index that the next new ACL takes.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Whether a new reference to this ACL's content takes this index: two entries of a foreign
    /// snapshot may hold the same.
    pub(super) fn is_found(&self, index: i64, acl: &[Acl]) -> bool {
        self.by_content.get(&encode(acl)) == Some(&index)
    }

    /// An entry exactly as it was, without references yet.
    pub(super) fn restore(&mut self, index: i64, acl: Vec<Acl>, found: bool) {
        if found {
            self.by_content.insert(encode(&acl), index);
        }
        self.by_index.insert(index, (acl.into(), 0));
    }

    /// Sets the index that the next new ACL takes.
    pub(super) fn restore_next(&mut self, next: i64) {
        self.next = next;
    }

    /// Takes an index that no ACL will ever have.
    pub(super) fn reserve(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }
}

fn encode(acl: &[Acl]) -> Bytes {
    let mut out = BytesMut::new();
    for entry in acl {
        entry.write(&mut out);
    }
    out.freeze()
}
