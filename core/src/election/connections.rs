//! The election's connections (`QuorumCnxManager`): one for each pair of servers, which the
//! one with the larger id dials and keeps.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::hello::Hello;
use crate::action::{Action, Actions, Reason};
use crate::event::Port;
use crate::quorum::Membership;
use crate::types::{ConnId, HostPort, ServerId, Time};

/// The longest notification (`PACKETMAXSIZE`).
const MAX_MESSAGE: usize = 512 * 1024;
/// Connections that have not said yet who they are, and links to servers outside the
/// configuration, are bounded.
const MAX_STRANGERS: usize = 64;
/// How long a peer that was asked to call back is given before it is asked again.
const CALL_BACK_MS: u64 = 200;
/// How often a peer is looked for in that time. A process that is about to end accepts connections
/// until it closes its port; then they break, and the next one is refused.
const LOOKS: u32 = 3;

/// A message that arrived, and from whom.
pub(super) type Incoming = (ServerId, Bytes);

#[derive(Debug)]
enum Link {
    /// Dialled, not open yet.
    Dialling { to: ServerId, until: Time },
    /// A member that was there is asked to call back. It closes this then, or because it ends.
    Asked { to: ServerId, until: Time },
    /// Accepted, the hello is not complete.
    Greeting { buffer: BytesMut, until: Time },
    /// Carries messages.
    Open { peer: ServerId, buffer: BytesMut },
}

/// All connections of one server's election port.
#[derive(Debug)]
pub(super) struct Connections {
    me: ServerId,
    /// Where this server can be called back, as the last configuration said that had it.
    own: Option<HostPort>,
    members: Arc<Membership>,
    handshake_ms: u64,
    links: BTreeMap<ConnId, Link>,
    by_peer: BTreeMap<ServerId, ConnId>,
    /// What is known of members.
    peers: BTreeMap<ServerId, Peer>,
    /// Dial attempts in all, for the connection ids.
    dials: u64,
}

