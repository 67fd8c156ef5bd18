//! The permissions in a long ACL, found without a scan of its entries.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::client::{Acl, Id};
use super::network::{Address, Network};

/// So many entries are looked through one by one.
const FEW: usize = 8;

/// The entries of a long ACL in order, each id once with the permissions of all its entries.
/// It is made once, when the ACL is, and costs no more than reading it did.
#[derive(Debug)]
pub(crate) struct AclIndex {
    /// Of `world:anyone`.
    world: i32,
    /// Of all entries of the scheme `x509`.
    x509: i32,
    /// Places of entries, by scheme and id.
    exact: Vec<(u32, i32)>,
    networks: Vec<(Network, i32)>,
    /// The lengths of these networks.
    bits: Vec<usize>,
}

impl AclIndex {
    /// None for an ACL that is short.
    pub(crate) fn new(all: &[Acl]) -> Option<Box<AclIndex>> {
        if all.len() <= FEW {
            return None;
        }
        let mut index = AclIndex {
            world: 0,
            x509: 0,
            exact: Vec::new(),
            networks: Vec::new(),
            bits: Vec::new(),
        };
        for (at, Acl { perms, id: Id { scheme, id } }) in all.iter().enumerate() {
            match &**scheme {
                "world" if &**id == "anyone" => index.world |= perms,
                "world" => {}
                "ip" => index.networks.extend(Network::parse(id).map(|network| (network, *perms))),
                scheme => {
                    index.x509 |= if scheme == "x509" { *perms } else { 0 };
                    index.exact.push((u32::try_from(at).ok()?, *perms));
                }
            }
        }
        let key = |at: u32| key(&all[at as usize].id);
        index.exact.sort_unstable_by(|(a, _), (b, _)| key(*a).cmp(&key(*b)));
        unite(&mut index.exact, |a, b| key(*a) == key(*b));
        index.networks.sort_unstable();
        unite(&mut index.networks, |a, b| a == b);
        index.bits = index.networks.iter().map(|(network, _)| network.bits()).collect();
        index.bits.dedup();
        Some(Box::new(index))
    }

    /// The permissions of everybody.
    pub(crate) fn of_anyone(&self) -> i32 {
        self.world
    }

    /// The permissions of every client with a certificate.
    pub(crate) fn of_x509(&self) -> i32 {
        self.x509
    }

    /// The permissions of an id whose scheme compares exact texts; `all` is the ACL.
    pub(crate) fn of_id(&self, all: &[Acl], id: &Id) -> i32 {
        let found = self.exact.binary_search_by(|(at, _)| key(&all[*at as usize].id).cmp(&key(id)));
        found.map_or(0, |at| self.exact[at].1)
    }

    /// The permissions of an address.
    pub(crate) fn of_address(&self, address: &str) -> i32 {
        let Some(address) = Address::parse(address) else { return 0 };
        let of = |bits: &usize| {
            let network = address.network(*bits);
            let found = self.networks.binary_search_by(|(other, _)| other.cmp(&network));
            found.map_or(0, |at| self.networks[at].1)
        };
        self.bits.iter().map(of).fold(0, |all, perms| all | perms)
    }

    /// How many entries are compared, at most, for so many ids.
    pub(crate) fn compared(&self, ids: usize) -> usize {
        let depth = |n: usize| (usize::BITS - n.leading_zeros()) as usize;
        ids * depth(self.exact.len()) + self.bits.len() * depth(self.networks.len())
    }
}

fn key(id: &Id) -> (&str, &str) {
    (&id.scheme, &id.id)
}

/// Puts the permissions of what is the same together, in a sorted list.
fn unite<T>(all: &mut Vec<(T, i32)>, same: impl Fn(&T, &T) -> bool) {
    all.dedup_by(|(next, perms), (first, united)| {
        let is_same = same(next, first);
        *united |= if is_same { *perms } else { 0 };
        is_same
    });
    all.shrink_to_fit();
}
