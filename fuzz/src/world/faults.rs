//! What goes wrong, and how it ends.

use zabkeeper_core::types::Time;

use super::network::Host;
use super::{Happening, World};
use crate::plan::{FaultKind, Who};

/// A fault that lasts, and what ends it.
#[derive(Debug)]
pub(super) struct Lasting {
    number: u64,
    end: Ending,
}

#[derive(Debug)]
enum Ending {
    Start(usize),
    /// Starts without its directory, if nothing is lost with that.
    StartWiped(usize),
    StartAll,
    Unblock(Vec<(Host, Host)>),
    Fast(usize, usize),
    FastDisk(usize),
    Free(usize),
    Works(usize),
    InTime(usize),
    /// All are killed, and this one starts so many ms after one of the others leads.
    StartLate(usize, u64, Vec<(Host, Host)>),
    NoLongerLate(usize),
    PowerLoss(usize),
}

impl World {
    pub(super) fn begin_fault(&mut self, index: usize) {
        if self.is_calm {
            return;
        }
        let Some(fault) = self.plan.faults.get(index).cloned() else { return };
        self.tell(|| format!("fault {index}: {:?} for {} ms", fault.kind, fault.for_ms));
        let ending = self.apply(&fault.kind, fault.for_ms);
        self.counters.add(name(&fault.kind));
        if let Some(end) = ending {
            let number = index as u64;
            self.lasting.push(Lasting { number, end });
            let at = self.now.plus_ms(fault.for_ms);
            self.agenda.note(at, Happening::FaultEnds { lasting: number });
        }
    }

    pub(super) fn end_fault(&mut self, number: u64) {
        if let Some(i) = self.lasting.iter().position(|lasting| lasting.number == number) {
            let Lasting { end, .. } = self.lasting.swap_remove(i);
            self.tell(|| format!("fault {number} ends"));
            self.end(end);
        }
    }

    /// Everything that lasts ends, and nothing more begins.
    pub(super) fn heal(&mut self) {
        self.is_calm = true;
        self.late = None;
        self.leave_members_alone();
        for Lasting { end, .. } in std::mem::take(&mut self.lasting) {
            if !matches!(end, Ending::PowerLoss(_)) {
                self.end(end);
            }
        }
        for server in 0..self.servers.len() {
            let machine = &mut self.servers[server];
            machine.disk.fail(None);
            machine.disk.fill(false);
            if machine.stalled_until > self.now {
                machine.stalled_until = self.now;
                self.agenda.note(self.now, Happening::Continue { server });
            }
            self.agenda.note(self.now, Happening::Start { server });
        }
        self.tell(|| String::from("all is healed"));
    }

