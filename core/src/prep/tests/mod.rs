//! Stories of the prep room: what a client asks and which transaction the leader proposes.

mod golden;
mod order;
mod pipeline;
mod quota;
mod random;
mod reap;
mod reconfig;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Parsed, Prep, PrepOptions, Request, parse};
use crate::access::Access;
use crate::access::auth::digest_id;
use crate::hash::HashKey;
use crate::session::SessionCheck;
use crate::store::{Effects, Outcome, Store, StoreOptions};
use crate::types::{SessionId, Zxid};
use crate::wire::client::{Acl, Id, MultiHeader, perms};
use crate::wire::jute::{Record, Writer};
use crate::wire::txn::{LoggedTxn, Txn};
use crate::wire::{ErrorCode, OpCode};

const ME: SessionId = SessionId(0x0100_0000_0000_0007);
const NOW_MS: i64 = 1_700_000_000_000;

/// A leader with everything between request and applied transaction but the ensemble.
struct Leader {
    store: Store,
    prep: Prep,
    zxid: i64,
    /// Proposed, not committed.
    pipeline: VecDeque<LoggedTxn>,
    session: SessionId,
    check: SessionCheck,
    ids: Vec<Id>,
}

impl Leader {
    fn new() -> Leader {
        Leader::with(PrepOptions {
            extended_types: true,
            enforce_quota: true,
            protect_system_nodes: false,
            access: Access::default(),
            max_txn_bytes: 100_000,
        })
    }

    fn with(options: PrepOptions) -> Leader {
        let mut leader = Leader {
            store: Store::new(StoreOptions { extended_types: true, ..StoreOptions::default() }),
            prep: Prep::new(options, HashKey::new(1)),
            zxid: 0,
            pipeline: VecDeque::new(),
            session: ME,
            check: SessionCheck::Ok,
            ids: Vec::from([Id { scheme: "ip".into(), id: "127.0.0.1".into() }]),
        };
        leader.connect(ME);
        leader.commit();
        leader
    }

    fn next_zxid(&mut self) -> Zxid {
        self.zxid += 1;
        Zxid(self.zxid)
    }

    fn proposed(&mut self, prepared: LoggedTxn) -> LoggedTxn {
        let bytes = prepared.to_bytes();
        assert!(bytes.len() <= prepared.size_bound(), "{prepared:?}");
        let read = LoggedTxn::from_bytes(&bytes).unwrap();
        assert_eq!(read, prepared, "what is logged is what was decided");
        self.pipeline.push_back(read.clone());
        read
    }

    fn connect(&mut self, session: SessionId) -> LoggedTxn {
        let zxid = self.next_zxid();
        let prepared = self.prep.create_session(&self.store, session, 10_000, 0, zxid, NOW_MS);
        self.proposed(prepared)
    }

    fn expire(&mut self, session: SessionId) -> LoggedTxn {
        let zxid = self.next_zxid();
        let prepared = self.prep.close_session(&self.store, session, 0, zxid, NOW_MS);
        self.proposed(prepared)
    }

    /// Sends a request; the proposal, which stays uncommitted.
    fn ask(&mut self, op: OpCode, body: Bytes) -> LoggedTxn {
        let parsed = parse(op, &body).unwrap();
        self.ask_parsed(op, body, parsed)
    }

    fn ask_parsed(&mut self, op: OpCode, body: Bytes, parsed: Parsed) -> LoggedTxn {
        let request =
            Request { session: self.session, cxid: 9, op, body, auth: Arc::from(&*self.ids) };
        let zxid = self.next_zxid();
        let prepared =
            self.prep.prepare(&self.store, &request, parsed, self.check, zxid, NOW_MS + zxid.0);
        self.proposed(prepared)
    }

