//! Ports, addresses and time-outs of connections.

use alloc::string::{String, ToString};

use crate::config::ConfigError;
use crate::config::java;
use crate::config::keys::{Key, file, property};
use crate::config::values::{NUMBER, Values, or_zero};
use crate::types::HostPort;

pub(super) const KEYS: &[Key] = &[
    file("clientPort"),
    file("clientPortAddress"),
    file("clientPortListenBacklog"),
    property("cnxTimeout"),
    property("electionPortBindRetry"),
    property("nio.sessionlessCnxnTimeout"),
    file("observerMasterPort"),
    file("quorumListenOnAllIPs"),
];

/// The meaning of a client address that is given and empty, as `InetAddress` defines it.
const EMPTY_ADDRESS: &str = "localhost";

/// Where a server listens, and how long it waits for peers.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkConfig {
    /// `clientPort`, or the port in this server's member line.
    pub client_port: Option<u16>,
    /// `clientPortAddress`; none: all addresses.
    pub client_port_address: Option<String>,
    /// `clientPortListenBacklog`; -1: the system's default.
    pub listen_backlog: i32,
    /// `quorumListenOnAllIPs`: the quorum and election ports listen on all addresses, not only on
    /// those of this server's member line.
    pub quorum_listen_on_all_ips: bool,
    /// `observerMasterPort`: the port at which a follower accepts observers.
    pub observer_master_port: Option<u16>,
    /// `electionPortBindRetry`; 0: no limit.
    pub election_bind_retries: u32,
    /// `cnxTimeout`, ms: the limit for dialling a member.
    pub cnx_timeout_ms: u64,
    /// `nio.sessionlessCnxnTimeout`, ms: the limit for a connection without a session.
    pub sessionless_timeout_ms: u64,
}

impl NetworkConfig {
    pub(in crate::config) fn read(values: &Values<'_>) -> Result<NetworkConfig, ConfigError> {
        let client_port = values.port("clientPort")?;
        Ok(NetworkConfig {
            client_port,
            client_port_address: client_port_address(values, client_port.is_some())?,
            listen_backlog: values.number("clientPortListenBacklog", -1, i32::MIN, NUMBER)?,
            quorum_listen_on_all_ips: values.boolean("quorumListenOnAllIPs", false)?,
            observer_master_port: observer_master_port(values)?,
            election_bind_retries: or_zero(values.at_least("electionPortBindRetry", 3, 0, 3)),
            cnx_timeout_ms: cnx_timeout_ms(values),
            sessionless_timeout_ms: values.positive_ms("nio.sessionlessCnxnTimeout", 10_000)?,
        })
    }
}

/// The address without the brackets of IPv6; none for a wildcard.
fn client_port_address(values: &Values<'_>, has_port: bool) -> Result<Option<String>, ConfigError> {
    let key = "clientPortAddress";
    let Some(text) = values.word(key) else { return Ok(None) };
    if !has_port {
        return Err(values.error(key, "a clientPort beside it"));
    }
    if text.is_empty() {
        return Ok(Some(values.instead(key, String::new(), String::from(EMPTY_ADDRESS))));
    }
    let at = HostPort::new(text, 0);
    Ok((!at.is_wildcard()).then(|| at.host.to_string()))
}

fn observer_master_port(values: &Values<'_>) -> Result<Option<u16>, ConfigError> {
    let key = "observerMasterPort";
    let port = u16::try_from(values.number(key, 0, i32::MIN, NUMBER)?.max(0));
    let port = port.map_err(|_| values.error(key, "a port, 1 to 65535, or 0"))?;
    Ok(Some(port).filter(|port| *port > 0))
}

/// A standalone server ignores a wrong value; `Values::check_ensemble` refuses it for a member.
fn cnx_timeout_ms(values: &Values<'_>) -> u64 {
    let given = values.word("cnxTimeout").and_then(java::parse);
    given.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0).unwrap_or(5000)
}
