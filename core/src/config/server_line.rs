//! A `server.N` line: `host:quorum:election[:type][;[host:]port]`, with several addresses
//! parted by `|` (`QuorumPeer.QuorumServer`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::members::{LearnerType, Member, ServerAddress};
use crate::types::HostPort;

/// The accepted form, for messages.
pub(super) const FORM: &str =
    "host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort]";

pub(super) fn parse(value: &str) -> Option<Member> {
    let (servers, client) = match value.split_once(';') {
        Some((servers, client)) => (servers, Some(client.trim())),
        None => (value, None),
    };
    let mut role = None;
    let mut addresses = Vec::new();
    for text in servers.split('|') {
        let parts = split_colons(text.trim())?;
        let (host, rest) = parts.split_first()?;
        let [quorum, election, kind @ ..] = rest else { return None };
        match kind {
            [] => {}
            [kind] => role = Some(role_of(kind)?),
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
    Some(Member { addresses, role: role.unwrap_or(LearnerType::Participant), client })
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
    use alloc::format;

    #[test]
    fn all_forms_are_read() {
        for (text, expected) in [
            ("h:1:2", "h:1 h:2 Participant None"),
            ("h:1:2:observer", "h:1 h:2 Observer None"),
            ("h:1:2:participant;2181", "h:1 h:2 Participant Some(\"0.0.0.0:2181\")"),
            ("h:1:2;c:2181", "h:1 h:2 Participant Some(\"c:2181\")"),
            ("[::1]:1:2", "[::1]:1 [::1]:2 Participant None"),
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
            assert_eq!(parse(bad), None, "{bad}");
        }
        for bad in ["a b:1:2", "a\\b:1:2", "h:1:2;a\nb:3", "h:1:2;:3"] {
            assert_eq!(parse(bad), None, "no host can be called that: {bad:?}");
        }
    }
}
