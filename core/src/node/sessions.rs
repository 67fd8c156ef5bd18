//! Sessions: those that the ensemble knows begin and end by a transaction, and the leader tells
//! when their time is up; local ones are their server's own affair, until they want an ephemeral
//! (`UpgradeableSessionTracker`, `QuorumZooKeeperServer`). And reads without a leader
//! (`ReadOnlyZooKeeperServer`).

use bytes::{BufMut, Bytes, BytesMut};
use tracing::info;

use super::Node;
use crate::action::{Actions, Reason};
use crate::client_port::Handover;
use crate::config::Config;
use crate::mutant::Mutant;
use crate::prep::{Parsed, Request};
use crate::session::{Owner, SessionCheck, SessionTracker};
use crate::types::{ConnId, Now, SessionId, Time};
use crate::wire::jute::Reader;
use crate::wire::quorum::ForwardedRequest;
use crate::wire::txn::{LoggedTxn, Txn};
use crate::wire::{ErrorCode, OpCode};
use crate::zab::Role;

/// A server does not take itself for cut off sooner, ms.
const LEAST_LOOKING_MS: u64 = 2000;

/// Standalone servers have no use for local sessions.
pub(super) fn local_tracker(config: &Config, now: Time) -> Option<SessionTracker> {
    let is_wanted = config.sessions.local_sessions && config.ensemble.is_some();
    is_wanted.then(|| SessionTracker::new(now, config.sessions.tick_time_ms))
}

impl Node {
    // ---- what this server's own clients want

    pub(super) fn touch(&mut self, now: Now, session: SessionId, timeout_ms: i32) {
        let is_local =
            self.local.as_mut().is_some_and(|local| local.touch(now.mono, session, timeout_ms));
        match &mut self.tracker {
            _ if is_local => {}
            Some(tracker) => {
                tracker.touch(now.mono, session, timeout_ms);
            }
            // Without a leader there is nobody to tell.
            None if self.client_port.is_read_only() || Mutant::TouchesNotReported.is_on() => {}
            None => {
                self.touched.insert(session, timeout_ms);
            }
        }
    }

