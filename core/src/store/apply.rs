//! Applying transactions (`DataTree.processTxn`), also ones whose effect is there already.

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;
use tracing::warn;

use super::tree::{NodeId, split};
use super::{Effects, Mismatch, Outcome, OwnerKind, Store, StoredStat, Trigger};
use crate::mutant::mutant;
use crate::types::{SessionId, Zxid};
use crate::wire::acl::AclList;
use crate::wire::txn::{LoggedTxn, Txn, TxnHeader};
use crate::wire::{ErrorCode, EventType};

/// The digest version that is compared.
const DIGEST_VERSION: i32 = 2;

struct NewNode<'a> {
    path: &'a ByteString,
    data: &'a Option<Bytes>,
    acl: &'a AclList,
    owner: i64,
    parent_cversion: i32,
    /// Type 1: a replay still raises the parent's counters.
    plain: bool,
}

impl Store {
    /// Applies a committed transaction. Errors of single operations are outcomes; nothing
    /// stops a replay.
    pub fn apply(&mut self, logged: &LoggedTxn, effects: &mut Effects) -> Outcome {
        let outcome = self.apply_txn(&logged.header, &logged.txn, effects);
        self.last_zxid = self.last_zxid.max(logged.header.zxid);
        self.compare_expected();
        self.log_digest(logged.header.zxid);
        // Within the fuzzy part of a snapshot the digests need not agree yet.
        if let Some(digest) = &logged.digest
            && self.options.digest
            && self.expected.is_none()
            && digest.version == DIGEST_VERSION
            && digest.digest as u64 != self.digest
            && self.mismatch.is_none()
        {
            let zxid = logged.header.zxid;
            self.mismatch = Some(Mismatch { zxid, here: self.digest, said: digest.digest as u64 });
        }
        outcome
    }

    fn apply_txn(&mut self, header: &TxnHeader, txn: &Txn, effects: &mut Effects) -> Outcome {
        let (zxid, time_ms) = (header.zxid, header.time_ms);
        match txn {
            Txn::Error(code) => Outcome::Error(*code),
            Txn::CreateSession(timeout_ms) => {
                self.sessions.insert(header.client, *timeout_ms);
                Outcome::Done
            }
            Txn::CloseSession(paths) => {
                self.sessions.remove(&header.client);
                let paths = paths.as_deref().unwrap_or_default();
                self.all_at_once(|store| store.close_session(header.client, paths, zxid, effects));
                Outcome::Done
            }
            Txn::Create(t) | Txn::Create2(t) => {
                let owner = if t.ephemeral { header.client.0 } else { 0 };
                let plain = matches!(txn, Txn::Create(_));
                let new = NewNode {
                    path: &t.path,
                    data: &t.data,
                    acl: &t.acl,
                    owner,
                    parent_cversion: t.parent_cversion,
                    plain,
                };
                self.create(new, zxid, time_ms, !plain, effects)
            }
            Txn::CreateContainer(t) => {
                let new = NewNode {
                    path: &t.path,
                    data: &t.data,
                    acl: &t.acl,
                    owner: OwnerKind::CONTAINER_OWNER,
                    parent_cversion: t.parent_cversion,
                    plain: false,
                };
                self.create(new, zxid, time_ms, true, effects)
            }
            Txn::CreateTtl(t) => {
                let new = NewNode {
                    path: &t.path,
                    data: &t.data,
                    acl: &t.acl,
                    owner: OwnerKind::ttl_owner(t.ttl),
                    parent_cversion: t.parent_cversion,
                    plain: false,
                };
                self.create(new, zxid, time_ms, true, effects)
            }
            Txn::Delete(t) | Txn::DeleteContainer(t) => self.delete(&t.path, zxid, effects),
            Txn::SetData(t) | Txn::Reconfig(t) => {
                let Some(id) = self.tree.lookup(&t.path) else { return no_node() };
                let node = self.tree.node(id);
                let (before, mut stat) = (node.data_len(), self.tree.stat(node));
                (stat.mzxid, stat.mtime, stat.version) = (zxid, time_ms, t.version);
                self.tree.write(id, t.data.as_deref(), &stat);
                self.redigest(id, &t.path, &stat);
                self.trigger(effects, EventType::NodeDataChanged, &t.path, id);
                let outcome = self.changed(id);
                self.charge(&t.path, 0, length(&t.data) - before as i64);
                outcome
            }
            Txn::SetAcl(t) => {
                let Some(id) = self.tree.lookup(&t.path) else { return no_node() };
                let new = self.acls.acquire(&t.acl);
                let node = self.tree.node(id);
                let (old, mut stat) = (node.acl(), self.tree.stat(node));
                stat.aversion = t.version;
                self.tree.set_acl(id, new, &stat);
                self.acls.release(old);
                self.redigest(id, &t.path, &stat);
                self.changed(id)
            }
            Txn::Check(_) => Outcome::Done,
            Txn::Multi(all) => self.all_at_once(|store| store.multi(header, all, effects)),
        }
    }

