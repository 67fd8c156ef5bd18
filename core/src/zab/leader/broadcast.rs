//! Broadcast: proposals go out, acknowledgements come back, commits follow in zxid order; syncs are
//! answered in between.

use super::{Leader, Outstanding, Stage, Sync};
use crate::action::Actions;
use crate::mutant::mutant;
use crate::types::{ConnId, ServerId, Ticket, Zxid};
use crate::wire::entries::{Entries, Entry};
use crate::wire::quorum::PacketType;
use crate::zab::ack_tracker::AckBits;
use crate::zab::transition::Transition;
use crate::zab::{Delivery, Replica};

impl Leader {
    /// The zxid of the next proposal; `None` if the epoch's counter is used up, or if this leader
    /// hands over.
    pub(in crate::zab) fn next_zxid(&self) -> Option<Zxid> {
        let next = self.last_proposed.next();
        (next.counter() != Zxid::LAST_COUNTER && self.handing_over_to.is_none()).then_some(next)
    }

    /// Counts a proposal that is encoded in the buffer and will be appended.
    pub(in crate::zab) fn proposed(&mut self, zxid: Zxid) {
        self.last_proposed = zxid;
        self.outstanding.push_back(Outstanding { zxid, acks: AckBits::default() });
    }

    /// Sends proposals to the followers and to the disk. Neither waits for the other.
    pub(in crate::zab) fn append(
        &mut self,
        replica: &mut Replica,
        entries: Entries,
        out: &mut Actions,
    ) {
        let followers = self.learners.iter_mut().filter(|l| l.forwarding && !l.observer);
        for learner in followers {
            learner.outbound.send_shared(entries.frames(), out);
        }
        let last = entries.last();
        let ticket = replica.append(entries, true, out);
        self.appended.push_back((ticket, last));
        mutant!(LeaderAcksBeforeDurable => drop(self.persisted(replica, out)));
    }

    /// Counts ACKs of consecutive proposals. ACKs of NEWLEADER and UPTODATE (counter 0), and late
    /// ones for committed proposals, are ignored.
    pub(super) fn acked(&mut self, replica: &Replica, from: ServerId, first: Zxid, count: usize) {
        let Some(oldest) = self.outstanding.front().map(|oldest| oldest.zxid) else { return };
        if first.counter() == 0 {
            return;
        }
        let index = |zxid: i64| usize::try_from(zxid.saturating_sub(oldest.0)).unwrap_or(0);
        let end = index(first.0.saturating_add(count as i64)).min(self.outstanding.len());
        let outstanding = self.outstanding.range_mut(index(first.0).min(end)..end);
        self.ack_tracker.add(outstanding.map(|one| &mut one.acks), from, replica.members());
    }

    /// A sync, forwarded by the learner `from` or of a client here. It is answered when a quorum
    /// has confirmed that this server still leads; a learner's also waits for the commit of
    /// everything proposed so far.
    pub(in crate::zab) fn sync(&mut self, replica: &mut Replica, from: Option<ConnId>) {
        let last = self.outstanding.back().filter(|_| from.is_some());
        let commit = last.map_or(Zxid::ZERO, |last| last.zxid);
        let mut needs_quorum = replica.options.sync_needs_quorum;
        mutant!(SyncUnconfirmed => needs_quorum = false);
        let round = if needs_quorum { self.confirmation.request() } else { 0 };
        self.syncs.push_back(Sync { commit, asked_at: self.last_proposed, round, from });
        self.confirm(replica);
        self.answer_syncs(replica, Zxid::ZERO);
    }

    pub(super) fn confirm(&mut self, replica: &mut Replica) {
        let members = replica.members().clone();
        let last = self.last_proposed;
        if self.confirmation.advance(replica.me, &members, last, &mut self.learners) {
            self.answer_syncs(replica, Zxid::ZERO);
        }
    }

    /// Answers the oldest syncs, as far as a quorum has confirmed their rounds, or has acknowledged
    /// a proposal that is later than the request: `acknowledged`. Returns whether there were any.
    pub(super) fn answer_syncs(&mut self, replica: &mut Replica, acknowledged: Zxid) -> bool {
        let committed = replica.history.last_processed;
        let confirmation = &self.confirmation;
        let is_due = |sync: &mut Sync| {
            sync.commit <= committed
                && (confirmation.has(sync.round) || sync.asked_at < acknowledged)
        };
        let before = self.syncs.len();
        while let Some(sync) = self.syncs.pop_front_if(is_due) {
            match sync.from {
                None => replica.deliveries.push_back(Delivery::Synced),
                Some(conn) => {
                    if let Some(learner) = self.learners.get_mut(conn) {
                        learner.outbound.header_only(PacketType::Sync, Zxid::ZERO);
                    }
                }
            }
        }
        self.syncs.len() < before
    }

