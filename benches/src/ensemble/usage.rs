//! What a process has used: CPU time and memory, as the kernel counts them.

use std::fs;
use std::sync::LazyLock;
use std::time::Instant;

/// Of one process. Zero where there is no `/proc`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Usage {
    /// User and system time, s, in steps of 10 ms.
    pub cpu_seconds: f64,
    /// Resident now, KiB.
    pub rss_kib: u64,
    /// Resident at most, KiB.
    pub peak_kib: u64,
}

impl Usage {
    /// Of the process with this id.
    pub fn of(pid: u32) -> Usage {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let status = read("status");
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Usage {
            cpu_seconds: cpu_ticks(&read("stat")) as f64 / ticks,
            rss_kib: field(&status, "VmRSS:"),
            peak_kib: field(&status, "VmHWM:"),
        }
    }
}

/// Of this process, s.
pub fn own_cpu_seconds() -> f64 {
    Usage::of(std::process::id()).cpu_seconds
}

/// CPU time of this thread, ns; where the kernel does not tell, the time.
pub fn own_thread_nanos() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let told = told.and_then(|text| text.split(' ').next()?.parse().ok());
    told.unwrap_or_else(|| BEGUN.elapsed().as_nanos() as u64)
}

/// utime and stime. The name in parentheses may contain anything.
fn cpu_ticks(stat: &str) -> u64 {
    let Some((_, fields)) = stat.rsplit_once(") ") else { return 0 };
    fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_understood() {
        let stat = "77 (a (b) c) S 1 77 77 0 -1 4194560 9 0 0 0 125 75 0 0 20 0 3 0 11 0 0";
        assert_eq!(cpu_ticks(stat), 200);
        let status = "Name:\tx\nVmHWM:\t   5120 kB\nVmRSS:\t   4096 kB\n";
        assert_eq!((field(status, "VmHWM:"), field(status, "VmRSS:")), (5120, 4096));
        assert_eq!((cpu_ticks(""), field("", "VmRSS:")), (0, 0));
    }
}
