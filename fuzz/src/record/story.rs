//! Events and actions as lines for people.

use std::fmt::Write;

use zabkeeper_core::action::{Action, DiskAction};
use zabkeeper_core::event::{DiskEvent, Event, LogBatch, NetEvent};
use zabkeeper_core::store::Store;

/// How many bytes of a message are shown.
const SHOWN: usize = 48;

/// One line for an event.
pub fn event_text(event: &Event<Store>) -> String {
    match event {
        Event::Tick => "Tick".to_string(),
        Event::Net(NetEvent::Opened { conn, port, peer }) => {
            format!("Opened {conn} {port:?} {peer}")
        }
        Event::Net(NetEvent::Identified { conn, subject }) => {
            format!("Identified {conn} {subject:?}")
        }
        Event::Net(NetEvent::Received { conn, bytes }) => {
            format!("Received {conn} {}", shown(bytes))
        }
        Event::Net(NetEvent::Writable { conn }) => format!("Writable {conn}"),
        Event::Net(NetEvent::Closed { conn }) => format!("Closed {conn}"),
        Event::Disk(DiskEvent::Persisted { upto }) => format!("Persisted {}", upto.0),
        Event::Disk(DiskEvent::LogRead(LogBatch { read, entries, end })) => {
            format!("LogRead {} {} entries, {end:?}", read.0, entries.len())
        }
        Event::Disk(DiskEvent::SnapshotReady) => "SnapshotReady".to_string(),
        Event::Disk(DiskEvent::Recovering(p)) => {
            format!("Recovering {}/{} bytes, {} entries", p.bytes_done, p.bytes_total, p.entries)
        }
        Event::Disk(DiskEvent::Recovered(r)) => format!(
            "Recovered ticket {} zxid {} epochs {}/{} nodes {} digest {:#x} tail {}",
            r.ticket.0,
            r.last_zxid,
            r.current_epoch,
            r.accepted_epoch,
            r.state.node_count(),
            r.state.digest(),
            r.tail.len()
        ),
        Event::Disk(DiskEvent::Failed(fault)) => {
            format!("DiskFailed {}: {}", fault.exit_code, fault.what)
        }
        Event::Host(host) => {
            format!("Surveyed {}/{} bytes", host.data_dir_bytes, host.data_log_dir_bytes)
        }
    }
}

/// One line for an action.
pub fn action_text(action: &Action) -> String {
    match action {
        Action::Dial { conn, port, to } => format!("Dial {conn} {port:?} {to}"),
        Action::Send { conn, bytes } => format!("Send {conn} {}", shown(bytes)),
        Action::Close { conn, why } => format!("Close {conn} {why:?}"),
        Action::Pause { conn } => format!("Pause {conn}"),
        Action::Resume { conn } => format!("Resume {conn}"),
        Action::AwaitWritable { conn } => format!("AwaitWritable {conn}"),
        Action::Listen { port, at } => {
            let at: Vec<String> = at.iter().map(ToString::to_string).collect();
            format!("Listen {port:?} {}", at.join(" "))
        }
        Action::Disk(DiskAction::Append { ticket, entries }) => {
            let all = entries.iter().map(|(zxid, body)| format!("{zxid} {}", shown(body)));
            format!("Append {} {}", ticket.0, all.collect::<Vec<_>>().join(", "))
        }
        Action::Disk(DiskAction::SnapshotChunk { bytes }) => {
            format!("SnapshotChunk {}", shown(bytes))
        }
        Action::Disk(action) => format!("{action:?}"),
        Action::Halt(fault) => format!("Halt {}: {}", fault.exit_code, fault.what),
    }
}

fn shown(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes ", bytes.len());
    let first = bytes.get(..SHOWN).unwrap_or(bytes);
    for byte in first {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push(' ');
    text.extend(first.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' }));
    if first.len() < bytes.len() {
        text.push_str("...");
    }
    text
}
