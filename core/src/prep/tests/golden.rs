//! The same transactions and the same refusals as a ZooKeeper 3.9.5 leader.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::*;
use crate::hash::HashKey;
use crate::wire::acl::AclList;
use crate::wire::client::{
    AuthPacket, ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, Stat,
};
use crate::wire::jute::Reader;
use crate::wire::txn::{CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn};

const LOG: &[u8] = include_bytes!("../../../testdata/storage/3.9.5/log.1");
const CAPTURE: &str = include_str!("../../../testdata/capture/client-ops-3.9.5.jsonl");

/// The transactions of a log file.
fn logged() -> Vec<(Bytes, LoggedTxn)> {
    let file = Bytes::from_static(LOG);
    let r = &mut Reader::new(&file);
    let mut all = Vec::new();
    assert_eq!((r.int(), r.int(), r.long()), (Ok(0x5a4b_4c47), Ok(2), Ok(0)));
    while r.long().unwrap_or(0) != 0 {
        let bytes = r.buffer().unwrap().unwrap();
        assert_eq!(r.byte(), Ok(b'B'));
        all.push((bytes.clone(), LoggedTxn::from_bytes(&bytes).unwrap()));
    }
    all
}

/// A request from which this transaction came.
fn request_of(txn: &Txn) -> Bytes {
    let create = |path: &str, data: &Option<Bytes>, acl: &AclList, flags: i32| {
        body(|out| {
            out.put_ustring(path);
            out.put_buffer(data.as_deref());
            acl.write(out);
            out.put_i32(flags);
        })
    };
    match txn {
        Txn::Create(t) | Txn::Create2(t) => {
            create(&t.path, &t.data, &t.acl, i32::from(t.ephemeral))
        }
        Txn::CreateContainer(t) => create(&t.path, &t.data, &t.acl, 4),
        Txn::CreateTtl(t) => body(|out| {
            out.put_slice(&create(&t.path, &t.data, &t.acl, 5));
            out.put_i64(t.ttl);
        }),
        Txn::Delete(t) => versioned(&t.path, -1),
        Txn::SetData(t) => set_data(&t.path, t.data.as_deref().unwrap_or_default(), t.version - 1),
        Txn::SetAcl(t) => set_acl(&t.path, &t.acl.to_vec(), t.version - 1),
        Txn::Check(t) => versioned(&t.path, t.version - 1),
        // The failing one was a check of a wrong version.
        Txn::Error(_) => versioned("/a", 99),
        Txn::Multi(all) => {
            let sub = |txn: &Txn| match txn {
                Txn::Error(_) => (OpCode::Check, request_of(txn)),
                txn => (txn.op(), request_of(txn)),
            };
            multi(&all.iter().map(sub).collect::<Vec<_>>())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_transactions_of_a_real_leader() {
    let mut store = Store::new(StoreOptions { extended_types: true, ..StoreOptions::default() });
    let mut prep = Prep::new(
        PrepOptions {
            extended_types: true,
            enforce_quota: true,
            protect_system_nodes: false,
            access: Access::default(),
            max_txn_bytes: 100_000,
        },
        HashKey::new(1),
    );
    let auth: Arc<[Id]> = Arc::from([Id { scheme: "super".into(), id: "".into() }]);
    let mut compared = 0;
    for (bytes, logged) in logged() {
        let header = &logged.header;
        let (session, cxid, zxid, time) = (header.client, header.cxid, header.zxid, header.time_ms);
        let prepared = match &logged.txn {
            // The request is not known any more, or was the leader's own.
            Txn::Error(_) | Txn::DeleteContainer(_) => None,
            Txn::CreateSession(timeout) => {
                Some(prep.create_session(&store, session, *timeout, cxid, zxid, time))
            }
            Txn::CloseSession(_) => Some(prep.close_session(&store, session, cxid, zxid, time)),
            txn => {
                let (op, body) = (txn.op(), request_of(txn));
                let parsed = parse(op, &body).unwrap();
                let request = Request { session, cxid, op, body, auth: auth.clone() };
                Some(prep.prepare(&store, &request, parsed, SessionCheck::Ok, zxid, time))
            }
        };
        if let Some(prepared) = prepared {
            assert_eq!(prepared, logged);
            assert_eq!(prepared.to_bytes(), bytes, "{logged:?}");
            compared += 1;
        }
        store.apply(&logged, &mut Effects::default());
        prep.committed(zxid);
    }
    assert_eq!(compared, 42);
}

/// What crossed one client connection, frame by frame.
#[derive(Default)]
struct Connection {
    ids: Vec<Id>,
    response: Option<ConnectResponse>,
    greeted: bool,
    sasl: bool,
    sent: BytesMut,
    answered: BytesMut,
    /// By xid; a frame is the whole reply.
    replies: BTreeMap<i32, Bytes>,
}

fn frames(buffer: &mut BytesMut) -> Vec<Bytes> {
    let mut all = Vec::new();
    while let Some(length) = buffer.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)) {
        let Ok(length) = usize::try_from(length) else { break };
        if buffer.len() < 4 + length {
            break;
        }
        let frame = buffer.split_to(4 + length).freeze();
        all.push(frame.slice(4..));
    }
    all
}

fn timeless(mut stat: Stat) -> Stat {
    (stat.ctime, stat.mtime) = (0, 0);
    stat
}

/// The capture's chunks of bytes: connection, whether from the client, bytes.
fn capture() -> impl Iterator<Item = (u64, bool, Vec<u8>)> {
    CAPTURE.lines().filter_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let hex: String = event.get("hex")?.as_str()?.into();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        Some((event["conn"].as_u64().unwrap(), event["dir"] == "c2s", bytes))
    })
}

