//! One server: the rooms put together. Events are routed to the room that owns them, and what
//! a room says is carried to the one that wants it.

mod client_requests;
mod divergence;
mod duty;
mod following;
mod forwarded;
mod leading;
mod listen_addresses;
mod local_sessions;
mod metrics;
mod options;
mod read_only;
mod reaper;
mod reconfig;
mod report;
mod snapshots;
mod state;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;

use tracing::{error, info};

use crate::action::{Action, Actions, DiskAction, Fault};
use crate::admin::metrics::{BufferSizes, Metrics};
use crate::admin::{Recovery, Whitelist};
use crate::budget::{Budget, Work};
use crate::client_port::{ClientPort, Handover};
use crate::config::Config;
use crate::disk::SnapshotTrigger;
use crate::event::{DiskEvent, Event, HostStats, NetEvent, Port, Recovered};
use crate::hash::HashKey;
use crate::mutant::mutant;
use crate::prep::Prep;
use crate::quorum::Membership;
use crate::session::SessionTracker;
use crate::store::{Effects, SnapshotDecoder, Store, StoreOptions};
use crate::types::{Epoch, Now, SessionId, Ticket, Time, Zxid};
use crate::wire::jute::Reader;
use crate::wire::txn::LoggedTxn;
use crate::zab::{Delivery, Ensemble, RecoveredLog, Role};

use duty::Duty;
use following::Following;
use forwarded::LearnerRequest;
use listen_addresses::ListenAddresses;
use metrics::LatencyTracker;
pub use options::{disk_options, store_options};
use snapshots::{Incoming, Snapshots};
pub use state::Decoder;

/// ZooKeeper's exit code for what should not happen.
const EXIT_UNEXPECTED: i32 = 1;

/// One server, driven by events, answering with actions.
#[derive(Debug)]
pub struct Node {
    config: Config,
    whitelist: Whitelist,
    /// The members as of the last delivery; `None` for a standalone server.
    members: Option<Arc<Membership>>,
    ensemble: Ensemble,
    store: Store,
    /// Of what replaces it.
    store_options: StoreOptions,
    prep: Prep,
    client_port: ClientPort,
    /// The data of the present role.
    duty: Duty,
    /// Sessions that only this server knows, if it may have any.
    local: Option<SessionTracker>,
    /// Since when this server has looked for a leader.
    looking_since: Option<Time>,
    /// The cost of this turn's writes and words.
    writes: Budget,
    snapshots: Snapshots,
    trigger: SnapshotTrigger,
    effects: Effects,
    recovery: Option<Recovery>,
    /// When the digest of this server's tree was not its leader's last.
    diverged_at: Option<Time>,
    started: Time,
    serving_since: Time,
    proposal_sizes: BufferSizes,
    /// Where the runtime listens for other servers.
    listen_addresses: ListenAddresses,
    host: HostStats,
    /// The mask of `stmk`.
    trace_mask: i64,
    metrics: Metrics,
    latencies: LatencyTracker,
}

impl Node {
    /// A server whose data directory is about to be loaded. `seed` draws what ZooKeeper draws
    /// at random: when snapshots are due; the key of hashes that clients must not know; and session
    /// ids, which count up from the clock with seed 0.
    pub fn new(config: Config, seed: u64, now: Now) -> Node {
        let options = options::ensemble_options(&config);
        let mut ensemble = match &config.ensemble {
            Some(members) => Ensemble::new(config.my_id, Arc::new(members.clone()), options),
            None => Ensemble::standalone(options),
        };
        let mut proposed = config.next.as_ref();
        mutant!(ChangeForgottenByRestart => proposed = None);
        if let Some(next) = proposed {
            ensemble.restore_proposed_config(next.clone());
        }
        let snap_bytes = u64::try_from(config.storage.snap_size_limit_kb).unwrap_or(0) << 10;
        let store_options = StoreOptions { hash_seed: seed, ..store_options(&config) };
        let key = HashKey::new(seed);
        Node {
            whitelist: Whitelist::parse(
                config.security.four_letter_whitelist.as_deref(),
                config.sessions.read_only_mode,
            ),
            members: config.ensemble.is_some().then(|| ensemble.members().clone()),
            ensemble,
            store: Store::new(store_options),
            store_options,
            prep: Prep::new(options::prep_options(&config), key.clone()),
            client_port: ClientPort::new(options::client_port_options(&config), now, seed, key),
            duty: Duty::Idle,
            local: local_sessions::local_tracker(&config, now.mono),
            looking_since: None,
            writes: Budget::new(config.limits.turn_budget, now.mono),
            snapshots: Snapshots::default(),
            trigger: SnapshotTrigger::new(config.storage.snap_count, snap_bytes, seed),
            effects: Effects::default(),
            recovery: None,
            diverged_at: None,
            started: now.mono,
            serving_since: now.mono,
            proposal_sizes: BufferSizes::default(),
            listen_addresses: ListenAddresses::at_start(&config),
            host: HostStats::default(),
            trace_mask: report::TRACE_MASK,
            metrics: Metrics::default(),
            latencies: LatencyTracker::new(now),
            config,
        }
    }

