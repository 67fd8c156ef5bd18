//! One-shot watches as clients see them.

use super::*;
use crate::prep::auth::digest_id;

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
    assert_eq!(server.serve.watch_count(), 0);
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
    assert_eq!(server.serve.watch_count(), 0);
    server.ask(watcher, 3, OpCode::GetData, watched("/a"));
    server.ask(watcher, 4, OpCode::Exists, watched("/a"));
    server.ask(watcher, 5, OpCode::GetAcl, path("/a"));
    assert_eq!(server.brief(watcher), ["3:-102", "4:-102", "5:-102"]);
    assert_eq!(server.serve.watch_count(), 0);
}

#[test]
fn watches_die_with_their_connection() {
    let mut server = Server::new();
    let (watcher, _) = server.client(1);
    let (writer, _) = server.client(2);
    server.ask(watcher, 1, OpCode::Exists, watched("/a"));
    server.ask(watcher, 2, OpCode::GetChildren, watched("/"));
    server.hear(watcher);
    server.serve.closed(watcher);
    assert_eq!(server.serve.watch_count(), 0);
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
    assert_eq!(server.serve.watch_count(), 0);
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