/// Compares the bodies of two answers, apart from the time of day.
fn same_results(leader: &Leader, txn: &Txn, r: &mut Reader<'_>) {
    let same_stat = |path: &str, r: &mut Reader<'_>| {
        let stat = leader.store.node(path).unwrap().stat();
        assert_eq!(timeless(stat), timeless(r.record().unwrap()), "{txn:?}");
    };
    match txn {
        Txn::Create(t) => assert_eq!(t.path, r.text().unwrap()),
        Txn::Create2(CreateTxn { path, .. })
        | Txn::CreateContainer(CreateContainerTxn { path, .. })
        | Txn::CreateTtl(CreateTtlTxn { path, .. }) => {
            assert_eq!(*path, r.text().unwrap());
            same_stat(path, r);
        }
        Txn::SetData(t) => same_stat(&t.path, r),
        Txn::SetAcl(t) => same_stat(&t.path, r),
        Txn::Multi(all) => {
            let failed = all.iter().any(|sub| matches!(sub, Txn::Error(_)));
            for sub in all {
                let header: MultiHeader = r.record().unwrap();
                match sub {
                    Txn::Error(code) => assert_eq!(r.int(), Ok(*code)),
                    _ if failed => assert_eq!(r.int(), Ok(0)),
                    // Its stat is of the moment in the middle of the multi.
                    Txn::SetData(_) => assert!(r.record::<Stat>().is_ok()),
                    Txn::Create2(t) => {
                        assert_eq!(t.path, r.text().unwrap());
                        assert!(r.record::<Stat>().is_ok());
                    }
                    Txn::Delete(_) | Txn::Check(_) => {}
                    sub => same_results(leader, sub, r),
                }
                assert_eq!(header.op == -1, failed, "{txn:?}");
            }
            assert!(r.record::<MultiHeader>().unwrap().done);
        }
        Txn::Delete(_) | Txn::CloseSession(_) => assert!(r.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_answers_of_a_real_server() {
    let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
    for (conn, from_client, bytes) in capture() {
        if !from_client {
            connections.entry(conn).or_default().answered.put_slice(&bytes);
        }
    }
    let mut l = Leader::new();
    let mut compared = 0;
    for connection in connections.values_mut() {
        let mut answers = frames(&mut connection.answered).into_iter();
        connection.response = answers.next().and_then(|f| ConnectResponse::from_bytes(&f).ok());
        connection.replies = answers.map(|f| (Reader::new(&f).int().unwrap(), f)).collect();
    }
    for (conn, from_client, bytes) in capture() {
        let Some(connection) = connections.get_mut(&conn).filter(|_| from_client) else { continue };
        connection.sent.put_slice(&bytes);
        for frame in frames(&mut connection.sent) {
            compared += usize::from(connection.request(&mut l, &frame));
        }
    }
    assert_eq!(compared, 45);
}

impl Connection {
    /// Replays one frame of the client; whether there was an answer to compare with.
    fn request(&mut self, l: &mut Leader, frame: &Bytes) -> bool {
        let r = &mut Reader::new(frame);
        let Some(response) = self.response.clone().filter(|response| response.timeout_ms > 0)
        else {
            return false;
        };
        if !self.greeted {
            self.greeted = true;
            self.ids = Vec::from([Id { scheme: "ip".into(), id: "127.0.0.1".into() }]);
            let request: ConnectRequest = r.record().unwrap();
            if request.session == SessionId(0) {
                l.connect(response.session);
                l.commit();
            }
            return false;
        }
        let header: RequestHeader = r.record().unwrap();
        let (Some(op), Some(reply)) =
            (OpCode::from_i32(header.op), self.replies.get(&header.xid).cloned())
        else {
            return false;
        };
        let body = r.rest();
        let r = &mut Reader::new(&reply);
        let reply: ReplyHeader = r.record().unwrap();
        l.session = response.session;
        l.ids.clone_from(&self.ids);
        l.zxid = reply.zxid.0 - 1;
        match op {
            OpCode::Auth => {
                let auth = AuthPacket::from_bytes(&body).unwrap();
                let local = core::net::Ipv4Addr::LOCALHOST.into();
                let (scheme, data) = (&auth.scheme, auth.auth.as_deref());
                let ids = Access::default().authenticate(scheme, data, local, &[]);
                assert_eq!(ids.is_some(), reply.err == 0);
                self.ids.extend(ids.into_iter().flatten());
                false
            }
            OpCode::Sasl => {
                self.sasl = true;
                false
            }
            OpCode::DeleteContainer => {
                // Not for clients here.
                l.done(OpCode::Multi, multi(&[]));
                let mut logged = l.pipeline.pop_back().unwrap();
                logged.txn = Txn::DeleteContainer(DeleteTxn::from_bytes(&body).unwrap());
                logged.header.op = op as i32;
                logged.digest = None;
                l.store.apply(&logged, &mut Effects::default());
                false
            }
            OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Multi
            | OpCode::Reconfig
            | OpCode::CloseSession
                if !self.sasl =>
            {
                match parse(op, &body) {
                    Err(code) => assert_eq!(code as i32, reply.err, "{op:?}"),
                    Ok(parsed) => {
                        let txn = l.ask_parsed(op, body, parsed).txn;
                        l.commit();
                        match txn {
                            Txn::Error(code) => assert_eq!(code, reply.err, "{header:?}"),
                            txn => {
                                assert_eq!(reply.err, 0, "{txn:?}");
                                same_results(l, &txn, r);
                            }
                        }
                    }
                }
                true
            }
            _ => false,
        }
    }
}