    /// Takes one event; appends what is to be done to `out`. Never blocks, never fails.
    pub fn step(&mut self, now: Now, event: Event<Store>, out: &mut Actions) {
        let begun = out.len();
        let is_tick = matches!(event, Event::Tick);
        self.client_port.begin_turn(now.mono, is_tick);
        self.writes.begin(now.mono, is_tick);
        match event {
            Event::Tick => {
                self.ensemble.tick(now.mono, out);
                self.client_port.tick(now.mono, out);
                self.client_port.take_turns(now, &self.store, out);
                self.expire_local_sessions(now, out);
                self.expire_sessions(now, out);
                self.reap(now, out);
            }
            Event::Net(event) => self.net(now, event, out),
            Event::Disk(event) => self.disk(now, event, out),
            Event::Host(host) => self.host = *host,
        }
        self.settle(now, out);
        self.measure(now, &out[begun..]);
    }

    /// An event of a connection: the client port's, or the ensemble's.
    fn net(&mut self, now: Now, event: NetEvent, out: &mut Actions) {
        match event {
            NetEvent::Opened { conn, port: Port::Client, peer } => {
                self.client_port.opened(now.mono, conn, peer, out);
            }
            NetEvent::Identified { conn, subject } => {
                self.client_port.identified(conn, subject, out)
            }
            NetEvent::Received { conn, bytes } if self.client_port.owns(conn) => {
                self.client_port.received(now, &self.store, conn, bytes, out);
            }
            NetEvent::Writable { conn } if self.client_port.owns(conn) => {
                self.client_port.writable(now, &self.store, conn, out);
            }
            NetEvent::Closed { conn } if self.client_port.owns(conn) => {
                self.client_port.closed(conn)
            }
            event => self.ensemble.step(now.mono, event, out),
        }
    }

    fn disk(&mut self, now: Now, event: DiskEvent<Store>, out: &mut Actions) {
        match event {
            DiskEvent::Persisted { upto } => {
                self.measure_persisted(now, upto);
                self.ensemble.persisted(now.mono, upto, out);
            }
            DiskEvent::LogRead(batch) => self.ensemble.log_read(now.mono, &batch, out),
            DiskEvent::SnapshotReady => self.own_snapshot_chunk(now, out),
            DiskEvent::Recovering(progress) => {
                let elapsed_ms = now.mono.ms_since(self.started);
                let recovery = Recovery { progress, elapsed_ms };
                if progress.bytes_total > 0 {
                    info!("{recovery}");
                }
                self.recovery = Some(recovery);
            }
            DiskEvent::Recovered(recovered) => self.recovered(now, *recovered, out),
            DiskEvent::Failed(fault) => {
                error!("{}", fault.what);
                let (what, exit_code) = (Box::new(fault.what), fault.exit_code);
                out.push(Action::Halt(Fault { what, exit_code }));
            }
        }
    }

    /// When [`Event::Tick`] has work.
    pub fn deadline(&self) -> Option<Time> {
        if self.has_more_requests() {
            return Some(Time(0));
        }
        let (tracker, reaper) = match &self.duty {
            Duty::Leading(leading) => (leading.tracker.deadline(), Some(leading.reaper.deadline())),
            Duty::Idle | Duty::Following(_) => (None, None),
        };
        let local = self.local.as_ref().and_then(SessionTracker::deadline);
        let (ensemble, client_port) = (self.ensemble.deadline(), self.client_port.deadline());
        let all = [ensemble, client_port, tracker, reaper, local, self.read_only_due()];
        all.into_iter().flatten().min()
    }

