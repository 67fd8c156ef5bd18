//! The part of a runtime around `Node::step` that all runtimes share: it turns input into events,
//! carries out actions, and owns the connections' send queues. Waiting, reading and writing are
//! left to the runtime's [`Sockets`].

mod describe;
mod inbox;
mod send_queue;
mod sockets;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{fmt, mem};

use bytes::Bytes;
use zabkeeper_core::action::{Action, Actions, Fault, Reason};
use zabkeeper_core::event::{Event, NetEvent, Port};
use zabkeeper_core::journal::Start;
use zabkeeper_core::node::Node;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{ConnId, HostPort, Now};

pub use self::inbox::{Inbox, Message, Report};
pub use self::send_queue::SendQueue;
pub use self::sockets::{LINGER, READ_BYTES, SocketEvent, Sockets};
use crate::boot::{Boot, Listen, Lock};
use crate::clock::Clock;
use crate::descriptors::{self, DescriptorLimits};
use crate::disk_thread::DiskThread;
use crate::exit::{self, Failure};
use crate::host::HostThread;
use crate::journal::{JournalOptions, JournalWriter};
use crate::listen::{self, BIND_PAUSE};

/// Between two log lines about an address at which it cannot listen.
const LISTEN_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long the disk may take at the end to carry out its actions.
const DISK_LINGER: Duration = Duration::from_secs(2);

/// How long the loop of a runtime waits after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all: poll the sockets, then begin the next turn.
    Skip,
    /// Until a socket or the inbox has something, at most until the instant.
    Until(Option<Instant>),
    /// The node has ended: call [`Driver::finish`].
    Ended,
}

/// A node with its disk thread, its connections and its listeners.
///
/// A turn of a runtime's loop is [`Driver::begin_turn`]; [`Driver::handle`] for each event of a
/// socket and [`Driver::message`] for each message of the inbox; [`Driver::end_turn`].
pub struct Driver<S: Sockets> {
    /// The runtime's sockets.
    pub sockets: S,
    node: Node,
    recorder: Option<JournalWriter>,
    clock: Clock,
    now: Now,
    disk: DiskThread,
    _host: HostThread,
    lock: Lock,
    /// The timeout of a dial (`cnxTimeout`).
    dial_limit: Duration,
    connections: HashMap<ConnId, Connection<S::Socket>>,
    /// Pending dials and connections that were dialled.
    dialled: HashMap<ConnId, HostPort>,
    /// Peers that cannot be reached ([`Message::Partition`]).
    partitioned: Vec<HostPort>,
    listening: Vec<(Listen, S::Listener)>,
    /// Addresses at which it cannot listen yet.
    pending_listens: Vec<PendingListen>,
    /// Connections to flush at the end of this turn.
    dirty: Vec<ConnId>,
    /// Events that the driver itself has caused, for the next turn.
    ready: VecDeque<Event<Store>>,
    out: Actions,
    accepted: u64,
    descriptors: DescriptorLimits,
    ended: Option<Ended>,
}

struct Connection<K> {
    port: Port,
    peer: SocketAddr,
    socket: K,
    queue: SendQueue,
    /// The socket takes no more bytes now.
    blocked: bool,
    /// The core waits until the backlog is small.
    awaited: bool,
    /// The connection is in [`Driver::dirty`].
    dirty: bool,
}

/// An address at which it cannot listen yet.
struct PendingListen {
    at: Listen,
    retry_at: Instant,
    /// The next failure from this instant on is logged.
    log_at: Instant,
}

impl PendingListen {
    /// After a failure that was logged.
    fn logged(at: Listen) -> PendingListen {
        let now = Instant::now();
        PendingListen { at, retry_at: now + BIND_PAUSE, log_at: now + LISTEN_LOG_INTERVAL }
    }
}

enum Ended {
    Stopped,
    Killed,
    Failed(Fault),
}

