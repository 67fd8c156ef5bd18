//! One server under test: a real `Node` on a real `Disk` over files in memory, with every action
//! checked as it comes out.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use zabkeeper_core::action::{Action, DiskAction, Fault};
use zabkeeper_core::config::Config;
use zabkeeper_core::disk::{Disk, MemoryFiles};
use zabkeeper_core::event::{Event, NetEvent, Port};
use zabkeeper_core::node::{Node, disk_options, store_options};
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{ConnId, Epoch, HostPort, Now, Ticket, Time, Zxid};

mod load;

pub(crate) use load::{Outcome, load, load_with};

/// The longest single send: no reply and no packet is longer than the largest transaction.
const MAX_SEND: usize = 8 << 20;
/// More ticks than this without time passing are a busy loop.
const MAX_TICKS_AT_ONCE: u32 = 16;
/// More operations than this for one event are a disk that never comes to rest.
const MAX_OPERATIONS: u32 = 100_000;

/// How one side sees a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    Dialling,
    Open,
    /// The core closed it, and may not name it again.
    ClosedByCore,
    /// The other side closed it, and the core was told.
    ClosedByPeer,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) port: Port,
    pub(crate) wire: Wire,
    /// What the core sent and nobody has taken yet.
    pub(crate) sent: VecDeque<Bytes>,
}

/// A dial that waits for its answer.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) conn: ConnId,
    pub(crate) port: Port,
    pub(crate) to: HostPort,
}

pub(crate) struct Rig {
    pub(crate) node: Node,
    config: Config,
    disk: Disk<Store>,
    files: MemoryFiles,
    pub(crate) now: Now,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) dials: VecDeque<Dial>,
    writable: VecDeque<ConnId>,
    accepted: u64,
    ticket: Ticket,
    /// The last transaction that went to the log.
    pub(crate) last_appended: Zxid,
    /// The server asked to be stopped.
    pub(crate) halted: Option<Fault>,
    /// No file operation is executed.
    pub(crate) disk_stalls: bool,
    received: usize,
    sent: usize,
}

impl Rig {
    /// A server whose directory is not loaded yet.
    pub(crate) fn new(config: Config) -> Rig {
        let now = Now { mono: Time(1_000_000_000), wall_ms: 1_700_000_000_000 };
        Rig::resumed(config, MemoryFiles::new(), now)
    }

    /// A server that is about to load this directory.
    pub(crate) fn resumed(config: Config, files: MemoryFiles, now: Now) -> Rig {
        Rig {
            // Its session ids count up, as those of the servers that were heard.
            node: Node::new(config.clone(), 0, now),
            disk: Disk::new(disk_options(&config), store_options(&config)),
            config,
            files,
            now,
            conns: BTreeMap::new(),
            dials: VecDeque::new(),
            writable: VecDeque::new(),
            accepted: 0,
            ticket: Ticket(0),
            last_appended: Zxid::ZERO,
            halted: None,
            disk_stalls: false,
            received: 0,
            sent: 0,
        }
    }

    /// A standalone server that serves clients.
    pub(crate) fn standalone() -> Rig {
        let mut rig = Rig::new(config("dataDir=/d\nclientPort=2181\ntickTime=2000\n", None));
        rig.settle();
        assert!(rig.node.serving());
        rig
    }

    // ---- what comes in

    /// A peer or client connects.
    pub(crate) fn accept(&mut self, port: Port) -> ConnId {
        self.accepted += 1;
        let conn = ConnId::accepted(self.accepted);
        self.conns.insert(conn, Conn { port, wire: Wire::Open, sent: VecDeque::new() });
        let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
        self.step(Event::Net(NetEvent::Opened { conn, port, peer }));
        conn
    }

    /// A dial succeeded.
    pub(crate) fn dialled(&mut self, conn: ConnId) {
        let Some(found) = self.conns.get_mut(&conn).filter(|c| c.wire == Wire::Dialling) else {
            return;
        };
        found.wire = Wire::Open;
        let (port, peer) = (found.port, SocketAddr::from(([127, 0, 0, 1], 3888)));
        self.step(Event::Net(NetEvent::Opened { conn, port, peer }));
    }

    /// Bytes arrive, unless the connection is gone.
    pub(crate) fn receive(&mut self, conn: ConnId, bytes: Bytes) {
        if self.is_open(conn) && !bytes.is_empty() {
            self.received += bytes.len();
            self.step(Event::Net(NetEvent::Received { conn, bytes }));
        }
    }

