//! All sockets of a node, polled together.
//!
//! Polling is edge-triggered: the operating system reports a socket when its state changes. The
//! last reported state is kept with each socket, so that pausing, resuming and waiting for a
//! writable socket need no system call.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};

use crate::descriptors;
use crate::driver::{LINGER, READ_BYTES, SendQueue, SocketEvent, Sockets};
use crate::listen::{self, ACCEPT_PAUSE, ACCEPTS};

/// The most reads from a closing connection in one turn.
const CLOSING_READS: usize = 16;

/// An event at one of these sockets.
pub(super) type PollEvent = SocketEvent<TcpStream>;

/// A callback for the addresses of a name.
pub(super) type Resolved = Arc<dyn Fn(ConnId, io::Result<Vec<SocketAddr>>) + Send + Sync>;

pub(super) struct PollSockets {
    registry: Registry,
    resolved: Resolved,
    all: Slab<Slot>,
    dials: HashMap<ConnId, usize>,
    /// The slots with work, each once.
    ready: Vec<usize>,
    /// The slots with a timeout; a slot may be removed meanwhile, and its key used again.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The buffer of all reads, from which bytes are copied at their actual length.
    read_buffer: Box<[u8]>,
}

struct Slot {
    kind: Kind,
    /// The slot is in [`PollSockets::ready`].
    queued: bool,
}

enum Kind {
    Listener {
        port: Port,
        listener: mio::net::TcpListener,
        /// Descriptors of connections must be below this.
        limit: u64,
        paused_until: Option<Instant>,
    },
    Dial(Box<Dial>),
    Connection(Connection),
}

struct Dial {
    conn: ConnId,
    port: Port,
    to: HostPort,
    until: Instant,
    /// The current attempt.
    attempt: Option<(TcpStream, SocketAddr)>,
    /// Addresses for later attempts.
    left: Vec<SocketAddr>,
    failed: Option<io::Error>,
}

struct Connection {
    conn: ConnId,
    stream: TcpStream,
    /// There may be bytes to read.
    readable: bool,
    /// The peer has closed its side: read to the end.
    ending: bool,
    paused: bool,
    /// The driver waits until the socket is writable.
    awaits_writable: bool,
    writable: bool,
    closing: Option<Box<Closing>>,
}

/// The remaining work of a closing connection.
struct Closing {
    left: SendQueue,
    is_shut_down: bool,
    until: Instant,
}

impl PollSockets {
    pub(super) fn new(registry: Registry, resolved: Resolved) -> PollSockets {
        PollSockets {
            registry,
            resolved,
            all: Slab::new(),
            dials: HashMap::new(),
            ready: Vec::new(),
            timers: BinaryHeap::new(),
            read_buffer: vec![0; READ_BYTES].into(),
        }
    }

    /// Takes note of a socket that the operating system reports. The socket may be removed and its
    /// key used again: then that socket is polled in vain.
    pub(super) fn notice(&mut self, event: &Event) {
        let key = event.token().0;
        let Some(slot) = self.all.get_mut(key) else { return };
        if let Kind::Connection(connection) = &mut slot.kind {
            let ending = event.is_read_closed() || event.is_error();
            connection.ending |= ending;
            connection.readable |= ending || event.is_readable();
            connection.writable |= event.is_writable() || event.is_error();
            if !connection.has_work() {
                return;
            }
        }
        self.queue(key);
    }

