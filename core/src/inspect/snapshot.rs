//! A snapshot: its znodes and sessions, its checksums and its digest.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::{self, Display};

use bytes::Bytes;
use serde::Serialize;

use super::subtree::Sums;
use super::text::{self, Count, Plain, shown, shown_option};
use super::znode::{SessionLine, Znode, kind};
use super::{Execute, Finding, FindingSink, InspectError, Options, Target, emit};
use crate::disk::{
    Compression, DIGEST_VERSION, Io, SnapshotDecoder, SnapshotFile, SnapshotTail, State,
    looks_complete, read_snapshot,
};
use crate::store::{
    SnapshotError, SnapshotItem, SnapshotNode, SnapshotReader, Store, StoreOptions, node_digest,
};
use crate::types::Zxid;

/// The summary of a snapshot.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SnapshotSummary {
    /// Which file.
    pub path: String,
    /// The zxid in its name: the replay begins after it.
    #[serde(serialize_with = "shown")]
    pub named: Zxid,
    /// `none`, `gz` or `snappy`.
    pub compression: &'static str,
    /// How long it is.
    pub file_bytes: u64,
    /// How many sessions.
    pub sessions: u64,
    /// How many distinct ACLs beside the open one.
    pub acls: u64,
    /// How many znodes.
    pub znodes: u64,
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Bytes of their data.
    pub data_bytes: u64,
    /// The znode with the most data.
    pub largest: Option<String>,
    /// And how much that is.
    pub largest_bytes: usize,
    /// The newest zxid that a znode bears.
    #[serde(serialize_with = "shown")]
    pub newest_zxid: Zxid,
    /// The digest section, against the znodes.
    pub digest: DigestFinding,
    /// The last zxid applied when it was complete, if that is said.
    #[serde(serialize_with = "shown_option")]
    pub last_zxid: Option<Zxid>,
    /// Why it cannot be used, if so.
    pub problem: Option<String>,
}

/// The result of comparing a digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum DigestFinding {
    /// There is none.
    Absent,
    /// It is of no transaction, and says nothing.
    OfNoTransaction,
    /// It is of a version that nobody computes any more.
    OfOldVersion { version: i32 },
    /// It is of a later state: only a replay of the log tells.
    AfterReplay {
        #[serde(serialize_with = "shown")]
        zxid: Zxid,
    },
    /// It is that of the znodes.
    Matches,
    /// It is not: the snapshot's writer had another state.
    Differs {
        /// The digest in the file.
        stored: String,
        /// The digest of its znodes.
        computed: String,
    },
}

pub(super) fn file_of(target: &Target, zxid: Zxid, compression: Compression) -> SnapshotFile {
    SnapshotFile { zxid, path: target.path.clone(), len: target.len, compression }
}

