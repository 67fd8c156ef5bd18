//! A driver over mock sockets.

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

/// Mock sockets: a log of calls, the results of writes, and the limit of client descriptors.
#[derive(Default)]
struct MockSockets {
    calls: Vec<String>,
    writes: VecDeque<io::Result<usize>>,
    limit: u64,
}

impl Sockets for MockSockets {
    type Stream = &'static str;
    type Socket = &'static str;
    type Listener = Port;

    fn accept(&mut self, port: Port, _: TcpListener, limit: u64) -> io::Result<Port> {
        self.limit = limit;
        self.calls.push(format!("listen {port:?}"));
        Ok(port)
    }
    fn unlisten(&mut self, port: Port) {
        self.calls.push(format!("unlisten {port:?}"));
    }
    fn dial(&mut self, conn: ConnId, port: Port, _: HostPort, limit: Duration) {
        self.calls.push(format!("dial {conn} {port:?} {}", limit.as_millis()));
    }
    fn forget_dial(&mut self, conn: ConnId) {
        self.calls.push(format!("cancel {conn}"));
    }
    fn open(&mut self, conn: ConnId, stream: &'static str) -> io::Result<&'static str> {
        self.calls.push(format!("open {conn} {stream}"));
        Ok(stream)
    }
    fn pause(&mut self, socket: &mut &'static str) {
        self.calls.push(format!("pause {socket}"));
    }
    fn resume(&mut self, _: ConnId, socket: &mut &'static str) {
        self.calls.push(format!("resume {socket}"));
    }
    fn write(&mut self, socket: &mut &'static str, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: usize = bytes.iter().map(|slice| slice.len()).sum();
        let taken = self.writes.pop_front().unwrap_or(Ok(all))?.min(all);
        let text = String::from_utf8_lossy(&bytes[0][..taken.min(bytes[0].len())]).into_owned();
        self.calls.push(format!("write {socket} {}", text.lines().next().unwrap_or_default()));
        Ok(taken)
    }
    fn await_writable(&mut self, _: ConnId, socket: &mut &'static str) {
        self.calls.push(format!("await {socket}"));
    }
    fn close(&mut self, socket: &'static str, _: SendQueue) {
        self.calls.push(format!("close {socket}"));
    }
    fn abandon(&mut self, socket: &'static str) {
        self.calls.push(format!("abandon {socket}"));
    }
}

struct Story {
    driver: Driver<MockSockets>,
    messages: Receiver<Message>,
    dir: TempDir,
}

/// The first connection that is accepted.
const FIRST: ConnId = ConnId::accepted(1);

impl Story {
    /// A standalone server that serves clients.
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
        let driver = Driver::start(boot, None, &inbox, MockSockets::default()).unwrap();
        let mut story = Story { driver, messages, dir };
        while !story.driver.node().serving() {
            let message = story.messages.recv_timeout(Duration::from_secs(20)).unwrap();
            story.turn(|driver| driver.message(message));
        }
        assert_eq!(story.calls(), ["listen Client"]);
        story
    }

    fn boot(dir: &TempDir) -> Boot {
        Boot::load(&dir.path().join("zoo.cfg"), &Default::default()).unwrap()
    }

    fn turn(&mut self, input: impl FnOnce(&mut Driver<MockSockets>)) -> Wait {
        self.driver.begin_turn();
        input(&mut self.driver);
        self.driver.end_turn()
    }

    fn calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.driver.sockets.calls)
    }

    /// A client connects and sends these bytes.
    fn word(&mut self, word: &'static [u8]) -> Wait {
        let peer = SocketAddr::from(([127, 0, 0, 1], 40000));
        self.turn(|driver| {
            driver.handle(SocketEvent::Accepted(Port::Client, "a", peer));
            driver.handle(SocketEvent::Received(FIRST, Bytes::from_static(word)));
        })
    }
}

