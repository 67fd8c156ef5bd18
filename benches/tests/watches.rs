//! What watches cost: a server's memory for a million of them, and the time of a write that many
//! clients watch.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use zabkeeper_core::action::{Action, DiskAction};
use zabkeeper_core::config::Config;
use zabkeeper_core::event::{DiskEvent, Event, NetEvent, Port, Recovered};
use zabkeeper_core::node::{Node, store_options};
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{ConnId, Now, SessionId, Ticket, Time, Zxid};
use zabkeeper_core::wire::client::{ConnectRequest, SetDataRequest, SetWatches2, WatchedRequest};
use zabkeeper_core::wire::{OpCode, Record};

const MILLION: usize = 1_000_000;
/// Paths in one request.
const BATCH: usize = 5_000;

/// A server alone, whose disk is durable at once.
struct Server {
    node: Node,
    now: Now,
    out: Vec<Action>,
}

impl Server {
    fn new() -> Server {
        let text = "dataDir=/d\nclientPort=2181\nmaxClientCnxns=0\nsnapCount=1000000\n";
        let (config, _) = Config::parse("zoo.cfg", text, None, None).expect("well formed");
        let now = Now { mono: Time(0), wall_ms: 1_700_000_000_000 };
        let state = Store::new(store_options(&config));
        let mut server = Server { node: Node::new(config, 7, now), now, out: Vec::new() };
        server.step(Event::Disk(DiskEvent::Recovered(Box::new(Recovered {
            ticket: Ticket(0),
            state,
            last_zxid: Zxid::ZERO,
            tail: Vec::new(),
            current_epoch: 0,
            accepted_epoch: 0,
            snapshot_bytes: 0,
        }))));
        assert!(server.node.serving());
        server
    }

    /// One step of a turn of its own, and what the disk says to it; how many were sent something.
    fn step(&mut self, event: Event<Store>) -> usize {
        self.now.mono.0 += 1;
        let mut told = 0;
        let mut next = Some(event);
        while let Some(event) = next.take() {
            self.node.step(self.now, event, &mut self.out);
            for action in self.out.drain(..) {
                match action {
                    Action::Send { .. } => told += 1,
                    Action::Disk(DiskAction::Append { ticket, .. }) => {
                        next = Some(Event::Disk(DiskEvent::Persisted { upto: ticket }));
                    }
                    Action::Close { why, .. } => panic!("{why:?}"),
                    _ => {}
                }
            }
        }
        told
    }

    fn send(&mut self, conn: ConnId, body: impl FnOnce(&mut BytesMut)) -> usize {
        let mut out = BytesMut::new();
        out.put_i32(0);
        body(&mut out);
        let length = (out.len() - 4) as i32;
        out[..4].copy_from_slice(&length.to_be_bytes());
        self.step(Event::Net(NetEvent::Received { conn, bytes: out.freeze() }))
    }

    fn ask(&mut self, conn: ConnId, op: OpCode, request: &impl Record) -> usize {
        self.send(conn, |out| {
            out.put_i32(1);
            out.put_i32(op as i32);
            request.write(out);
        })
    }

    fn client(&mut self, n: usize) -> ConnId {
        let conn = ConnId::accepted(n as u64);
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 40_000));
        self.step(Event::Net(NetEvent::Opened { conn, port: Port::Client, peer }));
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 40_000,
            session: SessionId(0),
            password: Some(Bytes::from_static(&[0; 16])),
            read_only: Some(false),
        };
        assert_eq!(self.send(conn, |out| request.write(out)), 1);
        conn
    }

    /// Waits for these to be made.
    fn watch(&mut self, conn: ConnId, paths: impl Iterator<Item = String>) {
        let mut paths = paths.map(Into::into).peekable();
        while paths.peek().is_some() {
            let exist = paths.by_ref().take(BATCH).collect();
            let request = SetWatches2 {
                relative_zxid: Zxid::ZERO,
                data: Vec::new(),
                exist,
                child: Vec::new(),
                persistent: Vec::new(),
                recursive: Vec::new(),
            };
            let mut told = self.ask(conn, OpCode::SetWatches2, &request);
            while self.node.deadline() == Some(Time(0)) {
                told += self.step(Event::Tick);
            }
            assert_eq!(told, 1);
        }
    }
}

/// Bytes for each of a million watches: `clients` clients wait for as many paths each, of which
/// `common` are all clients'.
fn bytes_per_watch(clients: usize, common: bool) -> f64 {
    let mut server = Server::new();
    let conns: Vec<ConnId> = (1..=clients).map(|n| server.client(n)).collect();
    let each = MILLION / clients;
    let info = allocation_counter::measure(|| {
        for (n, conn) in conns.iter().enumerate() {
            let service = if common { 0 } else { n };
            server.watch(
                *conn,
                (0..each).map(|i| format!("/services/{service:04}/instances/{i:07}")),
            );
        }
    });
    info.bytes_current as f64 / MILLION as f64
}

#[test]
fn a_million_watches_take_at_most_64_bytes_each() {
    for (clients, common) in [(100, false), (1000, true)] {
        let bytes = bytes_per_watch(clients, common);
        let paths = if common { MILLION / clients } else { MILLION };
        println!("{clients} clients, {paths} paths of 32 bytes: {bytes:.1} bytes a watch");
        assert!(bytes <= 64.0, "{bytes} bytes a watch of {clients} clients");
    }
}

#[test]
fn a_write_that_ten_thousand_watch_leaves_time_for_others() {
    let mut server = Server::new();
    let writer = server.client(1);
    let other = server.client(2);
    let watchers = 10_000;
    for n in 0..watchers {
        let conn = server.client(3 + n);
        let watch = WatchedRequest { path: "/".into(), watch: true };
        assert_eq!(server.ask(conn, OpCode::GetData, &watch), 1);
    }
    let begun = Instant::now();
    let write = SetDataRequest { path: "/".into(), data: None, version: -1 };
    let read = WatchedRequest { path: "/".into(), watch: false };
    let mut told = server.ask(writer, OpCode::SetData, &write) - 1;
    let (mut longest, mut steps) = (begun.elapsed(), 1);
    while told < watchers {
        let step = Instant::now();
        // Somebody else is answered, and some more are told.
        let sent = server.ask(other, OpCode::Exists, &read);
        assert!((2..=1000).contains(&sent), "{sent} sends in one step");
        told += sent - 1;
        (longest, steps) = (longest.max(step.elapsed()), steps + 1);
    }
    let whole = begun.elapsed();
    println!("{watchers} watchers are told in {steps} steps, {whole:?}; the longest: {longest:?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}
