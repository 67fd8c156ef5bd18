//! Which paths above one have recursive watches, found in one pass over its names.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::paths::{PathId, Paths};
use crate::hash::HashKey;

/// A path with recursive watches.
#[derive(Debug)]
struct Watched {
    hash: u64,
    path: PathId,
    watches: u32,
}

/// All of them. A path's hash follows from that of its parent and its last name.
#[derive(Debug)]
pub(super) struct Recursive {
    all: HashTable<Watched>,
    key: HashKey,
    factor: u64,
}

impl Recursive {
    /// None.
    pub(super) fn new(key: HashKey) -> Recursive {
        Recursive { all: HashTable::new(), factor: key.of(b"recursive") | 1, key }
    }

    /// A recursive watch came to a path, or went if it is not `more`.
    pub(super) fn count(&mut self, paths: &Paths, path: PathId, more: bool) {
        let hash = self.hash(paths.text(path));
        match self.all.entry(hash, |one| one.path == path, |one| one.hash) {
            Entry::Occupied(mut one) if more => one.get_mut().watches += 1,
            Entry::Occupied(mut one) => {
                one.get_mut().watches -= 1;
                if one.get().watches == 0 {
                    one.remove();
                }
            }
            Entry::Vacant(place) if more => {
                place.insert(Watched { hash, path, watches: 1 });
            }
            Entry::Vacant(_) => {}
        }
    }

    /// Tells of those above a path (`PathParentIterator`).
    pub(super) fn above(&self, paths: &Paths, path: &str, mut each: impl FnMut(PathId)) {
        let (mut hash, mut name) = (0, 0);
        for (end, _) in path.bytes().enumerate().filter(|(_, byte)| *byte == b'/') {
            hash = self.with(hash, &path.as_bytes()[name..end]);
            name = end + 1;
            let above = match end {
                0 if path.len() > 1 => "/",
                0 => continue,
                end => &path[..end],
            };
            let is_above = |one: &Watched| one.hash == hash && paths.text(one.path) == above;
            if let Some(one) = self.all.find(hash, is_above) {
                each(one.path);
            }
        }
    }

    fn hash(&self, path: &str) -> u64 {
        let path = if path == "/" { "" } else { path };
        path.split('/').fold(0, |hash, name| self.with(hash, name.as_bytes()))
    }

    fn with(&self, hash: u64, name: &[u8]) -> u64 {
        let product = u128::from(hash ^ self.key.of(name)) * u128::from(self.factor);
        product as u64 ^ (product >> 64) as u64
    }
}
