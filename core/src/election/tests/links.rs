//! Stories of one server's election connections: who dials, who is called back, what is said
//! again, and what strangers can do.

use bytes::{BufMut, BytesMut};

use super::*;
use crate::action::Reason;

/// Server 2 of three, looking since time 0; its first dials failed.
fn server() -> (Election, Vec<Action>) {
    let mut world = World::new(3, &[]);
    let mut server = world.servers.remove(&2).unwrap();
    let mut out = Vec::new();
    server.look(Time(0), Zxid::ZERO, Epoch(0), true, &mut out);
    for conn in dials(&out) {
        server.closed(Time(0), conn.0, &mut Vec::new());
    }
    out.clear();
    (server, out)
}

fn dials(out: &[Action]) -> Vec<(ConnId, String)> {
    let dial = |a: &Action| match a {
        Action::Dial { conn, to, .. } => Some((*conn, format!("{to}"))),
        _ => None,
    };
    out.iter().filter_map(dial).collect()
}

fn closed(out: &[Action], conn: ConnId) -> Option<Reason> {
    out.iter().find_map(|a| match a {
        Action::Close { conn: c, why } if *c == conn => Some(why.clone()),
        _ => None,
    })
}

fn sent(out: &[Action], conn: ConnId) -> Vec<Bytes> {
    let bytes = |a: &Action| match a {
        Action::Send { conn: c, bytes } if *c == conn => Some(bytes.clone()),
        _ => None,
    };
    out.iter().filter_map(bytes).collect()
}

/// The votes among what was sent.
fn votes(out: &[Action], conn: ConnId) -> Vec<Vote> {
    let vote = |bytes: &Bytes| Notification::parse(&bytes.slice(4..)).ok().map(|n| n.vote);
    sent(out, conn).iter().filter_map(vote).collect()
}

fn hello(from: i64, address: &str) -> Bytes {
    let (host, port) = address.rsplit_once(':').unwrap();
    let address = Some(HostPort::new(host, port.parse().unwrap()));
    Hello { from: ServerId(from), address }.encode()
}

fn framed(vote: &Vote) -> Bytes {
    let payload = Notification::encode(vote, "version=0");
    let mut out = BytesMut::new();
    out.put_i32(payload.len() as i32);
    out.put_slice(&payload);
    out.freeze()
}

fn looking(leader: i64, round: i64) -> Vote {
    let (leader, zxid, peer_epoch) = (ServerId(leader), Zxid::ZERO, Epoch(0));
    Vote { leader, zxid, peer_epoch, round, state: PeerState::Looking, version: 2 }
}

#[test]
fn a_smaller_id_is_called_back_at_its_configured_address_whatever_it_names() {
    let (mut server, mut out) = server();
    let conn = ConnId::accepted(1);
    server.opened(Time(0), conn, ELSEWHERE, &mut out);
    server.received(Time(0), conn, &hello(1, "moved:4000"), &mut out);
    assert_eq!(closed(&out, conn), Some(Reason::Done));
    let dial = dials(&out).remove(0);
    assert_eq!(dial.1, "s1:3888");
    out.clear();
    server.opened(Time(0), dial.0, ELSEWHERE, &mut out);
    assert_eq!(sent(&out, dial.0)[0], hello(2, "s2:3888"));
    assert_eq!(votes(&out, dial.0), [looking(2, 1)], "the vote that waited for it");

    // A connection that is there stays until the member is reached anew, and is not made over and
    // over.
    out.clear();
    for n in 2..=9 {
        let conn = ConnId::accepted(n);
        server.opened(Time(0), conn, ELSEWHERE, &mut out);
        server.received(Time(0), conn, &hello(1, "s1:3888"), &mut out);
    }
    assert_eq!(closed(&out, dial.0), None);
    let again = dials(&out);
    assert_eq!(again.len(), 1);
    server.opened(Time(0), again[0].0, ELSEWHERE, &mut out);
    assert_eq!(closed(&out, dial.0), Some(Reason::Replaced));
}

