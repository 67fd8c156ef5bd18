//! Zab's properties, watched from outside: what every server logs, makes durable, truncates
//! and serves.
//!
//! - Integrity: a zxid stands for one transaction, whoever logs it.
//! - Local primary order: within an epoch a log has no gap.
//! - Agreement and total order: what one server serves is a prefix of what all serve.
//! - Global primary order and primary integrity: a leader that is established has everything
//!   that was ever committed; an epoch has one leader.
//! - What is committed is durable on a quorum, is never truncated, and what was durable is
//!   there after a restart.
//! - Equal zxids mean equal digests.
//!
//! While members change: a reconfiguration is durable on quorums of both configurations when it is
//! committed, what comes after it on one of the new.

use std::collections::BTreeSet;

use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Slot;
use rustc_hash::FxBuildHasher;
use zabkeeper_core::quorum::{AckSet, Verifier};
use zabkeeper_core::types::{Epoch, ServerId, Ticket, Zxid};
use zabkeeper_core::wire::entries::Entry;

use super::Violation;
use super::members::{Roster, Rosters};

/// A checker of one ensemble.
#[derive(Debug)]
pub struct Zab {
    /// What each zxid stands for.
    proposed: HashMap<Zxid, Bytes, FxBuildHasher>,
    committed: Vec<Zxid>,
    digests: HashMap<Zxid, (u64, usize), FxBuildHasher>,
    leaders: HashMap<Epoch, usize, FxBuildHasher>,
    servers: Vec<Mirror>,
    rosters: Rosters,
    /// Every server that ever had a vote, or may get one.
    electors: BTreeSet<ServerId>,
}

/// What is known of one server's log.
#[derive(Debug)]
struct Mirror {
    id: ServerId,
    line: Line,
    /// How many entries of the line are durable.
    durable: usize,
    /// Up to here it was compared with what is committed; none: it does not serve.
    applied: Option<Zxid>,
    /// Truncations and snapshots that are submitted but not durable, oldest first, and the line
    /// before each.
    replacing: Vec<(Ticket, Line)>,
    /// It leads an epoch.
    leads: bool,
}

/// A log: everything up to `base` is in a snapshot.
#[derive(Clone, Default, Debug)]
struct Line {
    base: Zxid,
    /// What the snapshot had, oldest first, of what was not known to be committed when it came.
    below: Vec<Zxid>,
    entries: Vec<(Zxid, Ticket)>,
}

impl Line {
    fn last(&self) -> Zxid {
        self.entries.last().map_or(self.base, |(zxid, _)| *zxid)
    }
    /// What it has after `known`, up to `last`, if it has that at all.
    fn through(&self, known: Zxid, last: Zxid) -> Option<Vec<Zxid>> {
        let entries = self.entries.get(..self.upto(last)).unwrap_or_default();
        if entries.last().map_or(self.base, |(zxid, _)| *zxid) != last {
            return None;
        }
        let all = self.below.iter().copied().chain(entries.iter().map(|(zxid, _)| *zxid));
        Some(all.filter(|zxid| *zxid > known).collect())
    }
    /// How many entries are not after this zxid.
    fn upto(&self, zxid: Zxid) -> usize {
        self.entries.partition_point(|(known, _)| *known <= zxid)
    }
}

impl Zab {
    /// Servers by index. `verifier`: of an ensemble; none for a standalone server. `electors`: who
    /// has a vote.
    pub fn new(
        ids: &[ServerId],
        verifier: Option<Box<dyn Verifier>>,
        electors: impl IntoIterator<Item = ServerId>,
    ) -> Zab {
        let mirror = |id: &ServerId| Mirror {
            id: *id,
            line: Line::default(),
            durable: 0,
            applied: None,
            replacing: Vec::new(),
            leads: false,
        };
        Zab {
            proposed: HashMap::default(),
            committed: Vec::new(),
            digests: HashMap::default(),
            leaders: HashMap::default(),
            servers: ids.iter().map(mirror).collect(),
            rosters: Rosters::new(verifier),
            electors: electors.into_iter().collect(),
        }
    }

    /// All that is committed, in order.
    pub fn committed(&self) -> &[Zxid] {
        &self.committed
    }

    /// What a zxid stands for.
    pub fn body(&self, zxid: Zxid) -> Option<&Bytes> {
        self.proposed.get(&zxid)
    }

    /// Whether nothing that was promised is lost on `other`'s side when the log of `lost` is.
    ///
    /// Whatever `lost` may have acknowledged in the newest epoch must be durable on the other.
    /// Of older epochs the other has all that can ever be committed if it serves in the newest.
    pub fn could_spare(&self, lost: usize, other: usize) -> bool {
        let last = self.servers.get(lost).map(|mirror| mirror.line.last()).unwrap_or_default();
        last.epoch() < self.newest_epoch()
            || self.servers.get(other).is_some_and(|mirror| mirror.has(last))
    }

