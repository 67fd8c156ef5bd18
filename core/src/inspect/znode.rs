//! Sessions and znodes, one by one.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display};

use serde::Serialize;

use super::text::{self, Count, Data, Moment, Plain, shown};
use crate::store::{OwnerKind, StoredStat};
use crate::types::{SessionId, Zxid};

/// A session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SessionLine {
    /// Its number.
    #[serde(serialize_with = "shown")]
    pub session: SessionId,
    /// Its time-out, ms.
    pub timeout_ms: i32,
}

/// A znode with its counters as they are stored (`cversion` counts creations alone).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Znode {
    pub path: String,
    /// `persistent`, `ephemeral`, `container` or `ttl`.
    pub kind: &'static str,
    /// The session that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How long it lives without children, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
    /// How much data; none is null.
    pub data_bytes: Option<usize>,
    /// The data in base64, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The ACL; absent where a snapshot refers to one that it does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<String>>,
    /// Created by.
    #[serde(serialize_with = "shown")]
    pub czxid: Zxid,
    /// Modified by.
    #[serde(serialize_with = "shown")]
    pub mzxid: Zxid,
    /// Last child created or deleted by.
    #[serde(serialize_with = "shown")]
    pub pzxid: Zxid,
    /// Created at, ms since 1970.
    pub ctime_ms: i64,
    /// Modified at, ms since 1970.
    pub mtime_ms: i64,
    /// Data changes.
    pub version: i32,
    /// Children created, ever.
    pub cversion: i32,
    /// ACL changes.
    pub aversion: i32,
    #[serde(skip)]
    shown_data: Option<String>,
}

/// The kind of a node as `Znode` says it.
pub(super) fn kind(stat: &StoredStat) -> (&'static str, OwnerKind) {
    // Whether a server would know TTL nodes is its configuration's matter; the mark is clear.
    let owner = OwnerKind::of(stat.ephemeral_owner, true, false);
    let name = match owner {
        OwnerKind::Persistent => "persistent",
        OwnerKind::Ephemeral => "ephemeral",
        OwnerKind::Container => "container",
        OwnerKind::Ttl(_) => "ttl",
    };
    (name, owner)
}

impl Znode {
    pub(super) fn new(
        path: &str,
        data: Option<&[u8]>,
        acl: Option<Vec<String>>,
        stat: &StoredStat,
        with_data: bool,
    ) -> Znode {
        let (kind, owner) = kind(stat);
        let shown = data.filter(|_| with_data);
        Znode {
            path: text::path(path),
            kind,
            session: (owner == OwnerKind::Ephemeral)
                .then(|| SessionId(stat.ephemeral_owner).to_string()),
            ttl_ms: if let OwnerKind::Ttl(ttl) = owner { Some(ttl) } else { None },
            data_bytes: data.map(<[u8]>::len),
            data: shown.map(text::base64),
            acl,
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            pzxid: stat.pzxid,
            ctime_ms: stat.ctime,
            mtime_ms: stat.mtime,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            shown_data: shown.map(|data| Data(data).to_string()),
        }
    }
}

impl Display for SessionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {} timeout {} ms", self.session, self.timeout_ms)
    }
}

impl Display for Znode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Plain(&self.path), self.kind)?;
        if let Some(session) = &self.session {
            write!(f, " of {session}")?;
        }
        if let Some(ttl) = self.ttl_ms {
            write!(f, " {ttl} ms")?;
        }
        match self.data_bytes {
            Some(bytes) => write!(f, ", {}", Count(bytes as u64, "byte"))?,
            None => f.write_str(", null")?,
        }
        if let Some(data) = &self.shown_data {
            write!(f, " {data}")?;
        }
        match &self.acl {
            Some(acl) => write!(f, ", {}", Plain(&acl.join(" ")))?,
            None => f.write_str(", ACL NOT THERE")?,
        }
        write!(
            f,
            "\n    czxid {} {}  mzxid {} {}  pzxid {}  version {} cversion {} aversion {}",
            self.czxid,
            Moment(self.ctime_ms),
            self.mzxid,
            Moment(self.mtime_ms),
            self.pzxid,
            self.version,
            self.cversion,
            self.aversion
        )
    }
}
