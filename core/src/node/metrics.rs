//! Metrics of roles, the disk and commits: counted where they happen, measured between events.
//! Times are those of the events, so work within one event takes no time.

use alloc::collections::VecDeque;

use super::Node;
use crate::action::{Action, DiskAction};
use crate::types::{Now, Ticket, Time};
use crate::wire::txn::{LoggedTxn, TxnHeader};
use crate::wire::{EventType, Word};
use crate::zab::Role;

/// The start times of everything that is being measured.
#[derive(Debug)]
pub(super) struct LatencyTracker {
    role: Role,
    /// Without a leader, or without its clients.
    unavailable_since: Time,
    looking_since: Time,
    /// The election is over.
    decided: Time,
    /// Given to the disk, and not durable yet.
    appended: VecDeque<Appended>,
    /// The disk was done with something.
    persisted: Time,
}

#[derive(Debug)]
struct Appended {
    ticket: Ticket,
    at: Time,
    /// When the leader made it, by its clock; none if it cannot be read.
    made_ms: Option<i64>,
}

impl LatencyTracker {
    pub(super) fn new(now: Now) -> LatencyTracker {
        let now = now.mono;
        LatencyTracker {
            role: Role::Recovering,
            unavailable_since: now,
            looking_since: now,
            decided: now,
            appended: VecDeque::new(),
            persisted: now,
        }
    }
}

/// How long ago by the wall clock; none if the clocks disagree.
fn since_ms(now: Now, then_ms: i64) -> Option<u64> {
    u64::try_from(now.wall_ms.checked_sub(then_ms)?).ok()
}

impl Node {
    /// After every event: what it has done to this server's role, and what it gave to the disk.
    pub(super) fn measure(&mut self, now: Now, actions: &[Action]) {
        let role = self.ensemble.role();
        if role != self.latencies.role {
            self.role_changed(now.mono, role);
        }
        for action in actions {
            if let Action::Disk(DiskAction::Append { ticket, entries }) = action {
                for (_, body) in entries {
                    let made = TxnHeader::peek(body).map(|header| header.time_ms);
                    self.measure_append(now, *ticket, made);
                }
            }
        }
    }

    fn role_changed(&mut self, now: Time, role: Role) {
        let (watch, metrics) = (&mut self.latencies, &mut self.metrics);
        let before = core::mem::replace(&mut watch.role, role);
        let is_serving = |role| {
            matches!(
                role,
                Role::Leading { established: true } | Role::Following { active: true, .. }
            )
        };
        if is_serving(before) {
            watch.unavailable_since = now;
        }
        match role {
            Role::Recovering | Role::Standalone => return,
            Role::Looking => {
                metrics.looking_count.add(1);
                watch.looking_since = now;
                return;
            }
            Role::Leading { .. } | Role::Following { .. } if before == Role::Looking => {
                metrics.election_time.add(now.ms_since(watch.looking_since));
                watch.decided = now;
            }
            Role::Leading { .. } | Role::Following { .. } => {}
        }
        if !is_serving(role) || is_serving(before) {
            return;
        }
        let unavailable = now.ms_since(watch.unavailable_since);
        metrics.unavailable_time.add(unavailable);
        let synchronised = now.ms_since(watch.decided);
        match role {
            Role::Leading { .. } => metrics.leader_unavailable_time.add(unavailable),
            Role::Following { observing: true, .. } => metrics.observer_sync_time.add(synchronised),
            Role::Following { observing: false, .. } => {
                metrics.follower_sync_time.add(synchronised);
            }
            Role::Recovering | Role::Looking | Role::Standalone => {}
        }
    }

    fn measure_append(&mut self, now: Now, ticket: Ticket, made_ms: Option<i64>) {
        let metrics = &mut self.metrics;
        metrics.sync_processor_request_queued.add(1);
        metrics.sync_processor_queue_size.add(self.latencies.appended.len() as u64);
        // To an observer nothing is proposed.
        if let Role::Following { active: true, observing: false } = self.latencies.role {
            metrics.learner_proposal_received_count.add(1);
            if let Some(latency) = made_ms.and_then(|ms| since_ms(now, ms)) {
                metrics.proposal_latency.add(latency);
            }
        }
        self.latencies.appended.push_back(Appended { ticket, at: now.mono, made_ms });
    }

    /// The disk has written all up to here, in one go since it was done the last time.
    pub(super) fn measure_persisted(&mut self, now: Now, upto: Ticket) {
        let (watch, metrics) = (&mut self.latencies, &mut self.metrics);
        let before = core::mem::replace(&mut watch.persisted, now.mono);
        let acknowledges =
            !matches!(watch.role, Role::Standalone | Role::Following { observing: true, .. });
        let mut begun = None;
        let mut batch = 0;
        while let Some(one) = watch.appended.pop_front_if(|one| one.ticket <= upto) {
            let begins = one.at.max(before);
            begun.get_or_insert(begins);
            batch += 1;
            metrics.sync_processor_queue_time_ms.add(begins.ms_since(one.at));
            metrics.sync_processor_queue_and_flush_time_ms.add(now.mono.ms_since(one.at));
            if let Some(latency) = one.made_ms.and_then(|ms| since_ms(now, ms))
                && acknowledges
            {
                metrics.proposal_ack_creation_latency.add(latency);
            }
        }
        if let Some(begun) = begun {
            let took = now.mono.ms_since(begun);
            metrics.sync_processor_batch_size.add(batch);
            metrics.sync_processor_queue_flush_time_ms.add(took);
            metrics.fsynctime.add(took);
        }
    }

