//! Server processes: a node and its disk machine, started, stepped, stopped and killed.

use std::collections::VecDeque;

use bytes::Bytes;
use fastrand::Rng;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use zabkeeper_core::action::{Action, DiskAction, Fault};
use zabkeeper_core::config::Config;
use zabkeeper_core::disk::{Completion, Disk, DiskOptions, FileOp};
use zabkeeper_core::event::{DiskEvent, Event, NetEvent, Port};
use zabkeeper_core::journal::Start;
use zabkeeper_core::node::{self, Node};
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{ConnId, HostPort, Now, ServerId, Time, Zxid};
use zabkeeper_core::zab::Role;

use super::clock::Clock;
use super::disk::SimDisk;
use super::members::{CONF, ZOO_CFG};
use super::network::{Arrival, Host, Place};
use super::{Happening, World, address};
use crate::check::members::Roster;
use crate::check::{self, Violation};
use crate::plan::Plan;
use crate::record::Journal;
use crate::trace::story;

/// More wake-ups than this at one moment are a loop.
const MOST_WAKES: u32 = 1000;

/// In the calm, a server that looks for a leader more often than this will never settle, or only
/// by accident.
const MOST_SEARCHES: u32 = 12;

/// One machine that runs a server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) text: String,
    pub(super) flags: Vec<(String, String)>,
    pub(super) myid: String,
    /// When its operator told it who the members are.
    pub(super) helped_at: Option<Time>,
    pub(super) disk: SimDisk,
    pub(super) clock: Clock,
    pub(super) process: Option<Process>,
    /// Counts processes.
    run: u32,
    pub(super) is_powered: bool,
    /// The process does nothing until then.
    pub(super) stalled_until: Time,
    inbox: VecDeque<Input>,
    /// It may stop, or refuse to start: something was done to its disk.
    pub(super) is_excused: bool,
    /// A bit of its files has flipped.
    pub(super) is_rotten: bool,
    /// It did not start since, and its directory can be emptied.
    pub(super) is_refusing: bool,
    /// How often it began to look for a leader in the calm.
    searches: u32,
    rng: Rng,
}

/// A server's process.
pub(super) struct Process {
    pub(super) node: Node,
    pub(super) disk: Disk<Store>,
    /// Which one of the world's journals is its own.
    journal: Option<usize>,
    /// The disk operation under way, and its outcome if it is known already.
    busy: Option<(FileOp, Option<Completion>)>,
    conns: HashMap<ConnId, Place, FxBuildHasher>,
    accepted: u64,
    wake_at: Time,
    wakes: u32,
    role: Role,
    dial_limit_ms: u64,
    /// The snapshot that is being written is the leader's.
    installs: Option<Zxid>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("role", &self.role).finish_non_exhaustive()
    }
}

/// What waits for a process that stands still.
#[derive(Debug)]
enum Input {
    Arrived(Option<ConnId>, Arrival),
    DiskDone,
}

impl Server {
    pub(super) fn new(plan: &Plan, index: usize, mut rng: Rng) -> Server {
        let origin = Time(rng.u64(..1_000_000_000_000));
        let mut server = Server {
            id: plan.ids()[index],
            text: plan.zoo_cfg(index),
            flags: plan.flags(),
            myid: plan.ids()[index].to_string(),
            helped_at: None,
            disk: SimDisk::new(plan.disks[index], rng.fork()),
            clock: Clock::new(origin),
            process: None,
            run: 0,
            is_powered: true,
            stalled_until: Time(0),
            inbox: VecDeque::new(),
            is_excused: false,
            is_rotten: false,
            is_refusing: false,
            searches: 0,
            rng,
        };
        if plan.reconfig.is_some() {
            server.disk.files.put(ZOO_CFG, server.text.as_bytes());
        }
        server
    }

    fn start(&self, seed: u64, now: Now) -> Start {
        Start::new(self.source(), seed, now)
    }

