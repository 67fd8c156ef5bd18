//! Several ensembles in memory: their network, their disks, one virtual clock.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};

use crate::action::{Action, Actions, ConfigSave, DiskAction, EpochFile};
use crate::config::{EnsembleConfig, LearnerType, Member, ServerAddress};
use crate::event::{LogBatch, LogEnd, NetEvent, Port};
use crate::types::{ConnId, Epoch, HostPort, ServerId, Ticket, Time, Zxid};
use crate::wire::OpCode;
use crate::wire::entries::Entry;
use crate::wire::quorum::ForwardedRequest;
use crate::zab::{Delivery, Ensemble, EnsembleOptions, RecoveredLog, Role};

/// The address of a connection that no member opened.
pub(super) const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// The address of a member.
fn address_of(id: i64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, id as u8], 2888))
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct DurableState {
    pub(super) log: Vec<Entry>,
    pub(super) snapshot: Option<(Zxid, Vec<Bytes>)>,
    pub(super) accepted: Epoch,
    pub(super) current: Epoch,
    /// The configuration that counts, if one came after the first.
    pub(super) config: Option<EnsembleConfig>,
    /// And the one that was proposed last.
    pub(super) next: Option<EnsembleConfig>,
}

/// A server: the machine, what rides on it (the list of committed payloads), its disk.
pub(super) struct Server {
    pub(super) ensemble: Option<Ensemble>,
    pub(super) applied: Vec<(Zxid, Bytes)>,
    pub(super) durable: DurableState,
    /// Disk actions that are not durable yet.
    lane: VecDeque<DiskAction>,
    /// A disk that is slow: nothing becomes durable.
    pub(super) stalled: bool,
    incoming: Vec<u8>,
    incoming_zxid: Zxid,
    pub(super) requests: Vec<Bytes>,
    pub(super) synced: usize,
    /// How many transactions were applied when a sync was answered last.
    pub(super) applied_at_sync: usize,
}

pub(super) struct World {
    pub(super) observer_master_port: Option<u16>,
    /// Servers with limits of their own: of clients, and of members.
    pub(super) limits: BTreeMap<i64, (usize, usize)>,
    /// How often each has dialled a leader.
    pub(super) joins: BTreeMap<i64, usize>,
    pub(super) servers: BTreeMap<i64, Server>,
    config: Arc<EnsembleConfig>,
    pub(super) options: EnsembleOptions,
    wires: BTreeMap<(i64, ConnId), (i64, ConnId)>,
    queue: VecDeque<(i64, Action)>,
    cut: Vec<(i64, i64)>,
    pub(super) now: Time,
    accepted: u64,
    /// Who established which epoch.
    pub(super) leaders: BTreeMap<i64, i64>,
    /// Bytes that were sent on a connection since its sender last asked whether it takes more.
    pub(super) unasked: BTreeMap<(i64, ConnId), usize>,
    pub(super) most_unasked: usize,
}

pub(super) fn options() -> EnsembleOptions {
    EnsembleOptions { tick_time_ms: 100, init_limit: 20, sync_limit: 10, ..Default::default() }
}

/// `1 2 3o`: two that vote and an observer.
pub(super) fn members(text: &str) -> EnsembleConfig {
    let mut config = EnsembleConfig::default();
    for word in text.split_whitespace() {
        let (id, role) = match word.strip_suffix('o') {
            Some(id) => (id, LearnerType::Observer),
            None => (word, LearnerType::Participant),
        };
        let host = format!("s{id}");
        let address = ServerAddress {
            quorum: HostPort::new(&host, 2888),
            election: HostPort::new(&host, 3888),
        };
        let member = Member { addresses: Vec::from([address]), role, client: None };
        config.members.insert(ServerId(id.parse().unwrap()), member);
    }
    config
}

/// A payload of `reconfig` and a configuration is one.
fn config_in(body: &[u8]) -> Option<EnsembleConfig> {
    let text = core::str::from_utf8(body).ok()?.strip_prefix("reconfig ")?;
    Some(EnsembleConfig::parse("payload", &text.replace(' ', "\n")).unwrap())
}

