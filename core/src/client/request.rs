//! What a client may ask for and what it is answered, typed by operation.

use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use crate::wire::client::{
    AddWatchRequest, CheckRequest, Create2Response, CreateRequest, CreateTtlRequest, DeleteRequest,
    GetAclResponse, GetDataResponse, Id, MultiHeader, PathRequest, ReconfigRequest, SetAclRequest,
    SetDataRequest, Stat, WatchedRequest, WatcherRequest,
};
use crate::wire::{Malformed, OpCode, Reader, Record};

/// Stands after the last operation.
const MULTI_END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Makes a node.
    Create(CreateRequest),
    /// Makes a node, answers its stat too.
    Create2(CreateRequest),
    /// Makes a node that goes away after its last child (flags 4).
    CreateContainer(CreateRequest),
    /// Makes a node that goes away when it is not changed for a time (flags 5 or 6).
    CreateTtl(CreateTtlRequest),
    /// Removes a node without children.
    Delete(DeleteRequest),
    /// Looks whether a node is there; its watch is left on a missing node too.
    Exists(WatchedRequest),
    /// Reads a node.
    GetData(WatchedRequest),
    /// Writes a node.
    SetData(SetDataRequest),
    /// Reads a node's ACL.
    GetAcl(PathRequest),
    /// Writes a node's ACL.
    SetAcl(SetAclRequest),
    /// Lists a node's children.
    GetChildren(WatchedRequest),
    /// Lists a node's children, with its stat.
    GetChildren2(WatchedRequest),
    /// What is read after this is at least as new as what anybody saw before it.
    Sync(PathRequest),
    /// All of it or nothing.
    Multi(Vec<MultiOp>),
    /// Lists the session's ephemerals below a path.
    GetEphemerals(PathRequest),
    /// Counts all nodes below a path.
    GetAllChildrenNumber(PathRequest),
    /// Tells as whom the connection is authenticated.
    WhoAmI,
    /// Leaves a watch that stays when it fires, whether its node is there or not.
    AddWatch(AddWatchRequest),
    /// Asks whether there is such a watch: refused with NOWATCHER if not.
    CheckWatches(WatcherRequest),
    /// Takes watches away: refused with NOWATCHER if there are none.
    RemoveWatches(WatcherRequest),
    /// Changes the members of the ensemble; answered with the new configuration.
    Reconfig(ReconfigRequest),
}

/// One operation of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiOp {
    /// As [`Request::Create`].
    Create(CreateRequest),
    /// As [`Request::Create2`].
    Create2(CreateRequest),
    /// As [`Request::CreateContainer`].
    CreateContainer(CreateRequest),
    /// As [`Request::CreateTtl`].
    CreateTtl(CreateTtlRequest),
    /// As [`Request::Delete`].
    Delete(DeleteRequest),
    /// As [`Request::SetData`].
    SetData(SetDataRequest),
    /// The node has this version.
    Check(CheckRequest),
}

/// What a request was answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// It is done, and there is no more to say.
    Done,
    /// The path made, sequence number included; sync: the path as it was sent.
    Path(ByteString),
    /// Path and stat of the node made.
    Created(Create2Response),
    /// The node's stat.
    Stat(Stat),
    /// The node.
    Data(GetDataResponse),
    /// The node's ACL.
    Acl(GetAclResponse),
    /// Names of children in no order, or paths of ephemerals.
    Names(Vec<ByteString>),
    /// Names of children in no order, and the node's stat.
    Children(Vec<ByteString>, Stat),
    /// One for each operation, in order.
    Multi(Vec<MultiResult>),
    /// How many nodes.
    Count(i32),
    /// Schemes and users, without what is secret of them.
    Ids(Vec<Id>),
}

/// How an operation of a multi fared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiResult {
    /// delete, check.
    Done,
    /// create.
    Path(ByteString),
    /// create2, createContainer, createTTL.
    Created(Create2Response),
    /// setData.
    Stat(Stat),
    /// Nothing was done. 0: this one was not to blame; -2: one before it was.
    Error(i32),
}

impl Request {
    /// The operation.
    pub fn op(&self) -> OpCode {
        match self {
            Request::Create(_) => OpCode::Create,
            Request::Create2(_) => OpCode::Create2,
            Request::CreateContainer(_) => OpCode::CreateContainer,
            Request::CreateTtl(_) => OpCode::CreateTtl,
            Request::Delete(_) => OpCode::Delete,
            Request::Exists(_) => OpCode::Exists,
            Request::GetData(_) => OpCode::GetData,
            Request::SetData(_) => OpCode::SetData,
            Request::GetAcl(_) => OpCode::GetAcl,
            Request::SetAcl(_) => OpCode::SetAcl,
            Request::GetChildren(_) => OpCode::GetChildren,
            Request::GetChildren2(_) => OpCode::GetChildren2,
            Request::Sync(_) => OpCode::Sync,
            Request::Multi(_) => OpCode::Multi,
            Request::GetEphemerals(_) => OpCode::GetEphemerals,
            Request::GetAllChildrenNumber(_) => OpCode::GetAllChildrenNumber,
            Request::WhoAmI => OpCode::WhoAmI,
            Request::AddWatch(_) => OpCode::AddWatch,
            Request::CheckWatches(_) => OpCode::CheckWatches,
            Request::RemoveWatches(_) => OpCode::RemoveWatches,
            Request::Reconfig(_) => OpCode::Reconfig,
        }
    }

