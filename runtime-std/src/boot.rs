//! Start-up: `zoo.cfg`, `myid` and the dynamic file are read, directories are made and locked.

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

/// The log's first piece: header, transaction, and the zeros behind it.
const PROBE_BYTES: usize = 68 << 10;

/// A server that is ready to start. Its data directory is locked as long as this, or the
/// [`Lock`] taken out of it, lives.
#[derive(Debug)]
pub struct Boot {
    /// Its configuration.
    pub config: Config,
    /// The texts that say so.
    pub source: ConfigSource,
    /// The file of it that changes when the members do, as a whole path.
    config_file: String,
    /// Keeps others out of its data directory.
    pub lock: Lock,
}

/// What stands in messages for a file, where there is none.
const COMMAND_LINE: &str = "command line";

/// Where a configuration comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A `zoo.cfg`.
    File(PathBuf),
    /// The words of a command line, as lines of a `zoo.cfg`.
    Words {
        /// The lines.
        text: String,
    },
}

impl Origin {
    /// A file, or `port dataDir [tickTime] [maxClientCnxns]` (`ZooKeeperServerMain`).
    pub fn of_words(words: &[OsString]) -> Origin {
        const KEYS: [&str; 4] = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
        match words {
            [file] => Origin::File(PathBuf::from(file)),
            words => {
                let mut text = String::new();
                for (key, word) in KEYS.iter().zip(words) {
                    // A backslash and a blank at the beginning would be read as something else.
                    let value = word.to_string_lossy().replace('\\', "\\\\");
                    text += &format!("{key}=\\{value}\n");
                }
                if words.len() < KEYS.len() {
                    // There it is not limited then.
                    text += "maxClientCnxns=0\n";
                }
                Origin::Words { text }
            }
        }
    }
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// What for.
    pub port: Port,
    /// A name or an address; none means every address of this machine.
    pub host: Option<String>,
    /// The TCP port.
    pub number: u16,
    /// How many connections may wait to be accepted; none means as many as the host likes.
    pub backlog: Option<i32>,
    /// How often to try, a second apart (`electionPortBindRetry`).
    pub attempts: u32,
}

impl Listen {
    /// As a member's line says. A wildcard is every address.
    pub fn at(port: Port, at: &HostPort, backlog: Option<i32>) -> Listen {
        let host = (!at.is_wildcard()).then(|| at.host.to_string());
        Listen { port, host, number: at.port, backlog, attempts: 1 }
    }

    /// Whether both listen for the same at one address.
    pub fn is_at(&self, other: &Listen) -> bool {
        (self.port, &self.host, self.number) == (other.port, &other.host, other.number)
    }
}

/// `dataDir/zabkeeper.lock`, held by one process at a time.
#[derive(Debug)]
pub struct Lock(File);

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
                    "{}: its file system cannot lock files ({e}): nothing keeps a second server out \
                     of this directory",
                    path.display()
                );
                Ok(Lock(file))
            }
            Err(TryLockError::Error(e)) => Err(unusable(&path, &e)),
        }
    }

    /// Lets others in.
    pub fn release(self) {
        // The lock goes with the file, whatever this says.
        let _ = self.0.unlock();
    }
}

impl Boot {
    /// Reads the configuration at `path` and all that it leads to, and makes the directories.
    pub fn load(path: &Path, properties: &SystemProperties) -> Result<Boot, Failure> {
        Boot::load_from(&Origin::File(path.to_path_buf()), properties)
    }

