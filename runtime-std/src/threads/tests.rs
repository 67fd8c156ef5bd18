//! Sockets that are polled together.

use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Events, Poll};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, HostPort};

use super::sockets::{PollEvent, PollSockets};
use crate::driver::{SendQueue, SocketEvent, Sockets};

type Addresses = (ConnId, std::io::Result<Vec<SocketAddr>>);

struct Loop {
    poll: Poll,
    sockets: PollSockets,
    resolved: Receiver<Addresses>,
}

impl Loop {
    fn new() -> Loop {
        let poll = Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let (sender, resolved) = channel();
        let resolve = move |conn, addresses| drop(sender.send((conn, addresses)));
        Loop { poll, sockets: PollSockets::new(registry, Arc::new(resolve)), resolved }
    }

    /// The events until there is none for 150 ms.
    fn turns(&mut self) -> Vec<PollEvent> {
        let mut events = Vec::new();
        let mut ready = Events::with_capacity(8);
        let mut until = Instant::now() + Duration::from_millis(150);
        while Instant::now() < until {
            let at = self.sockets.wait_until(Some(until)).unwrap();
            let timeout = at.saturating_duration_since(Instant::now());
            self.poll.poll(&mut ready, Some(timeout)).unwrap();
            ready.iter().for_each(|event| self.sockets.notice(event));
            while let Ok((conn, addresses)) = self.resolved.try_recv() {
                self.sockets.resolved(conn, addresses);
            }
            let before = events.len();
            let mut keys = Vec::new();
            self.sockets.take_ready(&mut keys);
            for key in keys {
                self.sockets.advance(key, &mut events);
            }
            if events.len() > before {
                until = Instant::now() + Duration::from_millis(150);
            }
        }
        events
    }

    /// An open connection, and its peer.
    fn connection(&mut self) -> (usize, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listening = self.sockets.accept(Port::Client, listener, u64::MAX).unwrap();
        let peer = TcpStream::connect(at).unwrap();
        let Some(SocketEvent::Accepted(Port::Client, stream, _)) = self.turns().pop() else {
            panic!("no connection was accepted");
        };
        self.sockets.unlisten(listening);
        (self.sockets.open(CONN, stream).unwrap(), peer)
    }

    fn received(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        for events in self.turns() {
            let SocketEvent::Received(CONN, bytes) = events else { panic!("nothing was read") };
            all.extend_from_slice(&bytes);
        }
        all
    }
}

#[test]
fn connection_beyond_the_limit_is_closed_at_once() {
    let mut all = Loop::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    // No descriptor of a connection is below this.
    all.sockets.accept(Port::Client, listener, 3).unwrap();
    let mut peer = TcpStream::connect(at).unwrap();
    let from = peer.local_addr().unwrap();
    let events = all.turns();
    assert!(matches!(&*events, [SocketEvent::Refused(Port::Client, peer)] if *peer == from));
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

const CONN: ConnId = ConnId::accepted(1);

#[test]
fn bytes_that_arrive_during_a_pause_are_read_after_it() {
    let mut all = Loop::new();
    let (mut key, mut peer) = all.connection();
    peer.write_all(b"one").unwrap();
    assert_eq!(all.received(), b"one");
    all.sockets.pause(&mut key);
    peer.write_all(b"two").unwrap();
    assert!(all.turns().is_empty());
    all.sockets.resume(CONN, &mut key);
    assert_eq!(all.received(), b"two");
    // More bytes than one read takes, followed by the end.
    let long = vec![7; 300_000];
    let sent = long.clone();
    let writer = std::thread::spawn(move || peer.write_all(&sent).map(|()| drop(peer)));
    let mut events = Vec::new();
    while !matches!(events.last(), Some(SocketEvent::Ended(CONN))) {
        events.extend(all.turns());
    }
    writer.join().unwrap().unwrap();
    let read = events.iter().map(|one| match one {
        SocketEvent::Received(CONN, bytes) => bytes.len(),
        _ => 0,
    });
    assert_eq!(read.sum::<usize>(), long.len());
}

#[test]
fn full_socket_is_reported_once_it_is_writable() {
    let mut all = Loop::new();
    let (mut key, mut peer) = all.connection();
    let chunk = vec![1; 1 << 20];
    let mut written = 0;
    loop {
        match all.sockets.write(&mut key, &[IoSlice::new(&chunk)]) {
            Ok(n) => written += n,
            Err(e) => break assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    all.sockets.await_writable(CONN, &mut key);
    assert!(all.turns().is_empty());
    let mut taken = vec![0; written];
    peer.read_exact(&mut taken).unwrap();
    assert!(matches!(&*all.turns(), [SocketEvent::Writable(CONN)]));
}

#[test]
fn remaining_bytes_arrive_while_the_peer_still_sends() {
    let mut all = Loop::new();
    let (mut key, mut peer) = all.connection();
    all.sockets.pause(&mut key);
    peer.write_all(&[2; 100_000]).unwrap();
    assert!(all.turns().is_empty());
    let mut left = SendQueue::default();
    assert!(left.push(Bytes::from_static(b"last")));
    all.sockets.close(key, left);
    assert!(all.turns().is_empty());
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"last");
    // A peer that keeps sending is cut off after the limit.
    let began = Instant::now();
    while peer.write_all(b"more").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is never closed");
        assert!(all.turns().is_empty());
    }
}

#[test]
fn dials_of_names_addresses_and_closed_ports_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut all = Loop::new();
    let limit = Duration::from_secs(20);
    for (host, port, is_listening) in
        [("localhost", port, true), ("127.0.0.1", port, true), ("127.0.0.1", free, false)]
    {
        let conn = ConnId::dialled(1);
        all.sockets.dial(conn, Port::Quorum, HostPort::new(host, port), limit);
        let mut events = Vec::new();
        while events.is_empty() {
            events = all.turns();
        }
        match &*events {
            [SocketEvent::Dialled(dialled, Port::Quorum, _, at)] => {
                assert!(is_listening && *dialled == conn && at.port() == port);
            }
            [SocketEvent::DialFailed(dialled)] => assert!(!is_listening && *dialled == conn),
            _ => panic!("expected one event of the dial"),
        }
    }
    all.sockets.dial(ConnId::dialled(2), Port::Quorum, HostPort::new("127.0.0.1", port), limit);
    all.sockets.forget_dial(ConnId::dialled(2));
    assert!(all.turns().is_empty());
}

#[test]
fn dial_times_out() {
    // The backlog is full: further connections stay pending.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let at = socket.local_addr().unwrap().as_socket().unwrap();
    let mut all = Loop::new();
    let to = HostPort::new("127.0.0.1", at.port());
    let mut events = Vec::new();
    for n in 1..=5 {
        all.sockets.dial(ConnId::dialled(n), Port::Quorum, to.clone(), Duration::from_millis(300));
    }
    let began = Instant::now();
    while events.len() < 5 && began.elapsed() < Duration::from_secs(20) {
        events.extend(all.turns());
    }
    let failed = events.iter().filter(|one| matches!(one, SocketEvent::DialFailed(_))).count();
    assert!(events.len() == 5 && failed > 0, "{failed} of {}", events.len());
}
