//! Directories, log, snapshots and their purging.

use alloc::string::String;

use crate::config::ConfigError;
use crate::config::java;
use crate::config::keys::{Key, file, property};
use crate::config::values::{NUMBER, Values, or_zero};

pub(super) const KEYS: &[Key] = &[
    file("autopurge.purgeInterval"),
    file("autopurge.snapRetainCount"),
    file("dataDir"),
    file("dataLogDir"),
    property("datadir.autocreate"),
    property("db.autocreate"),
    property("forceSync"),
    property("fsync.warningthresholdms"),
    property("preAllocSize"),
    property("serializeLastProcessedZxid.enabled"),
    property("snapCount"),
    property("snapSizeLimitInKb"),
    property("snapshot.compression.method"),
    property("snapshot.trust.empty"),
    property("txnLogSizeLimitInKb"),
];

/// Settings of the log, the snapshots and their directories.
#[derive(Clone, PartialEq, Debug)]
pub struct StorageConfig {
    /// `dataDir`.
    pub data_dir: String,
    /// `dataLogDir`; `dataDir` by default.
    pub data_log_dir: String,
    /// `datadir.autocreate`: missing directories are created.
    pub datadir_autocreate: bool,
    /// `db.autocreate`: a server with an empty directory may vote.
    pub db_autocreate: bool,
    /// `forceSync`: a write is durable before it is acknowledged.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`: a slower sync of the log is logged.
    pub slow_sync_ms: u64,
    /// `preAllocSize`, KB: the log grows in steps of this size.
    pub pre_alloc_size_kb: u64,
    /// `txnLogSizeLimitInKb`; 0 or less: off.
    pub txn_log_size_limit_kb: i64,
    /// `snapCount`: about the number of transactions between two snapshots.
    pub snap_count: u64,
    /// `snapSizeLimitInKb`: about the size of the log between two snapshots; 0 or less: off.
    pub snap_size_limit_kb: i64,
    /// `snapshot.compression.method`: `gz`, `snappy`, or empty.
    pub snapshot_compression: String,
    /// `snapshot.trust.empty`: a log without a snapshot is accepted.
    pub trust_empty_snapshot: bool,
    /// `serializeLastProcessedZxid.enabled`: a snapshot ends with its last zxid.
    pub serialize_last_zxid: bool,
    /// `autopurge.snapRetainCount`, at least 3.
    pub purge_retain_count: usize,
    /// `autopurge.purgeInterval`, hours; 0: off.
    pub purge_interval_hours: u64,
}

impl StorageConfig {
    pub(in crate::config) fn read(values: &Values<'_>) -> Result<StorageConfig, ConfigError> {
        let data_dir = values.text("dataDir");
        let data_dir = data_dir.ok_or_else(|| values.error("dataDir", "a directory"))?;
        Ok(StorageConfig {
            data_log_dir: values.text("dataLogDir").unwrap_or_else(|| data_dir.clone()),
            data_dir,
            datadir_autocreate: values.switch("datadir.autocreate", true),
            db_autocreate: values.switch("db.autocreate", true),
            force_sync: !values.is_word("forceSync", "no", ["yes", "true"]),
            slow_sync_ms: slow_sync_ms(values),
            pre_alloc_size_kb: {
                let kb: i64 = values.or_default("preAllocSize", 65_536, java::parse);
                u64::try_from(kb).unwrap_or(0)
            },
            txn_log_size_limit_kb: values.long("txnLogSizeLimitInKb", -1),
            snap_count: or_zero(values.at_least("snapCount", 100_000, 2, 2)).into(),
            snap_size_limit_kb: values.long("snapSizeLimitInKb", 4_194_304),
            snapshot_compression: snapshot_compression(values),
            trust_empty_snapshot: values.switch("snapshot.trust.empty", false),
            serialize_last_zxid: values.switch("serializeLastProcessedZxid.enabled", true),
            purge_retain_count: purge_retain_count(values)?,
            purge_interval_hours: {
                let hours = values.number("autopurge.purgeInterval", 0, i32::MIN, NUMBER)?;
                or_zero(hours).into()
            },
        })
    }
}

/// ZooKeeper also reads the key without the prefix, if it has no number with the prefix.
fn slow_sync_ms(values: &Values<'_>) -> u64 {
    let key = "fsync.warningthresholdms";
    let default = values.flag(key).and_then(java::decode).unwrap_or(1000);
    u64::try_from(values.long(key, default)).unwrap_or(0)
}

fn snapshot_compression(values: &Values<'_>) -> String {
    let name = values.text("snapshot.compression.method").unwrap_or_default();
    match name.to_ascii_lowercase().as_str() {
        known @ ("gz" | "snappy" | "") => String::from(known),
        _ => {
            values.instead("snapshot.compression.method", name.as_str(), "no compression");
            String::new()
        }
    }
}

fn purge_retain_count(values: &Values<'_>) -> Result<usize, ConfigError> {
    let count = values.number("autopurge.snapRetainCount", 3, i32::MIN, NUMBER)?;
    Ok(or_zero(values.instead("autopurge.snapRetainCount", count, count.max(3))) as usize)
}
