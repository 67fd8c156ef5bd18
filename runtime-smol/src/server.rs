//! One node on one thread: takes all events that are ready, steps the core with each, flushes
//! each lane once, waits.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use bytes::Bytes;
use smol::future::FutureExt;
use smol::{LocalExecutor, Task};
use zabkeeper_core::action::{Action, Actions, Fault, Reason};
use zabkeeper_core::event::{Event, Host, Port};
use zabkeeper_core::node::Node;
use zabkeeper_core::record::Start;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{ConnId, HostPort, Now, Time};
use zabkeeper_std::boot::{Boot, Listen};
use zabkeeper_std::clock::Clock;
use zabkeeper_std::disk_thread::DiskThread;
use zabkeeper_std::exit::{self, Failure};
use zabkeeper_std::host::HostThread;
use zabkeeper_std::record::{RecordOptions, Recorder};

use crate::connection::{self, Connection, Flushed, Room};
use crate::sockets;

/// How long the disk may take at the end for what it was given.
const DISK_LINGER: Duration = Duration::from_secs(2);

/// What comes to the node's thread.
pub(crate) enum Input {
    Accepted(Port, Async<TcpStream>, SocketAddr),
    Dialled(ConnId, Port, Async<TcpStream>, SocketAddr),
    DialFailed(ConnId),
    Received(ConnId, Bytes),
    Ended(ConnId),
    SocketWritable(ConnId),
    Disk(Vec<Event<Store>>),
    Surveyed(Host),
    Stop,
}

pub(crate) type Inbox = async_channel::Sender<Input>;
pub(crate) type Inputs = async_channel::Receiver<Input>;

/// Runs a node until it is stopped (through the inbox) or must end. `serving` is called once,
/// when it serves clients for the first time.
pub(crate) fn run(
    boot: Boot,
    record: Option<&RecordOptions>,
    (inbox, inputs): (Inbox, Inputs),
    serving: impl FnOnce(),
) -> Result<(), Failure> {
    let mut listeners = Vec::new();
    for at in boot.listen() {
        let listener = sockets::listen(&at)?;
        listeners.push((at, listener));
    }
    let deliver = {
        let inbox = inbox.clone();
        move |events| drop(inbox.try_send(Input::Disk(events)))
    };
    let disk = DiskThread::start(
        format!("disk-{}", boot.id()),
        boot.disk_options(),
        boot.store_options(),
        boot.purge_every(),
        deliver,
    )
    .map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("file thread: {e}")))?;
    let deliver = {
        let inbox = inbox.clone();
        move |host| drop(inbox.try_send(Input::Surveyed(host)))
    };
    let name = format!("host-{}", boot.id());
    let host = HostThread::start(name, &boot.config, deliver)
        .map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("host thread: {e}")))?;
    let tasks = Rc::new(LocalExecutor::new());
    let clock = Clock::start();
    let Boot { config, source, lock, .. } = boot;
    let dial_limit = Duration::from_millis(config.cnx_timeout_ms);
    let start = Start::new(source, fastrand::u64(..), clock.now());
    let (seed, now) = (start.seed, start.now);
    let recorder = record.map(|options| Recorder::begin(options, start, &config)).transpose()?;
    let node = Node::new(config, seed, now);
    let server = Server {
        node,
        recorder,
        clock,
        tasks: Rc::clone(&tasks),
        dial_limit,
        inbox,
        disk,
        room: connection::room(),
        connections: HashMap::new(),
        dials: HashMap::new(),
        listening: Vec::new(),
        dirty: Vec::new(),
        ready: VecDeque::new(),
        out: Actions::new(),
        accepted: 0,
        fault: None,
    };
    let done = async_io::block_on(tasks.run(server.serve(listeners, inputs, serving)));
    drop(host);
    lock.release();
    done
}

struct Server {
    node: Node,
    recorder: Option<Recorder>,
    clock: Clock,
    tasks: Rc<LocalExecutor<'static>>,
    /// How long a dial may take (`cnxTimeout`).
    dial_limit: Duration,
    inbox: Inbox,
    disk: DiskThread,
    room: Room,
    connections: HashMap<ConnId, Connection>,
    dials: HashMap<ConnId, Task<()>>,
    /// Where connections are accepted.
    listening: Vec<(Listen, Task<()>)>,
    /// To be flushed at the end of this turn.
    dirty: Vec<ConnId>,
    /// Events of our own making, for the next turn.
    ready: VecDeque<Event<Store>>,
    out: Actions,
    accepted: u64,
    fault: Option<Fault>,
}

