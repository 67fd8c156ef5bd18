//! What znodes cost: a server's memory for a quarter of a million of them.

use std::hint::black_box;

use bytes::Bytes;
use zabkeeper_core::store::{Effects, Store, StoreOptions};
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::acl::AclList;
use zabkeeper_core::wire::txn::{CreateTxn, LoggedTxn, SetDataTxn, Txn, TxnHeader};

/// Below each of them are so many others. What grows by doubling is nearly full then.
const PARENTS: usize = 260;
const CHILDREN: usize = 1000;
const DATA_BYTES: usize = 100;

fn apply(store: &mut Store, txn: Txn) {
    let zxid = Zxid(store.last_zxid().0.max(5 << 32) + 1);
    let (client, op) = (SessionId(7), txn.op() as i32);
    let header = TxnHeader { client, cxid: 1, zxid, time_ms: 1_700_000_000_000 + zxid.0, op };
    store.apply(&LoggedTxn { header, txn, digest: None }, &mut Effects::default());
}

fn create(store: &mut Store, path: String, bytes: usize) -> usize {
    let data = Some(Bytes::from(vec![7; bytes]));
    let acl = AclList::OPEN;
    let whole = path.len() + bytes;
    let path = path.into();
    apply(store, Txn::Create(CreateTxn { path, data, acl, ephemeral: false, parent_cversion: -1 }));
    whole
}

fn path(parent: usize, child: usize) -> String {
    format!("/tree/{parent:04}/{child:04}")
}

/// A tree, and how much of it are paths and data.
fn tree() -> (Store, usize) {
    let mut store = Store::new(StoreOptions::default());
    let mut bytes = create(&mut store, "/tree".into(), 0);
    for parent in 0..PARENTS {
        bytes += create(&mut store, format!("/tree/{parent:04}"), 0);
        for child in 0..CHILDREN {
            bytes += create(&mut store, path(parent, child), DATA_BYTES);
        }
    }
    (store, bytes)
}

#[test]
fn a_znode_takes_at_most_35_bytes_beside_its_path_and_data() {
    let mut kept = None;
    let info = allocation_counter::measure(|| kept = Some(black_box(tree())));
    let (mut store, bytes) = kept.expect("measured");
    let nodes = store.node_count() as f64;
    let beside = |current: i64| (current - bytes as i64) as f64 / nodes;
    let new = beside(info.bytes_current);
    let again = allocation_counter::measure(|| {
        for parent in 0..PARENTS {
            for child in 0..CHILDREN {
                let path = path(parent, child).into();
                let data = Some(Bytes::from(vec![8; DATA_BYTES]));
                apply(&mut store, Txn::SetData(SetDataTxn { path, data, version: child as i32 }));
            }
        }
    });
    let changed = beside(info.bytes_current + again.bytes_current);
    println!("bytes a znode beside path and data: {new:.1}; once it was changed: {changed:.1}");
    assert!(new <= 35.0, "{new} bytes a znode");
    assert!(changed <= 45.0, "{changed} bytes a changed znode");
}
