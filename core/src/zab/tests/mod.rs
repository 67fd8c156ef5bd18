//! Protocol stories: who does what, and what comes of it.

mod histories;
mod learner;
mod limits;
mod reconfig;
mod strangers;
mod syncs;
mod world;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::event::NetEvent;
use crate::types::{Epoch, Zxid};
use crate::wire::quorum::ForwardedRequest;
use crate::zab::{Delivery, Ensemble, EnsembleOptions, RecoveredLog, Role};
use world::World;

#[test]
fn five_servers_start_one_by_one_and_the_later_two_join() {
    let mut world = World::new(5, 0);
    world.start(1).run(500);
    world.start(2).run(500);
    assert!(world.story().starts_with("1 looks, 2 looks"));
    world.start(3).run(3000);
    assert!(
        world.story().starts_with("1 follows 3, 2 follows 3, 3 leads epoch 1"),
        "{}",
        world.story()
    );
    world.start(4).start(5).run(3000);
    assert_eq!(
        world.story(),
        "1 follows 3, 2 follows 3, 3 leads epoch 1, 4 follows 3, 5 follows 3"
    );
}

#[test]
fn proposals_are_committed_everywhere_in_order() {
    let mut world = World::new(3, 1);
    world.start_all().run(3000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 1, 4 observes 3");
    for payload in ["a", "b", "c"] {
        world.propose(payload);
    }
    world.run(10);
    for id in 1..=4 {
        assert_eq!(world.payloads(id), ["a", "b", "c"], "server {id}");
        assert_eq!(world.servers[&id].applied[0].0, Zxid::new(Epoch(1), 1));
    }
}

#[test]
fn unreachable_leader_is_given_up_before_init_limit() {
    let mut world = World::new(3, 0);
    world.start_all();
    world.stall([3]);
    world.run(500);
    let joining = Role::Following { active: false, observing: false };
    assert_eq!((world.role(1), world.role(2)), (joining, joining), "server 3 cannot begin");
    world.crash(3).run(1000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 1, 3 is down");
}

#[test]
fn nothing_commits_while_only_one_disk_is_durable() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.stall([1, 2]);
    world.propose("a");
    world.run(100);
    assert_eq!(world.payloads(3), [""; 0], "the leader's own disk is no quorum");
    world.unstall([1]);
    world.run(10);
    assert_eq!(world.payloads(3), ["a"]);
    assert_eq!(world.payloads(2), ["a"], "committed by the others; its own disk may lag");
}

#[test]
fn a_leader_that_loses_its_quorum_steps_down_and_the_rest_elects_another() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.propose("a");
    world.run(10);
    world.cut(3, 1).cut(3, 2).run(5000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 2, 3 looks");
    world.heal().run(5000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 2, 3 follows 2");
}

#[test]
fn a_deposed_leaders_unacknowledged_tail_is_truncated() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.propose("a");
    world.run(10);
    // The leader logs two proposals that no other server gets.
    world.cut(3, 1).cut(3, 2);
    let (x, y) = (world.propose("x"), world.propose("y"));
    assert!(x.is_some() && y.is_some());
    world.sync(3);
    world.run(1);
    assert_eq!(world.servers[&3].durable.log.len(), 3);
    world.crash(3).run(5000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 2, 3 is down");
    world.heal().start(3).run(3000);
    assert_eq!(world.payloads(3), ["a"], "x and y never happened");
    assert_eq!(world.servers[&3].durable.log.len(), 1);
    world.propose("b");
    world.run(10);
    assert_eq!(world.payloads(3), ["a", "b"]);
}

#[test]
fn ack_is_void_after_its_server_may_have_truncated_the_entry() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.propose("a");
    world.run(10);
    // Only server 1 logs the next one.
    world.stall([2]);
    world.stall([3]);
    world.propose("b");
    world.run(10);
    assert_eq!(world.servers[&1].durable.log.len(), 2);
    // It loses its leader and comes back, and has to cut off its uncommitted entries.
    world.stall([1]);
    world.cut(1, 3).heal();
    world.run(1000).servers.get_mut(&3).unwrap().stalled = false;
    world.run(100);
    assert_eq!(world.story(), "1 looks, 2 follows 3, 3 leads epoch 1");
    assert_eq!(world.payloads(3), ["a"], "b is durable on its leader only");
    world.unstall([1]);
    world.run(1000);
    assert_eq!(world.payloads(1), ["a", "b"]);
    assert_eq!(world.payloads(3), ["a", "b"]);
}

#[test]
fn a_deposed_leader_whose_successor_has_written_takes_a_snapshot() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.propose("a");
    world.run(10);
    world.cut(3, 1).cut(3, 2);
    world.propose("x");
    world.sync(3);
    world.run(1);
    world.crash(3).run(5000);
    world.propose("b");
    world.run(10);
    world.heal().start(3).run(3000);
    assert_eq!(world.payloads(3), ["a", "b"]);
    world.propose("c");
    world.run(10);
    for id in 1..=3 {
        assert_eq!(world.payloads(id), ["a", "b", "c"], "server {id}");
    }
}

