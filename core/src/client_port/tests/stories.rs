//! Handshakes, limits, authentication and requests that go wrong.

use super::*;
use crate::config::{ConnectionThrottle, Weights};
use crate::wire::client::{MultiHeader, SetDataRequest, Stat};

#[test]
fn a_new_session_gets_its_id_password_and_timeout() {
    let mut server = Server::new();
    for (n, asked, given) in [(1, 10_000, 10_000), (2, 1, 4000), (3, i32::MAX, 40_000)] {
        let conn = server.open(n);
        server.push(
            conn,
            connect_with(ConnectRequest {
                protocol_version: 5,
                last_zxid_seen: Zxid::ZERO,
                timeout_ms: asked,
                session: SessionId(0),
                password: None,
                read_only: Some(true),
            }),
        );
        let [Heard::Hello(hello)] = &server.hear(conn)[..] else { panic!() };
        assert_eq!((hello.protocol_version, hello.timeout_ms), (0, given));
        assert_eq!(hello.session.0 >> 56, 1);
        assert_eq!(hello.password.as_deref(), Some(&password(hello.session)[..]));
        assert_eq!(hello.read_only, Some(false));
        assert_eq!(server.store.session(hello.session), Some(given));
    }
}

#[test]
fn an_old_client_gets_an_answer_without_the_read_only_byte() {
    let mut server = Server::new();
    let conn = server.open(1);
    let hello = connect(SessionId(0), Some(&[0; 16]));
    let old = framed(|out| out.put_slice(&hello[4..hello.len() - 1]));
    // Byte by byte, as a slow network may bring it.
    for byte in old {
        server.push(conn, Vec::from([byte]));
    }
    let [Heard::Hello(hello)] = &server.hear(conn)[..] else { panic!() };
    assert_eq!(hello.read_only, None);
}

#[test]
fn requests_behind_the_handshake_wait_for_the_session() {
    let mut server = Server::new();
    server.eager = false;
    let conn = server.open(1);
    let ping = request(-2, OpCode::Ping as i32, nothing);
    let exists = request(1, OpCode::Exists as i32, look("/"));
    server.push(conn, [connect(SessionId(0), None), ping, exists].concat());
    assert!(server.hear(conn).is_empty());
    server.catch_up();
    assert_eq!(server.brief(conn), ["hello 10000", "-2:0", "1:0"]);
}

#[test]
fn client_that_sends_much_before_its_session_exists_is_paused() {
    let options = ClientPortOptions { jute_max_buffer: 1000, ..options() };
    let mut server = Server::with(options, 1);
    server.eager = false;
    let conn = server.open(1);
    server.push(conn, connect(SessionId(0), None));
    let sets = (1..=20).map(|xid| request(xid, 5, set("/none", &[0; 100])));
    for set in sets {
        server.push(conn, set);
    }
    assert_eq!(server.brief(conn), ["paused"]);
    server.catch_up();
    let brief = server.brief(conn);
    assert_eq!(brief[0], "hello 10000");
    assert_eq!(brief.iter().filter(|line| line.ends_with(":-101")).count(), 20);
    assert_eq!(brief.iter().filter(|line| *line == "resumed").count(), 1);
}

#[test]
fn a_client_from_the_future_is_sent_away_without_an_answer() {
    let mut server = Server::new();
    let conn = server.open(1);
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(1),
        timeout_ms: 10_000,
        session: SessionId(0),
        password: None,
        read_only: None,
    };
    server.push(conn, connect_with(request));
    assert_eq!(server.hear(conn), [Heard::Closed(Reason::NotServing)]);
}

#[test]
fn a_session_moves_to_a_new_connection_and_the_old_one_is_closed() {
    let mut server = Server::new();
    let (old, session) = server.client(1);
    let new = server.open(2);
    server.push(new, connect(session, Some(&password(session))));
    assert_eq!(server.brief(new), ["hello 10000"]);
    assert_eq!(server.hear(old), [Heard::Closed(Reason::Replaced)]);
    server.ask(new, 1, OpCode::Exists, look("/"));
    assert_eq!(server.brief(new), ["1:0"]);
}

