//! What the roles of one server share.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::api::{Delivery, EnsembleOptions};
use super::foreign_history::{FullSyncReason, Refusals};
use super::history::{History, RecoveredLog};
use super::proposal_buffer::ProposalBuffer;
use crate::action::{Action, Actions, DiskAction};
use crate::config::EnsembleConfig;
use crate::quorum::Membership;
use crate::types::{ConnId, DialIds, Epoch, ReadId, ServerId, Ticket, Time, Zxid};
use crate::wire::entries::Entries;

/// What leader and learner share: identity, log, tickets, and the way to the rider.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) me: ServerId,
    pub(super) members: Arc<Membership>,
    /// The last two configurations, if this server logged the second one while it served under the
    /// leader that proposed it: there was none in between.
    pub(super) adjacent_versions: Option<(i64, i64)>,
    /// The last configuration that the history has, loaded or logged.
    pub(super) last_logged_config: Option<Arc<EnsembleConfig>>,
    /// A role has begun to serve, and the election does not know it yet.
    pub(super) serves: bool,
    /// The election does not know these members yet.
    pub(super) members_are_new: bool,
    pub(super) options: EnsembleOptions,
    pub(super) history: History,
    /// Proposals of this server's that wait for others to go with.
    pub(super) proposal_buffer: ProposalBuffer,
    pub(super) last_ticket: Ticket,
    pub(super) persisted: Ticket,
    pub(super) deliveries: VecDeque<Delivery>,
    pub(super) last_read: ReadId,
    /// The latest epoch that a member was turned away for having accepted: as leader this server
    /// proposes a later one.
    pub(super) later_epoch_reported: Epoch,
    /// When a reign of this server's ended last to take in a member that had accepted a later one.
    pub(super) gave_way_at: Option<Time>,
    /// After a join that failed no leader is dialled before this time.
    pub(super) join_not_before: Time,
    /// How long that was the last time, while the leader sends what is not taken; else 0.
    pub(super) limit_pause_ms: u64,
    /// When it was told last that the leader sends more than clients may.
    pub(super) oversize_warned_at: Option<Time>,
    /// Leaders that did not take this server in.
    pub(super) refusals: Refusals,
    /// Why this server wants all of the leader's state, if it does.
    pub(super) full_sync_reason: Option<FullSyncReason>,
    pub(super) dial_ids: DialIds,
    /// Learners that were sent no snapshot to begin with, since that was asked.
    pub(super) diff_syncs: u64,
}

impl Replica {
    pub(super) fn new(
        me: ServerId,
        config: Arc<EnsembleConfig>,
        options: EnsembleOptions,
    ) -> Replica {
        Replica {
            me,
            members: Arc::new(Membership::new(config, None)),
            adjacent_versions: None,
            last_logged_config: None,
            serves: false,
            members_are_new: false,
            history: History::new(options.commit_log_count.max(1)),
            proposal_buffer: ProposalBuffer::default(),
            options,
            last_ticket: Ticket(0),
            persisted: Ticket(0),
            deliveries: VecDeque::new(),
            last_read: ReadId(0),
            later_epoch_reported: Epoch(0),
            gave_way_at: None,
            join_not_before: Time(0),
            refusals: Refusals::default(),
            full_sync_reason: None,
            limit_pause_ms: 0,
            oversize_warned_at: None,
            dial_ids: DialIds::QUORUM,
            diff_syncs: 0,
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.last_ticket.take()
    }
    /// The data directory is loaded, as it was left or with its log cut.
    pub(super) fn load(&mut self, start: RecoveredLog) {
        self.history.load(start);
        let last = self.history.last_logged;
        self.last_logged_config.take_if(|config| Zxid(config.version) > last);
        self.ignore_unlogged();
    }
    pub(super) fn limit_ms(&self, ticks: u64) -> u64 {
        self.options.tick_time_ms * ticks
    }
    pub(super) fn dial_id(&mut self) -> ConnId {
        self.dial_ids.next()
    }
    /// Appends to the log; the entries are pending until they are committed. A configuration in
    /// them is durable before they are. `serves`: they are new, in a role that is established.
    pub(super) fn append(&mut self, entries: Entries, serves: bool, out: &mut Actions) -> Ticket {
        if self.options.reconfig.is_some() {
            for (_, body) in &entries {
                let Some(config) = self.config_in(body) else { continue };
                let logged = Arc::new(config.clone());
                if config.version > self.members.last_seen().version {
                    self.commit_superseded(out);
                    let versions = (self.members.committed().version, config.version);
                    self.adjacent_versions = serves.then_some(versions);
                    self.note_proposed(config, out);
                }
                self.last_logged_config = Some(logged);
            }
        }
        let ticket = self.ticket();
        self.history.logged(entries.clone());
        out.push(Action::Disk(DiskAction::Append { ticket, entries }));
        ticket
    }
}
