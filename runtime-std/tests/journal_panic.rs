//! A panic ends the journal, which contains the event that led to it. Alone in its process, because
//! a panic ends all journals of a process.

use zabkeeper_core::action::Actions;
use zabkeeper_core::event::{DiskEvent, Event};
use zabkeeper_core::journal::{ConfigSource, Item, SegmentReader, Start};
use zabkeeper_core::types::{Now, Ticket, Time};
use zabkeeper_std::journal::{JournalOptions, JournalWriter};

#[test]
fn panic_is_the_last_item_of_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let text = "dataDir=/d\nclientPort=2181\n".to_string();
    let source = ConfigSource { name: "zoo.cfg".to_string(), text, ..Default::default() };
    let now = Now { mono: Time(1), wall_ms: 2 };
    let start = Start::new(source, 7, now);
    let (config, _) = start.source.parse().unwrap();
    let options = JournalOptions { journal, limit_bytes: 1 << 30 };
    let mut node = start.node().unwrap();
    let mut writer = JournalWriter::begin(&options, start, &config).unwrap();
    let server = std::thread::spawn(move || {
        let event = Event::Disk(DiskEvent::Persisted { upto: Ticket(5) });
        writer.step(&mut node, now, event, &mut Actions::new());
        panic!("invariant broken");
    });
    assert!(server.join().is_err());
    let bytes = std::fs::read(dir.path().join("journal.000001")).unwrap();
    let mut reader = SegmentReader::new(bytes.into()).unwrap();
    let items: Vec<Item> =
        std::iter::from_fn(|| reader.next_item().unwrap()).map(|placed| placed.item).collect();
    let [
        Item::Event(_, Event::Disk(DiskEvent::Persisted { upto: Ticket(5) })),
        Item::Actions(_),
        Item::End(why),
    ] = &items[..]
    else {
        panic!("{items:?}")
    };
    assert!(why.contains("invariant broken") && why.contains("journal_panic.rs"), "{why}");
}