#[test]
fn a_session_that_is_gone_or_a_wrong_password_get_an_empty_session() {
    let mut server = Server::new();
    let (alive, session) = server.client(1);
    let (closed, gone) = server.client(2);
    server.ask(closed, 1, OpCode::CloseSession, nothing);
    for (n, session, password) in [
        (3, gone, password(gone)),
        (4, SessionId(0x42), password(SessionId(0x42))),
        (5, session, [7; 16]),
    ] {
        let conn = server.open(n);
        server.push(conn, connect(session, Some(&password)));
        let heard = server.hear(conn);
        let [Heard::Hello(hello), Heard::Closed(Reason::Done)] = &heard[..] else {
            panic!("{heard:?}")
        };
        assert_eq!((hello.timeout_ms, hello.session), (0, SessionId(0)));
        assert_eq!(hello.password.as_deref(), Some(&[0; 16][..]));
    }
    // Its owner has not heard of it.
    assert_eq!(server.hear(alive), []);
    server.ask(alive, 1, OpCode::Exists, look("/"));
    assert_eq!(server.brief(alive), ["1:0"]);
}

#[test]
fn a_server_that_does_not_serve_answers_words_only() {
    let mut server = Server::new();
    let (client, _) = server.client(1);
    server.client_port.stop_serving(&mut server.out);
    server.settle();
    assert_eq!(server.hear(client), [Heard::Closed(Reason::NotServing)]);
    let word = server.open(2);
    server.push(word, &b"srvr"[..]);
    assert_eq!(server.brief(word), ["[srvr]", "closed"]);
    let other = server.open(3);
    server.push(other, connect(SessionId(0), None));
    assert_eq!(server.hear(other), [Heard::Closed(Reason::NotServing)]);
}

#[test]
fn words_are_told_from_lengths_however_they_arrive() {
    let mut server = Server::new();
    let conn = server.open(1);
    for byte in *b"ruok" {
        server.push(conn, Vec::from([byte]));
    }
    assert_eq!(server.brief(conn), ["[ruok]", "closed"]);
    let conn = server.open(2);
    server.push(conn, &b"mntr\n"[..]);
    assert_eq!(server.brief(conn), ["[mntr]", "closed"]);
    for (n, noise) in
        [(3, &b"GET / HTTP/1.1\r\n"[..]), (4, b"\x16\x03\x01\x02\x00"), (5, &[255; 4])]
    {
        let conn = server.open(n);
        server.push(conn, noise);
        assert_eq!(server.brief(conn), ["closed"]);
    }
    // A word has its meaning only at the beginning.
    let (conn, _) = server.client(6);
    server.push(conn, &b"ruok"[..]);
    assert_eq!(server.brief(conn), ["closed"]);
}

#[test]
fn the_longest_frame_is_taken_and_one_byte_more_is_not() {
    let options = ClientPortOptions { jute_max_buffer: 300, ..options() };
    let mut server = Server::with(options, 1);
    let (conn, _) = server.client(1);
    let whole = 300 - 8 - (4 + 2 + 4 + 4);
    server.ask(conn, 1, OpCode::SetData, set("/x", &alloc::vec![0; whole]));
    assert_eq!(server.brief(conn), ["1:-101"]);
    server.ask(conn, 2, OpCode::SetData, set("/x", &alloc::vec![0; whole + 1]));
    assert_eq!(server.brief(conn), ["closed"]);
}

#[test]
fn too_many_connections_are_refused_and_make_room_when_they_go() {
    let options = ClientPortOptions { max_client_connections: 2, max_connections: 3, ..options() };
    let mut server = Server::with(options, 1);
    let first = server.open(1);
    server.open(2);
    let third = server.open(3);
    assert_eq!(server.brief(third), ["closed"]);
    server.client_port.closed(first);
    let fourth = server.open(4);
    assert!(server.hear(fourth).is_empty());
    for (n, refused) in [(1, false), (2, true)] {
        let conn = ConnId::accepted(100 + n);
        let peer = format!("[2001:db8::{n}]:1").parse().unwrap();
        server.client_port.opened(Time(0), conn, peer, &mut server.out);
        assert_eq!(!server.out.is_empty(), refused, "{n}");
        server.out.clear();
    }
}

