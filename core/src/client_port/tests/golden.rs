//! The same answers as a ZooKeeper 3.9.5 server, request by request.

use super::*;

const CAPTURE: &str = include_str!("../../../testdata/capture/client-ops-3.9.5.jsonl");
/// What that server began its session ids with, and the beginning of its clock.
const SESSION_CLOCK_MS: i64 = 0x5b_1e50;
const WALL_MS: i64 = 0x01a1_fad2_6200;
/// After this the long session asks for what this server refuses, and numbers differ.
const LAST_EQUAL_XID: i32 = 70;
/// The connection that asks for nearly everything.
const LONG_CONN: u64 = 1;
/// The first of those that log in with SASL, which this server does not offer.
const FIRST_SASL_CONN: u64 = 25;
/// What this server answers with UNIMPLEMENTED.
const NOT_THERE_YET: [OpCode; 1] = [OpCode::DeleteContainer];

struct Line {
    conn: u64,
    from_client: Option<bool>,
    bytes: Vec<u8>,
}

fn lines() -> Vec<Line> {
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let hex = String::from(line["hex"].as_str().unwrap_or_default());
        let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16));
        Line {
            conn: line["conn"].as_u64().unwrap(),
            from_client: match line["dir"].as_str().unwrap() {
                "c2s" => Some(true),
                "s2c" => Some(false),
                _ => None,
            },
            bytes: bytes.map(Result::unwrap).collect(),
        }
    };
    CAPTURE.lines().map(line).collect()
}

/// Times are another machine's.
fn without_times(body: &Bytes) -> Vec<u8> {
    let mut body = body.to_vec();
    for at in 0..body.len().saturating_sub(7) {
        if body[at..].starts_with(&[0, 0, 1, 0xa1, 0xfa, 0xd2]) {
            body[at..at + 8].fill(0);
        }
    }
    body
}

/// The names in a reply, sorted: their order means nothing. And what follows them.
fn names(body: &Bytes) -> (Vec<ByteString>, Vec<u8>) {
    let r = &mut Reader::new(body);
    let mut names: Vec<ByteString> = r.record().unwrap_or_default();
    names.sort();
    (names, without_times(&r.rest()))
}

#[test]
fn a_real_client_cannot_tell_the_difference() {
    let mut server = Server::with(options(), SESSION_CLOCK_MS);
    server.now.wall_ms = WALL_MS;
    let lines = lines();
    let mut expected: BTreeMap<u64, Vec<Heard>> = BTreeMap::new();
    let mut ops: BTreeMap<(u64, i32), OpCode> = BTreeMap::new();
    let mut ours: BTreeMap<u64, Vec<Heard>> = BTreeMap::new();
    for line in &lines {
        let conn = ConnId::accepted(line.conn);
        match line.from_client {
            Some(true) => {
                if !server.replies.contains_key(&conn) {
                    server.open(line.conn);
                }
                let mut frames = FrameReader::default();
                frames.push(line.bytes.clone().into());
                while let Ok(Some(frame)) = frames.next(1 << 20) {
                    let r = &mut Reader::new(&frame);
                    if let (Ok(xid), Ok(Some(op))) = (r.int(), r.int().map(OpCode::from_i32)) {
                        ops.insert((line.conn, xid), op);
                    }
                }
                server.push(conn, line.bytes.clone());
                ours.entry(line.conn).or_default().extend(server.hear(conn));
            }
            Some(false) => {
                let mut frames = FrameReader::default();
                frames.push(line.bytes.clone().into());
                let heard = expected.entry(line.conn).or_default();
                while let Ok(Some(frame)) = frames.next(1 << 20) {
                    heard.push(if heard.is_empty() { hello(&frame) } else { reply(&frame) });
                }
            }
            None => {}
        }
    }
    let mut compared = (0, 0, 0);
    for (conn, expected) in expected {
        let ours = &ours[&conn];
        let replies = |all: &[Heard]| -> BTreeMap<i32, (i64, i32, Bytes)> {
            all.iter()
                .filter_map(|h| match h {
                    Heard::Reply { xid, zxid, err, body } => {
                        Some((*xid, (*zxid, *err, body.clone())))
                    }
                    _ => None,
                })
                .collect()
        };
        assert_eq!(ours[0], expected[0], "handshake of connection {conn}");
        compared.0 += 1;
        if conn >= FIRST_SASL_CONN {
            continue;
        }
        let our_replies = replies(ours);
        for (xid, (zxid, err, body)) in replies(&expected) {
            let Some(op) = ops.get(&(conn, xid)).copied() else { continue };
            let Some((our_zxid, our_err, our_body)) = our_replies.get(&xid) else {
                panic!("connection {conn}: {op:?} {xid} was not answered: {ours:?}")
            };
            if *our_err == ErrorCode::Unimplemented as i32 && *our_err != err {
                assert!(NOT_THERE_YET.contains(&op), "{op:?}");
                continue;
            }
            assert_eq!(*our_err, err, "connection {conn}: {op:?} {xid}");
            compared.1 += 1;
            if conn != LONG_CONN || !(1..=LAST_EQUAL_XID).contains(&xid) {
                continue;
            }
            assert_eq!(*our_zxid, zxid, "{op:?} {xid}");
            if matches!(op, OpCode::GetChildren | OpCode::GetChildren2) {
                assert_eq!(names(our_body), names(&body), "{op:?} {xid}");
            } else if op == OpCode::MultiRead {
                let sorted = |body: &Bytes| {
                    let mut bytes = without_times(body);
                    bytes.sort_unstable();
                    bytes
                };
                assert_eq!(sorted(our_body), sorted(&body), "{op:?} {xid}");
            } else {
                assert_eq!(without_times(our_body), without_times(&body), "{op:?} {xid}");
            }
            compared.2 += 1;
        }
        if conn == LONG_CONN {
            // Every event before the same reply.
            let first = |all: &[Heard]| -> Vec<Heard> {
                let last = |h: &Heard| matches!(h, Heard::Reply { xid: LAST_EQUAL_XID, .. });
                let end = all.iter().position(last).unwrap();
                all[..=end]
                    .iter()
                    .map(|h| match h {
                        Heard::Reply { xid, err, .. } => {
                            Heard::Reply { xid: *xid, zxid: 0, err: *err, body: Bytes::new() }
                        }
                        other => other.clone(),
                    })
                    .collect()
            };
            assert_eq!(first(ours), first(&expected));
        }
    }
    assert_eq!(compared, (25, 92, 70), "handshakes, codes, whole replies");
}
