//! The election's connections (`QuorumCnxManager`): one for each pair of servers, which the
//! one with the larger id dials and keeps.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::action::{Action, Actions, Reason};
use crate::config::EnsembleConfig;
use crate::event::Port;
use crate::types::{ConnId, HostPort, ServerId, Time};

/// `int64` that opens a hello: protocol version 1.
const PROTOCOL_V1: i64 = -65536;
/// Version 2: several addresses, joined by `|`.
const PROTOCOL_V2: i64 = -65535;
/// The longest address text in a hello.
const MAX_ADDRESS: usize = 2048;
/// The longest notification (`PACKETMAXSIZE`).
const MAX_MESSAGE: usize = 512 * 1024;
/// Connections that have not said yet who they are, and links to servers outside the
/// configuration, are bounded.
const MAX_STRANGERS: usize = 64;

/// A message that arrived, and from whom.
pub(super) type Incoming = (ServerId, Bytes);

#[derive(Debug)]
enum Link {
    /// Dialled, not open yet.
    Dialling { to: ServerId, until: Time },
    /// Accepted, the hello is not complete.
    Greeting { buffer: BytesMut, until: Time },
    /// Carries messages.
    Open { peer: ServerId, buffer: BytesMut },
}

/// All connections of one server's election port.
#[derive(Debug)]
pub(super) struct Connections {
    me: ServerId,
    config: Arc<EnsembleConfig>,
    handshake_ms: u64,
    links: BTreeMap<ConnId, Link>,
    by_peer: BTreeMap<ServerId, ConnId>,
    /// The last message to each peer: said again on a new connection.
    last: BTreeMap<ServerId, Bytes>,
    /// Dial attempts so far, for the connection ids and to take turns among addresses.
    dials: u64,
}

impl Connections {
    pub(super) fn new(me: ServerId, config: Arc<EnsembleConfig>, handshake_ms: u64) -> Connections {
        Connections {
            me,
            config,
            handshake_ms,
            links: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            last: BTreeMap::new(),
            dials: 0,
        }
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.links.contains_key(&conn)
    }

    /// Sends to a peer, dialling it if there is no connection. A message that cannot be sent
    /// yet replaces the one that waited before it.
    pub(super) fn send(&mut self, now: Time, to: ServerId, message: &Bytes, out: &mut Actions) {
        self.last.insert(to, message.clone());
        match self.by_peer.get(&to) {
            Some(conn) => send_framed(*conn, message, out),
            None => self.dial(now, to, out),
        }
    }

    pub(super) fn dial(&mut self, now: Time, to: ServerId, out: &mut Actions) {
        let dialling =
            self.links.values().any(|l| matches!(l, Link::Dialling { to: t, .. } if *t == to));
        if dialling || self.by_peer.contains_key(&to) {
            return;
        }
        let Some(member) = self.config.members.get(&to) else { return };
        let turn = self.dials as usize % member.addresses.len().max(1);
        let Some(address) = member.addresses.get(turn) else { return };
        let address = address.election.clone();
        self.dials += 1;
        let conn = ConnId::dialled(self.dials * 2);
        let until = now.plus_ms(self.handshake_ms);
        self.links.insert(conn, Link::Dialling { to, until });
        out.push(Action::Dial { conn, port: Port::Election, to: address });
    }

