//! Stories of a client and its servers.

use alloc::string::String;
use alloc::vec;

use super::*;
use crate::wire::client::{
    AddWatchRequest, PathRequest, SetDataRequest, SetWatches, SetWatches2, Stat, WatchedRequest,
    WatcherRequest,
};
use crate::wire::jute::Writer;

const CAPTURE: &str = include_str!("../../testdata/capture/client-ops-3.9.5.jsonl");

fn ms(ms: u64) -> Time {
    Time(0).plus_ms(ms)
}

fn client(servers: usize) -> Client {
    Client::new(ClientOptions { servers, timeout_ms: 9000, ..ClientOptions::default() }, ms(0))
}

fn events(client: &mut Client) -> Vec<ClientEvent> {
    core::iter::from_fn(|| client.next_event()).collect()
}

/// The frames that a server receives, without their length.
fn sent(client: &mut Client) -> Vec<Bytes> {
    let mut frames = FrameReader::default();
    frames.push(client.take_output().unwrap_or_default());
    core::iter::from_fn(|| frames.next(1 << 20).unwrap()).collect()
}

fn header(frame: &Bytes) -> (i32, i32) {
    let RequestHeader { xid, op } = RequestHeader::from_bytes(frame).unwrap();
    (xid, op)
}

fn framed(body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    frame(&mut out, body);
    out.freeze()
}

fn hello(session: i64, timeout_ms: i32) -> Bytes {
    let response = ConnectResponse {
        protocol_version: 0,
        timeout_ms,
        session: SessionId(session),
        password: Some(Bytes::from_static(b"sixteen  letters")),
        read_only: Some(false),
    };
    framed(|out| response.write(out))
}

fn reply(xid: i32, zxid: i64, err: i32, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    framed(|out| {
        ReplyHeader { xid, zxid: Zxid(zxid), err }.write(out);
        body(out);
    })
}

fn event(kind: EventType, path: &str) -> Bytes {
    reply(XID_EVENT, -1, 0, |out| {
        out.put_i32(kind as i32);
        out.put_i32(3);
        out.put_ustring(path);
    })
}

fn attach(client: &mut Client, now: Time, session: i64) {
    client.connected(now);
    client.received(now, hello(session, 6000));
}

fn exists(path: &'static str, watch: bool) -> Request {
    Request::Exists(WatchedRequest { path: path.into(), watch })
}

const SYNC: fn() -> Request = || Request::Sync(PathRequest { path: "/".into() });

#[test]
fn queued_requests_are_sent_after_the_handshake() {
    let mut client = client(1);
    let early = client.submit(ms(0), &SYNC()).unwrap();
    client.add_auth(ms(0), "digest", Bytes::from_static(b"u:p"));
    assert_eq!(events(&mut client), [ClientEvent::Connect { server: 0 }]);
    client.connected(ms(1));
    let request = ConnectRequest::from_bytes(&sent(&mut client)[0]).unwrap();
    assert_eq!((request.session, request.timeout_ms), (SessionId(0), 9000));
    client.received(ms(2), hello(7, 6000));
    let attached = ClientEvent::Attached { session: SessionId(7), timeout_ms: 6000 };
    assert_eq!(events(&mut client), [attached]);
    let ops: Vec<_> = sent(&mut client).iter().map(header).collect();
    assert_eq!(ops, [(XID_AUTH, OpCode::Auth as i32), (early, OpCode::Sync as i32)]);
    // Byte by byte. The answer to auth is no event; the answer to sync is one.
    let answers = [reply(XID_AUTH, 0, 0, |_| {}), reply(early, 5, 0, |out| out.put_ustring("/"))];
    for byte in answers.concat() {
        client.received(ms(3), Bytes::copy_from_slice(&[byte]));
    }
    let result = Ok(Response::Path("/".into()));
    assert_eq!(events(&mut client), [ClientEvent::Reply { xid: early, zxid: Zxid(5), result }]);
    assert_eq!((client.last_zxid(), client.outstanding()), (Zxid(5), 0));
}

#[test]
fn idle_client_pings_and_leaves_a_silent_server() {
    let mut client = client(2);
    attach(&mut client, ms(0), 7);
    events(&mut client);
    sent(&mut client);
    // The server may be silent for two thirds of 6000 ms, the client for half of that.
    assert_eq!(client.deadline(), Some(ms(2000)));
    client.tick(ms(1999));
    assert!(sent(&mut client).is_empty());
    client.tick(ms(2000));
    assert_eq!(header(&sent(&mut client)[0]), (XID_PING, OpCode::Ping as i32));
    client.received(ms(2001), reply(XID_PING, 1, 0, |_| {}));
    client.tick(ms(4000));
    assert_eq!(sent(&mut client).len(), 1);
    client.tick(ms(6001));
    let next = ClientEvent::Connect { server: 1 };
    assert_eq!(events(&mut client), [ClientEvent::Disconnect, ClientEvent::Detached, next]);
}

