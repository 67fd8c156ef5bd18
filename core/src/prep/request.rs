//! Reads a write request whole before anything is decided (`MultiOperationRecord` and the
//! request records of `zookeeper.jute`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::flags::CreateMode;
use crate::access::acl::{self, AskedAcl};
use crate::types::SessionId;
use crate::wire::client::{
    CheckRequest, DeleteRequest, Id, MultiHeader, ReconfigRequest, SetDataRequest,
};
use crate::wire::{ErrorCode, Malformed, OpCode, Reader};

/// A client's request as it reaches the leader, from its own client or through a learner.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The session.
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// The operation.
    pub op: OpCode,
    /// The request record, without header.
    pub body: Bytes,
    /// The ids of the client's connection.
    pub auth: Arc<[Id]>,
}

/// A write that becomes a transaction, if only an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parsed(pub(super) Write);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Write {
    One(Operation),
    Multi(Vec<Operation>),
    CloseSession,
    Reconfig(ReconfigRequest),
    /// A multi that cannot be read: MARSHALLINGERROR, with a zxid of its own.
    Unreadable,
}

/// One change or check of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Create(Create),
    Delete(DeleteRequest),
    SetData(SetDataRequest),
    SetAcl {
        path: ByteString,
        acl: AskedAcl,
        version: i32,
    },
    Check(CheckRequest),
    /// A null path where a path must be, and what the operation makes of it.
    NullPath(ErrorCode),
}