    pub(super) fn begin_session(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Actions,
    ) {
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

    fn begin_global_session(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Actions,
    ) {
        if self.tracker.is_some() {
            return self.create_session(now, session, timeout_ms, 0, Owner::Here, out);
        }
        let body = Bytes::copy_from_slice(&timeout_ms.to_be_bytes());
        let op = OpCode::CreateSession as i32;
        let request = ForwardedRequest { session, cxid: 0, op, body };
        self.ensemble.request(request.to_bytes(), None, out);
    }

    pub(super) fn reattach(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Actions,
    ) {
        let is_local =
            self.local.as_mut().is_some_and(|local| local.touch(now.mono, session, timeout_ms));
        // The leader refuses what comes later through another server.
        let proposed = Handover::After(self.ensemble.last_proposed());
        if is_local {
            // Without a leader nothing is written.
            let is_alone = self.tracker.is_some() || self.client_port.is_read_only();
            let handover = if is_alone { proposed } else { Handover::Fenced };
            self.client_port.reattached(now, &self.store, session, Some(handover), out);
        } else if let Some(tracker) = &mut self.tracker {
            let valid = tracker.touch(now.mono, session, timeout_ms);
            tracker.set_owner(session, Owner::Here);
            // Its end may still come to nothing: the client is told when that is committed.
            if valid || !tracker.is_closing(session) {
                let handover = valid.then_some(proposed);
                self.client_port.reattached(now, &self.store, session, handover, out);
            }
        } else if self.client_port.is_read_only() {
            // Where all sessions are global, one that this server has not heard of may have begun
            // elsewhere meanwhile: it is not ended here.
            let handover = self.local.is_none().then_some(proposed);
            self.client_port.reattached(now, &self.store, session, handover, out);
        } else {
            let mut data = BytesMut::with_capacity(12);
            data.put_i64(session.0);
            data.put_i32(timeout_ms);
            self.ensemble.revalidate(data.freeze(), out);
        }
    }

    /// Before a write goes its way: the end of a local session needs no leader; an ephemeral
    /// makes a local session a global one, or is refused. True: nothing is left to do.
    pub(super) fn is_done_locally(
        &mut self,
        now: Now,
        request: &Request,
        parsed: &Parsed,
        out: &mut Actions,
    ) -> bool {
        let (session, cxid) = (request.session, request.cxid);
        let timeout_ms = self.local.as_ref().and_then(|local| local.timeout_ms(session));
        if request.op == OpCode::CloseSession {
            if timeout_ms.is_some() {
                self.forget_local(session);
                self.client_port.ended(now, &self.store, session, cxid, out);
            } else if self.client_port.is_read_only() {
                let code = ErrorCode::NotReadOnly;
                self.client_port.refused(now, &self.store, session, cxid, code, out);
            }
            return timeout_ms.is_some() || self.client_port.is_read_only();
        }
        let Some(timeout_ms) = timeout_ms.filter(|_| parsed.creates_ephemeral()) else {
            return false;
        };
        if self.config.sessions.upgrades_local_sessions {
            if self.tracker.is_some() && self.next_zxid(now, out).is_none() {
                // The next epoch's leader will be asked again: until then it stays what it is.
                return true;
            }
            info!(%session, "a local session becomes a global one");
            self.forget_local(session);
            self.begin_global_session(now, session, timeout_ms, out);
        } else if self.tracker.is_none() && !parsed.is_multi() {
            // The leader would not know the session, and would say that it expired.
            let code = ErrorCode::EphemeralOnLocalSession;
            self.client_port.refused(now, &self.store, session, cxid, code, out);
            return true;
        }
        false
    }

    // ---- what the leader knows

    pub(super) fn check_session(&mut self, session: SessionId, owner: Owner) -> SessionCheck {
        let Some(tracker) = &mut self.tracker else { return SessionCheck::Expired };
        let known = tracker.check(session, owner);
        let (Some(local), SessionCheck::Expired) = (&self.local, known) else { return known };
        if tracker.timeout_ms(session).is_some() {
            return known;
        }
        let is_mine = session.0 >> 56 == self.config.my_id.0;
        if local.timeout_ms(session).is_some() {
            SessionCheck::Local(ErrorCode::EphemeralOnLocalSession)
        } else if is_mine {
            SessionCheck::Expired
        } else {
            // It may be its own server's.
            SessionCheck::Local(ErrorCode::SessionExpired)
        }
    }

    pub(super) fn create_session(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        cxid: i32,
        owner: Owner,
        out: &mut Actions,
    ) {
        let Some(zxid) = self.next_zxid(now, out) else { return };
        if let Some(tracker) = &mut self.tracker {
            tracker.add(now.mono, session, timeout_ms);
            tracker.set_owner(session, owner);
        }
        let wall_ms = now.wall_ms;
        let prepared =
            self.prep.create_session(&self.store, session, timeout_ms, cxid, zxid, wall_ms);
        self.propose(prepared, out);
    }

    pub(super) fn revalidate(&mut self, now: Now, learner: ConnId, data: &Bytes) {
        let mut r = Reader::new(data);
        let (Ok(session), Ok(timeout_ms)) = (r.record::<SessionId>(), r.int()) else { return };
        self.metrics.revalidate_count.add(1);
        let mut valid = false;
        if let Some(tracker) = &mut self.tracker {
            tracker.set_owner(session, Owner::Learner(learner));
            valid = tracker.touch(now.mono, session, timeout_ms);
            if !valid && tracker.is_closing(session) {
                self.ending.insert((session, learner));
                return;
            }
        }
        self.revalidated(learner, session, valid);
    }

    fn revalidated(&mut self, learner: ConnId, session: SessionId, valid: bool) {
        let mut answer = BytesMut::with_capacity(9);
        answer.put_i64(session.0);
        answer.put_u8(valid.into());
        self.ensemble.revalidated(learner, answer.freeze());
    }

    pub(super) fn expire(&mut self, now: Now, out: &mut Actions) {
        let silent = self.local.as_mut().map(|local| local.expired(now.mono));
        for session in silent.unwrap_or_default() {
            info!(%session, "a local session expired");
            self.metrics.stale_sessions_expired.add(1);
            self.forget_local(session);
            self.client_port.drop_session(session, Reason::Timeout("the session expired"), out);
        }
        let Some(tracker) = &mut self.tracker else { return };
        for session in tracker.expired(now.mono) {
            info!(%session, "a session expired");
            self.metrics.stale_sessions_expired.add(1);
            let Some(zxid) = self.next_zxid(now, out) else { return };
            let prepared = self.prep.close_session(&self.store, session, 0, zxid, now.wall_ms);
            self.propose(prepared, out);
            self.client_port.drop_session(session, Reason::Timeout("the session expired"), out);
        }
    }

    /// What a transaction says of sessions.
    pub(super) fn session_committed(&mut self, logged: &LoggedTxn) {
        let session = logged.header.client;
        match &logged.txn {
            Txn::CreateSession(_) => self.forget_local(session),
            Txn::CloseSession(_) => {
                if let Some(tracker) = &mut self.tracker {
                    tracker.remove(session);
                }
                let waiting = (session, ConnId(0))..=(session, ConnId(u64::MAX));
                while let Some(one) = self.ending.range(waiting.clone()).next().copied() {
                    self.ending.remove(&one);
                    self.revalidated(one.1, session, false);
                }
            }
            _ => {}
        }
    }

    // ---- local sessions

    fn forget_local(&mut self, session: SessionId) {
        if let Some(local) = &mut self.local {
            local.remove(session);
        }
    }

    /// While nobody was served, nobody could be heard of.
    pub(super) fn heard_of_all_local(&mut self, now: Now) {
        if let Some(local) = &mut self.local {
            local.touch_all(now.mono);
        }
    }

    // ---- without a leader

    /// When this server will serve reads only, unless it finds a leader before.
    pub(super) fn read_only_due(&self) -> Option<Time> {
        let since = self.looking_since.filter(|_| !self.client_port.is_read_only())?;
        Some(since.plus_ms(self.config.sessions.tick_time_ms.max(LEAST_LOOKING_MS)))
    }

    /// Begins and ends to serve reads only, as the role says.
    pub(super) fn switch_read_only(&mut self, now: Now, out: &mut Actions) {
        if !self.config.sessions.read_only_mode {
            return;
        }
        if self.ensemble.role() != Role::Looking {
            self.looking_since = None;
            if self.client_port.is_read_only() {
                info!("reads are not served without a leader any more");
                self.client_port.stop_serving(out);
            }
            return;
        }
        self.looking_since.get_or_insert(now.mono);
        if self.read_only_due().is_some_and(|due| due <= now.mono) {
            info!("no leader is found: serving reads to clients that ask for no more");
            self.serving_since = now.mono;
            self.heard_of_all_local(now);
            self.client_port.start_read_only();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use super::*;
    use crate::action::{Action, DiskAction};
    use crate::event::{DiskEvent, Event, NetEvent, Port, Recovered};
    use crate::session::password;
    use crate::store::Store;
    use crate::types::{Ticket, Zxid};
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
