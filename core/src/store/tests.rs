//! Stories of the store.

use alloc::format;

use super::*;
use crate::wire::txn::{
    CreateTxn, DeleteTxn, LoggedTxn, SetAclTxn, SetDataTxn, Txn, TxnDigest, TxnHeader,
};
use bytes::{Bytes, BytesMut};

fn logged(zxid: i64, client: i64, txn: Txn) -> LoggedTxn {
    let (client, zxid) = (SessionId(client), Zxid(zxid));
    let header = TxnHeader { client, cxid: 1, zxid, time_ms: 1000 + zxid.0, op: txn.op() as i32 };
    LoggedTxn { header, txn, digest: None }
}

fn create(path: &str, parent_cversion: i32, ephemeral: bool) -> Txn {
    let data = Some(Bytes::from_static(b"data"));
    Txn::Create(CreateTxn {
        path: path.into(),
        data,
        acl: AclList::OPEN,
        ephemeral,
        parent_cversion,
    })
}

fn apply(store: &mut Store, zxid: i64, client: i64, txn: Txn) -> Outcome {
    store.apply(&logged(zxid, client, txn), &mut Effects::default())
}

fn copy(store: &mut Store) -> Store {
    let mut walk = store.snapshot_walk();
    let mut body = BytesMut::new();
    while !walk.next_chunk(store, &mut body, 10) {}
    let mut decoder = SnapshotDecoder::new(store.options);
    assert_eq!(decoder.push(body.freeze()), Ok(Some(Bytes::new())));
    decoder.finish(walk.zxid())
}

#[test]
fn a_digest_counts_from_where_the_tree_is_what_its_history_says() {
    let mut store = Store::new(StoreOptions::default());
    let other = |store: &mut Store, zxid: i64| {
        let mut logged = logged(zxid, 1, create(&format!("/n{zxid}"), -1, false));
        logged.digest = Some(TxnDigest { version: 2, digest: 7 });
        store.apply(&logged, &mut Effects::default());
        (store.take_mismatch(), store.digest())
    };
    // A leader's snapshot does not say how much of what comes after it is in it.
    store.leave_unjudged();
    assert_eq!(other(&mut store, 1).0, None);
    store.judge();
    let (found, here) = other(&mut store, 2);
    assert_eq!(found, Some(Mismatch { zxid: Zxid(2), here, said: 7 }));
    // What was found before that is forgotten with it.
    let logged = LoggedTxn {
        digest: Some(TxnDigest { version: 2, digest: 8 }),
        ..logged(3, 1, create("/n3", -1, false))
    };
    store.apply(&logged, &mut Effects::default());
    store.judge();
    assert_eq!(store.take_mismatch(), None);
}

#[test]
fn the_empty_tree_has_zookeepers_digest() {
    let store = Store::new(StoreOptions::default());
    assert_eq!(store.digest(), 0x51c6_d660);
    assert_eq!(store.node_count(), 5);
}

