//! The table of transitions as a table, and the questions of discovery.
//!
//! Configurations are written by the counter of their version in epoch 1, a hand-written list as
//! `0`. The state `1 -> 2 ?3 log 2` is: 1 is committed, 2 proposed, 3 proposed and not logged, and
//! 2 is the last in the log.

use alloc::format;
use alloc::string::{String, ToString};

use ConfigEvent::{
    Announced, Committed, HistoryAgreed, Logged, ReadFromFile, ReadFromState, SnapshotStarted,
};

use super::*;

fn config_of(version: i64, ids: &[i64]) -> Arc<EnsembleConfig> {
    let lines: Vec<_> = ids.iter().map(|id| format!("server.{id}=h{id}:1:2")).collect();
    let config = EnsembleConfig::parse("x", &lines.join("\n")).unwrap();
    Arc::new(EnsembleConfig { version, ..config })
}

/// The zxid of the proposal with this counter; the version of a hand-written list for 0.
fn version(counter: i64) -> i64 {
    if counter == 0 { 0 } else { 0x1_0000_0000 + counter }
}

fn config(counter: i64) -> Arc<EnsembleConfig> {
    config_of(version(counter), &[1, 2, 3])
}

fn state(me: i64, picture: &str) -> ConfigHistory {
    let (mut committed, mut proposed, mut not_logged, mut last_logged) = (None, None, None, None);
    let mut words = picture.split(' ');
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).map(config);
        match word {
            "->" => proposed = number(),
            "log" => last_logged = number(),
            _ => match word.strip_prefix('?') {
                Some(number) => not_logged = number.parse().ok().map(config),
                None => committed = word.parse().ok().map(config),
            },
        }
    }
    let members =
        Membership::new(committed.unwrap(), proposed).with_proposed_not_logged(not_logged);
    let members = Arc::new(members);
    ConfigHistory { me: ServerId(me), members, last_logged, adjacent_versions: None }
}

fn picture(state: &ConfigHistory) -> String {
    let counter = |config: &Arc<EnsembleConfig>| Zxid(config.version).counter();
    let members = &state.members;
    let mut text = counter(members.committed()).to_string();
    let optional = [
        ("-> ", members.proposed()),
        ("?", members.proposed_not_logged()),
        ("log ", state.last_logged.as_ref()),
    ];
    for (sign, config) in optional {
        text += &config.map(|config| format!(" {sign}{}", counter(config))).unwrap_or_default();
    }
    text
}

