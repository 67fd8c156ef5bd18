//! The bytes that a connection gets at the next flush.

use bytes::{Bytes, BytesMut};

use super::{ClientPort, REPLY_BYTES};
use crate::action::{Action, Actions};
use crate::types::ConnId;

/// Connections that are told of events in one step: while many are told, others are served.
pub(super) const TOLD_AT_ONCE: usize = 512;

/// Frames in their order. An event that many are told of is not copied for those who are sent
/// nothing else.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Precedes what is its own.
    shared: Bytes,
    own: BytesMut,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.own.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.shared.len() + self.own.len()
    }

    /// The end of what there is; never shorter than [`Outbox::len`] says.
    pub(super) fn end(&mut self) -> &mut BytesMut {
        if !self.shared.is_empty() {
            self.own.extend_from_slice(&core::mem::take(&mut self.shared));
        }
        &mut self.own
    }

    /// Appends a frame that others are sent too.
    pub(super) fn share(&mut self, frame: &Bytes) {
        if self.is_empty() {
            self.shared = frame.clone();
        } else {
            self.end().extend_from_slice(frame);
        }
    }

    /// Takes all of it.
    pub(super) fn take(&mut self) -> Bytes {
        if self.own.is_empty() {
            core::mem::take(&mut self.shared)
        } else {
            self.end().split().freeze()
        }
    }
}

impl ClientPort {
    /// Sends what was gathered, one send for each connection: answers, and events of
    /// so many connections as a step may tell. [`ClientPort::deadline`] asks for the rest.
    pub(crate) fn flush(&mut self, out: &mut Actions) {
        let mut dirty = core::mem::take(&mut self.dirty);
        dirty.drain(..).for_each(|conn| self.send(conn, out));
        self.dirty = dirty;
        for _ in 0..TOLD_AT_ONCE {
            let Some(conn) = self.events.pop_front() else { break };
            self.send(conn, out);
        }
    }

    fn send(&mut self, conn: ConnId, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && !connection.out.is_empty()
        {
            let bytes = connection.out.take();
            connection.unacked_bytes += bytes.len();
            out.push(Action::Send { conn, bytes });
            connection.awaiting_drain |= connection.unacked_bytes >= REPLY_BYTES;
            if connection.awaiting_drain {
                out.push(Action::AwaitWritable { conn });
            }
        }
    }
}
