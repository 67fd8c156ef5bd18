//! What is recovered from which directory, and what is refused.

use super::*;

const LOG: &str = "/log/version-2/log.1";

#[test]
fn an_empty_directory_becomes_an_empty_database_with_a_snapshot() {
    let mut server = Server::new();
    assert_eq!(server.recovered().last_zxid, Zxid::ZERO);
    assert_eq!(server.names("/data/version-2"), ["acceptedEpoch", "currentEpoch", "snapshot.0"]);
    assert_eq!(server.files.get("/data/version-2/currentEpoch"), Some(&b"0"[..]));
    server.restart();
    assert_eq!(server.recovered().state, History::default());
}

#[test]
fn without_autocreate_an_empty_database_may_vote_only_after_initialize() {
    let careful = || DiskOptions { autocreate: false, ..options() };
    let mut server = Server::boot(careful(), MemoryFiles::new());
    assert_eq!(server.recovered().last_zxid, Zxid::UNTRUSTED);
    let mut files = core::mem::take(&mut server.files);
    files.put("/log/initialize", b"");
    let mut server = Server::boot(careful(), files);
    assert_eq!(server.recovered().last_zxid, Zxid::ZERO);
    assert_eq!(server.files.get("/log/initialize"), None);
    let files = core::mem::take(&mut server.files);
    assert_eq!(Server::boot(careful(), files).recovered().last_zxid, Zxid::ZERO);
}

#[test]
fn a_standalone_server_keeps_no_epoch_files() {
    let alone = DiskOptions { ensemble: false, ..options() };
    let server = Server::boot(alone, MemoryFiles::new());
    assert_eq!(server.names("/data/version-2"), ["snapshot.0"]);
}

#[test]
fn logged_transactions_are_replayed_and_the_newest_are_the_tail() {
    let mut server = Server::new();
    server.log(1..=700).restart();
    let recovered = server.recovered();
    assert_eq!(recovered.state, history(1..=700));
    assert_eq!((recovered.tail.len(), recovered.tail[0].zxid), (500, Zxid(201)));
    server.log(701..=702).restart();
    assert_eq!(server.recovered().last_zxid, Zxid(702));
    assert_eq!(server.names("/log/version-2"), ["log.1", "log.2bd"], "a new process, a new file");
}

#[test]
fn replay_begins_after_the_newest_snapshot() {
    let mut server = Server::new();
    server.log(1..=5).snapshot(5, false);
    server.log(6..=8).restart();
    assert_eq!(server.recovered().state, history(1..=8));
    assert_eq!(tail_of(server.recovered()), "6 7 8");
    assert!(server.recovered().snapshot_bytes > 64);
}

#[test]
fn a_torn_last_entry_is_cut_off_at_any_byte_and_kept_aside() {
    let mut server = Server::new();
    server.log(1..=3);
    let whole = server.files.get(LOG).map(<[u8]>::to_vec).unwrap_or_default();
    let end = used(&whole);
    let entry_len = (end - 16) / 3;
    for cut in end - entry_len + 5..end {
        let mut files = server.files.clone();
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        files.put(LOG, &torn);
        let mut after = Server::boot(options(), files);
        assert_eq!(after.recovered().state, history(1..=2), "cut at {cut}");
        assert!(after.names("/log/version-2").iter().any(|n| n.starts_with("torn.1.")));
        after.log(3..=4).restart();
        assert_eq!(after.recovered().state, history(1..=4), "cut at {cut}");
    }
}

#[test]
fn garbage_after_the_last_entry_is_cut_off() {
    let mut server = Server::new();
    server.log(1..=3);
    server.edit(LOG, |log| {
        let end = used(log);
        for (i, byte) in log[end..].iter_mut().enumerate() {
            *byte = (i * 7 % 251) as u8;
        }
    });
    server.restart();
    assert_eq!(server.recovered().state, history(1..=3));
}

