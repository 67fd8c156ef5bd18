//! Conversations between real ZooKeeper servers, with a node in the place of each in turn: it gets
//! the server's input and has to send the server's output.

use std::path::Path;

use zabkeeper_fuzz::conversation::replay;

/// A thread of 3.8.0 sent a state that another thread had already left, after the other one had
/// announced that. zabkeeper never sends in that order.
const RACE: (&str, &str) = ("sync-3.8.0", "Election #191 Some(3)->1: Notification 2 of 3");
/// When the members change, ZooKeeper restarts its election: it reconnects to all members and
/// counts rounds from 0. zabkeeper continues with its connections and rounds.
const RESTART: (&str, &str) = ("reconfig-3.9.5", "Election ");
/// A leader that has the vote of every server that is up announces it at once
/// (`Election::try_conclude_early`). ZooKeeper waits for better votes first, and later answers
/// servers that ask (observers, in the last two) with the established epoch.
const EARLY: [(&str, &str); 4] = [
    ("sync-3.9.5", "Election #100 Some(3)->1: Notification 0 of 1"),
    ("sync-3.8.0", "Election #84 Some(3)->1: Notification 0 of 1"),
    ("sync-3.9.5", "Election #144 Some(4)->2: Notification 1 of 2"),
    ("sync-3.9.5", "Election #256 Some(4)->3: Notification 0 of 1"),
];

fn is_said_again(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/conversations");
    let mut wrong = Vec::new();
    for report in replay(&folder, name) {
        if let Some(why) = &report.skipped {
            println!("{name}, {}: skipped: {why}", report.life);
            continue;
        }
        println!("{name}, {}: {} packets and votes are the same", report.life, report.same);
        assert!(report.same > 4, "{name}, {}: hardly anything was said", report.life);
        let is_race = |what: &String| {
            let mut known = [RACE, RESTART].into_iter().chain(EARLY);
            known.any(|(scenario, place)| scenario == name && what.starts_with(place))
        };
        let life = &report.life;
        wrong.extend(
            report.differences.iter().filter(|d| !is_race(d)).map(|d| format!("{life}: {d}")),
        );
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

#[test]
fn elections_of_three_servers() {
    is_said_again("election-3.9.5");
    is_said_again("election-3.8.0");
}

#[test]
fn synchronisation_of_followers_and_observers() {
    is_said_again("sync-3.9.5");
}

#[test]
fn synchronisation_of_followers_and_observers_of_3_8() {
    is_said_again("sync-3.8.0");
}

#[test]
fn truncation_of_what_a_deposed_leader_had() {
    is_said_again("trunc-3.9.5");
    is_said_again("trunc-3.8.0");
}

#[test]
fn reconfigurations() {
    is_said_again("reconfig-3.9.5");
}
