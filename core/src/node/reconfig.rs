//! The ensemble's members, seen from one of them: what a transaction says of them, what changes
//! when they do.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use crate::action::{Action, Actions};
use crate::config::{EnsembleConfig, Member};
use crate::event::Port;
use crate::prep::{Members, Parsed, Prepared, Request, SessionCheck};
use crate::store::{CONFIG_PATH, Store};
use crate::types::{HostPort, Now, Zxid};
use crate::wire::txn::{LoggedTxn, Txn};
use crate::wire::{OpCode, Record};

/// Where a transaction's header has its type.
const TYPE_AT: usize = 28;

/// The configuration that a transaction makes the ensemble's, if it is a reconfiguration.
pub(super) fn config_in(body: &Bytes) -> Option<EnsembleConfig> {
    let op = body.get(TYPE_AT..)?.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
    if op != Some(OpCode::Reconfig as i32) {
        return None;
    }
    match LoggedTxn::from_bytes(body).ok()?.txn {
        Txn::Reconfig(txn) => parse(&txn.data?),
        _ => None,
    }
}

/// The configuration that a state was left with.
fn config_of(store: &Store) -> Option<EnsembleConfig> {
    parse(store.node(CONFIG_PATH)?.data()?)
}

fn parse(data: &[u8]) -> Option<EnsembleConfig> {
    EnsembleConfig::parse(CONFIG_PATH, core::str::from_utf8(data).ok()?).ok()
}

impl Node {
    /// What the state says of the members may be newer than what the files beside `zoo.cfg` do.
    /// Whoever goes by members of a static file has written them himself.
    pub(super) fn remember_config(&mut self) {
        let is_static = self.ensemble.members().current().version == 0;
        if let Some(config) = config_of(&self.store).filter(|_| !is_static) {
            self.ensemble.remember(config);
        }
    }

    /// Other members count.
    pub(super) fn reconfigured(&mut self, members: &Arc<EnsembleConfig>, out: &mut Actions) {
        self.config_text = members.to_text();
        let me = self.config.my_id;
        let before = self.config.ensemble.replace((**members).clone());
        let Some(now) = members.members.get(&me) else { return };
        let before = before.and_then(|before| before.members.get(&me).cloned());
        for (port, of) in [(Port::Election, election as Of), (Port::Quorum, quorum)] {
            let at = of(now);
            if before.as_ref().map(of).as_ref() != Some(&at) {
                let everywhere = self.config.quorum_listen_on_all_ips;
                let at = at.into_iter().map(|at| match everywhere {
                    true => HostPort::new("0.0.0.0", at.port),
                    false => at,
                });
                out.push(Action::Listen { port, at: at.collect() });
            }
        }
        let Some(client) = &now.client else { return };
        let host = Some(client.host.to_string()).filter(|_| !client.is_wildcard());
        let config = &mut self.config;
        if (config.client_port, &config.client_port_address) != (Some(client.port), &host) {
            (config.client_port, config.client_port_address) = (Some(client.port), host);
            out.push(Action::Listen { port: Port::Client, at: Arc::from([client.clone()]) });
        }
    }

    pub(super) fn prepare(
        &mut self,
        now: Now,
        request: &Request,
        parsed: Parsed,
        check: SessionCheck,
        zxid: Zxid,
    ) -> Prepared {
        let (store, wall_ms) = (&self.store, now.wall_ms);
        if !parsed.is_reconfig() {
            return self.prep.prepare(store, request, parsed, check, zxid, wall_ms);
        }
        let (ensemble, config) = (&self.ensemble, &self.config);
        let is_synced = |next: &EnsembleConfig| ensemble.has_synced_quorum(now.mono, next);
        let members = Members {
            enabled: config.reconfig_enabled,
            standalone_enabled: config.standalone_enabled,
            membership: config.ensemble.is_some().then(|| &**ensemble.members()),
            is_synced: &is_synced,
        };
        self.prep.reconfigure(store, request, parsed, check, &members, zxid, wall_ms)
    }
}

type Of = fn(&Member) -> Vec<HostPort>;

fn election(member: &Member) -> Vec<HostPort> {
    member.addresses.iter().map(|at| at.election.clone()).collect()
}

fn quorum(member: &Member) -> Vec<HostPort> {
    member.addresses.iter().map(|at| at.quorum.clone()).collect()
}