#[test]
fn a_wrong_checksum_at_the_tail_is_a_torn_write_and_in_the_middle_is_damage() {
    let mut server = Server::new();
    server.log(1..=3);
    let (end, files) = (used(server.files.get(LOG).unwrap_or_default()), server.files.clone());
    server.edit(LOG, |log| log[end - 3] ^= 1);
    server.restart();
    assert_eq!(server.recovered().state, history(1..=2));

    server.files = files;
    server.edit(LOG, |log| log[16 + 30] ^= 1);
    server.restart();
    let (what, exit_code) = server.fault();
    assert_eq!(exit_code, 1);
    for word in [LOG, "offset 16", "checksum", "good ones follow", "restore"] {
        assert!(what.contains(word), "{word}: {what}");
    }
}

#[test]
fn sectors_of_the_last_batch_may_be_missing() {
    let mut server = Server::new();
    server.log(1..=2);
    let start = used(server.files.get(LOG).unwrap_or_default());
    server.log(3..=100);
    server.edit(LOG, |log| {
        let sector = start.next_multiple_of(512);
        log[sector..sector + 512].fill(0);
    });
    server.restart();
    let last = server.recovered().last_zxid;
    assert!(last >= Zxid(2) && last < Zxid(20), "{last}");
    assert_eq!(server.recovered().state, history(1..=last.0));
}

#[test]
fn a_missing_sector_may_reach_into_the_next_entry() {
    let mut tried = 0;
    for padding in 0..1200 {
        let mut server = Server::new();
        server.log(1..=1);
        let begin = used(server.files.get(LOG).unwrap());
        for (zxid, padding) in [(2, padding), (3, 10)] {
            let ticket = server.ticket.take();
            server.submit(ticket, &entry(Zxid(zxid), zxid as u32, padding));
        }
        server.drive();
        let end = used(server.files.get(LOG).unwrap());
        let third = entry(Zxid(3), 3, 10).body.len() + 13;
        let follower = end - third;
        // Its first four bytes are zero in any case.
        let lost = ((follower + 4) / 512 * 512).saturating_sub(512);
        if lost < begin || lost + 512 <= follower {
            continue;
        }
        tried += 1;
        server.edit(LOG, |log| log[lost..lost + 512].fill(0));
        server.restart();
        assert_eq!(server.recovered().state, history(1..=1), "padding {padding}");
    }
    assert!(tried > 0);
}

#[test]
fn a_newest_log_without_entries_is_dropped() {
    for content in [&b""[..], b"ZK", b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0", &[0; 4096]] {
        let mut server = Server::new();
        server.log(1..=3);
        server.files.put("/log/version-2/log.4", content);
        server.restart();
        assert_eq!(server.recovered().state, history(1..=3), "{content:?}");
        server.log(4..=5).restart();
        assert_eq!(server.recovered().state, history(1..=5), "{content:?}");
    }
}

#[test]
fn an_unfinished_or_damaged_snapshot_is_passed_over() {
    let mut server = Server::new();
    server.log(1..=3).snapshot(3, false);
    server.log(4..=6).snapshot(6, false);
    server.log(7..=7);
    let files = server.files.clone();
    server.edit("/data/version-2/snapshot.6", |s| s.truncate(s.len() - 1));
    server.files.put("/data/version-2/tmp.snapshot.7", b"ZKSN");
    server.files.put("/data/version-2/snapshot.7.tmp", b"ZKSN");
    server.restart();
    assert_eq!(server.recovered().state, history(1..=7));
    assert_eq!(tail_of(server.recovered()), "4 5 6 7");
    assert!(server.names("/data/version-2").iter().all(|name| !name.contains("tmp")));

    server.files = files;
    server.edit("/data/version-2/snapshot.6", |s| s[20] ^= 1);
    server.restart();
    assert_eq!(server.recovered().state, history(1..=7));
}

#[test]
fn logs_that_end_before_a_damaged_snapshot_are_not_enough() {
    let mut server = Server::new();
    server.log(1..=3).snapshot(6, false);
    server.edit("/data/version-2/snapshot.6", |s| s[20] ^= 1);
    server.restart();
    assert!(server.fault().0.contains("snapshot.6 cannot be used"), "{:?}", server.fault());
}

