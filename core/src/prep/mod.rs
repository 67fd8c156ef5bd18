//! From a request to a transaction: what the leader decides before it proposes
//! (`PrepRequestProcessor`).
//!
//! A request is judged against the tree as it will be when everything proposed before it is
//! committed, so that the second of two creates in a pipeline fails although the first is
//! still under way. Every readable write takes a zxid and becomes a transaction: the change,
//! or an error with the code of the refusal.

pub(crate) mod path;

mod flags;
mod operation;
mod outstanding;
mod quota;
mod reconfig;
mod request;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytestring::ByteString;

use self::operation::Context;
use self::outstanding::Outstanding;
use self::quota::Excesses;
pub(crate) use self::reconfig::Members;
use self::request::{Operation, Write};
pub(crate) use self::request::{Parsed, Request, parse};
use crate::access::Access;
use crate::budget::Work;
use crate::hash::HashKey;
use crate::mutant::mutant;
use crate::session::SessionCheck;
use crate::store::{OwnerKind, Store};
use crate::types::{SessionId, Zxid};
use crate::wire::txn::{DeleteTxn, LoggedTxn, Txn, TxnDigest, TxnHeader};
use crate::wire::{ErrorCode, OpCode, Record};

/// The version of the digest that transactions carry (`DigestCalculator.DIGEST_VERSION`).
const DIGEST_VERSION: i32 = 2;
/// Header, digest and the count of a closeSession, with room to spare.
const ENVELOPE_BYTES: usize = 64;

/// The settings that concern writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PrepOptions {
    /// `zookeeper.extendedTypesEnabled`: TTL nodes may be created.
    pub extended_types: bool,
    /// `zookeeper.enforceQuota`: what would exceed a quota's hard limit is refused.
    pub enforce_quota: bool,
    /// `protectSystemNodes`: only `super` changes `/zookeeper` and what is below it.
    pub protect_system_nodes: bool,
    /// The access rules.
    pub access: Access,
    /// The longest transaction that every member can read back from its log and from a
    /// PROPOSAL: `jute.maxbuffer` plus its extra size.
    pub max_txn_bytes: usize,
}

/// The leader's view of the tree as it will be. One for each time of leading: a new leader
/// starts with a new or [cleared](Prep::clear) one over an up-to-date store.
#[derive(Debug)]
pub(crate) struct Prep {
    options: PrepOptions,
    tree: Outstanding,
    excesses: Excesses,
}

impl Prep {
    /// Nothing is under way.
    pub(crate) fn new(options: PrepOptions, key: HashKey) -> Prep {
        Prep { options, tree: Outstanding::new(key), excesses: Excesses::default() }
    }

    /// Makes the transaction of a [parsed](parse) request, whatever comes of it.
    ///
    /// `zxid` must be greater than that of every transaction prepared before, and the store
    /// must hold exactly what [`committed`](Prep::committed) was told of.
    pub(crate) fn prepare(
        &mut self,
        store: &Store,
        request: &Request,
        parsed: Parsed,
        session: SessionCheck,
        zxid: Zxid,
        wall_ms: i64,
    ) -> LoggedTxn {
        let check = match session {
            SessionCheck::Ok if self.tree.is_closing(request.session) => SessionCheck::Expired,
            other => other,
        };
        let context = Context {
            store,
            extended_types: self.options.extended_types,
            enforce_quota: self.options.enforce_quota,
            protect_system_nodes: self.options.protect_system_nodes,
            session: request.session,
            check,
            ids: &request.auth,
            access: &self.options.access,
            zxid,
            wall_ms,
        };
        self.tree.begin();
        let txn = match parsed.0 {
            Write::One(operation) => context.prepare(&mut self.tree, operation),
            Write::Multi(operations) => {
                let is_empty = operations.is_empty();
                let most = self.options.max_txn_bytes;
                let txn = multi(&mut self.tree, &context, operations, most);
                if is_empty { check.still_here().and(txn) } else { txn }
            }
            Write::Unreadable => check.still_here().and(Err(ErrorCode::MarshallingError)),
            Write::CloseSession => Ok(self.close(store, request.session, zxid)),
            // A caller that knows the members uses `reconfigure`.
            Write::Reconfig(_) => Err(ErrorCode::ReconfigDisabled),
        };
        self.excesses.tell(self.tree.take_excesses(), wall_ms);
        self.finish(store, request.session, request.cxid, zxid, wall_ms, txn)
    }