impl<S: Sockets> Driver<S> {
    /// Listens, starts the file thread and the thread for the machine's figures, and creates the
    /// node.
    ///
    /// # Errors
    /// A port cannot be bound, the journal cannot be written, or a thread cannot be created.
    pub fn start(
        boot: Boot,
        record: Option<&JournalOptions>,
        inbox: &Inbox,
        mut sockets: S,
    ) -> Result<Driver<S>, Failure> {
        let unexpected =
            |what: &str, e: io::Error| Failure::new(exit::UNEXPECTED_ERROR, format!("{what}: {e}"));
        let descriptors = DescriptorLimits::new(descriptors::limit(), boot.others());
        let (mut listening, mut pending_listens) = (Vec::new(), Vec::new());
        for port in [Port::Client, Port::Election, Port::Quorum] {
            let all = boot.listen().into_iter().filter(|at| at.port == port).collect();
            let bound = listen::listen(all)?;
            for (at, listener) in bound.listening {
                let accepting = sockets.accept(at.port, listener, descriptors.of_port(at.port));
                listening.push((at, accepting.map_err(|e| unexpected("listening socket", e))?));
            }
            pending_listens.extend(bound.pending.into_iter().map(PendingListen::logged));
        }
        let to = inbox.clone();
        let disk = DiskThread::start(
            format!("disk-{}", boot.id()),
            boot.disk_options(),
            boot.store_options(),
            boot.purge_every(),
            move |events| to.put(Message::Disk(events)),
        )
        .map_err(|e| unexpected("file thread", e))?;
        let to = inbox.clone();
        let name = format!("host-{}", boot.id());
        let host = HostThread::start(name, &boot.config, move |host| to.put(Message::Host(host)))
            .map_err(|e| unexpected("host thread", e))?;
        let clock = Clock::start();
        let Boot { config, source, lock, .. } = boot;
        let dial_limit = Duration::from_millis(config.network.cnx_timeout_ms);
        let start = Start::new(source, seed(), clock.now());
        let (seed, now) = (start.seed, start.now);
        let recorder =
            record.map(|options| JournalWriter::begin(options, start, &config)).transpose()?;
        Ok(Driver {
            sockets,
            node: Node::new(config, seed, now),
            recorder,
            clock,
            now,
            disk,
            _host: host,
            lock,
            dial_limit,
            connections: HashMap::new(),
            dialled: HashMap::new(),
            partitioned: Vec::new(),
            listening,
            pending_listens,
            dirty: Vec::new(),
            ready: VecDeque::new(),
            out: Actions::new(),
            accepted: 0,
            descriptors,
            ended: None,
        })
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Begins a turn: carries out the work that is due.
    pub fn begin_turn(&mut self) {
        self.now = self.clock.now();
        if self.node.deadline().is_some_and(|at| at <= self.now.mono) {
            self.step(Event::Tick);
        }
        // Events that these cause wait for the next turn.
        for event in mem::take(&mut self.ready) {
            self.step(event);
        }
        if !self.pending_listens.is_empty() {
            let now = Instant::now();
            let (due, later) = mem::take(&mut self.pending_listens)
                .into_iter()
                .partition(|pending| pending.retry_at <= now);
            self.pending_listens = later;
            Vec::into_iter(due)
                .for_each(|pending: PendingListen| self.try_to_listen(pending.at, pending.log_at));
        }
    }

    /// Ends a turn: writes once to each connection that has bytes to send.
    pub fn end_turn(&mut self) -> Wait {
        self.flush();
        if self.ended.is_some() {
            return Wait::Ended;
        }
        let deadline = self.node.deadline();
        // If the node has more to do, the sockets are polled first: a long queue of work must not
        // delay other connections.
        if !self.ready.is_empty() || deadline.is_some_and(|at| at <= self.clock.now().mono) {
            return Wait::Skip;
        }
        let deadline = deadline.and_then(|at| self.clock.instant(at));
        let retry = self.pending_listens.iter().map(|pending| pending.retry_at).min();
        Wait::Until(deadline.into_iter().chain(retry).min())
    }

    /// Handles a message of the inbox.
    pub fn message(&mut self, message: Message) {
        match message {
            Message::Disk(events) => {
                for event in events {
                    self.step(Event::Disk(event));
                }
            }
            Message::Host(host) => self.step(Event::Host(Box::new(host))),
            Message::Stop => self.end(Ended::Stopped),
            Message::Kill => self.end(Ended::Killed),
            Message::Partition(peers) => self.partition(peers),
            Message::Describe(done) => {
                self.describe();
                let _ = done.send(());
            }
            Message::Report(to) => {
                // The requester may have given up.
                let _ = to.send(Report::of(&self.node));
            }
        }
    }

    /// Steps the node with an event of a socket.
    pub fn handle(&mut self, event: SocketEvent<S::Stream>) {
        match event {
            SocketEvent::Accepted(port, stream, peer) => self.accepted(port, stream, peer),
            SocketEvent::Refused(port, peer) => self.refused(port, peer),
            SocketEvent::Dialled(conn, port, stream, peer) => {
                self.sockets.forget_dial(conn);
                self.dialled(conn, port, stream, peer);
            }
            SocketEvent::DialFailed(conn) => {
                self.sockets.forget_dial(conn);
                self.dial_failed(conn);
            }
            SocketEvent::Received(conn, bytes) => self.received(conn, bytes),
            SocketEvent::Ended(conn) => self.ended(conn),
            SocketEvent::Writable(conn) => self.writable(conn),
        }
    }

    fn refused(&mut self, port: Port, peer: SocketAddr) {
        let why = self.descriptors.refusal(self.connections.len());
        tracing::warn!(peer = %listen::peer(peer), ?port, "connection refused: {why}");
    }

    fn accepted(&mut self, port: Port, stream: S::Stream, peer: SocketAddr) {
        self.accepted += 1;
        let conn = ConnId::accepted(self.accepted);
        match self.sockets.open(conn, stream) {
            Ok(socket) => self.opened(conn, port, socket, listen::peer(peer)),
            Err(e) => tracing::warn!(?port, "accept: {e}"),
        }
    }

    /// Ignores a dial that the core has closed meanwhile.
    fn dialled(&mut self, conn: ConnId, port: Port, stream: S::Stream, peer: SocketAddr) {
        if self.dialled.contains_key(&conn) {
            match self.sockets.open(conn, stream) {
                Ok(socket) => self.opened(conn, port, socket, peer),
                Err(e) => {
                    tracing::debug!(%conn, ?port, "dial: {e}");
                    self.dial_failed(conn);
                }
            }
        }
    }

    fn dial_failed(&mut self, conn: ConnId) {
        if self.dialled.remove(&conn).is_some() {
            self.step(Event::Net(NetEvent::Closed { conn }));
        }
    }

    /// Ignores bytes of a connection that the core has closed meanwhile.
    fn received(&mut self, conn: ConnId, bytes: Bytes) {
        if self.connections.contains_key(&conn) {
            self.step(Event::Net(NetEvent::Received { conn, bytes }));
        }
    }

    fn ended(&mut self, conn: ConnId) {
        if self.abandon(conn) {
            self.step(Event::Net(NetEvent::Closed { conn }));
        }
    }

    fn writable(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.blocked = false;
            self.mark(conn);
        }
    }

