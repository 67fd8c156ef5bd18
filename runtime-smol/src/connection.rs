//! One connection: its reader, and who waits for room in its socket.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;

use async_io::Async;
use bytes::Bytes;
use smol::{LocalExecutor, Task};
use zabkeeper_core::types::ConnId;
use zabkeeper_std::driver::READ_BYTES;
use zabkeeper_std::lane::Lane;

use crate::news::{Found, News};

pub(crate) struct Connection {
    stream: Rc<Async<TcpStream>>,
    reader: Option<Task<()>>,
    blocked: Option<Task<()>>,
}

impl Connection {
    pub(crate) fn new(stream: Async<TcpStream>) -> Connection {
        Connection { stream: Rc::new(stream), reader: None, blocked: None }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Reads from now on; each read is one [`News::Received`].
    pub(crate) fn resume(
        &mut self,
        conn: ConnId,
        tasks: &LocalExecutor<'static>,
        found: &Found,
        room: &Room,
    ) {
        if self.reader.is_none() {
            let read = read_all(conn, Rc::clone(&self.stream), found.clone(), Rc::clone(room));
            self.reader = Some(tasks.spawn(read));
        }
    }

    /// Reads no more, until resumed.
    pub(crate) fn pause(&mut self) {
        self.reader = None;
    }

    /// [`News::Writable`] follows.
    pub(crate) fn await_room(
        &mut self,
        conn: ConnId,
        tasks: &LocalExecutor<'static>,
        found: &Found,
    ) {
        let (stream, found) = (Rc::clone(&self.stream), found.clone());
        self.blocked = Some(tasks.spawn(async move {
            // An error shows at the next write.
            let _ = stream.writable().await;
            found.put(News::Writable(conn));
        }));
    }

    /// The socket takes bytes again.
    pub(crate) fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Writes what is left, says goodbye and closes.
    pub(crate) async fn close(self, mut left: Lane, room: Room) -> io::Result<()> {
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
            match stream.get_ref().read(&mut room.borrow_mut()) {
                Ok(0) => return Ok(()),
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Where all reads of a node land before they are copied out at their real size.
pub(crate) type Room = Rc<RefCell<Vec<u8>>>;

pub(crate) fn room() -> Room {
    Rc::new(RefCell::new(vec![0; READ_BYTES]))
}

async fn read_all(conn: ConnId, stream: Rc<Async<TcpStream>>, found: Found, room: Room) {
    loop {
        let read = match stream.readable().await {
            Ok(()) => stream.get_ref().read(&mut room.borrow_mut()),
            Err(e) => Err(e),
        };
        let news = match read {
            Ok(0) => News::Ended(conn),
            Ok(n) => match room.borrow().get(..n) {
                Some(bytes) => News::Received(conn, Bytes::copy_from_slice(bytes)),
                None => News::Ended(conn),
            },
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(e) => {
                tracing::debug!(%conn, "read: {e}");
                News::Ended(conn)
            }
        };
        let ended = matches!(news, News::Ended(_));
        found.put(news);
        if ended {
            return;
        }
    }
}
