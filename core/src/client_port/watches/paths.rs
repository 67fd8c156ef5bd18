//! The paths that are watched, each kept once and named by a small number.

use alloc::vec::Vec;

use hashbrown::HashTable;

use super::push_tight;
use crate::hash::HashKey;

/// Bytes of a chunk of text; a text that is longer has one of its own.
const CHUNK_BYTES: usize = 1 << 16;
/// Before each text: its length, or [`TO_THE_END`].
const HEADER_BYTES: usize = 2;
/// The text goes to the end of its chunk.
const TO_THE_END: u16 = u16::MAX;
/// A number that names nothing.
const NOWHERE: u32 = u32::MAX;

/// The number of a path; free ones are given out again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct PathId(pub(super) u32);

/// Texts one after the other.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// How many of them are of paths that are there, headers included.
    live: usize,
}

/// All of them. Four bytes and a text, and five to ten to find it again.
#[derive(Debug)]
pub(super) struct Paths {
    chunks: Vec<Chunk>,
    free_chunks: Vec<u32>,
    /// The chunk that is being filled.
    tail: usize,
    /// Where a path's text is: its chunk, then how far in.
    at: Vec<u32>,
    free: Vec<u32>,
    /// Bytes of all paths.
    live_bytes: usize,
    index: HashTable<u32>,
    key: HashKey,
}

impl Paths {
    /// None.
    pub(super) fn new(key: HashKey) -> Paths {
        Paths {
            chunks: Vec::new(),
            free_chunks: Vec::new(),
            tail: 0,
            at: Vec::new(),
            free: Vec::new(),
            live_bytes: 0,
            index: HashTable::new(),
            key,
        }
    }

    /// The key of the hash of paths.
    pub(super) fn key(&self) -> &HashKey {
        &self.key
    }

    /// The number of a path that is there.
    pub(super) fn find(&self, path: &str) -> Option<PathId> {
        let path = path.as_bytes();
        let found = self.index.find(self.key.of(path), |id| self.bytes(*id) == path);
        found.copied().map(PathId)
    }

    /// The number of a path; none if there is no room for more.
    pub(super) fn intern(&mut self, path: &str) -> Option<PathId> {
        if let Some(id) = self.find(path) {
            return Some(id);
        }
        let at = self.append(path.as_bytes())?;
        self.live_bytes += path.len();
        let id = match self.free.pop() {
            Some(id) => {
                self.at[id as usize] = at;
                id
            }
            None => {
                let id = u32::try_from(self.at.len()).ok().filter(|id| *id != NOWHERE)?;
                push_tight(&mut self.at, at);
                id
            }
        };
        let Paths { index, chunks, at, key, .. } = self;
        let hash = |id: &u32| key.of(text(chunks, at[*id as usize]));
        index.insert_unique(key.of(path.as_bytes()), id, hash);
        Some(PathId(id))
    }

