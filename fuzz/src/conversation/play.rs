//! One server's life again: a node in its place hears what it heard, when it heard it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use zabkeeper_core::config::{Config, LearnerType};
use zabkeeper_core::disk::MemoryFiles;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, Now, ServerId, Time, Zxid};
use zabkeeper_core::wire::OpCode;
use zabkeeper_core::wire::quorum::{ForwardedRequest, PacketType, QuorumPacket};
use zabkeeper_core::zab::Role;

use super::capture::{Capture, Ends, Life, Side, What};
use super::compare::Said;
use super::words::Words;
use crate::rig::{Dial, Rig, Wire};

/// How long is waited for what the server said before it heard the next, ms: elections have
/// time-outs of their own.
const PATIENCE_MS: u64 = 1500;
const STEP_MS: u64 = 5;
/// How long, for a vote: it comes at once, or another one has come between.
const VOTE_PATIENCE_MS: u64 = 30;
/// So long before its death a process may not have heard what was sent to it any more, ms.
const DYING_MS: u64 = 300;
/// See [`Pace::Unhurried`].
const UNHURRIED_MS: u64 = 10;
const MOST_BYTES: usize = 16 << 20;

/// How time passes while there is no leader. Threads of a busy machine take their time, so that
/// what was heard when does not say what was known when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As it did there.
    Real,
    /// Hardly, between what is heard: a vote that was heard late does not miss an election.
    Unhurried,
    /// As it did there; that the leader is gone is noticed after [`INATTENTION_MS`].
    Inattentive,
}

impl Pace {
    pub(super) const ALL: [Pace; 3] = [Pace::Real, Pace::Unhurried, Pace::Inattentive];
}

const INATTENTION_MS: u64 = 60;

/// What the scenario is about, beyond one life.
pub(super) struct Scene<'a> {
    pub(super) capture: &'a Capture,
    pub(super) made: &'a Made,
    pub(super) config: Config,
    /// The last transaction that this process has when it begins its next life: of what was sent
    /// to it when it was killed, it has logged just that.
    pub(super) kept: Option<Zxid>,
}

/// The transactions of a scenario.
#[derive(Default)]
pub(super) struct Made {
    /// When, in ms of the wall clock.
    pub(super) times: HashMap<Zxid, i64>,
    /// For which session and cxid, in order; clients may count anew on another connection.
    pub(super) by_request: HashMap<(i64, i32), Vec<Zxid>>,
}

/// Plays a life on a directory; returns what was said on each connection, there and here, and
/// the directory.
pub(super) fn play(
    scene: &Scene<'_>,
    life: Life,
    files: MemoryFiles,
    pace: Pace,
) -> (BTreeMap<u32, Said>, MemoryFiles) {
    let clock_ms = first_session(scene, life).map_or(0, |id| (id << 8) as u64 >> 24);
    let now = Now { mono: Time(1_000_000_000), wall_ms: clock_ms as i64 };
    let mut stage = Stage {
        scene,
        life,
        pace,
        rig: Rig::resumed(scene.config.clone(), files, now),
        origin: now.mono,
        skipped_ms: 0,
        closing: VecDeque::new(),
        places: BTreeMap::new(),
        ids: HashMap::new(),
    };
    stage.rig.settle();
    stage.run();
    let said = stage.places.into_iter().map(|(conn, place)| (conn, place.said)).collect();
    (said, stage.rig.into_files())
}

/// The first session that this process made: ids begin with the clock.
fn first_session(scene: &Scene<'_>, life: Life) -> Option<i64> {
    let is_own = |id: &i64| (*id >> 56) & 0xff == life.server;
    let conns = scene.capture.heard.iter().filter(|heard| {
        let ends = &scene.capture.conns[&heard.conn];
        let is_here = ends.port == Port::Client && ends.accepted == life.server;
        is_here && (life.from_ms..life.to_ms).contains(&heard.ms) && heard.what == What::Open
    });
    let ids = conns.filter_map(|heard| session_of(scene.capture, heard.conn));
    ids.filter(is_own).map(|id| id & !0xffff).min()
}

