//! Reading a segment. Nothing in it is trusted: lengths are bounded by what is there.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::events::event;
use super::numbers::{number, signed, text};
use super::writer::{ACTIONS, END, FRAME_LEN, LATER, NO_ACTIONS, config_crc};
use super::{ActionsDigest, ConfigSource, Damage, Item, MAGIC, RecordError, Start, VERSION};
use crate::config::Config;
use crate::node::store_options;
use crate::types::{Now, Time};
use crate::wire::jute::{Malformed, Reader};

/// An item and where it was found.
#[derive(Debug)]
pub struct Placed {
    /// Its first byte, in the segment.
    pub offset: u64,
    /// The number of the last event up to here, from 1.
    pub event: u64,
    /// The item.
    pub item: Item,
}

/// One segment, read from its beginning.
#[derive(Debug)]
pub struct SegmentReader {
    start: Start,
    config: Config,
    number: u64,
    segment: Bytes,
    /// Where the next batch begins.
    next_batch: usize,
    /// The rest of the batch, and its offset.
    batch: Bytes,
    at: usize,
    events: u64,
    last: Now,
    torn: Option<u64>,
}

impl SegmentReader {
    /// Reads the head.
    ///
    /// # Errors
    /// It is no segment, one of another format, or the configuration in it is understood
    /// differently by this version.
    pub fn new(segment: Bytes) -> Result<SegmentReader, RecordError> {
        let shared = MAGIC.len().min(segment.len());
        if segment.get(..shared) != MAGIC.get(..shared) {
            return Err(RecordError::NotAJournal);
        }
        let version = segment.get(MAGIC.len()..MAGIC.len() + 4).ok_or(RecordError::Headless)?;
        let found = version.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        if found != VERSION {
            return Err(RecordError::Version { found });
        }
        let first = MAGIC.len() + 4;
        let (payload, next_batch) = match frame(&segment, first)? {
            Frame::Whole { payload, next } => (payload, next),
            Frame::Torn | Frame::None => return Err(RecordError::Headless),
        };
        let mut r = Reader::new(&payload);
        let Head { start, number, crc } = head(&mut r).map_err(|what| {
            let offset = (first + FRAME_LEN + r.position()) as u64;
            RecordError::Damaged { offset, what: what.into() }
        })?;
        let (config, _) = start.source.parse()?;
        if config_crc(&config) != crc {
            return Err(RecordError::OtherConfig { version: start.version });
        }
        let last = start.now;
        Ok(SegmentReader {
            start,
            config,
            number,
            segment,
            next_batch,
            batch: Bytes::new(),
            at: 0,
            events: 0,
            last,
            torn: None,
        })
    }

    /// The start of the process.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The segment's number within its run, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the last batch is cut, once all before it is read: the process was killed, or the
    /// machine went down.
    pub fn torn(&self) -> Option<u64> {
        self.torn
    }

    /// The next item; `None` at the end.
    ///
    /// # Errors
    /// The segment is damaged; the reader is of no further use.
    pub fn next_item(&mut self) -> Result<Option<Placed>, RecordError> {
        while self.batch.is_empty() {
            match frame(&self.segment, self.next_batch)? {
                Frame::None => return Ok(None),
                Frame::Torn => {
                    self.torn = Some(self.next_batch as u64);
                    return Ok(None);
                }
                Frame::Whole { payload, next } => {
                    let from = core::mem::replace(&mut self.next_batch, next) + FRAME_LEN;
                    let mut r = Reader::new(&payload);
                    self.events = number(&mut r).map_err(|what| damaged(from, what))?;
                    self.at = from + r.position();
                    self.batch = r.rest();
                    self.last = self.start.now;
                }
            }
        }
        let batch = self.batch.clone();
        let mut r = Reader::new(&batch);
        let item = self.item(&mut r).map_err(|what| damaged(self.at + r.position(), what))?;
        let offset = self.at as u64;
        self.at += r.position();
        self.batch = r.rest();
        Ok(Some(Placed { offset, event: self.events, item }))
    }

    fn item(&mut self, r: &mut Reader<'_>) -> Result<Item, Damage> {
        Ok(match r.byte()? {
            ACTIONS => {
                let count = number(r)?;
                let crc = r.int()? as u32;
                Item::Actions(ActionsDigest { count, crc })
            }
            NO_ACTIONS => Item::Actions(ActionsDigest::NONE),
            END => Item::End(text(r)?),
            tag => {
                if tag & LATER != 0 {
                    let (mono, wall) = (signed(r)?, signed(r)?);
                    let mono = Time(self.last.mono.0.wrapping_add(mono as u64));
                    self.last = Now { mono, wall_ms: self.last.wall_ms.wrapping_add(wall) };
                }
                self.events = self.events.saturating_add(1);
                Item::Event(self.last, event(r, tag & !LATER, store_options(&self.config))?)
            }
        })
    }
}

fn damaged(offset: usize, what: impl Into<Damage>) -> RecordError {
    RecordError::Damaged { offset: offset as u64, what: what.into() }
}

enum Frame {
    /// The segment ends here.
    None,
    /// The last record is incomplete.
    Torn,
    Whole {
        payload: Bytes,
        next: usize,
    },
}

fn frame(segment: &Bytes, at: usize) -> Result<Frame, RecordError> {
    let rest = segment.slice(at.min(segment.len())..);
    if rest.is_empty() {
        return Ok(Frame::None);
    }
    let mut r = Reader::new(&rest);
    let (Ok(length), Ok(crc)) = (r.int(), r.int()) else { return Ok(Frame::Torn) };
    let Ok(payload) = r.bytes(length as u32 as usize) else { return Ok(Frame::Torn) };
    if length == 0 || crc32fast::hash(&payload) != crc as u32 {
        // A file system may have made room for the last bytes and not written them.
        let is_last = length == 0 && rest.iter().all(|byte| *byte == 0) || r.is_empty();
        return if is_last { Ok(Frame::Torn) } else { Err(damaged(at, Damage::Checksum)) };
    }
    Ok(Frame::Whole { payload, next: at + FRAME_LEN + length as u32 as usize })
}

struct Head {
    start: Start,
    number: u64,
    crc: u32,
}

fn head(r: &mut Reader<'_>) -> Result<Head, Malformed> {
    let version = text(r)?;
    let number = number(r)?;
    let (name, config, flags, my_id) = (text(r)?, text(r)?, flags(r)?, option(r)?);
    let dynamic = option(r)?.zip(option(r)?);
    let next = option(r)?.zip(option(r)?);
    let source = ConfigSource { name, text: config, flags, my_id, dynamic, next };
    let crc = r.int()? as u32;
    let seed = r.long()? as u64;
    let now = Now { mono: Time(r.long()? as u64), wall_ms: r.long()? };
    Ok(Head { start: Start { version, source, seed, now }, number, crc })
}

fn flags(r: &mut Reader<'_>) -> Result<Vec<(String, String)>, Malformed> {
    let count = number(r)?;
    (0..count).map(|_| Ok((text(r)?, text(r)?))).collect()
}

fn option(r: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    let (is_there, text) = (r.boolean()?, text(r)?);
    Ok(is_there.then_some(text))
}
