//! The clients of one server: connections, handshakes, sessions' order, reads, watches.
//!
//! A write goes out at once as a [`ClientRequest`] and keeps its place in the session's queue;
//! a read waits behind its own session's writes and nobody else's. When a transaction is
//! applied, its events go to the watchers first, then the session that asked is answered and
//! what it asked after that is released.
//!
//! A client costs a bounded amount of memory, whatever it does: it is not listened to while
//! too many of its requests wait, or too many bytes of them, or while it does not take its
//! replies.

mod authenticate;
mod connection;
mod figures;
mod handover;
mod handshake;
mod load;
mod outbox;
mod reads;
mod request_throttle;
mod requests;
mod set_watches;
#[cfg(test)]
mod tests;
mod throttle;
mod turns;
mod watches;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use tracing::warn;

use crate::access::Access;
use crate::access::auth;
use crate::action::{Action, Actions, Reason};
use crate::admin::metrics::ServerStats;
use crate::config::ConnectionThrottle;
use crate::hash::HashKey;
use crate::mutant::mutant;
use crate::prep::{Parsed, Request};
use crate::session::SessionIds;
use crate::store::{Effects, Outcome, Store, Trigger};
use crate::types::{ConnId, Now, SessionId, Time, Zxid};
use crate::wire::client::{ReplyHeader, XID_EVENT, perms};
use crate::wire::jute::Writer;
use crate::wire::txn::{LoggedTxn, Txn};
use crate::wire::{ErrorCode, EventType, Record, Word};

use connection::{Connection, Pending, PendingState, Phase};
use handover::Fences;
pub(crate) use handover::Handover;
use load::Load;
pub(crate) use request_throttle::RequestThrottle;
use throttle::Throttle;
use turns::Turns;
use watches::Watches;

/// State of every watch event: SyncConnected.
const SYNC_CONNECTED: i32 = 3;

/// Length, xid, zxid and error of a reply.
const FRAME_AND_HEADER: usize = 4 + 16;

/// Replies that are written before the client has to take some of them, bytes; one more may
/// follow.
const REPLY_BYTES: usize = 1 << 20;
/// Bytes of requests that wait, in frames of the longest length.
const WAITING_FRAMES: usize = 4;

/// Bytes of the answer to a multiRead, if `jute.maxbuffer` does not ask for more.
const MOST_PARTS_BYTES: usize = 4 << 20;

/// Limits and rules of the client port (`zoo.cfg`).
#[derive(Clone, Debug)]
pub(crate) struct ClientPortOptions {
    /// The top byte of new session ids; 1 for a standalone server.
    pub server: i64,
    /// Least session time-out, ms.
    pub min_session_timeout_ms: i32,
    /// Greatest session time-out, ms.
    pub max_session_timeout_ms: i32,
    /// Connections of one address; 0: no limit.
    pub max_client_connections: u32,
    /// All connections; 0: no limit.
    pub max_connections: u32,
    /// The longest request.
    pub jute_max_buffer: usize,
    /// For a connection to ask for its session, ms.
    pub sessionless_timeout_ms: u64,
    /// The access rules.
    pub access: Access,
    /// New sessions are local.
    pub local_sessions: bool,
    /// How many clients may connect in a while.
    pub connection_throttle: Option<ConnectionThrottle>,
    /// Longer requests are large.
    pub large_request_bytes: usize,
    /// The sum of all waiting large requests, bytes; one more is refused, and its connection
    /// closed.
    pub large_requests_max_bytes: usize,
    /// A connection has to authenticate by one of these first; none: by nothing.
    pub enforced_schemes: Vec<ByteString>,
    /// Requests of one session that wait; more are not read. Nor are more than one of any
    /// session while those of all are more than this.
    pub outstanding_limit: usize,
    /// The cost of requests in a turn, before other events are handled
    /// ([`Budget`](crate::budget::Budget)).
    pub turn_budget: usize,
    /// The limit of waiting requests of all clients.
    pub requests: RequestThrottle,
}

