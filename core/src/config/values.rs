//! The values of all keys, and the ways in which ZooKeeper reads them. `QuorumPeerConfig` reads
//! keys of `zoo.cfg`: a wrong value is an error. `Integer.getInteger` and `Boolean.getBoolean`
//! read properties of the JVM: a wrong value gives the default, and here a warning.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::keys::{self, Home, Verdict};
use super::{ConfigError, Warning, java};
use crate::text::properties::{self, Property};

/// The place of a property of the JVM, for messages.
const FLAG_PLACE: &str = "system property (-D, SERVER_JVMFLAGS or JVMFLAGS)";
/// The prefix that ZooKeeper puts before a key of `zoo.cfg` that `QuorumPeerConfig` does not read.
const PREFIX: &str = "zookeeper.";

/// The expected values of frequent kinds, for messages.
pub(super) const MS: &str = "a whole number of milliseconds, 1 or more";
pub(super) const NUMBER: &str = "a whole number of 32 bits";

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) place: String,
    pub(super) value: String,
}

/// A line of a member, a group or a weight.
#[derive(Debug)]
pub(super) struct EnsembleLine {
    pub(super) key: String,
    pub(super) given: Given,
}

/// The settings of `zoo.cfg`, of the dynamic file, and of the JVM.
pub(super) struct Values<'a> {
    pub(super) name: &'a str,
    /// By key.
    file: BTreeMap<String, Given>,
    /// By the whole name of a property of the JVM.
    properties: BTreeMap<String, Given>,
    /// In the order of the file.
    pub(super) ensemble: Vec<EnsembleLine>,
    warnings: RefCell<Vec<Warning>>,
}

/// A text of a file on one line, for messages.
pub(super) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

