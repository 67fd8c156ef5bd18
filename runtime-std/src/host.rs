//! Figures of the process and its machine for the four-letter words, collected on a thread of its
//! own because reading directories can be slow.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::{env, fs, io, thread};

use zabkeeper_core::config::Config;
use zabkeeper_core::event::HostStats;
use zabkeeper_core::node;

use crate::{descriptors, logging};

/// The interval at which figures are collected.
const INTERVAL: Duration = Duration::from_secs(1);
/// The environment is collected every 60th time: its figures of memory change all the time, and are
/// rarely requested.
const ENVIRONMENT_INTERVAL: usize = 60;

/// The handle of the thread; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct HostThread {
    _ended: Sender<()>,
}

impl HostThread {
    /// Collects figures at once and then every second; calls `deliver` with them on that thread if
    /// they have changed.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub(crate) fn start(
        name: String,
        config: &Config,
        deliver: impl Fn(HostStats) + Send + 'static,
    ) -> io::Result<HostThread> {
        let disk = node::disk_options(config);
        let (ended, wait) = channel();
        thread::Builder::new().name(name).spawn(move || {
            let mut environment = environment();
            let mut last = None;
            for round in 1_usize.. {
                if round.is_multiple_of(ENVIRONMENT_INTERVAL) {
                    environment = self::environment();
                }
                let host = survey(
                    Path::new(&*disk.snapshots_at()),
                    Path::new(&*disk.logs_at()),
                    environment.clone(),
                );
                if last.as_ref() != Some(&host) {
                    deliver(host.clone());
                    last = Some(host);
                }
                match wait.recv_timeout(INTERVAL) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(HostThread { _ended: ended })
    }
}

fn survey(data_dir: &Path, data_log_dir: &Path, environment: Vec<(String, String)>) -> HostStats {
    HostStats {
        data_dir_bytes: bytes_in(data_dir),
        data_log_dir_bytes: bytes_in(data_log_dir),
        // One of the descriptors belongs to the directory that is being read.
        open_files: entries("/proc/self/fd").map(|n| n.saturating_sub(1)),
        max_files: descriptors::limit(),
        log_lines_dropped: logging::lines_dropped(),
        environment,
    }
}

/// The size of the files in a directory; a file that is deleted meanwhile has none.
fn bytes_in(dir: &Path) -> u64 {
    let Ok(all) = fs::read_dir(dir) else { return 0 };
    let sizes = all.filter_map(|entry| entry.ok()?.metadata().ok());
    sizes.filter(|metadata| metadata.is_file()).map(|metadata| metadata.len()).sum()
}

fn entries(dir: &str) -> Option<u64> {
    fs::read_dir(dir).ok().map(|all| all.count() as u64)
}

/// The value that ZooKeeper gives for a missing property.
const MISSING: &str = "<NA>";

/// ZooKeeper's keys in its order (`Environment.list`) with the values of this process; those of a
/// JVM are missing.
fn environment() -> Vec<(String, String)> {
    let kernel = |name: &str| fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).ok();
    let variable = |name: &str| env::var(name).ok();
    let os = env::consts::OS;
    let os_name = kernel("ostype").unwrap_or_else(|| String::from(os));
    let arch = match env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        other => other,
    };
    let directory = |path: io::Result<PathBuf>| path.ok().map(|path| path.display().to_string());
    let [user, home] = user();
    let [free, max, total] = memory().map(|bytes| bytes.map(|n| format!("{}MB", n >> 20)));
    let all = [
        ("host.name", kernel("hostname").or_else(|| variable("HOSTNAME"))),
        ("java.version", None),
        ("java.vendor", None),
        ("java.home", None),
        ("java.class.path", None),
        ("java.library.path", None),
        ("java.io.tmpdir", directory(Ok(env::temp_dir()))),
        ("java.compiler", None),
        ("os.name", Some(os_name)),
        ("os.arch", Some(String::from(arch))),
        ("os.version", kernel("osrelease")),
        ("user.name", user.or_else(|| variable("USER")).or_else(|| variable("LOGNAME"))),
        ("user.home", home.or_else(|| variable("HOME"))),
        ("user.dir", directory(env::current_dir())),
        ("os.memory.free", free),
        ("os.memory.max", max),
        ("os.memory.total", total),
    ];
    let known = |(name, value): (&str, Option<String>)| {
        (String::from(name), String::from(value.as_deref().unwrap_or(MISSING).trim()))
    };
    all.into_iter().map(known).collect()
}

