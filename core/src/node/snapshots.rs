//! Snapshots under way: the own one to disk, those for learners, and the leader's.

use alloc::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tracing::info;

use super::Node;
use crate::action::{Action, Actions, DiskAction};
use crate::mutant::mutant;
use crate::store::{SnapshotDecoder, SnapshotWalk, Store};
use crate::types::{ConnId, Now, Time, Zxid};
use crate::wire::jute::Writer;

/// The longest chunk of a walk.
const CHUNK_BYTES: usize = 64 << 10;
/// And at least, if there is more.
const LEAST_CHUNK_BYTES: usize = 1 << 10;
/// Small trees, too, are walked in about so many steps: that a snapshot is fuzzy is the rule, not
/// the exception that only large trees see.
const STEPS: usize = 4;
/// About what a node takes beside its path and data.
const NODE_BYTES: usize = 100;
/// After a snapshot none begins for so many times as long as it took: a large tree that changes
/// fast would be written all the time, and what is due while one is written is skipped in any case.
const REST: u64 = 3;
/// But no longer than this: the log goes on growing, and a snapshot during which the machine stood
/// still says nothing.
const LONGEST_REST_MS: u64 = 60_000;
/// Ends a snapshot inside the quorum stream.
const SIGNATURE: &str = "BenWasHere";

/// All walks, and the snapshot that comes in.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// The own snapshot, until its last chunk is written.
    pub(super) own: Option<SnapshotWalk>,
    /// When the last own one began, and until when there is no other.
    begun: Time,
    rest_until: Time,
    /// Walks for learners.
    pub(super) learners: BTreeMap<ConnId, SnapshotWalk>,
    /// The leader's snapshot.
    pub(super) incoming: Option<Incoming>,
}

impl Snapshots {
    /// Whether an own snapshot that is due may begin.
    pub(super) fn may_begin(&self, now: Now) -> bool {
        self.own.is_none() && self.rest_until <= now.mono
    }

    /// An own snapshot begins.
    pub(super) fn begin(&mut self, now: Now, walk: SnapshotWalk) {
        self.begun = now.mono;
        self.own = Some(walk);
    }

    /// Its last chunk is written. Says how many ms it took.
    pub(super) fn end(&mut self, now: Now) -> u64 {
        self.own = None;
        let took_ms = now.mono.ms_since(self.begun);
        self.rest_until = now.mono.plus_ms(took_ms.saturating_mul(REST).min(LONGEST_REST_MS));
        took_ms
    }
}

/// Appends a walk's next chunk; true when it is the last.
pub(super) fn next_chunk(walk: &mut SnapshotWalk, store: &Store) -> (Bytes, bool) {
    let whole = store.data_bytes() + NODE_BYTES * store.node_count();
    let chunk = (whole / STEPS).clamp(LEAST_CHUNK_BYTES, CHUNK_BYTES);
    let mut out = BytesMut::with_capacity(whole.min(chunk + chunk / 4));
    let complete = walk.next_chunk(store, &mut out, chunk);
    (out.freeze(), complete)
}

/// The mark that follows a snapshot's body in the quorum stream.
pub(super) fn signature() -> Bytes {
    let mut out = BytesMut::new();
    out.put_ustring(SIGNATURE);
    out.freeze()
}

/// A snapshot that a leader sends.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) zxid: Zxid,
    decoder: SnapshotDecoder,
    /// Set once the body is complete: what follows it.
    tail: Option<BytesMut>,
}

/// The effect of some bytes of the stream.
#[derive(Debug)]
pub(super) enum Progress {
    /// These belong to the body; more is to come.
    Body(Bytes),
    /// The body ends with these, and the stream goes on with `rest`.
    Complete {
        /// The body's last bytes.
        body: Bytes,
        /// The bytes after the signature.
        rest: Bytes,
    },
}

impl Incoming {
    pub(super) fn new(zxid: Zxid, decoder: SnapshotDecoder) -> Incoming {
        Incoming { zxid, decoder, tail: None }
    }

    pub(super) fn push(&mut self, bytes: Bytes) -> Result<Progress, alloc::string::String> {
        use alloc::string::ToString;
        let body = match &mut self.tail {
            Some(tail) => {
                tail.extend_from_slice(&bytes);
                Bytes::new()
            }
            None => match self.decoder.push(bytes.clone()).map_err(|e| e.to_string())? {
                None => return Ok(Progress::Body(bytes)),
                Some(rest) => {
                    self.tail = Some(BytesMut::from(&rest[..]));
                    bytes.slice(..bytes.len() - rest.len())
                }
            },
        };
        let signature = signature();
        let tail = self.tail.get_or_insert_default();
        if tail.len() < signature.len() {
            return Ok(Progress::Body(body));
        }
        if tail[..signature.len()] != signature[..] {
            return Err("the snapshot does not end with its signature".to_string());
        }
        let rest = core::mem::take(tail).freeze().slice(signature.len()..);
        Ok(Progress::Complete { body, rest })
    }

