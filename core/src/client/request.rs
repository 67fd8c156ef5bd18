//! Requests and responses by operation.

use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use crate::wire::client::{
    AddWatchRequest, CheckRequest, Create2Response, CreateRequest, CreateTtlRequest, DeleteRequest,
    GetAclResponse, GetDataResponse, Id, MultiHeader, PathRequest, ReconfigRequest, SetAclRequest,
    SetDataRequest, Stat, WatchedRequest, WatcherRequest,
};
use crate::wire::{Malformed, OpCode, Reader, Record};

/// The header after the last operation of a multi.
const MULTI_END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Creates a znode.
    Create(CreateRequest),
    /// Creates a znode; the response has its stat.
    Create2(CreateRequest),
    /// Creates a container, which is deleted after its last child (flags 4).
    CreateContainer(CreateRequest),
    /// Creates a znode with a time to live, which is deleted when it has no children and has not
    /// changed for that time (flags 5 or 6).
    CreateTtl(CreateTtlRequest),
    /// Deletes a znode without children.
    Delete(DeleteRequest),
    /// Reads the stat of a znode. The watch is also set on a path without a znode.
    Exists(WatchedRequest),
    /// Reads the data of a znode.
    GetData(WatchedRequest),
    /// Writes the data of a znode.
    SetData(SetDataRequest),
    /// Reads the ACL of a znode.
    GetAcl(PathRequest),
    /// Writes the ACL of a znode.
    SetAcl(SetAclRequest),
    /// Lists the children of a znode.
    GetChildren(WatchedRequest),
    /// Lists the children of a znode, and reads its stat.
    GetChildren2(WatchedRequest),
    /// Makes later reads at least as new as every write that was committed before the sync.
    Sync(PathRequest),
    /// Executes several operations as one transaction.
    Multi(Vec<MultiOp>),
    /// Lists the session's ephemeral znodes below a path.
    GetEphemerals(PathRequest),
    /// Counts all znodes below a path.
    GetAllChildrenNumber(PathRequest),
    /// Lists the ids of the connection.
    WhoAmI,
    /// Sets a persistent watch, which stays when it fires, on a path with or without a znode.
    AddWatch(AddWatchRequest),
    /// Checks that there is such a watch; NOWATCHER if not.
    CheckWatches(WatcherRequest),
    /// Removes watches; NOWATCHER if there are none.
    RemoveWatches(WatcherRequest),
    /// Changes the members of the ensemble. The response has the new configuration.
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
    /// Fails unless the znode has this version.
    Check(CheckRequest),
}

/// The response to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// Success without a result.
    Done,
    /// The created path with its sequence number; of sync, the path of the request.
    Path(ByteString),
    /// Path and stat of the created znode.
    Created(Create2Response),
    /// The stat of the znode.
    Stat(Stat),
    /// Data and stat of the znode.
    Data(GetDataResponse),
    /// ACL and stat of the znode.
    Acl(GetAclResponse),
    /// Names of children, or paths of ephemeral znodes, in no order.
    Names(Vec<ByteString>),
    /// Names of children in no order, and the stat of the znode.
    Children(Vec<ByteString>, Stat),
    /// One result for each operation, in order.
    Multi(Vec<MultiResult>),
    /// A number of znodes.
    Count(i32),
    /// Schemes and users, without secrets.
    Ids(Vec<Id>),
}

/// The result of one operation of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiResult {
    /// Success of a delete or a check.
    Done,
    /// The path of a create.
    Path(ByteString),
    /// Path and stat of a create2, createContainer or createTTL.
    Created(Create2Response),
    /// The stat after a setData.
    Stat(Stat),
    /// The multi failed. 0: a later operation failed; -2: an earlier one; otherwise, the error of
    /// this one.
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

    /// Appends the record that follows the header of the request.
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
    /// Reads the record that follows the header of the reply.
    ///
    /// # Errors
    /// It is not a response to this operation.
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
                // The record is an error code, which is always 0.
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
