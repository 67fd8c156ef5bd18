//! The leader's view of one learner (`LearnerHandler`): the phase of its join, and its
//! synchronisation.

use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::Bytes;
use tracing::info;

use super::confirmation::Answers;
use super::packet_stream::{Outbound, PacketReader};
use super::sync_plan::{DiffStep, DiffWalk, SyncInput, SyncPlan, plan};
use super::{Delivery, Replica};
use crate::action::{Action, Actions, DiskAction};
use crate::event::{LogBatch, LogEnd};
use crate::mutant::mutant;
use crate::types::{ConnId, Epoch, ReadId, ServerId, Time, Zxid};
use crate::wire::entries::{Entries, Entry};
use crate::wire::quorum::{PacketType, QuorumPacket};

/// The most of the log on disk that one DIFF sends, bytes. A learner that lacks more gets a
/// snapshot, which is sent at the speed of the link.
const LOG_BYTES: usize = 24 << 20;

/// The phase of a learner. `leader/discovery.rs` shows them in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Connected. FOLLOWERINFO is next.
    Unidentified,
    /// Has sent FOLLOWERINFO. LEADERINFO waits for the new epoch.
    Identified,
    /// LEADERINFO is sent.
    AwaitAckEpoch,
    /// Has sent ACKEPOCH, but another link holds the place of the same server.
    Contending,
    /// Has sent ACKEPOCH. Synchronisation waits for a quorum of them.
    EpochAcked,
    /// Is being synchronised, up to NEWLEADER.
    Syncing,
    /// Has acknowledged NEWLEADER. UPTODATE waits for a quorum of them.
    NewLeaderAcked,
    /// UPTODATE is sent.
    Active,
}

/// The link of one learner.
#[derive(Debug)]
pub(super) struct LearnerHandler {
    pub(super) conn: ConnId,
    pub(super) server: ServerId,
    pub(super) observer: bool,
    pub(super) phase: Phase,
    pub(super) reader: PacketReader,
    pub(super) outbound: Outbound,
    /// The time of the last bytes.
    pub(super) last_received: Time,
    /// The time when it was accepted. It has to introduce itself soon after, however much it sends.
    pub(super) opened: Time,
    pub(super) ip: IpAddr,
    /// Since when another link claims its place, until this one has answered.
    pub(super) challenged_at: Option<Time>,
    /// The current epoch in its ACKEPOCH.
    pub(super) acked_epoch: i32,
    /// The end of its log, from ACKEPOCH.
    pub(super) last_zxid: Zxid,
    /// Whether it is sent new proposals and commits.
    pub(super) forwarding: bool,
    /// Its answers to PINGs and proposals.
    pub(super) answers: Answers,
    /// The walk of the log on disk, while it is under way.
    log_walk: Option<LogWalk>,
    /// Whether the application is sending a snapshot to it.
    pub(super) snapshotting: bool,
}

#[derive(Debug)]
struct LogWalk {
    read: ReadId,
    walk: DiffWalk,
    /// The size of the entries that were read.
    bytes: usize,
    /// The committed log in memory when the read began. It follows the log on disk.
    then: Vec<Entries>,
}

impl Phase {
    /// The packets that a learner may send now, for error texts.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Phase::Unidentified => "FOLLOWERINFO or OBSERVERINFO",
            Phase::Identified | Phase::Contending | Phase::EpochAcked => "none yet",
            Phase::AwaitAckEpoch => "ACKEPOCH",
            Phase::Syncing => "ACK of NEWLEADER",
            Phase::NewLeaderAcked | Phase::Active => "ACK, PING, REQUEST or REVALIDATE",
        }
    }

    /// Whether the link holds its server's place, for which another link of that server has to
    /// wait.
    pub(super) fn holds_place(self) -> bool {
        matches!(self, Phase::EpochAcked | Phase::Syncing | Phase::NewLeaderAcked | Phase::Active)
    }

    /// Whether the learner has acknowledged NEWLEADER.
    pub(super) fn is_in_sync(self) -> bool {
        matches!(self, Phase::NewLeaderAcked | Phase::Active)
    }
}

