//! Transactions: what is proposed, logged and applied (`zookeeper.jute`, module `txn`;
//! `SerializeUtils`).

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::acl::AclList;
use super::error::ErrorCode;
use super::jute::{Malformed, Reader, Record, records};
use super::op::OpCode;
use crate::types::{SessionId, Zxid};

records! {
    /// Precedes every transaction (32 bytes).
    TxnHeader {
        /// The session that asked for it; 0 for the leader's own.
        client: SessionId,
        /// The session's xid.
        cxid: i32,
        /// Its place in the total order.
        zxid: Zxid,
        /// The leader's wall clock, ms since 1970.
        time_ms: i64,
        /// [`OpCode`] as a number.
        op: i32,
    }
    /// The tree's digest after the transaction.
    TxnDigest {
        /// 2.
        version: i32,
        /// Sum of the nodes' digests.
        digest: i64,
    }
    /// create (type 1) and create2 (type 15).
    CreateTxn {
        path: ByteString,
        data: Option<Bytes>,
        acl: AclList,
        /// Owned by the session.
        ephemeral: bool,
        /// The parent's stored cversion after this.
        parent_cversion: i32,
    }
    /// createContainer.
    CreateContainerTxn {
        path: ByteString,
        data: Option<Bytes>,
        acl: AclList,
        /// The parent's stored cversion after this.
        parent_cversion: i32,
    }
    /// createTTL.
    CreateTtlTxn {
        path: ByteString,
        data: Option<Bytes>,
        acl: AclList,
        /// The parent's stored cversion after this.
        parent_cversion: i32,
        /// Milliseconds.
        ttl: i64,
    }
    /// delete and deleteContainer.
    DeleteTxn {
        path: ByteString,
    }
    /// setData and reconfig.
    SetDataTxn {
        path: ByteString,
        data: Option<Bytes>,
        /// The version after this.
        version: i32,
    }
    /// setACL.
    SetAclTxn {
        path: ByteString,
        acl: AclList,
        /// The aversion after this.
        version: i32,
    }
    /// check, inside multi.
    CheckVersionTxn {
        path: ByteString,
        /// Expected version plus 1.
        version: i32,
    }
    /// One operation of a multi, its record as bytes.
    SubTxn {
        /// [`OpCode`] as a number.
        op: i32,
        /// The record.
        data: Option<Bytes>,
    }
}

/// The record of a transaction, by the header's type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Txn {
    /// A session with this time-out (ms) begins.
    CreateSession(i32),
    /// A session ends. `None`: written without the path vector.
    CloseSession(Option<Vec<ByteString>>),
    /// create.
    Create(CreateTxn),
    /// create2.
    Create2(CreateTxn),
    /// createContainer.
    CreateContainer(CreateContainerTxn),
    /// createTTL.
    CreateTtl(CreateTtlTxn),
    /// delete.
    Delete(DeleteTxn),
    /// deleteContainer.
    DeleteContainer(DeleteTxn),
    /// setData.
    SetData(SetDataTxn),
    /// reconfig.
    Reconfig(SetDataTxn),
    /// setACL.
    SetAcl(SetAclTxn),
    /// check, only inside multi.
    Check(CheckVersionTxn),
    /// All or nothing.
    Multi(Vec<Txn>),
    /// A refused request, with its code.
    Error(i32),
}

/// A transaction as it stands in a PROPOSAL and in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedTxn {
    /// Header.
    pub header: TxnHeader,
    /// Record.
    pub txn: Txn,
    /// Digest, absent after errors and from servers that do not compute it.
    pub digest: Option<TxnDigest>,
}

impl Txn {
    /// The type number of the header or of a multi's part.
    pub fn op(&self) -> OpCode {
        match self {
            Txn::CreateSession(_) => OpCode::CreateSession,
            Txn::CloseSession(_) => OpCode::CloseSession,
            Txn::Create(_) => OpCode::Create,
            Txn::Create2(_) => OpCode::Create2,
            Txn::CreateContainer(_) => OpCode::CreateContainer,
            Txn::CreateTtl(_) => OpCode::CreateTtl,
            Txn::Delete(_) => OpCode::Delete,
            Txn::DeleteContainer(_) => OpCode::DeleteContainer,
            Txn::SetData(_) => OpCode::SetData,
            Txn::Reconfig(_) => OpCode::Reconfig,
            Txn::SetAcl(_) => OpCode::SetAcl,
            Txn::Check(_) => OpCode::Check,
            Txn::Multi(_) => OpCode::Multi,
            Txn::Error(_) => OpCode::Error,
        }
    }

    /// The error transaction of a code.
    pub fn error(code: ErrorCode) -> Txn {
        Txn::Error(code as i32)
    }

