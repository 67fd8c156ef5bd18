//! A small state that rides on the log, and the stories told with it.

mod config_files;
mod crashes;
mod failures;
mod golden;
mod recovery;
mod writing;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::*;
use crate::action::EpochFile;
use crate::event::{DiskEvent, LogBatch, LogEnd, Recovered};
use crate::types::{Epoch, ReadId, Ticket, Zxid};
use crate::wire::entries::{Entries, Entry};

/// Remembers every transaction: zxid and a number out of its body.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct History {
    all: Vec<(Zxid, u32)>,
}

impl State for History {
    type Options = ();
    type Decoder = HistoryDecoder;

    fn empty((): &()) -> History {
        History::default()
    }
    fn decoder((): &()) -> HistoryDecoder {
        HistoryDecoder::default()
    }
    fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.all.len() as u32);
        for (zxid, number) in &self.all {
            out.put_i64(zxid.0);
            out.put_u32(*number);
        }
    }
    fn digest(&self) -> Option<u64> {
        Some(self.all.len() as u64)
    }
    fn loaded(&mut self, _: Zxid, _: Option<SnapshotDigest>) {}
    fn replay(&mut self, zxid: Zxid, body: &Bytes) -> Result<(), String> {
        // A fuzzy snapshot holds later transactions already.
        if self.all.last().is_none_or(|(last, _)| *last < zxid) {
            let number = body.get(32..36).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
            self.all.push((zxid, number.ok_or_else(|| "no number".to_string())?));
        }
        Ok(())
    }
    fn replayed(&mut self, _: Zxid) {}
}

#[derive(Default)]
struct HistoryDecoder {
    bytes: BytesMut,
    need: usize,
}

impl SnapshotDecoder for HistoryDecoder {
    type State = History;

    fn push(&mut self, bytes: &Bytes) -> Result<Option<usize>, String> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        if let Some(count) = self.bytes.get(..4) {
            self.need = 4 + 12 * (&count[..]).get_u32() as usize;
        }
        let ended = self.need > 0 && self.bytes.len() >= self.need;
        Ok(ended.then(|| self.need - before))
    }
    fn finish(mut self) -> Result<History, String> {
        self.bytes.truncate(self.need);
        let count = self.bytes.get_u32();
        let all = (0..count).map(|_| (Zxid(self.bytes.get_i64()), self.bytes.get_u32())).collect();
        Ok(History { all })
    }
}

fn entry(zxid: Zxid, number: u32, padding: usize) -> Entry {
    let mut body = BytesMut::new();
    body.put_i64(1);
    body.put_i32(2);
    body.put_i64(zxid.0);
    body.put_i64(3);
    body.put_i32(5);
    body.put_u32(number);
    body.put_bytes(b'p', padding);
    Entry { zxid, body: body.freeze() }
}

fn options() -> DiskOptions {
    DiskOptions { preallocate_bytes: 8192, ..DiskOptions::new("/data", "/log") }
}

/// One server's disk and what it said.
struct Server {
    disk: Disk<History>,
    files: MemoryFiles,
    ticket: Ticket,
    events: Vec<DiskEvent<History>>,
}