    pub(super) fn config(&self) -> Config {
        match self.source().parse() {
            Ok((config, _)) => config,
            Err(error) => panic!("{error}:\n{}", self.text),
        }
    }

    pub(super) fn node(&self) -> Option<&Node> {
        self.process.as_ref().map(|process| &process.node)
    }

    /// Whether clients are served, and as of when.
    pub(super) fn serves(&self) -> Option<Zxid> {
        let node = self.node()?;
        node.serving().then(|| node.store().last_zxid())
    }

    pub(super) fn leads(&self) -> bool {
        matches!(self.node().map(Node::role), Some(Role::Leading { established: true }))
    }
}

impl World {
    pub(super) fn is_up(&self, host: Host) -> bool {
        match host {
            Host::Server(server) => self.servers[server].process.is_some(),
            Host::Client(_) | Host::Stranger(_) => true,
        }
    }

    pub(super) fn is_powered(&self, host: Host) -> bool {
        match host {
            Host::Server(server) => self.servers[server].is_powered,
            Host::Client(_) | Host::Stranger(_) => true,
        }
    }

    // ---- life and death

    /// The process starts, unless it runs.
    pub(super) fn start(&mut self, index: usize) {
        let is_late = self.late.is_some_and(|(late, _)| late == index);
        if self.servers[index].process.is_some() || is_late {
            return;
        }
        if self.servers[index].is_refusing && self.may_wipe(index) {
            self.wipe(index);
        }
        let server = &mut self.servers[index];
        server.is_powered = true;
        let config = match server.source().parse() {
            Ok((config, _)) => config,
            Err(error) => return self.refused(index, &error),
        };
        server.run += 1;
        let config_file = server.config_file();
        let options = DiskOptions { config_file, ..node::disk_options(&config) };
        let disk = Disk::new(options, node::store_options(&config));
        let dial_limit_ms = config.network.cnx_timeout_ms;
        let (seed, now) = (server.rng.u64(..), server.clock.now(self.now));
        let journal = self.journals.as_mut().map(|journals| {
            let name = format!("server{}-run{}", server.id, server.run);
            journals.push(Journal::new(name, &server.start(seed, now), &config));
            journals.len() - 1
        });
        let node = Node::new(config, seed, now);
        server.process = Some(Process {
            node,
            disk,
            journal,
            busy: None,
            conns: HashMap::default(),
            accepted: 0,
            wake_at: Time::NEVER,
            wakes: 0,
            role: Role::Recovering,
            dial_limit_ms,
            installs: None,
        });
        self.tell_turn(index, Some(Role::Recovering), || String::from("starts"));
        self.pump(index);
        self.set_alarm(index);
    }

    /// The process ends, with its machine or alone.
    pub(super) fn kill(&mut self, index: usize, is_power_loss: bool) {
        if self.servers[index].process.is_some() {
            let how = if is_power_loss { "loses power" } else { "is killed" };
            self.tell_turn(index, None, || String::from(how));
        }
        self.end_process(index, is_power_loss);
    }

    fn end_process(&mut self, index: usize, is_power_loss: bool) {
        let server = &mut self.servers[index];
        if is_power_loss {
            server.is_powered = false;
        }
        let was_up = server.process.take().is_some();
        server.disk.lets_go();
        if is_power_loss {
            server.disk.lose_power();
        }
        if was_up {
            server.inbox.clear();
            server.stalled_until = Time(0);
            self.network.die(self.now, &mut self.agenda, Host::Server(index), is_power_loss);
            self.zab.died(index);
        }
    }

