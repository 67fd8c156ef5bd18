//! What the kernel takes for small messages over loopback, without any server's work.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Latency, latency};
use crate::load::{Failed, histogram};
use crate::stop;

/// About what a watch event, or a request for a session, takes.
const MESSAGE: [u8; 64] = [7; 64];
/// Connections that come and go at once.
const AT_ONCE: usize = 64;

pub(super) fn round_trips(each: Duration) -> Result<Latency, Failed> {
    let (mut stream, mut other) = Listener::bind()?.pair()?;
    let echo = thread::spawn(move || {
        let mut bytes = [0; 64];
        while other.read_exact(&mut bytes).and_then(|()| other.write_all(&bytes)).is_ok() {}
    });
    let (mut latencies, end, mut bytes) = (histogram(), Instant::now() + each, MESSAGE);
    while Instant::now() < end && stop::signal().is_none() {
        let begun = Instant::now();
        stream.write_all(&bytes)?;
        stream.read_exact(&mut bytes)?;
        latencies.saturating_record(begun.elapsed().as_nanos() as u64);
    }
    drop(stream);
    echo.join().map_err(|_| Failed("the echo panicked".into()))?;
    Ok(latency(&latencies, each))
}

/// One thread writes a message to each connection and then reads them: how many a second.
pub(super) fn messages(connections: usize, each: Duration) -> Result<f64, Failed> {
    let listener = Listener::bind()?;
    let mut pairs = Vec::with_capacity(connections);
    for _ in 0..connections {
        pairs.push(listener.pair()?);
    }
    per_second(each, || {
        pairs.iter_mut().try_for_each(|(near, _)| near.write_all(&MESSAGE))?;
        pairs.iter_mut().try_for_each(|(_, far)| far.read_exact(&mut [0; 64]))?;
        Ok(connections)
    })
}

/// One thread makes connections, asks and answers twice on each, and closes them: how many a
/// second.
pub(super) fn sessions(each: Duration) -> Result<f64, Failed> {
    // As an ensemble has: ports that were used a moment ago are found again slowly.
    let listeners = [Listener::bind()?, Listener::bind()?, Listener::bind()?];
    per_second(each, || {
        let mut pairs = Vec::with_capacity(AT_ONCE);
        for listener in listeners.iter().cycle().take(AT_ONCE) {
            pairs.push(listener.pair()?);
        }
        for _ in 0..2 {
            for (near, far) in &mut pairs {
                near.write_all(&MESSAGE)?;
                far.read_exact(&mut [0; 64])?;
            }
            for (near, far) in &mut pairs {
                far.write_all(&MESSAGE)?;
                near.read_exact(&mut [0; 64])?;
            }
        }
        Ok(AT_ONCE)
    })
}

fn per_second(each: Duration, mut round: impl FnMut() -> io::Result<usize>) -> Result<f64, Failed> {
    let (begun, mut done) = (Instant::now(), 0);
    while begun.elapsed() < each && stop::signal().is_none() {
        done += round()?;
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

struct Listener(TcpListener);

impl Listener {
    fn bind() -> io::Result<Listener> {
        Ok(Listener(TcpListener::bind("127.0.0.1:0")?))
    }

    /// The two ends of a new connection.
    fn pair(&self) -> io::Result<(TcpStream, TcpStream)> {
        let near = TcpStream::connect(self.0.local_addr()?)?;
        let (far, _) = self.0.accept()?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        Ok((near, far))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_alone_is_fast_enough_to_be_measured() {
        let each = Duration::from_millis(20);
        let (few, some) = (messages(1, each).unwrap(), messages(50, each).unwrap());
        assert!(few > 100.0 && some > 100.0, "{few} {some}");
        assert!(sessions(each).unwrap() > 10.0);
    }
}
