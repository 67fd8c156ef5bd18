//! What a driver asks of its runtime's sockets.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};

#[cfg(doc)]
use super::Driver;
use super::SendQueue;

/// How long a connection that is to be closed may take to take what was sent before.
pub const LINGER: Duration = Duration::from_secs(1);
/// Most bytes of one read.
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

/// The sockets of a runtime, as its driver uses them. Nothing here waits.
pub trait Sockets {
    /// A connection before it is in use.
    type Stream;
    /// A connection in use.
    type Socket;
    /// A place where connections are accepted.
    type Listener;

    /// Accepts there from now on: each connection is one [`Driver::accepted`]. One whose file
    /// descriptor is not below `limit` is closed at once: [`Driver::refused`].
    ///
    /// # Errors
    /// The socket cannot be used.
    fn accept(
        &mut self,
        port: Port,
        listener: TcpListener,
        limit: u64,
    ) -> io::Result<Self::Listener>;
    /// Accepts there no more.
    fn unlisten(&mut self, listener: Self::Listener);
    /// Connects, with all addresses within `limit`: [`Driver::dialled`] or
    /// [`Driver::dial_failed`] follows.
    fn dial(&mut self, conn: ConnId, port: Port, to: HostPort, limit: Duration);
    /// Forgets a dial that is under way, if it is.
    fn forget_dial(&mut self, conn: ConnId);
    /// Takes a connection into use, and reads: [`Driver::received`], in the end
    /// [`Driver::ended`].
    ///
    /// # Errors
    /// The socket cannot be used.
    fn open(&mut self, conn: ConnId, stream: Self::Stream) -> io::Result<Self::Socket>;
    /// Reads no more until resumed.
    fn pause(&mut self, socket: &mut Self::Socket);
    /// Reads again.
    fn resume(&mut self, conn: ConnId, socket: &mut Self::Socket);
    /// Writes what the socket takes now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if it takes nothing; others if it is broken.
    fn write(&mut self, socket: &mut Self::Socket, bytes: &[IoSlice<'_>]) -> io::Result<usize>;
    /// The socket took nothing: [`Driver::writable`] follows when it does.
    fn await_writable(&mut self, conn: ConnId, socket: &mut Self::Socket);
    /// Writes what is left, says goodbye and closes, within [`LINGER`].
    fn close(&mut self, socket: Self::Socket, left: SendQueue);
    /// Closes at once.
    fn abandon(&mut self, socket: Self::Socket);
}
