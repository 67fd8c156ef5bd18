//! The client's side of a session (`ClientCnxn`): it connects and reconnects, keeps the session
//! alive, and matches replies to requests.
//!
//! The host dials the servers of [`ClientEvent::Connect`], carries bytes in both directions, and
//! calls [`Client::tick`] at [`Client::deadline`]. [`ConnectString`] reads the list of servers.

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

/// The longest interval between two messages to the server, ms (`MAX_SEND_PING_INTERVAL`).
const MAX_PING_INTERVAL_MS: u64 = 10_000;
/// The least session time-out that the client works with, ms: below it, it would only send pings.
const MIN_TIMEOUT_MS: i32 = 30;

/// The options of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientOptions {
    /// The number of servers, at least 1. A server is named by its index.
    pub servers: usize,
    /// The first server to dial. Clients with different first servers spread the load.
    pub first_server: usize,
    /// The session time-out to request, ms. The server decides.
    pub timeout_ms: i32,
    /// The pause after a failed attempt with every server, ms.
    pub pause_ms: u64,
    /// The longest reply, bytes (the client's `jute.maxbuffer`).
    pub max_frame_bytes: usize,
    /// Whether xids begin at 1 on each connection, as in some clients, and not once a session.
    pub restarts_xids: bool,
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
            restarts_xids: false,
        }
    }
}

/// An event for the user of the client, or an action for its host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientEvent {
    /// Dial this server, and answer with [`Client::connected`] or [`Client::disconnected`].
    Connect {
        /// The index of the server.
        server: usize,
    },
    /// Drop the connection, or stop dialling. Bytes of that connection must not be handed in later.
    Disconnect,
    /// The session is established, or resumed at another server.
    Attached {
        /// The id of the session.
        session: SessionId,
        /// The negotiated time-out, ms.
        timeout_ms: i32,
    },
    /// The connection is lost. The session may be alive.
    Detached,
    /// A request is answered, or lost with its connection.
    Reply {
        /// The number of the request, as [`Client::submit`] returned it.
        xid: i32,
        /// The server's last zxid at the time of the reply; zero if the request is lost.
        zxid: Zxid,
        /// The answer, or the reason why there is none.
        result: Result<Response, Failure>,
    },
    /// A watch has fired.
    Watch {
        /// The kind of change.
        kind: EventType,
        /// The path of the changed znode.
        path: ByteString,
        /// The transaction; -1 of a change that was missed and is reported after a reconnect.
        zxid: Zxid,
    },
    /// The session has ended. This is the last event.
    Ended(Ended),
}

/// The reason why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The server refused the request.
    #[error("refused: {0:?}")]
    Refused(ErrorCode),
    /// The server refused the request with an unknown code.
    #[error("refused with the unknown code {0}")]
    Unknown(i32),
    /// The connection was lost before the answer came: the request may have been executed or not.
    #[error("the connection was lost before the answer came")]
    ConnectionLost,
}

/// The reason why a session has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ended {
    /// No server received a message of it in time.
    #[error("the session has expired")]
    Expired,
    /// [`Client::close`] was called.
    #[error("the session is closed")]
    Closed,
    /// A server rejected the credentials.
    #[error("authentication failed")]
    AuthFailed,
}

/// The state of the connection.
#[derive(Debug)]
enum Link {
    /// The next server is dialled at this time.
    Waiting(Time),
    /// A server is being dialled since this time.
    Dialling(Time),
    /// The ConnectRequest was sent at this time.
    Handshake(Time),
    Attached,
    Ended(Ended),
}

/// A request that was sent and is not answered.
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
    /// The number of servers that failed since the last success.
    failed_servers: usize,
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
    queued: BytesMut,
    events: VecDeque<ClientEvent>,
    last_sent: Time,
    last_received: Time,
}

impl Client {
    /// A client without a session. Its first event is a [`ClientEvent::Connect`].
    pub fn new(options: ClientOptions, now: Time) -> Client {
        let options = ClientOptions { servers: options.servers.max(1), ..options };
        let mut client = Client {
            link: Link::Waiting(now),
            server: options.first_server % options.servers,
            failed_servers: 0,
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
            queued: BytesMut::new(),
            events: VecDeque::new(),
            last_sent: now,
            last_received: now,
            options,
        };
        client.dial(now);
        client
    }

    /// The dialled connection is open.
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

    /// The connection is closed, or could not be opened.
    pub fn disconnected(&mut self, now: Time) {
        if !matches!(self.link, Link::Waiting(_) | Link::Ended(_)) {
            self.lost(now);
        }
    }

    /// Takes bytes of the connection, cut anywhere.
    pub fn received(&mut self, now: Time, bytes: Bytes) {
        self.last_received = now;
        self.frames.push(bytes);
        loop {
            let accepted = match (&self.link, self.frames.next(self.options.max_frame_bytes)) {
                (Link::Waiting(_) | Link::Dialling(_) | Link::Ended(_), _) | (_, Ok(None)) => {
                    return;
                }
                (Link::Handshake(_), Ok(Some(frame))) => self.handshake(now, &frame),
                (Link::Attached, Ok(Some(frame))) => self.packet(&frame),
                (_, Err(_)) => None,
            };
            if accepted.is_none() {
                self.events.push_back(ClientEvent::Disconnect);
                return self.lost(now);
            }
        }
    }

