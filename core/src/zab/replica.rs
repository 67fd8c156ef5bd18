//! The state of a server that outlives its roles.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::api::{Delivery, EnsembleOptions};
use super::foreign_history::{FullSyncReason, Refusals};
use super::history::{History, RecoveredLog};
use super::membership::{ConfigEvent, ConfigHistory};
use super::proposal_buffer::ProposalBuffer;
use crate::action::{Action, Actions, DiskAction};
use crate::config::EnsembleConfig;
use crate::types::{ConnId, DialIds, Epoch, ReadId, ServerId, Ticket, Time};
use crate::wire::entries::Entries;

/// Identity, configurations, history, tickets, and the queue to the application: what every role of
/// this server works on.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) me: ServerId,
    pub(super) configs: ConfigHistory,
    pub(super) options: EnsembleOptions,
    pub(super) history: History,
    /// Proposals of this step, which are appended together.
    pub(super) proposal_buffer: ProposalBuffer,
    pub(super) last_ticket: Ticket,
    pub(super) persisted: Ticket,
    pub(super) deliveries: VecDeque<Delivery>,
    pub(super) last_read: ReadId,
    /// The latest accepted epoch of a member that could not join for it. As leader this server
    /// proposes a later one.
    pub(super) later_epoch_reported: Epoch,
    /// When a leadership term last ended to let such a member join.
    pub(super) gave_way_at: Option<Time>,
    /// No leader is dialled before this time, after a join that failed.
    pub(super) join_not_before: Time,
    /// The last such pause because a packet of the leader was too long; 0 after a join.
    pub(super) limit_pause_ms: u64,
    /// When the last warning about an oversized transaction of the leader was logged.
    pub(super) oversize_warned_at: Option<Time>,
    /// Joins that leaders have refused.
    pub(super) refusals: Refusals,
    /// Why this server needs the leader's whole state, if it does.
    pub(super) full_sync_reason: Option<FullSyncReason>,
    pub(super) dial_ids: DialIds,
    /// Learners that were synchronised without a snapshot, since the count was last read.
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
            configs: ConfigHistory::new(me, config),
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
    /// Takes over a loaded data directory: at start, or after its log was cut.
    pub(super) fn load(&mut self, log: RecoveredLog) {
        self.history.load(log);
        let History { current_epoch, last_logged, .. } = self.history;
        let effects = self.configs.apply(ConfigEvent::LogRead { current_epoch, last_logged });
        debug_assert!(effects.is_empty(), "what was read needs no writing");
    }
    pub(super) fn limit_ms(&self, ticks: u64) -> u64 {
        self.options.tick_time_ms * ticks
    }
    pub(super) fn dial_id(&mut self) -> ConnId {
        self.dial_ids.next()
    }
    /// Appends to the log; the entries are pending until they are committed. A configuration in
    /// them is durable before they are. `in_broadcast`: this server is in sync with the leader that
    /// proposed them, or is that leader.
    pub(super) fn append(
        &mut self,
        entries: Entries,
        in_broadcast: bool,
        out: &mut Actions,
    ) -> Ticket {
        if self.options.reconfig.is_some() {
            for (_, body) in &entries {
                let Some(config) = self.config_in(body).map(Arc::new) else { continue };
                self.config_event(ConfigEvent::Logged { config, in_broadcast }, out);
            }
        }
        let ticket = self.ticket();
        self.history.append(entries.clone());
        out.push(Action::Disk(DiskAction::Append { ticket, entries }));
        ticket
    }
}
