//! Figures of what is no ordinary request: a session made or taken up again, pings,
//! authentication, four-letter words.

use super::*;

/// What `cons` shows of the only connection: operation, number, zxid, answer's time, latency.
fn shown(server: &Server) -> (&'static str, Option<i64>, i64, u64, u64) {
    let clients = server.client_port.clients();
    let [client] = &clients[..] else { panic!("{clients:?}") };
    let session = client.session.as_ref().expect("it has its session");
    let operation = session.last_operation;
    let (answered, took) = (session.last_response_ms, session.last_latency_ms);
    (operation, session.last_cxid, session.last_zxid.0, answered, took)
}

fn latencies(server: &Server) -> [u64; 3] {
    let stats = &server.client_port.stats;
    let (reads, updates) = (stats.read_latency.summary(), stats.update_latency.summary());
    [stats.latency.count(), reads.count(), updates.count()]
}

#[test]
fn a_session_that_asks_nothing_has_its_figures() {
    let mut server = Server::new();
    server.eager = false;
    let conn = server.open(1);
    server.now.mono = Time(0).plus_ms(50);
    server.push(conn, connect(SessionId(0), Some(&[0; 16])));
    server.now.mono = Time(0).plus_ms(54);
    server.catch_up();
    let Heard::Hello(hello) = server.hear(conn).pop().unwrap() else { panic!() };
    assert_eq!(shown(&server), ("SESS", Some(0), 1, 54, 4));
    assert_eq!(latencies(&server), [1, 0, 1], "the making of a session is an update");
    server.now.mono = Time(0).plus_ms(60);
    server.push(conn, request(-2, OpCode::Ping as i32, nothing));
    assert_eq!(shown(&server), ("PING", Some(0), 1, 60, 0));
    assert_eq!(latencies(&server), [2, 1, 1]);
    let auth = |out: &mut BytesMut| {
        out.put_i32(0);
        out.put_ustring("digest");
        out.put_buffer(Some(b"u:p"));
    };
    server.now.mono = Time(0).plus_ms(70);
    server.push(conn, request(-4, OpCode::Auth as i32, auth));
    assert_eq!(shown(&server), ("PING", Some(0), 1, 60, 0), "it is no operation");
    assert_eq!(latencies(&server), [2, 1, 1]);
    server.client_port.closed(conn);
    let again = server.open(2);
    server.push(again, connect(hello.session, hello.password.as_deref()));
    assert!(matches!(&server.hear(again)[..], [Heard::Hello(h)] if h.session == hello.session));
    assert_eq!(shown(&server), ("null", Some(0), 0, 0, 0), "nothing was asked here yet");
    assert_eq!(latencies(&server), [2, 1, 1], "nothing was made");
    server.client_port.reset_connections();
    assert_eq!(shown(&server), ("NA", None, -1, 0, 0));
}

#[test]
fn a_session_without_a_transaction_is_no_update() {
    let mut server = Server::new();
    server.eager = false;
    let conn = server.open(1);
    server.push(conn, connect(SessionId(0), Some(&[0; 16])));
    let session = server.client_port.connections[&conn].session;
    server.client_port.began(server.now, &server.store, session, &mut server.out);
    assert_eq!(shown(&server), ("SESS", Some(0), 0, 0, 0));
    assert_eq!(latencies(&server), [1, 1, 0]);
}

#[test]
fn an_answered_word_is_received_and_sent() {
    let mut server = Server::new();
    for n in 1..=3 {
        let conn = server.open(n);
        server.push(conn, Bytes::from_static(b"srvr"));
        assert_eq!(server.hear(conn).len(), 2, "an answer and the end");
        let stats = &server.client_port.stats;
        assert_eq!((stats.packets_received.get(), stats.packets_sent.get()), (n, n));
    }
}
