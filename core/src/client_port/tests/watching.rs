//! Watches as clients see them.

use super::*;
use crate::access::auth::digest_id;

#[test]
fn an_exists_watch_waits_for_a_node_that_is_not_there_and_getdata_leaves_none() {
    let mut server = Server::new();
    let (watcher, _) = server.client(1);
    let (writer, _) = server.client(2);
    server.ask(watcher, 1, OpCode::Exists, watched("/a"));
    server.ask(watcher, 2, OpCode::GetData, watched("/b"));
    server.ask(watcher, 3, OpCode::GetChildren, watched("/b"));
    assert_eq!(server.brief(watcher), ["1:-101", "2:-101", "3:-101"]);
    server.create(writer, "/b");
    assert!(server.brief(watcher).is_empty());
    server.create(writer, "/a");
    assert_eq!(server.brief(watcher), ["NodeCreated /a"]);
    server.set(writer, "/a");
    assert!(server.brief(watcher).is_empty(), "a watch fires once");
}

#[test]
fn an_event_carries_its_zxid_and_comes_before_the_answer_and_before_any_later_read() {
    let mut server = Server::new();
    let (me, _) = server.client(1);
    server.ask(me, 1, OpCode::Create, create("/a", 0));
    server.ask(me, 2, OpCode::GetData, watched("/a"));
    server.ask(me, 3, OpCode::GetChildren, watched("/"));
    server.hear(me);
    server.eager = false;
    server.ask(me, 4, OpCode::SetData, set("/a", b"x"));
    server.ask(me, 5, OpCode::GetData, look("/a"));
    server.ask(me, 6, OpCode::Create, create("/b", 0));
    server.catch_up();
    let seen = server.hear(me);
    let Heard::Event(EventType::NodeDataChanged, _, zxid) = &seen[0] else { panic!("{seen:?}") };
    let Heard::Reply { zxid: answered, .. } = &seen[1] else { panic!("{seen:?}") };
    assert_eq!((zxid, answered), (&3, &3));
    server.heard.insert(me, seen);
    let brief = ["NodeDataChanged /a", "4:0", "5:0", "NodeChildrenChanged /", "6:0"];
    assert_eq!(server.brief(me), brief);
}

#[test]
fn a_delete_tells_each_connection_once_and_the_parents_watchers_after() {
    let mut server = Server::new();
    let (both, _) = server.client(1);
    let (parent, _) = server.client(2);
    let (writer, _) = server.client(3);
    server.create(writer, "/a");
    server.ask(both, 1, OpCode::GetData, watched("/a"));
    server.ask(both, 2, OpCode::GetChildren2, watched("/a"));
    server.ask(both, 3, OpCode::GetChildren, watched("/"));
    server.ask(parent, 1, OpCode::GetChildren, watched("/"));
    server.hear(both);
    server.hear(parent);
    server.delete(writer, "/a");
    assert_eq!(server.brief(both), ["NodeDeleted /a", "NodeChildrenChanged /"]);
    assert_eq!(server.brief(parent), ["NodeChildrenChanged /"]);
    assert_eq!(server.client_port.watch_count(), 0);
}

#[test]
fn an_event_is_kept_from_who_may_not_read_and_its_watch_is_gone_all_the_same() {
    let mut server = Server::new();
    let (watcher, _) = server.client(1);
    let (owner, _) = server.client(2);
    server.create(owner, "/a");
    server.ask(watcher, 1, OpCode::GetData, watched("/a"));
    server.hear(watcher);
    let auth = |out: &mut BytesMut| {
        out.put_i32(0);
        out.put_ustring("digest");
        out.put_buffer(Some(b"owner:secret"));
    };
    server.ask(owner, -4, OpCode::Auth, auth);
    let private = Vec::from([Acl { perms: perms::ALL, id: digest_id("owner:secret") }]);
    server.ask(owner, 2, OpCode::SetAcl, |out| {
        out.put_ustring("/a");
        private.write(out);
        out.put_i32(-1);
    });
    assert_eq!(server.brief(owner), ["-4:0", "2:0"]);
    assert!(server.brief(watcher).is_empty(), "setACL tells nobody");
    server.set(owner, "/a");
    assert!(server.brief(watcher).is_empty());
    assert_eq!(server.client_port.watch_count(), 0);
    server.ask(watcher, 3, OpCode::GetData, watched("/a"));
    server.ask(watcher, 4, OpCode::Exists, watched("/a"));
    server.ask(watcher, 5, OpCode::GetAcl, path("/a"));
    assert_eq!(server.brief(watcher), ["3:-102", "4:-102", "5:-102"]);
    assert_eq!(server.client_port.watch_count(), 0);
}

