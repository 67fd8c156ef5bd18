//! Servers on loopback, of whichever program, on the same ports, disk and `zoo.cfg`.

pub mod program;
pub mod tree_file;
pub mod usage;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

pub use self::program::{Kind, Program};
use self::usage::Usage;
use crate::load::{Failed, probe};
use crate::stop;

/// How long snapshots have to have been as they are.
const REST: Duration = Duration::from_millis(300);
/// How long an ensemble may take until it serves, and ...
const PATIENCE: Duration = Duration::from_secs(90);
/// ... for how many bytes of a snapshot each second more.
const BYTES_A_SECOND: u64 = 4 << 20;

/// Of an ensemble.
pub const MOST_MEMBERS: usize = 7;

/// Where members of an ensemble meet and serve; the same for all programs.
#[derive(Clone, Debug)]
pub struct Site {
    /// Data and logs are below it.
    pub dir: PathBuf,
    /// Client, quorum and election port of each member.
    ports: Vec<[u16; 3]>,
}

impl Site {
    /// For at most [`MOST_MEMBERS`]; their ports are free now.
    ///
    /// # Errors
    /// The directory cannot be made, or there are too few free ports.
    pub fn new(dir: &Path) -> Result<Site, Failed> {
        let told = |e| Failed(format!("{}: {e}", dir.display()));
        fs::create_dir_all(dir).map_err(told)?;
        let dir = dir.canonicalize().map_err(told)?;
        // Below the range from which the kernel takes ports for outgoing connections.
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        static SITES: AtomicU16 = AtomicU16::new(0);
        let offset = SITES.fetch_add(1, Ordering::Relaxed) % 32 * 64;
        let first = 20_000 + (std::process::id() % 8_000) as u16 + offset;
        let mut free = (first..32_000).filter(free);
        let mut next = || free.next().ok_or_else(|| Failed("no port is free".into()));
        let ports = (0..MOST_MEMBERS).map(|_| Ok([next()?, next()?, next()?]));
        let ports = ports.collect::<Result<_, Failed>>()?;
        Ok(Site { dir, ports })
    }

    fn servers(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|[client, ..]| SocketAddr::from(([127, 0, 0, 1], *client))).collect()
    }

    /// Whether so many members can have theirs now.
    fn ports_are_free(&self, members: usize) -> Result<(), Failed> {
        for port in self.ports.iter().take(members).flatten() {
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).map_err(|e| {
                Failed(format!("port {port} on 127.0.0.1 was free and is not any more: {e}"))
            })?;
        }
        Ok(())
    }

    /// A member's files.
    fn furnish(&self, member: usize, setup: &Setup, kind: Kind) -> io::Result<()> {
        let dir = self.member(member);
        let version2 = dir.join("data/version-2");
        fs::create_dir_all(&version2)?;
        if let Some(snapshot) = &setup.snapshot {
            tree_file::install(snapshot, &version2, kind)?;
        }
        fs::write(dir.join("data/myid"), format!("{}\n", member + 1))?;
        fs::write(dir.join("zoo.cfg"), self.zoo_cfg(member, setup))
    }

    fn zoo_cfg(&self, member: usize, setup: &Setup) -> String {
        let mut text = format!(
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\n\
             clientPortAddress=127.0.0.1\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n\
             admin.enableServer=false\nforceSync=yes\n{}",
            self.member(member).join("data").display(),
            self.ports[member][0],
            setup.extra,
        );
        if setup.members == 1 {
            return text;
        }
        for (at, [_, quorum, election]) in self.ports.iter().take(setup.members).enumerate() {
            text.push_str(&format!("server.{}=127.0.0.1:{quorum}:{election}\n", at + 1));
        }
        text
    }

    fn member(&self, member: usize) -> PathBuf {
        self.dir.join(format!("server{}", member + 1))
    }
}

/// What is not the same for every ensemble.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Lines for `zoo.cfg`.
    pub extra: String,
    /// A snapshot that all servers have from the beginning.
    pub snapshot: Option<PathBuf>,
    /// How many servers: one alone, or an ensemble.
    pub members: usize,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { extra: String::new(), snapshot: None, members: 3 }
    }
}

/// Running servers. Dropping them kills them, and removes what they have written.
#[derive(Debug)]
pub struct Ensemble {
    site: Site,
    program: Program,
    children: Vec<Child>,
    patience: Duration,
    /// From the start of the processes to the first request that was served.
    pub started_in: Duration,
}

impl Ensemble {
    /// Starts servers and waits until all of them serve.
    ///
    /// # Errors
    /// They cannot be started, or do not serve in time.
    pub fn start(program: &Program, site: &Site, setup: &Setup) -> Result<Ensemble, Failed> {
        let snapshot = setup.snapshot.as_ref().map(fs::metadata).transpose()?;
        let bytes = snapshot.map_or(0, |about| about.len());
        let mut ensemble = Ensemble {
            site: site.clone(),
            program: program.clone(),
            children: Vec::new(),
            patience: PATIENCE + Duration::from_secs(bytes / BYTES_A_SECOND),
            started_in: Duration::ZERO,
        };
        let members = setup.members.clamp(1, MOST_MEMBERS);
        for member in 0..members {
            let dir = site.member(member);
            drop(fs::remove_dir_all(&dir));
            site.furnish(member, setup, program.kind)
                .map_err(|e| Failed(format!("the files of a server in {}: {e}", dir.display())))?;
        }
        site.ports_are_free(members)?;
        let begun = Instant::now();
        for member in 0..members {
            let child = ensemble.spawn(member)?;
            ensemble.children.push(child);
        }
        ensemble.wait(|ensemble| ensemble.servers().into_iter().any(|at| probe(at).is_ok()))?;
        ensemble.started_in = begun.elapsed();
        ensemble.wait_for_all()?;
        Ok(ensemble)
    }

