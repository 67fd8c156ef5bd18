//! What greedy clients ask, and what others and the memory see of it: counted, not timed.

use super::*;
use crate::budget::{TURN, Work};
use crate::wire::client::MultiHeader;

impl Server {
    /// The same server, whose turns the test begins.
    fn slowly(turn_budget: usize) -> Server {
        let options = ClientPortOptions { turn_budget, ..options() };
        Server { ticks: false, ..Server::with(options, 1_700_000_000_000) }
    }

    /// How many answers a client is sent until nobody has more to do, turn by turn.
    fn turns(&mut self, conn: ConnId) -> Vec<usize> {
        let answers = |told: Vec<String>| told.iter().filter(|line| line.contains(':')).count();
        let mut all = Vec::from([answers(self.brief(conn))]);
        while self.client_port.deadline() == Some(Time(0)) {
            self.tick();
            all.push(answers(self.brief(conn)));
            assert!(all.len() < 10_000, "it goes on for ever");
        }
        all
    }
}

/// So many reads of one node's data.
fn reads(path: &str, count: usize) -> impl FnOnce(&mut BytesMut) + use<'_> {
    move |out| {
        for _ in 0..count {
            MultiHeader { op: OpCode::GetData as i32, done: false, err: -1 }.write(out);
            look(path)(out);
        }
        MultiHeader { op: -1, done: true, err: -1 }.write(out);
    }
}

fn auth(scheme: &str, data: &[u8]) -> Bytes {
    request(-4, OpCode::Auth as i32, |out| {
        out.put_i32(0);
        out.put_ustring(scheme);
        out.put_buffer(Some(data));
    })
}

fn many(xids: core::ops::Range<i32>, op: OpCode, path: &str) -> Vec<u8> {
    xids.flat_map(|xid| request(xid, op as i32, look(path))).collect()
}

#[test]
fn a_pipeline_is_answered_in_order_over_many_turns() {
    let mut server = Server::slowly(20_000);
    let (conn, _) = server.client(1);
    server.push(conn, many(1..500, OpCode::GetData, "/zookeeper"));
    let mut answered = Vec::new();
    let mut turns = 0;
    loop {
        answered.extend(server.brief(conn));
        if server.client_port.deadline() != Some(Time(0)) {
            break;
        }
        server.tick();
        turns += 1;
    }
    assert_eq!(answered, (1..500).map(|xid| format!("{xid}:0")).collect::<Vec<_>>());
    // Each turn a connection's share, a few hundred bytes and a look at a node each.
    assert!((80..500).contains(&turns), "{turns}");
    assert!(server.client_port.most_work().cost() < 20_000, "{:?}", server.client_port.most_work());
}

#[test]
fn a_modest_client_is_answered_in_between() {
    let mut server = Server::slowly(20_000);
    let greedy: Vec<ConnId> = (1..20).map(|n| server.client(n).0).collect();
    let (modest, _) = server.client(30);
    server.tick();
    for conn in &greedy {
        server.push(*conn, many(1..200, OpCode::GetData, "/zookeeper"));
    }
    let mut waited = Vec::new();
    for xid in 1..10 {
        server.ask(modest, xid, OpCode::GetData, look("/zookeeper"));
        let mut turns = 0;
        while server.brief(modest).is_empty() {
            server.tick();
            turns += 1;
        }
        waited.push(turns);
    }
    // Twenty connections and eight shares a turn.
    assert!(waited.iter().all(|turns| *turns <= 4), "{waited:?}");
    for conn in &greedy {
        let so_far = server.brief(*conn).len();
        assert!((1..199).contains(&so_far), "{so_far}");
    }
}

#[test]
fn a_read_sees_no_later_write_of_its_own_session_and_zxids_never_go_back() {
    for turn_budget in [1, 2000, 20_000, 400_000] {
        let mut server = Server::slowly(turn_budget);
        let (conn, _) = server.client(1);
        let (other, _) = server.client(2);
        server.tick();
        server.create(other, "/a");
        server.eager = false;
        let mut asked = Vec::new();
        for xid in (1..40).step_by(2) {
            asked.extend(request(xid, OpCode::SetData as i32, set("/a", &[xid as u8])));
            asked.extend(request(xid + 1, OpCode::GetData as i32, look("/a")));
        }
        server.push(conn, asked);
        let mut heard = Vec::new();
        for _ in 0..500 {
            // All that is proposed is committed in one step.
            server.client_port.begin_turn(server.now.mono, true);
            server.client_port.take_turns(server.now, &server.store, &mut server.out);
            // Others use the turn up.
            server.client_port.turns.budget.charge(Work::request(turn_budget));
            while !server.proposed.is_empty() {
                server.commit_one();
            }
            server.settle();
            heard.extend(server.hear(conn));
        }
        let mut last = (0, 0);
        heard.retain(|heard| matches!(heard, Heard::Reply { .. }));
        assert_eq!(heard.len(), 40);
        for heard in heard {
            let Heard::Reply { xid, zxid, err: 0, body } = heard else { panic!() };
            assert!(xid == last.0 + 1 && zxid >= last.1, "{xid} at {zxid} after {last:?}");
            last = (xid, zxid);
            if xid % 2 == 0 {
                assert_eq!(body[4], xid as u8 - 1, "the answer to {xid}");
            }
        }
    }
}