impl Server {
    async fn serve(
        mut self,
        listeners: Vec<(Listen, Async<TcpListener>)>,
        inputs: Inputs,
        serving: impl FnOnce(),
    ) -> Result<(), Failure> {
        for (at, listener) in listeners {
            let accepting = sockets::accept_all(at.port, listener, self.inbox.clone());
            self.listening.push((at, self.tasks.spawn(accepting)));
        }
        let mut serving = Some(serving);
        let mut alarm = Alarm::new(self.clock);
        let mut first = None;
        loop {
            let now = self.clock.now();
            if self.node.deadline().is_some_and(|at| at <= now.mono) {
                self.step(now, Event::Tick);
            }
            while let Some(event) = self.ready.pop_front() {
                self.step(now, event);
            }
            // What is there now, not what comes while it is worked on: then lanes are flushed.
            let mut left = inputs.len();
            let mut next = first.take();
            while let Some(input) = next {
                if matches!(input, Input::Stop) {
                    return self.stop();
                }
                self.take(now, input);
                next = if left > 0 { inputs.try_recv().ok() } else { None };
                left = left.saturating_sub(1);
            }
            self.flush();
            if let Some(fault) = self.fault.take() {
                self.listening.clear();
                if let Some(recorder) = self.recorder.take() {
                    recorder.finish(&fault.what);
                }
                return Err(Failure::new(fault.exit_code, fault.what.as_str()));
            }
            if self.node.serving()
                && let Some(serving) = serving.take()
            {
                serving();
            }
            let due = |at| at <= self.clock.now().mono;
            if self.node.deadline().is_some_and(due) {
                // The node goes on at once. Sockets are looked at before, so that nobody waits
                // until all of its work is done.
                smol::future::yield_now().await;
                first = inputs.try_recv().ok();
            } else if self.ready.is_empty() {
                alarm.set(self.node.deadline());
                let received = async { inputs.recv().await.ok() };
                first = received.or(alarm.ring()).await;
            } else {
                first = inputs.try_recv().ok();
            }
        }
    }

