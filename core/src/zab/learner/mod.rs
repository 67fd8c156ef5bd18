//! The learner (`Learner`, `Follower`, `Observer`): joins a leader, is brought up to date,
//! acknowledges what is durable, applies what is committed.

mod broadcast;
mod join;
mod reconfig;
mod request_backlog;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;

use bytes::Bytes;
use tracing::{debug, info};

use super::foreign_history::FullSyncReason;
use super::membership::ConfigEvent;
use super::observer_master::ObserverMaster;
use super::packet_stream::{Outbound, PacketReader};
use super::{Delivery, Ended, Replica, limits};
use crate::action::{Action, Actions, DiskAction, EpochFile, Reason};
use crate::config::EnsembleConfig;
use crate::mutant::Mutant;
use crate::types::{ConnId, Epoch, ServerId, Ticket, Time, Zxid};
use crate::wire::entries::Entries;
use crate::wire::quorum::{PacketType, Packets, QuorumPacket};
use reconfig::designated;
use request_backlog::RequestBacklog;

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
    last_received: Time,
    /// The whole join must be over by then.
    join_deadline: Time,
    /// Whether the last ACKEPOCH asked for everything.
    requested_full_sync: bool,
    /// The configuration that came with NEWLEADER: it counts once this server is up to date.
    config: Option<EnsembleConfig>,
    /// For requests on the way to the leader.
    pub(super) backlog: RequestBacklog,
    /// Whom a reconfiguration has named as the next leader.
    appointed: Option<ServerId>,
    ended: Option<Ended>,
}