    /// Whether this server's directory can be lost now without losing what was promised: all
    /// others that vote serve in the newest epoch, and have what this one may have acknowledged.
    /// Who has not noticed yet that there is a newer epoch could help to make it a second time.
    pub(super) fn may_wipe(&self, index: usize) -> bool {
        // Who had a vote before the last change may be asked by whoever has not heard of it.
        let electors = (0..self.servers.len()).filter(|server| self.zab.is_elector(*server));
        let electors: Vec<usize> = electors.collect();
        let newest = self.zab.newest_epoch();
        let is_safe = |other: usize| {
            let server = &self.servers[other];
            let epoch = server.node().map(Node::epoch).unwrap_or_default();
            server.serves().is_some() && epoch >= newest && self.zab.could_spare(index, other)
        };
        let is_alone = || self.zab.fewest_voters().is_some_and(|voters| voters < 3);
        let mut others = electors.iter().filter(|other| **other != index);
        !electors.contains(&index)
            || (self.plan.participants >= 3 && !is_alone() && others.all(|other| is_safe(*other)))
    }

    pub(super) fn wipe(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.disk.wipe(CONF);
        (server.is_rotten, server.is_refusing) = (false, false);
        self.zab.wiped(index);
        self.tell_at(index, || String::from("loses its directory"));
        self.counters.add("directory lost");
    }

    fn halted(&mut self, index: usize, fault: &Fault) {
        let server = &mut self.servers[index];
        let is_starting = server.node().is_some_and(|node| node.role() == Role::Recovering);
        // A file that rotted can be needed long after: when a newer one is torn.
        let is_excused = server.is_excused || (server.is_rotten && is_starting);
        let id = server.id;
        server.is_refusing = server.is_rotten;
        self.tell_turn(index, None, || format!("stops: {}", fault.what));
        self.counters.add("server stopped itself");
        if !is_excused {
            let what = format!("server {id}: {}", fault.what);
            self.check(Err(Violation::crash("a server stops only for a reason", what)));
        }
        // As after a crash: what the system has not written yet may be lost.
        self.end_process(index, false);
        let later = self.now.plus_ms(self.rng.u64(500..3000));
        self.agenda.note(later, Happening::Start { server: index });
    }

    // ---- inputs

    /// Something reaches a process, now or when it goes on.
    pub(super) fn reach(&mut self, index: usize, conn: Option<ConnId>, arrival: Arrival) {
        self.input(index, Input::Arrived(conn, arrival));
    }

    /// The process goes on after a stall.
    pub(super) fn go_on(&mut self, index: usize) {
        while self.servers[index].stalled_until <= self.now {
            let Some(input) = self.servers[index].inbox.pop_front() else { break };
            self.take(index, input);
        }
        self.step_if_due(index);
        self.set_alarm(index);
    }

    pub(super) fn disk_done(&mut self, index: usize, run: u32) {
        let server = &mut self.servers[index];
        if server.run != run {
            return;
        }
        let op = server.process.as_ref().and_then(|process| process.busy.as_ref());
        if op.is_some_and(|(op, _)| server.disk.holds(op)) {
            return;
        }
        self.input(index, Input::DiskDone);
    }

    /// The operation that a disk holds, if it does, is done.
    pub(super) fn disk_goes_on(&mut self, index: usize) {
        if self.servers[index].disk.lets_go() {
            self.input(index, Input::DiskDone);
        }
    }

    pub(super) fn wake(&mut self, index: usize, run: u32) {
        let now = self.now;
        let server = &mut self.servers[index];
        let is_stalled = server.stalled_until > now;
        let Some(process) = &mut server.process else { return };
        if server.run != run || process.wake_at > now || is_stalled {
            return;
        }
        process.wakes += 1;
        if process.wakes > MOST_WAKES {
            let what = format!("server {} has work at every moment", server.id);
            return self.check(Err(Violation::liveness("a deadline that has come goes", what)));
        }
        self.step_if_due(index);
        if let Some(process) = &mut self.servers[index].process {
            process.wake_at = Time::NEVER;
        }
        self.set_alarm(index);
    }