    /// Whether a server ever had a vote, or may get one by what somebody has logged.
    pub fn is_elector(&self, server: usize) -> bool {
        self.servers.get(server).is_some_and(|mirror| self.electors.contains(&mirror.id))
    }

    /// The members that were committed last, if there was a reconfiguration.
    pub fn roster(&self) -> Option<&Roster> {
        self.rosters.last()
    }

    /// How many may vote at least, now or by what somebody has logged.
    pub fn fewest_voters(&self) -> Option<usize> {
        let last = self.committed.last().copied().unwrap_or_default();
        let may_come = self.proposed.iter().filter(|(zxid, _)| **zxid > last);
        let may_come = may_come.filter_map(|(_, body)| Roster::of(body));
        let count = |roster: &Roster| roster.voters().count();
        may_come.map(|roster| count(&roster)).chain(self.roster().map(count)).min()
    }

    /// A leader brings these members with its epoch; their transaction is lost.
    pub fn brings(&mut self, roster: Roster) {
        self.rosters.push(roster);
    }

    /// Who led an epoch.
    pub fn leader_of(&self, epoch: Epoch) -> Option<usize> {
        self.leaders.get(&epoch).copied()
    }

    /// How many reconfigurations somebody has logged that were given up.
    pub fn dropped_reconfigurations(&self) -> usize {
        let last = self.committed.last().copied().unwrap_or_default();
        let is_dropped = |zxid: &Zxid| *zxid < last && self.committed.binary_search(zxid).is_err();
        let proposed = self.proposed.iter().filter(|(zxid, _)| is_dropped(zxid));
        proposed.filter(|(_, body)| Roster::of(body).is_some()).count()
    }

    /// The last epoch that had an established leader.
    pub fn newest_epoch(&self) -> Epoch {
        self.leaders.keys().copied().max().unwrap_or_default()
    }

    /// Whether a server's log goes as far as this.
    pub fn reaches(&self, server: usize, zxid: Zxid) -> bool {
        self.servers.get(server).is_some_and(|mirror| mirror.line.last() >= zxid)
    }

    /// A server appends to its log.
    pub fn appended(
        &mut self,
        server: usize,
        ticket: Ticket,
        entry: &Entry,
    ) -> Result<(), Violation> {
        let Some(mirror) = self.servers.get_mut(server) else { return Ok(()) };
        match self.proposed.entry(entry.zxid) {
            Slot::Vacant(slot) => {
                if let Some(roster) = Roster::of(&entry.body) {
                    self.electors.extend(roster.voters().map(ServerId));
                }
                slot.insert(entry.body.clone());
            }
            Slot::Occupied(known) => {
                if *known.get() != entry.body {
                    let what = format!(
                        "server {} logs {} with other bytes than it was proposed with",
                        mirror.id, entry.zxid
                    );
                    return Err(Violation::safety("integrity", what));
                }
            }
        }
        let last = mirror.line.last();
        // Without epochs a zxid is just a number.
        let follows = if entry.zxid.epoch() == last.epoch() || self.rosters.is_standalone() {
            entry.zxid == last.next()
        } else {
            entry.zxid > last && entry.zxid.counter() == 1
        };
        // After a snapshot the leader's next may be any later one.
        let is_first = mirror.line.entries.is_empty() && entry.zxid > last;
        if !(follows || is_first) {
            let what = format!("server {} logs {} after {last}", mirror.id, entry.zxid);
            return Err(Violation::safety("local primary order", what));
        }
        mirror.line.entries.push((entry.zxid, ticket));
        Ok(())
    }

    /// A server cuts its log.
    pub fn truncating(
        &mut self,
        server: usize,
        ticket: Ticket,
        after: Zxid,
    ) -> Result<(), Violation> {
        let Some(mirror) = self.servers.get_mut(server) else { return Ok(()) };
        let before = mirror.line.clone();
        mirror.line.entries.truncate(before.upto(after));
        mirror.line.base = before.base.min(after);
        mirror.line.below.retain(|zxid| *zxid <= after);
        mirror.durable = mirror.durable.min(mirror.line.entries.len());
        let dropped = before.entries.get(mirror.line.entries.len()..).unwrap_or_default();
        // A learner may be told to cut off what the others commit while it does so.
        let lost = dropped.iter().find(|(zxid, _)| self.committed.binary_search(zxid).is_ok());
        let (id, lost) = (mirror.id, lost.map(|(zxid, _)| *zxid));
        mirror.replacing.push((ticket, before));
        match lost {
            Some(zxid) if self.durable_on_a_quorum(id, zxid).is_err() => {
                let what = format!(
                    "server {id} cuts its log after {after}, and {zxid} is committed and no \
                     longer on a quorum"
                );
                Err(Violation::safety("a committed transaction is never truncated", what))
            }
            _ => Ok(()),
        }
    }

