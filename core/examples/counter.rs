//! A replicated counter: another state machine than ZooKeeper's, riding on election and atomic
//! broadcast alone. Three servers in memory; the leader crashes, the count goes on.
//!
//! `cargo run -p zabkeeper-core --example counter`

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use bytes::BufMut;
use zabkeeper_core::action::{Action, DiskAction, EpochFile};
use zabkeeper_core::config::{Config, EnsembleConfig};
use zabkeeper_core::event::{LogBatch, LogEnd, NetEvent};
use zabkeeper_core::types::{ConnId, Epoch, ServerId, Time, Zxid};
use zabkeeper_core::wire::entries::Entry;
use zabkeeper_core::zab::{Delivery, Ensemble, EnsembleOptions, RecoveredLog};

/// Connections in memory have no addresses; this one stands for all.
const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

const ZOO_CFG: &str = "dataDir=/d
initLimit=10
syncLimit=5
server.1=1:2888:3888
server.2=2:2888:3888
server.3=3:2888:3888";

/// What a server keeps through a crash.
#[derive(Default)]
struct Disk {
    log: Vec<Entry>,
    accepted: Epoch,
    current: Epoch,
}

struct Server {
    ensemble: Option<Ensemble>,
    disk: Disk,
    /// The state machine: the sum of all committed increments.
    count: i64,
}

struct World {
    members: Arc<EnsembleConfig>,
    servers: Vec<Server>,
    todo: VecDeque<(usize, Action)>,
    wires: HashMap<(usize, ConnId), (usize, ConnId)>,
    accepted: u64,
    now: Time,
}

impl World {
    fn new() -> World {
        let (config, _) = Config::parse("zoo.cfg", ZOO_CFG, Some("1"), None).expect("well formed");
        let server = || Server { ensemble: None, disk: Disk::default(), count: 0 };
        World {
            members: Arc::new(config.ensemble.expect("three servers")),
            servers: (0..3).map(|_| server()).collect(),
            todo: VecDeque::new(),
            wires: HashMap::new(),
            accepted: 0,
            now: Time(0),
        }
    }

    /// Starts a server from what its disk holds: the log is replayed, then it looks for a leader.
    fn start(&mut self, at: usize) {
        let options = EnsembleOptions { tick_time_ms: 200, ..EnsembleOptions::default() };
        let mut ensemble = Ensemble::new(ServerId(at as i64 + 1), self.members.clone(), options);
        let disk = &self.servers[at].disk;
        let start = RecoveredLog {
            last_zxid: disk.log.last().map_or(Zxid::ZERO, |entry| entry.zxid),
            tail: disk.log.clone(),
            current_epoch: disk.current,
            accepted_epoch: disk.accepted,
            snapshot_bytes: 0,
        };
        self.servers[at].count = disk.log.iter().map(|entry| increment(&entry.body)).sum();
        let mut out = Vec::new();
        ensemble.start(self.now, start, &mut out);
        self.servers[at].ensemble = Some(ensemble);
        self.after(at, out);
    }

    fn crash(&mut self, at: usize) {
        self.servers[at].ensemble = None;
        self.todo.retain(|(from, _)| *from != at);
        let ends: Vec<_> = self.wires.iter().map(|(a, b)| (*a, *b)).collect();
        for ((here, conn), (there, _)) in ends {
            if here == at || there == at {
                self.wires.remove(&(here, conn));
                self.step(here, NetEvent::Closed { conn });
            }
        }
    }

    fn step(&mut self, at: usize, event: NetEvent) {
        self.with(at, |ensemble, now, out| ensemble.step(now, event, out));
    }

    /// Lets a server act, if it runs.
    fn with(&mut self, at: usize, act: impl FnOnce(&mut Ensemble, Time, &mut Vec<Action>)) {
        let mut out = Vec::new();
        if let Some(ensemble) = &mut self.servers[at].ensemble {
            act(ensemble, self.now, &mut out);
            self.after(at, out);
        }
    }

    /// Takes what the ensemble tells its rider; queues what is to be done.
    fn after(&mut self, at: usize, out: Vec<Action>) {
        self.todo.extend(out.into_iter().map(|action| (at, action)));
        let server = &mut self.servers[at];
        let Some(ensemble) = &mut server.ensemble else { return };
        while let Some(delivery) = ensemble.next_delivery() {
            let mut out = Vec::new();
            match delivery {
                Delivery::Committed(entries) => {
                    server.count += entries.iter().map(|(_, body)| increment(body)).sum::<i64>();
                }
                Delivery::Leading { epoch } => {
                    println!(
                        "{:>5} ms: server {} leads epoch {epoch}",
                        self.now.as_millis(),
                        at + 1
                    );
                }
                Delivery::Following { leader, .. } => {
                    println!("{:>5} ms: server {} follows {leader}", self.now.as_millis(), at + 1);
                }
                Delivery::Ping => ensemble.pong(Default::default(), &mut out),
                _ => {}
            }
            self.todo.extend(out.into_iter().map(|action| (at, action)));
        }
    }

