//! An ensemble in memory: election and broadcast, no sockets, no files.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use zabkeeper_core::action::{Action, DiskAction};
use zabkeeper_core::config::{Config, EnsembleConfig};
use zabkeeper_core::event::NetEvent;
use zabkeeper_core::types::{ConnId, ServerId, Ticket, Time};
use zabkeeper_core::zab::{Delivery, Ensemble, EnsembleOptions, RecoveredLog};

/// Connections in memory have no addresses; this one stands for all.
const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

struct Server {
    ensemble: Ensemble,
    /// What it wants done.
    out: Vec<Action>,
    /// Its last write; 0 if all are durable.
    written: Ticket,
    /// Its connections: whose are at the other end, and what they are called there.
    wires: Vec<(ConnId, usize, ConnId)>,
}

impl Server {
    fn wire(&self, conn: ConnId) -> Option<(usize, ConnId)> {
        let wire = self.wires.iter().find(|(known, ..)| *known == conn);
        wire.map(|(_, peer, other)| (*peer, *other))
    }
}

/// Several servers, their connections, one clock.
pub struct Memory {
    servers: Vec<Server>,
    /// Empty, with room for actions.
    spare: Vec<Action>,
    accepted: u64,
    now: Time,
    leader: usize,
    /// Transactions that were delivered, over all servers.
    pub delivered: u64,
    /// Sends between servers.
    pub messages: u64,
}

impl Memory {
    /// An ensemble of `count` servers with an established leader.
    ///
    /// # Panics
    /// If none is elected.
    pub fn elected(count: usize) -> Memory {
        let options = EnsembleOptions { tick_time_ms: 1_000_000, ..EnsembleOptions::default() };
        let members: Arc<EnsembleConfig> = Arc::new(members(count));
        let server = |id: usize| {
            let me = ServerId(id as i64 + 1);
            let mut ensemble = Ensemble::new(me, members.clone(), options.clone());
            let mut out = Vec::new();
            ensemble.start(Time(0), RecoveredLog::default(), &mut out);
            Server { ensemble, out, written: Ticket(0), wires: Vec::new() }
        };
        let mut memory = Memory {
            servers: (0..count).map(server).collect(),
            spare: Vec::new(),
            accepted: 0,
            now: Time(0),
            leader: 0,
            delivered: 0,
            messages: 0,
        };
        for ms in (0..5000).step_by(50) {
            memory.now = Time(0).plus_ms(ms);
            for at in 0..count {
                memory.with(at, |ensemble, now, out| ensemble.tick(now, out));
            }
            memory.drain();
        }
        let leader = memory.servers.iter().position(|s| s.ensemble.next_zxid().is_some());
        memory.leader = leader.expect("a leader");
        memory.delivered = 0;
        memory.messages = 0;
        memory
    }

    /// Proposes `batch` payloads at once and returns when every server has all of them.
    ///
    /// # Panics
    /// If they are not committed everywhere.
    pub fn commit(&mut self, payload: &[u8], batch: usize) {
        let before = self.delivered;
        let Server { ensemble, out, .. } = &mut self.servers[self.leader];
        for _ in 0..batch {
            let zxid = ensemble.next_zxid().expect("it leads");
            ensemble.propose(zxid, payload.len(), |room| room.extend_from_slice(payload), out);
        }
        ensemble.flush(out);
        self.drain();
        assert_eq!(self.delivered - before, (batch * self.servers.len()) as u64);
    }

    fn step(&mut self, at: usize, event: NetEvent) {
        self.with(at, |ensemble, now, out| ensemble.step(now, event, out));
    }

    fn with(&mut self, at: usize, act: impl FnOnce(&mut Ensemble, Time, &mut Vec<Action>)) {
        let Server { ensemble, out, .. } = &mut self.servers[at];
        act(ensemble, self.now, out);
        while let Some(delivery) = ensemble.next_delivery() {
            match delivery {
                Delivery::Committed(entries) => self.delivered += entries.len() as u64,
                Delivery::Ping => ensemble.pong(Default::default(), out),
                _ => {}
            }
        }
    }

    /// Executes everything. What a server appended until nobody has anything to do is one sync.
    fn drain(&mut self) {
        loop {
            let mut is_quiet = true;
            for at in 0..self.servers.len() {
                if self.servers[at].out.is_empty() {
                    continue;
                }
                is_quiet = false;
                let room = std::mem::take(&mut self.spare);
                let mut actions = std::mem::replace(&mut self.servers[at].out, room);
                for action in actions.drain(..) {
                    self.perform(at, action);
                }
                self.spare = actions;
            }
            if !is_quiet {
                continue;
            }
            let Some(at) = self.servers.iter().position(|one| one.written > Ticket(0)) else {
                return;
            };
            let upto = std::mem::take(&mut self.servers[at].written);
            self.with(at, |ensemble, now, out| ensemble.persisted(now, upto, out));
        }
    }

    fn perform(&mut self, at: usize, action: Action) {
        match action {
            Action::Dial { conn, port, to } => {
                let peer = to.host.parse::<usize>().expect("hosts are numbers") - 1;
                self.accepted += 1;
                let other = ConnId::accepted(self.accepted);
                self.servers[at].wires.push((conn, peer, other));
                self.servers[peer].wires.push((other, at, conn));
                self.step(peer, NetEvent::Opened { conn: other, port, peer: ADDRESS });
                self.step(at, NetEvent::Opened { conn, port, peer: ADDRESS });
            }
            Action::Send { conn, bytes } => {
                self.messages += 1;
                if let Some((peer, conn)) = self.servers[at].wire(conn) {
                    self.step(peer, NetEvent::Received { conn, bytes });
                }
            }
            Action::Close { conn, .. } => {
                if let Some((peer, other)) = self.servers[at].wire(conn) {
                    self.servers[at].wires.retain(|(known, ..)| *known != conn);
                    self.servers[peer].wires.retain(|(known, ..)| *known != other);
                    self.step(peer, NetEvent::Closed { conn: other });
                }
            }
            Action::Disk(
                DiskAction::Append { ticket, .. } | DiskAction::SaveEpoch { ticket, .. },
            ) => {
                self.servers[at].written = ticket;
            }
            other => panic!("not expected in memory: {other:?}"),
        }
    }
}

/// What a commit of 128 bytes takes on all servers together, so many outstanding: allocations, and
/// sends between servers.
///
/// # Panics
/// If they are not committed everywhere.
pub fn allocations_and_messages(servers: usize, outstanding: usize) -> (f64, f64) {
    let mut memory = Memory::elected(servers);
    let payload = [7; 128];
    // What is kept has its room then.
    for _ in 0..20 {
        memory.commit(&payload, outstanding);
    }
    let (rounds, before) = (20, memory.messages);
    let info = allocation_counter::measure(|| {
        for _ in 0..rounds {
            memory.commit(&payload, outstanding);
        }
    });
    let commits = (rounds * outstanding) as f64;
    (info.count_total as f64 / commits, (memory.messages - before) as f64 / commits)
}

fn members(count: usize) -> EnsembleConfig {
    let mut text = String::from("dataDir=/d\ninitLimit=10\nsyncLimit=10\n");
    for id in 1..=count {
        text.push_str(&format!("server.{id}={id}:2888:3888\n"));
    }
    let (config, _) = Config::parse("zoo.cfg", &text, Some("1"), None).expect("well formed");
    config.ensemble.expect("an ensemble")
}
