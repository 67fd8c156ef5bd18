//! Files written by ZooKeeper 3.8.0 and 3.9.5: read, and written again to the same bytes.

use super::*;
use crate::disk::log::format::{self, Parsed};
use crate::wire::{Malformed, Reader};

macro_rules! golden {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../testdata/storage/", $name)).as_slice())
    };
}

/// Logs are kept without their padding: with the length that it filled.
const LOGS: [((&str, &[u8]), usize); 8] = [
    (golden!("3.6.3/log.1"), 65552),
    (golden!("3.9.5/log.1"), 65552),
    (golden!("3.9.5/log.32"), 65552),
    (golden!("3.8.0/log.1"), 65552),
    (golden!("3.8.0/log.32"), 65552),
    (golden!("fuzzy-3.9.5/log.2159"), 196_608),
    (golden!("fuzzy-3.9.5/log.2843"), 131_072),
    (golden!("misc/log.close-session-txn-disabled"), 65552),
];
const COMPRESSED: [(&str, &[u8]); 4] = [
    golden!("3.9.5/snapshot.38.gz"),
    golden!("3.9.5/snapshot.38.snappy"),
    golden!("3.8.0/snapshot.38.gz"),
    golden!("3.8.0/snapshot.38.snappy"),
];
const SNAPSHOTS: [(&str, &[u8]); 7] = [
    golden!("3.6.3/snapshot.0"),
    golden!("3.6.3/snapshot.31"),
    golden!("3.9.5/snapshot.0"),
    golden!("3.9.5/snapshot.31"),
    golden!("3.8.0/snapshot.0"),
    golden!("3.8.0/snapshot.31"),
    golden!("fuzzy-3.9.5/snapshot.27b7"),
];

/// A snapshot's body as it is, and what was replayed.
#[derive(Default, Debug)]
struct Raw {
    body: Bytes,
    loaded: Option<(Zxid, Option<SnapshotDigest>)>,
    replayed: Vec<Zxid>,
}

impl State for Raw {
    type Options = ();
    type Decoder = RawDecoder;

    fn empty((): &()) -> Raw {
        Raw::default()
    }
    fn decoder((): &()) -> RawDecoder {
        RawDecoder(BytesMut::new(), 0)
    }
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.body);
    }
    fn digest(&self) -> Option<u64> {
        None
    }
    fn loaded(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) {
        self.loaded = Some((zxid, digest));
    }
    fn replay(&mut self, zxid: Zxid, _: &Bytes) -> Result<(), String> {
        self.replayed.push(zxid);
        Ok(())
    }
    fn replayed(&mut self, _: Zxid) {}
}

struct RawDecoder(BytesMut, usize);

impl SnapshotDecoder for RawDecoder {
    type State = Raw;

    fn push(&mut self, bytes: &Bytes) -> Result<Option<usize>, String> {
        let before = self.0.len();
        self.0.extend_from_slice(bytes);
        self.1 = body_len(&Bytes::copy_from_slice(&self.0)).unwrap_or(0);
        Ok(self.1.checked_sub(before).filter(|_| self.1 > 0))
    }
    fn finish(mut self) -> Result<Raw, String> {
        self.0.truncate(self.1);
        Ok(Raw { body: self.0.freeze(), ..Raw::default() })
    }
}

/// Sessions, ACL map, nodes, end mark.
fn body_len(bytes: &Bytes) -> Result<usize, Malformed> {
    let mut r = Reader::new(bytes);
    for _ in 0..r.int()? {
        r.long()?;
        r.int()?;
    }
    for _ in 0..r.int()? {
        r.long()?;
        for _ in 0..r.int()? {
            r.int()?;
            r.text()?;
            r.text()?;
        }
    }
    while r.text()? != "/" {
        r.buffer()?;
        for _ in 0..17 {
            r.int()?;
        }
    }
    Ok(r.position())
}

fn entries(log: &[u8]) -> Vec<Entry> {
    let (mut at, mut all) = (format::HEADER_LEN as usize, Vec::new());
    assert!(format::is_header(log));
    loop {
        match format::parse(&log[at..], true, 1 << 20) {
            Parsed::Entry { entry, len } => {
                all.push(entry);
                at += len;
            }
            Parsed::End => return all,
            other => panic!("{other:?} at {at}"),
        }
    }
}

fn padded(log: &[u8], len: usize) -> Vec<u8> {
    let mut log = log.to_vec();
    log.resize(len, 0);
    log
}

fn boot(options: DiskOptions, files: &mut MemoryFiles) -> (Disk<Raw>, Vec<DiskEvent<Raw>>) {
    let (mut disk, mut events) = (Disk::new(options, ()), Vec::new());
    drive(&mut disk, &mut |op| files.execute(op), &mut events);
    (disk, events)
}

#[test]
fn every_log_is_written_again_to_the_same_bytes() {
    for ((name, log), len) in LOGS {
        let (options, mut files) =
            (DiskOptions { preallocate_bytes: 65536, ..options() }, MemoryFiles::new());
        let (mut disk, mut events) = boot(options, &mut files);
        let mut all = entries(&padded(log, len));
        let (path, last) =
            (format!("/log/version-2/log.{:x}", all[0].zxid.0), all.split_off(all.len() - 1));
        // The last one is a batch of its own: it finds the file longer than its padding.
        let mut tickets = (1..).map(Ticket);
        for batch in [all, last] {
            for (entry, ticket) in batch.into_iter().zip(tickets.by_ref()) {
                let entries = Entries::one(entry.zxid, &entry.body);
                disk.submit(DiskAction::Append { ticket, entries });
            }
            drive(&mut disk, &mut |op| files.execute(op), &mut events);
        }
        assert!(files.get(&path).unwrap_or_default() == padded(log, len), "{name}");
    }
}

