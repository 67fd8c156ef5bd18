//! A journal across runs, at its limit, and on disks that fail.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use zabkeeper_core::action::Actions;
use zabkeeper_core::event::{DiskEvent, Event};
use zabkeeper_core::event::{HostStats, NetEvent, Port, Recovered};
use zabkeeper_core::journal::Start;
use zabkeeper_core::journal::{ConfigSource, Item, SegmentReader};
use zabkeeper_core::node;
use zabkeeper_core::node::Node;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::Now;
use zabkeeper_core::types::{ConnId, Ticket, Time, Zxid};

use super::segments::{segment_path, segments};
use super::writer::GATHER;
use super::{JournalOptions, JournalWriter};

fn start() -> Start {
    let text = "dataDir=/d\nclientPort=2181\n".to_string();
    let source = ConfigSource { name: "zoo.cfg".to_string(), text, ..Default::default() };
    Start::new(source, 7, Now { mono: Time(1), wall_ms: 2 })
}

fn begin(journal: &Path, limit_bytes: u64) -> (JournalWriter, Node) {
    let options = JournalOptions { journal: journal.to_path_buf(), limit_bytes };
    let config = start().source.parse().unwrap().0;
    (JournalWriter::begin(&options, start(), &config).unwrap(), start().node().unwrap())
}

fn items(journal: &Path, number: u64) -> (u64, Vec<Item>) {
    let bytes = fs::read(segment_path(journal, number)).unwrap();
    let mut reader = SegmentReader::new(bytes.into()).unwrap();
    let all = std::iter::from_fn(|| reader.next_item().unwrap()).map(|p| p.item).collect();
    (reader.number(), all)
}

fn opened(n: u64) -> Event<Store> {
    let peer = ([127, 0, 0, 1], 1).into();
    Event::Net(NetEvent::Opened { conn: ConnId::accepted(n), port: Port::Client, peer })
}

#[test]
fn each_run_begins_a_segment_and_records_why_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("below/journal");
    let mut out = Actions::new();
    for why in ["stopped", "stopped again"] {
        let (mut writer, mut node) = begin(&journal, 1 << 30);
        writer.step(&mut node, start().now, opened(1), &mut out);
        let host = HostStats { data_dir_bytes: 3, ..HostStats::default() };
        let surveyed = Event::Host(Box::new(host));
        writer.step(&mut node, start().now, surveyed, &mut out);
        writer.finish(why);
    }
    for (number, why) in [(1, "stopped"), (2, "stopped again")] {
        let (in_run, all) = items(&journal, number);
        assert_eq!(in_run, 1);
        let [
            Item::Event(now, Event::Net(NetEvent::Opened { .. })),
            Item::Actions(digest),
            host,
            _,
            end,
        ] = &all[..]
        else {
            panic!("{all:?}")
        };
        assert_eq!((*now, digest.count), (start().now, out.len() as u64 / 2));
        let Item::Event(_, Event::Host(host)) = host else { panic!("{host:?}") };
        assert_eq!(host.data_dir_bytes, 3);
        assert!(matches!(end, Item::End(text) if text == why), "{end:?}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = fs::metadata(segment_path(&journal, 1)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn oldest_segments_are_removed_to_keep_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let limit = 160 << 10;
    fs::write(dir.path().join("journal.old"), "not a segment").unwrap();
    let (mut writer, mut node) = begin(&journal, limit);
    let mut out = Actions::new();
    for n in 0..400 {
        let bytes = vec![n as u8; 1000].into();
        let event = Event::Net(NetEvent::Received { conn: ConnId::accepted(9), bytes });
        writer.step(&mut node, start().now, event, &mut out);
        // Keeps the batches small on a busy machine.
        while n % 4 == 0 && writer.is_on && writer.shared.lock().encoder.waiting() > 0 {
            thread::sleep(GATHER);
        }
    }
    writer.finish("done");
    let all = segments(&journal).unwrap();
    assert!(all.len() > 4 && all[0].0 > 1, "{all:?}");
    assert!(all.iter().map(|(_, length)| length).sum::<u64>() <= limit, "{all:?}");
    let (mut events, mut numbers) = (0, Vec::new());
    for (number, _) in &all {
        let (in_run, all) = items(&journal, *number);
        numbers.push((in_run, *number));
        events += all.iter().filter(|item| matches!(item, Item::Event(..))).count();
    }
    assert!(numbers.iter().all(|(in_run, number)| in_run == number), "{numbers:?}");
    assert!(events > 50 && events < 400, "{events}");
    assert!(dir.path().join("journal.old").exists());
}

#[test]
fn failing_disk_ends_the_recording_only() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let (mut writer, mut node) = begin(&journal, 16 << 10);
    // A directory takes the name of the next segment.
    fs::create_dir(segment_path(&journal, 2)).unwrap();
    let mut out = Actions::new();
    for n in 1..2_000 {
        writer.step(
            &mut node,
            start().now,
            Event::Disk(DiskEvent::Persisted { upto: Ticket(n) }),
            &mut out,
        );
        if !writer.is_on {
            break;
        }
        thread::sleep(Duration::from_micros(500));
    }
    assert!(!writer.is_on);
    writer.step(&mut node, start().now, Event::Tick, &mut out);
    drop(writer);
    assert!(!items(&journal, 1).1.is_empty());
}

/// The reason at the end of a journal of a single segment.
fn end_reason(journal: &Path) -> String {
    match items(journal, 1).1.pop() {
        Some(Item::End(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn slow_disk_ends_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let (mut writer, mut node) = begin(&journal, 1 << 30);
    writer.max_waiting = 1000;
    let mut out = Actions::new();
    let bytes = vec![7; 2000].into();
    let large = Event::Net(NetEvent::Received { conn: ConnId::accepted(9), bytes });
    writer.step(&mut node, start().now, large, &mut out);
    writer.step(&mut node, start().now, Event::Tick, &mut out);
    assert!(!writer.is_on);
    writer.finish("not this");
    assert!(end_reason(&journal).starts_with("the disk was too slow"));
    let (_, all) = items(&journal, 1);
    assert!(matches!(all[0], Item::Event(_, Event::Net(NetEvent::Received { .. }))), "{all:?}");
}

#[test]
fn state_beyond_the_limit_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let (mut writer, mut node) = begin(&journal, 256);
    let recovered = Recovered {
        ticket: Ticket(0),
        state: Store::new(node::store_options(&start().source.parse().unwrap().0)),
        last_zxid: Zxid::ZERO,
        tail: Vec::new(),
        current_epoch: 0,
        accepted_epoch: 0,
        snapshot_bytes: 0,
    };
    let event = Event::Disk(DiskEvent::Recovered(Box::new(recovered)));
    writer.step(&mut node, start().now, event, &mut Actions::new());
    writer.finish("not this");
    assert!(end_reason(&journal).starts_with("the loaded state is about"));
}

#[test]
fn journal_that_cannot_be_created_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let journal = dir.path().join("file/journal");
    let options = JournalOptions { journal, limit_bytes: 1 << 30 };
    let config = start().source.parse().unwrap().0;
    let failure = JournalWriter::begin(&options, start(), &config).unwrap_err();
    assert!(failure.message.contains("file/journal"), "{failure}");
}
