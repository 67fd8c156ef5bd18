//! Sessions that come to another connection while their requests are under way, and count them from
//! 1 again.

use super::*;

impl Server {
    /// Of a session whose first connection asked for these and is gone: the next connection.
    fn moved(&mut self, ops: &[(i32, &str)]) -> (ConnId, SessionId) {
        let (old, session) = self.client(1);
        self.eager = false;
        for (xid, path) in ops {
            self.ask(old, *xid, OpCode::Create, create(path, 0));
        }
        self.client_port.closed(old);
        (self.come(2, session), session)
    }

    fn come(&mut self, n: u64, session: SessionId) -> ConnId {
        let conn = self.open(n);
        self.push(conn, connect(session, Some(&password(session))));
        conn
    }

    /// Another server's request reaches the leader late: this is what comes of it.
    fn late(&mut self, session: SessionId, cxid: i32, code: ErrorCode) {
        self.zxid += 1;
        let (zxid, time_ms) = (Zxid(self.zxid), self.now.wall_ms);
        let header = TxnHeader { client: session, cxid, zxid, time_ms, op: OpCode::Error as i32 };
        self.proposed.push_back(LoggedTxn { header, txn: Txn::error(code), digest: None });
    }

    fn commit_all(&mut self) {
        while !self.proposed.is_empty() {
            self.commit_one();
        }
        self.settle();
    }

    fn pass_fence(&mut self) {
        assert_eq!(self.syncs.pop_front(), Some(None), "a fence is on its way");
        self.synced(None);
        self.settle();
    }
}

#[test]
fn an_answer_to_a_lost_connection_is_not_given_to_its_successor() {
    let mut server = Server::new();
    let (old, session) = server.client(1);
    server.eager = false;
    server.ask(old, 1, OpCode::Create, create("/old", 0));
    server.ask(old, 2, OpCode::Create, create("/old", 0));
    server.client_port.closed(old);
    let new = server.open(2);
    server.push(new, connect(session, Some(&password(session))));
    // This client counts from 1 again.
    server.ask(new, 1, OpCode::Create, create("/new", 0));
    server.commit_one();
    server.commit_one();
    server.settle();
    assert_eq!(server.brief(new), ["hello 10000"]);
    server.catch_up();
    let [Heard::Reply { xid: 1, err: 0, body, .. }] = &server.hear(new)[..] else { panic!() };
    assert_eq!(&body[4..], b"/new");
}

#[test]
fn nor_by_a_learner_which_asks_only_after_the_former_requests_are_through() {
    let mut server = Server::new();
    server.follows = true;
    let (new, _) = server.moved(&[(1, "/old")]);
    assert_eq!(server.brief(new), ["hello 10000"]);
    server.ask(new, 1, OpCode::Create, create("/new", 0));
    server.ask(new, 2, OpCode::Sync, path("/"));
    server.ask(new, 3, OpCode::Exists, look("/old"));
    assert_eq!((server.proposed.len(), server.syncs.len()), (1, 1), "the old one and a fence");
    server.commit_all();
    assert_eq!(server.brief(new), [""; 0]);
    server.pass_fence();
    assert_eq!((server.proposed.len(), server.syncs.len()), (1, 1), "what was kept is asked now");
    server.catch_up();
    let heard = server.hear(new);
    let [Heard::Reply { xid: 1, err: 0, body, .. }, ..] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((&body[4..], heard.len()), (&b"/new"[..], 3));
}

#[test]
fn reads_do_not_wait_for_the_former_requests() {
    let mut server = Server::new();
    server.follows = true;
    let (new, _) = server.moved(&[(1, "/old")]);
    server.ask(new, 1, OpCode::Exists, look("/"));
    assert_eq!(server.brief(new), ["hello 10000", "1:0"]);
}

#[test]
fn one_fence_serves_all_that_wait_for_it() {
    let mut server = Server::new();
    server.follows = true;
    let sessions: Vec<SessionId> = (1..=20).map(|n| server.client(n).1).collect();
    server.eager = false;
    let news: Vec<ConnId> = (0..20).map(|n| server.come(100 + n as u64, sessions[n])).collect();
    for conn in &news {
        server.ask(*conn, 1, OpCode::Create, create("/all-", 2));
    }
    // The first does not wait for others, and the rest goes together.
    server.pass_fence();
    assert_eq!(server.proposed.len(), 1);
    server.pass_fence();
    assert_eq!((server.proposed.len(), server.syncs.len()), (20, 0));
    server.catch_up();
    for conn in news {
        assert_eq!(server.brief(conn), ["hello 10000", "1:0"]);
    }
}

#[test]
fn a_fence_does_not_wait_for_connections_that_are_gone() {
    let mut server = Server::new();
    server.follows = true;
    let (one, session) = server.moved(&[(1, "/old")]);
    server.client_port.closed(one);
    let two = server.come(3, session);
    server.ask(two, 1, OpCode::Create, create("/new", 0));
    server.catch_up();
    assert_eq!(server.brief(two), ["hello 10000", "1:0"]);
}

#[test]
fn late_request_of_a_former_server_does_not_answer_an_own_request() {
    for code in [ErrorCode::SessionMoved, ErrorCode::BadArguments] {
        let mut server = Server::new();
        server.follows = true;
        let (new, session) = server.moved(&[]);
        server.pass_fence();
        server.late(session, 1, code);
        server.ask(new, 1, OpCode::Create, create("/new", 0));
        // Refused, and whose that is cannot be said yet.
        server.commit_one();
        server.settle();
        assert_eq!(server.brief(new), ["hello 10000"]);
        server.commit_all();
        assert_eq!(server.brief(new), ["1:0"], "{code:?}");
        server.pass_fence();
        assert_eq!(server.brief(new), [""; 0]);
    }
}

