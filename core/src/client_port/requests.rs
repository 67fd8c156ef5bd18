//! From a client's bytes to its requests, each with its place in the session's order, and the
//! answers to what needs nobody else.

use core::cell::Cell;

use bytes::{BufMut, Bytes};
use tracing::debug;

use super::connection::{self, Connection, Pending, PendingState, Phase, Reply};
use super::set_watches::{Next, SetWatches};
use super::turns::Turns;
use super::watches::Watches;
use super::{
    ClientPort, ClientPortOptions, ClientRequest, FRAME_AND_HEADER, REPLY_BYTES, ServiceMode,
    event, reads,
};
use crate::action::{Action, Actions, Reason};
use crate::admin::metrics::ServerStats;
use crate::budget::Work;
use crate::prep::{self, Request};
use crate::store::{NodeRef, Store};
use crate::types::{ConnId, Now, Zxid};
use crate::wire::client::{ReplyHeader, RequestHeader, XID_PING, perms};
use crate::wire::frame::FrameTooLong;
use crate::wire::txn::LoggedTxn;
use crate::wire::{ErrorCode, OpCode, Record, Word};

impl ClientPort {
    /// Takes whole frames as long as the connection may be listened to.
    pub(super) fn pump(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        loop {
            let max = self.options.jute_max_buffer;
            let Some(connection) = self.connections.get_mut(&conn) else { return };
            let phase = connection.phase;
            match phase {
                Phase::New => {
                    let word = connection.frames.peek_length();
                    if let Some(word) = word.and_then(|n| Word::parse(n.to_be_bytes())) {
                        connection.phase = Phase::Closing;
                        connection.figures.received += 1;
                        self.stats.packets_received.add(1);
                        self.stats.bytes_received.add(4);
                        let argument = connection.frames.peek_after_length();
                        self.submissions.push_back(ClientRequest::Word { conn, word, argument });
                        return;
                    }
                    if self.service == ServiceMode::None && word.is_some() {
                        return self.close(conn, Reason::NotServing, out);
                    }
                }
                Phase::Establishing | Phase::Closing => return,
                Phase::Established if connection.is_busy(&self.options, &self.load, 1) => {
                    return connection.pause(conn, out);
                }
                Phase::Established
                    if connection.frames.has_next() && self.turns.defers(conn, connection) =>
                {
                    return;
                }
                Phase::Established if self.options.requests.is_full(self.load.requests) => {
                    return self.stall(now.mono, conn);
                }
                Phase::Established => {}
            }
            let length = connection.frames.peek_length().and_then(|n| usize::try_from(n).ok());
            if let Some(length) = length.filter(|length| *length > self.options.large_request_bytes)
                && self.load.large.saturating_add(length) > self.options.large_requests_max_bytes
            {
                debug!(%conn, length, "a large request is one too many");
                self.stats.large_requests_rejected.add(1);
                return self.close(conn, Reason::Limit("large requests"), out);
            }
            let frame = match connection.frames.next(max) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    connection.throttled_since = None;
                    return;
                }
                Err(FrameTooLong { length, limit }) => {
                    let what = "a frame beyond jute.maxbuffer";
                    return self.close(conn, Reason::TooLong { what, length, limit }, out);
                }
            };
            connection.figures.received += 1;
            self.stats.packets_received.add(1);
            self.stats.bytes_received.add(4 + frame.len() as u64);
            self.turns.charge(connection, Work::request(frame.len()));
            if connection.phase == Phase::New {
                self.connect(now.mono, store, conn, &frame, out);
            } else {
                self.request(now, store, conn, frame, out);
            }
        }
    }

    pub(super) fn request(
        &mut self,
        now: Now,
        store: &Store,
        conn: ConnId,
        frame: Bytes,
        out: &mut Actions,
    ) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Ok(header) = RequestHeader::from_bytes(&frame) else {
            return self.close(conn, Reason::Protocol("malformed request header"), out);
        };
        let body = frame.slice(8..);
        let (session, timeout_ms) = (connection.session, connection.timeout_ms);
        let op = OpCode::from_i32(header.op);
        match op {
            Some(OpCode::Auth) => return self.authenticate(conn, header.xid, &body, out),
            Some(OpCode::Sasl) => return self.sasl(conn, header.xid, &body, out),
            _ => {}
        }
        let enforced = &self.options.enforced_schemes;
        if !enforced.is_empty() && !connection.auth.iter().any(|id| enforced.contains(&id.scheme)) {
            return self.unauthenticated(conn, header.xid, out);
        }
        let is_known = |op: &OpCode| !matches!(op, OpCode::Check | OpCode::Error);
        let Some(op) = op.filter(is_known) else {
            return self.unknown(conn, header.xid, out);
        };
        self.submissions.push_back(ClientRequest::Touch { session, timeout_ms });
        let is_held = connection.holds();
        let xid = if op == OpCode::Ping { XID_PING } else { header.xid };
        let request = || Request {
            session,
            cxid: header.xid,
            op,
            body: body.clone(),
            auth: connection.auth.clone(),
        };
        let throttled_ms = connection.throttled_since.map_or(0, |since| now.mono.ms_since(since));
        self.stats.throttle_queue.add(throttled_ms);
        let is_throttled = self.options.requests.is_late(op, throttled_ms);
        self.stats.throttled_ops.add(is_throttled.into());
        let state = if is_throttled {
            PendingState::Refused(ErrorCode::ThrottledOp)
        } else if reads::is_read(op) {
            PendingState::Read(body.clone())
        } else if matches!(op, OpCode::SetWatches | OpCode::SetWatches2) {
            match SetWatches::new(op, &body) {
                Ok(watches) => PendingState::SetWatches(watches),
                Err(_) => PendingState::Refused(ErrorCode::MarshallingError),
            }
        } else if self.service == ServiceMode::ReadOnly && op != OpCode::CloseSession {
            PendingState::Refused(ErrorCode::NotReadOnly)
        } else if op == OpCode::Sync {
            match reads::sync_path(&body) {
                Ok(_) => {
                    let sync = ClientRequest::Sync { conn, request: request() };
                    self.dispatch(is_held, sync, PendingState::Sync(body.clone()))
                }
                Err(code) => PendingState::Refused(code),
            }
        } else {
            match prep::parse(op, &body) {
                Ok(parsed) => {
                    let write = ClientRequest::Write(request(), parsed);
                    self.dispatch(is_held, write, PendingState::Write)
                }
                Err(code) => PendingState::Refused(code),
            }
        };
        let bytes = body.len();
        let (is_sync, is_write) = match &state {
            PendingState::Held(submission) => match &**submission {
                ClientRequest::Sync { .. } => (true, false),
                _ => (false, true),
            },
            state => (matches!(state, PendingState::Sync(_)), matches!(state, PendingState::Write)),
        };
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let ids = if is_write { connection.id_bytes } else { 0 };
        let is_read = matches!(state, PendingState::Read(_) | PendingState::SetWatches(_));
        let cost = if is_read || is_sync { connection.expected_cost(bytes) } else { 0 };
        let pending = Pending { xid, op, since: now.mono, bytes, ids, cost, state };
        connection.pending_bytes += bytes;
        connection.pending_cost += cost;
        self.load.add(&self.options, &pending);
        connection.pending.push_back(pending);
        self.release(now, store, conn, out);
    }

    /// An operation that ZooKeeper does not know either.
    pub(super) fn unknown(&mut self, conn: ConnId, xid: i32, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            let code = ErrorCode::Unimplemented;
            connection.reply(&mut self.stats, xid, Zxid(-1), code, |_| {});
        }
        self.close(conn, Reason::Protocol("unknown operation"), out);
    }

    /// Answers what stands at the head of a session's queue and needs nobody else.
    pub(super) fn release(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        self.answer_ready(now, store, conn, false, out);
    }

    /// A session's write is about to be applied: what it asked before must not see it, however
    /// much is done in this turn. It cannot be much (its connection is busy before).
    pub(crate) fn applying(
        &mut self,
        now: Now,
        store: &Store,
        logged: &LoggedTxn,
        out: &mut Actions,
    ) {
        let Some(conn) = self.by_session.get(&logged.header.client).copied() else { return };
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.settles(logged) || self.turns.has_more() {
            self.answer_ready(now, store, conn, true, out);
        }
    }

    fn answer_ready(
        &mut self,
        now: Now,
        store: &Store,
        conn: ConnId,
        at_once: bool,
        out: &mut Actions,
    ) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        while let Some(head) = connection.pending.front() {
            let (xid, op) = (head.xid, head.op);
            let zxid = store.last_zxid();
            if connection.awaiting_drain || connection.out.len() >= REPLY_BYTES {
                connection.awaiting_drain = true;
                return;
            }
            if head.waits_for_others() || (!at_once && self.turns.defers(conn, connection)) {
                return;
            }
            let Some(head) = connection.pending.front_mut() else { return };
            match &mut head.state {
                PendingState::Held(_)
                | PendingState::Write
                | PendingState::InDoubt { .. }
                | PendingState::Sync(_) => return,
                PendingState::Done(reply) => {
                    let Reply { zxid, code, body } = reply.clone();
                    // Reads before it may have shown more than there was when it was done.
                    let zxid = zxid.max(connection.last_zxid);
                    connection.reply(&mut self.stats, xid, zxid, code, |out| out.put_slice(&body));
                }
                PendingState::Ended => {
                    connection.reply(&mut self.stats, xid, zxid, ErrorCode::Ok, |_| {});
                    return self.close(conn, Reason::Done, out);
                }
                PendingState::Refused(code) => {
                    let (code, zxid) =
                        (*code, if *code == ErrorCode::Unimplemented { Zxid(-1) } else { zxid });
                    connection.reply(&mut self.stats, xid, zxid, code, |_| {});
                }
                PendingState::SetWatches(request) => {
                    let (figures, outbox) = (&mut connection.figures, &mut connection.out);
                    let share = self.turns.budget.share();
                    let mut left = share.max(1);
                    let result = loop {
                        // So much was missed that the client has to take some of it first.
                        if outbox.len() >= REPLY_BYTES {
                            connection.awaiting_drain = true;
                            self.dirty.push(conn);
                            let cost =
                                Work { bytes: share.saturating_sub(left), ..Work::default() };
                            return self.turns.charge(connection, cost);
                        }
                        let ids = &connection.auth;
                        let may_read = |node: &NodeRef<'_>| {
                            self.options.access.check(node.acl(), perms::READ, ids).is_ok()
                        };
                        match request.next(store, &mut self.watches, conn, may_read, &mut left) {
                            Next::Later => break None,
                            Next::Done(result) => break Some(result),
                            Next::Missed(kind, path) => {
                                let event = |out: &mut _| event(kind, &path, Zxid(-1), out);
                                let sent = connection::frame(outbox.end(), event);
                                figures.sent += 1;
                                self.stats.watch_sent(sent);
                            }
                        }
                    };
                    let cost = Work { bytes: share.saturating_sub(left), ..Work::default() };
                    self.turns.charge(connection, cost);
                    let Some(result) = result else {
                        self.dirty.push(conn);
                        continue;
                    };
                    let code = result.err().unwrap_or(ErrorCode::Ok);
                    connection.reply(&mut self.stats, xid, zxid, code, |_| {});
                }
                PendingState::Read(_) => {
                    let (options, watches) = (&self.options, &mut self.watches);
                    let (turns, stats) = (&mut self.turns, &mut self.stats);
                    Reading { options, watches, turns, stats, store }
                        .answer(conn, connection, xid, op);
                }
            }
            self.dirty.push(conn);
            if let Some(done) = connection.pending.pop_front() {
                connection.pending_bytes -= done.bytes;
                connection.pending_cost -= done.cost;
                self.load.remove(&self.options, &done);
                connection.answered(&mut self.stats, now.mono, &done, zxid);
            }
        }
    }

    /// After answers were given: the connection may be listened to again.
    pub(super) fn resume(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        self.release(now, store, conn, out);
        if let Some(connection) = self.connections.get_mut(&conn)
            && connection.paused
            && !connection.is_busy(&self.options, &self.load, 2)
            && !connection.share.waits()
        {
            connection.paused = false;
            out.push(Action::Resume { conn });
            self.pump(now, store, conn, out);
        }
    }
}

