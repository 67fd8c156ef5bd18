//! One node on one thread: takes all that is ready, lets the driver step the core with each and
//! flush each lane once, waits.

use std::collections::HashMap;
use std::io::{self, IoSlice, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use async_io::{Async, Timer};
use bytes::Bytes;
use smol::future::FutureExt;
use smol::{LocalExecutor, Task};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};
use zabkeeper_std::boot::Boot;
use zabkeeper_std::driver::{Driver, Inbox, Message, Next, Sockets};
use zabkeeper_std::exit::Failure;
use zabkeeper_std::lane::Lane;
use zabkeeper_std::program::Runtime;
use zabkeeper_std::record::RecordOptions;

use crate::connection::{self, Connection, Room};
use crate::sockets;

/// What comes to the node's thread.
pub(crate) enum Input {
    Accepted(Port, Async<TcpStream>, SocketAddr),
    Dialled(ConnId, Port, Async<TcpStream>, SocketAddr),
    DialFailed(ConnId),
    Received(ConnId, Bytes),
    Ended(ConnId),
    Writable(ConnId),
    Message(Message),
}

pub(crate) type Sender = async_channel::Sender<Input>;

/// Nodes on smol's executors.
pub(crate) struct Smol;

impl Runtime for Smol {
    type Inputs = (Sender, Receiver<Input>);

    fn inbox() -> io::Result<(Inbox, Self::Inputs)> {
        let (sender, receiver) = async_channel::unbounded();
        let own = sender.clone();
        let put = move |message| drop(own.try_send(Input::Message(message)));
        Ok((Inbox::new(put), (sender, receiver)))
    }

    fn run(
        boot: Boot,
        record: Option<&RecordOptions>,
        inbox: &Inbox,
        (sender, inputs): Self::Inputs,
        serving: impl FnOnce(),
    ) -> Result<(), Failure> {
        let tasks = Rc::new(LocalExecutor::new());
        let room = connection::room();
        let sockets = SmolSockets { tasks: Rc::clone(&tasks), sender, room, dials: HashMap::new() };
        let driver = Driver::start(boot, record, inbox, sockets)?;
        async_io::block_on(tasks.run(serve(driver, inputs, serving)))
    }
}

async fn serve(
    mut driver: Driver<SmolSockets>,
    inputs: Receiver<Input>,
    serving: impl FnOnce(),
) -> Result<(), Failure> {
    let mut serving = Some(serving);
    let mut alarm = Alarm { timer: Timer::never(), at: None };
    let mut first = None;
    loop {
        driver.begin_turn();
        // What is there now, not what comes while it is worked on: then lanes are flushed.
        let mut left = inputs.len();
        let mut next = first.take();
        while let Some(input) = next {
            take(&mut driver, input);
            next = if left > 0 { inputs.try_recv().ok() } else { None };
            left = left.saturating_sub(1);
        }
        let next = driver.end_turn();
        if driver.node().serving()
            && let Some(serving) = serving.take()
        {
            serving();
        }
        first = match next {
            Next::AtOnce => {
                smol::future::yield_now().await;
                inputs.try_recv().ok()
            }
            Next::WaitUntil(deadline) => {
                alarm.set(deadline);
                let received = async { inputs.recv().await.ok() };
                received.or(alarm.ring()).await
            }
            Next::End => return driver.finish(),
        };
    }
}

fn take(driver: &mut Driver<SmolSockets>, input: Input) {
    match input {
        Input::Accepted(port, stream, peer) => driver.accepted(port, stream, peer),
        Input::Dialled(conn, port, stream, peer) => {
            driver.sockets.cancel_dial(conn);
            driver.dialled(conn, port, stream, peer);
        }
        Input::DialFailed(conn) => {
            driver.sockets.cancel_dial(conn);
            driver.dial_failed(conn);
        }
        Input::Received(conn, bytes) => driver.received(conn, bytes),
        Input::Ended(conn) => driver.ended(conn),
        Input::Writable(conn) => {
            if let Some((_, connection)) = driver.socket(conn) {
                connection.unblock();
            }
            driver.writable(conn);
        }
        Input::Message(message) => driver.message(message),
    }
}

struct SmolSockets {
    tasks: Rc<LocalExecutor<'static>>,
    sender: Sender,
    room: Room,
    dials: HashMap<ConnId, Task<()>>,
}

impl Sockets for SmolSockets {
    type Stream = Async<TcpStream>;
    type Socket = Connection;
    type Listener = Task<()>;

    fn accept(&mut self, port: Port, listener: TcpListener) -> io::Result<Task<()>> {
        let listener = Async::new(listener)?;
        Ok(self.tasks.spawn(sockets::accept_all(port, listener, self.sender.clone())))
    }

    fn unlisten(&mut self, accepting: Task<()>) {
        drop(accepting);
    }

    fn dial(&mut self, conn: ConnId, port: Port, to: HostPort, limit: Duration) {
        let dial = sockets::dial(conn, port, to, limit, self.sender.clone());
        self.dials.insert(conn, self.tasks.spawn(dial));
    }

    fn cancel_dial(&mut self, conn: ConnId) {
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
        connection.resume(conn, &self.tasks, &self.sender, &self.room);
    }

    fn write(&mut self, connection: &mut Connection, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        connection.stream().write_vectored(bytes)
    }

    fn await_room(&mut self, conn: ConnId, connection: &mut Connection) {
        connection.await_room(conn, &self.tasks, &self.sender);
    }

    fn close(&mut self, connection: Connection, left: Lane) {
        self.tasks.spawn(connection.close(left)).detach();
    }

    fn abandon(&mut self, connection: Connection) {
        drop(connection);
    }
}

/// The one timer.
struct Alarm {
    timer: Timer,
    at: Option<Instant>,
}

impl Alarm {
    fn set(&mut self, deadline: Option<Instant>) {
        // It may have rung since it was set, and rings once.
        match deadline {
            Some(at) if self.at != Some(at) => self.timer.set_at(at),
            Some(_same) => {}
            None => self.timer = Timer::never(),
        }
        self.at = deadline;
    }

    async fn ring(&mut self) -> Option<Input> {
        (&mut self.timer).await;
        self.at = None;
        None
    }
}