#[test]
fn own_refusal_is_answered_behind_a_fence() {
    for (code, told) in [(ErrorCode::SessionMoved, "closed"), (ErrorCode::BadArguments, "1:-8")] {
        let mut server = Server::new();
        server.follows = true;
        let (new, session) = server.moved(&[]);
        server.pass_fence();
        server.ask(new, 1, OpCode::Create, create("/new", 0));
        server.proposed.clear();
        server.late(session, 1, code);
        server.commit_all();
        assert_eq!(server.brief(new), ["hello 10000"]);
        server.pass_fence();
        assert_eq!(server.brief(new), [told], "{code:?}");
    }
}

#[test]
fn a_fence_that_was_sent_before_a_doubt_does_not_end_it() {
    let mut server = Server::new();
    server.follows = true;
    let (new, session) = server.moved(&[]);
    server.pass_fence();
    server.ask(new, 1, OpCode::Create, create("/one", 0));
    server.proposed.clear();
    server.late(session, 1, ErrorCode::BadArguments);
    server.commit_all();
    // A fence is under way for the first; the second is asked behind it.
    server.late(session, 2, ErrorCode::BadArguments);
    server.ask(new, 2, OpCode::Create, create("/two", 0));
    server.commit_one();
    server.pass_fence();
    assert_eq!(server.brief(new), ["hello 10000", "1:-8"]);
    server.commit_all();
    assert_eq!(server.brief(new), ["2:0"]);
}

#[test]
fn an_answer_behind_a_doubtful_one_settles_it() {
    let mut server = Server::new();
    server.follows = true;
    let (new, session) = server.moved(&[]);
    server.pass_fence();
    server.ask(new, 1, OpCode::Create, create("/one", 0));
    server.proposed.clear();
    server.late(session, 1, ErrorCode::BadArguments);
    server.ask(new, 2, OpCode::Create, create("/two", 0));
    server.commit_all();
    assert_eq!(server.brief(new), ["hello 10000", "1:-8", "2:0"]);
}

#[test]
fn a_read_behind_a_doubtful_answer_does_not_see_what_is_written_after_it() {
    let mut server = Server::new();
    server.follows = true;
    let (new, session) = server.moved(&[]);
    server.pass_fence();
    server.ask(new, 1, OpCode::Create, create("/one", 0));
    server.proposed.clear();
    server.late(session, 1, ErrorCode::BadArguments);
    server.ask(new, 2, OpCode::Exists, look("/two"));
    server.ask(new, 3, OpCode::Create, create("/two", 0));
    server.commit_all();
    assert_eq!(server.brief(new), ["hello 10000", "1:-8", "2:-101", "3:0"]);
}

#[test]
fn two_refusals_of_which_one_is_its_own_cannot_be_told_apart() {
    let mut server = Server::new();
    server.follows = true;
    let (new, session) = server.moved(&[]);
    server.pass_fence();
    server.ask(new, 1, OpCode::Create, create("/new", 0));
    server.proposed.clear();
    server.late(session, 1, ErrorCode::BadArguments);
    server.late(session, 1, ErrorCode::Unimplemented);
    server.commit_all();
    assert_eq!(server.brief(new), ["hello 10000", "closed"]);
}

#[test]
fn a_leader_knows_that_a_move_is_not_its_own_clients() {
    let mut server = Server::new();
    let (new, session) = server.moved(&[]);
    server.late(session, 1, ErrorCode::SessionMoved);
    server.ask(new, 1, OpCode::Create, create("/new", 0));
    server.commit_all();
    assert_eq!(server.brief(new), ["hello 10000", "1:0"]);
}

#[test]
fn a_sync_of_a_lost_connection_does_not_answer_its_successors() {
    let mut server = Server::new();
    let (old, session) = server.client(1);
    server.eager = false;
    server.ask(old, 1, OpCode::Sync, path("/"));
    server.client_port.closed(old);
    let new = server.come(2, session);
    server.ask(new, 1, OpCode::Sync, path("/"));
    let first = server.syncs.pop_front().unwrap();
    server.synced(first);
    server.settle();
    assert_eq!(server.brief(new), ["hello 10000"]);
    server.catch_up();
    assert_eq!(server.brief(new), ["1:0"]);
}

#[test]
fn the_beginning_of_a_session_is_no_answer_to_its_next_connection() {
    let mut server = Server::new();
    server.follows = true;
    let (old, session) = server.client(1);
    server.eager = false;
    server.client_port.closed(old);
    let new = server.open(2);
    let (store, wall_ms) = (&server.store, server.now.wall_ms);
    let begun = server.prep.create_session(store, session, 10_000, 0, Zxid(server.zxid), wall_ms);
    let hello = connect(session, Some(&password(session)));
    server.client_port.received(server.now, &server.store, new, hello, &mut server.out);
    let asked = server.client_port.next_submission();
    assert!(matches!(asked, Some(ClientRequest::Reattach { .. })));
    server.commit(&begun);
    server.settle();
    assert_eq!(server.brief(new), [""; 0]);
    server.submit(ClientRequest::Reattach { session, timeout_ms: 10_000 });
    server.settle();
    assert_eq!(server.brief(new), ["hello 10000"]);
}
