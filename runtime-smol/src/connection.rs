//! One connection's outgoing lane and its reader.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use bytes::{Buf, Bytes};
use smol::future::FutureExt;
use smol::{LocalExecutor, Task};
use zabkeeper_core::types::ConnId;

use crate::server::{Inbox, Input};

/// Most bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// Most chunks of one gathered write.
const WRITE_CHUNKS: usize = 64;
/// `AwaitWritable` is answered below this backlog.
const LOW_MARK_BYTES: usize = 256 << 10;
/// Who lets more than this pile up is cut off.
const BACKLOG_LIMIT_BYTES: usize = 64 << 20;
/// How long a connection that is to be closed may take to take what was sent before.
const LINGER: Duration = Duration::from_secs(1);

/// What a flush left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flushed {
    /// Nothing.
    All,
    /// The socket takes no more now; [`Input::SocketWritable`] follows.
    Blocked,
    /// The connection is broken.
    Broken,
}

pub(crate) struct Connection {
    id: ConnId,
    stream: Rc<Async<TcpStream>>,
    queue: VecDeque<Bytes>,
    backlog: usize,
    reader: Option<Task<()>>,
    blocked: Option<Task<()>>,
    /// Somebody waits for the backlog to be small.
    pub(crate) awaited: bool,
    /// It is in the list of those to flush.
    pub(crate) dirty: bool,
}

impl Connection {
    pub(crate) fn new(id: ConnId, stream: Async<TcpStream>) -> Connection {
        Connection {
            id,
            stream: Rc::new(stream),
            queue: VecDeque::new(),
            backlog: 0,
            reader: None,
            blocked: None,
            awaited: false,
            dirty: false,
        }
    }

    /// Reads from now on; each read is one [`Input::Received`].
    pub(crate) fn resume(&mut self, tasks: &LocalExecutor<'static>, inbox: &Inbox, room: &Room) {
        if self.reader.is_none() {
            let (id, stream) = (self.id, Rc::clone(&self.stream));
            let (inbox, room) = (inbox.clone(), Rc::clone(room));
            self.reader = Some(tasks.spawn(read_all(id, stream, inbox, room)));
        }
    }

    /// Reads no more, until resumed.
    pub(crate) fn pause(&mut self) {
        self.reader = None;
    }

    /// Adds to the lane. False: too much piles up here.
    #[must_use]
    pub(crate) fn push(&mut self, bytes: Bytes) -> bool {
        if !bytes.is_empty() {
            self.backlog += bytes.len();
            self.queue.push_back(bytes);
        }
        self.backlog <= BACKLOG_LIMIT_BYTES
    }

    /// Whether the backlog is below the low mark.
    pub(crate) fn has_room(&self) -> bool {
        self.backlog < LOW_MARK_BYTES
    }

    /// The socket takes bytes again.
    pub(crate) fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Writes what the socket takes now.
    pub(crate) fn flush(&mut self, tasks: &LocalExecutor<'static>, inbox: &Inbox) -> Flushed {
        if self.blocked.is_some() {
            return Flushed::Blocked;
        }
        match write_some(&self.stream, &mut self.queue, &mut self.backlog) {
            Ok(true) => Flushed::All,
            Ok(false) => {
                let (id, stream, inbox) = (self.id, Rc::clone(&self.stream), inbox.clone());
                self.blocked = Some(tasks.spawn(async move {
                    // An error shows at the next write.
                    let _ = stream.writable().await;
                    let _ = inbox.try_send(Input::SocketWritable(id));
                }));
                Flushed::Blocked
            }
            Err(e) => {
                tracing::debug!(conn = %self.id, "write: {e}");
                Flushed::Broken
            }
        }
    }

    /// Writes what is left, says goodbye and closes, within a second.
    pub(crate) async fn close(self) {
        let Connection { stream, mut queue, mut backlog, reader, blocked, .. } = self;
        drop((reader, blocked));
        let goodbye = async {
            while !write_some(&stream, &mut queue, &mut backlog)? {
                stream.writable().await?;
            }
            stream.get_ref().shutdown(Shutdown::Write)?;
            // To close over unread bytes would reset the connection, and the other side might
            // lose our last words.
            let mut rest = [0; 4096];
            while stream.read_with(|mut s| s.read(&mut rest)).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        let _ = goodbye
            .or(async {
                Timer::after(LINGER).await;
                Ok(())
            })
            .await;
    }
}

/// Where all reads of a node land before they are copied out at their real size.
pub(crate) type Room = Rc<RefCell<Vec<u8>>>;

pub(crate) fn room() -> Room {
    Rc::new(RefCell::new(vec![0; READ_BYTES]))
}

async fn read_all(id: ConnId, stream: Rc<Async<TcpStream>>, inbox: Inbox, room: Room) {
    loop {
        let read = match stream.readable().await {
            Ok(()) => stream.get_ref().read(&mut room.borrow_mut()),
            Err(e) => Err(e),
        };
        let input = match read {
            Ok(0) => Input::Ended(id),
            Ok(n) => match room.borrow().get(..n) {
                Some(bytes) => Input::Received(id, Bytes::copy_from_slice(bytes)),
                None => Input::Ended(id),
            },
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(e) => {
                tracing::debug!(conn = %id, "read: {e}");
                Input::Ended(id)
            }
        };
        let ended = matches!(input, Input::Ended(_));
        if inbox.try_send(input).is_err() || ended {
            return;
        }
    }
}

/// Writes until the queue is empty (true) or the socket is full (false).
fn write_some(
    stream: &Async<TcpStream>,
    queue: &mut VecDeque<Bytes>,
    backlog: &mut usize,
) -> io::Result<bool> {
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(queue.iter()) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        let mut written = match stream.get_ref().write_vectored(&slices[..count]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        *backlog -= written;
        while let Some(first) = queue.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            queue.pop_front();
        }
    }
    Ok(true)
}
