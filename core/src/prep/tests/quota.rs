//! Quotas: what is counted, what is refused, and what is only told.

use alloc::format;
use alloc::string::String;

use super::*;
use crate::wire::OpCode::*;

const FULL: Option<ErrorCode> = Some(ErrorCode::QuotaExceeded);

impl Leader {
    /// As ZooKeeper's command line sets one.
    fn set_quota(&mut self, path: &str, limits: &str) {
        let quota = format!("/zookeeper/quota{path}");
        for (at, _) in quota.match_indices('/').skip(3) {
            self.make(&quota[..at], b"");
        }
        self.make(&quota, b"");
        self.make(&format!("{quota}/zookeeper_limits"), limits.as_bytes());
        self.make(&format!("{quota}/zookeeper_stats"), b"count=0,bytes=0");
    }

    fn make(&mut self, path: &str, data: &[u8]) {
        if !self.exists(path) {
            self.done(Create, holding(path, data));
            self.commit();
        }
    }

    fn data(&self, path: &str) -> String {
        let data = self.store.node(path).unwrap().data().unwrap().to_vec();
        String::from_utf8(data).unwrap()
    }

    fn usage(&self, path: &str) -> String {
        self.data(&format!("/zookeeper/quota{path}/zookeeper_stats"))
    }
}

fn holding(path: &str, data: &[u8]) -> Bytes {
    body(|out| {
        out.put_ustring(path);
        out.put_buffer(Some(data));
        open().write(out);
        out.put_i32(0);
    })
}

#[test]
fn usage_begins_with_what_is_there_and_follows_every_change() {
    let mut l = Leader::new();
    l.make("/a", b"12345");
    l.make("/a/b", b"678");
    l.set_quota("/a", "count=100,bytes=-1");
    assert_eq!(l.usage("/a"), "count=2,bytes=8");
    l.make("/a/b/c", b"90");
    assert_eq!(l.usage("/a"), "count=3,bytes=10");
    l.done(SetData, set_data("/a/b", b"x", -1));
    l.commit();
    assert_eq!(l.usage("/a"), "count=3,bytes=8");
    l.done(Create, create("/a/e", 1));
    l.done(Delete, versioned("/a/b/c", -1));
    l.commit();
    assert_eq!(l.usage("/a"), "count=3,bytes=10");
    // Ephemerals count, and go from it with their session.
    l.expire(ME);
    l.commit();
    assert_eq!(l.usage("/a"), "count=2,bytes=6");
    let stat = l.store.node("/zookeeper/quota/a/zookeeper_stats").unwrap().stat();
    assert_eq!((stat.version, stat.czxid), (0, stat.mzxid), "nobody has changed it");
}

#[test]
fn the_deepest_quota_is_charged() {
    let mut l = Leader::new();
    l.make("/a", b"");
    l.make("/a/b", b"");
    l.make("/ab", b"");
    l.set_quota("/a", "count=100,bytes=-1");
    l.set_quota("/a/b", "count=100,bytes=-1");
    l.make("/a/b/c", b"xyz");
    l.make("/a/d", b"x");
    l.make("/ab/c", b"xx");
    assert_eq!(
        (l.usage("/a"), l.usage("/a/b")),
        ("count=3,bytes=1".into(), "count=2,bytes=3".into())
    );
    l.done(Delete, versioned("/zookeeper/quota/a/b/zookeeper_limits", -1));
    l.commit();
    l.make("/a/b/d", b"x");
    assert_eq!(
        (l.usage("/a"), l.usage("/a/b")),
        ("count=4,bytes=2".into(), "count=2,bytes=3".into())
    );
}

