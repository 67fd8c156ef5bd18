//! Reconfiguration as a learner sees it.

use alloc::sync::Arc;

use bytes::Bytes;

use super::Learner;
use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::types::{ServerId, Zxid};
use crate::zab::Replica;
use crate::zab::membership::{ConfigEvent, remains_leader};

impl Learner {
    /// A reconfiguration is committed.
    pub(super) fn commit_config(
        &mut self,
        replica: &mut Replica,
        zxid: Zxid,
        leader: ServerId,
        out: &mut Actions,
    ) -> Result<(), &'static str> {
        let pending = replica.history.pending().next().filter(|entry| entry.zxid == zxid);
        let config = pending.and_then(|entry| replica.config_in(&entry.body));
        self.commit(replica, zxid, 1, Some(leader), out)?;
        if let Some(config) = config {
            self.activate(replica, config, Some(leader), out);
        }
        Ok(())
    }

    /// The configuration of the leader counts, unless it is one that is proposed and not
    /// committed yet, as far as this server knows: its commit will say so.
    pub(super) fn take_leaders_config(&mut self, replica: &mut Replica, out: &mut Actions) {
        let Some(config) = self.config.take() else { return };
        let proposed = Zxid(config.version);
        let is_of_epoch = proposed.epoch() == self.epoch && proposed.counter() != 0;
        if !is_of_epoch || proposed <= replica.history.last_processed {
            self.activate(replica, config, None, out);
        }
    }

    /// From here on other members count. Whether this server goes on here or elsewhere is for
    /// them to say (`QuorumPeer.processReconfig`).
    pub(super) fn activate(
        &mut self,
        replica: &mut Replica,
        config: EnsembleConfig,
        leader: Option<ServerId>,
        out: &mut Actions,
    ) {
        let before = replica.members().clone();
        if !replica.config_event(ConfigEvent::Committed(Arc::new(config)), out) {
            return;
        }
        let now = replica.members();
        let leader_changes = match leader {
            Some(leader) => leader != self.leader,
            None => !remains_leader(self.leader, before.committed(), now.committed()),
        };
        if leader_changes || before.observes(replica.me) != now.observes(replica.me) {
            self.appointed = leader;
            self.end("the configuration has changed");
        }
    }
}

/// The designated leader at the beginning of a payload.
pub(super) fn designated(data: &Bytes) -> Result<ServerId, &'static str> {
    let id = data.first_chunk::<8>().map(|bytes| ServerId(i64::from_be_bytes(*bytes)));
    id.ok_or("a reconfiguration without its leader")
}
