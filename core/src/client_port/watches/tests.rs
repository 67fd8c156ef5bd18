//! Watches against a plain model of them, and what they cost.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use proptest::prelude::*;

use super::*;

fn conn(n: u64) -> ConnId {
    ConnId::accepted(n)
}

fn fire(watches: &mut Watches, kind: EventType, path: &str) -> Vec<ConnId> {
    let mut told = Vec::new();
    watches.fire(kind, path, &mut told);
    told
}

#[test]
fn a_watch_fires_once_and_a_delete_tells_each_connection_once() {
    let (a, b) = (conn(1), conn(2));
    let mut watches = Watches::new(HashKey::new(7));
    watches.watch_data("/p", a).unwrap();
    watches.watch_data("/p", a).unwrap();
    watches.watch_children("/p", a).unwrap();
    watches.watch_children("/p", b).unwrap();
    assert_eq!(watches.len(), 3);
    assert_eq!(fire(&mut watches, EventType::NodeDeleted, "/p")[..], [a, b]);
    assert!(fire(&mut watches, EventType::NodeDeleted, "/p").is_empty());
    watches.watch_data("/p", a).unwrap();
    watches.watch_children("/p", b).unwrap();
    watches.forget(a);
    assert!(fire(&mut watches, EventType::NodeDataChanged, "/p").is_empty());
    assert_eq!(fire(&mut watches, EventType::NodeChildrenChanged, "/p")[..], [b]);
    assert_eq!(watches.len(), 0);
}