    pub(super) fn opened(&mut self, now: Time, conn: ConnId, out: &mut Actions) {
        if let Some(Link::Dialling { to, .. }) = self.links.get(&conn) {
            let to = *to;
            out.push(Action::Send { conn, bytes: hello(self.me, self.my_address()) });
            if to > self.me {
                // The hello only asks to be called back.
                self.links.remove(&conn);
                out.push(Action::Close { conn, why: Reason::Done });
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
            None | Some(Link::Dialling { .. }) => return,
            Some(Link::Open { buffer, .. }) => buffer.extend_from_slice(bytes),
            Some(Link::Greeting { buffer, .. }) => {
                buffer.extend_from_slice(bytes);
                match take_hello(buffer) {
                    Ok(None) => return,
                    Ok(Some(peer)) => {
                        let rest = core::mem::take(buffer);
                        self.greeted(now, conn, peer, rest, out);
                    }
                    Err(what) => return self.drop_link(conn, Reason::Protocol(what), out),
                }
            }
        }
        let Some(Link::Open { peer, buffer }) = self.links.get_mut(&conn) else { return };
        let peer = *peer;
        loop {
            match take_message(buffer) {
                Ok(Some(message)) => messages.push((peer, message)),
                Ok(None) => return,
                Err(what) => return self.drop_link(conn, Reason::Protocol(what), out),
            }
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        if let Some(Link::Open { peer, .. }) = self.links.remove(&conn)
            && self.by_peer.get(&peer) == Some(&conn)
        {
            self.by_peer.remove(&peer);
        }
    }

    /// Gives up on dials and hellos that take too long.
    pub(super) fn tick(&mut self, now: Time, out: &mut Actions) {
        let late = |l: &Link| match l {
            Link::Dialling { until, .. } | Link::Greeting { until, .. } => *until <= now,
            Link::Open { .. } => false,
        };
        while let Some(conn) = self.links.iter().find(|(_, l)| late(l)).map(|(c, _)| *c) {
            self.drop_link(conn, Reason::Timeout("election handshake"), out);
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let until = |l: &Link| match l {
            Link::Dialling { until, .. } | Link::Greeting { until, .. } => Some(*until),
            Link::Open { .. } => None,
        };
        self.links.values().filter_map(until).min()
    }

    fn greeted(
        &mut self,
        now: Time,
        conn: ConnId,
        peer: ServerId,
        rest: BytesMut,
        out: &mut Actions,
    ) {
        let known = self.config.members.contains_key(&peer);
        if peer > self.me {
            let strangers =
                self.by_peer.keys().filter(|id| !self.config.members.contains_key(id)).count();
            if !known && strangers >= MAX_STRANGERS {
                self.drop_link(conn, Reason::Limit("connections of unknown servers"), out);
            } else {
                self.establish(conn, peer, rest, out);
            }
            return;
        }
        // A smaller id only asks to be called back. (Our own id: somebody is misconfigured.)
        let why = if peer == self.me {
            Reason::Protocol("a peer with this server's id")
        } else {
            Reason::Done
        };
        self.drop_link(conn, why, out);
        if peer < self.me && known {
            if let Some(old) = self.by_peer.get(&peer).copied() {
                self.drop_link(old, Reason::Replaced, out);
            }
            self.dial(now, peer, out);
        }
    }

    fn establish(&mut self, conn: ConnId, peer: ServerId, buffer: BytesMut, out: &mut Actions) {
        if let Some(old) = self.by_peer.get(&peer).copied().filter(|old| *old != conn) {
            self.drop_link(old, Reason::Replaced, out);
        }
        self.links.insert(conn, Link::Open { peer, buffer });
        self.by_peer.insert(peer, conn);
        if let Some(last) = self.last.get(&peer) {
            send_framed(conn, last, out);
        }
    }

    fn drop_link(&mut self, conn: ConnId, why: Reason, out: &mut Actions) {
        self.closed(conn);
        self.links.remove(&conn);
        out.push(Action::Close { conn, why });
    }

    fn my_address(&self) -> Option<&HostPort> {
        self.config.members.get(&self.me)?.addresses.first().map(|a| &a.election)
    }
}

fn hello(me: ServerId, address: Option<&HostPort>) -> Bytes {
    let address = address.map(|a| a.to_string()).unwrap_or_default();
    let mut out = BytesMut::with_capacity(20 + address.len());
    out.put_i64(PROTOCOL_V1);
    out.put_i64(me.0);
    out.put_i32(address.len() as i32);
    out.put_slice(address.as_bytes());
    out.freeze()
}

/// Takes a whole hello off the front of the buffer: the peer's id. The address in it is not
/// needed, because only configured servers are called back, at their configured address.
fn take_hello(buffer: &mut BytesMut) -> Result<Option<ServerId>, &'static str> {
    let Some(first) = buffer.first_chunk::<8>().map(|b| i64::from_be_bytes(*b)) else {
        return Ok(None);
    };
    if first >= 0 {
        // Before 3.5 the id stood alone.
        buffer.advance(8);
        return Ok(Some(ServerId(first)));
    }
    if first != PROTOCOL_V1 && first != PROTOCOL_V2 {
        return Err("unknown protocol version in an election hello");
    }
    let Some(head) = buffer.first_chunk::<20>() else { return Ok(None) };
    let sid = i64::from_be_bytes(*head[8..].first_chunk().expect("20 bytes"));
    let length = i32::from_be_bytes(*head[16..].first_chunk().expect("20 bytes"));
    let length = usize::try_from(length).unwrap_or(0);
    if length == 0 || length > MAX_ADDRESS {
        return Err("impossible address length in an election hello");
    }
    if buffer.len() < 20 + length {
        return Ok(None);
    }
    buffer.advance(20 + length);
    Ok(Some(ServerId(sid)))
}

fn take_message(buffer: &mut BytesMut) -> Result<Option<Bytes>, &'static str> {
    let Some(length) = buffer.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)) else {
        return Ok(None);
    };
    let length = usize::try_from(length).unwrap_or(0);
    if length == 0 || length > MAX_MESSAGE {
        return Err("impossible length of a notification");
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

/// For the golden test: who a hello is from, and the address in it.
#[cfg(test)]
pub(super) fn golden_hello(bytes: &[u8]) -> (ServerId, HostPort) {
    let sid = take_hello(&mut BytesMut::from(bytes)).expect("well formed").expect("whole");
    let text = core::str::from_utf8(&bytes[20..]).expect("text");
    let (host, port) = text.rsplit_once(':').expect("host:port");
    (sid, HostPort::new(host, port.parse().expect("a port")))
}

/// For the golden test: the hello of a server.
#[cfg(test)]
pub(super) fn golden_encode(sid: ServerId, address: &HostPort) -> Bytes {
    hello(sid, Some(address))
}
