//! Requests that learners forwarded to this leader wait here, in order for each learner, and the
//! learners take turns: pings, acknowledgements and commits overtake them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use bytes::Bytes;

use super::Node;
use super::duty::Duty;
use crate::action::Actions;
use crate::types::{ConnId, Now};
use crate::wire::client::Id;

/// One thing asked through a learner. What it asks later may depend on it.
#[derive(Debug)]
pub(super) enum LearnerRequest {
    Request { data: Bytes, auth: Arc<[Id]> },
    Revalidate { data: Bytes },
}

/// All that waits.
#[derive(Default, Debug)]
pub(super) struct Forwarded {
    /// Of each learner, or nothing any more.
    by_learner: BTreeMap<ConnId, VecDeque<LearnerRequest>>,
    /// Learners of whom something waits, in order.
    turns: VecDeque<ConnId>,
}

impl Forwarded {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn push(&mut self, learner: ConnId, asked: LearnerRequest) {
        let all = self.by_learner.entry(learner).or_default();
        if all.is_empty() {
            self.turns.push_back(learner);
        }
        all.push_back(asked);
    }

    /// The oldest of the learner whose turn it is.
    pub(super) fn next(&mut self) -> Option<(ConnId, LearnerRequest)> {
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
        matches!(&self.duty, Duty::Leading(leading) if !leading.forwarded.is_empty())
            || (self.client_port.has_submissions() && !self.ensemble.is_request_backlog_full())
    }

    /// Does one thing that clients ask: of this server's own, then of each learner's. False:
    /// nothing is left for this turn.
    pub(super) fn take_request(&mut self, now: Now, out: &mut Actions) -> bool {
        if self.writes.is_spent() {
            return false;
        }
        let mut is_done = false;
        if !self.ensemble.is_request_backlog_full()
            && let Some(request) = self.client_port.next_submission()
        {
            self.client_request(now, request, out);
            is_done = true;
        }
        match self.duty.leading().and_then(|leading| leading.forwarded.next()) {
            Some((learner, LearnerRequest::Request { data, auth })) => {
                self.forwarded(now, learner, &data, auth, out);
            }
            Some((learner, LearnerRequest::Revalidate { data })) => {
                self.revalidate(now, learner, &data)
            }
            None => return is_done,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::action::{Action, DiskAction};
    use crate::config::Config;
    use crate::event::{DiskEvent, Event, NetEvent, Port, Recovered};
    use crate::node::store_options;
    use crate::store::Store;
    use crate::types::{SessionId, Ticket, Time, Zxid};
    use crate::wire::client::{ConnectRequest, SetDataRequest};
    use crate::wire::{OpCode, Record};

    fn framed(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
        let mut frame = BytesMut::new();
        body(&mut frame);
        out.put_u32(frame.len() as u32);
        out.put_slice(&frame);
    }

    /// Proposals of one step of a server alone, and what answers its clients are sent.
    fn step(node: &mut Node, now: Now, event: Event<Store>) -> (usize, Ticket) {
        let mut out = Actions::new();
        node.step(now, event, &mut out);
        let (mut proposals, mut last) = (0, Ticket(0));
        for action in out {
            if let Action::Disk(DiskAction::Append { ticket, entries }) = action {
                (proposals, last) = (proposals + entries.len(), ticket);
            }
        }
        (proposals, last)
    }

    #[test]
    fn writes_of_a_burst_are_proposed_over_many_turns() {
        let now = Now { mono: Time(0), wall_ms: 1_700_000_000_000 };
        let text = "dataDir=/d\nclientPort=1\nturnBudget=50000\n";
        let (config, _) = Config::parse("zoo.cfg", text, None, None).unwrap();
        let recovered = Recovered {
            ticket: Ticket(0),
            state: Store::new(store_options(&config)),
            last_zxid: Zxid::ZERO,
            tail: Vec::new(),
            current_epoch: 0,
            accepted_epoch: 0,
            snapshot_bytes: 0,
        };
        let mut node = Node::new(config, 7, now);
        step(&mut node, now, Event::Disk(DiskEvent::Recovered(Box::new(recovered))));
        let peer = "127.0.0.1:4000".parse().unwrap();
        let (conn, mut hello) = (ConnId::accepted(1), BytesMut::new());
        step(&mut node, now, Event::Net(NetEvent::Opened { conn, port: Port::Client, peer }));
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 10_000,
            session: SessionId(0),
            password: Some(Bytes::from_static(&[0; 16])),
            read_only: None,
        };
        framed(&mut hello, |out| request.write(out));
        let (_, upto) =
            step(&mut node, now, Event::Net(NetEvent::Received { conn, bytes: hello.freeze() }));
        step(&mut node, now, Event::Disk(DiskEvent::Persisted { upto }));
        let (mut burst, write) =
            (BytesMut::new(), SetDataRequest { path: "/".into(), data: None, version: -1 });
        for xid in 0..500 {
            framed(&mut burst, |out| {
                out.put_i32(xid);
                out.put_i32(OpCode::SetData as i32);
                write.write(out);
            });
        }
        let mut event = Event::Net(NetEvent::Received { conn, bytes: burst.freeze() });
        let mut proposals = Vec::new();
        for tick in 1..1000 {
            let later = Now { mono: Time(tick), ..now };
            let (count, ticket) = step(&mut node, later, event);
            proposals.push(count);
            if ticket > Ticket(0) {
                step(&mut node, later, Event::Disk(DiskEvent::Persisted { upto: ticket }));
            }
            if node.deadline() != Some(Time(0)) {
                break;
            }
            event = Event::Tick;
        }
        assert_eq!(proposals.iter().sum::<usize>(), 500);
        assert!(proposals.iter().all(|count| (1..=25).contains(count)), "{proposals:?}");
        let [reads, writes] = node.most_work();
        assert!(reads.cost() < 60_000 && writes.cost() < 60_000, "{reads:?} {writes:?}");
    }

    #[test]
    fn learners_take_turns_and_each_keeps_its_order() {
        let mut forwarded = Forwarded::default();
        let (first, second, third) = (ConnId(1), ConnId(2), ConnId(3));
        let asked =
            |data: &'static [u8]| LearnerRequest::Revalidate { data: Bytes::from_static(data) };
        for (learner, data) in [(first, b"a"), (first, b"b"), (first, b"c"), (second, b"d")] {
            forwarded.push(learner, asked(data));
        }
        forwarded.push(third, asked(b"e"));
        forwarded.push(third, asked(b"f"));
        let mut next = || match forwarded.next() {
            Some((learner, LearnerRequest::Revalidate { data })) => Some((learner.0, data)),
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