    /// Nobody needs this path any more.
    pub(super) fn remove(&mut self, id: PathId) {
        let at = core::mem::replace(&mut self.at[id.0 as usize], NOWHERE);
        let bytes = text(&self.chunks, at);
        let (hash, length) = (self.key.of(bytes), bytes.len() + HEADER_BYTES);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id.0) {
            entry.remove();
        }
        push_tight(&mut self.free, id.0);
        let chunk = (at >> 16) as usize;
        self.chunks[chunk].live -= length;
        self.live_bytes -= length - HEADER_BYTES;
        if self.index.is_empty() {
            *self = Paths::new(self.key.clone());
        } else if self.chunks[chunk].live == 0 {
            self.drop_chunk(chunk);
        } else if self.chunks[chunk].live < CHUNK_BYTES / 4 && chunk != self.tail && self.has_room()
        {
            self.clear_chunk(chunk);
        } else if self.index.capacity() > 4 * self.index.len() + 64 {
            let Paths { index, chunks, at, key, .. } = self;
            index.shrink_to(index.len() * 2, |id| key.of(text(chunks, at[*id as usize])));
        }
    }

    /// A path's text.
    pub(super) fn text(&self, id: PathId) -> &str {
        core::str::from_utf8(self.bytes(id.0)).unwrap_or_default()
    }

    /// Bytes of all paths.
    pub(super) fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// Whether a number names a path.
    pub(super) fn is_in_use(&self, id: PathId) -> bool {
        self.at.get(id.0 as usize).is_some_and(|at| *at != NOWHERE)
    }

    /// All paths, in order of their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (PathId, &str)> {
        let ids = (0..self.at.len() as u32).map(PathId).filter(|id| self.is_in_use(*id));
        ids.map(|id| (id, self.text(id)))
    }

    fn bytes(&self, id: u32) -> &[u8] {
        text(&self.chunks, self.at[id as usize])
    }

    fn append(&mut self, path: &[u8]) -> Option<u32> {
        let room = |chunk: &Chunk| chunk.bytes.len() + HEADER_BYTES + path.len() <= CHUNK_BYTES;
        if !self.chunks.get(self.tail).is_some_and(room) {
            self.tail = match self.free_chunks.pop() {
                Some(free) => free as usize,
                None if !self.has_room() => return None,
                None => {
                    self.chunks.push(Chunk::default());
                    self.chunks.len() - 1
                }
            };
        }
        let chunk = self.chunks.get_mut(self.tail)?;
        let at = (self.tail as u32) << 16 | chunk.bytes.len() as u32;
        let length = u16::try_from(path.len()).unwrap_or(TO_THE_END);
        let needed = chunk.bytes.len() + HEADER_BYTES + path.len();
        if needed > chunk.bytes.capacity() {
            let capacity = needed.next_power_of_two().min(CHUNK_BYTES).max(needed);
            chunk.bytes.reserve_exact(capacity - chunk.bytes.len());
        }
        chunk.bytes.extend_from_slice(&length.to_be_bytes());
        chunk.bytes.extend_from_slice(path);
        chunk.live += HEADER_BYTES + path.len();
        Some(at)
    }

    /// Whether there can be another chunk.
    fn has_room(&self) -> bool {
        !self.free_chunks.is_empty() || self.chunks.len() < NOWHERE as usize >> 16
    }

    fn drop_chunk(&mut self, chunk: usize) {
        self.chunks[chunk] = Chunk::default();
        if chunk != self.tail {
            self.free_chunks.push(chunk as u32);
        }
    }

    /// Moves what is left of a chunk, less than another one holds, to the end of the last one.
    fn clear_chunk(&mut self, chunk: usize) {
        let old = core::mem::take(&mut self.chunks[chunk]);
        let mut offset = 0;
        while let Some((header, rest)) = old.bytes[offset..].split_first_chunk::<HEADER_BYTES>() {
            let length = match u16::from_be_bytes(*header) {
                TO_THE_END => rest.len(),
                length => length.into(),
            };
            let (path, at) = (&rest[..length], (chunk as u32) << 16 | offset as u32);
            let id = self.index.find(self.key.of(path), |id| self.at[*id as usize] == at).copied();
            if let Some(id) = id {
                self.at[id as usize] = self.append(path).unwrap_or(NOWHERE);
            }
            offset += HEADER_BYTES + length;
        }
        self.free_chunks.push(chunk as u32);
    }
}

fn text(chunks: &[Chunk], at: u32) -> &[u8] {
    let bytes = chunks.get((at >> 16) as usize).map_or(&[][..], |chunk| &chunk.bytes);
    match bytes.get((at & 0xffff) as usize..).and_then(|b| b.split_first_chunk::<HEADER_BYTES>()) {
        Some((header, rest)) => match u16::from_be_bytes(*header) {
            TO_THE_END => rest,
            length => rest.get(..length.into()).unwrap_or_default(),
        },
        None => &[],
    }
}
