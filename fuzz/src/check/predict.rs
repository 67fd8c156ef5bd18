//! What a request has to come to on a given tree: the transaction that a leader must make of it,
//! or the code of its refusal. Written from ZooKeeper's rules, not from the core's.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use zabkeeper_core::client::{MultiOp, Request};
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::ErrorCode;
use zabkeeper_core::wire::client::{
    Acl, CheckRequest, CreateRequest, CreateTtlRequest, DeleteRequest, ReconfigRequest,
    SetAclRequest, SetDataRequest, perms,
};
use zabkeeper_core::wire::txn::{
    CheckVersionTxn, CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn, SetAclTxn, SetDataTxn,
    Txn,
};

use super::members::{self, CONFIG_PATH, Leader};
use super::model::{Model, Node, Owner, len, parent_of};

/// What the leader may hold against the session that asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Good,
    /// It has ended.
    Ended,
    /// It is attached elsewhere by now.
    Moved,
}

/// Where and when a request is the next transaction.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) model: &'a Model,
    pub(super) session: SessionId,
    pub(super) zxid: Zxid,
    pub(super) time_ms: i64,
    /// `extendedTypesEnabled`.
    pub(super) has_ttl: bool,
    /// `enforceQuota`: the leader has weighed it with a tree that was not older than this.
    pub(super) quotas_since: Option<Zxid>,
    /// The part of it, from 0, for which the leader says that a quota would be exceeded.
    pub(super) exceeds: Option<usize>,
    /// `reconfigEnabled`: how many voters there have to be, and what the leader may have against
    /// another change.
    pub(super) members: Option<(usize, Leader)>,
}

/// What a session's request becomes when it is the next transaction; `None` for one that is no
/// write, or none that clients of this house send.
pub(super) fn predict(place: Place<'_>, standing: Standing, request: &Request) -> Option<Txn> {
    let mut draft = Draft { place, standing, part: 0, changed: Vec::new() };
    let made = match request {
        Request::Create(r) => draft.create(Kind::Create, r),
        Request::Create2(r) => draft.create(Kind::Create2, r),
        Request::CreateContainer(r) => draft.create(Kind::Container, r),
        Request::CreateTtl(r) => draft.create_ttl(r),
        Request::Delete(r) => draft.delete(r),
        Request::SetData(r) => draft.set_data(r),
        Request::SetAcl(r) => draft.set_acl(r),
        Request::Multi(all) => Ok(draft.multi(all)),
        Request::Reconfig(r) => draft.reconfig(r),
        Request::Exists(_)
        | Request::GetData(_)
        | Request::GetAcl(_)
        | Request::GetChildren(_)
        | Request::GetChildren2(_)
        | Request::Sync(_)
        | Request::GetEphemerals(_)
        | Request::GetAllChildrenNumber(_)
        | Request::WhoAmI
        | Request::AddWatch(_)
        | Request::CheckWatches(_)
        | Request::RemoveWatches(_) => return None,
    };
    Some(made.unwrap_or_else(Txn::error))
}

/// Which operation makes a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Create2,
    Container,
    Ttl(i64),
}

/// The tree with what earlier parts of the same multi do to it.
struct Draft<'a> {
    place: Place<'a>,
    standing: Standing,
    part: usize,
    changed: Vec<(String, Option<Node>)>,
}

