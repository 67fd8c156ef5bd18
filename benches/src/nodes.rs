//! Three whole servers in memory: clients' bytes in, clients' bytes out, disks that are durable at
//! once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use zabkeeper_core::action::{Action, DiskAction};
use zabkeeper_core::config::Config;
use zabkeeper_core::event::{DiskEvent, Event, NetEvent, Port, Recovered};
use zabkeeper_core::node::{Node, store_options};
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{ConnId, Now, Ticket, Time, Zxid};
use zabkeeper_core::zab::Role;

use crate::ensemble::tree_file::{self, NODE};
use crate::load::request::{Template, connect};

/// What a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// setData of 128 bytes.
    Set,
    /// getData.
    Get,
    /// getData, and to be told of the next change.
    Watch,
    /// create of a new node below, with 128 bytes.
    Create,
}

/// A client at one of the servers.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    server: usize,
    conn: ConnId,
    xid: i32,
}

/// The servers, their connections, one clock that stands still once they serve.
pub struct Nodes {
    nodes: Vec<Node>,
    now: Now,
    wires: HashMap<(usize, ConnId), (usize, ConnId)>,
    clients: HashSet<(usize, ConnId)>,
    queue: VecDeque<(usize, Action)>,
    out: Vec<Action>,
    durable: Vec<Ticket>,
    accepted: u64,
    names: u64,
    /// Frames that clients were sent.
    pub answered: usize,
}

impl Nodes {
    /// Three servers that serve; the first of them follows.
    ///
    /// # Panics
    /// If they do not serve within seconds of their time.
    pub fn serving() -> Nodes {
        Nodes::serving_tree(0)
    }

    /// The same, with the tree of so many znodes that is `tree_file`'s, of 16 bytes each.
    ///
    /// # Panics
    /// If they do not serve within seconds of their time.
    pub fn serving_tree(znodes: usize) -> Nodes {
        let now = Now { mono: Time(0), wall_ms: 1_700_000_000_000 };
        let mut nodes = Nodes {
            nodes: (1..=3).map(|id| Node::new(config(id), 7, now)).collect(),
            now,
            wires: HashMap::new(),
            clients: HashSet::new(),
            queue: VecDeque::new(),
            out: Vec::new(),
            durable: vec![Ticket(0); 3],
            accepted: 0,
            names: 0,
            answered: 0,
        };
        for at in 0..3 {
            let options = store_options(&config(at + 1));
            let (state, last_zxid) = match znodes {
                0 => (Store::new(options), Zxid::ZERO),
                _ => (tree_file::load(znodes, 16, options), tree_file::ZXID),
            };
            let recovered = Recovered {
                ticket: Ticket(0),
                state,
                last_zxid,
                tail: Vec::new(),
                current_epoch: last_zxid.epoch().0,
                accepted_epoch: last_zxid.epoch().0,
                snapshot_bytes: 0,
            };
            nodes.step(at, Event::Disk(DiskEvent::Recovered(Box::new(recovered))));
        }
        for _ in 0..100 {
            nodes.drain();
            nodes.now.mono = nodes.now.mono.plus_ms(50);
            (0..3).for_each(|at| nodes.step(at, Event::Tick));
        }
        nodes.drain();
        assert!(nodes.nodes.iter().all(Node::serving), "all serve");
        assert!(!matches!(nodes.nodes[0].role(), Role::Leading { .. }), "the first one leads");
        nodes
    }

    /// A client with a new session.
    pub fn client(&mut self, server: usize) -> Client {
        self.accepted += 1;
        let conn = ConnId::accepted(self.accepted);
        self.clients.insert((server, conn));
        self.step(
            server,
            Event::Net(NetEvent::Opened { conn, port: Port::Client, peer: somewhere() }),
        );
        let client = Client { server, conn, xid: 0 };
        self.send(client, connect(0, &[0; 16], 4_000_000).into(), 1);
        client
    }

    /// So many requests in a row, as bytes.
    pub fn requests(&mut self, client: &mut Client, ask: Ask, path: &str, count: usize) -> Bytes {
        let template = match ask {
            Ask::Set => Template::set(path, 128),
            Ask::Get => Template::get(path, false),
            Ask::Watch => Template::get(path, true),
            Ask::Create => Template::create_below(path, 128),
        };
        self.frames(client, &template, count)
    }

    /// So many requests in a row, as bytes, each to another znode of the tree of so many; what is
    /// created is deleted by the next one.
    pub fn requests_to_any(
        &mut self,
        client: &mut Client,
        ask: Ask,
        of: usize,
        count: usize,
    ) -> Bytes {
        const NEW: &str = "/tree/####/n-##########";
        let (create, delete) = (Template::create(NEW, 16), Template::delete(NEW));
        let known = match ask {
            Ask::Set => Template::set(NODE, 16),
            Ask::Get | Ask::Create => Template::get(NODE, false),
            Ask::Watch => Template::get(NODE, true),
        };
        let mut out = Vec::new();
        for _ in 0..count {
            client.xid += 1;
            self.names += 1;
            // Far from the one before.
            let any = |number: u64, of: usize| number.wrapping_mul(2_654_435_761) % of as u64;
            let pair = self.names / 2;
            let new = any(pair, tree_file::parents(of)) * 10_000_000_000 + pair;
            match ask {
                Ask::Create if self.names.is_multiple_of(2) => {
                    create.append(&mut out, client.xid, new)
                }
                Ask::Create => delete.append(&mut out, client.xid, new),
                _ => known.append(&mut out, client.xid, any(self.names, of)),
            }
        }
        out.into()
    }

