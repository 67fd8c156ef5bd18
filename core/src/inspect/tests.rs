//! Findings about the files of real servers, and about damaged ones. What is expected is kept as
//! text: `UPDATE_INSPECT=1` writes what is found, to be reviewed in the diff.

extern crate std;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::path::Path;

use bytes::BytesMut;

use super::*;
use crate::action::DiskAction;
use crate::disk::{Disk, DiskOptions, MemoryFiles, drive};
use crate::store::{Store, StoreOptions};
use crate::types::Ticket;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../../testdata/storage/", $name)).as_slice()
    };
}

const SNAPSHOT_0: &[u8] = golden!("3.9.5/snapshot.0");
const SNAPSHOT_31: &[u8] = golden!("3.9.5/snapshot.31");
const LOG_1: &[u8] = golden!("3.9.5/log.1");
const LOG_32: &[u8] = golden!("3.9.5/log.32");

/// A directory of these files, and what was done to it.
struct Dir {
    files: MemoryFiles,
}

impl Dir {
    fn new(all: &[(&str, &[u8])]) -> Dir {
        let mut files = MemoryFiles::new();
        for (name, content) in all {
            let name = name.replace("..", "version-2/..");
            let path = match name.strip_prefix("version-2/../") {
                Some(above) => format!("/d/{above}"),
                None => format!("/d/version-2/{name}"),
            };
            files.put(&path, content);
        }
        Dir { files }
    }
    fn after_b() -> Dir {
        Dir::new(&[
            ("snapshot.0", SNAPSHOT_0),
            ("log.1", LOG_1),
            ("snapshot.31", SNAPSHOT_31),
            ("log.32", LOG_32),
        ])
    }
    fn edit(mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Dir {
        let path = format!("/d/version-2/{name}");
        let mut content = self.files.get(&path).unwrap_or_default().to_vec();
        change(&mut content);
        self.files.put(&path, &content);
        self
    }
    fn without(mut self, name: &str) -> Dir {
        self.files.remove(&format!("/d/version-2/{name}"));
        self
    }
    fn target(&self, name: &str) -> Target {
        let path = format!("/d/version-2/{name}");
        let len = self.files.get(&path).map_or(0, <[u8]>::len) as u64;
        Target { path: path.as_str().into(), len }
    }
    /// Executes what reads; anything else is a fault of the test's subject.
    fn reads(&mut self) -> impl FnMut(&FileOp) -> Completion {
        |op| match op {
            FileOp::Read { .. } | FileOp::List { .. } | FileOp::Close { .. } => {
                self.files.execute(op)
            }
            other => panic!("{other:?} is no reading"),
        }
    }
    fn file(
        &mut self,
        name: &str,
        options: &Options,
    ) -> (Result<bool, InspectError>, Vec<Finding>) {
        let target = self.target(name);
        let mut lines = Vec::new();
        let result = file(&mut self.reads(), &target, options, &mut keep(&mut lines));
        (result, lines)
    }
    fn directory(&mut self, options: &Options) -> (Result<bool, InspectError>, Vec<Finding>) {
        let mut lines = Vec::new();
        let result = directory(&mut self.reads(), "/d", "/d", options, &mut keep(&mut lines));
        (result, lines)
    }
    /// What a server would do, as text.
    fn verdict(&mut self) -> (bool, String) {
        let options = Options { transactions: false, sums: false, ..Options::default() };
        let (result, lines) = self.directory(&options);
        let last = lines.last().map(ToString::to_string).unwrap_or_default();
        (result.unwrap_or_else(|trouble| panic!("{trouble}")), last)
    }
}

fn keep(lines: &mut Vec<Finding>) -> impl FnMut(&Finding) -> ControlFlow<()> {
    |line| {
        lines.push(line.clone());
        ControlFlow::Continue(())
    }
}

fn text(lines: &[Finding]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn json(lines: &[Finding]) -> String {
    let one = |line: &Finding| serde_json::to_string(line).unwrap_or_default();
    lines.iter().map(|line| format!("{}\n", one(line))).collect()
}

#[track_caller]
fn assert_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/inspect").join(name);
    if std::env::var_os("UPDATE_INSPECT").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((i, (a, b))) =
        expected.lines().zip(found.lines()).enumerate().find(|(_, (a, b))| a != b)
    {
        panic!("{name}:{}: expected\n{a}\nfound\n{b}", i + 1);
    }
    assert_eq!(expected.len(), found.len(), "{name} is longer or shorter than what is found");
}

fn summary() -> Options {
    Options { transactions: false, ..Options::default() }
}

#[test]
fn a_log_is_listed() {
    let mut dir = Dir::after_b();
    let (result, lines) = dir.file("log.1", &Options { data: true, ..Options::default() });
    assert_eq!(result, Ok(true));
    assert_golden("log.1.txt", &text(&lines));
    let (_, lines) = dir.file("log.1", &Options::default());
    assert_golden("log.1.json", &json(&lines));
    let some = Options { from: Zxid(0x1d), to: Zxid(0x1f), ..Options::default() };
    let (_, lines) = dir.file("log.1", &some);
    assert_eq!(lines.len(), 4, "three transactions and the sum");
}

#[test]
fn a_log_of_older_servers_is_listed() {
    let log = golden!("misc/log.close-session-txn-disabled");
    let (result, lines) = Dir::new(&[("log.1", log)]).file("log.1", &Options::default());
    assert_eq!(result, Ok(true));
    assert_golden("close-session-txn-disabled.txt", &text(&lines));
}

#[test]
fn snapshots_are_listed_compressed_or_not() {
    let all = Options { znodes: true, data: true, depth: 2, ..Options::default() };
    let (result, lines) = Dir::after_b().file("snapshot.31", &all);
    assert_eq!(result, Ok(true));
    assert_golden("snapshot.31.txt", &text(&lines));
    assert_golden("snapshot.31.json", &json(&lines));
    for (name, content) in [
        ("snapshot.38.gz", golden!("3.9.5/snapshot.38.gz")),
        ("snapshot.38.snappy", golden!("3.9.5/snapshot.38.snappy")),
        ("snapshot.38.gz", golden!("3.8.0/snapshot.38.gz")),
        ("snapshot.38.snappy", golden!("3.8.0/snapshot.38.snappy")),
    ] {
        let (result, lines) = Dir::new(&[(name, content)]).file(name, &Options::default());
        assert_eq!(result, Ok(true));
        let Some(Finding::Snapshot(summary)) = lines.last() else { panic!("{lines:?}") };
        // Those with Snappy were taken before anything was applied.
        let of_nothing = summary.compression == "snappy";
        let digest = [DigestFinding::Matches, DigestFinding::OfNoTransaction];
        assert_eq!((summary.znodes, &summary.digest), (24, &digest[usize::from(of_nothing)]));
        assert!(name.ends_with(summary.compression));
    }
}

#[test]
fn sizes_are_summed_up_where_and_as_deep_as_asked() {
    let options = Options { subtree: "/a".into(), depth: 0, ..Options::default() };
    let (_, lines) = Dir::after_b().file("snapshot.31", &options);
    let sums: Vec<String> = lines.iter().map(ToString::to_string).collect();
    assert_eq!(sums[0], "  /a 5 znodes, 6 bytes of data");
    assert_eq!(sums.len(), 2);
    let deeper = Options { depth: 1, ..options };
    let (_, lines) = Dir::after_b().file("snapshot.31", &deeper);
    assert_eq!(lines.len(), 6, "{}", text(&lines));
}

#[test]
fn a_directory_is_judged_as_a_server_would() {
    let (result, lines) = Dir::after_b().directory(&summary());
    assert_eq!(result, Ok(true));
    assert_golden("after-b.txt", &text(&lines));
    assert_golden("after-b.json", &json(&lines));
    let mut fuzzy = Dir::new(&[
        ("snapshot.27b7", golden!("fuzzy-3.9.5/snapshot.27b7")),
        ("log.2159", golden!("fuzzy-3.9.5/log.2159")),
        ("log.2843", golden!("fuzzy-3.9.5/log.2843")),
    ]);
    let (result, lines) = fuzzy.directory(&summary());
    assert_eq!(result, Ok(true));
    assert_golden("fuzzy.txt", &text(&lines));
}

#[test]
fn a_member_is_known_by_its_files() {
    let mut member = Dir::new(&[
        ("../myid", b"3\n"),
        ("snapshot.0", SNAPSHOT_0),
        ("log.1", LOG_1),
        ("currentEpoch", b"0"),
        ("acceptedEpoch", b"0"),
        ("torn.1.20", b"torn"),
        ("given-up.1.log.32", b"ZKLG"),
        ("tmp.snapshot.9", b"ZKSN"),
        ("notes.txt", b"mine"),
    ]);
    let (result, lines) = member.directory(&summary());
    assert_eq!(result, Ok(true));
    assert_golden("member.txt", &text(&lines));
    // Restored from snapshots and logs alone, it goes by the last zxid.
    let mut restored = member.without("currentEpoch").without("acceptedEpoch");
    let (is_sound, verdict) = restored.verdict();
    assert!(is_sound && verdict.contains("epochs      current 0, accepted 0"), "{verdict}");
    for name in ["currentEpoch", "acceptedEpoch"] {
        assert!(verdict.contains(&format!("write /d/version-2/{name}")), "{verdict}");
    }
    let mut mixed = restored.edit("currentEpoch", |content| content.extend(b"7"));
    let (is_sound, verdict) = mixed.verdict();
    assert!(!is_sound && verdict.contains("would REFUSE TO START with exit code 1"), "{verdict}");
    assert!(verdict.contains("accepted epoch 0, for want of its file, is less"), "{verdict}");
}

#[test]
fn a_torn_end_would_be_cut_off() {
    let mut dir = Dir::after_b().edit("log.32", |log| log.truncate(log.len() - 5));
    let (is_sound, verdict) = dir.verdict();
    assert!(is_sound, "{verdict}");
    for line in [
        "  last zxid   0x37",
        "  would       write /d/version-2/torn.32.",
        "  would       cut /d/version-2/log.32 to ",
    ] {
        assert!(verdict.contains(line), "{verdict}");
    }
    // The log by itself is not whole.
    let (result, lines) = dir.file("log.32", &summary());
    assert_eq!(result, Ok(false));
    assert!(lines[0].to_string().starts_with("!! torn at offset "), "{}", text(&lines));
}

#[test]
fn a_damaged_middle_is_shown_with_what_is_on_both_sides() {
    let mut dir = Dir::after_b().edit("log.32", |log| log[100] ^= 1);
    let (is_sound, verdict) = dir.verdict();
    assert!(!is_sound && verdict.contains("this is no write that a crash cut short"), "{verdict}");
    let (result, lines) = dir.file("log.32", &Options::default());
    assert_eq!(result, Ok(false));
    assert_golden("damaged.txt", &text(&lines));
    // Of an older log, the server does not know; those who want to copy from it will.
    let mut dir = Dir::after_b().edit("log.1", |log| log[100] ^= 1);
    let (is_sound, verdict) = dir.verdict();
    assert!(!is_sound && verdict.contains("would start"), "{verdict}");
    assert!(verdict.contains("NOT SOUND   /d/version-2/log.1"), "{verdict}");
}

#[test]
fn a_damaged_snapshot_is_passed_over() {
    let (is_sound, verdict) = Dir::after_b().edit("snapshot.31", |s| s[5000] ^= 1).verdict();
    assert!(is_sound, "{verdict}");
    assert!(
        verdict.contains("from        /d/version-2/snapshot.0 and 56 transactions"),
        "{verdict}"
    );
    assert!(verdict.contains("passed over /d/version-2/snapshot.31"), "{verdict}");
    let mut dir = Dir::after_b().edit("snapshot.31", |s| s[5000] ^= 1);
    let (result, lines) = dir.file("snapshot.31", &summary());
    assert_eq!(result, Ok(false));
    assert!(text(&lines).contains("NOT USABLE: a checksum is wrong"), "{}", text(&lines));
}

#[test]
fn missing_files_are_named() {
    let (is_sound, verdict) = Dir::after_b().without("snapshot.31").without("log.1").verdict();
    assert!(!is_sound);
    let hole = "transactions between 0x0 and 0x32 (in /d/version-2/log.32) are missing";
    assert!(verdict.contains(hole), "{verdict}");
    let (_, verdict) = Dir::after_b().without("snapshot.31").without("snapshot.0").verdict();
    assert!(verdict.contains("but no snapshot: something is missing"), "{verdict}");
}

#[test]
fn a_digest_that_differs_is_shown_where_it_does_first() {
    // The snapshot of another history: its digest is right, the log's are not for it.
    let mut dir = Dir::after_b().without("snapshot.31");
    let (store, mut body) = (Store::new(StoreOptions::default()), BytesMut::new());
    store.encode_snapshot(&mut body);
    let mut disk = Disk::<Store>::new(DiskOptions::new("/d", "/d"), StoreOptions::default());
    let (zxid, ticket) = (Zxid(0x31), Ticket(1));
    let digest = Some((zxid, store.digest()));
    disk.submit(DiskAction::SnapshotBegin { zxid, from_leader: false });
    disk.submit(DiskAction::SnapshotChunk { bytes: body.freeze() });
    disk.submit(DiskAction::SnapshotEnd { ticket, digest, last_zxid: zxid });
    drive(&mut disk, &mut |op| dir.files.execute(op), &mut Vec::new());
    let (is_sound, verdict) = dir.verdict();
    assert!(!is_sound && verdict.contains("it DIFFERS from the writer's at 0x32"), "{verdict}");
}

#[test]
fn a_purge_is_foretold() {
    let mut dir = Dir::after_b();
    for zxid in [0x20, 0x33, 0x35] {
        dir.files.put(&format!("/d/version-2/snapshot.{zxid:x}"), SNAPSHOT_31);
    }
    let (_, verdict) = dir.verdict();
    let purge: Vec<&str> = verdict.lines().filter(|line| line.contains("purge")).collect();
    assert_eq!(
        purge,
        [
            "  purge would delete /d/version-2/snapshot.0",
            "  purge would delete /d/version-2/snapshot.20",
        ]
    );
}

#[test]
fn logs_are_compared_from_where_both_begin() {
    let mut dir = Dir::after_b().edit("log.9", |log| log.extend_from_slice(LOG_1));
    let compare = |dir: &mut Dir, a: &str, b: &str| {
        let targets = [dir.target(a), dir.target(b)];
        let mut lines = Vec::new();
        let [a, b] = &targets;
        let all = Options::default();
        let result = compare_files(&mut dir.reads(), [a, b], &all, &mut keep(&mut lines));
        (result, text(&lines))
    };
    let (result, said) = compare(&mut dir, "log.1", "log.9");
    assert_eq!(result, Ok(true));
    assert!(said.starts_with("the logs are the same from zxid 0x1 to 0x31"), "{said}");
    // A byte of a path, with the checksum that goes with it.
    let at = LOG_1.windows(4).position(|w| w == b"/m2\0").unwrap_or_default();
    let (head, len) = (0..at)
        .rev()
        .find_map(|i| {
            let len = u32::from_be_bytes(LOG_1.get(i..i + 4)?.try_into().ok()?) as usize;
            let sum = i64::from_be_bytes(LOG_1.get(i.checked_sub(8)?..i)?.try_into().ok()?);
            let body = LOG_1.get(i + 4..i + 4 + len)?;
            (len > 31 && i64::from(simd_adler32::adler32(&body)) == sum).then_some((i - 8, len))
        })
        .unwrap();
    let mut dir = dir.edit("log.9", |log| {
        log[at + 1] = b'n';
        let sum = i64::from(simd_adler32::adler32(&&log[head + 12..head + 12 + len]));
        log[head..head + 8].copy_from_slice(&sum.to_be_bytes());
    });
    let (result, said) = compare(&mut dir, "log.1", "log.9");
    assert_eq!(result, Ok(false));
    assert!(said.starts_with("the logs differ first at zxid 0x1e; from 0x1 to 0x1d"), "{said}");
    assert!(said.contains("multi: create /m2,") && said.contains("multi: create /n2,"), "{said}");
    let (result, said) = compare(&mut dir, "log.32", "log.1");
    assert_eq!(result, Ok(false), "{said}");
    assert!(compare(&mut dir, "log.1", "snapshot.0").0.is_err());
}

#[test]
fn states_are_compared_node_by_node() {
    let mut dir = Dir::after_b().edit("snapshot.38.gz", |s| {
        s.extend_from_slice(golden!("3.9.5/snapshot.38.gz"));
    });
    let targets = [dir.target("snapshot.31"), dir.target("snapshot.38.gz")];
    let mut lines = Vec::new();
    let [a, b] = &targets;
    let result =
        compare_files(&mut dir.reads(), [a, b], &Options::default(), &mut keep(&mut lines));
    assert_eq!(result, Ok(false));
    assert_golden("difference.txt", &text(&lines));
    assert_golden("difference.json", &json(&lines));
}

#[test]
fn directories_are_compared_after_a_recovery() {
    let mut both = MemoryFiles::new();
    for (dir, last) in [("/a", "log.32"), ("/b", "log.32"), ("/c", "log.1")] {
        for (name, content) in [("snapshot.0", SNAPSHOT_0), ("log.1", LOG_1), ("log.32", LOG_32)] {
            if name <= last {
                both.put(&format!("{dir}/version-2/{name}"), content);
            }
        }
        both.put(&format!("{dir}/version-2/snapshot.0"), SNAPSHOT_0);
    }
    both.put("/b/version-2/snapshot.31", SNAPSHOT_31);
    let mut compare = |a: &str, b: &str| {
        let (mut lines, all) = (Vec::new(), Options::default());
        let dirs = [(a, a), (b, b)];
        let mut execute = |op: &FileOp| both.execute(op);
        let result = compare_directories(&mut execute, dirs, &all, &mut keep(&mut lines));
        (result, text(&lines))
    };
    let (result, said) = compare("/a", "/b");
    assert_eq!(result, Ok(true), "{said}");
    assert!(said.contains("the states are the same\n"), "{said}");
    let (result, said) = compare("/a", "/c");
    assert_eq!(result, Ok(false));
    assert!(said.starts_with("the logs differ first at zxid 0x32"), "{said}");
    assert!(said.contains("/eph: only in B"), "{said}");
    assert!(compare("/a", "/nowhere").0.is_err());
}

#[test]
fn a_sink_that_has_had_enough_ends_it() {
    let mut dir = Dir::after_b();
    let target = dir.target("log.1");
    let mut seen = 0;
    let mut sink = |_: &Finding| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let result = file(&mut dir.reads(), &target, &Options::default(), &mut sink);
    assert_eq!((result, seen), (Err(InspectError::Stopped), 3));
}

#[test]
fn unknown_file_kind_is_reported() {
    let mut dir = Dir::new(&[("notes.txt", b"mine"), ("log.5", b"zeros?"), ("snapshot.5", b"")]);
    let (result, _) = dir.file("notes.txt", &Options::default());
    assert!(matches!(&result, Err(InspectError::Failed(what)) if what.contains("neither a log")));
    let (result, lines) = dir.file("log.5", &Options::default());
    assert!(result == Ok(false) && lines[0].to_string().contains("the header of a log is missing"));
    assert_eq!(dir.file("snapshot.5", &Options::default()).0, Ok(false));
    let (result, _) = dir.file("gone", &Options::default());
    let Err(InspectError::Failed(what)) = result else { panic!("{result:?}") };
    assert_eq!(what, "cannot read /d/version-2/gone: no such file or directory");
}

#[test]
fn no_byte_of_a_file_makes_it_panic() {
    let mut rng = fastrand::Rng::with_seed(7);
    let all = Options { znodes: true, data: true, ..Options::default() };
    for name in ["log.1", "log.32", "snapshot.0", "snapshot.31"] {
        for _ in 0..60 {
            let mut dir = Dir::after_b().edit(name, |content| {
                for _ in 0..rng.usize(1..4) {
                    let at = rng.usize(..content.len());
                    match rng.u8(..3) {
                        0 => content[at] ^= 1 << rng.u8(..8),
                        1 => content.truncate(at.max(1)),
                        _ => content[at] = 0xff,
                    }
                }
            });
            let _ = dir.file(name, &all);
            let _ = dir.directory(&all);
        }
    }
}
