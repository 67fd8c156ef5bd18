//! An ensemble in this process, for the tests of those who use one.

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

// Ticks are short, and how many of them others are waited for is long: a machine with much else to
// do shall not bring an ensemble down. No fsync: what is killed here is a thread, and its files
// stay.
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
/// On the loopback interface no vote takes long.
const FINALIZE_WAIT_MS: u64 = 25;
/// Between two looks at the servers.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// For one answer of a server.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Servers of one ensemble on threads of this process, with real sockets on 127.0.0.1 and real
/// files. Dropping it stops them, and removes their files.
///
/// They are named by their numbers in ZooKeeper's sense (`myid`): from 1 on. All methods may be
/// called by several threads at once.
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
/// // A leader dies, and comes back. The others have chosen a new one meanwhile.
/// let leader = ensemble.leader()?;
/// ensemble.kill(leader)?;
/// assert_ne!(ensemble.leader()?, leader);
/// ensemble.restart(leader)?;
///
/// // One server is cut off from the others: its clients lose it, and come back to it later.
/// ensemble.partition(&[2])?;
/// assert_ne!(ensemble.leader()?, 2);
/// ensemble.heal()?;
///
/// // A session expires. Its client is told when it has reconnected.
/// # let (connection, session_id) = connect(ensemble.address(2)?);
/// ensemble.expire(session_id)?;
/// # drop(connection);
///
/// drop(ensemble); // everything is gone
/// # Ok::<(), zabkeeper_std::ensemble::EnsembleError>(())
/// ```
#[derive(Debug)]
pub struct TestEnsemble {
    /// None once it is being dropped.
    layout: Option<Layout>,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By number, from 1 on; none for what does not run.
    running: Vec<Option<RunningServer>>,
    /// Cut off from all others: these are among themselves.
    away: Vec<usize>,
}

#[derive(Debug)]
struct RunningServer {
    inbox: Inbox,
    thread: JoinHandle<()>,
    ended: Receiver<Result<(), Failure>>,
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum EnsembleError {
    /// Files or ports of an ensemble could not be had.
    #[error("no ensemble: {0}")]
    Layout(Failure),
    /// A server could not start, or had to end.
    #[error("server {server}: {failure}")]
    Failed {
        /// Its number.
        server: usize,
        failure: Failure,
    },
    /// There is none with that number.
    #[error("there is no server {0}: they are numbered from 1 on")]
    NoSuchServer(usize),
    /// It has been killed or stopped.
    #[error("server {0} does not run")]
    NotRunning(usize),
    /// It has not been killed or stopped.
    #[error("server {0} runs already")]
    Running(usize),
    /// No quorum of the servers runs and can reach each other.
    #[error("no quorum of the servers runs and is connected: nobody can lead")]
    NoQuorum,
    /// It took longer than [`Builder::patience`].
    #[error("not within {within:?}: {what}")]
    TooSlow {
        /// How long was waited.
        within: Duration,
        /// For what.
        what: String,
    },
    /// It has ended, or never was.
    #[error("session {0:#x} is unknown: it has ended, or never was")]
    UnknownSession(i64),
}

/// How an ensemble is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    options: LayoutOptions,
    patience: Duration,
}

impl Builder {
    /// How many servers; 3 if nothing is said.
    pub fn servers(mut self, servers: u16) -> Builder {
        self.options.servers = servers;
        self
    }

    /// A line of every server's `zoo.cfg`, stronger than those of an ensemble by itself
    /// (`tickTime=100`, `minSessionTimeout=200`, `forceSync=no`, ...).
    pub fn setting(mut self, key: &str, value: &str) -> Builder {
        self.options.settings.retain(|(known, _)| known != key);
        self.options.settings.push((key.into(), value.into()));
        self
    }

    /// Where its files are, and stay; if nothing is said, in a temporary directory.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Builder {
        self.options.dir = Some(dir.into());
        self
    }

    /// The first server's client port, the others take those after it; if nothing is said, any
    /// that are free.
    pub fn client_port(mut self, port: u16) -> Builder {
        self.options.client_port = Some(port);
        self
    }

    /// How long to wait for servers that are to serve; 20 seconds if nothing is said.
    pub fn patience(mut self, patience: Duration) -> Builder {
        self.patience = patience;
        self
    }

    /// Starts all servers; returns when they serve clients.
    ///
    /// # Errors
    /// There are no ports or files, or a server cannot use its configuration.
    pub fn start(self) -> Result<TestEnsemble, EnsembleError> {
        let layout = Layout::make(&self.options).map_err(EnsembleError::Layout)?;
        let running = layout.nodes.iter().map(|_| None).collect();
        let state = Mutex::new(State { running, away: Vec::new() });
        let ensemble = TestEnsemble { layout: Some(layout), patience: self.patience, state };
        for server in ensemble.servers() {
            ensemble.run(&mut ensemble.lock(), server)?;
        }
        ensemble.wait_until_serving()?;
        Ok(ensemble)
    }
}