/// A member, whether there is a connection with it or not.
#[derive(Debug, Default)]
struct Peer {
    /// The last message to it: said again on a new connection.
    last: Option<Bytes>,
    /// Dial attempts, to take turns among its addresses.
    attempts: usize,
    /// It was asked to call back, and may be asked again then.
    asked_until: Option<Time>,
    /// It was looked for, since when and how often.
    looked_for: Option<(Time, u32)>,
    presence: Presence,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Presence {
    /// There was no connection with it yet.
    #[default]
    Unknown,
    /// There was one, and whoever dialled it since has reached it.
    There,
    /// There was one, and it could not be reached when it was dialled last.
    Gone,
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
            dials: 0,
        }
    }

    /// Others are members now. Links stay: who has left may ask who leads.
    pub(super) fn set_members(&mut self, members: Arc<Membership>) {
        self.own = address_of(self.me, &members).or(self.own.take());
        self.peers.retain(|id, _| members.member(*id).is_some());
        self.members = members;
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.links.contains_key(&conn)
    }

    /// Sends to a peer, dialling it if there is no connection. A message that cannot be sent
    /// yet replaces the one that waited before it. Nothing waits for a server outside the
    /// configuration.
    pub(super) fn send(&mut self, now: Time, to: ServerId, message: &Bytes, out: &mut Actions) {
        if self.is_member(to) {
            self.peers.entry(to).or_default().last = Some(message.clone());
        }
        match self.by_peer.get(&to) {
            Some(conn) => send_framed(*conn, message, out),
            None => self.dial(now, to, out),
        }
    }

    /// Sends to a peer that there is a connection with. What it was told before it is not told
    /// again: who connects later asks, and learns what is so then.
    pub(super) fn announce(&mut self, to: ServerId, message: &Bytes, out: &mut Actions) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.last = None;
        }
        if let Some(conn) = self.by_peer.get(&to) {
            send_framed(*conn, message, out);
        }
    }

    /// Dials a member that there is no connection with, unless that is under way.
    fn dial(&mut self, now: Time, to: ServerId, out: &mut Actions) {
        let Some(member) = self.members.member(to) else { return };
        let peer = self.peers.entry(to).or_default();
        if peer.asked_until.is_some_and(|until| now < until) {
            return;
        }
        let turn = peer.attempts % member.addresses.len().max(1);
        let Some(address) = member.addresses.get(turn).map(|a| a.election.clone()) else { return };
        peer.attempts = peer.attempts.wrapping_add(1);
        self.dial_at(now, to, address, out);
    }

    fn dial_at(&mut self, now: Time, to: ServerId, address: HostPort, out: &mut Actions) {
        let dialling =
            self.links.values().any(|l| matches!(l, Link::Dialling { to: t, .. } if *t == to));
        if dialling || self.by_peer.contains_key(&to) {
            return;
        }
        self.dials += 1;
        let conn = ConnId::dialled(self.dials * 2);
        let until = now.plus_ms(self.handshake_ms);
        self.links.insert(conn, Link::Dialling { to, until });
        out.push(Action::Dial { conn, port: Port::Election, to: address });
    }

    pub(super) fn opened(&mut self, now: Time, conn: ConnId, out: &mut Actions) {
        if let Some(Link::Dialling { to, until }) = self.links.get(&conn) {
            let (to, until) = (*to, *until);
            self.reached(to, Presence::There);
            if to > self.me && self.by_peer.contains_key(&to) {
                // It called in the meantime; a hello would make it do so again.
                return self.drop_link(conn, Reason::Done, out);
            }
            let hello = Hello { from: self.me, address: self.own.clone() };
            out.push(Action::Send { conn, bytes: hello.encode() });
            if to > self.me {
                // The hello only asks to be called back.
                let peer = self.peers.get_mut(&to);
                let was_there = peer.is_some_and(|peer| {
                    peer.asked_until = Some(now.plus_ms(CALL_BACK_MS));
                    peer.presence != Presence::Unknown
                });
                if was_there {
                    self.links.insert(conn, Link::Asked { to, until });
                } else {
                    self.drop_link(conn, Reason::Done, out);
                }
            } else {
                self.establish(conn, to, BytesMut::new(), out);
            }
            return;
        }
        let strangers = self.links.values().filter(|l| matches!(l, Link::Greeting { .. })).count();
        if strangers >= MAX_STRANGERS {
            // The oldest has had the longest time to say who it is.
            let oldest = self.links.iter().find(|(_, l)| matches!(l, Link::Greeting { .. }));
            if let Some(oldest) = oldest.map(|(conn, _)| *conn) {
                self.drop_link(oldest, Reason::Limit("connections without a hello"), out);
            }
        }
        let until = now.plus_ms(self.handshake_ms);
        self.links.insert(conn, Link::Greeting { buffer: BytesMut::new(), until });
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
            None | Some(Link::Dialling { .. } | Link::Asked { .. }) => return,
            Some(Link::Open { buffer, .. }) => buffer.extend_from_slice(bytes),
            Some(Link::Greeting { buffer, .. }) => {
                buffer.extend_from_slice(bytes);
                match Hello::take(buffer) {
                    Ok(None) => return,
                    Ok(Some(hello)) => {
                        let rest = core::mem::take(buffer);
                        self.greeted(now, conn, hello, rest, out);
                    }
                    Err(why) => return self.drop_link(conn, why, out),
                }
            }
        }
        let Some(Link::Open { peer, buffer }) = self.links.get_mut(&conn) else { return };
        let peer = *peer;
        loop {
            match take_message(buffer) {
                Ok(Some(message)) => messages.push((peer, message)),
                Ok(None) => return,
                Err(why) => return self.drop_link(conn, why, out),
            }
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        if let Some(Link::Dialling { to, .. }) = self.forget(conn) {
            self.reached(to, Presence::Gone);
        }
    }

    /// A peer was dialled. Of one that was never heard of it is not asked whether it is there: it may be
    /// about to begin.
    fn reached(&mut self, peer: ServerId, presence: Presence) {
        let peer = self.peers.get_mut(&peer);
        if let Some(peer) = peer.filter(|peer| peer.presence != Presence::Unknown) {
            peer.presence = presence;
        }
    }

    /// Dials a member that was there, and that there is no connection with, to find out whether it
    /// is gone; not over and over.
    pub(super) fn look_for(&mut self, now: Time, peer: ServerId, out: &mut Actions) {
        let is_asked =
            self.links.values().any(|l| matches!(l, Link::Asked { to, .. } if *to == peer));
        if is_asked || self.by_peer.contains_key(&peer) {
            return;
        }
        let missed = self.peers.get_mut(&peer).filter(|peer| peer.presence != Presence::Unknown);
        let Some(missed) = missed else { return };
        let recent = missed.looked_for.filter(|(since, _)| now.ms_since(*since) < CALL_BACK_MS);
        let (since, looks) = recent.unwrap_or((now, 0));
        missed.looked_for = Some((since, looks + 1));
        if looks < LOOKS {
            missed.asked_until = None;
            self.dial(now, peer, out);
        }
    }

    fn forget(&mut self, conn: ConnId) -> Option<Link> {
        let link = self.links.remove(&conn);
        if let Some(Link::Open { peer, .. }) = &link
            && self.by_peer.get(peer) == Some(&conn)
        {
            self.by_peer.remove(peer);
        }
        link
    }

    /// Whether a peer was there and is gone: the connection ended, and no other could be made.
    pub(super) fn is_gone(&self, peer: ServerId) -> bool {
        let is_gone = |peer: &Peer| peer.presence == Presence::Gone;
        self.peers.get(&peer).is_some_and(is_gone) && !self.by_peer.contains_key(&peer)
    }

    /// Gives up on dials and hellos that take too long.
    pub(super) fn tick(&mut self, now: Time, out: &mut Actions) {
        let late = |l: &Link| match l {
            Link::Dialling { until, .. }
            | Link::Asked { until, .. }
            | Link::Greeting { until, .. } => *until <= now,
            Link::Open { .. } => false,
        };
        while let Some(conn) = self.links.iter().find(|(_, l)| late(l)).map(|(c, _)| *c) {
            self.drop_link(conn, Reason::Timeout("election handshake"), out);
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let until = |l: &Link| match l {
            Link::Dialling { until, .. }
            | Link::Asked { until, .. }
            | Link::Greeting { until, .. } => Some(*until),
            Link::Open { .. } => None,
        };
        self.links.values().filter_map(until).min()
    }

    fn greeted(
        &mut self,
        now: Time,
        conn: ConnId,
        hello: Hello,
        rest: BytesMut,
        out: &mut Actions,
    ) {
        let peer = hello.from;
        if peer == self.me {
            let what = "a peer with this server's id: every member needs a myid of its own";
            return self.drop_link(conn, Reason::Protocol(what), out);
        }
        if !self.is_member(peer) && self.strangers() >= MAX_STRANGERS {
            let why = Reason::Limit("election connections of servers outside the configuration");
            return self.drop_link(conn, why, out);
        }
        if peer > self.me {
            return self.establish(conn, peer, rest, out);
        }
        // A smaller id only asks to be called back.
        self.drop_link(conn, Reason::Done, out);
        if let Some(old) = self.by_peer.get(&peer).copied() {
            self.drop_link(old, Reason::Replaced, out);
        }
        match hello.address {
            Some(address) => self.dial_at(now, peer, address, out),
            None => self.dial(now, peer, out),
        }
    }

    fn is_member(&self, id: ServerId) -> bool {
        self.members.member(id).is_some()
    }

    /// Links with servers outside the configuration.
    fn strangers(&self) -> usize {
        let peer = |link: &Link| match link {
            Link::Dialling { to: peer, .. }
            | Link::Asked { to: peer, .. }
            | Link::Open { peer, .. } => Some(*peer),
            Link::Greeting { .. } => None,
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
        (peer.asked_until, peer.presence) = (None, Presence::There);
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
