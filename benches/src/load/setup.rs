//! Before and after a load: nodes are made and removed, sessions are ended.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
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
/// How long each node may take that is to be removed.
const PATIENCE_A_NODE: Duration = Duration::from_millis(1);
/// Of the nodes that are to be made or removed, so many are asked for at once.
const AT_ONCE: usize = 512;
/// Who remove nodes.
const REMOVERS: usize = 64;
/// The error that says a node is there already, and ...
const NODE_EXISTS: i32 = -110;
/// ... that it is not there.
const NO_NODE: i32 = -101;

/// Makes so many nodes, which were not there before.
pub(super) fn nodes(
    servers: &[SocketAddr],
    count: usize,
    bytes: usize,
) -> Result<Vec<String>, Failed> {
    let run = format!("{ROOT}/{}", new_name());
    let paths: Vec<_> = (0..count).map(|n| format!("{run}-{n}")).collect();
    let made = paths.iter().map(|path| Template::create(path, bytes));
    let requests = std::iter::once(Template::create(ROOT, 0)).chain(made).map(|it| (it, 0..1));
    play(servers, vec![requests.collect()], NODE_EXISTS, PATIENCE)?;
    Ok(paths)
}

/// Removes nodes, and before each so many numbered ones below it: what follows is to find the tree
/// as it was.
pub(super) fn remove(servers: &[SocketAddr], made: Vec<(String, u64)>) -> Result<(), Failed> {
    let count: u64 = made.iter().map(|(_, below)| below + 1).sum();
    let patience = PATIENCE + PATIENCE_A_NODE * count.try_into().unwrap_or(u32::MAX);
    let mut scripts = vec![Script::new(); REMOVERS.min(made.len())];
    let removers = scripts.len();
    for (at, (path, below)) in made.into_iter().enumerate() {
        let script = &mut scripts[at % removers];
        script.push_back((Template::delete_below(&path), 0..below));
        script.push_back((Template::delete(&path), 0..1));
    }
    play(servers, scripts, NO_NODE, patience)
}

/// A name that no node has.
pub(super) fn new_name() -> String {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}

/// What a session is to ask, one after the other: a request, and with which numbers.
type Script = VecDeque<(Template, Range<u64>)>;

/// Plays each script on a session of its own, and wants each request done, or found done.
fn play(
    servers: &[SocketAddr],
    scripts: Vec<Script>,
    found_done: i32,
    patience: Duration,
) -> Result<(), Failed> {
    let numbers = scripts.iter().flatten().map(|(_, numbers)| numbers.end - numbers.start);
    let mut play = Play { left: numbers.sum(), scripts, found_done, error: None };
    let mut driver = Driver::new(servers, play.scripts.len())?;
    while play.left > 0 {
        driver.within(patience, "nodes are made, or removed")?;
        driver.turn(&mut play, TURN)?;
        if let Some(error) = play.error {
            return Err(Failed(format!("a node could not be made, or removed: error {error}")));
        }
    }
    finish(&mut driver)
}

struct Play {
    scripts: Vec<Script>,
    /// Requests that are not answered yet.
    left: u64,
    /// The error that is none.
    found_done: i32,
    error: Option<i32>,
}

impl Workload for Play {
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos) {
        if let Happened::Reply { error, .. } = what {
            self.left -= 1;
            if error != 0 && error != self.found_done {
                self.error = Some(error);
            }
        }
        let at_once = AT_ONCE / self.scripts.len();
        let script = &mut self.scripts[session.index];
        while session.under_way() < at_once
            && let Some((request, numbers)) = script.front_mut()
        {
            match numbers.next() {
                Some(number) => session.send_with(request, number, now),
                None => drop(script.pop_front()),
            }
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
