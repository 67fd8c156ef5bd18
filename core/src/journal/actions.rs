//! A digest of a step's actions: a few bytes that differ if the actions do.

use core::fmt;

use bytes::{BufMut, BytesMut};
use crc32fast::Hasher;

use crate::action::{Action, ConfigSave, DiskAction, EpochFile, Reason};
use crate::event::Port;

/// Longer parts of an action are not gathered with others.
const COPIED: usize = 1 << 12;

/// How many actions a step emitted, and the CRC-32 of all that is in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActionsDigest {
    /// How many.
    pub count: u64,
    /// Over kinds, fields and bytes, in order.
    pub crc: u32,
}

impl fmt::Display for ActionsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} actions, crc {:08x}", self.count, self.crc)
    }
}

impl ActionsDigest {
    /// Of no actions.
    pub const NONE: ActionsDigest = ActionsDigest { count: 0, crc: 0 };

    /// Of these actions. `scratch` is left empty; it saves an allocation.
    pub fn of(actions: &[Action], scratch: &mut BytesMut) -> ActionsDigest {
        if actions.is_empty() {
            return ActionsDigest::NONE;
        }
        scratch.clear();
        let mut crc = Hasher::new();
        for action in actions {
            let bytes = put_action(scratch, action);
            // To copy what is short costs less than to begin anew with it.
            if bytes.len() <= COPIED {
                scratch.put_slice(bytes);
            }
            if scratch.len() > COPIED || bytes.len() > COPIED {
                crc.update(scratch);
                scratch.clear();
            }
            if bytes.len() > COPIED {
                crc.update(bytes);
            }
        }
        crc.update(scratch);
        scratch.clear();
        ActionsDigest { count: actions.len() as u64, crc: crc.finalize() }
    }
}

/// Appends all but the long part, which is given back.
fn put_action<'a>(out: &mut BytesMut, action: &'a Action) -> &'a [u8] {
    match action {
        Action::Dial { conn, port, to } => {
            let port = match port {
                Port::Client => 0,
                Port::Election => 1,
                Port::Quorum => 2,
            };
            put(out, 1, &[conn.0, port, to.port.into()], to.host.as_bytes())
        }
        Action::Send { conn, bytes } => put(out, 2, &[conn.0], bytes),
        Action::Close { conn, why } => {
            let mut lengths = [0; 2];
            let (kind, text) = match why {
                Reason::Peer(error) => {
                    let text = alloc::format!("{error}");
                    let text = put(out, 3, &[conn.0, 7], text.as_bytes());
                    out.put_slice(text);
                    return &[];
                }
                Reason::Done => (0, ""),
                Reason::Protocol(what) => (1, *what),
                Reason::Timeout(what) => (2, *what),
                Reason::NotServing => (3, ""),
                Reason::Replaced => (4, ""),
                Reason::Limit(what) => (5, *what),
                Reason::TooLong { what, length, limit } => {
                    lengths = [*length as u64, *limit as u64];
                    (6, *what)
                }
            };
            let [length, limit] = lengths;
            let fields = [conn.0, kind, length, limit];
            put(out, 3, if kind == 6 { &fields } else { &fields[..2] }, text.as_bytes())
        }
        Action::Pause { conn } => put(out, 4, &[conn.0], &[]),
        Action::Resume { conn } => put(out, 5, &[conn.0], &[]),
        Action::AwaitWritable { conn } => put(out, 6, &[conn.0], &[]),
        Action::Listen { port, at } => {
            for at in at.iter() {
                let host = put(out, 8, &[*port as u64, at.port.into()], at.host.as_bytes());
                out.put_slice(host);
            }
            &[]
        }
        Action::Disk(action) => put_disk(out, action),
        Action::Halt(fault) => put(out, 7, &[fault.exit_code as u64], fault.what.as_bytes()),
    }
}

fn put_disk<'a>(out: &mut BytesMut, action: &'a DiskAction) -> &'a [u8] {
    match action {
        DiskAction::Append { ticket, entries } => put(out, 10, &[ticket.0], entries.frames()),
        DiskAction::Truncate { ticket, after } => put(out, 11, &[ticket.0, after.0 as u64], &[]),
        DiskAction::SaveEpoch { ticket, file, epoch } => {
            let file = match file {
                EpochFile::Accepted => 0,
                EpochFile::Current => 1,
            };
            put(out, 12, &[ticket.0, file, epoch.0 as u64], &[])
        }
        DiskAction::SaveConfig { ticket, save } => match &**save {
            ConfigSave::Next { text } => put(out, 19, &[ticket.0], text.as_bytes()),
            ConfigSave::Current { version, text, erases_client, keeps_next } => {
                let flags = u64::from(*erases_client) | u64::from(*keeps_next) << 1;
                put(out, 20, &[ticket.0, *version as u64, flags], text.as_bytes())
            }
        },
        DiskAction::SnapshotBegin { zxid, from_leader } => {
            put(out, 13, &[zxid.0 as u64, u64::from(*from_leader)], &[])
        }
        DiskAction::SnapshotChunk { bytes } => put(out, 14, &[], bytes),
        DiskAction::SnapshotEnd { ticket, digest, last_zxid } => {
            let (zxid, sum) = digest.unwrap_or_default();
            let is_there = u64::from(digest.is_some());
            let fields = [ticket.0, is_there, zxid.0 as u64, sum, last_zxid.0 as u64];
            put(out, 15, &fields, &[])
        }
        DiskAction::SnapshotAbort => put(out, 16, &[], &[]),
        DiskAction::ReadLog { read, from, upto, max_bytes } => {
            put(out, 17, &[read.0, from.0 as u64, upto.0 as u64, *max_bytes], &[])
        }
        DiskAction::CancelRead { read } => put(out, 18, &[read.0], &[]),
    }
}

fn put<'a>(out: &mut BytesMut, kind: u8, fields: &[u64], bytes: &'a [u8]) -> &'a [u8] {
    out.put_u8(kind);
    for field in fields {
        out.put_u64(*field);
    }
    // Its length, so that one action's end is not taken for the next one's beginning.
    out.put_u64(bytes.len() as u64);
    bytes
}
