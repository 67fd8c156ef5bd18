//! The order of checks: a request with every fault at once, whose faults are mended one by
//! one, is refused for each in turn.

use super::*;
use crate::wire::OpCode::*;

/// `/open` (version 1, with a child), `/closed` (only somebody else), `/mine` (an ephemeral).
fn leader() -> Leader {
    let mut leader = Leader::new();
    leader.done(Create, create("/open", 0));
    leader.done(SetData, set_data("/open", b"1", -1));
    leader.done(Create, create("/open/child", 0));
    leader.done(Create, create_with("/closed", &closed(), 0));
    leader.done(Create, create("/mine", 1));
    leader.commit();
    leader
}

/// Faults of the session, then what they are answered with.
const EXPIRED: SessionCheck = SessionCheck::Expired;
const OK: SessionCheck = SessionCheck::Ok;

fn refused(leader: &mut Leader, check: SessionCheck, op: OpCode, body: Bytes, code: ErrorCode) {
    leader.check = check;
    assert_eq!(leader.refusal(op, body.clone()), Some(code), "{op:?} {body:?}");
    leader.commit();
}

#[test]
fn create_is_refused_in_this_order() {
    use ErrorCode::*;
    let none = Vec::new();
    for op in [Create, Create2] {
        let l = &mut leader();
        let mut row = |check, body, code| refused(l, check, op, body, code);
        row(EXPIRED, create_with("bad", &none, 9), BadArguments);
        row(EXPIRED, create_with("bad", &none, 5), BadArguments);
        row(EXPIRED, create_with("bad", &none, 0), SessionExpired);
        row(SessionCheck::Moved, create_with("bad", &none, 0), SessionMoved);
        row(OK, create_with("bad", &none, 0), BadArguments);
        row(OK, create_with("/closed/\0", &none, 0), BadArguments);
        row(OK, create_with("/no/..", &none, 0), InvalidAcl);
        row(OK, create("/no/..", 0), NoNode);
        row(OK, create("/closed/..", 0), NoAuth);
        row(OK, create("/open/..", 0), BadArguments);
        row(OK, create("/open/", 0), BadArguments);
        row(OK, create("/open/child", 0), NodeExists);
        row(OK, create("/", 0), NodeExists);
        row(OK, create("/mine/child", 0), NoChildrenForEphemerals);
        row(OK, create("/mine/child", 1), NoChildrenForEphemerals);
        row(OK, create("/mine/child", 2), NoChildrenForEphemerals);
    }
}

#[test]
fn create_ttl_is_refused_in_this_order() {
    use ErrorCode::*;
    let mut l = leader();
    for (ttl, flags) in [(0, 5), (-1, 5), (1 << 40, 6), (0, 0), (5, 1), (-1, 0), (-1, 4)] {
        refused(&mut l, EXPIRED, CreateTtl, create_ttl("bad", flags, ttl), BadArguments);
    }
    refused(&mut l, EXPIRED, CreateTtl, create_ttl("bad", 5, 1), SessionExpired);
    refused(&mut l, OK, CreateTtl, create_ttl("/open", 5, 1), NodeExists);

    let mut off = Leader::with(PrepOptions {
        extended_types: false,
        enforce_quota: true,
        protect_system_nodes: false,
        access: Access::default(),
        max_txn_bytes: 1000,
    });
    refused(&mut off, EXPIRED, CreateTtl, create_ttl("bad", 5, 0), Unimplemented);
    refused(&mut off, EXPIRED, Create, create("bad", 6), Unimplemented);
}

#[test]
fn delete_is_refused_in_this_order() {
    use ErrorCode::*;
    let l = &mut leader();
    let mut row = |check, path, version, code| {
        refused(l, check, Delete, versioned(path, version), code);
    };
    row(EXPIRED, "/", 7, SessionExpired);
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "", "bad", "/\0"] {
        row(OK, path, 7, BadArguments);
    }
    row(OK, "/no/node", 7, NoNode);
    row(OK, "/closed/no", 7, NoAuth);
    row(OK, "/no", 7, NoNode);
    row(OK, "/open/", 7, NoNode);
    row(OK, "/open", 0, BadVersion);
    row(OK, "/open", 1, NotEmpty);
    row(OK, "/open", -1, NotEmpty);
}

