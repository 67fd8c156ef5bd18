//! `zoo.cfg` and the ensemble's members: text in, typed configuration out
//! (`QuorumPeerConfig`).

mod dynamic;
mod keys;
mod members;
mod properties;
mod server_line;
mod throttle;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::budget;
use crate::types::{ServerId, literal, spelling};

pub use dynamic::point_to;
pub use members::{EnsembleConfig, LearnerType, Member, ServerAddress};
use properties::Property;
pub use throttle::{ConnectionThrottle, Weights};

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

impl Config {
    /// Reads a configuration. `name` stands in messages; `myid` is the text of `dataDir/myid`
    /// if the file is there; `dynamic` name and text of the `dynamicConfigFile`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(
        name: &str,
        text: &str,
        myid: Option<&str>,
        dynamic: Option<(&str, &str)>,
    ) -> Result<(Config, Vec<Warning>), ConfigError> {
        Config::parse_with_next(name, text, myid, dynamic, None)
    }

    /// Reads a configuration with `zoo.cfg.dynamic.next` beside it, name and text: the members
    /// that were proposed last. They may have been committed, and count if they are newer than
    /// the ones in the `dynamicConfigFile`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse_with_next(
        name: &str,
        text: &str,
        myid: Option<&str>,
        dynamic: Option<(&str, &str)>,
        next: Option<(&str, &str)>,
    ) -> Result<(Config, Vec<Warning>), ConfigError> {
        let mut file = File { name, values: BTreeMap::new(), servers: Vec::new() };
        file.take(name, properties::parse(text));
        let version = match dynamic {
            Some((name, text)) => file.take_dynamic(name, properties::parse(text))?,
            None => 0,
        };
        let warnings = file.check_keys()?;
        let mut config = file.config()?;
        let ensemble = EnsembleConfig { version, ..file.members()? };
        file.check_addresses(&ensemble, config.multi_address)?;
        if file.is_distributed(&ensemble)? {
            file.check_ensemble(&ensemble, config.extended_types)?;
            config.next = match next.filter(|_| config.reconfig_enabled) {
                Some((name, text)) => Some(EnsembleConfig::parse(name, text)?),
                None => None,
            };
            config.next.take_if(|next| next.version <= version);
            let id = my_id(&config.data_dir, myid, &ensemble, config.next.as_ref())?;
            file.client_address(&mut config, ensemble.members.get(&id))?;
            config.my_id = id;
            config.ensemble = Some(ensemble);
        } else if let Ok(id) = my_id(&config.data_dir, myid, &ensemble, None) {
            file.client_address(&mut config, ensemble.members.get(&id))?;
        }
        Ok((config, warnings))
    }

    /// The value of `dynamicConfigFile`, for whoever reads it.
    pub fn dynamic_file(text: &str) -> Option<String> {
        Config::value_of(text, "dynamicConfigFile")
    }

    /// The value of `dataDir`, for whoever reads `myid` in it.
    pub fn data_dir(text: &str) -> Option<String> {
        Config::value_of(text, "dataDir")
    }

    /// What a text gives to a key, which may have `zookeeper.` before it there.
    pub fn value_of(text: &str, key: &str) -> Option<String> {
        let is_it = |k: &str| k == key || k.strip_prefix("zookeeper.") == Some(key);
        let found = properties::parse(text).into_iter().rfind(|p| is_it(p.key.trim()));
        found.map(|p| String::from(p.value.trim())).filter(|v| !v.is_empty())
    }
}

/// What the file says, by ZooKeeper's key without the `zookeeper.` prefix.
struct File<'a> {
    name: &'a str,
    values: BTreeMap<String, (String, String)>,
    servers: Vec<(String, String, String)>,
}

