//! Members whose history is not the leader's.

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::world::World;
use crate::types::{Epoch, Zxid};
use crate::wire::entries::Entry;
use crate::zab::Role;

fn z(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// Puts a history into a server's directory, as it was left by a server of this `currentEpoch`.
fn put(world: &mut World, id: i64, current: i64, snapshot: Option<Zxid>, log: &[Zxid]) {
    let durable = &mut world.servers.get_mut(&id).unwrap().durable;
    (durable.current, durable.accepted) = (Epoch(current), Epoch(current));
    let payload = |zxid: &Zxid| Bytes::from(format!("of {id} at {zxid}"));
    let text = |zxid: Zxid| Bytes::from(format!("{:x} snapshot of {id}\n", zxid.0));
    durable.snapshot = snapshot.map(|zxid| (zxid, Vec::from([text(zxid)])));
    durable.log = log.iter().map(|zxid| Entry { zxid: *zxid, body: payload(zxid) }).collect();
}

fn log(world: &World, id: i64) -> Vec<Zxid> {
    world.servers[&id].durable.log.iter().map(|entry| entry.zxid).collect()
}

#[test]
fn learner_that_cannot_truncate_gets_a_snapshot() {
    let mut world = World::new(3, 0);
    for id in [1, 3] {
        put(&mut world, id, 4, None, &[z(1, 1), z(1, 2), z(1, 3)]);
    }
    // Of another ensemble, where epoch 3 began with something else.
    put(&mut world, 2, 3, Some(z(3, 0)), &[z(3, 1), z(3, 2)]);
    world.start(1).start(3).run(3000);
    assert_eq!(world.story(), "1 follows 3, 2 is down, 3 leads epoch 5");
    world.start(2).run(3000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 5");
    assert_eq!(world.payloads(2), world.payloads(3));
    world.propose("a");
    world.run(10);
    assert_eq!(world.payloads(2), world.payloads(3));
}

#[test]
fn learner_with_the_first_zxid_of_an_unknown_epoch_gets_a_snapshot() {
    let mut world = World::new(3, 0);
    for id in [1, 3] {
        put(&mut world, id, 4, None, &[z(1, 1), z(1, 2), z(4, 1)]);
    }
    put(&mut world, 2, 3, Some(z(3, 0)), &[]);
    world.start(1).start(3).run(3000);
    world.start(2).run(3000);
    assert_eq!(world.payloads(2), world.payloads(3));
}

#[test]
fn history_of_an_unknown_epoch_is_not_truncated() {
    let mut world = World::new(3, 0);
    // Servers 1 and 2 were provisioned again while server 3 was away.
    world.start(1).start(2).run(3000);
    world.propose("new");
    world.run(10);
    let precious = [z(1, 1), z(2, 1), z(4, 1)];
    put(&mut world, 3, 4, None, &precious);
    // It has accepted no epoch that this leader could not propose.
    world.servers.get_mut(&3).unwrap().durable.accepted = Epoch(1);
    world.start(3).run(20_000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 1, 3 looks");
    assert_eq!(log(&world, 3), precious);
    // The leader that comes next was elected without it, too.
    world.crash(1).start(1).run(3000);
    assert_eq!(log(&world, 3), precious);
    // It is the seed, once the others are empty.
    for id in 1..=3 {
        world.crash(id);
    }
    for id in [1, 2] {
        world.servers.get_mut(&id).unwrap().durable = Default::default();
    }
    world.servers.get_mut(&3).unwrap().durable.accepted = Epoch(4);
    world.start_all().run(3000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 5");
    assert_eq!(world.payloads(1).len(), 3);
    assert_eq!(world.payloads(1), world.payloads(3));
}

#[test]
fn history_of_an_unknown_epoch_ends_no_term() {
    let mut world = World::new(3, 0);
    for id in [1, 2] {
        put(&mut world, id, 1, None, &[z(1, 1)]);
        // Elections that came to nothing: the next epoch is later than any in server 3's log.
        world.servers.get_mut(&id).unwrap().durable.accepted = Epoch(4);
    }
    world.start(1).start(2).run(3000);
    world.propose("new");
    world.run(10);
    let precious = [z(1, 1), z(3, 1), z(3, 2)];
    put(&mut world, 3, 3, None, &precious);
    world.servers.get_mut(&3).unwrap().durable.accepted = Epoch(7);
    world.start(3).run(20_000);
    assert_eq!(world.role(2), Role::Leading { established: true });
    assert_eq!(log(&world, 3), precious, "{}", world.story());
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 5, 3 looks");
}

#[test]
fn leader_refuses_transactions_of_its_epoch_that_it_never_proposed() {
    let mut world = World::new(3, 0);
    world.start(1).start(3).run(3000);
    world.propose("a");
    world.run(10);
    // The same epoch in another ensemble.
    put(&mut world, 2, 1, None, &[z(1, 1), z(1, 2), z(1, 3)]);
    world.start(2).run(10_000);
    assert_eq!(world.story(), "1 follows 3, 2 looks, 3 leads epoch 1");
    assert_eq!(log(&world, 2).len(), 3);
}

#[test]
fn diverged_follower_gets_a_snapshot_and_follows_again() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.propose("a");
    world.run(10);
    world.servers.get_mut(&1).unwrap().applied[0].1 = Bytes::from_static(b"b");
    let now = world.now;
    world.with(1, |ensemble, out| ensemble.diverged(now, out));
    assert_eq!(world.story(), "1 looks, 2 follows 3, 3 leads epoch 1");
    world.run(3000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 1");
    assert_eq!(world.payloads(1), ["a"]);
    assert_eq!(log(&world, 1), [], "all of it came as a snapshot");
}

#[test]
fn diverged_server_counts_with_its_log_and_does_not_lead() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.propose("a");
    world.run(10);
    world.servers.get_mut(&2).unwrap().applied[0].1 = Bytes::from_static(b"b");
    let now = world.now;
    world.with(2, |ensemble, out| ensemble.diverged(now, out));
    world.crash(3);
    // Of the two that are left it has the larger number.
    world.run(5000);
    assert_eq!(world.story(), "1 leads epoch 2, 2 follows 1, 3 is down");
    assert_eq!(world.payloads(2), ["a"]);
    // With the leader's state it is a candidate again.
    world.propose("b");
    world.run(10);
    world.crash(1).start(3).run(5000);
    assert_eq!(world.story(), "1 is down, 2 leads epoch 3, 3 follows 2");
    assert_eq!(world.payloads(3), ["a", "b"]);
}

#[test]
fn diverged_server_with_the_longest_log_waits_for_another_with_it() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.stall([1]);
    world.propose("a");
    world.run(10);
    let now = world.now;
    world.with(2, |ensemble, out| ensemble.diverged(now, out));
    world.crash(3).crash(1).unstall([1]);
    world.start(1).run(10_000);
    assert_eq!(world.leader(), None, "{}", world.story());
    assert_eq!(log(&world, 2), [z(1, 1)], "it is committed, and half of the quorum that has it");
    world.start(3).run(5000);
    let story = world.story();
    assert!(story.starts_with("1 follows 3, 2 follows 3, 3 leads"), "{story}");
    assert_eq!(world.payloads(2), ["a"]);
}
