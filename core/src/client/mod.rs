//! The client's side of a session: connects and reconnects, keeps the session alive, matches
//! replies to requests (`ClientCnxn`).
//!
//! Bytes in, bytes out: whoever drives it dials the servers it asks for, carries bytes both
//! ways, and calls [`Client::tick`] when [`Client::deadline`] has come.

mod connect_string;
mod request;
#[cfg(test)]
mod tests;
mod watched;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

pub use self::connect_string::ConnectString;
pub use self::request::{MultiOp, MultiResult, Request, Response};
use self::watched::{Intent, Watched};
use crate::types::{SessionId, Time, Zxid};
use crate::wire::client::{
    AuthPacket, ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent,
    XID_AUTH, XID_EVENT, XID_PING, XID_SET_WATCHES,
};
use crate::wire::frame::FrameReader;
use crate::wire::{ErrorCode, EventType, OpCode, Reader, Record};

/// No longer than this without a sign of life to the server (`MAX_SEND_PING_INTERVAL`), ms.
const MAX_PING_INTERVAL_MS: u64 = 10_000;
/// A server that grants less is treated as if it had granted this, ms.
const LEAST_TIMEOUT_MS: i32 = 30;

/// What a client is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientOptions {
    /// How many servers there are; they are named by index, at least one.
    pub servers: usize,
    /// The one to begin with. Clients that begin with different ones spread the load.
    pub first_server: usize,
    /// The session time-out to ask for, ms; the server has the last word.
    pub timeout_ms: i32,
    /// How long to wait after all servers were tried in vain, ms.
    pub pause_ms: u64,
    /// The longest reply, bytes (`jute.maxbuffer` of the client).
    pub max_frame_bytes: usize,
    /// Requests are numbered from 1 on each connection, as some clients do; else throughout the
    /// session.
    pub numbers_anew: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let max_frame_bytes = 4 * 1024 * 1024;
        ClientOptions {
            servers: 1,
            first_server: 0,
            timeout_ms: 30_000,
            pause_ms: 1000,
            max_frame_bytes,
            numbers_anew: false,
        }
    }
}

/// What happened, or is to be done, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientEvent {
    /// Dial this server; answer with [`Client::connected`] or [`Client::disconnected`].
    Connect {
        /// Its index.
        server: usize,
    },
    /// Drop the connection, or the dialling; nothing of it may be handed in any more.
    Disconnect,
    /// The session is established or re-attached.
    Attached {
        /// Its id.
        session: SessionId,
        /// As negotiated, ms.
        timeout_ms: i32,
    },
    /// The connection is lost; the session may live on.
    Detached,
    /// A request is answered, or lost with its connection.
    Reply {
        /// What [`Client::submit`] returned.
        xid: i32,
        /// The server's last zxid at that time; zero if it was lost.
        zxid: Zxid,
        /// The answer.
        result: Result<Response, Failure>,
    },
    /// A watch fired.
    Watch {
        /// What happened.
        kind: EventType,
        /// To which node.
        path: ByteString,
        /// By which transaction; -1 if it was missed and is told after a reconnect.
        zxid: Zxid,
    },
    /// There is no session any more; nothing follows.
    Ended(Ended),
}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The server refused.
    #[error("refused: {0:?}")]
    Refused(ErrorCode),
    /// The server refused with a code that is not known here.
    #[error("refused with the unknown code {0}")]
    Unknown(i32),
    /// The connection broke first: it may have been done or not.
    #[error("the connection was lost before the answer came")]
    ConnectionLost,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ended {
    /// The servers did not hear of it in time.
    #[error("the session has expired")]
    Expired,
    /// [`Client::close`] was called.
    #[error("the session is closed")]
    Closed,
    /// The servers do not accept who this client says it is.
    #[error("authentication failed")]
    AuthFailed,
}

