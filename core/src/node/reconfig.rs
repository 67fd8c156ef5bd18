//! The ensemble's members, seen from one of them: what a transaction says of them, what changes
//! when they do.

use alloc::sync::Arc;

use bytes::Bytes;

use super::Node;
use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::mutant::mutant;
use crate::prep::{Members, Parsed, Request};
use crate::quorum::Membership;
use crate::session::SessionCheck;
use crate::store::{CONFIG_PATH, Store};
use crate::types::{Now, Zxid};
use crate::wire::txn::{LoggedTxn, Txn, TxnHeader};
use crate::wire::{OpCode, Record};

/// The configuration that a transaction makes the ensemble's, if it is a reconfiguration.
pub(super) fn config_in(body: &[u8]) -> Option<EnsembleConfig> {
    if TxnHeader::peek(body)?.op != OpCode::Reconfig as i32 {
        return None;
    }
    match LoggedTxn::from_bytes(&Bytes::copy_from_slice(body)).ok()?.txn {
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
    /// The configuration in the loaded state may be newer than the files beside `zoo.cfg`.
    pub(super) fn remember_config(&mut self) {
        mutant!(ChangeForgottenByRestart => return);
        if let Some(config) = config_of(&self.store) {
            self.ensemble.restore_state_config(config);
        }
    }

    /// Another configuration is committed.
    pub(super) fn reconfigured(&mut self, members: Arc<Membership>, out: &mut Actions) {
        let committed = members.committed().clone();
        self.members = Some(members);
        self.listen_for_servers(out);
        if let Some(own) = committed.members.get(&self.config.my_id) {
            self.listen_for_clients(own, out);
        }
    }

    pub(super) fn prepare(
        &mut self,
        now: Now,
        request: &Request,
        parsed: Parsed,
        check: SessionCheck,
        zxid: Zxid,
    ) -> LoggedTxn {
        let (store, wall_ms) = (&self.store, now.wall_ms);
        if !parsed.is_reconfig() {
            return self.prep.prepare(store, request, parsed, check, zxid, wall_ms);
        }
        let (ensemble, config) = (&self.ensemble, &self.config);
        let is_synced = |next: &EnsembleConfig| ensemble.has_synced_quorum(now.mono, next);
        let members = Members {
            enabled: config.quorum.reconfig_enabled,
            multi_address: config.quorum.multi_address,
            standalone_enabled: config.quorum.standalone_enabled,
            membership: config.ensemble.is_some().then(|| &**ensemble.members()),
            is_synced: &is_synced,
        };
        self.prep.reconfigure(store, request, parsed, check, &members, zxid, wall_ms)
    }
}
