//! The network: connections as pairs of byte lanes with delay, bandwidth, partitions and every
//! way to break.
//!
//! A lane keeps order and loses nothing as long as its connection lives, as TCP does. A blocked
//! direction holds its bytes back; they arrive when it opens again, or never.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, Time};

use super::Happening;
use super::agenda::Agenda;

/// `AwaitWritable` is answered below this backlog.
const LOW_MARK_BYTES: usize = 256 << 10;
/// A connection whose lane holds more is cut off, as the runtimes do.
const BACKLOG_LIMIT_BYTES: usize = 64 << 20;
/// A lost first packet is sent again after this, ms.
const RETRY_MS: u64 = 1000;

/// A machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Host {
    /// The server of this index.
    Server(usize),
    /// The client of this index.
    Client(usize),
    /// Somebody who sends bytes of his own, of this index.
    Stranger(usize),
}

/// How good the network is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Weather {
    /// The least delay of a packet, µs.
    pub delay_us: u64,
    /// At most this much more, µs.
    pub jitter_us: u64,
    /// How many packets of a thousand are lost and sent again.
    pub loss_permille: u32,
    /// How many chunks of a thousand arrive in two pieces.
    pub split_permille: u32,
    /// Bytes a second and direction.
    pub bandwidth: u64,
}

/// One end of a connection, as its process knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) host: Host,
    pub(crate) conn: ConnId,
    is_open: bool,
}

#[derive(Debug, Default)]
struct Lane {
    chunks: VecDeque<(Time, Bytes)>,
    /// When the end of the stream arrives.
    fin: Option<Time>,
    /// When the last byte arrives.
    last: Time,
    backlog: usize,
    is_paused: bool,
    is_awaited: bool,
    /// It has a place on the agenda.
    is_noted: bool,
}

#[derive(Debug)]
struct Link {
    port: Port,
    /// The dialler and the acceptor.
    ends: [End; 2],
    /// From the dialler and from the acceptor.
    lanes: [Lane; 2],
    /// Dialling ends in vain then.
    until: Time,
}

/// Where a connection is: its number, and which end of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) link: u64,
    pub(crate) side: usize,
}

/// What reaches a process.
#[derive(Debug)]
pub(crate) enum Arrival {
    Dialled { place: Place, port: Port, from: Host },
    Opened { port: Port, peer: Host },
    Bytes(Bytes),
    Writable,
    Closed,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Network {
    links: BTreeMap<u64, Link>,
    made: u64,
    rng: Rng,
    weather: Weather,
    /// Parts of the jitter that are told, not drawn.
    jitters: VecDeque<u8>,
    /// Directions in which nothing passes.
    blocked: BTreeSet<(Host, Host)>,
    /// Directions in which bytes wait until they are asked for; connections are made, though.
    held: BTreeSet<(Host, Host)>,
    /// Directions with this many times the delay.
    slow: BTreeMap<(Host, Host), u64>,
}

impl Network {
    pub(crate) fn new(weather: Weather, jitters: Vec<u8>, rng: Rng) -> Network {
        let (links, blocked, slow) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let held = BTreeSet::new();
        Network { links, made: 0, rng, weather, jitters: jitters.into(), blocked, held, slow }
    }

    /// A process dials; what comes of it is an arrival.
    pub(crate) fn dial(
        &mut self,
        now: Time,
        agenda: &mut Agenda<Happening>,
        (from, conn): (Host, ConnId),
        (to, port): (Host, Port),
        limit_ms: u64,
    ) -> Place {
        self.made += 1;
        let link = self.made;
        let ends = [
            End { host: from, conn, is_open: true },
            End { host: to, conn: ConnId::accepted(0), is_open: false },
        ];
        let until = now.plus_ms(limit_ms);
        self.links.insert(link, Link { port, ends, lanes: Default::default(), until });
        agenda.note(self.arrival(now, from, to, 0), Happening::Dial { link });
        Place { link, side: 0 }
    }