    /// Makes the transaction that begins a session with this negotiated time-out.
    pub(crate) fn create_session(
        &mut self,
        store: &Store,
        session: SessionId,
        timeout_ms: i32,
        cxid: i32,
        zxid: Zxid,
        wall_ms: i64,
    ) -> LoggedTxn {
        self.tree.begin();
        self.finish(store, session, cxid, zxid, wall_ms, Ok(Txn::CreateSession(timeout_ms)))
    }

    /// Makes the transaction that ends a session and deletes its ephemerals, committed or
    /// under way; `cxid` is 0 when the leader itself ends it. Until it is committed, the
    /// session's other writes are refused as of an expired session.
    pub(crate) fn close_session(
        &mut self,
        store: &Store,
        session: SessionId,
        cxid: i32,
        zxid: Zxid,
        wall_ms: i64,
    ) -> LoggedTxn {
        self.tree.begin();
        let txn = self.close(store, session, zxid);
        self.finish(store, session, cxid, zxid, wall_ms, Ok(txn))
    }

    /// Whether the leader is to delete this node, by what it will be once everything proposed is
    /// committed: a container that has lost its last child, or has waited for its first one for
    /// longer than `max_never_used_ms` (0: for ever), or a childless TTL node that nobody has set
    /// for as long as its TTL (`ContainerManager.getCandidates`).
    pub(crate) fn is_reapable(
        &self,
        store: &Store,
        path: &str,
        wall_ms: i64,
        max_never_used_ms: i64,
    ) -> bool {
        let mut node = self.tree.get(store, path);
        mutant!(ReapsWhatIsCommitted => node = Outstanding::new(HashKey::new(0)).get(store, path));
        let Some(node) = node.filter(|node| node.children == 0) else { return false };
        let idle_ms = wall_ms.saturating_sub(node.stat.mtime);
        match store.owner_kind(node.stat.ephemeral_owner) {
            OwnerKind::Container if node.stat.cversion > 0 => true,
            OwnerKind::Container => max_never_used_ms != 0 && idle_ms > max_never_used_ms,
            OwnerKind::Ttl(ttl_ms) => ttl_ms != 0 && idle_ms > ttl_ms,
            OwnerKind::Persistent | OwnerKind::Ephemeral => false,
        }
    }

    /// Makes the transaction by which the leader deletes a [reapable](Self::is_reapable) node.
    pub(crate) fn reap(
        &mut self,
        store: &Store,
        path: ByteString,
        zxid: Zxid,
        wall_ms: i64,
    ) -> LoggedTxn {
        self.tree.begin();
        self.unlink_all(store, zxid, core::slice::from_ref(&path));
        let txn = Txn::DeleteContainer(DeleteTxn { path });
        self.finish(store, SessionId(0), 0, zxid, wall_ms, Ok(txn))
    }

    /// Everything up to `zxid` is applied to the store: called after each transaction that
    /// is, before the next request is prepared.
    pub(crate) fn committed(&mut self, zxid: Zxid) {
        self.tree.committed(zxid);
    }

    /// Forgets everything under way: this server no longer leads.
    pub(crate) fn clear(&mut self) {
        self.tree.clear();
    }

    /// The cost of preparing since the last call.
    pub(crate) fn take_work(&mut self) -> Work {
        core::mem::take(&mut self.tree.work)
    }

    /// How many changes were noted, and how many forgotten again, since the last time of asking
    /// (`outstanding_changes_queued` and `_removed`).
    pub(crate) fn take_changes(&mut self) -> (u64, u64) {
        self.tree.take_counted()
    }

    /// How many requests were refused because of a quota's hard limit, by the first name of
    /// their paths (`quota_exceeded_error_per_namespace`).
    pub(crate) fn quota_refusals(&self) -> &BTreeMap<String, u64> {
        &self.excesses.refused
    }

