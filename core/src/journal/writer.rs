//! Writing a journal: items into batches, and the head of a segment.

use bytes::{BufMut, BytesMut};

use super::events::{put_event, tag};
use super::numbers::{put_bytes, put_number, put_signed};
use super::{ActionsDigest, ConfigSource, MAGIC, Start, VERSION};
use crate::config::Config;
use crate::event::Event;
use crate::store::Store;
use crate::types::Now;

/// Set beside an event's tag where `Now` is another than at the event before.
pub(super) const LATER: u8 = 0x80;
pub(super) const ACTIONS: u8 = 32;
/// No actions: the most frequent answer.
pub(super) const NO_ACTIONS: u8 = 33;
pub(super) const END: u8 = 35;
/// Length and checksum before a batch.
pub(super) const FRAME_LEN: usize = 8;

/// Gathers items. What is taken out of it is one batch; the caller decides when.
#[derive(Debug)]
pub struct Encoder {
    start: Now,
    last: Now,
    events: u64,
    out: BytesMut,
}

impl Encoder {
    /// Of a process that started then.
    pub fn new(start: Now) -> Encoder {
        Encoder { start, last: start, events: 0, out: BytesMut::new() }
    }

    /// An event is about to enter the core.
    pub fn event(&mut self, now: Now, event: &Event<Store>) {
        self.begin();
        self.events += 1;
        if now == self.last {
            self.out.put_u8(tag(event));
        } else {
            self.out.put_u8(tag(event) | LATER);
            let last = core::mem::replace(&mut self.last, now);
            put_signed(&mut self.out, now.mono.0.wrapping_sub(last.mono.0) as i64);
            put_signed(&mut self.out, now.wall_ms.wrapping_sub(last.wall_ms));
        }
        put_event(&mut self.out, event);
    }

    /// The digest of the core's answer to the last event.
    pub fn actions(&mut self, digest: ActionsDigest) {
        self.begin();
        if digest == ActionsDigest::NONE {
            return self.out.put_u8(NO_ACTIONS);
        }
        self.out.put_u8(ACTIONS);
        put_number(&mut self.out, digest.count);
        self.out.put_u32(digest.crc);
    }

    /// Nothing more will come, and why.
    pub fn end(&mut self, why: &str) {
        self.begin();
        self.out.put_u8(END);
        put_bytes(&mut self.out, why.as_bytes());
    }

    /// Bytes that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Takes what has gathered, if there is something. `spare` is an old buffer to go on with.
    pub fn take(&mut self, mut spare: BytesMut) -> Option<Batch> {
        if self.out.is_empty() {
            return None;
        }
        spare.clear();
        self.last = self.start;
        Some(Batch(core::mem::replace(&mut self.out, spare)))
    }

    /// A batch says how many events there were before, and counts time from the start: so it
    /// can be understood without those before it.
    fn begin(&mut self) {
        if self.out.is_empty() {
            self.out.put_bytes(0, FRAME_LEN);
            put_number(&mut self.out, self.events);
        }
    }
}

/// A batch that has no checksum yet.
#[derive(Debug)]
pub struct Batch(BytesMut);

impl Batch {
    /// Any bytes, after space for length and checksum.
    #[cfg(test)]
    pub(super) fn raw(bytes: BytesMut) -> Batch {
        Batch(bytes)
    }

    /// Computes length and checksum: the batch as it is written.
    pub fn seal(mut self) -> BytesMut {
        let payload = self.0.get(FRAME_LEN..).unwrap_or_default();
        let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
        if let Some(frame) = self.0.get_mut(..FRAME_LEN) {
            let (a, b) = frame.split_at_mut(4);
            a.copy_from_slice(&length.to_be_bytes());
            b.copy_from_slice(&crc.to_be_bytes());
        }
        self.0
    }
}

/// The head of a run's segment; the first one is number 1.
pub fn segment_head(start: &Start, config: &Config, number: u64) -> BytesMut {
    let mut out = BytesMut::zeroed(FRAME_LEN);
    put_bytes(&mut out, start.version.as_bytes());
    put_number(&mut out, number);
    let ConfigSource { name, text, flags, my_id, dynamic, next } = &start.source;
    put_bytes(&mut out, name.as_bytes());
    put_bytes(&mut out, text.as_bytes());
    put_number(&mut out, flags.len() as u64);
    for (name, value) in flags {
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, value.as_bytes());
    }
    put_option(&mut out, my_id.as_deref());
    for file in [dynamic, next] {
        put_option(&mut out, file.as_ref().map(|(name, _)| name.as_str()));
        put_option(&mut out, file.as_ref().map(|(_, text)| text.as_str()));
    }
    out.put_u32(config_crc(config));
    out.put_u64(start.seed);
    out.put_u64(start.now.mono.0);
    out.put_i64(start.now.wall_ms);
    let mut head = BytesMut::from(&MAGIC[..]);
    head.put_u32(VERSION);
    head.put_slice(&Batch(out).seal());
    head
}

fn put_option(out: &mut BytesMut, text: Option<&str>) {
    out.put_u8(text.is_some().into());
    put_bytes(out, text.unwrap_or_default().as_bytes());
}

/// Whether two versions of the program read a configuration alike.
pub(super) fn config_crc(config: &Config) -> u32 {
    crc32fast::hash(alloc::format!("{config:?}").as_bytes())
}