/// The context of a read.
struct Reading<'a> {
    options: &'a ClientPortOptions,
    watches: &'a mut Watches,
    turns: &'a mut Turns,
    stats: &'a mut ServerStats,
    store: &'a Store,
}

impl Reading<'_> {
    /// Writes the answer in place, and takes it back if it turns out to be an error.
    #[inline]
    fn answer(&mut self, conn: ConnId, connection: &mut Connection, xid: i32, op: OpCode) {
        let Some(PendingState::Read(body)) = connection.pending.front().map(|head| &head.state)
        else {
            return;
        };
        let (body, zxid) = (body.clone(), self.store.last_zxid());
        connection.last_zxid = connection.last_zxid.max(zxid);
        let ids = connection.auth.clone();
        let context = reads::RequestContext {
            conn,
            session: connection.session,
            ids: &ids,
            access: &self.options.access,
            most_parts_bytes: self.options.most_parts_bytes(),
            work: Cell::default(),
        };
        let start = connection.out.len();
        let mut result = Ok(());
        let size = connection.frame(|out| {
            ReplyHeader { xid, zxid, err: 0 }.write(out);
            result = reads::read(self.store, self.watches, &context, op, &body, out);
        });
        let mut work = context.work.get();
        work.bytes += size;
        connection.read_cost = work.cost().max(connection.read_cost / 2);
        self.turns.charge(connection, work);
        let Err(refused) = result else { return self.stats.reply_sent(size) };
        let mut answer = connection.out.end().split_off(start);
        connection.figures.sent -= 1;
        let err = refused.code as i32;
        let body = answer.split_off(FRAME_AND_HEADER);
        let size = connection.frame(|out| {
            ReplyHeader { xid, zxid, err }.write(out);
            if refused.with_body {
                out.put_slice(&body);
            }
        });
        self.stats.reply_sent(size);
    }
}
