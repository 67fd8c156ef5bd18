//! The comparison's own machinery, for a few seconds: three real servers, a little of each load.

use std::path::Path;
use std::time::Duration;

use zabkeeper_benches::ensemble::{Ensemble, Kind, Program, Setup, Site, four_letters, tree_file};
use zabkeeper_benches::load::{self, Load, Nodes, Op, Phase, fan_out, outage, probe, turns};

#[test]
fn three_servers_are_started_loaded_measured_and_removed() {
    let program = Program::find(Kind::Smol).expect("the server is built");
    let site = site("load");
    let mut ensemble = Ensemble::start(&program, &site, &Setup::default()).expect("they serve");
    assert!(ensemble.started_in > Duration::ZERO);
    let modes: Vec<_> = (0..3).filter_map(|member| ensemble.mode(member)).collect();
    assert_eq!(modes.iter().filter(|mode| *mode == "leader").count(), 1, "{modes:?}");
    let empty = node_count(&ensemble);
    for op in [Op::Set, Op::Mixed, Op::Create, Op::Get, Op::Churn] {
        let load = load_of(&ensemble, op);
        let mut phases = Vec::new();
        let measured = load::run(&load, &mut |phase| phases.push(phase)).expect("a load");
        assert_eq!(phases, [Phase::Preparing, Phase::Begins, Phase::Ended]);
        assert_eq!(measured.failed, 0, "{op:?}");
        assert!(measured.operations > 20, "{op:?}: {} operations", measured.operations);
        assert!((0.5..2.0).contains(&measured.seconds), "{} s", measured.seconds);
    }
    for op in [Op::Set, Op::Get] {
        let measured = turns(&load_of(&ensemble, op), &mut |_| {}).expect("a load");
        assert!(measured.operations > 20 && measured.failed == 0, "{op:?}: {measured:?}");
    }
    let told = fan_out(&ensemble.servers(), 30, Duration::from_millis(200), &mut |_| {});
    let told = told.expect("all are told").operations;
    assert!(told > 0 && told.is_multiple_of(30), "{told} events");
    assert_eq!(node_count(&ensemble), empty + 1, "but for the parent of all, no znode is left");
    for usage in ensemble.usage() {
        assert!(usage.cpu_seconds > 0.0 && usage.rss_kib > 0, "{usage:?}");
        assert!(usage.peak_kib >= usage.rss_kib, "{usage:?}");
    }
    let leader = ensemble.leader().expect("a leader");
    let out = outage(&ensemble.servers(), || ensemble.kill(leader)).expect("service again");
    assert!(out > Duration::from_millis(1), "{out:?}");
    ensemble.restart(leader).expect("three again");
    let servers = ensemble.servers();
    drop(ensemble);
    assert!(servers.into_iter().all(|server| probe(server).is_err()), "a server is left");
    let left = std::fs::read_dir(&site.dir).expect("a folder").count();
    assert_eq!(left, 0, "files are left in {}", site.dir.display());
}

#[test]
fn a_server_loads_the_tree_that_was_made_for_it() {
    let program = Program::find(Kind::Smol).expect("the server is built");
    let site = site("tree");
    let tree = site.dir.join("tree");
    tree_file::write(&tree, 2500, 100).expect("a tree");
    let setup = Setup { snapshot: Some(tree), members: 1, ..Setup::default() };
    let server = Ensemble::start(&program, &site, &setup).expect("it serves");
    // With the parents, and the five that an empty tree is said to have.
    assert_eq!(node_count(&server), 2500 + 3 + 1 + 5);
    let mut load = load_of(&server, Op::Get);
    load.nodes = Nodes::Tree(2500);
    for op in [Op::Get, Op::Set, Op::Create] {
        let measured = load::run(&Load { op, ..load.clone() }, &mut |_| {}).expect("a load");
        assert!(measured.operations > 20 && measured.failed == 0, "{op:?}: {measured:?}");
    }
    // What was created is deleted, but for what each session had under way.
    let count = node_count(&server);
    assert!(count <= 2509 + load.connections, "{count} znodes");
}

/// Of the server that has applied the most.
fn node_count(ensemble: &Ensemble) -> usize {
    let counts = ensemble.servers().into_iter().map(|server| {
        let answer = four_letters(server, "srvr").expect("an answer");
        let count = answer.lines().find_map(|line| line.strip_prefix("Node count: "));
        count.and_then(|count| count.parse().ok()).expect("a count")
    });
    counts.min().expect("a server")
}

fn load_of(ensemble: &Ensemble, op: Op) -> Load {
    Load {
        servers: ensemble.servers(),
        connections: 7,
        outstanding: 3,
        op,
        bytes: 100,
        nodes: Nodes::Own,
        warm_up: Duration::from_millis(200),
        measured: Duration::from_millis(500),
    }
}

fn site(name: &str) -> Site {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("compare-{name}"));
    Site::new(&dir).expect("a site")
}