#[test]
fn recursive_watches_are_found_at_all_paths_above() {
    let watched = ["", "/", "/a", "/a/b", "/a/b/c", "/b", "a", "a/b", "//", "//a"];
    let mut watches = Watches::new(HashKey::new(7));
    for (n, path) in watched.iter().enumerate() {
        watches.watch(path, conn(n as u64), AddWatchMode::PersistentRecursive).unwrap();
    }
    let above = |path: &str| {
        let mut found = Vec::new();
        watches.recursive.above(&watches.paths, path, |id| found.push(watches.paths.text(id)));
        found.dedup();
        found.into_iter().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(above("/a/b/c"), ["/", "/a", "/a/b"]);
    assert_eq!(above("/a/x/c"), ["/", "/a"]);
    assert_eq!(above("/a"), ["/"]);
    assert_eq!(above("a/b/c"), ["a", "a/b"]);
    assert_eq!(above("//a/b"), ["/", "//a"]);
    assert_eq!(above("///a"), ["/", "//"]);
    for path in ["/", "", "a"] {
        assert!(above(path).is_empty(), "{path:?}");
    }
    for n in 0..watched.len() {
        watches.forget(conn(n as u64));
    }
    watches.watch_data("/a/b", conn(1)).unwrap();
    assert_eq!(fire(&mut watches, EventType::NodeDataChanged, "/a/b/c"), []);
}

#[test]
fn watches_of_a_connection_are_bounded() {
    let mut watches = Watches::new(HashKey::new(7));
    let long = "x".repeat(1 << 20);
    let path = |n: usize| format!("/{n:06}/{long}");
    let refused = (0..).find(|n| watches.watch_data(&path(*n), conn(1)).is_err()).unwrap();
    assert_eq!(refused, 63);
    assert_eq!(watches.watch_data("/short", conn(1)), Ok(()));
    // What it watches already it may watch in another way as long as there is room for it.
    assert!(watches.watch_children(&path(0), conn(1)).is_err());
    assert_eq!(watches.watch_data(&path(0), conn(1)), Ok(()));
    // Another one has as much again, and what fires makes room.
    assert_eq!(watches.watch_data(&path(refused), conn(2)), Ok(()));
    assert_eq!(fire(&mut watches, EventType::NodeDataChanged, &path(5)), [conn(1)]);
    assert_eq!(watches.watch_data(&path(refused), conn(1)), Ok(()));
    assert!(watches.remove(&path(7), conn(1), WatcherType::Any));
    assert_eq!(watches.watch_data(&path(100), conn(1)), Ok(()));
    assert!(watches.watch_data(&path(101), conn(1)).is_err());
    watches.forget(conn(1));
    // All together have a bound, too, where each path counts once.
    let all = |n: usize| conn(10 + n as u64 / 50);
    let refused = (0..).find(|n| watches.watch_data(&path(1000 + n), all(*n)).is_err()).unwrap();
    assert!((250..256).contains(&refused), "{refused}");
    assert_eq!(watches.watch_data(&path(1000), conn(99)), Ok(()));
}

/// Two `WatchManager`s, written down as they are.
#[derive(Default)]
struct Model([BTreeMap<(String, ConnId), u32>; 2]);

impl Model {
    fn remove(&mut self, of: usize, path: &str, conn: ConnId, modes: u32) -> bool {
        let key = (String::from(path), conn);
        let Some(had) = self.0[of].get_mut(&key) else { return false };
        let before = *had;
        *had &= !modes;
        let after = *had;
        if after == 0 {
            self.0[of].remove(&key);
        }
        before != after
    }

    fn fire(&mut self, of: usize, path: &str) -> BTreeSet<ConnId> {
        let mut told = BTreeSet::new();
        let below = |above: &str| {
            path.starts_with('/') && above == "/" || path.starts_with(&format!("{above}/"))
        };
        for ((at, conn), modes) in &self.0[of] {
            if at == path || (modes & 4 != 0 && below(at)) {
                told.insert(*conn);
            }
        }
        for conn in &told {
            self.remove(of, path, *conn, 1);
        }
        told
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, usize, u64),
    Remove(i32, usize, u64),
    Fire(i32, usize),
    Forget(u64),
}

const PATHS: [&str; 8] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/b/c", "odd"];

fn step() -> impl Strategy<Value = Step> {
    let (path, who) = (0..PATHS.len(), 1..5u64);
    prop_oneof![
        4 => (0..4u8, path.clone(), who.clone()).prop_map(|(k, p, c)| Step::Add(k, p, c)),
        1 => (1..6i32, path.clone(), who.clone()).prop_map(|(k, p, c)| Step::Remove(k, p, c)),
        4 => (1..5i32, path).prop_map(|(k, p)| Step::Fire(k, p)),
        1 => who.prop_map(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn watches_are_what_two_plain_tables_would_be(steps in prop::collection::vec(step(), 1..300)) {
        let mut watches = Watches::new(HashKey::new(7));
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Add(kind, path, who) => {
                    let (path, conn) = (PATHS[path], conn(who));
                    let (persistent, recursive) =
                        (AddWatchMode::Persistent, AddWatchMode::PersistentRecursive);
                    let (added, parts): (_, &[(usize, u32)]) = match kind {
                        0 => (watches.watch_data(path, conn), &[(0, 1)]),
                        1 => (watches.watch_children(path, conn), &[(1, 1)]),
                        2 => (watches.watch(path, conn, persistent), &[(0, 2), (1, 2)]),
                        _ => (watches.watch(path, conn, recursive), &[(0, 4)]),
                    };
                    added.unwrap();
                    for (of, modes) in parts {
                        *model.0[*of].entry((path.into(), conn)).or_default() |= modes;
                    }
                }
                Step::Remove(kind, path, who) => {
                    let (path, conn, kind) =
                        (PATHS[path], conn(who), WatcherType::from_i32(kind).unwrap());
                    let parts: &[(usize, u32)] = match kind {
                        WatcherType::Children => &[(1, 1)],
                        WatcherType::Data => &[(0, 1)],
                        WatcherType::Any => &[(0, 7), (1, 7)],
                        WatcherType::Persistent => &[(0, 2), (1, 2)],
                        WatcherType::PersistentRecursive => &[(0, 4)],
                    };
                    let there = watches.contains(path, conn, kind);
                    let mut removed = false;
                    for (of, modes) in parts {
                        removed |= model.remove(*of, path, conn, *modes);
                    }
                    prop_assert_eq!(there, removed);
                    prop_assert_eq!(watches.remove(path, conn, kind), removed);
                }
                Step::Fire(kind, path) => {
                    let (kind, path) = (EventType::from_i32(kind).unwrap(), PATHS[path]);
                    let expected = match kind {
                        EventType::NodeCreated | EventType::NodeDataChanged => model.fire(0, path),
                        EventType::NodeChildrenChanged => model.fire(1, path),
                        EventType::NodeDeleted => {
                            let told = model.fire(0, path);
                            told.union(&model.fire(1, path)).copied().collect()
                        }
                    };
                    let mut told = fire(&mut watches, kind, path);
                    told.sort_unstable();
                    prop_assert_eq!(told, expected.into_iter().collect::<Vec<_>>());
                }
                Step::Forget(who) => {
                    watches.forget(conn(who));
                    for table in &mut model.0 {
                        table.retain(|(_, c), _| *c != conn(who));
                    }
                }
            }
            prop_assert_eq!(watches.len(), model.0[0].len() + model.0[1].len());
            let paths: BTreeSet<_> = model.0[0].keys().map(|(path, _)| path).collect();
            prop_assert_eq!(&watches.summary()[1..], &[paths.len(), model.0[0].len()]);
        }
    }
}

#[test]
fn texts_are_moved_together_and_found_again() {
    let mut watches = Watches::new(HashKey::new(7));
    let me = conn(1);
    let path = |n: usize| format!("/{n}/{}", "x".repeat(n % 90));
    let long = format!("/{}", "y".repeat(70_000));
    watches.watch_data(&long, me).unwrap();
    for n in 0..20_000 {
        watches.watch_data(&path(n), me).unwrap();
    }
    // Most go; what stays is found, and new ones take the places of old.
    for n in (0..20_000).filter(|n| n % 10 != 0) {
        assert_eq!(fire(&mut watches, EventType::NodeDataChanged, &path(n)), [me]);
    }
    for n in 20_000..30_000 {
        watches.watch_data(&path(n), me).unwrap();
    }
    assert_eq!(watches.len(), 2_000 + 10_000 + 1);
    assert_eq!(watches.by_path().len(), watches.len());
    for n in (0..20_000).filter(|n| n % 10 == 0).chain(20_000..30_000) {
        assert_eq!(fire(&mut watches, EventType::NodeDeleted, &path(n)), [me]);
    }
    assert_eq!(fire(&mut watches, EventType::NodeCreated, &long), [me]);
    assert_eq!((watches.len(), watches.by_path().len()), (0, 0));
}
