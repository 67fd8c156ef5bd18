//! `zabkeeper inspect` on files of real servers: output, exit codes, and unchanged files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::command_line::{Command, CommandLine};
use crate::exit::Failure;
use clap::Parser;

/// The `dataDir` of a stopped server of ZooKeeper 3.9.5.
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
    super::print(&args, out)
}

fn output(words: &[&str]) -> (i32, String) {
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
fn directory_log_and_snapshot_are_inspected_without_a_change() {
    let dir = data_dir();
    let before = files(dir.path());
    let (root, version_2) = (at(&dir, ""), at(&dir, "version-2"));
    let (code, text) = output(&[&root]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("a standalone server would start"), "{text}");
    assert_eq!(output(&[&version_2]).0, 0, "version-2 stands for dataDir");
    let (code, text) = output(&["--json", &at(&dir, "version-2/log.1")]);
    assert_eq!(code, 0);
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["type"] == "transaction" || value["type"] == "log", "{line}");
    }
    let (_, text) = output(&["--from", "0x1d", "--to", "1e", &at(&dir, "version-2/log.1")]);
    let listed = text.lines().filter(|line| line.contains(" session ")).count();
    assert_eq!(listed, 2, "{text}");
    let (code, text) = output(&["--subtree", "/a", "--nodes", &at(&dir, "version-2/snapshot.31")]);
    assert_eq!(code, 0);
    assert!(text.contains("/a/b persistent") && !text.contains("/big persistent"), "{text}");
    assert_eq!(files(dir.path()), before, "no byte is changed");
}

#[test]
fn damage_gives_exit_code_1() {
    let dir = data_dir();
    let log = at(&dir, "version-2/log.32");
    let mut content = fs::read(&log).unwrap();
    content[100] ^= 1;
    fs::write(&log, &content).unwrap();
    let before = files(dir.path());
    let (code, text) = output(&[&at(&dir, "")]);
    assert_eq!(code, 1);
    assert!(text.contains("would REFUSE TO START with exit code 1"), "{text}");
    assert_eq!(output(&["--summary", &log]).0, 1);
    assert_eq!(files(dir.path()), before);
}

#[test]
fn comparison_with_a_difference_gives_exit_code_1() {
    let (a, b) = (data_dir(), data_dir());
    assert_eq!(output(&["--diff", &at(&a, ""), &at(&b, "")]).0, 0);
    fs::remove_file(at(&b, "version-2/log.32")).unwrap();
    let (code, text) = output(&["--diff", &at(&a, ""), &at(&b, "")]);
    assert_eq!(code, 1);
    assert!(text.contains("the logs differ first at zxid 0x32"), "{text}");
    assert!(text.contains("/after-restart: only in A"), "{text}");
    let logs = [at(&a, "version-2/log.1"), at(&b, "version-2/log.1")];
    assert_eq!(output(&["--diff", &logs[0], &logs[1]]).0, 0);
    let snapshots = [at(&a, "version-2/snapshot.0"), at(&b, "version-2/snapshot.31")];
    assert_eq!(output(&["--diff", &snapshots[0], &snapshots[1]]).0, 1);
}

#[test]
fn error_gives_exit_code_2_and_one_line() {
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
        let (code, text) = output(&words);
        assert_eq!((code, text.trim().lines().count()), (2, 1), "{words:?}: {text}");
    }
}

/// A reader that closes the pipe after some bytes, like `head`.
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
fn reader_that_closes_the_pipe_is_no_failure() {
    let dir = data_dir();
    for format in ["--json", "--nodes"] {
        for path in ["", "version-2/log.1", "version-2/snapshot.31"] {
            assert_eq!(run(&[format, &at(&dir, path)], &mut Head(100)), Ok(0), "{format} {path}");
        }
    }
}

#[test]
fn log_dir_names_a_separate_directory_of_logs() {
    let (dir, logs) = (data_dir(), tempfile::tempdir().unwrap());
    fs::create_dir(logs.path().join("version-2")).unwrap();
    for name in ["version-2/log.1", "version-2/log.32"] {
        fs::rename(at(&dir, name), logs.path().join(name)).unwrap();
    }
    let log_dir = logs.path().to_str().unwrap();
    let (code, text) = output(&["--log-dir", log_dir, &at(&dir, "")]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("and 7 transactions"), "{text}");
    assert!(text.contains(&format!(" and {log_dir}: a standalone server")), "{text}");
}
