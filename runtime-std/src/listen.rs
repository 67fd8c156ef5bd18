//! Addresses to listen at and to dial, and listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{self, HostPort};

use crate::boot::Listen;
use crate::exit::{self, Failure};

/// Between two attempts to bind.
pub(crate) const BIND_PAUSE: Duration = Duration::from_secs(1);
/// The most connections that are accepted at one port in one turn.
pub const ACCEPTS: usize = 64;
/// The pause after a failed `accept`, for example without file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The default of `clientPortListenBacklog`: connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Whether an error of `accept` concerns one connection only, so that accepting continues.
pub fn is_transient(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}

/// The result of [`listen`].
#[derive(Debug)]
pub(crate) struct Bound {
    /// The bound addresses: at least one, unless there are none.
    pub(crate) listening: Vec<(Listen, TcpListener)>,
    /// Addresses that cannot be bound yet.
    pub(crate) pending: Vec<Listen>,
}

/// Binds the addresses that a server has for one purpose. One bound address is enough; without one,
/// repeats as often as the first address demands. The sockets are non-blocking.
///
/// # Errors
/// None of the addresses can be bound.
pub(crate) fn listen(addresses: Vec<Listen>) -> Result<Bound, Failure> {
    let mut attempts_left = addresses.first().map_or(0, |at| at.attempts);
    loop {
        attempts_left = attempts_left.saturating_sub(1);
        let mut bound = Bound { listening: Vec::new(), pending: Vec::new() };
        let mut failed = None;
        for at in &addresses {
            match bind(at) {
                Ok(listener) => bound.listening.push((at.clone(), listener)),
                Err(e) => {
                    if attempts_left > 0 || addresses.len() > 1 {
                        tracing::warn!("{}; retrying", failure(at, &e));
                    }
                    bound.pending.push(at.clone());
                    failed = Some((at, e));
                }
            }
        }
        match failed {
            Some((at, e)) if bound.listening.is_empty() => {
                if attempts_left == 0 {
                    let code = match at.port {
                        Port::Client => exit::UNEXPECTED_ERROR,
                        Port::Election | Port::Quorum => exit::UNABLE_TO_BIND_QUORUM_PORT,
                    };
                    return Err(Failure::new(code, failure(at, &e)));
                }
                thread::sleep(BIND_PAUSE);
            }
            _ => return Ok(bound),
        }
    }
}

/// A message about an address that cannot be bound: the address, the error, and advice.
pub(crate) fn failure(at: &Listen, e: &io::Error) -> String {
    let (what, key) = match at.port {
        Port::Client => ("client", "clientPortAddress or the server.N line"),
        Port::Election => ("election", "the server.N line"),
        Port::Quorum => ("quorum", "the server.N line"),
    };
    let advice = match e.kind() {
        io::ErrorKind::AddrInUse => {
            String::from("another process uses the port: stop it, or configure another port")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine does not have the address: correct {key}")
        }
        io::ErrorKind::PermissionDenied => String::from(
            "ports below 1024 need CAP_NET_BIND_SERVICE: use a higher port, or grant the capability",
        ),
        _ if at.host.as_deref().is_some_and(|host| types::literal(host).is_none()) => {
            format!("the host name must resolve to an address of this machine: correct {key}")
        }
        _ => format!("check {key}"),
    };
    let host = at.host.as_deref().unwrap_or("*");
    format!("cannot listen on {what} port {host}:{}: {e} ({advice})", at.number)
}

