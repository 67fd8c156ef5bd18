//! The leader (`Leader`, `LearnerHandler`): discovery, synchronisation, broadcast.

mod succession;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::Bytes;
use tracing::{debug, info, warn};

use super::claims::Claims;
use super::confirmation::Confirmation;
use super::histories::{Reign, UNKNOWN_HISTORY};
use super::learner_handler::Phase;
use super::learners::{Learners, Limits};
use super::reconfig::goes_on_leading;
use super::tally::{Acks, Tally};
use super::{Delivery, Ended, Shared};
use crate::action::{Action, Actions, DiskAction, EpochFile, Reason};
use crate::config::EnsembleConfig;
use crate::event::LogBatch;
use crate::mutant::Mutant;
use crate::quorum::{self, AckSet, Verifier};
use crate::types::{ConnId, Epoch, ServerId, Ticket, Time, Zxid};
use crate::wire::entries::{Entries, Entry};
use crate::wire::jute::Reader;
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketType, Packets, QuorumPacket};

const LIMITS: Limits = Limits { strangers: 64, held_bytes: 256 << 20 };
/// How to go on when there are no epochs left.
const MEND: &str = "the epochs of this ensemble are used up or too far apart. Stop all servers; keep \
    the data of the one with the largest currentEpoch, and of these with the largest zxid, write the \
    upper half of that zxid into its acceptedEpoch and currentEpoch, empty the other servers' data \
    directories, and start it first";
const OUT_OF_TURN: &str = "a quorum packet out of turn";
/// How long a leader that is not to lead any more waits for its learners to leave, in half ticks.
const RETIRING_HALF_TICKS: u8 = 2;

/// What the leader waits for before it may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// A quorum of FOLLOWERINFOs.
    Discovery,
    /// The new epoch in `acceptedEpoch`.
    SavingAccepted(Ticket),
    /// A quorum of ACKEPOCHs.
    EpochAcks,
    /// A quorum of NEWLEADER acknowledgements; our own once `currentEpoch` is durable.
    NewLeaderAcks { saving: Option<Ticket> },
    /// Established.
    Broadcast,
}

/// A proposal on its way.
#[derive(Debug)]
struct Outstanding {
    zxid: Zxid,
    acks: Acks,
}

/// A sync that is not answered yet.
#[derive(Debug)]
struct Sync {
    /// It waits for the commit of this,
    commit: Zxid,
    /// The last proposal when it was asked: who acknowledges a later one follows this leader still.
    asked_at: Zxid,
    /// and for the quorum of this round.
    round: u64,
    /// Through whom it came; none: from this server's own client.
    from: Option<ConnId>,
}

/// A reign.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) epoch: Epoch,
    /// The history that it was elected with.
    pub(super) reign: Reign,
    stage: Stage,
    connecting: AckSet,
    /// The earliest epoch that one of them has accepted.
    earliest: Epoch,
    pub(super) claims: Claims,
    epoch_acks: AckSet,
    /// Who of them has not logged the configuration that may come, and will not under an old leader.
    without_change: AckSet,
    new_leader_acks: AckSet,
    pub(super) learners: Learners,
    outstanding: VecDeque<Outstanding>,
    tally: Tally,
    /// What waits for the disk, and the last proposal in it.
    appended: VecDeque<(Ticket, Zxid)>,
    /// The last proposal that is durable here.
    durable: Zxid,
    pub(super) last_proposed: Zxid,
    syncs: VecDeque<Sync>,
    confirmation: Confirmation,
    give_up_at: Time,
    half_tick_at: Time,
    odd_half_tick: bool,
    /// A reconfiguration has named another leader: who, and for how many half ticks its learners
    /// still have time to go there by themselves.
    retiring: Option<(ServerId, u8)>,
    pub(super) ended: Option<Ended>,
}