    fn multi(&mut self, header: &TxnHeader, all: &[Txn], effects: &mut Effects) -> Outcome {
        let mut failed = all.iter().any(|t| matches!(t, Txn::Error(_)));
        mutant!(FailedMultiHalfDone => failed = false);
        let outcome = |store: &mut Store, txn: &Txn, effects: &mut Effects| match txn {
            Txn::Error(code) => Outcome::Error(*code),
            _ if failed => Outcome::Error(ErrorCode::Ok as i32),
            _ => store.apply_txn(header, txn, effects),
        };
        let mut outcomes = Vec::with_capacity(all.len());
        for txn in all {
            outcomes.push(outcome(self, txn, effects));
        }
        Outcome::Multi(outcomes)
    }

    fn create(
        &mut self,
        new: NewNode<'_>,
        zxid: Zxid,
        time_ms: i64,
        with_stat: bool,
        effects: &mut Effects,
    ) -> Outcome {
        let Some((above, name)) = split(new.path) else { return no_node() };
        let Some(parent) = self.tree.lookup(above) else { return no_node() };
        if let Some(id) = self.tree.child(parent, name) {
            // Replay: the node in the snapshot may be newer, its ACL is set again.
            let acl = self.acls.acquire(new.acl);
            let node = self.tree.node(id);
            let (old, stat) = (node.acl(), self.tree.stat(node));
            self.tree.set_acl(id, acl, &stat);
            self.acls.release(old);
            if new.plain {
                self.raise_parent(parent, above, new.parent_cversion, zxid);
            }
            return Outcome::Error(ErrorCode::NodeExists as i32);
        }
        self.raise_parent(parent, above, new.parent_cversion, zxid);
        let acl = self.acls.acquire(new.acl);
        let stat = StoredStat::created(zxid, time_ms, new.owner);
        let id = self.tree.insert(parent, name, new.data.as_deref(), acl, &stat);
        self.redigest(id, new.path, &stat);
        // Before anything is counted: what is answered is what was asked for.
        let stat =
            with_stat.then(|| super::NodeRef { store: self, node: self.tree.node(id) }.stat());
        self.index_owner(new.owner, new.path);
        self.trigger(effects, EventType::NodeCreated, new.path, id);
        self.trigger_parent(effects, new.path, above, parent);
        self.begin_counting(above, name);
        self.charge(new.path, 1, length(new.data));
        match stat {
            Some(stat) => Outcome::Created2(new.path.clone(), stat),
            None => Outcome::Created(new.path.clone()),
        }
    }