    /// Reads the record of type `op`. `nested` inside a multi, where multis and sessions
    /// cannot stand.
    pub fn read(op: i32, r: &mut Reader<'_>, nested: bool) -> Result<Txn, Malformed> {
        let op = OpCode::from_i32(op).ok_or(Malformed::Value("transaction type"))?;
        Ok(match op {
            OpCode::CreateSession if !nested => Txn::CreateSession(r.int()?),
            OpCode::CloseSession if !nested => {
                // Without the vector only a digest (12 bytes) or nothing follows. A vector
                // followed by a digest has at least 16 bytes, one without has 4.
                let absent = matches!(r.remaining(), 0 | 12);
                Txn::CloseSession(if absent { None } else { Some(r.record()?) })
            }
            OpCode::Create | OpCode::Create2 => {
                let txn = CreateTxn {
                    path: r.record()?,
                    data: r.record()?,
                    acl: r.record()?,
                    ephemeral: r.record()?,
                    // Version 0 of the record ends here.
                    parent_cversion: if r.is_empty() && op == OpCode::Create {
                        -1
                    } else {
                        r.int()?
                    },
                };
                if op == OpCode::Create { Txn::Create(txn) } else { Txn::Create2(txn) }
            }
            OpCode::CreateContainer => Txn::CreateContainer(r.record()?),
            OpCode::CreateTtl => Txn::CreateTtl(r.record()?),
            OpCode::Delete => Txn::Delete(r.record()?),
            OpCode::DeleteContainer => Txn::DeleteContainer(r.record()?),
            OpCode::SetData => Txn::SetData(r.record()?),
            OpCode::Reconfig if !nested => Txn::Reconfig(r.record()?),
            OpCode::SetAcl => Txn::SetAcl(r.record()?),
            OpCode::Check if nested => Txn::Check(r.record()?),
            OpCode::Multi if !nested => Txn::Multi(r.vector(8, |r| {
                let sub: SubTxn = r.record()?;
                let data = sub.data.unwrap_or_default();
                Txn::read(sub.op, &mut Reader::new(&data), true)
            })?),
            OpCode::Error => Txn::Error(r.int()?),
            OpCode::CreateSession
            | OpCode::CloseSession
            | OpCode::Reconfig
            | OpCode::Check
            | OpCode::Multi
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
            | OpCode::WhoAmI => return Err(Malformed::Value("transaction type")),
        })
    }

    /// At least as many bytes as it has when it is written.
    pub(crate) fn size_bound(&self) -> usize {
        /// The lengths and numbers of any record about one node.
        const NODE: usize = 32;
        /// Those of an entry of an ACL.
        const ACL: usize = 12;
        let acl = |acl: &AclList| -> usize {
            acl.iter().map(|one| ACL + one.id.scheme.len() + one.id.id.len()).sum()
        };
        let node = |path: &ByteString, data: &Option<Bytes>, acl: usize| {
            NODE + path.len() + data.as_ref().map_or(0, Bytes::len) + acl
        };
        match self {
            Txn::CreateSession(_) | Txn::Error(_) => 4,
            Txn::CloseSession(paths) => {
                4 + paths.iter().flatten().map(|path| 4 + path.len()).sum::<usize>()
            }
            Txn::Create(t) | Txn::Create2(t) => node(&t.path, &t.data, acl(&t.acl)),
            Txn::CreateContainer(t) => node(&t.path, &t.data, acl(&t.acl)),
            Txn::CreateTtl(t) => node(&t.path, &t.data, acl(&t.acl)),
            Txn::Delete(t) | Txn::DeleteContainer(t) => node(&t.path, &None, 0),
            Txn::SetData(t) | Txn::Reconfig(t) => node(&t.path, &t.data, 0),
            Txn::SetAcl(t) => node(&t.path, &None, acl(&t.acl)),
            Txn::Check(t) => node(&t.path, &None, 0),
            Txn::Multi(all) => 4 + all.iter().map(|sub| 8 + sub.size_bound()).sum::<usize>(),
        }
    }

    /// Appends the record.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            Txn::CreateSession(timeout) => out.put_i32(*timeout),
            Txn::CloseSession(paths) => {
                if let Some(paths) = paths {
                    paths.write(out);
                }
            }
            Txn::Create(txn) | Txn::Create2(txn) => txn.write(out),
            Txn::CreateContainer(txn) => txn.write(out),
            Txn::CreateTtl(txn) => txn.write(out),
            Txn::Delete(txn) | Txn::DeleteContainer(txn) => txn.write(out),
            Txn::SetData(txn) | Txn::Reconfig(txn) => txn.write(out),
            Txn::SetAcl(txn) => txn.write(out),
            Txn::Check(txn) => txn.write(out),
            Txn::Error(code) => out.put_i32(*code),
            Txn::Multi(all) => {
                out.put_i32(all.len() as i32);
                for sub in all {
                    out.put_i32(sub.op() as i32);
                    let at = out.len();
                    out.put_i32(0);
                    sub.write(out);
                    let length = (out.len() - at - 4) as i32;
                    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
    }
}

impl TxnHeader {
    /// The header of a transaction; none if it is too short.
    pub fn peek(body: &[u8]) -> Option<TxnHeader> {
        let int = |at| Some(i32::from_be_bytes(*body.get(at..)?.first_chunk()?));
        let long = |at| Some(i64::from_be_bytes(*body.get(at..)?.first_chunk()?));
        Some(TxnHeader {
            client: SessionId(long(0)?),
            cxid: int(8)?,
            zxid: Zxid(long(12)?),
            time_ms: long(20)?,
            op: int(28)?,
        })
    }
}

impl LoggedTxn {
    /// No encoding of it is longer than this, and that of most is not much shorter.
    pub fn size_bound(&self) -> usize {
        const HEADER: usize = 32;
        const DIGEST: usize = 12;
        HEADER + self.txn.size_bound() + DIGEST
    }
}

impl Record for LoggedTxn {
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let header: TxnHeader = r.record()?;
        let txn = Txn::read(header.op, r, false)?;
        let digest =
            if r.is_empty() || matches!(txn, Txn::Error(_)) { None } else { Some(r.record()?) };
        Ok(LoggedTxn { header, txn, digest })
    }
    fn write(&self, out: &mut BytesMut) {
        self.header.write(out);
        self.txn.write(out);
        if let Some(digest) = &self.digest {
            digest.write(out);
        }
    }
}