impl Leader {
    pub(super) fn new(now: Time, shared: &mut Shared, out: &mut Actions) -> Leader {
        let mut leader = Leader {
            epoch: shared.history.accepted_epoch,
            reign: Reign::new(shared.history.current_epoch),
            stage: Stage::Discovery,
            connecting: AckSet::new(),
            earliest: shared.history.accepted_epoch,
            claims: Claims::default(),
            epoch_acks: AckSet::new(),
            without_change: AckSet::new(),
            new_leader_acks: AckSet::new(),
            learners: Learners::new(LIMITS),
            outstanding: VecDeque::new(),
            tally: Tally::default(),
            appended: VecDeque::new(),
            durable: Zxid::ZERO,
            last_proposed: shared.history.last_logged,
            syncs: VecDeque::new(),
            confirmation: Confirmation::default(),
            give_up_at: now.plus_ms(shared.limit_ms(shared.options.init_limit)),
            half_tick_at: now.plus_ms(shared.options.tick_time_ms / 2),
            odd_half_tick: false,
            retiring: None,
            ended: None,
        };
        let accepted = shared.history.accepted_epoch.max(shared.epoch_heard);
        leader.introduced(shared, shared.me, accepted, out);
        leader
    }

    /// Why the reign is over, if it is.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        if self.retiring.is_some() && self.learners.iter().all(|l| l.phase == Phase::Hello) {
            self.ended.get_or_insert_with(|| "all have gone to the next leader".to_string());
        }
        self.ended.take()
    }

    /// Who leads next, if a reconfiguration says so.
    pub(super) fn successor(&mut self) -> Option<ServerId> {
        self.retiring.take().map(|(id, _)| id)
    }

    /// Whether another one is to lead.
    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.is_some()
    }

    /// Whether a quorum of these members is connected and up to date.
    pub(super) fn has_synced_quorum(
        &self,
        now: Time,
        shared: &Shared,
        config: &EnsembleConfig,
    ) -> bool {
        quorum::verifier(config).is_quorum(&self.in_sync(now, shared))
    }

    /// This server and the followers that are up to date and were heard of late.
    fn in_sync(&self, now: Time, shared: &Shared) -> AckSet {
        let limit = shared.limit_ms(shared.options.sync_limit);
        let heard = self
            .learners
            .iter()
            .filter(|l| l.phase == Phase::Active && !l.observer && now.ms_since(l.heard) <= limit);
        let mut in_sync: AckSet = heard.map(|l| l.server).collect();
        in_sync.insert(shared.me);
        in_sync
    }

    pub(super) fn established(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    /// Whether the next epoch is not known yet.
    pub(super) fn is_choosing(&self) -> bool {
        self.stage == Stage::Discovery
    }

    /// Whether the epoch that a server has accepted is known.
    pub(super) fn is_counted(&self, id: ServerId) -> bool {
        self.connecting.contains(id)
    }

    // ---- connections

    pub(super) fn opened(
        &mut self,
        now: Time,
        shared: &Shared,
        conn: ConnId,
        ip: IpAddr,
        out: &mut Actions,
    ) {
        if self.retiring.is_some() {
            return out.push(Action::Close { conn, why: Reason::NotServing });
        }
        self.learners.opened(now, shared, conn, ip, out);
    }

    pub(super) fn closed(&mut self, shared: &mut Shared, conn: ConnId) {
        if self.learners.closed(shared, conn) {
            shared.deliveries.push_back(Delivery::LearnerGone { learner: conn });
            self.syncs.retain(|sync| sync.from != Some(conn));
        }
    }

    pub(super) fn received(
        &mut self,
        now: Time,
        shared: &mut Shared,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) {
        self.learners.heard(now, conn, bytes);
        while let Some(packets) = self.learners.next_packets(shared, conn) {
            let done = packets.and_then(|packets| {
                self.packets(shared, conn, packets, out).map_err(Reason::Protocol)
            });
            if let Err(why) = done {
                self.drop_learner(shared, conn, why, out);
            }
            if self.ended.is_some() {
                return;
            }
        }
        self.contest(now, shared, out);
        self.commit(shared, out);
        self.confirm(shared);
    }

    pub(super) fn drop_learner(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        why: Reason,
        out: &mut Actions,
    ) {
        self.closed(shared, conn);
        out.push(Action::Close { conn, why });
    }

    fn packets(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        packets: Packets,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        match (packets, learner.phase) {
            (
                Packets::Bare { kind: PacketType::Ack, first, count },
                Phase::NewLeaderAcked | Phase::Active,
            ) => {
                let last = first.0.saturating_add(count as i64 - 1).min(self.last_proposed.0);
                self.confirmation.acked(learner, Zxid(last));
                let server = learner.server;
                self.acked(shared, server, first, count);
                Ok(())
            }
            (Packets::Bare { kind: PacketType::Ack, first, count: 1 }, Phase::Syncing) => {
                self.in_sync_now(shared, conn, first, out)
            }
            (Packets::One(packet), _) => self.packet(shared, conn, packet, out),
            (Packets::Bare { kind, .. } | Packets::Entries { kind, .. }, phase) => {
                debug!(learner = %learner.server, ?phase, ?kind, "a packet out of turn");
                Err(OUT_OF_TURN)
            }
        }
    }

    /// NEWLEADER is acknowledged.
    fn in_sync_now(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        zxid: Zxid,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        if zxid != self.epoch.first_zxid() {
            return Err("an ACK before that of NEWLEADER");
        }
        learner.phase = Phase::NewLeaderAcked;
        let server = learner.server;
        info!(learner = %server, "a learner is in sync");
        self.learners.in_sync(server);
        if self.established() {
            self.up_to_date(conn);
        } else {
            self.new_leader_acks.insert(server);
            self.try_establish(shared, out);
        }
        Ok(())
    }

    fn packet(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
        let kind = PacketType::from_i32(packet.kind).ok_or("unknown type of quorum packet")?;
        match (learner.phase, kind) {
            (Phase::Hello, PacketType::FollowerInfo | PacketType::ObserverInfo) => {
                let data = packet.data.ok_or("FOLLOWERINFO without its payload")?;
                let info = LearnerInfo::parse(&data).map_err(|_| "malformed FOLLOWERINFO")?;
                if info.protocol_version < PROTOCOL_VERSION {
                    return Err("a learner older than Zab 1.0");
                }
                let (now, accepted) = (learner.heard, packet.zxid.epoch());
                self.admit(now, shared, &info, accepted)?;
                let Some(learner) = self.learners.get_mut(conn) else { return Ok(()) };
                learner.server = info.server;
                learner.observer = kind == PacketType::ObserverInfo;
                learner.phase = Phase::Introduced;
                self.learners.named(shared, conn, info.server, out)?;
                debug!(learner = %info.server, %accepted, "a learner introduces itself");
                self.choose_epoch(now, shared, info.server, accepted, out);
                if !matches!(self.stage, Stage::Discovery | Stage::SavingAccepted(_)) {
                    self.learners.greet(conn, self.epoch, out);
                }
            }
            (Phase::AwaitAckEpoch, PacketType::AckEpoch) => {
                let data = packet.data.ok_or("ACKEPOCH without its payload")?;
                let epoch = Reader::new(&data).int().map_err(|_| "malformed ACKEPOCH")?;
                learner.last_zxid = packet.zxid;
                learner.acked_epoch = epoch;
                let now = learner.heard;
                if self.learners.may_go_on(now, shared, conn) {
                    self.goes_on(shared, conn, out)?;
                }
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Ping) => {
                self.confirmation.ponged(learner, self.last_proposed);
                let data = packet.data.unwrap_or_default();
                shared.deliveries.push_back(Delivery::Touched { learner: conn, data });
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Request) => {
                let data = packet.data.ok_or("REQUEST without its payload")?;
                let (server, auth) = (learner.server, packet.auth.unwrap_or_default());
                shared.deliveries.push_back(Delivery::Request {
                    learner: conn,
                    server,
                    data,
                    auth,
                });
            }
            (Phase::NewLeaderAcked | Phase::Active, PacketType::Revalidate) => {
                let data = packet.data.ok_or("REVALIDATE without its payload")?;
                shared.deliveries.push_back(Delivery::Revalidate { learner: conn, data });
            }
            (_, PacketType::Ping) => {}
            (phase, kind) => {
                debug!(learner = %learner.server, ?phase, ?kind, "a packet out of turn");
                return Err(OUT_OF_TURN);
            }
        }
        Ok(())
    }

    // ---- discovery

    /// A server (or this one) says which epoch it last accepted (`getEpochToPropose`).
    pub(super) fn introduced(
        &mut self,
        shared: &mut Shared,
        id: ServerId,
        accepted: Epoch,
        out: &mut Actions,
    ) {
        if self.stage != Stage::Discovery {
            return;
        }
        self.epoch = self.epoch.max(Epoch(accepted.0.saturating_add(1)));
        self.earliest = self.earliest.min(accepted);
        self.connecting.insert(id);
        if self.connecting.contains(shared.me) && shared.members.is_quorum(&self.connecting) {
            if !self.earliest.may_go_on_to(self.epoch) {
                self.ended =
                    Some(format!("epoch {} cannot follow {}: {MEND}", self.epoch, self.earliest));
                return;
            }
            info!(epoch = %self.epoch, "a new epoch is proposed");
            self.version_configuration(shared, out);
            let ticket = shared.ticket();
            shared.history.accepted_epoch = self.epoch;
            let (file, epoch) = (EpochFile::Accepted, self.epoch);
            out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
            self.stage = Stage::SavingAccepted(ticket);
        }
    }

    /// A configuration out of static files has no version. Once a quorum has agreed on it, it is
    /// to count more than whatever a server that joins has in its files: it becomes the one of
    /// this epoch's beginning.
    fn version_configuration(&mut self, shared: &mut Shared, out: &mut Actions) {
        if shared.options.reconfig.is_some() && shared.members.last_seen().version == 0 {
            let version = self.epoch.first_zxid().0;
            let config = EnsembleConfig { version, ..(**shared.members.current()).clone() };
            shared.saw(config, out);
        }
    }

    /// `waitForEpochAck`.
    pub(super) fn epoch_acked(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        epoch: i32,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        if self.stage != Stage::EpochAcks {
            if let Some(learner) = self.learners.get(conn) {
                if self.reign.refuses(learner, self.epoch, self.last_proposed) {
                    return Err(UNKNOWN_HISTORY);
                }
                // What it acknowledged and is not committed it may be told to cut off: it will be
                // sent that again, and acknowledge it again.
                if !Mutant::AcksOutliveASync.is_on() {
                    for outstanding in &mut self.outstanding {
                        self.tally.remove(&mut outstanding.acks, learner.server);
                    }
                }
                self.learners.synchronise(shared, conn, self.epoch, out);
            }
            return Ok(());
        }
        let Some(learner) = self.learners.get(conn) else { return Ok(()) };
        if epoch == -1 {
            return Ok(());
        }
        let theirs = (Epoch(i64::from(epoch)), learner.last_zxid);
        if theirs > (shared.history.current_epoch, shared.history.last_logged)
            && !Mutant::LeaderForgetsNewerHistory.is_on()
            && !Mutant::VoteIgnoresZxid.is_on()
        {
            warn!(learner = %learner.server, epoch, zxid = %learner.last_zxid,
                "a learner has a newer history than this leader");
            return Err("a learner with a newer history");
        }
        if shared.is_without_change(theirs.0, theirs.1) {
            self.without_change.insert(learner.server);
        }
        // Who observes may vote in the configuration that comes next.
        self.epoch_acks.insert(learner.server);
        self.try_finish_discovery(shared, out);
        Ok(())
    }

    fn try_finish_discovery(&mut self, shared: &mut Shared, out: &mut Actions) {
        let members = &shared.members;
        let know_all = members.is_quorum(&self.epoch_acks)
            || (members.is_current_quorum(&self.epoch_acks)
                && shared.is_uncommitted(&self.without_change));
        if self.stage != Stage::EpochAcks || !know_all {
            return;
        }
        shared.give_up_unlogged(out);
        let ticket = shared.ticket();
        shared.history.current_epoch = self.epoch;
        let (file, epoch) = (EpochFile::Current, self.epoch);
        out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
        self.stage = Stage::NewLeaderAcks { saving: Some(ticket) };
        let (reign, last) = (&mut self.reign, self.last_proposed);
        let waiting = self.learners.iter().filter(|l| l.phase == Phase::EpochAcked);
        let unknown = waiting.filter(|l| reign.refuses(l, epoch, last)).map(|l| l.conn);
        for conn in unknown.collect::<Vec<_>>() {
            self.drop_learner(shared, conn, Reason::Protocol(UNKNOWN_HISTORY), out);
        }
        for learner in self.learners.iter_mut().filter(|l| l.phase == Phase::EpochAcked) {
            learner.synchronise(shared, epoch, true, out);
        }
    }

    // ---- synchronisation

    fn try_establish(&mut self, shared: &mut Shared, out: &mut Actions) {
        let ready = self.stage == (Stage::NewLeaderAcks { saving: None });
        if !ready || !shared.members.is_quorum(&self.new_leader_acks) {
            return;
        }
        self.stage = Stage::Broadcast;
        shared.history.last_processed = self.epoch.first_zxid();
        self.last_proposed = self.epoch.first_zxid();
        info!(epoch = %self.epoch, "leading: a quorum is in sync");
        // What was proposed under an earlier leader is committed with the history.
        let before = shared.members.current().clone();
        if let Some(next) = shared.members.next().cloned() {
            shared.activate(next, out);
        }
        if goes_on_leading(shared.me, &before, shared.members.current()) {
            shared.deliveries.push_back(Delivery::Leading { epoch: self.epoch });
            shared.serves = true;
        } else {
            let why = "the configuration that was to be completed has other voters";
            self.ended = Some(why.to_string());
        }
        let acked = self.learners.iter().filter(|l| l.phase == Phase::NewLeaderAcked);
        for conn in acked.map(|l| l.conn).collect::<Vec<_>>() {
            self.up_to_date(conn);
        }
        self.learners.flush(out);
    }

    fn up_to_date(&mut self, conn: ConnId) {
        if let Some(learner) = self.learners.get_mut(conn) {
            learner.outbound.bare(PacketType::UpToDate, Zxid(-1));
            learner.phase = Phase::Active;
        }
    }

    pub(super) fn log_read(&mut self, shared: &mut Shared, batch: &LogBatch, out: &mut Actions) {
        let failed = self.learners.log_read(shared, self.epoch, batch, out);
        if let Some((conn, why)) = failed {
            self.drop_learner(shared, conn, why, out);
        }
    }

    // ---- broadcast

    /// The next zxid, or `None` when the epoch's counter is used up.
    pub(super) fn next_zxid(&self) -> Option<Zxid> {
        let next = self.last_proposed.next();
        (next.counter() != Zxid::LAST_COUNTER && self.retiring.is_none()).then_some(next)
    }

    /// A proposal that is encoded and will be appended.
    pub(super) fn proposed(&mut self, zxid: Zxid) {
        self.last_proposed = zxid;
        self.outstanding.push_back(Outstanding { zxid, acks: Acks::default() });
    }

    /// Sends proposals to the followers and to the disk, at once.
    pub(super) fn append(&mut self, shared: &mut Shared, entries: Entries, out: &mut Actions) {
        let followers = self.learners.iter_mut().filter(|l| l.forwarding && !l.observer);
        for learner in followers {
            learner.outbound.shared(entries.frames(), out);
        }
        let last = entries.last();
        let ticket = shared.append(entries, true, out);
        self.appended.push_back((ticket, last));
        if Mutant::LeaderAcksBeforeDurable.is_on() {
            self.persisted(shared, out);
        }
    }

    /// Counts acknowledgements of consecutive proposals. Not those of NEWLEADER and UPTODATE, and
    /// late ones of what is committed.
    fn acked(&mut self, shared: &Shared, from: ServerId, first: Zxid, count: usize) {
        let Some(oldest) = self.outstanding.front().map(|oldest| oldest.zxid) else { return };
        if first.counter() == 0 {
            return;
        }
        let place = |zxid: i64| usize::try_from(zxid.saturating_sub(oldest.0)).unwrap_or(0);
        let end = place(first.0.saturating_add(count as i64)).min(self.outstanding.len());
        let outstanding = self.outstanding.range_mut(place(first.0).min(end)..end);
        self.tally.add(outstanding.map(|one| &mut one.acks), from, &shared.members);
    }

    /// A sync: answered once a quorum has confirmed this leader; a learner's also not before
    /// everything proposed so far is committed.
    pub(super) fn sync(&mut self, shared: &mut Shared, from: Option<ConnId>) {
        let last = self.outstanding.back().filter(|_| from.is_some());
        let commit = last.map_or(Zxid::ZERO, |last| last.zxid);
        let is_confirmed = shared.options.sync_needs_quorum && !Mutant::SyncUnconfirmed.is_on();
        let round = if is_confirmed { self.confirmation.want() } else { 0 };
        self.syncs.push_back(Sync { commit, asked_at: self.last_proposed, round, from });
        self.confirm(shared);
        self.answer_syncs(shared, Zxid::ZERO);
    }

    fn confirm(&mut self, shared: &mut Shared) {
        let members = shared.members.clone();
        let last = self.last_proposed;
        if self.confirmation.advance(shared.me, &members, last, &mut self.learners) {
            self.answer_syncs(shared, Zxid::ZERO);
        }
    }

    /// Answers the syncs that may be answered: whose round is confirmed, or which were asked before
    /// a proposal that a quorum has `acknowledged`. True: there were any.
    fn answer_syncs(&mut self, shared: &mut Shared, acknowledged: Zxid) -> bool {
        let committed = shared.history.last_processed;
        let confirmation = &self.confirmation;
        let is_due = |sync: &mut Sync| {
            sync.commit <= committed
                && (confirmation.has(sync.round) || sync.asked_at < acknowledged)
        };
        let before = self.syncs.len();
        while let Some(sync) = self.syncs.pop_front_if(is_due) {
            match sync.from {
                None => shared.deliveries.push_back(Delivery::Synced),
                Some(conn) => {
                    if let Some(learner) = self.learners.get_mut(conn) {
                        learner.outbound.bare(PacketType::Sync, Zxid::ZERO);
                    }
                }
            }
        }
        self.syncs.len() < before
    }

    pub(super) fn send(&mut self, conn: ConnId, packet: &QuorumPacket) {
        if let Some(learner) = self.learners.get_mut(conn) {
            learner.outbound.packet(packet);
        }
    }

    /// Commits, strictly in order, all that has its quorum. From a reconfiguration on, until it is
    /// committed, that is quorums of both configurations.
    fn commit(&mut self, shared: &mut Shared, out: &mut Actions) {
        while self.retiring.is_none() {
            let count = self.committable(shared);
            let first = self.outstanding.front().filter(|_| count > 0).map(|first| first.zxid);
            // A session's sync is answered before what it has written after it.
            if first.is_some_and(|zxid| self.answer_syncs(shared, zxid)) {
                continue;
            }
            let Some(first) = self.outstanding.front().filter(|_| count > 0) else { break };
            let config = shared.members.next().filter(|next| next.version == first.zxid.0);
            match config.cloned() {
                Some(config) => {
                    let (zxid, acks) = (first.zxid, self.tally.servers(&first.acks));
                    self.outstanding.pop_front();
                    self.commit_config(shared, zxid, &acks, config, out);
                }
                None => self.commit_some(shared, count, out),
            }
            self.answer_syncs(shared, Zxid::ZERO);
        }
    }

    /// How many proposals, from the oldest on, are to be committed next: a reconfiguration by
    /// itself, and up to the last one before a sync that waits.
    fn committable(&mut self, shared: &Shared) -> usize {
        let reconfiguration = shared.members.next().map(|next| next.version);
        let awaited = self.syncs.front().map(|sync| sync.asked_at);
        let mut count = 0;
        for Outstanding { zxid, acks, .. } in &self.outstanding {
            let is_quorum = self.tally.is_quorum(acks, *zxid, &shared.members);
            let is_half = || {
                let acks = self.tally.servers(acks).iter().count();
                acks * 2 >= shared.members.current().voters().count()
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
    fn commit_some(&mut self, shared: &mut Shared, count: usize, out: &mut Actions) {
        let first = self.outstanding.front().map_or(Zxid::ZERO, |first| first.zxid);
        for learner in self.learners.iter_mut().filter(|l| l.forwarding) {
            if learner.observer {
                for Entry { zxid, body } in shared.history.pending().take(count) {
                    learner.outbound.enveloped(PacketType::Inform, zxid, &body, out);
                }
            } else {
                learner.outbound.bares(PacketType::Commit, first, count);
            }
        }
        shared.history.commit(count, &mut shared.deliveries);
        self.outstanding.drain(..count);
    }

    /// Something became durable here.
    pub(super) fn persisted(&mut self, shared: &mut Shared, out: &mut Actions) {
        let upto = shared.persisted;
        match self.stage {
            Stage::SavingAccepted(ticket) if ticket <= upto => {
                self.stage = Stage::EpochAcks;
                let waiting = self.learners.iter().filter(|l| l.phase == Phase::Introduced);
                for conn in waiting.map(|l| l.conn).collect::<Vec<_>>() {
                    self.learners.greet(conn, self.epoch, out);
                }
                self.epoch_acks.insert(shared.me);
                self.try_finish_discovery(shared, out);
            }
            Stage::NewLeaderAcks { saving: Some(ticket) } if ticket <= upto => {
                self.stage = Stage::NewLeaderAcks { saving: None };
                self.new_leader_acks.insert(shared.me);
                self.try_establish(shared, out);
            }
            _ => {}
        }
        let is_durable = |(ticket, _): &mut (Ticket, Zxid)| {
            *ticket <= upto || Mutant::LeaderAcksBeforeDurable.is_on()
        };
        while let Some((_, last)) = self.appended.pop_front_if(is_durable) {
            let first = self.durable.next().max(self.epoch.first_zxid().next());
            self.durable = last;
            self.acked(shared, shared.me, first, (last.0 - first.0 + 1) as usize);
        }
        self.commit(shared, out);
    }

    // ---- time

    pub(super) fn tick(&mut self, now: Time, shared: &mut Shared, out: &mut Actions) {
        if !self.established() && self.give_up_at <= now {
            self.ended = Some(format!(
                "no quorum joined within initLimit, at {:?}: can the others reach this server's \
                 quorum port, and are their lists of members the same",
                self.stage
            ));
            return;
        }
        if now < self.half_tick_at {
            return;
        }
        self.half_tick_at = now.plus_ms(shared.options.tick_time_ms / 2);
        self.odd_half_tick = !self.odd_half_tick;
        while let Some(conn) = self.learners.late(now, shared) {
            self.drop_learner(shared, conn, Reason::Timeout("a silent learner"), out);
        }
        self.contest(now, shared, out);
        for learner in self.learners.iter_mut() {
            if learner.phase.is_in_sync() {
                self.confirmation.ping(learner, self.last_proposed);
            }
        }
        if let Some((_, half_ticks)) = &mut self.retiring {
            *half_ticks = half_ticks.saturating_sub(1);
            if *half_ticks == 0 {
                self.ended = Some("another server leads now".to_string());
            }
            return;
        }
        if self.established() && !self.odd_half_tick {
            let synced = self.in_sync(now, shared);
            if !shared.members.is_quorum(&synced) {
                self.ended = Some(format!("only {} in sync, no quorum", synced.iter().count()));
            }
        }
    }

    pub(super) fn deadline(&self) -> Time {
        if self.established() { self.half_tick_at } else { self.half_tick_at.min(self.give_up_at) }
    }
}
