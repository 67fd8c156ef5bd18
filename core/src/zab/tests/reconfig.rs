//! Stories of members that come and go.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::world::{World, members};
use crate::types::Zxid;
use crate::zab::Role;

/// Three servers whose configuration has its first version.
fn three() -> World {
    let mut world = World::reconfigurable(3, 0);
    world.start_all().run(3000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 1");
    world
}

#[test]
fn a_static_configuration_gets_the_version_of_the_first_epoch() {
    let world = three();
    for id in 1..=3 {
        let durable = &world.servers[&id].durable;
        let saved = durable.config.as_ref().unwrap();
        assert_eq!((saved.version, saved.members.len()), (0x1_0000_0000, 3), "server {id}");
        assert!(durable.next.is_none());
    }
}

#[test]
fn a_server_that_joins_follows_without_a_vote_until_it_is_added() {
    let mut world = three();
    world.join(4, "1 2 3 4").run(3000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 1, 4 follows 3");
    assert_eq!(world.config(4), "1 2 3", "what it is told counts, not its own list");
    world.stall([1, 2]);
    world.propose("a");
    world.run(20);
    assert_eq!(world.payloads(3), [""; 0], "3 and 4 are no quorum of 1, 2 and 3");
    world.unstall([1]);
    world.reconfig("1 2 3 4");
    world.run(20);
    for id in 1..=4 {
        assert_eq!(world.config(id), "1 2 3 4", "server {id}");
    }
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 1, 4 follows 3");
    world.stall([1]);
    world.propose("b");
    world.run(20);
    assert_eq!(world.payloads(3).len(), 2, "two of four");
    world.unstall([1]);
    world.run(20);
    assert_eq!(world.payloads(4).len(), 3, "three of four");
}

#[test]
fn quorums_of_both_commit_the_reconfiguration_and_the_new_one_commits_the_rest() {
    let mut world = three();
    world.join(4, "1 2 3 4").join(5, "1 2 3 5").run(3000);
    world.stall([1, 2]);
    world.reconfig("3 4 5");
    world.propose("a");
    world.run(20);
    assert_eq!(world.payloads(3), [""; 0], "all new members have it, and one old one");
    assert_eq!(world.config(4), "1 2 3 -> 3 4 5");
    world.unstall([2]);
    world.run(20);
    assert_eq!(world.payloads(5).len(), 2);
    world.crash(1).crash(2);
    world.propose("b");
    world.run(20);
    assert_eq!(world.payloads(5).last().unwrap(), "b", "the old members are not asked any more");
}

#[test]
fn a_leader_that_is_removed_names_the_next_one_and_follows_without_a_vote() {
    let mut world = three();
    world.reconfig("1 2");
    world.run(2000);
    assert_eq!(world.story(), "1 leads epoch 2, 2 follows 1, 3 follows 1");
    for id in 1..=3 {
        assert_eq!(world.config(id), "1 2", "server {id}");
    }
    world.propose("a");
    world.crash(2).run(3000);
    assert_eq!(world.leader(), None, "1 and 3 are no quorum of 1 and 2");
}

#[test]
fn voters_become_observers_and_observers_voters() {
    let mut world = World::reconfigurable(3, 1);
    world.start_all().run(3000);
    world.reconfig("1o 2 3 4");
    world.run(3000);
    assert_eq!(world.story(), "1 observes 3, 2 follows 3, 3 leads epoch 1, 4 follows 3");
    world.reconfig("1 2 3o 4");
    world.run(3000);
    let story = world.story();
    assert_eq!(world.payloads(1).len(), 2, "{story}");
    assert!(story.contains("3 observes") && story.contains("leads epoch 2"), "{story}");
}

#[test]
fn reconfiguration_logged_everywhere_is_completed_after_a_crash_of_all() {
    let mut world = three();
    world.join(4, "1 2 3 4").run(3000);
    world.stall(1..=4);
    world.reconfig("1 2 3 4");
    world.run(20);
    for id in 1..=4 {
        // Durable, but not acknowledged.
        world.unstall([id]);
        world.sync(id);
        world.crash(id);
    }
    for id in 1..=4 {
        assert!(world.servers[&id].durable.next.is_some(), "server {id} has seen it");
    }
    world.start_all().run(5000);
    for id in 1..=4 {
        assert_eq!(world.config(id), "1 2 3 4", "server {id}: {}", world.story());
    }
    assert!(world.leader().is_some());
}

#[test]
fn reconfiguration_logged_by_its_leader_alone_is_abandoned() {
    let mut world = three();
    world.reconfig("1 2");
    world.cut(1, 3).cut(2, 3).run(5000);
    assert_eq!(world.config(3), "1 2 3 -> 1 2");
    assert_eq!(world.leader(), Some(2), "{}", world.story());
    world.propose("a");
    world.heal().run(5000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 2, 3 follows 2");
    assert_eq!((world.config(3), world.payloads(3)), ("1 2 3".into(), Vec::from(["a".into()])));
    assert!(world.servers[&3].durable.next.as_ref().is_none_or(|n| n.version <= 0x1_0000_0000));
}

/// Servers 2 and 3 vote. Server 3 has proposed 1 and 2, was heard by server 1 only, and is gone:
/// the configuration is in its files, the transaction is not in its log.
fn with_a_change_that_its_leader_has_not_logged() -> World {
    let mut world = three();
    world.reconfig("2 3");
    world.run(20);
    world.stall([3]);
    world.reconfig("1 2");
    world.cut(2, 3).run(20);
    world.crash_after_one_write(3);
    assert_eq!((world.config(1), world.config(2)), ("2 3 -> 1 2".into(), "2 3".into()));
    let (one, three) = (&world.servers[&1].durable, &world.servers[&3].durable);
    assert_eq!(one.next, three.next);
    assert!(one.log.len() > three.log.len());
    world.heal();
    world
}

#[test]
fn reconfiguration_that_is_not_logged_is_ignored_after_a_restart() {
    let mut world = with_a_change_that_its_leader_has_not_logged();
    world.start(3).run(5000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 2");
    for id in 1..=3 {
        assert_eq!(world.config(id), "2 3", "server {id}");
    }
    // Later entries do not bring it back.
    world.propose("a");
    world.run(20);
    world.crash(3).start(3);
    assert_eq!(world.config(3), "2 3");
    world.run(5000);
    assert_eq!(world.payloads(1), world.payloads(3));
}

#[test]
fn old_members_go_on_if_the_reconfiguration_cannot_have_committed() {
    let mut world = three();
    world.reconfig("2 3");
    world.run(20);
    world.stall([3]);
    world.reconfig("1 2");
    world.run(1);
    world.propose("a");
    world.cut(2, 3).run(20);
    world.crash(3).servers.get_mut(&3).unwrap().stalled = false;
    let logged = |world: &World, id: i64| world.servers[&id].durable.log.len();
    assert_eq!(logged(&world, 1), logged(&world, 2) + 1, "server 1 knows more than server 2");
    assert_eq!((world.config(1), world.config(2)), ("2 3 -> 1 2".into(), "2 3 -> 1 2".into()));
    world.heal().start(3);
    assert_eq!(world.config(3), "2 3", "it has never heard of it");
    world.run(20_000);
    for id in 1..=3 {
        assert_eq!(world.config(id), "1 2", "server {id}: {}", world.story());
        assert!(!world.payloads(id).contains(&"a".into()));
    }
    assert!(world.leader().is_some(), "{}", world.story());
}

#[test]
fn needed_server_without_the_proposed_configuration_can_be_given_it_by_hand() {
    let mut world = three();
    world.reconfig("2 3");
    world.run(20);
    world.stall([2, 3]);
    world.reconfig("1 2");
    world.propose("a");
    world.run(20);
    world.crash_after_one_write(3).crash(2);
    // Server 1 has logged both proposals, server 2 the first, server 3 neither.
    let one = world.servers[&1].durable.clone();
    let two = world.servers.get_mut(&2).unwrap();
    two.stalled = false;
    two.durable.log.push(one.log[one.log.len() - 2].clone());
    two.durable.next = one.next.clone();
    world.servers.get_mut(&3).unwrap().durable.next = None;
    world.start(2).start(3).run(60_000);
    let story = world.story();
    assert!(story.contains('3') && !story.contains("leads"), "3 does not know that 1 may: {story}");
    world.crash(3);
    world.servers.get_mut(&3).unwrap().durable.next = one.next;
    world.start(3).run(20_000);
    for id in 1..=3 {
        assert_eq!(world.config(id), "1 2", "{}", world.story());
        assert_eq!(world.payloads(id).last().unwrap(), "a");
    }
}

#[test]
fn unlogged_configuration_does_not_hide_the_logged_one() {
    let mut world = three();
    let stale = world.servers[&3].durable.config.clone();
    world.reconfig("2 3");
    world.run(20);
    world.stall([3]);
    world.reconfig("1 2");
    world.run(20);
    world.crash_after_one_write(3);
    // Its list was rewritten by hand.
    world.servers.get_mut(&3).unwrap().durable.config = stale;
    world.start(3);
    assert_eq!(world.config(3), "1 2 3 -> 2 3");
    for _ in 0..5000 {
        world.run(1);
        assert_ne!(world.config(3), "1 2 3");
    }
    assert_eq!(world.config(3), "1 2", "{}", world.story());
}

#[test]
fn reconfiguration_before_uptodate_does_not_hide_the_committed_one() {
    let mut world = three();
    world.join(4, "1 2 3 4").run(3000);
    world.propose("z");
    world.run(20);
    world.crash(1).crash(3).start(3).run(3000);
    assert!(world.story().contains("leads epoch 2"), "{}", world.story());
    // Server 1 has found the leader, and has yet to save the epoch.
    world.stall([1]);
    world.start(1).run(500);
    world.reconfig("1 2 3 4").unwrap();
    world.run(20);
    world.stall(2..=4);
    world.reconfig("2 3 4").unwrap();
    world.run(20);
    assert_eq!(world.config(1), "1 2 3");
    world.unstall([1]);
    world.sync(1);
    world.stall([1]);
    world.run(20);
    assert_eq!(world.config(1), "1 2 3 4 -> 2 3 4");
}

#[test]
fn votes_of_a_truncated_configuration_are_accepted_in_the_next_round() {
    let mut world = three();
    world.join(4, "1 2 3 4").run(3000);
    world.stall([2, 3]);
    world.reconfig("1 2 4");
    world.run(1);
    world.cut(1, 3);
    world.propose("a");
    world.run(20);
    world.crash_after_one_write(3).crash(1).crash(2).crash(4);
    let logged = |world: &World, id: i64| world.servers[&id].durable.log.len();
    assert_eq!((logged(&world, 2), logged(&world, 3)), (0, 0));
    assert_eq!((logged(&world, 1), logged(&world, 4)), (1, 2));
    // Server 2 introduces itself to server 3 and says no more.
    world.heal().start(2).start(3).run(1000);
    assert_eq!(world.role(3), Role::Leading { established: false });
    world.crash(2).start(1).start(4).run(20_000);
    assert!(world.leader().is_some(), "{}", world.story());
    for id in [1, 3, 4] {
        assert_eq!(world.config(id), "1 2 4", "{}", world.story());
        assert_eq!(world.payloads(id).last().unwrap(), "a");
    }
}

#[test]
fn new_member_without_the_log_entry_finds_the_others() {
    let mut world = three();
    world.join(4, "1 2 3 4").run(3000);
    world.stall([4]);
    world.reconfig("1 2 3 4");
    world.run(20);
    world.crash_after_one_write(4);
    assert_eq!(world.config(3), "1 2 3 4");
    for _ in 0..2 {
        world.start(4);
        assert_eq!(world.config(4), "1 2 3", "until it is told");
        let next = world.servers[&4].durable.next.as_ref().unwrap();
        assert_eq!(next.members.len(), 4, "its disk still says how it is reached");
        world.crash(4);
    }
    world.start(4).run(5000);
    assert_eq!(world.config(4), "1 2 3 4");
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 1, 4 follows 3");
}

#[test]
fn abandoned_incoming_member_learns_that_it_is_none() {
    let mut world = three();
    world.join(4, "1 2 3 4").run(3000);
    world.stall(1..=4);
    world.reconfig("1 2 3 4");
    world.run(20);
    world.crash_after_one_write(4);
    for id in 1..=3 {
        world.crash(id).servers.get_mut(&id).unwrap().stalled = false;
    }
    world.start_all().run(5000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 2, 4 follows 3");
    assert_eq!(world.config(4), "1 2 3");
    let durable = &world.servers[&4].durable;
    assert_eq!(durable.next.as_ref().unwrap().version, durable.config.as_ref().unwrap().version);
}

#[test]
fn truncated_reconfiguration_is_abandoned_without_newleader() {
    let mut world = World::reconfigurable(5, 0);
    world.start_all().run(3000);
    world.reconfig("2 3 5");
    world.run(20);
    world.stall([5]);
    world.reconfig("1 3");
    world.cut(2, 5).cut(4, 5).run(20);
    world.crash_after_one_write(5).crash(1).crash(3);
    world.heal().start(5);
    // Both accept the epoch; neither can save what is to be saved then.
    let accepts = |world: &mut World, id: i64| {
        world.stall([id]);
        world.run(500);
        world.unstall([id]);
        world.sync(id);
        world.stall([id]);
    };
    accepts(&mut world, 2);
    world.start(3);
    assert_eq!(world.config(3), "2 3 5 -> 1 3", "it has logged it");
    accepts(&mut world, 3);
    world.run(20);
    let logged = world.servers[&3].durable.log.len();
    assert_eq!(world.role(5), Role::Leading { established: false });
    world.crash(5).crash(2).run(20);
    world.unstall([2, 3]);
    world.sync(3);
    assert!(world.servers[&3].durable.log.len() < logged);
    world.start(1).start(2).run(5000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 3, 4 follows 3, 5 is down");
    assert_eq!((world.config(1), world.config(3)), ("2 3 5".into(), "2 3 5".into()));
}

#[test]
fn stale_list_is_replaced_by_that_of_notifications() {
    let mut world = three();
    world.join(4, "1 2 3 4").join(5, "1 2 3 5").run(3000);
    world.crash(1);
    world.reconfig("2 3 4");
    world.run(1000);
    world.reconfig("3 4 5");
    world.run(1000);
    world.start(1).run(5000);
    assert_eq!((world.config(1), world.config(2)), ("3 4 5".into(), "3 4 5".into()));
    let story = world.story();
    assert_eq!(story, "1 follows 3, 2 follows 3, 3 leads epoch 1, 4 follows 3, 5 follows 3");
}

#[test]
fn old_members_alone_never_lead_after_the_commit() {
    let mut world = three();
    world.join(4, "1 2 3 4").join(5, "1 2 3 5").run(3000);
    world.stall([1]);
    world.reconfig("3 4 5");
    world.run(1000);
    world.propose("a");
    world.run(20);
    assert_eq!(world.payloads(5).len(), 2);
    for id in [3, 4, 5] {
        world.crash(id);
    }
    world.unstall([1]);
    world.run(10_000);
    assert_eq!(world.leader(), None, "{}", world.story());
    world.start(4).start(5).run(10_000);
    assert!(matches!(world.leader(), Some(4 | 5)), "{}", world.story());
    assert_eq!(world.payloads(1).last().unwrap(), "a");
}

#[test]
fn old_members_never_lead_with_a_hand_written_list() {
    let mut world = three();
    world.join(4, "1 2 3 4").join(5, "1 2 3 5").run(3000);
    let stale = world.servers[&2].durable.config.clone();
    world.reconfig("3 4 5");
    world.run(20);
    world.crash(2);
    world.propose("only the new members were asked");
    world.run(20);
    for id in [1, 3, 4, 5] {
        world.crash(id);
    }
    // Server 2 could not save the proposed configuration; the files of server 1 were rewritten by
    // hand.
    let durable = &mut world.servers.get_mut(&2).unwrap().durable;
    (durable.config, durable.next) = (stale, None);
    let durable = &mut world.servers.get_mut(&1).unwrap().durable;
    (durable.config, durable.next) = (None, None);
    world.start(1).start(2).run(10_000);
    assert_eq!(world.config(1), "1 2 3 -> 3 4 5", "the list of server 2, and the state");
    assert!(!world.story().contains("leads"), "{}", world.story());
    world.start(4).start(5).run(10_000);
    assert_eq!(world.payloads(1), world.payloads(5));
    assert_eq!(world.story(), "1 follows 5, 2 follows 5, 3 is down, 4 follows 5, 5 leads epoch 2");
}

#[test]
fn leader_with_an_old_list_does_not_wait_for_members_with_a_newer_one() {
    let mut world = three();
    world.join(4, "1 2 3 4").run(3000);
    let stale = world.servers[&2].durable.config.clone();
    world.reconfig("1 2 3 4").unwrap();
    world.run(20);
    let later = world.servers[&2].durable.config.clone();
    for id in 1..=4 {
        world.crash(id);
        world.servers.get_mut(&id).unwrap().durable.config = stale.clone();
    }
    world.stall([1, 2]);
    world.start(1).start(2).start(3).run(1000);
    assert_eq!(world.role(3), Role::Leading { established: false });
    for id in [1, 2] {
        let server = world.crash(id).servers.get_mut(&id).unwrap();
        (server.stalled, server.durable.config) = (false, later.clone());
    }
    world.start(1).start(2).run(500);
    assert_eq!(world.config(3), "1 2 3 4", "long before initLimit");
    world.run(5000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 3, 4 is down");
}

#[test]
fn random_faults_during_reconfigurations_lose_no_committed_transaction() {
    let mut changes = 0;
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::reconfigurable(3, 0);
        world.start_all();
        world.run(2000);
        world.join(4, "1 2 3 4").join(5, "1 2 3 5");
        let mut committed: BTreeMap<Zxid, Bytes> = BTreeMap::new();
        let mut count = 0;
        for _ in 0..2500 {
            match random.u16(..400) {
                0 => {
                    world.crash(random.i64(1..=5));
                }
                1..=3 => {
                    let id = random.i64(1..=5);
                    world.start_member(id);
                }
                4 => {
                    let (a, b) = (random.i64(1..=5), random.i64(1..=5));
                    if a != b {
                        world.cut(a, b);
                    }
                }
                5..=7 => {
                    world.heal();
                }
                8..=30 => {
                    count += 1;
                    world.propose(&format!("{count}"));
                }
                31..=38 => {
                    let mut text = Vec::new();
                    for id in 1..=5 {
                        match random.u8(..8) {
                            0..=4 => text.push(format!("{id}")),
                            5 => text.push(format!("{id}o")),
                            _ => {}
                        }
                    }
                    changes += u32::from(world.reconfig(&text.join(" ")).is_some());
                }
                39..=80 => world.pass(random.u64(1..60)),
                81..=86 => {
                    world.run(random.u64(1..1000));
                }
                _ => world.step(&mut random),
            }
            watch(&world, &mut committed, seed);
        }
        world.heal();
        for id in 1..=5 {
            world.start_member(id);
            if !world.alive(id) {
                // Its operator helps.
                let durable = &mut world.servers.get_mut(&id).unwrap().durable;
                (durable.config, durable.next) = (Some(members("1 2 3 4 5")), None);
                world.start(id);
            }
        }
        world.run(60_000);
        assert!(world.propose("last").is_some(), "seed {seed}: no leader: {}", world.story());
        world.run(3000);
        watch(&world, &mut committed, seed);
        let leader = world.leader().unwrap();
        for id in (1..=5).filter(|id| world.alive(*id)) {
            let applied = &world.servers[&id].applied;
            let last = applied.last().map(|(_, p)| &p[..]);
            assert_eq!(last, Some(&b"last"[..]), "seed {seed}: {id} of {}", world.story());
            assert_eq!(world.config(id), world.config(leader), "seed {seed}: {id}");
            let there: BTreeMap<_, _> = applied.iter().cloned().collect();
            for (zxid, body) in &committed {
                assert_eq!(there.get(zxid), Some(body), "seed {seed}: {zxid} is lost on {id}");
            }
        }
    }
    assert!(u64::from(changes) > SEEDS, "{changes} changes");
}

/// How many storms.
const SEEDS: u64 = 40;

/// What a server that serves has applied is committed, and stays so.
fn watch(world: &World, committed: &mut BTreeMap<Zxid, Bytes>, seed: u64) {
    for id in (1..=5).filter(|id| world.alive(*id)) {
        let serves = match world.role(id) {
            Role::Leading { established } => established,
            Role::Following { active, .. } => active,
            Role::Recovering | Role::Looking | Role::Standalone => false,
        };
        if serves {
            for (zxid, body) in world.servers[&id].applied.iter().rev().take(10) {
                let known = committed.entry(*zxid).or_insert_with(|| body.clone());
                assert_eq!(known, body, "seed {seed}: {zxid} differs on server {id}");
            }
        }
    }
}