#[derive(Debug)]
enum Link {
    /// Nothing is dialled before this time.
    Waiting(Time),
    /// Since this time.
    Dialling(Time),
    /// The ConnectRequest was sent at this time.
    Handshake(Time),
    Attached,
    Ended(Ended),
}

#[derive(Debug)]
struct Pending {
    xid: i32,
    op: OpCode,
    watch: Option<Intent>,
}

/// One session of one client.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    link: Link,
    server: usize,
    /// Servers tried in vain since the last success.
    tried: usize,
    session: SessionId,
    password: Bytes,
    timeout_ms: i32,
    last_zxid: Zxid,
    last_xid: i32,
    closing: bool,
    frames: FrameReader,
    pending: VecDeque<Pending>,
    auth: Vec<AuthPacket>,
    watched: Watched,
    out: BytesMut,
    /// Requests that wait for the session.
    held: BytesMut,
    events: VecDeque<ClientEvent>,
    last_sent: Time,
    last_heard: Time,
}

impl Client {
    /// Asks for a connection at once.
    pub fn new(options: ClientOptions, now: Time) -> Client {
        let options = ClientOptions { servers: options.servers.max(1), ..options };
        let mut client = Client {
            link: Link::Waiting(now),
            server: options.first_server % options.servers,
            tried: 0,
            session: SessionId(0),
            password: Bytes::from_static(&[0; 16]),
            timeout_ms: options.timeout_ms,
            last_zxid: Zxid::ZERO,
            last_xid: 0,
            closing: false,
            frames: FrameReader::default(),
            pending: VecDeque::new(),
            auth: Vec::new(),
            watched: Watched::default(),
            out: BytesMut::new(),
            held: BytesMut::new(),
            events: VecDeque::new(),
            last_sent: now,
            last_heard: now,
            options,
        };
        client.dial(now);
        client
    }