#[test]
fn stats_count_as_zookeeper_counts() {
    let mut store = Store::new(StoreOptions::default());
    apply(&mut store, 1, 7, create("/a", 1, false));
    apply(&mut store, 2, 7, create("/a/b", 1, false));
    apply(&mut store, 3, 7, create("/a/c", 2, true));
    let stat = store.node("/a").unwrap().stat();
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (2, 2, Zxid(3)));
    apply(&mut store, 4, 7, Txn::Delete(DeleteTxn { path: "/a/b".into() }));
    let stat = store.node("/a").unwrap().stat();
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (3, 1, Zxid(4)));
    assert_eq!(store.node("/a/c").unwrap().stat().ephemeral_owner, 7);
    assert_eq!(store.node("/a").unwrap().children().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn events_come_in_order_node_first_then_its_parent() {
    let mut store = Store::new(StoreOptions::default());
    let mut effects = Effects { wanted: true, ..Effects::default() };
    store.apply(&logged(1, 7, create("/a", 1, true)), &mut effects);
    store.apply(&logged(2, 7, Txn::CloseSession(None)), &mut effects);
    let seen: Vec<_> =
        effects.triggers.iter().map(|t| format!("{:?} {}", t.kind, t.path)).collect();
    assert_eq!(
        seen,
        ["NodeCreated /a", "NodeChildrenChanged /", "NodeDeleted /a", "NodeChildrenChanged /"]
    );
}

#[test]
fn a_closed_session_leaves_nothing_behind() {
    let mut store = Store::new(StoreOptions::default());
    apply(&mut store, 1, 7, Txn::CreateSession(4000));
    apply(&mut store, 2, 7, create("/e", 1, true));
    apply(&mut store, 3, 7, create("/f", 2, true));
    // A list that is not complete: what is left over goes too.
    apply(&mut store, 4, 7, Txn::CloseSession(Some(Vec::from(["/e".into()]))));
    assert!(store.node("/e").is_none() && store.node("/f").is_none());
    assert_eq!((store.session(SessionId(7)), store.ephemeral_count()), (None, 0));
}

#[test]
fn a_failed_multi_changes_nothing() {
    let mut store = Store::new(StoreOptions::default());
    let before = store.digest();
    let parts = [create("/a", 1, false), Txn::Error(-101), Txn::Error(-2)];
    let outcome = apply(&mut store, 1, 7, Txn::Multi(Vec::from(parts)));
    let expected = [0, -101, -2].map(Outcome::Error);
    assert_eq!(outcome, Outcome::Multi(Vec::from(expected)));
    assert_eq!(store.digest(), before);
}

#[test]
fn replay_of_what_is_there_changes_nothing() {
    let mut store = Store::new(StoreOptions::default());
    let history = [
        (1, create("/a", 1, false)),
        (2, create("/a/b", 1, false)),
        (3, Txn::SetData(SetDataTxn { path: "/a".into(), data: None, version: 1 })),
        (4, Txn::Delete(DeleteTxn { path: "/a/b".into() })),
        (5, create("/a/b", 2, false)),
    ];
    for (zxid, txn) in history.clone() {
        apply(&mut store, zxid, 7, txn);
    }
    for from in 0..history.len() {
        let mut again = copy(&mut store);
        for (zxid, txn) in history[from..].iter().cloned() {
            apply(&mut again, zxid, 7, txn);
        }
        assert_eq!(again.digest(), store.digest(), "from {from}");
        assert_eq!(again.node("/a").unwrap().stat(), store.node("/a").unwrap().stat());
    }
}

#[test]
fn a_snapshot_taken_while_writes_go_on_is_repaired_by_replay() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut store = Store::new(StoreOptions::default());
        let mut history: Vec<LoggedTxn> = Vec::new();
        let mut step = |store: &mut Store, random: &mut fastrand::Rng| {
            let zxid = store.last_zxid().0 + 1;
            let path = format!(
                "/{}",
                (0..random.usize(1..4))
                    .map(|_| random.alphabetic())
                    .filter(|c| *c < 'F')
                    .collect::<alloc::string::String>()
            );
            let path = if random.bool() { path.clone() } else { format!("/A{path}") };
            let above = path.rsplit_once('/').unwrap().0;
            let txn = match (store.node(&path), store.node(above)) {
                (None, Some(parent)) if path.len() > above.len() + 1 => {
                    create(&path, parent.stored().cversion + 1, false)
                }
                (Some(node), _) if node.child_count() == 0 && path.len() > 1 => {
                    Txn::Delete(DeleteTxn { path: path.as_str().into() })
                }
                (Some(node), _) => {
                    let version = node.stored().version + 1;
                    Txn::SetData(SetDataTxn { path: path.as_str().into(), data: None, version })
                }
                _ => Txn::Error(-101),
            };
            let txn = logged(zxid, 7, txn);
            store.apply(&txn, &mut Effects::default());
            history.push(txn);
        };
        for _ in 0..200 {
            step(&mut store, &mut random);
        }
        let mut walk = store.snapshot_walk();
        let mut body = BytesMut::new();
        while !walk.next_chunk(&store, &mut body, 100) {
            step(&mut store, &mut random);
        }
        let body = body.freeze();
        let mut decoder = SnapshotDecoder::new(store.options);
        let mut end = None;
        for chunk in body.chunks(random.usize(1..200)) {
            end = decoder.push(Bytes::copy_from_slice(chunk)).unwrap();
        }
        assert_eq!(end, Some(Bytes::new()));
        let mut copy = decoder.finish(walk.zxid());
        for txn in history.iter().filter(|t| t.header.zxid > walk.zxid()) {
            copy.apply(txn, &mut Effects::default());
        }
        assert_eq!(copy.digest(), store.digest(), "seed {seed}");
        assert_eq!(copy.node_count(), store.node_count(), "seed {seed}");
    }
}

