//! A connection: its socket, and the tasks that read from it and wait until it is writable.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;

use async_io::Async;
use bytes::Bytes;
use smol::{LocalExecutor, Task};
use zabkeeper_core::types::ConnId;
use zabkeeper_std::driver::{READ_BYTES, SendQueue, SocketEvent};

use crate::event_queue::EventQueue;

pub(crate) struct Connection {
    stream: Rc<Async<TcpStream>>,
    reader: Option<Task<()>>,
    blocked: Option<Task<()>>,
}

impl Connection {
    pub(crate) fn new(stream: Async<TcpStream>) -> Connection {
        Connection { stream: Rc::new(stream), reader: None, blocked: None }
    }

    /// Writes as many bytes as the socket takes now, and drops a finished wait for it.
    pub(crate) fn write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.blocked = None;
        self.stream.get_ref().write_vectored(bytes)
    }

    /// Starts reading: each read gives [`SocketEvent::Received`].
    pub(crate) fn resume(
        &mut self,
        conn: ConnId,
        tasks: &LocalExecutor<'static>,
        events: &EventQueue,
        buffer: &ReadBuffer,
    ) {
        if self.reader.is_none() {
            let read = read_all(conn, Rc::clone(&self.stream), events.clone(), Rc::clone(buffer));
            self.reader = Some(tasks.spawn(read));
        }
    }

    /// Stops reading until [`Connection::resume`].
    pub(crate) fn pause(&mut self) {
        self.reader = None;
    }

    /// Requests [`SocketEvent::Writable`].
    pub(crate) fn await_writable(
        &mut self,
        conn: ConnId,
        tasks: &LocalExecutor<'static>,
        events: &EventQueue,
    ) {
        let (stream, events) = (Rc::clone(&self.stream), events.clone());
        self.blocked = Some(tasks.spawn(async move {
            // The next write reports an error.
            let _ = stream.writable().await;
            events.put(SocketEvent::Writable(conn));
        }));
    }

    /// Writes the remaining bytes, shuts down the sending side, and waits until the peer does so,
    /// too.
    pub(crate) async fn close(self, mut left: SendQueue, buffer: ReadBuffer) -> io::Result<()> {
        let Connection { stream, reader, blocked } = self;
        drop((reader, blocked));
        while !left.write(|bytes| stream.get_ref().write_vectored(bytes))? {
            stream.writable().await?;
        }
        stream.get_ref().shutdown(Shutdown::Write)?;
        // Closing a socket with unread bytes would reset the connection, and the peer could lose
        // the last bytes that were sent. One read at a time, so that a peer that keeps sending does
        // not delay other connections.
        loop {
            stream.readable().await?;
            match stream.get_ref().read(&mut buffer.borrow_mut()) {
                Ok(0) => return Ok(()),
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// The buffer of all reads of a node, from which bytes are copied at their actual length.
pub(crate) type ReadBuffer = Rc<RefCell<Vec<u8>>>;

pub(crate) fn read_buffer() -> ReadBuffer {
    Rc::new(RefCell::new(vec![0; READ_BYTES]))
}

async fn read_all(
    conn: ConnId,
    stream: Rc<Async<TcpStream>>,
    events: EventQueue,
    buffer: ReadBuffer,
) {
    loop {
        let read = match stream.readable().await {
            Ok(()) => stream.get_ref().read(&mut buffer.borrow_mut()),
            Err(e) => Err(e),
        };
        let event = match read {
            Ok(0) => SocketEvent::Ended(conn),
            Ok(n) => match buffer.borrow().get(..n) {
                Some(bytes) => SocketEvent::Received(conn, Bytes::copy_from_slice(bytes)),
                None => SocketEvent::Ended(conn),
            },
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(e) => {
                tracing::debug!(%conn, "read: {e}");
                SocketEvent::Ended(conn)
            }
        };
        let ended = matches!(event, SocketEvent::Ended(_));
        events.put(event);
        if ended {
            return;
        }
    }
}
