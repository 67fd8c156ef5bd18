//! What a host of the ensemble sees: options, roles and deliveries.

use alloc::sync::Arc;

use bytes::Bytes;

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
    /// `observerMasterPort`: an observer joins through a follower's port of this number, and a
    /// follower leads the observers that come.
    pub observer_master_port: Option<u16>,
    /// The largest payload of a packet that is taken from a server that has not joined yet; of a
    /// leader's proposal, the largest that is not told.
    pub max_payload: usize,
    /// The largest payload that is taken from members: what this server can store.
    pub max_from_members: usize,
    /// `jute.maxbuffer`, for messages.
    pub jute_max_buffer: usize,
    /// The election's times.
    pub election: ElectionOptions,
    /// `reconfigEnabled`: finds the configuration in a payload that carries one. With `None` the
    /// members never change.
    pub reconfig: Option<ReadConfig>,
}

/// Payloads are opaque here, but for what the rider reads out of them: the configuration, whose
/// version is the payload's zxid, if this is a reconfiguration.
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

/// What the ensemble tells the state machine that rides on it, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The role is lost: stop serving, forget what waits for a commit.
    Looking,
    /// This server leads: `propose` may be called.
    Leading {
        /// The established epoch.
        epoch: Epoch,
    },
    /// This server is up to date with a leader: serve.
    Following {
        /// Whom.
        leader: ServerId,
        /// The established epoch.
        epoch: Epoch,
        /// Without a vote.
        observing: bool,
    },
    /// Transactions are committed. Every one is delivered once, in order.
    Committed(Entries),
    /// Another configuration is committed.
    Reconfigured {
        /// The members from this delivery on.
        members: Arc<Membership>,
    },
    /// The state will be loaded anew: answer with [`Ensemble::truncated`].
    Truncating,
    /// Leader: this learner needs the whole state as it is now.
    SnapshotWanted {
        /// For the chunks.
        learner: ConnId,
    },
    /// Leader: its connection takes more.
    SnapshotMore {
        /// Which.
        learner: ConnId,
    },
    /// Leader: it is gone; the walk can be forgotten.
    SnapshotDropped {
        /// Which.
        learner: ConnId,
    },
    /// Learner: a snapshot follows.
    SnapshotBegin {
        /// What it contains at least.
        zxid: Zxid,
    },
    /// Learner: bytes of the stream; the rider finds the end.
    SnapshotBytes(Bytes),
    /// Leader: a learner forwards a request.
    Request {
        /// Through whom.
        learner: ConnId,
        /// Its id.
        server: ServerId,
        /// Opaque.
        data: Bytes,
        /// The client's ids.
        auth: Arc<[Id]>,
    },
    /// Leader: a session asks through a learner to be re-attached.
    Revalidate {
        /// Through whom.
        learner: ConnId,
        /// Opaque.
        data: Bytes,
    },
    /// Leader: sessions that were active at a learner.
    Touched {
        /// At whom.
        learner: ConnId,
        /// Opaque.
        data: Bytes,
    },
    /// Leader: a learner is gone.
    LearnerGone {
        /// Which.
        learner: ConnId,
    },
    /// Learner: the leader pings; answer with [`Ensemble::pong`].
    Ping,
    /// Learner: the answer to a revalidation.
    Revalidated {
        /// Opaque.
        data: Bytes,
    },
    /// The oldest sync of this server's own is answered: [`Ensemble::sync`], or the oldest that was
    /// forwarded to the leader.
    Synced,
}

/// What a server is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The data directory is being loaded.
    Recovering,
    /// No leader is known.
    Looking,
    /// Leads (once established, it serves).
    Leading {
        /// A quorum is in sync.
        established: bool,
    },
    /// Follows (once up to date, it serves).
    Following {
        /// Up to date.
        active: bool,
        /// Has no vote.
        observing: bool,
    },
    /// The only server there is.
    Standalone,
}