    fn close(&mut self, store: &Store, session: SessionId, zxid: Zxid) -> Txn {
        let all = self.tree.ephemerals_of(store, session);
        self.unlink_all(store, zxid, &all);
        self.tree.close(zxid, session);
        // A server that applies it also deletes the session's ephemerals that are not listed, so a
        // list that would not fit may end early.
        let mut bytes = ENVELOPE_BYTES;
        let fits = |path: &ByteString| {
            bytes += 4 + path.len();
            bytes <= self.options.max_txn_bytes
        };
        Txn::CloseSession(Some(all.into_iter().take_while(fits).collect()))
    }

    /// Nodes go, without anybody having asked for it. They have no children, and are sorted: those
    /// next to each other mostly have the same parent, which changes once for all of them.
    fn unlink_all(&mut self, store: &Store, zxid: Zxid, paths: &[ByteString]) {
        let above = |path: &ByteString| path.slice_ref(path::parent(path).unwrap_or_default());
        for siblings in paths.chunk_by(|a, b| above(a) == above(b)) {
            let Some(first) = siblings.first() else { continue };
            if let Some(mut parent) = self.tree.get(store, &above(first)) {
                parent.stat.pzxid = zxid;
                parent.children = parent.children.saturating_sub(siblings.len());
                self.tree.put(store, zxid, above(first), parent);
            }
            for path in siblings {
                if let Some(node) = self.tree.get(store, path) {
                    self.tree.remove(store, zxid, path.clone(), &node);
                }
            }
        }
    }

    /// Completes the transaction, or the error in its place.
    fn finish(
        &mut self,
        store: &Store,
        session: SessionId,
        cxid: i32,
        zxid: Zxid,
        wall_ms: i64,
        txn: Result<Txn, ErrorCode>,
    ) -> LoggedTxn {
        let logged = |tree: &Outstanding, txn: Txn| {
            let op = txn.op();
            let header = TxnHeader { client: session, cxid, zxid, time_ms: wall_ms, op: op as i32 };
            let digest = (op != OpCode::Error && store.digest_enabled()).then(|| TxnDigest {
                version: DIGEST_VERSION,
                digest: tree.tree_digest(store) as i64,
            });
            LoggedTxn { header, txn, digest }
        };
        let code = match txn {
            Ok(txn) => {
                let logged = logged(&self.tree, txn);
                let most = self.options.max_txn_bytes;
                if logged.size_bound() <= most || logged.to_bytes().len() <= most {
                    return logged;
                }
                // Nobody could read it back. Its requests fit, so this takes an ACL that
                // `auth` made much longer.
                ErrorCode::MarshallingError
            }
            Err(code) => code,
        };
        self.tree.roll_back();
        logged(&self.tree, Txn::error(code))
    }
}

/// All or nothing: after a failure the operations before it keep their records for the
/// log, and the ones after it are not tried.
///
/// # Errors
/// MARSHALLINGERROR ends it as a whole: something in it, or in the tree, cannot be read.
fn multi(
    tree: &mut Outstanding,
    context: &Context<'_>,
    operations: Vec<Operation>,
    most_bytes: usize,
) -> Result<Txn, ErrorCode> {
    let (mut failed, mut bytes) = (false, 0);
    let mut txns = Vec::with_capacity(operations.len());
    for operation in operations {
        if failed {
            txns.push(Txn::error(ErrorCode::RuntimeInconsistency));
            continue;
        }
        match context.prepare(tree, operation) {
            Ok(txn) => {
                // Each `auth` in an ACL may stand for many ids. What could not be read back need
                // not be in memory; the bound is less than three times too high.
                bytes += txn.size_bound() / 3;
                if bytes > most_bytes {
                    return Err(ErrorCode::MarshallingError);
                }
                txns.push(txn);
            }
            Err(ErrorCode::MarshallingError) => return Err(ErrorCode::MarshallingError),
            Err(code) => {
                failed = true;
                txns.push(Txn::error(code));
            }
        }
    }
    if failed {
        tree.roll_back();
    }
    Ok(Txn::Multi(txns))
}
