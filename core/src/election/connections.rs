//! The election's connections (`QuorumCnxManager`): one for each pair of servers. The server with
//! the larger id dials it; the other one only dials to ask to be called back.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::Arc;

use core::net::IpAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::claims::{Claims, asks_as};
use super::hello::Hello;
use crate::action::{Action, Actions, Reason};
use crate::event::Port;
use crate::quorum::Membership;
use crate::types::{ConnId, DialIds, HostPort, ServerId, Time};

/// The longest notification (`PACKETMAXSIZE`).
const MAX_MESSAGE: usize = 512 * 1024;
/// Connections without a complete hello.
const MAX_UNIDENTIFIED: usize = 64;
/// Links to servers outside the configuration.
const MAX_NONMEMBERS: usize = 64;
/// The time that a peer has to call back before it is asked again, ms.
const CALL_BACK_MS: u64 = 200;
/// Dials to find out whether a peer is down, within that time. A process that is about to end
/// accepts connections until it closes its port: these break, and only the next one is refused.
const MAX_PROBES: u32 = 3;

/// Connections that claim to be of one member.
const MAX_CLAIMS: usize = 4;

/// A message that arrived.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) from: ServerId,
    pub(super) payload: Bytes,
    /// Whether it arrived on a connection that this server dialled to the member's configured
    /// address.
    pub(super) proven: bool,
    /// Whether it answers a question of this server.
    pub(super) answer: bool,
}

#[derive(Debug)]
enum Link {
    /// Dialled, not open yet.
    Dialling { to: ServerId, until: Time },
    /// A member that was connected before is asked to call back. It closes this connection then, or
    /// when it ends.
    AwaitingCallback { to: ServerId, until: Time },
    /// Accepted, the hello is not complete.
    Greeting { buffer: BytesMut, until: Time, ip: IpAddr },
    /// Carries messages.
    Open { peer: ServerId, buffer: BytesMut },
    /// Dialled to a member's configured address for its vote: the question, until the connection is
    /// open, then the answer.
    Asking { of: ServerId, question: Bytes, buffer: BytesMut, until: Time },
}

/// All connections of one server's election port.
#[derive(Debug)]
pub(super) struct Connections {
    me: ServerId,
    /// The address at which this server can be called back, from the last configuration that had
    /// it.
    own: Option<HostPort>,
    members: Arc<Membership>,
    handshake_ms: u64,
    links: BTreeMap<ConnId, Link>,
    by_peer: BTreeMap<ServerId, ConnId>,
    /// Members, with or without a connection.
    peers: BTreeMap<ServerId, Peer>,
    dial_ids: DialIds,
}

/// A member, whether there is a connection with it or not.
#[derive(Debug, Default)]
struct Peer {
    /// The last message to it: sent again on a new connection.
    last: Option<Bytes>,
    /// Dial attempts, to take turns among its addresses.
    attempts: usize,
    /// It was asked to call back, and may be asked again at this time.
    asked_until: Option<Time>,
    /// Probes: since when they are counted, and their number.
    probes: Option<(Time, u32)>,
    reachability: Reachability,
    /// When it was last dialled although there is a connection with it.
    redialled: Option<Time>,
    claims: Claims,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Reachability {
    /// Never connected.
    #[default]
    Unknown,
    /// Connected before, and every dial since has reached it.
    Up,
    /// Connected before, and the last dial has failed.
    Down,
}

impl Connections {
    pub(super) fn new(me: ServerId, members: Arc<Membership>, handshake_ms: u64) -> Connections {
        Connections {
            me,
            own: address_of(me, &members),
            members,
            handshake_ms,
            links: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            peers: BTreeMap::new(),
            dial_ids: DialIds::ELECTION,
        }
    }

    /// Replaces the members. Links stay: a removed server may ask for the leader.
    pub(super) fn set_members(&mut self, members: Arc<Membership>) {
        self.own = address_of(self.me, &members).or(self.own.take());
        self.peers.retain(|id, _| members.member(*id).is_some());
        self.members = members;
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.links.contains_key(&conn)
    }

