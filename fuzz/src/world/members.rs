//! Members that come and go: the files that say who they are, the operator who helps whom they
//! leave in the dark, and what became of each change.

use zabkeeper_core::config::{Config, ConfigError, EnsembleConfig, decode};
use zabkeeper_core::journal::ConfigSource;
use zabkeeper_core::quorum::AckSet;
use zabkeeper_core::store::CONFIG_PATH;
use zabkeeper_core::types::{ServerId, Time, Zxid};
use zabkeeper_core::zab::Role;

use super::servers::Server;
use super::{Happening, World};
use crate::check::Violation;
use crate::check::members::Roster;
use crate::clients::member_line;
use crate::plan::{FaultKind, Plan, Who};

/// Beside it lie `zoo.cfg.dynamic.<version>` and `zoo.cfg.dynamic.next`.
pub(super) const ZOO_CFG: &str = "/conf/zoo.cfg";
/// The members that were proposed last.
const NEXT: &str = "/conf/zoo.cfg.dynamic.next";
/// How long an operator who has helped does not do so again.
const PATIENCE_MS: u64 = 15_000;
/// What is in this folder is not lost with a data directory.
pub(super) const CONF: &str = "/conf/";

/// Who the members are in the beginning, as servers write it.
pub(super) fn first(plan: &Plan) -> Roster {
    let line = |i: usize| {
        let id = i as i64 + 1;
        let (servers, client) = (member_line(id, i >= plan.participants), "0.0.0.0:2181");
        (id, servers.replace(";2181", &format!(";{client}")))
    };
    Roster { version: 0, lines: (0..plan.members()).map(line).collect() }
}

impl Server {
    /// The texts that a process would start with.
    pub(super) fn source(&self) -> ConfigSource {
        let (my_id, flags) = (Some(self.myid.clone()), self.flags.clone());
        let Some(text) = self.file(ZOO_CFG) else {
            let (name, text) = (String::from("zoo.cfg"), self.text.clone());
            return ConfigSource { name, text, flags, my_id, dynamic: None, next: None };
        };
        let dynamic = Config::dynamic_file(&text).map(|file| {
            let text = self.file(&file).unwrap_or_default();
            (file, text)
        });
        let next = dynamic.as_ref().and_then(|_| self.file(NEXT));
        let next = next.map(|text| (String::from(NEXT), text));
        ConfigSource { name: String::from(ZOO_CFG), text, flags, my_id, dynamic, next }
    }

    /// Where it keeps its configuration, if members may change.
    pub(super) fn config_file(&self) -> Option<String> {
        self.disk.files.get(ZOO_CFG).map(|_| String::from(ZOO_CFG))
    }

    fn file(&self, path: &str) -> Option<String> {
        self.disk.files.get(path).map(decode)
    }

    /// Whom its files name, in a few words.
    pub(super) fn knows(&self) -> String {
        let brief = |config: &EnsembleConfig| {
            let voters: Vec<String> = config.voters().map(|id| id.to_string()).collect();
            format!("{} by {:x}", voters.join(" "), config.version)
        };
        match self.members_on_disk() {
            Some((known, None)) => format!("(voters are {}) ", brief(&known)),
            Some((known, Some(next))) => {
                format!("(voters are {}, to be {}) ", brief(&known), brief(&next))
            }
            None => String::from("(no members) "),
        }
    }

    /// The members, as its files have them.
    fn members_on_disk(&self) -> Option<(EnsembleConfig, Option<EnsembleConfig>)> {
        let source = self.source();
        let read = |(name, text): (String, String)| EnsembleConfig::parse(&name, &text).ok();
        match source.dynamic {
            // Also of one that is no member, and could not start with it.
            Some((name, text)) => {
                // The file's name ends with the version.
                let version = name.rsplit_once('.').map(|(_, hex)| i64::from_str_radix(hex, 16));
                let version = version.and_then(Result::ok).unwrap_or(0);
                let members = read((name, text))?;
                Some((EnsembleConfig { version, ..members }, source.next.and_then(read)))
            }
            None => source.parse().ok()?.0.ensemble.map(|members| (members, None)),
        }
    }
}

