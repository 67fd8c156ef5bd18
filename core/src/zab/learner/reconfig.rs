//! Reconfiguration at a learner: a configuration is committed by the leader, by COMMITANDACTIVATE
//! (followers) or INFORMANDACTIVATE (observers), or with UPTODATE after a join.

use alloc::sync::Arc;

use bytes::Bytes;

use super::Learner;
use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::types::{ServerId, Zxid};
use crate::wire::PeerError;
use crate::wire::entries::Entries;
use crate::wire::quorum::{PacketType, QuorumPacket};
use crate::zab::Replica;
use crate::zab::membership::{ConfigEvent, remains_leader};
use crate::zab::transition::Transition;

impl Learner {
    /// COMMITANDACTIVATE: a reconfiguration that is logged here is committed.
    pub(super) fn commit_and_activate(
        &mut self,
        replica: &mut Replica,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let data = packet.data.ok_or(PeerError::MissingPayload(PacketType::CommitAndActivate))?;
        let leader = designated_leader(&data)?;
        self.commit_config(replica, packet.zxid, leader, out)
    }

    /// INFORMANDACTIVATE: the same for an observer, with the transaction.
    pub(super) fn inform_and_activate(
        &mut self,
        replica: &mut Replica,
        packet: QuorumPacket,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let data = packet.data.ok_or(PeerError::MissingPayload(PacketType::InformAndActivate))?;
        let leader = designated_leader(&data)?;
        let logged = self.proposals(replica, Entries::one(packet.zxid, &data[8..]), out)?;
        let committed = self.commit_config(replica, packet.zxid, leader, out)?;
        Ok(committed.or(logged))
    }

    fn commit_config(
        &mut self,
        replica: &mut Replica,
        zxid: Zxid,
        leader: ServerId,
        out: &mut Actions,
    ) -> Result<Option<Transition>, PeerError> {
        let pending = replica.history.pending().next().filter(|entry| entry.zxid == zxid);
        let config = pending.and_then(|entry| replica.config_in(&entry.body));
        self.commit(replica, zxid, 1, Some(leader), out)?;
        Ok(config.and_then(|config| self.activate(replica, config, Some(leader), out)))
    }

    /// The configuration of NEWLEADER becomes the committed one.
    ///
    /// It does not if it was proposed in the leader's own epoch and this server has not seen its
    /// commit: then COMMITANDACTIVATE follows.
    pub(super) fn commit_leaders_config(
        &mut self,
        replica: &mut Replica,
        out: &mut Actions,
    ) -> Option<Transition> {
        let config = self.leaders_config.take()?;
        let proposed = Zxid(config.version);
        let is_of_epoch = proposed.epoch() == self.epoch && proposed.counter() != 0;
        if is_of_epoch && proposed > replica.history.last_processed {
            return None;
        }
        self.activate(replica, config, None, out)
    }

    /// Other members are in force. This role ends if another server leads them (`leader` is the
    /// designated one, if the commit names one), or if this server's own role is another there
    /// (`QuorumPeer.processReconfig`).
    fn activate(
        &mut self,
        replica: &mut Replica,
        config: EnsembleConfig,
        leader: Option<ServerId>,
        out: &mut Actions,
    ) -> Option<Transition> {
        let before = replica.members().clone();
        if !replica.config_event(ConfigEvent::Committed(Arc::new(config)), out) {
            return None;
        }
        let after = replica.members();
        let leader_changes = match leader {
            Some(leader) => leader != self.leader,
            None => !remains_leader(self.leader, before.committed(), after.committed()),
        };
        if !leader_changes && before.observes(replica.me) == after.observes(replica.me) {
            return None;
        }
        let why = "the configuration has changed".into();
        Some(match leader {
            Some(leader) => Transition::Appointed { leader, why },
            None => Transition::Look { why },
        })
    }
}

/// The designated leader, the first eight bytes of a payload.
fn designated_leader(data: &Bytes) -> Result<ServerId, PeerError> {
    let id = data.first_chunk::<8>().map(|bytes| ServerId(i64::from_be_bytes(*bytes)));
    id.ok_or(PeerError::NoDesignatedLeader)
}