impl ClientPortOptions {
    /// Bytes of a multiRead's answer: more than any part of it alone can have, and more than a
    /// client with the same `jute.maxbuffer` takes.
    fn most_parts_bytes(&self) -> usize {
        MOST_PARTS_BYTES.max(WAITING_FRAMES * self.jute_max_buffer)
    }
}

/// A request of a client that the node has to handle.
#[derive(Debug)]
pub(crate) enum ClientRequest {
    /// A four-letter word: [`ClientPort::answer_word`].
    Word {
        /// The connection that asks.
        conn: ConnId,
        word: Word,
        /// The argument that followed it, for `stmk`.
        argument: Option<i64>,
    },
    /// A new session: its transaction answers.
    CreateSession {
        /// The new id.
        session: SessionId,
        /// Negotiated, ms.
        timeout_ms: i32,
    },
    /// A session of old: [`ClientPort::reattached`].
    Reattach {
        session: SessionId,
        /// Negotiated, ms.
        timeout_ms: i32,
    },
    /// A write: its transaction answers, or [`ClientPort::refused`].
    Write(Request, Parsed),
    /// A sync: [`ClientPort::synced`] answers.
    Sync {
        conn: ConnId,
        /// As it came.
        request: Request,
    },
    /// A sync of this server's own: [`ClientPort::fence_passed`] follows its answer.
    Fence {
        /// In whose name.
        session: SessionId,
    },
    /// A sign of life of an established session.
    Touch {
        session: SessionId,
        /// Negotiated, ms.
        timeout_ms: i32,
    },
}

/// How often a read-only server looks for silent clients, ms.
const SILENCE_CHECK_MS: u64 = 1000;

/// The service that clients get here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ServiceMode {
    None,
    /// Read what this server knew last, if that is all they ask for.
    ReadOnly,
    /// Everything.
    Full,
}

/// All client connections of one server.
#[derive(Debug)]
pub(crate) struct ClientPort {
    options: ClientPortOptions,
    service: ServiceMode,
    connections: BTreeMap<ConnId, Connection>,
    by_session: BTreeMap<SessionId, ConnId>,
    by_address: BTreeMap<IpAddr, u32>,
    /// On a read-only server: when silent clients were looked for.
    silence_checked: Time,
    /// Connections in order of opening, to find those that never ask for a session.
    sessionless: VecDeque<(Time, ConnId)>,
    watches: Watches,
    /// The connections that get an event.
    event_recipients: Vec<ConnId>,
    fences: Fences,
    ids: SessionIds,
    throttle: Option<Throttle>,
    /// Requests that have no answer yet.
    load: Load,
    /// Connections whose next request is not admitted yet, in their order.
    throttled: VecDeque<ConnId>,
    submissions: VecDeque<ClientRequest>,
    /// Connections with bytes for the next flush.
    dirty: Vec<ConnId>,
    turns: Turns,
    /// Connections that get an event and wait for no answer.
    events: VecDeque<ConnId>,
    /// Totals for `srvr` and `mntr`.
    pub stats: ServerStats,
}

impl ClientPort {
    /// Nobody is connected. Clock and seed make the session ids; the key is for watched paths.
    pub(crate) fn new(options: ClientPortOptions, now: Now, seed: u64, key: HashKey) -> ClientPort {
        ClientPort {
            ids: SessionIds::new(options.server, now.wall_ms, seed),
            throttle: options
                .connection_throttle
                .clone()
                .map(|throttle| Throttle::new(throttle, now.mono, now.wall_ms as u64)),
            turns: Turns::new(options.turn_budget, now.mono),
            load: Load::default(),
            throttled: VecDeque::new(),
            options,
            service: ServiceMode::None,
            connections: BTreeMap::new(),
            by_session: BTreeMap::new(),
            by_address: BTreeMap::new(),
            silence_checked: now.mono,
            sessionless: VecDeque::new(),
            watches: Watches::new(key),
            event_recipients: Vec::new(),
            fences: Fences::default(),
            submissions: VecDeque::new(),
            dirty: Vec::new(),
            events: VecDeque::new(),
            stats: ServerStats::default(),
        }
    }