    fn perform(&mut self, at: usize, action: Action) {
        match action {
            Action::Dial { conn, port, to } => {
                let peer = to.host.parse::<usize>().expect("hosts are numbers") - 1;
                if self.servers[peer].ensemble.is_none() {
                    return self.step(at, NetEvent::Closed { conn });
                }
                self.accepted += 1;
                let other = ConnId::accepted(self.accepted);
                self.wires.insert((at, conn), (peer, other));
                self.wires.insert((peer, other), (at, conn));
                self.step(peer, NetEvent::Opened { conn: other, port, peer: ADDRESS });
                self.step(at, NetEvent::Opened { conn, port, peer: ADDRESS });
            }
            Action::Send { conn, bytes } => {
                if let Some((peer, conn)) = self.wires.get(&(at, conn)).copied() {
                    self.step(peer, NetEvent::Received { conn, bytes });
                }
            }
            Action::Close { conn, .. } => {
                if let Some((peer, other)) = self.wires.remove(&(at, conn)) {
                    self.wires.remove(&(peer, other));
                    self.step(peer, NetEvent::Closed { conn: other });
                }
            }
            Action::Disk(DiskAction::Append { ticket, entries }) => {
                self.servers[at].disk.log.extend(entries.each());
                self.with(at, |ensemble, now, out| ensemble.persisted(now, ticket, out));
            }
            Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }) => {
                match file {
                    EpochFile::Accepted => self.servers[at].disk.accepted = epoch,
                    EpochFile::Current => self.servers[at].disk.current = epoch,
                }
                self.with(at, |ensemble, now, out| ensemble.persisted(now, ticket, out));
            }
            Action::Disk(DiskAction::ReadLog { read, from, upto, .. }) => {
                let log = &self.servers[at].disk.log;
                let wanted = |entry: &&Entry| entry.zxid >= from && entry.zxid <= upto;
                let entries = log.iter().filter(wanted).cloned().collect();
                let batch = LogBatch { read, entries, end: LogEnd::Complete };
                self.with(at, |ensemble, now, out| ensemble.log_read(now, &batch, out));
            }
            other => println!("not needed for this story: {other:?}"),
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now = self.now.plus_ms(10);
            for at in 0..3 {
                self.with(at, |ensemble, now, out| ensemble.tick(now, out));
            }
            while let Some((at, action)) = self.todo.pop_front() {
                if self.servers[at].ensemble.is_some() {
                    self.perform(at, action);
                }
            }
        }
    }

    fn leader(&self) -> usize {
        let leads = |s: &Server| s.ensemble.as_ref().is_some_and(|e| e.next_zxid().is_some());
        self.servers.iter().position(leads).expect("a leader")
    }

    fn add(&mut self, n: i64) {
        let leader = self.leader();
        let mut out = Vec::new();
        let ensemble = self.servers[leader].ensemble.as_mut().expect("it leads");
        let zxid = ensemble.next_zxid().expect("it leads");
        ensemble.propose(zxid, size_of_val(&n), |room| room.put_i64(n), &mut out);
        ensemble.flush(&mut out);
        self.after(leader, out);
        self.run(10);
    }

    fn tell(&self) {
        let counts: Vec<i64> = self.servers.iter().map(|s| s.count).collect();
        println!("{:>5} ms: counts {counts:?}", self.now.as_millis());
    }
}

fn increment(body: &[u8]) -> i64 {
    body.try_into().map_or(0, i64::from_be_bytes)
}

fn main() {
    let mut world = World::new();
    for at in 0..3 {
        world.start(at);
    }
    world.run(1000);
    for n in [5, 7, 30] {
        world.add(n);
    }
    world.tell();

    let leader = world.leader();
    println!("{:>5} ms: server {} crashes", world.now.as_millis(), leader + 1);
    world.crash(leader);
    world.run(1000);
    world.add(100);

    println!("{:>5} ms: server {} is back", world.now.as_millis(), leader + 1);
    world.start(leader);
    world.run(1000);
    world.tell();
    assert!(world.servers.iter().all(|s| s.count == 142), "every server counts the same");
}
