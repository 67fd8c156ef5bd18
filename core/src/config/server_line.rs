//! A `server.N` line: `host:quorum:election[:type][;[host:]port]`, with several addresses
//! parted by `|` (`QuorumPeer.QuorumServer`).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::members::{EnsembleConfig, LearnerType, Member, ServerAddress};
use super::{ConfigError, File};
use crate::types::HostPort;

/// The accepted form, for messages.
pub(super) const FORM: &str =
    "host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort]";

/// One member's addresses have one role.
const ONE_ROLE: &str = "one role for all addresses of a server";

/// Reads what stands behind `server.N=`, or says what is expected.
pub(super) fn parse(value: &str) -> Result<Member, &'static str> {
    let member = read(value).ok_or(FORM)?;
    member.ok_or(ONE_ROLE)
}

/// The inner `None`: its addresses have several roles.
fn read(value: &str) -> Option<Option<Member>> {
    // What is empty at the end is nothing.
    let value = value.trim_end_matches(';');
    let (servers, client) = match value.split_once(';') {
        Some((servers, client)) => (servers, Some(client.trim())),
        None => (value, None),
    };
    let servers = servers.trim_end_matches('|');
    let mut is_one_role = true;
    let mut role = None;
    let mut addresses = Vec::new();
    for text in servers.split('|') {
        let parts = split_colons(text.trim())?;
        let (host, rest) = parts.split_first()?;
        let [quorum, election, kind @ ..] = rest else { return None };
        match kind {
            [] => {}
            [kind] => {
                let kind = role_of(kind)?;
                is_one_role &= *role.get_or_insert(kind) == kind;
            }
            _ => return None,
        }
        if !is_host(host) {
            return None;
        }
        addresses.push(ServerAddress {
            quorum: HostPort::new(host, quorum.parse().ok()?),
            election: HostPort::new(host, election.parse().ok()?),
        });
    }
    let client = match client {
        None | Some("") => None,
        Some(text) => Some(match split_colons(text)?.as_slice() {
            [port] => HostPort::new("0.0.0.0", port.parse().ok()?),
            [host, port] if is_host(host) => HostPort::new(host, port.parse().ok()?),
            _ => return None,
        }),
    };
    let role = role.unwrap_or(LearnerType::Participant);
    Some(is_one_role.then_some(Member { addresses, role, client }))
}

impl File<'_> {
    /// Several addresses of one server are taken where that is switched on, as in
    /// `QuorumServer`.
    pub(super) fn check_addresses(
        &self,
        ensemble: &EnsembleConfig,
        multi_address: bool,
    ) -> Result<(), ConfigError> {
        let Some(id) = ensemble.with_several_addresses().filter(|_| !multi_address) else {
            return Ok(());
        };
        let line = format!("server.{id}");
        let found = self.servers.iter().find(|(_, key, _)| *key == line);
        let place = found.map_or_else(|| String::from(self.name), |(place, ..)| place.clone());
        let what = format!(
            "{line} has several addresses: expected one, or multiAddress.enabled=true \
             (Apache ZooKeeper needs -Dzookeeper.multiAddress.enabled=true)"
        );
        Err(ConfigError { place, what })
    }
}

pub(super) fn role_of(text: &str) -> Option<LearnerType> {
    match text.trim().to_ascii_lowercase().as_str() {
        "participant" => Some(LearnerType::Participant),
        "observer" => Some(LearnerType::Observer),
        _ => None,
    }
}

/// A name or address that can be written into a configuration file, and read again.
fn is_host(text: &str) -> bool {
    !matches!(text, "" | "[]")
        && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\')
}

/// Splits at colons outside of brackets, which stand around IPv6 addresses.
fn split_colons(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let end = match rest.strip_prefix('[') {
            Some(_) => rest.find(']')? + 1,
            None => rest.find(':').unwrap_or(rest.len()),
        };
        let (part, after) = rest.split_at(end);
        parts.push(part.trim().to_string());
        match after.strip_prefix(':') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        for (text, expected) in [
            ("h:1:2", "h:1 h:2 Participant None"),
            ("h:1:2:observer", "h:1 h:2 Observer None"),
            ("h:1:2:participant;2181", "h:1 h:2 Participant Some(\"0.0.0.0:2181\")"),
            ("h:1:2;c:2181", "h:1 h:2 Participant Some(\"c:2181\")"),
            ("[::1]:1:2", "[0:0:0:0:0:0:0:1]:1 [0:0:0:0:0:0:0:1]:2 Participant None"),
            (
                "[::1%lo]:1:2;[::]:3",
                "[0:0:0:0:0:0:0:1%lo]:1 [0:0:0:0:0:0:0:1%lo]:2 Participant \
              Some(\"[0:0:0:0:0:0:0:0]:3\")",
            ),
            ("h:1:2|;", "h:1 h:2 Participant None"),
        ] {
            let member = parse(text).unwrap();
            let (a, client) = (&member.addresses[0], member.client.map(|c| c.to_string()));
            assert_eq!(
                format!("{} {} {:?} {client:?}", a.quorum, a.election, member.role),
                expected
            );
        }
        assert_eq!(parse("a:1:2|b:3:4:observer").unwrap().addresses.len(), 2);
        for bad in ["", "h", "h:1", "h:1:x", "h:1:2:king", ":1:2", "[]:1:2", "h:1:2:observer:3"] {
            assert_eq!(parse(bad), Err(FORM), "{bad}");
        }
        for bad in ["a b:1:2", "a\\b:1:2", "h:1:2;a\nb:3", "h:1:2;:3", "h:1:2;3;4"] {
            assert_eq!(parse(bad), Err(FORM), "no host can be called that: {bad:?}");
        }
    }

    #[test]
    fn the_addresses_of_a_line_have_one_role() {
        let role = |text: &str| parse(text).map(|member| member.role);
        assert_eq!(role("a:1:2:observer|b:1:2"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2|b:1:2:observer"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2:Observer|b:1:2:observer"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2:observer|b:1:2:participant"), Err(ONE_ROLE));
        assert_eq!(role("a:1:2:participant|b:1:2:observer;3"), Err(ONE_ROLE));
    }
}
