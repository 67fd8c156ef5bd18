//! Requests of this server's own clients that do not concern the tree alone: writes, syncs,
//! sessions that begin or come back.

use alloc::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::Node;
use super::duty::Duty;
use crate::action::Actions;
use crate::budget::Work;
use crate::client_port::{ClientRequest, Handover};
use crate::mutant::mutant;
use crate::prep::Request;
use crate::session::Owner;
use crate::types::{ConnId, Now, SessionId};
use crate::wire::OpCode;
use crate::wire::jute::Writer;
use crate::wire::quorum::ForwardedRequest;

/// A sync of this server that its leader has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum PendingSync {
    /// A client asked for it.
    Client(ConnId),
    /// The client port asked for it ([`ClientRequest::Fence`]).
    Fence,
}

impl Node {
    /// Completes a sync that the leader has answered.
    pub(super) fn synced(&mut self, now: Now, pending: PendingSync, out: &mut Actions) {
        match pending {
            PendingSync::Client(conn) => self.client_port.synced(now, &self.store, conn, out),
            PendingSync::Fence => self.client_port.fence_passed(now, &self.store, out),
        }
    }

    /// Handles one request of the client port.
    pub(super) fn client_request(&mut self, now: Now, request: ClientRequest, out: &mut Actions) {
        self.writes.charge(Work::request(0));
        match request {
            ClientRequest::Word { conn, word, argument } => {
                self.answer_word(now, conn, word, argument, out);
            }
            ClientRequest::Touch { session, timeout_ms } => self.touch(now, session, timeout_ms),
            ClientRequest::CreateSession { session, timeout_ms } => {
                self.begin_session(now, session, timeout_ms, out);
            }
            // The client has disconnected again; it may be at another server by now.
            ClientRequest::Reattach { session, .. } if !self.client_port.is_attached(session) => {}
            ClientRequest::Reattach { session, timeout_ms } => {
                self.reattach(now, session, timeout_ms, out);
            }
            ClientRequest::Write(request, parsed) => {
                if self.is_done_locally(now, &request, &parsed, out) {
                    return;
                }
                if self.duty.is_leading() {
                    self.write(now, &request, parsed, Owner::Here, out);
                } else {
                    self.forward(&request, out);
                }
            }
            ClientRequest::Sync { conn, request } => {
                self.request_sync(now, PendingSync::Client(conn), &request, out);
            }
            ClientRequest::Fence { session } => {
                let mut body = BytesMut::new();
                body.put_ustring("/");
                let (op, body, auth) = (OpCode::Sync, body.freeze(), Arc::default());
                let request = Request { session, cxid: 0, op, body, auth };
                self.request_sync(now, PendingSync::Fence, &request, out);
            }
        }
    }

    /// Asks the leader for a sync, or itself if it leads.
    fn request_sync(
        &mut self,
        now: Now,
        pending: PendingSync,
        request: &Request,
        out: &mut Actions,
    ) {
        let is_leading = self.duty.is_leading();
        mutant!(SyncStaysHere => if !is_leading {
            return self.synced(now, pending, out);
        });
        if let Some(pending_syncs) = self.duty.pending_syncs() {
            pending_syncs.push_back(pending);
        }
        if is_leading {
            self.ensemble.sync(None);
        } else {
            self.forward(request, out);
        }
    }

    /// A session of an own client is active.
    fn touch(&mut self, now: Now, session: SessionId, timeout_ms: i32) {
        if self.touch_local(now, session, timeout_ms) {
            return;
        }
        match &mut self.duty {
            Duty::Leading(leading) => {
                leading.tracker.touch(now.mono, session, timeout_ms);
            }
            Duty::Following(following) => {
                mutant!(TouchesNotReported => return);
                following.touch(session, timeout_ms);
            }
            // In read-only mode there is no leader to report to.
            Duty::Idle => {}
        }
    }

    /// Whether the session is local; it counts as active then.
    fn touch_local(&mut self, now: Now, session: SessionId, timeout_ms: i32) -> bool {
        self.local.as_mut().is_some_and(|local| local.touch(now.mono, session, timeout_ms))
    }

    fn begin_session(&mut self, now: Now, session: SessionId, timeout_ms: i32, out: &mut Actions) {
        if let Some(local) = &mut self.local {
            local.add(now.mono, session, timeout_ms);
            local.set_owner(session, Owner::Here);
            self.client_port.began(now, &self.store, session, out);
        } else if self.client_port.is_read_only() {
            self.client_port.not_begun(&self.store, session, out);
        } else {
            self.begin_global_session(now, session, timeout_ms, out);
        }
    }

    pub(super) fn begin_global_session(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Actions,
    ) {
        if self.duty.is_leading() {
            return self.create_session(now, session, timeout_ms, 0, Owner::Here, out);
        }
        let body = Bytes::copy_from_slice(&timeout_ms.to_be_bytes());
        let op = OpCode::CreateSession as i32;
        let request = ForwardedRequest { session, cxid: 0, op, body };
        self.ensemble.request(request.to_bytes(), None, out);
    }