impl Draft<'_> {
    fn multi(&mut self, all: &[MultiOp]) -> Txn {
        let mut has_failed = false;
        let parts = all.iter().enumerate().map(|(part, op)| {
            self.part = part;
            if has_failed {
                return Txn::error(ErrorCode::RuntimeInconsistency);
            }
            let made = match op {
                // Inside a multi the flags have their say.
                MultiOp::Create(r) if r.flags == 4 => self.create(Kind::Container, r),
                MultiOp::Create2(r) if r.flags == 4 => self.create(Kind::Container, r),
                MultiOp::Create(r) => self.create(Kind::Create, r),
                MultiOp::Create2(r) => self.create(Kind::Create2, r),
                MultiOp::CreateContainer(r) => self.create(Kind::Container, r),
                MultiOp::CreateTtl(r) => self.create_ttl(r),
                MultiOp::Delete(r) => self.delete(r),
                MultiOp::SetData(r) => self.set_data(r),
                MultiOp::Check(r) => self.check(r),
            };
            made.unwrap_or_else(|code| {
                has_failed = true;
                Txn::error(code)
            })
        });
        Txn::Multi(parts.collect())
    }

    fn create_ttl(&mut self, r: &CreateTtlRequest) -> Result<Txn, ErrorCode> {
        self.is_here()?;
        match r.flags {
            5 | 6 if !self.place.has_ttl => return Err(ErrorCode::Unimplemented),
            5 | 6 if 0 < r.ttl && r.ttl < 1 << 40 => {}
            _ => return Err(ErrorCode::BadArguments),
        }
        let (path, data, acl) = (r.path.clone(), r.data.clone(), r.acl.clone());
        // What is left of the flags is whether a number is appended.
        let flags = if r.flags == 6 { 2 } else { 0 };
        self.create(Kind::Ttl(r.ttl), &CreateRequest { path, data, acl, flags })
    }

    fn create(&mut self, kind: Kind, r: &CreateRequest) -> Result<Txn, ErrorCode> {
        self.is_here()?;
        let (is_ephemeral, is_sequential) = match r.flags {
            0 | 4 => (false, false),
            1 => (true, false),
            2 => (false, true),
            3 => (true, true),
            5 | 6 if !self.place.has_ttl => return Err(ErrorCode::Unimplemented),
            _ => return Err(ErrorCode::BadArguments),
        };
        self.standing()?;
        if !r.path.contains('/') || r.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let above = parent_of(&r.path).0;
        let acl = allowed(&r.acl)?;
        let mut parent = self.node(above)?;
        permit(&parent.acl, perms::CREATE)?;
        let path = if is_sequential {
            ByteString::from(format!("{}{:010}", r.path, parent.creations))
        } else {
            r.path.clone()
        };
        valid(&path)?;
        if self.get(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(parent.owner, Owner::Session(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.quota(&path, 1, len(&r.data))?;
        parent.creations = parent.creations.wrapping_add(1);
        parent.children += 1;
        parent.pzxid = self.place.zxid;
        let parent_cversion = parent.creations;
        self.put(above, Some(parent));
        let is_ephemeral = is_ephemeral && matches!(kind, Kind::Create | Kind::Create2);
        let owner = match kind {
            Kind::Container => Owner::Container,
            Kind::Ttl(ttl_ms) => Owner::Ttl(ttl_ms),
            Kind::Create | Kind::Create2 if is_ephemeral => Owner::Session(self.place.session),
            Kind::Create | Kind::Create2 => Owner::Nobody,
        };
        let made = Arc::from(&*acl);
        let node = Node::new(r.data.clone(), made, owner, self.place.zxid, self.place.time_ms);
        self.put(&path, Some(node));
        let (data, acl, ephemeral) = (r.data.clone(), acl.into(), is_ephemeral);
        Ok(match kind {
            Kind::Create => Txn::Create(CreateTxn { path, data, acl, ephemeral, parent_cversion }),
            Kind::Create2 => {
                Txn::Create2(CreateTxn { path, data, acl, ephemeral, parent_cversion })
            }
            Kind::Container => {
                Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion })
            }
            Kind::Ttl(ttl) => {
                Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl })
            }
        })
    }

    fn delete(&mut self, r: &DeleteRequest) -> Result<Txn, ErrorCode> {
        self.standing()?;
        let is_special = matches!(&*r.path, "/" | "/zookeeper");
        if is_special || !r.path.contains('/') || r.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let above = parent_of(&r.path).0;
        let mut parent = self.node(above)?;
        permit(&parent.acl, perms::DELETE)?;
        let node = self.node(&r.path)?;
        next(node.version, r.version)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        parent.children -= 1;
        parent.pzxid = self.place.zxid;
        self.put(above, Some(parent));
        self.put(&r.path, None);
        Ok(Txn::Delete(DeleteTxn { path: r.path.clone() }))
    }

    fn set_data(&mut self, r: &SetDataRequest) -> Result<Txn, ErrorCode> {
        self.standing()?;
        valid(&r.path)?;
        let mut node = self.node(&r.path)?;
        permit(&node.acl, perms::WRITE)?;
        self.quota(&r.path, 0, len(&r.data) - len(&node.data))?;
        let version = next(node.version, r.version)?;
        node.version = version;
        let data: Option<Bytes> = r.data.clone();
        node.data.clone_from(&data);
        self.put(&r.path, Some(node));
        Ok(Txn::SetData(SetDataTxn { path: r.path.clone(), data, version }))
    }

    /// Quotas are weighed with what was committed when the leader took it up, and that could be
    /// the tree of several moments.
    fn quota(&self, path: &str, count: i64, bytes: i64) -> Result<(), ErrorCode> {
        let Place { model, zxid, quotas_since, exceeds, .. } = self.place;
        let Some(since) = quotas_since else { return Ok(()) };
        let is_refused = match model.exceeds(path, since, zxid, count, bytes) {
            (true, true) => exceeds == Some(self.part),
            (is_over, _) => is_over,
        };
        if is_refused { Err(ErrorCode::QuotaExceeded) } else { Ok(()) }
    }

    fn set_acl(&mut self, r: &SetAclRequest) -> Result<Txn, ErrorCode> {
        self.standing()?;
        valid(&r.path)?;
        let acl = allowed(&r.acl)?;
        let node = self.node(&r.path)?;
        permit(&node.acl, perms::ADMIN)?;
        let version = next(node.aversion, r.version)?;
        Ok(Txn::SetAcl(SetAclTxn { path: r.path.clone(), acl: acl.into(), version }))
    }

    /// Who asks is the operator, who may.
    fn reconfig(&self, r: &ReconfigRequest) -> Result<Txn, ErrorCode> {
        let Place { model, zxid, members, .. } = self.place;
        self.is_here()?;
        let (least, leader) = members.ok_or(ErrorCode::ReconfigDisabled)?;
        self.standing()?;
        let next = members::predict(model.roster(), r, zxid, least, leader)?;
        let (path, data) = (ByteString::from_static(CONFIG_PATH), Some(Bytes::from(next.text())));
        Ok(Txn::Reconfig(SetDataTxn { path, data, version: -1 }))
    }

    fn check(&mut self, r: &CheckRequest) -> Result<Txn, ErrorCode> {
        self.standing()?;
        valid(&r.path)?;
        let node = self.node(&r.path)?;
        permit(&node.acl, perms::READ)?;
        let version = next(node.version, r.version)?;
        Ok(Txn::Check(CheckVersionTxn { path: r.path.clone(), version }))
    }

    /// Whatever else may be wrong with a request, that its session has moved comes first.
    fn is_here(&self) -> Result<(), ErrorCode> {
        if self.standing == Standing::Moved { Err(ErrorCode::SessionMoved) } else { Ok(()) }
    }

    fn standing(&self) -> Result<(), ErrorCode> {
        match self.standing {
            Standing::Good => Ok(()),
            Standing::Ended => Err(ErrorCode::SessionExpired),
            Standing::Moved => Err(ErrorCode::SessionMoved),
        }
    }

    fn get(&self, path: &str) -> Option<&Node> {
        match self.changed.iter().rev().find(|(changed, _)| changed == path) {
            Some((_, node)) => node.as_ref(),
            None => self.place.model.now(path),
        }
    }

    fn node(&self, path: &str) -> Result<Node, ErrorCode> {
        self.get(path).cloned().ok_or(ErrorCode::NoNode)
    }

    fn put(&mut self, path: &str, node: Option<Node>) {
        self.changed.push((String::from(path), node));
    }
}

