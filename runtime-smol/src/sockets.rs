//! The tasks that accept and dial.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use async_io::{Async, Timer};
use smol::future::FutureExt;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};
use zabkeeper_std::descriptors;
use zabkeeper_std::driver::SocketEvent;
use zabkeeper_std::listen::{self, ACCEPT_PAUSE, ACCEPTS};

use crate::event_queue::EventQueue;

/// Accepts connections until dropped; one whose descriptor is not below `limit` is closed at once.
pub(crate) async fn accept_all(
    port: Port,
    listener: Async<TcpListener>,
    limit: u64,
    events: EventQueue,
) {
    let mut accepted = 0_usize;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if descriptors::is_below(&stream, limit) {
                    let _ = stream.get_ref().set_nodelay(true);
                    events.put(SocketEvent::Accepted(port, stream, peer));
                } else {
                    drop(stream);
                    events.put(SocketEvent::Refused(port, peer));
                }
                accepted = accepted.wrapping_add(1);
                if accepted.is_multiple_of(ACCEPTS) {
                    // Yields, so that a flood of connections does not delay other tasks. The next
                    // `accept` reports an error.
                    let _ = listener.readable().await;
                }
            }
            Err(e) if listen::is_transient(&e) => {}
            Err(e) => {
                tracing::warn!(?port, "accept: {}", descriptors::in_words(&e));
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Dials, and puts the result into the queue.
pub(crate) async fn dial(
    conn: ConnId,
    port: Port,
    to: HostPort,
    limit: Duration,
    events: EventQueue,
) {
    let timeout = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let event = match connect(&to).or(timeout).await {
        Ok((stream, peer)) => SocketEvent::Dialled(conn, port, stream, peer),
        Err(e) => {
            tracing::debug!(%conn, ?port, "dial {to}: {e}");
            SocketEvent::DialFailed(conn)
        }
    };
    events.put(event);
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