impl File<'_> {
    fn take(&mut self, name: &str, properties: Vec<Property>) {
        for Property { line, key, value } in properties {
            let place = format!("{name}:{line}");
            let key = key.trim();
            let key = key.strip_prefix("zookeeper.").unwrap_or(key);
            // What came out of an escape must not break a message into lines.
            let value = value.trim().replace(char::is_control, " ");
            if is_of_ensemble(key) {
                self.servers.retain(|(_, earlier, _)| earlier != key);
                self.servers.push((place, key.to_string(), value));
            } else {
                self.values.insert(key.to_string(), (place, value));
            }
        }
    }

    /// Takes the `dynamicConfigFile`, which holds the ensemble and nothing else. Gives its
    /// version: of its `version` line, or else of its name (`zoo.cfg.dynamic.<hex>`).
    fn take_dynamic(&mut self, name: &str, lines: Vec<Property>) -> Result<i64, ConfigError> {
        if let Some((place, key, _)) = self.servers.first() {
            let what = format!("{key} belongs into the dynamicConfigFile, {name}: move it there");
            return Err(ConfigError { place: place.clone(), what });
        }
        let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
        // What is not negative: it is written without a sign.
        let number = |hex| i64::from_str_radix(hex, 16).ok().filter(|version| *version >= 0);
        let mut version = suffix.and_then(number).unwrap_or(0);
        for Property { line, key, value } in &lines {
            let (key, value) = (key.trim(), value.trim());
            let error = |what: &str| {
                let what = format!("{key}={value}: expected {what}").replace(char::is_control, " ");
                ConfigError { place: format!("{name}:{line}"), what }
            };
            if key == "version" {
                version = number(value).ok_or_else(|| error("a hexadecimal number"))?;
            } else if !is_of_ensemble(key) {
                return Err(error("only server.N, group.N, weight.N and version in this file"));
            }
        }
        self.take(name, lines.into_iter().filter(|p| p.key.trim() != "version").collect());
        Ok(version)
    }

    fn check_keys(&self) -> Result<Vec<Warning>, ConfigError> {
        let mut warnings = Vec::new();
        for (key, (place, value)) in &self.values {
            let place = place.clone();
            match keys::judge(key, value) {
                keys::Verdict::Used => {}
                keys::Verdict::Refused => {
                    let what = format!(
                        "{key}={value} is not supported yet, and to ignore it would not be safe: \
                         remove it, or keep this member on Apache ZooKeeper"
                    );
                    return Err(ConfigError { place, what });
                }
                keys::Verdict::NoEffect => {
                    warnings.push(Warning { place, what: format!("{key} has no effect here") });
                }
                keys::Verdict::Unknown => {
                    warnings.push(Warning { place, what: format!("unknown key {key}") });
                }
            }
        }
        Ok(warnings)
    }

    fn error(&self, key: &str, expected: &str) -> ConfigError {
        match self.values.get(key) {
            Some((place, value)) => ConfigError {
                place: place.clone(),
                what: format!("{key}={value}: expected {expected}"),
            },
            None => ConfigError {
                place: String::from(self.name),
                what: format!("{key} is missing: expected {expected}"),
            },
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.values.get(key).map(|(_, value)| value.clone()).filter(|v| !v.is_empty())
    }

    fn number<T: FromStr + PartialOrd>(
        &self,
        key: &str,
        default: T,
        least: T,
        expected: &str,
    ) -> Result<T, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        let number = text.parse::<T>().ok().filter(|n| *n >= least);
        number.ok_or_else(|| self.error(key, expected))
    }

    fn boolean(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.error(key, "true or false")),
        }
    }

    /// A switch that ZooKeeper moves from its safe side by one exact word alone: any other
    /// word that could be meant to move it is an error, and never does.
    fn unless(&self, key: &str, safe: [&str; 2], unsafe_word: &str) -> Result<bool, ConfigError> {
        match self.text(key) {
            None => Ok(true),
            Some(word) if safe.contains(&word.as_str()) => Ok(true),
            Some(word) if word == unsafe_word => Ok(false),
            Some(_) => Err(self.error(key, "yes or no")),
        }
    }

    fn enforced_schemes(&self) -> Result<Vec<String>, ConfigError> {
        if !self.boolean("enforce.auth.enabled", false)? {
            return Ok(Vec::new());
        }
        let Some(text) = self.text("enforce.auth.schemes") else {
            return Err(self.error("enforce.auth.enabled", "enforce.auth.schemes beside it"));
        };
        let schemes: Vec<String> = text.split(',').map(|name| String::from(name.trim())).collect();
        let mut known = Vec::from(["ip"]);
        known.extend(self.digest_auth()?.then_some("digest"));
        known.extend(self.has_provider(keys::X509_PROVIDER).then_some("x509"));
        if schemes.iter().all(|name| known.contains(&name.as_str())) {
            Ok(schemes)
        } else {
            let expected = format!("{}, parted by commas", known.join(" or "));
            Err(self.error("enforce.auth.schemes", &expected))
        }
    }

    fn digest_auth(&self) -> Result<bool, ConfigError> {
        let enabled = self.boolean("DigestAuthenticationProvider.enabled", true)?;
        Ok(enabled || self.has_provider(keys::DIGEST_PROVIDER))
    }

    /// Whether any `authProvider.NAME` is this class.
    fn has_provider(&self, class: &str) -> bool {
        let mut all = self.values.iter().filter(|(key, _)| key.starts_with(keys::PROVIDER));
        all.any(|(_, (_, value))| value == class)
    }

    fn port(&self, key: &str) -> Result<Option<u16>, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.parse::<u16>() {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(self.error(key, "a port, 0 to 65535")),
        }
    }

    fn config(&self) -> Result<Config, ConfigError> {
        const MS: &str = "a whole number of milliseconds, 0 or more";
        const COUNT: &str = "a whole number, 0 or more";
        const INTEGER: &str = "a whole number";
        let data_dir = self.text("dataDir").ok_or_else(|| self.error("dataDir", "a directory"))?;
        // An int of Java's: what is computed from it stays within bounds.
        let tick_time_ms =
            self.number("tickTime", 3000u32, 1, "a whole number of milliseconds, 1 or more")?;
        let tick_time_ms = u64::from(tick_time_ms);
        let timeout = |key: &str, ticks: u64| -> Result<i32, ConfigError> {
            let default = i32::try_from(tick_time_ms * ticks).unwrap_or(i32::MAX);
            let given = self.number(key, -1, -1, MS)?;
            Ok(if given == -1 { default } else { given })
        };
        let (min, max) = (timeout("minSessionTimeout", 2)?, timeout("maxSessionTimeout", 20)?);
        if min > max {
            let what = format!("at most maxSessionTimeout ({max}), not {min}");
            return Err(self.error("minSessionTimeout", &what));
        }
        if self.text("electionAlg").is_some_and(|alg| alg != "3") {
            return Err(self.error("electionAlg", "3"));
        }
        if let Some(kind) = self.text("peerType")
            && server_line::role_of(&kind).is_none()
        {
            return Err(self.error("peerType", "participant or observer"));
        }
        let client_port = self.port("clientPort")?;
        let client_port_address =
            self.text("clientPortAddress").map(|host| spelling(&host).into_owned());
        if client_port.is_none() && client_port_address.is_some() {
            return Err(self.error("clientPortAddress", "a clientPort beside it"));
        }
        if self.text("DigestAuthenticationProvider.digestAlg").is_some_and(|a| a != "SHA1") {
            return Err(self.error("DigestAuthenticationProvider.digestAlg", "SHA1"));
        }
        let jute_max_buffer = self.number("jute.maxbuffer", 0xf_ffff_usize, 1, COUNT)?;
        let jute_extra_size =
            self.number("jute.maxbuffer.extrasize", jute_max_buffer.max(1024), 0, COUNT)?;
        Ok(Config {
            data_log_dir: self.text("dataLogDir").unwrap_or_else(|| data_dir.clone()),
            data_dir,
            client_port,
            client_port_address,
            listen_backlog: self.number("clientPortListenBacklog", -1, -1, INTEGER)?,
            tick_time_ms,
            min_session_timeout_ms: min,
            max_session_timeout_ms: max,
            max_client_connections: self.number("maxClientCnxns", 60, 0, COUNT)?,
            max_connections: self.number("maxCnxns", 0, 0, COUNT)?,
            init_limit: self.number("initLimit", 0u32, 0, "a whole number of ticks")?.into(),
            sync_limit: self.number("syncLimit", 0u32, 0, "a whole number of ticks")?.into(),
            my_id: ServerId(0),
            ensemble: None,
            next: None,
            reconfig_enabled: self.boolean("reconfigEnabled", false)?,
            standalone_enabled: self.boolean("standaloneEnabled", true)?,
            multi_address: self.boolean("multiAddress.enabled", false)?,
            quorum_listen_on_all_ips: self.boolean("quorumListenOnAllIPs", false)?,
            observer_master_port: self.port("observerMasterPort")?.filter(|port| *port > 0),
            election_bind_retries: self.number("electionPortBindRetry", 3, 0, COUNT)?,
            purge_retain_count: self.number("autopurge.snapRetainCount", 3usize, 0, COUNT)?.max(3),
            purge_interval_hours: self.number("autopurge.purgeInterval", 0, 0, COUNT)?,
            four_letter_whitelist: self.text("4lw.commands.whitelist"),
            read_only_mode: self.boolean("readonlymode.enabled", false)?,
            local_sessions: self.boolean("localSessionsEnabled", false)?,
            upgrades_local_sessions: self.boolean("localSessionsUpgradingEnabled", false)?,
            snap_count: self.number("snapCount", 100_000u64, 0, COUNT)?.max(2),
            snap_size_limit_kb: self.number("snapSizeLimitInKb", 4_194_304, i64::MIN, INTEGER)?,
            txn_log_size_limit_kb: self.number("txnLogSizeLimitInKb", -1, i64::MIN, INTEGER)?,
            pre_alloc_size_kb: self.number("preAllocSize", 65_536, 0, COUNT)?,
            force_sync: self.unless("forceSync", ["yes", "true"], "no")?,
            commit_log_count: self.number("commitLogCount", 500usize, 0, COUNT)?.max(500),
            snapshot_size_factor: match self.number(
                "snapshotSizeFactor",
                0.33,
                f64::MIN,
                "a number",
            )? {
                factor if factor > 1.0 => 0.33,
                factor => factor,
            },
            snapshot_compression: self.text("snapshot.compression.method").unwrap_or_default(),
            slow_sync_ms: self.number("fsync.warningthresholdms", 1000, 0, MS)?,
            trust_empty_snapshot: self.boolean("snapshot.trust.empty", false)?,
            db_autocreate: self.boolean("db.autocreate", true)?,
            datadir_autocreate: self.boolean("datadir.autocreate", true)?,
            digest_enabled: self.boolean("digest.enabled", true)?,
            digest_auth: self.digest_auth()?,
            super_digest: self.text("DigestAuthenticationProvider.superDigest"),
            x509_auth: self.has_provider(keys::X509_PROVIDER),
            x509_super_user: self.text("X509AuthenticationProvider.superUser"),
            connection_throttle: throttle::read(self)?,
            large_request_bytes: usize::try_from(self.number(
                "largeRequestThreshold",
                -1_i64,
                -1,
                "bytes, or -1",
            )?)
            .ok()
            .filter(|bytes| *bytes > 0),
            large_requests_max_bytes: self.number("largeRequestMaxBytes", 100 << 20, 1, COUNT)?,
            enforced_schemes: self.enforced_schemes()?,
            skip_acl: !self.unless("skipACL", ["no", "false"], "yes")?,
            jute_max_buffer,
            jute_extra_size,
            max_requests: self.number("request_throttle_max_requests", 0, 0, COUNT)?,
            throttled_op_wait_ms: self.number("throttled_op_wait_time", 0, 0, "ms, 0 or more")?,
            global_outstanding_limit: self.number("globalOutstandingLimit", 1000usize, 1, COUNT)?,
            turn_budget: self.number("turnBudget", budget::TURN, 1, "1 or more")?,
            cnx_timeout_ms: self.number("cnxTimeout", 5000, 1, MS)?,
            finalize_wait_ms: 200,
            min_notification_ms: self.number("fastleader.minNotificationInterval", 200, 1, MS)?,
            max_notification_ms: self.number(
                "fastleader.maxNotificationInterval",
                60_000,
                1,
                MS,
            )?,
            sessionless_timeout_ms: self.number("nio.sessionlessCnxnTimeout", 10_000, 1, MS)?,
            extended_types: self.boolean("extendedTypesEnabled", false)?,
            emulate_353: self.boolean("emulate353TTLNodes", false)?,
            enforce_quota: self.boolean("enforceQuota", false)?,
            reap_interval_ms: self.number("znode.container.checkIntervalMs", 60_000, 1, MS)?,
            reap_per_minute: self.number("znode.container.maxPerMinute", 10_000, 0, COUNT)?,
            reap_never_used_ms: self.number("znode.container.maxNeverUsedIntervalMs", 0, 0, MS)?,
            serialize_last_zxid: self.boolean("serializeLastProcessedZxid.enabled", true)?,
        })
    }

    /// What the `server`, `group` and `weight` lines say, each for itself.
    fn members(&self) -> Result<EnsembleConfig, ConfigError> {
        let mut ensemble = EnsembleConfig::default();
        for (place, key, value) in &self.servers {
            let error = |expected: &str| ConfigError {
                place: place.clone(),
                what: format!("{key}={value}: expected {expected}"),
            };
            let (kind, id) = key.split_once('.').unwrap_or((key, ""));
            let id: i64 = id.parse().map_err(|_| error(&format!("{kind}.N with a number N")))?;
            match kind {
                "server" => {
                    let member = server_line::parse(value).map_err(error)?;
                    ensemble.members.insert(ServerId(id), member);
                }
                "group" => {
                    for part in value.split(':') {
                        let sid = part.trim().parse();
                        let sid = sid.map_err(|_| error("server ids parted by colons"))?;
                        if ensemble.groups.insert(ServerId(sid), id).is_some() {
                            return Err(error("every server in one group only"));
                        }
                    }
                }
                _ => {
                    let weight = value.parse::<u32>();
                    let weight = weight.map_err(|_| error("a whole number, 0 or more"))?;
                    ensemble.weights.insert(ServerId(id), weight.into());
                }
            }
        }
        Ok(ensemble)
    }

    fn ensemble_error(&self, what: &str) -> ConfigError {
        let place = self.servers.first().map(|(place, ..)| place.clone());
        ConfigError {
            place: place.unwrap_or_else(|| String::from(self.name)),
            what: String::from(what),
        }
    }

    /// Whether this is a member of an ensemble, be it of one, and not a standalone server.
    fn is_distributed(&self, ensemble: &EnsembleConfig) -> Result<bool, ConfigError> {
        let standalone = self.boolean("standaloneEnabled", true)?;
        match ensemble.voters().count() {
            0 if !standalone || !ensemble.members.is_empty() => {
                let what = "no server votes: expected at least one participant";
                Err(self.ensemble_error(what))
            }
            1 if standalone && ensemble.members.len() > 1 => Err(self.ensemble_error(
                "observers need an ensemble: expected several participants, or \
                 standaloneEnabled=false",
            )),
            voters => Ok(voters > 1 || !standalone),
        }
    }

    /// The rules between an ensemble's lines (`QuorumPeerConfig`, `QuorumHierarchical`).
    fn check_ensemble(
        &self,
        ensemble: &EnsembleConfig,
        extended_types: bool,
    ) -> Result<(), ConfigError> {
        self.check_groups(ensemble)?;
        if extended_types
            && let Some(id) = ensemble.members.keys().find(|id| !(0..=254).contains(&id.0))
        {
            let what = format!("server.{id}: expected ids 0 to 254 with extendedTypesEnabled");
            return Err(self.ensemble_error(&what));
        }
        for key in ["initLimit", "syncLimit"] {
            self.number(key, 0u64, 1, "a whole number of ticks, 1 or more")?;
            if self.text(key).is_none() {
                return Err(self.error(key, "a whole number of ticks, 1 or more"));
            }
        }
        Ok(())
    }

    fn check_groups(&self, ensemble: &EnsembleConfig) -> Result<(), ConfigError> {
        let grouped = !ensemble.groups.is_empty() || !ensemble.weights.is_empty();
        for id in ensemble.voters() {
            if grouped && !ensemble.groups.contains_key(&id) {
                return Err(self.ensemble_error(&format!(
                    "server {id} is in no group: expected every voter in a group.G line"
                )));
            }
        }
        if let Some(id) = ensemble.groups.keys().find(|id| !ensemble.members.contains_key(id)) {
            let what = format!("server {id} of a group.G line has no server.{id} line");
            return Err(self.ensemble_error(&what));
        }
        Ok(())
    }

    /// The client address in this server's own line wins over `clientPort`, which must not
    /// contradict it. Names are not resolved here: only literal addresses can contradict.
    fn client_address(&self, config: &mut Config, me: Option<&Member>) -> Result<(), ConfigError> {
        let Some(line) = me.and_then(|member| member.client.as_ref()) else { return Ok(()) };
        if config.client_port.is_some_and(|port| port != line.port) {
            let expected = format!("{}, as in this server's own line", line.port);
            return Err(self.error("clientPort", &expected));
        }
        let ip = |host: &str| literal(host).map(|(ip, _)| ip);
        let given = config.client_port_address.as_deref().and_then(ip);
        let given = given.filter(|ip| !ip.is_unspecified());
        if let (Some(given), Some(here)) = (given, ip(&line.host))
            && given != here
        {
            let expected = format!("{}, as in this server's own line", line.host);
            return Err(self.error("clientPortAddress", &expected));
        }
        config.client_port = Some(line.port);
        config.client_port_address = Some(line.host.to_string()).filter(|_| !line.is_wildcard());
        Ok(())
    }
}

fn is_of_ensemble(key: &str) -> bool {
    ["server.", "group.", "weight."].iter().any(|p| key.starts_with(p))
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
    let first = text.lines().next().unwrap_or_default().trim();
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
