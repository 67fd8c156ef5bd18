//! What the leader deletes by itself, and what it leaves alone.

use super::*;
use crate::wire::OpCode::*;

impl Leader {
    fn is_reapable(&self, path: &str, after_ms: i64, max_never_used_ms: i64) -> bool {
        self.prep.is_reapable(&self.store, path, NOW_MS + after_ms, max_never_used_ms)
    }

    fn reap(&mut self, path: &str) -> LoggedTxn {
        let zxid = self.next_zxid();
        let prepared = self.prep.reap(&self.store, path.into(), zxid, NOW_MS);
        self.proposed(prepared)
    }
}

#[test]
fn a_container_goes_with_its_last_child_and_not_before_its_first() {
    let mut l = Leader::new();
    l.done(CreateContainer, create("/c", 4));
    l.commit();
    assert!(!l.is_reapable("/c", 1_000_000, 0));
    assert!(!l.is_reapable("/c", 50, 100) && l.is_reapable("/c", 1_000, 100));
    l.done(Create, create("/c/child", 0));
    l.commit();
    assert!(!l.is_reapable("/c", 1_000, 100));
    l.done(Delete, versioned("/c/child", -1));
    l.commit();
    assert!(l.is_reapable("/c", 0, 0));
    // Plain nodes and ephemerals have nothing to fear.
    l.done(Create, create("/plain", 0));
    l.done(Create, create("/mine", 1));
    l.commit();
    assert!(!l.is_reapable("/plain", 1 << 40, 1) && !l.is_reapable("/mine", 1 << 40, 1));
    assert!(!l.is_reapable("/gone", 1 << 40, 1));
}

#[test]
fn outstanding_changes_save_a_container_and_renew_a_ttl() {
    let mut l = Leader::new();
    l.done(CreateContainer, create("/c", 4));
    l.done(Create, create("/c/child", 0));
    l.done(Delete, versioned("/c/child", -1));
    l.done(CreateTtl, create_ttl("/t", 5, 100));
    l.commit();
    assert!(l.is_reapable("/c", 0, 0));
    l.done(Create, create("/c/child", 0));
    assert!(!l.is_reapable("/c", 0, 0), "its child is on the way");
    let set_at = l.zxid - 1;
    assert!(!l.is_reapable("/t", set_at + 100, 0) && l.is_reapable("/t", set_at + 101, 0));
    l.zxid += 900;
    l.done(SetData, set_data("/t", b"again", -1));
    assert!(!l.is_reapable("/t", 1000, 0), "it is about to be set");
    assert!(l.is_reapable("/t", 2000, 0));
    l.done(Create, create("/t/child", 0));
    assert!(!l.is_reapable("/t", 2000, 0));
    l.commit();
    assert!(!l.is_reapable("/c", 0, 0) && !l.is_reapable("/t", 2000, 0));
}

#[test]
fn the_leaders_own_deletion_is_a_transaction_of_session_0() {
    let mut l = Leader::new();
    l.done(CreateContainer, create("/c", 4));
    l.done(Create, create("/c/child", 0));
    l.done(Delete, versioned("/c/child", -1));
    l.commit();
    let txn = l.reap("/c");
    assert_eq!((txn.header.client, txn.header.cxid, txn.header.op), (SessionId(0), 0, 20));
    assert!(!l.is_reapable("/c", 0, 0), "it is as good as gone");
    assert_eq!(l.refusal(Create, create("/c/child", 0)), Some(ErrorCode::NoNode));
    l.done(CreateContainer, create("/c", 4));
    l.commit();
    assert!(l.exists("/c"));
}