#[test]
fn a_deposed_leader_far_behind_takes_a_snapshot_too() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.propose("a");
    world.run(10);
    world.cut(3, 1).cut(3, 2);
    world.propose("x");
    world.sync(3);
    world.run(1);
    world.crash(3).run(5000);
    // More than the leader keeps in memory: the log on disk is looked at first.
    for n in 0..700 {
        world.propose(&format!("{n}"));
    }
    world.run(10);
    world.heal().start(3).run(3000);
    assert_eq!(world.story(), "1 follows 2, 2 leads epoch 2, 3 follows 2");
    assert_eq!(world.payloads(3), world.payloads(2));
}

#[test]
fn late_server_is_sent_the_entries_that_it_lacks() {
    let mut world = World::new(3, 0);
    world.start(1).start(2).run(3000);
    for n in 0..20 {
        world.propose(&format!("{n}"));
    }
    world.run(10);
    world.start(3).run(3000);
    assert_eq!(world.payloads(3), world.payloads(2), "by SNAP: it has nothing");
    world.crash(3);
    for n in 20..30 {
        world.propose(&format!("{n}"));
    }
    world.run(10);
    world.start(3).run(3000);
    assert_eq!(world.payloads(3), world.payloads(2), "by DIFF from memory");
    world.crash(3);
    for n in 30..1000 {
        world.propose(&format!("{n}"));
    }
    world.run(10);
    world.start(3).run(3000);
    assert_eq!(world.payloads(3).len(), 1000, "by DIFF from the log on disk");
    assert_eq!(world.payloads(3), world.payloads(2));
}

#[test]
fn synchronisation_never_exceeds_the_send_queue() {
    // What is in memory; and so much that most of it is in the log alone.
    for (n, most_bytes) in [(4, 25 << 20), (12, 25 << 20)] {
        let mut world = World::new(3, 0);
        world.start_all().run(3000);
        world.propose("small");
        world.run(10);
        world.crash(1);
        let large = "x".repeat(6 << 20);
        for _ in 0..n {
            world.propose(&large);
            world.run(10);
        }
        (world.unasked, world.most_unasked) = Default::default();
        world.start(1).run(3000);
        assert_eq!(world.payloads(1), world.payloads(2));
        assert_eq!(world.payloads(1).len(), 1 + n);
        let most = world.most_unasked;
        assert!(most <= most_bytes, "{n}: {most} bytes");
    }
}

#[test]
fn a_write_at_a_follower_travels_to_the_leader_and_back_once() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.with(1, |ensemble, out| ensemble.request(Bytes::from_static(b"w"), None, out));
    world.run(10);
    assert_eq!(world.servers[&3].requests, ["w"]);
    world.propose("w");
    world.run(10);
    assert_eq!(world.payloads(1), ["w"]);
}

