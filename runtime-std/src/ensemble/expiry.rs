//! Expires a session through the client protocol.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::{Bytes, BytesMut};
use zabkeeper_core::session::password;
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::client::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use zabkeeper_core::wire::frame::FrameReader;
use zabkeeper_core::wire::{ErrorCode, OpCode, Record};

use super::ANSWER_LIMIT;

/// The result of an attempt.
pub(super) enum Attempt {
    Ended,
    Unknown,
    Retry,
}

/// Reconnects to the session with its password, and closes it.
pub(super) fn expire(server: SocketAddr, session: SessionId) -> io::Result<Attempt> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut frames = FrameReader::default();
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: i32::MAX,
        session,
        password: Some(Bytes::copy_from_slice(&password(session))),
        read_only: Some(false),
    };
    stream.write_all(&framed(&request))?;
    let response = ConnectResponse::from_bytes(&frame(&mut stream, &mut frames)?);
    if response.map_err(io::Error::other)?.timeout_ms <= 0 {
        return Ok(Attempt::Unknown);
    }
    let request = RequestHeader { xid: 1, op: OpCode::CloseSession as i32 };
    stream.write_all(&framed(&request))?;
    loop {
        let Ok(reply) = frame(&mut stream, &mut frames) else { return Ok(Attempt::Retry) };
        let reply = ReplyHeader::from_bytes(&reply).map_err(io::Error::other)?;
        if reply.xid == request.xid {
            let done = reply.err == ErrorCode::Ok as i32;
            return Ok(if done { Attempt::Ended } else { Attempt::Retry });
        }
    }
}

fn framed(record: &impl Record) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    record.write(&mut bytes);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &bytes].concat()
}

fn frame(stream: &mut TcpStream, frames: &mut FrameReader) -> io::Result<Bytes> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(frame) = frames.next(1 << 20).map_err(io::Error::other)? {
            return Ok(frame);
        }
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        frames.push(Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default()));
    }
}
