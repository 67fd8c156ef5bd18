//! Requests behind one another, none of them committed yet.

use super::*;
use crate::wire::OpCode::*;

#[test]
fn the_second_of_two_creates_fails_before_the_first_commits() {
    let mut l = Leader::new();
    l.done(Create, create("/a", 0));
    assert_eq!(l.refusal(Create, create("/a", 0)), Some(ErrorCode::NodeExists));
    l.done(Create, create("/a/b", 0));
    assert_eq!(l.refusal(Delete, versioned("/a", -1)), Some(ErrorCode::NotEmpty));
    l.done(Delete, versioned("/a/b", -1));
    l.done(Delete, versioned("/a", -1));
    assert_eq!(l.refusal(SetData, set_data("/a", b"", -1)), Some(ErrorCode::NoNode));
    l.done(Create, create("/a", 0));
    assert!(!l.exists("/a"));
    l.commit();
    assert!(l.exists("/a"));
}

#[test]
fn versions_are_those_of_the_pipeline() {
    let mut l = Leader::new();
    l.done(Create, create("/a", 0));
    for version in 0..3 {
        let txn = l.done(SetData, set_data("/a", b"x", version));
        assert!(matches!(txn, Txn::SetData(set) if set.version == version + 1));
    }
    assert_eq!(l.refusal(SetData, set_data("/a", b"x", 2)), Some(ErrorCode::BadVersion));
    let txn = l.done(SetAcl, set_acl("/a", &closed(), 0));
    assert!(matches!(txn, Txn::SetAcl(set) if set.version == 1));
    assert_eq!(l.refusal(SetData, set_data("/a", b"x", 3)), Some(ErrorCode::NoAuth));
    l.commit();
}

#[test]
fn a_change_under_way_outlives_the_commit_of_an_older_one() {
    let mut l = Leader::new();
    l.done(Create, create("/a", 0));
    l.done(SetData, set_data("/a", b"x", 0));
    l.commit_one();
    assert_eq!(l.refusal(SetData, set_data("/a", b"x", 0)), Some(ErrorCode::BadVersion));
    l.commit();
}

#[test]
fn sequence_numbers_count_creates_and_are_not_used_twice() {
    let mut l = Leader::new();
    l.done(Create, create("/q", 0));
    let mut next = |path: &str| match l.done(Create, create(path, 2)) {
        Txn::Create(txn) => txn.path,
        other => panic!("{other:?}"),
    };
    assert_eq!(next("/q/n-"), "/q/n-0000000000");
    assert_eq!(next("/q/n-"), "/q/n-0000000001");
    assert_eq!(next("/q/"), "/q/0000000002");
    l.done(Delete, versioned("/q/n-0000000001", -1));
    l.done(Create, create("/q/plain", 0));
    l.commit();
    let txn = l.done(Create2, create("/q/n-", 3));
    let Txn::Create2(txn) = txn else { panic!("{txn:?}") };
    assert_eq!((&*txn.path, txn.ephemeral, txn.parent_cversion), ("/q/n-0000000004", true, 5));
    l.commit();
}

#[test]
fn every_failing_write_takes_a_zxid_and_carries_no_digest() {
    let mut l = Leader::new();
    let first = l.ask(Delete, versioned("/no", -1));
    let second = l.ask(Create, create("/a", 0));
    assert_eq!(second.header.zxid.0, first.header.zxid.0 + 1);
    assert_eq!((first.header.op, &first.txn, first.digest), (-1, &Txn::Error(-101), None));
    assert_eq!((second.header.op, second.digest.is_some()), (1, true));
    assert_eq!((first.header.client, first.header.cxid), (ME, 9));
}

#[test]
fn reconfiguration_is_refused_by_a_transaction_too() {
    let mut l = Leader::new();
    let request = body(|out| (0..5).for_each(|_| out.put_i32(-1)));
    assert_eq!(l.refusal(Reconfig, request), Some(ErrorCode::ReconfigDisabled));
}