#[test]
fn a_connection_without_a_session_is_closed_in_time() {
    let mut server = Server::new();
    let silent = server.open(1);
    let (talking, _) = server.client(2);
    assert_eq!(server.client_port.deadline(), Some(Time(0).plus_ms(10_000)));
    server.client_port.tick(Time(0).plus_ms(9_999), &mut server.out);
    server.settle();
    assert!(server.hear(silent).is_empty());
    server.client_port.tick(Time(0).plus_ms(10_000), &mut server.out);
    server.settle();
    assert_eq!(server.brief(silent), ["closed"]);
    assert!(server.hear(talking).is_empty());
    assert_eq!(server.client_port.deadline(), None);
}

#[test]
fn a_ping_is_answered_as_one_whatever_its_number_and_every_request_is_a_sign_of_life() {
    let mut server = Server::new();
    let (conn, session) = server.client(1);
    server.ask(conn, 77, OpCode::Ping, nothing);
    server.ask(conn, 1, OpCode::Exists, look("/"));
    assert_eq!(server.brief(conn), ["-2:0", "1:0"]);
    assert_eq!(server.touched, [session, session]);
}

#[test]
fn operations_that_nobody_knows_end_the_connection() {
    let mut server = Server::new();
    for (n, op) in [(1, 55), (2, 0), (3, -1), (4, 10), (5, OpCode::Check as i32)] {
        let (conn, _) = server.client(n);
        server.push(conn, request(1, op, nothing));
        let heard = server.hear(conn);
        assert!(matches!(heard[0], Heard::Reply { xid: 1, zxid: -1, err: -6, .. }), "{heard:?}");
        assert!(matches!(heard[1..], [Heard::Closed(_)]), "{heard:?}");
    }
}

#[test]
fn a_request_that_cannot_be_read_is_answered_and_only_a_multi_takes_a_zxid() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    let before = server.zxid;
    use OpCode::*;
    let all = [Create, Delete, SetData, GetData, Exists, GetChildren, Sync, GetAcl, SetAcl];
    let cut_short = |out: &mut BytesMut| out.put_slice(&[0, 0, 0, 9, b'/']);
    for (xid, op) in (1..).zip(all) {
        server.ask(conn, xid, op, cut_short);
        assert_eq!(server.brief(conn), [format!("{xid}:-5")], "{op:?}");
    }
    server.ask(conn, 99, SetWatches, nothing);
    assert_eq!(server.brief(conn), ["99:-5"]);
    assert_eq!(server.zxid, before);
    server.ask(conn, 100, Multi, cut_short);
    assert_eq!(server.brief(conn), ["100:-5"]);
    assert_eq!(server.zxid, before + 1);
}

#[test]
fn an_auth_packet_that_cannot_be_read_ends_the_connection_without_a_word() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    server.ask(conn, -4, OpCode::Auth, |out| out.put_i32(0));
    assert_eq!(server.brief(conn), ["closed"]);
}

#[test]
fn a_null_path_is_synced_and_looked_up_among_watches() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    server.ask(conn, 1, OpCode::Sync, |out| out.put_i32(-1));
    let heard = server.hear(conn);
    assert!(
        matches!(&heard[..], [Heard::Reply { err: 0, body, .. }] if **body == [0xff; 4]),
        "{heard:?}"
    );
    for (xid, op, kind) in [
        (2, OpCode::AddWatch, 0),
        (3, OpCode::CheckWatches, 3),
        (4, OpCode::RemoveWatches, 3),
        (5, OpCode::AddWatch, 9),
    ] {
        server.ask(conn, xid, op, move |out| {
            out.put_i32(-1);
            out.put_i32(kind);
        });
    }
    assert_eq!(server.brief(conn), ["2:0", "3:-121", "4:-121", "5:-5"]);
}