/// Binds once. The socket is non-blocking.
///
/// # Errors
/// The error of the last address that the host has.
pub(crate) fn bind(at: &Listen) -> io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = match &at.host {
        // One socket for IPv6 and IPv4, or for IPv4 alone without IPv6.
        None => [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()]
            .map(|ip| SocketAddr::new(ip, at.number))
            .into(),
        Some(host) => resolve(&HostPort::new(host, at.number))?,
    };
    let mut failed = no_address();
    for address in addresses {
        match bind_address(address, at.backlog) {
            Ok(listener) => return Ok(listener),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

fn bind_address(address: SocketAddr, backlog: Option<i32>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog.unwrap_or(BACKLOG))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The address of a peer, with an IPv4-mapped IPv6 address converted to IPv4.
pub(crate) fn peer(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// The address if the host is a literal that needs no resolver. The zone of a link-local address
/// needs the resolver; other zones are ignored.
pub fn literal(to: &HostPort) -> Option<SocketAddr> {
    let (ip, zone) = types::literal(&to.host)?;
    let needs_zone = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    (zone.is_none() || !needs_zone).then(|| SocketAddr::new(ip, to.port))
}

/// Resolves a host to all its addresses.
///
/// # Errors
/// The name does not resolve.
pub(crate) fn resolve(to: &HostPort) -> io::Result<Vec<SocketAddr>> {
    match literal(to) {
        Some(address) => Ok(vec![address]),
        None => (&*to.host, to.port).to_socket_addrs().map(Iterator::collect),
    }
}

/// The error for a host without addresses.
pub fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the host has no address")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: Port, host: &str, number: u16) -> Listen {
        Listen { port, host: Some(host.into()), number, backlog: None, attempts: 1 }
    }

    #[test]
    fn literal_addresses_need_no_resolver() {
        for host in ["::1", "[::1]", "0:0:0:0:0:0:0:1", "0:0:0:0:0:0:0:1%lo", "::1%1"] {
            let to = HostPort::new(host, 7);
            assert_eq!(resolve(&to).unwrap(), ["[::1]:7".parse::<SocketAddr>().unwrap()], "{host}");
        }
        assert_eq!(literal(&HostPort::new("::ffff:127.0.0.1", 7)), "127.0.0.1:7".parse().ok());
        assert_eq!(literal(&HostPort::new("fe80::1%lo", 7)), None, "the zone must be resolved");
        assert_eq!(literal(&HostPort::new("localhost", 7)), None);
        // A machine without IPv6 can bind no such address.
        if TcpListener::bind("[::1]:0").is_ok() {
            let bound = bind(&at(Port::Client, "0:0:0:0:0:0:0:1%lo", 0)).unwrap();
            assert_eq!(bound.local_addr().unwrap().ip(), IpAddr::from(Ipv6Addr::LOCALHOST));
        }
    }

    #[test]
    fn one_of_several_addresses_is_enough() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();
        // An address for documentation: no machine has it.
        let gone = at(Port::Quorum, "192.0.2.1", number);
        let free = at(Port::Quorum, "127.0.0.2", 0);
        let bound = listen(vec![gone.clone(), free.clone()]).unwrap();
        assert_eq!((bound.listening.len(), &bound.pending), (1, &vec![gone.clone()]));
        assert_eq!(bound.listening[0].0, free);
        let failure = listen(vec![gone, at(Port::Quorum, "127.0.0.1", number)]).unwrap_err();
        assert_eq!(failure.code, exit::UNABLE_TO_BIND_QUORUM_PORT);
        assert_eq!(
            failure.to_string(),
            format!(
                "cannot listen on quorum port 127.0.0.1:{number}: Address already in use \
                 (os error 98) (another process uses the port: stop it, or configure another port)"
            )
        );
        assert!(listen(Vec::new()).unwrap().listening.is_empty());
    }

    #[test]
    fn unusable_address_is_reported_with_advice() {
        let gone = at(Port::Election, "192.0.2.1", 3888);
        let text = failure(&gone, &bind(&gone).unwrap_err());
        assert!(
            text.contains("192.0.2.1:3888") && text.contains("correct the server.N line"),
            "{text}"
        );
        let unknown = at(Port::Client, "no-such-host.invalid", 2181);
        let text = failure(&unknown, &no_address());
        assert!(text.contains("must resolve") && text.contains("clientPortAddress"), "{text}");
    }
}