    /// The time of the next turn at the latest; `deadline` is the node's.
    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(Instant::now());
        }
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        deadline.into_iter().chain(timer).min()
    }

    /// Moves the slots with work, and those whose timeout has passed, into an empty list.
    pub(super) fn take_ready(&mut self, keys: &mut Vec<usize>) {
        if !self.timers.is_empty() {
            let now = Instant::now();
            while let Some(Reverse((at, key))) = self.timers.peek().copied()
                && at <= now
            {
                self.timers.pop();
                self.queue(key);
            }
        }
        mem::swap(&mut self.ready, keys);
        for key in keys {
            if let Some(slot) = self.all.get_mut(*key) {
                slot.queued = false;
            }
        }
    }

    /// Advances a socket as far as possible, and adds its events.
    pub(super) fn advance(&mut self, key: usize, events: &mut Vec<PollEvent>) {
        let Some(slot) = self.all.get_mut(key) else { return };
        let has_more = match &mut slot.kind {
            Kind::Listener { port, listener, limit, paused_until } => {
                if paused_until.is_some_and(|at| at > Instant::now()) {
                    return;
                }
                *paused_until = None;
                match accept(*port, listener, *limit, events) {
                    Ok(has_more) => has_more,
                    Err(e) => {
                        tracing::warn!(?port, "accept: {}", descriptors::in_words(&e));
                        let until = Instant::now() + ACCEPT_PAUSE;
                        *paused_until = Some(until);
                        self.timers.push(Reverse((until, key)));
                        false
                    }
                }
            }
            Kind::Dial(_) => {
                self.advance_dial(key, events);
                false
            }
            Kind::Connection(connection) => match &mut connection.closing {
                None => {
                    connection.advance(&mut self.read_buffer, events);
                    connection.has_work()
                }
                Some(closing) => {
                    match closing.advance(&mut connection.stream, &mut self.read_buffer) {
                        Ok(has_more) if Instant::now() < closing.until => has_more,
                        _done_or_broken => {
                            self.all.remove(key);
                            false
                        }
                    }
                }
            },
        };
        if has_more {
            self.queue(key);
        }
    }

    /// Continues a dial with the addresses of its name.
    pub(super) fn resolved(&mut self, conn: ConnId, addresses: io::Result<Vec<SocketAddr>>) {
        let Some(key) = self.dials.get(&conn).copied() else { return };
        if let Some(dial) = self.dial_mut(key) {
            match addresses {
                Ok(addresses) if addresses.is_empty() => dial.failed = Some(listen::no_address()),
                Ok(addresses) => dial.left = addresses,
                Err(e) => dial.failed = Some(e),
            }
            self.queue(key);
        }
    }

    fn dial_mut(&mut self, key: usize) -> Option<&mut Dial> {
        match &mut self.all.get_mut(key)?.kind {
            Kind::Dial(dial) => Some(dial),
            Kind::Listener { .. } | Kind::Connection(_) => None,
        }
    }

    /// Checks the current attempt and the timeout, or begins the next attempt.
    fn advance_dial(&mut self, key: usize, events: &mut Vec<PollEvent>) {
        let Some(Slot { kind: Kind::Dial(dial), .. }) = self.all.get_mut(key) else { return };
        if dial.until <= Instant::now() {
            dial.attempt = None;
            dial.left.clear();
            dial.failed = Some(io::ErrorKind::TimedOut.into());
        }
        loop {
            if let Some((stream, address)) = &dial.attempt {
                match connected(stream) {
                    Ok(false) => return,
                    Ok(true) => break,
                    Err(e) => {
                        tracing::trace!(conn = %dial.conn, "dial {address}: {e}");
                        dial.failed = Some(e);
                        dial.attempt = None;
                    }
                }
            }
            if dial.left.is_empty() {
                if dial.failed.is_none() {
                    return; // The name is still being resolved.
                }
                break;
            }
            let address = dial.left.remove(0);
            let begun = TcpStream::connect(address).and_then(|mut stream| {
                register(&self.registry, &mut stream, key)?;
                Ok((stream, address))
            });
            match begun {
                Ok(attempt) => dial.attempt = Some(attempt),
                Err(e) => dial.failed = Some(e),
            }
        }
        let (conn, port) = (dial.conn, dial.port);
        self.dials.remove(&conn);
        match dial.attempt.take() {
            Some((mut stream, address)) => {
                let _ = stream.set_nodelay(true);
                // [`Sockets::open`] registers it under a new key.
                let _ = self.registry.deregister(&mut stream);
                events.push(SocketEvent::Dialled(conn, port, stream, address));
            }
            None => {
                let e = dial.failed.take().unwrap_or_else(listen::no_address);
                tracing::debug!(%conn, ?port, "dial {}: {e}", dial.to);
                events.push(SocketEvent::DialFailed(conn));
            }
        }
        self.all.remove(key);
    }

    fn queue(&mut self, key: usize) {
        if let Some(slot) = self.all.get_mut(key)
            && !mem::replace(&mut slot.queued, true)
        {
            self.ready.push(key);
        }
    }

    fn connection(&mut self, key: usize) -> Option<&mut Connection> {
        match &mut self.all.get_mut(key)?.kind {
            Kind::Connection(connection) => Some(connection),
            Kind::Listener { .. } | Kind::Dial(_) => None,
        }
    }

    /// Adds a socket, and queues it because bytes may have arrived already.
    fn add(
        &mut self,
        make: impl FnOnce(&Registry, usize) -> io::Result<Kind>,
    ) -> io::Result<usize> {
        let entry = self.all.vacant_entry();
        let key = entry.key();
        entry.insert(Slot { kind: make(&self.registry, key)?, queued: false });
        self.queue(key);
        Ok(key)
    }
}

impl Sockets for PollSockets {
    type Stream = TcpStream;
    type Socket = usize;
    type Listener = usize;

    fn accept(&mut self, port: Port, listener: TcpListener, limit: u64) -> io::Result<usize> {
        self.add(|registry, key| {
            let mut listener = mio::net::TcpListener::from_std(listener);
            registry.register(&mut listener, Token(key), Interest::READABLE)?;
            Ok(Kind::Listener { port, listener, limit, paused_until: None })
        })
    }

    fn unlisten(&mut self, listener: usize) {
        self.all.try_remove(listener);
    }