    fn apply(&mut self, kind: &FaultKind, for_ms: u64) -> Option<Ending> {
        let now = self.now;
        match *kind {
            FaultKind::Kill(who) => {
                let server = self.who(who);
                self.kill(server, false);
                Some(Ending::Start(server))
            }
            FaultKind::PowerLoss(who) => {
                let server = self.who(who);
                self.kill(server, true);
                Some(Ending::Start(server))
            }
            FaultKind::TotalPowerLoss => {
                for server in 0..self.servers.len() {
                    self.kill(server, true);
                }
                Some(Ending::StartAll)
            }
            FaultKind::Wipe(who) => {
                let server = self.who(who);
                self.kill(server, true);
                Some(Ending::StartWiped(server))
            }
            FaultKind::Stall(who) => {
                let server = self.who(who);
                let until = now.plus_ms(for_ms);
                self.servers[server].stalled_until = until;
                self.agenda.note(until, Happening::Continue { server });
                None
            }
            FaultKind::Deaf(who) => {
                let server = Host::Server(self.who(who));
                Some(Ending::Unblock(self.block(|from, to| to == server && from != server)))
            }
            FaultKind::Mute(who) => {
                let server = Host::Server(self.who(who));
                Some(Ending::Unblock(self.block(|from, to| from == server && to != server)))
            }
            FaultKind::Isolated(who) => {
                let server = Host::Server(self.who(who));
                Some(Ending::Unblock(self.block(|from, to| (from == server) != (to == server))))
            }
            FaultKind::Partition(mask) => Some(Ending::Unblock(self.block(|from, to| {
                let (Host::Server(from), Host::Server(to)) = (from, to) else { return false };
                (mask >> from) & 1 != (mask >> to) & 1
            }))),
            FaultKind::Deposed => {
                let leader = self.who(Who::Leader);
                Some(Ending::Unblock(self.block_from_servers(leader)))
            }
            FaultKind::LateLeader(late_ms) => {
                let leader = self.who(Who::Leader);
                Some(Ending::StartLate(leader, late_ms, self.block_from_servers(leader)))
            }
            FaultKind::OneWay(a, b) => {
                let is_blocked = |from, to| from == Host::Server(a) && to == Host::Server(b);
                Some(Ending::Unblock(self.block(is_blocked)))
            }
            FaultKind::ClientCutOff(client) => {
                let client = Host::Client(client);
                let is_blocked = |from, to| (from == client) != (to == client);
                Some(Ending::Unblock(self.block(is_blocked)))
            }
            FaultKind::Cut(a, b) => {
                self.network.cut(now, &mut self.agenda, Host::Server(a), Host::Server(b));
                None
            }
            FaultKind::SlowLink(a, b, factor) => {
                self.slow_link(a, b, factor);
                Some(Ending::Fast(a, b))
            }
            FaultKind::SlowDisk(who, factor) => {
                let server = self.who(who);
                self.servers[server].disk.slow(factor);
                Some(Ending::FastDisk(server))
            }
            FaultKind::FullDisk(who) => {
                let server = self.who(who);
                self.servers[server].is_excused = true;
                self.servers[server].disk.fill(true);
                Some(Ending::Free(server))
            }
            FaultKind::FailingDisk(who, op) => {
                let server = self.who(who);
                self.fail_disk(server, op);
                Some(Ending::Works(server))
            }
            FaultKind::BitRot(who) => {
                let server = self.who(who);
                // Only where its directory could be replaced: by one that votes and is sound.
                let voters =
                    self.servers.iter().enumerate().filter(|(i, _)| self.zab.is_elector(*i));
                let is_alone = !voters.into_iter().any(|(i, s)| i != server && s.is_rotten);
                let reconfig = self.plan.reconfig.as_ref();
                let stay_three = reconfig.is_none_or(|reconfig| reconfig.least_voters >= 3);
                if self.plan.participants >= 3 && stay_three && is_alone {
                    let rotten = self.servers[server].disk.rot();
                    if let Some(path) = rotten {
                        let machine = &mut self.servers[server];
                        (machine.is_excused, machine.is_rotten) = (true, true);
                        self.tell(|| format!("a bit of {path} flips"));
                    }
                }
                None
            }
            FaultKind::Purge(who) => {
                let server = self.who(who);
                if let Some(process) = &mut self.servers[server].process {
                    process.disk.purge_due();
                    self.pump(server);
                }
                None
            }
            FaultKind::Drift(who, ppm) => {
                let server = self.who(who);
                self.servers[server].clock.drift(now, ppm);
                Some(Ending::InTime(server))
            }
            FaultKind::WallJump(who, ms) => {
                let server = self.who(who);
                self.servers[server].clock.jump(ms);
                None
            }
            FaultKind::Move(client) => {
                self.move_actor(client);
                None
            }
        }
    }

    fn end(&mut self, end: Ending) {
        match end {
            Ending::Start(server) => self.start(server),
            Ending::NoLongerLate(server) => {
                self.late = None;
                self.start(server);
            }
            Ending::StartWiped(server) => {
                if self.servers[server].process.is_none() && self.may_wipe(server) {
                    self.wipe(server);
                }
                self.start(server);
            }
            Ending::StartAll => {
                for server in 0..self.servers.len() {
                    let at = Time(self.now.0 + 1000 * self.rng.u64(..1_000_000));
                    self.agenda.note(at, Happening::Start { server });
                }
            }
            Ending::Unblock(pairs) => self.unblock(&pairs),
            Ending::StartLate(leader, late_ms, pairs) => {
                self.unblock(&pairs);
                self.start_late(leader, late_ms);
            }
            Ending::PowerLoss(server) => {
                self.kill(server, true);
                self.agenda.note(self.now.plus_ms(100), Happening::Start { server });
            }
            Ending::Fast(a, b) => self.slow_link(a, b, 1),
            Ending::FastDisk(server) => self.servers[server].disk.slow(1),
            Ending::Free(server) => self.servers[server].disk.fill(false),
            Ending::Works(server) => self.servers[server].disk.fail(None),
            Ending::InTime(server) => self.servers[server].clock.drift(self.now, 0),
        }
    }

    fn who(&self, who: Who) -> usize {
        let leader = self.servers.iter().position(|server| server.leads());
        match who {
            Who::Server(server) => server % self.servers.len(),
            Who::Leader => leader.unwrap_or(0),
            Who::Learner(n) => {
                let mut n = n % self.servers.len();
                if Some(n) == leader {
                    n = (n + 1) % self.servers.len();
                }
                n
            }
        }
    }