#[test]
fn entries_on_a_quorum_of_disks_survive_a_crash_of_all_servers() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    world.propose("a");
    world.run(10);
    // Durable on the leader and one follower, committed nowhere.
    world.stall([1]);
    world.propose("b");
    world.run(10);
    assert_eq!(world.payloads(3), ["a", "b"]);
    for id in 1..=3 {
        world.crash(id);
    }
    world.unstall([1]);
    world.start_all().run(3000);
    for id in 1..=3 {
        assert_eq!(world.payloads(id), ["a", "b"], "server {id}");
    }
}

#[test]
fn the_zxid_counter_runs_out_and_a_new_epoch_begins() {
    let mut standalone = Ensemble::standalone(EnsembleOptions::default());
    let mut out = Vec::new();
    let last_zxid = Zxid::new(Epoch(1), 5);
    standalone.start(
        Default::default(),
        RecoveredLog { last_zxid, ..RecoveredLog::default() },
        &mut out,
    );
    assert_eq!(standalone.next_zxid(), Some(Zxid::new(Epoch(1), 6)), "standalone goes on in place");

    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    let now = world.now;
    world.with(3, |ensemble, out| ensemble.abdicate(now, "the test says so", out));
    world.run(5000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 2");
}

#[test]
fn claim_of_the_last_possible_epoch_does_not_stop_the_ensemble() {
    for epoch in [i64::from(i32::MAX), i64::from(i32::MAX) - 1, -1] {
        let mut world = World::new(3, 0);
        world.servers.get_mut(&2).unwrap().durable.accepted = Epoch(epoch);
        world.start_all().run(5000);
        assert!(world.story().ends_with("3 leads epoch 1"), "{epoch}: {}", world.story());
        world.propose("a");
        world.run(100);
        assert_eq!(world.payloads(1), ["a"], "after {epoch}");
    }
}

#[test]
fn member_with_a_later_accepted_epoch_joins_after_a_new_epoch() {
    let mut world = World::new(3, 0);
    world.start(1).start(3).run(3000);
    world.propose("a");
    world.run(10);
    world.servers.get_mut(&2).unwrap().durable.accepted = Epoch(5);
    world.start(2).run(3000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 6");
    world.propose("b");
    world.run(10);
    assert_eq!(world.payloads(2), ["a", "b"]);
}

#[test]
fn garbage_on_the_quorum_port_closes_its_connection_only() {
    let mut world = World::new(3, 0);
    world.start_all().run(3000);
    for bad in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 64], &[0; 64]] {
        let conn = crate::types::ConnId::accepted(10_000);
        let mut out = Vec::new();
        let now = world.now;
        let leader = world.servers.get_mut(&3).unwrap().ensemble.as_mut().unwrap();
        leader.step(
            now,
            NetEvent::Opened { conn, port: crate::event::Port::Quorum, peer: world::STRANGER },
            &mut out,
        );
        for piece in bad.chunks(7) {
            let bytes = Bytes::copy_from_slice(piece);
            leader.step(now, NetEvent::Received { conn, bytes }, &mut out);
        }
        assert!(!leader.owns(conn), "{bad:?}");
        while leader.next_delivery().is_some_and(|d| matches!(d, Delivery::LearnerGone { .. })) {}
    }
    assert_eq!(world.role(3), Role::Leading { established: true });
}

