//! Stories of a driver whose sockets are made up.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};

use super::{Driver, Inbox, Message, SendQueue, SocketEvent, Sockets, Wait};
use crate::boot::Boot;
use crate::descriptors;

/// What was asked of the sockets, in words; what they answer to writes; and below which number the
/// descriptors of clients have to be.
#[derive(Default)]
struct MadeUp {
    done: Vec<String>,
    takes: VecDeque<io::Result<usize>>,
    limit: u64,
}

impl Sockets for MadeUp {
    type Stream = &'static str;
    type Socket = &'static str;
    type Listener = Port;

    fn accept(&mut self, port: Port, _: TcpListener, limit: u64) -> io::Result<Port> {
        self.limit = limit;
        self.done.push(format!("listen {port:?}"));
        Ok(port)
    }
    fn unlisten(&mut self, port: Port) {
        self.done.push(format!("unlisten {port:?}"));
    }
    fn dial(&mut self, conn: ConnId, port: Port, _: HostPort, limit: Duration) {
        self.done.push(format!("dial {conn} {port:?} {}", limit.as_millis()));
    }
    fn forget_dial(&mut self, conn: ConnId) {
        self.done.push(format!("cancel {conn}"));
    }
    fn open(&mut self, conn: ConnId, stream: &'static str) -> io::Result<&'static str> {
        self.done.push(format!("open {conn} {stream}"));
        Ok(stream)
    }
    fn pause(&mut self, socket: &mut &'static str) {
        self.done.push(format!("pause {socket}"));
    }
    fn resume(&mut self, _: ConnId, socket: &mut &'static str) {
        self.done.push(format!("resume {socket}"));
    }
    fn write(&mut self, socket: &mut &'static str, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: usize = bytes.iter().map(|slice| slice.len()).sum();
        let taken = self.takes.pop_front().unwrap_or(Ok(all))?.min(all);
        let text = String::from_utf8_lossy(&bytes[0][..taken.min(bytes[0].len())]).into_owned();
        self.done.push(format!("write {socket} {}", text.lines().next().unwrap_or_default()));
        Ok(taken)
    }
    fn await_writable(&mut self, _: ConnId, socket: &mut &'static str) {
        self.done.push(format!("await {socket}"));
    }
    fn close(&mut self, socket: &'static str, _: SendQueue) {
        self.done.push(format!("close {socket}"));
    }
    fn abandon(&mut self, socket: &'static str) {
        self.done.push(format!("abandon {socket}"));
    }
}

struct Story {
    driver: Driver<MadeUp>,
    messages: Receiver<Message>,
    dir: TempDir,
}

/// The first connection that is accepted.
const FIRST: ConnId = ConnId::accepted(1);

impl Story {
    /// A server alone that serves.
    fn begin() -> Story {
        let dir = tempfile::tempdir().unwrap();
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n4lw.commands.whitelist=*\n",
            dir.path().join("data").display(),
            at.port()
        );
        fs::write(dir.path().join("zoo.cfg"), text).unwrap();
        let (sender, messages) = channel();
        let inbox = Inbox::new(move |message| drop(sender.send(message)));
        let boot = Story::boot(&dir);
        let driver = Driver::start(boot, None, &inbox, MadeUp::default()).unwrap();
        let mut story = Story { driver, messages, dir };
        while !story.driver.node().serving() {
            let message = story.messages.recv_timeout(Duration::from_secs(20)).unwrap();
            story.turn(|driver| driver.message(message));
        }
        assert_eq!(story.done(), ["listen Client"]);
        story
    }

    fn boot(dir: &TempDir) -> Boot {
        Boot::load(&dir.path().join("zoo.cfg"), &Default::default()).unwrap()
    }

    fn turn(&mut self, comes: impl FnOnce(&mut Driver<MadeUp>)) -> Wait {
        self.driver.begin_turn();
        comes(&mut self.driver);
        self.driver.end_turn()
    }

    fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.driver.sockets.done)
    }

    /// A client comes, and sends a four-letter word.
    fn word(&mut self, word: &'static [u8]) -> Wait {
        let peer = SocketAddr::from(([127, 0, 0, 1], 40000));
        self.turn(|driver| {
            driver.handle(SocketEvent::Accepted(Port::Client, "a", peer));
            driver.handle(SocketEvent::Received(FIRST, Bytes::from_static(word)));
        })
    }
}

