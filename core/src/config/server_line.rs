//! The member lines of an ensemble: `server.N=host:quorum:election[:type][;[host:]port]`, with
//! several addresses separated by `|` (`QuorumPeer.QuorumServer`), and the lists of ids in
//! `group.N` lines.

use alloc::vec::Vec;

use nom::Parser;
use nom::branch::alt;
use nom::character::complete::char;
use nom::combinator::{map, map_opt, opt, verify};
use nom::multi::{many0_count, many1_count};
use nom::sequence::{pair, preceded, separated_pair, terminated};

use super::java;
use super::members::{LearnerType, Member, ServerAddress};
use crate::text::{self, Parsed, dropped, field, read_field, space, split};
use crate::types::{HostPort, ServerId};

/// The mistake in a member line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mistake {
    /// The line does not have the form of a member.
    Form,
    /// An address has one port for the quorum and the election.
    EqualPorts,
    /// The addresses of the member have different roles.
    SeveralRoles,
}

impl Mistake {
    /// The accepted form, for messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Mistake::Form => {
                "host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort]"
            }
            Mistake::EqualPorts => "two ports that differ, for the quorum and for the election",
            Mistake::SeveralRoles => "one role for all addresses of a server",
        }
    }
}

/// The meaning of an empty host, as `InetAddress` defines it.
const EMPTY_HOST: &str = "localhost";

/// The characters that end a field of an address.
const ADDRESS_ENDS: &str = ":|;";
/// The characters that end a field of the client address.
const CLIENT_ENDS: &str = ":;";

/// Reads the value of a `server.N` line.
pub(super) fn parse(value: &str) -> Result<Member, Mistake> {
    let line = terminated((split('|', address), opt(preceded(char(';'), client))), dropped(';'));
    let (servers, client) = text::read(value, line).ok_or(Mistake::Form)?;
    let mut role = None;
    let mut addresses = Vec::with_capacity(servers.len());
    for (address, kind) in servers {
        if address.quorum.port == address.election.port {
            return Err(Mistake::EqualPorts);
        }
        addresses.push(address);
        if let Some(kind) = kind
            && *role.get_or_insert(kind) != kind
        {
            return Err(Mistake::SeveralRoles);
        }
    }
    Ok(Member { addresses, role: role.unwrap_or(LearnerType::Participant), client })
}

/// Reads the value of a `group.N` line: ids separated by colons.
pub(super) fn parse_group(value: &str) -> Option<Vec<ServerId>> {
    let id = read_field(":", |id| java::parse(id).map(ServerId));
    text::read(value, split(':', id))
}

/// Reads one joining member of a reconfiguration: `server.N=line`. `=` may be repeated
/// (`StringUtils.split`).
pub(crate) fn key_and_value(text: &str) -> Option<(&str, &str)> {
    let field = || verify(field("="), |field: &str| !field.is_empty());
    let equals = || many0_count(pair(space, char('=')));
    let separator = many1_count(pair(space, char('=')));
    let fields = separated_pair(preceded(equals(), field()), separator, field());
    text::read(text, terminated(fields, (equals(), space)))
}

/// `host:quorum:election[:type]`.
fn address(text: &str) -> Parsed<'_, (ServerAddress, Option<LearnerType>)> {
    let port = || preceded(char(':'), read_field(ADDRESS_ENDS, port_of));
    let role = preceded(char(':'), read_field(ADDRESS_ENDS, role_of));
    let fields = terminated((host(ADDRESS_ENDS), port(), port(), opt(role)), dropped(':'));
    map(fields, |(host, quorum, election, role)| {
        let at = |port| HostPort::new(host, port);
        (ServerAddress { quorum: at(quorum), election: at(election) }, role)
    })
    .parse_complete(text)
}

/// `[host:]port`; without a host, all addresses of the machine.
fn client(text: &str) -> Parsed<'_, HostPort> {
    let port = || read_field(CLIENT_ENDS, port_of);
    let with_host = map((host(CLIENT_ENDS), preceded(char(':'), port())), |(host, port)| {
        HostPort::new(host, port)
    });
    let alone = map(port(), |port| HostPort::new("0.0.0.0", port));
    terminated(alt((with_host, alone)), dropped(':')).parse_complete(text)
}

/// A name or address that can be written into a configuration file, and read again.
fn host<'a>(
    stops: &'static str,
) -> impl Parser<&'a str, Output = &'a str, Error = text::Unexpected<'a>> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    map_opt(text::host(stops), move |host| match host {
        "" => Some(EMPTY_HOST),
        "[]" => None,
        _ => (!host.contains(is_odd)).then_some(host),
    })
}

fn port_of(text: &str) -> Option<u16> {
    u16::try_from(java::parse(text)?).ok()
}

/// A role by its name, in any case.
pub(super) fn role_of(text: &str) -> Option<LearnerType> {
    match text.trim().to_ascii_lowercase().as_str() {
        "participant" => Some(LearnerType::Participant),
        "observer" => Some(LearnerType::Observer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

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
            assert_eq!(parse(bad), Err(Mistake::Form), "{bad}");
        }
        for bad in ["a b:1:2", "a\\b:1:2", "h:1:2;a\nb:3"] {
            assert_eq!(parse(bad), Err(Mistake::Form), "no host can be called that: {bad:?}");
        }
        for bad in ["h:1:1", "h:0:0;2", "h:1:2|h:3:3"] {
            assert_eq!(parse(bad), Err(Mistake::EqualPorts), "{bad}");
        }
    }

    #[test]
    fn the_addresses_of_a_line_have_one_role() {
        let role = |text: &str| parse(text).map(|member| member.role);
        assert_eq!(role("a:1:2:observer|b:1:2"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2|b:1:2:observer"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2:Observer|b:1:2:observer"), Ok(LearnerType::Observer));
        assert_eq!(role("a:1:2:observer|b:1:2:participant"), Err(Mistake::SeveralRoles));
        assert_eq!(role("a:1:2:participant|b:1:2:observer;3"), Err(Mistake::SeveralRoles));
    }
}
