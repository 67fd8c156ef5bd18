//! Where a server listens and whom it dials: addresses, and sockets that are bound.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::HostPort;

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

/// Binds, as often as `at` says, and listens. The socket does not block.
///
/// # Errors
/// The port cannot be bound.
pub fn listen(at: &Listen) -> Result<TcpListener, Failure> {
    let mut attempts_left = at.attempts;
    let bound = loop {
        attempts_left = attempts_left.saturating_sub(1);
        match bind(at) {
            Err(e) if attempts_left > 0 => {
                tracing::warn!(port = ?at.port, "cannot listen on port {} yet: {e}", at.number);
                thread::sleep(BIND_PAUSE);
            }
            bound => break bound,
        }
    };
    bound.map_err(|e| {
        let (what, code) = match at.port {
            Port::Client => ("client", exit::UNEXPECTED_ERROR),
            Port::Election => ("election", exit::UNABLE_TO_BIND_QUORUM_PORT),
            Port::Quorum => ("quorum", exit::UNABLE_TO_BIND_QUORUM_PORT),
        };
        let host = at.host.as_deref().unwrap_or("*");
        Failure::new(code, format!("cannot listen on {what} port {host}:{}: {e}", at.number))
    })
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
        Some(host) => (host.as_str(), at.number).to_socket_addrs()?.collect(),
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

/// The address, where no resolver is needed to tell.
pub fn literal(to: &HostPort) -> Option<SocketAddr> {
    to.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, to.port))
}

/// What to say of a host that resolves to nothing.
pub fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the host has no address")
}
