//! A parent's children: their order, and above a few an index of their names.
//!
//! The order follows from what was added and removed alone. The index holds places in it, two
//! bytes each for some thousands, four for more. Bits that the places leave hold some of the hash,
//! so that hardly a child is looked at that is not the right one: each would be fetched from
//! memory.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::tree::NodeId;

/// So many children are looked through one by one.
const UNINDEXED_MAX: usize = 4;
/// So many children and fewer get an index of two bytes each; it has room for half as many again,
/// at least, and for less than twice as many.
const SHORT_INDEX_MAX: usize = 4096;
/// A list at most an eighth full shrinks, but not below this.
const SHRINK_MIN: usize = 64;

/// The children of one node. The names are elsewhere: who asks says what a child's hash is.
#[derive(Debug, Default)]
pub(super) struct Children {
    order: Vec<NodeId>,
    index: Index,
}

#[derive(Debug, Default)]
enum Index {
    /// Few need none.
    #[default]
    None,
    Short(Box<Table<u16>>),
    Long(Box<Table<u32>>),
}

/// Places by hash.
#[derive(Debug)]
struct Table<E> {
    entries: HashTable<E>,
    /// The bits of an entry that are the place; the others are of the hash.
    mask: u32,
}

/// The part of a child's hash in an index.
trait Entry: Copy + Into<u32> {
    fn of(bits: u32) -> Self;
}

impl Entry for u16 {
    fn of(bits: u32) -> u16 {
        bits as u16
    }
}

impl Entry for u32 {
    fn of(bits: u32) -> u32 {
        bits
    }
}

impl Children {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// All, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = NodeId> {
        self.order.iter().copied()
    }

    /// The child that has this hash and is the right one.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        match &self.index {
            Index::None => self.order.iter().copied().find(|id| is_it(*id)),
            Index::Short(table) => table.find(&self.order, hash, is_it),
            Index::Long(table) => table.find(&self.order, hash, is_it),
        }
    }

    /// Adds one, as the last.
    pub(super) fn add(&mut self, id: NodeId, hash: impl Fn(NodeId) -> u64) {
        let at = self.order.len();
        self.order.push(id);
        let is_in = match &mut self.index {
            Index::None => at < UNINDEXED_MAX,
            Index::Short(table) => table.add(at, hash(id)),
            Index::Long(table) => table.add(at, hash(id)),
        };
        if !is_in {
            self.index_anew(hash);
        }
    }

    /// Removes one; the last one takes its place.
    pub(super) fn remove(&mut self, id: NodeId, hash: impl Fn(NodeId) -> u64) {
        let order = &self.order;
        let at = match &mut self.index {
            Index::None => order.iter().position(|other| *other == id),
            Index::Short(table) => table.remove(order, id, &hash),
            Index::Long(table) => table.remove(order, id, &hash),
        };
        let Some(at) = at else { return };
        self.order.swap_remove(at);
        if self.order.capacity() > SHRINK_MIN && self.order.len() < self.order.capacity() / 8 {
            self.order.shrink_to(self.order.len() * 2);
            self.index_anew(hash);
        }
    }

    /// Makes an index with room for half as many again. Names are asked for in the order in which
    /// they were made: mostly one behind the other in memory.
    fn index_anew(&mut self, hash: impl Fn(NodeId) -> u64) {
        self.index = if self.order.len() <= UNINDEXED_MAX {
            Index::None
        } else if self.order.len() <= SHORT_INDEX_MAX {
            Index::Short(Box::new(Table::of(&self.order, hash)))
        } else {
            Index::Long(Box::new(Table::of(&self.order, hash)))
        };
    }
}

impl<E: Entry> Table<E> {
    fn of(order: &[NodeId], hash: impl Fn(NodeId) -> u64) -> Table<E> {
        let entries = HashTable::with_capacity(order.len() + order.len() / 2);
        let mask = entries.capacity().next_power_of_two() as u32 - 1;
        let mut table = Table { entries, mask };
        for (at, id) in order.iter().enumerate() {
            table.add(at, hash(*id));
        }
        table
    }

