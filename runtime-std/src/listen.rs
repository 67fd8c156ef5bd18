//! Where a server listens and whom it dials: addresses, and sockets that are bound.

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
pub const BIND_PAUSE: Duration = Duration::from_secs(1);
/// Most connections that are accepted at one port in one turn.
pub const ACCEPTS: usize = 64;
/// How long to wait when no connection can be accepted (no file descriptors, say).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted, where `clientPortListenBacklog` does not say.
const BACKLOG: i32 = 1024;

/// Whether an error of `accept` is only about a connection that is gone already.
pub fn accepts_on(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}

/// Where a server listens of the places that it has for one purpose.
#[derive(Debug)]
pub struct Bound {
    /// At least one, if there are any places.
    pub listening: Vec<(Listen, TcpListener)>,
    /// Places that cannot be bound yet.
    pub pending: Vec<Listen>,
}

/// Binds at as many of these places as it can, which are one server's for one purpose. One is
/// enough; while there is none, it tries as often as the first one says. No socket blocks.
///
/// # Errors
/// None of the places can be bound.
pub fn listen(places: Vec<Listen>) -> Result<Bound, Failure> {
    let mut attempts_left = places.first().map_or(0, |at| at.attempts);
    loop {
        attempts_left = attempts_left.saturating_sub(1);
        let mut bound = Bound { listening: Vec::new(), pending: Vec::new() };
        let mut failed = None;
        for at in &places {
            match bind(at) {
                Ok(listener) => bound.listening.push((at.clone(), listener)),
                Err(e) => {
                    if attempts_left > 0 || places.len() > 1 {
                        tracing::warn!("{} yet", cannot(at, &e));
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
                    return Err(Failure::new(code, cannot(at, &e)));
                }
                thread::sleep(BIND_PAUSE);
            }
            _ => return Ok(bound),
        }
    }
}

/// Where it cannot listen, why, and what to do.
pub fn cannot(at: &Listen, e: &io::Error) -> String {
    let (what, key) = match at.port {
        Port::Client => ("client", "clientPortAddress or the server.N line"),
        Port::Election => ("election", "the server.N line"),
        Port::Quorum => ("quorum", "the server.N line"),
    };
    let cure = match e.kind() {
        io::ErrorKind::AddrInUse => {
            String::from("another process listens there: end it, or give this server another port")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine does not have that address: correct {key}")
        }
        io::ErrorKind::PermissionDenied => String::from(
            "ports below 1024 need CAP_NET_BIND_SERVICE: take a higher one, or grant it",
        ),
        _ if at.host.as_deref().is_some_and(|host| types::literal(host).is_none()) => {
            format!("the host name has to resolve to an address of this machine: correct {key}")
        }
        _ => format!("see {key}"),
    };
    let host = at.host.as_deref().unwrap_or("*");
    format!("cannot listen on {what} port {host}:{}: {e} ({cure})", at.number)
}

/// One attempt. The socket does not block.
///
/// # Errors
/// Those of the last address.
pub fn bind(at: &Listen) -> io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = match &at.host {
        // One socket for IPv6 and IPv4, or IPv4 alone where there is no IPv6.
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

/// An IPv4 client of a two-family socket is an IPv4 client.
pub fn peer(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// The address, where no resolver is needed to tell. A zone means something for link-local
/// addresses only, and the resolver knows what.
pub fn literal(to: &HostPort) -> Option<SocketAddr> {
    let (ip, zone) = types::literal(&to.host)?;
    let needs_zone = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    (zone.is_none() || !needs_zone).then(|| SocketAddr::new(ip, to.port))
}

/// All addresses of a host.
///
/// # Errors
/// The name does not resolve.
pub fn resolve(to: &HostPort) -> io::Result<Vec<SocketAddr>> {
    match literal(to) {
        Some(address) => Ok(vec![address]),
        None => (&*to.host, to.port).to_socket_addrs().map(Iterator::collect),
    }
}

/// What to say of a host that resolves to nothing.
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
    fn an_address_is_taken_with_its_zone_however_it_is_spelled() {
        for host in ["::1", "[::1]", "0:0:0:0:0:0:0:1", "0:0:0:0:0:0:0:1%lo", "::1%1"] {
            let to = HostPort::new(host, 7);
            assert_eq!(resolve(&to).unwrap(), ["[::1]:7".parse::<SocketAddr>().unwrap()], "{host}");
        }
        assert_eq!(literal(&HostPort::new("::ffff:127.0.0.1", 7)), "127.0.0.1:7".parse().ok());
        assert_eq!(literal(&HostPort::new("fe80::1%lo", 7)), None, "the zone has a number");
        assert_eq!(literal(&HostPort::new("localhost", 7)), None);
        // Where there is no IPv6, nothing can be bound.
        if TcpListener::bind("[::1]:0").is_ok() {
            let bound = bind(&at(Port::Client, "0:0:0:0:0:0:0:1%lo", 0)).unwrap();
            assert_eq!(bound.local_addr().unwrap().ip(), IpAddr::from(Ipv6Addr::LOCALHOST));
        }
    }

    #[test]
    fn one_of_several_places_is_enough_and_none_is_the_end() {
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
                 (os error 98) (another process listens there: end it, or give this server \
                 another port)"
            )
        );
        assert!(listen(Vec::new()).unwrap().listening.is_empty());
    }

    #[test]
    fn a_place_that_cannot_be_bound_is_told_with_the_cure() {
        let gone = at(Port::Election, "192.0.2.1", 3888);
        let said = cannot(&gone, &bind(&gone).unwrap_err());
        assert!(
            said.contains("192.0.2.1:3888") && said.contains("correct the server.N line"),
            "{said}"
        );
        let nobody = at(Port::Client, "no-such-host.invalid", 2181);
        let said = cannot(&nobody, &no_address());
        assert!(said.contains("has to resolve") && said.contains("clientPortAddress"), "{said}");
    }
}
