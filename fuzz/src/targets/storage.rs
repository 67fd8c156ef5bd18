//! Files of a data directory that anything may have happened to: transaction logs, snapshots,
//! epoch files.

use std::ops::ControlFlow;

use zabkeeper_core::disk::{DiskOptions, FileOp, MemoryFiles, STORABLE_BYTES};
use zabkeeper_core::event::Recovered;
use zabkeeper_core::inspect::{self, Finding, Options, Recovery, Target};
use zabkeeper_core::store::{Store, StoreOptions};

use crate::rig::{Outcome, load_with};

const SNAPSHOT_0: &[u8] = include_bytes!("../../../core/testdata/storage/3.9.5/snapshot.0");
const SNAPSHOT_31: &[u8] = include_bytes!("../../../core/testdata/storage/3.9.5/snapshot.31");
const LOG_1: &[u8] = include_bytes!("../../../core/testdata/storage/3.9.5/log.1");
const LOG_32: &[u8] = include_bytes!("../../../core/testdata/storage/3.9.5/log.32");

/// The bytes are the last log of a directory: all of it, or what follows a good log.
pub fn log_file(data: &[u8]) {
    let Some((how, log)) = data.split_first() else { return };
    let mut files = MemoryFiles::new();
    match how % 3 {
        0 => {
            files.put("/d/version-2/snapshot.0", SNAPSHOT_0);
            files.put("/d/version-2/log.1", log);
        }
        1 => {
            files.put("/d/version-2/snapshot.0", SNAPSHOT_0);
            files.put("/d/version-2/log.1", LOG_1);
            files.put("/d/version-2/log.32", log);
        }
        _ => {
            files.put("/d/version-2/snapshot.0", SNAPSHOT_0);
            files.put("/d/version-2/log.1", log);
            files.put("/d/version-2/log.32", LOG_32);
        }
    }
    recovers_or_says_why(files, how / 3 % 2 == 1);
}

/// The bytes are the newest snapshot of a directory, with an older one and logs, or alone.
pub fn snapshot_file(data: &[u8]) {
    let Some((how, snapshot)) = data.split_first() else { return };
    let mut files = MemoryFiles::new();
    if how & 1 == 1 {
        files.put("/d/version-2/snapshot.0", SNAPSHOT_0);
        files.put("/d/version-2/log.1", LOG_1);
    }
    if how & 2 == 2 {
        files.put("/d/version-2/log.32", LOG_32);
    }
    let suffix = ["", ".gz", ".snappy", ""][usize::from(how >> 3 & 3)];
    files.put(&format!("/d/version-2/snapshot.31{suffix}"), snapshot);
    if how & 4 == 4 {
        // A leader's snapshot that was about to be put in place.
        files.put("/d/version-2/snapshot.31", SNAPSHOT_31);
        files.put(&format!("/d/version-2/install.snapshot.40{suffix}"), snapshot);
    }
    recovers_or_says_why(files, false);
}

/// The bytes are the two epoch files, cut at the first zero byte.
pub fn epoch_files(data: &[u8]) {
    let mut parts = data.splitn(2, |b| *b == 0);
    let mut files = MemoryFiles::new();
    files.put("/d/version-2/snapshot.0", SNAPSHOT_0);
    files.put("/d/version-2/log.1", LOG_1);
    files.put("/d/version-2/currentEpoch", parts.next().unwrap_or_default());
    if let Some(accepted) = parts.next() {
        files.put("/d/version-2/acceptedEpoch", accepted);
    }
    recovers_or_says_why(files, true);
}

