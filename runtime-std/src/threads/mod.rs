//! A node on plain threads: one polls all sockets, reads, steps the core and writes; one executes
//! file operations. There is no executor, and no thread per connection.

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

/// The token of the inbox; those of sockets are small.
const WAKE: Token = Token(usize::MAX);
/// The most reported sockets of one turn.
const EVENTS: usize = 1024;
/// The most messages of one turn.
const MESSAGES: usize = 1024;

/// Nodes on plain threads.
#[derive(Clone, Copy, Debug)]
pub struct Threads;

/// The receiving end of an inbox, with the poll that waits for it.
#[derive(Debug)]
pub struct InboxReceiver {
    poll: Poll,
    waker: Arc<Waker>,
    sender: Sender<LoopMessage>,
    receiver: Receiver<LoopMessage>,
}

/// A message of another thread to the loop.
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
        // If waking fails, the loop finds the message in its next turn.
        let _ = waker.wake();
    }
}
