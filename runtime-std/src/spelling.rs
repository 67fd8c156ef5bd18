//! Warnings about directories with non-ASCII names: `zoo.cfg` is read as ISO-8859-1, as in
//! ZooKeeper, so that a name in UTF-8 denotes another directory than its author sees.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use zabkeeper_core::config::{Config, Warning, encode};

/// Warns about `dataDir` and `dataLogDir` if their names have such letters.
pub(crate) fn warnings(name: &str, config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (key, dir) in
        [("dataDir", &config.storage.data_dir), ("dataLogDir", &config.storage.data_log_dir)]
    {
        let is_reported =
            key == "dataLogDir" && config.storage.data_log_dir == config.storage.data_dir;
        if dir.is_ascii() || is_reported {
            continue;
        }
        let mut what = format!(
            "{key} is read as ISO-8859-1, as in ZooKeeper: the directory is {dir}; write other \
             letters as escapes (\\u00e4)"
        );
        for other in others(dir).into_iter().filter(|other| holds_data(other)) {
            let holds =
                if holds_data(Path::new(dir)) { ", too" } else { ", and this one does not" };
            what += &format!("; {} holds data{holds}", other.display());
        }
        warnings
            .push(Warning { place: String::from(name), what: what.replace(char::is_control, " ") });
    }
    warnings
}

/// The same name as read in UTF-8, and as read by a JVM without a locale.
fn others(dir: &str) -> Vec<PathBuf> {
    let as_bytes = dir.chars().all(|c| u32::from(c) < 256).then(|| encode(dir));
    let without_locale =
        dir.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect::<String>();
    let all = as_bytes.into_iter().chain([without_locale.into_bytes()]);
    all.map(|bytes| PathBuf::from(OsString::from_vec(bytes))).collect()
}

fn holds_data(dir: &Path) -> bool {
    dir.join("version-2").is_dir()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use zabkeeper_core::config::decode;

    use super::*;

    #[test]
    fn directory_that_was_probably_meant_is_named() {
        let home = tempfile::tempdir().unwrap();
        let read = |file: Vec<u8>| Config::parse("zoo.cfg", &decode(&file), None, None).unwrap().0;
        let texts = |config: &Config| {
            let all = warnings("zoo.cfg", config);
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let home = home.path().to_str().unwrap();
        assert_eq!(texts(&read(format!("dataDir={home}/data\n").into_bytes())), [""; 0]);
        let config = read(format!("dataDir={home}/d\u{e4}ten\n").into_bytes());
        assert_eq!(config.storage.data_dir, format!("{home}/d\u{c3}\u{a4}ten"));
        let [text] = &texts(&config)[..] else { panic!("one warning") };
        assert!(text.starts_with("zoo.cfg: dataDir is read as ISO-8859-1"), "{text}");
        assert!(text.contains(&config.storage.data_dir) && !text.contains("holds data"), "{text}");
        fs::create_dir_all(format!("{home}/d\u{e4}ten/version-2")).unwrap();
        let text = texts(&config).concat();
        let meant = format!("{home}/d\u{e4}ten holds data, and this one does not");
        assert!(text.ends_with(&meant), "{text}");
        fs::create_dir_all(format!("{}/version-2", config.storage.data_dir)).unwrap();
        assert!(texts(&config).concat().ends_with("holds data, too"));
    }
}