impl TestEnsemble {
    /// So many servers; returns when they serve clients.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start(servers: u16) -> Result<TestEnsemble, EnsembleError> {
        TestEnsemble::builder().servers(servers).start()
    }

    /// To say more than how many.
    pub fn builder() -> Builder {
        let settings = SETTINGS.map(|(key, value)| (key.into(), value.into())).into();
        let options = LayoutOptions { servers: 3, dir: None, client_port: None, settings };
        Builder { options, patience: Duration::from_secs(20) }
    }

    /// For clients: every server's address, separated by commas.
    pub fn connect_string(&self) -> String {
        self.layout.as_ref().map(Layout::connect_string).unwrap_or_default()
    }

    /// The servers' numbers.
    pub fn servers(&self) -> RangeInclusive<usize> {
        1..=self.layout.as_ref().map_or(0, |layout| layout.nodes.len())
    }

    /// Where the clients of a server come.
    ///
    /// # Errors
    /// There is none with that number.
    pub fn address(&self, server: usize) -> Result<SocketAddr, EnsembleError> {
        let node = self.layout.as_ref().and_then(|l| l.nodes.get(server.checked_sub(1)?));
        node.map(|node| node.client).ok_or(EnsembleError::NoSuchServer(server))
    }

    /// Whether it has been started, and neither killed nor stopped since.
    ///
    /// # Errors
    /// There is none with that number.
    pub fn is_running(&self, server: usize) -> Result<bool, EnsembleError> {
        Ok(self.lock().slot(server)?.is_some())
    }

    /// Ends a server as `kill -9` does: in the middle of whatever it does, and nobody is told.
    /// What it has acknowledged is in its files. Returns when it is gone.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self, server: usize) -> Result<(), EnsembleError> {
        self.end(server, Message::Kill)
    }

    /// Ends a server in order, as SIGTERM does. Returns when it is gone.
    ///
    /// # Errors
    /// It does not run, or had failed before.
    pub fn stop(&self, server: usize) -> Result<(), EnsembleError> {
        self.end(server, Message::Stop)
    }

    /// Starts a server on its files and ports again. Returns when it serves; at once, if there
    /// is no quorum that it could serve with.
    ///
    /// # Errors
    /// It runs already, or cannot start.
    pub fn restart(&self, server: usize) -> Result<(), EnsembleError> {
        let mut state = self.lock();
        if state.slot(server)?.is_some() {
            return Err(EnsembleError::Running(server));
        }
        self.run(&mut state, server)?;
        drop(state);
        self.wait_until_serving()
    }

    /// From now on these servers can reach each other but none of the others, and the others
    /// none of these: connections between them break, new ones are refused. Clients still reach
    /// all of them. Ends an earlier partition.
    ///
    /// # Errors
    /// There is no server with such a number.
    pub fn partition(&self, away: &[usize]) -> Result<(), EnsembleError> {
        let mut state = self.lock();
        for server in away {
            state.slot(*server)?;
        }
        state.away = away.to_vec();
        self.tell_partition(&state);
        Ok(())
    }

    /// Ends a partition. Returns when all servers that run serve; at once, if they are no quorum.
    ///
    /// # Errors
    /// It takes too long.
    pub fn heal(&self) -> Result<(), EnsembleError> {
        self.partition(&[])?;
        self.wait_until_serving()
    }

    /// The number of the server that leads; waits until there is one.
    ///
    /// # Errors
    /// There can be none, or it takes too long.
    pub fn leader(&self) -> Result<usize, EnsembleError> {
        let until = Instant::now() + self.patience;
        loop {
            let survey = self.look()?;
            if let Some(leader) = survey.leader {
                return Ok(leader);
            }
            if !survey.quorum {
                return Err(EnsembleError::NoQuorum);
            }
            self.pause(until, || String::from("a server leads"))?;
        }
    }

    /// Waits until every server serves that runs and is connected to a quorum of them, under one
    /// leader. For after [`TestEnsemble::kill`] and [`TestEnsemble::partition`]; the others do it
    /// themselves.
    ///
    /// # Errors
    /// A server has failed, or it takes too long.
    pub fn wait_until_serving(&self) -> Result<(), EnsembleError> {
        let until = Instant::now() + self.patience;
        loop {
            let survey = self.look()?;
            if survey.waits_for.is_none() {
                return Ok(());
            }
            self.pause(until, || {
                let server = survey.waits_for.unwrap_or_default();
                format!("server {server} serves, under the one leader")
            })?;
        }
    }

    /// Ends a session as if its client had been silent for too long: its ephemeral nodes go, its
    /// connection breaks, and when the client has reconnected it is told that its session has
    /// expired. `session` is the id that the client was given. Returns when it is done.
    ///
    /// # Errors
    /// There is no such session, or no leader.
    pub fn expire(&self, session: i64) -> Result<(), EnsembleError> {
        let until = Instant::now() + self.patience;
        let mut seen = false;
        loop {
            let leader = self.leader()?;
            match expiry::expire(self.address(leader)?, SessionId(session)) {
                Ok(Attempt::Ended) => return Ok(()),
                // An attempt before has done it, whose answer was lost.
                Ok(Attempt::Unknown) if seen => return Ok(()),
                Ok(Attempt::Unknown) => return Err(EnsembleError::UnknownSession(session)),
                // Its client came between, or the leader changes.
                Ok(Attempt::Again) => seen = true,
                Err(_broken) => {}
            }
            self.pause(until, || format!("session {session:#x} expires"))?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self, until: Instant, what: impl FnOnce() -> String) -> Result<(), EnsembleError> {
        if Instant::now() >= until {
            return Err(EnsembleError::TooSlow { within: self.patience, what: what() });
        }
        thread::sleep(LOOK_EVERY);
        Ok(())
    }

    fn run(&self, state: &mut State, server: usize) -> Result<(), EnsembleError> {
        let failed = |failure| EnsembleError::Failed { server, failure };
        let node = self.layout.as_ref().and_then(|l| l.nodes.get(server.checked_sub(1)?));
        let node = node.ok_or(EnsembleError::NoSuchServer(server))?;
        let mut boot = Boot::load(&node.config, &Default::default()).map_err(failed)?;
        boot.config.quorum.finalize_wait_ms = FINALIZE_WAIT_MS;
        let (sender, ended) = channel();
        let told = move |result| drop(sender.send(result));
        let (inbox, thread) = program::spawn::<Threads>(boot, None, || {}, told).map_err(failed)?;
        *state.slot(server)? = Some(RunningServer { inbox, thread, ended });
        self.tell_partition(state);
        Ok(())
    }

    fn end(&self, server: usize, how: Message) -> Result<(), EnsembleError> {
        let running = self.lock().slot(server)?.take();
        let running = running.ok_or(EnsembleError::NotRunning(server))?;
        running.inbox.put(how);
        running.join().map_err(|failure| EnsembleError::Failed { server, failure })
    }

    fn tell_partition(&self, state: &State) {
        let Some(layout) = &self.layout else { return };
        for (server, running) in (1..).zip(&state.running) {
            let Some(running) = running else { continue };
            let is_away = state.away.contains(&server);
            let others = (1..).zip(&layout.nodes);
            let cut = others.filter(|(other, _)| state.away.contains(other) != is_away);
            let cut = cut.flat_map(|(_, node)| node.peers.clone()).collect();
            running.inbox.put(Message::Partition(cut));
        }
    }

    fn look(&self) -> Result<Survey, EnsembleError> {
        let mut state = self.lock();
        let all = state.running.len();
        let asked: Vec<_> = (1..)
            .zip(&state.running)
            .filter_map(|(server, running)| {
                let (to, answer) = channel();
                running.as_ref()?.inbox.put(Message::Report(to));
                Some((server, answer))
            })
            .collect();
        let mut survey = Survey::default();
        for is_away in [false, true] {
            let side = asked.iter().filter(|(server, _)| state.away.contains(server) == is_away);
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
            survey.weigh(&reports);
        }
        // Who waits for a server that has failed is told so.
        for (server, slot) in (1..).zip(&mut state.running) {
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
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let running: Vec<RunningServer> =
            state.running.iter_mut().filter_map(Option::take).collect();
        running.iter().for_each(|running| running.inbox.put(Message::Stop));
        for running in running {
            // Nobody is there any more to be told of a failure.
            let _ = running.join();
        }
        if let Some(Err(e)) = self.layout.take().map(Layout::remove) {
            tracing::warn!("the temporary directory cannot be removed: {e}");
        }
    }
}

impl State {
    fn slot(&mut self, server: usize) -> Result<&mut Option<RunningServer>, EnsembleError> {
        let slot = server.checked_sub(1).and_then(|index| self.running.get_mut(index));
        slot.ok_or(EnsembleError::NoSuchServer(server))
    }
}

impl RunningServer {
    fn join(self) -> Result<(), Failure> {
        if self.thread.join().is_err() {
            let what = "it has panicked; what it said is on stderr";
            return Err(Failure::new(crate::exit::UNEXPECTED_ERROR, what));
        }
        self.ended.try_recv().unwrap_or(Ok(()))
    }
}