impl LearnerHandler {
    pub(super) fn new(conn: ConnId, now: Time, ip: IpAddr) -> LearnerHandler {
        LearnerHandler {
            conn,
            server: ServerId(-1),
            observer: false,
            phase: Phase::Unidentified,
            reader: PacketReader::default(),
            outbound: Outbound::new(conn),
            last_received: now,
            opened: now,
            ip,
            challenged_at: None,
            acked_epoch: -1,
            last_zxid: Zxid::ZERO,
            forwarding: false,
            answers: Answers::default(),
            log_walk: None,
            snapshotting: false,
        }
    }

    /// Chooses and begins the synchronisation, which ends with NEWLEADER. From here on the learner
    /// is sent all new proposals and commits. `log_allowed` is false if the log on disk could not
    /// be read for this learner before.
    pub(super) fn synchronise(
        &mut self,
        replica: &mut Replica,
        epoch: Epoch,
        log_allowed: bool,
        out: &mut Actions,
    ) {
        let history = &replica.history;
        let window = history.window();
        let bounds = match (window.front(), window.back()) {
            (Some(first), Some(last)) => (first.first(), last.last()),
            _ => (history.last_processed, history.last_processed),
        };
        let input = SyncInput {
            peer: self.last_zxid,
            last_processed: history.last_processed,
            window: bounds,
            log_allowed: log_allowed && replica.options.snapshot_size_factor >= 0.0,
            force_snapshot: replica.options.force_snapshot_sync,
        };
        let chosen = plan(input);
        info!(learner = %self.server, zxid = %self.last_zxid, leader_zxid = %history.last_processed,
            window = ?bounds, ?chosen, "synchronising a learner");
        self.phase = Phase::Syncing;
        replica.diff_syncs += u64::from(!matches!(chosen, SyncPlan::Snapshot));
        match chosen {
            SyncPlan::UpToDate => self.outbound.header_only(PacketType::Diff, self.last_zxid),
            SyncPlan::Truncate(zxid) => self.outbound.header_only(PacketType::Trunc, zxid),
            SyncPlan::Window => {
                let mut walk = DiffWalk::new(self.last_zxid);
                let entries = window.iter().flat_map(Entries::each);
                if !send_diff(&mut self.outbound, &mut walk, entries, bounds.1, out)
                    || !walk.begun()
                {
                    self.begin_snapshot(replica, out);
                }
            }
            SyncPlan::Log => {
                replica.last_read.0 += 1;
                let read = replica.last_read;
                let then = window.iter().cloned().collect();
                let factor = replica.options.snapshot_size_factor.min(1.0);
                let max_bytes = (history.snapshot_bytes as f64 * factor) as u64;
                let max_bytes = max_bytes.min(LOG_BYTES as u64);
                let (from, upto) = (self.last_zxid, bounds.0);
                self.log_walk = Some(LogWalk { read, walk: DiffWalk::new(from), bytes: 0, then });
                self.outbound.deferring = true;
                out.push(Action::Disk(DiskAction::ReadLog { read, from, upto, max_bytes }));
            }
            SyncPlan::Snapshot => self.begin_snapshot(replica, out),
        }
        self.start_forwarding(replica, epoch, out);
        self.outbound.flush(out);
    }

