//! Who has acknowledged which proposal, and whether that is a quorum. A bit for each server: all
//! that is done for every single proposal is to set one and to compare.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::mutant::Mutant;
use crate::quorum::{AckSet, Membership, Verifier};
use crate::types::{ServerId, Zxid};

/// Acknowledgements of one proposal; only the [`Tally`] that collected them can read them.
#[derive(Default, Debug)]
pub(super) struct Acks {
    bits: u64,
    /// Those of servers that came too late for a bit.
    more: Option<Box<AckSet>>,
}

/// The servers that acknowledge under one leader.
#[derive(Default, Debug)]
pub(super) struct Tally {
    /// A server's place is its bit.
    servers: Vec<ServerId>,
    /// The last quorum that was found: most proposals have the same.
    found: Option<Found>,
}

#[derive(Debug)]
struct Found {
    bits: u64,
    joint: bool,
    members: Arc<Membership>,
}

impl Tally {
    /// Counts somebody's acknowledgement of these, if he may vote.
    pub(super) fn add<'a>(
        &mut self,
        acks: impl IntoIterator<Item = &'a mut Acks>,
        from: ServerId,
        members: &Membership,
    ) {
        let place = self.servers.iter().position(|server| *server == from);
        let place = match place {
            None if !members.may_vote(from) => return,
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
    pub(super) fn remove(&self, acks: &mut Acks, from: ServerId) {
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
    pub(super) fn servers(&self, acks: &Acks) -> AckSet {
        let by_bit = self.servers.iter().enumerate();
        let by_bit =
            by_bit.filter(|(place, _)| bit(*place).is_some_and(|bit| acks.bits & bit != 0));
        let more = acks.more.iter().flat_map(|more| more.iter());
        by_bit.map(|(_, server)| *server).chain(more).collect()
    }

    /// Whether that is enough for a proposal: a quorum of the members, and of those of a
    /// configuration that is proposed from its own proposal on.
    pub(super) fn is_quorum(&mut self, acks: &Acks, zxid: Zxid, members: &Arc<Membership>) -> bool {
        let joint = members.next().is_some_and(|next| zxid.0 >= next.version)
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
            false => members.is_current_quorum(&servers),
        };
        if enough && acks.more.is_none() {
            let members = Arc::clone(members);
            self.found = Some(Found { bits: acks.bits, joint, members });
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
        let (mut tally, mut acks) = (Tally::default(), Acks::default());
        for (from, expected) in [(9, false), (1, false), (1, false), (2, true)] {
            tally.add([&mut acks], ServerId(from), &three);
            assert_eq!(tally.is_quorum(&acks, Zxid(9), &three), expected);
        }
        // What was enough is not, from the proposal of other members on.
        assert!(tally.is_quorum(&acks, Zxid(9), &joint));
        assert!(!tally.is_quorum(&acks, Zxid(10), &joint));
        tally.add([&mut acks], ServerId(4), &joint);
        tally.add([&mut acks], ServerId(5), &joint);
        assert!(tally.is_quorum(&acks, Zxid(10), &joint));
        tally.remove(&mut acks, ServerId(5));
        assert!(!tally.is_quorum(&acks, Zxid(10), &joint));
        let servers: Vec<i64> = tally.servers(&acks).iter().map(|id| id.0).collect();
        assert_eq!(servers, [1, 2, 4]);
    }

    #[test]
    fn more_servers_than_bits_are_counted_too() {
        let many = Arc::new(Membership::new(members(0, 1..=200), None));
        let (mut tally, mut acks) = (Tally::default(), Acks::default());
        for id in 1..=101 {
            assert!(!tally.is_quorum(&acks, Zxid(1), &many), "{id}");
            tally.add([&mut acks], ServerId(id), &many);
        }
        assert!(tally.is_quorum(&acks, Zxid(1), &many));
        for id in [101, 1] {
            tally.remove(&mut acks, ServerId(id));
            assert!(!tally.is_quorum(&acks, Zxid(1), &many));
        }
        assert_eq!(tally.servers(&acks).iter().count(), 99);
    }
}
