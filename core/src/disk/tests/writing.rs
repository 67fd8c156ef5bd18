//! Appending, snapshots, truncation, reading back, purging.

use super::*;

#[test]
fn all_that_came_during_a_sync_is_the_next_batch() {
    let mut server = Server::new();
    server.log(1..=1);
    let before = server.files.syncs();
    server.append(2);
    let mut next = 3;
    while let Some(op) = server.disk.next_op(&mut server.events) {
        let completion = server.files.execute(&op);
        server.disk.complete(completion, &mut server.events);
        // One comes during the write, many during the sync.
        let more = match op {
            FileOp::Write { .. } if next == 3 => 1,
            FileOp::SyncData { .. } if next == 4 => 47,
            _other => 0,
        };
        if more == 47 {
            assert_eq!(server.persisted(), Ticket(2), "said as soon as it is durable");
        }
        for _ in 0..more {
            server.append(next);
            next += 1;
        }
    }
    assert_eq!(server.persisted(), Ticket(50));
    assert_eq!(server.files.syncs() - before, 2, "one for the first, one for all others");
}

#[test]
fn an_epoch_is_saved_only_when_the_appends_before_it_are_durable() {
    let mut server = Server::new();
    server.append(1);
    let append = server.append(2);
    let epoch = server.save_epoch(EpochFile::Current, 7);
    let later = server.append(3);
    let mut verbs: Vec<&str> = Vec::new();
    let files = &mut server.files;
    let mut execute = |op: &FileOp| {
        verbs.push(op.verb());
        files.execute(op)
    };
    drive(&mut server.disk, &mut execute, &mut server.events);
    let expected = "create, set the length of, write, sync, sync directory, \
                    create, write, sync, rename, sync directory, write, sync";
    assert_eq!(verbs.join(", "), expected);
    assert!(append < epoch && epoch < later);
    assert_eq!(server.persisted(), later);
}

#[test]
fn a_log_grows_into_zeros_64_kib_at_a_time() {
    let options = |force_sync| DiskOptions {
        force_sync,
        preallocate_bytes: 1 << 20,
        ..DiskOptions::new("/data", "/log")
    };
    // How far each write went that ended with zeros.
    let zeroed = |force_sync| {
        let mut server = Server::boot(options(force_sync), MemoryFiles::new());
        let mut ends: Vec<u64> = Vec::new();
        for zxid in 1..=20 {
            server.submit(Ticket(zxid as u64), &entry(Zxid(zxid), 0, 10_000));
            let files = &mut server.files;
            let mut execute = |op: &FileOp| {
                if let FileOp::Write { offset, bytes, .. } = op
                    && bytes.last() == Some(&0)
                {
                    ends.push(offset + bytes.len() as u64);
                }
                files.execute(op)
            };
            drive(&mut server.disk, &mut execute, &mut server.events);
        }
        assert_eq!(server.restart().recovered().last_zxid, Zxid(20));
        ends
    };
    assert_eq!(zeroed(true), [64 << 10, 128 << 10, 192 << 10, 256 << 10]);
    assert!(zeroed(false).is_empty(), "nobody waits for blocks");
}

#[test]
fn force_sync_off_syncs_no_log() {
    let mut server =
        Server::boot(DiskOptions { force_sync: false, ..options() }, MemoryFiles::new());
    let before = server.files.syncs();
    server.log(1..=10);
    assert_eq!((server.files.syncs(), server.persisted()), (before, Ticket(10)));
}

#[test]
fn a_log_above_the_size_limit_is_rolled() {
    let limit = DiskOptions { log_size_limit_bytes: Some(300), ..options() };
    let mut server = Server::boot(limit, MemoryFiles::new());
    for zxid in 1..=10 {
        server.log(zxid..=zxid);
    }
    assert_eq!(server.names("/log/version-2"), ["log.1", "log.6"]);
    server.restart();
    assert_eq!(server.recovered().state, history(1..=10));
}

