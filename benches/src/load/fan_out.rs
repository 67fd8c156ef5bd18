//! One write, and everybody who watches is told: how many a second.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::driver::{Driver, Nanos, TURN, Workload};
use super::request::Template;
use super::session::{Happened, Session};
use super::setup::{finish, nodes, remove};
use super::{Failed, Measured, Phase, histogram};
use crate::ensemble::usage::own_cpu_seconds;

/// How long the sessions, their watches, or one round may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes again and again a node that so many sessions watch, and counts the time from each write
/// until the last of them has been told; not the time in which they set their watches anew.
/// Latencies are those of each event, since its write.
///
/// # Errors
/// A member refuses, or its connection breaks, or not all are told.
pub fn fan_out(
    servers: &[SocketAddr],
    watchers: usize,
    measured: Duration,
    on: &mut dyn FnMut(Phase),
) -> Result<Measured, Failed> {
    on(Phase::Preparing);
    let path = nodes(servers, 1, 128)?.swap_remove(0);
    let mut driver = Driver::new(servers, watchers + 1)?;
    let mut fan = FanOut::new(&path);
    fan.until(&mut driver, |fan| fan.ready > watchers, "all sessions are there")?;
    // The first round is to warm up.
    fan.round(&mut driver, watchers)?;
    on(Phase::Begins);
    fan.latencies.reset();
    let (begun, cpu, mut seconds) = (Instant::now(), own_cpu_seconds(), 0.0);
    while begun.elapsed() < measured {
        seconds += fan.round(&mut driver, watchers)?;
    }
    let load_share = (own_cpu_seconds() - cpu) / begun.elapsed().as_secs_f64();
    on(Phase::Ended);
    let latencies = fan.latencies;
    finish(&mut driver)?;
    remove(servers, vec![(path, 0)])?;
    Ok(Measured { operations: latencies.len(), seconds, latencies, failed: 0, load_share })
}

struct FanOut {
    watch: Template,
    write: Template,
    ready: usize,
    /// Watches that are set, in this round.
    set: usize,
    /// Watchers that were told, in this round.
    told: usize,
    written: Nanos,
    refused: bool,
    latencies: Histogram<u64>,
}

impl FanOut {
    fn new(path: &str) -> FanOut {
        FanOut {
            watch: Template::get(path, true),
            write: Template::set(path, 128),
            ready: 0,
            set: 0,
            told: 0,
            written: 0,
            refused: false,
            latencies: histogram(),
        }
    }

    /// All set their watches, one writes, all are told: how long that took, s.
    fn round(&mut self, driver: &mut Driver, watchers: usize) -> Result<f64, Failed> {
        (self.set, self.told) = (0, 0);
        for index in 1..=watchers {
            self.ask(driver, index, true)?;
        }
        self.until(driver, |fan| fan.set == watchers, "all watch")?;
        self.written = driver.now();
        self.ask(driver, 0, false)?;
        self.until(driver, |fan| fan.told == watchers, "all are told")?;
        Ok((driver.now() - self.written) as f64 / 1e9)
    }

    fn ask(&self, driver: &mut Driver, index: usize, watch: bool) -> Result<(), Failed> {
        let now = driver.now();
        driver.sessions[index].send(if watch { &self.watch } else { &self.write }, now);
        driver.flush(index)
    }

    fn until(
        &mut self,
        driver: &mut Driver,
        done: impl Fn(&FanOut) -> bool,
        what: &str,
    ) -> Result<(), Failed> {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            driver.turn(self, TURN)?;
            if self.refused || Instant::now() > end {
                return Err(Failed(format!("it is not so that {what}")));
            }
        }
        Ok(())
    }
}

impl Workload for FanOut {
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos) {
        match what {
            Happened::Ready => self.ready += 1,
            Happened::Reply { error, .. } => {
                self.refused |= error != 0;
                self.set += usize::from(session.index > 0);
            }
            Happened::Watch => {
                self.told += 1;
                self.latencies.saturating_record(now - self.written);
            }
            Happened::Lost => {}
        }
    }
}
