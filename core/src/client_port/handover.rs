//! A session that moves to another connection. A request of its former connection must not answer
//! one of the new connection, although both may number their requests from 1.
//!
//! The leader knows where the former requests end: at its last proposal. It refuses requests that
//! arrive later through another server, because the session has moved.
//!
//! A learner requests a sync of its own (a fence). The leader handles it after the requests that it
//! accepted before it knew of the move, so its answer follows their transactions. Until then the
//! learner holds the session's writes back. One fence serves all sessions that wait when it is
//! sent. After it, only a refusal may still belong to a former request: one that the leader gives
//! without a check of the session, or because it has moved. Such a refusal is delivered if the
//! answer of another fence arrives and its request has no other answer.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::connection::{Connection, Pending, PendingState};
use super::{ClientPort, ClientRequest, reads};
use crate::action::{Actions, Reason};
use crate::mutant::mutant;
use crate::store::{Outcome, Store};
use crate::types::{ConnId, Now, Zxid};
use crate::wire::txn::{LoggedTxn, Txn};
use crate::wire::{ErrorCode, OpCode};

/// Where the requests end that a session's former connections may have under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handover {
    /// With this transaction.
    After(Zxid),
    /// Where the answer to a [`ClientRequest::Fence`] comes.
    Fenced,
}

/// Sync requests of this server's own.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// For whom one is under way; nobody: none is.
    asked: Vec<ConnId>,
    /// Connections that wait for the next one.
    waiting: Vec<ConnId>,
    /// How many were sent.
    sent: u64,
}

/// The meaning of a transaction for a connection of its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// Nothing: another connection asked.
    Nothing,
    /// The answer to the request at this place.
    Answer(usize),
    /// The answer to the request at this place, or to another connection's.
    Doubtful(usize),
    /// The connection cannot go on.
    Close,
}

impl Connection {
    /// Whether requests have to wait until those of the former connection are done.
    pub(super) fn holds(&self) -> bool {
        mutant!(AnswersBeforeTheMove => return false);
        self.is_held
    }

    /// The effect of a transaction of the session on this connection; its writes are committed in
    /// their order.
    pub(super) fn claim(&self, logged: &LoggedTxn, outcome: &Outcome) -> Claim {
        let header = &logged.header;
        let mut place = None;
        for (at, pending) in self.pending.iter().enumerate() {
            match pending.state {
                PendingState::Write | PendingState::InDoubt { .. }
                    if pending.xid == header.cxid =>
                {
                    place = Some((at, pending));
                    break;
                }
                PendingState::Write => break,
                _ => {}
            }
        }
        let Some((at, pending)) = place else { return Claim::Nothing };
        if matches!(logged.txn, Txn::CloseSession(_)) && pending.op != OpCode::CloseSession {
            return Claim::Nothing;
        }
        let has_moved = reads::session_moved(outcome);
        let mut handover = self.handover;
        mutant!(AnswersBeforeTheMove => handover = None);
        match handover {
            None if has_moved => Claim::Close,
            None => Claim::Answer(at),
            Some(Handover::After(last)) if header.zxid <= last || has_moved => Claim::Nothing,
            Some(Handover::After(_)) => Claim::Answer(at),
            Some(Handover::Fenced) if !outcome_may_be_of_another(outcome) => {
                let refused =
                    |p: &Pending| matches!(p.state, PendingState::InDoubt { answer: None, .. });
                let is_over = self.pending.iter().take(at).any(refused);
                if is_over { Claim::Close } else { Claim::Answer(at) }
            }
            Some(Handover::Fenced) if matches!(pending.state, PendingState::Write) => {
                Claim::Doubtful(at)
            }
            Some(Handover::Fenced) => Claim::Close,
        }
    }

    /// Whether a transaction that is about to be applied settles what was in doubt before it: it is
    /// this connection's without a doubt. What was asked in between is answered first then.
    pub(super) fn settles(&mut self, logged: &LoggedTxn) -> bool {
        if self.handover != Some(Handover::Fenced) || transaction_may_be_of_another(&logged.txn) {
            return false;
        }
        let is_doubtful = |p: &Pending| matches!(p.state, PendingState::InDoubt { .. });
        let Some(first) = self.pending.iter().position(is_doubtful) else { return false };
        let is_it =
            |p: &Pending| matches!(p.state, PendingState::Write) && p.xid == logged.header.cxid;
        let is_moved = |p: &Pending| matches!(p.state, PendingState::InDoubt { answer: None, .. });
        match self.pending.iter().position(is_it) {
            Some(at) if first < at && !self.pending.iter().take(at).any(is_moved) => {
                self.resolve(at, u64::MAX)
            }
            _ => false,
        }
    }

