//! A `server.N` line: `host:quorum:election[:type][;[host:]port]`, with several addresses
//! parted by `|` (`QuorumPeer.QuorumServer`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::java;
use super::members::{LearnerType, Member, ServerAddress};
use crate::types::HostPort;

/// The mistake in a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// Its form.
    Form,
    /// One port for two.
    EqualPorts,
    /// Several roles of one member.
    SeveralRoles,
}

impl Wrong {
    /// The accepted form.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Wrong::Form => {
                "host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort]"
            }
            Wrong::EqualPorts => "two ports that differ, for the quorum and for the election",
            Wrong::SeveralRoles => "one role for all addresses of a server",
        }
    }
}

/// An empty host is this one, as `InetAddress` has it.
const EMPTY_HOST: &str = "localhost";

pub(super) fn parse(value: &str) -> Result<Member, Wrong> {
    let parts = java_split(value, ';');
    let (servers, client) = match parts.as_slice() {
        [servers] => (*servers, None),
        [servers, client] => (*servers, Some(*client)),
        _ => return Err(Wrong::Form),
    };
    let mut role = None;
    let mut addresses = Vec::new();
    for text in java_split(servers, '|') {
        let (address, kind) = server(text).ok_or(Wrong::Form)?;
        if address.quorum.port == address.election.port {
            return Err(Wrong::EqualPorts);
        }
        addresses.push(address);
        if let Some(kind) = kind
            && *role.get_or_insert(kind) != kind
        {
            return Err(Wrong::SeveralRoles);
        }
    }
    let client = match client {
        None => None,
        Some(text) => Some(client_of(text).ok_or(Wrong::Form)?),
    };
    Ok(Member { addresses, role: role.unwrap_or(LearnerType::Participant), client })
}

fn server(text: &str) -> Option<(ServerAddress, Option<LearnerType>)> {
    let parts = split_colons(text.trim())?;
    let [host, quorum, election, kind @ ..] = parts.as_slice() else { return None };
    let kind = match kind {
        [] => None,
        [kind] => Some(role_of(kind)?),
        _ => return None,
    };
    let host = host_of(host)?;
    let (quorum, election) = (port(quorum)?, port(election)?);
    let at = |port| HostPort::new(host, port);
    Some((ServerAddress { quorum: at(quorum), election: at(election) }, kind))
}

fn client_of(text: &str) -> Option<HostPort> {
    match split_colons(text.trim())?.as_slice() {
        [number] => Some(HostPort::new("0.0.0.0", port(number)?)),
        [host, number] => Some(HostPort::new(host_of(host)?, port(number)?)),
        _ => None,
    }
}

fn port(text: &str) -> Option<u16> {
    u16::try_from(java::parse(text)?).ok()
}

/// Java's `split`: without the empty parts at the end; an empty text is one part.
pub(super) fn java_split(text: &str, at: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(at).collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.trim().is_empty()) {
        parts.pop();
    }
    parts
}

pub(super) fn role_of(text: &str) -> Option<LearnerType> {
    match text.trim().to_ascii_lowercase().as_str() {
        "participant" => Some(LearnerType::Participant),
        "observer" => Some(LearnerType::Observer),
        _ => None,
    }
}

/// A name or address that can be written into a configuration file, and read again.
fn host_of(text: &str) -> Option<&str> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    match text {
        "" => Some(EMPTY_HOST),
        "[]" => None,
        _ => (!text.contains(is_odd)).then_some(text),
    }
}

/// Splits at colons outside of brackets, which stand around IPv6 addresses; without the empty
/// parts at the end.
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
            None if after.is_empty() => break,
            None => return None,
        }
    }
    while parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    Some(parts)
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
            ("[::1]:1:2", "[0:0:0:0:0:0:0:1]:1 [0:0:0:0:0:0:0:1]:2 Participant None"),
            (
                "[::1%lo]:1:2;[::]:3",
                "[0:0:0:0:0:0:0:1%lo]:1 [0:0:0:0:0:0:0:1%lo]:2 Participant \
                 Some(\"[0:0:0:0:0:0:0:0]:3\")",
            ),
            ("h:1:2|;", "h:1 h:2 Participant None"),
            ("h:1:2:", "h:1 h:2 Participant None"),
            ("h:1:2:;3:", "h:1 h:2 Participant Some(\"0.0.0.0:3\")"),
            (":1:2;:3", "localhost:1 localhost:2 Participant Some(\"localhost:3\")"),
        ] {
            let member = parse(text).unwrap();
            let (a, client) = (&member.addresses[0], member.client.map(|c| c.to_string()));
            assert_eq!(
                format!("{} {} {:?} {client:?}", a.quorum, a.election, member.role),
                expected
            );
        }
        assert_eq!(parse("a:1:2|b:3:4:observer").unwrap().addresses.len(), 2);
        for bad in
            ["", "h", "h:1", "h:1:x", "h:1:2:king", "[]:1:2", "h:1:2;3;4", "h:1:2:observer:3"]
        {
            assert_eq!(parse(bad), Err(Wrong::Form), "{bad}");
        }
        for bad in ["a b:1:2", "a\\b:1:2", "h:1:2;a\nb:3"] {
            assert_eq!(parse(bad), Err(Wrong::Form), "no host can be called that: {bad:?}");
        }
        for bad in ["h:1:1", "h:0:0;2", "h:1:2|h:3:3"] {
            assert_eq!(parse(bad), Err(Wrong::EqualPorts), "{bad}");
        }
    }

    #[test]
    fn the_addresses_of_a_line_have_one_role() {
        let role = |text: &str| parse(text).map(|member| member.role);
        assert_eq!(role("a:1:2:observer|b:1:2"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2|b:1:2:observer"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2:Observer|b:1:2:observer"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2:observer|b:1:2:participant"), Err(Wrong::SeveralRoles));
        assert_eq!(role("a:1:2:participant|b:1:2:observer;3"), Err(Wrong::SeveralRoles));
    }
}
