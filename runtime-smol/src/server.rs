//! The loop of a node: runs the tasks that are ready, hands their events and the inbox's messages
//! to the driver, and waits.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use async_io::Async;
use smol::future::FutureExt;
use smol::{LocalExecutor, Task};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};
use zabkeeper_std::boot::Boot;
use zabkeeper_std::driver::{Driver, Inbox, Message, SendQueue, Sockets, Wait};
use zabkeeper_std::exit::Failure;
use zabkeeper_std::journal::JournalOptions;
use zabkeeper_std::program::Runtime;

use crate::connection::{self, Connection, ReadBuffer};
use crate::deadline_timer::DeadlineTimer;
use crate::event_queue::EventQueue;
use crate::lingering::Lingering;
use crate::sockets;

/// Nodes on smol's executors.
pub(crate) struct Smol;

impl Runtime for Smol {
    type InboxReceiver = Receiver<Message>;

    fn inbox() -> io::Result<(Inbox, Self::InboxReceiver)> {
        let (sender, receiver) = async_channel::unbounded();
        Ok((Inbox::new(move |message| drop(sender.try_send(message))), receiver))
    }

    fn run(
        boot: Boot,
        record: Option<&JournalOptions>,
        inbox: &Inbox,
        messages: Self::InboxReceiver,
        serving: impl FnOnce(),
    ) -> Result<(), Failure> {
        let driver = Driver::start(boot, record, inbox, SmolSockets::new())?;
        async_io::block_on(serve(driver, messages, serving))
    }
}

async fn serve(
    mut driver: Driver<SmolSockets>,
    messages: Receiver<Message>,
    serving: impl FnOnce(),
) -> Result<(), Failure> {
    let (tasks, events) = (Rc::clone(&driver.sockets.tasks), driver.sockets.events.clone());
    let mut serving = Some(serving);
    let mut timer = DeadlineTimer::new();
    let mut message = None;
    loop {
        driver.begin_turn();
        // Each woken task handles its socket once.
        while tasks.try_tick() {}
        while let Some(event) = events.next() {
            driver.handle(event);
        }
        // Only messages that are there now, so that the send queues are flushed soon.
        let left = messages.len();
        message.take().into_iter().for_each(|first| driver.message(first));
        for _ in 0..left {
            messages.try_recv().into_iter().for_each(|one| driver.message(one));
        }
        let next = driver.end_turn();
        if driver.node().serving()
            && let Some(serving) = serving.take()
        {
            serving();
        }
        message = match next {
            Wait::Skip => {
                smol::future::yield_now().await;
                messages.try_recv().ok()
            }
            Wait::Until(deadline) => {
                let closing = driver.sockets.lingering.drop_expired(Instant::now());
                timer.set(deadline.into_iter().chain(closing).min());
                let received = async { messages.recv().await.ok() };
                let woken = async {
                    tasks.tick().await;
                    None
                };
                let expired = async {
                    timer.expired().await;
                    None
                };
                received.or(woken).or(expired).await
            }
            Wait::Ended => return driver.finish(),
        };
    }
}

struct SmolSockets {
    tasks: Rc<LocalExecutor<'static>>,
    events: EventQueue,
    buffer: ReadBuffer,
    dials: HashMap<ConnId, Task<()>>,
    lingering: Lingering,
}

impl SmolSockets {
    fn new() -> SmolSockets {
        SmolSockets {
            tasks: Rc::default(),
            events: EventQueue::default(),
            buffer: connection::read_buffer(),
            dials: HashMap::new(),
            lingering: Lingering::default(),
        }
    }
}

impl Sockets for SmolSockets {
    type Stream = Async<TcpStream>;
    type Socket = Connection;
    type Listener = Task<()>;

    fn accept(&mut self, port: Port, listener: TcpListener, limit: u64) -> io::Result<Task<()>> {
        let listener = Async::new(listener)?;
        Ok(self.tasks.spawn(sockets::accept_all(port, listener, limit, self.events.clone())))
    }

    fn unlisten(&mut self, accepting: Task<()>) {
        drop(accepting);
    }

    fn dial(&mut self, conn: ConnId, port: Port, to: HostPort, limit: Duration) {
        let dial = sockets::dial(conn, port, to, limit, self.events.clone());
        self.dials.insert(conn, self.tasks.spawn(dial));
    }

    fn forget_dial(&mut self, conn: ConnId) {
        self.dials.remove(&conn);
    }

    fn open(&mut self, conn: ConnId, stream: Async<TcpStream>) -> io::Result<Connection> {
        let mut connection = Connection::new(stream);
        self.resume(conn, &mut connection);
        Ok(connection)
    }

    fn pause(&mut self, connection: &mut Connection) {
        connection.pause();
    }

    fn resume(&mut self, conn: ConnId, connection: &mut Connection) {
        connection.resume(conn, &self.tasks, &self.events, &self.buffer);
    }

    fn write(&mut self, connection: &mut Connection, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        connection.write(bytes)
    }

    fn await_writable(&mut self, conn: ConnId, connection: &mut Connection) {
        connection.await_writable(conn, &self.tasks, &self.events);
    }

    fn close(&mut self, connection: Connection, left: SendQueue) {
        let closing = connection.close(left, self.buffer.clone());
        // An error means that the peer is gone.
        self.lingering.add(self.tasks.spawn(async { drop(closing.await) }));
    }

    fn abandon(&mut self, connection: Connection) {
        drop(connection);
    }
}
