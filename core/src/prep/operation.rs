//! One operation against the tree as it will be: its checks in ZooKeeper's order, then its
//! transaction and what it changes (`PrepRequestProcessor.pRequest2Txn`).

use alloc::format;

use bytes::Bytes;
use bytestring::ByteString;

use super::flags::CreateMode;
use super::outstanding::{NodeState, Outstanding};
use super::request::{Create, CreateKind, Operation};
use super::{path, quota};
use crate::access::Access;
use crate::access::acl::{self, AskedAcl};
use crate::mutant::mutant;
use crate::session::SessionCheck;
use crate::store::{OwnerKind, Store, StoredStat};
use crate::types::{SessionId, Zxid};
use crate::wire::ErrorCode;
use crate::wire::acl::AclList;
use crate::wire::client::{CheckRequest, DeleteRequest, Id, SetDataRequest, perms};
use crate::wire::txn::{
    CheckVersionTxn, CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn, SetAclTxn, SetDataTxn,
    Txn,
};

/// The requester, and the zxid and time of the transaction.
pub(super) struct Context<'a> {
    pub(super) store: &'a Store,
    pub(super) extended_types: bool,
    pub(super) enforce_quota: bool,
    pub(super) protect_system_nodes: bool,
    pub(super) session: SessionId,
    pub(super) check: SessionCheck,
    pub(super) ids: &'a [Id],
    pub(super) access: &'a Access,
    pub(super) zxid: Zxid,
    pub(super) wall_ms: i64,
}

