//! The protocol core of zabkeeper: leader election, atomic broadcast and ZooKeeper's state machine.
//!
//! The core takes events and returns actions, and does nothing else. It names no file, socket,
//! thread, clock or random number: the same events give the same actions. A [`Node`] is a whole
//! ZooKeeper server; an [`Ensemble`] is one server's part in a replicated application of your own,
//! as in `examples/counter.rs`.
//!
//! # The loop of a host
//!
//! ```ignore
//! let mut node = Node::new(config, seed, now());
//! let mut actions = Vec::new();
//! loop {
//!     let event = wait_for_event(node.deadline());
//!     node.step(now(), event, &mut actions);
//!     for action in actions.drain(..) {
//!         match action {
//!             Action::Dial { conn, to, .. } => connect(conn, to),
//!             Action::Send { conn, bytes } => queue(conn, bytes),
//!             Action::Close { conn, .. } => close_after_queue(conn),
//!             Action::AwaitWritable { conn } => report_writable_when_drained(conn),
//!             Action::Pause { conn } => stop_reading(conn),
//!             Action::Resume { conn } => read_again(conn),
//!             Action::Listen { port, at } => listen_only_at(port, at),
//!             Action::Disk(action) => disk.send(action),
//!             Action::Halt(fault) => return fault.exit_code,
//!         }
//!     }
//! }
//! ```
//!
//! # The duties of a host
//!
//! - It steps with [`Event::Tick`] when the deadline has come; `now` never goes back.
//! - It numbers the connections that it accepts ([`types::ConnId::accepted`]) and never reuses a
//!   number; the core numbers the connections that it dials.
//! - It keeps the order of actions within a lane: one connection, or the disk.
//! - It reports [`DiskEvent::Persisted`] in the order of the tickets, and only for data that would
//!   survive a power cut. [`disk::Disk`] does this for ZooKeeper's file formats.
//! - It answers each `Dial` with `Opened` or `Closed`, each `AwaitWritable` with `Writable`, each
//!   `ReadLog` with batches up to the last one, each `SnapshotChunk` with `SnapshotReady`.
//! - It reports [`NetEvent::Closed`] once, and not for connections that the core closed.
//!
//! # The one rule
//!
//! Every action may be executed the moment it is emitted. Within a lane order is kept; between
//! lanes there is none. An action that depends on the disk is not emitted before
//! [`DiskEvent::Persisted`] reports that its data is durable.
//!
//! # An ensemble in memory
//!
//! Three servers elect a leader and commit a write, in memory:
//!
//! ```
//! use std::collections::{HashMap, VecDeque};
//! use zabkeeper_core::action::{Action, DiskAction};
//! use bytes::BufMut;
//! use zabkeeper_core::config::Config;
//! use zabkeeper_core::wire::entries::Entries;
//! use zabkeeper_core::types::{ConnId, ServerId, Time, Zxid};
//! use zabkeeper_core::event::NetEvent;
//! use zabkeeper_core::zab::{Delivery, Ensemble, EnsembleOptions, RecoveredLog};
//!
//! let text = "dataDir=/d\ninitLimit=5\nsyncLimit=2\n\
//!     server.1=1:2888:3888\nserver.2=2:2888:3888\nserver.3=3:2888:3888";
//! let members = Config::parse("zoo.cfg", text, Some("1"), None)?.0.ensemble.unwrap();
//! let mut servers: Vec<_> = (1..=3)
//!     .map(|id| Ensemble::new(ServerId(id), members.clone().into(), EnsembleOptions::default()))
//!     .collect();
//! // Everything that is to be done, by which server; and which connections belong together.
//! let (mut todo, mut wires, mut accepted) = (VecDeque::new(), HashMap::new(), 0);
//! let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
//! let mut run = |servers: &mut Vec<Ensemble>, now, out: Vec<(usize, Action)>| {
//!     todo.extend(out);
//!     while let Some((at, action)) = todo.pop_front() {
//!         let mut events = Vec::new();
//!         match action {
//!             Action::Dial { conn, port, to } => {
//!                 accepted += 1;
//!                 let other = ConnId::accepted(accepted);
//!                 let peer = to.host.parse::<usize>().unwrap() - 1;
//!                 wires.extend([((at, conn), (peer, other)), ((peer, other), (at, conn))]);
//!                 events.push((peer, NetEvent::Opened { conn: other, port, peer: address }));
//!                 events.push((at, NetEvent::Opened { conn, port, peer: address }));
//!             }
//!             Action::Send { conn, bytes } => {
//!                 if let Some(&(peer, conn)) = wires.get(&(at, conn)) {
//!                     events.push((peer, NetEvent::Received { conn, bytes }));
//!                 }
//!             }
//!             Action::Close { conn, .. } => {
//!                 if let Some((peer, other)) = wires.remove(&(at, conn)) {
//!                     wires.remove(&(peer, other));
//!                     events.push((peer, NetEvent::Closed { conn: other }));
//!                 }
//!             }
//!             // A disk that is durable at once.
//!             Action::Disk(
//!                 DiskAction::Append { ticket, .. } | DiskAction::SaveEpoch { ticket, .. },
//!             ) => {
//!                 let mut out = Vec::new();
//!                 servers[at].persisted(now, ticket, &mut out);
//!                 todo.extend(out.into_iter().map(|action| (at, action)));
//!             }
//!             _ => {}
//!         }
//!         for (at, event) in events {
//!             let mut out = Vec::new();
//!             servers[at].step(now, event, &mut out);
//!             todo.extend(out.into_iter().map(|action| (at, action)));
//!         }
//!     }
//! };
//! for at in 0..3 {
//!     let mut out = Vec::new();
//!     servers[at].start(Time(0), RecoveredLog::default(), &mut out);
//!     run(&mut servers, Time(0), out.into_iter().map(|action| (at, action)).collect());
//! }
//! for ms in (100..3000).step_by(100) {
//!     for at in 0..3 {
//!         let (now, mut out) = (Time(0).plus_ms(ms), Vec::new());
//!         servers[at].tick(now, &mut out);
//!         run(&mut servers, now, out.into_iter().map(|action| (at, action)).collect());
//!     }
//! }
//! let leader = servers.iter().position(|s| s.next_zxid().is_some()).expect("a leader");
//! assert_eq!(leader, 2, "the largest id wins among equals");
//! let (mut out, zxid) = (Vec::new(), servers[leader].next_zxid().unwrap());
//! servers[leader].propose(zxid, 5, |room| room.put_slice(b"hello"), &mut out);
//! servers[leader].flush(&mut out);
//! let now = Time(0).plus_ms(3000);
//! run(&mut servers, now, out.into_iter().map(|action| (leader, action)).collect());
//! for server in &mut servers {
//!     let told: Vec<_> = std::iter::from_fn(|| server.next_delivery()).collect();
//!     assert!(told.contains(&Delivery::Committed(Entries::one(Zxid(0x1_0000_0001), b"hello"))));
//! }
//! # Ok::<(), zabkeeper_core::config::ConfigError>(())
//! ```
//!
//! # The rooms
//!
//! A room uses only rooms named before it: [`types`], [`budget`] and [`wire`]; [`event`] and
//! [`action`]; [`config`]; [`quorum`]; [`election`]; [`zab`], which joins them in an
//! [`Ensemble`]; [`store`], the znodes; [`access`], schemes and ACLs; [`session`], ids, passwords
//! and the leader's record of sessions; `prep`, requests into transactions; [`admin`], metrics
//! and four-letter words; `client_port`, the clients; [`disk`], logs and snapshots; [`client`],
//! the other side of a session; [`node`], one server; [`journal`], the record of the events that
//! entered it; [`inspect`], reports about files. [`mutant`] has seeded bugs for tests of the
//! simulator; they are compiled out otherwise.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod access;
pub mod action;
pub mod admin;
pub mod budget;
pub mod client;
mod client_port;
pub mod config;
pub mod disk;
pub mod election;
pub mod event;
mod hash;
pub mod inspect;
pub mod journal;
pub mod mutant;
pub mod node;
mod prep;
pub mod quorum;
pub mod session;
pub mod store;
mod text;
pub mod types;
pub mod wire;
pub mod zab;

pub use action::{Action, DiskAction};
pub use config::Config;
pub use event::{DiskEvent, Event, NetEvent};
pub use node::Node;
pub use zab::{Delivery, Ensemble};