    /// Turns an input into the core's event.
    fn take(&mut self, now: Now, input: Input) {
        match input {
            Input::Accepted(port, stream, peer) => {
                self.accepted += 1;
                self.open(now, ConnId::accepted(self.accepted), port, stream, peer);
            }
            Input::Dialled(conn, port, stream, peer) => {
                if self.dials.remove(&conn).is_some() {
                    self.open(now, conn, port, stream, peer);
                }
            }
            Input::DialFailed(conn) => {
                if self.dials.remove(&conn).is_some() {
                    self.step(now, Event::Closed { conn });
                }
            }
            // What the core has closed meanwhile says no more.
            Input::Received(conn, bytes) => {
                if self.connections.contains_key(&conn) {
                    self.step(now, Event::Received { conn, bytes });
                }
            }
            Input::Ended(conn) => {
                if self.connections.remove(&conn).is_some() {
                    self.step(now, Event::Closed { conn });
                }
            }
            Input::SocketWritable(conn) => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.unblock();
                    self.mark(conn);
                }
            }
            Input::Surveyed(host) => self.step(now, Event::Surveyed(Box::new(host))),
            Input::Disk(events) => {
                for event in events {
                    self.step(now, event);
                }
            }
            // Taken care of by the loop.
            Input::Stop => {}
        }
    }

    fn open(
        &mut self,
        now: Now,
        conn: ConnId,
        port: Port,
        stream: Async<TcpStream>,
        peer: SocketAddr,
    ) {
        let mut connection = Connection::new(conn, stream);
        connection.resume(&self.tasks, &self.inbox, &self.room);
        self.connections.insert(conn, connection);
        self.step(now, Event::Opened { conn, port, peer });
    }

    fn step(&mut self, now: Now, event: Event<Store>) {
        let mut out = std::mem::take(&mut self.out);
        match &mut self.recorder {
            Some(recorder) => recorder.step(&mut self.node, now, event, &mut out),
            None => self.node.step(now, event, &mut out),
        }
        for action in out.drain(..) {
            self.execute(action);
        }
        self.out = out;
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::Dial { conn, port, to } => {
                let dial = sockets::dial(conn, port, to, self.dial_limit, self.inbox.clone());
                self.dials.insert(conn, self.tasks.spawn(dial));
            }
            Action::Send { conn, bytes } => {
                let Some(connection) = self.connections.get_mut(&conn) else { return };
                if connection.push(bytes) {
                    self.mark(conn);
                } else {
                    tracing::warn!(%conn, "closed: it takes nothing, and too much is to be sent");
                    self.connections.remove(&conn);
                    self.ready.push_back(Event::Closed { conn });
                }
            }
            Action::Close { conn, why } => {
                self.dials.remove(&conn);
                if let Some(connection) = self.connections.remove(&conn) {
                    match why {
                        Reason::Protocol(what) | Reason::Limit(what) | Reason::Timeout(what) => {
                            tracing::info!(%conn, what, "connection closed");
                        }
                        Reason::Done | Reason::NotServing | Reason::Replaced => {
                            tracing::debug!(%conn, ?why, "connection closed");
                        }
                    }
                    self.tasks.spawn(connection.close()).detach();
                }
            }
            Action::Pause { conn } => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.pause();
                }
            }
            Action::Resume { conn } => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.resume(&self.tasks, &self.inbox, &self.room);
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
            Action::Halt(fault) => {
                self.fault.get_or_insert(fault);
            }
        }
    }

    /// Opens what is new and closes what is not wanted any more.
    fn listen(&mut self, port: Port, wanted: &[HostPort]) {
        let backlog = self.listening.iter().find(|(at, _)| at.port == port);
        let backlog = backlog.and_then(|(at, _)| at.backlog);
        let mut wanted: Vec<Listen> =
            wanted.iter().map(|at| Listen::at(port, at, backlog)).collect();
        self.listening.retain(|(at, _)| at.port != port || wanted.iter().any(|w| w.is_at(at)));
        wanted.retain(|at| !self.listening.iter().any(|(known, _)| known.is_at(at)));
        for at in wanted {
            tracing::info!(
                ?port,
                host = at.host.as_deref().unwrap_or("*"),
                number = at.number,
                "listening"
            );
            let accepting = sockets::listen_and_accept(at.clone(), self.inbox.clone());
            self.listening.push((at, self.tasks.spawn(accepting)));
        }
    }

    fn mark(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && !std::mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push(conn);
        }
    }

    fn flush(&mut self) {
        for conn in self.dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            connection.dirty = false;
            match connection.flush(&self.tasks, &self.inbox) {
                Flushed::All | Flushed::Blocked => {
                    if connection.awaited && connection.has_room() {
                        connection.awaited = false;
                        self.ready.push_back(Event::Writable { conn });
                    }
                }
                Flushed::Broken => {
                    self.connections.remove(&conn);
                    self.ready.push_back(Event::Closed { conn });
                }
            }
        }
    }

    /// Answers what is answered, and lets the disk finish what it was given.
    fn stop(mut self) -> Result<(), Failure> {
        self.listening.clear();
        self.flush();
        self.connections.clear();
        self.dials.clear();
        if let Some(recorder) = self.recorder.take() {
            recorder.finish("stopped");
        }
        if self.disk.finish(DISK_LINGER) {
            tracing::info!("stopped");
        } else {
            tracing::warn!("stopped before the disk was done; nothing unwritten was acknowledged");
        }
        Ok(())
    }
}

/// The one timer.
struct Alarm {
    clock: Clock,
    timer: Timer,
    at: Option<Instant>,
}

impl Alarm {
    fn new(clock: Clock) -> Alarm {
        Alarm { clock, timer: Timer::never(), at: None }
    }

    fn set(&mut self, deadline: Option<Time>) {
        let at = deadline.and_then(|at| self.clock.instant(at));
        // It may have rung since it was set, and rings once.
        match at {
            Some(at) if self.at != Some(at) => self.timer.set_at(at),
            Some(_same) => {}
            None => self.timer = Timer::never(),
        }
        self.at = at;
    }

    async fn ring(&mut self) -> Option<Input> {
        (&mut self.timer).await;
        self.at = None;
        None
    }
}