#[test]
fn watches_die_with_their_connection() {
    let mut server = Server::new();
    let (watcher, _) = server.client(1);
    let (writer, _) = server.client(2);
    server.ask(watcher, 1, OpCode::Exists, watched("/a"));
    server.ask(watcher, 2, OpCode::GetChildren, watched("/"));
    server.hear(watcher);
    server.client_port.closed(watcher);
    assert_eq!(server.client_port.watch_count(), 0);
    server.create(writer, "/a");
    assert!(server.hear(watcher).is_empty());
}

#[test]
fn a_reconnected_client_hears_what_it_missed_before_the_answer() {
    let mut server = Server::new();
    let (writer, _) = server.client(1);
    for path in ["/old", "/changed", "/parent", "/there"] {
        server.create(writer, path);
    }
    let seen = server.zxid;
    server.set(writer, "/changed");
    server.create(writer, "/parent/child");
    let (watcher, _) = server.client(2);
    let names = |names: &[&str]| names.iter().map(|n| ByteString::from(*n)).collect::<Vec<_>>();
    let watches = SetWatches {
        relative_zxid: Zxid(seen),
        data: names(&["/old", "/changed", "/gone"]),
        exist: names(&["/there", "/missing"]),
        child: names(&["/old", "/parent", "/gone"]),
    };
    server.ask(watcher, -8, OpCode::SetWatches, |out| watches.write(out));
    let heard = server.hear(watcher);
    assert!(matches!(heard[0], Heard::Event(.., -1)), "{heard:?}");
    server.heard.insert(watcher, heard);
    let brief = [
        "NodeDataChanged /changed",
        "NodeDeleted /gone",
        "NodeCreated /there",
        "NodeChildrenChanged /parent",
        "NodeDeleted /gone",
        "-8:0",
    ];
    assert_eq!(server.brief(watcher), brief);
    // The others are watched again.
    server.create(writer, "/missing");
    server.set(writer, "/old");
    server.create(writer, "/old/child");
    let brief = ["NodeCreated /missing", "NodeDataChanged /old", "NodeChildrenChanged /old"];
    assert_eq!(server.brief(watcher), brief);
    assert_eq!(server.client_port.watch_count(), 0);
}

#[test]
fn a_reconnected_client_hears_nothing_of_what_it_may_not_read() {
    let mut server = Server::new();
    let (owner, _) = server.client(1);
    let (watcher, _) = server.client(2);
    let seen = server.zxid;
    let auth = |out: &mut BytesMut| {
        out.put_i32(0);
        out.put_ustring("digest");
        out.put_buffer(Some(b"owner:secret"));
    };
    server.ask(owner, -4, OpCode::Auth, auth);
    let private = Vec::from([Acl { perms: perms::ALL, id: digest_id("owner:secret") }]);
    for (xid, path) in [(1, "/p"), (2, "/p/child")] {
        server.ask(owner, xid, OpCode::Create, create_with(path, b"", private.clone(), 0));
    }
    server.set(owner, "/p");
    assert_eq!(server.zxid, seen + 3);
    let path = || Vec::from([ByteString::from("/p")]);
    let watches =
        SetWatches { relative_zxid: Zxid(seen), data: path(), exist: path(), child: path() };
    server.ask(watcher, -8, OpCode::SetWatches, |out| watches.write(out));
    assert_eq!(server.brief(watcher), ["-8:0"]);
    server.ask(owner, 3, OpCode::Auth, auth);
    server.hear(owner);
    // Its watches are left, and kept quiet like others.
    server.set(owner, "/p");
    assert_eq!(server.brief(watcher), [""; 0]);
}