impl<'a> Values<'a> {
    pub(super) fn new(name: &'a str) -> Values<'a> {
        Values {
            name,
            file: BTreeMap::new(),
            properties: BTreeMap::new(),
            ensemble: Vec::new(),
            warnings: RefCell::default(),
        }
    }

    /// Takes properties of the JVM by their whole names. `zoo.cfg` is taken after them.
    ///
    /// # Errors
    /// A setting asks for protection that this server does not have.
    pub(super) fn take_flags(&mut self, flags: &[(String, String)]) -> Result<(), ConfigError> {
        for (name, value) in flags {
            let given = Given { place: String::from(FLAG_PLACE), value: value.clone() };
            let key = name.strip_prefix(PREFIX);
            let short = key.unwrap_or(name);
            let elsewhere = match (key, keys::home(short)) {
                (Some(_), Home::Property | Home::Both) | (None, Home::Flag) => None,
                (None, Home::Property) if short == "fsync.warningthresholdms" => None,
                (_, Home::File) => Some(format!("reads {short} in zoo.cfg only")),
                (None, Home::Both | Home::Property) => {
                    Some(format!("reads it as -D{PREFIX}{short}"))
                }
                (Some(_), Home::Flag) => Some(format!("reads it as -D{short}")),
            };
            match elsewhere {
                None => self.judge(short, &given)?,
                // A property of the JVM itself or of another library.
                Some(_) if key.is_none() && keys::judge(short, value) == Verdict::Unknown => {}
                Some(elsewhere) => {
                    self.warn(&given, format!("-D{name} has no effect; ZooKeeper {elsewhere}"));
                }
            }
            self.properties.insert(name.clone(), given);
        }
        Ok(())
    }

    /// Takes the lines of `zoo.cfg`.
    ///
    /// # Errors
    /// A setting asks for protection that this server does not have.
    pub(super) fn take_file(&mut self, lines: Vec<Property>) -> Result<(), ConfigError> {
        let mut last = BTreeMap::new();
        for line in lines {
            let (key, given) = self.given(self.name, line);
            if keys::is_of_ensemble(&key) {
                self.take_line(key, given);
            } else {
                last.insert(key, given);
            }
        }
        for (key, given) in last {
            let short = key.strip_prefix(PREFIX);
            match (short, keys::home(short.unwrap_or(&key))) {
                (Some(short), Home::File | Home::Property | Home::Both) => {
                    let what = format!(
                        "{key} has no effect in zoo.cfg; ZooKeeper reads it as {short} there"
                    );
                    self.warn(&given, what);
                }
                (_, Home::Flag) => {
                    let short = short.unwrap_or(&key);
                    let what = format!(
                        "{key} has no effect in zoo.cfg; ZooKeeper reads it as -D{short} only"
                    );
                    self.warn(&given, what);
                }
                (None, Home::File | Home::Both) => {
                    self.judge(&key, &given)?;
                    self.file.insert(key, given);
                }
                (None, Home::Property) => {
                    self.judge(&key, &given)?;
                    self.properties.insert(format!("{PREFIX}{key}"), given);
                }
            }
        }
        Ok(())
    }

    /// Takes a line of the ensemble; of two, the later one counts.
    pub(super) fn take_line(&mut self, key: String, given: Given) {
        self.ensemble.retain(|earlier| earlier.key != key);
        self.ensemble.push(EnsembleLine { key, given });
    }

    /// The key and the value of a line, as ZooKeeper trims them.
    pub(super) fn given(&self, name: &str, line: Property) -> (String, Given) {
        let place = format!("{name}:{}", line.line);
        let value = properties::trim(&line.value).to_string();
        (properties::trim(&line.key).to_string(), Given { place, value })
    }

    fn judge(&self, key: &str, given: &Given) -> Result<(), ConfigError> {
        let value = one_line(&given.value);
        match keys::judge(key, &given.value) {
            Verdict::Used => {}
            Verdict::Refused => {
                let what = format!(
                    "{key}={value} is not supported yet, and to ignore it would not be safe: \
                     remove it, or keep this member on Apache ZooKeeper"
                );
                return Err(ConfigError { place: given.place.clone(), what });
            }
            Verdict::NoEffect => self.warn(given, format!("{key} has no effect here")),
            Verdict::Unknown => self.warn(given, format!("unknown key {}", one_line(key))),
        }
        Ok(())
    }

    /// Adds a warning about a setting.
    pub(super) fn warn(&self, given: &Given, what: String) {
        let place = given.place.clone();
        self.warnings.borrow_mut().push(Warning { place, what: one_line(&what) });
    }

    /// Adds a warning about `zoo.cfg` as a whole.
    pub(super) fn warn_of_all(&self, what: &str) {
        let given = Given { place: String::from(self.name), value: String::new() };
        self.warn(&given, String::from(what));
    }

    /// All warnings, those about files first.
    pub(super) fn into_warnings(self) -> Vec<Warning> {
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(|warning| warning.place == FLAG_PLACE);
        warnings
    }

    fn find(&self, key: &str) -> Option<&Given> {
        let name = match keys::home(key) {
            Home::File => return self.file.get(key),
            Home::Both => {
                return self
                    .file
                    .get(key)
                    .or_else(|| self.properties.get(&format!("{PREFIX}{key}")));
            }
            Home::Flag => String::from(key),
            Home::Property => format!("{PREFIX}{key}"),
        };
        self.properties.get(&name)
    }

    /// An error about a key: its value, and the accepted values.
    pub(super) fn error(&self, key: &str, expected: &str) -> ConfigError {
        match self.find(key) {
            Some(Given { place, value }) => ConfigError {
                place: place.clone(),
                what: format!("{key}={}: expected {expected}", one_line(value)),
            },
            None => ConfigError {
                place: String::from(self.name),
                what: format!("{key} is missing: expected {expected}"),
            },
        }
    }

    /// A text; none if it is empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.find(key).map(|given| given.value.clone()).filter(|value| !value.is_empty())
    }

    /// A text, which may be empty.
    pub(super) fn word(&self, key: &str) -> Option<&str> {
        self.find(key).map(|given| given.value.as_str())
    }

