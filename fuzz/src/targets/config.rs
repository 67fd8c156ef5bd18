//! Configuration files.

use zabkeeper_core::config::{Config, EnsembleConfig};

/// A `zoo.cfg`, with `myid` and the dynamic file behind zero bytes: an error names its place,
/// and what is accepted can be written and read again.
pub fn zoo_cfg(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\0');
    let text = parts.next().unwrap_or_default();
    let (myid, dynamic) = (parts.next(), parts.next());
    let _ = (Config::data_dir(text), Config::dynamic_file(text));
    match Config::parse("zoo.cfg", text, myid, dynamic.map(|text| ("dynamic", text))) {
        Err(error) => {
            assert!(!error.place.is_empty() && !error.what.is_empty(), "{error:?}");
            names_a_line_of(&error.place, text, dynamic);
        }
        Ok((config, warnings)) => {
            for warning in &warnings {
                names_a_line_of(&warning.place, text, dynamic);
            }
            assert!(config.sessions.tick_time_ms > 0, "a server's clock ticks");
            assert!(config.sessions.min_timeout_ms <= config.sessions.max_timeout_ms);
            assert_eq!(
                Config::parse("zoo.cfg", text, myid, dynamic.map(|t| ("dynamic", t))).map(|c| c.0),
                Ok(config.clone())
            );
            if let Some(ensemble) = &config.ensemble {
                assert!(ensemble.members.contains_key(&config.my_id));
                written_and_read_again(ensemble, config.my_id.0);
            }
        }
    }
}

/// `file:line`, with a line that is there; or a file alone, or what to set.
fn names_a_line_of(place: &str, text: &str, dynamic: Option<&str>) {
    let lines = match place.rsplit_once(':') {
        Some(("zoo.cfg", line)) => Some((line, text)),
        Some(("dynamic", line)) => dynamic.map(|text| (line, text)),
        Some(_) | None => None,
    };
    if let Some((line, text)) = lines {
        let line: usize = line.parse().expect("a line's number");
        let ends = text.bytes().filter(|b| matches!(b, b'\n' | b'\r')).count();
        assert!((1..=ends + 1).contains(&line), "line {line} of {}", ends + 1);
    }
}

fn written_and_read_again(ensemble: &EnsembleConfig, id: i64) {
    let text = ensemble.to_file();
    let name = format!("dynamic.{:x}", ensemble.version);
    let base = "dataDir=/d\ninitLimit=5\nsyncLimit=2\nmultiAddress.enabled=true\n";
    match Config::parse("zoo.cfg", base, Some(&id.to_string()), Some((&name, &text))) {
        Ok((config, _)) => {
            let again = config.ensemble.expect("an ensemble");
            assert_eq!(again.to_text(), ensemble.to_text());
        }
        Err(error) => panic!("{error}: {text:?}"),
    }
}
