//! Syncs: answered by who still leads.

use super::*;
use crate::wire::quorum::{PacketType, QuorumPacket};

fn leading() -> World {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    assert_eq!(world.leader(), Some(3));
    world
}

fn ask(world: &mut World) {
    world.with(3, |ensemble, _| ensemble.sync(None));
}

#[test]
fn leaders_own_sync_needs_one_answer_of_a_quorum() {
    let mut world = leading();
    ask(&mut world);
    assert_eq!(world.servers[&3].synced, 0, "nobody has said yet that it still follows");
    world.run(10);
    assert_eq!(world.servers[&3].synced, 1, "the PING goes at once, not with the tick");
    // One follower is enough.
    world.crash(1);
    ask(&mut world);
    world.run(10);
    assert_eq!(world.servers[&3].synced, 2);
}

#[test]
fn a_leader_that_is_cut_off_answers_no_sync() {
    let mut world = leading();
    world.cut(3, 1).cut(3, 2);
    ask(&mut world);
    world.run(5000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 2, 3 looks");
    assert_eq!(world.servers[&3].synced, 0);
}

#[test]
fn sync_without_quorum_waits_for_no_answer() {
    let mut world = World::new(3, 0);
    world.options.sync_needs_quorum = false;
    world.start_all().run(3000);
    world.cut(3, 1).cut(3, 2);
    ask(&mut world);
    world.run(1);
    assert_eq!(world.servers[&3].synced, 1);
}

#[test]
fn both_configurations_confirm_a_leader_while_there_are_two() {
    let mut world = World::reconfigurable(3, 0);
    world.start_all().run(3000);
    world.join(4, "1 2 3 4").join(5, "1 2 3 5").run(3000);
    // The change stays under way: no disk of the old members goes on.
    world.stall([1, 2]);
    assert!(world.reconfig("3 4 5").is_some());
    world.run(10);
    ask(&mut world);
    world.run(10);
    assert_eq!((world.config(3).as_str(), world.servers[&3].synced), ("1 2 3 -> 3 4 5", 1));
    world.cut(3, 4).cut(3, 5);
    ask(&mut world);
    world.run(50);
    assert_eq!(world.servers[&3].synced, 1, "1 and 2 have answered, and nobody of the next");
}

/// A session's requests keep their order: what it reads behind a sync does not show what it writes
/// after that.
#[test]
fn a_sync_is_answered_before_what_is_proposed_after_it_is_committed() {
    let mut world = leading();
    let link = world.end_of(3, 1);
    // No answer to a PING arrives; what is proposed is acknowledged together.
    world.mute(1, 3).mute(2, 3);
    let before = world.propose("before").unwrap();
    ask(&mut world);
    let after = world.propose("after").unwrap();
    world.run(10);
    let acks =
        [before, after].map(|zxid| QuorumPacket::new(PacketType::Ack, zxid, None).to_bytes());
    world.say(3, link, &Bytes::from(acks.concat()));
    let server = &world.servers[&3];
    assert_eq!((server.synced, server.applied_at_sync), (1, 1));
    assert_eq!(world.payloads(3), ["before", "after"]);
}

fn sync() -> ForwardedRequest {
    ForwardedRequest {
        session: crate::types::SessionId(7),
        cxid: 1,
        op: crate::wire::OpCode::Sync as i32,
        body: Bytes::new(),
    }
}

#[test]
fn forwarded_sync_is_confirmed() {
    let mut world = leading();
    world.with(1, |ensemble, out| ensemble.request(sync().to_bytes(), None, out));
    world.run(20);
    assert_eq!(world.servers[&1].synced, 1);
}