    fn dial(&mut self, conn: ConnId, port: Port, to: HostPort, limit: Duration) {
        let until = Instant::now() + limit;
        let left: Vec<SocketAddr> = listen::literal(&to).into_iter().collect();
        let mut failed = None;
        if left.is_empty() {
            let (resolved, to) = (Arc::clone(&self.resolved), to.clone());
            // Resolving a name may block.
            let thread = thread::Builder::new().name(String::from("resolve"));
            let spawned = thread.spawn(move || {
                resolved(conn, listen::resolve(&to));
            });
            failed = spawned.err();
        }
        let dial = Dial { conn, port, to, until, attempt: None, left, failed };
        let slot = Slot { kind: Kind::Dial(Box::new(dial)), queued: false };
        let key = self.all.insert(slot);
        self.dials.insert(conn, key);
        self.timers.push(Reverse((until, key)));
        self.queue(key);
    }

    fn forget_dial(&mut self, conn: ConnId) {
        if let Some(key) = self.dials.remove(&conn) {
            self.all.try_remove(key);
        }
    }

    fn open(&mut self, conn: ConnId, mut stream: TcpStream) -> io::Result<usize> {
        self.add(|registry, key| {
            register(registry, &mut stream, key)?;
            Ok(Kind::Connection(Connection {
                conn,
                stream,
                readable: true,
                ending: false,
                paused: false,
                awaits_writable: false,
                writable: false,
                closing: None,
            }))
        })
    }

    fn pause(&mut self, key: &mut usize) {
        if let Some(connection) = self.connection(*key) {
            connection.paused = true;
        }
    }

    fn resume(&mut self, _: ConnId, key: &mut usize) {
        if let Some(connection) = self.connection(*key) {
            connection.paused = false;
            self.queue(*key);
        }
    }

    fn write(&mut self, key: &mut usize, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.connection(*key) {
            Some(connection) => connection.stream.write_vectored(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn await_writable(&mut self, _: ConnId, key: &mut usize) {
        if let Some(connection) = self.connection(*key) {
            // The next edge reports it.
            (connection.awaits_writable, connection.writable) = (true, false);
        }
    }

    fn close(&mut self, key: usize, left: SendQueue) {
        if let Some(connection) = self.connection(key) {
            let until = Instant::now() + LINGER;
            connection.closing = Some(Box::new(Closing { left, is_shut_down: false, until }));
            self.timers.push(Reverse((until, key)));
            self.queue(key);
        }
    }

    fn abandon(&mut self, key: usize) {
        self.all.try_remove(key);
    }
}

impl Connection {
    fn has_work(&self) -> bool {
        self.closing.is_some()
            || (self.readable && !self.paused)
            || (self.writable && self.awaits_writable)
    }

    fn advance(&mut self, buffer: &mut [u8], events: &mut Vec<PollEvent>) {
        if self.writable && self.awaits_writable {
            self.awaits_writable = false;
            events.push(SocketEvent::Writable(self.conn));
        }
        if !self.readable || self.paused {
            return;
        }
        match self.stream.read(buffer) {
            Ok(n) if n > 0 => {
                // After a short read, the next edge reports further bytes.
                self.readable = n == buffer.len() || self.ending;
                let bytes = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
                events.push(SocketEvent::Received(self.conn, bytes));
                return;
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return;
            }
            Err(e) => tracing::debug!(conn = %self.conn, "read: {e}"),
        }
        self.readable = false;
        events.push(SocketEvent::Ended(self.conn));
    }
}

impl Closing {
    /// Writes the remaining bytes, shuts down the sending side, and reads until the peer does so,
    /// too. Returns whether there is more to do now; an error ends the connection.
    fn advance(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.is_shut_down {
            if !self.left.write(|bytes| stream.write_vectored(bytes))? {
                return Ok(false);
            }
            stream.shutdown(Shutdown::Write)?;
            self.is_shut_down = true;
        }
        // Closing a socket with unread bytes would reset the connection, and the peer could lose
        // the last bytes that were sent.
        for _ in 0..CLOSING_READS {
            match stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

fn register(registry: &Registry, stream: &mut TcpStream, key: usize) -> io::Result<()> {
    registry.register(stream, Token(key), Interest::READABLE | Interest::WRITABLE)
}

/// Accepts connections. Returns whether there may be more.
fn accept(
    port: Port,
    listener: &mio::net::TcpListener,
    limit: u64,
    events: &mut Vec<PollEvent>,
) -> io::Result<bool> {
    for _ in 0..ACCEPTS {
        match listener.accept() {
            Ok((stream, peer)) if !descriptors::is_below(&stream, limit) => {
                events.push(SocketEvent::Refused(port, peer));
            }
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                events.push(SocketEvent::Accepted(port, stream, peer));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if listen::is_transient(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Whether a connection is established; false while it is pending.
fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(e) = stream.take_error()? {
        return Err(e);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(e) => Err(e),
    }
}