#[test]
fn nonmember_is_called_back_at_its_source_address_only() {
    let (mut server, mut out) = server();
    let conn = ConnId::accepted(1);
    server.opened(Time(0), conn, IpAddr::from([10, 0, 0, 9]), &mut out);
    server.received(Time(0), conn, &hello(0, "metadata.internal:22"), &mut out);
    assert_eq!(dials(&out).pop().map(|dial| dial.1), Some("10.0.0.9:22".into()));
}

/// Two connections that claim to be server 3's, of which the first may be.
fn claimed_twice(server: &mut Election, out: &mut Vec<Action>) -> [ConnId; 2] {
    let both = [1, 2].map(ConnId::accepted);
    for conn in both {
        server.opened(Time(0), conn, ELSEWHERE, out);
        server.received(Time(0), conn, &hello(3, "s3:3888"), out);
    }
    both
}

#[test]
fn of_a_member_that_is_claimed_twice_only_what_it_says_when_dialled_counts() {
    let (mut server, mut out) = server();
    let [first, second] = claimed_twice(&mut server, &mut out);
    for conn in [first, second] {
        assert_eq!((closed(&out, conn), votes(&out, conn)), (None, [looking(2, 1)].to_vec()));
    }
    out.clear();
    let better = Vote { zxid: Zxid(1 << 40), ..looking(3, 1) };
    server.received(Time(0), second, &framed(&better), &mut out);
    assert_eq!(server.current_vote().leader, ServerId(2));
    let ask = dials(&out);
    assert_eq!(ask.iter().map(|dial| &*dial.1).collect::<Vec<_>>(), ["s3:3888"]);
    let asking = ask[0].0;
    out.clear();
    server.opened(Time(0), asking, ELSEWHERE, &mut out);
    let said = sent(&out, asking);
    let question = Hello::take(&mut BytesMut::from(&said[0][..])).unwrap().unwrap();
    assert!(question.from > ServerId(255), "the answer comes on this connection");
    server.received(Time(0), asking, &framed(&looking(3, 1)), &mut out);
    assert_eq!(closed(&out, asking), Some(Reason::Done));
    assert_eq!(server.current_vote(), Vote { version: 0, ..looking(3, 1) });
    assert_eq!(server.take_proof().map(|proof| proof.member), Some(ServerId(3)));
}

#[test]
fn a_member_that_could_not_be_followed_is_believed_again_when_it_answers() {
    let (mut server, mut out) = server();
    server.doubt(Time(0), ServerId(3));
    let conn = ConnId::accepted(1);
    server.opened(Time(0), conn, ELSEWHERE, &mut out);
    server.received(Time(0), conn, &hello(3, "s3:3888"), &mut out);
    out.clear();
    server.received(Time(0), conn, &framed(&looking(3, 1)), &mut out);
    assert_eq!(server.current_vote().leader, ServerId(2));
    // Nobody is there: the doubt goes on.
    let asking = dials(&out).remove(0).0;
    server.closed(Time(0), asking, &mut out);
    out.clear();
    server.received(Time(0).plus_ms(200), conn, &framed(&looking(3, 1)), &mut out);
    assert_eq!(server.current_vote().leader, ServerId(2));
    let asking = dials(&out).into_iter().find(|dial| dial.1 == "s3:3888").unwrap().0;
    server.opened(Time(0).plus_ms(200), asking, ELSEWHERE, &mut out);
    server.received(Time(0).plus_ms(200), asking, &framed(&looking(1, 1)), &mut out);
    let better = Vote { zxid: Zxid(7), ..looking(3, 1) };
    server.received(Time(0).plus_ms(200), conn, &framed(&better), &mut out);
    assert_eq!(server.current_vote(), Vote { version: 0, ..better });
}