impl Server {
    /// Boots on these files.
    fn boot(options: DiskOptions, files: MemoryFiles) -> Server {
        let disk = Disk::new(options, ());
        let mut server = Server { disk, files, ticket: Ticket(0), events: Vec::new() };
        server.drive();
        server
    }
    fn new() -> Server {
        Server::boot(options(), MemoryFiles::new())
    }
    fn drive(&mut self) {
        let files = &mut self.files;
        drive(&mut self.disk, &mut |op| files.execute(op), &mut self.events);
    }
    fn append(&mut self, zxid: i64) -> Ticket {
        let ticket = self.ticket.take();
        self.submit(ticket, &entry(Zxid(zxid), zxid as u32, 10));
        ticket
    }
    fn submit(&mut self, ticket: Ticket, entry: &Entry) {
        let entries = Entries::one(entry.zxid, &entry.body);
        self.disk.submit(DiskAction::Append { ticket, entries });
    }
    /// Appends these and waits.
    fn log(&mut self, zxids: core::ops::RangeInclusive<i64>) -> &mut Server {
        for zxid in zxids {
            self.append(zxid);
        }
        self.drive();
        self
    }
    fn save_epoch(&mut self, file: EpochFile, epoch: i64) -> Ticket {
        let ticket = self.ticket.take();
        self.disk.submit(DiskAction::SaveEpoch { ticket, file, epoch: Epoch(epoch) });
        ticket
    }
    fn truncate(&mut self, after: i64) {
        let ticket = self.ticket.take();
        self.disk.submit(DiskAction::Truncate { ticket, after: Zxid(after) });
        self.drive();
    }
    /// A whole snapshot of the transactions `1..=zxid`.
    fn snapshot(&mut self, zxid: i64, from_leader: bool) {
        self.snapshot_named(zxid, 1..=zxid, from_leader);
    }
    /// A whole snapshot of these, with this zxid.
    fn snapshot_named(&mut self, zxid: i64, of: core::ops::RangeInclusive<i64>, from_leader: bool) {
        let mut body = BytesMut::new();
        history(of).encode(&mut body);
        let zxid = Zxid(zxid);
        self.disk.submit(DiskAction::SnapshotBegin { zxid, from_leader });
        self.disk.submit(DiskAction::SnapshotChunk { bytes: body.freeze() });
        let ticket = self.ticket.take();
        let digest = Some((zxid, 9));
        self.disk.submit(DiskAction::SnapshotEnd { ticket, digest, last_zxid: zxid });
        self.drive();
    }
    /// Stops without notice and boots again; nothing unsynced is lost.
    fn restart(&mut self) -> &mut Server {
        let files = core::mem::take(&mut self.files);
        *self = Server::boot(options(), files);
        self
    }
    fn persisted(&self) -> Ticket {
        let all = self.events.iter().filter_map(|event| match event {
            DiskEvent::Persisted { upto } => Some(*upto),
            _other => None,
        });
        all.max().unwrap_or_default()
    }
    #[track_caller]
    fn recovered(&self) -> &Recovered<History> {
        let last = self.events.iter().rev().find_map(|event| match event {
            DiskEvent::Recovered(recovered) => Some(recovered),
            _other => None,
        });
        last.unwrap_or_else(|| panic!("{:?}", self.events))
    }
    #[track_caller]
    fn fault(&self) -> (&str, i32) {
        match self.events.last() {
            Some(DiskEvent::Failed(fault)) => (&fault.what, fault.exit_code),
            other => panic!("{other:?}"),
        }
    }
    fn names(&self, dir: &str) -> Vec<String> {
        let names = self.files.paths().filter_map(|path| path.strip_prefix(dir));
        names.map(|name| name.trim_start_matches('/').to_string()).collect()
    }
    /// Changes a file's durable content.
    fn edit(&mut self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = self.files.get(path).unwrap_or_else(|| panic!("{path}")).to_vec();
        change(&mut content);
        self.files.put(path, &content);
    }
}

fn history(zxids: core::ops::RangeInclusive<i64>) -> History {
    History { all: zxids.map(|zxid| (Zxid(zxid), zxid as u32)).collect() }
}

fn used(log: &[u8]) -> usize {
    log.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1)
}

/// Long enough to read in a failing test.
fn tail_of(recovered: &Recovered<History>) -> String {
    let zxids: Vec<String> = recovered.tail.iter().map(|e| format!("{:x}", e.zxid.0)).collect();
    zxids.join(" ")
}

fn reads(server: &Server) -> (Vec<i64>, Option<LogEnd>) {
    let (mut zxids, mut last) = (Vec::new(), None);
    for event in &server.events {
        if let DiskEvent::LogRead(LogBatch { read: ReadId(1), entries, end }) = event {
            zxids.extend(entries.iter().map(|e| e.zxid.0));
            last = Some(*end);
        }
    }
    (zxids, last)
}
