//! The client's machine and the server's, with nothing but bytes between them; and clients
//! that send anything at all.

use proptest::prelude::*;

use super::*;
use crate::client::{Client, ClientEvent, ClientOptions, Ended, Response};
use crate::wire::client::{PathRequest, SetDataRequest};

/// Carries bytes and connections between one client and the server until both are quiet.
fn carry(server: &mut Server, client: &mut Client, conns: &mut Vec<ConnId>) -> Vec<ClientEvent> {
    let now = server.now;
    let mut seen = Vec::new();
    loop {
        let mut quiet = true;
        while let Some(event) = client.next_event() {
            quiet = false;
            match &event {
                ClientEvent::Connect { .. } => {
                    let conn = ConnId::accepted(100 + conns.len() as u64);
                    let peer = "127.0.0.1:5000".parse().unwrap();
                    server.client_port.opened(now.mono, conn, peer, &mut server.out);
                    conns.push(conn);
                    client.connected(now.mono);
                }
                ClientEvent::Disconnect => server.client_port.closed(*conns.last().unwrap()),
                _ => seen.push(event),
            }
        }
        let conn = *conns.last().unwrap();
        if let Some(bytes) = client.take_output() {
            quiet = false;
            server.client_port.received(now, &server.store, conn, bytes, &mut server.out);
        }
        while let Some(submission) = server.client_port.next_submission() {
            server.submit(submission);
        }
        while !server.proposed.is_empty() {
            server.commit_one();
        }
        server.client_port.flush(&mut server.out);
        for action in core::mem::take(&mut server.out) {
            match action {
                Action::Send { conn: to, bytes } if to == conn => {
                    quiet = false;
                    client.received(now.mono, bytes);
                }
                Action::Close { conn: to, .. } if to == conn => client.disconnected(now.mono),
                _ => {}
            }
        }
        if quiet {
            return seen;
        }
    }
}

#[test]
fn a_client_keeps_its_session_and_watches_over_a_reconnect() {
    let mut server = Server::new();
    let (other, _) = server.client(1);
    server.create(other, "/a");
    let mut client = Client::new(ClientOptions::default(), Time(0));
    let mut conns = Vec::new();
    let begun = carry(&mut server, &mut client, &mut conns);
    let attached = ClientEvent::Attached { session: client.session(), timeout_ms: 30_000 };
    assert_eq!((begun.len(), &begun[0]), (1, &attached));

    let exists = |path: &'static str| {
        crate::client::Request::Exists(WatchedRequest { path: path.into(), watch: true })
    };
    client.submit(Time(0), &exists("/a")).unwrap();
    client.submit(Time(0), &exists("/b")).unwrap();
    assert_eq!(carry(&mut server, &mut client, &mut conns).len(), 2);

    // The connection breaks; meanwhile one node changes and the other comes into being.
    server.client_port.closed(*conns.last().unwrap());
    client.disconnected(Time(0));
    server.set(other, "/a");
    server.create(other, "/b");
    assert_eq!(client.next_event(), Some(ClientEvent::Detached));
    client.tick(client.deadline().unwrap());
    let again = carry(&mut server, &mut client, &mut conns);
    let watch =
        |kind, path: &'static str| ClientEvent::Watch { kind, path: path.into(), zxid: Zxid(-1) };
    let missed = [watch(EventType::NodeDataChanged, "/a"), watch(EventType::NodeCreated, "/b")];
    assert_eq!(again, [&[attached.clone()][..], &missed].concat());

    // A watch that stays is left again, too, and hears nothing of what was missed.
    let recursive = AddWatchRequest { path: "/".into(), mode: 1 };
    client.submit(Time(0), &crate::client::Request::AddWatch(recursive)).unwrap();
    assert_eq!(carry(&mut server, &mut client, &mut conns).len(), 1);
    server.client_port.closed(*conns.last().unwrap());
    client.disconnected(Time(0));
    server.create(other, "/c");
    assert_eq!(client.next_event(), Some(ClientEvent::Detached));
    client.tick(client.deadline().unwrap());
    assert_eq!(carry(&mut server, &mut client, &mut conns), [attached]);
    let data = Some(Bytes::new());
    let create = CreateRequest { path: "/c/d".into(), data, acl: world(perms::ALL), flags: 0 };
    client.submit(Time(0), &crate::client::Request::Create(create)).unwrap();
    let heard = carry(&mut server, &mut client, &mut conns);
    let zxid = Zxid(server.zxid);
    let fired = ClientEvent::Watch { kind: EventType::NodeCreated, path: "/c/d".into(), zxid };
    assert_eq!((heard.len(), &heard[0]), (2, &fired));
    let all = WatcherRequest { path: "/".into(), kind: 3 };
    client.submit(Time(0), &crate::client::Request::CheckWatches(all.clone())).unwrap();
    client.submit(Time(0), &crate::client::Request::RemoveWatches(all)).unwrap();
    let answers = carry(&mut server, &mut client, &mut conns);
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert!(matches!(answer, ClientEvent::Reply { result: Ok(Response::Done), .. }));
    }
    assert_eq!(server.client_port.watch_count(), 0);

    let data = Some(Bytes::from_static(b"mine"));
    let set = SetDataRequest { path: "/a".into(), data, version: 1 };
    client.submit(Time(0), &crate::client::Request::SetData(set)).unwrap();
    let sync = crate::client::Request::Sync(PathRequest { path: "/a".into() });
    client.submit(Time(0), &sync).unwrap();
    client.close(Time(0));
    let last = carry(&mut server, &mut client, &mut conns);
    let [
        ClientEvent::Reply { result: Ok(Response::Stat(stat)), .. },
        ClientEvent::Reply { result: Ok(Response::Path(_)), .. },
        ClientEvent::Ended(Ended::Closed),
    ] = &last[..]
    else {
        panic!("{last:?}")
    };
    assert_eq!(stat.version, 2);
    assert_eq!(server.store.session(client.session()), None);
}

proptest! {
    /// Whatever one client sends, another one is served.
    #[test]
    fn noise_disturbs_nobody(
        frames in proptest::collection::vec(
            (-12..110i32, proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..60)),
            1..40,
        ),
        raw in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut server = Server::new();
        let (good, _) = server.client(1);
        let stranger = server.open(2);
        server.push(stranger, raw.clone());
        for (n, (op, body)) in (3..).zip(frames) {
            let (noisy, _) = server.client(n);
            server.push(noisy, request(n as i32, op, |out| out.put_slice(&body)));
            server.push(noisy, request(n as i32, op, |out| {
                out.put_ustring("/a");
                out.put_slice(&body);
            }));
            server.push(noisy, raw.clone());
        }
        server.hear(good);
        server.create(good, "/still-served");
    }
}
