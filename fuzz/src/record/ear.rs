//! Hears what the bytes of a recorded run say.

use std::collections::HashMap;

use bytes::Bytes;
use zabkeeper_core::action::{Action, DiskAction};
use zabkeeper_core::event::{DiskEvent, Event, LogBatch, NetEvent};
use zabkeeper_core::store::Store;
use zabkeeper_core::types::ConnId;
use zabkeeper_core::wire::entries::Entry;

use super::story::{action_text, event_text};
use crate::trace::{self, Tap};

/// A tap on every connection that was opened since it listens.
#[derive(Default)]
pub(super) struct Ear {
    taps: HashMap<ConnId, Tap>,
}

impl Ear {
    /// Lines for an event: what happens, and what messages it brings.
    pub(super) fn event(&mut self, event: &Event<Store>) -> Vec<String> {
        match event {
            Event::Net(NetEvent::Opened { conn, port, .. }) => {
                self.taps.insert(*conn, Tap::new(*port));
            }
            Event::Net(NetEvent::Received { conn, bytes }) => {
                if let Some(told) = self.hear(*conn, bytes, false) {
                    return with(format!("Received {conn} {} bytes", bytes.len()), told);
                }
            }
            Event::Disk(DiskEvent::LogRead(LogBatch { read, entries, end })) => {
                let entries = entries.iter().map(|entry| transaction(entry.zxid, &entry.body));
                return with(format!("LogRead {} {end:?}", read.0), entries.collect());
            }
            Event::Net(NetEvent::Closed { conn }) => {
                self.taps.remove(conn);
            }
            Event::Tick
            | Event::Net(NetEvent::Identified { .. })
            | Event::Net(NetEvent::Writable { .. })
            | Event::Disk(DiskEvent::Persisted { .. })
            | Event::Disk(DiskEvent::SnapshotReady)
            | Event::Disk(DiskEvent::Recovering(_))
            | Event::Disk(DiskEvent::Recovered(_))
            | Event::Disk(DiskEvent::Failed(_))
            | Event::Host(_) => {}
        }
        vec![event_text(event)]
    }

    /// Lines for an action.
    pub(super) fn action(&mut self, action: &Action) -> Vec<String> {
        match action {
            Action::Send { conn, bytes } => {
                if let Some(told) = self.hear(*conn, bytes, true) {
                    return with(format!("Send {conn} {} bytes", bytes.len()), told);
                }
            }
            Action::Disk(DiskAction::Append { ticket, entries }) => {
                let told = |entry: Entry| {
                    format!("Append {} {}", ticket.0, transaction(entry.zxid, &entry.body))
                };
                return entries.each().map(told).collect();
            }
            Action::Close { conn, .. } => {
                self.taps.remove(conn);
            }
            Action::Dial { .. }
            | Action::Pause { .. }
            | Action::Resume { .. }
            | Action::AwaitWritable { .. }
            | Action::Listen { .. }
            | Action::Disk(_)
            | Action::Halt(_) => {}
        }
        vec![action_text(action)]
    }

    /// The messages that end in these bytes; none if it cannot be known what the bytes are.
    fn hear(&mut self, conn: ConnId, bytes: &Bytes, is_ours: bool) -> Option<Vec<String>> {
        let tap = self.taps.get_mut(&conn)?;
        let side = usize::from(conn.is_dialled() != is_ours);
        if tap.is_lost(side) {
            return None;
        }
        Some(tap.push(side, bytes).into_iter().map(|message| message.text).collect())
    }
}

fn transaction(zxid: impl std::fmt::Display, body: &Bytes) -> String {
    format!("{zxid} {}", trace::transaction(body))
}

fn with(what: String, told: Vec<String>) -> Vec<String> {
    match told.as_slice() {
        [] => vec![format!("{what}: nothing complete")],
        [one] => vec![format!("{what}: {one}")],
        several => {
            let several = several.iter().map(|one| format!("  {one}"));
            std::iter::once(format!("{what}:")).chain(several).collect()
        }
    }
}
