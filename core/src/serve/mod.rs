//! The clients of one server: connections, handshakes, sessions' order, reads, watches.
//!
//! A write goes out at once as a [`Submission`] and keeps its place in the session's queue;
//! a read waits behind its own session's writes and nobody else's. When a transaction is
//! applied, its events go to the watchers first, then the session that asked is answered and
//! what it asked after that is released.

mod connection;
mod reads;
mod session;
mod tracker;
mod watches;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use bytestring::ByteString;
use tracing::{debug, info};

use crate::action::{Action, Actions, Reason};
use crate::admin;
use crate::admin::metrics::ServerStats;
use crate::prep::{self, Parsed, Request, acl, auth};
use crate::store::{Effects, Outcome, Store, Trigger};
use crate::types::{ConnId, Now, SessionId, Time, Zxid};
use crate::wire::client::{
    AuthPacket, ConnectRequest, ConnectResponse, Id, ReplyHeader, RequestHeader, WatcherEvent,
    XID_EVENT, XID_PING, perms,
};
use crate::wire::txn::{LoggedTxn, Txn};
use crate::wire::{ErrorCode, EventType, OpCode, Record, Word};

use connection::{Connection, Pending, PendingState, Phase};
pub use session::password;
use session::{SessionIds, password_is};
pub use tracker::{Owner, SessionTracker};
use watches::Watches;

/// State of every watch event: SyncConnected.
const SYNC_CONNECTED: i32 = 3;

/// Limits and rules of the client port (`zoo.cfg`).
#[derive(Clone, Debug)]
pub struct ServeOptions {
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
    /// `superDigest`.
    pub super_digest: Option<String>,
    /// Checks no ACL.
    pub skip_acl: bool,
    /// Requests of one session that wait; more are not read.
    pub outstanding_limit: usize,
}

/// What the clients want of the server.
#[derive(Debug)]
pub enum Submission {
    /// A four-letter word: [`Serve::answer_word`].
    Word {
        /// Who asks.
        conn: ConnId,
        /// Which.
        word: Word,
    },
    /// A new session: its transaction answers.
    CreateSession {
        /// The new id.
        session: SessionId,
        /// Negotiated, ms.
        timeout_ms: i32,
    },
    /// A session of old: [`Serve::reattached`].
    Reattach {
        /// Which.
        session: SessionId,
        /// Negotiated, ms.
        timeout_ms: i32,
    },
    /// A write: its transaction answers, or [`Serve::refused`].
    Write(Request, Parsed),
    /// A sync: [`Serve::synced`] answers.
    Sync(Request),
    /// A sign of life of an established session.
    Touch {
        /// Whose.
        session: SessionId,
        /// Negotiated, ms.
        timeout_ms: i32,
    },
}

/// All client connections of one server.
#[derive(Debug)]
pub struct Serve {
    options: ServeOptions,
    serving: bool,
    connections: BTreeMap<ConnId, Connection>,
    by_session: BTreeMap<SessionId, ConnId>,
    by_address: BTreeMap<IpAddr, u32>,
    /// Connections in order of opening, to find those that never ask for a session.
    young: VecDeque<(Time, ConnId)>,
    watches: Watches,
    ids: SessionIds,
    submissions: VecDeque<Submission>,
    dirty: Vec<ConnId>,
    /// Totals for `srvr` and `mntr`.
    pub stats: ServerStats,
}

impl Serve {
    /// Nobody is connected. The clock seeds the session ids.
    pub fn new(options: ServeOptions, now: Now) -> Serve {
        Serve {
            ids: SessionIds::new(options.server, now.wall_ms),
            options,
            serving: false,
            connections: BTreeMap::new(),
            by_session: BTreeMap::new(),
            by_address: BTreeMap::new(),
            young: VecDeque::new(),
            watches: Watches::default(),
            submissions: VecDeque::new(),
            dirty: Vec::new(),
            stats: ServerStats::default(),
        }
    }

    /// The next thing that clients want; drained after every call.
    pub fn next_submission(&mut self) -> Option<Submission> {
        self.submissions.pop_front()
    }

