//! What is to happen when: the one queue of a run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use zabkeeper_core::types::Time;

/// Things to come, in order of time; of the same time, in the order in which they were noted.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<Noted<T>>>,
    noted: u64,
}

#[derive(Debug)]
struct Noted<T> {
    at: Time,
    seq: u64,
    what: T,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Agenda<T> {
        Agenda { heap: BinaryHeap::new(), noted: 0 }
    }

    /// Notes something for a time.
    pub(crate) fn note(&mut self, at: Time, what: T) {
        self.noted += 1;
        self.heap.push(Reverse(Noted { at, seq: self.noted, what }));
    }

    /// Takes what comes next.
    pub(crate) fn next(&mut self) -> Option<(Time, T)> {
        self.heap.pop().map(|Reverse(noted)| (noted.at, noted.what))
    }
}

impl<T> PartialEq for Noted<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl<T> Eq for Noted<T> {}
impl<T> PartialOrd for Noted<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Noted<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}