    /// The first packet of a connection arrives. `is_up`: somebody listens there;
    /// `is_powered`: or says at least that nobody does.
    pub(crate) fn dialled(
        &mut self,
        now: Time,
        agenda: &mut Agenda<Happening>,
        link: u64,
        is_up: bool,
        is_powered: bool,
    ) -> Option<(Host, Arrival)> {
        let known = self.links.get(&link)?;
        let (from, to, port) = (known.ends[0].host, known.ends[1].host, known.port);
        if !known.ends[0].is_open {
            self.links.remove(&link);
            return None;
        }
        if self.is_blocked(from, to) || self.is_blocked(to, from) || !is_powered {
            let again = now.plus_ms(RETRY_MS);
            if again < known.until {
                agenda.note(again, Happening::Dial { link });
            } else {
                self.end_lane(known.until.max(now), agenda, Place { link, side: 1 });
            }
            return None;
        }
        let back = self.arrival(now, to, from, 0);
        if !is_up {
            self.end_lane(back, agenda, Place { link, side: 1 });
            return None;
        }
        // What the acceptor sends cannot overtake the news that it accepted.
        if let Some(known) = self.links.get_mut(&link) {
            known.ends[1].is_open = true;
            known.lanes[1].last = back;
        }
        agenda.note(back, Happening::Accepted { link });
        Some((to, Arrival::Dialled { place: Place { link, side: 1 }, port, from }))
    }

    /// The dialler learns that it is connected.
    pub(crate) fn accepted(&mut self, link: u64) -> Option<(End, Arrival)> {
        let link = self.links.get(&link)?;
        let opened = Arrival::Opened { port: link.port, peer: link.ends[1].host };
        link.ends[0].is_open.then_some((link.ends[0], opened))
    }

    /// The acceptor's process names its end.
    pub(crate) fn name(&mut self, place: Place, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&place.link) {
            link.ends[place.side].conn = conn;
        }
    }

    /// Sends. False: too much piles up.
    #[must_use]
    pub(crate) fn send(
        &mut self,
        now: Time,
        agenda: &mut Agenda<Happening>,
        place: Place,
        bytes: Bytes,
    ) -> bool {
        let Some(link) = self.links.get(&place.link) else { return true };
        let (from, to) = (link.ends[place.side].host, link.ends[1 - place.side].host);
        let due = self.arrival(now, from, to, bytes.len());
        let Some(link) = self.links.get_mut(&place.link) else { return true };
        let lane = &mut link.lanes[place.side];
        lane.last = lane.last.max(due);
        lane.backlog += bytes.len();
        lane.chunks.push_back((lane.last, bytes));
        note(agenda, place, lane, lane.last);
        lane.backlog <= BACKLOG_LIMIT_BYTES
    }

    /// Something of a lane is due.
    pub(crate) fn deliver(
        &mut self,
        now: Time,
        agenda: &mut Agenda<Happening>,
        place: Place,
        is_powered: bool,
        arrivals: &mut Vec<(End, Arrival)>,
    ) {
        let Some(link) = self.links.get(&place.link) else { return };
        let (from, to) = (link.ends[place.side], link.ends[1 - place.side]);
        let direction = (from.host, to.host);
        let is_blocked = self.blocked.contains(&direction) || self.held.contains(&direction);
        let Some(link) = self.links.get_mut(&place.link) else { return };
        let lane = &mut link.lanes[place.side];
        lane.is_noted = false;
        // Taken up again when the direction opens, or the reader reads on.
        if is_blocked || (lane.is_paused && to.is_open) {
            return;
        }
        let mut arrived: Option<Bytes> = None;
        while let Some((due, _)) = lane.chunks.front() {
            if *due > now || arrived.as_ref().is_some_and(|b| b.len() > 64 << 10) {
                break;
            }
            let Some((_, mut bytes)) = lane.chunks.pop_front() else { break };
            if bytes.len() > 1 && self.rng.u32(..1000) < self.weather.split_permille {
                let rest = bytes.split_off(self.rng.usize(1..bytes.len()));
                let later = Time(now.0 + 1000 * self.rng.u64(1..=self.weather.delay_us.max(1)));
                lane.chunks.push_front((later, rest));
            }
            lane.backlog -= bytes.len();
            arrived = Some(match arrived {
                None => bytes,
                Some(before) => {
                    let mut both = BytesMut::from(before);
                    both.extend_from_slice(&bytes);
                    both.freeze()
                }
            });
        }
        if let Some(bytes) = arrived {
            if to.is_open {
                arrivals.push((to, Arrival::Bytes(bytes)));
            } else if is_powered && from.is_open && lane.fin.is_none() {
                // Nobody knows of this connection there any more: a reset comes back.
                let back = Place { link: place.link, side: 1 - place.side };
                let at = self.arrival(now, to.host, from.host, 0);
                self.end_lane(at, agenda, back);
            }
        }
        let Some(link) = self.links.get_mut(&place.link) else { return };
        let lane = &mut link.lanes[place.side];
        if lane.is_awaited && lane.backlog < LOW_MARK_BYTES {
            lane.is_awaited = false;
            if from.is_open {
                arrivals.push((from, Arrival::Writable));
            }
        }
        if let Some((due, _)) = lane.chunks.front() {
            let due = *due;
            note(agenda, place, lane, due);
        } else if let Some(fin) = lane.fin {
            if fin > now {
                note(agenda, place, lane, fin);
            } else {
                link.ends[1 - place.side].is_open = false;
                if to.is_open {
                    arrivals.push((to, Arrival::Closed));
                }
                if !link.ends[place.side].is_open {
                    self.links.remove(&place.link);
                }
            }
        }
    }