#[test]
fn appends_go_on_while_a_snapshot_is_written() {
    let mut server = Server::new();
    server.log(1..=3);
    let mut body = BytesMut::new();
    history(1..=3).encode(&mut body);
    server.disk.submit(DiskAction::SnapshotBegin { zxid: Zxid(3), from_leader: false });
    for byte in body.freeze() {
        server.disk.submit(DiskAction::SnapshotChunk { bytes: Bytes::copy_from_slice(&[byte]) });
        server.drive();
        let next = server.ticket.0 as i64 + 1;
        let ticket = server.append(next);
        server.drive();
        assert_eq!(server.persisted(), ticket);
    }
    let (ticket, last_zxid) = (server.ticket.take(), Zxid(43));
    server.disk.submit(DiskAction::SnapshotEnd { ticket, digest: None, last_zxid });
    server.drive();
    assert_eq!(server.events.iter().filter(|e| matches!(e, DiskEvent::SnapshotReady)).count(), 40);
    assert!(server.names("/data/version-2").contains(&"snapshot.3".to_string()));
    assert_eq!(server.names("/log/version-2"), ["log.1", "log.4"], "the log is rolled");
    server.restart();
    assert_eq!(server.recovered().state, history(1..=43));
}

#[test]
fn a_long_snapshot_is_synced_in_pieces_and_the_log_comes_between_them() {
    let mut server = Server::new();
    let mut body = BytesMut::new();
    history(1..=100_000).encode(&mut body);
    server.disk.submit(DiskAction::SnapshotBegin { zxid: Zxid(1), from_leader: false });
    for piece in body.freeze().chunks(64 << 10) {
        server.disk.submit(DiskAction::SnapshotChunk { bytes: Bytes::copy_from_slice(piece) });
    }
    let (mut unsynced, mut pieces) = (0, 0);
    while let Some(op) = server.disk.next_op(&mut server.events) {
        let completion = server.files.execute(&op);
        server.disk.complete(completion, &mut server.events);
        match op {
            FileOp::Write { path, bytes, .. } if path.contains("tmp.snapshot") => {
                unsynced += bytes.len();
                assert!(unsynced <= 512 << 10, "{unsynced} bytes wait in the cache");
            }
            FileOp::SyncData { path } if path.contains("tmp.snapshot") => {
                (unsynced, pieces) = (0, pieces + 1);
                // What came while the piece before was written.
                assert_eq!(server.persisted(), server.ticket);
                server.append(pieces);
            }
            _ => {}
        }
    }
    assert_eq!((pieces, server.persisted()), (4, server.ticket));
}

#[test]
fn a_snapshot_gets_its_name_when_all_that_is_in_it_is_durable_in_the_log() {
    let mut server = Server::new();
    let mut body = BytesMut::new();
    history(1..=2500).encode(&mut body);
    server.disk.submit(DiskAction::SnapshotBegin { zxid: Zxid(1), from_leader: false });
    server.disk.submit(DiskAction::SnapshotChunk { bytes: body.freeze() });
    for zxid in 1..=2500 {
        server.append(zxid);
    }
    let (ticket, last_zxid) = (server.ticket.take(), Zxid(2500));
    server.disk.submit(DiskAction::SnapshotEnd { ticket, digest: None, last_zxid });
    while let Some(op) = server.disk.next_op(&mut server.events) {
        if matches!(op, FileOp::Rename { .. }) {
            assert_eq!(server.persisted(), ticket);
        }
        let completion = server.files.execute(&op);
        server.disk.complete(completion, &mut server.events);
    }
    assert!(server.names("/data/version-2").contains(&"snapshot.1".to_string()));
}

#[test]
fn a_snapshot_from_the_leader_replaces_a_history_that_is_given_up() {
    let mut server = Server::new();
    server.log(1..=5).snapshot(5, false);
    server.log(6..=9).snapshot(9, false);
    server.snapshot(7, true);
    assert_eq!(server.persisted(), server.ticket);
    assert_eq!(server.names("/log/version-2"), ["given-up.1.log.1", "given-up.1.log.6"]);
    server.append(8);
    server.drive();
    server.restart();
    assert_eq!(server.recovered().state, history(1..=8));
    let snapshots = server.names("/data/version-2");
    assert!(snapshots.iter().filter(|name| name.starts_with("snap")).eq(["snapshot.7"]));
}

