//! An ensemble in this process, for tests of programs that use one.

mod expiry;
mod survey;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zabkeeper_core::types::SessionId;

use self::expiry::Attempt;
use self::survey::Survey;
use crate::boot::Boot;
use crate::driver::{Inbox, Message};
use crate::exit::Failure;
use crate::layout::{Layout, LayoutOptions};
use crate::program;
use crate::threads::Threads;

// Short ticks with many of them until a timeout: a busy machine must not bring an ensemble down. No
// fsync: only threads are killed here, and their files survive.
const SETTINGS: [(&str, &str); 12] = [
    ("tickTime", "100"),
    ("initLimit", "100"),
    ("syncLimit", "50"),
    ("minSessionTimeout", "200"),
    ("maxSessionTimeout", "60000"),
    ("maxClientCnxns", "0"),
    ("standaloneEnabled", "false"),
    ("fastleader.minNotificationInterval", "40"),
    ("fastleader.maxNotificationInterval", "200"),
    ("preAllocSize", "64"),
    ("4lw.commands.whitelist", "*"),
    ("forceSync", "no"),
];
/// Notifications arrive soon on the loopback interface.
const FINALIZE_WAIT_MS: u64 = 25;
/// Between two surveys of the servers.
const SURVEY_INTERVAL: Duration = Duration::from_millis(2);
/// The timeout of an answer of a server.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// An ensemble whose servers are threads of this process, with sockets on 127.0.0.1 and files.
/// Dropping it stops the servers and removes their files.
///
/// The servers have the ids (`myid`) 1, 2, ... Several threads may call all methods at the same
/// time.
///
/// ```
/// use zabkeeper_std::TestEnsemble;
/// # use std::io::{Read, Write};
/// # /// A client that opens a session and does nothing else: its connection and its id.
/// # fn connect(at: std::net::SocketAddr) -> (std::net::TcpStream, i64) {
/// #     let mut stream = std::net::TcpStream::connect(at).unwrap();
/// #     let mut request = [0; 49];
/// #     request[3] = 45; // the frame's length
/// #     request[18] = 0x75; // the timeout: 30,000 ms
/// #     request[19] = 0x30;
/// #     request[31] = 16; // the password's length
/// #     stream.write_all(&request).unwrap();
/// #     let mut reply = [0; 41];
/// #     stream.read_exact(&mut reply).unwrap();
/// #     (stream, i64::from_be_bytes(reply[12..20].try_into().unwrap()))
/// # }
///
/// let ensemble = TestEnsemble::start(3)?;
/// let clients_connect_to = ensemble.connect_string(); // 127.0.0.1:…,127.0.0.1:…,127.0.0.1:…
/// # assert_eq!(clients_connect_to.split(',').count(), 3);
///
/// // The leader is killed, the others elect a new one, and the old one restarts.
/// let leader = ensemble.leader()?;
/// ensemble.kill(leader)?;
/// assert_ne!(ensemble.leader()?, leader);
/// ensemble.restart(leader)?;
///
/// // A server is partitioned: its clients are disconnected, and can reconnect after `heal`.
/// ensemble.partition(&[2])?;
/// assert_ne!(ensemble.leader()?, 2);
/// ensemble.heal()?;
///
/// // A session expires. Its client is notified when it reconnects.
/// # let (connection, session_id) = connect(ensemble.address(2)?);
/// ensemble.expire(session_id)?;
/// # drop(connection);
///
/// drop(ensemble); // stops the servers and removes their files
/// # Ok::<(), zabkeeper_std::ensemble::EnsembleError>(())
/// ```
#[derive(Debug)]
pub struct TestEnsemble {
    /// `None` while the ensemble is being dropped.
    layout: Option<Layout>,
    patience: Duration,
    servers: Mutex<Servers>,
}

#[derive(Debug)]
struct Servers {
    /// In order of their ids, from 1; `None` for a server that does not run.
    running: Vec<Option<RunningServer>>,
    /// One side of a partition; the other servers are the other side.
    away: Vec<usize>,
}

#[derive(Debug)]
struct RunningServer {
    inbox: Inbox,
    thread: JoinHandle<()>,
    ended: Receiver<Result<(), Failure>>,
}

