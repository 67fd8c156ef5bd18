//! One connection: its reader, and who waits for buffer in its socket.

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

    /// Writes what the socket takes now. A socket that is written to is not waited for.
    pub(crate) fn write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.blocked = None;
        self.stream.get_ref().write_vectored(bytes)
    }

    /// Reads from now on; each read is one [`SocketEvent::Received`].
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

    /// Reads no more, until resumed.
    pub(crate) fn pause(&mut self) {
        self.reader = None;
    }

    /// [`SocketEvent::Writable`] follows.
    pub(crate) fn await_writable(
        &mut self,
        conn: ConnId,
        tasks: &LocalExecutor<'static>,
        events: &EventQueue,
    ) {
        let (stream, events) = (Rc::clone(&self.stream), events.clone());
        self.blocked = Some(tasks.spawn(async move {
            // An error shows at the next write.
            let _ = stream.writable().await;
            events.put(SocketEvent::Writable(conn));
        }));
    }

    /// Writes what is left, says goodbye and closes.
    pub(crate) async fn close(self, mut left: SendQueue, buffer: ReadBuffer) -> io::Result<()> {
        let Connection { stream, reader, blocked } = self;
        drop((reader, blocked));
        while !left.write(|bytes| stream.get_ref().write_vectored(bytes))? {
            stream.writable().await?;
        }
        stream.get_ref().shutdown(Shutdown::Write)?;
        // To close over unread bytes would reset the connection, and the other side might lose our
        // last words. One read at a time: whoever goes on talking keeps nobody else waiting.
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

/// Where all reads of a node land before they are copied out at their real size.
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