#[test]
fn an_aborted_snapshot_leaves_nothing() {
    let mut server = Server::new();
    server.log(1..=2);
    for from_leader in [false, true] {
        server.disk.submit(DiskAction::SnapshotBegin { zxid: Zxid(9), from_leader });
        server.disk.submit(DiskAction::SnapshotChunk { bytes: Bytes::from_static(b"x") });
        server.disk.submit(DiskAction::SnapshotAbort);
        server.drive();
        assert_eq!(server.names("/data/version-2").len(), 3, "epochs and snapshot.0");
    }
}

#[test]
fn truncation_cuts_at_every_record_boundary_and_across_files() {
    let mut whole = Server::new();
    whole.log(1..=3).restart();
    whole.log(4..=6).snapshot(6, false);
    whole.log(7..=9);
    for after in 0..=9 {
        let mut server = Server::boot(options(), whole.files.clone());
        server.truncate(after);
        let recovered = server.recovered();
        assert_eq!((recovered.ticket, recovered.last_zxid), (server.ticket, Zxid(after)));
        assert_eq!(recovered.state, history(1..=after));
        assert_eq!(server.persisted(), server.ticket);
        server.log(after + 1..=12).restart();
        assert_eq!(server.recovered().state, history(1..=12));
    }
}

#[test]
fn truncation_to_what_is_not_there_touches_nothing() {
    let mut server = Server::new();
    server.log(1..=3).snapshot(3, false);
    server.log(4..=6);
    server.files.remove("/data/version-2/snapshot.0");
    // No such zxid; and no snapshot before it.
    for after in [7, 2] {
        let before: Vec<String> = server.files.paths().map(String::from).collect();
        server.truncate(after);
        let recovered = server.recovered();
        assert_eq!((recovered.ticket, recovered.last_zxid), (server.ticket, Zxid(6)), "{after}");
        assert_eq!(recovered.state, history(1..=6));
        assert!(server.files.paths().eq(before));
    }
    server.log(7..=7).restart();
    assert_eq!(server.recovered().state, history(1..=7));
}

#[test]
fn an_epochs_beginning_is_the_same_as_the_last_transaction_before_it() {
    let (beginning, first) = (2_i64 << 32, (2_i64 << 32) + 1);
    let in_epoch_2 = || {
        let mut server = Server::new();
        for file in [EpochFile::Accepted, EpochFile::Current] {
            server.save_epoch(file, 2);
        }
        server
    };
    // This server has what was before, and the leader names the beginning: the log, which goes on
    // in that epoch, shows what it began with.
    let mut server = in_epoch_2();
    server.log(1..=5).log(first..=first + 1);
    server.truncate(beginning);
    let recovered = server.recovered();
    assert_eq!((recovered.last_zxid, &recovered.state), (Zxid(5), &history(1..=5)));
    // The beginning alone does not show what was before.
    let mut server = in_epoch_2();
    server.log(1..=2);
    server.snapshot_named(beginning, 1..=5, true);
    server.log(first..=first + 1);
    server.truncate(5);
    assert_eq!(server.recovered().last_zxid, Zxid(first + 1));
    // Something lies between, or the epoch is another: they are not the same.
    for after in [4, 3 << 32] {
        let mut server = in_epoch_2();
        server.log(1..=3).log(5..=6);
        server.snapshot_named(beginning, 1..=6, false);
        server.log(first..=first);
        server.truncate(after);
        assert_eq!(server.recovered().last_zxid, Zxid(first), "{after}");
    }
}