    /// Transactions in doubt before this place, or before a fence, belong to this connection.
    /// False: its session has moved.
    fn resolve(&mut self, places: usize, fence: u64) -> bool {
        for pending in self.pending.iter_mut().take(places) {
            let PendingState::InDoubt { answer, fence: until } = &pending.state else { continue };
            if *until > fence {
                continue;
            }
            let Some(answer) = answer else { return false };
            pending.state = PendingState::Done(answer.clone());
        }
        true
    }
}

/// Whether a leader says so also to a request of a server that the session has left: because of
/// that, or before it looks at the session. A multi fails with its first part then.
fn outcome_may_be_of_another(outcome: &Outcome) -> bool {
    let first = match outcome {
        Outcome::Multi(all) => all.first(),
        one => Some(one),
    };
    first.is_none_or(|outcome| is_blind(reads::code(outcome)))
}

/// The same of a transaction that is not applied yet.
fn transaction_may_be_of_another(txn: &Txn) -> bool {
    let first = match txn {
        Txn::Multi(parts) => parts.first(),
        one => Some(one),
    };
    match first {
        Some(Txn::Error(code)) => ErrorCode::from_i32(*code).is_none_or(is_blind),
        Some(_) => false,
        None => true,
    }
}

/// Whether a refusal says nothing of the session that asked.
fn is_blind(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::SessionMoved
            | ErrorCode::BadArguments
            | ErrorCode::MarshallingError
            | ErrorCode::Unimplemented
            | ErrorCode::ReconfigDisabled
    )
}

impl ClientPort {
    /// A session has come back, or from another server.
    pub(super) fn hand_over(&mut self, conn: ConnId, handover: Handover) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.handover = Some(handover);
        if handover == Handover::Fenced {
            connection.is_held = true;
            self.fences.waiting.push(conn);
            self.send_fence();
        }
    }

    fn send_fence(&mut self) {
        if !self.fences.asked.is_empty() {
            return;
        }
        self.fences.asked = core::mem::take(&mut self.fences.waiting);
        let mut sessions = self.fences.asked.iter().filter_map(|conn| self.connections.get(conn));
        match sessions.next().map(|connection| connection.session) {
            Some(session) => {
                self.fences.sent += 1;
                self.submissions.push_back(ClientRequest::Fence { session });
            }
            None => self.fences.asked.clear(),
        }
    }

    /// The fence that was sent is answered.
    pub(crate) fn fence_passed(&mut self, now: Now, store: &Store, out: &mut Actions) {
        let passed = self.fences.sent;
        for conn in core::mem::take(&mut self.fences.asked) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            if !connection.resolve(usize::MAX, passed) {
                self.close(conn, Reason::Replaced, out);
                continue;
            }
            if core::mem::take(&mut connection.is_held) {
                for pending in &mut connection.pending {
                    let PendingState::Held(submission) = &mut pending.state else { continue };
                    let state = match &**submission {
                        ClientRequest::Sync { request, .. } => {
                            PendingState::Sync(request.body.clone())
                        }
                        _ => PendingState::Write,
                    };
                    if let PendingState::Held(submission) =
                        core::mem::replace(&mut pending.state, state)
                    {
                        self.load.submit(&mut self.submissions, *submission);
                    }
                }
            }
            self.resume(now, store, conn, out);
        }
        self.send_fence();
    }

    /// The place at which a transaction answers, if it does. What it means else is done here.
    pub(super) fn answers_at(
        &mut self,
        conn: ConnId,
        logged: &LoggedTxn,
        outcome: &Outcome,
        out: &mut Actions,
    ) -> Option<usize> {
        let connection = self.connections.get_mut(&conn)?;
        match connection.claim(logged, outcome) {
            Claim::Nothing => None,
            Claim::Answer(at) => {
                connection.resolve(at, u64::MAX);
                Some(at)
            }
            Claim::Doubtful(at) => {
                let has_moved = reads::session_moved(outcome);
                let answer = (!has_moved).then(|| reads::reply(logged, outcome));
                let fence = self.fences.sent + 1;
                connection.pending[at].state = PendingState::InDoubt { answer, fence };
                self.fences.waiting.push(conn);
                self.send_fence();
                None
            }
            Claim::Close => {
                self.close(conn, Reason::Replaced, out);
                None
            }
        }
    }

    /// Sends a request on its way, or keeps it until it may go: its state meanwhile.
    pub(super) fn dispatch(
        &mut self,
        is_held: bool,
        submission: ClientRequest,
        state: PendingState,
    ) -> PendingState {
        if is_held {
            return PendingState::Held(Box::new(submission));
        }
        self.load.submit(&mut self.submissions, submission);
        state
    }
}
