//! The leader, or a standalone server: it prepares writes and proposes them, watches over all
//! sessions, and answers its learners (`LeaderZooKeeperServer`, `ZooKeeperServer`).

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use tracing::{info, warn};

use super::Node;
use super::client_requests::PendingSync;
use super::duty::Duty;
use super::forwarded::Forwarded;
use super::reaper::Reaper;
use crate::action::{Actions, Reason};
use crate::budget::Work;
use crate::mutant::mutant;
use crate::prep::{self, Parsed, Request};
use crate::session::{Owner, SessionCheck, SessionTracker};
use crate::types::{ConnId, Epoch, Now, SessionId, Zxid};
use crate::wire::client::Id;
use crate::wire::jute::Reader;
use crate::wire::quorum::ForwardedRequest;
use crate::wire::txn::{LoggedTxn, Txn, TxnHeader};
use crate::wire::{ErrorCode, OpCode, Record};

/// The data of a server that decides about writes.
#[derive(Debug)]
pub(super) struct Leading {
    /// The sessions of the ensemble that are alive, and where they are attached.
    pub(super) tracker: SessionTracker,
    pub(super) reaper: Reaper,
    /// Learners that asked for a session whose end is proposed and not committed.
    pending_closes: BTreeSet<(SessionId, ConnId)>,
    /// Requests of learners' clients that wait for their turn.
    pub(super) forwarded: Forwarded,
    /// Own proposals as they were made: they are applied without being decoded.
    proposed: VecDeque<LoggedTxn>,
    pub(super) pending_syncs: VecDeque<PendingSync>,
}

impl Leading {
    /// The decoded form of a committed transaction, if this server proposed it.
    pub(super) fn take_proposed(&mut self, zxid: Zxid) -> Option<LoggedTxn> {
        self.proposed.pop_front_if(|txn| txn.header.zxid == zxid)
    }

    /// A learner has gone: nothing waits for it any more.
    pub(super) fn forget_learner(&mut self, learner: ConnId) {
        self.forwarded.forget(learner);
        self.pending_closes.retain(|(_, waiting)| *waiting != learner);
    }
}

impl Node {
    /// This server decides about writes from here on.
    pub(super) fn lead(&mut self, now: Now, epoch: Epoch) {
        if self.config.ensemble.is_some() {
            self.store.judge();
            self.store.set_last_zxid(epoch.first_zxid());
        }
        self.prep.clear();
        let mut tracker = SessionTracker::new(now.mono, self.config.sessions.tick_time_ms);
        for (session, timeout_ms) in self.store.sessions() {
            mutant!(SessionForgottenByLeader => continue);
            tracker.add(now.mono, session, timeout_ms);
        }
        self.duty = Duty::Leading(Box::new(Leading {
            tracker,
            reaper: Reaper::new(now.mono, &self.config),
            pending_closes: BTreeSet::new(),
            forwarded: Forwarded::default(),
            proposed: VecDeque::new(),
            pending_syncs: VecDeque::new(),
        }));
        self.start_serving(now);
    }

    pub(super) fn propose(&mut self, txn: LoggedTxn, out: &mut Actions) {
        let (zxid, most) = (txn.header.zxid, txn.size_bound());
        let bytes = self.ensemble.propose(zxid, most, |room| txn.write(room), out);
        self.proposal_sizes.add(bytes);
        self.metrics.prep_processor_request_queued.add(1);
        if self.config.ensemble.is_some() {
            self.metrics.proposal_count.add(1);
        }
        if let Some(leading) = self.duty.leading() {
            leading.proposed.push_back(txn);
        }
    }

    /// The zxid of the next proposal. Begins a new election if the epoch's counter is used up. A
    /// leader that hands over has none: its clients will ask another server.
    pub(super) fn next_zxid(&mut self, now: Now, out: &mut Actions) -> Option<Zxid> {
        let next = self.ensemble.next_zxid();
        if next.is_none() && !self.ensemble.is_handing_over() {
            self.ensemble.abdicate(now.mono, "the epoch's zxid counter is used up", out);
        }
        next
    }

    pub(super) fn write(
        &mut self,
        now: Now,
        request: &Request,
        parsed: Parsed,
        owner: Owner,
        out: &mut Actions,
    ) {
        let Some(zxid) = self.next_zxid(now, out) else { return };
        let check = self.check_session(request.session, owner);
        if check == SessionCheck::Moved
            && owner == Owner::Here
            && request.op != OpCode::CloseSession
        {
            // The client has moved to another server, or does not know that its session has.
            return self.client_port.drop_session(request.session, Reason::Replaced, out);
        }
        // Once the end of a session is proposed, no further request of it is accepted.
        if request.op == OpCode::CloseSession
            && let Some(tracker) = self.duty.tracker()
        {
            tracker.closing(request.session);
        }
        let prepared = self.prepare(now, request, parsed, check, zxid);
        self.writes.charge(self.prep.take_work());
        self.propose(prepared, out);
    }

