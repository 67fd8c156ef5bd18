//! `zabkeeper dev`: a whole ensemble in this process, until a signal asks to stop.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::boot::Boot;
use crate::command_line::DevArgs;
use crate::driver::Message;
use crate::exit::Failure;
use crate::journal::JournalOptions;
use crate::layout::{Layout, LayoutOptions};
use crate::program::{self, Runtime};
use crate::{descriptors, logging, signals};

/// How long the nodes may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

// Short ticks: on one machine nothing takes long. A vote is said again after 110 ms, then after
// 220: each vote restarts a voter's final wait of 200 ms, so to repeat it more often would put the
// outcome off. A small preallocation keeps many short-lived ensembles cheap.
const SETTINGS: [(&str, &str); 11] = [
    ("tickTime", "500"),
    ("initLimit", "20"),
    ("syncLimit", "10"),
    ("minSessionTimeout", "1000"),
    ("maxSessionTimeout", "60000"),
    ("maxClientCnxns", "0"),
    ("standaloneEnabled", "false"),
    ("fastleader.minNotificationInterval", "110"),
    ("fastleader.maxNotificationInterval", "1000"),
    ("preAllocSize", "1024"),
    ("4lw.commands.whitelist", "*"),
];

enum DevEvent {
    Serving,
    Ended(Result<(), Failure>),
    StopAsked,
    WordsAsked,
}

/// Runs the ensemble until a signal asks to stop, or a node fails.
///
/// # Errors
/// The first node's that failed.
pub(crate) fn run<R: Runtime>(args: &DevArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let (sender, events) = channel();
    let layout = Layout::make(&LayoutOptions {
        servers: args.nodes,
        dir: args.dir.clone(),
        client_port: Some(args.client_port),
        settings: SETTINGS.map(|(key, value)| (key.into(), value.into())).into(),
    })?;
    descriptors::raise_limit();
    let (stop, tell) = (sender.clone(), sender.clone());
    signals::handle(
        move || drop(stop.send(DevEvent::StopAsked)),
        move || drop(tell.send(DevEvent::WordsAsked)),
    )
    .map_err(|e| program::unexpected("signals", &e))?;

    let mut inboxes = Vec::new();
    let mut done = Ok(());
    for (number, node) in (1..).zip(&layout.nodes) {
        let (serving, ended) = (sender.clone(), sender.clone());
        let started = Boot::load(&node.config, &Default::default()).and_then(|boot| {
            program::spawn::<R>(
                boot,
                record(args, number),
                move || drop(serving.send(DevEvent::Serving)),
                move |result| drop(ended.send(DevEvent::Ended(result))),
            )
        });
        match started {
            Ok((inbox, _thread)) => inboxes.push(inbox),
            Err(failure) => done = done.and(Err(failure)),
        }
    }
    let (mut serving, mut ended) = (0, 0);
    while done.is_ok() {
        match events.recv() {
            Ok(DevEvent::Serving) => {
                serving += 1;
                if serving == inboxes.len() {
                    logging::print(&format!(
                        "zabkeeper dev: {serving} {} at {} (ready in {} ms)",
                        if serving == 1 { "node serves" } else { "nodes serve" },
                        layout.connect_string(),
                        began.elapsed().as_millis()
                    ));
                }
            }
            Ok(DevEvent::Ended(result)) => {
                ended += 1;
                done = result;
            }
            Ok(DevEvent::WordsAsked) => program::describe(&inboxes),
            Ok(DevEvent::StopAsked) | Err(_) => break,
        }
    }

    for inbox in &inboxes {
        inbox.put(Message::Stop);
    }
    let limit = Instant::now() + STOP_LIMIT;
    while ended < inboxes.len() {
        match events.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            Ok(DevEvent::Ended(result)) => {
                ended += 1;
                done = done.and(result);
            }
            Ok(DevEvent::Serving | DevEvent::StopAsked | DevEvent::WordsAsked) => {}
            Err(_too_slow) => break,
        }
    }
    if let Err(e) = layout.remove() {
        tracing::warn!("the temporary directory cannot be removed: {e}");
    }
    done
}

/// A journal for each node, by its number.
fn record(args: &DevArgs, number: usize) -> Option<JournalOptions> {
    let JournalOptions { journal, limit_bytes } = args.record.options()?;
    Some(JournalOptions { journal: journal.join(format!("node{number}")), limit_bytes })
}
