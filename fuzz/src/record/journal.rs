//! The journal of a simulated server, in memory: what a recorder writes to a file.

use bytes::{Bytes, BytesMut};
use zabkeeper_core::action::Action;
use zabkeeper_core::config::Config;
use zabkeeper_core::event::Event;
use zabkeeper_core::journal::{ActionsDigest, Encoder, Start, segment_head};
use zabkeeper_core::store::Store;
use zabkeeper_core::types::Now;

/// A batch is at least this large.
const BATCH: usize = 64 << 10;

/// One run of one server, as a journal of a single segment.
#[derive(Debug)]
pub struct Journal {
    /// Which server and which run.
    pub name: String,
    segment: BytesMut,
    encoder: Encoder,
    scratch: BytesMut,
}

impl Journal {
    /// Of a node that is made from this.
    pub fn new(name: String, start: &Start, config: &Config) -> Journal {
        let (segment, encoder) = (segment_head(start, config, 1), Encoder::new(start.now));
        Journal { name, segment, encoder, scratch: BytesMut::new() }
    }

    /// The event of a step.
    pub fn event(&mut self, now: Now, event: &Event<Store>) {
        self.encoder.event(now, event);
    }

    /// And what came of it.
    pub fn actions(&mut self, actions: &[Action]) {
        self.encoder.actions(ActionsDigest::of(actions, &mut self.scratch));
        if self.encoder.waiting() >= BATCH {
            self.seal();
        }
    }

    /// The content of its only segment.
    pub fn into_segment(mut self) -> Bytes {
        self.seal();
        self.segment.freeze()
    }

    fn seal(&mut self) {
        if let Some(batch) = self.encoder.take(BytesMut::new()) {
            self.segment.extend_from_slice(&batch.seal());
        }
    }
}
