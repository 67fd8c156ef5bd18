//! Stories of the client port: raw frames in, raw frames out, over a real store.

mod certificates;
mod compatibility;
mod figures;
mod golden;
mod greedy;
mod moves;
mod order;
mod stories;
mod together;
mod watching;

use alloc::format;
use alloc::string::String;

use super::*;
use crate::hash::HashKey;
use crate::prep::{Prep, PrepOptions};
use crate::session::{SessionCheck, password};
use crate::store::StoreOptions;
use crate::wire::OpCode;
use crate::wire::client::{
    Acl, AddWatchRequest, ConnectRequest, ConnectResponse, CreateRequest, Id, SetWatches,
    SetWatches2, WatchedRequest, WatcherEvent, WatcherRequest,
};
use crate::wire::frame::FrameReader;
use crate::wire::jute::{Reader, Writer};
use crate::wire::txn::TxnHeader;

/// What a client saw, in its order.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Heard {
    Hello(ConnectResponse),
    Reply { xid: i32, zxid: i64, err: i32, body: Bytes },
    Event(EventType, String, i64),
    Raw(Bytes),
    Closed(Reason),
    Paused,
    Resumed,
}

/// A standalone server whose log is as fast as the test wants it.
struct Server {
    client_port: ClientPort,
    store: Store,
    prep: Prep,
    now: Now,
    zxid: i64,
    /// Proposed, not committed.
    proposed: VecDeque<LoggedTxn>,
    /// Syncs that wait; none: the server's own.
    syncs: VecDeque<Option<ConnId>>,
    /// Answers re-attachments as a learner, not as a leader.
    follows: bool,
    /// Commits at once.
    eager: bool,
    touched: Vec<SessionId>,
    /// Ticks as long as somebody has more to do.
    ticks: bool,
    out: Actions,
    heard: BTreeMap<ConnId, Vec<Heard>>,
    replies: BTreeMap<ConnId, (FrameReader, bool)>,
    /// Who waits to be told that its replies were taken.
    unwritten: Vec<ConnId>,
}

fn options() -> ClientPortOptions {
    ClientPortOptions {
        local_sessions: false,
        server: 1,
        min_session_timeout_ms: 4000,
        max_session_timeout_ms: 40_000,
        max_client_connections: 60,
        max_connections: 0,
        jute_max_buffer: 1_048_575,
        sessionless_timeout_ms: 10_000,
        connection_throttle: None,
        large_request_bytes: usize::MAX,
        large_requests_max_bytes: usize::MAX,
        enforced_schemes: Vec::new(),
        access: Access::default(),
        outstanding_limit: 1000,
        turn_budget: crate::budget::TURN,
        requests: RequestThrottle::default(),
    }
}

impl Server {
    fn new() -> Server {
        Server::with(options(), 1_700_000_000_000)
    }

    fn with(options: ClientPortOptions, wall_ms: i64) -> Server {
        let now = Now { mono: Time(0), wall_ms };
        let access = options.access.clone();
        let mut client_port = ClientPort::new(options, now, 0, HashKey::new(1));
        client_port.start_serving();
        Server {
            client_port,
            store: Store::new(StoreOptions { extended_types: true, ..StoreOptions::default() }),
            prep: Prep::new(
                PrepOptions {
                    extended_types: true,
                    enforce_quota: true,
                    protect_system_nodes: false,
                    access,
                    max_txn_bytes: 2_000_000,
                },
                HashKey::new(1),
            ),
            now,
            zxid: 0,
            proposed: VecDeque::new(),
            syncs: VecDeque::new(),
            follows: false,
            eager: true,
            touched: Vec::new(),
            ticks: true,
            out: Vec::new(),
            heard: BTreeMap::new(),
            replies: BTreeMap::new(),
            unwritten: Vec::new(),
        }
    }

    fn open(&mut self, n: u64) -> ConnId {
        let conn = ConnId::accepted(n);
        let peer = format!("127.0.0.1:{}", 40_000 + n).parse().unwrap();
        self.replies.insert(conn, (FrameReader::default(), true));
        self.client_port.opened(self.now.mono, conn, peer, &mut self.out);
        self.settle();
        conn
    }

    fn push(&mut self, conn: ConnId, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.client_port.received(self.now, &self.store, conn, bytes, &mut self.out);
        self.settle();
    }

    /// Opens a connection and gets a session of 10 s.
    fn client(&mut self, n: u64) -> (ConnId, SessionId) {
        let conn = self.open(n);
        let eager = core::mem::replace(&mut self.eager, true);
        self.push(conn, connect(SessionId(0), Some(&[0; 16])));
        self.eager = eager;
        let [Heard::Hello(hello)] = &self.hear(conn)[..] else { panic!() };
        (conn, hello.session)
    }

    fn ask(&mut self, conn: ConnId, xid: i32, op: OpCode, body: impl FnOnce(&mut BytesMut)) {
        self.push(conn, request(xid, op as i32, body));
    }