    /// Entries of the log on disk have arrived. Returns false if the DIFF cannot be finished: then
    /// only a new connection helps.
    pub(super) fn log_read(
        &mut self,
        replica: &mut Replica,
        epoch: Epoch,
        batch: &LogBatch,
        out: &mut Actions,
    ) -> bool {
        let LogBatch { read, entries, end } = batch;
        let Some(mut log_walk) = self.log_walk.take_if(|w| w.read == *read) else { return true };
        let max = log_walk.then.last().map_or(replica.history.last_processed, Entries::last);
        log_walk.bytes += entries.iter().map(|entry| entry.body.len()).sum::<usize>();
        let mut fits = *end != LogEnd::Unusable && log_walk.bytes <= LOG_BYTES;
        // Parts of the stream go out at once, past the packets that are deferred until its end.
        let mut stream = Outbound::new(self.conn);
        let diff = &mut log_walk.walk;
        fits = fits && send_diff(&mut stream, diff, entries.iter().cloned(), max, out);
        if fits && *end == LogEnd::Complete {
            let then = core::mem::take(&mut log_walk.then);
            let then = then.iter().flat_map(Entries::each);
            fits = send_diff(&mut stream, diff, then, max, out) && diff.begun();
        }
        stream.flush(out);
        match (fits, end) {
            (true, LogEnd::More) => self.log_walk = Some(log_walk),
            (true, LogEnd::Complete | LogEnd::Unusable) => self.outbound.release(out),
            (false, _) if log_walk.walk.begun() => {
                // Part of the DIFF is sent already.
                out.push(Action::Disk(DiskAction::CancelRead { read: *read }));
                self.outbound.discard_deferred();
                return false;
            }
            (false, _) => {
                out.push(Action::Disk(DiskAction::CancelRead { read: *read }));
                self.outbound.discard_deferred();
                self.begin_snapshot(replica, out);
                self.start_forwarding(replica, epoch, out);
                self.outbound.flush(out);
            }
        }
        true
    }

    fn begin_snapshot(&mut self, replica: &mut Replica, out: &mut Actions) {
        let zxid = replica.history.last_processed;
        info!(learner = %self.server, zxid = %zxid, "sending a snapshot");
        let packet = QuorumPacket::new(PacketType::Snap, zxid, None);
        self.outbound.stream(packet.to_bytes(), out);
        self.outbound.deferring = true;
        self.snapshotting = true;
        replica.deliveries.push_back(Delivery::SnapshotWanted { learner: self.conn });
    }

    /// Sends the pending proposals, then NEWLEADER, after the synchronisation.
    ///
    /// NEWLEADER carries the configuration that is in force when quorums have acknowledged it: the
    /// proposed one, if it is of an earlier epoch. One that is proposed in this epoch follows
    /// NEWLEADER as a proposal, because NEWLEADER would make the learner abandon it.
    fn start_forwarding(&mut self, replica: &mut Replica, epoch: Epoch, out: &mut Actions) {
        self.forwarding = true;
        let of_this_epoch = replica.members().proposed().is_some_and(|next| {
            let proposed = Zxid(next.version);
            proposed.epoch() == epoch && proposed.counter() != 0
        });
        if !of_this_epoch {
            self.forward_pending(replica, out);
        }
        let members = replica.members();
        let text = if of_this_epoch { members.text() } else { members.last_seen_text() };
        let data = Some(Bytes::copy_from_slice(text.as_bytes()));
        self.outbound.packet(&QuorumPacket::new(PacketType::NewLeader, epoch.first_zxid(), data));
        if of_this_epoch {
            self.forward_pending(replica, out);
        }
    }

    fn forward_pending(&mut self, replica: &Replica, out: &mut Actions) {
        if self.observer {
            return;
        }
        mutant!(PendingNotForwarded => return);
        for entry in replica.history.pending() {
            self.outbound.framed(PacketType::Proposal, entry.zxid, &entry.body, out);
        }
    }
}

/// Sends the packets of a walk to `target`: DIFF or TRUNC, then PROPOSAL and COMMIT of every entry
/// that the learner lacks. Returns false if the walk gives up.
fn send_diff(
    target: &mut Outbound,
    walk: &mut DiffWalk,
    entries: impl Iterator<Item = Entry>,
    max: Zxid,
    out: &mut Actions,
) -> bool {
    for entry in entries {
        match walk.step(entry.zxid) {
            DiffStep::GiveUp => return false,
            DiffStep::Skip => continue,
            DiffStep::DiffThenSkip => {
                target.header_only(PacketType::Diff, max);
                continue;
            }
            DiffStep::DiffThenSend => target.header_only(PacketType::Diff, max),
            DiffStep::TruncThenSend(to) => target.header_only(PacketType::Trunc, to),
            DiffStep::Send => {
                mutant!(DiffSkipsAnEntry => if entry.zxid.counter().is_multiple_of(8) {
                    continue;
                });
            }
        }
        target.framed(PacketType::Proposal, entry.zxid, &entry.body, out);
        target.header_only(PacketType::Commit, entry.zxid);
    }
    true
}
