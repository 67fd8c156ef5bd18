//! The tables of COMPATIBILITY.md match the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use zabkeeper_core::admin::OWN_FIGURES;
use zabkeeper_core::admin::metrics::Metrics;
use zabkeeper_core::config::Config;
use zabkeeper_core::wire::{ErrorCode, Word};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows below a heading, cell by cell, without the code marks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("COMPATIBILITY.md")).expect("COMPATIBILITY.md");
    let section = text.split("\n## ").find(|s| s.starts_with(heading)).expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cell = |cell: &str| cell.trim().trim_matches('`').to_string();
    rows.map(|row| row.trim_matches('|').split('|').map(cell).collect()).collect()
}

/// Code without its tests.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // The client module reads codes, and sends none.
            if !["tests", "client"].contains(&name.as_str()) {
                sources(&path, all);
            }
        } else if name != "tests.rs" && !path.ends_with("wire/error.rs") {
            let text = fs::read_to_string(&path).expect("text");
            all.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
        }
    }
}

#[test]
fn error_codes_match_the_table() {
    let mut code = String::new();
    sources(&root().join("core/src"), &mut code);
    let mut listed = BTreeSet::new();
    for row in table("Error codes") {
        let [number, name, state, ..] = &row[..] else { panic!("{row:?}") };
        let number: i32 = number.parse().expect("a number");
        listed.insert(number);
        let Some(error) = ErrorCode::from_i32(number) else {
            assert_eq!(state, "client", "{name} is none of ours");
            continue;
        };
        let rust = format!("{error:?}");
        assert_eq!(rust.to_uppercase(), *name);
        let is_sent = code.contains(&format!("ErrorCode::{rust}"));
        assert_eq!(state, if is_sent { "sent" } else { "never" }, "{name}");
    }
    for number in (-200..=0).filter(|number| ErrorCode::from_i32(*number).is_some()) {
        assert!(listed.contains(&number), "{number} is missing");
    }
}

#[test]
fn four_letter_words_match_the_table() {
    let listed: Vec<String> =
        table("Four-letter words").into_iter().map(|row| row[0].clone()).collect();
    let words: Vec<&str> = Word::ALL.iter().map(|word| word.name()).collect();
    assert_eq!(listed, words);
}

#[test]
fn metrics_match_the_table() {
    let mut code = String::new();
    sources(&root().join("core/src"), &mut code);
    code.retain(|c| !c.is_whitespace());
    let fed = |name: &str| {
        let place = format!("metrics.{name}");
        code.split(&place).skip(1).any(|rest| rest.starts_with(['.', '=']))
    };
    let mut listed = table("Figures of `mntr`").into_iter();
    let mut names = Vec::new();
    Metrics::default().for_each(|name, _| names.push(name));
    names.sort_unstable();
    for name in names {
        let row = listed.next().expect("a row for every figure");
        assert_eq!(row[0], name);
        assert_eq!(row[1], if fed(name) { "fed" } else { "0" }, "{name}");
    }
    for name in OWN_FIGURES {
        let row = listed.next().expect("a row for every figure");
        assert_eq!([&*row[0], &*row[1]], [name, "own"]);
    }
    assert_eq!(listed.next(), None);
}

#[test]
fn keys_match_the_table() {
    let mut listed = BTreeSet::new();
    for row in table("Keys") {
        let [key, state, ..] = &row[..] else { panic!("{row:?}") };
        listed.insert(key.clone());
        let (key, value) = match key.as_str() {
            "server.N" => ("server.1".to_string(), "a:1:2"),
            "group.G" => ("group.1".to_string(), "1"),
            "weight.N" => ("weight.1".to_string(), "1"),
            "authProvider.NAME" => {
                let class = "org.apache.zookeeper.server.auth.X509AuthenticationProvider";
                ("authProvider.x509".to_string(), class)
            }
            // A value that is read, and none that asks for what the server does in any case.
            "connectToLearnerMasterLimit" | "quorum.cnxn.threads.size" => (key.clone(), "1"),
            other if other.to_lowercase().ends_with("ms") => (key.clone(), "1"),
            other => (other.replace("NAME", "some"), unusual(other)),
        };
        let base = if key == "dataDir" { "clientPort=1" } else { "dataDir=/d\nclientPort=1" };
        let text = format!("{base}\n{key}={value}\n");
        let said = match Config::parse("zoo.cfg", &text, Some("1"), None) {
            Err(error) if error.to_string().contains("is not supported yet") => "refused",
            // The value is wrong for this key, so the key was read.
            Err(_) => "read",
            Ok((_, warnings)) => {
                let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
                let about = |what: &str| said.iter().any(|line| line.contains(what));
                assert!(!about(&format!("unknown key {key}")), "{key} is unknown");
                if about(&format!(
                    "{key} has no effect in zoo.cfg; ZooKeeper reads it as -D{key} only"
                )) {
                    "flag"
                } else if about(&format!("{key} has no effect here")) {
                    "no effect"
                } else {
                    "read"
                }
            }
        };
        let expected = match state.as_str() {
            "ignored" | "later" => "no effect",
            other => other,
        };
        assert_eq!(said, expected, "{key}");
    }
    for key in declared_keys() {
        assert!(listed.contains(&key), "{key} is missing");
    }
}

/// The keys of all tables in the code: `file("KEY")`, `property("KEY")` and their kin.
fn declared_keys() -> BTreeSet<String> {
    let folder = root().join("core/src/config");
    let mut code = fs::read_to_string(folder.join("keys.rs")).expect("keys.rs");
    sources(&folder.join("settings"), &mut code);
    let kinds = ["file", "property", "flag", "both"];
    let lines = code.lines().map(str::trim);
    let calls = lines.filter_map(|line| line.strip_suffix("\"),")?.split_once("(\""));
    let keys = calls.filter(|(kind, _)| kinds.contains(kind)).map(|(_, key)| key.to_string());
    let keys: BTreeSet<String> = keys.collect();
    assert!(keys.len() > 150, "the tables have another form: {keys:?}");
    keys
}

/// A value of a switch that does not ask for what the server does in any case.
fn unusual(key: &str) -> &'static str {
    match key {
        "clientTcpKeepAlive"
        | "closeSessionTxn.enabled"
        | "observer.syncEnabled"
        | "syncEnabled"
        | "tcpKeepAlive" => "false",
        _ => "true",
    }
}
