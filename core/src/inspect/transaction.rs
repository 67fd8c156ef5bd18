//! One transaction of a log: what it is, whose, and what it changes.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display};

use serde::Serialize;

use super::text::{self, Count, Data, Moment, Plain, shown};
use crate::types::{SessionId, Zxid};
use crate::wire::client::Acl;
use crate::wire::entries::Entry;
use crate::wire::txn::{LoggedTxn, Txn, TxnHeader};
use crate::wire::{ErrorCode, Malformed, Reader, Record};

/// A transaction as the log has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Transaction {
    /// Where its entry begins in the file.
    pub offset: u64,
    /// Its place in the total order.
    #[serde(serialize_with = "shown")]
    pub zxid: Zxid,
    /// The leader's clock, ms since 1970.
    pub time_ms: i64,
    /// The client that asked for it.
    #[serde(serialize_with = "shown")]
    pub session: SessionId,
    /// The session's number for it.
    pub cxid: i32,
    /// Its effect.
    #[serde(flatten)]
    pub change: Change,
    /// The tree's digest after it, if the log says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why its record cannot be read, if so: no server can replay it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// The change of a transaction, or of a part of a multi.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Change {
    /// The operation's name in ZooKeeper's API.
    pub op: &'static str,
    /// Which node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How much data; none is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_bytes: Option<usize>,
    /// The data in base64, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The ACL, `scheme:id:permissions`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acl: Vec<String>,
    /// Gone with its session.
    #[serde(skip_serializing_if = "is_false")]
    pub ephemeral: bool,
    /// The parent's cversion as it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_cversion: Option<i32>,
    /// The version after it, of data or ACL; a check's expected version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// How long a node without children lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
    /// A new session's time-out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<i32>,
    /// The ephemerals of a closed session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletes: Option<Vec<String>>,
    /// Why a request was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<i32>,
    /// The parts of a multi.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Change>,
    #[serde(skip)]
    shown_data: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Transaction {
    /// Reads a log's entry. What cannot be read is said in it.
    pub(super) fn read(offset: u64, entry: &Entry, with_data: bool) -> Transaction {
        // No entry is shorter than a header.
        let header = TxnHeader::read(&mut Reader::new(&entry.body)).ok();
        let transaction = Transaction {
            offset,
            zxid: entry.zxid,
            time_ms: header.as_ref().map_or(0, |header| header.time_ms),
            session: header.as_ref().map_or(SessionId(0), |header| header.client),
            cxid: header.as_ref().map_or(0, |header| header.cxid),
            change: Change::default(),
            digest: None,
            unreadable: None,
        };
        match LoggedTxn::from_bytes(&entry.body) {
            Ok(logged) => Transaction {
                change: Change::of(&logged.txn, with_data),
                digest: logged.digest.map(|d| alloc::format!("{:x}", d.digest)),
                ..transaction
            },
            Err(what) => Transaction {
                change: Change { op: "unknown", ..Change::default() },
                unreadable: Some(why(what, header.map_or(0, |header| header.op))),
                ..transaction
            },
        }
    }
}

fn why(what: Malformed, op: i32) -> String {
    alloc::format!("a record of type {op}: {what}")
}

impl Change {
    fn of(txn: &Txn, with_data: bool) -> Change {
        let node = |op: &'static str, path: &str| Change {
            op,
            path: Some(path.to_string()),
            ..Change::default()
        };
        let created = |op, path: &str, data: &Option<bytes::Bytes>, acl: &[Acl], cversion| {
            let change = node(op, path).with(data, with_data);
            Change { acl: text::acl(acl), parent_cversion: Some(cversion), ..change }
        };
        match txn {
            Txn::CreateSession(timeout) => {
                Change { op: "createSession", timeout_ms: Some(*timeout), ..Change::default() }
            }
            Txn::CloseSession(paths) => Change {
                op: "closeSession",
                deletes: paths.as_ref().map(|p| p.iter().map(ToString::to_string).collect()),
                ..Change::default()
            },
            Txn::Create(t) | Txn::Create2(t) => {
                let op = if matches!(txn, Txn::Create(_)) { "create" } else { "create2" };
                let change = created(op, &t.path, &t.data, &t.acl, t.parent_cversion);
                Change { ephemeral: t.ephemeral, ..change }
            }
            Txn::CreateContainer(t) => {
                created("createContainer", &t.path, &t.data, &t.acl, t.parent_cversion)
            }
            Txn::CreateTtl(t) => {
                let change = created("createTTL", &t.path, &t.data, &t.acl, t.parent_cversion);
                Change { ttl_ms: Some(t.ttl), ..change }
            }
            Txn::Delete(t) => node("delete", &t.path),
            Txn::DeleteContainer(t) => node("deleteContainer", &t.path),
            Txn::SetData(t) | Txn::Reconfig(t) => {
                let op = if matches!(txn, Txn::SetData(_)) { "setData" } else { "reconfig" };
                let change = node(op, &t.path).with(&t.data, with_data);
                Change { version: Some(t.version), ..change }
            }
            Txn::SetAcl(t) => Change {
                acl: text::acl(&t.acl),
                version: Some(t.version),
                ..node("setACL", &t.path)
            },
            Txn::Check(t) => {
                Change { version: Some(t.version.wrapping_sub(1)), ..node("check", &t.path) }
            }
            Txn::Multi(all) => Change {
                op: "multi",
                parts: all.iter().map(|txn| Change::of(txn, with_data)).collect(),
                ..Change::default()
            },
            Txn::Error(code) => Change { op: "error", error: Some(*code), ..Change::default() },
        }
    }

    fn with(mut self, data: &Option<bytes::Bytes>, with_data: bool) -> Change {
        self.data_bytes = data.as_ref().map(bytes::Bytes::len);
        if let Some(data) = data.as_ref().filter(|_| with_data) {
            self.data = Some(text::base64(data));
            self.shown_data = Some(Data(data).to_string());
        }
        self
    }
}

impl Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} session {} cxid {:#x} zxid {} ",
            Moment(self.time_ms),
            self.session,
            self.cxid,
            self.zxid
        )?;
        match &self.unreadable {
            Some(why) => write!(f, "UNREADABLE: {why}"),
            None => write!(f, "{}", self.change),
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op)?;
        if let Some(path) = &self.path {
            write!(f, " {}", Plain(path))?;
        }
        if self.ephemeral {
            f.write_str(" ephemeral")?;
        }
        if let Some(ttl) = self.ttl_ms {
            write!(f, " ttl {ttl} ms")?;
        }
        if let Some(bytes) = self.data_bytes {
            write!(f, ", {}", Count(bytes as u64, "byte"))?;
        }
        if let Some(data) = &self.shown_data {
            write!(f, " {data}")?;
        }
        if !self.acl.is_empty() {
            write!(f, ", {}", Plain(&self.acl.join(" ")))?;
        }
        if let Some(version) = self.version {
            write!(f, ", version {version}")?;
        }
        if let Some(timeout) = self.timeout_ms {
            write!(f, " {timeout} ms")?;
        }
        for path in self.deletes.iter().flatten() {
            write!(f, " {}", Plain(path))?;
        }
        if let Some(error) = self.error {
            write!(f, " {error}")?;
            if let Some(code) = ErrorCode::from_i32(error) {
                write!(f, " {code:?}")?;
            }
        }
        for (i, part) in self.parts.iter().enumerate() {
            write!(f, "{}{part}", if i == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}
