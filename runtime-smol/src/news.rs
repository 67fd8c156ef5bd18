//! What the tasks of a node's thread found at its sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use async_io::Async;
use bytes::Bytes;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::ConnId;

pub(crate) enum News {
    Accepted(Port, Async<TcpStream>, SocketAddr),
    Refused(Port, SocketAddr),
    Dialled(ConnId, Port, Async<TcpStream>, SocketAddr),
    DialFailed(ConnId),
    Received(ConnId, Bytes),
    Ended(ConnId),
    Writable(ConnId),
}

/// Who runs the tasks looks here after it has run them. Not a channel: to be woken for what it is
/// about to look at would cost another round of system calls.
#[derive(Clone, Default)]
pub(crate) struct Found(Rc<RefCell<VecDeque<News>>>);

impl Found {
    pub(crate) fn put(&self, news: News) {
        self.0.borrow_mut().push_back(news);
    }

    pub(crate) fn next(&self) -> Option<News> {
        self.0.borrow_mut().pop_front()
    }
}