/// The version after a change; -1 expects any.
fn next(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected == -1 || expected == current {
        Ok(current.wrapping_add(1))
    } else {
        Err(ErrorCode::BadVersion)
    }
}

/// Who is asked is anybody: clients of this house do not say who they are.
pub(super) fn permit(acl: &[Acl], wanted: i32) -> Result<(), ErrorCode> {
    if acl.iter().any(|entry| entry.perms & wanted != 0) { Ok(()) } else { Err(ErrorCode::NoAuth) }
}

/// The ACL that is kept: each entry once.
fn allowed(asked: &[Acl]) -> Result<Vec<Acl>, ErrorCode> {
    let is_anyone = |entry: &Acl| &*entry.id.scheme == "world" && &*entry.id.id == "anyone";
    if asked.is_empty() || !asked.iter().all(is_anyone) {
        return Err(ErrorCode::InvalidAcl);
    }
    let mut kept: Vec<Acl> = Vec::with_capacity(asked.len());
    for entry in asked {
        if !kept.contains(entry) {
            kept.push(entry.clone());
        }
    }
    Ok(kept)
}

fn valid(path: &str) -> Result<(), ErrorCode> {
    let is_name = |name: &str| {
        !matches!(name, "" | "." | "..") && name.bytes().all(|b| matches!(b, 0x20..=0x7e))
    };
    match path.strip_prefix('/') {
        Some(names) if names.is_empty() || names.split('/').all(is_name) => Ok(()),
        Some(_) | None => Err(ErrorCode::BadArguments),
    }
}
