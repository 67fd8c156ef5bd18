//! The configuration of a server: `zoo.cfg` and the lists of members as text in, one typed
//! [`Config`] out (`QuorumPeerConfig`).
//!
//! Texts are read by the grammars of `text`, then `values` keeps the value of each
//! key, then each group of `settings` reads its keys. The first mistake is reported in one line
//! with its place; settings that do not do what their writer may expect give warnings.

mod dynamic;
mod java;
mod keys;
mod lines;
mod members;
mod server_line;
mod settings;
mod values;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::text::{Position, properties};
use crate::types::ServerId;

pub use crate::text::properties::{decode, encode};
pub use dynamic::point_to;
pub use members::{EnsembleConfig, LearnerType, Member, ServerAddress};
pub(crate) use server_line::key_and_value;
pub use settings::{
    ConnectionThrottle, DigestAlgorithm, LimitsConfig, NetworkConfig, QuorumConfig, SecurityConfig,
    SessionConfig, StorageConfig, TreeConfig, Weights,
};
use values::Values;

/// A mistake in a configuration, in one line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ConfigError {
    /// `file:line`, or the file alone.
    pub place: String,
    /// The mistake, and the accepted values.
    pub what: String,
}

/// A setting that is accepted, but may not do what its writer expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// `file:line`, or the file alone.
    pub place: String,
    /// The effect of the setting.
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// The configuration of a server: its members, and its settings in groups. A field's comment names
/// ZooKeeper's key.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `myid`; 0 of a standalone server.
    pub my_id: ServerId,
    /// The members in force; none of a standalone server.
    pub ensemble: Option<EnsembleConfig>,
    /// `zoo.cfg.dynamic.next`: the proposed configuration, which may have been committed.
    pub next: Option<EnsembleConfig>,
    /// Directories, log, snapshots.
    pub storage: StorageConfig,
    /// Ticks and sessions.
    pub sessions: SessionConfig,
    /// Ports, addresses, time-outs of connections.
    pub network: NetworkConfig,
    /// The ensemble's protocol.
    pub quorum: QuorumConfig,
    /// Authentication and ACLs.
    pub security: SecurityConfig,
    /// Limits of connections and requests.
    pub limits: LimitsConfig,
    /// Kinds of znodes, quotas, containers.
    pub tree: TreeConfig,
}

/// The texts that a configuration is read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The name of `zoo.cfg`, for messages.
    pub name: &'a str,
    /// The text of `zoo.cfg`.
    pub text: &'a str,
    /// Properties of the JVM (`-DNAME=VALUE`); of two, the later one counts. `zoo.cfg` has
    /// precedence over them.
    pub flags: &'a [(String, String)],
    /// The text of `dataDir/myid`; none if there is no such file.
    pub my_id: Option<&'a str>,
    /// Name and text of the `dynamicConfigFile`.
    pub dynamic: Option<(&'a str, &'a str)>,
    /// Name and text of `zoo.cfg.dynamic.next` beside `zoo.cfg`: the members that were proposed
    /// last. It is ignored unless it is newer than the `dynamicConfigFile`.
    pub next: Option<(&'a str, &'a str)>,
}

