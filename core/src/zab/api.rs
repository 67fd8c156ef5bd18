//! The types of the interface between the ensemble and its application.

use alloc::sync::Arc;

use bytes::Bytes;

#[cfg(doc)]
use super::Ensemble;
use crate::config::EnsembleConfig;
use crate::election::ElectionOptions;
use crate::quorum::Membership;
use crate::types::{ConnId, Epoch, ServerId, Zxid};
use crate::wire::client::Id;
use crate::wire::entries::Entries;

/// The times and limits of an ensemble (`zoo.cfg`).
#[derive(Clone, Debug)]
pub struct EnsembleOptions {
    /// `tickTime`, ms.
    pub tick_time_ms: u64,
    /// `initLimit`, ticks.
    pub init_limit: u64,
    /// `syncLimit`, ticks.
    pub sync_limit: u64,
    /// `commitLogCount`: committed transactions kept for DIFFs.
    pub commit_log_count: usize,
    /// `snapshotSizeFactor`; negative: never read the log for a DIFF.
    pub snapshot_size_factor: f64,
    /// `forceSnapshotSync`.
    pub force_snapshot_sync: bool,
    /// `syncNeedsQuorum`: a sync is answered once a quorum has confirmed the leader.
    pub sync_needs_quorum: bool,
    /// `observerMasterPort`: observers join through this port of a follower, and this server, as a
    /// follower, serves observers at it.
    pub observer_master_port: Option<u16>,
    /// The longest payload, bytes, of a packet from a server that has not joined yet. Longer
    /// proposals of a leader are logged with a warning.
    pub max_payload: usize,
    /// The longest payload, bytes, from members: as much as this server can store.
    pub max_from_members: usize,
    /// `jute.maxbuffer`, bytes, for the texts of errors.
    pub jute_max_buffer: usize,
    /// The election's times.
    pub election: ElectionOptions,
    /// `reconfigEnabled`: finds the configuration in a payload. With `None` the members never
    /// change.
    pub reconfig: Option<ReadConfig>,
}

/// A function of the application: the configuration that a payload carries, if it is a
/// reconfiguration. Its version is the transaction's zxid. Otherwise payloads are opaque here.
pub type ReadConfig = fn(&[u8]) -> Option<EnsembleConfig>;

impl Default for EnsembleOptions {
    fn default() -> Self {
        EnsembleOptions {
            tick_time_ms: 3000,
            init_limit: 10,
            sync_limit: 5,
            commit_log_count: 500,
            snapshot_size_factor: 0.33,
            force_snapshot_sync: false,
            sync_needs_quorum: true,
            observer_master_port: None,
            max_payload: 8 << 20,
            max_from_members: 64 << 20,
            jute_max_buffer: 0xf_ffff,
            election: ElectionOptions::default(),
            reconfig: None,
        }
    }
}

/// A message of the ensemble to the application. They are delivered in order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Delivery {
    /// The role has ended. Stop serving, and forget the requests that wait for a commit.
    Looking,
    /// This server is the established leader of this epoch: [`Ensemble::propose`] may be called.
    Leading { epoch: Epoch },
    /// This server is up to date with the leader of this epoch, and serves; `observing`: without a
    /// vote.
    Following { leader: ServerId, epoch: Epoch, observing: bool },
    /// Transactions are committed. Each is delivered once, in zxid order.
    Committed(Entries),
    /// Another configuration is committed. These are the members from this delivery on.
    Reconfigured { members: Arc<Membership> },
    /// The log is being cut, and the state will be loaded again: answer with
    /// [`Ensemble::truncated`].
    Truncating,
    /// Leader: a learner needs the whole state as it is now: answer with
    /// [`Ensemble::snapshot_chunk`] and [`Ensemble::snapshot_end`].
    SnapshotWanted { learner: ConnId },
    /// Leader: the link of such a learner takes the next chunk.
    SnapshotMore { learner: ConnId },
    /// Leader: such a learner is gone. Its snapshot is not needed any more.
    SnapshotDropped { learner: ConnId },
    /// Learner: the leader sends a snapshot, which contains at least the transactions up to `zxid`.
    SnapshotBegin { zxid: Zxid },
    /// Learner: bytes of the snapshot's stream. The application finds its end, and answers with
    /// [`Ensemble::snapshot_received`].
    SnapshotBytes(Bytes),
    /// Leader: a learner (server `server`) forwards a request of a client with these ids. The data
    /// is opaque.
    Request { learner: ConnId, server: ServerId, data: Bytes, auth: Arc<[Id]> },
    /// Leader: a learner asks whether a session may be re-attached. Answer with
    /// [`Ensemble::revalidated`].
    Revalidate { learner: ConnId, data: Bytes },
    /// Leader: the sessions that were active at a learner since its last report.
    Touched { learner: ConnId, data: Bytes },
    /// Leader: a learner is gone.
    LearnerGone { learner: ConnId },
    /// Learner: the leader pings. Answer with [`Ensemble::pong`].
    Ping,
    /// Learner: the leader's answer to a [`Ensemble::revalidate`].
    Revalidated { data: Bytes },
    /// The oldest sync of a client of this server is answered ([`Ensemble::sync`], or one that was
    /// forwarded to the leader).
    Synced,
}

/// The role of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Role {
    /// The data directory is being loaded.
    Recovering,
    /// No leader is known.
    Looking,
    /// Leader. It serves once it is established: a quorum is in sync.
    Leading { established: bool },
    /// Follower or observer. It serves once it is active: up to date with the leader.
    Following { active: bool, observing: bool },
    /// A server without an ensemble.
    Standalone,
}
