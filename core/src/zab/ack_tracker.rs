//! Acknowledgements of proposals, and whether they are a quorum. Every server has a bit, so that
//! the work for one acknowledgement is to set a bit, and for one proposal to compare a word with
//! that of the last quorum.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::mutant::mutant;
use crate::quorum::{AckSet, Membership, Verifier};
use crate::types::{ServerId, Zxid};

/// Acknowledgements of one proposal; only the [`AckTracker`] that collected them can read them.
#[derive(Default, Debug)]
pub(super) struct AckBits {
    bits: u64,
    /// Servers beyond the 64 that have a bit.
    more: Option<Box<AckSet>>,
}

/// The servers that acknowledge under one leader.
#[derive(Default, Debug)]
pub(super) struct AckTracker {
    /// The index of a server is its bit.
    servers: Vec<ServerId>,
    /// The last quorum that was found: most proposals have the same one.
    last_quorum: Option<QuorumCache>,
}

/// Acknowledgements that are a quorum of these members; `joint`: of both configurations.
#[derive(Debug)]
struct QuorumCache {
    bits: u64,
    joint: bool,
    members: Arc<Membership>,
}

impl AckTracker {
    /// Counts an acknowledgement of these proposals, if the server is a voter of any configuration.
    pub(super) fn add<'a>(
        &mut self,
        acks: impl IntoIterator<Item = &'a mut AckBits>,
        from: ServerId,
        members: &Membership,
    ) {
        let index = self.servers.iter().position(|server| *server == from);
        let index = match index {
            None if !members.is_voter_in_any(from) => return,
            None => {
                self.servers.push(from);
                self.servers.len() - 1
            }
            Some(index) => index,
        };
        let bit = bit(index);
        for acks in acks {
            match bit {
                Some(bit) => acks.bits |= bit,
                None => {
                    acks.more.get_or_insert_default().insert(from);
                }
            }
        }
    }

    /// Removes an acknowledgement.
    pub(super) fn remove(&self, acks: &mut AckBits, from: ServerId) {
        let index = self.servers.iter().position(|server| *server == from);
        match index.map(bit) {
            Some(Some(bit)) => acks.bits &= !bit,
            Some(None) => {
                if let Some(more) = &mut acks.more {
                    more.remove(from);
                }
            }
            None => {}
        }
    }

    /// The servers that have acknowledged.
    pub(super) fn servers(&self, acks: &AckBits) -> AckSet {
        let by_bit = self.servers.iter().enumerate();
        let by_bit =
            by_bit.filter(|(index, _)| bit(*index).is_some_and(|bit| acks.bits & bit != 0));
        let more = acks.more.iter().flat_map(|more| more.iter());
        by_bit.map(|(_, server)| *server).chain(more).collect()
    }

    /// Whether the acknowledgements of the proposal `zxid` are enough: a quorum of the committed
    /// configuration, and from the proposal of a reconfiguration on also of the proposed one.
    pub(super) fn is_quorum(
        &mut self,
        acks: &AckBits,
        zxid: Zxid,
        members: &Arc<Membership>,
    ) -> bool {
        let mut joint = members.proposed().is_some_and(|next| zxid.0 >= next.version);
        mutant!(OldQuorumCommitsAChange => joint = false);
        if acks.more.is_none()
            && let Some(last) = &self.last_quorum
            && (last.bits, last.joint) == (acks.bits, joint)
            && Arc::ptr_eq(&last.members, members)
        {
            return true;
        }
        let servers = self.servers(acks);
        let enough = match joint {
            true => members.is_quorum(&servers),
            false => members.is_committed_quorum(&servers),
        };
        if enough && acks.more.is_none() {
            let members = Arc::clone(members);
            self.last_quorum = Some(QuorumCache { bits: acks.bits, joint, members });
        }
        enough
    }
}

fn bit(index: usize) -> Option<u64> {
    1_u64.checked_shl(u32::try_from(index).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EnsembleConfig;

    fn members(version: i64, ids: core::ops::RangeInclusive<i64>) -> Arc<EnsembleConfig> {
        let lines: Vec<_> = ids.map(|id| alloc::format!("server.{id}=h{id}:1:2")).collect();
        let config = EnsembleConfig::parse("x", &lines.join("\n")).unwrap();
        Arc::new(EnsembleConfig { version, ..config })
    }

    #[test]
    fn quorum_depends_on_the_members_and_on_the_proposal() {
        let three = Arc::new(Membership::new(members(0, 1..=3), None));
        let joint = Arc::new(Membership::new(members(0, 1..=3), Some(members(10, 3..=5))));
        let (mut ack_tracker, mut acks) = (AckTracker::default(), AckBits::default());
        for (from, expected) in [(9, false), (1, false), (1, false), (2, true)] {
            ack_tracker.add([&mut acks], ServerId(from), &three);
            assert_eq!(ack_tracker.is_quorum(&acks, Zxid(9), &three), expected);
        }
        // From the proposal of a reconfiguration on, a quorum of the committed one is not enough.
        assert!(ack_tracker.is_quorum(&acks, Zxid(9), &joint));
        assert!(!ack_tracker.is_quorum(&acks, Zxid(10), &joint));
        ack_tracker.add([&mut acks], ServerId(4), &joint);
        ack_tracker.add([&mut acks], ServerId(5), &joint);
        assert!(ack_tracker.is_quorum(&acks, Zxid(10), &joint));
        ack_tracker.remove(&mut acks, ServerId(5));
        assert!(!ack_tracker.is_quorum(&acks, Zxid(10), &joint));
        let servers: Vec<i64> = ack_tracker.servers(&acks).iter().map(|id| id.0).collect();
        assert_eq!(servers, [1, 2, 4]);
    }

    #[test]
    fn more_servers_than_bits_are_counted() {
        let many = Arc::new(Membership::new(members(0, 1..=200), None));
        let (mut ack_tracker, mut acks) = (AckTracker::default(), AckBits::default());
        for id in 1..=101 {
            assert!(!ack_tracker.is_quorum(&acks, Zxid(1), &many), "{id}");
            ack_tracker.add([&mut acks], ServerId(id), &many);
        }
        assert!(ack_tracker.is_quorum(&acks, Zxid(1), &many));
        for id in [101, 1] {
            ack_tracker.remove(&mut acks, ServerId(id));
            assert!(!ack_tracker.is_quorum(&acks, Zxid(1), &many));
        }
        assert_eq!(ack_tracker.servers(&acks).iter().count(), 99);
    }
}