    /// Sends a request and says how it was refused, if it was.
    fn refusal(&mut self, op: OpCode, body: Bytes) -> Option<ErrorCode> {
        let txn = self.ask(op, body).txn;
        let code = match &txn {
            Txn::Error(code) => Some(*code),
            Txn::Multi(all) => all.iter().find_map(|sub| match sub {
                Txn::Error(code) if *code != 0 => Some(*code),
                _ => None,
            }),
            _ => None,
        };
        code.map(|code| ErrorCode::from_i32(code).unwrap())
    }

    /// Sends a request that must succeed.
    fn done(&mut self, op: OpCode, body: Bytes) -> Txn {
        let txn = self.ask(op, body).txn;
        assert!(!matches!(txn, Txn::Error(_)), "{txn:?}");
        txn
    }

    /// Commits the oldest proposal.
    fn commit_one(&mut self) {
        let txn = self.pipeline.pop_front().expect("something is proposed");
        let outcome = self.store.apply(&txn, &mut Effects::default());
        let refused = matches!(txn.txn, Txn::Error(_));
        assert_eq!(matches!(outcome, Outcome::Error(_)), refused, "{txn:?}");
        if let Outcome::Multi(all) = outcome {
            let codes = all.iter().filter_map(|o| match o {
                Outcome::Error(code) => Some(*code),
                _ => None,
            });
            assert_eq!(codes.count(), refusals(&txn.txn), "{txn:?}");
        }
        assert_eq!(self.store.take_mismatch(), None, "{txn:?}");
        self.prep.committed(txn.header.zxid);
        if let Some(digest) = &txn.digest {
            assert_eq!(digest.digest as u64, self.store.digest(), "digest after {txn:?}");
        }
    }

    fn commit(&mut self) {
        while !self.pipeline.is_empty() {
            self.commit_one();
        }
        assert_eq!(self.prep.tree.len(), 0);
    }

    fn exists(&self, path: &str) -> bool {
        self.store.node(path).is_some()
    }
}

/// How many parts of a multi are answered with an error, which is none or all.
fn refusals(txn: &Txn) -> usize {
    match txn {
        Txn::Multi(all) if all.iter().any(|sub| matches!(sub, Txn::Error(_))) => all.len(),
        _ => 0,
    }
}

fn body(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    write(&mut out);
    out.freeze()
}

fn anyone(perms: i32) -> Acl {
    Acl { perms, id: Id { scheme: "world".into(), id: "anyone".into() } }
}

fn open() -> Vec<Acl> {
    Vec::from([anyone(perms::ALL)])
}

/// Allows others nothing.
fn closed() -> Vec<Acl> {
    Vec::from([Acl { perms: perms::ALL, id: digest_id("somebody:else") }])
}

fn create_with(path: &str, acl: &Vec<Acl>, flags: i32) -> Bytes {
    body(|out| {
        out.put_ustring(path);
        out.put_buffer(Some(b"data"));
        acl.write(out);
        out.put_i32(flags);
    })
}

fn create(path: &str, flags: i32) -> Bytes {
    create_with(path, &open(), flags)
}

fn create_ttl(path: &str, flags: i32, ttl: i64) -> Bytes {
    body(|out| {
        out.put_slice(&create(path, flags));
        out.put_i64(ttl);
    })
}

/// delete, check.
fn versioned(path: &str, version: i32) -> Bytes {
    body(|out| {
        out.put_ustring(path);
        out.put_i32(version);
    })
}

fn set_data(path: &str, data: &[u8], version: i32) -> Bytes {
    body(|out| {
        out.put_ustring(path);
        out.put_buffer(Some(data));
        out.put_i32(version);
    })
}

fn set_acl(path: &str, acl: &Vec<Acl>, version: i32) -> Bytes {
    body(|out| {
        out.put_ustring(path);
        acl.write(out);
        out.put_i32(version);
    })
}

fn multi(operations: &[(OpCode, Bytes)]) -> Bytes {
    body(|out| {
        for (op, body) in operations {
            MultiHeader { op: *op as i32, done: false, err: -1 }.write(out);
            out.put_slice(body);
        }
        MultiHeader { op: -1, done: true, err: -1 }.write(out);
    })
}
