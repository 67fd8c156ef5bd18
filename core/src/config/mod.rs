//! `zoo.cfg` and the ensemble's members: text in, typed configuration out
//! (`QuorumPeerConfig`).

mod digest_algorithm;
mod dynamic;
mod java;
mod keys;
mod lines;
mod members;
mod read;
mod server_line;
mod throttle;
mod values;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::text::{Position, properties};
use crate::types::ServerId;

pub use crate::text::properties::{decode, encode};
pub use digest_algorithm::DigestAlgorithm;
pub use dynamic::point_to;
pub use members::{EnsembleConfig, LearnerType, Member, ServerAddress};
pub(crate) use server_line::key_and_value;
pub use throttle::{ConnectionThrottle, Weights};
use values::Values;

/// What is wrong, where, and what would be right: one line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ConfigError {
    /// `file:line`, or the file alone.
    pub place: String,
    /// What is wrong, and what is accepted.
    pub what: String,
}

/// Something that is not wrong, but not what its writer may think.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// `file:line`.
    pub place: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A server's configuration. Names are Rust's, the keys in the comments ZooKeeper's.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `dataDir`.
    pub data_dir: String,
    /// `dataLogDir`; `dataDir` if it is not given.
    pub data_log_dir: String,
    /// `clientPort`, or the port in this server's line.
    pub client_port: Option<u16>,
    /// `clientPortAddress`; none: all addresses.
    pub client_port_address: Option<String>,
    /// `clientPortListenBacklog`; -1: the system's default.
    pub listen_backlog: i32,
    /// `tickTime`, ms.
    pub tick_time_ms: u64,
    /// `minSessionTimeout`, ms; 2 ticks.
    pub min_session_timeout_ms: i32,
    /// `maxSessionTimeout`, ms; 20 ticks.
    pub max_session_timeout_ms: i32,
    /// `maxClientCnxns` of one address; 0: no limit.
    pub max_client_connections: u32,
    /// `maxCnxns` in all; 0: no limit.
    pub max_connections: u32,
    /// `initLimit`, ticks.
    pub init_limit: u64,
    /// `syncLimit`, ticks.
    pub sync_limit: u64,
    /// `myid`; 0 of a standalone server.
    pub my_id: ServerId,
    /// The members; none of a standalone server.
    pub ensemble: Option<EnsembleConfig>,
    /// `zoo.cfg.dynamic.next`: members that were proposed, and are not known to be committed.
    pub next: Option<EnsembleConfig>,
    /// `reconfigEnabled`: the members may change while the ensemble runs.
    pub reconfig_enabled: bool,
    /// `standaloneEnabled`: a single server is none of an ensemble.
    pub standalone_enabled: bool,
    /// `multiAddress.enabled`: a member may have several addresses.
    pub multi_address: bool,
    /// `quorumListenOnAllIPs`.
    pub quorum_listen_on_all_ips: bool,
    /// `observerMasterPort`: where an observer finds the followers that it joins through.
    pub observer_master_port: Option<u16>,
    /// `electionPortBindRetry`; 0: for ever.
    pub election_bind_retries: u32,
    /// `autopurge.snapRetainCount`, at least 3.
    pub purge_retain_count: usize,
    /// `autopurge.purgeInterval`, hours; 0: off.
    pub purge_interval_hours: u64,
    /// `4lw.commands.whitelist`.
    pub four_letter_whitelist: Option<String>,
    /// `readonlymode.enabled`: a server that finds no leader serves reads to clients that ask
    /// for no more.
    pub read_only_mode: bool,
    /// `localSessionsEnabled`: sessions begin as their server's own, without a transaction.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`: the first ephemeral makes a local session a global one;
    /// otherwise it is refused.
    pub upgrades_local_sessions: bool,
    /// `snapCount`.
    pub snap_count: u64,
    /// `snapSizeLimitInKb`; 0 or less: off.
    pub snap_size_limit_kb: i64,
    /// `txnLogSizeLimitInKb`; 0 or less: off.
    pub txn_log_size_limit_kb: i64,
    /// `preAllocSize`, KB.
    pub pre_alloc_size_kb: u64,
    /// `forceSync`.
    pub force_sync: bool,
    /// `commitLogCount`, at least 500.
    pub commit_log_count: usize,
    /// `snapshotSizeFactor`; negative: no DIFF from the log on disk.
    pub snapshot_size_factor: f64,
    /// `snapshot.compression.method`.
    pub snapshot_compression: String,
    /// `fsync.warningthresholdms`: a sync of the log that takes longer is told.
    pub slow_sync_ms: u64,
    /// `snapshot.trust.empty`.
    pub trust_empty_snapshot: bool,
    /// `db.autocreate`.
    pub db_autocreate: bool,
    /// `datadir.autocreate`.
    pub datadir_autocreate: bool,
    /// `digest.enabled`.
    pub digest_enabled: bool,
    /// `DigestAuthenticationProvider.enabled`, or an `authProvider.NAME`: there is the scheme
    /// `digest`.
    pub digest_auth: bool,
    /// `DigestAuthenticationProvider.digestAlg`.
    pub digest_algorithm: DigestAlgorithm,
    /// `DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<String>,
    /// An `authProvider.NAME` that is `X509AuthenticationProvider`: there is the scheme `x509`.
    pub x509_auth: bool,
    /// `X509AuthenticationProvider.superUser`.
    pub x509_super_user: Option<String>,
    /// `connection_throttle_*`; none: handshakes are not throttled.
    pub connection_throttle: Option<ConnectionThrottle>,
    /// Frames longer than this are large (`largeRequestThreshold`); none: none is.
    pub large_request_bytes: Option<usize>,
    /// All large requests together have at most this many bytes (`largeRequestMaxBytes`).
    pub large_requests_max_bytes: usize,
    /// `enforce.auth.schemes`, if `enforce.auth.enabled`: a client has to authenticate by one of
    /// them before it may do anything.
    pub enforced_schemes: Vec<String>,
    /// `skipACL`.
    pub skip_acl: bool,
    /// `jute.maxbuffer`, bytes.
    pub jute_max_buffer: usize,
    /// `jute.maxbuffer.extrasize`, bytes.
    pub jute_extra_size: usize,
    /// `request_throttle_max_requests`: requests under way at once; 0: no limit.
    pub max_requests: usize,
    /// `throttled_op_wait_time`, ms, after which a request that is not admitted is refused;
    /// 0: never.
    pub throttled_op_wait_ms: u64,
    /// `globalOutstandingLimit`.
    pub global_outstanding_limit: usize,
    /// `turnBudget`: what clients' requests may cost before other events are looked at, in about
    /// nanoseconds.
    pub turn_budget: usize,
    /// `cnxTimeout`, ms.
    pub cnx_timeout_ms: u64,
    /// How long a quorum's choice of a leader waits for a better vote, ms. No key: 200, as in
    /// ZooKeeper, whatever the text says; for ensembles on one machine.
    pub finalize_wait_ms: u64,
    /// `fastleader.minNotificationInterval`, ms.
    pub min_notification_ms: u64,
    /// `fastleader.maxNotificationInterval`, ms.
    pub max_notification_ms: u64,
    /// `nio.sessionlessCnxnTimeout`, ms.
    pub sessionless_timeout_ms: u64,
    /// `extendedTypesEnabled`.
    pub extended_types: bool,
    /// `emulate353TTLNodes`.
    pub emulate_353: bool,
    /// `enforceQuota`: what would exceed a hard limit is refused.
    pub enforce_quota: bool,
    /// `protectSystemNodes`: only `super` changes `/zookeeper` and what is below it.
    pub protect_system_nodes: bool,
    /// `syncNeedsQuorum`: a sync is answered once a quorum has confirmed the leader.
    pub sync_needs_quorum: bool,
    /// `znode.container.checkIntervalMs`: how often the leader looks for containers and TTL
    /// nodes whose time is up.
    pub reap_interval_ms: u64,
    /// `znode.container.maxPerMinute`: how many of them it deletes in a minute; 0: none.
    pub reap_per_minute: u64,
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container may wait for its first
    /// child; 0: for ever.
    pub reap_never_used_ms: i64,
    /// `serializeLastProcessedZxid.enabled`.
    pub serialize_last_zxid: bool,
}