#[test]
fn a_sessions_end_removes_its_ephemerals_and_tells_the_watchers() {
    let mut server = Server::new();
    let (owner, _) = server.client(1);
    let (watcher, _) = server.client(2);
    server.ask(owner, 1, OpCode::Create, create("/e", 1));
    server.ask(owner, 2, OpCode::Exists, watched("/e"));
    server.ask(watcher, 1, OpCode::Exists, watched("/e"));
    server.hear(watcher);
    server.hear(owner);
    server.ask(owner, 3, OpCode::CloseSession, nothing);
    assert_eq!(server.brief(owner), ["NodeDeleted /e", "3:0", "closed"]);
    assert_eq!(server.brief(watcher), ["NodeDeleted /e"]);
}

const PERSISTENT: i32 = 0;
const RECURSIVE: i32 = 1;

#[test]
fn a_persistent_watch_tells_of_data_and_children_again_and_again() {
    let mut server = Server::new();
    let (watcher, _) = server.client(1);
    let (writer, _) = server.client(2);
    server.ask(watcher, 1, OpCode::AddWatch, add_watch("/a", PERSISTENT));
    let [Heard::Reply { err: 0, body, .. }] = &server.hear(watcher)[..] else { panic!() };
    assert_eq!(body[..], [0; 4], "a record with an error of its own");
    assert_eq!(server.client_port.watch_count(), 2, "one of data, one of children");
    for _ in 0..2 {
        server.create(writer, "/a");
        server.create(writer, "/a/b");
        server.set(writer, "/a");
        server.set(writer, "/a/b");
        server.delete(writer, "/a/b");
        server.delete(writer, "/a");
        let brief = [
            "NodeCreated /a",
            "NodeChildrenChanged /a",
            "NodeDataChanged /a",
            "NodeChildrenChanged /a",
            "NodeDeleted /a",
        ];
        assert_eq!(server.brief(watcher), brief);
    }
    assert_eq!(server.client_port.watch_count(), 2);
}

#[test]
fn a_recursive_watch_tells_of_every_node_below_but_not_of_children() {
    let mut server = Server::new();
    let (watcher, _) = server.client(1);
    let (writer, _) = server.client(2);
    server.ask(watcher, 1, OpCode::AddWatch, add_watch("/a", RECURSIVE));
    assert_eq!(server.brief(watcher), ["1:0"]);
    assert_eq!(server.client_port.watch_count(), 1);
    for path in ["/a", "/ab", "/a/b", "/a/b/c"] {
        server.create(writer, path);
    }
    server.set(writer, "/a/b/c");
    for path in ["/a/b/c", "/a/b", "/ab", "/a"] {
        server.delete(writer, path);
    }
    let brief = [
        "NodeCreated /a",
        "NodeCreated /a/b",
        "NodeCreated /a/b/c",
        "NodeDataChanged /a/b/c",
        "NodeDeleted /a/b/c",
        "NodeDeleted /a/b",
        "NodeDeleted /a",
    ];
    assert_eq!(server.brief(watcher), brief);
}

#[test]
fn a_recursive_watch_on_the_root_hears_everything_and_a_whole_multi_in_its_order() {
    let mut server = Server::new();
    let (watcher, _) = server.client(1);
    server.ask(watcher, 1, OpCode::AddWatch, add_watch("/", RECURSIVE));
    server.ask(watcher, 2, OpCode::Multi, |out| {
        let mut part = |op: OpCode, body: &dyn Fn(&mut BytesMut)| {
            crate::wire::client::MultiHeader { op: op as i32, done: false, err: -1 }.write(out);
            body(out);
        };
        part(OpCode::Create, &|out| create("/t", 0)(out));
        part(OpCode::Create, &|out| create("/t/u", 0)(out));
        part(OpCode::SetData, &|out| set("/t/u", b"x")(out));
        part(OpCode::Delete, &|out| versioned("/t/u")(out));
        part(OpCode::Delete, &|out| versioned("/t")(out));
        crate::wire::client::MultiHeader { op: -1, done: true, err: -1 }.write(out);
    });
    let heard = server.hear(watcher);
    let zxids = heard.iter().filter_map(|h| match h {
        Heard::Event(_, _, zxid) => Some(*zxid),
        _ => None,
    });
    assert_eq!(zxids.collect::<Vec<_>>(), [2; 5]);
    server.heard.insert(watcher, heard);
    let brief = [
        "1:0",
        "NodeCreated /t",
        "NodeCreated /t/u",
        "NodeDataChanged /t/u",
        "NodeDeleted /t/u",
        "NodeDeleted /t",
        "2:0",
    ];
    assert_eq!(server.brief(watcher), brief);
}

