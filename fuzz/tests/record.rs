//! A node that is driven in memory is recorded, and replayed from its journal.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use zabkeeper_core::action::{Action, Actions};
use zabkeeper_core::client::{Client, ClientEvent, ClientOptions, Request};
use zabkeeper_core::disk::{Disk, MemoryFiles, drive};
use zabkeeper_core::event::{Event, NetEvent, Port};
use zabkeeper_core::journal::{
    ActionsDigest, ConfigSource, Encoder, SegmentReader, Start, segment_head, segment_name,
};
use zabkeeper_core::node::{Node, disk_options, store_options};
use zabkeeper_core::store::Store;
use zabkeeper_core::types::{ConnId, Now, Time};
use zabkeeper_core::wire::client::{Acl, CreateRequest, Id, WatchedRequest};
use zabkeeper_fuzz::plan::Plan;
use zabkeeper_fuzz::record::{Ending, Error, Verdict, command, replay};
use zabkeeper_fuzz::world::World;

/// These seeds' servers are recorded: few, because the test is to be quick.
const SIMULATED: [u64; 4] = [0, 9, 21, 65];

/// One server alone, with a disk in memory, and its journal.
struct Recorded {
    start: Start,
    node: Node,
    disk: Disk<Store>,
    files: MemoryFiles,
    encoder: Encoder,
    journal: PathBuf,
    segment: u64,
    now: Now,
    /// What was sent to the only client.
    sent: Vec<Bytes>,
}

fn source() -> ConfigSource {
    let text =
        "dataDir=/d\nclientPort=2181\nsnapCount=8\npreAllocSize=16\n4lw.commands.whitelist=*\n"
            .to_string();
    ConfigSource { name: "zoo.cfg".to_string(), text, ..Default::default() }
}

impl Recorded {
    fn begin(journal: &Path, files: MemoryFiles, segment: u64) -> Recorded {
        let now = Now { mono: Time(1_000), wall_ms: 1_700_000_000_000 };
        let start = Start::new(source(), segment, now);
        let config = source().parse().unwrap().0;
        let disk = Disk::new(disk_options(&config), store_options(&config));
        let mut recorded = Recorded {
            node: start.node().unwrap(),
            start,
            disk,
            files,
            encoder: Encoder::new(now),
            journal: journal.to_path_buf(),
            segment,
            now,
            sent: Vec::new(),
        };
        recorded.drive_disk();
        recorded
    }

    fn step(&mut self, event: Event<Store>) {
        self.now.mono = self.now.mono.plus_ms(3);
        self.now.wall_ms += 2;
        let mut out = Actions::new();
        self.encoder.event(self.now, &event);
        self.node.step(self.now, event, &mut out);
        self.encoder.actions(ActionsDigest::of(&out, &mut BytesMut::new()));
        for action in out {
            match action {
                Action::Send { bytes, .. } => self.sent.push(bytes),
                Action::Disk(action) => self.disk.submit(action),
                _ => {}
            }
        }
        self.drive_disk();
    }

    fn drive_disk(&mut self) {
        let mut events = Vec::new();
        let files = &mut self.files;
        drive(&mut self.disk, &mut |op| files.execute(op), &mut events);
        for event in events {
            self.step(Event::Disk(event));
        }
    }

    /// Writes what has gathered as the next segment.
    fn write_segment(&mut self, in_run: u64) {
        let config = source().parse().unwrap().0;
        let mut bytes = segment_head(&self.start, &config, in_run);
        if let Some(batch) = self.encoder.take(BytesMut::new()) {
            bytes.extend_from_slice(&batch.seal());
        }
        fs::write(path(&self.journal, self.segment), bytes).unwrap();
        self.segment += 1;
    }

    /// A client's session, with a four-letter word of another connection in between.
    fn serve_a_client(&mut self, number: u64) {
        let conn = ConnId::accepted(number);
        let peer = ([127, 0, 0, 1], 4000).into();
        self.step(Event::Net(NetEvent::Opened { conn, port: Port::Client, peer }));
        let mut client = Client::new(ClientOptions::default(), self.now.mono);
        client.connected(self.now.mono);
        client.add_auth(self.now.mono, "digest", Bytes::from_static(b"u:p"));
        for n in 0..30 {
            let path = format!("/n{number}-{n}");
            let (flags, perms) = (n % 4, 1 << (n % 5));
            let id = Id { scheme: "world".into(), id: "anyone".into() };
            let acl = vec![Acl { perms, id }];
            let data = Some(Bytes::from(vec![n as u8; 30]));
            let path = path.as_str().into();
            let requests = [
                Request::GetChildren(WatchedRequest { path: "/".into(), watch: true }),
                Request::Create(CreateRequest { path, data, acl, flags }),
            ];
            for request in &requests {
                client.submit(self.now.mono, request).unwrap();
            }
            self.exchange(&mut client, conn);
        }
        let events: Vec<_> = std::iter::from_fn(|| client.next_event()).collect();
        let watches = events.iter().filter(|e| matches!(e, ClientEvent::Watch { .. })).count();
        assert_eq!((client.outstanding(), watches), (0, 30), "{events:?}");
        let word = ConnId::accepted(number + 1);
        self.step(Event::Net(NetEvent::Opened { conn: word, port: Port::Client, peer }));
        self.step(Event::Net(NetEvent::Received {
            conn: word,
            bytes: Bytes::from_static(b"mntr"),
        }));
        self.step(Event::Net(NetEvent::Closed { conn: word }));
        self.sent.clear();
        if number.is_multiple_of(2) {
            client.close(self.now.mono);
            self.exchange(&mut client, conn);
        }
        self.step(Event::Net(NetEvent::Closed { conn }));
        self.step(Event::Tick);
    }