#[test]
fn a_hard_limit_refuses_and_a_soft_one_does_not() {
    let mut l = Leader::new();
    l.make("/a", b"");
    l.set_quota("/a", "count=1,bytes=1=;byteHardLimit=6;countHardLimit=3");
    l.make("/a/1", b"12");
    l.make("/a/2", b"34");
    assert_eq!(l.refusal(Create, create("/a/3", 0)), FULL);
    assert_eq!(l.refusal(SetData, set_data("/a/1", b"1234567", 99)), FULL, "before its version");
    assert_eq!(l.refusal(SetData, set_data("/a/1", b"", -1)), None);
    l.commit();
    assert_eq!(l.refusal(Delete, versioned("/a/2", -1)), None);
    l.commit();
    assert_eq!(l.refusal(Create, holding("/a/3", b"1234567")), FULL);
    assert_eq!(l.refusal(Create, holding("/a/3", b"123456")), None);
    assert_eq!(l.usage("/a"), "count=2,bytes=0", "it is not committed yet");
    l.commit();
    assert_eq!(l.usage("/a"), "count=3,bytes=6");
    assert_eq!(l.prep.quota_refusals().get("a"), Some(&3));
}

#[test]
fn limits_that_nobody_can_read_refuse_everything_below() {
    let mut l = Leader::new();
    l.make("/a", b"");
    l.set_quota("/a", "rubbish");
    assert_eq!(l.refusal(Create, create("/a/1", 0)), Some(ErrorCode::MarshallingError));
    assert_eq!(l.refusal(Create, create("/b", 0)), None);
    l.done(SetData, set_data("/zookeeper/quota/a/zookeeper_limits", b"count=5", -1));
    l.done(SetData, set_data("/zookeeper/quota/a/zookeeper_stats", b"rubbish", -1));
    l.commit();
    assert_eq!(l.refusal(Create, create("/a/1", 0)), Some(ErrorCode::MarshallingError));
    assert_eq!(l.refusal(SetData, set_data("/a", b"x", -1)), None, "no limit of bytes");
    l.commit();
    assert_eq!(l.usage("/a"), "rubbish");
}

#[test]
fn without_enforcement_a_quota_only_counts() {
    let access = Access::default();
    let options = PrepOptions {
        extended_types: true,
        enforce_quota: false,
        protect_system_nodes: false,
        access,
        max_txn_bytes: 1000,
    };
    let mut l = Leader::with(options);
    l.make("/a", b"");
    l.set_quota("/a", "count=1,bytes=-1=;countHardLimit=1");
    l.make("/a/b", b"x");
    assert_eq!(l.usage("/a"), "count=2,bytes=1");
}

#[test]
fn system_nodes_may_be_for_the_super_user_alone() {
    let access = Access::default();
    let options = PrepOptions {
        extended_types: true,
        enforce_quota: true,
        protect_system_nodes: true,
        access: access.clone(),
        max_txn_bytes: 100_000,
    };
    let mut l = Leader::with(options.clone());
    let acl = |path: &str| {
        body(|out| {
            out.put_ustring(path);
            open().write(out);
            out.put_i32(-1);
        })
    };
    let asked = |l: &mut Leader| {
        let refusals = [
            l.refusal(Create, holding("/zookeeper/mine", b"")),
            l.refusal(Create, holding("/zookeeper/quota/a", b"")),
            l.refusal(SetData, set_data("/zookeeper/quota", b"x", -1)),
            l.refusal(SetAcl, acl("/zookeeper")),
            l.refusal(Delete, versioned("/zookeeper/quota/a", -1)),
        ];
        let others = l.refusal(Create, holding("/zookeepers", b""));
        l.commit();
        (refusals, others)
    };
    assert_eq!(asked(&mut l), ([Some(ErrorCode::NoAuth); 5], None));
    l.check = SessionCheck::Expired;
    let refusal = l.refusal(SetData, set_data("/zookeeper/quota", b"x", -1));
    assert_eq!(refusal, Some(ErrorCode::SessionExpired));
    l.check = SessionCheck::Ok;
    l.ids.push(Id { scheme: "super".into(), id: "".into() });
    assert_eq!(asked(&mut l).0, [None; 5]);
    // Where nothing is checked, this is not checked either.
    let access = Access { skip_acl: true, ..access };
    let mut l = Leader::with(PrepOptions { access, ..options });
    assert_eq!(asked(&mut l), ([None; 5], None));
}
