//! The differences of two states (`SnapshotComparer`).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt::{self, Display};

use serde::Serialize;

use super::text::{self, Plain, shown, shown_option};
use super::{Finding, FindingSink, InspectError, emit};
use crate::store::{CONFIG_PATH, NodeRef, Store};
use crate::types::Zxid;

/// Something that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Difference {
    /// A session is in one only, or has another time-out.
    Session {
        session: String,
        /// The time-out in the first, ms.
        a_timeout_ms: Option<i32>,
        /// And in the second.
        b_timeout_ms: Option<i32>,
    },
    /// A znode is in one only.
    Missing {
        path: String,
        /// `a` or `b`: where it is.
        only_in: &'static str,
        /// And how many below it.
        below: u64,
        /// The zxid that created it.
        #[serde(serialize_with = "shown")]
        czxid: Zxid,
    },
    /// A znode is in both, but not the same.
    Znode {
        path: String,
        /// The field, its value in the first, and in the second.
        fields: Vec<(&'static str, String, String)>,
    },
}

/// The result of a comparison.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Compared {
    /// The last zxid of each.
    #[serde(serialize_with = "both")]
    pub last_zxids: [Zxid; 2],
    /// How many znodes each has.
    pub znodes: [u64; 2],
    /// How many sessions each has.
    pub sessions: [u64; 2],
    /// How much differs.
    pub differences: u64,
    /// The first difference is of this transaction or of an earlier one, as far as znodes tell.
    #[serde(serialize_with = "shown_option")]
    pub differs_by_zxid: Option<Zxid>,
}

fn both<S: serde::Serializer>(zxids: &[Zxid; 2], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(zxids.iter().map(ToString::to_string))
}

/// Compares two states. `/zookeeper/config` is each server's own, and left out.
pub(super) fn compare(
    stores: [&Store; 2],
    sink: &mut FindingSink<'_>,
) -> Result<bool, InspectError> {
    let [a, b] = stores;
    let mut found = Found { differences: 0, first: None, sink };
    sessions(a, b, &mut found)?;
    let mut stack: Vec<String> = Vec::from([String::new()]);
    while let Some(path) = stack.pop() {
        let (Some(x), Some(y)) = (a.node(&path), b.node(&path)) else { continue };
        if path == CONFIG_PATH {
            continue;
        }
        found.node(&path, x, y)?;
        let (left, right) = (names(x), names(y));
        let (mut i, mut j) = (0, 0);
        let mut common = Vec::new();
        loop {
            let order = match (left.get(i), right.get(j)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(l), Some(r)) => l.cmp(r),
            };
            match order {
                Ordering::Less => {
                    let name = left.get(i).copied().unwrap_or_default();
                    found.missing(a, y, &path, name, "a")?;
                    i += 1;
                }
                Ordering::Greater => {
                    let name = right.get(j).copied().unwrap_or_default();
                    found.missing(b, x, &path, name, "b")?;
                    j += 1;
                }
                Ordering::Equal => {
                    common.extend(left.get(i).map(|name| format!("{path}/{name}")));
                    (i, j) = (i + 1, j + 1);
                }
            }
        }
        stack.extend(common.into_iter().rev());
    }
    let Found { differences, first, sink } = found;
    let compared = Compared {
        last_zxids: stores.map(Store::last_zxid),
        znodes: stores.map(|store| store.node_count() as u64 - 1),
        sessions: stores.map(|store| store.sessions().len() as u64),
        differences,
        differs_by_zxid: first,
    };
    let is_same = differences == 0 && a.last_zxid() == b.last_zxid();
    emit(sink, Finding::Compared(compared))?;
    Ok(is_same)
}

fn names<'a>(node: NodeRef<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = node.children().collect();
    names.sort_unstable();
    names
}

fn sessions(a: &Store, b: &Store, found: &mut Found<'_, '_>) -> Result<(), InspectError> {
    for (session, timeout) in a.sessions() {
        let other = b.session(session);
        if other != Some(timeout) {
            found.emit(Difference::Session {
                session: session.to_string(),
                a_timeout_ms: Some(timeout),
                b_timeout_ms: other,
            })?;
        }
    }
    for (session, timeout) in b.sessions().filter(|(session, _)| a.session(*session).is_none()) {
        found.emit(Difference::Session {
            session: session.to_string(),
            a_timeout_ms: None,
            b_timeout_ms: Some(timeout),
        })?;
    }
    Ok(())
}

struct Found<'a, 'b> {
    differences: u64,
    first: Option<Zxid>,
    sink: &'a mut FindingSink<'b>,
}

