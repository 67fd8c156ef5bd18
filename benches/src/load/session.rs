//! One session: what it sends and what it is answered, over a socket that never blocks.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};

use bytes::Bytes;
use mio::net::TcpStream;
use zabkeeper_core::wire::Record;
use zabkeeper_core::wire::client::{ConnectResponse, XID_EVENT, XID_PING};

use super::driver::Nanos;
use super::request::{Template, connect};

/// What a session asks for; most servers grant no more than 20 ticks.
const TIMEOUT_MS: i32 = 40_000;
/// A frame that says it is longer is none.
const MAX_FRAME_BYTES: usize = 4 << 20;

/// What happened to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Happened {
    /// It is established.
    Ready,
    /// A request is answered.
    Reply {
        /// When it was sent.
        sent: Nanos,
        /// 0, or the error's code.
        error: i32,
    },
    /// A watch fired.
    Watch,
    /// The connection is gone, and what was under way with it.
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed,
    Handshake,
    Attached,
}

pub(super) struct Session {
    /// Its number among those of a run.
    pub(super) index: usize,
    /// The member that it is at, by number.
    pub(super) server: usize,
    /// Requests that were sent, by the workload's own count.
    pub(super) count: u64,
    /// It comes back no more.
    pub(super) gone: bool,
    stream: Option<TcpStream>,
    state: State,
    id: i64,
    password: [u8; 16],
    out: Vec<u8>,
    written: usize,
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    sent: VecDeque<Nanos>,
    xid: i32,
    answered: i32,
}

impl Session {
    pub(super) fn new(index: usize, server: usize) -> Session {
        Session {
            index,
            server,
            count: 0,
            gone: false,
            stream: None,
            state: State::Closed,
            id: 0,
            password: [0; 16],
            out: Vec::new(),
            written: 0,
            partial: Vec::new(),
            sent: VecDeque::new(),
            xid: 0,
            answered: 0,
        }
    }

    /// Dials, and asks for its session: the one it had, or a new one.
    pub(super) fn open(&mut self, to: SocketAddr) -> io::Result<&mut TcpStream> {
        self.drop_connection();
        // On loopback this is done, or refused, at once.
        let stream = Blocking::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.state = State::Handshake;
        self.out = connect(self.id, &self.password, TIMEOUT_MS);
        Ok(self.stream.insert(TcpStream::from_std(stream)))
    }

    /// Forgets the session; the next [`Session::open`] begins a new one.
    pub(super) fn forget(&mut self) {
        self.drop_connection();
        (self.id, self.password) = (0, [0; 16]);
    }

    /// Closes the connection, and comes back no more.
    pub(super) fn leave(&mut self) {
        self.drop_connection();
        self.gone = true;
    }

    /// Closes the connection; its session may live on.
    pub(super) fn drop_connection(&mut self) {
        self.stream = None;
        self.state = State::Closed;
        self.out.clear();
        self.written = 0;
        self.partial.clear();
        self.sent.clear();
        (self.xid, self.answered) = (0, 0);
    }

    /// Whether requests can be sent.
    pub(super) fn attached(&self) -> bool {
        self.state == State::Attached
    }

    /// Whether there is a connection, of whatever kind.
    pub(super) fn open_now(&self) -> bool {
        self.state != State::Closed
    }

    /// Requests without an answer.
    pub(super) fn under_way(&self) -> usize {
        self.sent.len()
    }

    /// Queues a request, which the driver writes after the workload has had its turn; it is told
    /// how many there were before.
    pub(super) fn send(&mut self, request: &Template, now: Nanos) {
        self.send_with(request, self.count, now);
    }

    /// The same with a number of the workload's.
    pub(super) fn send_with(&mut self, request: &Template, number: u64, now: Nanos) {
        self.xid += 1;
        request.append(&mut self.out, self.xid, number);
        self.count += 1;
        self.sent.push_back(now);
    }

    /// Writes what the socket takes; what is left goes when it is writable again.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once into `buffer`. None: there is nothing now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        loop {
            match stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes frames out of what was read, and tells what they say.
    pub(super) fn received(
        &mut self,
        bytes: &[u8],
        tell: &mut impl FnMut(&mut Session, Happened),
    ) -> io::Result<()> {
        if self.partial.is_empty() {
            let used = self.frames(bytes, tell)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(bytes);
            let used = self.frames(&whole, tell)?;
            whole.drain(..used);
            self.partial = whole;
        }
        Ok(())
    }