    /// A server writes its leader's snapshot; it counts once `ticket` is durable.
    pub fn installing(&mut self, server: usize, ticket: Ticket, zxid: Zxid) {
        let known = self.committed.last().copied().unwrap_or_default();
        // Its leader has it, at least.
        let below = self.servers.iter().find_map(|mirror| mirror.line.through(known, zxid));
        let Some(mirror) = self.servers.get_mut(server) else { return };
        let below = below.unwrap_or_default();
        let line = Line { base: zxid, below, entries: Vec::new() };
        let before = std::mem::replace(&mut mirror.line, line);
        mirror.durable = 0;
        mirror.replacing.push((ticket, before));
    }

    /// A server's disk says what is durable.
    pub fn persisted(&mut self, server: usize, upto: Ticket) {
        let Some(mirror) = self.servers.get_mut(server) else { return };
        mirror.replacing.retain(|(ticket, _)| *ticket > upto);
        if mirror.replacing.is_empty() {
            mirror.durable = mirror.line.entries.partition_point(|(_, ticket)| *ticket <= upto);
        }
    }

    /// A server's process is gone.
    pub fn died(&mut self, server: usize) {
        let Some(mirror) = self.servers.get_mut(server) else { return };
        (mirror.applied, mirror.leads) = (None, false);
    }

    /// A server's directory is gone.
    pub fn wiped(&mut self, server: usize) {
        let Some(mirror) = self.servers.get_mut(server) else { return };
        (mirror.line, mirror.durable, mirror.replacing) = (Line::default(), 0, Vec::new());
    }

    /// A server found this on its disk when it started.
    pub fn recovered(&mut self, server: usize, last: Zxid) -> Result<(), Violation> {
        let Some(mirror) = self.servers.get_mut(server) else { return Ok(()) };
        let promised = match (mirror.replacing.is_empty(), mirror.durable) {
            // What the old line promised is in what replaces it, or may go.
            (false, _) => Zxid::ZERO,
            (true, 0) => mirror.line.base,
            (true, n) => mirror.line.entries.get(n - 1).map_or(Zxid::ZERO, |(zxid, _)| *zxid),
        };
        if last < promised {
            let what = format!(
                "server {} starts with {last}, but {promised} was durable before",
                mirror.id
            );
            return Err(Violation::safety("what is durable is there after a restart", what));
        }
        while let Some((_, before)) = mirror.replacing.pop() {
            if last > mirror.line.last() || last < mirror.line.base {
                mirror.line = before;
            }
        }
        mirror.line.entries.truncate(mirror.line.upto(last));
        for (_, ticket) in &mut mirror.line.entries {
            *ticket = Ticket(0);
        }
        if self.rosters.is_standalone() {
            // Without epochs, what was never durable never was.
            self.proposed.retain(|zxid, _| *zxid <= last);
        }
        mirror.durable = mirror.line.entries.len();
        Ok(())
    }

    /// A server took a step and has this role; `serves`: as of this zxid, with this digest.
    pub fn stepped(
        &mut self,
        server: usize,
        is_leader: bool,
        serves: Option<(Zxid, Option<u64>)>,
    ) -> Result<(), Violation> {
        let Some(mirror) = self.servers.get_mut(server) else { return Ok(()) };
        let Some((zxid, digest)) = serves else {
            (mirror.applied, mirror.leads) = (None, false);
            return Ok(());
        };
        let id = mirror.id;
        if is_leader && !std::mem::replace(&mut mirror.leads, true) {
            let first = *self.leaders.entry(zxid.epoch()).or_insert(server);
            if first != server {
                let (epoch, first) = (zxid.epoch(), self.servers.get(first).map(|m| m.id));
                let what = format!("epoch {epoch} is led by {id}, and was by {first:?}");
                return Err(Violation::safety("an epoch has one leader", what));
            }
        }
        if self.servers.get(server).is_some_and(|mirror| mirror.applied == Some(zxid)) {
            return Ok(());
        }
        self.commit(server, zxid)?;
        let Some(digest) = digest else { return Ok(()) };
        match self.digests.entry(zxid) {
            Slot::Vacant(slot) => {
                slot.insert((digest, server));
            }
            Slot::Occupied(known) => {
                let (known, by) = *known.get();
                if known != digest {
                    let by = self.servers.get(by).map(|mirror| mirror.id);
                    let what = format!(
                        "at {zxid} server {id} has digest {digest:#x}, {by:?} had {known:#x}"
                    );
                    return Err(Violation::safety("equal zxids mean equal digests", what));
                }
            }
        }
        Ok(())
    }