    /// The same of a configuration from anywhere.
    pub fn load_from(origin: &Origin, properties: &SystemProperties) -> Result<Boot, Failure> {
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
            Origin::Words { .. } => String::new(),
        };
        Ok(Boot { config, source, config_file, lock })
    }

    /// Reads the configuration and changes nothing: what a server would start with, and what
    /// may not be meant so.
    pub fn read(
        origin: &Origin,
        properties: &SystemProperties,
    ) -> Result<(Config, ConfigSource, Vec<Warning>), Failure> {
        let (name, text) = match origin {
            Origin::File(path) => (path.display().to_string(), read_configuration(path)?),
            Origin::Words { text } => (COMMAND_LINE.to_string(), text.clone()),
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
                "multiAddress.enabled counts here; Apache ZooKeeper takes it as a property of the \
                 JVM only: give both -Dzookeeper.multiAddress.enabled=true",
            );
            warnings.push(Warning { place: source.name.clone(), what });
        }
        Ok((config, source, warnings))
    }

    /// This server's number.
    pub fn id(&self) -> ServerId {
        self.config.my_id
    }

    /// Options of its disk machine.
    pub fn disk_options(&self) -> DiskOptions {
        let config_file = self.config.quorum.reconfig_enabled.then(|| self.config_file.clone());
        DiskOptions { config_file, ..node::disk_options(&self.config) }
    }

    /// Options of its store; hashes have another key each time.
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions { hash_seed: fastrand::u64(..), ..node::store_options(&self.config) }
    }

    /// How many other servers there are.
    pub fn others(&self) -> u64 {
        self.config.ensemble.as_ref().map_or(0, |e| e.members.len().saturating_sub(1) as u64)
    }

    /// `autopurge.purgeInterval`.
    pub fn purge_every(&self) -> Option<Duration> {
        let hours = Some(self.config.storage.purge_interval_hours).filter(|h| *h > 0)?;
        Some(Duration::from_secs(hours.saturating_mul(3600)))
    }

    /// Where it listens: for clients at `clientPortAddress`, for its peers at its own address
    /// (all with `quorumListenOnAllIPs`).
    pub fn listen(&self) -> Vec<Listen> {
        let config = &self.config;
        let mut listens = Vec::new();
        if let Some(number) = config.network.client_port {
            let host = config.network.client_port_address.clone();
            let host = host.filter(|host| !HostPort::new(host, number).is_wildcard());
            let backlog = Some(config.network.listen_backlog).filter(|n| *n > 0);
            listens.push(Listen { port: Port::Client, host, number, backlog, attempts: 1 });
        }
        // 0 means for ever.
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
                // With all addresses there is one.
                if !listens.contains(&at) {
                    listens.push(at);
                }
            }
        }
        listens
    }
}

/// Makes a directory and what is missing above it, each durable in the one above.
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

/// Whether an error says that a file system has no locks to give.
fn has_no_locks(e: &io::Error) -> bool {
    files::is_unsupported(e) || Errno::from_io_error(e) == Some(Errno::NOLCK)
}

/// Tries to write what a first transaction would: a server that cannot does not begin to serve.
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
                "{}: {e}: nothing can be written there; free space in the file system, then start \
                 the server again",
                dir.display()
            );
            Err(Failure::new(exit::ERROR_TAKING_SNAPSHOT, what))
        }
        Err(e) => Err(unusable(&path, &e)),
    }
}

/// Members that change are written beside `zoo.cfg` and into it.
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

/// A name that has no address will not have one in a moment.
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
        Err(e) => {
            Err(format!("clientPortAddress={host}: expected an address, or a name of one: {e}"))
        }
    }
}

fn read_configuration(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|e| {
        let what = match e.kind() {
            io::ErrorKind::IsADirectory => " (expected the file itself, as in DIR/zoo.cfg)",
            io::ErrorKind::NotFound => " (expected a configuration file)",
            io::ErrorKind::PermissionDenied => {
                " (the user that this server runs as has to be able to read it)"
            }
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
    let cure = match e.kind() {
        io::ErrorKind::PermissionDenied => {
            " (the user that this server runs as has to be able to read and write there)"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            " (a file stands where a directory has to be)"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            " (the file system is mounted read-only: mount it for writing, or correct dataDir and \
             dataLogDir)"
        }
        io::ErrorKind::StorageFull => " (the file system is full: free space in it)",
        _ => "",
    };
    let what = format!("{}: {e}{cure}", path.display());
    Failure::new(exit::UNABLE_TO_ACCESS_DATADIR, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told_with_what_to_do() {
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
            assert!(failure.message.contains("a file stands where"), "{failure}");
        }
    }

    #[test]
    fn several_addresses_by_the_file_alone_are_warned_of() {
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
    fn no_two_loaded_trees_hash_names_with_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("dataDir={}\nclientPort=2181\n", dir.path().display());
        let path = dir.path().join("zoo.cfg");
        fs::write(&path, text).unwrap();
        let boot = Boot::load(&path, &SystemProperties::default()).unwrap();
        assert_ne!(boot.store_options().hash_seed, boot.store_options().hash_seed);
    }
}