impl World {
    /// A server's files say that it is no member, and it does not start.
    pub(super) fn refused(&mut self, index: usize, error: &ConfigError) {
        let id = self.servers[index].id;
        if !error.what.contains("has removed this server") {
            let what = format!("server {id}: {error}");
            return self.check(Err(Violation::crash("a server's files can be read", what)));
        }
        self.counters.add("members: not started, no member");
        self.tell_at(index, || String::from("does not start: it is no member"));
        let is_member = self.zab.roster().is_some_and(|roster| roster.lines.contains_key(&id.0));
        if is_member || self.is_calm || self.rng.bool() {
            self.help(index);
        }
        let later = self.now.plus_ms(self.rng.u64(100..3000));
        self.agenda.note(later, Happening::Start { server: index });
    }

    /// The operator gives a server that does not run the members of now.
    fn help(&mut self, index: usize) {
        let roster = self.zab.roster().cloned().unwrap_or_else(|| first(&self.plan));
        let observes = self.rng.bool();
        let mut zoo_cfg = self.plan.zoo_cfg_without_members();
        let server = &mut self.servers[index];
        let id = server.id.0;
        let mut lines: Vec<String> =
            roster.lines.iter().map(|(id, line)| format!("server.{id}={line}\n")).collect();
        if roster.version != 0 && roster.lines.contains_key(&id) {
            let file = format!("{ZOO_CFG}.dynamic.{:x}", roster.version);
            server.disk.files.put(&file, lines.concat().as_bytes());
            zoo_cfg += &format!("dynamicConfigFile={file}\n");
        } else {
            // It is no member yet, and names itself beside those that are.
            if !roster.lines.contains_key(&id) {
                lines.push(format!("server.{id}={}\n", member_line(id, observes)));
            }
            zoo_cfg += &lines.concat();
        }
        server.disk.files.remove(NEXT);
        server.disk.files.put(ZOO_CFG, zoo_cfg.as_bytes());
        server.helped_at = Some(self.now);
        self.counters.add("members: told by the operator");
        self.tell_at(index, || String::from("is told by its operator who the members are"));
    }

    /// In the calm the operator looks after those that know nobody any more who could tell them,
    /// and gives them time: others may have told them something else, and need them.
    pub(super) fn help_the_lost(&mut self) {
        let Some(roster) = self.zab.roster().cloned() else { return };
        for index in 0..self.servers.len() {
            let server = &self.servers[index];
            let is_looking = server.node().is_some_and(|node| node.role() == Role::Looking);
            let is_waited_for =
                server.helped_at.is_some_and(|at| self.now.ms_since(at) < PATIENCE_MS);
            let is_helpless = is_looking && !is_waited_for;
            let Some((known, next)) = server.members_on_disk().filter(|_| is_helpless) else {
                continue;
            };
            let knows = |id: i64| {
                id != server.id.0
                    && [Some(&known), next.as_ref()]
                        .into_iter()
                        .flatten()
                        .any(|config| config.is_voter(ServerId(id)))
            };
            if known.version < roster.version && !roster.voters().any(knows) {
                self.kill(index, false);
                self.help(index);
                self.agenda.note(self.now, Happening::Start { server: index });
            }
        }
    }

    /// A reconfiguration is committed: how the members changed, and who brought it about.
    pub(super) fn reconfigured(&mut self, zxid: Zxid, before: &Roster, after: &Roster) {
        let has = |roster: &Roster, id: &i64| roster.lines.contains_key(id);
        let led = self.zab.leader_of(zxid.epoch()).map(|leader| leader as i64 + 1);
        let is_later = self.zab.newest_epoch() > zxid.epoch();
        for (is_it, name) in [
            (true, "members: changes"),
            (after.lines.keys().any(|id| !has(before, id)), "members: one joined"),
            (before.lines.keys().any(|id| !has(after, id)), "members: one left"),
            (
                after
                    .lines
                    .keys()
                    .any(|id| has(before, id) && before.has_vote(*id) != after.has_vote(*id)),
                "members: one got or lost its vote",
            ),
            (led.is_some_and(|id| !after.has_vote(id)), "members: the leader lost its vote"),
            (!before.voters().any(|id| after.has_vote(id)), "members: all voters are others"),
            (is_later, "members: a change completed by a later leader"),
        ] {
            if is_it {
                self.counters.add(name);
            }
        }
    }

