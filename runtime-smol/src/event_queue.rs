//! The queue between the tasks of a node's sockets and its loop.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::TcpStream;
use std::rc::Rc;

use async_io::Async;
use zabkeeper_std::driver::SocketEvent;

/// An event at one of smol's sockets.
pub(crate) type SmolEvent = SocketEvent<Async<TcpStream>>;

/// The events of the tasks. The loop empties the queue after it has run them. A channel would wake
/// the loop for events that it is about to take, at the cost of further system calls.
#[derive(Clone, Default)]
pub(crate) struct EventQueue(Rc<RefCell<VecDeque<SmolEvent>>>);

impl EventQueue {
    pub(crate) fn put(&self, event: SmolEvent) {
        self.0.borrow_mut().push_back(event);
    }

    pub(crate) fn next(&self) -> Option<SmolEvent> {
        self.0.borrow_mut().pop_front()
    }
}
