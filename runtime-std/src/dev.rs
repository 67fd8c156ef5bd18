//! `zabkeeper dev`: an ensemble in this process, until a signal stops it.

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

// Short ticks, because messages on one machine arrive soon. A notification is resent after 110 ms,
// then after 220 ms: each restarts a voter's `finalizeWait` of 200 ms, so more frequent ones would
// delay the election. A small preallocation saves disk space.
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

/// An event of a node's thread, or of a signal.
enum DevEvent {
    Serving,
    Ended(Result<(), Failure>),
    StopRequested,
    DescribeRequested,
}

/// Runs the ensemble until a signal stops it or a node fails.
///
/// # Errors
/// The failure of the first node that failed.
pub(crate) fn run<R: Runtime>(args: &DevArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let (sender, events) = channel();
    let layout = Layout::create(&LayoutOptions {
        servers: args.nodes,
        dir: args.dir.clone(),
        client_port: Some(args.client_port),
        settings: SETTINGS.map(|(key, value)| (key.into(), value.into())).into(),
    })?;
    descriptors::raise_limit();
    let (stop, describe) = (sender.clone(), sender.clone());
    signals::handle(
        move || drop(stop.send(DevEvent::StopRequested)),
        move || drop(describe.send(DevEvent::DescribeRequested)),
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
            Ok(DevEvent::DescribeRequested) => program::describe(&inboxes),
            Ok(DevEvent::StopRequested) | Err(_) => break,
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
            Ok(DevEvent::Serving | DevEvent::StopRequested | DevEvent::DescribeRequested) => {}
            Err(_too_slow) => break,
        }
    }
    if let Err(e) = layout.remove() {
        tracing::warn!("cannot remove the temporary directory: {e}");
    }
    done
}

/// The journal of a node.
fn record(args: &DevArgs, number: usize) -> Option<JournalOptions> {
    let JournalOptions { journal, limit_bytes } = args.record.options()?;
    Some(JournalOptions { journal: journal.join(format!("node{number}")), limit_bytes })
}
