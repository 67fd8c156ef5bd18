//! The learner (`Learner`, `Follower`, `Observer`): joins a leader, is brought up to date,
//! acknowledges what is durable, applies what is committed.

mod connection;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;

use bytes::Bytes;
use tracing::{debug, info, warn};

use super::histories::Wish;
use super::link::{Outbound, PacketReader};
use super::observer_master::{ObserverMaster, is_sync};
use super::reconfig::goes_on_leading;
use super::room::Room;
use super::{Delivery, Ended, Shared, Start, limits};
use crate::action::{Action, Actions, DiskAction, EpochFile, Reason};
use crate::config::EnsembleConfig;
use crate::mutant::Mutant;
use crate::types::{ConnId, Epoch, ServerId, Ticket, Time, Zxid};
use crate::wire::client::Id;
use crate::wire::entries::Entries;
use crate::wire::quorum::{PacketType, Packets, QuorumPacket};

/// Between two attempts to reach the leader (`leaderConnectDelayDuringRetryMs`).
pub(super) const RETRY_MS: u64 = 100;
/// After so many attempts at each of its addresses another leader is looked for
/// (`Learner.LeaderConnector`).
const ATTEMPTS: usize = 5;

const OUT_OF_TURN: &str = "a quorum packet out of turn from the leader";

/// How far the join has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// No connection; the next attempt at this time.
    Disconnected(Time),
    Dialling,
    /// FOLLOWERINFO is sent.
    AwaitLeaderInfo,
    /// The new epoch goes to `acceptedEpoch`.
    SavingAccepted(Ticket),
    /// ACKEPOCH is sent: DIFF, TRUNC or SNAP comes.
    AwaitSync,
    /// The stream is a snapshot; the rider reads it.
    Snapshot(Zxid),
    /// The log is being cut after this zxid and the state loaded anew; the stream waits.
    Truncating(Ticket, Zxid),
    /// PROPOSALs and COMMITs until NEWLEADER.
    Syncing,
    /// The history is being made durable, then the epoch goes to `currentEpoch`.
    SavingCurrent(Ticket),
    /// NEWLEADER is acknowledged.
    AwaitUpToDate,
    Broadcast,
}

/// One term under a leader.
#[derive(Debug)]
pub(super) struct Learner {
    pub(super) leader: ServerId,
    pub(super) observer: bool,
    pub(super) epoch: Epoch,
    stage: Stage,
    pub(super) conn: Option<ConnId>,
    reader: PacketReader,
    outbound: Option<Outbound>,
    /// Of a follower that is up to date and has an `observerMasterPort`.
    pub(super) observers: Option<Box<ObserverMaster>>,
    /// Logged proposals whose ACK waits for the disk, first and last of those that were appended
    /// together.
    unacked: VecDeque<(Ticket, Zxid, Zxid)>,
    /// The zxid of the PING that the rider is asked to answer.
    ping: Zxid,
    attempts: usize,
    is_last_attempt: bool,
    heard: Time,
    /// The whole join must be over by then.
    join_by: Time,
    /// Whether the last ACKEPOCH asked for everything.
    asked_for_all: bool,
    /// The configuration that came with NEWLEADER: it counts once this server is up to date.
    config: Option<EnsembleConfig>,
    /// For requests on the way to the leader.
    pub(super) room: Room,
    /// Whom a reconfiguration has named as the next leader.
    appointed: Option<ServerId>,
    ended: Option<Ended>,
}

impl Learner {
    pub(super) fn new(now: Time, shared: &Shared, leader: ServerId) -> Learner {
        let observer = shared.members.observes(shared.me);
        let begins = now.max(shared.join_not_before);
        Learner {
            leader,
            observer,
            epoch: Epoch(0),
            stage: Stage::Disconnected(begins),
            conn: None,
            reader: PacketReader::default(),
            outbound: None,
            observers: None,
            unacked: VecDeque::new(),
            ping: Zxid::ZERO,
            attempts: 0,
            is_last_attempt: false,
            heard: now,
            join_by: begins.plus_ms(shared.limit_ms(shared.options.init_limit)),
            asked_for_all: false,
            config: None,
            room: Room::default(),
            appointed: None,
            ended: None,
        }
    }