#[test]
fn set_data_is_refused_in_this_order() {
    use ErrorCode::*;
    let l = &mut leader();
    let mut row = |check, path, version, code| {
        refused(l, check, SetData, set_data(path, b"", version), code);
    };
    row(EXPIRED, "bad", 7, SessionExpired);
    row(OK, "bad", 7, BadArguments);
    row(OK, "", 7, BadArguments);
    row(OK, "/no", 7, NoNode);
    row(OK, "/closed", 7, NoAuth);
    row(OK, "/open", 7, BadVersion);
    row(OK, "/open", 0, BadVersion);
    row(OK, "/zookeeper/config", -1, NoAuth);
}

#[test]
fn set_acl_is_refused_in_this_order() {
    use ErrorCode::*;
    let l = &mut leader();
    let mut row = |check, path, acl: &Vec<Acl>, version, code| {
        refused(l, check, SetAcl, set_acl(path, acl, version), code);
    };
    let none = &Vec::new();
    row(EXPIRED, "bad", none, 7, SessionExpired);
    row(OK, "bad", none, 7, BadArguments);
    row(OK, "/no", none, 7, InvalidAcl);
    row(OK, "/no", &open(), 7, NoNode);
    row(OK, "/closed", &open(), 7, NoAuth);
    // The node's version is 1, its aversion 0.
    row(OK, "/open", &open(), 1, BadVersion);
}

#[test]
fn check_is_refused_in_this_order() {
    use ErrorCode::*;
    let l = &mut leader();
    let mut row = |check, path, version, code| {
        refused(l, check, Multi, multi(&[(Check, versioned(path, version))]), code);
    };
    row(EXPIRED, "bad", 7, SessionExpired);
    row(SessionCheck::Moved, "bad", 7, SessionMoved);
    row(OK, "bad", 7, BadArguments);
    row(OK, "/no", 7, NoNode);
    row(OK, "/closed", 7, NoAuth);
    row(OK, "/open", 7, BadVersion);
    let txn = l.done(Multi, multi(&[(Check, versioned("/open", 1))]));
    let Txn::Multi(all) = txn else { panic!("{txn:?}") };
    assert!(matches!(&all[..], [Txn::Check(check)] if check.version == 2));
}

#[test]
fn a_session_that_its_server_alone_knows_owns_nothing() {
    use ErrorCode::*;
    let l = &mut leader();
    let local = SessionCheck::Local(EphemeralOnLocalSession);
    for op in [Create, Create2] {
        refused(l, local, op, create("bad", 1), EphemeralOnLocalSession);
        refused(l, local, op, create("/open/x", 3), EphemeralOnLocalSession);
        refused(l, local, op, create("/open/child", 0), NodeExists);
    }
    let parts = [(Delete, versioned("/open/child", -1)), (Create, create("/open/x", 1))];
    refused(l, local, Multi, multi(&parts), EphemeralOnLocalSession);
    l.check = local;
    assert!(matches!(l.done(Create, create("/open/x", 2)), Txn::Create(_)));
    let creates = |op, body: Bytes| parse(op, &body).unwrap().creates_ephemeral();
    assert!(creates(Create, create("/x", 1)) && creates(Create2, create("/x", 3)));
    assert!(creates(Multi, multi(&parts)) && !creates(Multi, multi(&parts[..1])));
    assert!(!creates(Create, create("/x", 0)) && !creates(CreateContainer, create("/x", 1)));
}

#[test]
fn unreadable_request_is_refused_before_it_takes_a_zxid() {
    use ErrorCode::*;
    for (op, whole) in [
        (Create, create("/a", 0)),
        (CreateTtl, create_ttl("/a", 5, 1)),
        (Delete, versioned("/a", 0)),
        (SetData, set_data("/a", b"x", 0)),
        (SetAcl, set_acl("/a", &open(), 0)),
    ] {
        assert!(parse(op, &whole).is_ok(), "{op:?}");
        for n in 0..whole.len() {
            assert_eq!(parse(op, &whole.slice(..n)), Err(MarshallingError), "{op:?}, {n} bytes");
        }
        let more = body(|out| {
            out.put_slice(&whole);
            out.put_slice(b"trailing bytes are ignored");
        });
        assert_eq!(parse(op, &more), parse(op, &whole), "{op:?}");
    }
}

/// A request whose path is null.
fn null_path(rest: impl FnOnce(&mut BytesMut)) -> Bytes {
    body(|out| {
        out.put_buffer(None);
        rest(out);
    })
}

