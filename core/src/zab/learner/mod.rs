//! The learner (`Learner`, `Follower`, `Observer`): joins a leader ([`join`]), then logs and
//! acknowledges proposals and applies commits ([`broadcast`]). A follower has a vote, an observer
//! has none; a server that is no member follows, and its acknowledgements do not count.

mod broadcast;
mod join;
mod reconfig;
mod request_backlog;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;

use bytes::Bytes;
use tracing::debug;

use super::observer_master::ObserverMaster;
use super::packet_stream::{Outbound, PacketReader};
use super::transition::Transition;
use super::{Delivery, Replica, limits};
use crate::action::{Action, Actions, Reason};
use crate::config::EnsembleConfig;
use crate::types::{ConnId, Epoch, ServerId, Ticket, Time, Zxid};
use crate::wire::PeerError;
use crate::wire::quorum::{PacketType, Packets, QuorumPacket};
use request_backlog::RequestBacklog;

pub(super) use join::RETRY_MS;

/// How far this server has come with its leader. [`join`] explains the stages before `Broadcast`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// No connection. The next attempt is at this time.
    Disconnected(Time),
    Dialling,
    /// FOLLOWERINFO or OBSERVERINFO is sent.
    AwaitLeaderInfo,
    /// The leader's epoch is being written to `acceptedEpoch`.
    SavingAccepted(Ticket),
    /// ACKEPOCH is sent. DIFF, TRUNC or SNAP is next.
    AwaitSync,
    /// The stream is a snapshot with this zxid; the application decodes it.
    Snapshot(Zxid),
    /// The log is being cut after this zxid, and the state loaded again. The stream waits.
    Truncating(Ticket, Zxid),
    /// PROPOSALs and COMMITs that this server lacks, then NEWLEADER.
    Syncing,
    /// The history, then `currentEpoch`, are being written.
    SavingCurrent(Ticket),
    /// NEWLEADER is acknowledged. UPTODATE is next.
    AwaitUpToDate,
    /// Up to date: clients are served.
    Broadcast,
}

impl Stage {
    /// The packets that move this stage on, for error texts.
    fn expected(self) -> &'static str {
        match self {
            Stage::Disconnected(_) | Stage::Dialling => "none",
            Stage::AwaitLeaderInfo => "LEADERINFO",
            Stage::AwaitSync => "DIFF, TRUNC or SNAP",
            Stage::Syncing => "PROPOSAL, COMMIT or NEWLEADER",
            Stage::AwaitUpToDate => "PROPOSAL, COMMIT or UPTODATE",
            Stage::SavingAccepted(_) | Stage::Snapshot(_) | Stage::Truncating(..) => "none yet",
            Stage::SavingCurrent(_) => "PROPOSAL or COMMIT",
            Stage::Broadcast => "PROPOSAL, COMMIT, PING or an answer",
        }
    }
}