    fn input(&mut self, index: usize, input: Input) {
        let now = self.now;
        let server = &mut self.servers[index];
        if server.process.is_none() {
            return;
        }
        if server.stalled_until > now {
            return server.inbox.push_back(input);
        }
        self.take(index, input);
        self.set_alarm(index);
    }

    fn take(&mut self, index: usize, input: Input) {
        let Some(process) = &mut self.servers[index].process else { return };
        match input {
            Input::DiskDone => self.complete(index),
            Input::Arrived(None, arrival) => {
                if let Arrival::Dialled { place, port, from } = arrival {
                    process.accepted += 1;
                    let conn = ConnId::accepted(process.accepted);
                    process.conns.insert(conn, place);
                    self.network.name(place, conn);
                    self.step(
                        index,
                        Event::Net(NetEvent::Opened { conn, port, peer: address(from) }),
                    );
                }
            }
            Input::Arrived(Some(conn), arrival) => {
                if !process.conns.contains_key(&conn) {
                    return;
                }
                let event = match arrival {
                    Arrival::Opened { port, peer } => {
                        Event::Net(NetEvent::Opened { conn, port, peer: address(peer) })
                    }
                    Arrival::Bytes(bytes) => Event::Net(NetEvent::Received { conn, bytes }),
                    Arrival::Writable => Event::Net(NetEvent::Writable { conn }),
                    Arrival::Closed => {
                        process.conns.remove(&conn);
                        Event::Net(NetEvent::Closed { conn })
                    }
                    Arrival::Dialled { .. } => return,
                };
                self.step(index, event);
            }
        }
        self.pump(index);
    }

    // ---- steps

    fn step_if_due(&mut self, index: usize) {
        let server = &self.servers[index];
        let now = server.clock.now(self.now);
        let deadline = server.node().and_then(Node::deadline);
        if deadline.is_some_and(|at| at <= now.mono) {
            self.step_once(index, Event::Tick);
            self.pump(index);
        }
    }

    fn step(&mut self, index: usize, event: Event<Store>) {
        self.step_if_due(index);
        self.step_once(index, event);
    }

    fn step_once(&mut self, index: usize, event: Event<Store>) {
        let server = &mut self.servers[index];
        if server.process.is_none() {
            return;
        }
        if self.is_over {
            // Nothing that a disk says is compared with what it promised.
        } else if let Event::Disk(DiskEvent::Recovered(recovered)) = &event {
            let last = recovered.last_zxid;
            let checked = self.zab.recovered(index, last.max(Zxid::ZERO));
            let checked = checked.and_then(|()| check::disk::logs(server.id, &server.disk.files));
            (server.is_excused, server.is_refusing) = (server.disk.is_unreliable(), false);
            self.check(checked);
        } else if let Event::Disk(DiskEvent::Persisted { upto }) = &event {
            self.zab.persisted(index, *upto);
        }
        let server = &mut self.servers[index];
        let Some(process) = &mut server.process else { return };
        let mut out = std::mem::take(&mut self.out);
        let now = server.clock.now(self.now);
        let journal = self.journals.as_mut().zip(process.journal);
        let mut journal = journal.and_then(|(journals, at)| journals.get_mut(at));
        if let Some(journal) = &mut journal {
            journal.event(now, &event);
        }
        process.node.step(now, event, &mut out);
        if let Some(journal) = &mut journal {
            journal.actions(&out);
        }
        for action in out.drain(..) {
            self.execute(index, action);
        }
        self.out = out;
        self.observe(index);
    }

