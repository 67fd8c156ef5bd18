//! Stories of strangers on the quorum port, who say that they are members.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::world::World;
use crate::types::{ConnId, Epoch, ServerId, Zxid};
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket};

/// FOLLOWERINFO of a server that has accepted an epoch and goes by a version of the list.
fn info(server: i64, accepted: i64, config_version: i64) -> Bytes {
    let (server, protocol_version) = (ServerId(server), PROTOCOL_VERSION);
    let info = LearnerInfo { server, protocol_version, config_version };
    let zxid = Epoch(accepted).first_zxid();
    QuorumPacket::new(PacketType::FollowerInfo, zxid, Some(info.to_bytes())).to_bytes()
}

fn ack_epoch(current: i32) -> Bytes {
    let data = Bytes::copy_from_slice(&current.to_be_bytes());
    QuorumPacket::new(PacketType::AckEpoch, Zxid::ZERO, Some(data)).to_bytes()
}

const CALM: &str = "1 follows 3, 2 follows 3, 3 leads epoch 1";

fn calm() -> World {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    assert_eq!(world.story(), CALM);
    world
}

#[test]
fn later_epoch_claimed_by_a_stranger_ends_no_term() {
    let mut world = calm();
    for n in 0..100 {
        let conn = world.stranger(3, &info(1 + n % 3, 2 + n * 1000, 0));
        world.run(30);
        assert!(!world.owns(3, conn));
    }
    assert_eq!((world.story(), world.leaders.len()), (CALM.into(), 1));
}

#[test]
fn later_epoch_claimed_for_a_down_member_ends_no_term() {
    let mut world = calm();
    world.crash(2);
    for _ in 0..100 {
        world.stranger(3, &info(2, 7000, 0));
        world.run(30);
    }
    assert_eq!(world.story(), "1 follows 3, 2 is down, 3 leads epoch 1");
    world.start(2).run(3000);
    assert_eq!((world.story(), world.leaders.len()), (CALM.into(), 1));
}

#[test]
fn claims_of_strangers_skip_no_epoch() {
    let mut world = World::new(3, 0);
    world.start_all();
    for _ in 0..300 {
        for id in 1..=3 {
            for claimed in (1..=3).filter(|claimed| *claimed != id) {
                world.stranger(id, &info(claimed, 0x7eff_0000, 0));
            }
        }
        world.run(10);
    }
    let epoch = world.servers[&3].durable.accepted;
    assert!(world.story().ends_with(&alloc::format!("3 leads epoch {epoch}")), "{}", world.story());
    assert!(epoch < Epoch(10), "{epoch}");
}

#[test]
fn newer_configuration_claimed_by_a_stranger_ends_no_discovery() {
    let mut world = World::new(3, 0);
    world.start_all();
    for _ in 0..300 {
        for id in 1..=3 {
            for claimed in (1..=3).filter(|claimed| *claimed != id) {
                world.stranger(id, &info(claimed, 0, 1 << 40));
            }
        }
        world.run(10);
    }
    assert_eq!(world.story(), CALM);
}

#[test]
fn member_with_a_later_epoch_joins_whatever_its_id() {
    for (leader, ahead) in [(3, 2), (2, 3)] {
        let mut world = World::new(3, 0);
        world.start(1).start(leader).run(3000);
        assert_eq!(world.leader(), Some(leader));
        world.propose("a");
        world.run(10);
        world.servers.get_mut(&ahead).unwrap().durable.accepted = Epoch(5);
        world.start(ahead).run(5000);
        world.propose("b");
        world.run(10);
        assert_eq!(world.payloads(ahead), ["a", "b"], "{ahead}: {}", world.story());
        assert!(world.leaders.contains_key(&6));
    }
}

