//! A learner by itself: what it says to packets that are handed to it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::Actions;
use crate::config::EnsembleConfig;
use crate::types::{ConnId, Epoch, ServerId, Time, Zxid};
use crate::wire::quorum::{PROTOCOL_VERSION, PacketType, QuorumPacket};
use crate::zab::learner::Learner;
use crate::zab::{Delivery, EnsembleOptions, Replica};

#[test]
fn a_ping_is_answered_once_the_learner_is_up_to_date() {
    let now = Time(0);
    let (config, options) = (EnsembleConfig::default(), EnsembleOptions::default());
    let mut replica = Replica::new(ServerId(1), Arc::new(config), options);
    let mut learner = Learner::new(now, &replica, ServerId(3));
    let mut out = Actions::new();
    learner.opened(now, &replica, ConnId::dialled(1), &mut out);
    let first = Epoch(1).first_zxid();
    let protocol = Some(Bytes::copy_from_slice(&PROTOCOL_VERSION.to_be_bytes()));
    let mut received = |kind, zxid, data, disk_is_done: bool| {
        let packet = QuorumPacket::new(kind, zxid, data).to_bytes();
        assert!(learner.received(now, &mut replica, packet, &mut out).is_none());
        if disk_is_done {
            replica.persisted = replica.last_ticket;
            assert!(learner.persisted(&mut replica, &mut out).is_none());
        }
        replica.deliveries.drain(..).collect::<Vec<_>>()
    };
    received(PacketType::LeaderInfo, first, protocol, true);
    received(PacketType::Diff, Zxid::ZERO, None, true);
    // The leader pings from NEWLEADER on; anything but an ACK would be taken for a failure.
    received(PacketType::NewLeader, first, None, false);
    assert_eq!(received(PacketType::Ping, first, None, false), []);
    assert_eq!(received(PacketType::Ping, first, None, true), []);
    assert_eq!(received(PacketType::UpToDate, Zxid(-1), None, true).len(), 1);
    assert_eq!(received(PacketType::Ping, first, None, true), [Delivery::Ping]);
}