    fn wait_for_all(&mut self) -> Result<(), Failed> {
        self.wait(|ensemble| (0..ensemble.children.len()).all(|n| ensemble.mode(n).is_some()))
    }

    /// Waits until no snapshot is being written: servers write one when they begin.
    pub fn settle(&self) {
        let end = Instant::now() + self.patience;
        let mut seen = self.snapshots();
        while Instant::now() < end && stop::signal().is_none() {
            thread::sleep(REST);
            let now = self.snapshots();
            if std::mem::replace(&mut seen, now) == seen {
                return;
            }
        }
    }

    /// The snapshots of all members, how long they are, and when they were written.
    pub fn snapshots(&self) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
        let dir = |member| self.site.member(member).join("data/version-2");
        let dirs = (0..self.children.len()).filter_map(|member| fs::read_dir(dir(member)).ok());
        let snapshot = |entry: fs::DirEntry| {
            let named = entry.file_name().to_string_lossy().contains("snapshot");
            let about = entry.metadata().ok().filter(|_| named)?;
            Some((entry.path(), (about.len(), about.modified().ok())))
        };
        dirs.flatten().flatten().filter_map(snapshot).collect()
    }

    /// The member that leads now.
    pub fn leader(&self) -> Option<usize> {
        (0..self.children.len()).find(|n| self.mode(*n).is_some_and(|mode| mode == "leader"))
    }

    /// Kills a member at once.
    ///
    /// # Errors
    /// It is not there.
    pub fn kill(&mut self, member: usize) -> Result<(), Failed> {
        forget(self.children[member].id());
        self.children[member].kill()?;
        Ok(())
    }

    /// Starts a member that was killed, and waits until all serve.
    ///
    /// # Errors
    /// It cannot be started, or they do not serve in time.
    pub fn restart(&mut self, member: usize) -> Result<(), Failed> {
        self.children[member].wait()?;
        self.children[member] = self.spawn(member)?;
        self.wait_for_all()
    }

    fn spawn(&self, member: usize) -> Result<Child, Failed> {
        let dir = self.site.member(member);
        let log = File::options().create(true).append(true).open(dir.join("server.log"))?;
        // Whoever stops this finds it among those that run, or it does not run.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        stop::check()?;
        let child = self
            .program
            .command(&dir)?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|e| Failed(format!("{}: {e}", self.program.kind)))?;
        running.push(child.id());
        Ok(child)
    }

    /// `leader`, `follower`, or nothing while it does not serve.
    pub fn mode(&self, member: usize) -> Option<String> {
        let answer = four_letters(self.site.servers()[member], "srvr").ok()?;
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "))?;
        Some(mode.to_owned())
    }

    /// What the processes have used so far, one for each.
    pub fn usage(&self) -> Vec<Usage> {
        self.children.iter().map(|child| Usage::of(child.id())).collect()
    }

    /// Where the members serve clients.
    pub fn servers(&self) -> Vec<SocketAddr> {
        let mut servers = self.site.servers();
        servers.truncate(self.children.len().max(1));
        servers
    }

    fn wait(&mut self, done: impl Fn(&Ensemble) -> bool) -> Result<(), Failed> {
        let end = Instant::now() + self.patience;
        loop {
            stop::check()?;
            // Whoever answers at the port of one that has ended is somebody else.
            for (member, child) in self.children.iter_mut().enumerate() {
                if let Some(status) = child.try_wait()? {
                    return Err(self.trouble(member, &format!("ended with {status}")));
                }
            }
            if done(self) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(self.trouble(0, "does not serve"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// An error, and what the servers that have ended have to say to it.
    #[must_use]
    pub fn explain(&mut self, error: Failed) -> Failed {
        let mut what = error.0;
        for member in 0..self.children.len() {
            if let Ok(Some(status)) = self.children[member].try_wait() {
                let ended = self.trouble(member, &format!("ended with {status}"));
                what = format!("{what}\n{ended}");
            }
        }
        Failed(what)
    }

    /// What a server has to say to that.
    fn trouble(&self, member: usize, what: &str) -> Failed {
        let log = fs::read_to_string(self.site.member(member).join("server.log"));
        let log = log.unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(10).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        let kind = self.program.kind;
        let said = format!("server {} of {kind} {what}\n{}", member + 1, last.join("\n"));
        Failed(said.trim_end().to_owned())
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
            forget(child.id());
        }
        for member in 0..self.site.ports.len() {
            drop(fs::remove_dir_all(self.site.member(member)));
        }
    }
}

/// Asks a server with one of the four-letter words.
///
/// # Errors
/// It cannot be reached, or says nothing for a second.
pub fn four_letters(server: SocketAddr, word: &str) -> std::io::Result<String> {
    let timeout = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The servers that run now.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn forget(pid: u32) {
    if let Ok(mut running) = RUNNING.lock() {
        running.retain(|other| *other != pid);
    }
}

/// Kills every server that was started here and still runs: for whoever ends this process.
pub fn kill_all() {
    let Ok(running) = RUNNING.lock() else { return };
    for pid in running.iter() {
        if let Some(pid) = rustix::process::Pid::from_raw(*pid as i32) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Runs a command to its end; what it said last, if it failed.
fn run_to_end(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut lines = said.lines();
    let line = lines.find(|line| line.starts_with("error")).or_else(|| said.lines().last());
    Err(line.map_or_else(|| format!("{name}: {}", output.status), str::to_owned))
}