pub(super) async fn inspect(
    io: &Io,
    file: &SnapshotFile,
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<SnapshotSummary, InspectError> {
    let mut walk = Walk {
        summary: SnapshotSummary {
            path: file.path.to_string(),
            named: file.zxid,
            compression: match file.compression {
                Compression::None => "none",
                Compression::Gzip => "gz",
                Compression::Snappy => "snappy",
            },
            file_bytes: file.len,
            sessions: 0,
            acls: 0,
            znodes: 0,
            kinds: BTreeMap::new(),
            data_bytes: 0,
            largest: None,
            largest_bytes: 0,
            newest_zxid: Zxid::ZERO,
            digest: DigestFinding::Absent,
            last_zxid: None,
            problem: None,
        },
        digest: 0,
        acls: BTreeMap::new(),
        sums: Sums::new(options),
        options,
        sink,
        stopped: None,
    };
    if !looks_complete(io, file).await? {
        walk.summary.problem = Some(String::from("it is not complete"));
    }
    let mut reader = SnapshotReader::new(options.max_record_bytes);
    let mut body = |bytes: &Bytes| walk.push(&mut reader, bytes);
    let read = read_snapshot(io, file, &mut body, &mut |_| {}).await;
    io.close(&file.path).await?;
    if let Some(trouble) = walk.stopped.take() {
        return Err(trouble);
    }
    match read? {
        Ok(tail) => walk.finish(tail),
        Err(why) => {
            walk.summary.problem.get_or_insert(why);
        }
    }
    let Walk { summary, sums, sink, .. } = walk;
    sums.emit(sink)?;
    Ok(summary)
}

struct Walk<'a, 'b> {
    summary: SnapshotSummary,
    digest: u64,
    acls: BTreeMap<i64, alloc::vec::Vec<String>>,
    sums: Sums<'a>,
    options: &'a Options,
    sink: &'a mut FindingSink<'b>,
    stopped: Option<InspectError>,
}

impl Walk<'_, '_> {
    fn push(
        &mut self,
        reader: &mut SnapshotReader,
        bytes: &Bytes,
    ) -> Result<Option<usize>, String> {
        let rest = reader.push(bytes.clone(), |item| {
            if let Err(trouble) = self.item(item) {
                self.stopped = Some(trouble);
                return Err(SnapshotError::Misplaced(String::new()));
            }
            Ok(())
        });
        match rest {
            Ok(rest) => Ok(rest.map(|rest| bytes.len() - rest.len())),
            Err(why) => Err(why.to_string()),
        }
    }

    fn item(&mut self, item: SnapshotItem<'_>) -> Result<(), InspectError> {
        match item {
            SnapshotItem::Session(session, timeout_ms) => {
                self.summary.sessions += 1;
                if self.options.znodes {
                    emit(self.sink, Finding::Session(SessionLine { session, timeout_ms }))?;
                }
            }
            SnapshotItem::Acl(index, acl) => {
                self.summary.acls += 1;
                self.acls.insert(index, text::acl(&acl));
            }
            SnapshotItem::Node(node) => self.node(&node)?,
        }
        Ok(())
    }

    fn node(&mut self, node: &SnapshotNode<'_>) -> Result<(), InspectError> {
        let SnapshotNode { path, data, acl, stat } = node;
        let bytes = data.map_or(0, <[u8]>::len);
        let summary = &mut self.summary;
        summary.znodes += 1;
        *summary.kinds.entry(kind(stat).0).or_default() += 1;
        summary.data_bytes += bytes as u64;
        if bytes > summary.largest_bytes {
            (summary.largest, summary.largest_bytes) = (Some(text::path(path)), bytes);
        }
        summary.newest_zxid = summary.newest_zxid.max(stat.czxid).max(stat.mzxid).max(stat.pzxid);
        self.digest = self.digest.wrapping_add(node_digest(path, *data, stat));
        self.sums.add(path, bytes);
        if self.options.znodes && Sums::is_inside(self.options, path) {
            let acl = match acl {
                -1 => Some(alloc::vec![String::from("world:anyone:cdrwa")]),
                index => self.acls.get(index).cloned(),
            };
            let znode = Znode::new(path, *data, acl, stat, self.options.data);
            emit(self.sink, Finding::Znode(znode))?;
        }
        Ok(())
    }

    fn finish(&mut self, tail: SnapshotTail) {
        self.summary.last_zxid = tail.last_zxid;
        self.summary.digest = match tail.digest {
            None => DigestFinding::Absent,
            Some(digest) if digest.version != DIGEST_VERSION => {
                DigestFinding::OfOldVersion { version: digest.version }
            }
            Some(digest) if digest.zxid == Zxid::ZERO => DigestFinding::OfNoTransaction,
            Some(digest) if digest.digest == self.digest => DigestFinding::Matches,
            Some(digest) if digest.zxid > self.summary.named => {
                DigestFinding::AfterReplay { zxid: digest.zxid }
            }
            Some(digest) => DigestFinding::Differs {
                stored: format!("{:x}", digest.digest),
                computed: format!("{:x}", self.digest),
            },
        };
    }
}

impl SnapshotSummary {
    /// Whether it can be used, and its digest is right as far as that can be told.
    pub fn is_sound(&self) -> bool {
        self.problem.is_none() && !matches!(self.digest, DigestFinding::Differs { .. })
    }
}

/// All of it in memory, for a comparison.
pub(super) fn load(
    execute: &mut impl Execute,
    file: &SnapshotFile,
    options: &Options,
) -> Result<Store, InspectError> {
    let io = Io::default();
    let mut decoder = <Store as State>::decoder(&store_options(options));
    let mut body = |bytes: &Bytes| decoder.push(bytes);
    let read = io.run(read_snapshot(&io, file, &mut body, &mut |_| {}), execute)?;
    let unusable =
        |why: String| InspectError::Failed(format!("{} cannot be used: {why}", file.path));
    read.map_err(unusable)?;
    let mut store = decoder.finish().map_err(unusable)?;
    store.set_last_zxid(file.zxid);
    Ok(store)
}

pub(super) fn store_options(options: &Options) -> StoreOptions {
    StoreOptions {
        extended_types: true,
        max_field_bytes: options.max_record_bytes,
        ..StoreOptions::default()
    }
}

impl Display for DigestFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DigestFinding::Absent => f.write_str("none"),
            DigestFinding::OfNoTransaction => f.write_str("of no transaction: says nothing"),
            DigestFinding::OfOldVersion { version } => {
                write!(f, "of version {version}: not compared")
            }
            DigestFinding::AfterReplay { zxid } => {
                write!(f, "of zxid {zxid}, later than the name: to be compared after a replay")
            }
            DigestFinding::Matches => f.write_str("matches the znodes"),
            DigestFinding::Differs { stored, computed } => {
                write!(f, "DIFFERS: the file says {stored}, its znodes come to {computed}")
            }
        }
    }
}

impl Display for SnapshotSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}, {} of data; ",
            Plain(&self.path),
            Count(self.znodes, "znode"),
            Count(self.data_bytes, "byte")
        )?;
        match &self.problem {
            Some(problem) => write!(f, "NOT USABLE: {problem}")?,
            None if self.is_sound() => f.write_str("sound")?,
            None => f.write_str("NOT SOUND")?,
        }
        write!(f, "\n  file        {} bytes, compression {}", self.file_bytes, self.compression)?;
        write!(f, "\n  sessions    {}", self.sessions)?;
        write!(f, "\n  acls        {}", self.acls)?;
        f.write_str("\n  kinds      ")?;
        for (kind, n) in &self.kinds {
            write!(f, " {kind} {n}")?;
        }
        if let Some(largest) = &self.largest {
            write!(
                f,
                "\n  largest     {}, {}",
                Plain(largest),
                Count(self.largest_bytes as u64, "byte")
            )?;
        }
        write!(f, "\n  zxid        {} by name, {} in a znode", self.named, self.newest_zxid)?;
        if let Some(last) = self.last_zxid {
            write!(f, ", {last} at its end")?;
        }
        write!(f, "\n  digest      {}", self.digest)
    }
}