/// A recovery ends; and a second one finds the same.
fn recovers_or_says_why(mut files: MemoryFiles, ensemble: bool) {
    let foretold = foretell(&mut files, ensemble);
    let store = StoreOptions { max_field_bytes: STORABLE_BYTES, ..StoreOptions::default() };
    let first = load_with(options(ensemble), store, &mut files);
    assert_foretold(&foretold, &first);
    let again = load_with(options(ensemble), store, &mut files);
    match (first, again) {
        (Outcome::Recovered(first), Outcome::Recovered(again)) => assert_same(&first, &again),
        (Outcome::Failed(first), Outcome::Failed(again)) => {
            assert!(!first.what.is_empty() && first.exit_code != 0);
            assert_eq!(first, again);
        }
        (Outcome::Recovered(_), Outcome::Failed(fault)) => {
            panic!("recovered once, and then: {}", fault.what);
        }
        (Outcome::Failed(fault), Outcome::Recovered(_)) => {
            panic!("recovers by trying again: {}", fault.what);
        }
    }
}

/// What an inspection says of every file, and of the directory; it may only read.
fn foretell(files: &mut MemoryFiles, ensemble: bool) -> Recovery {
    let all = Options { znodes: true, data: true, ensemble: Some(ensemble), ..Options::default() };
    let paths: Vec<String> = files.paths().map(String::from).collect();
    let targets: Vec<Target> = paths
        .iter()
        .map(|path| Target {
            path: path.as_str().into(),
            len: files.get(path).map_or(0, |content| content.len() as u64),
        })
        .collect();
    let mut execute = |op: &FileOp| match op {
        FileOp::Read { .. } | FileOp::List { .. } | FileOp::Close { .. } => files.execute(op),
        other => panic!("{other:?} is no reading"),
    };
    let mut recovery = None;
    let mut sink = |line: &Finding| {
        assert!(!line.to_string().is_empty());
        if let Finding::Directory(directory) = line {
            recovery = Some(directory.recovery.clone());
        }
        ControlFlow::Continue(())
    };
    for target in &targets {
        drop(inspect::file(&mut execute, target, &all, &mut sink));
    }
    drop(inspect::directory(&mut execute, "/d", "/d", &all, &mut sink));
    recovery.expect("a directory has a verdict")
}

fn assert_foretold(foretold: &Recovery, outcome: &Outcome) {
    match (foretold, outcome) {
        (Recovery::Starts { last_zxid, current_epoch, .. }, Outcome::Recovered(recovered)) => {
            assert_eq!(*last_zxid, recovered.last_zxid);
            assert_eq!(*current_epoch, recovered.current_epoch);
        }
        (Recovery::Refuses { message, exit_code }, Outcome::Failed(fault)) => {
            assert_eq!((message, *exit_code), (&fault.what, fault.exit_code));
        }
        (Recovery::Starts { .. }, Outcome::Failed(fault)) => {
            panic!("it was foretold to start: {}", fault.what)
        }
        (Recovery::Refuses { message, .. }, Outcome::Recovered(_)) => {
            panic!("it starts, against what was foretold: {message}")
        }
    }
}

fn assert_same(a: &Recovered<Store>, b: &Recovered<Store>) {
    assert_eq!(a.last_zxid, b.last_zxid);
    assert_eq!((a.current_epoch, a.accepted_epoch), (b.current_epoch, b.accepted_epoch));
    assert_eq!(a.tail, b.tail);
    assert!(a.tail.windows(2).all(|two| two[0].zxid < two[1].zxid), "the tail is in order");
    assert_eq!(a.tail.last().map_or(a.last_zxid, |last| last.zxid), a.last_zxid);
    let (a, b) = (&a.state, &b.state);
    assert_eq!((a.digest(), a.node_count()), (b.digest(), b.node_count()));
    assert_eq!(a.sessions().collect::<Vec<_>>(), b.sessions().collect::<Vec<_>>());
    let encoded = |store: &Store| {
        let mut out = bytes::BytesMut::new();
        store.encode_image(&mut out);
        out
    };
    assert_eq!(encoded(a), encoded(b), "the same state");
}

fn options(ensemble: bool) -> DiskOptions {
    DiskOptions { ensemble, preallocate_bytes: 1024, ..DiskOptions::new("/d", "/d") }
}
