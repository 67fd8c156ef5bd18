//! Data directories of real servers, loaded into a store.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::disk::{Disk, DiskOptions, MemoryFiles, drive};
use crate::event::DiskEvent;
use crate::store::{Store, StoreOptions};

/// Name and content.
type File = (&'static str, &'static [u8]);

fn load(files: &[File]) -> Store {
    let mut memory = MemoryFiles::new();
    for (name, content) in files {
        memory.put(&format!("/d/version-2/{name}"), content);
    }
    let options = DiskOptions { ensemble: false, ..DiskOptions::new("/d", "/d") };
    let store = StoreOptions { extended_types: true, ..StoreOptions::default() };
    let mut disk: Disk<Store> = Disk::new(options, store);
    let mut events = Vec::new();
    drive(&mut disk, &mut |op| memory.execute(op), &mut events);
    match events.pop() {
        Some(DiskEvent::Recovered(recovered)) => recovered.state,
        other => panic!("not recovered: {other:?}"),
    }
}

/// Every node as a client sees it, by path.
fn shown(store: &Store) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut stack = Vec::from([String::from("/")]);
    while let Some(path) = stack.pop() {
        let node = store.node(&path).unwrap();
        let stat = node.stat();
        let acl: Vec<Value> = node
            .acl()
            .iter()
            .map(|a| json!({"perms": a.perms, "scheme": &*a.id.scheme, "id": &*a.id.id}))
            .collect();
        let value = json!({
            "acl": acl,
            "data": node.data().map(|d| STANDARD.encode(d)),
            "stat": {
                "czxid": stat.czxid.0, "mzxid": stat.mzxid.0, "pzxid": stat.pzxid.0,
                "ctime": stat.ctime, "mtime": stat.mtime, "version": stat.version,
                "cversion": stat.cversion, "aversion": stat.aversion,
                "ephemeralOwner": stat.ephemeral_owner, "dataLength": stat.data_length,
                "numChildren": stat.num_children,
            },
        });
        for name in node.children() {
            stack.push(format!("{}/{name}", path.trim_end_matches('/')));
        }
        all.insert(path, value);
    }
    all
}

macro_rules! golden {
    ($version:literal, $name:literal) => {
        &include_bytes!(concat!("../../testdata/storage/", $version, "/", $name))[..]
    };
}

#[test]
fn the_logs_and_snapshots_of_real_servers_replay_to_the_tree_that_they_showed() {
    let all: [(&str, &[u8], &[File]); 11] = [
        (
            "3.9.5 log",
            golden!("3.9.5", "tree-after-a.json"),
            &[("snapshot.0", golden!("3.9.5", "snapshot.0")), ("log.1", golden!("3.9.5", "log.1"))],
        ),
        (
            "3.9.5 snapshot and log",
            golden!("3.9.5", "tree-after-b.json"),
            &[
                ("snapshot.31", golden!("3.9.5", "snapshot.31")),
                ("log.32", golden!("3.9.5", "log.32")),
            ],
        ),
        (
            "3.8.0 log",
            golden!("3.8.0", "tree-after-a.json"),
            &[("snapshot.0", golden!("3.8.0", "snapshot.0")), ("log.1", golden!("3.8.0", "log.1"))],
        ),
        (
            "3.8.0 snapshot and log",
            golden!("3.8.0", "tree-after-b.json"),
            &[
                ("snapshot.31", golden!("3.8.0", "snapshot.31")),
                ("log.32", golden!("3.8.0", "log.32")),
            ],
        ),
        (
            "3.9.5 gzip",
            golden!("3.9.5", "tree-after-b.json"),
            &[("snapshot.38.gz", golden!("3.9.5", "snapshot.38.gz"))],
        ),
        (
            "3.9.5 Snappy",
            golden!("3.9.5", "tree-after-b.json"),
            &[("snapshot.38.snappy", golden!("3.9.5", "snapshot.38.snappy"))],
        ),
        (
            "3.8.0 gzip",
            golden!("3.8.0", "tree-after-b.json"),
            &[("snapshot.38.gz", golden!("3.8.0", "snapshot.38.gz"))],
        ),
        (
            "3.8.0 Snappy",
            golden!("3.8.0", "tree-after-b.json"),
            &[("snapshot.38.snappy", golden!("3.8.0", "snapshot.38.snappy"))],
        ),
        (
            "3.6.3 snapshot",
            golden!("3.6.3", "tree-after-a.json"),
            &[("snapshot.31", golden!("3.6.3", "snapshot.31"))],
        ),
        (
            "3.6.3 gzip",
            golden!("3.6.3", "tree-after-a.json"),
            &[("snapshot.31.gz", golden!("3.6.3", "snapshot.31.gz"))],
        ),
        (
            "3.6.3 log",
            golden!("3.6.3", "tree-after-a.json"),
            &[("snapshot.0", golden!("3.6.3", "snapshot.0")), ("log.1", golden!("3.6.3", "log.1"))],
        ),
    ];
    for (name, tree, files) in all {
        let tree: Value = serde_json::from_slice(tree).unwrap();
        let mut store = load(files);
        assert_eq!(store.take_mismatch(), None, "{name}: a digest differs");
        let shown = shown(&store);
        let expected = tree["nodes"].as_object().unwrap();
        let paths: Vec<&String> = expected.keys().collect();
        assert_eq!(shown.keys().collect::<Vec<_>>(), paths, "{name}");
        for (path, node) in &shown {
            // Every server writes its own configuration there at its start.
            if path != "/zookeeper/config" {
                assert_eq!(node.to_string(), expected[path].to_string(), "{name}: {path}");
            }
        }
    }
}
