//! The house rules, as far as a test can hold them.

use std::fs;
use std::path::{Path, PathBuf};

/// A file past this has two subjects.
const MAX_LINES: usize = 800;

/// The rooms of core, lowest first; a room uses only those before it. `event` and `action`
/// name each other.
const ROOMS: &[&str] = &[
    "mutant",
    "types",
    "hash",
    "budget",
    "text",
    "wire",
    "event",
    "action",
    "config",
    "quorum",
    "election",
    "zab",
    "store",
    "access",
    "session",
    "prep",
    "admin",
    "client_port",
    "disk",
    "client",
    "node",
    "journal",
    "inspect",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All committed text below a folder.
fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let skipped = ["target", "testdata", "corpus", "__pycache__"];
            if !skipped.contains(&name.as_str()) && (!name.starts_with('.') || name == ".ci") {
                files(&path, all);
            }
        } else if ["rs", "md", "toml", "py", "sh"].iter().any(|e| name.ends_with(&format!(".{e}")))
        {
            all.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("below the root").display().to_string();
        (name, fs::read_to_string(&path).expect("text"))
    };
    all.into_iter().map(read).collect()
}

fn assert_none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn a_file_has_one_subject_and_says_it_first() {
    let mut found = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| name.ends_with(".rs")) {
        if text.lines().count() > MAX_LINES {
            found.push(format!("{name}: {} lines", text.lines().count()));
        }
        if !text.starts_with("//!") {
            found.push(format!("{name}: begins without a //! line"));
        }
    }
    assert_none(found, "files are at most 800 lines and begin with their subject");
}

#[test]
fn nothing_is_left_open_and_no_machine_is_named() {
    let banned = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("/wo", "rk/"),
        concat!("/tm", "p/"),
        concat!("/ro", "ot/"),
    ];
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = banned.iter().find(|word| line.contains(**word)) {
                found.push(format!("{name}:{}: {word}", number + 1));
            }
        }
    }
    assert_none(found, "banned words");
}

#[test]
fn arrows_between_the_rooms_point_down() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let Some(path) = name.strip_prefix("core/src/") else { continue };
        let room = path.split(['/', '.']).next().unwrap_or_default();
        let Some(height) = ROOMS.iter().position(|r| *r == room) else {
            assert_eq!(room, "lib", "{name} is in no room");
            continue;
        };
        if path.contains("tests") {
            continue;
        }
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in product.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for used in code.split("crate::").skip(1) {
                let used = used
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap_or_default();
                let other = ROOMS.iter().position(|r| *r == used);
                let pair = [room, used] == ["event", "action"];
                if other.is_some_and(|other| other > height) && !pair {
                    found.push(format!("{name}:{}: {room} uses {used}", number + 1));
                }
            }
        }
    }
    assert_none(found, "a room uses only rooms below it");
}

#[test]
fn crates_depend_downward() {
    let rules = [
        ("core/Cargo.toml", &[][..]),
        ("runtime-std/Cargo.toml", &["zabkeeper-core"]),
        ("runtime-smol/Cargo.toml", &["zabkeeper-core", "zabkeeper-std"]),
        ("fuzz/Cargo.toml", &["zabkeeper-core"]),
        ("benches/Cargo.toml", &["zabkeeper-core", "zabkeeper-std", "zabkeeper-fuzz"]),
    ];
    for (name, allowed) in rules {
        let text = fs::read_to_string(root().join(name)).expect(name);
        for line in text.lines().filter(|l| l.starts_with("zabkeeper")) {
            let used = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(allowed.contains(&used), "{name} depends on {used}");
        }
    }
}

/// Comments are as wide as code at most: rustfmt does not wrap them.
const MAX_COMMENT_COLUMNS: usize = 100;

#[test]
fn comments_fit_a_hundred_columns() {
    let mut found = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| name.ends_with(".rs")) {
        for (number, line) in text.lines().enumerate() {
            let width = line.chars().count();
            if line.trim_start().starts_with("//") && width > MAX_COMMENT_COLUMNS {
                found.push(format!("{name}:{}: {width} columns", number + 1));
            }
        }
    }
    assert_none(found, "comments are at most 100 columns wide");
}

#[test]
fn seeded_bugs_stand_on_lines_of_their_own() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        if !name.starts_with("core/src/") || name.ends_with("mutant.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default().trim_start();
            let is_inside = code.contains("mutant!(") && !code.starts_with("mutant!(");
            if code.contains("Mutant::") || is_inside {
                found.push(format!("{name}:{}: {code}", number + 1));
            }
        }
    }
    assert_none(found, "mutant!(Name => statement); stands on lines of its own");
}

/// Text in backticks that is the name of a test: long, with underscores, and no figure of `mntr`.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &&str| {
        let parts = word.split('_').count();
        parts > 3
            && !word.starts_with("zk_")
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.split('`').skip(1).step_by(2).filter(is_name)
}

/// Targets of links to files.
fn linked_files(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

#[test]
fn documents_name_files_and_tests_that_exist() {
    let all = sources();
    let code: String =
        all.iter().filter(|(name, _)| name.ends_with(".rs")).map(|(_, t)| t.as_str()).collect();
    let mut found = Vec::new();
    for (name, text) in all.iter().filter(|(name, _)| name.ends_with(".md")) {
        let file = root().join(name);
        let folder = file.parent().expect("a folder");
        for target in linked_files(text).filter(|target| !folder.join(target).exists()) {
            found.push(format!("{name}: the link {target}"));
        }
        let is_manual = name.starts_with("docs/") || name.starts_with("fuzz/");
        for test in test_names(text).filter(|_| is_manual) {
            if !code.contains(&format!("fn {test}(")) {
                found.push(format!("{name}: the test {test}"));
            }
        }
        // The rooms of core by their files: `zab/history.rs`, `disk/machine.rs`.
        let quoted = text.split('`').skip(1).step_by(2);
        let rooms = quoted.filter(|path| path.ends_with(".rs") && path.contains('/'));
        for path in rooms.filter(|path| path.split('/').next().is_some_and(|r| ROOMS.contains(&r)))
        {
            if !root().join("core/src").join(path).exists() {
                found.push(format!("{name}: the file {path}"));
            }
        }
    }
    assert_none(found, "links, files and tests that do not exist");
}