#[test]
fn broken_connection_loses_requests_but_not_session_and_watches() {
    let mut client = client(3);
    attach(&mut client, ms(0), 7);
    let (a, b) = (
        client.submit(ms(1), &exists("/here", true)).unwrap(),
        client.submit(ms(1), &exists("/missing", true)).unwrap(),
    );
    let stat = Stat::from_bytes(&Bytes::from_static(&[0; 68])).unwrap();
    client.received(ms(2), reply(a, 9, 0, |out| stat.write(out)));
    client.received(ms(2), reply(b, 9, ErrorCode::NoNode as i32, |_| {}));
    let data = Some(Bytes::from_static(b"x"));
    let set = Request::SetData(SetDataRequest { path: "/here".into(), data, version: -1 });
    let lost = client.submit(ms(3), &set).unwrap();
    events(&mut client);
    sent(&mut client);
    client.disconnected(ms(4));
    let result = Err(Failure::ConnectionLost);
    let reply_lost = ClientEvent::Reply { xid: lost, zxid: Zxid::ZERO, result };
    let next = ClientEvent::Connect { server: 1 };
    assert_eq!(events(&mut client), [ClientEvent::Detached, reply_lost, next]);

    client.connected(ms(5));
    let request = ConnectRequest::from_bytes(&sent(&mut client)[0]).unwrap();
    assert_eq!((request.session, request.last_zxid_seen), (SessionId(7), Zxid(9)));
    assert_eq!(request.password.unwrap(), "sixteen  letters");
    client.received(ms(6), hello(7, 6000));
    let again = sent(&mut client).remove(0);
    assert_eq!(header(&again), (XID_SET_WATCHES, OpCode::SetWatches as i32));
    let watches = SetWatches::from_bytes(&again.slice(8..)).unwrap();
    assert_eq!(
        (&*watches.data, &*watches.exist),
        (&["/here".into()][..], &["/missing".into()][..])
    );
    assert_eq!(watches.relative_zxid, Zxid(9));

    // A watch that has fired is not restored.
    events(&mut client);
    client.received(ms(7), event(EventType::NodeCreated, "/missing"));
    let (kind, path) = (EventType::NodeCreated, "/missing".into());
    let fired = ClientEvent::Watch { kind, path, zxid: Zxid(-1) };
    assert_eq!(events(&mut client), [fired]);
    client.disconnected(ms(8));
    attach(&mut client, ms(9), 7);
    let watches = SetWatches::from_bytes(&sent(&mut client)[1].slice(8..)).unwrap();
    assert_eq!((watches.data.len(), watches.exist.len()), (1, 0));
}

#[test]
fn persistent_watches_are_restored_until_they_are_removed() {
    let mut client = client(1);
    attach(&mut client, ms(0), 7);
    let path = || ByteString::from_static("/a");
    let add = |mode| Request::AddWatch(AddWatchRequest { path: path(), mode });
    for mode in 0..=2 {
        let xid = client.submit(ms(1), &add(mode)).unwrap();
        client.received(ms(1), reply(xid, 9, 0, |out| out.put_i32(0)));
    }
    client.received(ms(1), event(EventType::NodeDeleted, "/a"));
    // A refused request sets no watch.
    let xid = client.submit(ms(1), &add(0)).unwrap();
    client.received(ms(1), reply(xid, 9, ErrorCode::MarshallingError as i32, |_| {}));
    let again = |client: &mut Client| {
        client.disconnected(ms(2));
        client.tick(client.deadline().unwrap());
        attach(client, ms(9), 7);
        events(client);
        let again = sent(client).split_off(1);
        let op = again.first().map(header).map(|(_, op)| op);
        assert!(op.is_none_or(|op| op == OpCode::SetWatches2 as i32));
        let watches = again.first().map(|again| SetWatches2::from_bytes(&again.slice(8..)));
        watches.map(|watches| {
            let SetWatches2 { persistent, recursive, .. } = watches.unwrap();
            (persistent, recursive)
        })
    };
    assert_eq!(again(&mut client), Some((vec![path()], vec![path()])));
    let remove = |client: &mut Client, kind| {
        let request = Request::RemoveWatches(WatcherRequest { path: path(), kind });
        let xid = client.submit(ms(9), &request).unwrap();
        client.received(ms(9), reply(xid, 9, 0, |_| {}));
    };
    remove(&mut client, 4);
    assert_eq!(again(&mut client), Some((vec![], vec![path()])));
    remove(&mut client, 3);
    assert_eq!(again(&mut client), None);
}

