//! Who has acknowledged which proposal, and whether that is a quorum. A bit for each server: all
//! that is done for every single proposal is to set one and to compare.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::mutant::Mutant;
use crate::quorum::{AckSet, Membership, Verifier};
use crate::types::{ServerId, Zxid};

/// Acknowledgements of one proposal; only the [`AckTracker`] that collected them can read them.
#[derive(Default, Debug)]
pub(super) struct AckBits {
    bits: u64,
    /// Those of servers that came too late for a bit.
    more: Option<Box<AckSet>>,
}

/// The servers that acknowledge under one leader.
#[derive(Default, Debug)]
pub(super) struct AckTracker {
    /// A server's place is its bit.
    servers: Vec<ServerId>,
    /// The last quorum that was found: most proposals have the same.
    found: Option<QuorumCache>,
}

#[derive(Debug)]
struct QuorumCache {
    bits: u64,
    joint: bool,
    members: Arc<Membership>,
}

impl AckTracker {
    /// Counts somebody's acknowledgement of these, if he may vote.
    pub(super) fn add<'a>(
        &mut self,
        acks: impl IntoIterator<Item = &'a mut AckBits>,
        from: ServerId,
        members: &Membership,
    ) {
        let place = self.servers.iter().position(|server| *server == from);
        let place = match place {
            None if !members.is_voter_in_any(from) => return,
            None => {
                self.servers.push(from);
                self.servers.len() - 1
            }
            Some(place) => place,
        };
        let bit = bit(place);
        for acks in acks {
            match bit {
                Some(bit) => acks.bits |= bit,
                None => {
                    acks.more.get_or_insert_default().insert(from);
                }
            }
        }
    }

    /// Takes an acknowledgement back.
    pub(super) fn remove(&self, acks: &mut AckBits, from: ServerId) {
        let place = self.servers.iter().position(|server| *server == from);
        match place.map(bit) {
            Some(Some(bit)) => acks.bits &= !bit,
            Some(None) => {
                if let Some(more) = &mut acks.more {
                    more.remove(from);
                }
            }
            None => {}
        }
    }

    /// Who has acknowledged.
    pub(super) fn servers(&self, acks: &AckBits) -> AckSet {
        let by_bit = self.servers.iter().enumerate();
        let by_bit =
            by_bit.filter(|(place, _)| bit(*place).is_some_and(|bit| acks.bits & bit != 0));
        let more = acks.more.iter().flat_map(|more| more.iter());
        by_bit.map(|(_, server)| *server).chain(more).collect()
    }

    /// Whether that is enough for a proposal: a quorum of the members, and of those of a
    /// configuration that is proposed from its own proposal on.
    pub(super) fn is_quorum(
        &mut self,
        acks: &AckBits,
        zxid: Zxid,
        members: &Arc<Membership>,
    ) -> bool {
        let joint = members.proposed().is_some_and(|next| zxid.0 >= next.version)
            && !Mutant::OldQuorumCommitsAChange.is_on();
        if acks.more.is_none()
            && let Some(found) = &self.found
            && (found.bits, found.joint) == (acks.bits, joint)
            && Arc::ptr_eq(&found.members, members)
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
            self.found = Some(QuorumCache { bits: acks.bits, joint, members });
        }
        enough
    }
}

fn bit(place: usize) -> Option<u64> {
    1_u64.checked_shl(u32::try_from(place).ok()?)
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
    fn a_quorum_is_one_under_the_members_that_count() {
        let three = Arc::new(Membership::new(members(0, 1..=3), None));
        let joint = Arc::new(Membership::new(members(0, 1..=3), Some(members(10, 3..=5))));
        let (mut ack_tracker, mut acks) = (AckTracker::default(), AckBits::default());
        for (from, expected) in [(9, false), (1, false), (1, false), (2, true)] {
            ack_tracker.add([&mut acks], ServerId(from), &three);
            assert_eq!(ack_tracker.is_quorum(&acks, Zxid(9), &three), expected);
        }
        // What was enough is not, from the proposal of other members on.
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
    fn more_servers_than_bits_are_counted_too() {
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