impl Operation {
    /// The node that it asks to change.
    pub(super) fn changes(&self) -> Option<&str> {
        match self {
            Operation::Create(asked) => asked.path.as_deref(),
            Operation::Delete(asked) => Some(&asked.path),
            Operation::SetData(asked) => Some(&asked.path),
            Operation::SetAcl { path, .. } => Some(path),
            Operation::Check(_) | Operation::NullPath(_) => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Create {
    pub(super) kind: CreateKind,
    /// Null is found out only after the flags are checked.
    pub(super) path: Option<ByteString>,
    pub(super) data: Option<Bytes>,
    /// Null is as good as empty, but not in a multi.
    pub(super) acl: Option<AskedAcl>,
    pub(super) flags: i32,
    pub(super) ttl_ms: i64,
}

/// Which operation asks: it decides what the node becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CreateKind {
    Create,
    Create2,
    Container,
    Ttl,
}

impl Parsed {
    /// Whether it is one request to create an ephemeral, or a multi with such a request in it
    /// (`QuorumZooKeeperServer.checkUpgradeSession`).
    pub(crate) fn creates_ephemeral(&self) -> bool {
        let is_ephemeral = |operation: &Operation| match operation {
            Operation::Create(create) => {
                matches!(create.kind, CreateKind::Create | CreateKind::Create2)
                    && CreateMode::from_flags(create.flags).is_some_and(|mode| mode.ephemeral)
            }
            Operation::Delete(_)
            | Operation::SetData(_)
            | Operation::SetAcl { .. }
            | Operation::Check(_)
            | Operation::NullPath(_) => false,
        };
        match &self.0 {
            Write::One(operation) => is_ephemeral(operation),
            Write::Multi(operations) => operations.iter().any(is_ephemeral),
            Write::CloseSession | Write::Reconfig(_) | Write::Unreadable => false,
        }
    }

    /// Whether more than MARSHALLINGERROR can become of it.
    pub(crate) fn is_readable(&self) -> bool {
        self.0 != Write::Unreadable
    }

    /// Whether it is a multi.
    pub(crate) fn is_multi(&self) -> bool {
        matches!(self.0, Write::Multi(_))
    }
}

/// Reads the body of a write.
///
/// # Errors
/// The code to answer with, nothing being proposed: MARSHALLINGERROR for a body that is too
/// short or holds an impossible length, and for a null ACL in a multi; UNIMPLEMENTED for an
/// operation that is no write, or not one that clients may send.
pub(crate) fn parse(op: OpCode, body: &Bytes) -> Result<Parsed, ErrorCode> {
    let r = &mut Reader::new(body);
    let write = match op {
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateContainer
        | OpCode::CreateTtl
        | OpCode::Delete
        | OpCode::SetData
        | OpCode::SetAcl => operation(op, r).map(Write::One),
        OpCode::Multi => match multi(r) {
            Ok(operations) => Ok(Write::Multi(operations)),
            Err(NULL_ACL) => Err(NULL_ACL),
            Err(_) => Ok(Write::Unreadable),
        },
        OpCode::CloseSession => Ok(Write::CloseSession),
        OpCode::Reconfig => r.record().map(Write::Reconfig),
        // A check stands in a multi only. Containers are deleted by the leader itself: a
        // client that could ask for it would get around every ACL.
        OpCode::Check
        | OpCode::DeleteContainer
        | OpCode::CreateSession
        | OpCode::Exists
        | OpCode::GetData
        | OpCode::GetAcl
        | OpCode::GetChildren
        | OpCode::Sync
        | OpCode::Ping
        | OpCode::GetChildren2
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::MultiRead
        | OpCode::Auth
        | OpCode::SetWatches
        | OpCode::Sasl
        | OpCode::GetEphemerals
        | OpCode::GetAllChildrenNumber
        | OpCode::SetWatches2
        | OpCode::AddWatch
        | OpCode::WhoAmI
        | OpCode::Error => return Err(ErrorCode::Unimplemented),
    };
    write.map(Parsed).map_err(|_| ErrorCode::MarshallingError)
}

fn operation(op: OpCode, r: &mut Reader<'_>) -> Result<Operation, Malformed> {
    Ok(match op {
        OpCode::Create => Operation::Create(create(CreateKind::Create, r)?),
        OpCode::Create2 => Operation::Create(create(CreateKind::Create2, r)?),
        OpCode::CreateContainer => Operation::Create(create(CreateKind::Container, r)?),
        OpCode::CreateTtl => Operation::Create(create(CreateKind::Ttl, r)?),
        OpCode::Delete => match (r.ustring()?, r.int()?) {
            (Some(path), version) => Operation::Delete(DeleteRequest { path, version }),
            (None, _) => Operation::NullPath(ErrorCode::MarshallingError),
        },
        OpCode::SetData => match (r.ustring()?, r.buffer()?, r.int()?) {
            (Some(path), data, version) => {
                Operation::SetData(SetDataRequest { path, data, version })
            }
            (None, ..) => Operation::NullPath(ErrorCode::BadArguments),
        },
        OpCode::SetAcl => match (r.ustring()?, acl::read(r)?, r.int()?) {
            (Some(path), acl, version) => {
                Operation::SetAcl { path, acl: acl.unwrap_or_default(), version }
            }
            (None, ..) => Operation::NullPath(ErrorCode::BadArguments),
        },
        OpCode::Check => Operation::Check(r.record()?),
        _ => return Err(Malformed::Value("operation")),
    })
}

fn create(kind: CreateKind, r: &mut Reader<'_>) -> Result<Create, Malformed> {
    Ok(Create {
        kind,
        path: r.ustring()?,
        data: r.buffer()?,
        acl: acl::read(r)?,
        flags: r.int()?,
        ttl_ms: if kind == CreateKind::Ttl { r.long()? } else { -1 },
    })
}

/// An operation that a multi cannot hold; it has no zxid then.
const NULL_ACL: Malformed = Malformed::Value("a null ACL");

fn multi(r: &mut Reader<'_>) -> Result<Vec<Operation>, Malformed> {
    let mut all = Vec::new();
    let mut has_null_path = false;
    loop {
        let header: MultiHeader = r.record()?;
        if header.done {
            // Only what is read as a whole is looked into.
            return if has_null_path { Err(Malformed::Value("a null path")) } else { Ok(all) };
        }
        let op = OpCode::from_i32(header.op).ok_or(Malformed::Value("multi operation"))?;
        if op == OpCode::SetAcl {
            return Err(Malformed::Value("multi operation"));
        }
        all.push(match operation(op, r)? {
            Operation::Create(create) => {
                has_null_path |= create.path.is_none();
                Operation::Create(in_multi(create)?)
            }
            Operation::NullPath(code) => {
                has_null_path = true;
                Operation::NullPath(code)
            }
            other => other,
        });
    }
}

/// Inside a multi the flags have their say in what a create is (`Op.create`).
fn in_multi(mut create: Create) -> Result<Create, Malformed> {
    let mode = CreateMode::from_flags(create.flags);
    if create.kind == CreateKind::Ttl {
        if !mode.is_some_and(|mode| mode.ttl) {
            create.kind = CreateKind::Create;
            create.ttl_ms = -1;
        }
    } else {
        // These flags are judged at once.
        let mode = mode.ok_or(Malformed::Value("create mode"))?;
        if create.acl.is_none() {
            return Err(NULL_ACL);
        }
        if mode.ttl {
            return Err(Malformed::Value("create mode"));
        }
    }
    if create.flags == CONTAINER {
        create.kind = CreateKind::Container;
    }
    Ok(create)
}

/// `CreateMode.CONTAINER`.
const CONTAINER: i32 = 4;