impl World {
    pub(super) fn new(voters: i64, observers: i64) -> World {
        let voting = (1..=voters).map(|id| id.to_string());
        let observing = (1..=observers).map(|id| format!("{}o", voters + id));
        let config = members(&voting.chain(observing).collect::<Vec<_>>().join(" "));
        let servers = config.members.keys().map(|id| (id.0, Server::new())).collect();
        World {
            observer_master_port: None,
            limits: BTreeMap::new(),
            joins: BTreeMap::new(),
            servers,
            config: Arc::new(config),
            options: options(),
            wires: BTreeMap::new(),
            queue: VecDeque::new(),
            cut: Vec::new(),
            now: Time(0),
            accepted: 0,
            leaders: BTreeMap::new(),
            unasked: BTreeMap::new(),
            most_unasked: 0,
        }
    }

    /// An ensemble whose members may change.
    pub(super) fn reconfigurable(voters: i64, observers: i64) -> World {
        let mut world = World::new(voters, observers);
        world.options.reconfig = Some(config_in);
        world.options.election.adopts_configurations = true;
        world
    }

    /// One more server, with these members in its file.
    pub(super) fn join(&mut self, id: i64, file: &str) -> &mut World {
        let mut server = Server::new();
        server.durable.config = Some(members(file));
        self.servers.insert(id, server);
        self.start(id)
    }

    /// Starts a server that is down, if it is a member by what its files say: others refuse to.
    pub(super) fn start_member(&mut self, id: i64) {
        let durable = &self.servers[&id].durable;
        let has = |config: &EnsembleConfig| config.members.contains_key(&ServerId(id));
        let config = durable.config.as_ref().unwrap_or(&self.config);
        if !self.alive(id) && (has(config) || durable.next.as_ref().is_some_and(has)) {
            self.start(id);
        }
    }

    /// Proposes other members on the leader.
    pub(super) fn reconfig(&mut self, text: &str) -> Option<Zxid> {
        let id = self.leader()?;
        let ensemble = self.servers[&id].ensemble.as_ref()?;
        let zxid = ensemble.next_zxid().filter(|_| ensemble.members().proposed().is_none())?;
        let config = EnsembleConfig { version: zxid.0, ..members(text) };
        if !ensemble.has_synced_quorum(self.now, &config) {
            return None;
        }
        self.propose(&format!("reconfig {}", config.to_text().replace('\n', " ")))
    }

    /// The configuration that counts for a server, as `1 2 3o`, and the one that may come.
    pub(super) fn config(&self, id: i64) -> String {
        let members = self.servers[&id].ensemble.as_ref().unwrap().members();
        let told = |config: &EnsembleConfig| {
            let told = config.members.iter().map(|(id, member)| match member.role {
                LearnerType::Participant => id.to_string(),
                LearnerType::Observer => format!("{id}o"),
            });
            told.collect::<Vec<_>>().join(" ")
        };
        match members.proposed() {
            Some(next) => format!("{} -> {}", told(members.committed()), told(next)),
            None => told(members.committed()),
        }
    }

    pub(super) fn start(&mut self, id: i64) -> &mut World {
        let server = self.servers.get_mut(&id).unwrap();
        let config = server.durable.config.clone().map_or(self.config.clone(), Arc::new);
        let observer_master_port = self.observer_master_port;
        let mut options = EnsembleOptions { observer_master_port, ..self.options.clone() };
        if let Some((of_clients, of_members)) = self.limits.get(&id) {
            (options.max_payload, options.max_from_members) = (*of_clients, *of_members);
        }
        let mut ensemble = Ensemble::new(ServerId(id), config, options);
        if let Some(next) = server.durable.next.clone() {
            ensemble.restore_proposed_config(next);
        }
        server.applied = server.durable.replay();
        if let Some(config) = server.durable.last_config() {
            ensemble.restore_state_config(config);
        }
        let last = server.applied.last().map_or(Zxid::ZERO, |(z, _)| *z);
        let start = server.durable.start(last);
        let mut out = Actions::new();
        ensemble.start(self.now, start, &mut out);
        server.ensemble = Some(ensemble);
        self.after(id, out);
        self
    }

