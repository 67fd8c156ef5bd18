//! One server: the rooms put together. Events are routed to the room that owns them, and what
//! a room says is carried to the one that wants it.

mod cleaner;
mod divergence;
mod figures;
mod forwarded;
mod listening;
mod options;
mod reconfig;
mod report;
mod sessions;
mod snapshots;
mod state;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tracing::{error, info, warn};

use crate::action::{Action, Actions, DiskAction, Fault, Reason};
use crate::admin::metrics::{BufferSizes, Metrics};
use crate::admin::{Recovery, Whitelist};
use crate::budget::{Budget, Work};
use crate::client_port::{ClientPort, ClientRequest, Handover};
use crate::config::Config;
use crate::disk::SnapshotTrigger;
use crate::event::{DiskEvent, Event, HostStats, NetEvent, Port, Recovered};
use crate::hash::HashKey;
use crate::mutant::Mutant;
use crate::prep::{self, Parsed, Prep, Request};
use crate::quorum::Membership;
use crate::session::{Owner, SessionCheck, SessionTracker};
use crate::store::{Effects, SnapshotDecoder, Store, StoreOptions};
use crate::types::{ConnId, Epoch, Now, SessionId, Ticket, Time, Zxid};
use crate::wire::client::Id;
use crate::wire::jute::{Reader, Writer};
use crate::wire::quorum::ForwardedRequest;
use crate::wire::txn::{LoggedTxn, Txn, TxnHeader};
use crate::wire::{ErrorCode, OpCode, Record};
use crate::zab::{Delivery, Ensemble, RecoveredLog, Role};

use cleaner::Cleaner;
use figures::Watch;
use forwarded::{Asked, Forwarded};
use listening::Places;
pub use options::{disk_options, store_options};
use snapshots::{Incoming, Progress, Snapshots, next_chunk, signature};
pub use state::Decoder;

/// ZooKeeper's exit code for what should not happen.
const EXIT_UNEXPECTED: i32 = 1;

/// Whose sync the leader is asked for.
#[derive(Clone, Copy, Debug)]
enum Syncing {
    /// A client's.
    Client(ConnId),
    /// This server's own ([`ClientRequest::Fence`]).
    Fence,
}

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
    /// Leader and standalone: who is alive.
    tracker: Option<SessionTracker>,
    /// Leader and standalone: what deletes containers and TTL nodes.
    cleaner: Option<Cleaner>,
    /// Sessions that only this server knows, if there may be any.
    local: Option<SessionTracker>,
    /// Since when this server has looked for a leader.
    looking_since: Option<Time>,
    /// Learner: sessions that were active since the last ping.
    touched: BTreeMap<SessionId, i32>,
    /// Leader: learners that asked for a session whose end is not committed.
    ending: BTreeSet<(SessionId, ConnId)>,
    /// Leader: what learners' clients ask, and is not done yet.
    forwarded: Forwarded,
    /// The cost of this turn's writes and words.
    writes: Budget,
    /// This server's own syncs, in their order at the leader.
    syncing: VecDeque<Syncing>,
    /// Own proposals as they were made, to be applied without decoding them.
    proposed: VecDeque<LoggedTxn>,
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
    places: Places,
    host: HostStats,
    /// What `stmk` set.
    trace_mask: i64,
    metrics: Metrics,
    watch: Watch,
}