#[test]
fn a_multi_read_that_cannot_go_on_shows_what_it_has() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    let part = |op: OpCode, path: Option<&'static str>| {
        move |out: &mut BytesMut| {
            MultiHeader { op: op as i32, done: false, err: -1 }.write(out);
            out.put_buffer(path.map(str::as_bytes));
        }
    };
    server.ask(conn, 1, OpCode::MultiRead, |out| {
        part(OpCode::GetData, Some("/none"))(out);
        out.put_u8(0);
        part(OpCode::GetData, None)(out);
        out.put_u8(0);
        MultiHeader { op: -1, done: true, err: -1 }.write(out);
    });
    server.ask(conn, 2, OpCode::MultiRead, |out| {
        part(OpCode::Delete, Some("/none"))(out);
        out.put_i32(-1);
        MultiHeader { op: -1, done: true, err: -1 }.write(out);
    });
    let heard = server.hear(conn);
    let bodies: Vec<usize> = heard
        .iter()
        .map(|h| match h {
            Heard::Reply { err: -5, body, .. } => body.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bodies, [9 + 4 + 9, 9], "one result and the end, and only the end");
}

#[test]
fn authentication_is_answered_at_once_and_a_failed_one_ends_the_connection() {
    let mut server = Server::new();
    let auth = |scheme: &'static str, data: &'static [u8]| {
        move |out: &mut BytesMut| {
            out.put_i32(0);
            out.put_ustring(scheme);
            out.put_buffer(Some(data));
        }
    };
    let (conn, _) = server.client(1);
    server.eager = false;
    server.ask(conn, 1, OpCode::Create, create("/a", 0));
    server.ask(conn, -4, OpCode::Auth, auth("digest", b"u:p"));
    server.ask(conn, -4, OpCode::Auth, auth("ip", b""));
    server.catch_up();
    server.ask(conn, 2, OpCode::WhoAmI, nothing);
    let heard = server.hear(conn);
    let Heard::Reply { body, .. } = heard.last().unwrap() else { panic!() };
    let ids: Vec<Id> = Reader::new(body).record().unwrap();
    let ids: Vec<_> = ids.iter().map(|id| (&*id.scheme, &*id.id)).collect();
    assert_eq!(ids, [("ip", "127.0.0.1"), ("digest", "u")]);
    server.heard.insert(conn, heard);
    assert_eq!(server.brief(conn), ["-4:0", "-4:0", "1:0", "2:0"]);
    for (n, scheme) in [(2, "world"), (3, "kerberos")] {
        let (conn, _) = server.client(n);
        server.ask(conn, -4, OpCode::Auth, auth(scheme, b"x"));
        assert_eq!(server.brief(conn), ["-4:-115", "closed"]);
    }
    assert_eq!(server.client_port.stats.auth_failed.get(), 2);
}

#[test]
fn a_client_that_asks_faster_than_it_is_answered_has_to_wait() {
    let options = ClientPortOptions { outstanding_limit: 4, ..options() };
    let mut server = Server::with(options, 1);
    let (conn, _) = server.client(1);
    server.eager = false;
    for xid in 1..=10 {
        server.ask(conn, xid, OpCode::Create, create("/n-", 2));
    }
    assert_eq!(server.proposed.len(), 4);
    assert_eq!(server.brief(conn), ["paused"]);
    server.catch_up();
    let mut brief = server.brief(conn);
    brief.retain(|line| line.ends_with(":0"));
    assert_eq!(brief, (1..=10).map(|xid| format!("{xid}:0")).collect::<Vec<_>>());
}

