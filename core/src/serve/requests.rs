//! From a client's bytes to its requests, each with its place in the session's order, and the
//! answers to what needs nobody else.

use bytes::{BufMut, Bytes};
use tracing::debug;

use super::connection::{self, Pending, PendingState, Phase};
use super::set_watches::{Next, SetWatches};
use super::{FRAME_AND_HEADER, REPLY_BYTES, Serve, Service, Submission, event, large, reads};
use crate::action::{Action, Actions, Reason};
use crate::prep::{self, Request};
use crate::store::Store;
use crate::types::{ConnId, Now, Zxid};
use crate::wire::client::{ReplyHeader, RequestHeader, XID_PING};
use crate::wire::frame::FrameTooLong;
use crate::wire::{ErrorCode, OpCode, Record, Word};

impl Serve {
    /// Takes whole frames as long as the connection may be listened to.
    pub(super) fn pump(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        loop {
            let max = self.options.jute_max_buffer;
            let Some(connection) = self.connections.get_mut(&conn) else { return };
            match connection.phase {
                Phase::New => {
                    let word = connection.frames.peek_length();
                    if let Some(word) = word.and_then(|n| Word::parse(n.to_be_bytes())) {
                        connection.phase = Phase::Closing;
                        connection.figures.received += 1;
                        self.stats.packets_received.add(1);
                        self.stats.bytes_received.add(4);
                        let argument = connection.frames.peek_after_length();
                        self.submissions.push_back(Submission::Word { conn, word, argument });
                        return;
                    }
                    if self.service == Service::None && word.is_some() {
                        return self.close(conn, Reason::NotServing, out);
                    }
                }
                Phase::Establishing | Phase::Closing => return,
                Phase::Established if connection.is_busy(&self.options, self.waiting, 1) => {
                    return connection.pause(conn, out);
                }
                Phase::Established if self.options.requests.is_full(self.waiting) => {
                    return self.stall(now.mono, conn);
                }
                Phase::Established => {}
            }
            let length = connection.frames.peek_length().and_then(|n| usize::try_from(n).ok());
            if let Some(length) = length.filter(|length| *length > self.options.large_request_bytes)
                && self.large_bytes.saturating_add(length) > self.options.large_requests_max_bytes
            {
                debug!(%conn, length, "a large request is one too many");
                self.stats.large_requests_rejected.add(1);
                return self.close(conn, Reason::Limit("large requests"), out);
            }
            let frame = match connection.frames.next(max) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    connection.stalled = None;
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
        self.submissions.push_back(Submission::Touch { session, timeout_ms });
        let xid = if op == OpCode::Ping { XID_PING } else { header.xid };
        let request = || Request {
            session,
            cxid: header.xid,
            op,
            body: body.clone(),
            auth: connection.auth.clone(),
        };
        let stalled_ms = connection.stalled.map_or(0, |since| now.mono.ms_since(since));
        self.stats.throttle_queue.add(stalled_ms);
        let is_throttled = self.options.requests.is_late(op, stalled_ms);
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
        } else if self.service == Service::ReadOnly && op != OpCode::CloseSession {
            PendingState::Refused(ErrorCode::NotReadOnly)
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
        let bytes = body.len();
        connection.pending_bytes += bytes;
        self.waiting += 1;
        self.large_bytes += large(&self.options, bytes);
        connection.pending.push_back(Pending { xid, op, since: now.mono, bytes, state });
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
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        while let Some(head) = connection.pending.front_mut() {
            let (xid, op) = (head.xid, head.op);
            let zxid = store.last_zxid();
            if connection.choked || connection.out.len() >= REPLY_BYTES {
                connection.choked = true;
                return;
            }
            match &mut head.state {
                PendingState::Write | PendingState::Sync(_) => return,
                PendingState::Done(reply) => {
                    let reply = reply.clone();
                    connection.frame(|out| out.put_slice(&reply));
                    self.stats.reply_sent(reply.len());
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
                    let result = loop {
                        // So much was missed that the client has to take some of it first.
                        if connection.out.len() >= REPLY_BYTES {
                            connection.choked = true;
                            return self.dirty.push(conn);
                        }
                        match request.next(store, &mut self.watches, conn) {
                            Next::Done(result) => break result,
                            Next::Missed(kind, path) => {
                                let event = |out: &mut _| event(kind, &path, Zxid(-1), out);
                                let sent = connection::frame(connection.out.end(), event);
                                connection.figures.sent += 1;
                                self.stats.watch_sent(sent);
                            }
                        }
                    };
                    let code = result.err().unwrap_or(ErrorCode::Ok);
                    connection.reply(&mut self.stats, xid, zxid, code, |_| {});
                }
                PendingState::Read(body) => {
                    let body = body.clone();
                    let ids = connection.auth.clone();
                    let asker = reads::Asker {
                        conn,
                        session: connection.session,
                        ids: &ids,
                        access: &self.options.access,
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
                            self.stats.reply_sent(size);
                        }
                        Err(refused) => {
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
                }
            }
            self.dirty.push(conn);
            if let Some(done) = connection.pending.pop_front() {
                connection.pending_bytes -= done.bytes;
                self.waiting -= 1;
                self.large_bytes -= large(&self.options, done.bytes);
                connection.answered(&mut self.stats, now.mono, &done, zxid);
            }
        }
    }

    /// After answers were given: the connection may be listened to again.
    pub(super) fn resume(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        self.release(now, store, conn, out);
        if let Some(connection) = self.connections.get_mut(&conn)
            && connection.paused
            && !connection.is_busy(&self.options, self.waiting, 2)
        {
            connection.paused = false;
            out.push(Action::Resume { conn });
            self.pump(now, store, conn, out);
        }
    }
}
