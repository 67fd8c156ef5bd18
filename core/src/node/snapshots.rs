//! Snapshots under way: the own one to disk, those for learners, and the leader's.

use alloc::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::store::{SnapshotDecoder, SnapshotWalk, Store};
use crate::types::{ConnId, Zxid};
use crate::wire::jute::Writer;

/// What a walk appends at a time, at most.
const CHUNK_BYTES: usize = 64 << 10;
/// And at least, if there is more.
const LEAST_CHUNK_BYTES: usize = 1 << 10;
/// Small trees, too, are walked in about so many steps: that a snapshot is fuzzy is the rule, not
/// the exception that only large trees see.
const STEPS: usize = 4;
/// About what a node takes beside its path and data.
const NODE_BYTES: usize = 100;
/// Ends a snapshot inside the quorum stream.
const SIGNATURE: &str = "BenWasHere";

/// All walks, and the snapshot that comes in.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// The own snapshot, until its last chunk is written.
    pub(super) own: Option<SnapshotWalk>,
    /// Walks for learners.
    pub(super) learners: BTreeMap<ConnId, SnapshotWalk>,
    /// The leader's snapshot.
    pub(super) incoming: Option<Incoming>,
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

/// What came of some bytes of the stream.
#[derive(Debug)]
pub(super) enum Progress {
    /// These belong to the body; more is to come.
    Body(Bytes),
    /// The body ends with these, and the stream goes on with `rest`.
    Complete {
        /// The body's last bytes.
        body: Bytes,
        /// What follows the signature.
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
