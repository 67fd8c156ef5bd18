//! A well-behaved client beside the fuzzed input: the production client, carried to a server
//! under test.

use bytes::Bytes;
use zabkeeper_core::client::{Client, ClientEvent, ClientOptions, Failure, Request, Response};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, Time};
use zabkeeper_core::wire::client::{Acl, CreateRequest, Id, SetDataRequest, WatchedRequest};

use crate::rig::Rig;

/// How long an answer may take.
const PATIENCE_MS: u64 = 60_000;
const PATH: &str = "/friend/kept";

pub(super) struct Friend {
    client: Client,
    conn: Option<ConnId>,
    replies: Vec<(i32, Result<Response, Failure>)>,
    value: u32,
}

impl Friend {
    /// A client that is about to connect.
    pub(super) fn new(now: Time) -> Friend {
        let mut client = Client::new(ClientOptions::default(), now);
        client.add_auth(now, "digest", Bytes::from_static(b"friend:keeps a secret"));
        Friend { client, conn: None, replies: Vec::new(), value: 0 }
    }

    /// A client with a session and a node that nobody else can change or remove.
    pub(super) fn with_a_node(rig: &mut Rig) -> Friend {
        let mut friend = Friend::new(rig.now.mono);
        for path in ["/friend", PATH] {
            let acl = Acl { perms: 31, id: Id { scheme: "auth".into(), id: "".into() } };
            let data = Some(Bytes::from_static(b"0"));
            let request = CreateRequest { path: path.into(), data, acl: vec![acl], flags: 0 };
            let made = friend.ask(rig, &Request::Create(request));
            assert_eq!(made, Ok(Response::Path(path.into())));
        }
        friend
    }

    /// Begins a new session: the old one had no chance to stay alive.
    pub(super) fn comes_anew(self, rig: &mut Rig) -> Friend {
        if let Some(conn) = self.conn {
            rig.closed(conn);
        }
        Friend { value: self.value, ..Friend::new(rig.now.mono) }
    }

    /// What was written is there, and more can be written.
    pub(super) fn is_served(&mut self, rig: &mut Rig) {
        let request = WatchedRequest { path: PATH.into(), watch: false };
        match self.ask(rig, &Request::GetData(request)) {
            Ok(Response::Data(got)) => {
                assert_eq!(got.data.as_deref(), Some(self.value.to_string().as_bytes()));
            }
            other => panic!("not served: {other:?}"),
        }
        self.value += 1;
        let data = Some(Bytes::from(self.value.to_string()));
        let request = SetDataRequest { path: PATH.into(), data, version: -1 };
        let answer = self.ask(rig, &Request::SetData(request));
        assert!(matches!(answer, Ok(Response::Stat(_))), "not served: {answer:?}");
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, rig: &mut Rig, request: &Request) -> Result<Response, Failure> {
        let xid = self.client.submit(rig.now.mono, request).expect("a session");
        let give_up = rig.now.mono.plus_ms(PATIENCE_MS);
        loop {
            self.carry(rig);
            if let Some(at) = self.replies.iter().position(|(x, _)| *x == xid) {
                return self.replies.swap_remove(at).1;
            }
            assert!(rig.now.mono < give_up, "no answer: {request:?}");
            rig.pass(200);
            self.client.tick(rig.now.mono);
        }
    }

    /// Carries everything that there is, both ways. Keeps the session alive.
    pub(super) fn carry(&mut self, rig: &mut Rig) {
        loop {
            let now = rig.now.mono;
            let mut moved = false;
            while let Some(event) = self.client.next_event() {
                moved = true;
                match event {
                    ClientEvent::Connect { .. } => {
                        self.conn = Some(rig.accept(Port::Client));
                        self.client.connected(now);
                    }
                    ClientEvent::Disconnect => {
                        if let Some(conn) = self.conn.take() {
                            rig.closed(conn);
                        }
                    }
                    ClientEvent::Reply { xid, result, .. } => self.replies.push((xid, result)),
                    ClientEvent::Ended(why) => panic!("a well-behaved client: {why}"),
                    ClientEvent::Attached { .. }
                    | ClientEvent::Detached
                    | ClientEvent::Watch { .. } => {}
                }
            }
            if let Some(conn) = self.conn {
                if let Some(bytes) = self.client.take_output() {
                    moved = true;
                    rig.receive(conn, bytes);
                }
                rig.settle();
                for bytes in rig.take_sent(conn) {
                    moved = true;
                    self.client.received(now, bytes);
                }
                if !rig.is_open(conn) && self.conn == Some(conn) {
                    moved = true;
                    self.conn = None;
                    self.client.disconnected(now);
                }
            }
            if !moved {
                return;
            }
        }
    }
}
