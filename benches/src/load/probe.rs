//! One request on a session of its own, by the simplest means: whether a server serves.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::request::{Template, connect};

/// A server that takes longer serves nobody.
const PATIENCE: Duration = Duration::from_secs(5);

/// A new session, getData of the root on it, and its end.
///
/// # Errors
/// There is no answer to one of them.
pub fn probe(server: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&connect(0, &[0; 16], 10_000))?;
    let answer = frame(&mut stream)?;
    // The negotiated time-out; 0 is a refusal.
    if answer.get(4..8).is_none_or(|timeout| timeout == [0; 4]) {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    let mut out = Vec::new();
    Template::get("/", false).append(&mut out, 1, 0);
    Template::close().append(&mut out, 2, 0);
    stream.write_all(&out)?;
    let answer = frame(&mut stream)?;
    if answer.get(12..16) != Some(&[0; 4]) {
        return Err(ErrorKind::InvalidData.into());
    }
    frame(&mut stream).map(drop)
}

fn frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > 1 << 20 {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}