/// Name and home of this process's user, from `/etc/passwd`.
fn user() -> [Option<String>; 2] {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let (status, all) = (read("/proc/self/status"), read("/etc/passwd"));
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let id = ids.and_then(|ids| ids.split_whitespace().next());
    let mut users = all.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = users.find(|user| id.is_some() && user.get(2).copied() == id).unwrap_or_default();
    [0, 5].map(|at| user.get(at).map(|text| String::from(*text)))
}

/// In bytes: the machine's available memory, the limit of this process (the machine's memory or the
/// limit of its control group), and its resident size.
fn memory() -> [Option<u64>; 3] {
    let of_machine = |key| kilobytes("/proc/meminfo", key);
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    let max = of_machine("MemTotal:").into_iter().chain(limit).min();
    [of_machine("MemAvailable:"), max, kilobytes("/proc/self/status", "VmRSS:")]
}

/// The value of a key in a file under `/proc`, converted from kilobytes to bytes.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_descriptors_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log.1"), [0; 1000]).unwrap();
        fs::write(dir.path().join("snapshot.0"), [0; 23]).unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        let host = survey(dir.path(), Path::new("/no such directory"), environment());
        assert_eq!((host.data_dir_bytes, host.data_log_dir_bytes), (1023, 0));
        if cfg!(target_os = "linux") {
            let file = fs::File::open(dir.path().join("log.1")).unwrap();
            let more = survey(dir.path(), dir.path(), Vec::new());
            // Other tests open files at the same time.
            assert!(more.open_files.unwrap() > 3 && more.max_files >= more.open_files);
            drop(file);
        }
    }

    #[test]
    fn environment_has_zookeepers_keys_in_order() {
        let all = environment();
        let keys: Vec<&str> = all.iter().map(|(key, _)| key.as_str()).collect();
        let expected = "host.name java.version java.vendor java.home java.class.path \
                        java.library.path java.io.tmpdir java.compiler os.name os.arch os.version \
                        user.name user.home user.dir os.memory.free os.memory.max os.memory.total";
        assert_eq!(keys.join(" "), expected);
        let value = |key: &str| all.iter().find(|(name, _)| name == key).unwrap().1.as_str();
        assert_eq!(value("java.version"), "<NA>");
        if cfg!(target_os = "linux") {
            for key in ["host.name", "os.name", "os.version", "user.dir"] {
                assert_ne!(value(key), "<NA>", "{key}");
            }
            let [free, max, total] = ["free", "max", "total"].map(|which| {
                let text = value(&format!("os.memory.{which}"));
                text.strip_suffix("MB").and_then(|n| n.parse::<u64>().ok()).expect(which)
            });
            assert!(total > 0 && total <= max && free <= max * 1024, "{free} {max} {total}");
        }
    }

    #[test]
    fn thread_delivers_at_once_and_ends_with_its_handle() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("dataDir={}\nclientPort=2181\n", dir.path().display());
        let source = zabkeeper_core::journal::ConfigSource {
            name: "zoo.cfg".into(),
            text,
            ..Default::default()
        };
        let (config, _) = source.parse().unwrap();
        let (sender, receiver) = channel();
        let thread = HostThread::start("host".into(), &config, move |host| {
            sender.send(host).unwrap();
        })
        .unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)).unwrap().data_dir_bytes, 0);
        drop(thread);
        // The thread drops the sender.
        assert_eq!(
            receiver.recv_timeout(Duration::from_secs(20)),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}