#[test]
fn a_client_that_takes_no_replies_gets_only_so_many() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    server.ask(conn, 1, OpCode::Create, create_with("/big", &[7; 500_000], world(31), 0));
    server.hear(conn);
    let reads: Vec<u8> = (2..200).flat_map(|xid| request(xid, 4, look("/big"))).collect();
    server.push(conn, reads);
    assert_eq!(server.brief(conn), ["2:0", "3:0", "4:0", "paused"]);
    assert_eq!(server.unwritten, [conn]);
    // More of the same is kept until the client has taken what it was sent.
    server.ask(conn, 200, OpCode::Exists, look("/"));
    assert!(server.hear(conn).is_empty());
    let mut answers = 3;
    while let Some(conn) = server.unwritten.pop() {
        server.client_port.writable(server.now, &server.store, conn, &mut server.out);
        server.settle();
        let replies = server.brief(conn).iter().filter(|line| line.ends_with(":0")).count();
        assert!((1..=4).contains(&replies));
        answers += replies;
    }
    assert_eq!(answers, 199);
}

#[test]
fn nor_does_it_get_more_by_asking_slowly() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    server.ask(conn, 1, OpCode::Create, create_with("/big", &[7; 500_000], world(31), 0));
    for xid in 2..20 {
        server.ask(conn, xid, OpCode::GetData, look("/big"));
    }
    assert_eq!(server.brief(conn), ["1:0", "2:0", "3:0", "4:0", "paused"]);
    assert_eq!(server.unwritten, [conn]);
    server.client_port.writable(server.now, &server.store, conn, &mut server.out);
    server.settle();
    assert_eq!(server.brief(conn), ["resumed", "5:0", "6:0", "7:0", "paused"]);
}

#[test]
fn a_session_that_moved_elsewhere_loses_its_connection_without_an_answer() {
    let mut server = Server::new();
    let (conn, session) = server.client(1);
    server.eager = false;
    server.ask(conn, 7, OpCode::Create, create("/a", 0));
    let mut txn = server.proposed.pop_front().unwrap();
    txn.txn = Txn::error(ErrorCode::SessionMoved);
    assert_eq!(txn.header.client, session);
    server.commit(&txn);
    server.settle();
    assert_eq!(server.hear(conn), [Heard::Closed(Reason::Replaced)]);
}

#[test]
fn a_write_that_was_refused_without_a_transaction_keeps_its_place() {
    let mut server = Server::new();
    let (conn, session) = server.client(1);
    server.eager = false;
    server.ask(conn, 1, OpCode::Create, create("/a", 0));
    server.ask(conn, 2, OpCode::Create, create("/b", 0));
    server.proposed.pop_back();
    let code = ErrorCode::MarshallingError;
    server.client_port.refused(server.now, &server.store, session, 2, code, &mut server.out);
    server.settle();
    assert!(server.hear(conn).is_empty());
    server.catch_up();
    assert_eq!(server.brief(conn), ["1:0", "2:-5"]);
}

#[test]
fn an_expired_sessions_connection_is_closed() {
    let mut server = Server::new();
    let (conn, session) = server.client(1);
    let (zxid, wall_ms) = (Zxid(server.zxid + 1), server.now.wall_ms);
    let expiry = server.prep.close_session(&server.store, session, 0, zxid, wall_ms);
    server.commit(&expiry);
    server.settle();
    assert_eq!(server.hear(conn), [Heard::Closed(Reason::Done)]);
    assert_eq!((server.client_port.connection_count(), server.client_port.outstanding()), (0, 0));
}

#[test]
fn replies_of_one_step_to_one_client_are_one_send() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    let reads: Vec<u8> = (1..=50).flat_map(|xid| request(xid, 3, look("/"))).collect();
    server.client_port.received(server.now, &server.store, conn, reads.into(), &mut server.out);
    while server.client_port.next_submission().is_some() {}
    server.client_port.flush(&mut server.out);
    assert!(matches!(&server.out[..], [Action::Send { .. }]));
}