    /// Whether clients are served.
    pub fn serving(&self) -> bool {
        match self.ensemble.role() {
            Role::Leading { established } => established,
            Role::Following { active, .. } => active,
            Role::Standalone => true,
            Role::Recovering | Role::Looking => false,
        }
    }

    /// This server's role in its ensemble.
    pub fn role(&self) -> Role {
        self.ensemble.role()
    }

    /// The newest epoch that it has been in step with a leader of (`currentEpoch`).
    pub fn epoch(&self) -> Epoch {
        self.ensemble.epoch()
    }

    /// The state of the tree.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The most that was done for clients in one turn: for their reads, and for writes and words.
    pub fn most_work(&self) -> [Work; 2] {
        [self.client_port.most_work(), self.writes.most()]
    }

    // ---- carrying things from room to room

    fn settle(&mut self, now: Now, out: &mut Actions) {
        self.switch_read_only(now, out);
        loop {
            if let Some(delivery) = self.ensemble.next_delivery() {
                self.deliver(now, delivery, out);
            } else if self.take_request(now, out) {
                // The deliveries that it caused go first.
            } else if !self.client_port.admit_stalled(now, &self.store, out) {
                break;
            }
        }
        self.ensemble.flush(out);
        self.client_port.flush(out);
    }

    fn deliver(&mut self, now: Now, delivery: Delivery, out: &mut Actions) {
        match delivery {
            Delivery::Looking => {
                self.uncommitted_may_follow(out);
                self.stop_serving(out);
                self.listen_for_servers(out);
            }
            Delivery::Leading { epoch } => {
                self.lead(now, epoch);
                self.listen_for_servers(out);
            }
            Delivery::Following { .. } => {
                self.store.judge();
                self.duty = Duty::Following(Following::default());
                self.start_serving(now);
                self.listen_for_servers(out);
            }
            Delivery::Committed(entries) => {
                for (zxid, body) in &entries {
                    self.apply(now, zxid, Reader::within(entries.frames(), body), out);
                }
            }
            Delivery::Reconfigured { members } => self.reconfigured(members, out),
            Delivery::Truncating => self.abort_own_snapshot(out),
            Delivery::SnapshotWanted { learner } => {
                let walk = self.store.snapshot_walk();
                self.snapshots.learners.insert(learner, walk);
                self.metrics.snap_count.add(1);
                self.measure_learner_snapshots();
                self.learner_snapshot_chunk(learner, out);
            }
            Delivery::SnapshotMore { learner } => self.learner_snapshot_chunk(learner, out),
            Delivery::SnapshotDropped { learner } => {
                self.snapshots.learners.remove(&learner);
                self.measure_learner_snapshots();
            }
            Delivery::SnapshotBegin { zxid } => {
                self.abort_own_snapshot(out);
                let decoder = SnapshotDecoder::new(self.store_options);
                self.snapshots.incoming = Some(Incoming::new(zxid, decoder));
                let begin = DiskAction::SnapshotBegin { zxid, from_leader: true };
                out.push(Action::Disk(begin));
            }
            Delivery::SnapshotBytes(bytes) => self.snapshot_bytes(now, bytes, out),
            Delivery::Request { learner, data, auth, .. } => {
                if let Some(leading) = self.duty.leading() {
                    leading.forwarded.push(learner, LearnerRequest::Request { data, auth });
                }
            }
            Delivery::Revalidate { learner, data } => {
                if let Some(leading) = self.duty.leading() {
                    leading.forwarded.push(learner, LearnerRequest::Revalidate { data });
                }
            }
            Delivery::Touched { data, .. } => {
                let mut r = Reader::new(&data);
                while let (Ok(session), Ok(timeout_ms)) = (r.record::<SessionId>(), r.int()) {
                    match &mut self.duty {
                        Duty::Leading(leading) => {
                            leading.tracker.touch(now.mono, session, timeout_ms);
                        }
                        // Of an observer that this follower leads: it reports them to the leader.
                        Duty::Following(following) => following.touch(session, timeout_ms),
                        Duty::Idle => {}
                    }
                }
            }
            Delivery::LearnerGone { learner } => {
                if let Some(leading) = self.duty.leading() {
                    leading.forget_learner(learner);
                }
            }
            Delivery::Ping => self.answer_ping(out),
            Delivery::Revalidated { data } => {
                let mut r = Reader::new(&data);
                if let (Ok(session), Ok(valid)) = (r.record::<SessionId>(), r.boolean()) {
                    let handover = valid.then_some(Handover::Fenced);
                    self.client_port.reattached(now, &self.store, session, handover, out);
                }
            }
            Delivery::Synced => {
                if let Some(pending) = self.duty.pending_syncs().and_then(VecDeque::pop_front) {
                    self.synced(now, pending, out);
                }
            }
        }
    }

