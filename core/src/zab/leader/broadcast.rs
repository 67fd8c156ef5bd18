//! Broadcast: proposals, acknowledgements, commits and syncs.

use alloc::vec::Vec;

use super::{Leader, Outstanding, Stage, Sync};
use crate::action::Actions;
use crate::mutant::Mutant;
use crate::types::{ConnId, ServerId, Ticket, Zxid};
use crate::wire::entries::{Entries, Entry};
use crate::wire::quorum::{PacketType, QuorumPacket};
use crate::zab::ack_tracker::AckBits;
use crate::zab::learner_handler::Phase;
use crate::zab::{Delivery, Replica};

impl Leader {
    /// The next zxid, or `None` when the epoch's counter is used up.
    pub(in crate::zab) fn next_zxid(&self) -> Option<Zxid> {
        let next = self.last_proposed.next();
        (next.counter() != Zxid::LAST_COUNTER && self.handing_over_to.is_none()).then_some(next)
    }

    /// A proposal that is encoded and will be appended.
    pub(in crate::zab) fn proposed(&mut self, zxid: Zxid) {
        self.last_proposed = zxid;
        self.outstanding.push_back(Outstanding { zxid, acks: AckBits::default() });
    }

    /// Sends proposals to the followers and to the disk, at once.
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
        if Mutant::LeaderAcksBeforeDurable.is_on() {
            self.persisted(replica, out);
        }
    }

    /// Counts acknowledgements of consecutive proposals. Not those of NEWLEADER and UPTODATE, and
    /// late ones of what is committed.
    pub(super) fn acked(&mut self, replica: &Replica, from: ServerId, first: Zxid, count: usize) {
        let Some(oldest) = self.outstanding.front().map(|oldest| oldest.zxid) else { return };
        if first.counter() == 0 {
            return;
        }
        let place = |zxid: i64| usize::try_from(zxid.saturating_sub(oldest.0)).unwrap_or(0);
        let end = place(first.0.saturating_add(count as i64)).min(self.outstanding.len());
        let outstanding = self.outstanding.range_mut(place(first.0).min(end)..end);
        self.ack_tracker.add(outstanding.map(|one| &mut one.acks), from, replica.members());
    }

    /// A sync: answered once a quorum has confirmed this leader; a learner's also not before
    /// everything proposed so far is committed.
    pub(in crate::zab) fn sync(&mut self, replica: &mut Replica, from: Option<ConnId>) {
        let last = self.outstanding.back().filter(|_| from.is_some());
        let commit = last.map_or(Zxid::ZERO, |last| last.zxid);
        let is_confirmed = replica.options.sync_needs_quorum && !Mutant::SyncUnconfirmed.is_on();
        let round = if is_confirmed { self.confirmation.want() } else { 0 };
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

    /// Answers the syncs that may be answered: whose round is confirmed, or which were asked before
    /// a proposal that a quorum has `acknowledged`. True: there were any.
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

    pub(in crate::zab) fn send(&mut self, conn: ConnId, packet: &QuorumPacket) {
        if let Some(learner) = self.learners.get_mut(conn) {
            learner.outbound.packet(packet);
        }
    }

    /// Commits, strictly in order, all that has its quorum. From a reconfiguration on, until it is
    /// committed, that is quorums of both configurations.
    pub(super) fn commit(&mut self, replica: &mut Replica, out: &mut Actions) {
        while self.handing_over_to.is_none() {
            let count = self.committable(replica);
            let first = self.outstanding.front().filter(|_| count > 0).map(|first| first.zxid);
            // A session's sync is answered before what it has written after it.
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

    /// How many proposals, from the oldest on, are to be committed next: a reconfiguration by
    /// itself, and up to the last one before a sync that waits.
    pub(super) fn committable(&mut self, replica: &Replica) -> usize {
        let reconfiguration = replica.members().proposed().map(|next| next.version);
        let awaited = self.syncs.front().map(|sync| sync.asked_at);
        let mut count = 0;
        for Outstanding { zxid, acks, .. } in &self.outstanding {
            let is_quorum = self.ack_tracker.is_quorum(acks, *zxid, replica.members());
            let is_half = || {
                let acks = self.ack_tracker.servers(acks).iter().count();
                acks * 2 >= replica.members().committed().voters().count()
            };
            let is_enough = Mutant::HalfIsAQuorum.is_on() && is_half();
            if !(is_quorum || is_enough) {
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

    /// Commits that many proposals.
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

    /// Something became durable here.
    pub(in crate::zab) fn persisted(&mut self, replica: &mut Replica, out: &mut Actions) {
        let upto = replica.persisted;
        match self.stage {
            Stage::SavingAccepted(ticket) if ticket <= upto => {
                self.stage = Stage::EpochAcks;
                let waiting = self.learners.iter().filter(|l| l.phase == Phase::Identified);
                for conn in waiting.map(|l| l.conn).collect::<Vec<_>>() {
                    self.learners.greet(conn, self.epoch, out);
                }
                self.epoch_acks.insert(replica.me);
                self.try_finish_discovery(replica, out);
            }
            Stage::NewLeaderAcks { saving: Some(ticket) } if ticket <= upto => {
                self.stage = Stage::NewLeaderAcks { saving: None };
                self.new_leader_acks.insert(replica.me);
                self.try_establish(replica, out);
            }
            _ => {}
        }
        let is_durable = |(ticket, _): &mut (Ticket, Zxid)| {
            *ticket <= upto || Mutant::LeaderAcksBeforeDurable.is_on()
        };
        while let Some((_, last)) = self.appended.pop_front_if(is_durable) {
            let first = self.durable.next().max(self.epoch.first_zxid().next());
            self.durable = last;
            self.acked(replica, replica.me, first, (last.0 - first.0 + 1) as usize);
        }
        self.commit(replica, out);
    }
}
