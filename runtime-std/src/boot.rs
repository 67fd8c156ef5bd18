//! Start-up: reads `zoo.cfg`, `myid` and the dynamic file, creates and locks the directories.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;
use zabkeeper_core::config::{Config, Warning, decode};
use zabkeeper_core::disk::{DiskOptions, VERSION_DIR};
use zabkeeper_core::event::Port;
use zabkeeper_core::journal::ConfigSource;
use zabkeeper_core::node;
use zabkeeper_core::store::StoreOptions;
use zabkeeper_core::types::{self, HostPort, ServerId};

use crate::exit::{self, Failure};
use crate::files;
use crate::listen::no_address;
use crate::spelling;
use crate::system_properties::SystemProperties;

/// The size of the log's first write: header, transaction, and the zeros after it.
const PROBE_BYTES: usize = 68 << 10;

/// A server that is ready to start: its configuration, and the lock of its data directory.
#[derive(Debug)]
pub struct Boot {
    /// Its configuration.
    pub(crate) config: Config,
    /// The texts that the configuration was read from.
    pub(crate) source: ConfigSource,
    /// The absolute path of `zoo.cfg`, which a reconfiguration rewrites.
    config_file: String,
    /// Keeps other processes out of the data directory.
    pub(crate) lock: Lock,
}

/// The name of a configuration without a file, in messages.
const COMMAND_LINE: &str = "command line";

/// The origin of a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A `zoo.cfg`.
    File(PathBuf),
    /// The arguments of a command line, as the text of a `zoo.cfg`.
    Arguments(String),
}

impl Origin {
    /// A file, or `port dataDir [tickTime] [maxClientCnxns]` as `ZooKeeperServerMain` takes them.
    pub(crate) fn of_arguments(arguments: &[OsString]) -> Origin {
        const KEYS: [&str; 4] = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
        match arguments {
            [file] => Origin::File(PathBuf::from(file)),
            several => {
                let mut text = String::new();
                for (key, argument) in KEYS.iter().zip(several) {
                    // Escapes: a backslash or a leading blank has a meaning in a properties file.
                    let value = argument.to_string_lossy().replace('\\', "\\\\");
                    text += &format!("{key}=\\{value}\n");
                }
                if several.len() < KEYS.len() {
                    // ZooKeeperServerMain does not limit connections by default.
                    text += "maxClientCnxns=0\n";
                }
                Origin::Arguments(text)
            }
        }
    }
}

/// An address at which a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listen {
    /// The purpose of the connections.
    pub(crate) port: Port,
    /// A name or an address; `None` is every address of this machine.
    pub(crate) host: Option<String>,
    /// The TCP port.
    pub(crate) number: u16,
    /// How many connections may wait to be accepted; `None` is the default of `listen`.
    pub(crate) backlog: Option<i32>,
    /// The number of attempts to bind, a second apart (`electionPortBindRetry`).
    pub(crate) attempts: u32,
}

impl Listen {
    /// The address in a member's line. A wildcard is every address.
    pub(crate) fn at(port: Port, at: &HostPort, backlog: Option<i32>) -> Listen {
        let host = (!at.is_wildcard()).then(|| at.host.to_string());
        Listen { port, host, number: at.port, backlog, attempts: 1 }
    }

    /// Whether both have the same purpose and address.
    pub(crate) fn is_at(&self, other: &Listen) -> bool {
        (self.port, &self.host, self.number) == (other.port, &other.host, other.number)
    }
}

/// `dataDir/zabkeeper.lock`, held by one process at a time.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    fn take(data_dir: &Path) -> Result<Lock, Failure> {
        let path = data_dir.join("zabkeeper.lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(files::FILE_MODE);
        let file = options.open(&path).map_err(|e| unusable(&path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {
                let what = format!("{}: another zabkeeper runs in this directory", path.display());
                Err(Failure::new(exit::UNABLE_TO_ACCESS_DATADIR, what))
            }
            Err(TryLockError::Error(e)) if has_no_locks(&e) => {
                tracing::warn!(
                    "{}: the file system cannot lock files ({e}): make sure that no second server \
                     uses this directory",
                    path.display()
                );
                Ok(Lock(file))
            }
            Err(TryLockError::Error(e)) => Err(unusable(&path, &e)),
        }
    }

    /// Releases the lock.
    pub(crate) fn release(self) {
        // Closing the file releases the lock, too.
        let _ = self.0.unlock();
    }
}