    /// How many bytes were whole frames.
    fn frames(
        &mut self,
        bytes: &[u8],
        tell: &mut impl FnMut(&mut Session, Happened),
    ) -> io::Result<usize> {
        let mut at = 0;
        while let Some(length) = bytes.get(at..at + 4) {
            let length = int(length) as usize;
            if length > MAX_FRAME_BYTES {
                return Err(invalid("a frame is too long"));
            }
            let Some(frame) = bytes.get(at + 4..at + 4 + length) else { break };
            at += 4 + length;
            let happened = match self.state {
                State::Handshake => Some(self.handshake(frame)?),
                State::Attached => self.reply(frame)?,
                // The workload has closed it meanwhile.
                State::Closed => return Ok(bytes.len()),
            };
            if let Some(happened) = happened {
                tell(self, happened);
            }
        }
        Ok(at)
    }

    fn handshake(&mut self, frame: &[u8]) -> io::Result<Happened> {
        let response = ConnectResponse::from_bytes(&Bytes::copy_from_slice(frame))
            .map_err(|_| invalid("no answer to a handshake"))?;
        if response.timeout_ms <= 0 {
            self.forget();
            return Err(invalid("the session has expired"));
        }
        self.state = State::Attached;
        self.id = response.session.0;
        let password = response.password.unwrap_or_default();
        self.password = password[..].try_into().map_err(|_| invalid("a password of 16 bytes"))?;
        Ok(Happened::Ready)
    }

    fn reply(&mut self, frame: &[u8]) -> io::Result<Option<Happened>> {
        let (Some(xid), Some(error)) = (frame.get(..4), frame.get(12..16)) else {
            return Err(invalid("a reply is too short"));
        };
        match int(xid) {
            XID_EVENT => Ok(Some(Happened::Watch)),
            XID_PING => Ok(None),
            xid => {
                self.answered += 1;
                let Some(sent) = self.sent.pop_front().filter(|_| xid == self.answered) else {
                    return Err(invalid("a reply to what was not asked, or out of turn"));
                };
                Ok(Some(Happened::Reply { sent, error: int(error) }))
            }
        }
    }
}

fn int(bytes: &[u8]) -> i32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | i32::from(*byte))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use zabkeeper_core::types::SessionId;

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes(), body].concat()
    }

    fn reply(xid: i32, error: i32) -> Vec<u8> {
        let mut out = BytesMut::new();
        out.put_i32(xid);
        out.put_i64(7);
        out.put_i32(error);
        out.put_slice(b"what was asked for");
        frame(&out)
    }

    fn attached() -> Session {
        let mut session = Session::new(0, 0);
        session.state = State::Handshake;
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 4000,
            session: SessionId(5),
            password: Some(Bytes::from_static(&[9; 16])),
            read_only: Some(false),
        };
        let mut told = Vec::new();
        let bytes = frame(&response.to_bytes());
        session.received(&bytes, &mut |_, what| told.push(what)).expect("a handshake");
        assert_eq!(told, [Happened::Ready]);
        session
    }

    #[test]
    fn replies_are_told_however_they_are_cut() {
        let get = Template::get("/a", false);
        let bytes = [reply(1, 0), reply(XID_EVENT, 0), reply(2, -101)].concat();
        for cut in 0..bytes.len() {
            let mut session = attached();
            session.send(&get, 10);
            session.send(&get, 20);
            let mut told = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                session.received(part, &mut |_, what| told.push(what)).expect("replies");
            }
            let first = Happened::Reply { sent: 10, error: 0 };
            let second = Happened::Reply { sent: 20, error: -101 };
            assert_eq!(told, [first, Happened::Watch, second], "cut at {cut}");
            assert_eq!(session.under_way(), 0);
        }
    }

    #[test]
    fn a_reply_out_of_turn_is_an_error() {
        let mut session = attached();
        session.send(&Template::get("/a", false), 10);
        let error = session.received(&reply(2, 0), &mut |_, _| {});
        assert_eq!(error.expect_err("out of turn").kind(), ErrorKind::InvalidData);
    }
}
