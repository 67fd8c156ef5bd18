//! The journal comes back as it was written, cut anywhere, and damaged anywhere.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use bytes::{Bytes, BytesMut};
use proptest::collection::vec as many;
use proptest::prelude::*;

use super::*;
use crate::action::{Action, DiskAction, EpochFile, Fault, Reason};
use crate::event::{
    DiskEvent, DiskFault, HostStats, LogBatch, LogEnd, NetEvent, Port, Progress, Recovered,
};
use crate::store::{Effects, StoreOptions};
use crate::types::{ConnId, Epoch, HostPort, ReadId, SessionId, Ticket, Time, Zxid};
use crate::wire::entries::{Entries, Entry};
use crate::wire::txn::{LoggedTxn, Txn, TxnHeader};

fn start() -> Start {
    let text = "dataDir=/d\nclientPort=2181\ninitLimit=5\nsyncLimit=2\nserver.1=a:2888:3888\nserver.2=b:2888:3888\n";
    let source = ConfigSource {
        name: "zoo.cfg".to_string(),
        text: text.to_string(),
        flags: [("jute.maxbuffer".to_string(), "2000000".to_string())].into(),
        my_id: Some("2\n".to_string()),
        dynamic: None,
        next: None,
    };
    Start::new(source, 77, Now { mono: Time(5_000), wall_ms: 1_700_000_000_000 })
}

fn segment(number: u64, batches: Vec<Batch>) -> Bytes {
    let start = start();
    let mut all = segment_head(&start, &start.source.parse().unwrap().0, number);
    for batch in batches {
        all.extend_from_slice(&batch.seal());
    }
    all.freeze()
}

/// Items as text, and where the segment is torn.
fn read(segment: Bytes) -> Result<(Vec<String>, Option<u64>), RecordError> {
    let mut reader = SegmentReader::new(segment)?;
    let mut all = Vec::new();
    while let Some(Placed { event, item, .. }) = reader.next_item()? {
        all.push(format!("{event} {}", shown(&item)));
    }
    Ok((all, reader.torn()))
}

/// As text; a store by its image, because its tables may be laid out in another way.
fn shown(item: &Item) -> String {
    let Item::Event(now, Event::Disk(DiskEvent::Recovered(r))) = item else {
        return format!("{item:?}");
    };
    let mut image = BytesMut::new();
    r.state.encode_image(&mut image);
    let rest = (r.ticket, r.last_zxid, &r.tail, r.current_epoch, r.accepted_epoch);
    format!("{now:?} {image:?} {rest:?} {}", r.snapshot_bytes)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    many(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (any::<i64>(), bytes()).prop_map(|(z, body)| Entry { zxid: Zxid(z), body });
    many(entry, 0..4)
}

fn conn() -> impl Strategy<Value = ConnId> {
    (0..1_000u64, any::<bool>())
        .prop_map(|(n, out)| if out { ConnId::dialled(n) } else { ConnId::accepted(n) })
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![Just(Port::Client), Just(Port::Election), Just(Port::Quorum)]
}

fn peer() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
        |(ip, port, flow, scope)| match ip {
            IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, flow, scope).into(),
        },
    )
}

fn recovered() -> impl Strategy<Value = Event<Store>> {
    (any::<[i64; 3]>(), any::<[u64; 2]>(), entries(), 0..5i64).prop_map(
        |([last, current, accepted], [ticket, size], tail, sessions)| {
            let mut state = Store::new(StoreOptions {
                max_field_bytes: 2 * 1_048_575,
                ..StoreOptions::default()
            });
            for n in 0..sessions {
                let (client, zxid) = (SessionId(n), Zxid(n));
                let header = TxnHeader { client, cxid: 0, zxid, time_ms: 0, op: -10 };
                let txn = LoggedTxn { header, txn: Txn::CreateSession(4000), digest: None };
                state.apply(&txn, &mut Effects::default());
            }
            Event::Disk(DiskEvent::Recovered(Box::new(Recovered {
                ticket: Ticket(ticket),
                state,
                last_zxid: Zxid(last),
                tail,
                current_epoch: current,
                accepted_epoch: accepted,
                snapshot_bytes: size,
            })))
        },
    )
}