impl Boot {
    /// Reads the configuration file and the files it names, and creates and locks the directories.
    pub(crate) fn load(path: &Path, properties: &SystemProperties) -> Result<Boot, Failure> {
        Boot::load_from(&Origin::File(path.to_path_buf()), properties)
    }

    /// [`Boot::load`] for a configuration of any origin.
    pub(crate) fn load_from(
        origin: &Origin,
        properties: &SystemProperties,
    ) -> Result<Boot, Failure> {
        let (config, source, warnings) = Boot::read(origin, properties)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        for dir in [&config.storage.data_dir, &config.storage.data_log_dir].map(Path::new) {
            if config.storage.datadir_autocreate {
                make_dir(dir).map_err(|e| unusable(dir, &e))?;
            } else if !dir.is_dir() {
                let what = format!(
                    "{}: no such directory, and datadir.autocreate is false: create it, or correct \
                     the path in the configuration",
                    dir.display()
                );
                return Err(Failure::new(exit::UNABLE_TO_ACCESS_DATADIR, what));
            }
        }
        let lock = Lock::take(Path::new(&config.storage.data_dir))?;
        for dir in [&config.storage.data_dir, &config.storage.data_log_dir].map(Path::new) {
            probe(dir)?;
        }
        let config_file = match origin {
            Origin::File(path) => {
                let whole = std::path::absolute(path).map_err(|e| unusable(path, &e))?;
                whole.display().to_string()
            }
            Origin::Arguments(_) => String::new(),
        };
        Ok(Boot { config, source, config_file, lock })
    }

    /// Reads the configuration without changing a file. Returns it with its texts and warnings.
    pub(crate) fn read(
        origin: &Origin,
        properties: &SystemProperties,
    ) -> Result<(Config, ConfigSource, Vec<Warning>), Failure> {
        let (name, text) = match origin {
            Origin::File(path) => (path.display().to_string(), read_configuration(path)?),
            Origin::Arguments(text) => (COMMAND_LINE.to_string(), text.clone()),
        };
        let my_id = match Config::data_dir(&text) {
            Some(data_dir) => read_if_there(&Path::new(&data_dir).join("myid"))?,
            None => None,
        };
        let dynamic = match Config::dynamic_file(&text) {
            Some(file) => {
                let text = read_configuration(Path::new(&file))?;
                Some((file, text))
            }
            None => None,
        };
        let next = match &dynamic {
            Some(_) => {
                let name = format!("{name}.dynamic.next");
                read_if_there(Path::new(&name))?.map(|text| (name, text))
            }
            None => None,
        };
        let flags = properties.as_slice().to_vec();
        let source = ConfigSource { name, text, flags, my_id, dynamic, next };
        let invalid = |what: String| Failure::new(exit::INVALID_INVOCATION, what);
        let (config, mut warnings) = source.parse().map_err(|e| invalid(e.to_string()))?;
        if let Origin::File(path) = origin
            && config.quorum.reconfig_enabled
            && config.ensemble.is_some()
        {
            check_writable(path).map_err(invalid)?;
        }
        check_client_address(&config).map_err(invalid)?;
        warnings.extend(spelling::warnings(&source.name, &config));
        if config.quorum.multi_address && !properties.sets("zookeeper.multiAddress.enabled", "true")
        {
            let what = String::from(
                "multiAddress.enabled has an effect here; Apache ZooKeeper reads it as a property of \
                 the JVM only: start both with -Dzookeeper.multiAddress.enabled=true",
            );
            warnings.push(Warning { place: source.name.clone(), what });
        }
        Ok((config, source, warnings))
    }

    /// The id of this server (`myid`).
    pub(crate) fn id(&self) -> ServerId {
        self.config.my_id
    }

