//! A reconfiguration is committed: who leads by it.

use alloc::sync::Arc;
use core::cmp::Reverse;

use bytes::Bytes;
use tracing::info;

use super::{Leader, Outstanding, RETIRING_HALF_TICKS};
use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::mutant::Mutant;
use crate::quorum::AckSet;
use crate::types::{ServerId, Zxid};
use crate::wire::quorum::{PacketType, QuorumPacket};
use crate::zab::Shared;
use crate::zab::reconfig::goes_on_leading;

impl Leader {
    /// A reconfiguration is committed, and counts from here on. All are told who leads by it
    /// (`Leader.commitAndActivate`, `informAndActivate`).
    pub(super) fn commit_config(
        &mut self,
        shared: &mut Shared,
        zxid: Zxid,
        acks: &AckSet,
        config: Arc<EnsembleConfig>,
        out: &mut Actions,
    ) {
        let leader = self.designated(shared, acks, &config);
        let designated = leader.0.to_be_bytes();
        let body = shared.history.pending().next().map(|entry| entry.body);
        for learner in self.learners.iter_mut().filter(|l| l.forwarding) {
            let (kind, data) = if learner.observer {
                let data = [&designated, &*body.clone().unwrap_or_default()].concat();
                (PacketType::InformAndActivate, data)
            } else {
                (PacketType::CommitAndActivate, designated.to_vec())
            };
            learner.outbound.packet(&QuorumPacket::new(kind, zxid, Some(Bytes::from(data))));
        }
        shared.history.commit(1, &mut shared.deliveries);
        shared.activate(config, out);
        if leader != shared.me {
            info!(%leader, "the new configuration is led by another server");
            self.retiring = Some((leader, RETIRING_HALF_TICKS));
        }
    }

    /// Who leads by a new configuration: this server, if it may; else whoever of the new voters
    /// has acknowledged the most (`Leader.getDesignatedLeader`).
    fn designated(&self, shared: &Shared, acks: &AckSet, config: &EnsembleConfig) -> ServerId {
        let stays = goes_on_leading(shared.me, shared.members.current(), config);
        if stays || Mutant::RemovedLeaderGoesOn.is_on() {
            return shared.me;
        }
        let acked = |o: &Outstanding| self.tally.servers(&o.acks);
        let has =
            |id: &ServerId| self.outstanding.iter().take_while(|o| acked(o).contains(*id)).count();
        let candidates = acks.iter().filter(|id| *id != shared.me && config.is_voter(*id));
        candidates.max_by_key(|id| (has(id), Reverse(*id))).unwrap_or(shared.me)
    }
}