#[test]
fn cons_sees_what_a_connection_did() {
    let mut server = Server::new();
    let (conn, session) = server.client(1);
    server.now.mono = Time(0).plus_ms(50);
    server.eager = false;
    server.ask(conn, 3, OpCode::Create, create("/a", 0));
    server.now.mono = Time(0).plus_ms(57);
    server.catch_up();
    let clients = server.client_port.clients();
    let [client] = &clients[..] else { panic!() };
    assert_eq!((client.received, client.sent, client.queued), (2, 2, 0));
    let shown = client.session.as_ref().unwrap();
    assert_eq!((shown.id, shown.timeout_ms), (session, 10_000));
    assert_eq!((shown.last_operation, shown.last_cxid), ("CREA", Some(3)));
    assert_eq!((shown.last_latency_ms, shown.last_response_ms), (7, 57));
    assert_eq!(shown.last_zxid, Zxid(2));
}

#[test]
fn reads_in_a_multi_have_a_result_each() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    server.ask(conn, 1, OpCode::Create, create("/a", 0));
    let reads = |ops: &'static [(OpCode, &'static str)]| {
        move |out: &mut BytesMut| {
            for (op, path) in ops {
                MultiHeader { op: *op as i32, done: false, err: -1 }.write(out);
                look(path)(out);
            }
            MultiHeader { op: -1, done: true, err: -1 }.write(out);
        }
    };
    use OpCode::{Delete, Exists, GetChildren, GetData};
    let all: &[_] = &[(GetData, "/a"), (GetData, "/none"), (GetChildren, "/")];
    for (xid, ops) in
        [(2, all), (3, &[]), (4, &[(GetData, "/a"), (Delete, "/a")]), (5, &[(Exists, "/a")])]
    {
        server.ask(conn, xid, OpCode::MultiRead, reads(ops));
    }
    let heard = server.hear(conn);
    let Heard::Reply { err: 0, body, .. } = &heard[1] else { panic!("{heard:?}") };
    let r = &mut Reader::new(body);
    let mut ops = Vec::new();
    loop {
        let header: MultiHeader = r.record().unwrap();
        ops.push((header.op, header.err));
        match header.op {
            4 => {
                assert!(r.buffer().unwrap().is_some());
                r.record::<Stat>().unwrap();
            }
            8 => assert!(r.record::<Vec<ByteString>>().unwrap().contains(&"a".into())),
            -1 if !header.done => assert_eq!(r.int(), Ok(-101)),
            _ => break,
        }
    }
    assert!(r.is_empty());
    assert_eq!(ops, [(4, 0), (-1, -101), (8, 0), (-1, -1)]);
    let rest: Vec<i32> = heard[2..]
        .iter()
        .map(|heard| match heard {
            Heard::Reply { err, .. } => *err,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(rest, [0, -5, -5], "none at all; a write among reads; what is no read");
}

#[test]
fn a_token_is_answered_with_none_where_no_sasl_is_configured() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    server.ask(conn, 5, OpCode::Sasl, |out| out.put_buffer(Some(b"hello")));
    let heard = server.hear(conn);
    let Heard::Reply { xid: 5, zxid: 0, err: 0, body } = &heard[0] else { panic!("{heard:?}") };
    assert_eq!(body[..], [255, 255, 255, 255]);
    server.ask(conn, 6, OpCode::Sasl, |out| out.put_buffer(None));
    assert!(matches!(server.hear(conn)[..], [Heard::Closed(_)]), "no token at all");
}

#[test]
fn where_authentication_is_enforced_nothing_is_done_before_it() {
    let options = ClientPortOptions { enforced_schemes: Vec::from(["digest".into()]), ..options() };
    let mut server = Server::with(options, 1_700_000_000_000);
    let login = |out: &mut BytesMut| {
        out.put_i32(0);
        out.put_ustring("digest");
        out.put_buffer(Some(b"user:secret"));
    };
    let (conn, _) = server.client(1);
    server.ask(conn, -4, OpCode::Auth, login);
    server.ask(conn, 1, OpCode::Exists, look("/"));
    assert_eq!(server.brief(conn), ["-4:0", "1:0"]);
    for (n, op) in [(2, OpCode::Exists), (3, OpCode::Ping), (4, OpCode::CloseSession)] {
        let (conn, _) = server.client(n);
        server.ask(conn, 1, op, look("/"));
        let heard = server.hear(conn);
        assert!(matches!(heard[0], Heard::Reply { xid: 1, zxid: 0, err: -124, .. }), "{heard:?}");
        assert!(matches!(heard[1..], [Heard::Closed(_)]), "{heard:?}");
    }
}