    /// A leader completes what was proposed before it. If the power failed after that was on disk
    /// and before its transaction was, it does so without: quorums of both have to know.
    fn check_brought(&mut self, index: usize) {
        let server = &self.servers[index];
        let Some(node) = server.node().filter(|_| server.leads()) else { return };
        let (epoch, before) = (node.store().last_zxid(), self.history.model().roster());
        let shown = node.store().node(CONFIG_PATH).and_then(|node| node.data());
        let shown = shown.map(|data| String::from_utf8_lossy(data).into_owned());
        let Some(shown) = shown.and_then(|text| Roster::parse(&text)) else { return };
        let proposed = self.zab.body(Zxid(shown.version)).and_then(Roster::of);
        let is_lost = proposed.as_ref() == Some(&shown) && shown.version > before.version;
        if epoch.counter() != 0 || Zxid(shown.version).epoch() >= epoch.epoch() || !is_lost {
            return;
        }
        let knows = |server: &&Server| {
            let known = server.members_on_disk();
            known.is_some_and(|(now, next)| next.unwrap_or(now).version == shown.version)
        };
        let holders: AckSet = self.servers.iter().filter(knows).map(|server| server.id).collect();
        if !before.is_quorum(&holders) || !shown.is_quorum(&holders) {
            let what = format!("{:?} is known to {holders:?}", shown.text());
            let rule = "members change by quorums of both";
            return self.check(Err(Violation::safety(rule, what)));
        }
        self.counters.add("members: a change completed, its transaction lost");
        self.zab.brings(shown.clone());
        self.history.brings_members(epoch, shown);
    }

    /// What a server shows of the members is what the reconfigurations have come to that it has
    /// applied.
    pub(super) fn check_members(&mut self, index: usize) {
        if self.plan.reconfig.is_none() {
            return;
        }
        self.check_brought(index);
        let Some(node) = self.servers[index].node().filter(|node| node.serving()) else { return };
        let store = node.store();
        let shown = store.node(CONFIG_PATH).and_then(|node| node.data());
        let shown = shown.unwrap_or_default();
        let checked = self.history.shows_members(store.last_zxid(), shown);
        let id = self.servers[index].id;
        self.check(checked.map_err(|what| {
            let what = format!("server {id}: {what}");
            Violation::safety("equal zxids mean equal members", what)
        }));
    }

    /// Whether all show the same members, have them on disk, and are led by one that votes.
    pub(super) fn all_know_the_members(&self) -> bool {
        let shown = |server: &Server| {
            let data = server.node().and_then(|node| node.store().node(CONFIG_PATH)?.data());
            data.map(|data| String::from_utf8_lossy(data).into_owned())
        };
        let first = self.servers.first().and_then(shown);
        self.plan.reconfig.is_none()
            || self.servers.iter().all(|server| {
                let Some((config, next)) = server.members_on_disk() else { return false };
                // A name that was deleted may be there again after a power failure.
                let is_last = next.is_none_or(|next| next.version <= config.version);
                let may_lead = !server.leads() || config.is_voter(server.id);
                shown(server) == first && Some(config.to_text()) == first && is_last && may_lead
            })
    }

    /// The run is over: what became of changes that were begun.
    pub(super) fn count_dropped(&mut self) {
        for _ in 0..self.zab.dropped_reconfigurations() {
            self.counters.add("members: a change given up");
        }
    }

    /// A leader logs a change: now and then it is not given the time to bring it to its end.
    pub(super) fn is_changing(&mut self, index: usize) {
        let percent = self.plan.reconfig.as_ref().map_or(0, |reconfig| reconfig.ambush_percent);
        if self.is_calm || !self.servers[index].leads() || self.rng.u32(..100) >= percent {
            return;
        }
        let weather = &self.plan.weather;
        let way_us = weather.delay_us + weather.jitter_us + self.plan.disks[index].sync_us;
        let at = Time(self.now.0 + 1000 * self.rng.u64(..=3 * way_us));
        self.agenda.note(at, Happening::Ambush { server: index });
    }

    /// It is taken out of service.
    pub(super) fn ambush(&mut self, index: usize) {
        if self.is_calm {
            return;
        }
        self.tell_at(index, || String::from("is ambushed while the members change"));
        self.counters.add("members: leader ambushed in a change");
        let kind = match self.rng.u32(..6) {
            0 | 1 => FaultKind::Kill(Who::Server(index)),
            2 => FaultKind::PowerLoss(Who::Server(index)),
            3 => FaultKind::TotalPowerLoss,
            _ => FaultKind::Isolated(Who::Server(index)),
        };
        let ms = self.rng.u64(10..10_000);
        self.happens_for(&kind, ms);
    }
}
