//! The tree of znodes: their kinds, quotas, digests, and the deletion of those that have expired.

use crate::config::ConfigError;
use crate::config::keys::{Key, flag, property};
use crate::config::values::{Values, or_zero};

pub(super) const KEYS: &[Key] = &[
    property("digest.enabled"),
    property("emulate353TTLNodes"),
    property("enforceQuota"),
    property("extendedTypesEnabled"),
    flag("znode.container.checkIntervalMs"),
    flag("znode.container.maxNeverUsedIntervalMs"),
    flag("znode.container.maxPerMinute"),
];

/// Settings of znodes: types, quotas, containers and TTLs.
#[derive(Clone, PartialEq, Debug)]
pub struct TreeConfig {
    /// `extendedTypesEnabled`: znodes may have a time to live.
    pub extended_types: bool,
    /// `emulate353TTLNodes`: owners of ephemeral znodes are read as ZooKeeper 3.5.3 wrote them.
    pub emulate_353: bool,
    /// `enforceQuota`: a write that exceeds a hard limit is refused.
    pub enforce_quota: bool,
    /// `digest.enabled`: the tree has a digest that servers compare.
    pub digest_enabled: bool,
    /// `znode.container.checkIntervalMs`: the interval in which the leader looks for empty
    /// containers and expired znodes.
    pub reap_interval_ms: u64,
    /// `znode.container.maxPerMinute`: the most that are deleted in a minute; 0: none.
    pub reap_per_minute: u64,
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container may wait for its first
    /// child; 0: no limit.
    pub reap_never_used_ms: i64,
}

impl TreeConfig {
    pub(in crate::config) fn read(values: &Values<'_>) -> Result<TreeConfig, ConfigError> {
        Ok(TreeConfig {
            extended_types: values.switch("extendedTypesEnabled", false),
            emulate_353: values.switch("emulate353TTLNodes", false),
            enforce_quota: values.switch("enforceQuota", false),
            digest_enabled: values.switch("digest.enabled", true),
            reap_interval_ms: values.positive_ms("znode.container.checkIntervalMs", 60_000)?,
            reap_per_minute: match values.integer("znode.container.maxPerMinute", 10_000) {
                // ZooKeeper's pause between two deletions is then negative: there is no limit.
                ..0 => u64::MAX,
                count => or_zero(count).into(),
            },
            reap_never_used_ms: values.long("znode.container.maxNeverUsedIntervalMs", 0),
        })
    }
}