#[test]
fn a_list_is_taken_over_only_from_where_a_member_was_dialled() {
    let (mut server, mut out) = server();
    server.options.adopts_configurations = true;
    let newer = "server.7=evil:1:2\nversion=7000000000000000";
    let message = |vote: &Vote| {
        let payload = Notification::encode(vote, newer);
        let mut out = BytesMut::new();
        out.put_i32(payload.len() as i32);
        out.put_slice(&payload);
        out.freeze()
    };
    for (n, id) in [(1, 3), (2, 300)] {
        let conn = ConnId::accepted(n);
        server.opened(Time(0), conn, ELSEWHERE, &mut out);
        server.received(Time(0), conn, &hello(id, "s3:3888"), &mut out);
        out.clear();
        let outcome = server.received(Time(0), conn, &message(&looking(3, 1)), &mut out);
        assert_eq!(outcome, None, "server {id}");
        assert_eq!(server.current_vote().leader, ServerId(2));
        if id == 3 {
            let asking = dials(&out).remove(0).0;
            server.opened(Time(0), asking, ELSEWHERE, &mut out);
            match server.received(Time(0), asking, &message(&looking(3, 1)), &mut out) {
                Some(Outcome::NewerConfiguration(config)) => assert_eq!(config.members.len(), 1),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_larger_id_is_asked_to_call_back_once_and_given_time_to() {
    let (mut server, mut out) = server();
    server.tick(Time(0).plus_ms(200), &mut out);
    let dial = dials(&out).into_iter().find(|d| d.1 == "s3:3888").unwrap().0;
    out.clear();
    server.opened(Time(0).plus_ms(201), dial, ELSEWHERE, &mut out);
    assert_eq!(sent(&out, dial), [hello(2, "s2:3888")]);
    assert_eq!(closed(&out, dial), Some(Reason::Done));
    out.clear();
    // A better vote by way of somebody else makes this server speak again meanwhile.
    let vote = Vote { zxid: Zxid(7), ..looking(1, 1) };
    server.on_vote(Time(0).plus_ms(202), ServerId(1), vote, false, &mut out);
    assert!(dials(&out).iter().all(|d| d.1 != "s3:3888"), "{out:?}");
    out.clear();
    let back = ConnId::accepted(1);
    server.opened(Time(0).plus_ms(203), back, ELSEWHERE, &mut out);
    server.received(Time(0).plus_ms(203), back, &hello(3, "s3:3888"), &mut out);
    assert_eq!(votes(&out, back), [vote], "the newest vote took the older one's place");
}

#[test]
fn the_last_message_is_said_again_on_a_new_connection() {
    let (mut server, mut out) = server();
    for n in 1..=2 {
        let conn = ConnId::accepted(n);
        server.opened(Time(0), conn, ELSEWHERE, &mut out);
        server.received(Time(0), conn, &hello(3, "s3:3888"), &mut out);
        assert_eq!(votes(&out, conn), [looking(2, 1)]);
    }
    assert_eq!(closed(&out, ConnId::accepted(1)), None, "which is the member's, is not known");
    assert_eq!(closed(&out, ConnId::accepted(2)), None);
}

#[test]
fn members_that_are_away_are_dialled_at_notification_time_outs_only() {
    let (mut server, mut out) = server();
    let mut times = Vec::new();
    while let Some(at) = server.deadline().filter(|at| *at <= Time(0).plus_ms(60_000)) {
        server.tick(at, &mut out);
        for (conn, to) in dials(&out) {
            server.closed(at, conn, &mut Vec::new());
            if to == "s1:3888" {
                times.push(at.as_millis());
            }
        }
        out.clear();
    }
    assert_eq!(times, [200, 600, 1400, 3000, 6200, 12_600, 25_400, 51_000]);
}

#[test]
fn a_stranger_is_told_the_vote_but_neither_counted_nor_remembered() {
    let (mut server, mut out) = server();
    for n in 0..1000 {
        let conn = ConnId::accepted(n);
        server.opened(Time(0), conn, ELSEWHERE, &mut out);
        server.received(Time(0), conn, &hello(100 + n as i64, "x:1"), &mut out);
        server.received(Time(0), conn, &framed(&looking(3, 1)), &mut out);
        assert_eq!(votes(&out, conn), [looking(2, 1)], "stranger {n}");
        let oldest = ConnId::accepted(n.saturating_sub(64));
        assert_eq!(matches!(closed(&out, oldest), Some(Reason::Limit(_))), n >= 64, "{n}");
        out.clear();
    }
    let conn = ConnId::accepted(1000);
    server.opened(Time(0), conn, ELSEWHERE, &mut out);
    server.received(Time(0), conn, &hello(100, "x:1"), &mut out);
    assert_eq!((closed(&out, conn), votes(&out, conn)), (None, Vec::new()));
    assert_eq!(server.current_vote(), Vote { version: 0, ..looking(2, 1) }, "nothing counted");
}

#[test]
fn connections_that_say_nothing_are_few_and_end() {
    let (mut server, mut out) = server();
    for n in 0..500 {
        server.opened(Time(0), ConnId::accepted(n), ELSEWHERE, &mut out);
    }
    let owned = (0..500).filter(|n| server.owns(ConnId::accepted(*n))).count();
    assert_eq!(owned, 64);
    // A member that comes now is heard all the same.
    let member = ConnId::accepted(1000);
    server.opened(Time(0), member, ELSEWHERE, &mut out);
    server.received(Time(0), member, &hello(3, "s3:3888"), &mut out);
    out.clear();
    server.tick(Time(0).plus_ms(5000), &mut out);
    assert!((0..500).all(|n| !server.owns(ConnId::accepted(n))));
    assert!(server.owns(member));
}

/// Server 2 with the votes of 1 and of its own, and without 3, that was there.
fn without_the_third() -> (Election, Vec<Action>) {
    let (mut server, mut out) = server();
    let third = ConnId::accepted(1);
    server.opened(Time(0), third, ELSEWHERE, &mut out);
    server.received(Time(0), third, &hello(3, "s3:3888"), &mut out);
    server.closed(Time(0), third, &mut out);
    out.clear();
    server.on_vote(Time(0), ServerId(1), looking(2, 1), false, &mut out);
    (server, out)
}

#[test]
fn peer_that_accepts_and_closes_is_probed_three_times_then_later() {
    let (mut server, mut out) = without_the_third();
    let mut looks_at = |now: Time, out: &mut Vec<Action>| {
        let mut looks = 0;
        if now > Time(0) {
            // Something happens that has nothing to do with it.
            server.closed(now, ConnId::accepted(99), out);
        }
        while let Some((conn, _)) = dials(out).into_iter().find(|dial| dial.1 == "s3:3888") {
            looks += 1;
            assert!(looks < 100, "it is dialled over and over");
            out.clear();
            server.opened(now, conn, ELSEWHERE, out);
            assert_eq!(sent(out, conn).len(), 1, "it is asked to call back");
            server.closed(now, conn, out);
        }
        looks
    };
    assert_eq!(looks_at(Time(0), &mut out), 3);
    assert_eq!(looks_at(Time(0).plus_ms(199), &mut out), 0);
    assert_eq!(looks_at(Time(0).plus_ms(200), &mut out), 3);
}

#[test]
fn that_somebody_leads_is_said_once_and_not_again_on_later_connections() {
    let (mut server, mut out) = without_the_third();
    let first = ConnId::accepted(2);
    let call_back = |server: &mut Election, conn: ConnId, out: &mut Vec<Action>| {
        server.opened(Time(0), conn, ELSEWHERE, out);
        server.received(Time(0), conn, &hello(1, "s1:3888"), out);
        dials(out).into_iter().find(|dial| dial.1 == "s1:3888").unwrap().0
    };
    let refused = dials(&out).into_iter().find(|dial| dial.1 == "s3:3888").unwrap().0;
    let to_first = call_back(&mut server, first, &mut out);
    server.opened(Time(0), to_first, ELSEWHERE, &mut out);
    assert_eq!(votes(&out, to_first), [looking(2, 1)]);
    out.clear();
    server.closed(Time(0), refused, &mut out);
    let said = votes(&out, to_first);
    assert_eq!(said.iter().map(|vote| vote.state).collect::<Vec<_>>(), [PeerState::Leading]);
    out.clear();
    let again = call_back(&mut server, ConnId::accepted(3), &mut out);
    server.opened(Time(0), again, ELSEWHERE, &mut out);
    assert_eq!(votes(&out, again), [], "{out:?}");
}