#[test]
fn garbage_is_no_snapshot() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..2000 {
        let length = random.usize(..200);
        let bytes: Bytes = (0..length).map(|_| random.u8(..)).collect();
        let mut decoder = SnapshotDecoder::new(StoreOptions::default());
        // Whatever it says, it does not panic, and never claims an end without the mark.
        if let Ok(Some(rest)) = decoder.push(bytes.clone()) {
            assert!(rest.len() < bytes.len());
        }
    }
    let huge = [&0i32.to_be_bytes()[..], &0i32.to_be_bytes(), &i32::MAX.to_be_bytes()].concat();
    let mut decoder = SnapshotDecoder::new(StoreOptions::default());
    assert!(decoder.push(Bytes::from(huge)).is_err());
}

fn image(store: &Store) -> BytesMut {
    let mut out = BytesMut::new();
    store.encode_image(&mut out);
    out
}

fn from_image(store: &Store) -> Store {
    let bytes = image(store).freeze();
    let mut r = crate::wire::jute::Reader::new(&bytes);
    let rebuilt = Store::from_image(&mut r, store.options).unwrap();
    assert!(r.is_empty());
    rebuilt
}

/// Transactions of all kinds, drawn so that many of them meet the same few nodes.
fn random_txn(rng: &mut fastrand::Rng) -> Txn {
    let names = ["/a", "/b", "/a/c", "/a/d", "/a/e", "/b/f", "/a/c/g"];
    let path: ByteString = names[rng.usize(..names.len())].into();
    let id = Id { scheme: "digest".into(), id: ["u:1", "u:2", "u:3"][rng.usize(..3)].into() };
    let acl = AclList::from(&[Acl { perms: perms::READ, id }][..]);
    let data = rng.bool().then(|| Bytes::from(alloc::vec![rng.u8(..); rng.usize(..20)]));
    match rng.u32(..10) {
        0..4 => {
            let ephemeral = rng.bool();
            let acl = if rng.bool() { acl } else { AclList::OPEN };
            Txn::Create2(CreateTxn { path, data, acl, ephemeral, parent_cversion: -1 })
        }
        4..7 => Txn::Delete(DeleteTxn { path }),
        7 => Txn::SetData(SetDataTxn { path, data, version: rng.i32(0..9) }),
        8 => Txn::SetAcl(SetAclTxn { path, acl, version: rng.i32(0..9) }),
        9 => [Txn::CreateSession(4000), Txn::CloseSession(None)][rng.usize(..2)].clone(),
        other => panic!("{other} is not below 10"),
    }
}

#[test]
fn a_store_made_from_an_image_goes_on_exactly_as_the_one_it_was_made_from() {
    let mut rng = fastrand::Rng::with_seed(4);
    for _ in 0..50 {
        let mut first = Store::new(StoreOptions::default());
        for zxid in 1..100 {
            apply(&mut first, zxid, rng.i64(1..4), random_txn(&mut rng));
            if rng.u32(..40) == 0 {
                // Takes an ACL index, and turns the siblings round.
                first = copy(&mut first);
            }
        }
        first.expect_digest(Some((Zxid(120), 7)));
        let mut second = from_image(&first);
        for zxid in 100..200 {
            let (client, txn) = (rng.i64(1..4), random_txn(&mut rng));
            let outcome = apply(&mut first, zxid, client, txn.clone());
            assert_eq!(apply(&mut second, zxid, client, txn), outcome);
            assert_eq!(image(&first), image(&second));
        }
        let bodies = [&mut first, &mut second].map(|store| {
            let (mut walk, mut body) = (store.snapshot_walk(), BytesMut::new());
            while !walk.next_chunk(store, &mut body, 100) {}
            (body, store.data_bytes(), store.node_count(), store.ephemeral_count())
        });
        assert_eq!(bodies[0], bodies[1]);
        assert_eq!(second.take_mismatch(), first.take_mismatch());
    }
}