#[test]
fn a_null_path_is_found_out_where_it_is_looked_into() {
    use ErrorCode::*;
    let l = &mut leader();
    let create_null = |flags: i32| {
        null_path(|out| {
            out.put_buffer(None);
            open().write(out);
            out.put_i32(flags);
        })
    };
    let mut row = |check, op, body, code| refused(l, check, op, body, code);
    row(EXPIRED, Create, create_null(9), BadArguments);
    row(EXPIRED, Create, create_null(0), SessionExpired);
    row(OK, Create, create_null(0), MarshallingError);
    row(EXPIRED, Delete, null_path(|out| out.put_i32(0)), SessionExpired);
    row(OK, Delete, null_path(|out| out.put_i32(0)), MarshallingError);
    let set_null = null_path(|out| {
        out.put_buffer(None);
        out.put_i32(0);
    });
    row(OK, SetData, set_null, BadArguments);
    let set_acl_null = null_path(|out| {
        open().write(out);
        out.put_i32(0);
    });
    row(OK, SetAcl, set_acl_null, BadArguments);
    let in_multi = [(Delete, versioned("/no", 0)), (Create, create_null(0))];
    row(OK, Multi, multi(&in_multi), MarshallingError);
}

#[test]
fn an_unreadable_multi_takes_a_zxid() {
    let l = &mut leader();
    let whole = multi(&[(Create, create("/a", 0)), (Delete, versioned("/a", 0))]);
    for n in 0..whole.len() {
        refused(l, OK, Multi, whole.slice(..n), ErrorCode::MarshallingError);
    }
    assert!(!l.exists("/a"));
    assert_eq!(l.refusal(Multi, whole), None);
}

#[test]
fn an_acl_that_cannot_be_looked_into_spoils_its_multi() {
    let l = &mut leader();
    let null_id = body(|out| {
        out.put_ustring("/b");
        out.put_buffer(None);
        out.put_count(1);
        out.put_i32(31);
        out.put_ustring("world");
        out.put_buffer(None);
        out.put_i32(0);
    });
    let request = multi(&[(Create, create("/a", 0)), (Create, null_id)]);
    let txn = l.ask(Multi, request).txn;
    assert_eq!(txn, Txn::error(ErrorCode::MarshallingError), "not a failed multi");
    l.commit();
    assert_eq!(l.refusal(Create, create("/a", 0)), None);
}

#[test]
fn a_null_acl_in_a_multi_is_refused_before_a_zxid_is_taken() {
    let null_acl = body(|out| {
        out.put_ustring("/a");
        out.put_buffer(None);
        out.put_i32(-1);
        out.put_i32(0);
    });
    let request = multi(&[(Create, null_acl.clone())]);
    assert_eq!(parse(Multi, &request), Err(ErrorCode::MarshallingError));
    refused(&mut leader(), OK, Create, null_acl, ErrorCode::InvalidAcl);
}

#[test]
fn a_multi_is_of_writes_only() {
    for (op, body) in [
        (GetData, body(|out| (out.put_ustring("/a"), out.put_boolean(false)).1)),
        (SetAcl, set_acl("/a", &open(), -1)),
        (Multi, multi(&[])),
        (DeleteContainer, body(|out| out.put_ustring("/a"))),
        (Create, create("/a", 9)),
        (Create, create("/a", 5)),
    ] {
        let request = multi(&[(Delete, versioned("/a", -1)), (op, body)]);
        assert!(!parse(Multi, &request).unwrap().is_readable(), "{op:?}");
    }
}

#[test]
fn a_create_ttl_without_ttl_flags_in_a_multi_is_a_create() {
    let l = &mut leader();
    let parts = [(CreateTtl, create_ttl("/p", 0, 5)), (CreateTtl, create_ttl("/c", 4, 5))];
    let Txn::Multi(all) = l.done(Multi, multi(&parts)) else { panic!("a multi") };
    assert!(matches!(&all[..], [Txn::Create(_), Txn::CreateContainer(_)]), "{all:?}");
    let unknown = multi(&[(CreateTtl, create_ttl("/x", 9, 5))]);
    refused(l, OK, Multi, unknown, ErrorCode::BadArguments);
}

#[test]
fn operation_that_is_no_client_write_is_unimplemented() {
    for op in [Check, DeleteContainer, CreateSession, GetData, Error, WhoAmI] {
        assert_eq!(parse(op, &versioned("/a", 0)), Err(ErrorCode::Unimplemented), "{op:?}");
    }
}
