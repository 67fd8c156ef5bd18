//! Limits of connections and requests.

use super::throttle::{self, ConnectionThrottle};
use crate::budget;
use crate::config::ConfigError;
use crate::config::keys::{Key, file, flag, property};
use crate::config::values::{NUMBER, Values, or_zero};

pub(super) const KEYS: &[Key] = &[
    property("globalOutstandingLimit"),
    flag("jute.maxbuffer"),
    property("jute.maxbuffer.extrasize"),
    property("largeRequestMaxBytes"),
    property("largeRequestThreshold"),
    file("maxClientCnxns"),
    property("maxCnxns"),
    property("request_throttle_max_requests"),
    property("throttled_op_wait_time"),
    property("turnBudget"),
];

/// The most that clients may ask of a server.
#[derive(Clone, PartialEq, Debug)]
pub struct LimitsConfig {
    /// `maxClientCnxns`: connections of one address; 0: no limit.
    pub max_client_connections: u32,
    /// `maxCnxns`: connections in all; 0: no limit.
    pub max_connections: u32,
    /// `connection_throttle_*`; none: handshakes are not throttled.
    pub connection_throttle: Option<ConnectionThrottle>,
    /// `jute.maxbuffer`, bytes: the longest frame.
    pub jute_max_buffer: usize,
    /// `jute.maxbuffer.extrasize`, bytes: how much longer a field on disk may be.
    pub jute_extra_size: usize,
    /// `largeRequestThreshold`, bytes: longer frames are large requests; none: no frame is.
    pub large_request_bytes: Option<usize>,
    /// `largeRequestMaxBytes`: the most bytes of all large requests together.
    pub large_requests_max_bytes: usize,
    /// `request_throttle_max_requests`: requests under way at once; 0: no limit.
    pub max_requests: usize,
    /// `throttled_op_wait_time`, ms: a request that waits longer for admission is refused; 0:
    /// never.
    pub throttled_op_wait_ms: u64,
    /// `globalOutstandingLimit`: writes under way at once.
    pub global_outstanding_limit: usize,
    /// `turnBudget`: the cost of clients' requests in one turn, in about nanoseconds.
    pub turn_budget: usize,
}

impl LimitsConfig {
    pub(in crate::config) fn read(values: &Values<'_>) -> Result<LimitsConfig, ConfigError> {
        let (jute_max_buffer, jute_extra_size) = jute(values)?;
        let limit = |key: &str, default| or_zero(values.integer(key, default));
        let per_address = values.number("maxClientCnxns", 60, i32::MIN, NUMBER)?;
        let large_bytes = values.at_least("largeRequestThreshold", -1, 1, -1);
        let large_max = values.at_least("largeRequestMaxBytes", 100 << 20, 1, 100 << 20);
        let turn = i32::try_from(budget::TURN).unwrap_or(i32::MAX);
        Ok(LimitsConfig {
            max_client_connections: or_zero(per_address),
            max_connections: or_zero(values.at_least("maxCnxns", 0, 0, 0)),
            connection_throttle: throttle::read(values)?,
            jute_max_buffer,
            jute_extra_size,
            large_request_bytes: usize::try_from(large_bytes).ok(),
            large_requests_max_bytes: or_zero(large_max) as usize,
            max_requests: limit("request_throttle_max_requests", 0) as usize,
            throttled_op_wait_ms: limit("throttled_op_wait_time", 0).into(),
            global_outstanding_limit: limit("globalOutstandingLimit", 1000) as usize,
            turn_budget: or_zero(values.at_least("turnBudget", turn, 1, turn)) as usize,
        })
    }
}

/// `jute.maxbuffer` and `jute.maxbuffer.extrasize`.
fn jute(values: &Values<'_>) -> Result<(usize, usize), ConfigError> {
    let most = values.integer("jute.maxbuffer", 0xf_ffff);
    if most <= 0 {
        return Err(values.error("jute.maxbuffer", "a whole number of bytes, 1 or more"));
    }
    let extra = values.integer("jute.maxbuffer.extrasize", most);
    Ok((or_zero(most) as usize, or_zero(extra.max(1024)) as usize))
}
