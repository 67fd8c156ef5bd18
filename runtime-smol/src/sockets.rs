//! Accepting and dialling.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use async_io::{Async, Timer};
use smol::future::FutureExt;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};
use zabkeeper_std::listen::{self, ACCEPT_PAUSE};

use crate::server::{Input, Sender};

/// Accepts for ever.
pub(crate) async fn accept_all(port: Port, listener: Async<TcpListener>, sender: Sender) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.get_ref().set_nodelay(true);
                if sender.try_send(Input::Accepted(port, stream, peer)).is_err() {
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
pub(crate) async fn dial(conn: ConnId, port: Port, to: HostPort, limit: Duration, sender: Sender) {
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
    let _ = sender.try_send(input);
}

async fn connect(to: &HostPort) -> io::Result<(Async<TcpStream>, SocketAddr)> {
    let addresses = match listen::literal(to) {
        Some(address) => vec![address],
        None => smol::net::resolve((to.host.to_string(), to.port)).await?,
    };
    let mut failed = listen::no_address();
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
