//! What learners' clients ask of the leader waits here, each learner's in its order, and each
//! learner in turn: pings, acknowledgements and commits go before it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use bytes::Bytes;

use super::Node;
use crate::action::Actions;
use crate::types::{ConnId, Now};
use crate::wire::client::Id;

/// One thing asked through a learner. What it asks later may depend on it.
#[derive(Debug)]
pub(super) enum Asked {
    Request { data: Bytes, auth: Arc<[Id]> },
    Revalidate { data: Bytes },
}

/// All that waits.
#[derive(Default, Debug)]
pub(super) struct Forwarded {
    /// Of each learner, or nothing any more.
    by_learner: BTreeMap<ConnId, VecDeque<Asked>>,
    /// Learners of whom something waits, in order.
    turns: VecDeque<ConnId>,
}

impl Forwarded {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn push(&mut self, learner: ConnId, asked: Asked) {
        let all = self.by_learner.entry(learner).or_default();
        if all.is_empty() {
            self.turns.push_back(learner);
        }
        all.push_back(asked);
    }

    /// The oldest of the learner whose turn it is.
    pub(super) fn next(&mut self) -> Option<(ConnId, Asked)> {
        let learner = self.turns.pop_front()?;
        let all = self.by_learner.get_mut(&learner)?;
        let asked = all.pop_front()?;
        if !all.is_empty() {
            self.turns.push_back(learner);
        }
        Some((learner, asked))
    }

    /// A learner is gone, and what it asked with it: its clients have lost their connections.
    pub(super) fn forget(&mut self, learner: ConnId) {
        self.by_learner.remove(&learner);
        self.turns.retain(|other| *other != learner);
    }
}

impl Node {
    /// Whether requests wait for the next turn, and not for the leader.
    pub(super) fn has_more_requests(&self) -> bool {
        !self.forwarded.is_empty() || (self.serve.has_submissions() && !self.ensemble.is_choked())
    }

    /// Does one thing that clients ask: of this server's own, then of each learner's. False:
    /// nothing is left for this turn.
    pub(super) fn take_request(&mut self, now: Now, out: &mut Actions) -> bool {
        if self.writes.is_spent() {
            return false;
        }
        let mut is_done = false;
        if !self.ensemble.is_choked()
            && let Some(submission) = self.serve.next_submission()
        {
            self.submit(now, submission, out);
            is_done = true;
        }
        match self.forwarded.next() {
            Some((learner, Asked::Request { data, auth })) => {
                self.forwarded(now, learner, &data, auth, out);
            }
            Some((learner, Asked::Revalidate { data })) => self.revalidate(now, learner, &data),
            None => return is_done,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learners_take_turns_and_each_keeps_its_order() {
        let mut forwarded = Forwarded::default();
        let (first, second, third) = (ConnId(1), ConnId(2), ConnId(3));
        let asked = |data: &'static [u8]| Asked::Revalidate { data: Bytes::from_static(data) };
        for (learner, data) in [(first, b"a"), (first, b"b"), (first, b"c"), (second, b"d")] {
            forwarded.push(learner, asked(data));
        }
        forwarded.push(third, asked(b"e"));
        forwarded.push(third, asked(b"f"));
        let mut next = || match forwarded.next() {
            Some((learner, Asked::Revalidate { data })) => Some((learner.0, data)),
            _ => None,
        };
        let one = |learner, data| Some((learner, Bytes::from_static(data)));
        assert_eq!(next(), one(1, b"a"));
        assert_eq!(next(), one(2, b"d"));
        assert_eq!(next(), one(3, b"e"));
        assert_eq!(next(), one(1, b"b"));
        forwarded.forget(third);
        let next = forwarded.next().map(|(learner, _)| learner);
        assert_eq!((next, forwarded.is_empty()), (Some(first), true));
    }
}