    // ---- roles

    fn recovered(&mut self, now: Now, recovered: Recovered<Store>, out: &mut Actions) {
        let mut truncated = recovered.ticket != Ticket(0);
        mutant!(TruncationTakenForAStart => truncated = false);
        self.store = recovered.state;
        self.measure_loaded(now);
        self.remember_config();
        self.prep.clear();
        self.recovery = None;
        info!(zxid = %recovered.last_zxid, nodes = self.store.node_count(),
            epoch = recovered.current_epoch, ms = now.mono.ms_since(self.started),
            "the data directory is loaded");
        let start = RecoveredLog {
            last_zxid: recovered.last_zxid,
            tail: recovered.tail,
            current_epoch: Epoch(recovered.current_epoch),
            accepted_epoch: Epoch(recovered.accepted_epoch),
            snapshot_bytes: recovered.snapshot_bytes,
        };
        if truncated {
            self.ensemble.truncated(now.mono, recovered.ticket, start, out);
        } else {
            self.ensemble.start(now.mono, start, out);
        }
    }

    fn start_serving(&mut self, now: Now) {
        if let Some(members) = &self.members {
            let version = members.committed().version;
            self.store.show_config(members.text(), version, now.wall_ms);
        }
        self.serving_since = now.mono;
        self.touch_local_sessions(now);
        self.client_port.start_serving();
    }

    fn stop_serving(&mut self, out: &mut Actions) {
        self.client_port.stop_serving(out);
        self.duty = Duty::Idle;
        self.prep.clear();
        self.snapshots.learners.clear();
        if self.snapshots.incoming.take().is_some() {
            out.push(Action::Disk(DiskAction::SnapshotAbort));
        }
    }

    // ---- writes

    fn apply(&mut self, now: Now, zxid: Zxid, mut body: Reader<'_>, out: &mut Actions) {
        let bytes = body.remaining();
        let own = self.duty.leading().and_then(|leading| leading.take_proposed(zxid));
        let logged: LoggedTxn = match own.map_or_else(|| body.record(), Ok) {
            Ok(logged) => logged,
            Err(what) => {
                let what = Box::new(format!(
                    "transaction {zxid} is committed but cannot be read ({what}): \
                     stop, and compare the version of this server with the leader's"
                ));
                return out.push(Action::Halt(Fault { what, exit_code: EXIT_UNEXPECTED }));
            }
        };
        // In the step that ends a role, clients still get the events of earlier commits: the client
        // port serves until the role's end is delivered.
        let mut is_told = self.client_port.is_serving();
        mutant!(LastEventsLostWithTheRole => is_told = self.serving());
        if is_told {
            self.client_port.applying(now, &self.store, &logged, out);
        }
        self.effects.wanted = is_told && self.client_port.is_watched();
        let outcome = self.store.apply(&logged, &mut self.effects);
        self.prep.committed(zxid);
        if let Some(mismatch) = self.store.take_mismatch() {
            self.diverged(now, mismatch, out);
        }
        if is_told {
            self.measure_commit(now, &logged);
        }
        self.session_committed(&logged);
        self.client_port.committed(now, &self.store, &logged, &outcome, &self.effects, out);
        self.effects.triggers.clear();
        let is_due = self.trigger.appended(bytes);
        // Outside a role, transactions are applied that may never be committed.
        let mut is_committed = self.serving();
        mutant!(SnapshotOfUncommitted => is_committed = true);
        if is_due && self.snapshots.may_begin(now) && is_committed {
            self.begin_own_snapshot(now, out);
        }
    }
}
