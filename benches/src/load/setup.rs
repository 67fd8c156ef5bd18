//! Before and after a load: nodes are made, sessions are ended.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Failed;
use super::driver::{Driver, Nanos, TURN, Workload};
use super::request::Template;
use super::session::{Happened, Session};

/// The parent of all nodes that are made here.
const ROOT: &str = "/bench";
/// How long first requests and last answers may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the nodes that are to be made, so many are asked for at once.
const AT_ONCE: usize = 100;
/// The error that says a node is there already.
const NODE_EXISTS: i32 = -110;

/// Makes so many nodes, which were not there before.
pub(super) fn nodes(
    servers: &[SocketAddr],
    count: usize,
    bytes: usize,
) -> Result<Vec<String>, Failed> {
    let run = format!("{ROOT}/{}", new_name());
    let paths: Vec<_> = (0..count).map(|n| format!("{run}-{n}")).collect();
    let made = paths.iter().map(|path| Template::create(path, bytes));
    play(servers, std::iter::once(Template::create(ROOT, 0)).chain(made).collect())?;
    Ok(paths)
}

/// A name that no node has.
pub(super) fn new_name() -> String {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}

/// Sends requests on one session, and wants each done, or found done.
fn play(servers: &[SocketAddr], requests: Vec<Template>) -> Result<(), Failed> {
    let mut driver = Driver::new(&servers[..1], 1)?;
    let mut script = Script { requests, answered: 0, error: None };
    while script.answered < script.requests.len() {
        driver.within(PATIENCE, "the nodes are made")?;
        driver.turn(&mut script, TURN)?;
        if let Some(error) = script.error {
            return Err(Failed(format!("a node could not be made: error {error}")));
        }
    }
    finish(&mut driver)
}

struct Script {
    requests: Vec<Template>,
    answered: usize,
    error: Option<i32>,
}

impl Workload for Script {
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos) {
        if let Happened::Reply { error, .. } = what {
            self.answered += 1;
            if error != 0 && error != NODE_EXISTS {
                self.error = Some(error);
            }
        }
        while session.under_way() < AT_ONCE
            && let Some(request) = self.requests.get(session.count as usize)
        {
            session.send(request, now);
        }
    }
}

/// Waits for what is under way, and ends all sessions.
pub(super) fn finish(driver: &mut Driver) -> Result<(), Failed> {
    let (now, close) = (driver.now(), Template::close());
    let mut left = Closing { open: 0 };
    for index in 0..driver.sessions.len() {
        let session = &mut driver.sessions[index];
        if session.attached() {
            session.send(&close, now);
            left.open += 1;
            driver.flush(index)?;
        } else {
            session.leave();
        }
    }
    let end = Instant::now() + PATIENCE;
    while left.open > 0 && Instant::now() < end {
        driver.turn(&mut left, TURN)?;
    }
    Ok(())
}

struct Closing {
    open: usize,
}

impl Workload for Closing {
    fn happened(&mut self, session: &mut Session, what: Happened, _now: Nanos) {
        let over = match what {
            // The last answer: that the session is closed.
            Happened::Reply { .. } => session.under_way() == 0,
            Happened::Lost => true,
            Happened::Ready | Happened::Watch => false,
        };
        if over {
            self.open = self.open.saturating_sub(1);
            session.leave();
        }
    }

    fn reconnects(&self) -> bool {
        true
    }
}