    fn exchange(&mut self, client: &mut Client, conn: ConnId) {
        while let Some(bytes) = client.take_output() {
            // Cut somewhere.
            let half = bytes.len() / 2;
            self.step(Event::Net(NetEvent::Received { conn, bytes: bytes.slice(..half) }));
            self.step(Event::Net(NetEvent::Received { conn, bytes: bytes.slice(half..) }));
            for bytes in std::mem::take(&mut self.sent) {
                client.received(self.now.mono, bytes);
            }
        }
    }
}

fn path(journal: &Path, number: u64) -> PathBuf {
    let name = journal.file_name().unwrap().to_str().unwrap();
    journal.with_file_name(segment_name(name, number))
}

/// A run of three segments.
fn record(journal: &Path) -> MemoryFiles {
    let mut recorded = Recorded::begin(journal, MemoryFiles::new(), 1);
    for in_run in 1..=3 {
        recorded.serve_a_client(in_run * 10 + in_run % 2);
        if in_run == 3 {
            recorded.encoder.end("stopped");
        }
        recorded.write_segment(in_run);
    }
    recorded.files
}

/// The verdict of the only run, and how it ends.
fn only(journal: &Path) -> (Verdict, Ending) {
    let mut runs = replay(journal, None).unwrap().runs;
    let run = runs.pop().unwrap();
    assert!(runs.is_empty());
    (run.verdict, run.ending)
}

#[test]
fn the_same_events_give_the_same_actions_in_every_run() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let files = record(&journal);
    // One that was killed before it had written anything.
    fs::write(path(&journal, 4), "zabkeeper jour").unwrap();
    // The next run finds what the first one left: snapshots, ACLs, sessions, a log.
    let mut second = Recorded::begin(&journal, files, 5);
    second.serve_a_client(1);
    second.write_segment(1);
    let nodes = second.node.store().node_count();
    assert!(nodes > 60, "{nodes}");

    let outcome = replay(&journal, None).unwrap();
    assert_eq!(outcome.runs.len(), 2);
    for run in &outcome.runs {
        assert!(matches!(run.verdict, Verdict::Identical), "{run}");
        assert!(run.events > 100 && run.actions > 100, "{run}");
    }
    assert_eq!(outcome.runs[0].ending, Ending::Said("stopped".to_string()));
    assert_eq!(outcome.runs[1].ending, Ending::Open);
    let state = outcome.runs[1].state.clone().unwrap();
    assert!(state.contains(&format!("Standalone, zxid {}", second.node.store().last_zxid())));
    assert!(state.contains(&format!("digest {:#x}", second.node.store().digest())), "{state}");

    let mut story = Vec::new();
    assert_eq!(command(&journal, true, &mut story).unwrap(), 0);
    let story = String::from_utf8(story).unwrap();
    for told in [
        "Recovered ticket 0",
        "Opened in-11 Client",
        "bytes: CONNECT, a new session of",
        "bytes: nothing complete",
        "bytes: Create #2 /n11-0",
        "  EVENT NodeChildrenChanged /",
        "Append 2 0x2 create /n11-0",
        "Received in-12 4 bytes: four-letter word mntr",
        "lines, \"zk_version",
        "SnapshotBegin",
        "identical",
    ] {
        assert!(story.contains(told), "{told} is not in the story");
    }
}

