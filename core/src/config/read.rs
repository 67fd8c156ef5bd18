//! Each key's meaning: what was said becomes a [`Config`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::values::Values;
use super::{Config, ConfigError, DigestAlgorithm, java, keys, server_line, throttle};
use crate::budget;
use crate::types::{HostPort, ServerId};

/// Of a client's address that is given and empty, as `InetAddress` has it.
const EMPTY_ADDRESS: &str = "localhost";
const MS: &str = "a whole number of milliseconds, 1 or more";
const NUMBER: &str = "a whole number of 32 bits";

impl Values<'_> {
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        self.check_others()?;
        let data_dir = self.text("dataDir").ok_or_else(|| self.error("dataDir", "a directory"))?;
        let tick_time_ms = self.number("tickTime", 3000, 1, MS)?;
        let tick_time_ms = u64::from(tick_time_ms.unsigned_abs());
        let (min, max) = self.session_timeouts(tick_time_ms)?;
        let client_port = self.port("clientPort")?;
        let client_port_address = self.client_port_address(client_port.is_some())?;
        let (jute_max_buffer, jute_extra_size) = self.jute()?;
        let limit = |key: &str, default| positive(self.integer(key, default));
        Ok(Config {
            data_log_dir: self.text("dataLogDir").unwrap_or_else(|| data_dir.clone()),
            data_dir,
            client_port,
            client_port_address,
            listen_backlog: self.number("clientPortListenBacklog", -1, i32::MIN, NUMBER)?,
            tick_time_ms,
            min_session_timeout_ms: min,
            max_session_timeout_ms: max,
            max_client_connections: positive(self.number(
                "maxClientCnxns",
                60,
                i32::MIN,
                NUMBER,
            )?),
            max_connections: positive(self.at_least("maxCnxns", 0, 0, 0)),
            init_limit: positive(self.number("initLimit", 0, i32::MIN, NUMBER)?).into(),
            sync_limit: positive(self.number("syncLimit", 0, i32::MIN, NUMBER)?).into(),
            my_id: ServerId(0),
            ensemble: None,
            next: None,
            reconfig_enabled: self.boolean("reconfigEnabled", false)?,
            standalone_enabled: self.boolean("standaloneEnabled", true)?,
            multi_address: self.boolean("multiAddress.enabled", false)?,
            quorum_listen_on_all_ips: self.boolean("quorumListenOnAllIPs", false)?,
            observer_master_port: self.observer_master_port()?,
            election_bind_retries: positive(self.at_least("electionPortBindRetry", 3, 0, 3)),
            purge_retain_count: self.snap_retain_count()?,
            purge_interval_hours: self.purge_interval()?,
            four_letter_whitelist: self.text("4lw.commands.whitelist"),
            read_only_mode: self.switch("readonlymode.enabled", false),
            local_sessions: self.boolean("localSessionsEnabled", false)?,
            upgrades_local_sessions: self.boolean("localSessionsUpgradingEnabled", false)?,
            snap_count: positive(self.at_least("snapCount", 100_000, 2, 2)).into(),
            snap_size_limit_kb: self.long("snapSizeLimitInKb", 4_194_304),
            txn_log_size_limit_kb: self.long("txnLogSizeLimitInKb", -1),
            pre_alloc_size_kb: {
                let kb: i64 = self.or_default("preAllocSize", 65_536, java::parse);
                u64::try_from(kb).unwrap_or(0)
            },
            force_sync: !self.is_word("forceSync", "no", ["yes", "true"]),
            commit_log_count: self.commit_log_count(),
            snapshot_size_factor: self.snapshot_size_factor(),
            snapshot_compression: self.snapshot_compression(),
            slow_sync_ms: self.slow_sync_ms(),
            trust_empty_snapshot: self.switch("snapshot.trust.empty", false),
            db_autocreate: self.switch("db.autocreate", true),
            datadir_autocreate: self.switch("datadir.autocreate", true),
            digest_enabled: self.switch("digest.enabled", true),
            digest_auth: self.digest_auth(),
            digest_algorithm: self.digest_algorithm()?,
            super_digest: self.text("DigestAuthenticationProvider.superDigest"),
            x509_auth: self.has_provider(keys::X509_PROVIDER),
            x509_super_user: self.text("X509AuthenticationProvider.superUser"),
            connection_throttle: throttle::read(self)?,
            large_request_bytes: {
                let bytes = self.at_least("largeRequestThreshold", -1, 1, -1);
                usize::try_from(bytes).ok()
            },
            large_requests_max_bytes: {
                let default = 100 << 20;
                positive(self.at_least("largeRequestMaxBytes", default, 1, default)) as usize
            },
            enforced_schemes: self.enforced_schemes()?,
            skip_acl: self.is_word("skipACL", "yes", ["no", "false"]),
            jute_max_buffer,
            jute_extra_size,
            max_requests: limit("request_throttle_max_requests", 0) as usize,
            throttled_op_wait_ms: limit("throttled_op_wait_time", 0).into(),
            global_outstanding_limit: limit("globalOutstandingLimit", 1000) as usize,
            turn_budget: {
                let default = i32::try_from(budget::TURN).unwrap_or(i32::MAX);
                positive(self.at_least("turnBudget", default, 1, default)) as usize
            },
            cnx_timeout_ms: self.cnx_timeout_ms(),
            finalize_wait_ms: 200,
            min_notification_ms: self.interval_ms("fastleader.minNotificationInterval", 200),
            max_notification_ms: self.interval_ms("fastleader.maxNotificationInterval", 60_000),
            sessionless_timeout_ms: self.positive_ms("nio.sessionlessCnxnTimeout", 10_000)?,
            extended_types: self.switch("extendedTypesEnabled", false),
            emulate_353: self.switch("emulate353TTLNodes", false),
            enforce_quota: self.switch("enforceQuota", false),
            reap_interval_ms: self.positive_ms("znode.container.checkIntervalMs", 60_000)?,
            reap_per_minute: self.reap_per_minute(),
            reap_never_used_ms: self.long("znode.container.maxNeverUsedIntervalMs", 0),
            protect_system_nodes: self.switch("protectSystemNodes", false),
            sync_needs_quorum: self.switch("syncNeedsQuorum", true),
            serialize_last_zxid: self.switch("serializeLastProcessedZxid.enabled", true),
        })
    }

    /// Keys that set nothing here, and that ZooKeeper does not start with if they are wrong.
    fn check_others(&self) -> Result<(), ConfigError> {
        if self.word("electionAlg").is_some_and(|text| java::parse(text) != Some(3)) {
            return Err(self.error("electionAlg", "3"));
        }
        if self.word("peerType").is_some_and(|kind| server_line::role_of(kind).is_none()) {
            return Err(self.error("peerType", "participant or observer"));
        }
        if self.word("dynamicConfigFile") == Some("") {
            return Err(self.error("dynamicConfigFile", "a file"));
        }
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

    fn session_timeouts(&self, tick_time_ms: u64) -> Result<(i32, i32), ConfigError> {
        let timeout = |key: &str, ticks: u64| -> Result<i32, ConfigError> {
            // Java's sum would turn negative beyond its bounds.
            let default = i32::try_from(tick_time_ms * ticks).unwrap_or(i32::MAX);
            let given = self.number(key, -1, i32::MIN, NUMBER)?;
            Ok(if given == -1 { default } else { given })
        };
        let (min, max) = (timeout("minSessionTimeout", 2)?, timeout("maxSessionTimeout", 20)?);
        if min > max {
            let what = format!("at most maxSessionTimeout ({max}), not {min}");
            return Err(self.error("minSessionTimeout", &what));
        }
        Ok((min.max(0), max.max(0)))
    }

    /// Without the brackets of an IPv6 address; none is every address.
    fn client_port_address(&self, has_port: bool) -> Result<Option<String>, ConfigError> {
        let Some(text) = self.word("clientPortAddress") else { return Ok(None) };
        if !has_port {
            return Err(self.error("clientPortAddress", "a clientPort beside it"));
        }
        if text.is_empty() {
            let counts = String::from(EMPTY_ADDRESS);
            return Ok(Some(self.instead("clientPortAddress", String::new(), counts)));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let at = HostPort::new(bare, 0);
        Ok((!at.is_wildcard()).then(|| at.host.to_string()))
    }

    /// The most bytes of a frame, and how many more a field on disk may have.
    fn jute(&self) -> Result<(usize, usize), ConfigError> {
        let most = self.integer("jute.maxbuffer", 0xf_ffff);
        if most <= 0 {
            return Err(self.error("jute.maxbuffer", "a whole number of bytes, 1 or more"));
        }
        let extra = self.integer("jute.maxbuffer.extrasize", most);
        Ok((positive(most) as usize, positive(extra.max(1024)) as usize))
    }

    fn observer_master_port(&self) -> Result<Option<u16>, ConfigError> {
        let port = self.number("observerMasterPort", 0, i32::MIN, NUMBER)?;
        let port = u16::try_from(port.max(0));
        let port =
            port.map_err(|_| self.error("observerMasterPort", "a port, 1 to 65535, or 0"))?;
        Ok(Some(port).filter(|port| *port > 0))
    }

    fn snap_retain_count(&self) -> Result<usize, ConfigError> {
        let count = self.number("autopurge.snapRetainCount", 3, i32::MIN, NUMBER)?;
        Ok(positive(self.instead("autopurge.snapRetainCount", count, count.max(3))) as usize)
    }

    fn purge_interval(&self) -> Result<u64, ConfigError> {
        Ok(positive(self.number("autopurge.purgeInterval", 0, i32::MIN, NUMBER)?).into())
    }

    /// A property that has a least value; below it another one counts.
    fn at_least(&self, key: &str, default: i32, least: i32, otherwise: i32) -> i32 {
        let number = self.integer(key, default);
        if number >= least || number == default {
            number
        } else {
            self.instead(key, number, otherwise)
        }
    }

    /// A property that ZooKeeper does not start with if it is not positive.
    fn positive_ms(&self, key: &str, default: i32) -> Result<u64, ConfigError> {
        match self.integer(key, default) {
            ..=0 => Err(self.error(key, MS)),
            ms => Ok(positive(ms).into()),
        }
    }

    /// A property of milliseconds that pass between two things: at least one.
    fn interval_ms(&self, key: &str, default: i32) -> u64 {
        match self.integer(key, default) {
            ms @ ..=0 => {
                self.instead_here(key, ms, 1);
                1
            }
            ms => positive(ms).into(),
        }
    }

    fn commit_log_count(&self) -> usize {
        let read = |text: &str| java::parse(text).and_then(|n| i32::try_from(n).ok());
        let count: i32 = self.or_default("commitLogCount", 500, read);
        positive(self.instead("commitLogCount", count, count.max(500))) as usize
    }

    fn snapshot_size_factor(&self) -> f64 {
        let factor = self.or_default("snapshotSizeFactor", 0.33, java::fraction);
        let counts = if factor > 1.0 || factor.is_nan() { 0.33 } else { factor };
        self.instead("snapshotSizeFactor", factor, counts)
    }

    fn snapshot_compression(&self) -> String {
        let name = self.text("snapshot.compression.method").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            known @ ("gz" | "snappy" | "") => String::from(known),
            _ => {
                self.instead("snapshot.compression.method", name.as_str(), "no compression");
                String::new()
            }
        }
    }

    /// Also without the prefix, if there is no number with it.
    fn slow_sync_ms(&self) -> u64 {
        let key = "fsync.warningthresholdms";
        let default = self.flag(key).and_then(java::decode).unwrap_or(1000);
        u64::try_from(self.long(key, default)).unwrap_or(0)
    }

    fn digest_auth(&self) -> bool {
        self.switch("DigestAuthenticationProvider.enabled", true)
            || self.has_provider(keys::DIGEST_PROVIDER)
    }

    fn digest_algorithm(&self) -> Result<DigestAlgorithm, ConfigError> {
        let key = "DigestAuthenticationProvider.digestAlg";
        let Some(name) = self.word(key) else { return Ok(DigestAlgorithm::default()) };
        let algorithm = DigestAlgorithm::from_name(name);
        algorithm.ok_or_else(|| self.error(key, DigestAlgorithm::NAMES))
    }

    fn enforced_schemes(&self) -> Result<Vec<String>, ConfigError> {
        // A setting that was meant to protect is never taken for its opposite.
        if !self.boolean("enforce.auth.enabled", false)? {
            return Ok(Vec::new());
        }
        let Some(text) = self.text("enforce.auth.schemes") else {
            return Err(self.error("enforce.auth.enabled", "enforce.auth.schemes beside it"));
        };
        let schemes: Vec<String> = text.split(',').map(|name| String::from(name.trim())).collect();
        let mut known = Vec::from(["ip"]);
        known.extend(self.digest_auth().then_some("digest"));
        known.extend(self.has_provider(keys::X509_PROVIDER).then_some("x509"));
        if schemes.iter().all(|name| known.contains(&name.as_str())) {
            Ok(schemes)
        } else {
            let expected = format!("{}, parted by commas", known.join(" or "));
            Err(self.error("enforce.auth.schemes", &expected))
        }
    }

    /// Only members ask for it, and are asked for it (`check_ensemble`).
    fn cnx_timeout_ms(&self) -> u64 {
        let given = self.word("cnxTimeout").and_then(java::parse);
        given.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0).unwrap_or(5000)
    }

    /// None is deleted at 0, and below it there is no limit.
    fn reap_per_minute(&self) -> u64 {
        match self.integer("znode.container.maxPerMinute", 10_000) {
            ..0 => u64::MAX,
            count => positive(count).into(),
        }
    }
}

/// A number that is not positive counts as 0.
pub(super) fn positive(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