    fn socket(&mut self, conn: ConnId) -> Option<(&mut S, &mut S::Socket)> {
        let connection = self.connections.get_mut(&conn)?;
        Some((&mut self.sockets, &mut connection.socket))
    }

    /// Lets the disk finish its actions, at most 2 s, and releases the data directory.
    ///
    /// # Errors
    /// The fault that ended the node.
    pub fn finish(mut self) -> Result<(), Failure> {
        // New connections are refused, and peers see that the server has ended.
        for (_, listener) in self.listening.drain(..) {
            self.sockets.unlisten(listener);
        }
        drop(self.sockets);
        drop(self.connections);
        let (done, why) = match &self.ended {
            Some(Ended::Failed(fault)) => {
                let failure = Failure::new(fault.exit_code, fault.what.as_str());
                (Err(failure), fault.what.as_str())
            }
            Some(Ended::Killed) => (Ok(()), "killed"),
            Some(Ended::Stopped) | None => (Ok(()), "stopped"),
        };
        if let Some(recorder) = self.recorder.take() {
            recorder.finish(why);
        }
        if done.is_ok() {
            if self.disk.finish(DISK_LINGER) {
                tracing::info!("{why}");
            } else {
                tracing::warn!(
                    "{why} before the disk had finished; no unwritten transaction was acknowledged"
                );
            }
        }
        self.lock.release();
        done
    }