#[test]
fn every_snapshot_is_written_again_to_the_same_bytes() {
    for (name, snapshot) in SNAPSHOTS {
        // Since 3.9.
        let has_last = name.contains("3.9.5");
        let file = name.rsplit('/').next().unwrap_or_default();
        let path = format!("/data/version-2/{file}");
        let mut files = MemoryFiles::new();
        files.put(&path, snapshot);
        // A fuzzy snapshot is nothing without its log.
        for ((log_name, log), len) in LOGS.iter().filter(|_| name.starts_with("fuzzy")) {
            if let Some(log_name) = log_name.strip_prefix("fuzzy-3.9.5/") {
                files.put(&format!("/log/version-2/{log_name}"), &padded(log, *len));
            }
        }
        let options = DiskOptions { serialize_last_zxid: has_last, ..options() };
        let (mut disk, events) = boot(options, &mut files);
        let Some(DiskEvent::Recovered(recovered)) = events.into_iter().next_back() else {
            panic!("{name} cannot be loaded")
        };
        let (zxid, digest) = recovered.state.loaded.unwrap_or_default();
        let last_zxid = Zxid((&snapshot[snapshot.len() - 21..]).get_i64());
        files.remove(&path);
        let digest = digest.map(|digest| (digest.zxid, digest.digest));
        assert!(digest.is_some(), "{name} has a digest");
        for action in [
            DiskAction::SnapshotBegin { zxid, from_leader: false },
            DiskAction::SnapshotChunk { bytes: recovered.state.body.clone() },
            DiskAction::SnapshotEnd { ticket: Ticket(1), digest, last_zxid },
        ] {
            disk.submit(action);
        }
        drive(&mut disk, &mut |op| files.execute(op), &mut Vec::new());
        assert!(files.get(&path) == Some(snapshot), "{name}");
    }
}

#[test]
fn whole_directories_of_zookeeper_are_recovered() {
    for (dir, first, last, base) in [
        ("3.9.5", 0x32, 0x38, 0x31),
        ("3.8.0", 0x32, 0x38, 0x31),
        ("fuzzy-3.9.5", 0x27b8, 0x2d59, 0x27b7),
    ] {
        let mut files = MemoryFiles::new();
        for ((name, log), len) in LOGS {
            if let Some(name) = name.strip_prefix(&format!("{dir}/")) {
                files.put(&format!("/log/version-2/{name}"), &padded(log, len));
            }
        }
        for (name, snapshot) in SNAPSHOTS {
            if let Some(name) = name.strip_prefix(&format!("{dir}/")) {
                files.put(&format!("/data/version-2/{name}"), snapshot);
            }
        }
        let alone = DiskOptions { ensemble: false, ..options() };
        let before: Vec<String> = files.paths().map(String::from).collect();
        let (_, events) = boot(alone, &mut files);
        let Some(DiskEvent::Recovered(recovered)) = events.last() else { panic!("{dir}") };
        let state = &recovered.state;
        assert_eq!(state.loaded.map(|(zxid, _)| zxid), Some(Zxid(base)), "{dir}");
        let expected: Vec<Zxid> = (first..=last).map(Zxid).collect();
        assert!(state.replayed == expected, "{dir}");
        assert_eq!(recovered.last_zxid, Zxid(last), "{dir}");
        let after: Vec<&str> = files.paths().collect();
        assert_eq!(before, after, "{dir}: nothing is changed");
    }
}

#[test]
fn compressed_snapshots_of_zookeeper_are_recovered() {
    let mut bodies = Vec::new();
    for (name, snapshot) in COMPRESSED {
        let mut files = MemoryFiles::new();
        let (dir, file) = name.rsplit_once('/').unwrap_or_default();
        files.put(&format!("/data/version-2/{file}"), snapshot);
        for ((log_name, log), len) in LOGS.iter().filter(|((name, _), _)| name.starts_with(dir)) {
            let log_name = log_name.rsplit('/').next().unwrap_or_default();
            files.put(&format!("/log/version-2/{log_name}"), &padded(log, *len));
        }
        let (_, events) = boot(options(), &mut files);
        let Some(DiskEvent::Recovered(recovered)) = events.last() else { panic!("{name}") };
        let (zxid, digest) = recovered.state.loaded.unwrap_or_default();
        assert_eq!(zxid, Zxid(0x38), "{name}");
        // Those that were compressed with Snappy were taken before anything was applied.
        let is_of_name = digest.is_some_and(|digest| digest.zxid == Zxid(0x38));
        assert_eq!(is_of_name, name.ends_with(".gz"), "{name}");
        assert_eq!(recovered.snapshot_bytes, snapshot.len() as u64);
        bodies.push(recovered.state.body.len());
    }
    // The trees are the same but for the order of their nodes, and what each version shows in
    // /zookeeper/config.
    assert!(bodies[0] == bodies[1] && bodies[2] == bodies[3], "{bodies:?}");
}