    /// The next thing that clients want; drained after every call.
    pub(crate) fn next_submission(&mut self) -> Option<ClientRequest> {
        let next = self.submissions.pop_front()?;
        self.load.take(&next);
        Some(next)
    }

    /// Whether a session has its connection here.
    pub(crate) fn is_attached(&self, session: SessionId) -> bool {
        self.by_session.contains_key(&session)
    }

    /// Whether somebody wants something.
    pub(crate) fn has_submissions(&self) -> bool {
        !self.submissions.is_empty()
    }

    /// Whether a connection is a client's.
    pub(crate) fn owns(&self, conn: ConnId) -> bool {
        self.connections.contains_key(&conn)
    }

    /// From now on sessions are created.
    pub(crate) fn start_serving(&mut self) {
        self.service = ServiceMode::Full;
    }

    /// Whether clients are served, also with writes.
    pub(crate) fn is_serving(&self) -> bool {
        self.service == ServiceMode::Full
    }

    /// From now on clients that accept it are served reads (`ReadOnlyZooKeeperServer`).
    pub(crate) fn start_read_only(&mut self) {
        self.service = ServiceMode::ReadOnly;
    }

    /// Whether reads alone are served.
    pub(crate) fn is_read_only(&self) -> bool {
        self.service == ServiceMode::ReadOnly
    }

