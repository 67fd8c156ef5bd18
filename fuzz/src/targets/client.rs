//! Hostile clients and hostile servers: frames into the client port, the records of the client
//! protocol, four-letter words, and replies into the client's side of a session.

use bytes::Bytes;
use zabkeeper_core::client::{Client, ClientEvent, ClientOptions, Request, Response};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::Time;
use zabkeeper_core::wire::client::{
    Acl, AddWatchRequest, AuthPacket, CheckRequest, ConnectRequest, ConnectResponse,
    Create2Response, CreateRequest, CreateTtlRequest, DeleteRequest, GetAclResponse,
    GetDataResponse, Id, MultiHeader, PathRequest, ReplyHeader, RequestHeader, SetAclRequest,
    SetDataRequest, SetWatches, Stat, WatchedRequest, WatcherEvent, WatcherRequest,
};
use zabkeeper_core::wire::txn::{
    CheckVersionTxn, CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn, LoggedTxn, SetAclTxn,
    SetDataTxn, SubTxn, TxnDigest, TxnHeader,
};
use zabkeeper_core::wire::{EventType, OpCode, Reader, Record, Word};

use super::friend::Friend;
use crate::rig::{Rig, pieces};

/// Bytes into the client port of a standalone server, cut anywhere; a well-behaved client is
/// served all the same, and everything is there after a restart.
pub fn client_frames(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let mut rig = Rig::standalone();
    let mut friend = Friend::with_a_node(&mut rig);
    let conn = rig.accept(Port::Client);
    // An odd cut lets everything arrive before the disk has done anything.
    let hurry = cut & 1 == 1;
    for piece in pieces(bytes, cut >> 1) {
        rig.receive(conn, piece);
        if !hurry {
            rig.settle();
        }
    }
    rig.settle();
    friend.is_served(&mut rig);
    rig.closed(conn);
    friend.is_served(&mut rig);
    rig.restarts_with_the_same_state();
}

/// A four-letter word, or what looks like one, with what a sloppy monitor appends.
pub fn four_letter_words(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let first = bytes.first_chunk::<4>().and_then(|first| Word::parse(*first));
    if let (Some(word), Some(first)) = (first, bytes.first_chunk::<4>())
        && word != Word::TelnetClose
    {
        assert_eq!(word.name().as_bytes(), first);
    }
    let text = "dataDir=/d\nclientPort=2181\n4lw.commands.whitelist=*\n";
    let mut rig = Rig::new(crate::rig::config(text, None));
    if cut & 1 == 0 {
        rig.settle();
    }
    let conn = rig.accept(Port::Client);
    for piece in pieces(bytes, cut >> 1) {
        rig.receive(conn, piece);
    }
    rig.settle();
    let answer = rig.take_sent(conn).concat();
    if matches!(first, Some(word) if word != Word::Stmk && word != Word::TelnetClose) {
        assert!(!rig.is_open(conn), "a word ends its connection");
        assert!(core::str::from_utf8(&answer).is_ok(), "the answer is text");
        let long = if cut & 1 == 0 { 32 << 10 } else { 4 << 10 };
        assert!(answer.len() <= long, "{} bytes", answer.len());
    }
    rig.closed(conn);
    Friend::with_a_node(&mut rig).is_served(&mut rig);
}

/// Every record of the client protocol and of transactions: what is read can be written, and
/// is then read as the same.
pub fn client_records(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(bytes);
    match which % 40 {
        0 => round_trip::<ConnectRequest>(&bytes),
        1 => round_trip::<ConnectResponse>(&bytes),
        2 => round_trip::<RequestHeader>(&bytes),
        3 => round_trip::<ReplyHeader>(&bytes),
        4 => round_trip::<CreateRequest>(&bytes),
        5 => round_trip::<CreateTtlRequest>(&bytes),
        6 => round_trip::<Create2Response>(&bytes),
        7 => round_trip::<DeleteRequest>(&bytes),
        8 => round_trip::<PathRequest>(&bytes),
        9 => round_trip::<WatchedRequest>(&bytes),
        10 => round_trip::<GetDataResponse>(&bytes),
        11 => round_trip::<SetDataRequest>(&bytes),
        12 => round_trip::<GetAclResponse>(&bytes),
        13 => round_trip::<SetAclRequest>(&bytes),
        14 => round_trip::<CheckRequest>(&bytes),
        15 => round_trip::<AuthPacket>(&bytes),
        16 => round_trip::<SetWatches>(&bytes),
        17 => round_trip::<WatcherEvent>(&bytes),
        18 => round_trip::<MultiHeader>(&bytes),
        19 => round_trip::<Stat>(&bytes),
        20 => round_trip::<Vec<Acl>>(&bytes),
        21 => round_trip::<Vec<Id>>(&bytes),
        22 => transaction(&bytes),
        23 => round_trip::<TxnHeader>(&bytes),
        24 => round_trip::<TxnDigest>(&bytes),
        25 => round_trip::<CreateTxn>(&bytes),
        26 => round_trip::<CreateContainerTxn>(&bytes),
        27 => round_trip::<CreateTtlTxn>(&bytes),
        28 => round_trip::<DeleteTxn>(&bytes),
        29 => round_trip::<SetDataTxn>(&bytes),
        30 => round_trip::<SetAclTxn>(&bytes),
        31 => round_trip::<CheckVersionTxn>(&bytes),
        32 => round_trip::<SubTxn>(&bytes),
        33.. => {
            let mut r = Reader::new(&bytes);
            if let Ok(Some(op)) = r.int().map(OpCode::from_i32)
                && let Ok(response) = Response::read(op, &mut r)
            {
                // Nothing is made of what is not there.
                if let Response::Multi(all) = response {
                    assert!(all.len() <= bytes.len() / 9);
                }
            }
        }
    }
}