/// An error of a [`TestEnsemble`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// Files or ports of the ensemble are not available.
    #[error("cannot create the ensemble: {0}")]
    Layout(Failure),
    /// A server could not start, or a fault has ended it.
    #[error("server {server}: {failure}")]
    Failed {
        /// The id of the server.
        server: usize,
        /// The reason.
        failure: Failure,
    },
    /// No server has this id.
    #[error("no server {0}: the ids begin with 1")]
    NoSuchServer(usize),
    /// The server has been killed or stopped.
    #[error("server {0} is not running")]
    NotRunning(usize),
    /// The server has been neither killed nor stopped.
    #[error("server {0} is already running")]
    Running(usize),
    /// No connected quorum of the servers is running.
    #[error("no quorum: too few servers are running and connected")]
    NoQuorum,
    /// An operation took longer than [`Builder::patience`].
    #[error("not within {within:?}: {what}")]
    TooSlow {
        /// The time limit.
        within: Duration,
        /// The expected servers.
        what: String,
    },
    /// The session has ended, or has never existed.
    #[error("unknown session {0:#x}: it has ended, or has never existed")]
    UnknownSession(i64),
}

/// The options of a [`TestEnsemble`].
#[derive(Clone, Debug)]
pub struct Builder {
    options: LayoutOptions,
    patience: Duration,
}

impl Builder {
    /// The number of servers; the default is 3.
    pub fn servers(mut self, servers: u16) -> Builder {
        self.options.servers = servers;
        self
    }

    /// A setting in every server's `zoo.cfg`. It replaces the default of a test ensemble
    /// (`tickTime=100`, `minSessionTimeout=200`, `forceSync=no`, ...).
    pub fn setting(mut self, key: &str, value: &str) -> Builder {
        self.options.settings.retain(|(known, _)| known != key);
        self.options.settings.push((key.into(), value.into()));
        self
    }

    /// The directory of the files, which are kept; the default is a temporary directory.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Builder {
        self.options.dir = Some(dir.into());
        self
    }

    /// The client port of the first server, the others use the ports after it; the default is any
    /// free port for each.
    pub fn client_port(mut self, port: u16) -> Builder {
        self.options.client_port = Some(port);
        self
    }

    /// The time limit of all waiting; the default is 20 s.
    pub fn patience(mut self, patience: Duration) -> Builder {
        self.patience = patience;
        self
    }

    /// Starts all servers; returns when they serve clients.
    ///
    /// # Errors
    /// Ports or files are not available, or the configuration is invalid.
    pub fn start(self) -> Result<TestEnsemble, EnsembleError> {
        let layout = Layout::create(&self.options).map_err(EnsembleError::Layout)?;
        let running = layout.nodes.iter().map(|_| None).collect();
        let servers = Mutex::new(Servers { running, away: Vec::new() });
        let ensemble = TestEnsemble { layout: Some(layout), patience: self.patience, servers };
        for server in ensemble.servers() {
            ensemble.run(&mut ensemble.lock(), server)?;
        }
        ensemble.wait_until_serving()?;
        Ok(ensemble)
    }
}

