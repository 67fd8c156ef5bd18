//! One node on one thread: takes all that is ready, lets the driver step the core with each and
//! flush each lane once, waits.

use std::collections::HashMap;
use std::io::{self, IoSlice, Write};
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
use zabkeeper_std::driver::{Driver, Inbox, Message, Next, Sockets};
use zabkeeper_std::exit::Failure;
use zabkeeper_std::lane::Lane;
use zabkeeper_std::program::Runtime;
use zabkeeper_std::record::RecordOptions;

use crate::alarm::Alarm;
use crate::connection::{self, Connection, Room};
use crate::lingering::Lingering;
use crate::news::{Found, News};
use crate::sockets;

/// Nodes on smol's executors.
pub(crate) struct Smol;

impl Runtime for Smol {
    type Inputs = Receiver<Message>;

    fn inbox() -> io::Result<(Inbox, Self::Inputs)> {
        let (sender, receiver) = async_channel::unbounded();
        Ok((Inbox::new(move |message| drop(sender.try_send(message))), receiver))
    }

    fn run(
        boot: Boot,
        record: Option<&RecordOptions>,
        inbox: &Inbox,
        messages: Self::Inputs,
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
    let (tasks, found) = (Rc::clone(&driver.sockets.tasks), driver.sockets.found.clone());
    let mut serving = Some(serving);
    let mut alarm = Alarm::new();
    let mut message = None;
    loop {
        driver.begin_turn();
        // Each task that was woken looks at its socket once.
        while tasks.try_tick() {}
        while let Some(news) = found.next() {
            take(&mut driver, news);
        }
        // What is there now, not what comes while it is worked on: then lanes are flushed.
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
            Next::AtOnce => {
                smol::future::yield_now().await;
                messages.try_recv().ok()
            }
            Next::WaitUntil(deadline) => {
                let goodbye = driver.sockets.lingering.end_by(Instant::now());
                alarm.set(deadline.into_iter().chain(goodbye).min());
                let received = async { messages.recv().await.ok() };
                let woken = async {
                    tasks.tick().await;
                    None
                };
                let rung = async {
                    alarm.ring().await;
                    None
                };
                received.or(woken).or(rung).await
            }
            Next::End => return driver.finish(),
        };
    }
}

fn take(driver: &mut Driver<SmolSockets>, news: News) {
    match news {
        News::Accepted(port, stream, peer) => driver.accepted(port, stream, peer),
        News::Refused(port, peer) => driver.refused(port, peer),
        News::Dialled(conn, port, stream, peer) => {
            driver.sockets.cancel_dial(conn);
            driver.dialled(conn, port, stream, peer);
        }
        News::DialFailed(conn) => {
            driver.sockets.cancel_dial(conn);
            driver.dial_failed(conn);
        }
        News::Received(conn, bytes) => driver.received(conn, bytes),
        News::Ended(conn) => driver.ended(conn),
        News::Writable(conn) => {
            if let Some((_, connection)) = driver.socket(conn) {
                connection.unblock();
            }
            driver.writable(conn);
        }
    }
}

struct SmolSockets {
    tasks: Rc<LocalExecutor<'static>>,
    found: Found,
    room: Room,
    dials: HashMap<ConnId, Task<()>>,
    lingering: Lingering,
}

impl SmolSockets {
    fn new() -> SmolSockets {
        SmolSockets {
            tasks: Rc::default(),
            found: Found::default(),
            room: connection::room(),
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
        Ok(self.tasks.spawn(sockets::accept_all(port, listener, limit, self.found.clone())))
    }

    fn unlisten(&mut self, accepting: Task<()>) {
        drop(accepting);
    }

    fn dial(&mut self, conn: ConnId, port: Port, to: HostPort, limit: Duration) {
        let dial = sockets::dial(conn, port, to, limit, self.found.clone());
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
        connection.resume(conn, &self.tasks, &self.found, &self.room);
    }

    fn write(&mut self, connection: &mut Connection, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        connection.stream().write_vectored(bytes)
    }

    fn await_room(&mut self, conn: ConnId, connection: &mut Connection) {
        connection.await_room(conn, &self.tasks, &self.found);
    }

    fn close(&mut self, connection: Connection, left: Lane) {
        let goodbye = connection.close(left, self.room.clone());
        // Whoever is gone hears no goodbye.
        self.lingering.add(self.tasks.spawn(async { drop(goodbye.await) }));
    }

    fn abandon(&mut self, connection: Connection) {
        drop(connection);
    }
}