impl Found<'_, '_> {
    fn emit(&mut self, difference: Difference) -> Result<(), InspectError> {
        self.differences += 1;
        emit(self.sink, Finding::Difference(difference))
    }

    fn at(&mut self, zxid: Zxid) {
        self.first = Some(self.first.map_or(zxid, |first| first.min(zxid)));
    }

    fn missing(
        &mut self,
        store: &Store,
        other_parent: NodeRef<'_>,
        parent: &str,
        name: &str,
        only_in: &'static str,
    ) -> Result<(), InspectError> {
        let path = format!("{parent}/{name}");
        let Some(node) = store.node(&path) else { return Ok(()) };
        let czxid = node.stored().czxid;
        let below = store.descendants(&path).unwrap_or_default() as u64;
        // Else the other one may have had it, and deleted it at any time since.
        if other_parent.stored().pzxid < czxid {
            self.at(czxid);
        }
        self.emit(Difference::Missing { path, only_in, below, czxid })
    }

    fn node(&mut self, path: &str, x: NodeRef<'_>, y: NodeRef<'_>) -> Result<(), InspectError> {
        let (a, b) = (x.stored(), y.stored());
        if a == b && x.data() == y.data() && x.acl() == y.acl() {
            return Ok(());
        }
        let mut fields = Vec::new();
        let mut field = |name, x: String, y: String| {
            if x != y {
                fields.push((name, x, y));
            }
        };
        if x.data() != y.data() {
            let said = |data: Option<&[u8]>| match data {
                None => String::from("null"),
                Some(data) => {
                    let sum = crc32fast::hash(data);
                    format!("{} bytes, crc32 {sum:08x}", data.len())
                }
            };
            field("data", said(x.data()), said(y.data()));
        }
        field("acl", text::acl(x.acl()).join(" "), text::acl(y.acl()).join(" "));
        for (name, x, y) in
            [("czxid", a.czxid, b.czxid), ("mzxid", a.mzxid, b.mzxid), ("pzxid", a.pzxid, b.pzxid)]
        {
            field(name, x.to_string(), y.to_string());
        }
        for (name, x, y) in [("ctime", a.ctime, b.ctime), ("mtime", a.mtime, b.mtime)] {
            field(name, text::Moment(x).to_string(), text::Moment(y).to_string());
        }
        for (name, x, y) in [
            ("version", a.version, b.version),
            ("cversion", a.cversion, b.cversion),
            ("aversion", a.aversion, b.aversion),
        ] {
            field(name, x.to_string(), y.to_string());
        }
        let owner = |owner: i64| format!("{owner:#x}");
        field("owner", owner(a.ephemeral_owner), owner(b.ephemeral_owner));
        // Where one is ahead, its newest zxid is the first that the other lacks.
        let newest = |stat: &crate::store::StoredStat| stat.czxid.max(stat.mzxid).max(stat.pzxid);
        self.at(newest(&a).max(newest(&b)));
        self.emit(Difference::Znode { path: text::path(path), fields })
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Session { session, a_timeout_ms, b_timeout_ms } => {
                match (a_timeout_ms, b_timeout_ms) {
                    (Some(a), Some(b)) => write!(f, "session {session}: timeout {a} ms, {b} ms"),
                    (Some(_), None) => write!(f, "session {session}: only in A"),
                    (None, _) => write!(f, "session {session}: only in B"),
                }
            }
            Difference::Missing { path, only_in, below, czxid } => {
                let place = if *only_in == "a" { "A" } else { "B" };
                write!(f, "{}: only in {place}, created by {czxid}", Plain(path))?;
                if *below > 0 { write!(f, ", with {below} below") } else { Ok(()) }
            }
            Difference::Znode { path, fields } => {
                write!(f, "{}:", Plain(path))?;
                for (i, (name, a, b)) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma} {name} {} | {}", Plain(a), Plain(b))?;
                }
                Ok(())
            }
        }
    }
}

impl Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.last_zxids;
        match self.differences {
            0 if a == b => f.write_str("the states are the same")?,
            0 => f.write_str("the states are the same, but for the last zxid")?,
            n => write!(f, "the states differ in {}", text::Count(n, "place"))?,
        }
        if let Some(first) = self.differs_by_zxid {
            write!(f, ", by zxid {first} at the latest")?;
        }
        let ([za, zb], [sa, sb]) = (self.znodes, self.sessions);
        write!(f, "\n  last zxid   {a} | {b}\n  znodes      {za} | {zb}\n  sessions    {sa} | {sb}")
    }
}
