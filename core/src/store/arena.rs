//! Room for many short pieces of bytes, without an allocation and a pointer for each.
//!
//! Lengths are rounded up to one of a few; pieces of one length share pages. A page whose last
//! piece is gone is given back, so that what a tree once held does not stay taken. What is
//! longer than [`LONGEST`] is an allocation of its own.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use slab::Slab;

/// The longest piece that shares a page, bytes.
const LONGEST: usize = 1024;
/// A page is at most so long, bytes; the first ones of each length are shorter.
const PAGE: usize = 8 << 10;
/// How many pieces the first page of a length has.
const FIRST: usize = 8;
/// A place names a page's slot in so many bits: pieces have 16 bytes and more.
const SLOT_BITS: u32 = 9;
/// Marks the place of a piece that has an allocation of its own.
const OVERSIZED: u32 = 1 << 31;
/// Pages that places can name: 32 GiB. Further pieces have allocations of their own.
const MOST_PAGES: usize = if cfg!(test) { 32 } else { (OVERSIZED >> SLOT_BITS) as usize };
/// No slot.
const NONE: u16 = u16::MAX;

/// Lengths: every 8 bytes up to 256, every 16 up to 512, every 32 up to [`LONGEST`].
const KINDS: usize = 64;
const SIZES: [u16; KINDS] = {
    let mut sizes = [0; KINDS];
    let mut kind = 0;
    while kind < KINDS {
        sizes[kind] = match kind {
            0..2 => 16,
            2..32 => 8 * (kind + 1),
            32..48 => 256 + 16 * (kind - 31),
            _ => 512 + 32 * (kind - 47),
        } as u16;
        kind += 1;
    }
    sizes
};

/// Which of the lengths these bytes get; `None` for what is too long.
fn kind(len: usize) -> Option<usize> {
    Some(match len {
        0..=16 => 1,
        17..=256 => len.div_ceil(8) - 1,
        257..=512 => 31 + (len - 256).div_ceil(16),
        513..=LONGEST => 47 + (len - 512).div_ceil(32),
        _ => return None,
    })
}

/// How much room so many bytes get.
pub(super) fn size_class(len: usize) -> usize {
    kind(len).map_or(len, |kind| SIZES[kind].into())
}

/// Where a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u32);

impl Place {
    /// Of nothing.
    pub(super) const NOWHERE: Place = Place(u32::MAX);

    fn on(page: u32, slot: u16) -> Place {
        Place(page << SLOT_BITS | u32::from(slot))
    }

    fn page(self) -> usize {
        (self.0 >> SLOT_BITS) as usize
    }

    fn slot(self) -> u16 {
        (self.0 & ((1 << SLOT_BITS) - 1)) as u16
    }

    /// Of an allocation of its own: which one.
    fn oversized(self) -> Option<usize> {
        (self.0 & OVERSIZED != 0).then_some((self.0 & !OVERSIZED) as usize)
    }
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8]>,
    kind: u8,
    /// Of a piece.
    size: u16,
    slots: u16,
    used: u16,
    /// Slots from here on were never used.
    fresh: u16,
    /// The first of those that were given back; each begins with the next one's number.
    free: u16,
}

/// All pieces.
#[derive(Debug)]
pub(super) struct Arena {
    /// Those that were given back are empty.
    pages: Vec<Page>,
    vacant: Vec<u32>,
    /// Of each length, pages with room, the one that is filled now last. That one was given back
    /// meanwhile is found out when it is its turn.
    partial_pages: Vec<VecDeque<u32>>,
    /// Of each length, how many pages there are.
    counts: [u32; KINDS],
    oversized: Slab<Box<[u8]>>,
}

impl Arena {
    /// Holds nothing.
    pub(super) fn new() -> Arena {
        Arena {
            pages: Vec::new(),
            vacant: Vec::new(),
            partial_pages: Vec::new(),
            counts: [0; KINDS],
            oversized: Slab::new(),
        }
    }

    /// A place for so many bytes, as large as [`room`] says; what is there is to be written over.
    pub(super) fn take(&mut self, len: usize) -> Place {
        let page = kind(len).and_then(|kind| Some((kind, self.with_room(kind)?)));
        let Some((kind, at)) = page else {
            return Place(
                OVERSIZED
                    | self.oversized.insert(vec![0; size_class(len)].into_boxed_slice()) as u32,
            );
        };
        let page = &mut self.pages[at as usize];
        let slot = match page.free {
            NONE => {
                page.fresh += 1;
                page.fresh - 1
            }
            slot => {
                let first = page.start(slot);
                page.free = u16::from_le_bytes([page.bytes[first], page.bytes[first + 1]]);
                slot
            }
        };
        page.used += 1;
        if page.is_full() {
            self.partial_pages[kind].pop_back();
        }
        Place::on(at, slot)
    }

    /// The piece.
    #[inline]
    pub(super) fn get(&self, place: Place) -> &[u8] {
        match place.oversized() {
            Some(oversized) => &self.oversized[oversized],
            None => {
                let page = &self.pages[place.page()];
                let start = page.start(place.slot());
                &page.bytes[start..start + usize::from(page.size)]
            }
        }
    }

    /// The same, to write.
    pub(super) fn get_mut(&mut self, place: Place) -> &mut [u8] {
        match place.oversized() {
            Some(oversized) => &mut self.oversized[oversized],
            None => {
                let page = &mut self.pages[place.page()];
                let start = page.start(place.slot());
                let end = start + usize::from(page.size);
                &mut page.bytes[start..end]
            }
        }
    }

