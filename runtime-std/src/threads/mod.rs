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
use crate::driver::{Driver, Inbox, Message, Wait};
use crate::exit::Failure;
use crate::journal::JournalOptions;
use crate::program::{self, Runtime};
use sockets::PollSockets;

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
pub struct InboxReceiver {
    poll: Poll,
    waker: Arc<Waker>,
    sender: Sender<LoopMessage>,
    receiver: Receiver<LoopMessage>,
}

/// What other threads say to a node's.
#[derive(Debug)]
enum LoopMessage {
    Message(Message),
    Resolved(ConnId, io::Result<Vec<std::net::SocketAddr>>),
}

impl Runtime for Threads {
    type InboxReceiver = InboxReceiver;

    fn inbox() -> io::Result<(Inbox, InboxReceiver)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (sender, receiver) = channel();
        let put = {
            let (sender, waker) = (sender.clone(), Arc::clone(&waker));
            move |message| wake(&sender, &waker, LoopMessage::Message(message))
        };
        Ok((Inbox::new(put), InboxReceiver { poll, waker, sender, receiver }))
    }

    fn run(
        boot: Boot,
        record: Option<&JournalOptions>,
        inbox: &Inbox,
        receiver: InboxReceiver,
        serving: impl FnOnce(),
    ) -> Result<(), Failure> {
        let InboxReceiver { mut poll, waker, sender, receiver } = receiver;
        let registry = poll.registry().try_clone().map_err(|e| program::unexpected("poll", &e))?;
        let resolved = move |conn, addresses| {
            wake(&sender, &waker, LoopMessage::Resolved(conn, addresses));
        };
        let sockets = PollSockets::new(registry, Arc::new(resolved));
        let mut driver = Driver::start(boot, record, inbox, sockets)?;
        let mut serving = Some(serving);
        let mut events = Events::with_capacity(EVENTS);
        let (mut keys, mut socket_events) = (Vec::new(), Vec::new());
        loop {
            driver.begin_turn();
            for event in &events {
                driver.sockets.notice(event);
            }
            driver.sockets.take_ready(&mut keys);
            for key in keys.drain(..) {
                driver.sockets.advance(key, &mut socket_events);
                socket_events.drain(..).for_each(|event| driver.handle(event));
            }
            let mut messages = 0;
            while messages < MESSAGES
                && let Ok(input) = receiver.try_recv()
            {
                messages += 1;
                match input {
                    LoopMessage::Message(message) => driver.message(message),
                    LoopMessage::Resolved(conn, addresses) => {
                        driver.sockets.resolved(conn, addresses)
                    }
                }
            }
            let next = driver.end_turn();
            if driver.node().serving()
                && let Some(serving) = serving.take()
            {
                serving();
            }
            let wait = match next {
                Wait::Ended => return driver.finish(),
                Wait::Until(at) if messages < MESSAGES => driver.sockets.wait_until(at),
                Wait::Until(_) | Wait::Skip => Some(Instant::now()),
            };
            let timeout = wait.map(|at| at.saturating_duration_since(Instant::now()));
            match poll.poll(&mut events, timeout) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => events.clear(),
                done => done.map_err(|e| program::unexpected("poll", &e))?,
            }
        }
    }
}

fn wake(sender: &Sender<LoopMessage>, waker: &Waker, input: LoopMessage) {
    if sender.send(input).is_ok() {
        // If it cannot be woken, it finds the message when it wakes.
        let _ = waker.wake();
    }
}