    /// Compares what a step led to with what may be.
    fn observe(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let Some(process) = &mut server.process else { return };
        let (role, node) = (process.node.role(), &process.node);
        let store = node.store();
        let digest = || store.digest_enabled().then(|| store.digest());
        let serves = node.serving().then(|| (store.last_zxid(), digest()));
        let leads = role == Role::Leading { established: true };
        let differs = node.digest_mismatches();
        let checked = if self.is_over { Ok(()) } else { self.zab.stepped(index, leads, serves) };
        let is_news = std::mem::replace(&mut process.role, role) != role;
        if is_news {
            self.counters.role(role);
            let last = store.last_zxid();
            self.tell_turn(index, Some(role), || format!("is {role:?} at {last}"));
            if role == (Role::Leading { established: false }) {
                self.begins_to_lead();
            }
            if role == Role::Looking && self.is_calm {
                self.searches(index);
            }
        }
        self.check(checked);
        if differs > 0 {
            let what = format!("server {} says that its tree is not its leader's", index + 1);
            self.check(Err(Violation::safety("digests are compared where they must agree", what)));
        }
        while let Some(zxid) = self.zab.committed().get(self.told) {
            let (zxid, body) = (*zxid, self.zab.body(*zxid).cloned().unwrap_or_default());
            let change =
                Roster::of(&body).map(|after| (self.history.model().roster().clone(), after));
            self.history.committed(zxid, &body);
            self.told += 1;
            if let Some((before, after)) = change {
                self.reconfigured(zxid, &before, &after);
            }
        }
        self.check_members(index);
    }

    fn searches(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.searches += 1;
        if server.searches > MOST_SEARCHES {
            let what = format!("server {} looked for a leader {MOST_SEARCHES} times", server.id);
            self.check(Err(Violation::liveness("in the calm, a server settles", what)));
        }
    }

    fn execute(&mut self, index: usize, action: Action) {
        let now = self.now;
        let server = &mut self.servers[index];
        let id = server.id;
        let Some(process) = &mut server.process else { return };
        match action {
            Action::Dial { conn, port, to } => {
                let from = (Host::Server(index), conn);
                let limit_ms = process.dial_limit_ms;
                let to = (Host::Server(server_at(&to)), port);
                let place = self.network.dial(now, &mut self.agenda, from, to, limit_ms);
                if let Some(process) = &mut self.servers[index].process {
                    process.conns.insert(conn, place);
                }
            }
            Action::Send { conn, bytes } => {
                let Some(place) = process.conns.get(&conn).copied() else { return };
                self.counters.bytes_sent += bytes.len() as u64;
                self.tell_sent(place, &bytes);
                self.check_sent(place, &bytes);
                if !self.network.send(now, &mut self.agenda, place, bytes) {
                    let what = format!("server {id} lets too much pile up for {conn}");
                    self.check(Err(Violation::safety("lanes are bounded", what)));
                }
            }
            Action::Close { conn, why } => {
                let Some(place) = process.conns.remove(&conn) else { return };
                let other = self.network.ends(place).map(|(_, _, other)| other);
                self.network.close(now, &mut self.agenda, place);
                self.tell_at(index, || match other {
                    Some(other @ Host::Stranger(_)) => {
                        format!("hangs up on {}: {why:?}", story::name(other))
                    }
                    _ => format!("closes {conn}: {why:?}"),
                });
            }
            Action::Pause { conn } => {
                if let Some(place) = process.conns.get(&conn) {
                    self.network.pause(*place);
                }
            }
            Action::Resume { conn } => {
                if let Some(place) = process.conns.get(&conn) {
                    self.network.resume(now, &mut self.agenda, *place);
                }
            }
            Action::AwaitWritable { conn } => {
                let Some(place) = process.conns.get(&conn).copied() else { return };
                if self.network.await_writable(place) {
                    self.agenda.note(now, Happening::Writable { place });
                }
            }
            // Servers are dialled by number, whatever the port.
            Action::Listen { .. } => self.counters.add("address changed"),
            Action::Disk(action) => self.submit(index, action),
            Action::Halt(fault) => self.halted(index, &fault),
        }
    }

    fn check_sent(&mut self, place: Place, bytes: &Bytes) {
        if !self.is_over && matches!(self.network.ends(place), Some((Port::Quorum, ..))) {
            let checked = self.wire.sent(place.link, place.side, bytes);
            self.check(checked);
        }
    }

