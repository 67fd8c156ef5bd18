//! The throttle of handshakes (`connection_throttle_*`, `BlueThrottle`).

use crate::config::ConfigError;
use crate::config::java;
use crate::config::keys::{Key, property};
use crate::config::values::{Values, or_zero};

pub(super) const KEYS: &[Key] = &[
    property("connection_throttle_decrease_ratio"),
    property("connection_throttle_drop_decrease"),
    property("connection_throttle_drop_increase"),
    property("connection_throttle_fill_count"),
    property("connection_throttle_fill_time"),
    property("connection_throttle_freeze_time"),
    property("connection_throttle_global_session_weight"),
    property("connection_throttle_local_session_weight"),
    property("connection_throttle_renew_session_weight"),
    property("connection_throttle_tokens"),
    property("connection_throttle_weight_enabled"),
];

/// A token bucket: every handshake takes tokens, and is refused if there are too few.
#[derive(Clone, PartialEq, Debug)]
pub struct ConnectionThrottle {
    /// `connection_throttle_tokens`: the capacity of the bucket, which is full at first.
    pub tokens: u64,
    /// `connection_throttle_fill_time`, ms: the interval between two fillings.
    pub fill_ms: u64,
    /// `connection_throttle_fill_count`: the tokens of one filling.
    pub fill_count: u64,
    /// `connection_throttle_freeze_time`, ms: the interval in which the chance of a random refusal
    /// is adjusted; none: there are no random refusals.
    pub freeze_ms: Option<u64>,
    /// `connection_throttle_drop_increase`: the chance grows by this while the bucket is empty.
    pub drop_increase: f64,
    /// `connection_throttle_drop_decrease`: the chance shrinks by this while the bucket is full
    /// enough.
    pub drop_decrease: f64,
    /// `connection_throttle_decrease_ratio`: the part of the tokens that may be taken from a bucket
    /// that is full enough.
    pub decrease_ratio: f64,
    /// The tokens that a handshake takes.
    pub weights: Weights,
}

/// The tokens that a handshake takes, by its kind of session
/// (`connection_throttle_weight_enabled`, `connection_throttle_*_session_weight`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weights {
    /// A new session that the leader creates.
    pub global: u64,
    /// A session that is resumed.
    pub renew: u64,
    /// A new local session of one server.
    pub local: u64,
}

/// Reads the keys; none if handshakes are not throttled.
pub(super) fn read(values: &Values<'_>) -> Result<Option<ConnectionThrottle>, ConfigError> {
    let count = |key: &str, default| u64::from(or_zero(values.integer(key, default)));
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
        // The configured counts are of global sessions.
        throttle.tokens = throttle.tokens.saturating_mul(throttle.weights.global);
        throttle.fill_count = throttle.fill_count.saturating_mul(throttle.weights.global);
    }
    Ok((throttle.tokens > 0).then_some(throttle))
}

fn weights(values: &Values<'_>) -> Weights {
    let weight = |key: &str, default: i32| {
        let number = values.integer(key, default);
        let counts = if number > 0 { number } else { default };
        u64::from(or_zero(values.instead(key, number, counts)))
    };
    let local = weight("connection_throttle_local_session_weight", 1);
    // A local session costs the least.
    let global = weight("connection_throttle_global_session_weight", 3).max(local);
    let renew = weight("connection_throttle_renew_session_weight", 2).max(local);
    Weights { global, renew, local }
}

/// A chance from 0 to 1. Numbers beyond count as the nearer of both, as in ZooKeeper.
fn chance(values: &Values<'_>, key: &str, default: f64) -> Result<f64, ConfigError> {
    let Some(text) = values.word(key) else { return Ok(default) };
    let part = java::fraction(text).filter(|part| !part.is_nan());
    part.map(|part| part.clamp(0.0, 1.0)).ok_or_else(|| values.error(key, "a number from 0 to 1"))
}