#[test]
fn logs_without_a_snapshot_are_refused_unless_trusted() {
    let mut server = Server::new();
    server.log(1..=3);
    server.files.remove("/data/version-2/snapshot.0");
    server.restart();
    assert!(server.fault().0.contains("snapshot.trust.empty"), "{:?}", server.fault());
    let trusting = DiskOptions { trust_empty: true, ..options() };
    let server = Server::boot(trusting, core::mem::take(&mut server.files));
    assert_eq!(server.recovered().state, history(1..=3));
}

#[test]
fn a_damaged_compressed_snapshot_is_said_as_it_is() {
    let mut files = MemoryFiles::new();
    files.put("/data/version-2/snapshot.5.gz", b"\x1f\x8b0123456789");
    let server = Server::boot(options(), files);
    assert!(server.fault().0.contains("it does not begin as a compressed file of its kind"));
}

#[test]
fn snapshots_and_logs_in_each_others_directory_are_refused() {
    for path in ["/log/version-2/snapshot.0", "/data/version-2/log.1"] {
        let mut files = MemoryFiles::new();
        files.put(path, b"");
        let server = Server::boot(options(), files);
        assert_eq!(server.fault().1, 3);
        assert!(server.fault().0.contains(path));
    }
    let one = DiskOptions { log_dir: "/data".into(), ..options() };
    let mut server = Server::boot(one.clone(), MemoryFiles::new());
    server.log(1..=2);
    let server = Server::boot(one, core::mem::take(&mut server.files));
    assert_eq!(server.recovered().state, history(1..=2));
}

#[test]
fn an_entry_above_the_limit_is_not_cut_off() {
    let mut server = Server::new();
    server.log(1..=1);
    let ticket = server.ticket.take();
    server.submit(ticket, &entry(Zxid(2), 2, 3000));
    server.drive();
    let low = DiskOptions { max_record_bytes: 2000, ..options() };
    let server = Server::boot(low, core::mem::take(&mut server.files));
    assert!(server.fault().0.contains("raise jute.maxbuffer"), "{:?}", server.fault());
}

#[test]
fn a_gap_after_a_damaged_file_is_refused() {
    let mut server = Server::new();
    server.log(1..=3).restart();
    server.log(4..=6);
    let files = server.files.clone();
    // The end of the older file is torn: 3 is lost, and 4 does not follow 2.
    server.edit(LOG, |log| {
        let end = used(log);
        log[end - 20..end].fill(0);
    });
    server.restart();
    assert!(server.fault().0.contains("missing"), "{:?}", server.fault());
    // Nothing is lost if what is torn was never more than that.
    server.files = files;
    server.edit(LOG, |log| {
        let end = used(log);
        log[end + 5] = 1;
    });
    server.restart();
    assert_eq!(server.recovered().state, history(1..=6));
}

const E1: i64 = 1 << 32;

#[test]
fn a_new_epoch_hides_no_gap_behind_a_damaged_snapshot() {
    let mut server = Server::new();
    server.save_epoch(EpochFile::Accepted, 1);
    server.log(1..=3).snapshot(3, false);
    server.log(E1 + 1..=E1 + 2);
    server.files.remove(LOG);
    server.edit("/data/version-2/snapshot.3", |s| s[20] ^= 1);
    server.restart();
    assert!(server.fault().0.contains("missing"), "{:?}", server.fault());
}

#[test]
fn recovered_transactions_are_durable() {
    let mut server = Server::new();
    server.log(1..=2);
    // The process is killed between the write and the sync of a third entry.
    server.append(3);
    while let Some(op) = server.disk.next_op(&mut server.events) {
        if matches!(op, FileOp::SyncData { .. }) {
            break;
        }
        let completion = server.files.execute(&op);
        server.disk.complete(completion, &mut server.events);
    }
    server.restart();
    assert_eq!(server.recovered().state, history(1..=3));
    // What it read it may vote with, so a power failure must not take it away.
    for seed in 0..20 {
        let mut files = server.files.clone();
        files.crash(&mut fastrand::Rng::with_seed(seed), false);
        assert_eq!(Server::boot(options(), files).recovered().state, history(1..=3));
    }
}

