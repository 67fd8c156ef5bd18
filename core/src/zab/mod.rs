//! Zab: discovery, synchronisation and broadcast, over opaque payloads.
//!
//! [`Ensemble`] joins it with the election. It knows a transaction only as a zxid and bytes, so
//! another replicated state machine can ride on it as well as the znode tree does.
//!
//! What is acknowledged is durable: an ACK, an epoch, a NEWLEADER's acknowledgement is emitted
//! only after [`Persisted`](crate::event::DiskEvent::Persisted) has reached the ticket of the write
//! that it stands for.

mod admission;
mod claims;
mod confirmation;
mod early;
mod ensemble;
mod histories;
mod history;
mod leader;
mod learner;
mod learner_handler;
mod learners;
mod limits;
mod link;
mod masters;
mod observer_master;
mod reconfig;
mod room;
mod sync_plan;
mod tally;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;

use bytes::Bytes;

use crate::action::{Action, Actions, DiskAction};
use crate::config::EnsembleConfig;
use crate::election::ElectionOptions;
use crate::quorum::Membership;
use crate::types::{ConnId, DialIds, Epoch, ReadId, ServerId, Ticket, Time, Zxid};
use crate::wire::client::Id;
use crate::wire::entries::Entries;
use crate::wire::quorum::ProposalRoom;

pub use ensemble::{Ensemble, Role};
pub use history::Start;

use histories::{Refusals, Wish};
use history::History;

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
    /// From here on these are the members, whatever was said before.
    Reconfigured {
        /// Committed.
        members: Arc<EnsembleConfig>,
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

/// What leader and learner share: identity, log, tickets, and the way to the rider.
#[derive(Debug)]
struct Shared {
    me: ServerId,
    members: Arc<Membership>,
    /// The last two configurations, if this server logged the second one while it served under the
    /// leader that proposed it: there was none in between.
    successive: Option<(i64, i64)>,
    /// The last configuration that the history has, loaded or logged.
    in_history: Option<Arc<EnsembleConfig>>,
    /// A role has begun to serve, and the election does not know it yet.
    serves: bool,
    /// The election does not know these members yet.
    members_are_new: bool,
    options: EnsembleOptions,
    history: History,
    /// Proposals of this server's that wait for others to go with.
    room: ProposalRoom,
    last_ticket: Ticket,
    persisted: Ticket,
    deliveries: VecDeque<Delivery>,
    last_read: ReadId,
    /// The latest epoch that a member was turned away for having accepted: as leader this server
    /// proposes a later one.
    epoch_heard: Epoch,
    /// When a reign of this server's ended last to take in a member that had accepted a later one.
    gave_way_at: Option<Time>,
    /// After a join that failed no leader is dialled before this time.
    join_not_before: Time,
    /// How long that was the last time, while the leader sends what is not taken; else 0.
    limit_pause_ms: u64,
    /// When it was told last that the leader sends more than clients may.
    long_told: Option<Time>,
    /// Leaders that did not take this server in.
    refusals: Refusals,
    /// Why this server wants all of the leader's state, if it does.
    wish: Option<Wish>,
    dial_ids: DialIds,
    /// Learners that were sent no snapshot to begin with, since that was asked.
    diffs: u64,
}

impl Shared {
    fn new(me: ServerId, config: Arc<EnsembleConfig>, options: EnsembleOptions) -> Shared {
        Shared {
            me,
            members: Arc::new(Membership::new(config, None)),
            successive: None,
            in_history: None,
            serves: false,
            members_are_new: false,
            history: History::new(options.commit_log_count.max(1)),
            room: ProposalRoom::default(),
            options,
            last_ticket: Ticket(0),
            persisted: Ticket(0),
            deliveries: VecDeque::new(),
            last_read: ReadId(0),
            epoch_heard: Epoch(0),
            gave_way_at: None,
            join_not_before: Time(0),
            refusals: Refusals::default(),
            wish: None,
            limit_pause_ms: 0,
            long_told: None,
            dial_ids: DialIds::QUORUM,
            diffs: 0,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.last_ticket.take()
    }
    /// The data directory is loaded, as it was left or with its log cut.
    fn load(&mut self, start: Start) {
        self.history.load(start);
        let last = self.history.last_logged;
        self.in_history.take_if(|config| Zxid(config.version) > last);
        self.forget_unlogged();
    }
    fn limit_ms(&self, ticks: u64) -> u64 {
        self.options.tick_time_ms * ticks
    }
    fn dial_id(&mut self) -> ConnId {
        self.dial_ids.next()
    }
    /// Appends to the log; the entries are pending until they are committed. A configuration in
    /// them is durable before they are. `serves`: they are new, in a role that is established.
    fn append(&mut self, entries: Entries, serves: bool, out: &mut Actions) -> Ticket {
        if self.options.reconfig.is_some() {
            for (_, body) in &entries {
                let Some(config) = self.config_in(body) else { continue };
                let logged = Arc::new(config.clone());
                if config.version > self.members.last_seen().version {
                    self.conclude_change(out);
                    let versions = (self.members.current().version, config.version);
                    self.successive = serves.then_some(versions);
                    self.saw(config, out);
                }
                self.in_history = Some(logged);
            }
        }
        let ticket = self.ticket();
        self.history.logged(entries.clone());
        out.push(Action::Disk(DiskAction::Append { ticket, entries }));
        ticket
    }
}

/// Why a role ended, for the log.
type Ended = String;