impl TestEnsemble {
    /// Starts an ensemble of `servers` servers; returns when they serve clients.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start(servers: u16) -> Result<TestEnsemble, EnsembleError> {
        TestEnsemble::builder().servers(servers).start()
    }

    /// Options for [`Builder::start`].
    pub fn builder() -> Builder {
        let settings = SETTINGS.map(|(key, value)| (key.into(), value.into())).into();
        let options = LayoutOptions { servers: 3, dir: None, client_port: None, settings };
        Builder { options, patience: Duration::from_secs(20) }
    }

    /// The addresses for clients, separated by commas.
    pub fn connect_string(&self) -> String {
        self.layout.as_ref().map(Layout::connect_string).unwrap_or_default()
    }

    /// The ids of the servers.
    pub fn servers(&self) -> RangeInclusive<usize> {
        1..=self.layout.as_ref().map_or(0, |layout| layout.nodes.len())
    }

    /// The address for clients of a server.
    ///
    /// # Errors
    /// [`EnsembleError::NoSuchServer`].
    pub fn address(&self, server: usize) -> Result<SocketAddr, EnsembleError> {
        let node = self.layout.as_ref().and_then(|l| l.nodes.get(server.checked_sub(1)?));
        node.map(|node| node.client).ok_or(EnsembleError::NoSuchServer(server))
    }

    /// Whether a server has been neither killed nor stopped since its start.
    ///
    /// # Errors
    /// [`EnsembleError::NoSuchServer`].
    pub fn is_running(&self, server: usize) -> Result<bool, EnsembleError> {
        Ok(self.lock().slot(server)?.is_some())
    }

    /// Ends a server as `kill -9` does: in the middle of its work, without a message to its peers
    /// and clients. Acknowledged writes are in its files. Returns when the server has ended.
    ///
    /// # Errors
    /// The server does not run.
    pub fn kill(&self, server: usize) -> Result<(), EnsembleError> {
        self.end(server, Message::Kill)
    }

    /// Stops a server in order, as SIGTERM does. Returns when the server has ended.
    ///
    /// # Errors
    /// The server does not run, or a fault has ended it before.
    pub fn stop(&self, server: usize) -> Result<(), EnsembleError> {
        self.end(server, Message::Stop)
    }

    /// Restarts a server on its files and ports. Returns when it serves clients, or at once
    /// without a quorum.
    ///
    /// # Errors
    /// The server already runs, or cannot start.
    pub fn restart(&self, server: usize) -> Result<(), EnsembleError> {
        let mut servers = self.lock();
        if servers.slot(server)?.is_some() {
            return Err(EnsembleError::Running(server));
        }
        self.run(&mut servers, server)?;
        drop(servers);
        self.wait_until_serving()
    }

    /// Partitions the ensemble: these servers can reach each other, but none of the others, and
    /// vice versa. Connections between the sides break, new ones are refused; clients can reach all
    /// servers. Replaces an earlier partition.
    ///
    /// # Errors
    /// [`EnsembleError::NoSuchServer`].
    pub fn partition(&self, away: &[usize]) -> Result<(), EnsembleError> {
        let mut servers = self.lock();
        for server in away {
            servers.slot(*server)?;
        }
        servers.away = away.to_vec();
        self.apply_partition(&servers);
        Ok(())
    }

    /// Ends a partition. Returns when all running servers serve clients, or at once without a
    /// quorum.
    ///
    /// # Errors
    /// [`EnsembleError::TooSlow`].
    pub fn heal(&self) -> Result<(), EnsembleError> {
        self.partition(&[])?;
        self.wait_until_serving()
    }

    /// The id of the leader; waits until there is one.
    ///
    /// # Errors
    /// There is no quorum, or the election takes too long.
    pub fn leader(&self) -> Result<usize, EnsembleError> {
        let until = Instant::now() + self.patience;
        loop {
            let survey = self.survey()?;
            if let Some(leader) = survey.leader {
                return Ok(leader);
            }
            if !survey.quorum {
                return Err(EnsembleError::NoQuorum);
            }
            self.pause(until, || String::from("a server leads"))?;
        }
    }

    /// Waits until every running server that belongs to a connected quorum serves clients under one
    /// leader. Useful after [`TestEnsemble::kill`] and [`TestEnsemble::partition`], the only
    /// methods that do not wait for it.
    ///
    /// # Errors
    /// A server has failed, or the servers take too long.
    pub fn wait_until_serving(&self) -> Result<(), EnsembleError> {
        let until = Instant::now() + self.patience;
        loop {
            let survey = self.survey()?;
            if survey.waits_for.is_none() {
                return Ok(());
            }
            self.pause(until, || {
                let server = survey.waits_for.unwrap_or_default();
                format!("server {server} serves, under the one leader")
            })?;
        }
    }

    /// Expires a session, as after a silence of its client: its ephemeral nodes are deleted, its
    /// connection breaks, and a reconnecting client is notified of the expiry. `session` is the
    /// session id of the client. Returns when the session has ended.
    ///
    /// # Errors
    /// The session is unknown, or there is no leader.
    pub fn expire(&self, session: i64) -> Result<(), EnsembleError> {
        let until = Instant::now() + self.patience;
        let mut seen = false;
        loop {
            let leader = self.leader()?;
            match expiry::expire(self.address(leader)?, SessionId(session)) {
                Ok(Attempt::Ended) => return Ok(()),
                // An earlier attempt has ended the session, and its reply was lost.
                Ok(Attempt::Unknown) if seen => return Ok(()),
                Ok(Attempt::Unknown) => return Err(EnsembleError::UnknownSession(session)),
                // The client has moved the session meanwhile, or the leader changes.
                Ok(Attempt::Retry) => seen = true,
                Err(_broken) => {}
            }
            self.pause(until, || format!("session {session:#x} expires"))?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self, until: Instant, what: impl FnOnce() -> String) -> Result<(), EnsembleError> {
        if Instant::now() >= until {
            return Err(EnsembleError::TooSlow { within: self.patience, what: what() });
        }
        thread::sleep(SURVEY_INTERVAL);
        Ok(())
    }

    fn run(&self, servers: &mut Servers, server: usize) -> Result<(), EnsembleError> {
        let failed = |failure| EnsembleError::Failed { server, failure };
        let node = self.layout.as_ref().and_then(|l| l.nodes.get(server.checked_sub(1)?));
        let node = node.ok_or(EnsembleError::NoSuchServer(server))?;
        let mut boot = Boot::load(&node.config, &Default::default()).map_err(failed)?;
        boot.config.quorum.finalize_wait_ms = FINALIZE_WAIT_MS;
        let (sender, ended) = channel();
        let report = move |result| drop(sender.send(result));
        let (inbox, thread) =
            program::spawn::<Threads>(boot, None, || {}, report).map_err(failed)?;
        *servers.slot(server)? = Some(RunningServer { inbox, thread, ended });
        self.apply_partition(servers);
        Ok(())
    }

    fn end(&self, server: usize, how: Message) -> Result<(), EnsembleError> {
        let running = self.lock().slot(server)?.take();
        let running = running.ok_or(EnsembleError::NotRunning(server))?;
        running.inbox.put(how);
        running.join().map_err(|failure| EnsembleError::Failed { server, failure })
    }

    fn apply_partition(&self, servers: &Servers) {
        let Some(layout) = &self.layout else { return };
        for (server, running) in (1..).zip(&servers.running) {
            let Some(running) = running else { continue };
            let is_away = servers.away.contains(&server);
            let others = (1..).zip(&layout.nodes);
            let cut = others.filter(|(other, _)| servers.away.contains(other) != is_away);
            let cut = cut.flat_map(|(_, node)| node.peers.clone()).collect();
            running.inbox.put(Message::Partition(cut));
        }
    }

    fn survey(&self) -> Result<Survey, EnsembleError> {
        let mut servers = self.lock();
        let all = servers.running.len();
        let asked: Vec<_> = (1..)
            .zip(&servers.running)
            .filter_map(|(server, running)| {
                let (to, answer) = channel();
                running.as_ref()?.inbox.put(Message::Report(to));
                Some((server, answer))
            })
            .collect();
        let mut survey = Survey::default();
        for is_away in [false, true] {
            let side = asked.iter().filter(|(server, _)| servers.away.contains(server) == is_away);
            let side: Vec<_> = side.collect();
            if side.len() * 2 <= all {
                continue;
            }
            survey.quorum = true;
            let mut reports = Vec::new();
            for (server, answer) in side {
                match answer.recv_timeout(ANSWER_LIMIT) {
                    Ok(report) => reports.push((*server, report)),
                    Err(_) => survey.waits_for = Some(*server),
                }
            }
            survey.evaluate(&reports);
        }
        // A server that has failed ends the wait.
        for (server, slot) in (1..).zip(&mut servers.running) {
            if slot.as_ref().is_some_and(|running| running.thread.is_finished())
                && let Some(running) = slot.take()
                && let Err(failure) = running.join()
            {
                return Err(EnsembleError::Failed { server, failure });
            }
        }
        Ok(survey)
    }
}

impl Drop for TestEnsemble {
    fn drop(&mut self) {
        let servers = self.servers.get_mut().unwrap_or_else(PoisonError::into_inner);
        let running: Vec<RunningServer> =
            servers.running.iter_mut().filter_map(Option::take).collect();
        running.iter().for_each(|running| running.inbox.put(Message::Stop));
        for running in running {
            // No caller is left to receive a failure.
            let _ = running.join();
        }
        if let Some(Err(e)) = self.layout.take().map(Layout::remove) {
            tracing::warn!("cannot remove the temporary directory: {e}");
        }
    }
}

impl Servers {
    fn slot(&mut self, server: usize) -> Result<&mut Option<RunningServer>, EnsembleError> {
        let slot = server.checked_sub(1).and_then(|index| self.running.get_mut(index));
        slot.ok_or(EnsembleError::NoSuchServer(server))
    }
}

impl RunningServer {
    fn join(self) -> Result<(), Failure> {
        if self.thread.join().is_err() {
            let what = "the server has panicked; the message is on stderr";
            return Err(Failure::new(crate::exit::UNEXPECTED_ERROR, what));
        }
        self.ended.try_recv().unwrap_or(Ok(()))
    }
}
