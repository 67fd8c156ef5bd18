//! An ensemble in memory: election and broadcast, no sockets, no files.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use zabkeeper_core::action::{Action, DiskAction};
use zabkeeper_core::config::{Config, EnsembleConfig};
use zabkeeper_core::types::{ConnId, ServerId, Ticket, Time};
use zabkeeper_core::zab::{Delivery, Ensemble, EnsembleOptions, Input, Start};

/// Several servers, their connections, one clock.
pub struct Memory {
    servers: Vec<Ensemble>,
    wires: FxHashMap<(usize, ConnId), (usize, ConnId)>,
    queue: VecDeque<(usize, Action)>,
    out: Vec<Action>,
    durable: Vec<Ticket>,
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
        let server =
            |id: usize| Ensemble::new(ServerId(id as i64 + 1), members.clone(), options.clone());
        let mut memory = Memory {
            servers: (0..count).map(server).collect(),
            wires: FxHashMap::default(),
            queue: VecDeque::new(),
            out: Vec::new(),
            durable: vec![Ticket(0); count],
            accepted: 0,
            now: Time(0),
            leader: 0,
            delivered: 0,
            messages: 0,
        };
        for at in 0..count {
            let mut out = Vec::new();
            memory.servers[at].start(Time(0), Start::default(), &mut out);
            memory.queue.extend(out.into_iter().map(|action| (at, action)));
        }
        for ms in (0..5000).step_by(50) {
            memory.now = Time(0).plus_ms(ms);
            for at in 0..count {
                memory.step(at, Input::Tick);
            }
            memory.drain();
        }
        let leader = memory.servers.iter().position(|s| s.next_zxid().is_some());
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
        let leader = self.leader;
        let mut out = std::mem::take(&mut self.out);
        for _ in 0..batch {
            let ensemble = &mut self.servers[leader];
            let zxid = ensemble.next_zxid().expect("it leads");
            ensemble.propose(zxid, payload.len(), |room| room.extend_from_slice(payload), &mut out);
        }
        self.servers[leader].flush(&mut out);
        self.queue.extend(out.drain(..).map(|action| (leader, action)));
        self.out = out;
        self.drain();
        assert_eq!(self.delivered - before, (batch * self.servers.len()) as u64);
    }

    fn step(&mut self, at: usize, input: Input) {
        let mut out = std::mem::take(&mut self.out);
        let ensemble = &mut self.servers[at];
        ensemble.step(self.now, input, &mut out);
        while let Some(delivery) = ensemble.next_delivery() {
            match delivery {
                Delivery::Committed(entries) => self.delivered += entries.len() as u64,
                Delivery::Ping => ensemble.pong(Default::default(), &mut out),
                _ => {}
            }
        }
        self.queue.extend(out.drain(..).map(|action| (at, action)));
        self.out = out;
    }

    /// Executes everything. What a server appended until its queue runs dry is one sync.
    fn drain(&mut self) {
        loop {
            while let Some((at, action)) = self.queue.pop_front() {
                self.perform(at, action);
            }
            let Some(at) = self.durable.iter().position(|ticket| *ticket > Ticket(0)) else {
                return;
            };
            let upto = std::mem::take(&mut self.durable[at]);
            self.step(at, Input::Persisted { upto });
        }
    }

    fn perform(&mut self, at: usize, action: Action) {
        match action {
            Action::Dial { conn, port, to } => {
                let peer = to.host.parse::<usize>().expect("hosts are numbers") - 1;
                self.accepted += 1;
                let other = ConnId::accepted(self.accepted);
                self.wires.insert((at, conn), (peer, other));
                self.wires.insert((peer, other), (at, conn));
                self.step(peer, Input::Opened { conn: other, port });
                self.step(at, Input::Opened { conn, port });
            }
            Action::Send { conn, bytes } => {
                self.messages += 1;
                if let Some((peer, conn)) = self.wires.get(&(at, conn)).copied() {
                    self.step(peer, Input::Received { conn, bytes });
                }
            }
            Action::Close { conn, .. } => {
                if let Some((peer, other)) = self.wires.remove(&(at, conn)) {
                    self.wires.remove(&(peer, other));
                    self.step(peer, Input::Closed { conn: other });
                }
            }
            Action::Disk(
                DiskAction::Append { ticket, .. } | DiskAction::SaveEpoch { ticket, .. },
            ) => {
                self.durable[at] = ticket;
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