    pub(super) fn finish(self) -> Store {
        let zxid = self.zxid;
        self.decoder.finish(zxid)
    }
}

impl Node {
    pub(super) fn begin_own_snapshot(&mut self, now: Now, out: &mut Actions) {
        let walk = self.store.snapshot_walk();
        let zxid = walk.zxid();
        info!(%zxid, nodes = self.store.node_count(), "taking a snapshot");
        let begin = DiskAction::SnapshotBegin { zxid, from_leader: false };
        out.push(Action::Disk(begin));
        self.snapshots.begin(now, walk);
        self.own_snapshot_chunk(now, out);
    }

    pub(super) fn own_snapshot_chunk(&mut self, now: Now, out: &mut Actions) {
        let Some(walk) = &mut self.snapshots.own else { return };
        let (bytes, complete) = next_chunk(walk, &self.store);
        out.push(Action::Disk(DiskAction::SnapshotChunk { bytes }));
        if complete {
            let took_ms = self.snapshots.end(now);
            self.metrics.snapshottime.add(took_ms);
            let digest = (self.store.last_zxid(), self.store.digest());
            self.end_snapshot(digest, out);
        }
    }

    pub(super) fn end_snapshot(&mut self, digest: (Zxid, u64), out: &mut Actions) {
        let last_zxid = self.store.last_zxid();
        let digest = self.store.digest_enabled().then_some(digest);
        let ticket = self.ensemble.ticket();
        out.push(Action::Disk(DiskAction::SnapshotEnd { ticket, digest, last_zxid }));
    }

    /// A role ends: transactions that are applied from here on may be truncated again, and must not
    /// get into a snapshot.
    pub(super) fn uncommitted_may_follow(&mut self, out: &mut Actions) {
        mutant!(SnapshotOfUncommitted => return);
        self.abort_own_snapshot(out);
    }

    pub(super) fn abort_own_snapshot(&mut self, out: &mut Actions) {
        if self.snapshots.own.take().is_some() {
            out.push(Action::Disk(DiskAction::SnapshotAbort));
        }
    }

    pub(super) fn learner_snapshot_chunk(&mut self, learner: ConnId, out: &mut Actions) {
        let Some(walk) = self.snapshots.learners.get_mut(&learner) else { return };
        let (bytes, complete) = next_chunk(walk, &self.store);
        self.ensemble.snapshot_chunk(learner, bytes, out);
        if complete {
            self.snapshots.learners.remove(&learner);
            self.measure_learner_snapshots();
            self.ensemble.snapshot_chunk(learner, signature(), out);
            self.ensemble.snapshot_end(learner, out);
        }
    }

    pub(super) fn snapshot_bytes(&mut self, now: Now, bytes: Bytes, out: &mut Actions) {
        let Some(incoming) = &mut self.snapshots.incoming else { return };
        let chunk = |body: Bytes, out: &mut Actions| {
            if !body.is_empty() {
                out.push(Action::Disk(DiskAction::SnapshotChunk { bytes: body }));
            }
        };
        match incoming.push(bytes) {
            Ok(Progress::Body(body)) => chunk(body, out),
            Ok(Progress::Complete { body, rest }) => {
                chunk(body, out);
                if let Some(incoming) = self.snapshots.incoming.take() {
                    self.store = incoming.finish();
                    self.store.leave_unjudged();
                    info!(zxid = %self.store.last_zxid(), nodes = self.store.node_count(),
                        "the leader's snapshot is complete");
                    self.trigger.reset();
                    self.remember_config();
                    // At which zxid the tree has this digest is not known: at none that counts.
                    self.end_snapshot((Zxid::ZERO, self.store.digest()), out);
                    self.ensemble.snapshot_received(now.mono, rest, out);
                }
            }
            Err(what) => {
                self.snapshots.incoming = None;
                out.push(Action::Disk(DiskAction::SnapshotAbort));
                self.ensemble.snapshot_refused(now.mono, &what, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[test]
    fn snapshots_take_a_quarter_of_the_time_at_most() {
        let at = |ms| Now { mono: Time(0).plus_ms(ms), wall_ms: 0 };
        let mut store = Store::new(StoreOptions::default());
        let mut snapshots = Snapshots::default();
        assert!(snapshots.may_begin(at(0)));
        snapshots.begin(at(0), store.snapshot_walk());
        assert!(!snapshots.may_begin(at(500)), "one is being written");
        assert_eq!(snapshots.end(at(1000)), 1000);
        assert!(!snapshots.may_begin(at(3999)));
        assert!(snapshots.may_begin(at(4000)));
        snapshots.begin(at(4000), store.snapshot_walk());
        assert_eq!(snapshots.end(at(4000)), 0);
        assert!(snapshots.may_begin(at(4000)), "a small one keeps nobody waiting");
        snapshots.begin(at(5000), store.snapshot_walk());
        assert_eq!(snapshots.end(at(1_005_000)), 1_000_000);
        assert!(snapshots.may_begin(at(1_065_000)), "nor does one that took forever");
    }
}
