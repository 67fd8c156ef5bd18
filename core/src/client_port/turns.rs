//! Turns: connections that have used their share of the budget wait for the next turn, in order,
//! and each continues a little when it comes.

use alloc::collections::VecDeque;

use super::ClientPort;
use super::connection::Connection;
use crate::action::Actions;
use crate::budget::{Budget, Work};
use crate::store::Store;
use crate::types::{ConnId, Now, Time};

/// The part of the turn's budget that one connection has used.
#[derive(Default, Debug)]
pub(super) struct Share {
    turn: u64,
    cost: usize,
    /// Has more to do, and has its place in the order.
    waits: bool,
}

impl Share {
    /// Whether more of what the connection asks is done in a later turn.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }
}

/// The budget of all, and who waits for more of it.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) budget: Budget,
    waiting: VecDeque<ConnId>,
}

impl Turns {
    pub(super) fn new(limit: usize, now: Time) -> Turns {
        Turns { budget: Budget::new(limit, now), waiting: VecDeque::new() }
    }

    /// Nobody is served any more.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether somebody has more to do.
    pub(super) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Something was done for a connection.
    #[inline]
    pub(super) fn charge(&mut self, connection: &mut Connection, work: Work) {
        let (share, turn) = (&mut connection.share, self.budget.turn());
        if share.turn != turn {
            (share.turn, share.cost) = (turn, 0);
        }
        share.cost += work.cost();
        self.budget.charge(work);
    }

    /// Whether the rest of what a connection asks waits for its next turn.
    #[inline]
    pub(super) fn defers(&mut self, conn: ConnId, connection: &mut Connection) -> bool {
        let share = &mut connection.share;
        if share.waits {
            return true;
        }
        let is_over = share.turn == self.budget.turn() && share.cost >= self.budget.share();
        if !is_over && !self.budget.is_spent() {
            return false;
        }
        share.waits = true;
        self.waiting.push_back(conn);
        true
    }

    /// The connection whose turn it is, unless the budget is used up.
    fn next(&mut self) -> Option<ConnId> {
        if self.budget.is_spent() { None } else { self.waiting.pop_front() }
    }
}

impl ClientPort {
    /// A step begins; a tick begins a turn.
    pub(crate) fn begin_turn(&mut self, now: Time, is_tick: bool) {
        self.turns.budget.begin(now, is_tick);
    }

    /// Those who waited for this turn go on, each once, as far as the budget goes;
    /// [`ClientPort::deadline`] asks for the next turn.
    pub(crate) fn take_turns(&mut self, now: Now, store: &Store, out: &mut Actions) {
        for _ in 0..self.turns.waiting.len() {
            let Some(conn) = self.turns.next() else { return };
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            connection.share.waits = false;
            self.release(now, store, conn, out);
            self.pump(now, store, conn, out);
            self.resume(now, store, conn, out);
        }
    }

    /// The most that was done in one turn.
    pub(crate) fn most_work(&self) -> Work {
        self.turns.budget.most()
    }
}
