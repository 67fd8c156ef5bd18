//! The data for four-letter words, and their side effects.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytestring::ByteString;

use super::Node;
use super::duty::Duty;
use super::options::disk_options;
use crate::action::Actions;
use crate::admin::metrics::{BufferSizes, Metrics, ServerStats};
use crate::admin::{
    self, Conf, Dump, EnsembleConf, GlobalSessions, Leadership, Mode, Report, Serving, Watched,
};
use crate::budget::Work;
use crate::types::{ConnId, Now};
use crate::wire::Word;
use crate::zab::Role;

/// `ZooTrace`'s own: requests, server packets, sessions and warnings.
pub(super) const TRACE_MASK: i64 = 0b1_0011_0010;

impl Node {
    /// Does what the word says, and tells what it asks.
    pub(super) fn answer_word(
        &mut self,
        now: Now,
        conn: ConnId,
        word: Word,
        argument: Option<i64>,
        out: &mut Actions,
    ) {
        self.gather_figures(word);
        let is_allowed = self.whitelist.allows(word);
        if word == Word::Stmk && is_allowed {
            let Some(mask) = argument else {
                return self.client_port.answer_word(conn, String::new(), out);
            };
            self.trace_mask = mask;
        }
        let report = self.report(now, word);
        let text = admin::answer(word, &self.whitelist, &report);
        let is_serving = report.serving == Serving::Yes;
        self.writes.charge(Work { requests: 20, bytes: 4 * text.len(), ..Work::default() });
        if is_allowed && is_serving {
            match word {
                Word::Crst => self.client_port.reset_connections(),
                Word::Srst => {
                    self.client_port.stats = ServerStats::default();
                    self.metrics = Metrics::default();
                    self.prep.take_changes();
                    self.ensemble.take_diffs();
                    self.proposal_sizes = BufferSizes::default();
                }
                _ => {}
            }
        }
        self.client_port.answer_word(conn, text, out);
    }

    fn report(&self, now: Now, word: Word) -> Report<'_> {
        let role = self.ensemble.role();
        let (mode, up) = match role {
            Role::Leading { established } => (Mode::Leader, established),
            Role::Following { active, observing: true } => (Mode::Observer, active),
            Role::Following { active, observing: false } => (Mode::Follower, active),
            Role::Standalone => (Mode::Standalone, true),
            Role::Looking if self.client_port.is_read_only() => (Mode::ReadOnly, true),
            Role::Recovering | Role::Looking => (Mode::Follower, false),
        };
        let serving = match (role, &self.recovery) {
            (Role::Recovering, Some(recovery)) => Serving::Loading(*recovery),
            _ if up => Serving::Yes,
            _ => Serving::No,
        };
        let uptime_ms = now.mono.ms_since(self.serving_since);
        let leadership = (mode == Mode::Leader).then(|| {
            let active = self.ensemble.active_learners();
            let followers = active.iter().filter(|(_, observer)| !observer).count() as u64;
            let voters = |id| self.members.as_ref().is_some_and(|m| m.committed().is_voter(id));
            let non_voting =
                active.iter().filter(|(id, observer)| !observer && !voters(*id)).count() as u64;
            Leadership {
                learners: self.ensemble.learner_count() as u64,
                synced_followers: followers,
                synced_non_voting_followers: non_voting,
                synced_observers: active.len() as u64 - followers,
                pending_syncs: 0,
                uptime_ms,
                proposal_sizes: self.proposal_sizes,
            }
        });
        Report {
            serving,
            mode,
            clients: self.client_port.clients(),
            connections: self.client_port.connection_count() as u64,
            outstanding: self.client_port.outstanding() as u64,
            zxid: self.store.last_zxid(),
            node_count: self.store.node_count() as u64,
            data_size: self.store.data_bytes() as u64,
            ephemerals: self.store.ephemeral_count() as u64,
            global_sessions: self.store.sessions().len() as u64,
            local_sessions: self.local.as_ref().map_or(0, |local| local.len() as u64),
            watches: self.client_port.watch_count() as u64,
            watched: match word {
                Word::Wchc => Watched::BySession(self.client_port.watches_by_session()),
                Word::Wchp => Watched::ByPath(self.client_port.watches_by_path()),
                _ => {
                    let [connections, paths, watches] = self.client_port.watch_summary();
                    Watched::Summary { connections, paths, watches }
                }
            },
            watch_bytes: self.client_port.stats.watch_bytes.get(),
            uptime_ms,
            host: &self.host,
            dump: (word == Word::Dump).then(|| self.dump(now)),
            digests: match word {
                Word::Hash => self.store.digest_log().collect(),
                _ => Vec::new(),
            },
            trace_mask: self.trace_mask,
            quorum_size: self.members.as_ref().map(|m| m.committed().voters().count() as u64),
            leadership,
            observers: (mode == Mode::Follower
                && self.config.network.observer_master_port.is_some())
            .then(|| self.ensemble.active_learners().len() as u64),
            observed: (mode == Mode::Observer).then(|| self.ensemble.leader()).flatten(),
            quotas: self.store.quota_figures(),
            quota_refusals: self.prep.quota_refusals(),
            stats: &self.client_port.stats,
            metrics: &self.metrics,
            conf: self.conf(),
        }
    }

    fn dump(&self, now: Now) -> Dump {
        let global = match &self.duty {
            Duty::Leading(leading) => GlobalSessions::Tracked(leading.tracker.expiring(now)),
            Duty::Idle | Duty::Following(_) => {
                GlobalSessions::Known(self.store.sessions().collect())
            }
        };
        let ephemerals = self.store.ephemerals_by_session();
        let text = |path: &ByteString| String::from(&**path);
        Dump {
            local: self.local.as_ref().map(|local| local.expiring(now)),
            global,
            ephemerals: ephemerals.map(|(id, all)| (id, all.iter().map(text).collect())).collect(),
            connections: self.client_port.expiring(now),
        }
    }

    fn conf(&self) -> Conf<'_> {
        let config = &self.config;
        let ensemble = self.members.as_ref().and_then(|members| {
            let members = members.committed();
            let me = members.members.get(&config.my_id)?;
            let address = me.addresses.first()?;
            Some(EnsembleConf {
                init_limit: config.quorum.init_limit,
                sync_limit: config.quorum.sync_limit,
                election_port: address.election.port,
                quorum_port: address.quorum.port,
                role: me.role,
                members,
            })
        });
        let disk = disk_options(config);
        Conf {
            client_port: config.network.client_port.map_or(-1, i32::from),
            secure_client_port: -1,
            data_dir: disk.snapshots_at().to_string(),
            data_dir_size: self.host.data_dir_bytes,
            data_log_dir: disk.logs_at().to_string(),
            data_log_size: self.host.data_log_dir_bytes,
            tick_time_ms: config.sessions.tick_time_ms,
            max_client_connections: config.limits.max_client_connections.into(),
            min_session_timeout_ms: config.sessions.min_timeout_ms.into(),
            max_session_timeout_ms: config.sessions.max_timeout_ms.into(),
            listen_backlog: config.network.listen_backlog,
            server_id: if ensemble.is_some() { config.my_id.0 } else { 0 },
            ensemble,
        }
    }
}
