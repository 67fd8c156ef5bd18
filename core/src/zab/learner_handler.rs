//! The leader's view of one learner (`LearnerHandler`): its phase, and how it is brought up to
//! date.

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

/// Bytes of the log on disk in one DIFF: what is longer is a snapshot's, which waits for the link.
const LOG_BYTES: usize = 24 << 20;

/// How far a learner has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Connected, has not said who it is.
    Unidentified,
    /// Has said FOLLOWERINFO; LEADERINFO waits for the epoch.
    Identified,
    /// Was sent LEADERINFO.
    AwaitAckEpoch,
    /// Has acknowledged the epoch; another link of the same server holds its place.
    Contending,
    /// Has acknowledged the epoch; synchronisation waits for a quorum of such.
    EpochAcked,
    /// Is being brought up to date, NEWLEADER included.
    Syncing,
    /// Has acknowledged NEWLEADER; UPTODATE waits for the quorum.
    NewLeaderAcked,
    /// Was sent UPTODATE.
    Active,
}

/// One learner's link.
#[derive(Debug)]
pub(super) struct LearnerHandler {
    pub(super) conn: ConnId,
    pub(super) server: ServerId,
    pub(super) observer: bool,
    pub(super) phase: Phase,
    pub(super) reader: PacketReader,
    pub(super) outbound: Outbound,
    /// When it was last heard.
    pub(super) last_received: Time,
    /// When it was accepted: what it is has to be said soon after, however many bytes arrive.
    pub(super) opened: Time,
    pub(super) ip: IpAddr,
    /// Another link claims its place since then, and it was not heard after that.
    pub(super) challenged_at: Option<Time>,
    /// The epoch of its ACKEPOCH.
    pub(super) acked_epoch: i32,
    /// Its last logged zxid, from ACKEPOCH.
    pub(super) last_zxid: Zxid,
    /// Whether it gets what is proposed and committed from now on.
    pub(super) forwarding: bool,
    /// Of PINGs and proposals.
    pub(super) answers: Answers,
    /// A walk of the log on disk that is under way.
    log_walk: Option<LogWalk>,
    /// Whether the rider is walking its state for this learner.
    pub(super) snapshotting: bool,
}

#[derive(Debug)]
struct LogWalk {
    read: ReadId,
    walk: DiffWalk,
    /// Of entries that were read.
    bytes: usize,
    /// The committed log in memory when the read began: what follows the log on disk.
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

    /// Whether a link that has come so far holds its server's place: another one of the same
    /// server's has to wait.
    pub(super) fn holds_place(self) -> bool {
        matches!(self, Phase::EpochAcked | Phase::Syncing | Phase::NewLeaderAcked | Phase::Active)
    }

    /// Whether it answers PINGs.
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

    /// Chooses and begins the synchronisation; NEWLEADER stands at its end. From here on the
    /// learner is forwarded everything. `log_allowed`: the log on disk has not failed it before.
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

    /// Entries of the log on disk arrived. False: the log fails in the middle of a DIFF.
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
                // Part of it is sent; only a new connection can start over.
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

    /// What is proposed and not committed follows the synchronisation, then NEWLEADER. With that
    /// goes the configuration that counts once it is acknowledged by quorums. One that is
    /// proposed in this epoch comes after it: NEWLEADER would make a learner forget it.
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