#[test]
fn watches_of_several_kinds_on_one_path_tell_of_an_event_once_and_go_one_by_one() {
    let mut server = Server::new();
    let (me, _) = server.client(1);
    let (writer, _) = server.client(2);
    server.create(writer, "/a");
    server.create(writer, "/a/b");
    server.ask(me, 1, OpCode::AddWatch, add_watch("/", RECURSIVE));
    server.ask(me, 2, OpCode::AddWatch, add_watch("/a", RECURSIVE));
    server.ask(me, 3, OpCode::AddWatch, add_watch("/a/b", PERSISTENT));
    server.ask(me, 4, OpCode::GetData, watched("/a/b"));
    server.ask(me, 5, OpCode::GetChildren, watched("/a/b"));
    server.ask(me, 6, OpCode::GetChildren, watched("/a"));
    assert_eq!(server.brief(me), ["1:0", "2:0", "3:0", "4:0", "5:0", "6:0"]);
    assert_eq!(server.client_port.watch_count(), 3 + 2);
    server.set(writer, "/a/b");
    assert_eq!(server.brief(me), ["NodeDataChanged /a/b"]);
    server.delete(writer, "/a/b");
    assert_eq!(server.brief(me), ["NodeDeleted /a/b", "NodeChildrenChanged /a"]);
    server.create(writer, "/a/b");
    assert_eq!(server.brief(me), ["NodeCreated /a/b"], "one-shot watches are used up");
    let check = |kind| move |out: &mut BytesMut| watcher("/a/b", kind)(out);
    for (xid, kind) in (7..).zip(1..=5) {
        server.ask(me, xid, OpCode::CheckWatches, check(kind));
    }
    assert_eq!(server.brief(me), ["7:-121", "8:-121", "9:0", "10:0", "11:-121"]);
    server.ask(me, 12, OpCode::RemoveWatches, check(4));
    server.ask(me, 13, OpCode::RemoveWatches, check(4));
    server.ask(me, 14, OpCode::RemoveWatches, watcher("/a", 5));
    server.set(writer, "/a/b");
    assert_eq!(server.brief(me), ["12:0", "13:-121", "14:0", "NodeDataChanged /a/b"]);
    server.ask(me, 15, OpCode::RemoveWatches, watcher("/", 3));
    server.set(writer, "/a/b");
    assert_eq!(server.brief(me), ["15:0"]);
    assert_eq!(server.client_port.watch_count(), 0);
}

#[test]
fn modes_and_types_that_are_none_are_refused_and_any_text_is_a_path() {
    let mut server = Server::new();
    let (me, _) = server.client(1);
    for (xid, mode) in (1..).zip([-1, 2, 3]) {
        server.ask(me, xid, OpCode::AddWatch, add_watch("/a", mode));
    }
    server.ask(me, 4, OpCode::AddWatch, path("/a"));
    for (xid, kind) in (5..).zip([0, 6, -1]) {
        server.ask(me, xid, OpCode::RemoveWatches, watcher("/a", kind));
    }
    server.ask(me, 8, OpCode::CheckWatches, watcher("/a", 3));
    assert_eq!(
        server.brief(me),
        ["1:-5", "2:-5", "3:-5", "4:-5", "5:-5", "6:-5", "7:-5", "8:-121"]
    );
    for (xid, path) in (9..).zip(["", "no path", "//"]) {
        server.ask(me, xid, OpCode::AddWatch, add_watch(path, RECURSIVE));
        server.ask(me, xid + 10, OpCode::RemoveWatches, watcher(path, 5));
    }
    assert_eq!(server.brief(me), ["9:0", "19:0", "10:0", "20:0", "11:0", "21:0"]);
    assert_eq!(server.client_port.watch_count(), 0);
}

#[test]
fn removing_one_kind_leaves_the_others() {
    let mut server = Server::new();
    let (me, _) = server.client(1);
    let (writer, _) = server.client(2);
    server.create(writer, "/a");
    server.ask(me, 1, OpCode::GetData, watched("/a"));
    server.ask(me, 2, OpCode::GetChildren, watched("/a"));
    server.ask(me, 3, OpCode::RemoveWatches, watcher("/a", 1));
    server.ask(me, 4, OpCode::RemoveWatches, watcher("/a", 1));
    server.create(writer, "/a/b");
    server.set(writer, "/a");
    let brief = ["1:0", "2:0", "3:0", "4:-121", "NodeDataChanged /a"];
    assert_eq!(server.brief(me), brief);
    server.ask(me, 5, OpCode::GetData, watched("/a"));
    server.ask(me, 6, OpCode::GetChildren, watched("/a"));
    server.ask(me, 7, OpCode::RemoveWatches, watcher("/a", 3));
    server.delete(writer, "/a/b");
    server.delete(writer, "/a");
    assert_eq!(server.brief(me), ["5:0", "6:0", "7:0"]);
}

