//! Operations that fail.

use super::*;

/// Drives until an operation of this verb on a path with this in it, which then fails.
fn fail(server: &mut Server, verb: &str, path: &str, kind: FailureKind) {
    let (files, mut is_done) = (&mut server.files, false);
    let mut execute = |op: &FileOp| {
        if !is_done && op.verb() == verb && op.path().contains(path) {
            is_done = true;
            return Completion::Failed { kind, text: "it broke".to_string() };
        }
        files.execute(op)
    };
    drive(&mut server.disk, &mut execute, &mut server.events);
}

#[test]
fn a_failed_write_or_sync_is_the_end_and_nothing_is_persisted_any_more() {
    for verb in ["create", "write", "sync", "sync directory", "set the length of"] {
        let mut server = Server::new();
        server.append(1);
        fail(&mut server, verb, "/log/version-2", FailureKind::Other);
        let (what, exit_code) = server.fault();
        assert_eq!(exit_code, 1);
        assert!(what.contains(verb) && what.contains("it broke"), "{what}");
        server.append(2);
        server.drive();
        assert_eq!(server.persisted(), Ticket(0), "{verb}");
    }
}

#[test]
fn a_full_disk_costs_a_local_snapshot_only() {
    let no_space = ["create", "write", "sync", "rename"].map(|verb| (verb, FailureKind::NoSpace));
    for (verb, kind) in no_space.into_iter().chain([("create", FailureKind::NoDescriptors)]) {
        let mut server = Server::new();
        server.log(1..=2);
        let mut body = BytesMut::new();
        history(1..=2).encode(&mut body);
        let ticket = server.ticket.take();
        for action in [
            DiskAction::SnapshotBegin { zxid: Zxid(2), from_leader: false },
            DiskAction::SnapshotChunk { bytes: body.freeze() },
            DiskAction::SnapshotEnd { ticket, digest: None, last_zxid: Zxid(2) },
        ] {
            server.disk.submit(action);
        }
        fail(&mut server, verb, "tmp.snapshot", kind);
        assert!(server.events.iter().any(|e| matches!(e, DiskEvent::SnapshotReady)), "{verb}");
        assert_eq!(server.names("/data/version-2").len(), 3, "{verb}: nothing is left of it");
        server.append(3);
        server.drive();
        server.restart();
        assert_eq!(server.recovered().state, history(1..=3), "{verb}");
    }
}

#[test]
fn a_full_disk_during_the_log_is_the_end() {
    let mut server = Server::new();
    server.files.set_capacity(Some(1000));
    server.append(1);
    server.drive();
    assert!(server.fault().0.contains("free space"), "{:?}", server.fault());
}

#[test]
fn a_log_for_which_no_file_can_be_opened_is_the_end_with_advice() {
    let mut server = Server::new();
    server.append(1);
    fail(&mut server, "create", "/log/version-2", FailureKind::NoDescriptors);
    assert!(server.fault().0.contains("allow more open files"), "{:?}", server.fault());
}

#[test]
fn a_failed_truncation_is_never_taken_for_a_done_one() {
    let mut server = Server::new();
    server.log(1..=5);
    let ticket = server.ticket.take();
    server.disk.submit(DiskAction::Truncate { ticket, after: Zxid(3) });
    fail(&mut server, "set the length of", "log.1", FailureKind::NoSpace);
    assert!(server.fault().0.contains("log.1"));
    assert!(server.persisted() < ticket);
}
