//! `zabkeeper inspect` on real files: what it prints, its exit codes, and that it changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use zabkeeper_std::command_line::{Command, CommandLine};
use zabkeeper_std::exit::Failure;
use zabkeeper_std::inspect;

/// `dataDir` of a stopped server, from ZooKeeper 3.9.5.
fn data_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/testdata/storage/3.9.5");
    let version_2 = dir.path().join("version-2");
    fs::create_dir(&version_2).unwrap();
    for name in ["snapshot.0", "log.1", "snapshot.31", "log.32"] {
        fs::copy(golden.join(name), version_2.join(name)).unwrap();
    }
    dir
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = fs::read_dir(dir.join("version-2")).unwrap().map(|entry| entry.unwrap().path());
    all.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn run(words: &[&str], out: &mut impl Write) -> Result<i32, Failure> {
    let line = CommandLine::try_parse_from([&["zabkeeper", "inspect"], words].concat()).unwrap();
    let Command::Inspect(args) = line.command else { panic!("{words:?}") };
    inspect::print(&args, out)
}

fn said(words: &[&str]) -> (i32, String) {
    let mut out = Vec::new();
    let code = match run(words, &mut out) {
        Ok(code) => code,
        Err(failure) => {
            out.extend_from_slice(failure.message.as_bytes());
            failure.code
        }
    };
    (code, String::from_utf8(out).unwrap())
}

fn at(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_string()
}

#[test]
fn a_directory_a_log_and_a_snapshot_and_nothing_changes() {
    let dir = data_dir();
    let before = files(dir.path());
    let (root, version_2) = (at(&dir, ""), at(&dir, "version-2"));
    let (code, text) = said(&[&root]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("a standalone server would start"), "{text}");
    assert_eq!(said(&[&version_2]).0, 0, "the directory of the files is as good");
    let (code, text) = said(&["--json", &at(&dir, "version-2/log.1")]);
    assert_eq!(code, 0);
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["type"] == "transaction" || value["type"] == "log", "{line}");
    }
    let (_, text) = said(&["--from", "0x1d", "--to", "1e", &at(&dir, "version-2/log.1")]);
    let listed = text.lines().filter(|line| line.contains(" session ")).count();
    assert_eq!(listed, 2, "{text}");
    let (code, text) = said(&["--subtree", "/a", "--nodes", &at(&dir, "version-2/snapshot.31")]);
    assert_eq!(code, 0);
    assert!(text.contains("/a/b persistent") && !text.contains("/big persistent"), "{text}");
    assert_eq!(files(dir.path()), before, "no byte is changed");
}

#[test]
fn what_is_damaged_is_exit_code_1() {
    let dir = data_dir();
    let log = at(&dir, "version-2/log.32");
    let mut content = fs::read(&log).unwrap();
    content[100] ^= 1;
    fs::write(&log, &content).unwrap();
    let before = files(dir.path());
    let (code, text) = said(&[&at(&dir, "")]);
    assert_eq!(code, 1);
    assert!(text.contains("would REFUSE TO START with exit code 1"), "{text}");
    assert_eq!(said(&["--summary", &log]).0, 1);
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_comparison_says_by_its_exit_code_whether_there_is_a_difference() {
    let (a, b) = (data_dir(), data_dir());
    assert_eq!(said(&["--diff", &at(&a, ""), &at(&b, "")]).0, 0);
    fs::remove_file(at(&b, "version-2/log.32")).unwrap();
    let (code, text) = said(&["--diff", &at(&a, ""), &at(&b, "")]);
    assert_eq!(code, 1);
    assert!(text.contains("the logs differ first at zxid 0x32"), "{text}");
    assert!(text.contains("/after-restart: only in A"), "{text}");
    let logs = [at(&a, "version-2/log.1"), at(&b, "version-2/log.1")];
    assert_eq!(said(&["--diff", &logs[0], &logs[1]]).0, 0);
    let snapshots = [at(&a, "version-2/snapshot.0"), at(&b, "version-2/snapshot.31")];
    assert_eq!(said(&["--diff", &snapshots[0], &snapshots[1]]).0, 1);
}

#[test]
fn no_answer_is_exit_code_2_and_one_line() {
    let dir = data_dir();
    fs::write(at(&dir, "notes.txt"), "mine").unwrap();
    fs::create_dir(at(&dir, "empty")).unwrap();
    for words in [
        vec![at(&dir, "nothing")],
        vec![at(&dir, "notes.txt")],
        vec![at(&dir, "empty")],
        vec!["--diff".into(), at(&dir, ""), at(&dir, "version-2/log.1")],
        vec!["--diff".into(), at(&dir, "version-2/log.1"), at(&dir, "version-2/snapshot.0")],
        vec!["--diff".into(), at(&dir, ""), at(&dir, "nothing")],
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, text) = said(&words);
        assert_eq!((code, text.trim().lines().count()), (2, 1), "{words:?}: {text}");
    }
}

/// Takes so many bytes, like `head`.
struct Head(usize);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let dir = data_dir();
    for format in ["--json", "--nodes"] {
        for path in ["", "version-2/log.1", "version-2/snapshot.31"] {
            assert_eq!(run(&[format, &at(&dir, path)], &mut Head(100)), Ok(0), "{format} {path}");
        }
    }
}

#[test]
fn logs_may_be_in_a_directory_of_their_own() {
    let (dir, logs) = (data_dir(), tempfile::tempdir().unwrap());
    fs::create_dir(logs.path().join("version-2")).unwrap();
    for name in ["version-2/log.1", "version-2/log.32"] {
        fs::rename(at(&dir, name), logs.path().join(name)).unwrap();
    }
    let log_dir = logs.path().to_str().unwrap();
    let (code, text) = said(&["--log-dir", log_dir, &at(&dir, "")]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("and 7 transactions"), "{text}");
    assert!(text.contains(&format!(" and {log_dir}: a standalone server")), "{text}");
}