    pub(super) fn start_all(&mut self) -> &mut World {
        for id in self.servers.keys().copied().collect::<Vec<_>>() {
            self.start(id);
        }
        self
    }

    /// The process is gone; what was not durable is lost.
    pub(super) fn crash(&mut self, id: i64) -> &mut World {
        let server = self.servers.get_mut(&id).unwrap();
        server.ensemble = None;
        server.lane.clear();
        server.incoming.clear();
        self.queue.retain(|(from, _)| *from != id);
        self.break_wires(|a, b| a == id || b == id);
        self
    }

    /// From now on nothing becomes durable on these servers' disks.
    pub(super) fn stall(&mut self, ids: impl IntoIterator<Item = i64>) -> &mut World {
        ids.into_iter().for_each(|id| self.servers.get_mut(&id).unwrap().stalled = true);
        self
    }

    /// Their disks go on.
    pub(super) fn unstall(&mut self, ids: impl IntoIterator<Item = i64>) -> &mut World {
        ids.into_iter().for_each(|id| self.servers.get_mut(&id).unwrap().stalled = false);
        self
    }

    /// As [`World::crash`], when the first of what was not durable has become so.
    pub(super) fn crash_after_one_write(&mut self, id: i64) -> &mut World {
        let server = self.servers.get_mut(&id).unwrap();
        server.lane.truncate(1);
        server.stalled = false;
        self.sync(id);
        self.crash(id)
    }

    /// Nothing passes between these two any more.
    pub(super) fn cut(&mut self, a: i64, b: i64) -> &mut World {
        self.cut.push((a.min(b), a.max(b)));
        self.break_wires(|x, y| (x.min(y), x.max(y)) == (a.min(b), a.max(b)));
        self
    }

    pub(super) fn heal(&mut self) -> &mut World {
        self.cut.clear();
        self
    }

    fn break_wires(&mut self, which: impl Fn(i64, i64) -> bool) {
        let broken: Vec<_> = self
            .wires
            .iter()
            .map(|(a, b)| (*a, *b))
            .filter(|((a, _), (b, _))| which(*a, *b))
            .collect();
        for ((id, conn), _) in broken {
            self.wires.remove(&(id, conn));
            self.input(id, NetEvent::Closed { conn });
        }
    }

    pub(super) fn alive(&self, id: i64) -> bool {
        self.servers[&id].ensemble.is_some()
    }

    pub(super) fn role(&self, id: i64) -> Role {
        self.servers[&id].ensemble.as_ref().unwrap().role()
    }

    /// The established leader.
    pub(super) fn leader(&self) -> Option<i64> {
        let established = Role::Leading { established: true };
        self.servers.keys().copied().find(|id| self.alive(*id) && self.role(*id) == established)
    }

    /// "1 follows 3, 2 follows 3, 3 leads epoch 1".
    pub(super) fn story(&self) -> String {
        let told: Vec<String> = self
            .servers
            .iter()
            .map(|(id, server)| {
                let Some(ensemble) = &server.ensemble else { return format!("{id} is down") };
                match ensemble.role() {
                    Role::Leading { established: true } => {
                        format!("{id} leads epoch {}", ensemble.epoch())
                    }
                    Role::Following { active: true, observing } => {
                        let verb = if observing { "observes" } else { "follows" };
                        format!("{id} {verb} {}", ensemble.leader().unwrap())
                    }
                    _ => format!("{id} looks"),
                }
            })
            .collect();
        told.join(", ")
    }

    /// Proposes on the leader; its zxid.
    pub(super) fn propose(&mut self, payload: &str) -> Option<Zxid> {
        let id = self.leader()?;
        let mut out = Actions::new();
        let ensemble = self.servers.get_mut(&id)?.ensemble.as_mut()?;
        let zxid = ensemble.next_zxid()?;
        let put = |room: &mut BytesMut| room.extend_from_slice(payload.as_bytes());
        ensemble.propose(zxid, payload.len(), put, &mut out);
        ensemble.flush(&mut out);
        self.after(id, out);
        Some(zxid)
    }

