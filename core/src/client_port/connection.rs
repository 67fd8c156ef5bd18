//! One client connection: what it waits for, what it is to be told, and its figures.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::handover::Handover;
use super::load::Load;
use super::outbox::Outbox;
use super::set_watches::SetWatches;
use super::turns::Share;
use super::{ClientPortOptions, ClientRequest, WAITING_FRAMES};
use crate::action::{Action, Actions};
use crate::admin::metrics::{ServerStats, Summary};
use crate::budget::share;
use crate::types::{ConnId, SessionId, Time, Zxid};
use crate::wire::client::{Id, ReplyHeader};
use crate::wire::frame::FrameReader;
use crate::wire::{ErrorCode, OpCode, Record};

/// The assumed cost of a byte of a read whose target is unknown.
const COST_OF_A_BYTE: usize = 64;

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Has said nothing whole yet.
    New,
    /// Its session is being created or re-attached; what it says meanwhile waits.
    Establishing,
    /// Has its session.
    Established,
    /// Is being closed: nothing it says counts.
    Closing,
}

/// A request that has its place in the session's order.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) xid: i32,
    pub(super) op: OpCode,
    pub(super) since: Time,
    /// Of the request's record.
    pub(super) bytes: usize,
    /// Of the ids that go with it to the leader.
    pub(super) ids: usize,
    /// The expected cost of its answer from the tree.
    pub(super) cost: usize,
    pub(super) state: PendingState,
}

impl Pending {
    /// Whether its answer comes from somebody else.
    pub(super) fn waits_for_others(&self) -> bool {
        matches!(
            self.state,
            PendingState::Held(_)
                | PendingState::Write
                | PendingState::InDoubt { .. }
                | PendingState::Sync(_)
        )
    }
}

#[derive(Debug)]
pub(super) enum PendingState {
    /// Waits for the session's former requests, and is not on its way yet.
    Held(Box<ClientRequest>),
    /// Waits for its transaction.
    Write,
    /// There is a transaction that may be another connection's: the answer by it, or none if it
    /// says that the session has moved. It counts if no other comes before this fence is passed.
    InDoubt { answer: Option<Reply>, fence: u64 },
    /// Waits for the leader.
    Sync(Bytes),
    /// Will be answered from the tree when its turn comes.
    Read(Bytes),
    /// Leaves watches when its turn comes.
    SetWatches(SetWatches),
    /// Has its answer: refused without a transaction.
    Refused(ErrorCode),
    /// Has its answer, the last one: its session ended without a transaction.
    Ended,
    /// Has its answer, from its transaction.
    Done(Reply),
}

/// A transaction's answer that has to wait.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) zxid: Zxid,
    pub(super) code: ErrorCode,
    pub(super) body: Bytes,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) frames: FrameReader,
    pub(super) phase: Phase,
    pub(super) session: SessionId,
    /// The session was there before this connection, and what may be left of that.
    pub(super) is_renewed: bool,
    pub(super) handover: Option<Handover>,
    /// Its requests to the leader wait for a fence.
    pub(super) is_held: bool,
    pub(super) timeout_ms: i32,
    /// The read-only byte of the handshake, echoed if it was there.
    pub(super) read_only: Option<bool>,
    pub(super) auth: Arc<[Id]>,
    /// Bytes of these ids.
    pub(super) id_bytes: usize,
    pub(super) pending: VecDeque<Pending>,
    pub(super) pending_bytes: usize,
    /// The expected cost of the pending reads.
    pub(super) pending_cost: usize,
    /// The recent cost of a read.
    pub(super) read_cost: usize,
    /// When it was last heard of.
    pub(super) heard: Time,
    /// When it asked for its session.
    pub(super) asked: Time,
    /// Since when its next request has waited for those of others (`request_throttle_*`).
    pub(super) throttled_since: Option<Time>,
    /// Is one of those whose next request is not admitted.
    pub(super) is_throttled: bool,
    /// Is not listened to.
    pub(super) paused: bool,
    /// Has replies to take before it gets more.
    pub(super) awaiting_drain: bool,
    /// Bytes sent since it was last known to take them.
    pub(super) unacked_bytes: usize,
    /// Its use of the turn.
    pub(super) share: Share,
    /// The newest zxid that it was told: what it is told never goes back.
    pub(super) last_zxid: Zxid,
    pub(super) out: Outbox,
    pub(super) figures: Figures,
}

/// The line of `cons` for a connection.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) established_ms: i64,
    pub(super) last_op: &'static str,
    pub(super) last_cxid: Option<i64>,
    pub(super) last_zxid: Zxid,
    pub(super) last_response_ms: u64,
    pub(super) last_latency_ms: u64,
    pub(super) latency: Summary,
}

impl Default for Figures {
    /// Of a connection that has asked nothing, as `ServerCnxn` begins.
    fn default() -> Figures {
        Figures {
            received: 0,
            sent: 0,
            established_ms: 0,
            last_op: "null",
            last_cxid: Some(0),
            last_zxid: Zxid::ZERO,
            last_response_ms: 0,
            last_latency_ms: 0,
            latency: Summary::default(),
        }
    }
}