/// The session that a client's connection was told.
fn session_of(capture: &Capture, conn: u32) -> Option<i64> {
    let mut reply = Vec::new();
    for heard in capture.heard.iter().filter(|heard| heard.conn == conn) {
        if let What::Bytes(Side::Accepted, bytes) = &heard.what {
            reply.extend_from_slice(bytes);
        }
        if reply.len() >= 20 {
            break;
        }
    }
    // Length, version, time-out, session id; a four-letter word is answered with text.
    let is_reply = reply.starts_with(&[0, 0, 0]);
    let id = reply.get(12..20).filter(|_| is_reply)?;
    Some(i64::from_be_bytes(id.try_into().ok()?))
}

struct Place {
    port: Port,
    conn: Option<ConnId>,
    is_deaf: bool,
    /// Bytes heard that are no whole packet yet.
    rest: BytesMut,
    /// Packets and frames that wait for their turn.
    waiting: VecDeque<Piece>,
    /// A client's session, as it was told there.
    session: Option<i64>,
    /// The client's first frame has come.
    is_begun: bool,
    side: Side,
    there: Words,
    here: Words,
    said: Said,
}

/// A packet or frame that was heard.
struct Piece {
    bytes: Bytes,
    /// The session and cxid of a write.
    write: Option<(i64, i32)>,
    /// Acknowledges NEWLEADER: the time that a leader takes to begin to serve is over when it
    /// says something on this connection.
    is_of_epoch: bool,
}

struct Stage<'a> {
    scene: &'a Scene<'a>,
    life: Life,
    pace: Pace,
    rig: Rig,
    origin: Time,
    skipped_ms: u64,
    closing: VecDeque<(u64, ConnId)>,
    places: BTreeMap<u32, Place>,
    ids: HashMap<ConnId, u32>,
}

