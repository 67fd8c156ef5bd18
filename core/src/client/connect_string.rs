//! Connect strings: the list of servers that a client is given (`ConnectStringParser`).

use alloc::string::String;
use alloc::vec::Vec;

use nom::Parser;
use nom::character::complete::char;
use nom::combinator::{cut, map, opt, recognize, rest, verify};
use nom::multi::many0;
use nom::sequence::{pair, preceded};

use crate::text::{self, Parsed, Position, read_field};
use crate::types::HostPort;

/// The client port of a server that is given without a port.
const DEFAULT_PORT: u16 = 2181;

/// The characters that end a field of an address.
const ADDRESS_ENDS: &str = ":,/";

/// The servers of an ensemble, as a client reaches them: `host[:port],host[:port]…[/path]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectString {
    /// At least one address, in the order of the text.
    pub servers: Vec<HostPort>,
    /// The path that the client takes for its root; empty: the root of the tree.
    pub root: String,
}

impl ConnectString {
    /// Reads a connect string. IPv6 addresses stand in brackets; without a port, 2181 is meant.
    ///
    /// # Errors
    /// The place of the first character that does not fit.
    pub fn parse(text: &str) -> Result<ConnectString, Position> {
        let root = map(recognize(opt(pair(char('/'), rest))), |root| match root {
            "/" => "",
            root => root,
        });
        let others = many0(preceded(char(','), cut(server)));
        let (first, others, root) = text::parse(text, (server, others, root))?;
        let mut servers = Vec::from([first]);
        servers.extend(others);
        Ok(ConnectString { servers, root: String::from(root) })
    }
}

/// `host[:port]`.
fn server(text: &str) -> Parsed<'_, HostPort> {
    let host = verify(text::host(ADDRESS_ENDS), |host: &str| !matches!(host, "" | "[]"));
    let port = preceded(char(':'), cut(read_field(ADDRESS_ENDS, |port| port.parse::<u16>().ok())));
    map((host, opt(port)), |(host, port)| HostPort::new(host, port.unwrap_or(DEFAULT_PORT)))
        .parse_complete(text)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn servers_have_a_default_port_and_may_have_a_root() {
        for (text, servers, root) in [
            ("a", &["a:2181"][..], ""),
            ("a:1, b:2,c/", &["a:1", "b:2", "c:2181"], ""),
            (
                "[::1]:1,[fe80::1]/app/x:y",
                &["[0:0:0:0:0:0:0:1]:1", "[fe80:0:0:0:0:0:0:1]:2181"],
                "/app/x:y",
            ),
        ] {
            let read = ConnectString::parse(text).unwrap();
            let all: Vec<String> = read.servers.iter().map(HostPort::to_string).collect();
            assert_eq!(
                (all.as_slice(), &*read.root),
                (&servers.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..], root),
                "{text}"
            );
        }
    }

    #[test]
    fn mistake_in_a_connect_string_is_reported_with_its_column() {
        for (text, column) in [("", 1), ("a:x", 3), ("a,,b", 3), ("a:70000", 3), ("[::1", 5)] {
            assert_eq!(ConnectString::parse(text), Err(Position { line: 1, column }), "{text}");
        }
    }
}