fn round_trip<R: Record + PartialEq + std::fmt::Debug>(bytes: &Bytes) {
    let mut r = Reader::new(bytes);
    let Ok(record) = r.record::<R>() else { return };
    let written = record.to_bytes();
    let again = R::from_bytes(&written);
    assert_eq!(again.as_ref(), Ok(&record), "written as {written:?}");
    assert_eq!(again.map(|again| again.to_bytes()), Ok(written));
}

/// The optional parts of a transaction are told by what remains: so only those are compared
/// that are as long as they were.
fn transaction(bytes: &Bytes) {
    let mut r = Reader::new(bytes);
    let Ok(logged) = r.record::<LoggedTxn>() else { return };
    assert_eq!(logged.txn.op() as i32, logged.header.op);
    let written = logged.to_bytes();
    if written.len() == r.position() {
        assert_eq!(LoggedTxn::from_bytes(&written).as_ref(), Ok(&logged));
    }
}

/// Bytes from a server into a client with requests under way: every request is answered or
/// lost, once, and no later than the connection.
pub fn client_replies(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let mut now = Time(1_000_000_000);
    let mut client = Client::new(ClientOptions { servers: 3, ..ClientOptions::default() }, now);
    client.add_auth(now, "digest", Bytes::from_static(b"a:b"));
    client.connected(now);
    let path = WatchedRequest { path: "/a".into(), watch: true };
    let requests = [
        Request::GetData(path.clone()),
        Request::Exists(path.clone()),
        Request::GetChildren2(path),
        Request::Sync(PathRequest { path: "/a".into() }),
        Request::Multi(Vec::new()),
        Request::WhoAmI,
        Request::AddWatch(AddWatchRequest { path: "/a".into(), mode: 1 }),
        Request::RemoveWatches(WatcherRequest { path: "/a".into(), kind: 3 }),
    ];
    let mut pending: Vec<i32> =
        requests.iter().filter_map(|request| client.submit(now, request).ok()).collect();
    for piece in pieces(bytes, *cut) {
        client.received(now, piece);
        let mut output = 0;
        while let Some(bytes) = client.take_output() {
            output += bytes.len();
        }
        assert!(output <= 64 << 10, "{output} bytes at once");
        heard(&mut client, &mut pending);
        now = now.plus_ms(50);
        client.tick(now);
        assert!(client.deadline().is_none_or(|at| at > now), "a tick does what is due");
    }
    client.disconnected(now);
    heard(&mut client, &mut pending);
    assert!(pending.is_empty(), "unanswered: {pending:?}");
    assert_eq!(client.outstanding(), 0);
    now = now.plus_ms(600_000);
    client.tick(now);
    heard(&mut client, &mut pending);
}

fn heard(client: &mut Client, pending: &mut Vec<i32>) {
    while let Some(event) = client.next_event() {
        match event {
            ClientEvent::Reply { xid, .. } => {
                let at = pending.iter().position(|x| *x == xid).expect("a request under way");
                pending.remove(at);
            }
            ClientEvent::Watch { kind, .. } => {
                assert_eq!(EventType::from_i32(kind as i32), Some(kind));
            }
            ClientEvent::Connect { server } => assert!(server < 3),
            ClientEvent::Disconnect
            | ClientEvent::Attached { .. }
            | ClientEvent::Detached
            | ClientEvent::Ended(_) => {}
        }
    }
}
