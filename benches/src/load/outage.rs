//! Writers whose members die: how long until one of them is answered again.

use std::net::SocketAddr;
use std::time::Duration;

use super::Failed;
use super::driver::{Driver, Nanos, TURN, Workload};
use super::request::Template;
use super::session::{Happened, Session};
use super::setup::{finish, nodes};

/// Writers, each with one request under way.
const WRITERS: usize = 8;
/// How long they write before.
const BEFORE: Duration = Duration::from_millis(1500);
/// How long an ensemble may be without service.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes, lets `kill` do what it does, and measures from there until a write succeeds that was
/// sent after that.
///
/// # Errors
/// Nothing can be written before, or never again.
pub fn outage(
    servers: &[SocketAddr],
    kill: impl FnOnce() -> Result<(), Failed>,
) -> Result<Duration, Failed> {
    let paths = nodes(servers, WRITERS, 128)?;
    let mut driver = Driver::new(servers, WRITERS)?;
    let mut writers = Writers {
        writes: paths.iter().map(|path| Template::set(path, 128)).collect(),
        done: 0,
        killed: None,
        back: None,
    };
    driver.turns(&mut writers, BEFORE)?;
    if writers.done == 0 {
        return Err(Failed("no write succeeds even before".into()));
    }
    let killed = driver.now();
    writers.killed = Some(killed);
    kill()?;
    let end = driver.now() + PATIENCE.as_nanos() as Nanos;
    while writers.back.is_none() {
        driver.turn(&mut writers, TURN)?;
        if driver.now() > end {
            return Err(Failed(format!("no write succeeds {} s later", PATIENCE.as_secs())));
        }
    }
    finish(&mut driver)?;
    Ok(Duration::from_nanos(writers.back.unwrap_or(killed) - killed))
}

struct Writers {
    writes: Vec<Template>,
    done: u64,
    killed: Option<Nanos>,
    back: Option<Nanos>,
}

impl Workload for Writers {
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos) {
        if let Happened::Reply { sent, error: 0 } = what {
            self.done += 1;
            if self.killed.is_some_and(|killed| sent > killed) {
                self.back.get_or_insert(now);
            }
        }
        if session.attached() && session.under_way() == 0 {
            session.send(&self.writes[session.index], now);
        }
    }

    fn reconnects(&self) -> bool {
        true
    }
}