    pub(super) fn with(&mut self, id: i64, act: impl FnOnce(&mut Ensemble, &mut Actions)) {
        let mut out = Actions::new();
        act(self.servers.get_mut(&id).unwrap().ensemble.as_mut().unwrap(), &mut out);
        self.after(id, out);
    }

    pub(super) fn payloads(&self, id: i64) -> Vec<String> {
        let applied = self.servers[&id].applied.iter();
        applied.map(|(_, p)| String::from_utf8(p.to_vec()).unwrap()).collect()
    }

    fn input(&mut self, id: i64, event: NetEvent) {
        self.with_time(id, |ensemble, now, out| ensemble.step(now, event, out));
    }

    /// Lets a server act, if it is alive.
    fn with_time(&mut self, id: i64, act: impl FnOnce(&mut Ensemble, Time, &mut Actions)) {
        let mut out = Actions::new();
        let now = self.now;
        let Some(ensemble) = self.servers.get_mut(&id).and_then(|s| s.ensemble.as_mut()) else {
            return;
        };
        act(ensemble, now, &mut out);
        self.after(id, out);
    }

    /// Queues actions and takes what the rider is told.
    fn after(&mut self, id: i64, out: Actions) {
        self.queue.extend(out.into_iter().map(|a| (id, a)));
        let now = self.now;
        loop {
            let mut out = Actions::new();
            let server = self.servers.get_mut(&id).unwrap();
            let Some(ensemble) = server.ensemble.as_mut() else { return };
            let Some(delivery) = ensemble.next_delivery() else {
                ensemble.flush(&mut out);
                self.queue.extend(out.into_iter().map(|a| (id, a)));
                return;
            };
            match delivery {
                Delivery::Committed(entries) => {
                    for Entry { zxid, body } in entries.each() {
                        assert!(
                            server.applied.last().is_none_or(|(z, _)| *z < zxid),
                            "{id}: {zxid} twice"
                        );
                        server.applied.push((zxid, body));
                    }
                }
                Delivery::Leading { epoch } => {
                    let other = self.leaders.insert(epoch.0, id);
                    assert!(other.is_none_or(|o| o == id), "two leaders of epoch {epoch}");
                }
                Delivery::SnapshotWanted { learner } => {
                    for (zxid, body) in &server.applied {
                        let entry =
                            format!("{:x} {}\n", zxid.0, core::str::from_utf8(body).unwrap());
                        ensemble.snapshot_chunk(learner, Bytes::from(entry), &mut out);
                    }
                    ensemble.snapshot_chunk(learner, Bytes::from_static(b"END\n"), &mut out);
                    ensemble.snapshot_end(learner, &mut out);
                }
                Delivery::SnapshotBegin { zxid } => {
                    server.incoming.clear();
                    server.incoming_zxid = zxid;
                }
                Delivery::SnapshotBytes(bytes) => {
                    let from = server.incoming.len().saturating_sub(3);
                    server.incoming.extend_from_slice(&bytes);
                    let end = server.incoming[from..].windows(4).position(|w| w == b"END\n");
                    let end = end.map(|end| from + end);
                    if let Some(end) = end {
                        let rest = Bytes::copy_from_slice(&server.incoming[end + 4..]);
                        let body = Bytes::copy_from_slice(&server.incoming[..end]);
                        server.applied = parse_snapshot(&body);
                        let zxid = server.incoming_zxid;
                        let ticket = ensemble.ticket();
                        out.push(Action::Disk(DiskAction::SnapshotBegin {
                            zxid,
                            from_leader: true,
                        }));
                        out.push(Action::Disk(DiskAction::SnapshotChunk { bytes: body }));
                        out.push(Action::Disk(DiskAction::SnapshotEnd {
                            ticket,
                            digest: None,
                            last_zxid: zxid,
                        }));
                        let configs = server.applied.iter().filter_map(|(_, p)| config_in(p));
                        configs
                            .last()
                            .into_iter()
                            .for_each(|config| ensemble.restore_state_config(config));
                        ensemble.snapshot_received(now, rest, &mut out);
                    }
                }
                Delivery::Request { learner, data, .. } => {
                    if ForwardedRequest::parse(&data).is_ok_and(|r| r.op == OpCode::Sync as i32) {
                        ensemble.sync(Some(learner));
                    } else {
                        server.requests.push(data);
                    }
                }
                Delivery::Ping => ensemble.pong(Bytes::new(), &mut out),
                Delivery::Synced => {
                    server.synced += 1;
                    server.applied_at_sync = server.applied.len();
                }
                Delivery::Looking
                | Delivery::Reconfigured { .. }
                | Delivery::Following { .. }
                | Delivery::Truncating
                | Delivery::SnapshotMore { .. }
                | Delivery::SnapshotDropped { .. }
                | Delivery::Revalidate { .. }
                | Delivery::Touched { .. }
                | Delivery::LearnerGone { .. }
                | Delivery::Revalidated { .. } => {}
            }
            self.queue.extend(out.into_iter().map(|a| (id, a)));
        }
    }