#[test]
fn the_key_of_its_hashes_cannot_be_seen_in_a_store() {
    let mut rng = fastrand::Rng::with_seed(6);
    let mut stores =
        [1, 2].map(|hash_seed| Store::new(StoreOptions { hash_seed, ..StoreOptions::default() }));
    for zxid in 1..6000 {
        let path = format!("/{}", rng.u32(..500));
        let txn = match rng.bool() {
            true => create(&path, -1, false),
            false => Txn::Delete(DeleteTxn { path: path.as_str().into() }),
        };
        let [one, other] = &mut stores;
        assert_eq!(apply(one, zxid, 7, txn.clone()), apply(other, zxid, 7, txn));
    }
    let [one, other] = stores;
    assert!(one.node_count() > 200);
    assert_eq!(image(&one), image(&other));
}

#[test]
fn an_image_that_is_cut_or_of_another_tree_is_refused() {
    let mut store = Store::new(StoreOptions::default());
    apply(&mut store, 1, 7, create("/a", 1, false));
    let bytes = image(&store).freeze();
    for n in 0..bytes.len() {
        let cut = bytes.slice(..n);
        let read = Store::from_image(&mut crate::wire::jute::Reader::new(&cut), store.options);
        assert!(read.is_err(), "cut at {n}");
    }
    let mut other = BytesMut::from(&bytes[..]);
    other[15] ^= 1;
    let other = other.freeze();
    let read = Store::from_image(&mut crate::wire::jute::Reader::new(&other), store.options);
    assert!(matches!(read, Err(ImageError::Digest { .. })), "{read:?}");
}

/// Counts the nodes below one by looking at all of them.
fn walk(store: &Store, path: &str) -> usize {
    let node = store.node(path).unwrap();
    let above = path.trim_end_matches('/');
    let below = |name: &str| 1 + walk(store, &alloc::format!("{above}/{name}"));
    node.children().map(below).sum()
}

#[test]
fn a_node_knows_how_many_are_below_it() {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut store = Store::new(StoreOptions::default());
    let mut seen = 0;
    for zxid in 1..2000 {
        apply(&mut store, zxid, rng.i64(1..4), random_txn(&mut rng));
        if rng.u32(..50) == 0 {
            store = if rng.bool() { copy(&mut store) } else { from_image(&store) };
        }
        for path in ["/", "/a", "/a/c", "/b", "/zookeeper"] {
            let expected = store.node(path).map(|_| walk(&store, path));
            assert_eq!(store.descendants(path), expected, "{path} at {zxid}");
            seen = seen.max(expected.unwrap_or_default());
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn changes_made_together_have_the_digest_of_the_same_made_one_by_one() {
    let mut rng = fastrand::Rng::with_seed(11);
    let (mut together, mut single) =
        (Store::new(StoreOptions::default()), Store::new(StoreOptions::default()));
    for zxid in 1..500 {
        let txns: Vec<Txn> = (0..rng.usize(1..12))
            .map(|_| random_txn(&mut rng))
            .filter(|txn| !matches!(txn, Txn::CreateSession(_) | Txn::CloseSession(_)))
            .collect();
        for txn in &txns {
            apply(&mut single, zxid, 1, txn.clone());
        }
        apply(&mut together, zxid, 1, Txn::Multi(txns));
        if zxid % 7 == 0 {
            apply(&mut single, zxid, 1, Txn::CloseSession(None));
            apply(&mut together, zxid, 1, Txn::CloseSession(None));
        }
        assert_eq!(together.digest(), single.digest(), "at {zxid}");
        let all = ["/", "/a", "/b", "/a/c", "/a/d", "/a/e", "/b/f", "/a/c/g"];
        let parts = all.iter().filter_map(|path| Some((path, together.node(path)?)));
        let sum = parts.map(|(path, node)| {
            let path = if *path == "/" { "" } else { path };
            node_digest(path, node.data(), &node.stored())
        });
        let zookeeper = together.node("/zookeeper").unwrap().digest();
        assert_eq!(sum.fold(zookeeper, u64::wrapping_add), together.digest(), "at {zxid}");
    }
}