#[test]
fn current_epoch_follows_the_log_when_the_epoch_was_accepted() {
    let mut server = Server::new();
    server.save_epoch(EpochFile::Accepted, 1);
    server.log(E1 + 1..=E1 + 2).restart();
    assert_eq!((server.recovered().current_epoch, server.recovered().accepted_epoch), (1, 1));
    assert_eq!(server.files.get("/data/version-2/currentEpoch"), Some(&b"1"[..]));
}

#[test]
fn an_unfinished_current_epoch_file_counts_when_the_log_is_ahead() {
    let mut server = Server::new();
    server.save_epoch(EpochFile::Accepted, 2);
    server.log(E1 + 1..=E1 + 2);
    server.files.put("/data/version-2/currentEpoch.tmp", b"2");
    server.restart();
    assert_eq!(server.recovered().current_epoch, 2);
}

#[test]
fn epochs_that_contradict_each_other_are_refused() {
    let mut server = Server::new();
    server.log(E1 + 1..=E1 + 2).restart();
    assert!(server.fault().0.contains("currentEpoch"), "{:?}", server.fault());
    let mut server = Server::new();
    server.files.put("/data/version-2/currentEpoch", b"3");
    server.restart();
    assert!(server.fault().0.contains("less than the current epoch 3"));
    server.files.put("/data/version-2/currentEpoch", b"three");
    server.restart();
    assert!(server.fault().0.contains("does not hold a number"));
}

#[test]
fn a_directory_without_version_2_is_not_taken_for_an_empty_one() {
    let mut files = MemoryFiles::new();
    files.put("/data/snapshot.5", b"anything");
    let server = Server::boot(options(), files);
    let (what, exit_code) = server.fault();
    assert!(what.starts_with("/data/snapshot.5 is there, but /data/version-2 is empty"), "{what}");
    assert_eq!(exit_code, 3);
    let mut files = MemoryFiles::new();
    files.put("/log/log.1", b"anything");
    let server = Server::boot(options(), files);
    assert!(server.fault().0.starts_with("/log/log.1 is there"), "{:?}", server.fault());
}

#[test]
fn without_datadir_autocreate_a_missing_directory_is_not_made() {
    let fixed = DiskOptions { make_dirs: false, ..options() };
    let server = Server::boot(fixed.clone(), MemoryFiles::new());
    let (what, exit_code) = server.fault();
    assert!(what.contains("datadir.autocreate is false"), "{what}");
    assert_eq!(exit_code, 3);
    let mut there = Server::new();
    there.log(1..=3);
    let server = Server::boot(fixed, core::mem::take(&mut there.files));
    assert_eq!(server.recovered().state, history(1..=3));
}

#[test]
fn a_hole_in_the_logs_is_refused() {
    let mut server = Server::new();
    server.log(1..=3).restart().log(4..=6).restart().log(7..=9);
    server.files.remove("/log/version-2/log.4");
    server.restart();
    let (what, exit_code) = server.fault();
    let expected = "transactions between 0x3 and 0x7 (in /log/version-2/log.7) are missing, a log \
                    file is not there; restore it, or, if a quorum of the others has the data, empty";
    assert!(what.starts_with(expected) && exit_code == 1, "{what}");
    // A standalone server has nobody to copy from.
    let alone = DiskOptions { ensemble: false, ..options() };
    let mut server = Server::boot(alone.clone(), core::mem::take(&mut server.files));
    assert!(server.fault().0.ends_with("which forgets what is in them"), "{:?}", server.fault());
    server.files.remove("/log/version-2/log.7");
    let server = Server::boot(alone, core::mem::take(&mut server.files));
    assert_eq!(server.recovered().state, history(1..=3));
}