    /// A recovery has ended: entries on their way to the disk are durable or truncated.
    pub(super) fn measure_loaded(&mut self, now: Now) {
        self.latencies.appended.clear();
        self.latencies.persisted = now.mono;
        self.metrics.dbinittime.add(now.mono.ms_since(self.started));
    }

    /// A transaction is committed while this server serves.
    pub(super) fn measure_commit(&mut self, now: Now, logged: &LoggedTxn) {
        let metrics = &mut self.metrics;
        let latency = since_ms(now, logged.header.time_ms);
        if let Some(latency) = latency {
            metrics.propagation_latency.add(latency);
        }
        match self.latencies.role {
            Role::Leading { .. } => {
                metrics.commit_count.add(1);
                metrics.request_commit_queued.add(1);
                if let Some(latency) = latency {
                    metrics.quorum_ack_latency.add(latency);
                }
            }
            Role::Following { .. } => {
                metrics.learner_commit_received_count.add(1);
                metrics.request_commit_queued.add(1);
                if let Some(latency) = latency {
                    metrics.commit_propagation_latency.add(latency);
                }
            }
            Role::Recovering | Role::Looking | Role::Standalone => {}
        }
    }

    /// The leader sends snapshots to so many learners, one more or one less than before.
    pub(super) fn measure_learner_snapshots(&mut self) {
        self.metrics.inflight_snap_count.add(self.snapshots.learners.len() as u64);
    }

    /// Puts the figures of other rooms beside the node's own.
    pub(super) fn gather_figures(&mut self, word: Word) {
        if word != Word::Mntr {
            return;
        }
        let (stats, metrics) = (&self.client_port.stats, &mut self.metrics);
        metrics.connection_rejected = stats.connections_rejected;
        metrics.connection_request_count = stats.connection_requests;
        metrics.connection_revalidate_count = stats.reattachments;
        metrics.connection_drop_count = stats.connections_dropped;
        metrics.connection_token_deficit = stats.token_deficit;
        metrics.sessionless_connections_expired = stats.sessionless_expired;
        metrics.bytes_received_count = stats.bytes_received;
        metrics.response_bytes = stats.response_bytes;
        metrics.throttled_ops = stats.throttled_ops;
        metrics.request_throttle_wait_count = stats.throttle_waits;
        metrics.request_throttle_queue_time_ms.clone_from(&stats.throttle_queue);
        metrics.large_requests_rejected = stats.large_requests_rejected;
        metrics.readlatency.clone_from(&stats.read_latency);
        metrics.updatelatency.clone_from(&stats.update_latency);
        metrics.node_created_watch_count = *stats.watchers(EventType::NodeCreated);
        metrics.node_deleted_watch_count = *stats.watchers(EventType::NodeDeleted);
        metrics.node_changed_watch_count = *stats.watchers(EventType::NodeDataChanged);
        metrics.node_children_watch_count = *stats.watchers(EventType::NodeChildrenChanged);
        metrics.diff_count.add(self.ensemble.take_diffs());
        let (queued, removed) = self.prep.take_changes();
        metrics.outstanding_changes_queued.add(queued);
        metrics.outstanding_changes_removed.add(removed);
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use bytes::{BufMut, Bytes, BytesMut};

    use super::*;
    use crate::action::Actions;
    use crate::config::Config;
    use crate::event::{DiskEvent, Event, NetEvent, Port, Recovered};
    use crate::store::Store;
    use crate::types::{ConnId, SessionId, Zxid};
    use crate::wire::Record;
    use crate::wire::client::ConnectRequest;

    const CLIENT: ConnId = ConnId::accepted(1);

    fn at(ms: u64) -> Now {
        Now { mono: Time(0).plus_ms(ms), wall_ms: 1_700_000_000_000 + ms as i64 }
    }

    fn loaded(node: &mut Node, now: Now) -> Actions {
        let state = Store::new(super::super::store_options(&node.config));
        let mut out = Vec::new();
        let recovered = Recovered {
            ticket: Ticket(0),
            state,
            last_zxid: Zxid::ZERO,
            tail: Vec::new(),
            current_epoch: 0,
            accepted_epoch: 0,
            snapshot_bytes: 0,
        };
        node.step(now, Event::Disk(DiskEvent::Recovered(Box::new(recovered))), &mut out);
        out
    }

    fn connect(node: &mut Node, now: Now) -> Ticket {
        let mut out = Vec::new();
        let peer = "127.0.0.1:4000".parse().unwrap();
        node.step(
            now,
            Event::Net(NetEvent::Opened { conn: CLIENT, port: Port::Client, peer }),
            &mut out,
        );
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 10_000,
            session: SessionId(0),
            password: None,
            read_only: None,
        };
        let mut bytes = BytesMut::new();
        bytes.put_u32(request.to_bytes().len() as u32);
        bytes.put_slice(&request.to_bytes());
        node.step(
            now,
            Event::Net(NetEvent::Received { conn: CLIENT, bytes: bytes.freeze() }),
            &mut out,
        );
        let appended = out.iter().find_map(|action| match action {
            Action::Disk(DiskAction::Append { ticket, .. }) => Some(*ticket),
            _ => None,
        });
        appended.expect("the session's transaction")
    }