impl Stage<'_> {
    fn run(&mut self) {
        let scene = self.scene;
        for heard in &scene.capture.heard {
            let ends = scene.capture.conns[&heard.conn];
            let Some(own) = ends.side_of(self.life.server) else { continue };
            if !(self.life.from_ms..self.life.to_ms).contains(&heard.ms) {
                continue;
            }
            if heard.what != What::Open && !self.places.contains_key(&heard.conn) {
                continue;
            }
            self.pass_to(heard.ms - self.life.from_ms);
            match &heard.what {
                What::Open => self.open(heard.conn, own),
                What::Bytes(side, bytes) if *side == own => {
                    let place = self.places.get_mut(&heard.conn).expect("it is open");
                    let at_ms = heard.ms - self.life.from_ms;
                    place.said.there.extend(place.there.push(at_ms, bytes));
                    place.said.last_ms = at_ms;
                    if let Some(piece) = place.waiting.front_mut() {
                        piece.is_of_epoch = false;
                    }
                    self.take_what_is_due();
                }
                What::Bytes(_, bytes) => {
                    self.wait_for_words(heard.conn);
                    let place = self.places.get_mut(&heard.conn).expect("it is open");
                    place.said.last_ms = heard.ms - self.life.from_ms;
                    self.hear(heard.conn, bytes);
                }
                // Nothing that comes now is heard: it closed, or was killed.
                What::Closed(side) if *side == own => {
                    let place = self.places.get_mut(&heard.conn).expect("it is open");
                    place.is_deaf = true;
                }
                What::Closed(_) => {
                    if let Some(conn) = self.places.get(&heard.conn).and_then(|p| p.conn) {
                        let is_late = matches!(self.pace, Pace::Inattentive)
                            && ends.port == Port::Quorum
                            && own == Side::Dialled;
                        let late_ms = if is_late { INATTENTION_MS } else { 0 };
                        self.closing.push_back((self.ms() + late_ms, conn));
                        self.close();
                    }
                }
            }
        }
        self.pass_to(self.life.to_ms - self.life.from_ms);
    }

    fn open(&mut self, conn: u32, own: Side) {
        let ends = self.scene.capture.conns[&conn];
        let place = Place {
            port: ends.port,
            conn: None,
            is_deaf: false,
            rest: BytesMut::new(),
            waiting: VecDeque::new(),
            session: session_of(self.scene.capture, conn),
            is_begun: false,
            side: own,
            there: Words::new(ends.port, own == Side::Dialled),
            here: Words::new(ends.port, own == Side::Dialled),
            said: Said { is_to_observer: self.is_observer(ends, own), ..Said::default() },
        };
        self.places.insert(conn, place);
        let id = match own {
            Side::Accepted => {
                if ends.port == Port::Quorum {
                    self.wait(PATIENCE_MS, |stage| stage.leads());
                }
                Some(self.rig.accept(ends.port))
            }
            Side::Dialled if self.has_met(conn) => {
                self.places.get_mut(&conn).expect("it is open").said.is_spare = true;
                None
            }
            Side::Dialled => {
                let to = (ends.port, ends.number);
                self.wait(PATIENCE_MS, |stage| stage.pending_dial(to).is_some());
                let id = self.pending_dial(to);
                if let Some(id) = id {
                    self.rig.dialled(id);
                }
                id
            }
        };
        self.places.get_mut(&conn).expect("it is open").conn = id;
        if let Some(id) = id {
            self.ids.insert(id, conn);
        }
        self.settle();
    }

    fn is_observer(&self, ends: Ends, own: Side) -> bool {
        let other = if own == Side::Accepted { ends.dialled } else { Some(ends.accepted) };
        let ensemble = self.scene.config.ensemble.as_ref().expect("an ensemble");
        other
            .and_then(|other| ensemble.members.get(&ServerId(other)))
            .is_some_and(|member| member.role == LearnerType::Observer)
    }

    /// Who is dead refuses a connection.
    fn refuse(&mut self) {
        let ms = self.ms() + self.life.from_ms;
        let is_alive = |dial: &Dial| {
            let server = i64::from(dial.to.port % 100);
            let mut lives = self.scene.capture.lives.iter();
            lives.any(|l| l.server == server && (l.from_ms..l.killed_ms).contains(&ms))
        };
        let dead = self.rig.dials.iter().filter(|dial| !is_alive(dial)).map(|dial| dial.conn);
        for conn in dead.collect::<Vec<_>>() {
            if self.rig.conns.get(&conn).map(|c| c.wire) == Some(Wire::Dialling) {
                self.rig.closed(conn);
            }
        }
    }

    /// Whether there is an election connection with the same server already: two that dial each
    /// other at once have one too many.
    fn has_met(&self, conn: u32) -> bool {
        let conns = &self.scene.capture.conns;
        let ends = conns[&conn];
        let is_open = |place: &Place| place.conn.is_some_and(|id| self.rig.is_open(id));
        let mut open = self.places.iter().filter(|(_, place)| is_open(place));
        ends.port == Port::Election
            && open.any(|(other, place)| {
                place.port == Port::Election && conns[other].dialled == Some(ends.accepted)
            })
    }

    /// The node's oldest dial to this port that still waits.
    fn pending_dial(&mut self, (port, number): (Port, u16)) -> Option<ConnId> {
        let waits =
            |conn: &ConnId| self.rig.conns.get(conn).map(|c| c.wire) == Some(Wire::Dialling);
        let fits = |dial: &&Dial| dial.port == port && dial.to.port == number && waits(&dial.conn);
        self.rig.dials.iter().find(fits).map(|dial| dial.conn)
    }

    /// Hears bytes, packet by packet where they are requests: each has its time.
    fn hear(&mut self, conn: u32, bytes: &[u8]) {
        let is_dying = self.is_dying();
        let place = self.places.get_mut(&conn).expect("it is open");
        place.rest.extend_from_slice(bytes);
        if place.is_deaf || place.conn.is_none() {
            return;
        }
        let is_asked = place.side == Side::Accepted;
        while let Some(piece) = cut(place, is_asked || is_dying) {
            if is_dying && self.scene.kept.is_some_and(|kept| is_lost(&piece, kept)) {
                continue;
            }
            let write = match place.port {
                Port::Quorum if is_asked => forwarded(&piece),
                Port::Client => asked(place, &piece),
                Port::Quorum | Port::Election => None,
            };
            let is_of_epoch = place.port == Port::Quorum && is_asked && is_ack_of_epoch(&piece);
            place.waiting.push_back(Piece { bytes: piece, write, is_of_epoch });
        }
        self.take_what_is_due();
    }

    /// Requests are taken in the order in which the leader made transactions of them: the order
    /// of their arrival on different connections is not known so exactly.
    fn take_what_is_due(&mut self) {
        loop {
            let next = self.next_zxid();
            let is_due = |piece: &Piece| {
                let zxid = piece.write.and_then(|request| self.scene.made.of(request, next));
                !piece.is_of_epoch && (!self.leads() || zxid.is_none_or(|zxid| zxid == next))
            };
            let due =
                self.places.iter().find(|(_, place)| place.waiting.front().is_some_and(is_due));
            let Some((conn, _)) = due.map(|(conn, place)| (*conn, place)) else { return };
            let place = self.places.get_mut(&conn).expect("it is open");
            let piece = place.waiting.pop_front().expect("it waits").bytes;
            let Some(id) = place.conn else { continue };
            self.set_clock();
            self.rig.receive(id, piece);
            self.settle();
        }
    }

    fn leads(&self) -> bool {
        matches!(self.rig.node.role(), Role::Leading { .. })
    }

    fn is_dying(&self) -> bool {
        let ms = self.ms() + self.life.from_ms;
        ms + DYING_MS > self.life.killed_ms
    }

    /// What the node's next transaction would be called.
    fn next_zxid(&self) -> Zxid {
        let first = self.rig.node.epoch().first_zxid().next();
        self.rig.last_appended.next().max(first)
    }

    /// The next transaction is made when it was made there.
    fn set_clock(&mut self) {
        if let Some(ms) = self.scene.made.times.get(&self.next_zxid()) {
            self.rig.now.wall_ms = *ms;
        }
    }

    /// Waits until everything is said here that was said there before.
    fn wait_for_words(&mut self, conn: u32) {
        let is_vote = self.places[&conn].port == Port::Election;
        let most_ms = if is_vote { VOTE_PATIENCE_MS } else { PATIENCE_MS };
        self.wait(most_ms, |stage| {
            let place = &stage.places[&conn];
            place.said.is_level() || place.conn.is_none_or(|id| !stage.rig.is_open(id))
        });
    }

    fn wait(&mut self, most_ms: u64, mut is_well: impl FnMut(&mut Self) -> bool) {
        let mut waited = 0;
        while !is_well(self) && waited < most_ms {
            self.pass(STEP_MS);
            waited += STEP_MS;
        }
    }

    /// Tells of connections that are closed.
    fn close(&mut self) {
        while let Some((at, conn)) = self.closing.front().copied()
            && at <= self.ms()
        {
            self.closing.pop_front();
            self.rig.closed(conn);
            self.settle();
        }
    }

    /// The time of the life that was heard.
    fn ms(&self) -> u64 {
        self.rig.now.mono.ms_since(self.origin) + self.skipped_ms
    }

    fn pass_to(&mut self, ms: u64) {
        if let Pace::Unhurried = self.pace
            && self.rig.node.role() == Role::Looking
        {
            self.skipped_ms += ms.saturating_sub(self.ms() + UNHURRIED_MS);
        }
        let ms = ms.saturating_sub(self.skipped_ms);
        while self.rig.now.mono < self.origin.plus_ms(ms) {
            let left = self.origin.plus_ms(ms).ms_since(self.rig.now.mono);
            self.pass(left.clamp(1, 20));
        }
    }

    fn pass(&mut self, ms: u64) {
        self.rig.pass(ms);
        self.refuse();
        self.close();
        self.settle();
        self.take_what_is_due();
    }

    /// The disk does its work, and what was said is collected. A sync of the node's own, which was
    /// not asked there, is answered.
    fn settle(&mut self) {
        loop {
            self.rig.settle();
            let fences = self.collect();
            if fences.is_empty() {
                return;
            }
            for id in fences {
                let sync = QuorumPacket::new(PacketType::Sync, Zxid::ZERO, None);
                self.rig.receive(id, sync.to_bytes());
            }
        }
    }

    /// Who was asked for syncs of the node's own.
    fn collect(&mut self) -> Vec<ConnId> {
        let (at_ms, mut fences) = (self.ms(), Vec::new());
        let open: Vec<(ConnId, u32)> = self.ids.iter().map(|(id, conn)| (*id, *conn)).collect();
        for (id, conn) in open {
            for bytes in self.rig.take_sent(id) {
                let place = self.places.get_mut(&conn).expect("it is open");
                for word in place.here.push(at_ms, &bytes) {
                    let is_fence = place.side == Side::Dialled && is_fence(&word.bytes);
                    if is_fence { fences.push(id) } else { place.said.here.push(word) }
                }
            }
        }
        fences
    }
}