#[test]
fn transactions_that_a_leader_removes_are_kept_aside() {
    let mut server = Server::new();
    server.log(1..=3).restart();
    server.log(4..=6).snapshot(6, false);
    server.log(7..=9);
    server.truncate(5);
    let given_up = |server: &Server, dir| {
        let names = server.names(dir).into_iter().filter(|name| name.starts_with("given-up."));
        names.collect::<Vec<_>>()
    };
    assert_eq!(given_up(&server, "/log/version-2"), ["given-up.1.log.6", "given-up.1.log.7"]);
    assert_eq!(given_up(&server, "/data/version-2"), ["given-up.1.snapshot.6"]);
    // All of it is good: under its own name it is what it was.
    for (dir, names) in [("/log", [".log.6", ".log.7"]), ("/data", [".snapshot.6", ""])] {
        for name in names.iter().filter(|name| !name.is_empty()) {
            let from = format!("{dir}/version-2/given-up.1{name}");
            let content = server.files.get(&from).unwrap().to_vec();
            server.files.put(&format!("{dir}/version-2/{}", &name[1..]), &content);
        }
    }
    server.restart();
    assert_eq!(server.recovered().state, history(1..=9));
    // A leader's snapshot replaces all; what is empty is not kept.
    server.snapshot(2, true);
    assert_eq!(server.names("/log/version-2").len(), 6, "{:?}", server.names("/log/version-2"));
    let kept = given_up(&server, "/data/version-2");
    assert_eq!(kept, ["given-up.1.snapshot.6", "given-up.2.snapshot.6"]);
    server.restart();
    assert_eq!(server.recovered().state, history(1..=2));
}

#[test]
fn files_kept_aside_are_bounded() {
    let mut server = Server::new();
    server.log(1..=3);
    for _ in 0..70 {
        server.log(4..=4);
        server.truncate(3);
    }
    let kept = server.names("/log/version-2");
    assert_eq!(kept.iter().filter(|name| name.starts_with("given-up.")).count(), 64);
    assert!(kept.contains(&String::from("given-up.70.log.4")));
    assert!(!kept.contains(&String::from("given-up.6.log.4")));
}

fn read_log(
    server: &mut Server,
    from: i64,
    upto: i64,
    max_bytes: u64,
) -> (Vec<i64>, Option<LogEnd>) {
    let (from, upto) = (Zxid(from), Zxid(upto));
    server.events.clear();
    server.disk.submit(DiskAction::ReadLog { read: ReadId(1), from, upto, max_bytes });
    server.drive();
    reads(server)
}

#[test]
fn the_log_is_read_back_for_a_learner() {
    let mut server = Server::new();
    server.log(1..=3).restart();
    server.log(4..=6).restart();
    server.log(8..=9);
    let complete = Some(LogEnd::Complete);
    assert_eq!(read_log(&mut server, 2, 5, u64::MAX), (vec(2..=5), complete));
    assert_eq!(read_log(&mut server, 5, 9, u64::MAX), (alloc::vec![5, 6, 8, 9], complete));
    assert_eq!(read_log(&mut server, 7, 8, u64::MAX), (alloc::vec![6, 8], complete));
    assert_eq!(read_log(&mut server, 9, 9, u64::MAX), (alloc::vec![9], complete));
    let unusable = Some(LogEnd::Unusable);
    assert_eq!(read_log(&mut server, 0, 5, u64::MAX), (alloc::vec![], unusable));
    assert_eq!(
        read_log(&mut server, 2, 5, 4096),
        (alloc::vec![], unusable),
        "later files too large"
    );
    assert_eq!(read_log(&mut server, 8, 9, 0), (alloc::vec![8, 9], complete));
    assert_eq!(read_log(&mut server, 8, 11, u64::MAX), (alloc::vec![8, 9], unusable));
}

#[test]
fn long_reads_come_in_batches_and_can_be_cancelled() {
    let mut server = Server::new();
    server.log(1..=1);
    for zxid in 2..=6 {
        let ticket = server.ticket.take();
        server.submit(ticket, &entry(Zxid(zxid), 0, 700_000));
    }
    server.drive();
    assert_eq!(read_log(&mut server, 1, 6, u64::MAX), (vec(1..=6), Some(LogEnd::Complete)));
    assert_eq!(server.events.len(), 3);
    server.disk.submit(DiskAction::ReadLog {
        read: ReadId(1),
        from: Zxid(1),
        upto: Zxid(6),
        max_bytes: 0,
    });
    server.disk.submit(DiskAction::CancelRead { read: ReadId(1) });
    server.events.clear();
    server.drive();
    assert!(server.events.len() <= 1, "{:?}", server.events.len());
}