    fn settle(&mut self) {
        loop {
            while let Some(submission) = self.client_port.next_submission() {
                self.submit(submission);
            }
            if self.eager && !self.proposed.is_empty() {
                self.commit_one();
            } else if !self.client_port.admit_stalled(self.now, &self.store, &mut self.out) {
                break;
            }
        }
        self.client_port.flush(&mut self.out);
        for action in core::mem::take(&mut self.out) {
            self.act(action);
        }
        if self.ticks && self.client_port.turns.has_more() {
            self.tick();
        }
    }

    /// A tick: whoever has more to do goes on for a turn.
    fn tick(&mut self) {
        self.client_port.begin_turn(self.now.mono, true);
        self.client_port.take_turns(self.now, &self.store, &mut self.out);
        self.settle();
    }

    fn submit(&mut self, submission: ClientRequest) {
        let (now, zxid) = (self.now, Zxid(self.zxid + 1));
        match submission {
            ClientRequest::Word { conn, word, .. } => {
                let text = format!("[{}]", word.name());
                self.client_port.answer_word(conn, text, &mut self.out);
            }
            ClientRequest::CreateSession { session, timeout_ms } => {
                let (store, wall_ms) = (&self.store, now.wall_ms);
                let p = self.prep.create_session(store, session, timeout_ms, 0, zxid, wall_ms);
                self.zxid = zxid.0;
                self.proposed.push_back(p);
            }
            ClientRequest::Reattach { session, .. } => {
                let valid =
                    self.store.session(session).is_some() || self.client_port.is_read_only();
                let last = Handover::After(Zxid(self.zxid));
                let handover = if self.follows { Handover::Fenced } else { last };
                let handover = valid.then_some(handover);
                self.client_port.reattached(now, &self.store, session, handover, &mut self.out);
            }
            ClientRequest::Write(request, parsed) => {
                let (ok, wall_ms) = (SessionCheck::Ok, now.wall_ms);
                let p = self.prep.prepare(&self.store, &request, parsed, ok, zxid, wall_ms);
                self.zxid = zxid.0;
                self.proposed.push_back(p);
            }
            ClientRequest::Sync { conn, .. } if self.eager => self.synced(Some(conn)),
            ClientRequest::Sync { conn, .. } => self.syncs.push_back(Some(conn)),
            ClientRequest::Fence { .. } if self.eager => self.synced(None),
            ClientRequest::Fence { .. } => self.syncs.push_back(None),
            ClientRequest::Touch { session, .. } => self.touched.push(session),
        }
    }

    fn synced(&mut self, conn: Option<ConnId>) {
        match conn {
            Some(conn) => self.client_port.synced(self.now, &self.store, conn, &mut self.out),
            None => self.client_port.fence_passed(self.now, &self.store, &mut self.out),
        }
    }

    fn commit_one(&mut self) {
        let txn = self.proposed.pop_front().expect("something is proposed");
        self.commit(&txn);
    }

    fn commit(&mut self, txn: &LoggedTxn) {
        let mut effects = Effects { wanted: true, ..Effects::default() };
        self.client_port.applying(self.now, &self.store, txn, &mut self.out);
        let outcome = self.store.apply(txn, &mut effects);
        self.prep.committed(txn.header.zxid);
        let (now, store) = (self.now, &self.store);
        self.client_port.committed(now, store, txn, &outcome, &effects, &mut self.out);
    }

    /// Commits all that is proposed, and answers syncs.
    fn catch_up(&mut self) {
        while !self.proposed.is_empty() || !self.syncs.is_empty() {
            if !self.proposed.is_empty() {
                self.commit_one();
            }
            if let Some(sync) = self.syncs.pop_front() {
                self.synced(sync);
            }
            self.settle();
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { conn, bytes } => {
                let (frames, handshake) = self.replies.get_mut(&conn).unwrap();
                let heard = self.heard.entry(conn).or_default();
                if bytes.starts_with(b"[") {
                    return heard.push(Heard::Raw(bytes));
                }
                frames.push(bytes);
                while let Some(frame) = frames.next(usize::MAX).unwrap() {
                    let first = core::mem::take(handshake);
                    heard.push(if first { hello(&frame) } else { reply(&frame) });
                }
                assert_eq!(frames.buffered(), 0, "frames are sent whole");
            }
            Action::Close { conn, why } => self.hearing(conn, Heard::Closed(why)),
            Action::Pause { conn } => self.hearing(conn, Heard::Paused),
            Action::Resume { conn } => self.hearing(conn, Heard::Resumed),
            Action::AwaitWritable { conn } => self.unwritten.push(conn),
            other => panic!("{other:?}"),
        }
    }

    fn hearing(&mut self, conn: ConnId, what: Heard) {
        self.heard.entry(conn).or_default().push(what);
    }