    /// The dialled connection is up.
    pub fn connected(&mut self, now: Time) {
        let Link::Dialling(_) = self.link else { return };
        self.link = Link::Handshake(now);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: self.options.timeout_ms,
            session: self.session,
            password: Some(self.password.clone()),
            read_only: Some(false),
        };
        frame(&mut self.out, |out| request.write(out));
    }

    /// The connection is gone, or could not be made.
    pub fn disconnected(&mut self, now: Time) {
        if !matches!(self.link, Link::Waiting(_) | Link::Ended(_)) {
            self.lost(now);
        }
    }

    /// Bytes arrived, cut anywhere.
    pub fn received(&mut self, now: Time, bytes: Bytes) {
        self.last_heard = now;
        self.frames.push(bytes);
        loop {
            let understood = match (&self.link, self.frames.next(self.options.max_frame_bytes)) {
                (Link::Waiting(_) | Link::Dialling(_) | Link::Ended(_), _) | (_, Ok(None)) => {
                    return;
                }
                (Link::Handshake(_), Ok(Some(frame))) => self.handshake(now, &frame),
                (Link::Attached, Ok(Some(frame))) => self.packet(&frame),
                (_, Err(_)) => None,
            };
            if understood.is_none() {
                self.events.push_back(ClientEvent::Disconnect);
                return self.lost(now);
            }
        }
    }

    /// A deadline has come, or may have.
    pub fn tick(&mut self, now: Time) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.link {
            Link::Waiting(_) => self.dial(now),
            Link::Attached if now < self.silence_ends() => self.ping(now),
            Link::Dialling(_) | Link::Handshake(_) | Link::Attached => {
                self.events.push_back(ClientEvent::Disconnect);
                self.lost(now);
            }
            Link::Ended(_) => {}
        }
    }

    /// When [`Client::tick`] has work.
    pub fn deadline(&self) -> Option<Time> {
        match self.link {
            Link::Waiting(until) => Some(until),
            Link::Dialling(since) | Link::Handshake(since) => {
                Some(since.plus_ms((self.patience_ms() / self.options.servers as u64).max(1)))
            }
            Link::Attached => {
                let interval = (self.silence_ms() / 2).min(MAX_PING_INTERVAL_MS);
                Some(self.silence_ends().min(self.last_sent.plus_ms(interval)))
            }
            Link::Ended(_) => None,
        }
    }

    /// Sends a request, or keeps it until the session is there; several may be under way.
    /// Returns its number, which its reply will carry.
    ///
    /// # Errors
    /// The session has ended, or is about to.
    pub fn submit(&mut self, now: Time, request: &Request) -> Result<i32, Ended> {
        self.send(now, request.op(), Intent::of(request), |out| request.write(out))
    }

    /// Adds an identity (`digest` with `user:password`), here and after every reconnect.
    pub fn add_auth(&mut self, now: Time, scheme: &str, auth: Bytes) {
        let packet = AuthPacket { kind: 0, scheme: scheme.into(), auth: Some(auth) };
        if let Link::Attached = self.link {
            self.last_sent = now;
            request(&mut self.out, XID_AUTH, OpCode::Auth, |out| packet.write(out));
        }
        self.auth.push(packet);
    }

    /// Ends the session, in turn after what was submitted before.
    pub fn close(&mut self, now: Time) {
        if self.session.0 == 0 && !matches!(self.link, Link::Ended(_)) {
            self.events.push_back(ClientEvent::Disconnect);
            self.end(Ended::Closed);
        } else if self.send(now, OpCode::CloseSession, None, |_| {}).is_ok() {
            self.closing = true;
        }
    }

    /// The bytes to send to the server, if there are any.
    pub fn take_output(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    /// What happened next. To be drained after every call.
    pub fn next_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// The session's id; 0 before there is one.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The newest zxid that this client knows of.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Requests without an answer.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    fn send(
        &mut self,
        now: Time,
        op: OpCode,
        watch: Option<Intent>,
        body: impl FnOnce(&mut BytesMut),
    ) -> Result<i32, Ended> {
        let out = match self.link {
            Link::Ended(why) => return Err(why),
            _ if self.closing => return Err(Ended::Closed),
            Link::Attached => {
                self.last_sent = now;
                &mut self.out
            }
            Link::Waiting(_) | Link::Dialling(_) | Link::Handshake(_) => &mut self.held,
        };
        let xid = self.last_xid.checked_add(1).unwrap_or(1);
        self.last_xid = xid;
        request(out, xid, op, body);
        self.pending.push_back(Pending { xid, op, watch });
        Ok(xid)
    }

    fn ping(&mut self, now: Time) {
        self.last_sent = now;
        request(&mut self.out, XID_PING, OpCode::Ping, |_| {});
    }

    fn handshake(&mut self, now: Time, frame: &Bytes) -> Option<()> {
        let response = ConnectResponse::from_bytes(frame).ok()?;
        if response.timeout_ms <= 0 {
            self.events.push_back(ClientEvent::Disconnect);
            self.end(Ended::Expired);
            return Some(());
        }
        self.link = Link::Attached;
        self.tried = 0;
        self.session = response.session;
        self.timeout_ms = response.timeout_ms;
        self.password = response.password.unwrap_or_default();
        self.last_sent = now;
        let (session, timeout_ms) = (self.session, self.timeout_ms);
        self.events.push_back(ClientEvent::Attached { session, timeout_ms });
        // Who asks comes first, then what it watched: events precede what is read later.
        for packet in &self.auth {
            request(&mut self.out, XID_AUTH, OpCode::Auth, |out| packet.write(out));
        }
        for batch in self.watched.again(self.last_zxid) {
            request(&mut self.out, XID_SET_WATCHES, batch.op(), |out| batch.write(out));
        }
        let held = self.held.split();
        self.out.extend_from_slice(&held);
        Some(())
    }

    /// None: this is not what a server may send.
    fn packet(&mut self, frame: &Bytes) -> Option<()> {
        let r = &mut Reader::new(frame);
        let ReplyHeader { xid, zxid, err } = r.record().ok()?;
        match xid {
            XID_PING | XID_SET_WATCHES => {}
            XID_AUTH if err != 0 => {
                self.events.push_back(ClientEvent::Disconnect);
                self.end(Ended::AuthFailed);
            }
            XID_AUTH => {}
            XID_EVENT => {
                let event: WatcherEvent = r.record().ok()?;
                let kind = EventType::from_i32(event.kind)?;
                self.watched.fired(kind, &event.path);
                self.events.push_back(ClientEvent::Watch { kind, path: event.path, zxid });
            }
            _ => {
                // An answer that cannot be read is none: the request is lost with the connection.
                let op = self.pending.front().filter(|pending| pending.xid == xid)?.op;
                let result = match ErrorCode::from_i32(err) {
                    Some(ErrorCode::Ok) => Ok(Response::read(op, r).ok()?),
                    Some(code) => Err(Failure::Refused(code)),
                    None => Err(Failure::Unknown(err)),
                };
                let pending = self.pending.pop_front()?;
                if zxid > Zxid::ZERO {
                    self.last_zxid = zxid;
                }
                if let Some(intent) = pending.watch {
                    match result {
                        Ok(_) => self.watched.answered(intent, true),
                        Err(Failure::Refused(ErrorCode::NoNode)) => {
                            self.watched.answered(intent, false);
                        }
                        Err(_) => {}
                    }
                }
                if pending.op == OpCode::CloseSession {
                    self.events.push_back(ClientEvent::Disconnect);
                    self.end(Ended::Closed);
                } else {
                    self.events.push_back(ClientEvent::Reply { xid, zxid, result });
                }
            }
        }
        Some(())
    }

    fn dial(&mut self, now: Time) {
        self.link = Link::Dialling(now);
        self.events.push_back(ClientEvent::Connect { server: self.server });
    }

    /// The connection is of no use any more: on to the next server.
    fn lost(&mut self, now: Time) {
        if let Link::Attached = self.link {
            self.events.push_back(ClientEvent::Detached);
        }
        if self.closing {
            return self.end(Ended::Closed);
        }
        self.forget();
        self.server = (self.server + 1) % self.options.servers;
        self.tried += 1;
        if self.tried < self.options.servers {
            self.dial(now);
        } else {
            self.tried = 0;
            self.link = Link::Waiting(now.plus_ms(self.options.pause_ms));
        }
    }

    fn end(&mut self, why: Ended) {
        self.forget();
        self.link = Link::Ended(why);
        self.events.push_back(ClientEvent::Ended(why));
    }

    /// Drops what belongs to the connection.
    fn forget(&mut self) {
        for Pending { xid, op, .. } in self.pending.drain(..) {
            if op != OpCode::CloseSession {
                let result = Err(Failure::ConnectionLost);
                self.events.push_back(ClientEvent::Reply { xid, zxid: Zxid::ZERO, result });
            }
        }
        if self.options.numbers_anew {
            self.last_xid = 0;
        }
        self.frames = FrameReader::default();
        self.out.clear();
        self.held.clear();
    }

    /// The session's time-out, but never so short that nothing but pings would be sent.
    fn patience_ms(&self) -> u64 {
        self.timeout_ms.max(LEAST_TIMEOUT_MS) as u64
    }

    /// How long the server may be silent, ms: it leaves a third of the session's time to find
    /// another one.
    fn silence_ms(&self) -> u64 {
        self.patience_ms() * 2 / 3
    }

    fn silence_ends(&self) -> Time {
        self.last_heard.plus_ms(self.silence_ms())
    }
}

/// Appends a request.
fn request(out: &mut BytesMut, xid: i32, op: OpCode, body: impl FnOnce(&mut BytesMut)) {
    frame(out, |out| {
        RequestHeader { xid, op: op as i32 }.write(out);
        body(out);
    });
}

/// Appends a length and what it counts.
fn frame(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_i32(0);
    body(out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
