//! The budget of a turn: the work that a server does for clients before it handles other events.
//! The cost of a request is the work to answer it, not its length; requests beyond the budget wait
//! for the next turn.

use core::ops::AddAssign;

use crate::types::Time;

/// The default budget of a turn, as a [cost](Work::cost): some two milliseconds.
pub const TURN: usize = 2_000_000;
/// The number of connections that can use up their share in one turn.
const SHARES: usize = 8;

/// The share of one connection in a turn with this budget. The first request is always admitted.
pub const fn share(limit: usize) -> usize {
    limit / SHARES
}

/// Work done for a client.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Work {
    /// Requests, and parts of a request that is handled in several turns.
    pub requests: usize,
    /// Znodes and watches visited.
    pub nodes: usize,
    /// ACL entries compared with ids.
    pub compared: usize,
    /// Bytes read and written.
    pub bytes: usize,
}

impl Work {
    /// The work of receiving one request of this length.
    pub const fn request(bytes: usize) -> Work {
        Work { requests: 1, nodes: 0, compared: 0, bytes }
    }

    /// The cost of the work, in about nanoseconds.
    pub const fn cost(self) -> usize {
        500 * self.requests + 100 * self.nodes + 20 * self.compared + self.bytes
    }

    /// The maximum of each figure.
    #[must_use]
    pub fn max(self, other: Work) -> Work {
        Work {
            requests: self.requests.max(other.requests),
            nodes: self.nodes.max(other.nodes),
            compared: self.compared.max(other.compared),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, more: Work) {
        self.requests += more.requests;
        self.nodes += more.nodes;
        self.compared += more.compared;
        self.bytes += more.bytes;
    }
}

/// The budget of the current turn, and the work done in it.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    began: Time,
    /// The number of the current turn.
    turn: u64,
    done: Work,
    /// The cost of `done`.
    cost: usize,
    /// The most work of an earlier turn.
    most: Work,
}

impl Budget {
    /// A budget of `limit` for each turn.
    pub fn new(limit: usize, now: Time) -> Budget {
        Budget { limit, began: now, turn: 0, done: Work::default(), cost: 0, most: Work::default() }
    }

    /// Begins a step. A new turn begins when time has passed, and with a tick.
    #[inline]
    pub fn begin(&mut self, now: Time, is_tick: bool) {
        if is_tick || now != self.began {
            self.began = now;
            self.turn += 1;
            self.most = self.most();
            (self.done, self.cost) = (Work::default(), 0);
        }
    }

    /// Adds work to the current turn.
    #[inline]
    pub fn charge(&mut self, work: Work) {
        self.done += work;
        self.cost += work.cost();
    }

    /// Whether the turn's budget is used up.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.cost >= self.limit
    }

    /// The share of one connection in a turn.
    pub fn share(&self) -> usize {
        share(self.limit)
    }

    /// The number of the current turn.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// The most work of a turn so far.
    pub fn most(&self) -> Work {
        self.most.max(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_begins_when_time_passes_or_with_a_tick() {
        let mut budget = Budget::new(TURN, Time(0));
        budget.begin(Time(0), false);
        budget.charge(Work::request(TURN));
        assert!(budget.is_spent());
        budget.begin(Time(0), false);
        assert!(budget.is_spent());
        budget.begin(Time(1), false);
        assert!(!budget.is_spent());
        budget.charge(Work { nodes: TURN, ..Work::default() });
        assert!(budget.is_spent());
        budget.begin(Time(1), true);
        assert!(!budget.is_spent());
        let most = Work { requests: 1, nodes: TURN, compared: 0, bytes: TURN };
        assert_eq!(budget.most(), most);
    }
}