    /// Sends to a peer, and dials it if there is no connection. A message that waits for the
    /// connection replaces an earlier one. No message waits for a server outside the configuration.
    pub(super) fn send(&mut self, now: Time, to: ServerId, message: &Bytes, out: &mut Actions) {
        if self.is_member(to) {
            self.peers.entry(to).or_default().last = Some(message.clone());
        }
        if self.by_peer.contains_key(&to) {
            self.links_of(to).for_each(|conn| send_framed(conn, message, out));
        } else {
            self.dial(now, to, out);
        }
    }

    /// All connections that claim to be of a peer; usually one.
    fn links_of(&self, peer: ServerId) -> impl Iterator<Item = ConnId> + '_ {
        let of = move |link: &Link| matches!(link, Link::Open { peer: p, .. } if *p == peer);
        self.links.iter().filter(move |(_, link)| of(link)).map(|(conn, _)| *conn)
    }

    /// Sends to a peer that is connected. The message is not kept for a later connection: a peer
    /// that connects later asks for the vote of that time.
    pub(super) fn announce(&mut self, to: ServerId, message: &Bytes, out: &mut Actions) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.last = None;
        }
        self.links_of(to).for_each(|conn| send_framed(conn, message, out));
    }

    /// The claims of connections to be of a member.
    pub(super) fn claims(&mut self, member: ServerId) -> Option<&mut Claims> {
        self.members.member(member)?;
        Some(&mut self.peers.entry(member).or_default().claims)
    }

    /// Asks a member for its vote at its configured address, at most once in an interval.
    pub(super) fn ask(&mut self, now: Time, of: ServerId, question: &Bytes, out: &mut Actions) {
        if of == self.me || !self.claims(of).is_some_and(|claims| claims.may_ask(now)) {
            return;
        }
        let asking = |l: &Link| matches!(l, Link::Asking { of: o, .. } if *o == of);
        if self.links.values().any(asking) {
            return;
        }
        let Some(to) = self.next_address(of) else { return };
        let (question, until) = (question.clone(), now.plus_ms(self.handshake_ms));
        let link = Link::Asking { of, question, buffer: BytesMut::new(), until };
        self.begin_dial(link, to, out);
    }

    /// The next of a member's addresses, in turn.
    fn next_address(&mut self, to: ServerId) -> Option<HostPort> {
        let member = self.members.member(to)?;
        let peer = self.peers.entry(to).or_default();
        let turn = peer.attempts % member.addresses.len().max(1);
        peer.attempts = peer.attempts.wrapping_add(1);
        member.addresses.get(turn).map(|a| a.election.clone())
    }

    fn begin_dial(&mut self, link: Link, to: HostPort, out: &mut Actions) {
        let conn = self.dial_ids.next();
        self.links.insert(conn, link);
        out.push(Action::Dial { conn, port: Port::Election, to });
    }

    /// Dials a member that is not connected, unless it is being dialled or was asked to call back.
    fn dial(&mut self, now: Time, to: ServerId, out: &mut Actions) {
        let asked_until = self.peers.get(&to).and_then(|peer| peer.asked_until);
        if asked_until.is_some_and(|until| now < until) || self.by_peer.contains_key(&to) {
            return;
        }
        self.dial_member(now, to, out);
    }

    fn dial_member(&mut self, now: Time, to: ServerId, out: &mut Actions) {
        if !self.is_dialling(to)
            && let Some(address) = self.next_address(to)
        {
            let until = now.plus_ms(self.handshake_ms);
            self.begin_dial(Link::Dialling { to, until }, address, out);
        }
    }

    fn is_dialling(&self, to: ServerId) -> bool {
        self.links.values().any(|l| matches!(l, Link::Dialling { to: t, .. } if *t == to))
    }

    pub(super) fn opened(&mut self, now: Time, conn: ConnId, ip: IpAddr, out: &mut Actions) {
        if let Some(Link::Asking { question, .. }) = self.links.get_mut(&conn) {
            let question = core::mem::take(question);
            let hello = Hello { from: asks_as(self.me), address: self.own.clone() };
            out.push(Action::Send { conn, bytes: hello.encode() });
            return send_framed(conn, &question, out);
        }
        if let Some(Link::Dialling { to, until }) = self.links.get(&conn) {
            let (to, until) = (*to, *until);
            self.dialled(to, Reachability::Up);
            if to > self.me && self.by_peer.contains_key(&to) {
                // The peer has connected meanwhile; a hello would make it connect again.
                return self.drop_link(conn, Reason::Done, out);
            }
            let hello = Hello { from: self.me, address: self.own.clone() };
            out.push(Action::Send { conn, bytes: hello.encode() });
            if to > self.me {
                // The hello only asks to be called back.
                let peer = self.peers.get_mut(&to);
                let was_there = peer.is_some_and(|peer| {
                    peer.asked_until = Some(now.plus_ms(CALL_BACK_MS));
                    peer.reachability != Reachability::Unknown
                });
                if was_there {
                    self.links.insert(conn, Link::AwaitingCallback { to, until });
                } else {
                    self.drop_link(conn, Reason::Done, out);
                }
            } else {
                self.establish(conn, to, BytesMut::new(), out);
            }
            return;
        }
        let unidentified =
            self.links.values().filter(|l| matches!(l, Link::Greeting { .. })).count();
        if unidentified >= MAX_UNIDENTIFIED {
            // The oldest one has had the longest time for its hello.
            let oldest = self.links.iter().find(|(_, l)| matches!(l, Link::Greeting { .. }));
            if let Some(oldest) = oldest.map(|(conn, _)| *conn) {
                self.drop_link(oldest, Reason::Limit("connections without a hello"), out);
            }
        }
        let until = now.plus_ms(self.handshake_ms);
        self.links.insert(conn, Link::Greeting { buffer: BytesMut::new(), until, ip });
    }

    pub(super) fn received(
        &mut self,
        now: Time,
        conn: ConnId,
        bytes: &Bytes,
        messages: &mut alloc::vec::Vec<Incoming>,
        out: &mut Actions,
    ) {
        match self.links.get_mut(&conn) {
            None | Some(Link::Dialling { .. } | Link::AwaitingCallback { .. }) => return,
            Some(Link::Open { buffer, .. }) => buffer.extend_from_slice(bytes),
            Some(Link::Asking { of, buffer, .. }) => {
                buffer.extend_from_slice(bytes);
                let from = *of;
                return match take_message(buffer) {
                    Ok(None) => {}
                    Ok(Some(payload)) => {
                        self.drop_link(conn, Reason::Done, out);
                        messages.push(Incoming { from, payload, proven: true, answer: true });
                    }
                    Err(what) => self.drop_link(conn, what, out),
                };
            }
            Some(Link::Greeting { buffer, ip, .. }) => {
                buffer.extend_from_slice(bytes);
                let ip = *ip;
                match Hello::take(buffer) {
                    Ok(None) => return,
                    Ok(Some(hello)) => {
                        let rest = core::mem::take(buffer);
                        self.greeted(now, conn, ip, hello, rest, out);
                    }
                    Err(why) => return self.drop_link(conn, why, out),
                }
            }
        }
        let Some(Link::Open { peer, buffer }) = self.links.get_mut(&conn) else { return };
        let (from, proven) = (*peer, conn.is_dialled());
        loop {
            match take_message(buffer) {
                Ok(Some(payload)) => {
                    messages.push(Incoming { from, payload, proven, answer: false });
                }
                Ok(None) => return,
                Err(why) => return self.drop_link(conn, why, out),
            }
        }
    }

    pub(super) fn closed(&mut self, now: Time, conn: ConnId) {
        match self.forget(conn) {
            Some(Link::Dialling { to, .. }) => self.dialled(to, Reachability::Down),
            Some(Link::Asking { of, .. }) => self.unanswered(now, of),
            _ => {}
        }
    }

    /// A member did not answer at its configured address: doubted claims to be it stay doubted.
    fn unanswered(&mut self, now: Time, of: ServerId) {
        if let Some(claims) = self.claims(of).filter(|claims| claims.is_doubted(now)) {
            claims.doubt(now);
        }
    }

    /// A member has answered at its configured address. If only one connection claims to be it,
    /// votes on that connection count.
    pub(super) fn answered(&mut self, of: ServerId) {
        if self.links_of(of).count() <= 1
            && let Some(claims) = self.claims(of)
        {
            claims.trust();
        }
    }

    /// The result of a dial. A peer that was never connected stays unknown: it may be about to
    /// start.
    fn dialled(&mut self, peer: ServerId, reachability: Reachability) {
        let peer = self.peers.get_mut(&peer);
        if let Some(peer) = peer.filter(|peer| peer.reachability != Reachability::Unknown) {
            peer.reachability = reachability;
        }
    }

    /// Dials a member that was connected before and is not now, to find out whether it is down; a
    /// limited number of times.
    pub(super) fn probe(&mut self, now: Time, peer: ServerId, out: &mut Actions) {
        let is_awaited = self
            .links
            .values()
            .any(|l| matches!(l, Link::AwaitingCallback { to, .. } if *to == peer));
        if is_awaited || self.by_peer.contains_key(&peer) {
            return;
        }
        let missed =
            self.peers.get_mut(&peer).filter(|peer| peer.reachability != Reachability::Unknown);
        let Some(missed) = missed else { return };
        let recent = missed.probes.filter(|(since, _)| now.ms_since(*since) < CALL_BACK_MS);
        let (since, probes) = recent.unwrap_or((now, 0));
        missed.probes = Some((since, probes + 1));
        if probes < MAX_PROBES {
            missed.asked_until = None;
            self.dial(now, peer, out);
        }
    }

    fn forget(&mut self, conn: ConnId) -> Option<Link> {
        let link = self.links.remove(&conn);
        if let Some(Link::Open { peer, .. }) = &link
            && self.by_peer.get(peer) == Some(&conn)
        {
            match self.links_of(*peer).last() {
                Some(other) => self.by_peer.insert(*peer, other),
                None => self.by_peer.remove(peer),
            };
        }
        link
    }

    /// Whether a peer is known to be down: its connection has ended, and it could not be reached
    /// again.
    pub(super) fn is_down(&self, peer: ServerId) -> bool {
        let is_down = |peer: &Peer| peer.reachability == Reachability::Down;
        self.peers.get(&peer).is_some_and(is_down) && !self.by_peer.contains_key(&peer)
    }

    /// Gives up on dials and hellos that take too long.
    pub(super) fn tick(&mut self, now: Time, out: &mut Actions) {
        let late = |l: &Link| match l {
            Link::Dialling { until, .. }
            | Link::AwaitingCallback { until, .. }
            | Link::Asking { until, .. }
            | Link::Greeting { until, .. } => *until <= now,
            Link::Open { .. } => false,
        };
        while let Some((conn, link)) = self.links.iter().find(|(_, l)| late(l)) {
            let conn = *conn;
            if let Link::Asking { of, .. } = link {
                self.unanswered(now, *of);
            }
            self.drop_link(conn, Reason::Timeout("election handshake"), out);
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let until = |l: &Link| match l {
            Link::Dialling { until, .. }
            | Link::AwaitingCallback { until, .. }
            | Link::Asking { until, .. }
            | Link::Greeting { until, .. } => Some(*until),
            Link::Open { .. } => None,
        };
        self.links.values().filter_map(until).min()
    }

    fn greeted(
        &mut self,
        now: Time,
        conn: ConnId,
        ip: IpAddr,
        hello: Hello,
        rest: BytesMut,
        out: &mut Actions,
    ) {
        let peer = hello.from;
        if peer == self.me {
            let what = "a peer with this server's id: every member needs a myid of its own";
            return self.drop_link(conn, Reason::Protocol(what), out);
        }
        let is_member = self.is_member(peer);
        if !is_member && self.nonmembers() >= MAX_NONMEMBERS {
            self.close_oldest_nonmember(out);
        }
        if peer > self.me {
            if is_member && self.links_of(peer).next().is_some() {
                return self.claimed_twice(now, conn, peer, rest, out);
            }
            return self.establish(conn, peer, rest, out);
        }
        // A server with a smaller id only asks to be called back.
        self.drop_link(conn, Reason::Done, out);
        if is_member {
            self.call_back(now, peer, out);
        } else if let Some(port) = hello.address.map(|a| a.port)
            && !self.is_dialling(peer)
        {
            // A server outside the configuration is called back at the address that it connected
            // from, and at no other.
            self.by_peer.get(&peer).copied().into_iter().for_each(|old| {
                self.drop_link(old, Reason::Replaced, out);
            });
            let until = now.plus_ms(self.handshake_ms);
            let address = HostPort::new(&ip.to_string(), port);
            self.begin_dial(Link::Dialling { to: peer, until }, address, out);
        }
    }

    /// A member with a smaller id asks to be called back: at its configured address. An existing
    /// connection with it stays until the new one is open.
    fn call_back(&mut self, now: Time, peer: ServerId, out: &mut Actions) {
        if self.by_peer.contains_key(&peer) {
            let known = self.peers.entry(peer).or_default();
            if known.redialled.is_some_and(|at| now.ms_since(at) < CALL_BACK_MS) {
                return;
            }
            known.redialled = Some(now);
        }
        self.dial_member(now, peer, out);
    }

    /// A further connection claims to be of a member with a larger id. This server cannot tell
    /// which claim is true: it sends its votes to all of them, and counts none of theirs until the
    /// member has answered at its configured address.
    fn claimed_twice(
        &mut self,
        now: Time,
        conn: ConnId,
        peer: ServerId,
        rest: BytesMut,
        out: &mut Actions,
    ) {
        let links: alloc::vec::Vec<ConnId> = self.links_of(peer).collect();
        if let Some(second) = links.get(1).filter(|_| links.len() >= MAX_CLAIMS) {
            self.drop_link(*second, Reason::Limit("election connections of one member"), out);
        }
        let known = self.peers.entry(peer).or_default();
        known.claims.doubt(now);
        let last = known.last.clone();
        self.links.insert(conn, Link::Open { peer, buffer: rest });
        if let Some(last) = last {
            send_framed(conn, &last, out);
        }
    }

    /// Closes the oldest link with a server outside the configuration.
    fn close_oldest_nonmember(&mut self, out: &mut Actions) {
        let is_nonmember = |link: &Link| match link {
            Link::Open { peer, .. } => !self.is_member(*peer),
            _ => false,
        };
        let oldest = self.links.iter().find(|(_, link)| is_nonmember(link)).map(|(conn, _)| *conn);
        if let Some(oldest) = oldest {
            let why = "election connections of servers outside the configuration";
            self.drop_link(oldest, Reason::Limit(why), out);
        }
    }

    fn is_member(&self, id: ServerId) -> bool {
        self.members.member(id).is_some()
    }

    /// The number of links with servers outside the configuration.
    fn nonmembers(&self) -> usize {
        let peer = |link: &Link| match link {
            Link::Dialling { to: peer, .. }
            | Link::AwaitingCallback { to: peer, .. }
            | Link::Open { peer, .. } => Some(*peer),
            Link::Greeting { .. } | Link::Asking { .. } => None,
        };
        self.links.values().filter_map(peer).filter(|peer| !self.is_member(*peer)).count()
    }

    fn establish(&mut self, conn: ConnId, peer: ServerId, buffer: BytesMut, out: &mut Actions) {
        if let Some(old) = self.by_peer.get(&peer).copied().filter(|old| *old != conn) {
            self.drop_link(old, Reason::Replaced, out);
        }
        self.links.insert(conn, Link::Open { peer, buffer });
        self.by_peer.insert(peer, conn);
        if !self.is_member(peer) {
            return;
        }
        let peer = self.peers.entry(peer).or_default();
        (peer.asked_until, peer.reachability) = (None, Reachability::Up);
        if let Some(last) = &peer.last {
            send_framed(conn, last, out);
        }
    }

    fn drop_link(&mut self, conn: ConnId, why: Reason, out: &mut Actions) {
        self.forget(conn);
        out.push(Action::Close { conn, why });
    }
}

fn address_of(id: ServerId, members: &Membership) -> Option<HostPort> {
    members.member(id)?.addresses.first().map(|a| a.election.clone())
}

fn take_message(buffer: &mut BytesMut) -> Result<Option<Bytes>, Reason> {
    let Some(said) = buffer.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)) else {
        return Ok(None);
    };
    let length = usize::try_from(said).unwrap_or(0);
    if length == 0 {
        return Err(Reason::Protocol("impossible length of a notification"));
    }
    if length > MAX_MESSAGE {
        let what = "an election notification beyond the limit for all servers";
        return Err(Reason::TooLong { what, length: said, limit: MAX_MESSAGE });
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

fn send_framed(conn: ConnId, message: &Bytes, out: &mut Actions) {
    let mut framed = BytesMut::with_capacity(4 + message.len());
    framed.put_i32(message.len() as i32);
    framed.put_slice(message);
    out.push(Action::Send { conn, bytes: framed.freeze() });
}
