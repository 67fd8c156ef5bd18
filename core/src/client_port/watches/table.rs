//! The watchers of each path, and their modes (`WatchManager`).

use alloc::vec::Vec;

use super::paths::PathId;
use super::push_tight;
use crate::mutant::mutant;

/// Bits of the modes that one watcher has on one path (`WatchStats`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Modes(u32);

impl Modes {
    pub(super) const STANDARD: Modes = Modes(1);
    pub(super) const PERSISTENT: Modes = Modes(2);
    pub(super) const RECURSIVE: Modes = Modes(4);
    pub(super) const ALL: Modes = Modes(7);
    const BITS: u32 = 3;

    pub(super) fn has(self, other: Modes) -> bool {
        self.0 & other.0 != 0
    }
}

/// The number of a watcher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Slot(pub(super) u32);

impl Slot {
    /// More cannot be told apart.
    pub(super) const LIMIT: usize = 1 << (32 - Modes::BITS);
}

/// A watcher and its modes; without modes: the number of a list, plus one; 0: nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Word(u32);

impl Word {
    fn new(slot: Slot, modes: Modes) -> Word {
        Word(slot.0 << Modes::BITS | modes.0)
    }
    fn list(number: usize) -> Word {
        Word((number as u32 + 1) << Modes::BITS)
    }
    fn slot(self) -> Slot {
        Slot(self.0 >> Modes::BITS)
    }
    fn modes(self) -> Modes {
        Modes(self.0 & Modes::ALL.0)
    }
    fn list_number(self) -> Option<usize> {
        let number = (self.0 >> Modes::BITS).checked_sub(1)?;
        (self.modes() == Modes(0)).then_some(number as usize)
    }
}

/// The effect of an operation on a watcher of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) before: Modes,
    pub(super) after: Modes,
}

impl Change {
    pub(super) fn began(self) -> bool {
        self.before == Modes(0) && self.after != Modes(0)
    }
    pub(super) fn ended(self) -> bool {
        self.before != Modes(0) && self.after == Modes(0)
    }
    /// +1 or -1 if a recursive watch came or went.
    pub(super) fn recursive(self) -> i32 {
        i32::from(self.after.has(Modes::RECURSIVE)) - i32::from(self.before.has(Modes::RECURSIVE))
    }
}

/// Four bytes for a path, and four for each watcher if there are several.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By path.
    heads: Vec<Word>,
    /// In order of watchers; never empty while in use.
    lists: Vec<Vec<Word>>,
    free: Vec<usize>,
    /// Watchers of all paths.
    pub(super) pairs: usize,
    /// Paths with watchers.
    pub(super) paths: usize,
    recursive: i32,
}

impl Table {
    /// Whether a watch may be recursive.
    pub(super) fn any_recursive(&self) -> bool {
        self.recursive > 0
    }

    /// Whether nobody watches a path.
    pub(super) fn is_free(&self, path: PathId) -> bool {
        self.watchers(path).is_empty()
    }

    /// The modes of a watcher on a path.
    pub(super) fn modes(&self, path: PathId, slot: Slot) -> Modes {
        let words = self.watchers(path);
        let found = words.binary_search_by_key(&slot, |word| word.slot());
        found.ok().and_then(|at| words.get(at)).map_or(Modes(0), |word| word.modes())
    }

    /// The watchers of a path, in their order.
    pub(super) fn slots(&self, path: PathId) -> impl Iterator<Item = (Slot, Modes)> + '_ {
        self.watchers(path).iter().map(|word| (word.slot(), word.modes()))
    }

    /// Adds modes.
    pub(super) fn add(&mut self, path: PathId, slot: Slot, modes: Modes) -> Change {
        let before = self.modes(path, slot);
        let change = Change { before, after: Modes(before.0 | modes.0) };
        self.put(path, slot, change);
        change
    }

    /// Removes modes.
    pub(super) fn remove(&mut self, path: PathId, slot: Slot, modes: Modes) -> Change {
        let before = self.modes(path, slot);
        let change = Change { before, after: Modes(before.0 & !modes.0) };
        self.put(path, slot, change);
        change
    }

    /// Tells of all watchers of a path, and whether they are rid of it: a one-shot watch ends.
    pub(super) fn fire(&mut self, path: PathId, mut each: impl FnMut(Slot, bool)) {
        let Some(head) = self.heads.get_mut(path.0 as usize) else { return };
        let mut once = Modes::STANDARD;
        mutant!(PersistentWatchFiresOnce => once = Modes(once.0 | Modes::PERSISTENT.0));
        let without = |word: &mut Word| {
            word.0 &= !once.0;
            word.modes() == Modes(0)
        };
        let before = self.pairs;
        if let Some(number) = head.list_number() {
            let list = &mut self.lists[number];
            list.retain_mut(|word| {
                let ended = without(word);
                self.pairs -= usize::from(ended);
                each(word.slot(), ended);
                !ended
            });
            if list.is_empty() {
                *list = Vec::new();
                *head = Word(0);
                self.free.push(number);
            }
        } else if *head != Word(0) {
            let ended = without(head);
            self.pairs -= usize::from(ended);
            each(head.slot(), ended);
            if ended {
                *head = Word(0);
            }
        }
        if *head == Word(0) && before != self.pairs {
            self.paths -= 1;
        }
    }

    fn watchers(&self, path: PathId) -> &[Word] {
        match self.heads.get(path.0 as usize) {
            None | Some(Word(0)) => &[],
            Some(head) => match head.list_number() {
                Some(number) => &self.lists[number],
                None => core::slice::from_ref(head),
            },
        }
    }

    fn put(&mut self, path: PathId, slot: Slot, change: Change) {
        if change.before == change.after {
            return;
        }
        while self.heads.len() <= path.0 as usize {
            push_tight(&mut self.heads, Word(0));
        }
        self.recursive += change.recursive();
        self.pairs = self.pairs + usize::from(change.began()) - usize::from(change.ended());
        let head = &mut self.heads[path.0 as usize];
        let word = Word::new(slot, change.after);
        let Some(number) = head.list_number() else {
            if *head == Word(0) {
                self.paths += 1;
            } else if head.slot() != slot {
                let mut pair = Vec::from([*head, word]);
                pair.sort_unstable();
                let number = match self.free.pop() {
                    Some(number) => number,
                    None => {
                        self.lists.push(Vec::new());
                        self.lists.len() - 1
                    }
                };
                self.lists[number] = pair;
                *head = Word::list(number);
                return;
            }
            if change.ended() {
                *head = Word(0);
                self.paths -= 1;
            } else {
                *head = word;
            }
            return;
        };
        let list = &mut self.lists[number];
        match list.binary_search_by_key(&slot, |word| word.slot()) {
            Ok(at) if change.ended() => {
                list.remove(at);
                if list.capacity() > 4 * list.len() + 16 {
                    list.shrink_to(2 * list.len());
                }
            }
            Ok(at) => list[at] = word,
            Err(at) => list.insert(at, word),
        }
        if list.is_empty() {
            *list = Vec::new();
            *head = Word(0);
            self.free.push(number);
            self.paths -= 1;
        }
    }
}