    /// What this client heard since the last time.
    fn hear(&mut self, conn: ConnId) -> Vec<Heard> {
        self.heard.remove(&conn).unwrap_or_default()
    }

    /// The same without the bodies: `xid:error` and `event path`.
    fn brief(&mut self, conn: ConnId) -> Vec<String> {
        let brief = |heard| match heard {
            Heard::Hello(hello) => format!("hello {}", hello.timeout_ms),
            Heard::Reply { xid, err, .. } => format!("{xid}:{err}"),
            Heard::Event(kind, path, _) => format!("{kind:?} {path}"),
            Heard::Raw(text) => String::from_utf8(text.to_vec()).unwrap(),
            Heard::Closed(_) => "closed".into(),
            Heard::Paused => "paused".into(),
            Heard::Resumed => "resumed".into(),
        };
        self.hear(conn).into_iter().map(brief).collect()
    }

    /// Another client's writes, done at once.
    fn create(&mut self, conn: ConnId, path: &str) {
        self.ask(conn, 900, OpCode::Create, create(path, 0));
        assert_eq!(self.brief(conn).pop().unwrap(), "900:0", "create {path}");
    }
    fn delete(&mut self, conn: ConnId, path: &str) {
        self.ask(conn, 901, OpCode::Delete, versioned(path));
        assert_eq!(self.brief(conn).pop().unwrap(), "901:0", "delete {path}");
    }
    fn set(&mut self, conn: ConnId, path: &str) {
        self.ask(conn, 902, OpCode::SetData, set(path, b"new"));
        assert_eq!(self.brief(conn).pop().unwrap(), "902:0", "set {path}");
    }
}

fn hello(frame: &Bytes) -> Heard {
    Heard::Hello(ConnectResponse::from_bytes(frame).unwrap())
}

fn reply(frame: &Bytes) -> Heard {
    let r = &mut Reader::new(frame);
    let ReplyHeader { xid, zxid, err } = r.record().unwrap();
    if xid != XID_EVENT {
        return Heard::Reply { xid, zxid: zxid.0, err, body: r.rest() };
    }
    let event: WatcherEvent = r.record().unwrap();
    assert_eq!((event.state, r.is_empty()), (SYNC_CONNECTED, true));
    Heard::Event(EventType::from_i32(event.kind).unwrap(), String::from(&*event.path), zxid.0)
}

fn framed(body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(0);
    body(&mut out);
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

fn connect(session: SessionId, password: Option<&[u8]>) -> Bytes {
    connect_with(ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 10_000,
        session,
        password: password.map(Bytes::copy_from_slice),
        read_only: Some(false),
    })
}

fn connect_with(request: ConnectRequest) -> Bytes {
    framed(|out| request.write(out))
}

fn request(xid: i32, op: i32, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    framed(|out| {
        out.put_i32(xid);
        out.put_i32(op);
        body(out);
    })
}

fn world(perms: i32) -> Vec<Acl> {
    Vec::from([Acl { perms, id: Id { scheme: "world".into(), id: "anyone".into() } }])
}

fn create(path: &str, flags: i32) -> impl FnOnce(&mut BytesMut) + use<> {
    create_with(path, b"data", world(perms::ALL), flags)
}

fn create_with(
    path: &str,
    data: &[u8],
    acl: Vec<Acl>,
    flags: i32,
) -> impl FnOnce(&mut BytesMut) + use<> {
    let data = Some(Bytes::copy_from_slice(data));
    let request = CreateRequest { path: path.into(), data, acl, flags };
    move |out| request.write(out)
}

fn path(path: &str) -> impl FnOnce(&mut BytesMut) {
    move |out| out.put_ustring(path)
}

fn versioned(path: &str) -> impl FnOnce(&mut BytesMut) {
    move |out| {
        out.put_ustring(path);
        out.put_i32(-1);
    }
}

fn set<'a>(path: &'a str, data: &'a [u8]) -> impl FnOnce(&mut BytesMut) + 'a {
    move |out| {
        out.put_ustring(path);
        out.put_buffer(Some(data));
        out.put_i32(-1);
    }
}

fn watched(path: &str) -> impl FnOnce(&mut BytesMut) + use<> {
    let request = WatchedRequest { path: path.into(), watch: true };
    move |out| request.write(out)
}

fn look(path: &str) -> impl FnOnce(&mut BytesMut) + use<> {
    let request = WatchedRequest { path: path.into(), watch: false };
    move |out| request.write(out)
}

fn add_watch(path: &str, mode: i32) -> impl FnOnce(&mut BytesMut) + use<> {
    let request = AddWatchRequest { path: path.into(), mode };
    move |out| request.write(out)
}

/// checkWatches, removeWatches.
fn watcher(path: &str, kind: i32) -> impl FnOnce(&mut BytesMut) + use<> {
    let request = WatcherRequest { path: path.into(), kind };
    move |out| request.write(out)
}

fn nothing(_: &mut BytesMut) {}