impl Context<'_> {
    /// The transaction of an operation; its changes are in `tree` afterwards.
    ///
    /// # Errors
    /// The first check that fails gives the code; `tree` is as it was.
    pub(super) fn prepare(
        &self,
        tree: &mut Outstanding,
        operation: Operation,
    ) -> Result<Txn, ErrorCode> {
        tree.work.requests += 1;
        self.check.still_here()?;
        if self.protect_system_nodes && operation.changes().is_some_and(path::is_system) {
            self.check.ok()?;
            self.access.check_super(self.ids)?;
        }
        match operation {
            Operation::Create(asked) => self.create(tree, asked),
            Operation::Delete(asked) => self.delete(tree, asked),
            Operation::SetData(asked) => self.set_data(tree, asked),
            Operation::SetAcl { path, acl, version } => self.set_acl(tree, path, acl, version),
            Operation::Check(asked) => self.check(tree, asked),
            Operation::NullPath(code) => self.check.ok().and(Err(code)),
        }
    }

    fn create(&self, tree: &mut Outstanding, asked: Create) -> Result<Txn, ErrorCode> {
        let Create { kind, path, data, acl, flags, ttl_ms } = asked;
        let mode = CreateMode::from_flags(flags).ok_or(ErrorCode::BadArguments)?;
        if mode.ttl && !self.extended_types {
            return Err(ErrorCode::Unimplemented);
        }
        // A createTTL without a TTL could be logged, but never applied.
        if !mode.accepts_ttl(ttl_ms) || (kind == CreateKind::Ttl && !mode.ttl) {
            return Err(ErrorCode::BadArguments);
        }
        let ephemeral = mode.ephemeral && matches!(kind, CreateKind::Create | CreateKind::Create2);
        if ephemeral {
            self.check.may_own()?
        } else {
            self.check.ok()?
        };
        let mut path = path.ok_or(ErrorCode::MarshallingError)?;
        let above = match path::parent(&path) {
            Some(parent) if path::has_parent(&path) => path.slice_ref(parent),
            Some(_) | None => return Err(ErrorCode::BadArguments),
        };
        let fixed = acl::fix_up(acl.unwrap_or_default(), self.ids, self.access)?;
        let mut parent = self.node(tree, &above)?;
        self.allowed(tree, &parent.acl, perms::CREATE)?;
        if mode.sequential {
            let mut next = parent.stat.cversion;
            mutant!(SequenceOfChildren => next = parent.children as i32);
            path = format!("{path}{next:010}").into();
        }
        valid(&path)?;
        if tree.get(self.store, &path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if self.store.owner_kind(parent.stat.ephemeral_owner) == OwnerKind::Ephemeral {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.check_quota(tree, &path, 1, length(&data))?;

        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        parent.stat.cversion = parent_cversion;
        parent.stat.pzxid = self.zxid;
        parent.children += 1;
        tree.put(self.store, self.zxid, above, parent);

        let owner = match kind {
            CreateKind::Create | CreateKind::Create2 if ephemeral => self.session.0,
            CreateKind::Create | CreateKind::Create2 => 0,
            CreateKind::Container => OwnerKind::CONTAINER_OWNER,
            CreateKind::Ttl => OwnerKind::ttl_owner(ttl_ms),
        };
        let stat = StoredStat::created(self.zxid, self.wall_ms, owner);
        let state = NodeState::new(stat, data.clone(), fixed.clone());
        tree.put(self.store, self.zxid, path.clone(), state);
        if ephemeral {
            tree.ephemeral(self.zxid, self.session, path.clone());
        }

        let acl = fixed;
        Ok(match kind {
            CreateKind::Create => {
                Txn::Create(CreateTxn { path, data, acl, ephemeral, parent_cversion })
            }
            CreateKind::Create2 => {
                Txn::Create2(CreateTxn { path, data, acl, ephemeral, parent_cversion })
            }
            CreateKind::Container => {
                Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion })
            }
            CreateKind::Ttl => {
                Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl: ttl_ms })
            }
        })
    }

    fn delete(&self, tree: &mut Outstanding, asked: DeleteRequest) -> Result<Txn, ErrorCode> {
        let DeleteRequest { path, version } = asked;
        self.check.ok()?;
        let above = match path::parent(&path) {
            Some(parent) if path::has_parent(&path) && !path::is_special(&path) => {
                path.slice_ref(parent)
            }
            Some(_) | None => return Err(ErrorCode::BadArguments),
        };
        let mut parent = self.node(tree, &above)?;
        self.allowed(tree, &parent.acl, perms::DELETE)?;
        let node = self.node(tree, &path)?;
        next_version(node.stat.version, version)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        parent.stat.pzxid = self.zxid;
        parent.children = parent.children.saturating_sub(1);
        tree.put(self.store, self.zxid, above, parent);
        tree.remove(self.store, self.zxid, path.clone(), &node);
        Ok(Txn::Delete(DeleteTxn { path }))
    }

    fn set_data(&self, tree: &mut Outstanding, asked: SetDataRequest) -> Result<Txn, ErrorCode> {
        let SetDataRequest { path, data, version } = asked;
        self.check.ok()?;
        valid(&path)?;
        let mut node = self.node(tree, &path)?;
        self.allowed(tree, &node.acl, perms::WRITE)?;
        self.check_quota(tree, &path, 0, length(&data) - node.data.len() as i64)?;
        let version = next_version(node.stat.version, version)?;
        node.stat.version = version;
        node.stat.mtime = self.wall_ms;
        node.stat.mzxid = self.zxid;
        node.set_data(data.clone());
        tree.put(self.store, self.zxid, path.clone(), node);
        Ok(Txn::SetData(SetDataTxn { path, data, version }))
    }

    fn set_acl(
        &self,
        tree: &mut Outstanding,
        path: ByteString,
        asked: AskedAcl,
        version: i32,
    ) -> Result<Txn, ErrorCode> {
        self.check.ok()?;
        valid(&path)?;
        let acl = acl::fix_up(asked, self.ids, self.access)?;
        let mut node = self.node(tree, &path)?;
        self.allowed(tree, &node.acl, perms::ADMIN)?;
        let version = next_version(node.stat.aversion, version)?;
        node.stat.aversion = version;
        node.acl = acl.clone();
        tree.put(self.store, self.zxid, path.clone(), node);
        Ok(Txn::SetAcl(SetAclTxn { path, acl, version }))
    }

    fn check(&self, tree: &mut Outstanding, asked: CheckRequest) -> Result<Txn, ErrorCode> {
        let CheckRequest { path, version } = asked;
        self.check.ok()?;
        valid(&path)?;
        let node = self.node(tree, &path)?;
        self.allowed(tree, &node.acl, perms::READ)?;
        let version = next_version(node.stat.version, version)?;
        Ok(Txn::Check(CheckVersionTxn { path, version }))
    }

    fn check_quota(
        &self,
        tree: &mut Outstanding,
        path: &str,
        count: i64,
        bytes: i64,
    ) -> Result<(), ErrorCode> {
        if self.enforce_quota { quota::check(self.store, tree, path, count, bytes) } else { Ok(()) }
    }

    fn allowed(&self, tree: &mut Outstanding, acl: &AclList, wanted: i32) -> Result<(), ErrorCode> {
        tree.work.compared += self.access.compared(acl, self.ids);
        self.access.check(acl, wanted, self.ids)
    }

    fn node(&self, tree: &Outstanding, path: &str) -> Result<NodeState, ErrorCode> {
        tree.get(self.store, path).ok_or(ErrorCode::NoNode)
    }
}

fn length(data: &Option<Bytes>) -> i64 {
    data.as_ref().map_or(0, |data| data.len() as i64)
}

fn valid(path: &str) -> Result<(), ErrorCode> {
    if path::is_valid(path) { Ok(()) } else { Err(ErrorCode::BadArguments) }
}

/// The version after a change; -1 expects any, and int32 wraps.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected == -1 || expected == current {
        Ok(current.wrapping_add(1))
    } else {
        Err(ErrorCode::BadVersion)
    }
}