    #[test]
    fn a_write_is_measured_from_the_request_to_the_disk_and_back() {
        let (config, _) =
            Config::parse("zoo.cfg", "dataDir=/d\nclientPort=1\n", None, None).unwrap();
        let mut node = Node::new(config, 7, at(0));
        loaded(&mut node, at(30));
        let first = connect(&mut node, at(100));
        let mut out = Vec::new();
        node.step(at(107), Event::Disk(DiskEvent::Persisted { upto: first }), &mut out);
        let ping = Bytes::from_static(&[0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11]);
        node.step(at(110), Event::Net(NetEvent::Received { conn: CLIENT, bytes: ping }), &mut out);
        node.gather_figures(Word::Mntr);
        let metrics = &node.metrics;
        let summary = |s: &crate::admin::metrics::Summary| (s.count(), s.sum());
        assert_eq!(summary(&metrics.dbinittime), (1, 30));
        assert_eq!(summary(&metrics.fsynctime), (1, 7));
        assert_eq!(summary(&metrics.sync_processor_batch_size), (1, 1));
        let whole = metrics.sync_processor_queue_and_flush_time_ms.summary();
        assert_eq!(summary(whole), (1, 7));
        assert_eq!(summary(metrics.sync_processor_queue_time_ms.summary()), (1, 0));
        assert_eq!(summary(metrics.propagation_latency.summary()), (1, 7));
        assert_eq!(summary(metrics.readlatency.summary()), (1, 0));
        assert_eq!(metrics.connection_request_count.get(), 1);
        assert_eq!(metrics.bytes_received_count.get(), 32 + 12);
        // There is no quorum, nor an election.
        assert_eq!((metrics.commit_count.get(), metrics.looking_count.get()), (0, 0));
    }

    #[test]
    fn to_an_observer_nothing_is_proposed() {
        let (config, _) = Config::parse("zoo.cfg", "dataDir=/d\n", None, None).unwrap();
        let mut node = Node::new(config, 7, at(0));
        for (observing, proposals) in [(true, 0), (false, 1)] {
            node.latencies.role = Role::Following { active: true, observing };
            node.measure_append(at(100), Ticket(1), Some(at(95).wall_ms));
            node.measure_persisted(at(110), Ticket(1));
            let metrics = core::mem::take(&mut node.metrics);
            assert_eq!(metrics.learner_proposal_received_count.get(), proposals, "{observing}");
            assert_eq!(metrics.proposal_latency.summary().count(), proposals);
            assert_eq!(metrics.proposal_ack_creation_latency.summary().count(), proposals);
            assert_eq!(metrics.fsynctime.count(), 1, "it writes them all the same");
        }
    }

    #[test]
    fn the_time_without_a_leader_begins_with_the_search_for_one() {
        let text = "dataDir=/d\nclientPort=1\ninitLimit=5\nsyncLimit=2\nstandaloneEnabled=false\n\
                    server.1=a:1:2\n";
        let (config, _) = Config::parse("zoo.cfg", text, Some("1"), None).unwrap();
        let mut node = Node::new(config, 7, at(0));
        let mut out = loaded(&mut node, at(50));
        // Alone it is elected, and its files say so, at once.
        for ms in [60, 300, 310, 320, 330] {
            let tickets = out.drain(..).filter_map(|action| match action {
                Action::Disk(
                    DiskAction::SaveEpoch { ticket, .. } | DiskAction::Append { ticket, .. },
                ) => Some(ticket),
                _ => None,
            });
            let upto = tickets.max();
            node.step(at(ms), Event::Tick, &mut out);
            if let Some(upto) = upto {
                node.step(at(ms), Event::Disk(DiskEvent::Persisted { upto }), &mut out);
            }
        }
        assert_eq!(node.role(), Role::Leading { established: true });
        let metrics = &node.metrics;
        assert_eq!(metrics.looking_count.get(), 1);
        let [election, unavailable, leading] =
            [metrics.election_time, metrics.unavailable_time, metrics.leader_unavailable_time]
                .map(|summary| (summary.count(), summary.sum()));
        assert_eq!(election.0, 1);
        assert_eq!(unavailable, leading);
        assert!(unavailable.0 == 1 && unavailable.1 >= election.1 + 50, "{unavailable:?}");
    }
}
