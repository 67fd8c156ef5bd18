//! Journals of recorded runs, which come from other people's machines.

use bytes::{BufMut, Bytes, BytesMut};
use zabkeeper_core::event::{DiskEvent, Event};
use zabkeeper_core::journal::{ConfigSource, Encoder, Item, SegmentReader, Start, segment_head};
use zabkeeper_core::types::{Now, Time};

/// A segment, or what stands in a batch that is sealed as it should be: what is read can be
/// written, and is then read as the same.
pub fn journal(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    if how & 1 == 0 {
        read(Bytes::copy_from_slice(bytes));
        return;
    }
    let text = "dataDir=/d\nclientPort=2181\n".into();
    let source = ConfigSource { name: "zoo.cfg".into(), text, ..Default::default() };
    let now = Now { mono: Time(5_000_000), wall_ms: 1_700_000_000_000 };
    let start = Start::new(source, 7, now);
    let (config, _) = start.source.parse().expect("a good configuration");
    let head = segment_head(&start, &config, 1);
    let mut segment = head.clone();
    segment.put_u32(bytes.len() as u32);
    segment.put_u32(crc32fast::hash(bytes));
    segment.put_slice(bytes);
    let items = read(segment.freeze());

    let mut encoder = Encoder::new(start.now);
    let mut written = Vec::new();
    for item in items {
        match item {
            // A recovered state is as large as it is, and has its own digest.
            Item::Event(_, Event::Disk(DiskEvent::Recovered(_))) => continue,
            Item::Event(now, ref event) => encoder.event(now, event),
            Item::Actions(digest) => encoder.actions(digest),
            Item::End(ref why) => encoder.end(why),
        }
        written.push(format!("{item:?}"));
    }
    let mut segment = head;
    if let Some(batch) = encoder.take(BytesMut::new()) {
        segment.put_slice(&batch.seal());
    }
    let again: Vec<String> = read(segment.freeze()).iter().map(|i| format!("{i:?}")).collect();
    assert_eq!(again, written);
}

/// All that can be read.
fn read(segment: Bytes) -> Vec<Item> {
    let (longest, mut all) = (segment.len(), Vec::new());
    let Ok(mut reader) = SegmentReader::new(segment) else { return all };
    let mut last = 0;
    while let Ok(Some(placed)) = reader.next_item() {
        assert!(placed.offset > last && placed.offset < longest as u64, "items stand in order");
        last = placed.offset;
        all.push(placed.item);
    }
    all
}