#[test]
fn a_multi_sees_its_own_changes() {
    let mut l = Leader::new();
    let txn = l.ask(
        Multi,
        multi(&[
            (Create, create("/a", 0)),
            (SetData, set_data("/a", b"x", 0)),
            (Check, versioned("/a", 1)),
            (Create2, create("/a/s", 2)),
            (CreateContainer, create("/c", 4)),
            (Create, create("/c2", 4)),
            (CreateTtl, create_ttl("/t", 5, 9)),
            (Delete, versioned("/a/s0000000000", 0)),
        ]),
    );
    let Txn::Multi(all) = &txn.txn else { panic!("{txn:?}") };
    let ops: Vec<_> = all.iter().map(Txn::op).collect();
    let container = CreateContainer;
    assert_eq!(ops, [Create, SetData, Check, Create2, container, container, CreateTtl, Delete]);
    assert_eq!(txn.header.op, Multi as i32);
    l.commit();
    assert!(l.exists("/a") && l.exists("/c") && l.exists("/t"));
}

#[test]
fn a_failed_multi_leaves_nothing_behind() {
    let mut l = Leader::new();
    l.done(Create, create("/a", 0));
    l.done(Create, create("/a/s", 2));
    let before = l.ask(SetData, set_data("/a", b"old", 0)).digest;
    let txn = l.ask(
        Multi,
        multi(&[
            (SetData, set_data("/a", b"new", 1)),
            (Create, create("/a/s", 3)),
            (Delete, versioned("/a/s0000000000", -1)),
            (Delete, versioned("/no", -1)),
            (Create, create("/b", 0)),
        ]),
    );
    let Txn::Multi(all) = &txn.txn else { panic!("{txn:?}") };
    let ops: Vec<_> = all.iter().map(Txn::op).collect();
    assert_eq!(ops, [SetData, Create, Delete, Error, Error]);
    assert_eq!(all[3..], [Txn::Error(-101), Txn::Error(-2)]);
    assert_eq!((txn.header.op, txn.digest), (Multi as i32, before));

    assert_eq!(l.refusal(SetData, set_data("/a", b"", 2)), Some(ErrorCode::BadVersion));
    let txn = l.done(Create, create("/a/s", 2));
    assert!(matches!(txn, Txn::Create(txn) if txn.path == "/a/s0000000001"));
    l.commit();
    assert!(l.exists("/a/s0000000000") && !l.exists("/b"));
    let closed = l.expire(ME);
    assert_eq!(closed.txn, Txn::CloseSession(Some(Vec::new())));
}

#[test]
fn an_empty_multi_is_a_transaction() {
    let mut l = Leader::new();
    let txn = l.ask(Multi, multi(&[]));
    assert_eq!((txn.txn, txn.digest.is_some()), (Txn::Multi(Vec::new()), true));
}

#[test]
fn a_session_ends_with_its_ephemerals_committed_and_under_way() {
    let other = SessionId(42);
    let mut l = Leader::new();
    l.connect(other);
    for path in ["/dir", "/e1", "/e2"] {
        l.done(Create, create(path, i32::from(path != "/dir")));
    }
    l.commit();
    l.done(Create, create("/dir/e3", 1));
    l.done(Create, create("/dir/e4", 1));
    l.done(Delete, versioned("/e2", -1));
    l.done(Delete, versioned("/dir/e4", -1));
    l.session = other;
    l.done(Create, create("/e2", 1));
    l.session = ME;

    let closed = l.expire(ME);
    let paths = Vec::from(["/dir/e3".into(), "/e1".into()]);
    assert_eq!((closed.header.client, closed.header.cxid), (ME, 0));
    assert_eq!(closed.txn, Txn::CloseSession(Some(paths)));
    // It is empty as soon as the session is to go, and the session can do no more.
    l.session = other;
    l.done(Delete, versioned("/dir", -1));
    l.session = ME;
    assert_eq!(l.refusal(Create, create("/e5", 1)), Some(ErrorCode::SessionExpired));
    assert_eq!(l.expire(ME).txn, Txn::CloseSession(Some(Vec::new())));
    l.commit();
    assert!(l.exists("/e2") && !l.exists("/e1") && !l.exists("/dir"));
}

#[test]
fn the_clients_close_session_names_its_xid() {
    let mut l = Leader::new();
    l.done(Create, create("/e", 1));
    let closed = l.ask(CloseSession, Bytes::new());
    assert_eq!((closed.header.cxid, closed.header.op), (9, CloseSession as i32));
    assert_eq!(closed.txn, Txn::CloseSession(Some(Vec::from(["/e".into()]))));
    l.commit();
    assert!(!l.exists("/e"));
}