#[test]
fn a_recursive_watch_keeps_quiet_about_what_may_not_be_read() {
    let mut server = Server::new();
    let (watcher, _) = server.client(1);
    let (owner, _) = server.client(2);
    server.ask(watcher, 1, OpCode::AddWatch, add_watch("/", RECURSIVE));
    server.ask(watcher, 2, OpCode::AddWatch, add_watch("/open", PERSISTENT));
    let private = Vec::from([Acl { perms: perms::ALL, id: digest_id("owner:secret") }]);
    server.ask(owner, -4, OpCode::Auth, |out| {
        out.put_i32(0);
        out.put_ustring("digest");
        out.put_buffer(Some(b"owner:secret"));
    });
    server.create(owner, "/open");
    server.ask(owner, 2, OpCode::Create, create_with("/open/secret", b"", private, 0));
    server.set(owner, "/open/secret");
    server.delete(owner, "/open/secret");
    let brief = [
        "1:0",
        "2:0",
        "NodeCreated /open",
        "NodeChildrenChanged /open",
        "NodeChildrenChanged /open",
    ];
    assert_eq!(server.brief(watcher), brief, "the parent may be read");
}

#[test]
fn set_watches_2_has_five_lists_and_persistent_watches_catch_up_with_nothing() {
    let mut server = Server::new();
    let (writer, _) = server.client(1);
    server.create(writer, "/a");
    let (me, _) = server.client(2);
    let one = |path: &str| Vec::from([ByteString::from(path)]);
    let watches = SetWatches2 {
        relative_zxid: Zxid(0),
        data: one("/a"),
        exist: one("/b"),
        child: one("/gone"),
        persistent: Vec::from(["/a".into(), "/gone".into()]),
        recursive: one("/"),
    };
    server.ask(me, -8, OpCode::SetWatches2, |out| watches.write(out));
    assert_eq!(server.brief(me), ["NodeDataChanged /a", "NodeDeleted /gone", "-8:0"]);
    assert_eq!(server.client_port.watch_count(), 1 + 2 * 2 + 1);
    server.create(writer, "/b");
    server.create(writer, "/a/c");
    assert_eq!(server.brief(me), ["NodeCreated /b", "NodeCreated /a/c", "NodeChildrenChanged /a"]);
    // Cut short, or with a length that cannot be: nothing of it is done.
    let bytes = watches.to_bytes();
    for end in [0, 7, 8, 20, bytes.len() - 1] {
        server.ask(me, -8, OpCode::SetWatches2, |out| out.put_slice(&bytes[..end]));
        assert_eq!(server.brief(me), ["-8:-5"]);
    }
    // A null list stops it halfway.
    server.ask(me, -8, OpCode::SetWatches, |out| {
        out.put_i64(0);
        one("/a").write(out);
        out.put_i32(-1);
        one("/gone").write(out);
    });
    assert_eq!(server.brief(me), ["NodeDataChanged /a", "-8:-5"]);
}

#[test]
fn a_deletion_missed_by_two_lists_is_told_twice() {
    let mut server = Server::new();
    let (me, _) = server.client(1);
    let gone = || Vec::from([ByteString::from("/gone")]);
    let watches =
        SetWatches { relative_zxid: Zxid(0), data: gone(), exist: Vec::new(), child: gone() };
    server.ask(me, -8, OpCode::SetWatches, |out| watches.write(out));
    assert_eq!(server.brief(me), ["NodeDeleted /gone", "NodeDeleted /gone", "-8:0"]);
}

