//! The interface between a driver and its runtime's sockets.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};

#[cfg(doc)]
use super::Driver;
use super::SendQueue;

/// How long a closing connection may take to send its remaining bytes.
pub const LINGER: Duration = Duration::from_secs(1);
/// The most bytes of one read.
pub const READ_BYTES: usize = 64 << 10;

/// An event at a runtime's sockets, for [`Driver::handle`]; `T` is [`Sockets::Stream`].
#[derive(Debug)]
pub enum SocketEvent<T> {
    /// A listener has accepted a connection from this address.
    Accepted(Port, T, SocketAddr),
    /// A listener has closed a new connection at once, because too few file descriptors are left.
    Refused(Port, SocketAddr),
    /// A dial has led to a connection.
    Dialled(ConnId, Port, T, SocketAddr),
    /// A dial has failed, or has taken too long.
    DialFailed(ConnId),
    /// A connection has received bytes.
    Received(ConnId, Bytes),
    /// The peer has closed a connection, or the connection is broken.
    Ended(ConnId),
    /// A socket that took no more bytes takes some again.
    Writable(ConnId),
}

/// The sockets of a runtime, as its driver uses them. No method blocks.
pub trait Sockets {
    /// A connection before [`Sockets::open`].
    type Stream;
    /// An open connection.
    type Socket;
    /// A listening socket.
    type Listener;

    /// Accepts connections: each gives [`SocketEvent::Accepted`]. A connection whose file
    /// descriptor is not below `limit` is closed at once: [`SocketEvent::Refused`].
    ///
    /// # Errors
    /// The socket cannot be used.
    fn accept(
        &mut self,
        port: Port,
        listener: TcpListener,
        limit: u64,
    ) -> io::Result<Self::Listener>;
    /// Closes a listener.
    fn unlisten(&mut self, listener: Self::Listener);
    /// Connects to one of the host's addresses. Within `limit`, [`SocketEvent::Dialled`] or
    /// [`SocketEvent::DialFailed`] follows.
    fn dial(&mut self, conn: ConnId, port: Port, to: HostPort, limit: Duration);
    /// Drops a dial that has ended or is no longer wanted.
    fn forget_dial(&mut self, conn: ConnId);
    /// Opens a connection and reads from it: each read gives [`SocketEvent::Received`], the end
    /// [`SocketEvent::Ended`].
    ///
    /// # Errors
    /// The socket cannot be used.
    fn open(&mut self, conn: ConnId, stream: Self::Stream) -> io::Result<Self::Socket>;
    /// Stops reading until [`Sockets::resume`].
    fn pause(&mut self, socket: &mut Self::Socket);
    /// Reads again.
    fn resume(&mut self, conn: ConnId, socket: &mut Self::Socket);
    /// Writes as many bytes as the socket takes now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if it takes none; others if the connection is broken.
    fn write(&mut self, socket: &mut Self::Socket, bytes: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Requests [`SocketEvent::Writable`] for a socket that took no bytes.
    fn await_writable(&mut self, conn: ConnId, socket: &mut Self::Socket);
    /// Writes the remaining bytes, shuts down the sending side, and closes within [`LINGER`].
    fn close(&mut self, socket: Self::Socket, left: SendQueue);
    /// Closes at once.
    fn abandon(&mut self, socket: Self::Socket);
}
