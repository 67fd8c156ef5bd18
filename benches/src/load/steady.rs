//! The steady load: each session keeps the same number of requests under way.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::driver::{Driver, Nanos, Workload};
use super::request::Template;
use super::session::{Happened, Session};
use super::{Failed, Load, Measured, Op, Phase, histogram};
use crate::ensemble::usage::own_cpu_seconds;

/// The parent of all nodes that are made here.
const ROOT: &str = "/bench";
/// How long a turn waits for something to happen.
const TURN: Duration = Duration::from_millis(20);
/// How long sessions, first requests and last answers may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The error that says a node is there already.
const NODE_EXISTS: i32 = -110;

/// Drives an ensemble; `on` is told when it counts.
///
/// # Errors
/// A member refuses, or its connection breaks.
pub fn steady(load: &Load, on: &mut dyn FnMut(Phase)) -> Result<Measured, Failed> {
    on(Phase::Preparing);
    let paths = nodes(load)?;
    let mut driver = Driver::new(&load.servers, load.connections)?;
    let mut workload = Steady::new(load, &paths);
    while workload.ready < load.connections {
        within(&driver, PATIENCE, "all sessions are there")?;
        driver.turn(&mut workload, TURN)?;
    }
    turns(&mut driver, &mut workload, load.warm_up)?;
    workload.measuring = true;
    on(Phase::Begins);
    let (begun, cpu) = (Instant::now(), own_cpu_seconds());
    turns(&mut driver, &mut workload, load.measured)?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), own_cpu_seconds() - cpu);
    on(Phase::Ended);
    workload.measuring = false;
    finish(&mut driver)?;
    Ok(Measured {
        operations: workload.latencies.len(),
        seconds,
        latencies: workload.latencies,
        failed: workload.failed,
        load_share: cpu / seconds,
    })
}

fn turns(
    driver: &mut Driver,
    workload: &mut impl Workload,
    duration: Duration,
) -> Result<(), Failed> {
    let end = Instant::now() + duration;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        driver.turn(workload, left.min(TURN))?;
    }
}

fn within(driver: &Driver, most: Duration, what: &str) -> Result<(), Failed> {
    if driver.now() > most.as_nanos() as Nanos {
        return Err(Failed(format!("not within {} s: {what}", most.as_secs())));
    }
    Ok(())
}

struct Steady {
    requests: Vec<Requests>,
    outstanding: usize,
    ready: usize,
    measuring: bool,
    latencies: Histogram<u64>,
    failed: u64,
}

/// What a session sends: mostly the one, every so many the other.
struct Requests {
    usual: Template,
    other: Option<(u64, Template)>,
}

impl Steady {
    fn new(load: &Load, paths: &[String]) -> Steady {
        let requests = paths.iter().map(|path| {
            let usual = match load.op {
                Op::Set => Template::set(path, load.bytes),
                Op::Get | Op::Mixed => Template::get(path, false),
                Op::Create => Template::create_below(path, load.bytes),
            };
            let other = (load.op == Op::Mixed).then(|| (10, Template::set(path, load.bytes)));
            Requests { usual, other }
        });
        Steady {
            requests: requests.collect(),
            outstanding: load.outstanding,
            ready: 0,
            measuring: false,
            latencies: histogram(),
            failed: 0,
        }
    }
}

impl Workload for Steady {
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos) {
        match what {
            Happened::Ready => self.ready += 1,
            Happened::Reply { sent, error } => {
                if self.measuring && error == 0 {
                    self.latencies.saturating_record(now - sent);
                } else if self.measuring {
                    self.failed += 1;
                }
            }
            Happened::Watch | Happened::Lost => {}
        }
        let requests = &self.requests[session.index];
        while session.under_way() < self.outstanding {
            let request = match &requests.other {
                Some((every, other)) if session.count.is_multiple_of(*every) => other,
                _ => &requests.usual,
            };
            session.send(request, now);
        }
    }
}

/// Makes one node for each session.
fn nodes(load: &Load) -> Result<Vec<String>, Failed> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let run = format!("{ROOT}/{}-{run}", std::process::id());
    let paths: Vec<_> = (0..load.connections).map(|n| format!("{run}-{n}")).collect();
    let made = paths.iter().map(|path| Template::create(path, load.bytes));
    let script = std::iter::once(Template::create(ROOT, 0)).chain(made).collect();
    play(&load.servers, script)?;
    Ok(paths)
}

/// Sends requests on one session, and wants each done, or found done.
pub(super) fn play(servers: &[SocketAddr], requests: Vec<Template>) -> Result<(), Failed> {
    let mut driver = Driver::new(&servers[..1], 1)?;
    let mut script = Script { requests, answered: 0, error: None };
    while script.answered < script.requests.len() {
        within(&driver, PATIENCE, "the nodes are made")?;
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
        while session.under_way() < 100
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
        match what {
            // The last answer: that the session is closed.
            Happened::Reply { .. } if session.under_way() == 0 => {
                self.open -= 1;
                session.leave();
            }
            Happened::Reply { .. } | Happened::Ready | Happened::Watch | Happened::Lost => {}
        }
    }
}