#[test]
fn events_missed_by_a_large_set_watches_are_sent_as_the_client_reads() {
    let mut server = Server::new();
    let (me, _) = server.client(1);
    let paths = 100_000;
    let gone: Vec<ByteString> = (0..paths).map(|n| format!("/{n}").into()).collect();
    let watches = SetWatches {
        relative_zxid: Zxid(0),
        data: gone,
        exist: Vec::from(["/later".into()]),
        child: Vec::new(),
    };
    server.ask(me, -8, OpCode::SetWatches, |out| watches.write(out));
    server.ask(me, 1, OpCode::Exists, look("/"));
    let mut heard = Vec::new();
    while let Some(conn) = server.unwritten.pop() {
        let part = server.hear(conn);
        assert!(part.len() * 30 <= REPLY_BYTES + 1000, "{}", part.len());
        heard.extend(part);
        assert_eq!(server.client_port.watch_count(), 0);
        server.client_port.writable(server.now, &server.store, conn, &mut server.out);
        server.settle();
    }
    heard.extend(server.hear(me));
    heard.retain(|h| !matches!(h, Heard::Paused | Heard::Resumed));
    assert_eq!(heard.len(), paths + 2);
    server.heard.insert(me, heard.split_off(paths));
    assert_eq!(server.brief(me), ["-8:0", "1:0"]);
    assert_eq!(server.client_port.watch_count(), 1);
}

#[test]
fn figures_tell_of_data_watches_and_remember_who_watched() {
    let mut server = Server::new();
    let (a, session_a) = server.client(1);
    let (b, session_b) = server.client(2);
    server.create(a, "/x");
    server.ask(a, 2, OpCode::GetData, watched("/x"));
    server.ask(b, 1, OpCode::GetData, watched("/x"));
    server.ask(b, 2, OpCode::AddWatch, add_watch("/y", PERSISTENT));
    server.ask(b, 3, OpCode::GetChildren, watched("/x"));
    assert_eq!(server.client_port.watch_summary(), [2, 2, 3]);
    assert_eq!(
        server.client_port.watches_by_path(),
        [("/x", Vec::from([session_a, session_b])), ("/y", Vec::from([session_b]))]
    );
    assert_eq!(server.client_port.watch_count(), 5);
    server.set(a, "/x");
    // A connection whose last watch fired still counts.
    assert_eq!(server.client_port.watch_summary(), [2, 1, 1]);
    let by_session = [(session_a, Vec::new()), (session_b, Vec::from(["/y"]))];
    assert_eq!(server.client_port.watches_by_session(), by_session);
    // One whose last watch was removed does not.
    server.ask(b, 4, OpCode::RemoveWatches, watcher("/y", 4));
    assert_eq!(server.client_port.watch_summary(), [1, 0, 0]);
    server.client_port.closed(a);
    assert_eq!(server.client_port.watch_summary(), [0, 0, 0]);
    assert_eq!(server.client_port.stats.watchers(EventType::NodeDataChanged).sum(), 2);
}

#[test]
fn while_many_are_told_of_an_event_others_are_answered() {
    let mut server = Server::with(
        ClientPortOptions { max_client_connections: 0, ..options() },
        1_700_000_000_000,
    );
    let (writer, _) = server.client(1);
    server.create(writer, "/a");
    let many = 10_000;
    let watchers: Vec<ConnId> = (2..2 + many).map(|n| server.client(n).0).collect();
    for conn in &watchers {
        server.ask(*conn, 1, OpCode::GetData, watched("/a"));
        assert_eq!(server.brief(*conn), ["1:0"]);
    }
    server.ask(writer, 2, OpCode::SetData, set("/a", b""));
    assert_eq!(server.brief(writer), ["2:0"], "the writer is answered in the same step");
    let last = *watchers.last().unwrap();
    server.ask(last, 2, OpCode::GetData, look("/a"));
    let brief = ["NodeDataChanged /a", "2:0"];
    assert_eq!(server.brief(last), brief, "no read overtakes the event");
    let mut told = 1;
    let mut steps = 0;
    while server.client_port.deadline() == Some(Time(0)) {
        server.settle();
        steps += 1;
        // Two steps have told others before.
        let before = told;
        told += watchers.iter().map(|conn| server.brief(*conn).len()).sum::<usize>();
        assert!(told - before <= 3 * outbox::TOLD_AT_ONCE, "{told} in one step");
    }
    assert_eq!(told, watchers.len());
    assert!(steps >= watchers.len() / outbox::TOLD_AT_ONCE - 2, "{steps}");
    assert_eq!(server.client_port.watch_count(), 0);
}
