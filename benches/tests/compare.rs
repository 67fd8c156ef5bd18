//! The comparison's own machinery, for a few seconds: three real servers, a little of each load.

use std::path::Path;
use std::time::Duration;

use zabkeeper_benches::ensemble::{Ensemble, Kind, Program, Site};
use zabkeeper_benches::load::{Load, Op, Phase, probe, steady};

#[test]
fn three_servers_are_started_loaded_measured_and_removed() {
    let program = Program::find(Kind::Smol).expect("the server is built");
    let site = Site::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare")).expect("a site");
    let ensemble = Ensemble::start(&program, &site, "").expect("they serve");
    assert!(ensemble.started_in > Duration::ZERO);
    let modes: Vec<_> = (0..3).filter_map(|member| ensemble.mode(member)).collect();
    assert_eq!(modes.iter().filter(|mode| *mode == "leader").count(), 1, "{modes:?}");
    for op in [Op::Set, Op::Mixed, Op::Create, Op::Get] {
        let load = Load {
            servers: ensemble.servers(),
            connections: 7,
            outstanding: 3,
            op,
            bytes: 100,
            warm_up: Duration::from_millis(200),
            measured: Duration::from_millis(500),
        };
        let mut phases = Vec::new();
        let measured = steady(&load, &mut |phase| phases.push(phase)).expect("a load");
        assert_eq!(phases, [Phase::Preparing, Phase::Begins, Phase::Ended]);
        assert_eq!(measured.failed, 0, "{op:?}");
        assert!(measured.operations > 20, "{op:?}: {} operations", measured.operations);
        assert!((0.5..2.0).contains(&measured.seconds), "{} s", measured.seconds);
    }
    for usage in ensemble.usage() {
        assert!(usage.cpu_seconds > 0.0 && usage.rss_kib > 0, "{usage:?}");
        assert!(usage.peak_kib >= usage.rss_kib, "{usage:?}");
    }
    let servers = ensemble.servers();
    drop(ensemble);
    assert!(servers.into_iter().all(|server| probe(server).is_err()), "a server is left");
    let left = std::fs::read_dir(&site.dir).expect("a folder").count();
    assert_eq!(left, 0, "files are left in {}", site.dir.display());
}