    /// This server has applied everything up to here.
    fn commit(&mut self, server: usize, zxid: Zxid) -> Result<(), Violation> {
        self.commit_snapshot(server, zxid)?;
        let Some(mirror) = self.servers.get_mut(server) else { return Ok(()) };
        let id = mirror.id;
        let from = mirror.applied.unwrap_or(Zxid::ZERO).max(mirror.line.base);
        mirror.applied = Some(zxid);
        let (first, end) = (mirror.line.upto(from), mirror.line.upto(zxid));
        let known_to = self.committed.partition_point(|known| *known <= zxid);
        let known_from = self.committed.partition_point(|known| *known <= from);
        let mine = mirror.line.entries.get(first..end).unwrap_or_default();
        let known = self.committed.get(known_from..known_to).unwrap_or_default();
        for (i, known) in known.iter().enumerate() {
            let mine = mine.get(i).map(|(zxid, _)| *zxid);
            if mine != Some(*known) {
                let what = format!(
                    "server {id} has applied up to {zxid}; where {known} is committed its log has \
                     {mine:?} (compared from {from})"
                );
                return Err(Violation::safety("agreement", what));
            }
        }
        let fresh = mine.get(known.len()..).unwrap_or_default();
        if known_to < self.committed.len() && !fresh.is_empty() {
            let what = format!(
                "server {id} has applied {}, which is not committed, before {}, which is",
                fresh.first().map_or(Zxid::ZERO, |(zxid, _)| *zxid),
                self.committed.last().copied().unwrap_or_default()
            );
            return Err(Violation::safety("total order", what));
        }
        let fresh: Vec<Zxid> = fresh.iter().map(|(zxid, _)| *zxid).collect();
        for zxid in fresh {
            self.commits(id, zxid)?;
        }
        Ok(())
    }

    /// What came by a snapshot, and is committed by nobody else yet.
    fn commit_snapshot(&mut self, server: usize, zxid: Zxid) -> Result<(), Violation> {
        let Some(mirror) = self.servers.get_mut(server) else { return Ok(()) };
        let (id, mut below) = (mirror.id, std::mem::take(&mut mirror.line.below));
        below.retain(|below| *below <= zxid);
        for below in below {
            if self.committed.last().is_some_and(|last| below <= *last) {
                if self.committed.binary_search(&below).is_err() {
                    let what = format!("server {id} has {below}, which is not committed");
                    return Err(Violation::safety("agreement", what));
                }
                continue;
            }
            self.commits(id, below)?;
        }
        Ok(())
    }

    /// The next one is committed, by whoever has a say in it: before a reconfiguration the old
    /// members, in it both, after it the new ones.
    fn commits(&mut self, id: ServerId, zxid: Zxid) -> Result<(), Violation> {
        self.durable_on_a_quorum(id, zxid)?;
        self.committed.push(zxid);
        if let Some(roster) = self.proposed.get(&zxid).and_then(Roster::of) {
            self.rosters.push(roster);
            self.durable_on_a_quorum(id, zxid)?;
        }
        Ok(())
    }

    fn durable_on_a_quorum(&self, server: ServerId, zxid: Zxid) -> Result<(), Violation> {
        let holders: AckSet =
            self.servers.iter().filter(|mirror| mirror.has(zxid)).map(|m| m.id).collect();
        if self.rosters.is_quorum(&holders) {
            return Ok(());
        }
        let what = format!("server {server} serves {zxid}, which is durable only on {holders:?}");
        Err(Violation::safety("what is committed is durable on a quorum", what))
    }
}

impl Mirror {
    /// Whether this is durable here.
    fn has(&self, zxid: Zxid) -> bool {
        let durable = self.line.entries.get(..self.durable).unwrap_or_default();
        (zxid <= self.line.base && self.replacing.is_empty())
            || durable.binary_search_by_key(&zxid, |(zxid, _)| *zxid).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_in_a_served_snapshot_count_as_committed() {
        let mut zab = Zab::new(&[ServerId(1), ServerId(2)], None, []);
        for n in 1..=2 {
            let entry = Entry { zxid: Zxid(n), body: Bytes::from(n.to_string()) };
            zab.appended(0, Ticket(n as u64), &entry).unwrap();
        }
        zab.persisted(0, Ticket(2));
        zab.installing(1, Ticket(5), Zxid(2));
        zab.persisted(1, Ticket(5));
        assert!(zab.committed().is_empty(), "nobody serves");
        zab.stepped(1, false, Some((Zxid(2), None))).unwrap();
        assert_eq!(zab.committed(), [Zxid(1), Zxid(2)]);
    }
}
