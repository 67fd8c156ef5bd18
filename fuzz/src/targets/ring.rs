//! A few servers under test and the wires between them, for prologues that are honest up to a
//! chosen packet.

use std::collections::BTreeMap;

use bytes::Bytes;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, Time};

use crate::rig::{Rig, Wire, config};

/// More deliveries than this without time passing never end.
const MAX_DELIVERIES_AT_ONCE: u32 = 10_000;

/// One end of a wire.
pub(super) type End = (i64, ConnId);

pub(super) struct Ring {
    pub(super) rigs: BTreeMap<i64, Rig>,
    pub(super) wires: BTreeMap<End, End>,
    /// Chunks delivered on quorum wires, by either end.
    pub(super) quorum_chunks: BTreeMap<End, usize>,
}

impl Ring {
    /// These members of an ensemble of three; the others are not up.
    pub(super) fn new(up: &[i64]) -> Ring {
        let mut ring =
            Ring { rigs: BTreeMap::new(), wires: BTreeMap::new(), quorum_chunks: BTreeMap::new() };
        for id in up {
            ring.start(*id);
        }
        ring
    }

    /// A member comes up, with an empty directory.
    pub(super) fn start(&mut self, id: i64) {
        let mut rig = Rig::new(config(TEXT, Some(&id.to_string())));
        if let Some(other) = self.rigs.values().next() {
            rig.now = other.now;
        }
        rig.settle();
        self.rigs.insert(id, rig);
    }

    /// A member goes away; its wires break.
    pub(super) fn remove(&mut self, id: i64) -> Option<Rig> {
        let ends: Vec<End> = self.wires.keys().filter(|end| end.0 == id).copied().collect();
        for end in ends {
            self.cut(end);
        }
        self.rigs.remove(&id)
    }

    /// A member comes back that was removed, without any of the connections that it had.
    pub(super) fn join(&mut self, id: i64, mut rig: Rig) {
        rig.loses_its_connections();
        let behind_ms = rig.now.mono.ms_since(self.now());
        self.run(behind_ms, |_| false);
        rig.pass(self.now().ms_since(rig.now.mono));
        self.rigs.insert(id, rig);
    }

    /// Breaks a wire: this end keeps what it has, the other is told. Returns the other.
    pub(super) fn cut(&mut self, end: End) -> Option<End> {
        let other = self.wires.remove(&end)?;
        self.wires.remove(&other);
        if let Some(rig) = self.rigs.get_mut(&other.0) {
            rig.closed(other.1);
        }
        Some(other)
    }

    /// The end at `id` of a quorum wire with `peer`.
    pub(super) fn quorum_end(&self, id: i64, peer: i64) -> Option<End> {
        let quorum =
            |end: &End| self.rigs[&end.0].conns.get(&end.1).is_some_and(|c| c.port == Port::Quorum);
        let fits = |(end, other): &(&End, &End)| end.0 == id && other.0 == peer && quorum(end);
        self.wires.iter().find(fits).map(|(end, _)| *end)
    }

    /// Everybody's clock stands here.
    pub(super) fn now(&self) -> Time {
        self.rigs.values().map(|rig| rig.now.mono).max().unwrap_or_default()
    }

    /// Lets `ms` pass, or less if `done` says so; everything is delivered at once.
    pub(super) fn run(&mut self, ms: u64, mut done: impl FnMut(&Ring) -> bool) -> bool {
        let end = self.now().plus_ms(ms);
        let mut at_once = 0u32;
        loop {
            let mut delivered = 0u32;
            while self.deliver_one() {
                delivered += 1;
                assert!(delivered < MAX_DELIVERIES_AT_ONCE, "they never come to rest");
                if done(self) {
                    return true;
                }
            }
            if done(self) {
                return true;
            }
            let due = |rig: &Rig| rig.node.deadline().filter(|_| rig.halted.is_none());
            let next = self.rigs.values().filter_map(due).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            if next > self.now() {
                at_once = 0;
                self.set_time(next);
            }
            at_once += 1;
            assert!(at_once < 64, "the deadline {next:?} never goes away");
            for rig in self.rigs.values_mut() {
                rig.tick();
            }
        }
        self.set_time(end);
        false
    }

    fn set_time(&mut self, time: Time) {
        for rig in self.rigs.values_mut() {
            rig.set_time(time);
        }
    }

    /// One dial, one chunk of bytes or one close; false if nothing is under way.
    fn deliver_one(&mut self) -> bool {
        let ids: Vec<i64> = self.rigs.keys().copied().collect();
        for id in ids {
            let up = |to: i64| to != id && self.rigs.contains_key(&to);
            let reachable: Vec<bool> = (0..4).map(up).collect();
            let Some(rig) = self.rigs.get_mut(&id) else { continue };
            rig.settle();
            if let Some(dial) = rig.dials.pop_front() {
                let to: i64 = dial.to.host.parse().unwrap_or_default();
                let dialling = rig.conns.get(&dial.conn).is_some_and(|c| c.wire == Wire::Dialling);
                let is_up = usize::try_from(to).ok().and_then(|to| reachable.get(to));
                if dialling && is_up == Some(&true) {
                    let other = self.rigs.get_mut(&to).map(|rig| rig.accept(dial.port));
                    let (near, far) = ((id, dial.conn), (to, other.expect("just seen")));
                    self.wires.insert(near, far);
                    self.wires.insert(far, near);
                    self.rigs.get_mut(&id).expect("just seen").dialled(dial.conn);
                } else {
                    rig.closed(dial.conn);
                }
                return true;
            }
            let ready = |(conn, c): (&ConnId, &crate::rig::Conn)| {
                let end = (id, *conn);
                let over = c.wire == Wire::ClosedByCore;
                (self.wires.contains_key(&end) && (over || !c.sent.is_empty())).then_some(end)
            };
            let Some(end) = rig.conns.iter().find_map(ready) else { continue };
            let other = self.wires[&end];
            let conn = rig.conns.get_mut(&end.1).expect("just seen");
            let quorum = conn.port == Port::Quorum;
            match conn.sent.pop_front() {
                Some(bytes) => {
                    if quorum {
                        *self.quorum_chunks.entry(end).or_default() += 1;
                        *self.quorum_chunks.entry(other).or_default() += 1;
                    }
                    if let Some(rig) = self.rigs.get_mut(&other.0) {
                        rig.receive(other.1, bytes);
                    }
                }
                None => {
                    self.cut(end);
                }
            }
            return true;
        }
        false
    }

    /// Bytes into one end, whoever is at the other.
    pub(super) fn inject(&mut self, end: End, pieces: Vec<Bytes>) {
        for piece in pieces {
            if let Some(rig) = self.rigs.get_mut(&end.0) {
                rig.receive(end.1, piece);
                rig.settle();
            }
        }
    }

    /// All that are up serve clients.
    pub(super) fn all_serve(&self) -> bool {
        self.rigs.values().all(|rig| rig.node.serving())
    }

    /// Servers that have come equally far show the same.
    pub(super) fn agree(&self) {
        let mut by_zxid = BTreeMap::new();
        for (id, rig) in &self.rigs {
            assert_eq!(rig.halted, None, "server {id}");
            let (zxid, state) = rig.shown();
            assert_eq!(*by_zxid.entry(zxid).or_insert(state), state, "at {zxid}");
        }
    }
}

const TEXT: &str = "dataDir=/d\nclientPort=2181\ntickTime=400\ninitLimit=5\nsyncLimit=5\n\
    server.1=1:2888:3888\nserver.2=2:2888:3888\nserver.3=3:2888:3888\n";