    fn block(&mut self, is_blocked: impl Fn(Host, Host) -> bool) -> Vec<(Host, Host)> {
        let servers = (0..self.servers.len()).map(Host::Server);
        let hosts: Vec<Host> =
            servers.chain((0..self.plan.clients.len()).map(Host::Client)).collect();
        let mut pairs = Vec::new();
        for from in &hosts {
            for to in &hosts {
                if from != to && is_blocked(*from, *to) {
                    self.network.block(*from, *to);
                    pairs.push((*from, *to));
                }
            }
        }
        pairs
    }

    fn block_from_servers(&mut self, server: usize) -> Vec<(Host, Host)> {
        let server = Host::Server(server);
        self.block(|from, to| match (from, to) {
            (Host::Server(_), Host::Server(_)) => (from == server) != (to == server),
            _ => false,
        })
    }

    fn unblock(&mut self, pairs: &[(Host, Host)]) {
        for (from, to) in pairs {
            self.network.unblock(self.now, &mut self.agenda, *from, *to);
        }
    }

    /// All are killed. The others start now, with slow disks for a while, and this one when one
    /// of them leads.
    fn start_late(&mut self, late: usize, late_ms: u64) {
        for server in 0..self.servers.len() {
            self.kill(server, false);
            self.agenda.note(self.now, Happening::Start { server });
        }
        if self.is_calm {
            return;
        }
        self.late = Some((late, late_ms));
        self.lasts(5000, Ending::NoLongerLate(late));
        let factor = [5, 20, 100][self.rng.usize(..3)];
        for server in (0..self.servers.len()).filter(|server| *server != late) {
            self.servers[server].disk.slow(factor);
            self.lasts(5000, Ending::FastDisk(server));
        }
    }

    /// One of the others leads: whoever is late comes now.
    pub(super) fn begins_to_lead(&mut self) {
        let Some((server, late_ms)) = self.late.take() else { return };
        let at = self.now.plus_ms(late_ms);
        self.agenda.note(at, Happening::Start { server });
        if !self.is_calm && self.rng.bool() {
            let ms = late_ms + self.rng.u64(..200);
            self.lasts(ms, Ending::PowerLoss(server));
        }
    }

    /// Something goes wrong that is no fault of the plan's own, for so long.
    pub(super) fn happens_for(&mut self, kind: &FaultKind, ms: u64) {
        if let Some(end) = self.apply(kind, ms) {
            self.lasts(ms, end);
        }
    }

    /// Something ends in a while, or when all is healed.
    fn lasts(&mut self, ms: u64, end: Ending) {
        self.lasted += 1;
        let number = (1 << 32) + self.lasted;
        self.lasting.push(Lasting { number, end });
        self.agenda.note(self.now.plus_ms(ms), Happening::FaultEnds { lasting: number });
    }

    fn slow_link(&mut self, a: usize, b: usize, factor: u64) {
        let (a, b) = (Host::Server(a), Host::Server(b));
        self.network.slow(a, b, factor);
        self.network.slow(b, a, factor);
    }
}

/// For the counters.
fn name(kind: &FaultKind) -> &'static str {
    match kind {
        FaultKind::Kill(_) => "kill",
        FaultKind::PowerLoss(_) => "power loss",
        FaultKind::TotalPowerLoss => "total power loss",
        FaultKind::Stall(_) => "stall",
        FaultKind::Deaf(_) => "deaf server",
        FaultKind::Mute(_) => "mute server",
        FaultKind::Isolated(_) => "isolated server",
        FaultKind::Partition(_) => "partition",
        FaultKind::Deposed => "deposed leader",
        FaultKind::LateLeader(_) => "late leader",
        FaultKind::OneWay(..) => "one-way partition",
        FaultKind::Cut(..) => "cut connections",
        FaultKind::SlowLink(..) => "slow link",
        FaultKind::SlowDisk(..) => "slow disk",
        FaultKind::FullDisk(_) => "full disk",
        FaultKind::FailingDisk(..) => "failing disk",
        FaultKind::BitRot(_) => "bit rot",
        FaultKind::Wipe(_) => "lost directory",
        FaultKind::Purge(_) => "purge",
        FaultKind::Drift(..) => "drifting clock",
        FaultKind::WallJump(..) => "jumping wall clock",
        FaultKind::Move(_) => "moved client",
        FaultKind::ClientCutOff(_) => "client cut off",
    }
}