    /// A client continues a session at this server.
    fn reattach(&mut self, now: Now, session: SessionId, timeout_ms: i32, out: &mut Actions) {
        let is_local = self.touch_local(now, session, timeout_ms);
        // The leader refuses requests that arrive later through the former server.
        let proposed = Handover::After(self.ensemble.last_proposed());
        if is_local {
            // In read-only mode no write is in flight.
            let is_alone = self.duty.is_leading() || self.client_port.is_read_only();
            let handover = if is_alone { proposed } else { Handover::Fenced };
            self.client_port.reattached(now, &self.store, session, Some(handover), out);
        } else if let Some(tracker) = self.duty.tracker() {
            let valid = tracker.touch(now.mono, session, timeout_ms);
            tracker.set_owner(session, Owner::Here);
            // The proposed end may never be committed: the client is answered after the commit.
            if valid || !tracker.is_closing(session) {
                let handover = valid.then_some(proposed);
                self.client_port.reattached(now, &self.store, session, handover, out);
            }
        } else if self.client_port.is_read_only() {
            // Where all sessions are global, an unknown one may have begun at another server: it is
            // not ended here.
            let handover = self.local.is_none().then_some(proposed);
            self.client_port.reattached(now, &self.store, session, handover, out);
        } else {
            let mut data = BytesMut::with_capacity(12);
            data.put_i64(session.0);
            data.put_i32(timeout_ms);
            self.ensemble.revalidate(data.freeze(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use super::*;
    use crate::action::{Action, DiskAction};
    use crate::config::Config;
    use crate::event::{DiskEvent, Event, NetEvent, Port, Recovered};
    use crate::session::password;
    use crate::store::Store;
    use crate::types::{Ticket, Time, Zxid};
    use crate::wire::Record;
    use crate::wire::client::{ConnectRequest, ConnectResponse};

    fn at(ms: u64) -> Now {
        Now { mono: Time(0).plus_ms(ms), wall_ms: 1_700_000_000_000 + ms as i64 }
    }

    /// A standalone server whose disk waits for the test.
    struct Server {
        node: Node,
        out: Actions,
    }

    impl Server {
        fn new() -> Server {
            let text = "dataDir=/d\nclientPort=1\ntickTime=1000\n";
            let (config, _) = Config::parse("zoo.cfg", text, None, None).unwrap();
            let recovered = Recovered {
                ticket: Ticket(0),
                state: Store::new(super::super::store_options(&config)),
                last_zxid: Zxid::ZERO,
                tail: Vec::new(),
                current_epoch: 0,
                accepted_epoch: 0,
                snapshot_bytes: 0,
            };
            let mut server = Server { node: Node::new(config, 7, at(0)), out: Vec::new() };
            server.step(at(0), Event::Disk(DiskEvent::Recovered(Box::new(recovered))));
            server
        }

        fn step(&mut self, now: Now, event: Event<Store>) {
            self.node.step(now, event, &mut self.out);
        }

        fn connect(&mut self, now: Now, conn: ConnId, session: SessionId) {
            let peer = "127.0.0.1:4000".parse().unwrap();
            self.step(now, Event::Net(NetEvent::Opened { conn, port: Port::Client, peer }));
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid::ZERO,
                timeout_ms: 4000,
                session,
                password: Some(Bytes::copy_from_slice(&password(session))),
                read_only: None,
            };
            let body = request.to_bytes();
            let mut bytes = BytesMut::new();
            bytes.put_u32(body.len() as u32);
            bytes.put_slice(&body);
            self.step(now, Event::Net(NetEvent::Received { conn, bytes: bytes.freeze() }));
        }

        /// All that was given to the disk is there.
        fn persist(&mut self, now: Now) {
            let tickets = self.out.iter().filter_map(|action| match action {
                Action::Disk(DiskAction::Append { ticket, .. }) => Some(*ticket),
                _ => None,
            });
            let upto = tickets.max().unwrap();
            self.step(now, Event::Disk(DiskEvent::Persisted { upto }));
        }

        /// The answers to handshakes on this connection.
        fn heard(&self, wanted: ConnId) -> Vec<SessionId> {
            let sent = self.out.iter().filter_map(|action| match action {
                Action::Send { conn, bytes } if *conn == wanted => Some(bytes.slice(4..)),
                _ => None,
            });
            sent.map(|bytes| ConnectResponse::from_bytes(&bytes).unwrap().session).collect()
        }
    }

    #[test]
    fn a_session_is_called_expired_only_when_its_end_is_committed() {
        let mut server = Server::new();
        let [first, second] = [1, 2].map(ConnId::accepted);
        server.connect(at(10), first, SessionId(0));
        server.persist(at(20));
        let [session] = server.heard(first)[..] else { panic!() };
        // Nothing is heard of it for longer than its time-out; the disk is slow.
        for ms in (1000..=8000).step_by(1000) {
            server.step(at(ms), Event::Tick);
        }
        server.connect(at(8001), second, session);
        assert_eq!(server.heard(second), []);
        server.persist(at(8002));
        assert_eq!(server.heard(second), [SessionId(0)]);
    }
}
