//! A reconfiguration is committed: who leads by it.

use alloc::sync::Arc;
use core::cmp::Reverse;

use bytes::Bytes;
use tracing::info;

use super::{HANDOVER_HALF_TICKS, Leader, Outstanding};
use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::mutant::Mutant;
use crate::quorum::AckSet;
use crate::types::{ServerId, Zxid};
use crate::wire::quorum::{PacketType, QuorumPacket};
use crate::zab::Replica;
use crate::zab::membership::{ConfigEvent, remains_leader};

impl Leader {
    /// A configuration out of static files has no version. Once a quorum has agreed on it, it is
    /// to count more than whatever a server that joins has in its files: it becomes the one of
    /// this epoch's beginning.
    pub(super) fn version_configuration(&mut self, replica: &mut Replica, out: &mut Actions) {
        if replica.options.reconfig.is_some() && replica.members().last_seen().version == 0 {
            let version = self.epoch.first_zxid().0;
            let config = EnsembleConfig { version, ..(**replica.members().committed()).clone() };
            replica.config_event(ConfigEvent::Announced(Arc::new(config)), out);
        }
    }

    /// A reconfiguration is committed, and counts from here on. All are told who leads by it
    /// (`Leader.commitAndActivate`, `informAndActivate`).
    pub(super) fn commit_config(
        &mut self,
        replica: &mut Replica,
        zxid: Zxid,
        acks: &AckSet,
        config: Arc<EnsembleConfig>,
        out: &mut Actions,
    ) {
        let leader = self.designated(replica, acks, &config);
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
            info!(%leader, "the new configuration is led by another server");
            self.handing_over_to = Some((leader, HANDOVER_HALF_TICKS));
        }
    }

    /// Who leads by a new configuration: this server, if it may; else whoever of the new voters
    /// has acknowledged the most (`Leader.getDesignatedLeader`).
    fn designated(&self, replica: &Replica, acks: &AckSet, config: &EnsembleConfig) -> ServerId {
        let stays = remains_leader(replica.me, replica.members().committed(), config);
        if stays || Mutant::RemovedLeaderGoesOn.is_on() {
            return replica.me;
        }
        let acked = |o: &Outstanding| self.ack_tracker.servers(&o.acks);
        let has =
            |id: &ServerId| self.outstanding.iter().take_while(|o| acked(o).contains(*id)).count();
        let candidates = acks.iter().filter(|id| *id != replica.me && config.is_voter(*id));
        candidates.max_by_key(|id| (has(id), Reverse(*id))).unwrap_or(replica.me)
    }
}