#[test]
fn another_answer_is_found_at_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let mut recorded = Recorded::begin(&journal, MemoryFiles::new(), 1);
    recorded.serve_a_client(1);
    let conn = ConnId::accepted(5);
    let peer = ([127, 0, 0, 1], 4000).into();
    recorded.step(Event::Net(NetEvent::Opened { conn, port: Port::Client, peer }));
    // A node that answers "ruok" in another way.
    let event = Event::Net(NetEvent::Received { conn, bytes: Bytes::from_static(b"ruok") });
    recorded.encoder.event(recorded.now, &event);
    let bytes = Bytes::from_static(b"imnot");
    let other = ActionsDigest::of(&[Action::Send { conn, bytes }], &mut BytesMut::new());
    recorded.encoder.actions(other);
    recorded.step(Event::Tick);
    recorded.write_segment(1);

    let (Verdict::Diverged(found), _) = only(&journal) else { panic!("nothing is found") };
    assert_eq!((found.recorded, found.segment.clone()), (other, path(&journal, 1)));
    assert!(found.what.starts_with("Received in-5 4 bytes"), "{found}");
    assert!(found.actions[0].contains("imok"), "{found}");
    let mut reader = SegmentReader::new(fs::read(path(&journal, 1)).unwrap().into()).unwrap();
    let at = std::iter::from_fn(|| reader.next_item().unwrap()).find(|p| p.offset == found.offset);
    assert_eq!(at.unwrap().event, found.event);
    let mut text = Vec::new();
    assert_eq!(command(&journal, false, &mut text).unwrap(), 1);
    assert!(String::from_utf8(text).unwrap().contains("DIVERGED: event"));
}

#[test]
fn another_seed_draws_other_session_ids() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let mut recorded = Recorded::begin(&journal, MemoryFiles::new(), 1);
    recorded.serve_a_client(1);
    recorded.start.seed += 1;
    recorded.write_segment(1);
    let (Verdict::Diverged(found), _) = only(&journal) else { panic!("nothing is found") };
    assert_ne!(found.recorded, found.replayed, "{found}");
    assert!(found.actions[0].starts_with("Append"), "the session's transaction: {found}");
}

#[test]
fn deleted_segments_are_reported_and_not_guessed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    record(&journal);
    let last = fs::read(path(&journal, 3)).unwrap();
    fs::write(path(&journal, 3), &last[..last.len() - 1]).unwrap();
    let (verdict, ending) = only(&journal);
    assert!(
        matches!((&verdict, &ending), (Verdict::Identical, Ending::Torn)),
        "{verdict} {ending}"
    );
    fs::write(path(&journal, 3), &last[..9]).unwrap();
    let (verdict, ending) = only(&journal);
    assert!(
        matches!((&verdict, &ending), (Verdict::Identical, Ending::Open)),
        "{verdict} {ending}"
    );
    fs::write(path(&journal, 3), &last).unwrap();

    let second = fs::read(path(&journal, 2)).unwrap();
    let mut damaged = second.clone();
    damaged.push(0);
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    fs::write(path(&journal, 2), damaged).unwrap();
    let (verdict, _) = only(&journal);
    let text = verdict.to_string();
    assert!(matches!(verdict, Verdict::Broken { .. }), "{text}");
    assert!(text.contains("journal.000002: damaged at byte"), "{text}");

    fs::remove_file(path(&journal, 2)).unwrap();
    let (verdict, _) = only(&journal);
    assert!(verdict.to_string().contains("are not there"), "{verdict}");
    assert_eq!(command(&journal, false, &mut Vec::new()).unwrap(), 2);

    fs::write(path(&journal, 2), second).unwrap();
    fs::remove_file(path(&journal, 1)).unwrap();
    let mut story = Vec::new();
    assert_eq!(command(&journal, true, &mut story).unwrap(), 2);
    let story = String::from_utf8(story).unwrap();
    assert!(story.contains("Received in-20") && story.contains("its first segments are gone"));

    let none = replay(&dir.path().join("other"), None).unwrap_err();
    assert!(matches!(none, Error::NoJournal(_)), "{none}");
    fs::write(path(&dir.path().join("other"), 1), "some text").unwrap();
    let foreign = replay(&dir.path().join("other"), None).unwrap_err();
    assert!(foreign.to_string().contains("other.000001: this is no journal"), "{foreign}");
}

/// Whatever happens to a server (elections, truncations, snapshots from a leader, reads of its
/// log, disks that fail), its journal holds all that its actions depend on.
#[test]
fn simulated_servers_replay_whatever_happened_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut runs, mut recoveries, mut truncations) = (0, 0, 0);
    for seed in SIMULATED {
        let mut world = World::new(Plan::draw(seed)).with_journals();
        world.run();
        for simulated in world.take_journals() {
            let journal = dir.path().join(format!("seed{seed}-{}", simulated.name));
            fs::write(path(&journal, 1), simulated.into_segment()).unwrap();
            let mut story = Vec::new();
            for run in replay(&journal, Some(&mut story)).unwrap().runs {
                assert!(matches!(run.verdict, Verdict::Identical), "{run}");
                runs += 1;
            }
            let story = String::from_utf8(story).unwrap();
            recoveries += story.matches(" Recovered ticket 0 ").count();
            truncations += story.matches("Truncate {").count();
            fs::remove_file(path(&journal, 1)).unwrap();
        }
    }
    assert!(runs > 10 && recoveries > 10, "{recoveries} recoveries in {runs} runs");
    println!("{runs} runs, {recoveries} recoveries, {truncations} truncations");
}