    /// Commits the proposals that have their quorum, strictly in order. From a reconfiguration on,
    /// until it is committed, proposals need quorums of both configurations.
    pub(super) fn commit(&mut self, replica: &mut Replica, out: &mut Actions) {
        while self.handing_over_to.is_none() {
            let count = self.committable(replica);
            let first = self.outstanding.front().filter(|_| count > 0).map(|first| first.zxid);
            // A session gets the answer to its sync before those to its later writes.
            if first.is_some_and(|zxid| self.answer_syncs(replica, zxid)) {
                continue;
            }
            let Some(first) = self.outstanding.front().filter(|_| count > 0) else { break };
            let config = replica.members().proposed().filter(|next| next.version == first.zxid.0);
            match config.cloned() {
                Some(config) => {
                    let (zxid, acks) = (first.zxid, self.ack_tracker.servers(&first.acks));
                    self.outstanding.pop_front();
                    self.commit_config(replica, zxid, &acks, config, out);
                }
                None => self.commit_some(replica, count, out),
            }
            self.answer_syncs(replica, Zxid::ZERO);
        }
    }

    /// The number of proposals to commit next, from the oldest on. A reconfiguration is committed
    /// alone, and the run ends where a sync has to be answered.
    pub(super) fn committable(&mut self, replica: &Replica) -> usize {
        let reconfiguration = replica.members().proposed().map(|next| next.version);
        let awaited = self.syncs.front().map(|sync| sync.asked_at);
        let mut count = 0;
        for Outstanding { zxid, acks, .. } in &self.outstanding {
            let mut is_enough = self.ack_tracker.is_quorum(acks, *zxid, replica.members());
            mutant!(HalfIsAQuorum => {
                let acks = self.ack_tracker.servers(acks).iter().count();
                is_enough |= acks * 2 >= replica.members().committed().voters().count();
            });
            if !is_enough {
                break;
            }
            if reconfiguration == Some(zxid.0) {
                return count.max(1);
            }
            count += 1;
            if awaited == Some(*zxid) {
                break;
            }
        }
        count
    }

    /// Commits the oldest proposals: COMMIT to followers, INFORM to observers.
    pub(super) fn commit_some(&mut self, replica: &mut Replica, count: usize, out: &mut Actions) {
        let first = self.outstanding.front().map_or(Zxid::ZERO, |first| first.zxid);
        for learner in self.learners.iter_mut().filter(|l| l.forwarding) {
            if learner.observer {
                for Entry { zxid, body } in replica.history.pending().take(count) {
                    learner.outbound.framed(PacketType::Inform, zxid, &body, out);
                }
            } else {
                learner.outbound.header_only_run(PacketType::Commit, first, count);
            }
        }
        replica.history.commit(count, &mut replica.deliveries);
        self.outstanding.drain(..count);
    }

    /// Writes up to `replica.persisted` are durable.
    pub(in crate::zab) fn persisted(
        &mut self,
        replica: &mut Replica,
        out: &mut Actions,
    ) -> Option<Transition> {
        let upto = replica.persisted;
        let mut transition = None;
        match self.stage {
            Stage::SavingAccepted(ticket) if ticket <= upto => self.accepted_saved(replica, out),
            Stage::NewLeaderAcks { saving: Some(ticket) } if ticket <= upto => {
                transition = self.current_saved(replica, out);
            }
            _ => {}
        }
        let is_durable = |(ticket, _): &mut (Ticket, Zxid)| {
            let mut is_durable = *ticket <= upto;
            mutant!(LeaderAcksBeforeDurable => is_durable = true);
            is_durable
        };
        while let Some((_, last)) = self.appended.pop_front_if(is_durable) {
            let first = self.durable.next().max(self.epoch.first_zxid().next());
            self.durable = last;
            self.acked(replica, replica.me, first, (last.0 - first.0 + 1) as usize);
        }
        self.commit(replica, out);
        transition
    }
}