    /// Nothing is there any more.
    pub(super) fn give_back(&mut self, place: Place) {
        if let Some(oversized) = place.oversized() {
            self.oversized.remove(oversized);
            return;
        }
        let (at, slot) = (place.page(), place.slot());
        let page = &mut self.pages[at];
        let (was_full, start) = (page.is_full(), page.start(slot));
        page.bytes[start..start + 2].copy_from_slice(&page.free.to_le_bytes());
        page.free = slot;
        page.used -= 1;
        let partial_pages = &mut self.partial_pages[usize::from(page.kind)];
        if was_full {
            partial_pages.push_front(at as u32);
        } else if page.used == 0 && partial_pages.back() != Some(&(at as u32)) {
            self.counts[usize::from(page.kind)] -= 1;
            *page = Page::empty();
            self.vacant.push(at as u32);
        }
    }

    /// A page with room for a piece of this kind; `None` if there cannot be another page.
    fn with_room(&mut self, kind: usize) -> Option<u32> {
        if self.partial_pages.is_empty() {
            self.partial_pages.resize_with(KINDS, VecDeque::new);
        }
        let partial_pages = &mut self.partial_pages[kind];
        while let Some(at) = partial_pages.back() {
            let page = &self.pages[*at as usize];
            if usize::from(page.kind) == kind && !page.is_full() {
                return Some(*at);
            }
            partial_pages.pop_back();
        }
        let page = Page::new(kind, self.counts[kind]);
        let at = match self.vacant.pop() {
            Some(at) => {
                self.pages[at as usize] = page;
                at
            }
            None if self.pages.len() < MOST_PAGES => {
                self.pages.push(page);
                self.pages.len() as u32 - 1
            }
            None => return None,
        };
        self.counts[kind] += 1;
        partial_pages.push_back(at);
        Some(at)
    }
}

impl Page {
    /// A page that was given back.
    fn empty() -> Page {
        Page { bytes: Box::default(), kind: 0, size: 0, slots: 0, used: 0, fresh: 0, free: NONE }
    }

    /// The first page of a kind, or the one after so many others.
    fn new(kind: usize, others: u32) -> Page {
        let size = SIZES[kind];
        let slots = (FIRST << others.min(SLOT_BITS)).min(PAGE / usize::from(size));
        let bytes = vec![0; slots * usize::from(size)].into_boxed_slice();
        Page { bytes, kind: kind as u8, size, slots: slots as u16, used: 0, fresh: 0, free: NONE }
    }

    #[inline]
    fn start(&self, slot: u16) -> usize {
        usize::from(slot) * usize::from(self.size)
    }

    fn is_full(&self) -> bool {
        self.used == self.slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_gets_the_least_size_that_holds_it() {
        for len in 0..=LONGEST {
            let least = SIZES[1..].iter().map(|size| usize::from(*size)).find(|s| *s >= len);
            assert_eq!(Some(size_class(len)), least, "{len}");
        }
        assert_eq!((kind(LONGEST + 1), size_class(LONGEST + 1)), (None, LONGEST + 1));
    }

    /// Pieces of all lengths come and go; each keeps what was written into it.
    #[test]
    fn pieces_keep_their_bytes_whatever_comes_and_goes() {
        let mut rng = fastrand::Rng::with_seed(11);
        let (mut arena, mut known) = (Arena::new(), Vec::<(Place, Vec<u8>)>::new());
        for turn in 0..40_000 {
            // Few, then many, then few: more than there are pages for, too.
            let wanted = [20, 3000, 100, 0][turn / 10_000];
            if rng.usize(..known.len() + wanted + 1) < wanted {
                let len = [rng.usize(..40), rng.usize(..300), rng.usize(..1200)][rng.usize(..3)];
                let bytes = vec![rng.u8(..); len];
                let place = arena.take(len);
                assert_eq!(arena.get(place).len(), size_class(len));
                arena.get_mut(place)[..len].copy_from_slice(&bytes);
                known.push((place, bytes));
            } else if !known.is_empty() {
                let (place, bytes) = known.swap_remove(rng.usize(..known.len()));
                assert_eq!(arena.get(place)[..bytes.len()], bytes);
                arena.give_back(place);
            }
        }
        assert!(
            arena.pages.len() == MOST_PAGES && arena.oversized.capacity() > 100,
            "all were taken"
        );
        for (place, bytes) in known {
            assert_eq!(arena.get(place)[..bytes.len()], bytes);
            arena.give_back(place);
        }
        assert!(arena.oversized.is_empty());
    }

    #[test]
    fn a_page_that_nothing_is_on_is_given_back() {
        let mut arena = Arena::new();
        let bytes = |arena: &Arena| arena.pages.iter().map(|page| page.bytes.len()).sum::<usize>();
        let take = |arena: &mut Arena| (0..1200).map(|_| arena.take(100)).collect::<Vec<_>>();
        let places = take(&mut arena);
        let most = bytes(&arena);
        assert!((1200 * 104..1200 * 104 + PAGE).contains(&most), "{most}");
        for place in places {
            arena.give_back(place);
        }
        // The one that would be filled next stays.
        assert!(bytes(&arena) <= PAGE, "{}", bytes(&arena));
        for _ in 0..10 {
            take(&mut arena).into_iter().rev().for_each(|place| arena.give_back(place));
            assert!(bytes(&arena) <= most);
        }
        // The last slot of a page, again and again.
        let _full: Vec<_> = (0..FIRST - 1).map(|_| arena.take(900)).collect();
        for _ in 0..1000 {
            let place = arena.take(900);
            arena.give_back(place);
        }
        let listed: usize = arena.partial_pages.iter().map(VecDeque::len).sum();
        assert!(listed <= arena.pages.len(), "{listed} of {}", arena.pages.len());
    }
}