    /// Whether a connection is a client's.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.connections.contains_key(&conn)
    }

    /// From now on sessions are created.
    pub fn start_serving(&mut self) {
        self.serving = true;
    }

    /// The role is lost: every client goes, and what it waited for.
    pub fn stop_serving(&mut self, out: &mut Actions) {
        self.serving = false;
        self.submissions.clear();
        self.flush(out);
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            if self.connections[&conn].phase != Phase::New {
                self.close(conn, Reason::NotServing, out);
            }
        }
    }

    // ---- connections

    /// A client connected.
    pub fn opened(&mut self, now: Time, conn: ConnId, peer: SocketAddr, out: &mut Actions) {
        let address = peer.ip().to_canonical();
        let total = self.connections.len() as u32;
        let of_address = self.by_address.get(&address).copied().unwrap_or(0);
        let (max, per_address) =
            (self.options.max_connections, self.options.max_client_connections);
        if (max > 0 && total >= max) || (per_address > 0 && of_address >= per_address) {
            return out.push(Action::Close { conn, why: Reason::Limit("client connections") });
        }
        *self.by_address.entry(address).or_insert(0) += 1;
        self.connections.insert(conn, Connection::new(peer, auth::ip_id(address)));
        self.young.push_back((now, conn));
    }

    /// Bytes arrived.
    pub fn received(
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
        connection.frames.push(bytes);
        self.pump(now, store, conn, out);
    }

    /// A client is gone.
    pub fn closed(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        self.watches.forget(conn);
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

    /// Closes connections that never asked for a session.
    pub fn tick(&mut self, now: Time, out: &mut Actions) {
        while let Some((since, conn)) = self.young.front().copied() {
            let settled = self.connections.get(&conn).is_none_or(|c| c.phase != Phase::New);
            if !settled && now.ms_since(since) < self.options.sessionless_timeout_ms {
                break;
            }
            self.young.pop_front();
            if !settled {
                self.close(conn, Reason::Timeout("no session was asked for"), out);
            }
        }
    }

    /// When [`Serve::tick`] has work.
    pub fn deadline(&self) -> Option<Time> {
        let limit = self.options.sessionless_timeout_ms;
        self.young.front().map(|(since, _)| since.plus_ms(limit))
    }

    /// Sends what was gathered: one send for each connection.
    pub fn flush(&mut self, out: &mut Actions) {
        for conn in self.dirty.drain(..) {
            if let Some(connection) = self.connections.get_mut(&conn)
                && !connection.out.is_empty()
            {
                let bytes = connection.out.split().freeze();
                out.push(Action::Send { conn, bytes });
            }
        }
    }

    fn close(&mut self, conn: ConnId, why: Reason, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && !connection.out.is_empty()
        {
            let bytes = connection.out.split().freeze();
            out.push(Action::Send { conn, bytes });
        }
        self.closed(conn);
        out.push(Action::Close { conn, why });
    }

    // ---- requests

    /// Takes whole frames as long as the connection may be listened to.
    fn pump(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        loop {
            let limit = self.options.outstanding_limit;
            let max = self.options.jute_max_buffer;
            let Some(connection) = self.connections.get_mut(&conn) else { return };
            match connection.phase {
                Phase::New => {
                    let word = connection.frames.peek_length();
                    if let Some(word) = word.and_then(|n| Word::parse(n.to_be_bytes())) {
                        connection.phase = Phase::Closing;
                        connection.figures.received += 1;
                        self.stats.packets_received.add(1);
                        self.submissions.push_back(Submission::Word { conn, word });
                        return;
                    }
                    if !self.serving && word.is_some() {
                        return self.close(conn, Reason::NotServing, out);
                    }
                }
                Phase::Establishing | Phase::Closing => return,
                Phase::Established => {
                    if connection.pending.len() >= limit {
                        if !connection.paused {
                            connection.paused = true;
                            out.push(Action::Pause { conn });
                        }
                        return;
                    }
                }
            }
            let frame = match connection.frames.next(max) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => {
                    info!(%conn, peer = %connection.peer, %error, "closing a client connection");
                    return self.close(conn, Reason::Protocol("frame length"), out);
                }
            };
            connection.figures.received += 1;
            self.stats.packets_received.add(1);
            if connection.phase == Phase::New {
                self.connect(store, conn, &frame, out);
            } else {
                self.request(now, store, conn, frame, out);
            }
        }
    }

    /// The handshake (`ZooKeeperServer.processConnectRequest`).
    fn connect(&mut self, store: &Store, conn: ConnId, frame: &Bytes, out: &mut Actions) {
        let Ok(request) = ConnectRequest::from_bytes(frame) else {
            return self.close(conn, Reason::Protocol("malformed connect request"), out);
        };
        if request.last_zxid_seen > store.last_zxid() {
            info!(%conn, seen = %request.last_zxid_seen, here = %store.last_zxid(),
                "a client has seen a newer state: it must try another server");
            return self.close(conn, Reason::NotServing, out);
        }
        let (min, max) = (self.options.min_session_timeout_ms, self.options.max_session_timeout_ms);
        let timeout_ms = request.timeout_ms.min(max).max(min);
        let fresh = request.session == SessionId(0);
        let session = if fresh { self.ids.take() } else { request.session };
        if let Some(old) = self.by_session.get(&session).copied() {
            self.close(old, Reason::Replaced, out);
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.phase = Phase::Establishing;
        connection.session = session;
        connection.timeout_ms = timeout_ms;
        connection.read_only = request.read_only;
        if !fresh && !password_is(session, request.password.as_deref()) {
            info!(%conn, %session, "a client gave a wrong session password");
            return self.session_gone(conn, out);
        }
        self.by_session.insert(session, conn);
        self.submissions.push_back(if fresh {
            Submission::CreateSession { session, timeout_ms }
        } else {
            Submission::Reattach { session, timeout_ms }
        });
    }

    fn request(&mut self, now: Now, store: &Store, conn: ConnId, frame: Bytes, out: &mut Actions) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Ok(header) = RequestHeader::from_bytes(&frame) else {
            return self.close(conn, Reason::Protocol("malformed request header"), out);
        };
        let body = frame.slice(8..);
        let (session, timeout_ms) = (connection.session, connection.timeout_ms);
        let Some(op) = OpCode::from_i32(header.op) else {
            return self.unknown(conn, header.xid, out);
        };
        match op {
            OpCode::Auth => return self.authenticate(conn, header.xid, &body, out),
            OpCode::Check | OpCode::Error => return self.unknown(conn, header.xid, out),
            _ => {}
        }
        self.submissions.push_back(Submission::Touch { session, timeout_ms });
        let xid = if op == OpCode::Ping { XID_PING } else { header.xid };
        let request = || Request {
            session,
            cxid: header.xid,
            op,
            body: body.clone(),
            auth: connection.auth.clone(),
        };
        let state = if reads::is_read(op) {
            PendingState::Read(body.clone())
        } else if op == OpCode::Sync {
            match reads::sync_path(&body) {
                Ok(_) => {
                    self.submissions.push_back(Submission::Sync(request()));
                    PendingState::Sync(body.clone())
                }
                Err(code) => PendingState::Refused(code),
            }
        } else {
            match prep::parse(op, &body) {
                Ok(parsed) => {
                    self.submissions.push_back(Submission::Write(request(), parsed));
                    PendingState::Write
                }
                Err(code) => PendingState::Refused(code),
            }
        };
        connection.pending.push_back(Pending { xid, op, since: now.mono, state });
        self.release(now, store, conn);
    }

    /// An operation that ZooKeeper does not know either.
    fn unknown(&mut self, conn: ConnId, xid: i32, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            let code = ErrorCode::Unimplemented;
            connection.reply(&mut self.stats, xid, Zxid(-1), code, |_| {});
        }
        self.close(conn, Reason::Protocol("unknown operation"), out);
    }

    /// Answered at once, before what is queued.
    fn authenticate(&mut self, conn: ConnId, xid: i32, body: &Bytes, out: &mut Actions) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let ids = AuthPacket::from_bytes(body).ok().and_then(|packet| {
            let super_digest = self.options.super_digest.as_deref();
            let address = connection.peer.ip();
            auth::authenticate(&packet.scheme, packet.auth.as_deref(), address, super_digest)
        });
        self.dirty.push(conn);
        match ids {
            Some(new) => {
                let mut all: Vec<Id> = connection.auth.to_vec();
                for id in new {
                    if !all.contains(&id) && all.len() < MAX_IDS {
                        all.push(id);
                    }
                }
                connection.auth = Arc::from(all);
                connection.reply(&mut self.stats, xid, Zxid::ZERO, ErrorCode::Ok, |_| {});
            }
            None => {
                self.stats.auth_failed.add(1);
                let code = ErrorCode::AuthFailed;
                connection.reply(&mut self.stats, xid, Zxid::ZERO, code, |_| {});
                self.close(conn, Reason::Protocol("failed authentication"), out);
            }
        }
    }

    /// Answers what stands at the head of a session's queue and needs nobody else.
    fn release(&mut self, now: Now, store: &Store, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        while let Some(head) = connection.pending.front() {
            let (xid, op) = (head.xid, head.op);
            let zxid = store.last_zxid();
            match &head.state {
                PendingState::Write | PendingState::Sync(_) => return,
                PendingState::Refused(code) => {
                    let (code, zxid) =
                        (*code, if *code == ErrorCode::Unimplemented { Zxid(-1) } else { zxid });
                    connection.reply(&mut self.stats, xid, zxid, code, |_| {});
                }
                PendingState::Read(body) if op == OpCode::SetWatches => {
                    match reads::set_watches(store, &mut self.watches, conn, body) {
                        Ok(missed) => {
                            for (kind, path) in missed {
                                send_event(connection, &mut self.stats, kind, path, Zxid(-1));
                            }
                            connection.reply(&mut self.stats, xid, zxid, ErrorCode::Ok, |_| {});
                        }
                        Err(code) => connection.reply(&mut self.stats, xid, zxid, code, |_| {}),
                    }
                }
                PendingState::Read(body) => {
                    let body = body.clone();
                    let ids = connection.auth.clone();
                    let asker = reads::Asker {
                        conn,
                        session: connection.session,
                        ids: &ids,
                        skip_acl: self.options.skip_acl,
                    };
                    // Written in place; taken back if it turns out to be an error.
                    let start = connection.out.len();
                    let watches = &mut self.watches;
                    let mut result = Ok(());
                    let size = connection.frame(|out| {
                        ReplyHeader { xid, zxid, err: 0 }.write(out);
                        result = reads::read(store, watches, &asker, op, &body, out);
                    });
                    match result {
                        Ok(()) => {
                            self.stats.packets_sent.add(1);
                            self.stats.response_sizes.add(size);
                        }
                        Err(code) => {
                            connection.out.truncate(start);
                            connection.figures.sent -= 1;
                            connection.reply(&mut self.stats, xid, zxid, code, |_| {});
                        }
                    }
                }
            }
            self.dirty.push(conn);
            if let Some(done) = connection.pending.pop_front() {
                connection.answered(&mut self.stats, now.mono, &done, zxid);
            }
        }
    }

    /// After answers were given: the connection may be listened to again.
    fn resume(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        self.release(now, store, conn);
        let limit = self.options.outstanding_limit;
        if let Some(connection) = self.connections.get_mut(&conn)
            && connection.paused
            && connection.pending.len() <= limit / 2
        {
            connection.paused = false;
            out.push(Action::Resume { conn });
            self.pump(now, store, conn, out);
        }
    }

    // ---- answers

    /// Answers a four-letter word, and closes.
    pub fn answer_word(&mut self, conn: ConnId, text: String, out: &mut Actions) {
        if self.connections.contains_key(&conn) {
            if !text.is_empty() {
                out.push(Action::Send { conn, bytes: Bytes::from(text) });
            }
            self.close(conn, Reason::Done, out);
        }
    }

    /// A transaction was applied: events, then the answer, then what waited behind it.
    pub fn committed(
        &mut self,
        now: Now,
        store: &Store,
        logged: &LoggedTxn,
        outcome: &Outcome,
        effects: &Effects,
        out: &mut Actions,
    ) {
        let (header, txn) = (&logged.header, &logged.txn);
        for trigger in &effects.triggers {
            self.fire(trigger, header.zxid);
        }
        let Some(conn) = self.by_session.get(&header.client).copied() else { return };
        if let Txn::CreateSession(_) = txn {
            return self.established(now, store, conn, out);
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let waits = |p: &Pending| matches!(p.state, PendingState::Write) && p.xid == header.cxid;
        let is_head = connection.pending.front().is_some_and(waits);
        if is_head && let Some(done) = connection.pending.pop_front() {
            if reads::session_moved(outcome) {
                return self.close(conn, Reason::Replaced, out);
            }
            self.dirty.push(conn);
            let code = reads::code(outcome);
            connection.reply(&mut self.stats, done.xid, header.zxid, code, |out| {
                match (txn, outcome) {
                    (Txn::Multi(parts), Outcome::Multi(all)) => {
                        reads::multi_results(parts, all, out);
                    }
                    _ => reads::write_outcome(outcome, out),
                }
            });
            connection.answered(&mut self.stats, now.mono, &done, header.zxid);
        }
        if let Txn::CloseSession(_) = txn {
            return self.close(conn, Reason::Done, out);
        }
        if is_head {
            self.resume(now, store, conn, out);
        }
    }

    /// A write could not be prepared and has no transaction.
    pub fn refused(
        &mut self,
        now: Now,
        store: &Store,
        session: SessionId,
        cxid: i32,
        code: ErrorCode,
        out: &mut Actions,
    ) {
        let Some(conn) = self.by_session.get(&session).copied() else { return };
        if let Some(connection) = self.connections.get_mut(&conn) {
            let waits = |p: &&mut Pending| matches!(p.state, PendingState::Write) && p.xid == cxid;
            if let Some(pending) = connection.pending.iter_mut().find(waits) {
                pending.state = PendingState::Refused(code);
            }
        }
        self.resume(now, store, conn, out);
    }

    /// The oldest sync of a session is done.
    pub fn synced(&mut self, now: Now, store: &Store, session: SessionId, out: &mut Actions) {
        let Some(conn) = self.by_session.get(&session).copied() else { return };
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

    /// Whether a session of old lives.
    pub fn reattached(
        &mut self,
        now: Now,
        store: &Store,
        session: SessionId,
        valid: bool,
        out: &mut Actions,
    ) {
        let Some(conn) = self.by_session.get(&session).copied() else { return };
        if self.connections.get(&conn).is_none_or(|c| c.phase != Phase::Establishing) {
            return;
        }
        if valid {
            self.established(now, store, conn, out);
        } else {
            info!(%session, "a client asks for a session that is gone");
            self.session_gone(conn, out);
        }
    }

    /// The leader says that a session ended, or it moved: its connection here goes.
    pub fn drop_session(&mut self, session: SessionId, why: Reason, out: &mut Actions) {
        if let Some(conn) = self.by_session.get(&session).copied() {
            self.close(conn, why, out);
        }
    }

    fn established(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.phase != Phase::Establishing {
            return;
        }
        connection.phase = Phase::Established;
        connection.figures.established_ms = now.wall_ms;
        connection.figures.last_op = Some(OpCode::CreateSession);
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: connection.timeout_ms,
            session: connection.session,
            password: Some(Bytes::copy_from_slice(&password(connection.session))),
            read_only: connection.read_only.map(|_| false),
        };
        connection.frame(|out| response.write(out));
        self.stats.packets_sent.add(1);
        self.dirty.push(conn);
        debug!(%conn, session = %connection.session, timeout_ms = connection.timeout_ms, "session established");
        self.pump(now, store, conn, out);
    }

    /// Tells a client that its session is no more.
    fn session_gone(&mut self, conn: ConnId, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            let response = ConnectResponse {
                protocol_version: 0,
                timeout_ms: 0,
                session: SessionId(0),
                password: Some(Bytes::from_static(&[0; 16])),
                read_only: connection.read_only.map(|_| false),
            };
            connection.frame(|out| response.write(out));
            self.stats.packets_sent.add(1);
        }
        self.close(conn, Reason::Done, out);
    }

    fn fire(&mut self, trigger: &Trigger, zxid: Zxid) {
        for conn in self.watches.fire(trigger.kind, &trigger.path) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            let allowed = self.options.skip_acl
                || acl::check(&trigger.acl, perms::READ, &connection.auth).is_ok();
            if allowed {
                self.dirty.push(conn);
                let path = trigger.path.clone();
                send_event(connection, &mut self.stats, trigger.kind, path, zxid);
            }
        }
    }

    // ---- figures

    /// How many clients are connected.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// How many watches there are.
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// Requests that have no answer yet.
    pub fn outstanding(&self) -> usize {
        self.connections.values().map(|c| c.pending.len()).sum()
    }

    /// All connections, for `stat` and `cons`.
    pub fn clients(&self) -> Vec<admin::Client> {
        let session = |c: &Connection| admin::ClientSession {
            id: c.session,
            last_operation: c.figures.last_op,
            established_ms: c.figures.established_ms,
            timeout_ms: c.timeout_ms,
            last_cxid: c.figures.last_cxid,
            last_zxid: c.figures.last_zxid.unwrap_or(Zxid(-1)),
            last_response_ms: c.figures.last_response_ms,
            last_latency_ms: c.figures.last_latency_ms,
            latency: c.figures.latency,
        };
        let client = |c: &Connection| admin::Client {
            address: c.peer,
            reading: !c.paused && c.phase != Phase::Closing,
            writing: !c.out.is_empty(),
            queued: c.pending.len() as u64,
            received: c.figures.received,
            sent: c.figures.sent,
            session: (c.phase == Phase::Established).then(|| session(c)),
        };
        self.connections.values().map(client).collect()
    }
}

/// Ids that one connection may gather.
const MAX_IDS: usize = 64;

fn send_event(
    connection: &mut Connection,
    stats: &mut ServerStats,
    kind: EventType,
    path: ByteString,
    zxid: Zxid,
) {
    connection.frame(|out| {
        ReplyHeader { xid: XID_EVENT, zxid, err: 0 }.write(out);
        WatcherEvent { kind: kind as i32, state: SYNC_CONNECTED, path }.write(out);
    });
    stats.packets_sent.add(1);
}