#[test]
fn reads_behind_a_write_wait_for_turns_too() {
    let mut server = Server::slowly(20_000);
    let (conn, _) = server.client(1);
    server.eager = false;
    server.ask(conn, 1, OpCode::Create, create("/a", 0));
    for chunk in 0..20 {
        server.tick();
        server.push(conn, many(2 + 5 * chunk..7 + 5 * chunk, OpCode::GetData, "/a"));
    }
    server.tick();
    server.client_port.begin_turn(server.now.mono, true);
    server.commit_one();
    server.settle();
    let turns = server.turns(conn);
    assert_eq!(turns.iter().sum::<usize>(), 101);
    assert!(turns.iter().all(|answers| *answers <= 13), "{turns:?}");
}

#[test]
fn the_answer_of_a_multi_read_has_a_bound_and_then_an_error() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    server.ask(conn, 1, OpCode::Create, create_with("/big", &[7; 1_000_000], world(31), 0));
    server.ask(conn, 2, OpCode::MultiRead, reads("/big", 4));
    server.ask(conn, 3, OpCode::MultiRead, reads("/big", 3000));
    server.ask(conn, 4, OpCode::Exists, look("/big"));
    let told = |heard: &Heard| match heard {
        Heard::Reply { xid, err, body, .. } => (*xid, *err, body.len()),
        other => panic!("{other:?}"),
    };
    let heard = server.hear(conn);
    let replies: Vec<_> =
        heard.iter().filter(|heard| matches!(heard, Heard::Reply { .. })).map(told).collect();
    let whole = 4 * (9 + 4 + 1_000_000 + 68) + 9;
    assert_eq!(replies[..2], [(1, 0, 8), (2, 0, whole)]);
    server.client_port.writable(server.now, &server.store, conn, &mut server.out);
    server.settle();
    let heard = server.hear(conn);
    let replies: Vec<_> =
        heard.iter().filter(|heard| matches!(heard, Heard::Reply { .. })).map(told).collect();
    assert_eq!(replies, [(3, ErrorCode::MarshallingError as i32, 0), (4, 0, 68)]);
    assert!(
        server.client_port.most_work().bytes < 12_000_000,
        "{:?}",
        server.client_port.most_work()
    );
}

#[test]
fn a_long_set_watches_leaves_time_for_others() {
    let mut server = Server::slowly(100_000);
    let (conn, _) = server.client(1);
    let (other, _) = server.client(2);
    server.tick();
    let paths: Vec<ByteString> = (0..2000).map(|n| format!("/nowhere/{n}").into()).collect();
    let all = SetWatches {
        relative_zxid: server.store.last_zxid(),
        data: Vec::new(),
        exist: paths,
        child: Vec::new(),
    };
    server.ask(conn, -8, OpCode::SetWatches, |out| all.write(out));
    server.ask(other, 1, OpCode::Exists, look("/"));
    assert_eq!(server.brief(other), ["1:0"]);
    let turns = server.turns(conn);
    assert_eq!(turns.iter().sum::<usize>(), 1);
    assert!(turns.len() > 20, "{turns:?}");
    assert_eq!(server.client_port.watch_count(), 2000);
    assert!(
        server.client_port.most_work().cost() < 100_000,
        "{:?}",
        server.client_port.most_work()
    );
}

#[test]
fn an_acl_of_many_entries_is_not_gone_through_for_each_read() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    let network = |n: usize| Acl {
        perms: perms::READ,
        id: Id { scheme: "ip".into(), id: format!("10.{}.{}.0/24", n / 250, n % 250).into() },
    };
    let acl = (0..20_000).map(network).collect();
    server.ask(conn, 1, OpCode::Create, create_with("/a", b"", acl, 0));
    for user in 0..60 {
        server.push(conn, auth("digest", format!("u{user}:p").as_bytes()));
    }
    server.hear(conn);
    server.ask(conn, 2, OpCode::MultiRead, reads("/a", 3000));
    let [Heard::Reply { err: 0, body, .. }] = &server.hear(conn)[..] else { panic!() };
    assert_eq!(body[9..13], (ErrorCode::NoAuth as i32).to_be_bytes());
    // Fifteen for the ids' address, and one for each other id.
    let compared = server.client_port.most_work().compared;
    assert!(compared < 3000 * 100, "{compared}");
}

#[test]
fn the_ids_of_a_connection_have_a_bound() {
    let mut server = Server::new();
    let (conn, _) = server.client(1);
    let long = |n: usize| [&[b'a' + n as u8; 1000][..], b":p"].concat();
    for n in 0..26 {
        server.push(conn, auth("digest", &long(n)));
    }
    assert_eq!(server.brief(conn), Vec::from(["-4:0"; 26]));
    server.push(conn, auth("digest", &[&[b'A'; 60_000][..], b":p"].concat()));
    assert_eq!(server.brief(conn), ["-4:-115", "closed"]);
}

#[test]
fn waiting_requests_of_all_clients_are_bounded() {
    let mut server = Server::new();
    let clients: Vec<ConnId> = (1..30).map(|n| server.client(n).0).collect();
    server.eager = false;
    for round in 0..4 {
        for conn in &clients {
            server.ask(*conn, round, OpCode::SetData, set("/zookeeper", &[7; 1_000_000]));
        }
    }
    let waiting = server.proposed.len();
    assert!((64..64 + 30).contains(&waiting), "{waiting} requests of a megabyte");
    server.catch_up();
    for conn in &clients {
        let answers = server.brief(*conn).iter().filter(|line| line.contains(':')).count();
        assert_eq!(answers, 4);
    }
}

#[test]
fn a_turn_of_ordinary_size_takes_a_thousand_requests() {
    let mut server = Server::slowly(TURN);
    let clients: Vec<ConnId> = (1..11).map(|n| server.client(n).0).collect();
    server.tick();
    for conn in &clients {
        server.push(*conn, many(0..100, OpCode::GetData, "/zookeeper"));
        assert_eq!(server.brief(*conn).len(), 100);
    }
}
