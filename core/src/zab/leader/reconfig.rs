//! Reconfiguration at the leader: the commit of a configuration names the leader under it. If that
//! is another server, this one hands over: it proposes nothing more, and its term ends when its
//! learners have left.

use alloc::sync::Arc;
use core::cmp::Reverse;

use bytes::Bytes;
use tracing::info;

use super::{HANDOVER_HALF_TICKS, Leader, Outstanding};
use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::mutant::mutant;
use crate::quorum::AckSet;
use crate::types::{ServerId, Zxid};
use crate::wire::quorum::{PacketType, QuorumPacket};
use crate::zab::Replica;
use crate::zab::membership::{ConfigEvent, remains_leader};

impl Leader {
    /// Gives a hand-written configuration a version: the beginning of this epoch. A quorum has
    /// agreed on it, so it must be newer than the list of any server that joins later.
    pub(super) fn version_configuration(&mut self, replica: &mut Replica, out: &mut Actions) {
        if replica.options.reconfig.is_some() && replica.members().last_seen().version == 0 {
            let version = self.epoch.first_zxid().0;
            let config = EnsembleConfig { version, ..(**replica.members().committed()).clone() };
            replica.config_event(ConfigEvent::Announced(Arc::new(config)), out);
        }
    }

    /// Commits a reconfiguration that has its quorums, `acks` among them, and tells all learners
    /// which server leads from here on (`Leader.commitAndActivate`, `informAndActivate`).
    pub(super) fn commit_config(
        &mut self,
        replica: &mut Replica,
        zxid: Zxid,
        acks: &AckSet,
        config: Arc<EnsembleConfig>,
        out: &mut Actions,
    ) {
        let leader = self.designated_leader(replica, acks, &config);
        let designated = leader.0.to_be_bytes();
        let body = replica.history.pending().next().map(|entry| entry.body);
        for learner in self.learners.iter_mut().filter(|l| l.forwarding) {
            let (kind, data) = if learner.observer {
                let data = [&designated, &*body.clone().unwrap_or_default()].concat();
                (PacketType::InformAndActivate, data)
            } else {
                (PacketType::CommitAndActivate, designated.to_vec())
            };
            learner.outbound.packet(&QuorumPacket::new(kind, zxid, Some(Bytes::from(data))));
        }
        replica.history.commit(1, &mut replica.deliveries);
        replica.config_event(ConfigEvent::Committed(config), out);
        if leader != replica.me {
            info!(%leader, "handing over to the leader of the new configuration");
            self.handing_over_to = Some((leader, HANDOVER_HALF_TICKS));
        }
    }

    /// The leader under a new configuration (`Leader.getDesignatedLeader`): this server, if it can
    /// lead there; else the new voter that has acknowledged the reconfiguration and the most
    /// proposals after it. Of equals it is the one with the smallest id.
    fn designated_leader(
        &self,
        replica: &Replica,
        acks: &AckSet,
        config: &EnsembleConfig,
    ) -> ServerId {
        if remains_leader(replica.me, replica.members().committed(), config) {
            return replica.me;
        }
        mutant!(RemovedLeaderGoesOn => return replica.me);
        let acked = |o: &Outstanding| self.ack_tracker.servers(&o.acks);
        let acked_count =
            |id: &ServerId| self.outstanding.iter().take_while(|o| acked(o).contains(*id)).count();
        let candidates = acks.iter().filter(|id| *id != replica.me && config.is_voter(*id));
        candidates.max_by_key(|id| (acked_count(id), Reverse(*id))).unwrap_or(replica.me)
    }
}
