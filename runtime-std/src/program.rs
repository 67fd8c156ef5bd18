//! The program over any runtime: commands, exit codes, the thread of each node.

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Parser;

use crate::boot::Boot;
use crate::command_line::{Command, CommandLine, ServerArgs};
use crate::driver::{Inbox, Message};
use crate::exit::{self, Failure};
use crate::journal::JournalOptions;
use crate::system_properties::SystemProperties;
use crate::{descriptors, dev, inspect, logging, signals};

/// How long a node may take to log its state.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(1);

/// A runtime: runs a node on the calling thread.
pub trait Runtime: 'static {
    /// The receiving end of an inbox.
    type InboxReceiver: Send + 'static;

    /// Creates the inbox of a node.
    ///
    /// # Errors
    /// The operating system lacks resources.
    fn inbox() -> io::Result<(Inbox, Self::InboxReceiver)>;

    /// Runs a node until a message of its inbox or a fault ends it. Calls `serving` once, when the
    /// node serves clients for the first time.
    ///
    /// # Errors
    /// The node could not start, or a fault has ended it.
    fn run(
        boot: Boot,
        record: Option<&JournalOptions>,
        inbox: &Inbox,
        receiver: Self::InboxReceiver,
        serving: impl FnOnce(),
    ) -> Result<(), Failure>;
}

/// The `main` function of a server on the runtime `R`.
pub fn main<R: Runtime>() -> ExitCode {
    let line = CommandLine::parse();
    let finished = |()| exit::EXECUTION_FINISHED;
    let done = logging::start()
        .and_then(|()| logging::init(line.log_filter(), line.log_format))
        .and_then(|()| match &line.command {
            Command::Server(args) if args.check => check(args).map(finished),
            Command::Server(args) => run_server::<R>(args).map(finished),
            Command::Dev(args) => dev::run::<R>(args).map(finished),
            Command::Inspect(args) => inspect::run(args),
        });
    let code = done.unwrap_or_else(|failure| {
        logging::eprint(&format!("zabkeeper: {failure}"));
        failure.code
    });
    logging::flush();
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The system properties of the environment and the command line.
fn properties(args: &ServerArgs) -> SystemProperties {
    SystemProperties::collect(|name| std::env::var(name).ok(), &args.define)
}

fn check(args: &ServerArgs) -> Result<(), Failure> {
    let (config, _, warnings) = Boot::read(&args.origin(), &properties(args))?;
    for warning in warnings {
        logging::print(&warning.to_string());
    }
    logging::print(&format!("dataDir is {}", config.storage.data_dir));
    if config.storage.data_log_dir != config.storage.data_dir {
        logging::print(&format!("dataLogDir is {}", config.storage.data_log_dir));
    }
    match &config.ensemble {
        Some(ensemble) => {
            let members = ensemble.members.len();
            logging::print(&format!("server {} of an ensemble of {members}", config.my_id));
        }
        None => logging::print("a standalone server"),
    }
    Ok(())
}

fn run_server<R: Runtime>(args: &ServerArgs) -> Result<(), Failure> {
    descriptors::raise_limit();
    let (inbox, receiver) = R::inbox().map_err(|e| unexpected("inbox", &e))?;
    let (stop, described) = (inbox.clone(), inbox.clone());
    signals::handle(
        move || stop.put(Message::Stop),
        move || describe(std::slice::from_ref(&described)),
    )
    .map_err(|e| unexpected("signals", &e))?;
    let boot = Boot::load_from(&args.origin(), &properties(args))?;
    tracing::info!(server = %boot.id(), config = %boot.source.name, "starting");
    let record = args.record.options();
    R::run(boot, record.as_ref(), &inbox, receiver, || tracing::info!("serving clients"))
}

/// Starts a node on a thread of its own; returns its inbox. Calls `ended` with the result of
/// [`Runtime::run`].
///
/// # Errors
/// The operating system lacks resources for a thread or an inbox.
pub(crate) fn spawn<R: Runtime>(
    boot: Boot,
    record: Option<JournalOptions>,
    serving: impl FnOnce() + Send + 'static,
    ended: impl FnOnce(Result<(), Failure>) + Send + 'static,
) -> Result<(Inbox, JoinHandle<()>), Failure> {
    let (inbox, receiver) = R::inbox().map_err(|e| unexpected("inbox", &e))?;
    let id = boot.id();
    let own = inbox.clone();
    let node = move || {
        let _node = tracing::error_span!("node", %id).entered();
        ended(R::run(boot, record.as_ref(), &own, receiver, serving));
    };
    let thread = thread::Builder::new().name(format!("node-{id}")).spawn(node);
    Ok((inbox, thread.map_err(|e| unexpected("node thread", &e))?))
}

/// Lets nodes log their state, one after the other. Logs the number of a node that does not answer.
pub(crate) fn describe(inboxes: &[Inbox]) {
    for (number, inbox) in (1..).zip(inboxes) {
        let (sender, done) = channel();
        inbox.put(Message::Describe(sender));
        if let Err(RecvTimeoutError::Timeout) = done.recv_timeout(DESCRIBE_LIMIT) {
            tracing::warn!(
                "node {number} of this process has not answered within {} s: its thread is busy with \
                 one step, or loads a snapshot",
                DESCRIBE_LIMIT.as_secs()
            );
        }
    }
}

pub(crate) fn unexpected(what: &str, e: &io::Error) -> Failure {
    Failure::new(exit::UNEXPECTED_ERROR, format!("{what}: {e}"))
}