    /// A property of the JVM by its whole name.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(|given| given.value.as_str())
    }

    /// A number of `zoo.cfg` (`Integer.parseInt`) of at least `least`.
    pub(super) fn number(
        &self,
        key: &str,
        default: i32,
        least: i32,
        expected: &str,
    ) -> Result<i32, ConfigError> {
        let Some(text) = self.word(key) else { return Ok(default) };
        let number = java::parse(text).and_then(|n| i32::try_from(n).ok());
        number.filter(|n| *n >= least).ok_or_else(|| self.error(key, expected))
    }

    /// A switch of `zoo.cfg` (`QuorumPeerConfig.parseBoolean`).
    pub(super) fn boolean(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.word(key) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(self.error(key, "true or false")),
        }
    }

    /// A port of `zoo.cfg`.
    pub(super) fn port(&self, key: &str) -> Result<Option<u16>, ConfigError> {
        let Some(text) = self.word(key) else { return Ok(None) };
        let port = java::parse(text).and_then(|n| u16::try_from(n).ok());
        port.map(Some).ok_or_else(|| self.error(key, "a port, 0 to 65535"))
    }

    /// A property (`Integer.getInteger`).
    pub(super) fn integer(&self, key: &str, default: i32) -> i32 {
        let read = |text: &str| java::decode(text).and_then(|n| i32::try_from(n).ok());
        self.or_default(key, default, read)
    }

    /// A property (`Long.getLong`).
    pub(super) fn long(&self, key: &str, default: i64) -> i64 {
        self.or_default(key, default, java::decode)
    }

    /// A property that `read` accepts; otherwise, the default and a warning.
    pub(super) fn or_default<T: Copy + ToString + PartialEq>(
        &self,
        key: &str,
        default: T,
        read: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(given) = self.find(key) else { return default };
        let Some(number) = read(&given.value) else {
            let (value, counts) = (&given.value, default.to_string());
            self.warn(
                given,
                format!("{key}={value} is not a number: {counts} is used, as in ZooKeeper"),
            );
            return default;
        };
        if java::parse(&given.value).is_some_and(|n| n.to_string() != number.to_string())
            && given.value.trim_start_matches(['+', '-']).starts_with('0')
        {
            let what = format!(
                "{key}={} is octal: {} is used, as in ZooKeeper",
                given.value,
                number.to_string()
            );
            self.warn(given, what);
        }
        number
    }

    /// The value that ZooKeeper uses instead of the given one, with a warning if they differ.
    pub(super) fn instead<T: PartialEq + ToString>(&self, key: &str, given: T, counts: T) -> T {
        if given != counts
            && let Some(found) = self.find(key)
        {
            let what =
                format!("{key}={}: {} is used, as in ZooKeeper", found.value, counts.to_string());
            self.warn(found, what);
        }
        counts
    }

    /// Warns of a value that this server, unlike ZooKeeper, replaces.
    pub(super) fn instead_here(&self, key: &str, given: i32, counts: i32) {
        if given != counts
            && let Some(found) = self.find(key)
        {
            self.warn(found, format!("{key}={}: {counts} is used here", found.value));
        }
    }

    /// A property that is a switch (`Boolean.getBoolean`, `Boolean.parseBoolean`): on with `true`,
    /// off with any other text.
    pub(super) fn switch(&self, key: &str, default: bool) -> bool {
        let Some(given) = self.find(key) else { return default };
        let on = given.value.eq_ignore_ascii_case("true");
        if !on && !given.value.eq_ignore_ascii_case("false") {
            let what = format!("{key}={} is not true: false is used, as in ZooKeeper", given.value);
            self.warn(given, what);
        }
        on
    }

    /// Whether a property is exactly `word`. Any other text means the opposite; it gives a warning
    /// unless it is one of `others`.
    pub(super) fn is_word(&self, key: &str, word: &str, others: [&str; 2]) -> bool {
        let Some(given) = self.find(key) else { return false };
        let is_it = given.value == word;
        if !is_it && !others.contains(&given.value.as_str()) {
            let what = format!(
                "{key}={} is not {word}: {} is used, as in ZooKeeper",
                given.value, others[0]
            );
            self.warn(given, what);
        }
        is_it
    }

    /// A property with a least value. Below it, `otherwise` counts.
    pub(super) fn at_least(&self, key: &str, default: i32, least: i32, otherwise: i32) -> i32 {
        let number = self.integer(key, default);
        if number >= least || number == default {
            number
        } else {
            self.instead(key, number, otherwise)
        }
    }

    /// A property in milliseconds that has to be positive for ZooKeeper to start.
    pub(super) fn positive_ms(&self, key: &str, default: i32) -> Result<u64, ConfigError> {
        match self.integer(key, default) {
            ..=0 => Err(self.error(key, MS)),
            ms => Ok(or_zero(ms).into()),
        }
    }

    /// A property that is an interval in milliseconds: at least 1.
    pub(super) fn interval_ms(&self, key: &str, default: i32) -> u64 {
        let ms = self.integer(key, default);
        self.instead_here(key, ms, ms.max(1));
        or_zero(ms.max(1)).into()
    }

    /// Whether an `authProvider.NAME` names this class.
    pub(super) fn has_provider(&self, class: &str) -> bool {
        let is_provider = |name: &str| {
            name.strip_prefix(PREFIX).is_some_and(|key| key.starts_with(keys::PROVIDER))
        };
        self.properties.iter().any(|(name, given)| is_provider(name) && given.value == class)
    }

    /// Checks keys without effect here whose wrong values keep ZooKeeper from starting.
    pub(super) fn check_unused(&self) -> Result<(), ConfigError> {
        for key in keys::NUMBERS {
            let bits = if key.starts_with("jvm.") { 64 } else { 32 };
            let fits = |n: i64| bits == 64 || i32::try_from(n).is_ok();
            if self.word(key).is_some_and(|text| !java::parse(text).is_some_and(fits)) {
                return Err(self.error(key, &format!("a whole number of {bits} bits")));
            }
        }
        for key in keys::BOOLEANS {
            self.boolean(key, false)?;
        }
        Ok(())
    }
}

/// A number; 0 in the place of a negative one.
pub(super) fn or_zero(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