/// The time under one leader.
#[derive(Debug)]
pub(super) struct Learner {
    pub(super) leader: ServerId,
    pub(super) observer: bool,
    /// The leader's epoch, once LEADERINFO has arrived.
    pub(super) epoch: Epoch,
    stage: Stage,
    pub(super) conn: Option<ConnId>,
    reader: PacketReader,
    outbound: Option<Outbound>,
    /// The observers that this follower serves, if it is up to date and has an
    /// `observerMasterPort`.
    pub(super) observers: Option<Box<ObserverMaster>>,
    /// Logged proposals whose ACKs wait for the disk: the first and last of each append.
    unacked: VecDeque<(Ticket, Zxid, Zxid)>,
    /// The zxid of the PING that the application is asked to answer.
    ping: Zxid,
    /// Dials since the last success.
    attempts: usize,
    is_last_attempt: bool,
    last_received: Time,
    join_deadline: Time,
    /// Whether the last ACKEPOCH asked for the whole state.
    requested_full_sync: bool,
    /// The configuration of NEWLEADER. It becomes the committed one with UPTODATE.
    leaders_config: Option<EnsembleConfig>,
    /// Requests on their way to the leader.
    pub(super) backlog: RequestBacklog,
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
            leaders_config: None,
            backlog: RequestBacklog::default(),
        }
    }

    /// Whether this server is up to date and serves clients.
    pub(super) fn active(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.conn == Some(conn) || self.leads(conn)
    }

    /// Whether it is the connection of an observer that this follower serves.
    pub(super) fn leads(&self, conn: ConnId) -> bool {
        self.observers.as_ref().is_some_and(|observers| observers.learners.owns(conn))
    }

    /// The truncation that is under way. Its outcome counts even if the role ends before.
    pub(super) fn truncating(&self) -> Option<Ticket> {
        match self.stage {
            Stage::Truncating(ticket, _) => Some(ticket),
            _ => None,
        }
    }

    /// Closes all links of this role.
    pub(super) fn close(&mut self, out: &mut Actions) {
        if let Some(conn) = self.conn.take() {
            out.push(Action::Close { conn, why: Reason::NotServing });
        }
        if let Some(mut observers) = self.observers.take() {
            observers.learners.close(out);
        }
    }

    // ---- time

    pub(super) fn tick(
        &mut self,
        now: Time,
        replica: &mut Replica,
        out: &mut Actions,
    ) -> Option<Transition> {
        let sync_limit_ms = replica.limit_ms(replica.options.sync_limit);
        if let Some(observers) = &mut self.observers {
            observers.tick(now, replica, out);
        }
        match self.stage {
            Stage::Disconnected(at) if at <= now => self.dial(replica, out),
            Stage::Broadcast if now.ms_since(self.last_received) >= sync_limit_ms => {
                Some(Transition::look("the leader was silent for syncLimit"))
            }
            Stage::Broadcast => None,
            stage if self.join_deadline <= now => Some(Transition::look(format!(
                "not in sync with server {} within initLimit, at {stage:?}: raise initLimit if its \
                 state is large or the network slow",
                self.leader
            ))),
            _ => None,
        }
    }

    pub(super) fn deadline(&self, replica: &Replica) -> Time {
        match self.stage {
            Stage::Disconnected(at) => at.min(self.join_deadline),
            Stage::Broadcast => {
                let sync_limit_ms = replica.limit_ms(replica.options.sync_limit);
                let silence = self.last_received.plus_ms(sync_limit_ms);
                let pings = self.observers.as_ref().map(|observers| observers.deadline());
                pings.map_or(silence, |at| at.min(silence))
            }
            _ => self.join_deadline,
        }
    }

    // ---- packets

    pub(super) fn received(
        &mut self,
        now: Time,
        replica: &mut Replica,
        bytes: Bytes,
        out: &mut Actions,
    ) -> Option<Transition> {
        self.last_received = now;
        if let Stage::Snapshot(_) = self.stage {
            replica.deliveries.push_back(Delivery::SnapshotBytes(bytes));
            return None;
        }
        self.reader.push(bytes);
        self.read_on(replica, out)
    }

    /// Handles the packets that have arrived, as far as the stage allows.
    fn read_on(&mut self, replica: &mut Replica, out: &mut Actions) -> Option<Transition> {
        let transition = loop {
            match self.stage {
                Stage::Snapshot(_) => {
                    let rest = self.reader.take_rest();
                    if !rest.is_empty() {
                        replica.deliveries.push_back(Delivery::SnapshotBytes(rest));
                    }
                    break None;
                }
                Stage::Truncating(..) | Stage::SavingAccepted(_) => break None,
                _ => {}
            }
            match self.reader.next(replica.options.max_from_members) {
                Ok(None) => break None,
                Ok(Some(packets)) => match self.packets(replica, packets, out) {
                    Ok(None) => {}
                    Ok(transition) => break transition,
                    Err(error) => {
                        let why = format!("leader {}: {error}", self.leader);
                        break Some(Transition::look(why));
                    }
                },
                Err(what) => {
                    let why = limits::leader_packet_error(self.last_received, replica, what);
                    break Some(Transition::look(why));
                }
            }
        };
        self.flush(out);
        transition
    }

    fn packets(
        &mut self,
        replica: &mut Replica,
        packets: Packets,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let accepts = self.accepts_entries();
        match packets {
            Packets::Entries { kind: PacketType::Proposal, entries } if accepts => {
                self.proposals(replica, entries, out)
            }
            Packets::Entries { kind: PacketType::Inform, entries } if accepts && self.observer => {
                let (first, count) = (entries.first(), entries.len());
                let transition = self.proposals(replica, entries, out)?;
                self.commit(replica, first, count, None, out)?;
                Ok(transition)
            }
            Packets::Bare { kind: PacketType::Commit, first, count } if accepts => {
                self.commit(replica, first, count, None, out)?;
                Ok(None)
            }
            Packets::One(packet) => self.packet(replica, packet, out),
            Packets::Entries { kind, .. } | Packets::Bare { kind, .. } => {
                Err(self.unexpected(kind))
            }
        }
    }

    /// Whether the leader may send proposals and commits.
    fn accepts_entries(&self) -> bool {
        matches!(
            self.stage,
            Stage::Syncing | Stage::SavingCurrent(_) | Stage::AwaitUpToDate | Stage::Broadcast
        )
    }

    fn unexpected(&self, got: PacketType) -> PeerError {
        debug!(stage = ?self.stage, ?got, "unexpected packet from the leader");
        PeerError::UnexpectedPacket { got, expected: self.stage.expected() }
    }

    fn packet(
        &mut self,
        replica: &mut Replica,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let kind = PacketType::from_i32(packet.kind)
            .ok_or(PeerError::UnknownPacket { kind: packet.kind })?;
        match (self.stage, kind) {
            (Stage::AwaitLeaderInfo, PacketType::LeaderInfo) => {
                return self.leader_info(replica, packet.zxid, out);
            }
            (Stage::AwaitSync, PacketType::Diff | PacketType::Trunc | PacketType::Snap) => {
                self.sync_begins(replica, kind, packet.zxid, out)?;
            }
            (_, PacketType::CommitAndActivate) if self.accepts_entries() => {
                return self.commit_and_activate(replica, packet, out);
            }
            (_, PacketType::InformAndActivate) if self.accepts_entries() && self.observer => {
                return self.inform_and_activate(replica, packet, out);
            }
            (Stage::Syncing, PacketType::NewLeader) => self.new_leader(replica, &packet, out)?,
            (Stage::AwaitUpToDate, PacketType::UpToDate) => {
                return Ok(self.up_to_date(replica, out));
            }
            (Stage::Broadcast, PacketType::Ping) => {
                self.ping = packet.zxid;
                replica.deliveries.push_back(Delivery::Ping);
            }
            // A leader pings as soon as it has sent NEWLEADER, but accepts no answer before the
            // acknowledgement.
            (_, PacketType::Ping) => {}
            (Stage::Broadcast, PacketType::Revalidate) => {
                self.revalidated(replica, packet, out)?;
            }
            (Stage::Broadcast, PacketType::Sync) => self.synced(replica, &packet, out),
            (_, kind) => return Err(self.unexpected(kind)),
        }
        Ok(None)
    }
}
