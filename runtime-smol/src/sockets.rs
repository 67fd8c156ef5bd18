//! Listening and dialling.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use async_io::{Async, Timer};
use smol::future::FutureExt;
use socket2::{Domain, Protocol, Socket, Type};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};
use zabkeeper_std::boot::Listen;
use zabkeeper_std::exit::{self, Failure};

use crate::server::{Inbox, Input};

/// How long to wait when no connection can be accepted (no file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted, where `clientPortListenBacklog` does not say.
const BACKLOG: i32 = 1024;
/// Between two attempts to bind.
const BIND_PAUSE: Duration = Duration::from_secs(1);

/// Binds and listens.
pub(crate) fn listen(at: &Listen) -> Result<Async<TcpListener>, Failure> {
    let mut attempts_left = at.attempts;
    let bound = loop {
        attempts_left = attempts_left.saturating_sub(1);
        match bind(at) {
            Err(e) if attempts_left > 0 => {
                tracing::warn!(port = ?at.port, "cannot listen on port {} yet: {e}", at.number);
                std::thread::sleep(BIND_PAUSE);
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

fn bind(at: &Listen) -> io::Result<Async<TcpListener>> {
    let addresses: Vec<SocketAddr> = match &at.host {
        // One socket for IPv6 and IPv4, or IPv4 alone where there is no IPv6.
        None => [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()]
            .map(|ip| SocketAddr::new(ip, at.number))
            .into(),
        Some(host) => {
            std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), at.number))?.collect()
        }
    };
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match bind_address(address, at.backlog) {
            Ok(listener) => return Async::new(listener),
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
    Ok(socket.into())
}

/// Binds as soon as it can be done, then accepts for ever.
pub(crate) async fn listen_and_accept(at: Listen, inbox: Inbox) {
    loop {
        match bind(&at) {
            Ok(listener) => return accept_all(at.port, listener, inbox).await,
            Err(e) => {
                tracing::warn!(port = ?at.port, "cannot listen on port {} yet: {e}", at.number);
                Timer::after(BIND_PAUSE).await;
            }
        }
    }
}

/// Accepts for ever.
pub(crate) async fn accept_all(port: Port, listener: Async<TcpListener>, inbox: Inbox) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.get_ref().set_nodelay(true);
                // An IPv4 client of a two-family socket is an IPv4 client.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                if inbox.try_send(Input::Accepted(port, stream, peer)).is_err() {
                    return;
                }
            }
            Err(e) => {
                tracing::warn!(?port, "accept: {e}");
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Connects, or says that it cannot.
pub(crate) async fn dial(conn: ConnId, port: Port, to: HostPort, limit: Duration, inbox: Inbox) {
    let timeout = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let input = match connect(&to).or(timeout).await {
        Ok((stream, peer)) => Input::Dialled(conn, port, stream, peer),
        Err(e) => {
            tracing::debug!(%conn, ?port, "dial {to}: {e}");
            Input::DialFailed(conn)
        }
    };
    let _ = inbox.try_send(input);
}

async fn connect(to: &HostPort) -> io::Result<(Async<TcpStream>, SocketAddr)> {
    // A literal needs no resolver.
    let addresses = match to.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, to.port)],
        Err(_name) => smol::net::resolve((to.host.to_string(), to.port)).await?,
    };
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => {
                stream.get_ref().set_nodelay(true)?;
                return Ok((stream, address));
            }
            Err(e) => failed = e,
        }
    }
    Err(failed)
}