#[test]
fn what_is_answered_is_left_to_the_connection_that_closes() {
    let mut story = Story::begin();
    let next = story.word(b"ruok");
    assert!(matches!(next, Wait::Until(_)), "{next:?}");
    assert_eq!(story.done(), ["open in-1 a", "close a"]);
    // It says nothing any more.
    story.turn(|driver| {
        driver.handle(SocketEvent::Received(FIRST, Bytes::from_static(b"ruok")));
        driver.handle(SocketEvent::Ended(FIRST));
        driver.handle(SocketEvent::Writable(FIRST));
    });
    assert_eq!(story.done(), [""; 0]);
}

/// A client's first frame: it wants a session.
const HANDSHAKE: &[u8] = &{
    let mut frame = [0; 49];
    frame[3] = 45;
    frame[18] = 0x75;
    frame[19] = 0x30;
    frame[31] = 16;
    frame
};

impl Story {
    /// The session is logged, then the client is told.
    fn session(&mut self) {
        self.word(HANDSHAKE);
        loop {
            let message = self.messages.recv_timeout(Duration::from_secs(20)).unwrap();
            self.turn(|driver| driver.message(message));
            if self.driver.sockets.done.iter().any(|done| !done.starts_with("open")) {
                return;
            }
        }
    }
}

#[test]
fn a_full_socket_is_not_written_to_until_it_takes_more() {
    let mut story = Story::begin();
    story.driver.sockets.takes.push_back(Ok(4));
    story.driver.sockets.takes.push_back(Err(io::ErrorKind::WouldBlock.into()));
    story.session();
    assert_eq!(story.done(), ["open in-1 a", "write a \0\0\0%", "await a"]);
    // A ping is answered, into the lane.
    let ping = b"\0\0\0\x08\xff\xff\xff\xfe\0\0\0\x0b";
    story.turn(|driver| driver.handle(SocketEvent::Received(FIRST, Bytes::from_static(ping))));
    assert_eq!(story.done(), [""; 0]);
    story.turn(|driver| driver.handle(SocketEvent::Writable(FIRST)));
    assert_eq!(story.done().len(), 1);
}

#[test]
fn a_broken_socket_is_the_end_of_its_connection() {
    let mut story = Story::begin();
    story.driver.sockets.takes.push_back(Err(io::ErrorKind::BrokenPipe.into()));
    story.session();
    assert_eq!(story.done(), ["open in-1 a", "abandon a"]);
    assert_eq!(story.turn(|_| {}), story.turn(|_| {}));
}

#[test]
fn clients_are_kept_from_the_last_descriptors() {
    let mut story = Story::begin();
    let limit = descriptors::limit().unwrap();
    assert!(story.driver.sockets.limit <= limit - 64.min(limit / 2));
    // Nothing is known of whoever is refused.
    let peer = SocketAddr::from(([127, 0, 0, 1], 40000));
    story.turn(|driver| driver.handle(SocketEvent::Refused(Port::Client, peer)));
    assert_eq!(story.done(), [""; 0]);
}

#[test]
fn who_asks_what_a_node_does_is_told_when_it_is_logged() {
    let mut story = Story::begin();
    story.session();
    let (told, heard) = channel();
    story.turn(|driver| driver.message(Message::Describe(told)));
    heard.try_recv().unwrap();
    assert_eq!(story.driver.disk.doing(), "has nothing to do");
}

#[test]
fn a_stop_writes_what_was_answered_and_lets_others_in() {
    for (message, writes) in [(Message::Stop, true), (Message::Kill, false)] {
        let mut story = Story::begin();
        story.session();
        story.done();
        let ping = b"\0\0\0\x08\xff\xff\xff\xfe\0\0\0\x0b";
        let next = story.turn(|driver| {
            driver.handle(SocketEvent::Received(FIRST, Bytes::from_static(ping)));
            driver.message(message);
        });
        assert_eq!(next, Wait::Ended);
        assert_eq!(!story.done().is_empty(), writes);
        let Story { driver, dir, .. } = story;
        driver.finish().unwrap();
        Story::boot(&dir);
    }
}
