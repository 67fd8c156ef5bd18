//! The application's state, which a recovery rebuilds, as the disk sees it.

use alloc::string::String;

use bytes::{Bytes, BytesMut};

use super::snapshot::format::SnapshotDigest;
use crate::types::Zxid;

/// A state machine whose transactions are logged and whose snapshots are kept. The disk
/// knows no more of it than this.
pub trait State: Sized + 'static {
    /// Its configuration.
    type Options: Clone + 'static;
    /// Reads a snapshot's body.
    type Decoder: SnapshotDecoder<State = Self>;

    /// The state before the first transaction.
    fn empty(options: &Self::Options) -> Self;
    /// A decoder at the start of a snapshot's body.
    fn decoder(options: &Self::Options) -> Self::Decoder;
    /// Appends the body of this state's snapshot (used for the empty one).
    fn encode(&self, out: &mut BytesMut);
    /// Its digest, if digests are on.
    fn digest(&self) -> Option<u64>;
    /// A snapshot is loaded that was begun at `zxid`; what follows is replayed. The digest, of
    /// a version that can be compared, is to be compared when the replay reaches its zxid
    /// (`DataTree.compareSnapshotDigests`).
    fn loaded(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>);
    /// Applies one transaction of the log, which may be in the (fuzzy) snapshot already.
    /// An error means that it cannot be understood, which ends the recovery.
    fn replay(&mut self, zxid: Zxid, body: &Bytes) -> Result<(), String>;
    /// Everything is replayed; `last` is the last transaction.
    fn replayed(&mut self, last: Zxid);
}

/// Reads the body of a snapshot as it comes, cut anywhere.
pub trait SnapshotDecoder: Sized + 'static {
    /// The result.
    type State;
    /// Takes the next bytes: all of them (`None`), or up to the end of the body, which is the
    /// returned number of bytes into `bytes`. Lengths inside are bounded by the decoder.
    fn push(&mut self, bytes: &Bytes) -> Result<Option<usize>, String>;
    /// The state, once the body has ended.
    fn finish(self) -> Result<Self::State, String>;
}
