//! A parent's children: their order, and above a few an index of their names.
//!
//! The order follows from what was added and removed alone. The index holds places in it, in
//! two bytes as long as these are enough.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::tree::NodeId;

/// So many children are looked through one by one.
const FEW: usize = 4;
/// What is an eighth full at most becomes smaller, but not below this.
const LITTLE: usize = 64;

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
    Short(Box<HashTable<u16>>),
    Long(Box<HashTable<u32>>),
}

/// A place in the order, as the index has it.
trait Position: Copy {
    fn of(at: usize) -> Self;
    fn at(self) -> usize;
}

impl Position for u16 {
    fn of(at: usize) -> u16 {
        at as u16
    }

    fn at(self) -> usize {
        self.into()
    }
}

impl Position for u32 {
    fn of(at: usize) -> u32 {
        at as u32
    }

    fn at(self) -> usize {
        self as usize
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
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let it = |at: usize| is_it(self.order[at]);
        let at = match &self.index {
            Index::None => (0..self.order.len()).find(|at| it(*at)),
            Index::Short(table) => table.find(hash, |at| it(at.at())).map(|at| at.at()),
            Index::Long(table) => table.find(hash, |at| it(at.at())).map(|at| at.at()),
        };
        at.map(|at| self.order[at])
    }

    /// Adds one, as the last.
    pub(super) fn add(&mut self, id: NodeId, hash: impl Fn(NodeId) -> u64) {
        let at = self.order.len();
        self.order.push(id);
        let is_in = match &mut self.index {
            Index::None => at < FEW,
            Index::Short(table) => at <= u16::MAX.into() && put(table, at, hash(id)),
            Index::Long(table) => put(table, at, hash(id)),
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
            Index::Short(table) => take(table, order, id, &hash),
            Index::Long(table) => take(table, order, id, &hash),
        };
        let Some(at) = at else { return };
        self.order.swap_remove(at);
        if self.order.capacity() > LITTLE && self.order.len() < self.order.capacity() / 8 {
            self.order.shrink_to(self.order.len() * 2);
            self.index_anew(hash);
        }
    }

    /// Makes an index with room for half as many again. Names are asked for in the order in which they
    /// were made: mostly one behind the other in memory.
    fn index_anew(&mut self, hash: impl Fn(NodeId) -> u64) {
        self.index = match self.order.len() {
            0..=FEW => Index::None,
            few if few <= usize::from(u16::MAX) + 1 => Index::Short(table(&self.order, hash)),
            _ => Index::Long(table(&self.order, hash)),
        };
    }
}

fn table<P: Position>(order: &[NodeId], hash: impl Fn(NodeId) -> u64) -> Box<HashTable<P>> {
    let mut table = HashTable::with_capacity(order.len() + order.len() / 2);
    for (at, id) in order.iter().enumerate() {
        table.insert_unique(hash(*id), P::of(at), |at| hash(order[at.at()]));
    }
    Box::new(table)
}

/// False if there is no room.
fn put<P: Position>(table: &mut HashTable<P>, at: usize, hash: u64) -> bool {
    let has_room = table.len() < table.capacity();
    if has_room {
        table.insert_unique(hash, P::of(at), |_| hash);
    }
    has_room
}

/// Takes a child out of the index, and gives its place to the last one.
fn take<P: Position>(
    table: &mut HashTable<P>,
    order: &[NodeId],
    id: NodeId,
    hash: &impl Fn(NodeId) -> u64,
) -> Option<usize> {
    let last = order.len() - 1;
    let entry = table.find_entry(hash(id), |at| order[at.at()] == id).ok()?;
    let at = entry.remove().0.at();
    if at != last
        && let Some(moved) = table.find_mut(hash(order[last]), |other| other.at() == last)
    {
        *moved = P::of(at);
    }
    Some(at)
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
        assert_eq!(kinds.iter().position(|kind| *kind == 2), Some(FEW));
        assert_eq!(kinds.iter().position(|kind| *kind == 4), Some(1 << 16));
        for id in 0..69_999 {
            children.remove(id, hash);
        }
        assert_eq!((kind(&children), children.order.as_slice()), (2, &[69_999][..]));
        assert!(children.order.capacity() <= 2 * LITTLE, "{}", children.order.capacity());
        assert_eq!(children.find(hash(69_999), |id| id == 69_999), Some(69_999));
    }
}