impl Config {
    /// Reads a configuration of `zoo.cfg` (`name` and `text`), `dataDir/myid` and the
    /// `dynamicConfigFile` (name and text), without properties of the JVM.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(
        name: &str,
        text: &str,
        my_id: Option<&str>,
        dynamic: Option<(&str, &str)>,
    ) -> Result<(Config, Vec<Warning>), ConfigError> {
        Config::read(&Sources { name, text, my_id, dynamic, ..Sources::default() })
    }

    /// Reads a configuration of all its texts.
    ///
    /// # Errors
    /// The first mistake.
    pub fn read(sources: &Sources<'_>) -> Result<(Config, Vec<Warning>), ConfigError> {
        let &Sources { name, text, flags, my_id: id_text, dynamic, next } = sources;
        let mut values = Values::new(name);
        values.take_flags(flags)?;
        values.take_file(lines_of(name, text)?)?;
        let has_mark = properties::has_byte_order_mark(text);
        if has_mark {
            values.warn_of_all(BYTE_ORDER_MARK);
        }
        let version = match dynamic {
            Some((name, text)) => values.take_dynamic(name, lines_of(name, text)?)?,
            None => values.static_version()?,
        };
        let mut config = Config::of(&values).map_err(|mut error| {
            if has_mark {
                error.what = format!("{} ({BYTE_ORDER_MARK})", error.what);
            }
            error
        })?;
        let ensemble = EnsembleConfig { version, ..values.members()? };
        values.check_addresses(&ensemble, config.quorum.multi_address)?;
        if values.is_distributed(&ensemble)? {
            values.check_ensemble(&ensemble, config.tree.extended_types)?;
            config.next = match next.filter(|_| config.quorum.reconfig_enabled) {
                Some((name, text)) => Some(EnsembleConfig::parse(name, text)?),
                None => None,
            };
            config.next.take_if(|next| next.version <= version);
            let dir = &config.storage.data_dir;
            let id = my_id(dir, id_text, &ensemble, config.next.as_ref())?;
            values.client_address(&mut config.network, ensemble.members.get(&id))?;
            config.my_id = id;
            config.ensemble = Some(ensemble);
        } else if let Ok(id) = my_id(&config.storage.data_dir, id_text, &ensemble, None) {
            values.client_address(&mut config.network, ensemble.members.get(&id))?;
        }
        values.warn_of_client_port(&config.network);
        Ok((config, values.into_warnings()))
    }

    /// The settings of a server, without members.
    fn of(values: &Values<'_>) -> Result<Config, ConfigError> {
        values.check_unused()?;
        Ok(Config {
            my_id: ServerId(0),
            ensemble: None,
            next: None,
            storage: StorageConfig::read(values)?,
            sessions: SessionConfig::read(values)?,
            network: NetworkConfig::read(values)?,
            quorum: QuorumConfig::read(values)?,
            security: SecurityConfig::read(values)?,
            limits: LimitsConfig::read(values)?,
            tree: TreeConfig::read(values)?,
        })
    }

    /// The value of `dynamicConfigFile` in `zoo.cfg`, for the reader of that file.
    pub fn dynamic_file(text: &str) -> Option<String> {
        Config::value_of(text, "dynamicConfigFile")
    }

    /// The value of `dataDir` in `zoo.cfg`, for the reader of `myid`.
    pub fn data_dir(text: &str) -> Option<String> {
        Config::value_of(text, "dataDir")
    }

    /// The value of a key of `zoo.cfg`; none if the text is malformed.
    fn value_of(text: &str, key: &str) -> Option<String> {
        let all = properties::parse(text).unwrap_or_default();
        let found = all.into_iter().rfind(|p| properties::trim(&p.key) == key);
        found.map(|p| String::from(properties::trim(&p.value))).filter(|v| !v.is_empty())
    }
}

const BYTE_ORDER_MARK: &str = "the file begins with a byte order mark, which is read as a part of \
    its first line, here and in ZooKeeper: save it without one";

/// Whether a property of the JVM, by its whole name, is one of ZooKeeper's.
pub fn concerns(flag: &str) -> bool {
    let key = flag.strip_prefix("zookeeper.");
    key.is_some() || keys::judge(flag, "") != keys::Verdict::Unknown
}

fn lines_of(name: &str, text: &str) -> Result<Vec<properties::Property>, ConfigError> {
    properties::parse(text).map_err(|Position { line, column }| ConfigError {
        place: format!("{name}:{line}"),
        what: format!(
            "\\u without four hexadecimal digits at column {column}: expected \\\\ for a backslash, or \
             / in a path"
        ),
    })
}

/// The id in `dataDir/myid`: that of a member, or of a proposed one.
fn my_id(
    data_dir: &str,
    myid: Option<&str>,
    ensemble: &EnsembleConfig,
    next: Option<&EnsembleConfig>,
) -> Result<ServerId, ConfigError> {
    let place = format!("{data_dir}/myid");
    let ids: Vec<String> = ensemble.members.keys().map(|id| id.to_string()).collect();
    let expected = format!("one of the ids {} of the server.N lines", ids.join(", "));
    let Some(text) = myid else {
        let what = format!("the file is missing: expected {expected}");
        return Err(ConfigError { place, what });
    };
    let first = text.split(['\r', '\n']).next().unwrap_or_default().trim();
    let is_member = |id: &ServerId| {
        ensemble.members.contains_key(id) || next.is_some_and(|next| next.members.contains_key(id))
    };
    let id = first.parse().ok().map(ServerId).filter(is_member);
    id.ok_or_else(|| {
        let removed = match ensemble.version {
            0 => "",
            _ => " (a reconfiguration has removed this server, or not added it yet)",
        };
        let found = if first.is_empty() { "nothing in the first line" } else { first };
        ConfigError { place, what: format!("{found}: expected {expected}{removed}") }
    })
}

#[cfg(test)]
mod tests;
