//! One run, stepped through.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use zabkeeper_core::action::Actions;
use zabkeeper_core::event::Event;
use zabkeeper_core::journal::{ActionsDigest, Item, Placed, SegmentReader, Start};
use zabkeeper_core::node::Node;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{Now, Time};

use super::Error;
use super::ear::Ear;
use super::story::{action_text, event_text};
use super::verdict::{Broken, Divergence, Ending, Run, Verdict};

/// A run that is being replayed.
pub(super) struct Replay {
    start: Start,
    first_segment: PathBuf,
    /// The last segment's number within the run.
    number: u64,
    /// Nothing to step if the run is not there from its start.
    node: Option<Box<Node>>,
    verdict: Verdict,
    ending: Ending,
    events: u64,
    /// The number of the last one in the run.
    last_number: u64,
    actions: u64,
    last: Time,
    /// What the last event was, until its answer is read.
    pending: Option<String>,
    /// What the node answered to it.
    out: Actions,
    scratch: BytesMut,
    /// For the story.
    ear: Ear,
}

impl Replay {
    /// Begins with the first segment that is there.
    pub(super) fn begin(path: &Path, reader: &SegmentReader) -> Result<Replay, Error> {
        let start = reader.start().clone();
        let node = (reader.number() == 1)
            .then(|| Node::new(reader.config().clone(), start.seed, start.now));
        let verdict = if node.is_some() { Verdict::Identical } else { Verdict::NotFromStart };
        Ok(Replay {
            first_segment: path.to_path_buf(),
            number: reader.number() - 1,
            node: node.map(Box::new),
            verdict,
            ending: Ending::Open,
            events: 0,
            last_number: 0,
            actions: 0,
            last: start.now.mono,
            pending: None,
            out: Actions::new(),
            scratch: BytesMut::new(),
            ear: Ear::default(),
            start,
        })
    }

    /// Whether this segment is of the same run, and later.
    pub(super) fn is_continued_by(&self, reader: &SegmentReader) -> bool {
        *reader.start() == self.start && reader.number() > self.number
    }

    /// Steps through a segment.
    pub(super) fn segment(
        &mut self,
        path: &Path,
        mut reader: SegmentReader,
        story: &mut Option<&mut dyn Write>,
    ) -> io::Result<()> {
        self.number = reader.number();
        loop {
            match reader.next_item() {
                Ok(Some(placed)) => self.item(path, placed, story)?,
                Ok(None) => break,
                Err(error) => {
                    self.broken(path, Broken::Damaged(error));
                    break;
                }
            }
        }
        if reader.torn().is_some() {
            self.ending = Ending::Torn;
        }
        Ok(())
    }

    /// After the last segment.
    pub(super) fn finish(self) -> Run {
        let state = self.node.map(|node| {
            let store = node.store();
            format!(
                "at the end: {:?}, zxid {}, {} nodes, digest {:#x}",
                node.role(),
                store.last_zxid(),
                store.node_count(),
                store.digest()
            )
        });
        Run {
            recorded_ms: self.last.ms_since(self.start.now.mono),
            start: self.start,
            first_segment: self.first_segment,
            events: self.events,
            actions: self.actions,
            verdict: self.verdict,
            ending: self.ending,
            state,
        }
    }

    fn item(
        &mut self,
        path: &Path,
        Placed { offset, event: number, item }: Placed,
        story: &mut Option<&mut dyn Write>,
    ) -> io::Result<()> {
        match item {
            Item::Event(now, event) => {
                let text = event_text(&event);
                if let Some(story) = story {
                    let ms = (now.mono - self.start.now.mono).as_secs_f64() * 1000.0;
                    write!(story, "{number} {ms:.3} ms ")?;
                    for line in self.ear.event(&event) {
                        writeln!(story, "{line}")?;
                    }
                }
                let (after, is_first) = (self.counted(number), self.last_number == 0);
                self.last = now.mono;
                if after + 1 != number && !(is_first && self.node.is_none()) {
                    self.broken(path, Broken::Gap { after, before: number });
                } else if self.pending.is_some() {
                    self.broken(path, Broken::NoAnswer { event: after });
                }
                self.step(now, event, text);
            }
            Item::Actions(recorded) => {
                if let Some(story) = story {
                    for line in self.out.iter().flat_map(|action| self.ear.action(action)) {
                        writeln!(story, "    {line}")?;
                    }
                }
                self.compare(path, offset, number, recorded);
            }
            Item::End(why) => {
                if let Some(story) = story {
                    writeln!(story, "the end: {why}")?;
                }
                self.ending = Ending::Said(why);
            }
        }
        Ok(())
    }

    /// Counts an event; gives the number of the one before.
    fn counted(&mut self, number: u64) -> u64 {
        self.events += 1;
        std::mem::replace(&mut self.last_number, number)
    }

    fn step(&mut self, now: Now, event: Event<Store>, what: String) {
        let Some(node) = &mut self.node else { return };
        self.out.clear();
        let out = &mut self.out;
        // What is left of the node after a panic is not looked at.
        if catch_unwind(AssertUnwindSafe(|| node.step(now, event, out))).is_err() {
            self.end(Verdict::Panicked { event: self.last_number, what });
        } else {
            self.pending = Some(what);
        }
    }

    fn compare(&mut self, path: &Path, offset: u64, event: u64, recorded: ActionsDigest) {
        let Some(what) = self.pending.take() else { return };
        let replayed = ActionsDigest::of(&self.out, &mut self.scratch);
        self.actions += replayed.count;
        if replayed != recorded {
            let actions = self.out.iter().map(action_text).collect();
            let segment = path.to_path_buf();
            self.end(Verdict::Diverged(Box::new(Divergence {
                event,
                what,
                segment,
                offset,
                recorded,
                replayed,
                actions,
            })));
        }
    }

    fn broken(&mut self, path: &Path, why: Broken) {
        if self.node.is_some() {
            self.end(Verdict::Broken { segment: path.to_path_buf(), why });
        }
    }

    /// From now on events are only read.
    fn end(&mut self, verdict: Verdict) {
        (self.verdict, self.node, self.pending) = (verdict, None, None);
        self.out.clear();
    }
}
