//! What the tasks of a node's thread events at its sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::TcpStream;
use std::rc::Rc;

use async_io::Async;
use zabkeeper_std::driver::SocketEvent;

/// An event at one of smol's sockets.
pub(crate) type SmolEvent = SocketEvent<Async<TcpStream>>;

/// Who runs the tasks looks here after it has run them. Not a channel: to be woken for what it is
/// about to look at would cost another round of system calls.
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