    /// cversion and pzxid grow only: a replay must not turn them back.
    fn raise_parent(&mut self, parent: NodeId, path: &str, cversion: i32, zxid: Zxid) {
        let mut stat = self.tree.stat(self.tree.node(parent));
        let mut is_relative = cversion == -1;
        mutant!(CversionCountsTwice => is_relative = true);
        let cversion = if is_relative { stat.cversion.wrapping_add(1) } else { cversion };
        // The counter may wrap: sequence numbers go on below zero then.
        if cversion > stat.cversion || (stat.cversion == i32::MAX && cversion == i32::MIN) {
            (stat.cversion, stat.pzxid) = (cversion, zxid);
            self.tree.set_family(parent, &stat);
            self.redigest_parent(parent, path, &stat);
        }
    }

    fn delete(&mut self, path: &ByteString, zxid: Zxid, effects: &mut Effects) -> Outcome {
        let Some((above, name)) = split(path) else { return no_node() };
        let Some(parent) = self.tree.lookup(above) else { return no_node() };
        let mut stat = self.tree.stat(self.tree.node(parent));
        if zxid > stat.pzxid {
            stat.pzxid = zxid;
            self.tree.set_family(parent, &stat);
            self.redigest_parent(parent, above, &stat);
        }
        let Some(id) = self.tree.child(parent, name) else { return no_node() };
        let node = self.tree.node(id);
        if self.tree.child_count(node) > 0 {
            // Only a damaged log can ask for it.
            warn!(%path, %zxid, "a delete of a node with children is ignored");
            return Outcome::Error(ErrorCode::NotEmpty as i32);
        }
        self.trigger(effects, EventType::NodeDeleted, path, id);
        let (owner, acl, bytes) = (node.stat().ephemeral_owner, node.acl(), node.data_len() as i64);
        self.digest = self.digest.wrapping_sub(self.tree.digest(node).into());
        self.tree.remove(id);
        self.acls.release(acl);
        self.unindex_owner(owner, path);
        self.charge(path, -1, -bytes);
        self.trigger_parent(effects, path, above, parent);
        Outcome::Done
    }

    fn close_session(
        &mut self,
        session: SessionId,
        paths: &[ByteString],
        zxid: Zxid,
        effects: &mut Effects,
    ) {
        let mut paths = paths;
        mutant!(EphemeralOutlivesSession => if let Some((_, others)) = paths.split_last() {
            self.ephemerals.remove(&session);
            paths = others;
        });
        for path in paths {
            self.delete(path, zxid, effects);
        }
        for path in self.ephemerals.get(&session).cloned().into_iter().flatten() {
            self.delete(&path, zxid, effects);
        }
    }

    /// After a load: sessions that own ephemerals but are not in the session table ended while
    /// the snapshot was taken.
    pub fn drop_orphans(&mut self) {
        let orphans: Vec<SessionId> =
            self.ephemerals.keys().filter(|s| !self.sessions.contains_key(s)).copied().collect();
        for session in orphans {
            warn!(%session, "removing the ephemerals of a session that is not there");
            self.close_session(session, &[], self.last_zxid, &mut Effects::default());
        }
    }

    fn changed(&self, id: NodeId) -> Outcome {
        Outcome::Changed(super::NodeRef { store: self, node: self.tree.node(id) }.stat())
    }

    fn trigger(&self, effects: &mut Effects, kind: EventType, path: &ByteString, id: NodeId) {
        if effects.wanted {
            let acl = self.acls.get(self.tree.node(id).acl()).clone();
            effects.triggers.push(Trigger { kind, path: path.clone(), acl });
        }
    }

    fn trigger_parent(&self, effects: &mut Effects, path: &ByteString, above: &str, id: NodeId) {
        if effects.wanted {
            let above =
                if above.is_empty() { ByteString::from_static("/") } else { path.slice_ref(above) };
            self.trigger(effects, EventType::NodeChildrenChanged, &above, id);
        }
    }
}

fn length(data: &Option<Bytes>) -> i64 {
    data.as_ref().map_or(0, |data| data.len() as i64)
}

fn no_node() -> Outcome {
    Outcome::Error(ErrorCode::NoNode as i32)
}