    /// The role is lost: every client goes, and what it waited for.
    pub(crate) fn stop_serving(&mut self, out: &mut Actions) {
        self.service = ServiceMode::None;
        self.submissions.clear();
        self.load.clear_submitted();
        self.turns.clear();
        self.flush(out);
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            if self.connections[&conn].phase != Phase::New {
                self.close(conn, Reason::NotServing, out);
            }
        }
        self.fences = Fences::default();
    }

    // ---- connections

    /// A client connected.
    pub(crate) fn opened(&mut self, now: Time, conn: ConnId, peer: SocketAddr, out: &mut Actions) {
        let address = peer.ip().to_canonical();
        let total = self.connections.len() as u32;
        let of_address = self.by_address.get(&address).copied().unwrap_or(0);
        let (max, per_address) =
            (self.options.max_connections, self.options.max_client_connections);
        if (max > 0 && total >= max) || (per_address > 0 && of_address >= per_address) {
            self.stats.connections_rejected.add(1);
            // The words that alerts look for in ZooKeeper's log, and the key that counts.
            if max > 0 && total >= max {
                warn!("Too many connections {total} - max is {max}: maxCnxns is reached");
            } else {
                warn!(
                    "Too many connections from /{address} - max is {per_address}: maxClientCnxns \
                     is reached"
                );
            }
            return out.push(Action::Close { conn, why: Reason::Limit("client connections") });
        }
        *self.by_address.entry(address).or_insert(0) += 1;
        self.connections.insert(conn, Connection::new(now, peer, auth::ip_id(address)));
        self.sessionless.push_back((now, conn));
    }

    /// Bytes arrived.
    pub(crate) fn received(
        &mut self,
        now: Now,
        store: &Store,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.phase == Phase::Closing {
            return;
        }
        connection.heard = now.mono;
        connection.frames.push(bytes);
        self.pump(now, store, conn, out);
        // Requests that cannot be handled yet must not pile up.
        let frame = 4 + self.options.jute_max_buffer;
        if let Some(connection) = self.connections.get_mut(&conn)
            && connection.frames.buffered() > frame
            && connection.phase != Phase::New
        {
            connection.pause(conn, out);
        }
    }

    /// A client has taken most of its replies.
    pub(crate) fn writable(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.awaiting_drain = false;
            connection.unacked_bytes = 0;
            self.resume(now, store, conn, out);
        }
    }

    /// A client is gone, by its own will.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        self.stats.connections_dropped.add(self.owns(conn).into());
        self.forget(conn);
    }

    fn forget(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        self.watches.forget(conn);
        for pending in &connection.pending {
            self.load.remove(&self.options, pending);
        }
        if self.by_session.get(&connection.session) == Some(&conn) {
            self.by_session.remove(&connection.session);
        }
        let address = connection.peer.ip().to_canonical();
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// Closes connections that never asked for a session, and on a read-only server those whose
    /// clients are silent: there is no leader to tell that their sessions have ended.
    pub(crate) fn tick(&mut self, now: Time, out: &mut Actions) {
        if self.is_read_only() && now.ms_since(self.silence_checked) >= SILENCE_CHECK_MS {
            self.silence_checked = now;
            let is_silent = |c: &Connection| {
                c.phase == Phase::Established && now.ms_since(c.heard) > c.timeout_ms.max(0) as u64
            };
            let all = self.connections.iter().filter(|(_, connection)| is_silent(connection));
            for conn in all.map(|(conn, _)| *conn).collect::<Vec<_>>() {
                self.close(conn, Reason::Timeout("the client is silent"), out);
            }
        }
        while let Some((since, conn)) = self.sessionless.front().copied() {
            let settled = self.connections.get(&conn).is_none_or(|c| c.phase != Phase::New);
            if !settled && now.ms_since(since) < self.options.sessionless_timeout_ms {
                break;
            }
            self.sessionless.pop_front();
            if !settled {
                self.stats.sessionless_expired.add(1);
                self.close(conn, Reason::Timeout("no session was asked for"), out);
            }
        }
    }

    /// When [`ClientPort::tick`] has work.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let limit = self.options.sessionless_timeout_ms;
        if !self.events.is_empty() || self.turns.has_more() {
            return Some(Time(0));
        }
        let sessionless = self.sessionless.front().map(|(since, _)| since.plus_ms(limit));
        let read_only = self.is_read_only() && !self.connections.is_empty();
        let silence = read_only.then(|| self.silence_checked.plus_ms(SILENCE_CHECK_MS));
        sessionless.into_iter().chain(silence).min()
    }

    fn close(&mut self, conn: ConnId, why: Reason, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && !connection.out.is_empty()
        {
            let bytes = connection.out.take();
            out.push(Action::Send { conn, bytes });
        }
        self.forget(conn);
        out.push(Action::Close { conn, why });
    }

    // ---- answers

    /// Answers a four-letter word, and closes.
    pub(crate) fn answer_word(&mut self, conn: ConnId, text: String, out: &mut Actions) {
        if self.connections.contains_key(&conn) {
            if !text.is_empty() {
                self.stats.packets_sent.add(1);
                out.push(Action::Send { conn, bytes: Bytes::from(text) });
            }
            self.close(conn, Reason::Done, out);
        }
    }

    /// Whether any client watches anything: else nobody wants to know of events.
    pub(crate) fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    /// A transaction was applied: events, then the answer, then what waited behind it.
    pub(crate) fn committed(
        &mut self,
        now: Now,
        store: &Store,
        logged: &LoggedTxn,
        outcome: &Outcome,
        effects: &Effects,
        out: &mut Actions,
    ) {
        let (header, txn) = (&logged.header, &logged.txn);
        let mut triggers = &effects.triggers[..];
        mutant!(WatchAfterReply => triggers = &[]);
        for trigger in triggers {
            self.fire(trigger, header.zxid);
        }
        let Some(conn) = self.by_session.get(&header.client).copied() else { return };
        let Some(connection) = self.connections.get(&conn) else { return };
        let is_waiting = connection.phase == Phase::Establishing;
        match txn {
            Txn::CreateSession(_) if connection.is_renewed => return,
            Txn::CreateSession(_) => return self.made(now, store, conn, true, out),
            Txn::CloseSession(_) if is_waiting => return self.session_gone(conn, out),
            _ => {}
        }
        let place = self.answers_at(conn, logged, outcome, out);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if let Some(place) = place {
            let code = reads::code(outcome);
            let body = |out: &mut BytesMut| reads::reply_body(txn, outcome, out);
            if place > 0 {
                // Reads before it wait for the client to take its replies.
                let reply = reads::reply(logged, outcome);
                connection.pending[place].state = PendingState::Done(reply);
            } else if let Some(done) = connection.pending.pop_front() {
                connection.pending_bytes -= done.bytes;
                self.load.remove(&self.options, &done);
                self.dirty.push(conn);
                let mut zxid = header.zxid;
                mutant!(ReplyZxidTooLow => zxid = Zxid(zxid.0 - 1));
                connection.reply(&mut self.stats, done.xid, zxid, code, body);
                connection.answered(&mut self.stats, now.mono, &done, header.zxid);
            }
        }
        if let Txn::CloseSession(_) = txn {
            return self.close(conn, Reason::Done, out);
        }
        if place.is_some() {
            self.resume(now, store, conn, out);
        }
        mutant!(WatchAfterReply => for trigger in &effects.triggers {
            self.fire(trigger, header.zxid);
        });
    }

    /// A write could not be prepared and has no transaction.
    pub(crate) fn refused(
        &mut self,
        now: Now,
        store: &Store,
        session: SessionId,
        cxid: i32,
        code: ErrorCode,
        out: &mut Actions,
    ) {
        self.answer(now, store, session, cxid, PendingState::Refused(code), out);
    }

    /// Gives a write its answer in place of the one that its transaction would have had.
    fn answer(
        &mut self,
        now: Now,
        store: &Store,
        session: SessionId,
        cxid: i32,
        answer: PendingState,
        out: &mut Actions,
    ) {
        let Some(conn) = self.by_session.get(&session).copied() else { return };
        if let Some(connection) = self.connections.get_mut(&conn) {
            let waits = |p: &&mut Pending| matches!(p.state, PendingState::Write) && p.xid == cxid;
            if let Some(pending) = connection.pending.iter_mut().find(waits) {
                pending.state = answer;
            }
        }
        self.resume(now, store, conn, out);
    }

    /// A session ended without a transaction, as its client wished; what it asked before is
    /// answered first.
    pub(crate) fn ended(
        &mut self,
        now: Now,
        store: &Store,
        session: SessionId,
        cxid: i32,
        out: &mut Actions,
    ) {
        self.answer(now, store, session, cxid, PendingState::Ended, out);
    }

    /// The oldest sync of a connection is done.
    pub(crate) fn synced(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            let waits = |p: &&mut Pending| matches!(p.state, PendingState::Sync(_));
            if let Some(pending) = connection.pending.iter_mut().find(waits)
                && let PendingState::Sync(body) = &pending.state
            {
                pending.state = PendingState::Read(body.clone());
            }
        }
        self.resume(now, store, conn, out);
    }

    /// The leader says that a session ended, or it moved: its connection here goes.
    pub(crate) fn drop_session(&mut self, session: SessionId, why: Reason, out: &mut Actions) {
        if let Some(conn) = self.by_session.get(&session).copied() {
            self.close(conn, why, out);
        }
    }

    fn fire(&mut self, trigger: &Trigger, zxid: Zxid) {
        self.watches.fire(trigger.kind, &trigger.path, &mut self.event_recipients);
        if self.event_recipients.is_empty() {
            return;
        }
        self.stats.watch_fired(trigger.kind, self.event_recipients.len());
        let mut out = BytesMut::new();
        let size = connection::frame(&mut out, |out| event(trigger.kind, &trigger.path, zxid, out));
        let shared = out.freeze();
        for conn in self.event_recipients.drain(..) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            let access = &self.options.access;
            let allowed = access.check(&trigger.acl, perms::READ, &connection.auth).is_ok();
            if allowed {
                if connection.out.is_empty() {
                    self.events.push_back(conn);
                }
                connection.tell(&shared);
                self.stats.watch_sent(size);
            }
        }
    }
}

/// Appends a watch event.
fn event(kind: EventType, path: &str, zxid: Zxid, out: &mut BytesMut) {
    ReplyHeader { xid: XID_EVENT, zxid, err: 0 }.write(out);
    out.put_i32(kind as i32);
    out.put_i32(SYNC_CONNECTED);
    out.put_ustring(path);
}