#[test]
fn all_servers_are_dialled_before_a_pause() {
    let mut client = client(2);
    client.disconnected(ms(1));
    // The second server does not answer: each of two gets half of the time-out.
    assert_eq!(client.deadline(), Some(ms(4501)));
    client.tick(ms(4501));
    let connect = |server| ClientEvent::Connect { server };
    assert_eq!(events(&mut client), [connect(0), connect(1), ClientEvent::Disconnect]);
    assert_eq!(client.deadline(), Some(ms(5501)));
    client.tick(ms(5501));
    assert_eq!(events(&mut client), [connect(0)]);
}

#[test]
fn expired_session_ends() {
    let mut client = client(2);
    attach(&mut client, ms(0), 7);
    client.disconnected(ms(1));
    events(&mut client);
    client.connected(ms(2));
    client.received(ms(3), hello(0, 0));
    let over = [ClientEvent::Disconnect, ClientEvent::Ended(Ended::Expired)];
    assert_eq!(events(&mut client), over);
    assert_eq!(client.submit(ms(4), &SYNC()), Err(Ended::Expired));
    assert_eq!(client.deadline(), None);
}

#[test]
fn session_is_closed_after_earlier_requests() {
    let mut client = client(1);
    attach(&mut client, ms(0), 7);
    let xid = client.submit(ms(1), &SYNC()).unwrap();
    client.close(ms(1));
    assert_eq!(client.submit(ms(1), &SYNC()), Err(Ended::Closed));
    events(&mut client);
    client.received(ms(2), reply(xid, 1, 0, |out| out.put_ustring("/")));
    client.received(ms(2), reply(xid + 1, 2, 0, |_| {}));
    let [ClientEvent::Reply { .. }, ClientEvent::Disconnect, ClientEvent::Ended(Ended::Closed)] =
        events(&mut client)[..]
    else {
        panic!()
    };
    // Before the session there is nothing to close.
    let mut unborn = super::tests::client(1);
    unborn.close(ms(0));
    assert_eq!(events(&mut unborn).pop(), Some(ClientEvent::Ended(Ended::Closed)));
}

#[test]
fn server_that_breaks_the_protocol_is_left() {
    for nonsense in [
        reply(5, 1, 0, |_| {}),
        reply(XID_EVENT, 1, 0, |_| {}),
        Bytes::from_static(b"HTTP"),
        framed(|_| {}),
    ] {
        let mut client = client(2);
        attach(&mut client, ms(0), 7);
        events(&mut client);
        client.received(ms(1), nonsense);
        assert_eq!(events(&mut client).remove(0), ClientEvent::Disconnect);
    }
}

#[test]
fn request_with_an_unreadable_answer_is_lost_with_the_connection() {
    let mut client = client(1);
    attach(&mut client, ms(0), 7);
    let xid = client.submit(ms(1), &exists("/a", true)).unwrap();
    events(&mut client);
    client.received(ms(2), reply(xid, 5, 0, |out| out.put_i32(1)));
    let result = Err(Failure::ConnectionLost);
    assert!(events(&mut client).contains(&ClientEvent::Reply { xid, zxid: Zxid(0), result }));
    assert_eq!((client.outstanding(), client.last_zxid()), (0, Zxid(0)));
}

#[test]
fn short_granted_timeout_does_not_cause_a_busy_loop() {
    let mut client = client(3);
    client.connected(ms(0));
    client.received(ms(0), hello(7, 1));
    for now in [ms(0), ms(1), ms(5)] {
        client.tick(now);
        assert!(client.deadline() > Some(now));
    }
}

#[test]
fn refused_authentication_ends_the_session() {
    let mut client = client(1);
    attach(&mut client, ms(0), 7);
    events(&mut client);
    client.received(ms(1), reply(XID_AUTH, 0, ErrorCode::AuthFailed as i32, |_| {}));
    assert_eq!(events(&mut client).pop(), Some(ClientEvent::Ended(Ended::AuthFailed)));
}

/// The bytes of each direction of each captured connection, from client and from server.
fn captured() -> Vec<[Vec<u8>; 2]> {
    let mut all: Vec<[Vec<u8>; 2]> = Vec::new();
    for line in CAPTURE.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let conn = line["conn"].as_u64().unwrap() as usize;
        all.resize(all.len().max(conn + 1), Default::default());
        let direction = match line["dir"].as_str().unwrap() {
            "c2s" => 0,
            "s2c" => 1,
            _ => continue,
        };
        let hex: String = line["hex"].as_str().unwrap().into();
        let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16));
        all[conn][direction].extend(bytes.map(Result::unwrap));
    }
    all
}