    /// Appends the record that follows the request's header.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            Request::Create(r) | Request::Create2(r) | Request::CreateContainer(r) => r.write(out),
            Request::CreateTtl(r) => r.write(out),
            Request::Delete(r) => r.write(out),
            Request::Exists(r)
            | Request::GetData(r)
            | Request::GetChildren(r)
            | Request::GetChildren2(r) => r.write(out),
            Request::SetData(r) => r.write(out),
            Request::SetAcl(r) => r.write(out),
            Request::GetAcl(r)
            | Request::Sync(r)
            | Request::GetEphemerals(r)
            | Request::GetAllChildrenNumber(r) => r.write(out),
            Request::Multi(all) => {
                for op in all {
                    op.write(out);
                }
                MULTI_END.write(out);
            }
            Request::WhoAmI => {}
            Request::AddWatch(r) => r.write(out),
            Request::CheckWatches(r) | Request::RemoveWatches(r) => r.write(out),
            Request::Reconfig(r) => r.write(out),
        }
    }
}

impl MultiOp {
    fn write(&self, out: &mut BytesMut) {
        let mut header =
            |op: OpCode| MultiHeader { op: op as i32, done: false, err: -1 }.write(out);
        match self {
            MultiOp::Create(_) => header(OpCode::Create),
            MultiOp::Create2(_) => header(OpCode::Create2),
            MultiOp::CreateContainer(_) => header(OpCode::CreateContainer),
            MultiOp::CreateTtl(_) => header(OpCode::CreateTtl),
            MultiOp::Delete(_) => header(OpCode::Delete),
            MultiOp::SetData(_) => header(OpCode::SetData),
            MultiOp::Check(_) => header(OpCode::Check),
        }
        match self {
            MultiOp::Create(r) | MultiOp::Create2(r) | MultiOp::CreateContainer(r) => r.write(out),
            MultiOp::CreateTtl(r) => r.write(out),
            MultiOp::Delete(r) => r.write(out),
            MultiOp::SetData(r) => r.write(out),
            MultiOp::Check(r) => r.write(out),
        }
    }
}

impl Response {
    /// Reads the record that follows the reply's header.
    ///
    /// # Errors
    /// If it is not what this operation is answered with.
    pub fn read(op: OpCode, r: &mut Reader<'_>) -> Result<Response, Malformed> {
        Ok(match op {
            OpCode::Create | OpCode::Sync => Response::Path(r.record()?),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Response::Created(r.record()?)
            }
            OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::CloseSession
            | OpCode::Ping
            | OpCode::CheckWatches
            | OpCode::RemoveWatches => Response::Done,
            OpCode::AddWatch => {
                // A record with an error of its own, which is always 0.
                r.int()?;
                Response::Done
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Response::Stat(r.record()?),
            OpCode::GetData | OpCode::Reconfig => Response::Data(r.record()?),
            OpCode::GetAcl => Response::Acl(r.record()?),
            OpCode::GetChildren | OpCode::GetEphemerals => Response::Names(r.record()?),
            OpCode::GetChildren2 => Response::Children(r.record()?, r.record()?),
            OpCode::Multi => Response::Multi(multi_results(r)?),
            OpCode::GetAllChildrenNumber => Response::Count(r.int()?),
            OpCode::WhoAmI => Response::Ids(r.record()?),
            OpCode::Check
            | OpCode::MultiRead
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::Sasl
            | OpCode::SetWatches2
            | OpCode::CreateSession
            | OpCode::Error => return Err(Malformed::Value("operation")),
        })
    }
}

fn multi_results(r: &mut Reader<'_>) -> Result<Vec<MultiResult>, Malformed> {
    let mut all = Vec::new();
    loop {
        let header: MultiHeader = r.record()?;
        if header.done {
            return Ok(all);
        }
        let result = match OpCode::from_i32(header.op) {
            Some(OpCode::Create) => MultiResult::Path(r.record()?),
            Some(OpCode::Create2) => MultiResult::Created(r.record()?),
            Some(OpCode::SetData) => MultiResult::Stat(r.record()?),
            Some(OpCode::Delete | OpCode::Check) => MultiResult::Done,
            Some(OpCode::Error) => MultiResult::Error(r.int()?),
            _ => return Err(Malformed::Value("multi result")),
        };
        all.push(result);
    }
}
