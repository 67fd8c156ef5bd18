//! The loop: sockets that are ready are read, the workload says what is asked next, and each
//! session's requests go out in one write.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::Failed;
use super::session::{Happened, Session};
use crate::stop;

/// Since a run began.
pub type Nanos = u64;

/// Of a read; what a session with many requests under way is answered at once.
const READ_BYTES: usize = 256 << 10;
/// Handshakes under way at once: servers have short queues for them.
const HANDSHAKES: usize = 128;
/// Before a connection that was lost or refused is tried anew, at the next member.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a turn waits for something to happen, where nothing else is to be done.
pub(super) const TURN: Duration = Duration::from_millis(20);

/// Decides what sessions ask.
pub(super) trait Workload {
    /// Something happened to a session, which may send requests now. One that is forgotten here
    /// begins anew.
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos);
    /// All that happened has been told. What is sent now is to be flushed here, too.
    fn over(&mut self, sessions: &mut [Session], now: Nanos) -> Result<(), Failed> {
        let _ = (sessions, now);
        Ok(())
    }
    /// Whether a session whose connection is lost is connected again.
    fn reconnects(&self) -> bool {
        false
    }
}

pub(super) struct Driver {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    servers: Vec<SocketAddr>,
    pub(super) sessions: Vec<Session>,
    /// To be dialled, and not before when.
    waiting: VecDeque<(usize, Nanos)>,
    handshakes: usize,
    origin: Instant,
}

impl Driver {
    /// So many sessions are wanted; they go round over the members.
    pub(super) fn new(servers: &[SocketAddr], sessions: usize) -> Result<Driver, Failed> {
        Ok(Driver {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; READ_BYTES],
            servers: servers.to_vec(),
            sessions: (0..sessions).map(|n| Session::new(n, n % servers.len())).collect(),
            waiting: (0..sessions).map(|n| (n, 0)).collect(),
            handshakes: 0,
            origin: Instant::now(),
        })
    }

    /// The time.
    pub(super) fn now(&self) -> Nanos {
        self.origin.elapsed().as_nanos() as Nanos
    }

    /// Waits for something to happen, at most so long, and lets the workload answer it.
    pub(super) fn turn(
        &mut self,
        workload: &mut impl Workload,
        most: Duration,
    ) -> Result<(), Failed> {
        stop::check()?;
        self.dial(workload)?;
        let most = if self.waiting.is_empty() { most } else { most.min(PAUSE) };
        match self.poll.poll(&mut self.events, Some(most)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let index = event.token().0;
            let began = self.sessions[index].attached();
            let done = self.ready(index, event.is_read_closed(), workload);
            if !began && (self.sessions[index].attached() || done.is_err()) {
                self.handshakes = self.handshakes.saturating_sub(1);
            }
            match done {
                Ok(()) => {
                    let session = &self.sessions[index];
                    if began && !session.open_now() && !session.gone {
                        self.waiting.push_back((index, 0));
                    }
                }
                Err(error) => self.lost(index, &error, workload)?,
            }
        }
        self.events = events;
        let now = self.now();
        workload.over(&mut self.sessions, now)
    }

    /// Turns for so long.
    pub(super) fn turns(
        &mut self,
        workload: &mut impl Workload,
        duration: Duration,
    ) -> Result<(), Failed> {
        let end = Instant::now() + duration;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(workload, left.min(TURN))?;
        }
    }

    /// An error, if a run has taken longer than it may until now.
    pub(super) fn within(&self, most: Duration, what: &str) -> Result<(), Failed> {
        if self.origin.elapsed() > most {
            return Err(Failed(format!("not within {} s: {what}", most.as_secs())));
        }
        Ok(())
    }

    /// Writes what the workload has queued outside of its turn.
    pub(super) fn flush(&mut self, index: usize) -> Result<(), Failed> {
        self.sessions[index].flush().map_err(|e| self.broken(index, &e))
    }

    fn ready(
        &mut self,
        index: usize,
        closed: bool,
        workload: &mut impl Workload,
    ) -> io::Result<()> {
        let session = &mut self.sessions[index];
        while let Some(read) = session.read(&mut self.buffer)? {
            let now = self.origin.elapsed().as_nanos() as Nanos;
            session.received(&self.buffer[..read], &mut |session, what| {
                workload.happened(session, what, now);
            })?;
            // Less than there was room for: there is no more, but perhaps the end.
            if (read < self.buffer.len() && !closed) || !session.open_now() {
                break;
            }
        }
        session.flush()
    }

    fn dial(&mut self, workload: &mut impl Workload) -> Result<(), Failed> {
        while let Some((index, not_before)) = self.waiting.front().copied() {
            if self.handshakes >= HANDSHAKES || not_before > self.now() {
                break;
            }
            self.waiting.pop_front();
            if self.sessions[index].gone {
                continue;
            }
            let session = &mut self.sessions[index];
            let opened = session.open(self.servers[session.server]).and_then(|stream| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(stream, Token(index), interest)
            });
            match opened.and_then(|()| session.flush()) {
                Ok(()) => self.handshakes += 1,
                Err(error) => self.lost(index, &error, workload)?,
            }
        }
        Ok(())
    }

    fn lost(
        &mut self,
        index: usize,
        error: &io::Error,
        workload: &mut impl Workload,
    ) -> Result<(), Failed> {
        if !workload.reconnects() {
            return Err(self.broken(index, error));
        }
        let now = self.now();
        let session = &mut self.sessions[index];
        session.drop_connection();
        session.server = (session.server + 1) % self.servers.len();
        workload.happened(session, Happened::Lost, now);
        if !session.gone {
            self.waiting.push_back((index, now + PAUSE.as_nanos() as Nanos));
        }
        Ok(())
    }

    fn broken(&self, index: usize, error: &io::Error) -> Failed {
        let at = self.servers[self.sessions[index].server];
        Failed(format!("the connection of session {index} to {at}: {error}"))
    }
}