impl Made {
    /// What became of a request when this is the next transaction, or of a later one like it.
    fn of(&self, request: (i64, i32), next: Zxid) -> Option<Zxid> {
        self.by_request.get(&request)?.iter().copied().find(|zxid| *zxid >= next)
    }
}

/// The next whole packet or frame, where they are told apart; else all that there is.
fn cut(place: &mut Place, is_by_packet: bool) -> Option<Bytes> {
    let is_word = place.rest.first().is_some_and(|first| *first != 0);
    let length = match place.port {
        Port::Client if is_word => place.rest.len(),
        Port::Client => 4 + i32::from_be_bytes(*place.rest.first_chunk()?) as usize,
        Port::Quorum if is_by_packet => QuorumPacket::measure(&place.rest, MOST_BYTES).ok()??,
        Port::Quorum | Port::Election => place.rest.len(),
    };
    (length > 0 && length <= place.rest.len()).then(|| place.rest.split_to(length).freeze())
}

/// Whose request a packet of a learner is.
fn forwarded(packet: &Bytes) -> Option<(i64, i32)> {
    let (packet, _) = QuorumPacket::parse(packet, MOST_BYTES).ok()??;
    let is_request = packet.kind == PacketType::Request as i32;
    let request = is_request.then(|| ForwardedRequest::parse(&packet.data.unwrap_or_default()));
    let request = request?.ok().filter(|request| is_write(request.op))?;
    Some((request.session.0, request.cxid))
}