    fn opened(&mut self, conn: ConnId, port: Port, socket: S::Socket, peer: SocketAddr) {
        let queue = SendQueue::default();
        let connection =
            Connection { port, peer, socket, queue, blocked: false, awaited: false, dirty: false };
        self.connections.insert(conn, connection);
        self.step(Event::Net(NetEvent::Opened { conn, port, peer }));
    }

    fn step(&mut self, event: Event<Store>) {
        if self.ended.is_some() {
            return;
        }
        let mut out = mem::take(&mut self.out);
        match &mut self.recorder {
            Some(recorder) => recorder.step(&mut self.node, self.now, event, &mut out),
            None => self.node.step(self.now, event, &mut out),
        }
        for action in out.drain(..) {
            self.execute(action);
        }
        self.out = out;
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::Dial { conn, port, to } => {
                if self.partitioned.contains(&to) {
                    self.ready.push_back(Event::Net(NetEvent::Closed { conn }));
                } else {
                    self.dialled.insert(conn, to.clone());
                    self.sockets.dial(conn, port, to, self.dial_limit);
                }
            }
            Action::Send { conn, bytes } => {
                let Some(connection) = self.connections.get_mut(&conn) else { return };
                if connection.queue.push(bytes) {
                    self.mark(conn);
                } else {
                    let (peer, port) = (connection.peer, connection.port);
                    tracing::warn!(%conn, %peer, ?port, "closed: send backlog limit exceeded");
                    self.broken(conn);
                }
            }
            Action::Close { conn, why } => self.close(conn, &why),
            Action::Pause { conn } => {
                if let Some((sockets, socket)) = self.socket(conn) {
                    sockets.pause(socket);
                }
            }
            Action::Resume { conn } => {
                if let Some((sockets, socket)) = self.socket(conn) {
                    sockets.resume(conn, socket);
                }
            }
            Action::AwaitWritable { conn } => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.awaited = true;
                    self.mark(conn);
                }
            }
            Action::Listen { port, at } => self.listen(port, &at),
            Action::Disk(action) => self.disk.submit(action),
            Action::Halt(fault) => self.end(Ended::Failed(fault)),
        }
    }

    fn close(&mut self, conn: ConnId, why: &Reason) {
        if self.dialled.remove(&conn).is_some() {
            self.sockets.forget_dial(conn);
        }
        let Some(connection) = self.connections.remove(&conn) else { return };
        let Connection { port, peer, .. } = &connection;
        match why {
            Reason::Protocol(what) | Reason::Limit(what) | Reason::Timeout(what) => {
                tracing::info!(%conn, %peer, ?port, what, "connection closed");
            }
            Reason::Peer(what) => tracing::info!(%conn, %peer, ?port, %what, "connection closed"),
            Reason::TooLong { what, length, limit } => {
                tracing::info!(%conn, %peer, ?port, what, length, limit, "connection closed");
            }
            Reason::Done | Reason::NotServing | Reason::Replaced => {
                tracing::debug!(%conn, ?why, "connection closed");
            }
        }
        self.sockets.close(connection.socket, connection.queue);
    }

    /// Listens at the addresses `wanted`, and closes the other listeners of this port.
    fn listen(&mut self, port: Port, wanted: &[HostPort]) {
        let backlog = self.listening.iter().find(|(at, _)| at.port == port);
        let backlog = backlog.and_then(|(at, _)| at.backlog);
        let mut wanted: Vec<Listen> =
            wanted.iter().map(|at| Listen::at(port, at, backlog)).collect();
        let is_wanted =
            |at: &Listen| at.port != port || wanted.iter().any(|wanted| wanted.is_at(at));
        self.pending_listens.retain(|pending| is_wanted(&pending.at));
        let (kept, rest): (Vec<_>, Vec<_>) =
            self.listening.drain(..).partition(|(at, _)| is_wanted(at));
        self.listening = kept;
        rest.into_iter().for_each(|(_, listener)| self.sockets.unlisten(listener));
        wanted.retain(|at| {
            !self.listening.iter().any(|(known, _)| known.is_at(at))
                && !self.pending_listens.iter().any(|pending| pending.at.is_at(at))
        });
        for at in wanted {
            self.try_to_listen(at, Instant::now());
        }
    }

    /// Logs a failure from `log_at` on, so that not every attempt is logged.
    fn try_to_listen(&mut self, at: Listen, log_at: Instant) {
        let limit = self.descriptors.of_port(at.port);
        match listen::bind(&at).and_then(|bound| self.sockets.accept(at.port, bound, limit)) {
            Ok(listener) => {
                let (port, host) = (at.port, at.host.as_deref().unwrap_or("*"));
                tracing::info!(?port, host, number = at.number, "listening");
                self.listening.push((at, listener));
            }
            Err(e) => {
                let now = Instant::now();
                let mut pending = PendingListen { log_at, ..PendingListen::logged(at) };
                if log_at <= now {
                    tracing::warn!("{}; retrying", listen::failure(&pending.at, &e));
                    pending.log_at = now + LISTEN_LOG_INTERVAL;
                }
                self.pending_listens.push(pending);
            }
        }
    }

    fn partition(&mut self, peers: Vec<HostPort>) {
        self.partitioned = peers;
        let cut: Vec<ConnId> = self
            .dialled
            .iter()
            .filter(|(_, to)| self.partitioned.contains(to))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in cut {
            self.sockets.forget_dial(conn);
            self.ended(conn);
        }
    }

    /// Closes a broken connection; the core receives the event in the next turn.
    fn broken(&mut self, conn: ConnId) {
        if self.abandon(conn) {
            self.ready.push_back(Event::Net(NetEvent::Closed { conn }));
        }
    }

    /// Drops a connection or dial. Returns whether the core knows it.
    fn abandon(&mut self, conn: ConnId) -> bool {
        let dialled = self.dialled.remove(&conn).is_some();
        let connection = self.connections.remove(&conn);
        let known = dialled || connection.is_some();
        if let Some(connection) = connection {
            self.sockets.abandon(connection.socket);
        }
        known
    }

    fn mark(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && !mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push(conn);
        }
    }

    fn flush(&mut self) {
        let mut dirty = mem::take(&mut self.dirty);
        let killed = matches!(self.ended, Some(Ended::Killed));
        for conn in dirty.drain(..).filter(|_| !killed) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            connection.dirty = false;
            let (sockets, socket) = (&mut self.sockets, &mut connection.socket);
            if !connection.blocked {
                match connection.queue.write(|bytes| sockets.write(socket, bytes)) {
                    Ok(true) => {}
                    Ok(false) => {
                        connection.blocked = true;
                        sockets.await_writable(conn, socket);
                    }
                    Err(e) => {
                        tracing::debug!(%conn, "write: {e}");
                        self.broken(conn);
                        continue;
                    }
                }
            }
            if connection.awaited && connection.queue.is_drained() {
                connection.awaited = false;
                self.ready.push_back(Event::Net(NetEvent::Writable { conn }));
            }
        }
        self.dirty = dirty;
    }

    fn end(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
    }
}

impl<S: Sockets> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}

/// A random seed. 0 is excluded: it would make session ids consecutive.
fn seed() -> u64 {
    RandomState::new().hash_one(0_u8).max(1)
}