#[test]
fn large_requests_have_a_share_of_the_memory() {
    let options = ClientPortOptions {
        large_request_bytes: 1000,
        large_requests_max_bytes: 5000,
        ..options()
    };
    let mut server = Server::with(options, 1_700_000_000_000);
    let (conn, _) = server.client(1);
    let write = |bytes: usize| {
        move |out: &mut BytesMut| {
            SetDataRequest {
                path: "/".into(),
                data: Some(Bytes::from("x".repeat(bytes))),
                version: 0,
            }
            .write(out);
        }
    };
    // What is answered makes room.
    for xid in 1..5 {
        server.ask(conn, xid, OpCode::SetData, write(3000));
    }
    assert_eq!(server.brief(conn).len(), 4);
    server.ask(conn, 5, OpCode::SetData, write(900));
    server.ask(conn, 6, OpCode::SetData, write(5001));
    let heard = server.hear(conn);
    assert!(matches!(heard[..], [Heard::Reply { xid: 5, .. }, Heard::Closed(_)]), "{heard:?}");
    assert_eq!(server.client_port.stats.large_requests_rejected.get(), 1);
}

#[test]
fn connection_beyond_the_rate_is_refused() {
    let throttle = ConnectionThrottle {
        tokens: 2,
        fill_ms: 1000,
        fill_count: 1,
        freeze_ms: None,
        drop_increase: 0.0,
        drop_decrease: 0.0,
        decrease_ratio: 0.0,
        weights: Weights { global: 1, renew: 1, local: 1 },
    };
    let options = ClientPortOptions { connection_throttle: Some(throttle), ..options() };
    let mut server = Server::with(options, 1_700_000_000_000);
    server.client(1);
    server.client(2);
    let conn = server.open(3);
    server.push(conn, connect(SessionId(0), None));
    assert!(matches!(server.hear(conn)[..], [Heard::Closed(Reason::Limit(_))]));
    assert_eq!(server.client_port.stats.connections_rejected.get(), 1);
}

#[test]
fn a_session_that_ends_without_a_transaction_is_answered_in_its_order() {
    let mut server = Server::new();
    let (conn, session) = server.client(1);
    server.eager = false;
    server.ask(conn, 1, OpCode::Create, create("/a", 0));
    server.ask(conn, 2, OpCode::CloseSession, |_| {});
    server.proposed.pop_back();
    server.client_port.ended(server.now, &server.store, session, 2, &mut server.out);
    server.settle();
    assert!(server.hear(conn).is_empty(), "the write before it is under way");
    server.commit_one();
    server.settle();
    assert_eq!(server.brief(conn), ["1:0", "2:0", "closed"]);
}