fn words(effects: &[ConfigEffect]) -> String {
    let words = effects.iter().map(|effect| match effect {
        ConfigEffect::SaveProposed(config) => format!("save {}", Zxid(config.version).counter()),
        ConfigEffect::Activate { config, keeps_next } => {
            let keeps = if *keeps_next { " keep next" } else { "" };
            format!("activate {}{keeps}", Zxid(config.version).counter())
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

fn logged(counter: i64) -> ConfigEvent {
    Logged { config: config(counter), in_broadcast: true }
}

/// A server in this epoch finds that its log ends at this counter of epoch 1.
fn log_ends(current_epoch: i64, counter: u32) -> ConfigEvent {
    let current_epoch = Epoch(current_epoch);
    ConfigEvent::LogRead { current_epoch, last_logged: Zxid::new(Epoch(1), counter) }
}

#[test]
fn table_of_transitions() {
    for (case, before, event, after, effects) in [
        // Start.
        ("file with a proposed one", "1", ReadFromFile(config(2)), "1 -> 2", ""),
        ("file that is out of date", "2", ReadFromFile(config(1)), "2", ""),
        ("state with a newer one", "1", ReadFromState(config(2)), "1 -> 2 log 2", ""),
        ("state with the committed one", "1", ReadFromState(config(1)), "1 log 1", ""),
        ("hand-written list", "0", ReadFromState(config(2)), "0 log 2", ""),
        ("entry is in the log", "1 -> 2 log 2", log_ends(1, 2), "1 -> 2 log 2", ""),
        ("entry is not in the log", "1 -> 2", log_ends(1, 1), "1 ?2", ""),
        ("entry was cut off", "1 -> 2 log 2", log_ends(1, 1), "1 ?2", ""),
        ("last of two is not in the log", "1 -> 3 log 2", log_ends(1, 2), "1 -> 2 ?3 log 2", ""),
        ("the same, hand-written list", "0 -> 3 log 2", log_ends(1, 2), "0 ?3 log 2", ""),
        ("NEWLEADER of a later epoch brought it", "1 -> 2", log_ends(2, 1), "1 -> 2", ""),
        // Proposals.
        ("proposed", "1", logged(2), "1 -> 2 log 2", "save 2"),
        ("sent again", "1 -> 2 log 2", logged(2), "1 -> 2 log 2", ""),
        ("overtaken", "1 -> 2 log 2", logged(3), "2 -> 3 log 3", "activate 2, save 3"),
        ("not overtaken: not in the log", "1 -> 2", logged(3), "1 -> 3 log 3", "save 3"),
        ("logged after all", "1 ?2", logged(2), "1 -> 2 log 2", "save 2"),
        ("committed before", "2", logged(1), "2 log 1", ""),
        // NEWLEADER.
        ("announced for the first time", "1", Announced(config(2)), "1 -> 2", "save 2"),
        ("announced again", "1 -> 2 log 2", Announced(config(2)), "1 -> 2 log 2", ""),
        ("abandoned", "1 -> 2", Announced(config(1)), "1", "save 1"),
        ("abandoned before it was logged", "1 ?2", Announced(config(1)), "1", "save 1"),
        ("announced too late", "2 -> 3", Announced(config(1)), "2 -> 3", ""),
        // A leader's history.
        ("not in the history", "1 ?2", HistoryAgreed, "1", "save 1"),
        ("only the logged one stays", "1 -> 2 ?3 log 2", HistoryAgreed, "1 -> 2 log 2", "save 2"),
        ("nothing to forget", "1 -> 2 log 2", HistoryAgreed, "1 -> 2 log 2", ""),
        ("snapshot", "1 -> 2 ?3 log 2", SnapshotStarted, "1 -> 2", "save 2"),
        // Commits.
        ("committed", "1 -> 2 log 2", Committed(config(2)), "2 log 2", "activate 2"),
        ("committed and unknown", "1", Committed(config(2)), "2", "activate 2"),
        ("committed twice", "2 log 2", Committed(config(2)), "2 log 2", ""),
        (
            "committed under a newer proposed one",
            "1 -> 3 log 3",
            Committed(config(2)),
            "2 -> 3 log 3",
            "activate 2 keep next",
        ),
        (
            "a versioned one replaces the hand-written list",
            "0 log 3",
            Committed(config(2)),
            "2 -> 3 log 3",
            "activate 2 keep next",
        ),
        (
            "committed under one that is not logged",
            "1 ?3",
            Committed(config(2)),
            "2 ?3",
            "activate 2 keep next",
        ),
    ] {
        let mut state = state(1, before);
        assert_eq!(picture(&state), before, "{case}: the table itself");
        let made = state.apply(event);
        assert_eq!((picture(&state).as_str(), words(&made).as_str()), (after, effects), "{case}");
    }
}

#[test]
fn server_outside_the_committed_configuration_keeps_the_file_of_the_proposed_one() {
    let mut outsider = state(9, "1 ?2");
    assert_eq!(outsider.apply(HistoryAgreed), []);
    assert_eq!(picture(&outsider), "1 ?2");
}

#[test]
fn worked_example_of_the_module_is_true() {
    let follow = |state: &mut ConfigHistory, steps: &[(ConfigEvent, &str)]| {
        for (event, after) in steps {
            let _ = state.apply(event.clone());
            assert_eq!(picture(state), *after, "{event:?}");
        }
    };
    let (mut leader, mut crashed) = (state(3, "1"), state(2, "1"));
    follow(&mut leader, &[(logged(7), "1 -> 7 log 7"), (Committed(config(7)), "7 log 7")]);
    let steps = [
        (ReadFromFile(config(7)), "1 -> 7"),
        (log_ends(1, 6), "1 ?7"),
        (HistoryAgreed, "1"),
        (logged(7), "1 -> 7 log 7"),
        (Committed(config(7)), "7 log 7"),
    ];
    follow(&mut crashed, &steps);
}

/// Voters 1, 2 and 3 are committed, 3, 4 and 5 proposed; `adjacent_versions` as given.
fn between_two(adjacent_versions: Option<(i64, i64)>) -> ConfigHistory {
    let committed = config_of(version(2), &[1, 2, 3]);
    let proposed = config_of(version(5), &[3, 4, 5]);
    let members = Arc::new(Membership::new(committed, Some(proposed)));
    ConfigHistory { me: ServerId(2), members, last_logged: None, adjacent_versions }
}

#[test]
fn proposed_cannot_have_committed_if_servers_without_it_block_and_none_came_between() {
    let servers = |ids: &[i64]| ids.iter().map(|id| ServerId(*id)).collect::<AckSet>();
    let adjacent = Some((version(2), version(5)));
    for (adjacent_versions, lacking, expected) in [
        (None, &[1, 3][..], false),
        (Some((version(1), version(5))), &[1, 3], false),
        (Some((version(2), version(6))), &[1, 3], false),
        (adjacent, &[1, 3], true),
        (adjacent, &[1], false),
        (adjacent, &[1, 4, 5], false),
    ] {
        let state = between_two(adjacent_versions);
        let is_proven = state.proposed_cannot_have_committed(&servers(lacking));
        assert_eq!(is_proven, expected, "{adjacent_versions:?} {lacking:?}");
    }
    let nothing_proposed = state(1, "2 log 2");
    assert!(!nothing_proposed.proposed_cannot_have_committed(&servers(&[1, 2, 3])));
}

#[test]
fn versions_are_adjacent_if_the_second_was_logged_in_broadcast() {
    for in_broadcast in [true, false] {
        let mut state = state(1, "1 -> 2 log 2");
        let _ = state.apply(Logged { config: config(3), in_broadcast });
        let expected = in_broadcast.then_some((version(2), version(3)));
        assert_eq!(state.adjacent_versions, expected);
    }
}

#[test]
fn server_lacks_the_proposed_configuration_if_its_log_ends_before_it_in_its_epoch() {
    let state = between_two(None);
    let proposed = Zxid(version(5));
    for (epoch, last_logged, expected) in [
        (1, Zxid(proposed.0 - 1), true),
        (0, Zxid::ZERO, true),
        (1, proposed, false),
        (1, Zxid(proposed.0 + 1), false),
        (2, Zxid(proposed.0 - 1), false),
        (1, Zxid::UNTRUSTED, false),
    ] {
        let lacks = state.lacks_proposed(Epoch(epoch), last_logged);
        assert_eq!(lacks, expected, "{epoch} {last_logged}");
    }
}