    #[inline]
    fn find(&self, order: &[NodeId], hash: u64, is_it: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let wanted = self.entry(0, hash);
        let place = |entry: u32| order[(entry & self.mask) as usize];
        let found = self.entries.find(hash, |entry| {
            let entry = (*entry).into();
            entry & !self.mask == wanted && is_it(place(entry))
        });
        found.map(|entry| place((*entry).into()))
    }

    /// False if there is no room.
    fn add(&mut self, at: usize, hash: u64) -> bool {
        let has_room = self.entries.len() < self.entries.capacity();
        if has_room {
            let entry = E::of(self.entry(at, hash));
            self.entries.insert_unique(hash, entry, |_| hash);
        }
        has_room
    }

    /// Takes a child out, and gives its place to the last one.
    fn remove(
        &mut self,
        order: &[NodeId],
        id: NodeId,
        hash: &impl Fn(NodeId) -> u64,
    ) -> Option<usize> {
        let (last, mask) = (order.len() - 1, self.mask);
        let place = |entry: &E| ((*entry).into() & mask) as usize;
        let found = self.entries.find_entry(hash(id), |entry| order[place(entry)] == id).ok()?;
        let at = place(&found.remove().0);
        if at != last
            && let hash = hash(order[last])
            && let Some(moved) = self.entries.find_mut(hash, |entry| place(entry) == last)
        {
            *moved = E::of((*moved).into() & !mask | at as u32);
        }
        Some(at)
    }

    /// The table goes by the hash's lowest and highest bits; these are others.
    fn entry(&self, at: usize, hash: u64) -> u32 {
        let entry = E::of((hash >> 24) as u32 & !self.mask | at as u32);
        entry.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a child that is named by its number; a few have the same.
    fn hash(id: NodeId) -> u64 {
        u64::from(id / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn children_come_and_go() {
        let mut rng = fastrand::Rng::with_seed(5);
        let (mut children, mut known) = (Children::default(), Vec::new());
        let phases = [(6, 500), (3000, 20_000), (0, 6000), (90_000, 150_000), (10, 200_000)];
        for (wanted, turns) in phases {
            for _ in 0..turns {
                let id = rng.u32(..200_000);
                let found = children.find(hash(id), |other| other == id);
                assert_eq!(found.is_some(), known.get(id as usize).is_some_and(|there| *there));
                if rng.usize(..children.len() + wanted + 1) >= wanted {
                    let any = rng.usize(..children.len().max(1));
                    let Some(id) = children.iter().nth(any) else { continue };
                    children.remove(id, hash);
                    known[id as usize] = false;
                } else if found.is_none() {
                    children.add(id, hash);
                    known.resize(known.len().max(id as usize + 1), false);
                    known[id as usize] = true;
                }
            }
            assert!(children.iter().all(|id| known[id as usize]));
            assert_eq!(children.len(), known.iter().filter(|there| **there).count());
        }
    }

    #[test]
    fn the_index_is_as_large_as_it_must_be() {
        let mut children = Children::default();
        let mut kinds = Vec::new();
        let kind = |children: &Children| match children.index {
            Index::None => 0,
            Index::Short(_) => 2,
            Index::Long(_) => 4,
        };
        for id in 0..70_000 {
            children.add(id, hash);
            kinds.push(kind(&children));
        }
        assert_eq!(kinds.iter().position(|kind| *kind == 2), Some(UNINDEXED_MAX));
        assert_eq!(kinds.iter().position(|kind| *kind == 4), Some(7 << 10));
        for id in 0..69_999 {
            children.remove(id, hash);
        }
        assert_eq!((kind(&children), children.order.as_slice()), (2, &[69_999][..]));
        assert!(children.order.capacity() <= 2 * SHRINK_MIN, "{}", children.order.capacity());
        assert_eq!(children.find(hash(69_999), |id| id == 69_999), Some(69_999));
    }
}