#[test]
fn a_read_only_server_serves_those_that_ask_for_no_more() {
    let mut server = Server::new();
    let (known, session) = server.client(1);
    server.create(known, "/a");
    server.client_port.stop_serving(&mut server.out);
    server.client_port.start_read_only();
    server.settle();
    let ask = |session, read_only| {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: 10_000,
            session,
            password: Some(Bytes::copy_from_slice(&password(session))),
            read_only,
        };
        connect_with(request)
    };
    for (n, session, read_only) in
        [(2, SessionId(0), None), (3, SessionId(0), Some(false)), (4, session, Some(true))]
    {
        let conn = server.open(n);
        server.push(conn, ask(session, read_only));
        assert_eq!(server.hear(conn), [Heard::Closed(Reason::NotServing)], "{n}");
    }
    // A session that began elsewhere meanwhile.
    let conn = server.open(5);
    let elsewhere = SessionId(0x0200_0000_0000_0001);
    server.push(conn, ask(elsewhere, Some(true)));
    let [Heard::Hello(hello)] = &server.hear(conn)[..] else { panic!() };
    assert_eq!((hello.session, hello.read_only), (elsewhere, Some(true)));
    server.ask(conn, 1, OpCode::GetData, look("/a"));
    server.ask(conn, 2, OpCode::Create, create("/b", 0));
    server.ask(conn, 3, OpCode::Sync, |out| out.put_ustring("/"));
    server.ask(conn, 4, OpCode::Exists, look("/b"));
    assert_eq!(server.brief(conn), ["1:0", "2:-119", "3:-119", "4:-101"]);
    // Nobody else would notice that a client is silent.
    server.now.mono = Time(0).plus_ms(5_000);
    server.ask(conn, 5, OpCode::Ping, nothing);
    for (ms, expected) in [(14_900, None), (15_900, Some(Reason::Timeout("the client is silent")))]
    {
        server.now.mono = Time(0).plus_ms(ms);
        assert!(server.client_port.deadline().is_some_and(|due| due <= server.now.mono));
        server.hear(conn);
        server.client_port.tick(server.now.mono, &mut server.out);
        server.settle();
        assert_eq!(server.hear(conn), Vec::from_iter(expected.map(Heard::Closed)), "{ms}");
    }
    assert_eq!(server.client_port.deadline(), None);
}

#[test]
fn requests_beyond_the_limit_of_all_wait_for_their_turn() {
    let requests = RequestThrottle { max_requests: 4, max_wait_ms: 500 };
    let options = ClientPortOptions { requests, ..options() };
    let mut server = Server::with(options, 1_700_000_000_000);
    let conns = [1, 2, 3, 4].map(|n| server.client(n).0);
    server.eager = false;
    for (n, conn) in (1..).zip(conns) {
        server.ask(conn, n, OpCode::Create, create("/a", 2));
        server.ask(conn, 10 + n, OpCode::Exists, look("/"));
    }
    assert_eq!(server.proposed.len(), 2, "two of four are admitted");
    server.now.mono = server.now.mono.plus_ms(400);
    server.commit_one();
    server.settle();
    assert_eq!(server.brief(conns[0]), ["1:0", "11:0"]);
    assert_eq!(server.proposed.len(), 2, "one more is");
    server.now.mono = server.now.mono.plus_ms(101);
    server.commit_one();
    server.settle();
    assert_eq!(server.brief(conns[1]), ["2:0", "12:0"]);
    assert_eq!(server.brief(conns[3]), ["4:-127", "14:-127"], "this one waited for too long");
    server.commit_one();
    server.settle();
    assert_eq!(server.brief(conns[2]), ["3:0", "13:0"]);
    server.ask(conns[3], 5, OpCode::Exists, look("/"));
    assert_eq!(server.brief(conns[3]), ["5:0"], "what comes now does not wait");
    let stats = &server.client_port.stats;
    assert_eq!((stats.throttled_ops.get(), stats.throttle_waits.get()), (2, 2));
}

#[test]
fn many_requests_of_all_let_each_session_have_one() {
    let options = ClientPortOptions { outstanding_limit: 3, ..options() };
    let mut server = Server::with(options, 1_700_000_000_000);
    let conns = [1, 2, 3].map(|n| server.client(n).0);
    server.eager = false;
    for xid in [1, 2] {
        for conn in conns {
            server.ask(conn, xid, OpCode::Create, create("/a", 2));
        }
    }
    // The second one of the first session came before there were too many.
    assert_eq!(server.proposed.len(), 4);
    assert!(conns.iter().all(|conn| server.brief(*conn) == ["paused"]));
    server.eager = true;
    server.settle();
    for conn in conns {
        assert_eq!(server.brief(conn), ["resumed", "1:0", "2:0"]);
    }
}
