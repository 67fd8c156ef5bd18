//! Ticks and sessions.

use crate::config::ConfigError;
use crate::config::keys::{Key, file, flag};
use crate::config::values::{MS, NUMBER, Values};

pub(super) const KEYS: &[Key] = &[
    file("localSessionsEnabled"),
    file("localSessionsUpgradingEnabled"),
    file("maxSessionTimeout"),
    file("minSessionTimeout"),
    flag("readonlymode.enabled"),
    file("tickTime"),
];

/// The unit of time of an ensemble, and the kinds of sessions that a server grants.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionConfig {
    /// `tickTime`, ms: the resolution of session expiry, and the unit of `initLimit` and
    /// `syncLimit`.
    pub tick_time_ms: u64,
    /// `minSessionTimeout`, ms; 2 ticks by default.
    pub min_timeout_ms: i32,
    /// `maxSessionTimeout`, ms; 20 ticks by default.
    pub max_timeout_ms: i32,
    /// `localSessionsEnabled`: sessions begin as local sessions of their server, without a
    /// transaction.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`: a local session becomes global with its first ephemeral
    /// znode; otherwise the znode is refused.
    pub upgrades_local_sessions: bool,
    /// `readonlymode.enabled`: a server without a leader serves reads to clients that accept a
    /// read-only server.
    pub read_only_mode: bool,
}

impl SessionConfig {
    pub(in crate::config) fn read(values: &Values<'_>) -> Result<SessionConfig, ConfigError> {
        let tick_time_ms = u64::from(values.number("tickTime", 3000, 1, MS)?.unsigned_abs());
        let (min_timeout_ms, max_timeout_ms) = timeouts_ms(values, tick_time_ms)?;
        Ok(SessionConfig {
            tick_time_ms,
            min_timeout_ms,
            max_timeout_ms,
            local_sessions: values.boolean("localSessionsEnabled", false)?,
            upgrades_local_sessions: values.boolean("localSessionsUpgradingEnabled", false)?,
            read_only_mode: values.switch("readonlymode.enabled", false),
        })
    }
}

fn timeouts_ms(values: &Values<'_>, tick_time_ms: u64) -> Result<(i32, i32), ConfigError> {
    let timeout = |key: &str, ticks: u64| -> Result<i32, ConfigError> {
        // Java's product overflows here.
        let default = i32::try_from(tick_time_ms * ticks).unwrap_or(i32::MAX);
        let given = values.number(key, -1, i32::MIN, NUMBER)?;
        Ok(if given == -1 { default } else { given })
    };
    let (min, max) = (timeout("minSessionTimeout", 2)?, timeout("maxSessionTimeout", 20)?);
    if min > max {
        let expected = alloc::format!("at most maxSessionTimeout ({max}), not {min}");
        return Err(values.error("minSessionTimeout", &expected));
    }
    Ok((min.max(0), max.max(0)))
}