#[test]
fn a_session_with_more_ephemerals_than_fit_is_closed_all_the_same() {
    let mut l = Leader::with(PrepOptions {
        extended_types: false,
        enforce_quota: true,
        protect_system_nodes: false,
        access: Access::default(),
        max_txn_bytes: 400,
    });
    for _ in 0..50 {
        l.done(Create, create("/ephemeral-", 3));
    }
    l.commit();
    let closed = l.expire(ME);
    let Txn::CloseSession(Some(paths)) = &closed.txn else { panic!("{closed:?}") };
    assert!((1..50).contains(&paths.len()));
    assert!(closed.to_bytes().len() <= 400);
    l.commit();
    assert!(!l.exists("/ephemeral-0000000000") && !l.exists("/ephemeral-0000000049"));
}

#[test]
fn transaction_too_long_to_be_read_back_is_not_proposed() {
    let mut l = Leader::with(PrepOptions {
        extended_types: false,
        enforce_quota: true,
        protect_system_nodes: false,
        access: Access::default(),
        max_txn_bytes: 2_000,
    });
    l.ids.extend((0..40).map(|n| digest_id(&alloc::format!("user{n}:pw"))));
    let auth = |perms| Acl { perms, id: Id { scheme: "auth".into(), id: "".into() } };
    let one = create_with("/a", &Vec::from([auth(1)]), 0);
    assert!(one.len() < 2_000);
    assert_eq!(l.refusal(Create, one), Some(ErrorCode::MarshallingError));
    l.done(Create, create("/a", 0));
    l.commit();
}

#[test]
fn the_root_has_two_names() {
    let mut l = Leader::new();
    l.done(SetData, set_data("/", b"root", 0));
    assert_eq!(l.refusal(SetData, set_data("/", b"root", 0)), Some(ErrorCode::BadVersion));
    l.done(Create, create("/a", 0));
    l.done(SetAcl, set_acl("/", &Vec::from([anyone(perms::READ)]), 0));
    assert_eq!(l.refusal(Create, create("/b", 0)), Some(ErrorCode::NoAuth));
    l.commit();
}

#[test]
fn a_new_leader_starts_from_the_store() {
    let mut l = Leader::new();
    l.done(Create, create("/a", 0));
    l.prep.clear();
    l.pipeline.clear();
    l.done(Create, create("/a", 0));
    l.commit();
}

#[test]
fn a_version_wraps() {
    let mut l = Leader::new();
    l.done(Create, create("/a", 0));
    l.commit();
    let zxid = l.next_zxid();
    let mut jump = LoggedTxn {
        txn: Txn::SetData(crate::wire::txn::SetDataTxn {
            path: "/a".into(),
            data: None,
            version: i32::MAX,
        }),
        ..l.ask(Multi, multi(&[]))
    };
    l.pipeline.clear();
    jump.header.op = SetData as i32;
    jump.header.zxid = zxid;
    jump.digest = None;
    l.store.apply(&jump, &mut Effects::default());
    let txn = l.done(SetData, set_data("/a", b"", i32::MAX));
    assert!(matches!(txn, Txn::SetData(set) if set.version == i32::MIN));
}

#[test]
fn sequence_numbers_go_on_below_zero() {
    let mut l = Leader::new();
    l.done(Create, create("/a", 0));
    l.commit();
    let mut jump = l.ask(Create, create("/a/x", 0));
    l.pipeline.clear();
    l.prep.clear();
    if let Txn::Create(made) = &mut jump.txn {
        made.parent_cversion = i32::MAX - 1;
    }
    jump.digest = None;
    l.store.apply(&jump, &mut Effects::default());
    let made = |l: &mut Leader| match l.done(Create, create("/a/n", 2)) {
        Txn::Create(made) => made.path,
        other => panic!("{other:?}"),
    };
    for name in ["/a/n2147483646", "/a/n2147483647", "/a/n-2147483648", "/a/n-2147483647"] {
        assert_eq!(made(&mut l), name);
    }
    l.commit();
    assert_eq!(l.store.node("/a").unwrap().stored().cversion, i32::MIN + 2);
    assert_eq!(made(&mut l), "/a/n-2147483646");
}