fn vec(range: core::ops::RangeInclusive<i64>) -> Vec<i64> {
    range.collect()
}

#[test]
fn purging_keeps_three_valid_snapshots_and_the_logs_from_the_oldest_on() {
    let mut server = Server::new();
    for n in 1..=5 {
        server.log(n * 3 - 2..=n * 3).snapshot(n * 3, false);
    }
    server.log(16..=16);
    server.files.put("/data/version-2/snapshot.10", b"not a snapshot at all");
    server.disk.purge_due();
    server.drive();
    let snapshots = server.names("/data/version-2");
    assert_eq!(snapshots[2..], ["snapshot.10", "snapshot.9", "snapshot.c", "snapshot.f"]);
    assert_eq!(server.names("/log/version-2"), ["log.10", "log.7", "log.a", "log.d"]);
    assert_eq!(read_log(&mut server, 8, 16, u64::MAX).0, vec(8..=16));
    assert_eq!(read_log(&mut server, 2, 16, u64::MAX).1, Some(LogEnd::Unusable));
    server.files.remove("/data/version-2/snapshot.10");
    server.restart();
    assert_eq!(server.recovered().state, history(1..=16));
}

#[test]
fn autopurge_follows_each_snapshot() {
    let mut server = Server::boot(DiskOptions { autopurge: true, ..options() }, MemoryFiles::new());
    for n in 1..=5 {
        server.log(n..=n).snapshot(n, false);
    }
    assert_eq!(server.names("/data/version-2")[2..], ["snapshot.3", "snapshot.4", "snapshot.5"]);
}

#[test]
fn snapshots_are_written_compressed_and_read_again() {
    for (compression, suffix) in [(Compression::Gzip, ".gz"), (Compression::Snappy, ".snappy")] {
        let options = DiskOptions { compression, ..options() };
        let mut server = Server::boot(options.clone(), MemoryFiles::new());
        server.log(1..=500);
        server.snapshot(500, false);
        let names = server.names("/data/version-2");
        assert!(names.contains(&format!("snapshot.1f4{suffix}")), "{names:?}");
        let len = server.files.get(&format!("/data/version-2/snapshot.1f4{suffix}")).unwrap().len();
        assert!(len < 500 * 12, "{len}");
        server.log(501..=510);
        // Whatever is configured now, all kinds are read.
        server.restart();
        assert_eq!(server.recovered().state, history(1..=510));
        assert_eq!(server.recovered().tail.len(), 10);

        let mut server = Server::boot(options, core::mem::take(&mut server.files));
        server.snapshot(700, true);
        assert_eq!(
            server.names("/data/version-2"),
            [
                "acceptedEpoch".to_string(),
                "currentEpoch".to_string(),
                format!("given-up.1.snapshot.1f4{suffix}"),
                format!("snapshot.2bc{suffix}"),
            ]
        );
        server.restart();
        assert_eq!(server.recovered().state, history(1..=700));
    }
}

#[test]
fn a_compressed_snapshot_that_is_cut_short_is_passed_over() {
    let options = DiskOptions { compression: Compression::Gzip, ..options() };
    let mut server = Server::boot(options, MemoryFiles::new());
    server.log(1..=300);
    server.snapshot(300, false);
    server.log(301..=310);
    let path = "/data/version-2/snapshot.12c.gz";
    let whole = server.files.get(path).unwrap().to_vec();
    for cut in [1, 8, 9, whole.len() / 2, whole.len() - 1, whole.len()] {
        server.files.put(path, &whole[..whole.len() - cut]);
        server.restart();
        assert_eq!(server.recovered().state, history(1..=310), "cut by {cut}");
        let empty = server.files.get("/data/version-2/snapshot.0.gz").unwrap().len();
        assert_eq!(server.recovered().snapshot_bytes, empty as u64, "cut by {cut}");
    }
}
