//! What four-letter words tell of the process and its machine, looked up now and then on a
//! thread of its own: reading directories can take its time.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::{env, fs, io, thread};

use zabkeeper_core::config::Config;
use zabkeeper_core::event::Host;
use zabkeeper_core::node;

/// How old the figures may be.
const EVERY: Duration = Duration::from_secs(1);

/// The thread that looks. It ends when this is dropped.
#[derive(Debug)]
pub struct HostThread {
    _ended: Sender<()>,
}

impl HostThread {
    /// Looks at once and every second; `deliver` gets what has changed, on that thread.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(
        name: String,
        config: &Config,
        deliver: impl Fn(Host) + Send + 'static,
    ) -> io::Result<HostThread> {
        let disk = node::disk_options(config);
        let (ended, wait) = channel();
        thread::Builder::new().name(name).spawn(move || {
            let environment = environment();
            let mut last = None;
            loop {
                let host = survey(
                    Path::new(&*disk.snapshots_at()),
                    Path::new(&*disk.logs_at()),
                    environment.clone(),
                );
                if last.as_ref() != Some(&host) {
                    deliver(host.clone());
                    last = Some(host);
                }
                match wait.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(HostThread { _ended: ended })
    }
}

fn survey(data_dir: &Path, data_log_dir: &Path, environment: Vec<(String, String)>) -> Host {
    Host {
        data_dir_bytes: bytes_in(data_dir),
        data_log_dir_bytes: bytes_in(data_log_dir),
        // The directory that is being read is one of them.
        open_files: entries("/proc/self/fd").map(|n| n.saturating_sub(1)),
        max_files: max_files(),
        environment,
    }
}

/// Bytes of the files there; of those that are gone meanwhile, none.
fn bytes_in(dir: &Path) -> u64 {
    let Ok(all) = fs::read_dir(dir) else { return 0 };
    let sizes = all.filter_map(|entry| entry.ok()?.metadata().ok());
    sizes.filter(|metadata| metadata.is_file()).map(|metadata| metadata.len()).sum()
}

fn entries(dir: &str) -> Option<u64> {
    fs::read_dir(dir).ok().map(|all| all.count() as u64)
}

/// The soft limit; none where it cannot be told, or there is none.
fn max_files() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Those of Java's properties that have a meaning here, under its names.
fn environment() -> Vec<(String, String)> {
    let kernel = |name: &str| fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).ok();
    let variable = |name: &str| env::var(name).ok();
    let os = env::consts::OS;
    let os_name = kernel("ostype").unwrap_or_else(|| String::from(os));
    let directory = |path: io::Result<PathBuf>| path.ok().map(|path| path.display().to_string());
    let all = [
        ("host.name", kernel("hostname").or_else(|| variable("HOSTNAME"))),
        ("java.io.tmpdir", directory(Ok(env::temp_dir()))),
        ("os.name", Some(os_name)),
        ("os.arch", Some(String::from(env::consts::ARCH))),
        ("os.version", kernel("osrelease")),
        ("user.name", variable("USER").or_else(|| variable("LOGNAME"))),
        ("user.home", variable("HOME")),
        ("user.dir", directory(env::current_dir())),
    ];
    let known = |(name, value): (&str, Option<String>)| {
        Some((String::from(name), String::from(value?.trim())))
    };
    all.into_iter().filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_descriptors_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log.1"), [0; 1000]).unwrap();
        fs::write(dir.path().join("snapshot.0"), [0; 23]).unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        let host = survey(dir.path(), Path::new("/no such directory"), environment());
        assert_eq!((host.data_dir_bytes, host.data_log_dir_bytes), (1023, 0));
        if cfg!(target_os = "linux") {
            let file = fs::File::open(dir.path().join("log.1")).unwrap();
            let more = survey(dir.path(), dir.path(), Vec::new());
            // Other tests open files meanwhile, too.
            assert!(more.open_files.unwrap() > 3 && more.max_files >= more.open_files);
            drop(file);
        }
        assert!(host.environment.iter().any(|(name, _)| name == "os.name"));
    }

    #[test]
    fn the_thread_tells_at_once_and_ends_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("dataDir={}\nclientPort=2181\n", dir.path().display());
        let source = zabkeeper_core::record::ConfigSource {
            name: "zoo.cfg".into(),
            text,
            my_id: None,
            dynamic: None,
            next: None,
        };
        let (config, _) = source.parse().unwrap();
        let (told, hear) = channel();
        let thread = HostThread::start("host".into(), &config, move |host| {
            told.send(host).unwrap();
        })
        .unwrap();
        assert_eq!(hear.recv_timeout(Duration::from_secs(20)).unwrap().data_dir_bytes, 0);
        drop(thread);
        // The sender goes with the thread.
        assert_eq!(hear.recv_timeout(Duration::from_secs(20)), Err(RecvTimeoutError::Disconnected));
    }
}