    fn perform(&mut self, from: i64, action: Action) {
        match action {
            Action::Dial { conn, port, to } => {
                let target: i64 = to.host.rsplit(['s', '.']).next().unwrap().parse().unwrap();
                *self.joins.entry(from).or_default() += usize::from(port == Port::Quorum);
                let cut = self.cut.contains(&(from.min(target), from.max(target)));
                if cut || !self.alive(target) {
                    return self.input(from, NetEvent::Closed { conn });
                }
                self.accepted += 1;
                let other = ConnId::accepted(self.accepted);
                self.wires.insert((from, conn), (target, other));
                self.wires.insert((target, other), (from, conn));
                let peer = address_of(from);
                self.input(target, NetEvent::Opened { conn: other, port, peer });
                let peer = address_of(target);
                self.input(from, NetEvent::Opened { conn, port, peer });
            }
            Action::Send { conn, bytes } => {
                let unasked = self.unasked.entry((from, conn)).or_default();
                *unasked += bytes.len();
                self.most_unasked = self.most_unasked.max(*unasked);
                if let Some((to, other)) = self.wires.get(&(from, conn)).copied() {
                    self.input(to, NetEvent::Received { conn: other, bytes });
                }
            }
            Action::Close { conn, .. } => {
                if let Some((to, other)) = self.wires.remove(&(from, conn)) {
                    self.wires.remove(&(to, other));
                    self.input(to, NetEvent::Closed { conn: other });
                }
            }
            Action::AwaitWritable { conn } => {
                self.unasked.remove(&(from, conn));
                self.input(from, NetEvent::Writable { conn });
            }
            Action::Disk(action) => self.servers.get_mut(&from).unwrap().lane.push_back(action),
            Action::Pause { .. } | Action::Resume { .. } | Action::Listen { .. } => {}
            Action::Halt(fault) => panic!("{from}: {fault:?}"),
        }
    }

