//! The ensemble's protocol: limits of learners, elections, synchronisation, reconfiguration.

use crate::config::ConfigError;
use crate::config::keys::{Key, both, file, property};
use crate::config::values::{NUMBER, Values, or_zero};
use crate::config::{java, server_line};

pub(super) const KEYS: &[Key] = &[
    property("commitLogCount"),
    file("dynamicConfigFile"),
    file("electionAlg"),
    property("fastleader.maxNotificationInterval"),
    property("fastleader.minNotificationInterval"),
    file("initLimit"),
    both("multiAddress.enabled"),
    file("peerType"),
    file("reconfigEnabled"),
    property("snapshotSizeFactor"),
    file("standaloneEnabled"),
    file("syncLimit"),
    property("syncNeedsQuorum"),
    file("version"),
];

/// How the members of an ensemble work together.
#[derive(Clone, PartialEq, Debug)]
pub struct QuorumConfig {
    /// `initLimit`, ticks: the limit for a learner to join a leader.
    pub init_limit: u64,
    /// `syncLimit`, ticks: the limit for a member without a sign of life.
    pub sync_limit: u64,
    /// `reconfigEnabled`: the members may change while the ensemble runs.
    pub reconfig_enabled: bool,
    /// `standaloneEnabled`: a single server is standalone, not an ensemble of one.
    pub standalone_enabled: bool,
    /// `multiAddress.enabled`: a member may have several addresses.
    pub multi_address: bool,
    /// How long a candidate with a quorum waits for a better vote, ms. No key sets it: it is 200,
    /// as in ZooKeeper, unless a host lowers it for an ensemble on one machine.
    pub finalize_wait_ms: u64,
    /// `fastleader.minNotificationInterval`, ms.
    pub min_notification_ms: u64,
    /// `fastleader.maxNotificationInterval`, ms.
    pub max_notification_ms: u64,
    /// `commitLogCount`, at least 500: committed transactions kept in memory for learners.
    pub commit_log_count: usize,
    /// `snapshotSizeFactor`: the part of a snapshot's size up to which a learner is sent the log
    /// on disk; negative: never.
    pub snapshot_size_factor: f64,
    /// `syncNeedsQuorum`: a sync is answered once a quorum has confirmed the leader.
    pub sync_needs_quorum: bool,
}

impl QuorumConfig {
    pub(in crate::config) fn read(values: &Values<'_>) -> Result<QuorumConfig, ConfigError> {
        check_unused(values)?;
        let ticks = |key: &str| values.number(key, 0, i32::MIN, NUMBER);
        Ok(QuorumConfig {
            init_limit: or_zero(ticks("initLimit")?).into(),
            sync_limit: or_zero(ticks("syncLimit")?).into(),
            reconfig_enabled: values.boolean("reconfigEnabled", false)?,
            standalone_enabled: values.boolean("standaloneEnabled", true)?,
            multi_address: values.boolean("multiAddress.enabled", false)?,
            finalize_wait_ms: 200,
            min_notification_ms: values.interval_ms("fastleader.minNotificationInterval", 200),
            max_notification_ms: values.interval_ms("fastleader.maxNotificationInterval", 60_000),
            commit_log_count: commit_log_count(values),
            snapshot_size_factor: snapshot_size_factor(values),
            sync_needs_quorum: values.switch("syncNeedsQuorum", true),
        })
    }
}

/// Keys that name what this server has in any case, and that must not name anything else.
fn check_unused(values: &Values<'_>) -> Result<(), ConfigError> {
    if values.word("electionAlg").is_some_and(|text| java::parse(text) != Some(3)) {
        return Err(values.error("electionAlg", "3"));
    }
    if values.word("peerType").is_some_and(|kind| server_line::role_of(kind).is_none()) {
        return Err(values.error("peerType", "participant or observer"));
    }
    if values.word("dynamicConfigFile") == Some("") {
        return Err(values.error("dynamicConfigFile", "a file"));
    }
    Ok(())
}

fn commit_log_count(values: &Values<'_>) -> usize {
    let read = |text: &str| java::parse(text).and_then(|n| i32::try_from(n).ok());
    let count: i32 = values.or_default("commitLogCount", 500, read);
    or_zero(values.instead("commitLogCount", count, count.max(500))) as usize
}

fn snapshot_size_factor(values: &Values<'_>) -> f64 {
    let factor = values.or_default("snapshotSizeFactor", 0.33, java::fraction);
    let counts = if factor > 1.0 || factor.is_nan() { 0.33 } else { factor };
    values.instead("snapshotSizeFactor", factor, counts)
}