    /// Why the term is over, if it is.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        self.ended.take()
    }

    /// Whether it never answered: whoever was elected in its name may be somebody else.
    pub(super) fn is_unreachable(&self) -> bool {
        self.stage == Stage::Dialling && self.conn.is_none()
    }

    /// Whom to go to now, without an election.
    pub(super) fn appointed(&mut self) -> Option<ServerId> {
        self.appointed.take()
    }

    /// Whether clients are served.
    pub(super) fn active(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.conn == Some(conn) || self.leads(conn)
    }

    /// Whether it is an observer's connection.
    pub(super) fn leads(&self, conn: ConnId) -> bool {
        self.observers.as_ref().is_some_and(|observers| observers.learners.owns(conn))
    }

    /// The truncation that this term waits for; if the term ends, its outcome still counts.
    pub(super) fn truncating(&self) -> Option<Ticket> {
        match self.stage {
            Stage::Truncating(ticket, _) => Some(ticket),
            _ => None,
        }
    }

    pub(super) fn close(&mut self, out: &mut Actions) {
        if let Some(conn) = self.conn.take() {
            out.push(Action::Close { conn, why: Reason::NotServing });
        }
        if let Some(mut observers) = self.observers.take() {
            observers.learners.close(out);
        }
    }

    /// The term ends here.
    pub(super) fn leave(&mut self, why: &str) {
        self.end(why);
    }

    fn end(&mut self, why: &str) {
        self.ended = Some(why.to_string());
    }

    // ---- connection

    pub(super) fn tick(&mut self, now: Time, shared: &mut Shared, out: &mut Actions) {
        let sync = shared.limit_ms(shared.options.sync_limit);
        if let Some(observers) = &mut self.observers {
            observers.tick(now, shared, out);
        }
        match self.stage {
            Stage::Disconnected(at) if at <= now => self.dial(shared, out),
            Stage::Broadcast if now.ms_since(self.heard) >= sync => {
                self.end("the leader was silent for syncLimit");
            }
            Stage::Broadcast => {}
            _ if self.join_by <= now => {
                let (leader, stage) = (self.leader, self.stage);
                self.ended = Some(format!(
                    "not in sync with server {leader} within initLimit, at {stage:?}: raise \
                     initLimit if its state is large or the network slow"
                ));
            }
            _ => {}
        }
    }

    pub(super) fn deadline(&self, shared: &Shared) -> Time {
        match self.stage {
            Stage::Disconnected(at) => at.min(self.join_by),
            Stage::Broadcast => {
                let silence = self.heard.plus_ms(shared.limit_ms(shared.options.sync_limit));
                let pings = self.observers.as_ref().map(|observers| observers.deadline());
                pings.map_or(silence, |at| at.min(silence))
            }
            _ => self.join_by,
        }
    }

    pub(super) fn received(
        &mut self,
        now: Time,
        shared: &mut Shared,
        bytes: Bytes,
        out: &mut Actions,
    ) {
        self.heard = now;
        if let Stage::Snapshot(_) = self.stage {
            shared.deliveries.push_back(Delivery::SnapshotBytes(bytes));
            return;
        }
        self.reader.push(bytes);
        self.read_on(shared, out);
    }

    /// Handles the packets that are there, as far as the stage lets it.
    fn read_on(&mut self, shared: &mut Shared, out: &mut Actions) {
        while self.ended.is_none() {
            match self.stage {
                Stage::Snapshot(_) => {
                    let rest = self.reader.take_rest();
                    if !rest.is_empty() {
                        shared.deliveries.push_back(Delivery::SnapshotBytes(rest));
                    }
                    break;
                }
                Stage::Truncating(..) | Stage::SavingAccepted(_) => break,
                _ => {}
            }
            match self.reader.next(shared.options.max_from_members) {
                Ok(None) => break,
                Ok(Some(packets)) => {
                    if let Err(what) = self.packets(shared, packets, out) {
                        self.end(what);
                    }
                }
                Err(what) => self.ended = Some(limits::of_leader(self.heard, shared, what)),
            }
        }
        self.flush(out);
    }

    fn packets(
        &mut self,
        shared: &mut Shared,
        packets: Packets,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let goes_on = self.goes_on_logging();
        match packets {
            Packets::Entries { kind: PacketType::Proposal, entries } if goes_on => {
                self.proposals(shared, entries, out)
            }
            Packets::Entries { kind: PacketType::Inform, entries } if goes_on && self.observer => {
                let (first, count) = (entries.first(), entries.len());
                self.proposals(shared, entries, out)?;
                self.commit(shared, first, count, None, out)
            }
            Packets::Bare { kind: PacketType::Commit, first, count } if goes_on => {
                self.commit(shared, first, count, None, out)
            }
            Packets::One(packet) => self.packet(shared, packet, out),
            Packets::Entries { kind, .. } | Packets::Bare { kind, .. } => {
                debug!(stage = ?self.stage, ?kind, "a packet out of turn");
                Err(OUT_OF_TURN)
            }
        }
    }

    /// Whether the leader may send what continues the log.
    fn goes_on_logging(&self) -> bool {
        matches!(
            self.stage,
            Stage::Syncing | Stage::SavingCurrent(_) | Stage::AwaitUpToDate | Stage::Broadcast
        )
    }

    fn packet(
        &mut self,
        shared: &mut Shared,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let kind = PacketType::from_i32(packet.kind).ok_or("unknown type of quorum packet")?;
        match (self.stage, kind) {
            (Stage::AwaitLeaderInfo, PacketType::LeaderInfo) => {
                self.leader_info(shared, packet.zxid, out)
            }
            (Stage::AwaitSync, PacketType::Diff | PacketType::Trunc) if self.asked_for_all => {
                Err("the leader was asked for all of its state, and sends none")
            }
            (Stage::AwaitSync, PacketType::Diff | PacketType::Trunc)
                if shared.wish == Some(Wish::Diverged) =>
            {
                self.ask_again(out);
                Ok(())
            }
            (Stage::AwaitSync, PacketType::Diff) => {
                shared.wish = None;
                info!(zxid = %shared.history.last_logged, leader_zxid = %packet.zxid, "DIFF from the leader");
                shared.give_up_unlogged(out);
                self.stage = Stage::Syncing;
                Ok(())
            }
            (Stage::AwaitSync, PacketType::Trunc) => {
                info!(zxid = %shared.history.last_logged, to = %packet.zxid, "TRUNC from the leader");
                if Mutant::TruncIgnored.is_on() {
                    self.stage = Stage::Syncing;
                    return Ok(());
                }
                let ticket = shared.ticket();
                self.stage = Stage::Truncating(ticket, packet.zxid);
                shared.deliveries.push_back(Delivery::Truncating);
                out.push(Action::Disk(DiskAction::Truncate { ticket, after: packet.zxid }));
                Ok(())
            }
            (Stage::AwaitSync, PacketType::Snap) => {
                info!(zxid = %shared.history.last_logged, leader_zxid = %packet.zxid, "SNAP from the leader");
                shared.give_up_unlogged(out);
                shared.in_history = None;
                self.stage = Stage::Snapshot(packet.zxid);
                shared.deliveries.push_back(Delivery::SnapshotBegin { zxid: packet.zxid });
                Ok(())
            }
            (_, PacketType::CommitAndActivate) if self.goes_on_logging() => {
                let data = packet.data.ok_or("COMMITANDACTIVATE without its payload")?;
                let leader = designated(&data)?;
                self.commit_config(shared, packet.zxid, leader, out)
            }
            (_, PacketType::InformAndActivate) if self.goes_on_logging() && self.observer => {
                let data = packet.data.ok_or("INFORMANDACTIVATE without its payload")?;
                let leader = designated(&data)?;
                self.proposals(shared, Entries::one(packet.zxid, &data[8..]), out)?;
                self.commit_config(shared, packet.zxid, leader, out)
            }
            (Stage::Syncing, PacketType::NewLeader) => {
                if packet.zxid != self.epoch.first_zxid() {
                    return Err("NEWLEADER of another epoch");
                }
                self.config = shared.config_of_leader(packet.data.as_ref());
                if let Some(config) = self.config.clone() {
                    shared.saw(config, out);
                }
                // The log's entries stand before it in the disk's lane: the epoch is never
                // durable ahead of the history that it stands for.
                let ticket = shared.ticket();
                self.stage = Stage::SavingCurrent(ticket);
                shared.history.current_epoch = self.epoch;
                let (file, epoch) = (EpochFile::Current, self.epoch);
                out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
                if Mutant::NewLeaderAckedBeforeDurable.is_on() {
                    self.stage = Stage::AwaitUpToDate;
                    self.bare(PacketType::Ack, packet.zxid);
                }
                Ok(())
            }
            (Stage::AwaitUpToDate, PacketType::UpToDate) => {
                self.take_leaders_config(shared, out);
                if self.ended.is_some() {
                    return Ok(());
                }
                self.stage = Stage::Broadcast;
                shared.limit_pause_ms = 0;
                shared.refusals.forget();
                let zxid = self.epoch.first_zxid();
                self.bare(PacketType::Ack, zxid);
                info!(leader = %self.leader, epoch = %self.epoch, "following: up to date");
                if !self.observer && shared.options.observer_master_port.is_some() {
                    let observers = ObserverMaster::new(self.heard, shared, self.epoch);
                    self.observers = Some(Box::new(observers));
                }
                let (leader, epoch, observing) = (self.leader, self.epoch, self.observer);
                shared.deliveries.push_back(Delivery::Following { leader, epoch, observing });
                shared.serves = true;
                Ok(())
            }
            (Stage::Broadcast, PacketType::Ping) => {
                self.ping = packet.zxid;
                shared.deliveries.push_back(Delivery::Ping);
                Ok(())
            }
            // A leader pings as soon as it has sent NEWLEADER, but takes nothing else than its
            // acknowledgement for an answer.
            (_, PacketType::Ping) => Ok(()),
            (Stage::Broadcast, PacketType::Revalidate) => {
                if let Some(observers) = &mut self.observers
                    && let Some(Some(conn)) = observers.revalidations.pop_front()
                {
                    observers.answer(conn, &packet, out);
                    return Ok(());
                }
                let data = packet.data.ok_or("REVALIDATE without its payload")?;
                shared.deliveries.push_back(Delivery::Revalidated { data });
                Ok(())
            }
            (Stage::Broadcast, PacketType::Sync) => {
                if let Some(observers) = &mut self.observers
                    && let Some(Some(conn)) = observers.syncs.pop_front()
                {
                    observers.answer(conn, &packet, out);
                    return Ok(());
                }
                shared.deliveries.push_back(Delivery::Synced);
                Ok(())
            }
            (stage, kind) => {
                debug!(?stage, ?kind, "a packet out of turn");
                Err(OUT_OF_TURN)
            }
        }
    }

    // ---- joining

    fn leader_info(
        &mut self,
        shared: &mut Shared,
        zxid: Zxid,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let epoch = zxid.epoch();
        let accepted = shared.history.accepted_epoch;
        if !accepted.may_go_on_to(epoch) {
            return Err("the leader proposes an epoch that cannot be");
        }
        self.epoch = epoch;
        if epoch < accepted {
            let what = format!("it leads epoch {epoch}, and this server has accepted a later one");
            self.ended = Some(shared.refused(self.heard, self.leader, &what));
            return Ok(());
        }
        if epoch == accepted {
            // Accepted before: not counted again.
            self.ack_epoch(shared, -1);
            return Ok(());
        }
        let ticket = shared.ticket();
        shared.history.accepted_epoch = epoch;
        if Mutant::EpochNotSaved.is_on() {
            self.ack_epoch(shared, shared.history.current_epoch.0 as i32);
            return Ok(());
        }
        self.stage = Stage::SavingAccepted(ticket);
        out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file: EpochFile::Accepted, epoch }));
        Ok(())
    }

    fn ack_epoch(&mut self, shared: &Shared, current: i32) {
        let data = Some(Bytes::copy_from_slice(&current.to_be_bytes()));
        self.stage = Stage::AwaitSync;
        // Who is counted says what it has. Who was counted before may ask for everything.
        self.asked_for_all = current == -1 && shared.wish.is_some();
        if let Some(outbound) = &mut self.outbound {
            let last = if self.asked_for_all { Zxid::ZERO } else { shared.history.last_logged };
            outbound.packet(&QuorumPacket::new(PacketType::AckEpoch, last, data));
        }
    }

    /// The log is cut and the state loaded anew.
    pub(super) fn truncated(&mut self, shared: &mut Shared, start: Start, out: &mut Actions) {
        shared.load(start);
        if let Stage::Truncating(_, after) = self.stage
            && shared.history.last_logged > after
        {
            warn!(to = %after, "the log does not show that place: the leader is asked for all of its \
                state");
            shared.wish = Some(Wish::CannotTruncate);
            return self.ask_again(out);
        }
        shared.give_up_unlogged(out);
        self.stage = Stage::Syncing;
        self.read_on(shared, out);
    }

    /// Begins the join anew, with the same leader: this time it is asked for everything. In
    /// discovery this server has been counted with what it has.
    fn ask_again(&mut self, out: &mut Actions) {
        if let Some(conn) = self.conn.take() {
            out.push(Action::Close { conn, why: Reason::NotServing });
        }
        self.outbound = None;
        self.reader = PacketReader::default();
        (self.attempts, self.is_last_attempt) = (0, false);
        self.stage = Stage::Disconnected(self.heard.plus_ms(RETRY_MS));
    }

    /// The rider found the end of the snapshot; `rest` follows it in the stream.
    pub(super) fn snapshot_received(
        &mut self,
        shared: &mut Shared,
        rest: Bytes,
        out: &mut Actions,
    ) {
        let Stage::Snapshot(zxid) = self.stage else { return };
        shared.history.replace(zxid);
        shared.wish = None;
        self.stage = Stage::Syncing;
        self.reader.push(rest);
        self.read_on(shared, out);
    }

    pub(super) fn snapshot_refused(&mut self, what: &str) {
        self.end(what);
    }

    // ---- broadcast

    fn proposals(
        &mut self,
        shared: &mut Shared,
        mut entries: Entries,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let last = shared.history.last_logged;
        let seen = entries.iter().take_while(|(zxid, _)| *zxid <= last).count();
        if seen > 0 {
            // Leaders have been known to repeat a zxid; it can never commit twice.
            debug!(zxid = %entries.first(), %last, seen, "proposals that are logged already");
            if seen == entries.len() {
                return Ok(());
            }
            entries.split_to(seen);
        }
        let first = entries.first();
        if first.epoch() == last.epoch() && first != last.next() {
            return Err("a gap in the leader's proposals");
        }
        if self.config.is_some() && entries.iter().any(|(_, body)| shared.config_in(body).is_some())
        {
            // NEWLEADER's configuration counted before this one was proposed.
            self.take_leaders_config(shared, out);
        }
        limits::tell_long(self.heard, shared, &entries);
        let ticket = shared.append(entries, self.stage == Stage::Broadcast, out);
        if Mutant::AckBeforeDurable.is_on() && self.stage == Stage::Broadcast && !self.observer {
            self.acknowledge(first, shared.history.last_logged);
        } else if !self.observer {
            self.unacked.push_back((ticket, first, shared.history.last_logged));
        }
        Ok(())
    }

    fn commit(
        &mut self,
        shared: &mut Shared,
        first: Zxid,
        count: usize,
        next_leader: Option<ServerId>,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let last = Zxid(first.0.saturating_add(count as i64 - 1));
        let processed = shared.history.last_processed;
        if last <= processed {
            return Ok(());
        }
        let mut next = if processed < first { first } else { processed.next() };
        while next <= last {
            let Some((_, there)) = shared.history.next_pending().filter(|(at, _)| *at == next)
            else {
                return Err("a COMMIT out of order");
            };
            let count = there.min((last.0 - next.0 + 1) as usize);
            if let Some(observers) = &mut self.observers {
                for entry in shared.history.pending().take(count) {
                    observers.committed(&entry, next_leader, out);
                }
            }
            shared.history.commit(count, &mut shared.deliveries);
            let Some(after) = next.0.checked_add(count as i64) else { break };
            next = Zxid(after);
        }
        if matches!(self.stage, Stage::Syncing) {
            // Committed before NEWLEADER: its acknowledgement covers it.
            self.unacked.retain(|(_, _, unacked)| *unacked > last);
            if let Some((_, first, _)) = self.unacked.front_mut() {
                *first = (*first).max(last.next());
            }
        }
        Ok(())
    }

    /// A reconfiguration is committed.
    fn commit_config(
        &mut self,
        shared: &mut Shared,
        zxid: Zxid,
        leader: ServerId,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let pending = shared.history.pending().next().filter(|entry| entry.zxid == zxid);
        let config = pending.and_then(|entry| shared.config_in(&entry.body));
        self.commit(shared, zxid, 1, Some(leader), out)?;
        if let Some(config) = config {
            self.activate(shared, config, Some(leader), out);
        }
        Ok(())
    }

    /// The configuration of the leader counts, unless it is one that is proposed and not
    /// committed yet, as far as this server knows: its commit will say so.
    fn take_leaders_config(&mut self, shared: &mut Shared, out: &mut Actions) {
        let Some(config) = self.config.take() else { return };
        let proposed = Zxid(config.version);
        let is_of_epoch = proposed.epoch() == self.epoch && proposed.counter() != 0;
        if !is_of_epoch || proposed <= shared.history.last_processed {
            self.activate(shared, config, None, out);
        }
    }

    /// From here on other members count. Whether this server goes on here or elsewhere is for
    /// them to say (`QuorumPeer.processReconfig`).
    fn activate(
        &mut self,
        shared: &mut Shared,
        config: EnsembleConfig,
        leader: Option<ServerId>,
        out: &mut Actions,
    ) {
        let before = shared.members.clone();
        if !shared.activate(Arc::new(config), out) {
            return;
        }
        let now = &shared.members;
        let leader_changes = match leader {
            Some(leader) => leader != self.leader,
            None => !goes_on_leading(self.leader, before.current(), now.current()),
        };
        if leader_changes || before.observes(shared.me) != now.observes(shared.me) {
            self.appointed = leader;
            self.end("the configuration has changed");
        }
    }

    /// Something became durable here.
    pub(super) fn persisted(&mut self, shared: &mut Shared, out: &mut Actions) {
        let upto = shared.persisted;
        match self.stage {
            Stage::SavingAccepted(ticket) if ticket <= upto => {
                let current = shared.history.current_epoch.0 as i32;
                self.ack_epoch(shared, current);
                self.flush(out);
                self.read_on(shared, out);
            }
            Stage::SavingCurrent(ticket) if ticket <= upto => {
                self.stage = Stage::AwaitUpToDate;
                let zxid = self.epoch.first_zxid();
                self.bare(PacketType::Ack, zxid);
            }
            _ => {}
        }
        if matches!(self.stage, Stage::AwaitUpToDate | Stage::Broadcast) {
            while let Some((_, first, last)) =
                self.unacked.pop_front_if(|(ticket, ..)| *ticket <= upto)
            {
                self.acknowledge(first, last);
            }
        }
        self.flush(out);
    }

    /// An observer said something: what the leader has to decide goes on to it.
    pub(super) fn observer_said(
        &mut self,
        now: Time,
        shared: &mut Shared,
        conn: ConnId,
        bytes: Bytes,
        out: &mut Actions,
    ) {
        let Some(observers) = &mut self.observers else { return };
        for packet in observers.received(now, shared, conn, bytes, out) {
            if packet.kind == PacketType::Revalidate as i32 {
                observers.revalidations.push_back(Some(conn));
            } else if packet.data.as_ref().is_some_and(is_sync) {
                observers.syncs.push_back(Some(conn));
            }
            if let Some(outbound) = &mut self.outbound {
                outbound.packet(&packet);
            }
        }
        self.flush(out);
    }

    /// A client's request goes to the leader.
    pub(super) fn request(&mut self, data: Bytes, auth: Option<Arc<[Id]>>, out: &mut Actions) {
        if let Some(observers) = &mut self.observers
            && is_sync(&data)
        {
            observers.syncs.push_back(None);
        }
        self.take_room(data.len(), auth.as_ref(), out);
        self.send(QuorumPacket {
            kind: PacketType::Request as i32,
            zxid: Zxid(-1),
            data: Some(data),
            auth,
        });
        self.flush(out);
    }

    pub(super) fn revalidate(&mut self, data: Bytes, out: &mut Actions) {
        if let Some(observers) = &mut self.observers {
            observers.revalidations.push_back(None);
        }
        self.send(QuorumPacket::new(PacketType::Revalidate, Zxid(-1), Some(data)));
        self.flush(out);
    }

    pub(super) fn pong(&mut self, touches: Bytes, out: &mut Actions) {
        let zxid = self.ping;
        self.send(QuorumPacket::new(PacketType::Ping, zxid, Some(touches)));
        self.flush(out);
    }

    fn acknowledge(&mut self, first: Zxid, last: Zxid) {
        let count = usize::try_from(last.0 - first.0 + 1).unwrap_or(0);
        if let Some(outbound) = &mut self.outbound {
            outbound.bares(PacketType::Ack, first, count);
        }
    }

    fn send(&mut self, packet: QuorumPacket) {
        if let Some(outbound) = &mut self.outbound {
            outbound.packet(&packet);
        }
    }

    fn bare(&mut self, kind: PacketType, zxid: Zxid) {
        if let Some(outbound) = &mut self.outbound {
            outbound.bare(kind, zxid);
        }
    }

    fn flush(&mut self, out: &mut Actions) {
        if let Some(outbound) = &mut self.outbound {
            outbound.flush(out);
        }
        if let Some(observers) = &mut self.observers {
            observers.learners.flush(out);
        }
    }
}

/// The designated leader at the beginning of a payload.
fn designated(data: &Bytes) -> Result<ServerId, &'static str> {
    let id = data.first_chunk::<8>().map(|bytes| ServerId(i64::from_be_bytes(*bytes)));
    id.ok_or("a reconfiguration without its leader")
}
