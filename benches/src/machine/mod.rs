//! The limits of the machine: what no server on it can be faster than.

mod cores;
mod sockets;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::{Failed, histogram};
use crate::stop;
pub(crate) use cores::Apart;

/// Of what a log is written in, for one small write.
const LOG_WRITE_BYTES: usize = 512;
/// Preallocated, as servers do it.
const LOG_BYTES: u64 = 8 << 20;
/// Larger than any cache.
const MEMORY_BYTES: usize = 128 << 20;

/// What was measured on the machine alone.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Cores.
    pub cores: usize,
    /// Processes that wanted to run in the last minute, when it began.
    pub load_average: f64,
    /// fdatasync of a small write to a preallocated file: one writer.
    pub sync_alone: Latency,
    /// The same with three writers at once, each with a file of its own.
    pub sync_three: Latency,
    /// A request and an answer of 64 bytes over loopback.
    pub round_trip: Latency,
    /// A word from one core to another and back, at the beginning of each row; none with one core.
    pub core_to_core: Option<Latency>,
    /// Small messages written and read by one thread, a second: to 1,000 connections in turn.
    pub messages: f64,
    /// The same to 8,000 connections; none where so many files may not be open.
    pub messages_cold: Option<f64>,
    /// Connections that one thread makes, asks and answers twice, and closes, a second.
    pub sessions: f64,
    /// Copied within memory, GiB/s.
    pub memory_gib_per_second: f64,
}

/// How often a second, and how long.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Latency {
    /// In all, over all writers.
    pub per_second: f64,
    /// Half of them took no longer, µs.
    pub p50_us: f64,
    /// All but one in a hundred, µs.
    pub p99_us: f64,
    /// All but one in a thousand, µs.
    pub p999_us: f64,
}

impl Machine {
    /// Measures each for so long, rates of one thread for a quarter of that.
    ///
    /// # Errors
    /// Files cannot be written in `dir`, or there is no loopback.
    pub fn measure(dir: &Path, each: Duration) -> Result<Machine, Failed> {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Machine {
            processor: name.map_or("unknown", |(_, name)| name).to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            load_average: load.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
            sync_alone: syncs(dir, 1, each)?,
            sync_three: syncs(dir, 3, each)?,
            round_trip: sockets::round_trips(each)?,
            core_to_core: None,
            messages: sockets::messages(1000, each / 4)?,
            messages_cold: sockets::messages(8000, each / 4).ok(),
            sessions: sockets::sessions(each / 4)?,
            memory_gib_per_second: copies(each),
        })
    }
}

/// Whether there is so much left, in bytes, of the disk of `dir` and of memory.
///
/// # Errors
/// What is needed, and what there is.
pub fn has_room(dir: &Path, disk: u64, memory: u64) -> Result<(), Failed> {
    let free = rustix::fs::statvfs(dir).map_err(io::Error::from)?;
    let free = free.f_bavail * free.f_frsize;
    // Where the kernel does not tell, it may be enough.
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let lacks = |what: &str, needed: u64, left: u64| {
        Err(Failed(format!("needs {:.1} GiB of {what}, {:.1} are left", gib(needed), gib(left))))
    };
    match available {
        _ if free < disk => lacks(&format!("disk at {}", dir.display()), disk, free),
        Some(available) if available < memory => lacks("memory", memory, available),
        _ => Ok(()),
    }
}

/// MemAvailable of /proc/meminfo, bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

fn syncs(dir: &Path, writers: usize, each: Duration) -> Result<Latency, Failed> {
    let write = |path: &Path| -> io::Result<Histogram<u64>> {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; LOG_BYTES as usize], 0)?;
        file.sync_all()?;
        let (mut latencies, mut at, end) = (histogram(), 0, Instant::now() + each);
        while Instant::now() < end && stop::signal().is_none() {
            let begun = Instant::now();
            file.write_all_at(&[1; LOG_WRITE_BYTES], at)?;
            file.sync_data()?;
            latencies.saturating_record(begun.elapsed().as_nanos() as u64);
            at = (at + LOG_WRITE_BYTES as u64) % LOG_BYTES;
        }
        Ok(latencies)
    };
    let write_and_remove = |writer: usize| {
        let path = dir.join(format!("sync{writer}"));
        let written = write(&path);
        // If it cannot be removed, it may not be there.
        drop(fs::remove_file(path));
        written
    };
    let mut all = histogram();
    thread::scope(|scope| {
        let write_and_remove = &write_and_remove;
        let writers: Vec<_> =
            (0..writers).map(|n| scope.spawn(move || write_and_remove(n))).collect();
        for writer in writers {
            let latencies = writer.join().map_err(|_| Failed("a writer panicked".into()))??;
            all.add(latencies).map_err(|e| Failed(e.to_string()))?;
        }
        Ok::<_, Failed>(())
    })?;
    Ok(latency(&all, each))
}

fn copies(each: Duration) -> f64 {
    let (from, mut to) = (vec![1_u8; MEMORY_BYTES], vec![0_u8; MEMORY_BYTES]);
    to.copy_from_slice(&from);
    let (mut bytes, begun) = (0, Instant::now());
    while begun.elapsed() < each && stop::signal().is_none() {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        bytes += MEMORY_BYTES;
    }
    bytes as f64 / begun.elapsed().as_secs_f64() / f64::from(1 << 30)
}

fn latency(latencies: &Histogram<u64>, duration: Duration) -> Latency {
    let us = |q| latencies.value_at_quantile(q) as f64 / 1000.0;
    Latency {
        per_second: latencies.len() as f64 / duration.as_secs_f64(),
        p50_us: us(0.5),
        p99_us: us(0.99),
        p999_us: us(0.999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_reported_in_gib() {
        assert_eq!(available("MemFree: 1 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available(""), None);
        let here = Path::new(".");
        assert!(has_room(here, 1, 1).is_ok());
        let error = has_room(here, u64::MAX, 1).expect_err("too much").to_string();
        assert!(error.starts_with("needs 17179869184.0 GiB of disk at ., "), "{error}");
    }
}
