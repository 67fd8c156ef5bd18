//! How many clients may connect in a while (`connection_throttle_*`, `BlueThrottle`).

use super::read::positive;
use super::values::Values;
use super::{ConfigError, java};

/// A bucket of tokens: every handshake takes some.
#[derive(Clone, PartialEq, Debug)]
pub struct ConnectionThrottle {
    /// The most that are in the bucket, and at first (`connection_throttle_tokens`).
    pub tokens: u64,
    /// So often it is filled (`connection_throttle_fill_time`), ms.
    pub fill_ms: u64,
    /// With so many (`connection_throttle_fill_count`).
    pub fill_count: u64,
    /// So often the chance of being dropped changes (`connection_throttle_freeze_time`), ms;
    /// none: nobody is dropped by chance.
    pub freeze_ms: Option<u64>,
    /// By so much it grows while the bucket is empty (`connection_throttle_drop_increase`).
    pub drop_increase: f64,
    /// By so much it shrinks (`connection_throttle_drop_decrease`),
    pub drop_decrease: f64,
    /// while no more than this part of the tokens is taken (`connection_throttle_decrease_ratio`).
    pub decrease_ratio: f64,
    /// What a handshake takes.
    pub weights: Weights,
}

/// Tokens that a handshake takes (`connection_throttle_weight_enabled`, `…_session_weight`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weights {
    /// A new session that all servers know.
    pub global: u64,
    /// A session of old.
    pub renew: u64,
    /// A new session that only this server knows.
    pub local: u64,
}

/// Reads the keys; none if nothing is throttled.
pub(super) fn read(values: &Values<'_>) -> Result<Option<ConnectionThrottle>, ConfigError> {
    let count = |key: &str, default| u64::from(positive(values.integer(key, default)));
    let mut throttle = ConnectionThrottle {
        tokens: count("connection_throttle_tokens", 0),
        fill_ms: count("connection_throttle_fill_time", 1),
        fill_count: count("connection_throttle_fill_count", 1),
        freeze_ms: u64::try_from(values.integer("connection_throttle_freeze_time", -1)).ok(),
        drop_increase: chance(values, "connection_throttle_drop_increase", 0.02)?,
        drop_decrease: chance(values, "connection_throttle_drop_decrease", 0.002)?,
        decrease_ratio: chance(values, "connection_throttle_decrease_ratio", 0.0)?,
        weights: Weights { global: 1, renew: 1, local: 1 },
    };
    if values.switch("connection_throttle_weight_enabled", false) {
        throttle.weights = weights(values);
        // What is configured counts global sessions.
        throttle.tokens = throttle.tokens.saturating_mul(throttle.weights.global);
        throttle.fill_count = throttle.fill_count.saturating_mul(throttle.weights.global);
    }
    Ok((throttle.tokens > 0).then_some(throttle))
}

fn weights(values: &Values<'_>) -> Weights {
    let weight = |key: &str, default: i32| {
        let number = values.integer(key, default);
        let counts = if number > 0 { number } else { default };
        u64::from(positive(values.instead(key, number, counts)))
    };
    let local = weight("connection_throttle_local_session_weight", 1);
    // A local session is the cheapest.
    let global = weight("connection_throttle_global_session_weight", 3).max(local);
    let renew = weight("connection_throttle_renew_session_weight", 2).max(local);
    Weights { global, renew, local }
}

/// Beyond 0 and 1 there is no more or less of a chance.
fn chance(values: &Values<'_>, key: &str, default: f64) -> Result<f64, ConfigError> {
    let Some(text) = values.word(key) else { return Ok(default) };
    let part = java::fraction(text).filter(|part| !part.is_nan());
    part.map(|part| part.clamp(0.0, 1.0)).ok_or_else(|| values.error(key, "a number from 0 to 1"))
}