fn frames(bytes: &[u8]) -> Vec<Bytes> {
    let mut frames = FrameReader::default();
    frames.push(Bytes::copy_from_slice(bytes));
    core::iter::from_fn(|| frames.next(1 << 20).ok().flatten()).collect()
}

#[test]
fn captured_replies_are_read_to_their_end() {
    let mut read = alloc::collections::BTreeSet::new();
    for [from_client, from_server] in captured() {
        let asked: Vec<Bytes> = frames(&from_client);
        for answer in frames(&from_server).iter().skip(1) {
            let r = &mut Reader::new(answer);
            let ReplyHeader { xid, err, .. } = r.record().unwrap();
            let of = asked.iter().skip(1).map(header).find(|(x, _)| *x == xid);
            let Some(op) = of.and_then(|(_, op)| OpCode::from_i32(op)) else { continue };
            if err == 0
                && xid > 0
                && let Ok(response) = Response::read(op, r)
            {
                assert!(r.is_empty(), "{op:?}: {response:?}");
                read.insert(op);
            }
        }
    }
    use OpCode::*;
    for op in [
        Create,
        Create2,
        CreateContainer,
        CreateTtl,
        Delete,
        Exists,
        GetData,
        SetData,
        GetAcl,
        SetAcl,
        GetChildren,
        GetChildren2,
        Sync,
        Multi,
        GetEphemerals,
        GetAllChildrenNumber,
        WhoAmI,
        CloseSession,
    ] {
        assert!(read.contains(&op), "{op:?}");
    }
}

#[test]
fn requests_equal_captured_ones() {
    let mut same = 0;
    for [from_client, _] in captured() {
        for asked in frames(&from_client).iter().skip(1) {
            let r = &mut Reader::new(asked);
            let RequestHeader { xid, op } = r.record().unwrap();
            let Some(op) = OpCode::from_i32(op) else { continue };
            let body = r.rest();
            let Some(request) = request_from(op, r) else { continue };
            assert_eq!(request.op(), op);
            let mut out = BytesMut::new();
            request.write(&mut out);
            assert_eq!(out, body, "{xid} {request:?}");
            same += 1;
        }
    }
    assert_eq!(same, 71);
}

/// The captured request as a [`Request`], if there is one for it.
fn request_from(op: OpCode, r: &mut Reader<'_>) -> Option<Request> {
    let request = match op {
        OpCode::Create => r.record().map(Request::Create),
        OpCode::Create2 => r.record().map(Request::Create2),
        OpCode::CreateContainer => r.record().map(Request::CreateContainer),
        OpCode::CreateTtl => r.record().map(Request::CreateTtl),
        OpCode::Delete => r.record().map(Request::Delete),
        OpCode::Exists => r.record().map(Request::Exists),
        OpCode::GetData => r.record().map(Request::GetData),
        OpCode::SetData => r.record().map(Request::SetData),
        OpCode::GetAcl => r.record().map(Request::GetAcl),
        OpCode::SetAcl => r.record().map(Request::SetAcl),
        OpCode::GetChildren => r.record().map(Request::GetChildren),
        OpCode::GetChildren2 => r.record().map(Request::GetChildren2),
        OpCode::Sync => r.record().map(Request::Sync),
        OpCode::GetEphemerals => r.record().map(Request::GetEphemerals),
        OpCode::GetAllChildrenNumber => r.record().map(Request::GetAllChildrenNumber),
        OpCode::WhoAmI => Ok(Request::WhoAmI),
        OpCode::AddWatch => r.record().map(Request::AddWatch),
        OpCode::CheckWatches => r.record().map(Request::CheckWatches),
        OpCode::RemoveWatches => r.record().map(Request::RemoveWatches),
        OpCode::Reconfig => r.record().map(Request::Reconfig),
        OpCode::Multi => {
            let mut all = Vec::new();
            loop {
                let header: crate::wire::client::MultiHeader = r.record().ok()?;
                if header.done {
                    break;
                }
                all.push(match OpCode::from_i32(header.op)? {
                    OpCode::Create => MultiOp::Create(r.record().ok()?),
                    OpCode::Create2 => MultiOp::Create2(r.record().ok()?),
                    OpCode::CreateContainer => MultiOp::CreateContainer(r.record().ok()?),
                    OpCode::CreateTtl => MultiOp::CreateTtl(r.record().ok()?),
                    OpCode::Delete => MultiOp::Delete(r.record().ok()?),
                    OpCode::SetData => MultiOp::SetData(r.record().ok()?),
                    OpCode::Check => MultiOp::Check(r.record().ok()?),
                    _ => return None,
                });
            }
            Ok(Request::Multi(all))
        }
        _ => return None,
    };
    request.ok()
}
