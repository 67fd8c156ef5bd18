//! A configuration on its way into the files beside `zoo.cfg`, and crashes on the way.

use alloc::boxed::Box;

use fastrand::Rng;

use super::*;
use crate::action::ConfigSave;

const STATIC: &str = "# ours\ntickTime=9\nclientPort=2181\nserver.1=a:1:2\nserver.2=b:1:2\n";

fn boot() -> Server {
    let mut files = MemoryFiles::new();
    files.put("/conf/zoo.cfg", STATIC.as_bytes());
    Server::boot(DiskOptions { config_file: Some("/conf/zoo.cfg".into()), ..options() }, files)
}

fn text(files: &MemoryFiles, name: &str) -> Option<String> {
    files.get(name).map(|content| String::from_utf8(content.to_vec()).unwrap())
}

fn save(server: &mut Server, save: ConfigSave) -> Ticket {
    let ticket = server.ticket.take();
    server.disk.submit(DiskAction::SaveConfig { ticket, save: Box::new(save) });
    ticket
}

fn next(version: i64) -> ConfigSave {
    ConfigSave::Next { text: format!("server.1=x{version}:1:2\nversion={version:x}") }
}

fn current(version: i64) -> ConfigSave {
    let text = format!("server.1=x{version}:1:2");
    ConfigSave::Current { version, text, erases_client: version > 1, keeps_next: false }
}

#[test]
fn zoo_cfg_comes_to_point_to_what_counts() {
    let mut server = boot();
    save(&mut server, next(1));
    server.drive();
    assert_eq!(server.names("/conf"), ["zoo.cfg", "zoo.cfg.dynamic.next"]);
    save(&mut server, current(1));
    let ticket = save(&mut server, current(31));
    server.drive();
    assert_eq!(server.persisted(), ticket);
    let names = ["zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.1", "zoo.cfg.dynamic.1f"];
    assert_eq!(server.names("/conf"), names);
    let zoo_cfg = "# ours\ntickTime=9\ndynamicConfigFile=/conf/zoo.cfg.dynamic.1f\n";
    assert_eq!(text(&server.files, "/conf/zoo.cfg").unwrap(), zoo_cfg);
    assert_eq!(text(&server.files, "/conf/zoo.cfg.bak").unwrap(), STATIC, "as it was at first");
    assert_eq!(text(&server.files, "/conf/zoo.cfg.dynamic.1f").unwrap(), "server.1=x31:1:2");
}

#[test]
fn where_no_file_is_named_none_is_written() {
    let mut server = Server::new();
    let ticket = save(&mut server, next(1));
    server.drive();
    assert_eq!((server.persisted(), server.names("/conf").len()), (ticket, 0));
}

/// After any crash `zoo.cfg` is a whole file, what it points to is there, and a configuration
/// that was said to be seen is the next or counts.
#[test]
fn a_crash_leaves_one_configuration_or_the_other() {
    for seed in 0..400 {
        let mut rng = Rng::with_seed(seed);
        let mut server = boot();
        for version in 1..=3 {
            save(&mut server, next(version));
            save(&mut server, current(version));
        }
        for _ in 0..rng.usize(..70) {
            let Some(op) = server.disk.next_op(&mut server.events) else { break };
            let completion = server.files.execute(&op);
            server.disk.complete(completion, &mut server.events);
        }
        let told = server.persisted().0 as i64;
        server.files.crash(&mut rng, seed % 2 == 0);
        let zoo_cfg = text(&server.files, "/conf/zoo.cfg").unwrap();
        let pointer = zoo_cfg.split_once("dynamicConfigFile=").map(|(_, name)| name.trim());
        let counts = match pointer {
            None => {
                assert_eq!(zoo_cfg, STATIC, "seed {seed}");
                0
            }
            Some(name) => {
                let members = text(&server.files, name).unwrap();
                let version = name.rsplit_once('.').unwrap().1.parse::<i64>().unwrap();
                assert_eq!(members, format!("server.1=x{version}:1:2"), "seed {seed}");
                version
            }
        };
        // Tickets alternate: seen, counts.
        assert!(counts >= told / 2, "seed {seed}: {counts} counts after ticket {told}");
        if told % 2 == 1 && counts == told / 2 {
            let next = text(&server.files, "/conf/zoo.cfg.dynamic.next").unwrap();
            assert!(next.ends_with(&format!("version={}", counts + 1)), "seed {seed}: {next}");
        }
    }
}
