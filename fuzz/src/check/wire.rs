//! What peers of another make enforce, asserted on the bytes that our own servers send to each
//! other. Where it is broken they drop the connection, or end their process.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use zabkeeper_core::types::Zxid;
use zabkeeper_core::wire::quorum::PacketType;

use super::Violation;
use crate::trace::quorum::{Item, QuorumStream};

/// The quorum connections of one run.
#[derive(Debug, Default)]
pub struct Wire {
    links: HashMap<u64, Link>,
}

#[derive(Debug, Default)]
struct Link {
    /// From the learner, from the leader.
    sides: [QuorumStream; 2],
    observes: bool,
    /// What the learner said that it has.
    has: Zxid,
    last_proposed: Zxid,
    last_ack: Zxid,
    /// Proposed on this connection and not committed on it.
    pending: VecDeque<Zxid>,
    /// NEWLEADER was sent, and acknowledged; UPTODATE was sent, and acknowledged.
    is_offered: bool,
    acks_of_epoch: u32,
    is_up_to_date: bool,
}

impl Wire {
    /// These bytes are sent on a quorum connection: by the learner, who dialled (side 0), or by
    /// the leader.
    pub fn sent(&mut self, link: u64, side: usize, bytes: &Bytes) -> Result<(), Violation> {
        let known = self.links.entry(link).or_default();
        let broken = |what: String| Violation::safety("what peers enforce is kept", what);
        known.sides[side].push(bytes);
        loop {
            match known.sides[side].take() {
                Err(()) => return Err(broken(format!("bytes that are no packet, side {side}"))),
                Ok(None) => return Ok(()),
                Ok(Some(Item::SnapshotEnd(_))) => {}
                Ok(Some(Item::Packet(kind, packet))) => {
                    let zxid = packet.zxid;
                    let told = if side == 0 {
                        known.by_learner(kind, zxid)
                    } else {
                        known.by_leader(kind, zxid)
                    };
                    told.map_err(|what| broken(format!("{kind:?} {zxid}: {what}")))?;
                }
            }
        }
    }

    /// The connection is gone.
    pub fn closed(&mut self, link: u64) {
        self.links.remove(&link);
    }
}

impl Link {
    fn by_learner(&mut self, kind: PacketType, zxid: Zxid) -> Result<(), String> {
        match kind {
            PacketType::ObserverInfo => self.observes = true,
            PacketType::AckEpoch => self.has = zxid,
            PacketType::Ack if zxid.counter() == 0 => {
                self.acks_of_epoch += 1;
                let may_be = u32::from(self.is_offered) + u32::from(self.is_up_to_date);
                if self.acks_of_epoch > may_be {
                    return Err(format!("acknowledged {} times", self.acks_of_epoch));
                }
            }
            PacketType::Ack => {
                if self.observes || self.acks_of_epoch == 0 {
                    return Err(String::from("an acknowledgement out of turn"));
                }
                // Not cumulative: each once, in order.
                if zxid <= self.last_ack || zxid > self.last_proposed {
                    return Err(format!(
                        "acknowledged after {}, with {} proposed",
                        self.last_ack, self.last_proposed
                    ));
                }
                self.last_ack = zxid;
            }
            _ => {}
        }
        Ok(())
    }

    fn by_leader(&mut self, kind: PacketType, zxid: Zxid) -> Result<(), String> {
        match kind {
            PacketType::Trunc if self.has.counter() == 0 => {
                return Err(String::from("to a learner whose log ends where an epoch begins"));
            }
            PacketType::Proposal | PacketType::Inform | PacketType::InformAndActivate => {
                let last = self.last_proposed;
                if zxid <= last || (zxid.epoch() == last.epoch() && zxid != last.next()) {
                    return Err(format!("after {last}"));
                }
                if kind != PacketType::Proposal && !self.observes {
                    return Err(String::from("to a follower"));
                }
                self.last_proposed = zxid;
                if kind == PacketType::Proposal {
                    self.pending.push_back(zxid);
                }
            }
            PacketType::Commit | PacketType::CommitAndActivate => {
                let head = self.pending.pop_front();
                if head != Some(zxid) {
                    return Err(format!("and the oldest that is pending is {head:?}"));
                }
            }
            PacketType::NewLeader => self.is_offered = true,
            PacketType::UpToDate => {
                if self.acks_of_epoch == 0 {
                    return Err(String::from("before NEWLEADER was acknowledged"));
                }
                self.is_up_to_date = true;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zabkeeper_core::wire::quorum::QuorumPacket;

    fn send(wire: &mut Wire, side: usize, kind: PacketType, zxid: i64) -> Result<(), Violation> {
        wire.sent(1, side, &QuorumPacket::new(kind, Zxid(zxid), None).to_bytes())
    }

    fn joined() -> Wire {
        let mut wire = Wire::default();
        for (side, kind, zxid) in [
            (0, PacketType::FollowerInfo, 0),
            (1, PacketType::LeaderInfo, 1 << 32),
            (0, PacketType::AckEpoch, 0),
            (1, PacketType::Diff, 0),
            (1, PacketType::NewLeader, 1 << 32),
            (0, PacketType::Ack, 1 << 32),
            (1, PacketType::UpToDate, -1),
            (0, PacketType::Ack, 1 << 32),
        ] {
            assert_eq!(send(&mut wire, side, kind, zxid), Ok(()), "{kind:?}");
        }
        wire
    }

    #[test]
    fn valid_packets_pass() {
        let mut wire = joined();
        let z = 1 << 32;
        for n in 1..4 {
            assert_eq!(send(&mut wire, 1, PacketType::Proposal, z + n), Ok(()));
        }
        for n in 1..4 {
            assert_eq!(send(&mut wire, 0, PacketType::Ack, z + n), Ok(()));
            assert_eq!(send(&mut wire, 1, PacketType::Commit, z + n), Ok(()));
        }
    }

    #[test]
    fn each_rule_can_be_broken() {
        let z = 1 << 32;
        let mut third_ack = joined();
        assert!(send(&mut third_ack, 0, PacketType::Ack, z).is_err());
        let mut gap = joined();
        assert!(send(&mut gap, 1, PacketType::Proposal, z + 1).is_ok());
        assert!(send(&mut gap, 1, PacketType::Proposal, z + 3).is_err());
        let mut early = joined();
        assert!(send(&mut early, 0, PacketType::Ack, z + 1).is_err());
        let mut order = joined();
        assert!(send(&mut order, 1, PacketType::Proposal, z + 1).is_ok());
        assert!(send(&mut order, 1, PacketType::Proposal, z + 2).is_ok());
        assert!(send(&mut order, 1, PacketType::Commit, z + 2).is_err());
        let mut inform = joined();
        assert!(send(&mut inform, 1, PacketType::Inform, z + 1).is_err());
        let mut trunc = Wire::default();
        assert!(send(&mut trunc, 0, PacketType::AckEpoch, z).is_ok());
        assert!(send(&mut trunc, 1, PacketType::Trunc, 5).is_err());
        let mut bytes = Wire::default();
        assert!(bytes.sent(1, 0, &Bytes::from_static(&[0xff; 40])).is_err());
    }
}