    fn submit(&mut self, index: usize, action: DiskAction) {
        if let DiskAction::Append { entries, .. } = &action
            && self.plan.reconfig.is_some()
            && entries.each().any(|entry| Roster::of(&entry.body).is_some())
        {
            self.is_changing(index);
        }
        let Some(process) = &mut self.servers[index].process else { return };
        let checked = match &action {
            _ if self.is_over => Ok(()),
            DiskAction::Append { ticket, entries } => {
                entries.each().try_for_each(|entry| self.zab.appended(index, *ticket, &entry))
            }
            DiskAction::Truncate { ticket, after } => {
                self.counters.add("truncation");
                self.zab.truncating(index, *ticket, *after)
            }
            DiskAction::SnapshotBegin { zxid, from_leader } => {
                process.installs = from_leader.then_some(*zxid);
                self.counters.add(if *from_leader { "leader's snapshot" } else { "snapshot" });
                Ok(())
            }
            DiskAction::SnapshotEnd { ticket, .. } => {
                if let Some(zxid) = process.installs.take() {
                    self.zab.installing(index, *ticket, zxid);
                }
                Ok(())
            }
            DiskAction::SaveConfig { .. } => {
                self.counters.add("configuration saved");
                Ok(())
            }
            DiskAction::SaveEpoch { .. }
            | DiskAction::SnapshotChunk { .. }
            | DiskAction::SnapshotAbort
            | DiskAction::CancelRead { .. } => Ok(()),
            DiskAction::ReadLog { .. } => {
                self.counters.add("log read for a DIFF");
                Ok(())
            }
        };
        process.disk.submit(action);
        self.check(checked);
    }

    /// Begins the disk's next operation, if it is idle.
    pub(super) fn pump(&mut self, index: usize) {
        loop {
            let Some(process) = &mut self.servers[index].process else { return };
            if process.busy.is_some() {
                return;
            }
            let mut events = std::mem::take(&mut self.events);
            let op = process.disk.next_op(&mut events);
            let is_quiet = events.is_empty();
            if let Some(op) = op {
                let server = &mut self.servers[index];
                let (at, outcome) = (server.disk.done_at(self.now, &op), server.disk.begin(&op));
                let happening = Happening::Disk { server: index, run: server.run };
                self.agenda.note(at, happening);
                if let Some(process) = &mut server.process {
                    process.busy = Some((op, outcome));
                }
            }
            self.disk_said(index, &mut events);
            self.events = events;
            if is_quiet {
                return;
            }
        }
    }

    fn complete(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let Some(process) = &mut server.process else { return };
        let Some((op, outcome)) = process.busy.take() else { return };
        let completion = outcome.unwrap_or_else(|| server.disk.files.execute(&op));
        let mut events = std::mem::take(&mut self.events);
        process.disk.complete(completion, &mut events);
        self.disk_said(index, &mut events);
        self.events = events;
    }

    fn disk_said(&mut self, index: usize, events: &mut Vec<DiskEvent<Store>>) {
        for event in events.drain(..) {
            self.step(index, Event::Disk(event));
        }
    }

    fn set_alarm(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let Some(process) = &mut server.process else { return };
        let Some(deadline) = process.node.deadline() else { return };
        let at = server.clock.when(deadline).max(self.now);
        if at > self.now {
            process.wakes = 0;
        }
        if at < process.wake_at || process.wake_at <= self.now {
            process.wake_at = at;
            self.agenda.note(at, Happening::Wake { server: index, run: server.run });
        }
    }
}

/// Members are named by their number, which is also the end of their address.
fn server_at(to: &HostPort) -> usize {
    let name = to.host.rsplit('.').next().unwrap_or_default();
    name.parse::<usize>().map_or(0, |n| n.saturating_sub(1))
}

/// The port that clients dial.
pub(super) const CLIENT_PORT: Port = Port::Client;
