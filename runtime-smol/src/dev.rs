//! A whole ensemble in this process: a thread for each node, and one for its files.

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use zabkeeper_std::boot::Boot;
use zabkeeper_std::command_line::DevArgs;
use zabkeeper_std::dev::DevEnsemble;
use zabkeeper_std::exit::{self, Failure};
use zabkeeper_std::record::RecordOptions;
use zabkeeper_std::signals;

use crate::server::{self, Inbox, Input};

/// How long the nodes may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

enum News {
    Serving,
    Ended(Result<(), Failure>),
    StopAsked,
}

/// Runs the ensemble until a signal asks to stop, or a node fails.
pub(crate) fn run(args: &DevArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let (sender, news) = channel();
    let ensemble = DevEnsemble::lay_out(args)?;
    let stop = sender.clone();
    signals::on_stop(move || drop(stop.send(News::StopAsked)))
        .map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("signals: {e}")))?;

    let mut inboxes = Vec::new();
    let mut done = Ok(());
    for config in &ensemble.configs {
        let record = ensemble_record(args, inboxes.len() + 1);
        match Boot::load(config, &Default::default())
            .and_then(|boot| start(boot, record, sender.clone()))
        {
            Ok(inbox) => inboxes.push(inbox),
            Err(failure) => done = done.and(Err(failure)),
        }
    }
    let (mut serving, mut ended) = (0, 0);
    while done.is_ok() {
        match news.recv() {
            Ok(News::Serving) => {
                serving += 1;
                if serving == inboxes.len() {
                    println!(
                        "zabkeeper dev: {serving} {} at {} (ready in {} ms)",
                        if serving == 1 { "node serves" } else { "nodes serve" },
                        ensemble.connect_string,
                        began.elapsed().as_millis()
                    );
                }
            }
            Ok(News::Ended(result)) => {
                ended += 1;
                done = result;
            }
            Ok(News::StopAsked) | Err(_) => break,
        }
    }

    for inbox in &inboxes {
        let _ = inbox.try_send(Input::Stop);
    }
    let limit = Instant::now() + STOP_LIMIT;
    while ended < inboxes.len() {
        match news.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            Ok(News::Ended(result)) => {
                ended += 1;
                done = done.and(result);
            }
            Ok(News::Serving | News::StopAsked) => {}
            Err(_too_slow) => break,
        }
    }
    if let Err(e) = ensemble.remove() {
        tracing::warn!("the temporary directory cannot be removed: {e}");
    }
    done
}

/// A journal for each node, by its number.
fn ensemble_record(args: &DevArgs, number: usize) -> Option<RecordOptions> {
    let RecordOptions { journal, limit_bytes } = args.record.options()?;
    Some(RecordOptions { journal: journal.join(format!("node{number}")), limit_bytes })
}

fn start(boot: Boot, record: Option<RecordOptions>, news: Sender<News>) -> Result<Inbox, Failure> {
    let (inbox, inputs) = async_channel::unbounded();
    let id = boot.id();
    let own = inbox.clone();
    let node = move || {
        let _node = tracing::error_span!("node", %id).entered();
        let serving = news.clone();
        let told = move || drop(serving.send(News::Serving));
        let result = server::run(boot, record.as_ref(), (own, inputs), told);
        let _ = news.send(News::Ended(result));
    };
    thread::Builder::new()
        .name(format!("node-{id}"))
        .spawn(node)
        .map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("node thread: {e}")))?;
    Ok(inbox)
}