impl Figures {
    /// Of a connection whose figures begin anew (`ServerCnxn.resetStats`).
    pub(super) fn reset(&mut self) {
        let established_ms = self.established_ms;
        let nothing = Figures { last_op: NOTHING_DONE, last_cxid: None, ..Figures::default() };
        *self = Figures { established_ms, last_zxid: Zxid(-1), ..nothing };
    }

    /// An answer was given.
    fn answered(&mut self, now: Time, latency: u64, op: &'static str, cxid: i32, zxid: Zxid) {
        self.latency.add(latency);
        self.last_op = op;
        self.last_zxid = zxid;
        self.last_response_ms = now.as_millis();
        self.last_latency_ms = latency;
        if cxid >= 0 {
            self.last_cxid = Some(cxid.into());
        }
    }
}

/// In place of an operation that had no effect.
const NOTHING_DONE: &str = "NA";

impl Connection {
    pub(super) fn new(now: Time, peer: SocketAddr, ip: Id) -> Connection {
        Connection {
            peer,
            frames: FrameReader::default(),
            phase: Phase::New,
            session: SessionId(0),
            is_renewed: false,
            handover: None,
            is_held: false,
            timeout_ms: 0,
            read_only: None,
            id_bytes: ip.scheme.len() + ip.id.len(),
            auth: Arc::from(Vec::from([ip])),
            pending: VecDeque::new(),
            pending_bytes: 0,
            pending_cost: 0,
            read_cost: 0,
            last_zxid: Zxid::ZERO,
            heard: now,
            asked: now,
            throttled_since: None,
            is_throttled: false,
            paused: false,
            awaiting_drain: false,
            unacked_bytes: 0,
            share: Share::default(),
            out: Outbox::default(),
            figures: Figures::default(),
        }
    }

    /// Whether more requests would be too many; `part` 2: whether half of them would.
    /// `load` is that of all connections.
    pub(super) fn is_busy(&self, options: &ClientPortOptions, load: &Load, part: usize) -> bool {
        self.awaiting_drain
            || self.pending_cost > share(options.turn_budget) / part
            || (load.is_full(options) && !self.pending.is_empty())
            || self.pending.len() >= options.outstanding_limit.div_ceil(part)
            || self.pending_bytes >= WAITING_FRAMES * options.jute_max_buffer / part
    }

    /// Stops listening.
    pub(super) fn pause(&mut self, conn: ConnId, out: &mut Actions) {
        if !self.paused {
            self.paused = true;
            out.push(Action::Pause { conn });
        }
    }

    /// Appends a frame whose payload `body` writes.
    pub(super) fn frame(&mut self, body: impl FnOnce(&mut BytesMut)) -> usize {
        self.figures.sent += 1;
        frame(self.out.end(), body)
    }

    /// Appends an event that others are told, too.
    pub(super) fn tell(&mut self, event: &Bytes) {
        self.figures.sent += 1;
        self.out.share(event);
    }

    /// Appends a reply; its body stands only beside code 0.
    pub(super) fn reply(
        &mut self,
        stats: &mut ServerStats,
        xid: i32,
        zxid: Zxid,
        error: ErrorCode,
        body: impl FnOnce(&mut BytesMut),
    ) {
        self.last_zxid = self.last_zxid.max(zxid);
        let size = self.frame(|out| {
            ReplyHeader { xid, zxid, err: error as i32 }.write(out);
            if error == ErrorCode::Ok {
                body(out);
            }
        });
        stats.reply_sent(size);
    }

    /// The possible cost of the answer to a read of this many bytes.
    pub(super) fn expected_cost(&self, bytes: usize) -> usize {
        self.read_cost.max(500 + COST_OF_A_BYTE * bytes)
    }

    /// Notes that a request is answered.
    pub(super) fn answered(
        &mut self,
        stats: &mut ServerStats,
        now: Time,
        pending: &Pending,
        zxid: Zxid,
    ) {
        let latency = now.ms_since(pending.since);
        let is_update = matches!(pending.state, PendingState::Write | PendingState::Done(_));
        stats.answered(latency, is_update);
        self.figures.answered(now, latency, pending.op.short(), pending.xid, zxid);
    }

    /// Notes that its session is made, by a transaction or, of this server's own, without one.
    pub(super) fn session_made(
        &mut self,
        stats: &mut ServerStats,
        now: Time,
        zxid: Zxid,
        by_transaction: bool,
    ) {
        let latency = now.ms_since(self.asked);
        stats.answered(latency, by_transaction);
        self.figures.answered(now, latency, OpCode::CreateSession.short(), 0, zxid);
    }
}

/// Appends a frame whose payload `body` writes; its length.
pub(super) fn frame(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) -> usize {
    let at = out.len();
    out.put_i32(0);
    body(out);
    let length = out.len() - at - 4;
    out[at..at + 4].copy_from_slice(&(length as i32).to_be_bytes());
    length
}