#[test]
fn needed_member_with_a_later_accepted_epoch_proves_it() {
    let mut world = World::new(3, 0);
    world.servers.get_mut(&1).unwrap().durable.accepted = Epoch(5);
    world.start(1).start(2).run(3000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 6, 3 is down");
}

#[test]
fn epochs_that_are_used_up_are_not_saved() {
    let mut world = World::new(3, 0);
    let last = Epoch::LAST.0 - 1;
    for id in 1..=3 {
        world.servers.get_mut(&id).unwrap().durable.accepted = Epoch(last);
    }
    world.start_all().run(3000);
    assert_eq!(world.leader(), None);
    for id in 1..=3 {
        assert_eq!(world.servers[&id].durable.accepted, Epoch(last), "server {id}");
    }
}

#[test]
fn epoch_that_followers_refuse_is_not_saved() {
    let mut world = World::new(3, 0);
    world.servers.get_mut(&2).unwrap().durable.accepted = Epoch(0x7f00_0005);
    world.start(1).start(2).run(3000);
    assert_eq!(world.servers[&2].durable.accepted, Epoch(0x7f00_0005));
    world.start(3).run(5000);
    assert_eq!(world.leader(), Some(3), "{}", world.story());
}

#[test]
fn a_stranger_with_a_members_id_does_not_take_its_place() {
    let mut world = calm();
    for n in 0..40 {
        let claimed = 1 + n % 2;
        let conn = world.stranger(3, &info(claimed, 1, 0));
        world.say(3, conn, &ack_epoch(1));
        world.run(20);
        assert!(!world.owns(3, conn), "the member has answered a PING");
        assert_eq!(world.story(), CALM);
    }
    // It sends nothing more, and blocks no member.
    let held: Vec<ConnId> = (0..100).map(|_| world.stranger(3, &info(1, 1, 0))).collect();
    world.propose("a");
    world.run(100);
    assert_eq!((world.story(), world.payloads(1)), (CALM.into(), ["a".into()].into()));
    assert!(held.iter().filter(|conn| world.owns(3, **conn)).count() <= 16);
}

#[test]
fn a_members_acknowledgements_outlive_a_stranger_with_its_id() {
    let mut world = calm();
    world.stall([1, 3]);
    world.propose("a");
    world.run(10);
    let conn = world.stranger(3, &info(2, 1, 0));
    world.say(3, conn, &ack_epoch(1));
    world.run(10);
    world.unstall([3]);
    world.run(10);
    assert_eq!(world.payloads(3), ["a"], "servers 2 and 3 have it");
}

#[test]
fn a_link_that_has_gone_silent_gives_way_to_its_servers_next_one() {
    let mut world = calm();
    world.mute(1, 3);
    let conn = world.stranger(3, &info(1, 1, 0));
    world.say(3, conn, &ack_epoch(1));
    world.run(40);
    assert!(world.owns(3, conn));
    assert_eq!(world.servers[&3].ensemble.as_ref().unwrap().learner_count(), 3, "both are there");
    world.run(110);
    assert_eq!(world.servers[&3].ensemble.as_ref().unwrap().learner_count(), 2);
    assert!(world.owns(3, conn), "the old one is gone");
}

#[test]
fn silent_connections_keep_no_member_out() {
    let mut world = calm();
    world.crash(1);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(world.stranger(3, &Bytes::from_static(&[0])));
    }
    let kept = |world: &World| silent.iter().filter(|conn| world.owns(3, **conn)).count();
    assert_eq!(kept(&world), 64, "the oldest have gone");
    world.start(1).run(200);
    assert_eq!(world.story(), CALM);
    // Bytes do not keep them.
    for _ in 0..12 {
        silent.iter().for_each(|conn| world.say(3, *conn, &Bytes::from_static(&[0])));
        world.run(100);
    }
    assert_eq!(kept(&world), 0);
}

#[test]
fn while_there_is_no_leader_early_connections_keep_no_member_out() {
    let mut world = World::new(3, 0);
    world.start(3).run(100);
    for _ in 0..200 {
        world.stranger(3, &Bytes::new());
    }
    world.start(1).run(1000);
    assert_eq!(world.leader(), Some(3));
}

#[test]
fn servers_outside_the_list_are_bounded() {
    let mut world = calm();
    let outside: Vec<ConnId> = (0..500).map(|n| world.stranger(3, &info(1000 + n, 0, 0))).collect();
    assert!(outside.iter().filter(|conn| world.owns(3, **conn)).count() <= 64);
    world.run(1000);
    assert_eq!(world.story(), CALM);
}

#[test]
fn unidentified_peer_cannot_send_large_packets() {
    let mut world = calm();
    let mut head = BytesMut::from(&info(1, 1, 0)[..]);
    head.truncate(12);
    head.extend_from_slice(&5000i32.to_be_bytes());
    let mut ids = BytesMut::from(&info(1, 1, 0)[..]);
    ids.truncate(ids.len() - 4);
    ids.extend_from_slice(&1i32.to_be_bytes());
    for said in [head, ids] {
        let conn = world.stranger(3, &said.freeze());
        assert!(!world.owns(3, conn));
    }
}