impl Learner {
    pub(super) fn new(now: Time, replica: &Replica, leader: ServerId) -> Learner {
        let observer = replica.members().observes(replica.me);
        let begins = now.max(replica.join_not_before);
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
            last_received: now,
            join_deadline: begins.plus_ms(replica.limit_ms(replica.options.init_limit)),
            requested_full_sync: false,
            config: None,
            backlog: RequestBacklog::default(),
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

    pub(super) fn tick(&mut self, now: Time, replica: &mut Replica, out: &mut Actions) {
        let sync = replica.limit_ms(replica.options.sync_limit);
        if let Some(observers) = &mut self.observers {
            observers.tick(now, replica, out);
        }
        match self.stage {
            Stage::Disconnected(at) if at <= now => self.dial(replica, out),
            Stage::Broadcast if now.ms_since(self.last_received) >= sync => {
                self.end("the leader was silent for syncLimit");
            }
            Stage::Broadcast => {}
            _ if self.join_deadline <= now => {
                let (leader, stage) = (self.leader, self.stage);
                self.ended = Some(format!(
                    "not in sync with server {leader} within initLimit, at {stage:?}: raise \
                     initLimit if its state is large or the network slow"
                ));
            }
            _ => {}
        }
    }

    pub(super) fn deadline(&self, replica: &Replica) -> Time {
        match self.stage {
            Stage::Disconnected(at) => at.min(self.join_deadline),
            Stage::Broadcast => {
                let silence =
                    self.last_received.plus_ms(replica.limit_ms(replica.options.sync_limit));
                let pings = self.observers.as_ref().map(|observers| observers.deadline());
                pings.map_or(silence, |at| at.min(silence))
            }
            _ => self.join_deadline,
        }
    }

    pub(super) fn received(
        &mut self,
        now: Time,
        replica: &mut Replica,
        bytes: Bytes,
        out: &mut Actions,
    ) {
        self.last_received = now;
        if let Stage::Snapshot(_) = self.stage {
            replica.deliveries.push_back(Delivery::SnapshotBytes(bytes));
            return;
        }
        self.reader.push(bytes);
        self.read_on(replica, out);
    }

    /// Handles the packets that are there, as far as the stage lets it.
    fn read_on(&mut self, replica: &mut Replica, out: &mut Actions) {
        while self.ended.is_none() {
            match self.stage {
                Stage::Snapshot(_) => {
                    let rest = self.reader.take_rest();
                    if !rest.is_empty() {
                        replica.deliveries.push_back(Delivery::SnapshotBytes(rest));
                    }
                    break;
                }
                Stage::Truncating(..) | Stage::SavingAccepted(_) => break,
                _ => {}
            }
            match self.reader.next(replica.options.max_from_members) {
                Ok(None) => break,
                Ok(Some(packets)) => {
                    if let Err(what) = self.packets(replica, packets, out) {
                        self.end(what);
                    }
                }
                Err(what) => {
                    self.ended =
                        Some(limits::leader_packet_error(self.last_received, replica, what))
                }
            }
        }
        self.flush(out);
    }

    fn packets(
        &mut self,
        replica: &mut Replica,
        packets: Packets,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let accepts = self.accepts_entries();
        match packets {
            Packets::Entries { kind: PacketType::Proposal, entries } if accepts => {
                self.proposals(replica, entries, out)
            }
            Packets::Entries { kind: PacketType::Inform, entries } if accepts && self.observer => {
                let (first, count) = (entries.first(), entries.len());
                self.proposals(replica, entries, out)?;
                self.commit(replica, first, count, None, out)
            }
            Packets::Bare { kind: PacketType::Commit, first, count } if accepts => {
                self.commit(replica, first, count, None, out)
            }
            Packets::One(packet) => self.packet(replica, packet, out),
            Packets::Entries { kind, .. } | Packets::Bare { kind, .. } => {
                debug!(stage = ?self.stage, ?kind, "a packet out of turn");
                Err(OUT_OF_TURN)
            }
        }
    }

    /// Whether the leader may send what continues the log.
    fn accepts_entries(&self) -> bool {
        matches!(
            self.stage,
            Stage::Syncing | Stage::SavingCurrent(_) | Stage::AwaitUpToDate | Stage::Broadcast
        )
    }

    fn packet(
        &mut self,
        replica: &mut Replica,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let kind = PacketType::from_i32(packet.kind).ok_or("unknown type of quorum packet")?;
        match (self.stage, kind) {
            (Stage::AwaitLeaderInfo, PacketType::LeaderInfo) => {
                self.leader_info(replica, packet.zxid, out)
            }
            (Stage::AwaitSync, PacketType::Diff | PacketType::Trunc)
                if self.requested_full_sync =>
            {
                Err("the leader was asked for all of its state, and sends none")
            }
            (Stage::AwaitSync, PacketType::Diff | PacketType::Trunc)
                if replica.full_sync_reason == Some(FullSyncReason::Diverged) =>
            {
                self.ask_again(out);
                Ok(())
            }
            (Stage::AwaitSync, PacketType::Diff) => {
                replica.full_sync_reason = None;
                info!(zxid = %replica.history.last_logged, leader_zxid = %packet.zxid, "DIFF from the leader");
                replica.config_event(ConfigEvent::HistoryAgreed, out);
                self.stage = Stage::Syncing;
                Ok(())
            }
            (Stage::AwaitSync, PacketType::Trunc) => {
                info!(zxid = %replica.history.last_logged, to = %packet.zxid, "TRUNC from the leader");
                if Mutant::TruncIgnored.is_on() {
                    self.stage = Stage::Syncing;
                    return Ok(());
                }
                let ticket = replica.ticket();
                self.stage = Stage::Truncating(ticket, packet.zxid);
                replica.deliveries.push_back(Delivery::Truncating);
                out.push(Action::Disk(DiskAction::Truncate { ticket, after: packet.zxid }));
                Ok(())
            }
            (Stage::AwaitSync, PacketType::Snap) => {
                info!(zxid = %replica.history.last_logged, leader_zxid = %packet.zxid, "SNAP from the leader");
                replica.config_event(ConfigEvent::SnapshotStarted, out);
                self.stage = Stage::Snapshot(packet.zxid);
                replica.deliveries.push_back(Delivery::SnapshotBegin { zxid: packet.zxid });
                Ok(())
            }
            (_, PacketType::CommitAndActivate) if self.accepts_entries() => {
                let data = packet.data.ok_or("COMMITANDACTIVATE without its payload")?;
                let leader = designated(&data)?;
                self.commit_config(replica, packet.zxid, leader, out)
            }
            (_, PacketType::InformAndActivate) if self.accepts_entries() && self.observer => {
                let data = packet.data.ok_or("INFORMANDACTIVATE without its payload")?;
                let leader = designated(&data)?;
                self.proposals(replica, Entries::one(packet.zxid, &data[8..]), out)?;
                self.commit_config(replica, packet.zxid, leader, out)
            }
            (Stage::Syncing, PacketType::NewLeader) => {
                if packet.zxid != self.epoch.first_zxid() {
                    return Err("NEWLEADER of another epoch");
                }
                self.config = replica.config_of_leader(packet.data.as_ref());
                if let Some(config) = self.config.clone() {
                    replica.config_event(ConfigEvent::Announced(Arc::new(config)), out);
                }
                // The log's entries stand before it in the disk's lane: the epoch is never
                // durable ahead of the history that it stands for.
                let ticket = replica.ticket();
                self.stage = Stage::SavingCurrent(ticket);
                replica.history.current_epoch = self.epoch;
                let (file, epoch) = (EpochFile::Current, self.epoch);
                out.push(Action::Disk(DiskAction::SaveEpoch { ticket, file, epoch }));
                if Mutant::NewLeaderAckedBeforeDurable.is_on() {
                    self.stage = Stage::AwaitUpToDate;
                    self.header_only(PacketType::Ack, packet.zxid);
                }
                Ok(())
            }
            (Stage::AwaitUpToDate, PacketType::UpToDate) => {
                self.take_leaders_config(replica, out);
                if self.ended.is_some() {
                    return Ok(());
                }
                self.stage = Stage::Broadcast;
                replica.limit_pause_ms = 0;
                replica.refusals.forget();
                let zxid = self.epoch.first_zxid();
                self.header_only(PacketType::Ack, zxid);
                info!(leader = %self.leader, epoch = %self.epoch, "following: up to date");
                if !self.observer && replica.options.observer_master_port.is_some() {
                    let observers = ObserverMaster::new(self.last_received, replica, self.epoch);
                    self.observers = Some(Box::new(observers));
                }
                let (leader, epoch, observing) = (self.leader, self.epoch, self.observer);
                replica.deliveries.push_back(Delivery::Following { leader, epoch, observing });
                replica.serves = true;
                Ok(())
            }
            (Stage::Broadcast, PacketType::Ping) => {
                self.ping = packet.zxid;
                replica.deliveries.push_back(Delivery::Ping);
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
                replica.deliveries.push_back(Delivery::Revalidated { data });
                Ok(())
            }
            (Stage::Broadcast, PacketType::Sync) => {
                if let Some(observers) = &mut self.observers
                    && let Some(Some(conn)) = observers.syncs.pop_front()
                {
                    observers.answer(conn, &packet, out);
                    return Ok(());
                }
                replica.deliveries.push_back(Delivery::Synced);
                Ok(())
            }
            (stage, kind) => {
                debug!(?stage, ?kind, "a packet out of turn");
                Err(OUT_OF_TURN)
            }
        }
    }
}