    /// A process closes its end; what it sent still arrives.
    pub(crate) fn close(&mut self, now: Time, agenda: &mut Agenda<Happening>, place: Place) {
        let Some(link) = self.links.get_mut(&place.link) else { return };
        link.ends[place.side].is_open = false;
        link.lanes[1 - place.side].chunks.clear();
        if !link.ends[1 - place.side].is_open && place.side == 1 {
            self.links.remove(&place.link);
            return;
        }
        let (from, to) = (link.ends[place.side].host, link.ends[1 - place.side].host);
        let at = self.arrival(now, from, to, 0);
        self.end_lane(at, agenda, place);
    }

    /// All of a process's connections end with it. `is_power_loss`: without a word, and what
    /// it has not yet brought onto the wire is lost.
    pub(crate) fn die(
        &mut self,
        now: Time,
        agenda: &mut Agenda<Happening>,
        host: Host,
        is_power_loss: bool,
    ) {
        for place in self.places(|ends, side| ends[side].host == host && ends[side].is_open) {
            let Some(link) = self.links.get_mut(&place.link) else { continue };
            link.ends[place.side].is_open = false;
            link.lanes[1 - place.side].chunks.clear();
            let lane = &mut link.lanes[place.side];
            let kept = self.rng.usize(..=lane.chunks.len());
            if is_power_loss || self.rng.bool() {
                lane.chunks.truncate(kept);
                lane.last = lane.chunks.back().map_or(now, |(due, _)| *due);
            }
            if !is_power_loss {
                let (from, to) = (link.ends[place.side].host, link.ends[1 - place.side].host);
                let at = self.arrival(now, from, to, 0);
                self.end_lane(at, agenda, place);
            }
        }
    }

    /// Resets all connections between two machines.
    pub(crate) fn cut(&mut self, now: Time, agenda: &mut Agenda<Happening>, a: Host, b: Host) {
        let between = |ends: &[End; 2], side: usize| {
            ends[side].host == a && ends[1 - side].host == b && ends[side].is_open
        };
        for place in self.places(between) {
            for side in [0, 1] {
                self.end_lane(now, agenda, Place { side, ..place });
            }
        }
    }

    /// Reads no more.
    pub(crate) fn pause(&mut self, place: Place) {
        if let Some(link) = self.links.get_mut(&place.link) {
            link.lanes[1 - place.side].is_paused = true;
        }
    }

    /// Reads on.
    pub(crate) fn resume(&mut self, now: Time, agenda: &mut Agenda<Happening>, place: Place) {
        if let Some(link) = self.links.get_mut(&place.link) {
            let lane = &mut link.lanes[1 - place.side];
            lane.is_paused = false;
            note(agenda, Place { side: 1 - place.side, ..place }, lane, now);
        }
    }

    /// Says so when the backlog is small; true if it is already.
    pub(crate) fn await_writable(&mut self, place: Place) -> bool {
        let Some(link) = self.links.get_mut(&place.link) else { return false };
        let lane = &mut link.lanes[place.side];
        let is_small = lane.backlog < LOW_MARK_BYTES;
        lane.is_awaited = !is_small;
        is_small
    }

    /// Whose end this is.
    pub(crate) fn host(&self, place: Place) -> Option<Host> {
        self.end(place).map(|end| end.host)
    }

    /// The port that was dialled, this end's machine, and the other's.
    pub(crate) fn ends(&self, place: Place) -> Option<(Port, Host, Host)> {
        let link = self.links.get(&place.link)?;
        Some((link.port, link.ends[place.side].host, link.ends[1 - place.side].host))
    }

    /// Who holds this end, if it is open.
    pub(crate) fn end(&self, place: Place) -> Option<End> {
        self.links.get(&place.link).map(|link| link.ends[place.side])
    }

    /// Nothing passes in this direction any more.
    pub(crate) fn block(&mut self, from: Host, to: Host) {
        self.blocked.insert((from, to));
    }