    /// One sync of one server's disk: everything in its lane becomes durable.
    pub(super) fn sync(&mut self, id: i64) {
        if self.servers[&id].stalled {
            return;
        }
        let mut upto = Ticket(0);
        loop {
            let server = self.servers.get_mut(&id).unwrap();
            let Some(action) = server.lane.pop_front() else { break };
            match action {
                DiskAction::Append { ticket, entries } => {
                    server.durable.log.extend(entries.each());
                    upto = ticket;
                }
                DiskAction::SaveEpoch { ticket, file, epoch } => {
                    match file {
                        EpochFile::Accepted => server.durable.accepted = epoch,
                        EpochFile::Current => server.durable.current = epoch,
                    }
                    upto = ticket;
                }
                DiskAction::SaveConfig { ticket, save } => {
                    server.durable.save(*save);
                    upto = ticket;
                }
                DiskAction::SnapshotBegin { zxid, .. } => {
                    server.durable.snapshot = Some((zxid, Vec::new()));
                    server.durable.log.clear();
                }
                DiskAction::SnapshotChunk { bytes } => {
                    server.durable.snapshot.as_mut().unwrap().1.push(bytes);
                }
                DiskAction::SnapshotEnd { ticket, .. } => upto = ticket,
                DiskAction::SnapshotAbort | DiskAction::CancelRead { .. } => {}
                DiskAction::Truncate { ticket, after } => {
                    let last = server.durable.truncate(after);
                    server.applied = server.durable.replay();
                    let start = server.durable.start(last);
                    let mut out = Actions::new();
                    let now = self.now;
                    let config = server.durable.last_config();
                    if let Some(ensemble) = &mut server.ensemble {
                        config.into_iter().for_each(|config| ensemble.restore_state_config(config));
                        ensemble.persisted(now, ticket, &mut out);
                        ensemble.truncated(now, ticket, start, &mut out);
                    }
                    self.after(id, out);
                    upto = ticket;
                }
                DiskAction::ReadLog { read, from, upto, .. } => {
                    let log = &server.durable.log;
                    let reaches = log.first().is_some_and(|e| e.zxid <= from);
                    let wanted = |e: &&Entry| e.zxid >= from && e.zxid <= upto;
                    let entries = log.iter().filter(wanted).cloned().collect();
                    let end = if reaches { LogEnd::Complete } else { LogEnd::Unusable };
                    let batch = LogBatch { read, entries, end };
                    self.with_time(id, |e, now, out| e.log_read(now, &batch, out));
                }
            }
        }
        if upto > Ticket(0) {
            self.with_time(id, |e, now, out| e.persisted(now, upto, out));
        }
    }

    /// Somebody outside connects to a server's quorum port and says this.
    pub(super) fn stranger(&mut self, id: i64, said: &Bytes) -> ConnId {
        self.accepted += 1;
        let conn = ConnId::accepted(self.accepted);
        self.input(id, NetEvent::Opened { conn, port: Port::Quorum, peer: STRANGER });
        self.say(id, conn, said);
        conn
    }

    /// More from there.
    pub(super) fn say(&mut self, id: i64, conn: ConnId, said: &Bytes) {
        if !said.is_empty() {
            self.input(id, NetEvent::Received { conn, bytes: said.clone() });
        }
    }

    /// A server's end of a connection with another one.
    pub(super) fn end_of(&self, id: i64, with: i64) -> ConnId {
        let ends = self.wires.iter().filter(|((at, _), (other, _))| (*at, *other) == (id, with));
        ends.map(|((_, conn), _)| *conn).find(|conn| self.owns(id, *conn)).expect("a connection")
    }

    /// Whether a server keeps a connection.
    pub(super) fn owns(&self, id: i64, conn: ConnId) -> bool {
        self.servers[&id].ensemble.as_ref().is_some_and(|ensemble| ensemble.owns(conn))
    }

    /// From now on nothing that this server says to that one arrives, as if its machine were gone.
    pub(super) fn mute(&mut self, from: i64, to: i64) -> &mut World {
        self.wires.retain(|(a, _), (b, _)| (*a, *b) != (from, to));
        self
    }

    /// Lets `ms` pass; everything is delivered and every disk syncs at once.
    pub(super) fn run(&mut self, ms: u64) -> &mut World {
        let end = self.now.plus_ms(ms);
        loop {
            loop {
                while let Some((from, action)) = self.queue.pop_front() {
                    if self.alive(from) {
                        self.perform(from, action);
                    }
                }
                let busy = |s: &Server| !s.lane.is_empty() && !s.stalled;
                let Some(id) = self.servers.iter().find(|(_, s)| busy(s)).map(|(id, _)| *id) else {
                    break;
                };
                self.sync(id);
            }
            let deadlines = self.servers.values().filter_map(|s| s.ensemble.as_ref()?.deadline());
            let Some(next) = deadlines.min().filter(|t| *t <= end) else { break };
            self.now = next.max(self.now);
            for id in self.servers.keys().copied().collect::<Vec<_>>() {
                self.with_time(id, |e, now, out| e.tick(now, out));
            }
        }
        self.now = end;
        self
    }