#[test]
fn random_faults_lose_no_committed_transaction() {
    for seed in 0..150 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new(3, 0);
        world.start_all();
        // The transactions that any server has delivered, by zxid.
        let mut committed: BTreeMap<Zxid, Bytes> = BTreeMap::new();
        let mut count = 0;
        for _ in 0..1500 {
            match random.u16(..400) {
                0 => {
                    let id = random.i64(1..=3);
                    world.crash(id);
                }
                1..=2 => {
                    let id = random.i64(1..=3);
                    if !world.alive(id) {
                        world.start(id);
                    }
                }
                3 => {
                    let (a, b) = (random.i64(1..=3), random.i64(1..=3));
                    if a != b {
                        world.cut(a, b);
                    }
                }
                4..=6 => {
                    world.heal();
                }
                7..=40 => {
                    count += 1;
                    world.propose(&format!("{count}"));
                }
                41..=80 => {
                    let ms = random.u64(1..60);
                    world.pass(ms);
                }
                81..=84 => {
                    let ms = random.u64(1..1000);
                    world.run(ms);
                }
                _ => world.step(&mut random),
            }
            for id in 1..=3 {
                if !world.alive(id) {
                    continue;
                }
                let role = world.role(id);
                let serving = matches!(
                    role,
                    Role::Leading { established: true } | Role::Following { active: true, .. }
                );
                if serving {
                    for (zxid, body) in world.servers[&id].applied.iter().rev().take(10) {
                        let known = committed.entry(*zxid).or_insert_with(|| body.clone());
                        assert_eq!(known, body, "seed {seed}: {zxid} differs on server {id}");
                    }
                }
            }
        }
        world.heal();
        for id in 1..=3 {
            if !world.alive(id) {
                world.start(id);
            }
        }
        world.run(30_000);
        assert!(world.leader().is_some(), "seed {seed}: {}", world.story());
        assert!(world.propose("last").is_some(), "seed {seed}");
        world.run(1000);
        for id in 1..=3 {
            let applied = &world.servers[&id].applied;
            assert_eq!(
                applied.last().map(|(_, p)| &p[..]),
                Some(&b"last"[..]),
                "seed {seed}: {}",
                world.story()
            );
            assert_eq!(*applied, world.servers[&1].applied, "seed {seed}: server {id}");
            let there: BTreeMap<_, _> = applied.iter().cloned().collect();
            for (zxid, body) in &committed {
                assert_eq!(
                    there.get(zxid),
                    Some(body),
                    "seed {seed}: committed {zxid} is lost on {id}"
                );
            }
        }
    }
}

#[test]
fn follower_serves_observers() {
    let mut world = World::new(3, 2);
    world.observer_master_port = Some(2191);
    world.start_all().run(3000);
    let learners = |world: &World, id| {
        let learners = world.servers[&id].ensemble.as_ref().unwrap().active_learners();
        learners.iter().map(|(server, _)| server.0).collect::<Vec<_>>()
    };
    assert_eq!(world.leader(), Some(3));
    assert_eq!(learners(&world, 3), [1, 2], "no observer is the leader's");
    let master = if learners(&world, 1).contains(&4) { 1 } else { 2 };
    let other = 3 - master;
    assert_eq!(learners(&world, master).len() + learners(&world, other).len(), 2);
    world.propose("a");
    world.run(10);
    assert_eq!([4, 5].map(|id| world.payloads(id)), [["a"], ["a"]]);

    // What observers ask is the leader's to answer; each of them gets its own answer.
    let sync = ForwardedRequest {
        session: crate::types::SessionId(7),
        cxid: 1,
        op: crate::wire::OpCode::Sync as i32,
        body: Bytes::new(),
    };
    for id in [4, master, 4] {
        world.with(id, |ensemble, out| ensemble.request(sync.to_bytes(), None, out));
    }
    world.with(4, |ensemble, out| ensemble.request(Bytes::from_static(b"write"), None, out));
    world.run(200);
    let synced = |id: i64| world.servers[&id].synced;
    assert_eq!([master, other, 4, 5].map(synced), [1, 0, 2, 0]);
    assert_eq!(world.servers[&3].requests, ["write"]);

    // Its master goes: the observer finds another one, and what it has missed.
    world.crash(master);
    world.propose("b");
    world.run(3000);
    assert_eq!(learners(&world, other).len(), 2);
    assert_eq!(world.payloads(4), ["a", "b"]);
    // A late one that has lost everything gets a snapshot.
    world.crash(5).servers.get_mut(&5).unwrap().durable = Default::default();
    world.start(5).run(3000);
    world.propose("c");
    world.run(10);
    assert_eq!(world.payloads(5), ["a", "b", "c"]);
}