    /// A request that creates a node.
    pub fn creation(&mut self, client: &mut Client, path: &str) -> Bytes {
        self.frames(client, &Template::create(path, 128), 1)
    }

    fn frames(&mut self, client: &mut Client, template: &Template, count: usize) -> Bytes {
        let mut out = Vec::new();
        for _ in 0..count {
            client.xid += 1;
            self.names += 1;
            template.append(&mut out, client.xid, self.names);
        }
        out.into()
    }

    /// Hands a client's bytes in, and does all that follows.
    ///
    /// # Panics
    /// If clients are not sent exactly so many frames.
    pub fn send(&mut self, client: Client, bytes: Bytes, answers: usize) {
        let before = self.answered;
        self.step(client.server, Event::Net(NetEvent::Received { conn: client.conn, bytes }));
        self.drain();
        assert_eq!(self.answered - before, answers, "answers");
    }

    fn step(&mut self, at: usize, event: Event<Store>) {
        let mut out = std::mem::take(&mut self.out);
        self.nodes[at].step(self.now, event, &mut out);
        self.queue.extend(out.drain(..).map(|action| (at, action)));
        self.out = out;
    }

    /// Executes everything. What a server appended until its queue runs dry is one sync.
    fn drain(&mut self) {
        loop {
            while let Some((at, action)) = self.queue.pop_front() {
                self.perform(at, action);
            }
            if let Some(at) = self.durable.iter().position(|ticket| *ticket > Ticket(0)) {
                let upto = std::mem::take(&mut self.durable[at]);
                self.step(at, Event::Disk(DiskEvent::Persisted { upto }));
            } else if let Some(at) = self.due() {
                self.step(at, Event::Tick);
            } else {
                return;
            }
        }
    }

    /// Who has more to do at once: many watchers are told some at a time.
    fn due(&self) -> Option<usize> {
        let due = |node: &Node| node.deadline().is_some_and(|at| at <= self.now.mono);
        self.nodes.iter().position(due)
    }

    fn perform(&mut self, at: usize, action: Action) {
        match action {
            Action::Dial { conn, port, to } => {
                let peer = to.host.parse::<usize>().expect("hosts are numbers") - 1;
                self.accepted += 1;
                let other = ConnId::accepted(self.accepted);
                self.wires.insert((at, conn), (peer, other));
                self.wires.insert((peer, other), (at, conn));
                self.step(
                    peer,
                    Event::Net(NetEvent::Opened { conn: other, port, peer: somewhere() }),
                );
                self.step(at, Event::Net(NetEvent::Opened { conn, port, peer: somewhere() }));
            }
            Action::Send { conn, bytes } => match self.wires.get(&(at, conn)).copied() {
                Some((peer, conn)) => {
                    self.step(peer, Event::Net(NetEvent::Received { conn, bytes }))
                }
                None if self.clients.contains(&(at, conn)) => self.answered += frames(&bytes),
                // The other side has closed it meanwhile.
                None => {}
            },
            Action::Close { conn, why } => {
                assert!(!self.clients.contains(&(at, conn)), "a client is sent away: {why:?}");
                if let Some((peer, other)) = self.wires.remove(&(at, conn)) {
                    self.wires.remove(&(peer, other));
                    self.step(peer, Event::Net(NetEvent::Closed { conn: other }));
                }
            }
            Action::Disk(DiskAction::SnapshotChunk { .. }) => {
                self.step(at, Event::Disk(DiskEvent::SnapshotReady));
            }
            Action::Disk(action) => {
                if let Some(ticket) = action.ticket() {
                    self.durable[at] = ticket;
                }
            }
            // What was sent is taken.
            Action::AwaitWritable { conn } => {
                self.step(at, Event::Net(NetEvent::Writable { conn }))
            }
            Action::Listen { .. } | Action::Pause { .. } | Action::Resume { .. } => {}
            other => panic!("not expected in memory: {other:?}"),
        }
    }
}

fn somewhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 40_000))
}

fn frames(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        bytes = &rest[u32::from_be_bytes(*length) as usize..];
        count += 1;
    }
    count
}

fn config(id: usize) -> Config {
    let mut text = String::from(
        "tickTime=100000\ninitLimit=10\nsyncLimit=10\ndataDir=/d\nclientPort=2181\n\
         maxClientCnxns=0\nsnapCount=1000000000\nadmin.enableServer=false\n",
    );
    for other in 1..=3 {
        text.push_str(&format!("server.{other}={other}:2888:3888\n"));
    }
    let my_id = id.to_string();
    let (config, _) = Config::parse("zoo.cfg", &text, Some(&my_id), None).expect("well formed");
    config
}
