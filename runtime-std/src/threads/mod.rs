//! A node on plain threads: one waits for all of its sockets at once, reads, steps the core and
//! writes; one is for its files. No executor, and no thread a connection.

mod sockets;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use mio::{Events, Poll, Token, Waker};
use zabkeeper_core::types::ConnId;

use crate::boot::Boot;
use crate::driver::{Driver, Inbox, Message, Next};
use crate::exit::Failure;
use crate::program::{self, Runtime};
use crate::record::RecordOptions;
use sockets::{News, PollSockets};

/// The inbox's; sockets have small ones.
const WAKE: Token = Token(usize::MAX);
/// Most sockets that one turn takes notice of.
const EVENTS: usize = 1024;
/// Most messages of one turn.
const MESSAGES: usize = 1024;

/// Nodes on plain threads.
#[derive(Clone, Copy, Debug)]
pub struct Threads;

/// The node's end of an inbox, and what it waits with.
#[derive(Debug)]
pub struct Inputs {
    poll: Poll,
    waker: Arc<Waker>,
    sender: Sender<Input>,
    receiver: Receiver<Input>,
}

/// What other threads say to a node's.
#[derive(Debug)]
enum Input {
    Message(Message),
    Resolved(ConnId, io::Result<Vec<std::net::SocketAddr>>),
}

impl Runtime for Threads {
    type Inputs = Inputs;

    fn inbox() -> io::Result<(Inbox, Inputs)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (sender, receiver) = channel();
        let put = {
            let (sender, waker) = (sender.clone(), Arc::clone(&waker));
            move |message| wake(&sender, &waker, Input::Message(message))
        };
        Ok((Inbox::new(put), Inputs { poll, waker, sender, receiver }))
    }

    fn run(
        boot: Boot,
        record: Option<&RecordOptions>,
        inbox: &Inbox,
        inputs: Inputs,
        serving: impl FnOnce(),
    ) -> Result<(), Failure> {
        let Inputs { mut poll, waker, sender, receiver } = inputs;
        let registry = poll.registry().try_clone().map_err(|e| program::unexpected("poll", &e))?;
        let resolved = move |conn, addresses| {
            wake(&sender, &waker, Input::Resolved(conn, addresses));
        };
        let sockets = PollSockets::new(registry, Arc::new(resolved));
        let mut driver = Driver::start(boot, record, inbox, sockets)?;
        let mut serving = Some(serving);
        let mut events = Events::with_capacity(EVENTS);
        let (mut keys, mut news) = (Vec::new(), Vec::new());
        loop {
            driver.begin_turn();
            for event in &events {
                driver.sockets.notice(event);
            }
            take_ready(&mut driver, &mut keys, &mut news);
            let mut messages = 0;
            while messages < MESSAGES
                && let Ok(input) = receiver.try_recv()
            {
                messages += 1;
                match input {
                    Input::Message(message) => driver.message(message),
                    Input::Resolved(conn, addresses) => driver.sockets.resolved(conn, addresses),
                }
            }
            let next = driver.end_turn();
            if driver.node().serving()
                && let Some(serving) = serving.take()
            {
                serving();
            }
            let wait = match next {
                Next::End => return driver.finish(),
                Next::WaitUntil(at) if messages < MESSAGES => driver.sockets.wait_until(at),
                Next::WaitUntil(_) | Next::AtOnce => Some(Instant::now()),
            };
            let timeout = wait.map(|at| at.saturating_duration_since(Instant::now()));
            match poll.poll(&mut events, timeout) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => events.clear(),
                done => done.map_err(|e| program::unexpected("poll", &e))?,
            }
        }
    }
}

fn wake(sender: &Sender<Input>, waker: &Waker, input: Input) {
    if sender.send(input).is_ok() {
        // If it cannot be woken, it finds the message when it wakes.
        let _ = waker.wake();
    }
}

/// Looks once at each socket that has something.
fn take_ready(driver: &mut Driver<PollSockets>, keys: &mut Vec<usize>, news: &mut Vec<News>) {
    driver.sockets.take_ready(keys);
    for key in keys.drain(..) {
        driver.sockets.advance(key, news);
        for one in news.drain(..) {
            match one {
                News::Accepted(port, stream, peer) => driver.accepted(port, stream, peer),
                News::Refused(port, peer) => driver.refused(port, peer),
                News::Dialled(conn, port, stream, peer) => {
                    driver.dialled(conn, port, stream, peer);
                }
                News::DialFailed(conn) => driver.dial_failed(conn),
                News::Received(conn, bytes) => driver.received(conn, bytes),
                News::Ended(conn) => driver.ended(conn),
                News::Writable(conn) => driver.writable(conn),
            }
        }
    }
}
