//! How much is done for clients at once. What they ask costs what it walks, compares, reads and
//! writes, not what it takes to ask; when a turn's budget is used up, the rest waits for the next
//! turn, and other events come first.

use core::ops::AddAssign;

use crate::types::Time;

/// The default cost of one turn's client requests: some two
/// milliseconds.
pub const TURN: usize = 2_000_000;
/// Connections that may use up their share of a turn.
const SHARES: usize = 8;

/// The cost of one connection's requests in a turn with this budget, beyond the first request.
pub const fn share(limit: usize) -> usize {
    limit / SHARES
}

/// Work done for a client.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Work {
    /// Requests begun, and parts of one.
    pub requests: usize,
    /// Znodes looked at, and watches.
    pub nodes: usize,
    /// Entries of ACLs compared with ids.
    pub compared: usize,
    /// Bytes read and written.
    pub bytes: usize,
}

impl Work {
    /// One request of so many bytes.
    pub const fn request(bytes: usize) -> Work {
        Work { requests: 1, nodes: 0, compared: 0, bytes }
    }

    /// About as many nanoseconds.
    pub const fn cost(self) -> usize {
        500 * self.requests + 100 * self.nodes + 20 * self.compared + self.bytes
    }

    /// The greater of each.
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

/// Work done in the present turn.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    began: Time,
    /// Turns so far.
    turn: u64,
    done: Work,
    /// What that has cost.
    cost: usize,
    /// The most that was done in a turn before.
    most: Work,
}

impl Budget {
    /// Nothing is done; turns may cost this.
    pub fn new(limit: usize, now: Time) -> Budget {
        Budget { limit, began: now, turn: 0, done: Work::default(), cost: 0, most: Work::default() }
    }

    /// A step begins. Time that has passed begins a turn, and so does a tick.
    #[inline]
    pub fn begin(&mut self, now: Time, is_tick: bool) {
        if is_tick || now != self.began {
            self.began = now;
            self.turn += 1;
            self.most = self.most();
            (self.done, self.cost) = (Work::default(), 0);
        }
    }

    /// Something was done.
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

    /// The cost of one connection's requests in a turn, beyond the first request.
    pub fn share(&self) -> usize {
        share(self.limit)
    }

    /// Which turn this is.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// The most that was done in a turn.
    pub fn most(&self) -> Work {
        self.most.max(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_when_time_passes_or_a_tick_comes() {
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