#[test]
fn closing_connection_takes_over_unsent_replies() {
    let mut story = Story::begin();
    let next = story.word(b"ruok");
    assert!(matches!(next, Wait::Until(_)), "{next:?}");
    assert_eq!(story.calls(), ["open in-1 a", "close a"]);
    // Later events of the connection are ignored.
    story.turn(|driver| {
        driver.handle(SocketEvent::Received(FIRST, Bytes::from_static(b"ruok")));
        driver.handle(SocketEvent::Ended(FIRST));
        driver.handle(SocketEvent::Writable(FIRST));
    });
    assert_eq!(story.calls(), [""; 0]);
}

/// A client's first frame: a ConnectRequest for a new session.
const HANDSHAKE: &[u8] = &{
    let mut frame = [0; 49];
    frame[3] = 45;
    frame[18] = 0x75;
    frame[19] = 0x30;
    frame[31] = 16;
    frame
};

impl Story {
    /// Opens a session: it is logged, then the client receives the response.
    fn session(&mut self) {
        self.word(HANDSHAKE);
        loop {
            let message = self.messages.recv_timeout(Duration::from_secs(20)).unwrap();
            self.turn(|driver| driver.message(message));
            if self.driver.sockets.calls.iter().any(|call| !call.starts_with("open")) {
                return;
            }
        }
    }
}

#[test]
fn full_socket_is_not_written_to_until_it_is_writable() {
    let mut story = Story::begin();
    story.driver.sockets.writes.push_back(Ok(4));
    story.driver.sockets.writes.push_back(Err(io::ErrorKind::WouldBlock.into()));
    story.session();
    assert_eq!(story.calls(), ["open in-1 a", "write a \0\0\0%", "await a"]);
    // A ping is answered, into the lane.
    let ping = b"\0\0\0\x08\xff\xff\xff\xfe\0\0\0\x0b";
    story.turn(|driver| driver.handle(SocketEvent::Received(FIRST, Bytes::from_static(ping))));
    assert_eq!(story.calls(), [""; 0]);
    story.turn(|driver| driver.handle(SocketEvent::Writable(FIRST)));
    assert_eq!(story.calls().len(), 1);
}

#[test]
fn broken_socket_ends_its_connection() {
    let mut story = Story::begin();
    story.driver.sockets.writes.push_back(Err(io::ErrorKind::BrokenPipe.into()));
    story.session();
    assert_eq!(story.calls(), ["open in-1 a", "abandon a"]);
    assert_eq!(story.turn(|_| {}), story.turn(|_| {}));
}

#[test]
fn last_descriptors_are_reserved_for_the_server() {
    let mut story = Story::begin();
    let limit = descriptors::limit().unwrap();
    assert!(story.driver.sockets.limit <= limit - 64.min(limit / 2));
    // A refused connection is unknown to the driver.
    let peer = SocketAddr::from(([127, 0, 0, 1], 40000));
    story.turn(|driver| driver.handle(SocketEvent::Refused(Port::Client, peer)));
    assert_eq!(story.calls(), [""; 0]);
}

#[test]
fn describe_is_acknowledged_after_it_is_logged() {
    let mut story = Story::begin();
    story.session();
    let (done, acknowledged) = channel();
    story.turn(|driver| driver.message(Message::Describe(done)));
    acknowledged.try_recv().unwrap();
    assert_eq!(story.driver.disk.status(), "idle");
}

#[test]
fn stop_writes_queued_replies_and_releases_the_directory() {
    for (message, writes) in [(Message::Stop, true), (Message::Kill, false)] {
        let mut story = Story::begin();
        story.session();
        story.calls();
        let ping = b"\0\0\0\x08\xff\xff\xff\xfe\0\0\0\x0b";
        let next = story.turn(|driver| {
            driver.handle(SocketEvent::Received(FIRST, Bytes::from_static(ping)));
            driver.message(message);
        });
        assert_eq!(next, Wait::Ended);
        assert_eq!(!story.calls().is_empty(), writes);
        let Story { driver, dir, .. } = story;
        driver.finish().unwrap();
        Story::boot(&dir);
    }
}