#[test]
fn a_snapshot_without_the_log_that_it_needs_is_refused() {
    let mut server = Server::new();
    server.log(1..=3);
    let mut body = BytesMut::new();
    history(1..=5).encode(&mut body);
    // Begun at 3, and 4 and 5 were applied while it was written.
    server.disk.submit(DiskAction::SnapshotBegin { zxid: Zxid(3), from_leader: false });
    server.log(4..=5);
    server.disk.submit(DiskAction::SnapshotChunk { bytes: body.freeze() });
    let (ticket, digest) = (server.ticket.take(), Some((Zxid(5), 9)));
    server.disk.submit(DiskAction::SnapshotEnd { ticket, digest, last_zxid: Zxid(5) });
    server.drive();
    server.restart();
    assert_eq!(server.recovered().state, history(1..=5));
    server.files.remove("/log/version-2/log.4");
    // A member of an ensemble may have applied what was not in its log yet when it was stopped.
    server.restart();
    assert_eq!(server.recovered().last_zxid, Zxid(3));
    let alone = DiskOptions { ensemble: false, ..options() };
    let mut server = Server::boot(alone.clone(), core::mem::take(&mut server.files));
    let expected = "/data/version-2/snapshot.3 was taken while transactions up to 0x5 were applied, \
                    but the logs end at 0x3: its log is missing; restore it, or move the snapshot \
                    away";
    assert!(server.fault().0.starts_with(expected), "{:?}", server.fault());
    server.files.remove("/data/version-2/snapshot.3");
    let server = Server::boot(alone, core::mem::take(&mut server.files));
    assert_eq!(server.recovered().state, history(1..=3));
}

#[test]
fn epoch_files_that_are_not_there_say_the_epoch_of_the_last_zxid() {
    let mut whole = Server::new();
    whole.save_epoch(EpochFile::Accepted, 1);
    whole.save_epoch(EpochFile::Current, 1);
    whole.log(E1 + 1..=E1 + 2);
    for lost in [&["currentEpoch"][..], &["acceptedEpoch"], &["currentEpoch", "acceptedEpoch"]] {
        let mut files = whole.files.clone();
        lost.iter().for_each(|name| files.remove(&format!("/data/version-2/{name}")));
        let server = Server::boot(options(), files);
        let recovered = server.recovered();
        assert_eq!((recovered.current_epoch, recovered.accepted_epoch), (1, 1), "{lost:?}");
        for name in lost {
            let content = server.files.get(&format!("/data/version-2/{name}"));
            assert_eq!(content, Some(&b"1"[..]), "{lost:?}");
        }
    }
    // What was promised beyond the log is lost with the file; what the other one says is not.
    whole.save_epoch(EpochFile::Accepted, 3);
    whole.save_epoch(EpochFile::Current, 2);
    whole.drive();
    let mut files = whole.files.clone();
    files.remove("/data/version-2/currentEpoch");
    let recovered = Server::boot(options(), files);
    assert_eq!(recovered.recovered().current_epoch, 1);
    assert_eq!(recovered.recovered().accepted_epoch, 3);
    let mut files = whole.files.clone();
    files.remove("/data/version-2/acceptedEpoch");
    let server = Server::boot(options(), files);
    let (what, _) = server.fault();
    assert!(what.contains("accepted epoch 1, for want of its file, is less than"), "{what}");
    assert!(what.contains("if a quorum of the others has the data"), "{what}");
}

#[test]
fn a_refusal_of_the_epochs_changes_nothing() {
    for (name, content) in [("currentEpoch", "three"), ("currentEpoch", "3"), ("acceptedEpoch", "")]
    {
        let mut files = MemoryFiles::new();
        files.put(&format!("/data/version-2/{name}"), content.as_bytes());
        files.put("/log/version-2/of-the-operator", b"anything");
        let before: Vec<String> = files.paths().map(String::from).collect();
        let server = Server::boot(options(), files);
        server.fault();
        assert!(server.files.paths().eq(before), "{name} {content}");
    }
}

#[test]
fn log_replayed_without_a_snapshot_has_one_afterwards() {
    let mut server = Server::new();
    server.log(1..=5);
    server.files.remove("/data/version-2/snapshot.0");
    let trusting = DiskOptions { trust_empty: true, ..options() };
    let mut server = Server::boot(trusting, server.files);
    assert_eq!(server.recovered().state, history(1..=5));
    // It is durable before anybody is told.
    server.files.crash(&mut fastrand::Rng::with_seed(1), false);
    server.restart();
    assert_eq!(server.recovered().state, history(1..=5));
    assert!(server.names("/data/version-2").contains(&String::from("snapshot.5")));
}