fn event() -> impl Strategy<Value = Event<Store>> {
    let end = prop_oneof![Just(LogEnd::More), Just(LogEnd::Complete), Just(LogEnd::Unusable)];
    prop_oneof![
        Just(()).prop_map(|()| Event::Tick),
        Just(()).prop_map(|()| Event::Disk(DiskEvent::SnapshotReady)),
        (conn(), port(), peer()).prop_map(|(conn, port, peer)| Event::Net(NetEvent::Opened {
            conn,
            port,
            peer
        })),
        (conn(), bytes()).prop_map(|(conn, bytes)| Event::Net(NetEvent::Received { conn, bytes })),
        (conn(), ".*").prop_map(|(conn, subject)| Event::Net(NetEvent::Identified {
            conn,
            subject: subject.into()
        })),
        conn().prop_map(|conn| Event::Net(NetEvent::Writable { conn })),
        conn().prop_map(|conn| Event::Net(NetEvent::Closed { conn })),
        any::<u64>().prop_map(|upto| Event::Disk(DiskEvent::Persisted { upto: Ticket(upto) })),
        (any::<u64>(), entries(), end).prop_map(|(read, entries, end)| Event::Disk(
            DiskEvent::LogRead(LogBatch { read: ReadId(read), entries, end })
        )),
        any::<[u64; 3]>().prop_map(|[bytes_done, bytes_total, entries]| {
            Event::Disk(DiskEvent::Recovering(Progress { bytes_done, bytes_total, entries }))
        }),
        recovered(),
        (any::<String>(), any::<i32>()).prop_map(|(what, exit_code)| Event::Disk(
            DiskEvent::Failed(DiskFault { what, exit_code })
        )),
        (any::<[u32; 4]>(), many(any::<(String, String)>(), 0..3)).prop_map(
            |(all, environment)| {
                let [a, b, c, d] = all.map(u64::from);
                let (open_files, max_files) = (Some(c), (d % 2 == 0).then_some(d));
                let (data_dir_bytes, data_log_dir_bytes) = (a, b);
                Event::Host(Box::new(HostStats {
                    data_dir_bytes,
                    data_log_dir_bytes,
                    open_files,
                    max_files,
                    log_lines_dropped: a / 3,
                    environment,
                }))
            }
        ),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let now = (any::<u64>(), any::<i64>(), any::<bool>()).prop_map(|(mono, wall_ms, near)| {
        if near {
            Now { mono: Time(mono % 3), wall_ms: wall_ms % 3 }
        } else {
            Now { mono: Time(mono), wall_ms }
        }
    });
    prop_oneof![
        6 => (now, event()).prop_map(|(now, event)| Item::Event(now, event)),
        2 => (0..3u64, any::<u32>()).prop_map(|(count, crc)| {
            Item::Actions(ActionsDigest { count, crc })
        }),
        1 => any::<String>().prop_map(Item::End),
    ]
}

fn put(encoder: &mut Encoder, item: &Item) {
    match item {
        Item::Event(now, event) => encoder.event(*now, event),
        Item::Actions(digest) => encoder.actions(*digest),
        Item::End(why) => encoder.end(why),
    }
}

proptest! {
    #[test]
    fn every_item_comes_back_whatever_batch_it_is_in(
        items in many((item(), 0..3u8), 0..20),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut encoder = Encoder::new(start().now);
        let (mut batches, mut expected, mut events) = (Vec::new(), Vec::new(), 0);
        for (item, cut) in &items {
            put(&mut encoder, item);
            events += u64::from(matches!(item, Item::Event(..)));
            expected.push(format!("{events} {}", shown(item)));
            if *cut == 0 {
                batches.extend(encoder.take(BytesMut::new()));
            }
        }
        batches.extend(encoder.take(BytesMut::new()));
        prop_assert!(encoder.take(BytesMut::new()).is_none());
        let segment = segment(3, batches);
        prop_assert_eq!(read(segment.clone()), Ok((expected.clone(), None)));

        // What is damaged says so, or only lacks its last batch; it never panics.
        let mut flipped = BytesMut::from(&segment[..]);
        flipped[at.index(segment.len())] ^= 1 << bit;
        if let Ok((read, torn)) = read(flipped.freeze()) {
            prop_assert!(torn.is_some() && expected.starts_with(&read));
        }
    }

    #[test]
    fn bytes_with_a_good_checksum_are_not_trusted_either(payload in many(any::<u8>(), 1..200)) {
        let mut bytes = BytesMut::zeroed(8);
        bytes.extend_from_slice(&payload);
        let _ = read(segment(1, vec![Batch::raw(bytes)]));
    }
}

#[test]
fn a_segment_can_end_anywhere() {
    let mut encoder = Encoder::new(start().now);
    let mut batches = Vec::new();
    for n in 1..4 {
        encoder.event(start().now, &Event::Disk(DiskEvent::Persisted { upto: Ticket(n) }));
        batches.extend(encoder.take(BytesMut::new()));
    }
    let (batch, head) = (8 + 3, segment(1, Vec::new()).len());
    let whole = segment(1, batches);
    assert_eq!(whole.len(), head + 3 * batch);
    for length in 0..whole.len() {
        match read(whole.slice(..length)) {
            Err(error) => assert!(error == RecordError::Headless && length < head, "{error}"),
            Ok((items, torn)) => {
                assert_eq!(items.len(), (length - head) / batch);
                let ends = (length - head) % batch == 0;
                assert_eq!(torn, (!ends).then_some((head + items.len() * batch) as u64));
            }
        }
        // Room that was made for a batch, and not written.
        let mut padded = BytesMut::from(&whole[..length]);
        padded.resize(length + 20, 0);
        if let Ok((items, torn)) = read(padded.freeze()) {
            assert!(torn.is_some() && items.len() <= 3);
        }
    }
}

#[test]
fn the_head_says_what_the_node_was_made_from() {
    let reader = SegmentReader::new(segment(9, Vec::new())).unwrap();
    assert_eq!((reader.start(), reader.number()), (&start(), 9));
    assert_eq!(reader.config().my_id.0, 2);
    assert_eq!(reader.config(), &start().source.parse().unwrap().0);

    let not_ours = SegmentReader::new(Bytes::from_static(b"something else")).unwrap_err();
    assert_eq!(not_ours, RecordError::NotAJournal);
    let mut later = BytesMut::from(&segment(1, Vec::new())[..]);
    later[MAGIC.len() + 3] = 9;
    let later = SegmentReader::new(later.freeze()).unwrap_err();
    assert_eq!(later, RecordError::Version { found: 9 });
}

#[test]
fn a_segment_has_a_number_of_six_digits_or_more() {
    for (number, name) in [(1, "j.000001"), (999_999, "j.999999"), (1_000_000, "j.1000000")] {
        assert_eq!(segment_name("j", number), name);
        assert_eq!(segment_number("j", name), Some(number));
    }
    for other in ["j", "j.", "j.1", "j.00000x", "k.000001", "j.000001.gz", "jj.000001"] {
        assert_eq!(segment_number("j", other), None, "{other}");
    }
}

#[test]
fn no_two_of_these_actions_are_taken_for_each_other() {
    let conn = ConnId::accepted(1);
    let bytes = Bytes::from_static(b"ab");
    let entries = Entries::one(Zxid(1), &bytes);
    let close = |why| Action::Close { conn, why };
    let fault =
        |what: &str, exit_code| Action::Halt(Fault { what: Box::new(what.into()), exit_code });
    let disk = [
        DiskAction::Append { ticket: Ticket(1), entries: entries.clone() },
        DiskAction::Append { ticket: Ticket(2), entries },
        DiskAction::Append { ticket: Ticket(2), entries: Entries::one(Zxid(2), &bytes) },
        DiskAction::Truncate { ticket: Ticket(1), after: Zxid(1) },
        DiskAction::SaveEpoch { ticket: Ticket(1), file: EpochFile::Current, epoch: Epoch(1) },
        DiskAction::SaveEpoch { ticket: Ticket(1), file: EpochFile::Accepted, epoch: Epoch(1) },
        DiskAction::SnapshotBegin { zxid: Zxid(1), from_leader: true },
        DiskAction::SnapshotBegin { zxid: Zxid(1), from_leader: false },
        DiskAction::SnapshotChunk { bytes: bytes.clone() },
        DiskAction::SnapshotEnd { ticket: Ticket(1), digest: None, last_zxid: Zxid(1) },
        DiskAction::SnapshotEnd {
            ticket: Ticket(1),
            digest: Some((Zxid(0), 0)),
            last_zxid: Zxid(1),
        },
        DiskAction::SnapshotAbort,
        DiskAction::ReadLog { read: ReadId(1), from: Zxid(1), upto: Zxid(1), max_bytes: 1 },
        DiskAction::CancelRead { read: ReadId(1) },
    ];
    let mut all = vec![
        Action::Dial { conn, port: Port::Quorum, to: HostPort::new("a", 1) },
        Action::Dial { conn, port: Port::Election, to: HostPort::new("a", 1) },
        Action::Send { conn, bytes: bytes.clone() },
        Action::Send { conn, bytes: bytes.slice(..1) },
        Action::Send { conn: ConnId::dialled(1), bytes },
        close(Reason::Done),
        close(Reason::Protocol("a")),
        close(Reason::Timeout("a")),
        close(Reason::Limit("a")),
        close(Reason::TooLong { what: "a", length: 2, limit: 1 }),
        close(Reason::TooLong { what: "a", length: 3, limit: 1 }),
        close(Reason::NotServing),
        close(Reason::Replaced),
        Action::Pause { conn },
        Action::Resume { conn },
        Action::AwaitWritable { conn },
        fault("a", 1),
        fault("a", 2),
        fault("b", 1),
    ];
    all.extend(disk.map(Action::Disk));
    let scratch = &mut BytesMut::new();
    let mut seen = vec![ActionsDigest::of(&[], scratch)];
    assert_eq!(seen, [ActionsDigest::NONE]);
    for (i, one) in all.iter().enumerate() {
        seen.push(ActionsDigest::of(core::slice::from_ref(one), scratch));
        for other in all.iter().skip(i + 1) {
            seen.push(ActionsDigest::of(&[one.clone(), other.clone()], scratch));
            seen.push(ActionsDigest::of(&[other.clone(), one.clone()], scratch));
        }
    }
    let count = seen.len();
    let set: alloc::collections::BTreeSet<_> = seen.iter().map(|d| (d.count, d.crc)).collect();
    assert_eq!(set.len(), count);
}