    /// It passes again, and what was held back arrives after a while.
    pub(crate) fn unblock(
        &mut self,
        now: Time,
        agenda: &mut Agenda<Happening>,
        from: Host,
        to: Host,
    ) {
        if !self.blocked.remove(&(from, to)) {
            return;
        }
        for place in self.between(from, to) {
            let at = Time(now.0 + 1000 * self.rng.u64(..=200_000));
            if let Some(link) = self.links.get_mut(&place.link) {
                note(agenda, place, &mut link.lanes[place.side], at);
            }
        }
    }

    /// What is sent in this direction waits.
    pub(crate) fn hold(&mut self, from: Host, to: Host) {
        self.held.insert((from, to));
    }

    /// It passes again, at once.
    pub(crate) fn release(
        &mut self,
        now: Time,
        agenda: &mut Agenda<Happening>,
        from: Host,
        to: Host,
    ) {
        if self.held.remove(&(from, to)) {
            for place in self.between(from, to) {
                if let Some(link) = self.links.get_mut(&place.link) {
                    note(agenda, place, &mut link.lanes[place.side], now);
                }
            }
        }
    }

    /// Of what waits in this direction, takes the message that was sent first; `length` says
    /// where it ends.
    pub(crate) fn take_held(
        &mut self,
        from: Host,
        to: Host,
        length: impl Fn(Port, &Bytes) -> usize,
    ) -> Option<(Place, Port, End, Bytes)> {
        let due = |place: &Place| {
            let lane = &self.links.get(&place.link)?.lanes[place.side];
            lane.chunks.front().map(|(due, _)| *due)
        };
        let waiting = self.between(from, to).into_iter().filter(|place| due(place).is_some());
        let place = waiting.min_by_key(|place| due(place))?;
        let link = self.links.get_mut(&place.link)?;
        let (port, end) = (link.port, link.ends[1 - place.side]);
        let lane = &mut link.lanes[place.side];
        let (first, _) = *lane.chunks.front()?;
        let mut all = BytesMut::new();
        lane.chunks.drain(..).for_each(|(_, bytes)| all.extend_from_slice(&bytes));
        let mut message = all.freeze();
        let rest = message.split_off(length(port, &message).clamp(1, message.len()));
        lane.backlog -= message.len();
        if !rest.is_empty() {
            lane.chunks.push_back((first, rest));
        }
        Some((place, port, end, message))
    }

    fn between(&self, from: Host, to: Host) -> Vec<Place> {
        self.places(|ends, side| ends[side].host == from && ends[1 - side].host == to)
    }

    /// From now on this direction takes that many times as long; 1: as always.
    pub(crate) fn slow(&mut self, from: Host, to: Host, factor: u64) {
        if factor > 1 {
            self.slow.insert((from, to), factor);
        } else {
            self.slow.remove(&(from, to));
        }
    }

    fn is_blocked(&self, from: Host, to: Host) -> bool {
        self.blocked.contains(&(from, to))
    }

    fn places(&self, wanted: impl Fn(&[End; 2], usize) -> bool) -> Vec<Place> {
        let sides = self.links.iter().flat_map(|(link, known)| {
            [0, 1].map(|side| (Place { link: *link, side }, &known.ends))
        });
        sides.filter(|(place, ends)| wanted(ends, place.side)).map(|(place, _)| place).collect()
    }

    /// The stream from this side ends, not before `at` and not before what was sent.
    fn end_lane(&mut self, at: Time, agenda: &mut Agenda<Happening>, place: Place) {
        let Some(link) = self.links.get_mut(&place.link) else { return };
        let lane = &mut link.lanes[place.side];
        if lane.fin.is_none() {
            lane.fin = Some(lane.last.max(at));
            note(agenda, place, lane, lane.last.max(at));
        }
    }

    /// When what is sent now arrives.
    fn arrival(&mut self, now: Time, from: Host, to: Host, len: usize) -> Time {
        let Weather { delay_us, jitter_us, loss_permille, bandwidth, .. } = self.weather;
        let jitter_us = match self.jitters.pop_front() {
            Some(part) => jitter_us * u64::from(part) / 255,
            None => self.rng.u64(..=jitter_us),
        };
        let mut us = delay_us + jitter_us;
        if self.rng.u32(..1000) < loss_permille {
            us += 200_000;
        }
        us *= self.slow.get(&(from, to)).copied().unwrap_or(1);
        us += (len as u64).saturating_mul(1_000_000) / bandwidth.max(1);
        Time(now.0 + us * 1000)
    }
}

fn note(agenda: &mut Agenda<Happening>, place: Place, lane: &mut Lane, at: Time) {
    if !std::mem::replace(&mut lane.is_noted, true) {
        agenda.note(at, Happening::Lane { place });
    }
}