/// The texts that a configuration is read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The name of `zoo.cfg`, for messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Properties that the JVM was given (`-DNAME=VALUE`), the later one counts; `zoo.cfg` is
    /// stronger.
    pub flags: &'a [(String, String)],
    /// The text of `dataDir/myid`, if the file is there.
    pub my_id: Option<&'a str>,
    /// Name and text of the `dynamicConfigFile`.
    pub dynamic: Option<(&'a str, &'a str)>,
    /// Name and text of `zoo.cfg.dynamic.next` beside `zoo.cfg`: the members that were proposed
    /// last. They may have been committed, and count if they are newer than the ones in the
    /// `dynamicConfigFile`.
    pub next: Option<(&'a str, &'a str)>,
}

impl Config {
    /// Reads a configuration. `name` stands in messages; `my_id` is the text of `dataDir/myid`
    /// if the file is there; `dynamic` name and text of the `dynamicConfigFile`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(
        name: &str,
        text: &str,
        my_id: Option<&str>,
        dynamic: Option<(&str, &str)>,
    ) -> Result<(Config, Vec<Warning>), ConfigError> {
        Config::read(&Sources { name, text, my_id, dynamic, ..Sources::default() })
    }

    /// Reads a configuration from all of its texts.
    ///
    /// # Errors
    /// The first thing that is wrong.
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
        let mut config = values.config().map_err(|mut error| {
            if has_mark {
                error.what = format!("{} ({BYTE_ORDER_MARK})", error.what);
            }
            error
        })?;
        let ensemble = EnsembleConfig { version, ..values.members()? };
        values.check_addresses(&ensemble, config.multi_address)?;
        if values.is_distributed(&ensemble)? {
            values.check_ensemble(&ensemble, config.extended_types)?;
            config.next = match next.filter(|_| config.reconfig_enabled) {
                Some((name, text)) => Some(EnsembleConfig::parse(name, text)?),
                None => None,
            };
            config.next.take_if(|next| next.version <= version);
            let id = my_id(&config.data_dir, id_text, &ensemble, config.next.as_ref())?;
            values.client_address(&mut config, ensemble.members.get(&id))?;
            config.my_id = id;
            config.ensemble = Some(ensemble);
        } else if let Ok(id) = my_id(&config.data_dir, id_text, &ensemble, None) {
            values.client_address(&mut config, ensemble.members.get(&id))?;
        }
        values.warn_of_client_port(&config);
        Ok((config, values.into_warnings()))
    }

    /// The value of `dynamicConfigFile`, for whoever reads it.
    pub fn dynamic_file(text: &str) -> Option<String> {
        Config::value_of(text, "dynamicConfigFile")
    }

    /// The value of `dataDir`, for whoever reads `myid` in it.
    pub fn data_dir(text: &str) -> Option<String> {
        Config::value_of(text, "dataDir")
    }

    /// What a text gives to a key of `zoo.cfg`; none where it cannot be read.
    fn value_of(text: &str, key: &str) -> Option<String> {
        let all = properties::parse(text).unwrap_or_default();
        let found = all.into_iter().rfind(|p| properties::trim(&p.key) == key);
        found.map(|p| String::from(properties::trim(&p.value))).filter(|v| !v.is_empty())
    }
}

/// The effect of a byte order mark.
const BYTE_ORDER_MARK: &str = "the file begins with a byte order mark, which is read as a part of its \
    first line, here and in ZooKeeper: save it without one";

/// Whether a property that the JVM was given, by its whole name, may concern a server.
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
        let said = if first.is_empty() { "nothing in the first line" } else { first };
        ConfigError { place, what: format!("{said}: expected {expected}{removed}") }
    })
}

#[cfg(test)]
mod tests;