impl Node {
    /// A server whose data directory is about to be loaded. `seed` draws what ZooKeeper draws
    /// at random: when snapshots are due; the key of hashes that clients must not know; and session ids,
    /// which count up from the clock with seed 0.
    pub fn new(config: Config, seed: u64, now: Now) -> Node {
        let options = options::ensemble_options(&config);
        let mut ensemble = match &config.ensemble {
            Some(members) => Ensemble::new(config.my_id, Arc::new(members.clone()), options),
            None => Ensemble::standalone(options),
        };
        if let Some(next) = &config.next
            && !Mutant::ChangeForgottenByRestart.is_on()
        {
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
            tracker: None,
            cleaner: None,
            local: sessions::local_tracker(&config, now.mono),
            looking_since: None,
            touched: BTreeMap::new(),
            ending: BTreeSet::new(),
            forwarded: Forwarded::default(),
            writes: Budget::new(config.limits.turn_budget, now.mono),
            syncing: VecDeque::new(),
            proposed: VecDeque::new(),
            snapshots: Snapshots::default(),
            trigger: SnapshotTrigger::new(config.storage.snap_count, snap_bytes, seed),
            effects: Effects::default(),
            recovery: None,
            diverged_at: None,
            started: now.mono,
            serving_since: now.mono,
            proposal_sizes: BufferSizes::default(),
            places: Places::at_start(&config),
            host: HostStats::default(),
            trace_mask: report::TRACE_MASK,
            metrics: Metrics::default(),
            watch: Watch::new(now),
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
                self.expire(now, out);
                self.clean(now, out);
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
        let tracker = self.tracker.as_ref().and_then(SessionTracker::deadline);
        let cleaner = self.cleaner.as_ref().map(Cleaner::deadline);
        let local = self.local.as_ref().and_then(SessionTracker::deadline);
        let (ensemble, client_port) = (self.ensemble.deadline(), self.client_port.deadline());
        let all = [ensemble, client_port, tracker, cleaner, local, self.read_only_due()];
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

    /// What this server is in its ensemble.
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
                // What it led to goes first.
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
                // What is applied from here on may be cut off again.
                if !Mutant::SnapshotOfUncommitted.is_on() {
                    self.abort_own_snapshot(out);
                }
                self.stop_serving(out);
                self.listen_for_servers(out);
            }
            Delivery::Leading { epoch } => {
                self.lead(now, epoch);
                self.listen_for_servers(out);
            }
            Delivery::Following { .. } => {
                self.store.judge();
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
                self.forwarded.push(learner, Asked::Request { data, auth });
            }
            Delivery::Revalidate { learner, data } => {
                self.forwarded.push(learner, Asked::Revalidate { data });
            }
            Delivery::Touched { data, .. } => {
                let mut r = Reader::new(&data);
                while let (Ok(session), Ok(timeout_ms)) = (r.record::<SessionId>(), r.int()) {
                    match &mut self.tracker {
                        Some(tracker) => {
                            tracker.touch(now.mono, session, timeout_ms);
                        }
                        // An observer's, which this follower tells the leader.
                        None => {
                            self.touched.insert(session, timeout_ms);
                        }
                    }
                }
            }
            Delivery::LearnerGone { learner } => {
                self.forwarded.forget(learner);
                self.ending.retain(|(_, waiting)| *waiting != learner);
            }
            Delivery::Ping => {
                let mut touches = BytesMut::with_capacity(12 * self.touched.len());
                for (session, timeout_ms) in core::mem::take(&mut self.touched) {
                    touches.put_i64(session.0);
                    touches.put_i32(timeout_ms);
                }
                self.ensemble.pong(touches.freeze(), out);
            }
            Delivery::Revalidated { data } => {
                let mut r = Reader::new(&data);
                if let (Ok(session), Ok(valid)) = (r.record::<SessionId>(), r.boolean()) {
                    let handover = valid.then_some(Handover::Fenced);
                    self.client_port.reattached(now, &self.store, session, handover, out);
                }
            }
            Delivery::Synced => {
                if let Some(syncing) = self.syncing.pop_front() {
                    self.synced(now, syncing, out);
                }
            }
        }
    }

    fn synced(&mut self, now: Now, syncing: Syncing, out: &mut Actions) {
        match syncing {
            Syncing::Client(conn) => self.client_port.synced(now, &self.store, conn, out),
            Syncing::Fence => self.client_port.fence_passed(now, &self.store, out),
        }
    }

    fn submit(&mut self, now: Now, submission: ClientRequest, out: &mut Actions) {
        self.writes.charge(Work::request(0));
        match submission {
            ClientRequest::Word { conn, word, argument } => {
                self.answer_word(now, conn, word, argument, out);
            }
            ClientRequest::Touch { session, timeout_ms } => self.touch(now, session, timeout_ms),
            ClientRequest::CreateSession { session, timeout_ms } => {
                self.begin_session(now, session, timeout_ms, out);
            }
            // Who is gone again has gone elsewhere, maybe.
            ClientRequest::Reattach { session, .. } if !self.client_port.is_attached(session) => {}
            ClientRequest::Reattach { session, timeout_ms } => {
                self.reattach(now, session, timeout_ms, out);
            }
            ClientRequest::Write(request, parsed) => {
                if self.is_done_locally(now, &request, &parsed, out) {
                    return;
                }
                match &self.tracker {
                    Some(_) => self.write(now, &request, parsed, Owner::Here, out),
                    None => self.forward(&request, out),
                }
            }
            ClientRequest::Sync { conn, request } => {
                self.sync(now, Syncing::Client(conn), &request, out);
            }
            ClientRequest::Fence { session } => {
                let mut body = BytesMut::new();
                body.put_ustring("/");
                let (op, body, auth) = (OpCode::Sync, body.freeze(), Arc::default());
                let request = Request { session, cxid: 0, op, body, auth };
                self.sync(now, Syncing::Fence, &request, out);
            }
        }
    }

    fn sync(&mut self, now: Now, syncing: Syncing, request: &Request, out: &mut Actions) {
        match &self.tracker {
            Some(_) => {
                self.syncing.push_back(syncing);
                self.ensemble.sync(None);
            }
            None if Mutant::SyncStaysHere.is_on() => self.synced(now, syncing, out),
            None => {
                self.syncing.push_back(syncing);
                self.forward(request, out);
            }
        }
    }

    fn forward(&mut self, request: &Request, out: &mut Actions) {
        let forwarded = ForwardedRequest {
            session: request.session,
            cxid: request.cxid,
            op: request.op as i32,
            body: request.body.clone(),
        };
        self.ensemble.request(forwarded.to_bytes(), Some(request.auth.clone()), out);
    }

    // ---- roles

    fn recovered(&mut self, now: Now, recovered: Recovered<Store>, out: &mut Actions) {
        let truncated = recovered.ticket != Ticket(0) && !Mutant::TruncationTakenForAStart.is_on();
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

    fn lead(&mut self, now: Now, epoch: Epoch) {
        if self.config.ensemble.is_some() {
            self.store.judge();
            self.store.set_last_zxid(epoch.first_zxid());
        }
        self.prep.clear();
        self.proposed.clear();
        let mut tracker = SessionTracker::new(now.mono, self.config.sessions.tick_time_ms);
        let known = |_: &(SessionId, i32)| !Mutant::SessionForgottenByLeader.is_on();
        for (session, timeout_ms) in self.store.sessions().filter(known) {
            tracker.add(now.mono, session, timeout_ms);
        }
        self.tracker = Some(tracker);
        self.cleaner = Some(Cleaner::new(now.mono, &self.config));
        self.start_serving(now);
    }

    fn start_serving(&mut self, now: Now) {
        if let Some(members) = &self.members {
            let version = members.committed().version;
            self.store.show_config(members.text(), version, now.wall_ms);
        }
        self.serving_since = now.mono;
        self.heard_of_all_local(now);
        self.client_port.start_serving();
    }

    fn stop_serving(&mut self, out: &mut Actions) {
        self.client_port.stop_serving(out);
        self.prep.clear();
        self.proposed.clear();
        self.tracker = None;
        self.cleaner = None;
        self.touched.clear();
        self.ending.clear();
        self.forwarded = Forwarded::default();
        self.syncing.clear();
        self.snapshots.learners.clear();
        if self.snapshots.incoming.take().is_some() {
            out.push(Action::Disk(DiskAction::SnapshotAbort));
        }
    }

    // ---- writes

    fn apply(&mut self, now: Now, zxid: Zxid, mut body: Reader<'_>, out: &mut Actions) {
        let bytes = body.remaining();
        let own = self.proposed.pop_front_if(|t| t.header.zxid == zxid);
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
        // In the step that ends a role, what was committed before is still told.
        let is_told = match Mutant::LastEventsLostWithTheRole.is_on() {
            false => self.client_port.is_serving(),
            true => self.serving(),
        };
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
        // A server that does not serve may have applied what is not committed.
        let may = self.serving() || Mutant::SnapshotOfUncommitted.is_on();
        if is_due && self.snapshots.may_begin(now) && may {
            self.begin_own_snapshot(now, out);
        }
    }

    fn propose(&mut self, txn: LoggedTxn, out: &mut Actions) {
        let (zxid, most) = (txn.header.zxid, txn.size_bound());
        let bytes = self.ensemble.propose(zxid, most, |room| txn.write(room), out);
        self.proposal_sizes.add(bytes);
        self.metrics.prep_processor_request_queued.add(1);
        if self.config.ensemble.is_some() {
            self.metrics.proposal_count.add(1);
        }
        self.proposed.push_back(txn);
    }

    /// The next zxid, or a new election if the epoch's counter is used up. A leader that goes has
    /// none: its clients will ask another server.
    fn next_zxid(&mut self, now: Now, out: &mut Actions) -> Option<Zxid> {
        let next = self.ensemble.next_zxid();
        if next.is_none() && !self.ensemble.is_handing_over() {
            self.ensemble.abdicate(now.mono, "the epoch's zxid counter is used up", out);
        }
        next
    }

    fn write(
        &mut self,
        now: Now,
        request: &Request,
        parsed: Parsed,
        owner: Owner,
        out: &mut Actions,
    ) {
        let Some(zxid) = self.next_zxid(now, out) else { return };
        let check = self.check_session(request.session, owner);
        if check == SessionCheck::Moved
            && owner == Owner::Here
            && request.op != OpCode::CloseSession
        {
            // Its client has gone to another server, or cannot know that it is attached there.
            return self.client_port.drop_session(request.session, Reason::Replaced, out);
        }
        // Whoever says so, a session's end is proposed, and nothing of it goes on.
        if request.op == OpCode::CloseSession
            && let Some(tracker) = &mut self.tracker
        {
            tracker.closing(request.session);
        }
        let prepared = self.prepare(now, request, parsed, check, zxid);
        self.writes.charge(self.prep.take_work());
        self.propose(prepared, out);
    }

    /// A learner's client asks.
    fn forwarded(
        &mut self,
        now: Now,
        learner: ConnId,
        data: &Bytes,
        auth: Arc<[Id]>,
        out: &mut Actions,
    ) {
        let Ok(forwarded) = ForwardedRequest::parse(data) else {
            return warn!(%learner, "a REQUEST that cannot be read is ignored");
        };
        let (session, cxid) = (forwarded.session, forwarded.cxid);
        self.writes.charge(Work::request(data.len()));
        let owner = Owner::Learner(learner);
        let op = OpCode::from_i32(forwarded.op);
        match op {
            Some(OpCode::Sync) => return self.ensemble.sync(Some(learner)),
            Some(OpCode::CreateSession) => {
                let timeout_ms = Reader::new(&forwarded.body).int().unwrap_or(0);
                return self.create_session(now, session, timeout_ms, cxid, owner, out);
            }
            _ => {}
        }
        let parsed = op
            .ok_or(ErrorCode::Unimplemented)
            .and_then(|op| prep::parse(op, &forwarded.body).map(|parsed| (op, parsed)));
        match parsed {
            Ok((op, parsed)) => {
                let body = forwarded.body;
                let request = Request { session, cxid, op, body, auth };
                if Mutant::RequestForwardedTwice.is_on() && cxid % 16 == 3 {
                    self.write(now, &request, parsed.clone(), owner, out);
                }
                self.write(now, &request, parsed, owner, out);
            }
            Err(code) => {
                // The learner did not look into the request; its client waits for an answer.
                let Some(zxid) = self.next_zxid(now, out) else { return };
                let has_moved = self.check_session(session, owner) == SessionCheck::Moved;
                let code = if has_moved { ErrorCode::SessionMoved } else { code };
                let time_ms = now.wall_ms;
                let op = OpCode::Error as i32;
                let header = TxnHeader { client: session, cxid, zxid, time_ms, op };
                self.propose(LoggedTxn { header, txn: Txn::error(code), digest: None }, out);
            }
        }
    }

    // ---- snapshots

    fn begin_own_snapshot(&mut self, now: Now, out: &mut Actions) {
        let walk = self.store.snapshot_walk();
        let zxid = walk.zxid();
        info!(%zxid, nodes = self.store.node_count(), "taking a snapshot");
        let begin = DiskAction::SnapshotBegin { zxid, from_leader: false };
        out.push(Action::Disk(begin));
        self.snapshots.begin(now, walk);
        self.own_snapshot_chunk(now, out);
    }

    fn own_snapshot_chunk(&mut self, now: Now, out: &mut Actions) {
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

    fn end_snapshot(&mut self, digest: (Zxid, u64), out: &mut Actions) {
        let last_zxid = self.store.last_zxid();
        let digest = self.store.digest_enabled().then_some(digest);
        let ticket = self.ensemble.ticket();
        out.push(Action::Disk(DiskAction::SnapshotEnd { ticket, digest, last_zxid }));
    }

    fn abort_own_snapshot(&mut self, out: &mut Actions) {
        if self.snapshots.own.take().is_some() {
            out.push(Action::Disk(DiskAction::SnapshotAbort));
        }
    }

    fn learner_snapshot_chunk(&mut self, learner: ConnId, out: &mut Actions) {
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

    fn snapshot_bytes(&mut self, now: Now, bytes: Bytes, out: &mut Actions) {
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