/// Whether a learner's packet is a sync of its own, and no client's: their numbers begin with 1.
fn is_fence(packet: &Bytes) -> bool {
    let parsed = QuorumPacket::parse(packet, MOST_BYTES).ok().flatten();
    let data = parsed.filter(|(packet, _)| packet.kind == PacketType::Request as i32);
    let data = data.and_then(|(packet, _)| packet.data).unwrap_or_default();
    ForwardedRequest::parse(&data)
        .is_ok_and(|request| (request.cxid, request.op) == (0, OpCode::Sync as i32))
}

fn is_write(op: i32) -> bool {
    !matches!(OpCode::from_i32(op), None | Some(OpCode::Sync))
        && !matches!(op, 3 | 4 | 6 | 8 | 9 | 11 | 12 | 22 | 100..=107)
}

fn is_ack_of_epoch(packet: &Bytes) -> bool {
    let parsed = QuorumPacket::parse(packet, MOST_BYTES).ok().flatten();
    parsed.is_some_and(|(packet, _)| {
        packet.kind == PacketType::Ack as i32 && packet.zxid.counter() == 0
    })
}

/// Whose request a client's frame is.
fn asked(place: &mut Place, frame: &Bytes) -> Option<(i64, i32)> {
    let session = place.session?;
    let is_first = !std::mem::replace(&mut place.is_begun, true);
    let int = |at| frame.get(at..at + 4)?.try_into().ok().map(i32::from_be_bytes);
    match is_first {
        true => Some((session, 0)),
        false => int(8).filter(|op| is_write(*op)).and_then(|_| Some((session, int(4)?))),
    }
}

/// Whether a leader's packet was not taken any more by who was killed, and then had this.
fn is_lost(packet: &Bytes, kept: Zxid) -> bool {
    let parsed = QuorumPacket::parse(packet, MOST_BYTES).ok().flatten();
    parsed.is_some_and(|(packet, _)| {
        let kind = PacketType::from_i32(packet.kind);
        let is_of_txn =
            matches!(kind, Some(PacketType::Proposal | PacketType::Commit | PacketType::Inform));
        is_of_txn && packet.zxid > kept
    })
}