    /// Does the work of the deadline, if it has come.
    pub fn tick(&mut self, now: Time) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.link {
            Link::Waiting(_) => self.dial(now),
            Link::Attached if now < self.read_deadline() => self.ping(now),
            Link::Dialling(_) | Link::Handshake(_) | Link::Attached => {
                self.events.push_back(ClientEvent::Disconnect);
                self.lost(now);
            }
            Link::Ended(_) => {}
        }
    }

    /// The time at which [`Client::tick`] has work; none after the end of the session.
    pub fn deadline(&self) -> Option<Time> {
        match self.link {
            Link::Waiting(until) => Some(until),
            Link::Dialling(since) | Link::Handshake(since) => Some(
                since.plus_ms((self.effective_timeout_ms() / self.options.servers as u64).max(1)),
            ),
            Link::Attached => {
                let interval = (self.read_timeout_ms() / 2).min(MAX_PING_INTERVAL_MS);
                Some(self.read_deadline().min(self.last_sent.plus_ms(interval)))
            }
            Link::Ended(_) => None,
        }
    }

    /// Sends a request, or keeps it until the session is established. Several requests may be under
    /// way. Returns the xid, which the reply carries.
    ///
    /// # Errors
    /// The session has ended, or is being closed.
    pub fn submit(&mut self, now: Time, request: &Request) -> Result<i32, Ended> {
        self.send(now, request.op(), Intent::of(request), |out| request.write(out))
    }

    /// Authenticates the session, now and after every reconnect: `digest` with `user:password`.
    pub fn add_auth(&mut self, now: Time, scheme: &str, auth: Bytes) {
        let packet = AuthPacket { kind: 0, scheme: scheme.into(), auth: Some(auth) };
        if let Link::Attached = self.link {
            self.last_sent = now;
            request(&mut self.out, XID_AUTH, OpCode::Auth, |out| packet.write(out));
        }
        self.auth.push(packet);
    }

    /// Ends the session after the requests that were submitted before.
    pub fn close(&mut self, now: Time) {
        if self.session.0 == 0 && !matches!(self.link, Link::Ended(_)) {
            self.events.push_back(ClientEvent::Disconnect);
            self.end(Ended::Closed);
        } else if self.send(now, OpCode::CloseSession, None, |_| {}).is_ok() {
            self.closing = true;
        }
    }

    /// The bytes to send to the server; none if there are none.
    pub fn take_output(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    /// The next event. The host drains all events after every call.
    pub fn next_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// The id of the session; 0 before the first one is established.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The zxid of the last reply.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The number of requests without an answer.
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
            Link::Waiting(_) | Link::Dialling(_) | Link::Handshake(_) => &mut self.queued,
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
        self.failed_servers = 0;
        self.session = response.session;
        self.timeout_ms = response.timeout_ms;
        self.password = response.password.unwrap_or_default();
        self.last_sent = now;
        let (session, timeout_ms) = (self.session, self.timeout_ms);
        self.events.push_back(ClientEvent::Attached { session, timeout_ms });
        // Watches come before the queued requests: their events precede the results of later reads.
        for packet in &self.auth {
            request(&mut self.out, XID_AUTH, OpCode::Auth, |out| packet.write(out));
        }
        for batch in self.watched.restore(self.last_zxid) {
            request(&mut self.out, XID_SET_WATCHES, batch.op(), |out| batch.write(out));
        }
        let queued = self.queued.split();
        self.out.extend_from_slice(&queued);
        Some(())
    }

    /// Handles a packet; none if it breaks the protocol.
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
                // The request stays pending until its answer is read: an unreadable answer loses it
                // with the connection.
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

    /// Gives the connection up and goes on to the next server.
    fn lost(&mut self, now: Time) {
        if let Link::Attached = self.link {
            self.events.push_back(ClientEvent::Detached);
        }
        if self.closing {
            return self.end(Ended::Closed);
        }
        self.reset();
        self.server = (self.server + 1) % self.options.servers;
        self.failed_servers += 1;
        if self.failed_servers < self.options.servers {
            self.dial(now);
        } else {
            self.failed_servers = 0;
            self.link = Link::Waiting(now.plus_ms(self.options.pause_ms));
        }
    }

    fn end(&mut self, why: Ended) {
        self.reset();
        self.link = Link::Ended(why);
        self.events.push_back(ClientEvent::Ended(why));
    }

    /// Drops the state of the connection.
    fn reset(&mut self) {
        for Pending { xid, op, .. } in self.pending.drain(..) {
            if op != OpCode::CloseSession {
                let result = Err(Failure::ConnectionLost);
                self.events.push_back(ClientEvent::Reply { xid, zxid: Zxid::ZERO, result });
            }
        }
        if self.options.restarts_xids {
            self.last_xid = 0;
        }
        self.frames = FrameReader::default();
        self.out.clear();
        self.queued.clear();
    }

    /// The time-out of the session, or the least one that the client works with.
    fn effective_timeout_ms(&self) -> u64 {
        self.timeout_ms.max(MIN_TIMEOUT_MS) as u64
    }

    /// The limit for a silent server, ms. It leaves a third of the time-out to find another server.
    fn read_timeout_ms(&self) -> u64 {
        self.effective_timeout_ms() * 2 / 3
    }

    fn read_deadline(&self) -> Time {
        self.last_received.plus_ms(self.read_timeout_ms())
    }
}

/// Appends a request.
fn request(out: &mut BytesMut, xid: i32, op: OpCode, body: impl FnOnce(&mut BytesMut)) {
    frame(out, |out| {
        RequestHeader { xid, op: op as i32 }.write(out);
        body(out);
    });
}

/// Appends a frame: a length and a body.
fn frame(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_i32(0);
    body(out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