    /// The options of the disk machine.
    pub(crate) fn disk_options(&self) -> DiskOptions {
        let config_file = self.config.quorum.reconfig_enabled.then(|| self.config_file.clone());
        DiskOptions { config_file, ..node::disk_options(&self.config) }
    }

    /// The options of the store, with a new random key for its hashes.
    pub(crate) fn store_options(&self) -> StoreOptions {
        StoreOptions { hash_seed: fastrand::u64(..), ..node::store_options(&self.config) }
    }

    /// The number of other members.
    pub(crate) fn others(&self) -> u64 {
        self.config.ensemble.as_ref().map_or(0, |e| e.members.len().saturating_sub(1) as u64)
    }

    /// `autopurge.purgeInterval`.
    pub(crate) fn purge_every(&self) -> Option<Duration> {
        let hours = Some(self.config.storage.purge_interval_hours).filter(|h| *h > 0)?;
        Some(Duration::from_secs(hours.saturating_mul(3600)))
    }

    /// The addresses to listen at: `clientPortAddress` for clients, the server's own line (every
    /// address with `quorumListenOnAllIPs`) for its peers.
    pub(crate) fn listen(&self) -> Vec<Listen> {
        let config = &self.config;
        let mut listens = Vec::new();
        if let Some(number) = config.network.client_port {
            let host = config.network.client_port_address.clone();
            let host = host.filter(|host| !HostPort::new(host, number).is_wildcard());
            let backlog = Some(config.network.listen_backlog).filter(|n| *n > 0);
            listens.push(Listen { port: Port::Client, host, number, backlog, attempts: 1 });
        }
        // 0 is without limit.
        let attempts = match config.network.election_bind_retries {
            0 => u32::MAX,
            retries => retries,
        };
        let own = config.ensemble.as_ref().and_then(|e| e.members.get(&config.my_id));
        for address in own.map(|m| m.addresses.as_slice()).unwrap_or_default() {
            for (port, at) in [(Port::Election, &address.election), (Port::Quorum, &address.quorum)]
            {
                let is_everywhere = config.network.quorum_listen_on_all_ips || at.is_wildcard();
                let host = (!is_everywhere).then(|| at.host.to_string());
                let at = Listen { port, host, number: at.port, backlog: None, attempts };
                // Several addresses with one port are one wildcard.
                if !listens.contains(&at) {
                    listens.push(at);
                }
            }
        }
        listens
    }
}

/// Creates a directory and its missing parents, and syncs each parent.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make_dir(above)?;
    }
    match DirBuilder::new().mode(files::DIRECTORY_MODE).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        other => other?,
    }
    files::sync_dir(above.unwrap_or(Path::new(".")))
}

/// Whether an error means that the file system cannot lock files.
fn has_no_locks(e: &io::Error) -> bool {
    files::is_unsupported(e) || Errno::from_io_error(e) == Some(Errno::NOLCK)
}

/// Writes and removes a file of the size of a first transaction: a server that cannot write must
/// not start.
fn probe(dir: &Path) -> Result<(), Failure> {
    let inner = dir.join(VERSION_DIR);
    let path = if inner.is_dir() { inner } else { dir.to_path_buf() }.join("zabkeeper.probe");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(files::FILE_MODE);
    let written = options.open(&path).and_then(|mut file| file.write_all(&[1; PROBE_BYTES]));
    let removed = fs::remove_file(&path);
    match written.and(removed) {
        Ok(()) => Ok(()),
        Err(e)
            if [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&e.kind()) =>
        {
            let what = format!(
                "{}: {e}: the server cannot write here; free space in the file system, then start \
                 the server again",
                dir.display()
            );
            Err(Failure::new(exit::ERROR_TAKING_SNAPSHOT, what))
        }
        Err(e) => Err(unusable(&path, &e)),
    }
}

/// A reconfiguration writes files beside `zoo.cfg` and rewrites `zoo.cfg` itself.
fn check_writable(path: &Path) -> Result<(), String> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for place in [path, dir] {
        rustix::fs::access(place, Access::WRITE_OK).map_err(|e| {
            let (place, e) = (place.display(), io::Error::from(e));
            format!(
                "{place}: {e}: with reconfigEnabled=true the configuration and its directory must \
                 be writable"
            )
        })?;
    }
    Ok(())
}