    /// Handles a REQUEST that a learner forwarded for one of its clients.
    pub(super) fn forwarded(
        &mut self,
        now: Now,
        learner: ConnId,
        data: &Bytes,
        auth: Arc<[Id]>,
        out: &mut Actions,
    ) {
        let Ok(forwarded) = ForwardedRequest::parse(data) else {
            return warn!(%learner, "ignoring an unreadable REQUEST");
        };
        let (session, cxid) = (forwarded.session, forwarded.cxid);
        self.writes.charge(Work::request(data.len()));
        let owner = Owner::Learner(learner);
        let op = OpCode::from_i32(forwarded.op);
        match op {
            Some(OpCode::Sync) => return self.ensemble.sync(Some(learner)),
            Some(OpCode::CreateSession) => {
                let timeout_ms = Reader::new(&forwarded.body).int().unwrap_or(0);
                return self.create_session(now, session, timeout_ms, cxid, owner, out);
            }
            _ => {}
        }
        let parsed = op
            .ok_or(ErrorCode::Unimplemented)
            .and_then(|op| prep::parse(op, &forwarded.body).map(|parsed| (op, parsed)));
        match parsed {
            Ok((op, parsed)) => {
                let body = forwarded.body;
                let request = Request { session, cxid, op, body, auth };
                mutant!(RequestForwardedTwice => if cxid % 16 == 3 {
                    self.write(now, &request, parsed.clone(), owner, out);
                });
                self.write(now, &request, parsed, owner, out);
            }
            Err(code) => {
                // The learner does not parse requests; its client waits for an answer.
                let Some(zxid) = self.next_zxid(now, out) else { return };
                let has_moved = self.check_session(session, owner) == SessionCheck::Moved;
                let code = if has_moved { ErrorCode::SessionMoved } else { code };
                let time_ms = now.wall_ms;
                let op = OpCode::Error as i32;
                let header = TxnHeader { client: session, cxid, zxid, time_ms, op };
                self.propose(LoggedTxn { header, txn: Txn::error(code), digest: None }, out);
            }
        }
    }

    pub(super) fn check_session(&mut self, session: SessionId, owner: Owner) -> SessionCheck {
        let Some(tracker) = self.duty.tracker() else { return SessionCheck::Expired };
        let known = tracker.check(session, owner);
        let is_tracked = tracker.timeout_ms(session).is_some();
        let (Some(local), SessionCheck::Expired) = (&self.local, known) else { return known };
        if is_tracked {
            return known;
        }
        let is_mine = session.0 >> 56 == self.config.my_id.0;
        if local.timeout_ms(session).is_some() {
            SessionCheck::Local(ErrorCode::EphemeralOnLocalSession)
        } else if is_mine {
            SessionCheck::Expired
        } else {
            // It may be a local session of another server.
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
        if let Some(tracker) = self.duty.tracker() {
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
        if let Some(Leading { tracker, pending_closes, .. }) = self.duty.leading() {
            tracker.set_owner(session, Owner::Learner(learner));
            valid = tracker.touch(now.mono, session, timeout_ms);
            if !valid && tracker.is_closing(session) {
                pending_closes.insert((session, learner));
                return;
            }
        }
        self.revalidated(learner, session, valid);
    }

    /// Answers a REVALIDATE.
    fn revalidated(&mut self, learner: ConnId, session: SessionId, valid: bool) {
        let mut answer = BytesMut::with_capacity(9);
        answer.put_i64(session.0);
        answer.put_u8(valid.into());
        self.ensemble.revalidated(learner, answer.freeze());
    }

    /// Follows the sessions that a committed transaction creates and closes.
    pub(super) fn session_committed(&mut self, logged: &LoggedTxn) {
        let session = logged.header.client;
        match &logged.txn {
            Txn::CreateSession(_) => self.forget_local(session),
            Txn::CloseSession(_) => {
                let Some(Leading { tracker, pending_closes, .. }) = self.duty.leading() else {
                    return;
                };
                tracker.remove(session);
                let of_session = (session, ConnId(0))..=(session, ConnId(u64::MAX));
                let waiting: Vec<_> = pending_closes.extract_if(of_session, |_| true).collect();
                for (_, learner) in waiting {
                    self.revalidated(learner, session, false);
                }
            }
            _ => {}
        }
    }

    /// Proposes the end of the sessions that have timed out.
    pub(super) fn expire_sessions(&mut self, now: Now, out: &mut Actions) {
        let silent = self.duty.tracker().map(|tracker| tracker.expired(now.mono));
        for session in silent.into_iter().flatten() {
            info!(%session, "a session expired");
            self.metrics.stale_sessions_expired.add(1);
            let Some(zxid) = self.next_zxid(now, out) else { return };
            let prepared = self.prep.close_session(&self.store, session, 0, zxid, now.wall_ms);
            self.propose(prepared, out);
            self.client_port.drop_session(session, Reason::Timeout("the session expired"), out);
        }
    }
}