    /// Delivers one queued action, or syncs one disk: for orders that `random` chooses.
    pub(super) fn step(&mut self, random: &mut fastrand::Rng) {
        if random.u8(..4) == 0 || self.queue.is_empty() {
            let ids: Vec<i64> = self.servers.keys().copied().collect();
            let id = ids[random.usize(..ids.len())];
            self.sync(id);
            return;
        }
        let lane = |(id, action): &(i64, Action)| match action {
            Action::Disk(_) | Action::Listen { .. } => (*id, None),
            Action::Dial { conn, .. }
            | Action::Send { conn, .. }
            | Action::Close { conn, .. }
            | Action::AwaitWritable { conn }
            | Action::Pause { conn }
            | Action::Resume { conn } => (*id, Some(*conn)),
            Action::Halt(fault) => panic!("{fault:?}"),
        };
        let wanted = lane(&self.queue[random.usize(..self.queue.len())]);
        let first = self.queue.iter().position(|entry| lane(entry) == wanted).unwrap();
        let (from, action) = self.queue.remove(first).unwrap();
        if self.alive(from) {
            self.perform(from, action);
        }
    }

    /// Lets time pass without delivering anything.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        for id in self.servers.keys().copied().collect::<Vec<_>>() {
            self.with_time(id, |e, now, out| e.tick(now, out));
        }
    }
}

impl Server {
    fn new() -> Server {
        Server {
            ensemble: None,
            applied: Vec::new(),
            durable: DurableState::default(),
            lane: VecDeque::new(),
            stalled: false,
            incoming: Vec::new(),
            incoming_zxid: Zxid::ZERO,
            requests: Vec::new(),
            synced: 0,
            applied_at_sync: 0,
        }
    }
}

impl DurableState {
    /// Cuts the log, if it shows where; gives the last zxid.
    fn truncate(&mut self, after: Zxid) -> Zxid {
        let begins_with = self.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        if begins_with == after || self.log.iter().any(|entry| entry.zxid == after) {
            self.log.retain(|entry| entry.zxid <= after);
        }
        self.log.last().map_or(begins_with, |entry| entry.zxid)
    }

    fn replay(&self) -> Vec<(Zxid, Bytes)> {
        let mut applied = Vec::new();
        if let Some((_, chunks)) = &self.snapshot {
            applied = parse_snapshot(&Bytes::from(chunks.concat()));
        }
        applied.extend(self.log.iter().map(|e| (e.zxid, e.body.clone())));
        applied
    }

    fn last_config(&self) -> Option<EnsembleConfig> {
        self.replay().iter().filter_map(|(_, payload)| config_in(payload)).last()
    }

    fn save(&mut self, save: ConfigSave) {
        let parse = |text: &str| EnsembleConfig::parse("saved", text).unwrap();
        match save {
            ConfigSave::Next { text } => self.next = Some(parse(&text)),
            ConfigSave::Current { version, text, keeps_next, .. } => {
                self.config = Some(EnsembleConfig { version, ..parse(&text) });
                self.next.take_if(|_| !keeps_next);
            }
        }
    }

    fn start(&self, last: Zxid) -> RecoveredLog {
        let snapshot = self.snapshot.as_ref().map_or(Zxid::ZERO, |(z, _)| *z);
        let tail = self.log.iter().rev().take(500).rev().cloned().collect();
        RecoveredLog {
            last_zxid: last.max(snapshot),
            tail,
            current_epoch: self.current,
            accepted_epoch: self.accepted,
            snapshot_bytes: 0,
        }
    }
}

fn parse_snapshot(body: &Bytes) -> Vec<(Zxid, Bytes)> {
    let text = core::str::from_utf8(body).unwrap();
    let entry = |line: &str| {
        let (zxid, payload) = line.split_once(' ').unwrap();
        (Zxid(i64::from_str_radix(zxid, 16).unwrap()), Bytes::copy_from_slice(payload.as_bytes()))
    };
    text.lines().map(entry).collect()
}