/// Checks that `clientPortAddress` resolves.
fn check_client_address(config: &Config) -> Result<(), String> {
    let (Some(host), Some(port)) =
        (&config.network.client_port_address, config.network.client_port)
    else {
        return Ok(());
    };
    if types::literal(host).is_some() {
        return Ok(());
    }
    match (host.as_str(), port).to_socket_addrs().map(|mut all| all.next()) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(format!("clientPortAddress={host}: {}", no_address())),
        Err(e) => Err(format!(
            "clientPortAddress={host}: expected an address, or a host name that resolves to one: {e}"
        )),
    }
}

fn read_configuration(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|e| {
        let what = match e.kind() {
            io::ErrorKind::IsADirectory => " (expected the file itself, as in DIR/zoo.cfg)",
            io::ErrorKind::NotFound => " (expected a configuration file)",
            io::ErrorKind::PermissionDenied => " (the server's user must be able to read it)",
            _ => "",
        };
        Failure::new(exit::INVALID_INVOCATION, format!("{}: {e}{what}", path.display()))
    })?;
    Ok(decode(&bytes))
}

fn read_if_there(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(decode(&bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unusable(path, &e)),
    }
}

fn unusable(path: &Path, e: &io::Error) -> Failure {
    let advice = match e.kind() {
        io::ErrorKind::PermissionDenied => {
            " (the server's user must be able to read and write here)"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            " (expected a directory, found a file)"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            " (the file system is mounted read-only: mount it for writing, or correct dataDir and \
             dataLogDir)"
        }
        io::ErrorKind::StorageFull => " (the file system is full: free space in it)",
        _ => "",
    };
    let what = format!("{}: {e}{advice}", path.display());
    Failure::new(exit::UNABLE_TO_ACCESS_DATADIR, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_files_are_reported_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        let load = |path: &Path| Boot::load(path, &SystemProperties::default()).unwrap_err();
        let missing = load(&path);
        assert_eq!(missing.code, exit::INVALID_INVOCATION);
        assert!(missing.message.ends_with("(expected a configuration file)"), "{missing}");
        assert!(load(dir.path()).message.contains("as in DIR/zoo.cfg"));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for data in [file.clone(), file.join("below")] {
            fs::write(&path, format!("dataDir={}\nclientPort=1\n", data.display())).unwrap();
            let failure = load(&path);
            assert_eq!(failure.code, exit::UNABLE_TO_ACCESS_DATADIR);
            assert!(failure.message.contains("expected a directory, found a file"), "{failure}");
        }
    }

    #[test]
    fn multi_address_only_in_zoo_cfg_is_warned_about() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        let key = "multiAddress.enabled=true";
        let (data, on) = (dir.path().display(), format!("zookeeper.{key}"));
        let text = format!("dataDir={data}\nclientPort=1\n");
        let read = |text: &str, given: &[String]| {
            fs::write(&path, text).unwrap();
            let (config, _, warnings) = Boot::read(
                &Origin::File(path.clone()),
                &SystemProperties::collect(|_| None, given),
            )
            .unwrap();
            (config.quorum.multi_address, warnings.len())
        };
        let in_file = format!("{text}{key}\n");
        assert_eq!(read(&text, &[]), (false, 0));
        assert_eq!(read(&in_file, &[]), (true, 1));
        assert_eq!(read(&in_file, core::slice::from_ref(&on)), (true, 0));
        assert_eq!(read(&text, &[on]), (true, 0));
    }

    #[test]
    fn each_store_has_its_own_hash_key() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("dataDir={}\nclientPort=2181\n", dir.path().display());
        let path = dir.path().join("zoo.cfg");
        fs::write(&path, text).unwrap();
        let boot = Boot::load(&path, &SystemProperties::default()).unwrap();
        assert_ne!(boot.store_options().hash_seed, boot.store_options().hash_seed);
    }
}