    /// The other side is gone.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        if let Some(found) = self.conns.get_mut(&conn)
            && matches!(found.wire, Wire::Open | Wire::Dialling)
        {
            found.wire = Wire::ClosedByPeer;
            self.step(Event::Net(NetEvent::Closed { conn }));
        }
    }

    /// All other sides are gone.
    pub(crate) fn loses_its_connections(&mut self) {
        let all: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in all {
            if self.is_open(conn) {
                self.closed(conn);
            }
        }
        self.settle();
    }

    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|c| c.wire == Wire::Open)
    }

    /// What was sent on a connection since the last time.
    pub(crate) fn take_sent(&mut self, conn: ConnId) -> Vec<Bytes> {
        self.conns.get_mut(&conn).map(|c| c.sent.drain(..).collect()).unwrap_or_default()
    }

    /// Lets time pass; ticks whenever a deadline has come.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        let mut at_once = 0;
        self.settle();
        while self.halted.is_none()
            && let Some(at) = self.node.deadline().filter(|at| *at <= end)
        {
            if at > self.now.mono {
                self.set_time(at);
                at_once = 0;
            }
            at_once += 1;
            assert!(at_once <= MAX_TICKS_AT_ONCE, "the deadline {at:?} never goes away");
            self.tick();
        }
        self.set_time(end);
    }

    pub(crate) fn tick(&mut self) {
        self.step(Event::Tick);
        self.settle();
    }

    /// The monotonic clock goes on to `time`, the wall clock with it.
    pub(crate) fn set_time(&mut self, time: Time) {
        let ms = time.ms_since(self.now.mono) as i64;
        self.now = Now { mono: time, wall_ms: self.now.wall_ms.saturating_add(ms) };
    }

    /// The disk does what there is to do, and the core hears of it.
    pub(crate) fn settle(&mut self) {
        let mut operations = 0;
        while self.halted.is_none() && !self.disk_stalls && self.disk_operation() {
            operations += 1;
            assert!(operations < MAX_OPERATIONS, "the disk never comes to rest");
        }
    }

    /// One file operation, or one connection that can be written to again; false if there is
    /// nothing to do.
    pub(crate) fn disk_operation(&mut self) -> bool {
        if let Some(conn) = self.writable.pop_front() {
            if self.is_open(conn) {
                self.step(Event::Net(NetEvent::Writable { conn }));
            }
            return true;
        }
        let mut events = Vec::new();
        let operation = self.disk.next_op(&mut events);
        if let Some(operation) = &operation {
            let completion = self.files.execute(operation);
            self.disk.complete(completion, &mut events);
        }
        let moved = operation.is_some() || !events.is_empty();
        for event in events {
            self.step(Event::Disk(event));
        }
        moved
    }

    // ---- what goes out

    fn step(&mut self, event: Event<Store>) {
        if self.halted.is_some() {
            return;
        }
        let mut out = Vec::new();
        self.node.step(self.now, event, &mut out);
        for action in out {
            self.perform(action);
        }
        let most = (8 << 20) + self.received.saturating_mul(self.received.max(4096));
        assert!(self.sent <= most, "{} bytes out of {} in", self.sent, self.received);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Dial { conn, port, to } => {
                assert!(conn.is_dialled(), "{conn} is dialled by the core");
                let new = Conn { port, wire: Wire::Dialling, sent: VecDeque::new() };
                assert!(self.conns.insert(conn, new).is_none(), "{conn} was used before");
                self.dials.push_back(Dial { conn, port, to });
            }
            Action::Send { conn, bytes } => {
                assert!(!bytes.is_empty() && bytes.len() <= MAX_SEND, "{} bytes", bytes.len());
                self.sent += bytes.len();
                self.named(conn, false).sent.push_back(bytes);
            }
            Action::Close { conn, .. } => self.named(conn, true).wire = Wire::ClosedByCore,
            Action::Pause { conn } | Action::Resume { conn } => {
                self.named(conn, false);
            }
            Action::AwaitWritable { conn } => {
                self.named(conn, false);
                self.writable.push_back(conn);
            }
            Action::Listen { at, .. } => assert!(!at.is_empty(), "somewhere"),
            Action::Disk(action) => {
                self.check_ticket(&action);
                if let DiskAction::Append { entries, .. } = &action {
                    self.last_appended = entries.last();
                }
                self.disk.submit(action);
            }
            Action::Halt(fault) => {
                assert!(!fault.what.is_empty(), "a halt says why");
                self.halted = Some(fault);
            }
        }
    }

    /// The core names only connections that are open (or to be closed: dialled).
    fn named(&mut self, conn: ConnId, or_dialling: bool) -> &mut Conn {
        let found = self.conns.get_mut(&conn).expect("a connection that exists");
        let fits = found.wire == Wire::Open || (or_dialling && found.wire == Wire::Dialling);
        assert!(fits, "{conn} ({:?}) is {:?}", found.port, found.wire);
        found
    }

    fn check_ticket(&mut self, action: &DiskAction) {
        let Some(ticket) = action.ticket() else { return };
        assert!(ticket > self.ticket, "{ticket:?} after {:?}", self.ticket);
        self.ticket = ticket;
    }

    // ---- at the end

    /// The directory, as the process leaves it.
    pub(crate) fn into_files(self) -> MemoryFiles {
        self.files
    }

    /// How far its tree is, and what it comes to.
    pub(crate) fn shown(&self) -> (Zxid, (u64, usize)) {
        let store = self.node.store();
        (store.last_zxid(), (store.digest(), store.node_count()))
    }

    /// A standalone server stops cleanly, and starts again with what it showed.
    pub(crate) fn restarts_with_the_same_state(mut self) {
        self.settle();
        let store = self.node.store();
        let (zxid, digest, nodes) = (store.last_zxid(), store.digest(), store.node_count());
        match load(&self.config, &mut self.files) {
            Outcome::Recovered(again) => {
                let state = &again.state;
                assert_eq!(again.last_zxid, zxid, "after a restart");
                assert_eq!((state.digest(), state.node_count()), (digest, nodes));
            }
            Outcome::Failed(fault) => panic!("{}", fault.what),
        }
    }

    /// A member's directory can be loaded again, or says why not and goes on saying so. What
    /// was durable is there. Returns the epoch that it has accepted.
    pub(crate) fn restarts_or_says_why(&self) -> Option<Epoch> {
        let mut files = self.files.clone();
        let zxid = self.node.store().last_zxid();
        let first = load(&self.config, &mut files);
        match (first, load(&self.config, &mut files)) {
            (Outcome::Recovered(first), Outcome::Recovered(again)) => {
                assert_eq!(first.last_zxid, again.last_zxid);
                assert_eq!(first.state.digest(), again.state.digest());
                assert!(first.last_zxid >= zxid || self.halted.is_some(), "{zxid} was applied");
                Some(Epoch(first.accepted_epoch))
            }
            (Outcome::Failed(first), Outcome::Failed(again)) => {
                assert_eq!(first, again);
                None
            }
            (Outcome::Recovered(_), Outcome::Failed(fault))
            | (Outcome::Failed(fault), Outcome::Recovered(_)) => {
                panic!("sometimes it loads, and sometimes: {}", fault.what);
            }
        }
    }

    /// The power fails now: what was applied was durable.
    pub(crate) fn loses_nothing_at_a_power_failure(mut self, seed: u64) {
        let zxid = self.node.store().last_zxid();
        self.files.crash(&mut fastrand::Rng::with_seed(seed), seed & 1 == 1);
        match load(&self.config, &mut self.files) {
            Outcome::Recovered(again) => assert!(again.last_zxid >= zxid, "{zxid} was applied"),
            Outcome::Failed(fault) => panic!("{}", fault.what),
        }
    }
}

/// A configuration, with small files.
pub(crate) fn config(text: &str, id: Option<&str>) -> Config {
    let (mut config, _) = Config::parse("zoo.cfg", text, id, None).expect("a good configuration");
    config.storage.pre_alloc_size_kb = 1;
    config.storage.snap_count = 12;
    config
}

/// Cuts bytes into pieces: 0 leaves them whole, any other number seeds where they are cut.
pub(crate) fn pieces(bytes: &[u8], seed: u8) -> Vec<Bytes> {
    if seed == 0 {
        return vec![Bytes::copy_from_slice(bytes)];
    }
    let mut rng = fastrand::Rng::with_seed(seed.into());
    let (mut rest, mut all) = (bytes, Vec::new());
    while !rest.is_empty() {
        let n = rng.usize(1..=rest.len().min(if seed & 1 == 0 { 7 } else { 64 }));
        all.push(Bytes::copy_from_slice(&rest[..n]));
        rest = &rest[n..];
    }
    all
}
