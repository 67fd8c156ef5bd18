//! The file operations that the disk machine asks for, their completions, and file names.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::compression::Compression;
use crate::types::Zxid;

/// A path as the executor opens it: the configured directory, `/`, and a name.
pub type FilePath = Arc<str>;

/// One file operation. An executor carries out one at a time and answers each with one
/// [`Completion`]; it knows nothing of what is in a file. It may keep files open between
/// operations until `Close`, `Delete` or `Rename`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum FileOp {
    /// Make a directory and its parents; fine if it is there.
    MakeDir { path: FilePath },
    /// List the files of a directory, in any order; answered by `Listing`.
    List {
        /// The directory.
        path: FilePath,
    },
    /// Create a file for reading and writing, emptied if it is there.
    Create { path: FilePath },
    /// Write all bytes at an offset, growing the file as needed.
    Write {
        path: FilePath,
        /// From the start of the file.
        offset: u64,
        bytes: Bytes,
    },
    /// Set the length: cut, or extend with zeros (preallocation; may be sparse).
    SetLen {
        path: FilePath,
        /// In bytes.
        len: u64,
    },
    /// Make content and length durable (`fdatasync`).
    SyncData { path: FilePath },
    /// Make creations, renames and deletions in a directory durable.
    SyncDir {
        /// The directory.
        path: FilePath,
    },
    /// Rename atomically, replacing what is there.
    Rename {
        /// The old path.
        from: FilePath,
        /// The new path, in the same directory.
        to: FilePath,
    },
    /// Delete a file.
    Delete { path: FilePath },
    /// Read a range; answered by `Data`, shorter than asked only at the end of the file.
    Read {
        path: FilePath,
        /// From the start of the file.
        offset: u64,
        /// At most this many bytes.
        len: usize,
    },
    /// The file will not be used soon: its handle may go. Never fails.
    Close { path: FilePath },
}

impl FileOp {
    /// The file or directory that this is about.
    pub fn path(&self) -> &FilePath {
        match self {
            FileOp::MakeDir { path }
            | FileOp::List { path }
            | FileOp::Create { path }
            | FileOp::Write { path, .. }
            | FileOp::SetLen { path, .. }
            | FileOp::SyncData { path }
            | FileOp::SyncDir { path }
            | FileOp::Rename { from: path, .. }
            | FileOp::Delete { path }
            | FileOp::Read { path, .. }
            | FileOp::Close { path } => path,
        }
    }
    /// The operation as a verb, for messages.
    pub fn verb(&self) -> &'static str {
        match self {
            FileOp::MakeDir { .. } => "make directory",
            FileOp::List { .. } => "list",
            FileOp::Create { .. } => "create",
            FileOp::Write { .. } => "write",
            FileOp::SetLen { .. } => "set the length of",
            FileOp::SyncData { .. } => "sync",
            FileOp::SyncDir { .. } => "sync directory",
            FileOp::Rename { .. } => "rename",
            FileOp::Delete { .. } => "delete",
            FileOp::Read { .. } => "read",
            FileOp::Close { .. } => "close",
        }
    }
}

/// The answer to a [`FileOp`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Completion {
    /// It is done.
    Done,
    /// The bytes that were read.
    Data(Bytes),
    /// The files of a directory.
    Listing(Vec<DirEntry>),
    /// It failed; nothing is known about how far it came.
    Failed {
        /// The kind of failure, as far as the disk machine distinguishes.
        kind: FailureKind,
        /// The operating system's words.
        text: String,
    },
}

/// A file in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Its name in the directory.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// The kinds of failure that the disk machine distinguishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// No such file or directory.
    NotFound,
    /// The file system is full, or a quota is used up.
    NoSpace,
    /// No file can be opened: too many are open.
    NoDescriptors,
    /// Anything else.
    Other,
}

/// The meaning of a name in a `version-2` directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Named {
    /// `log.<hex>`: begins with this zxid.
    Log(Zxid),
    /// `snapshot.<hex>`, perhaps with `.gz` or `.snappy`: taken at this zxid.
    Snapshot(Zxid, Compression),
    /// A snapshot that never got its name: ours (`tmp.snapshot.<hex>`) or ZooKeeper's
    /// (`snapshot.<hex>.tmp`).
    UnfinishedSnapshot,
    /// `install.` before a snapshot's name: complete and durable, and about to replace the log.
    Installing(Zxid, Compression),
    /// Nothing of the log and snapshot store.
    Other,
}

impl Named {
    /// Reads a name, as `Util.getZxidFromName` does but stricter.
    pub(crate) fn parse(name: &str) -> Named {
        if let Some(name) = name.strip_suffix(".tmp")
            && let Named::Snapshot(..) = Named::parse(name)
        {
            return Named::UnfinishedSnapshot;
        }
        let (plain, compression) = if let Some(plain) = name.strip_suffix(".gz") {
            (plain, Compression::Gzip)
        } else if let Some(plain) = name.strip_suffix(".snappy") {
            (plain, Compression::Snappy)
        } else {
            (name, Compression::None)
        };
        let mut parts = plain.split('.');
        let (first, second, third, more) = (parts.next(), parts.next(), parts.next(), parts.next());
        if more.is_some() {
            return Named::Other;
        }
        match (first, second, third) {
            (Some("log"), Some(z), None) if compression == Compression::None => {
                hex(z).map_or(Named::Other, Named::Log)
            }
            (Some("snapshot"), Some(z), None) => {
                hex(z).map_or(Named::Other, |z| Named::Snapshot(z, compression))
            }
            (Some("tmp"), Some("snapshot"), Some(_)) => Named::UnfinishedSnapshot,
            (Some("install"), Some("snapshot"), Some(z)) => {
                hex(z).map_or(Named::Other, |z| Named::Installing(z, compression))
            }
            _other => Named::Other,
        }
    }
}

fn hex(digits: &str) -> Option<Zxid> {
    i64::from_str_radix(digits, 16).ok().filter(|z| *z >= 0).map(Zxid)
}

/// The directory in `dataDir` and `dataLogDir` that holds the files.
pub const VERSION_DIR: &str = "version-2";

/// The two `version-2` directories.
#[derive(Clone, Debug)]
pub(crate) struct DirLayout {
    /// `dataDir/version-2`: snapshots and epoch files.
    pub(crate) data: FilePath,
    /// `dataLogDir/version-2`: logs.
    pub(crate) logs: FilePath,
    /// `dataLogDir`: where the `initialize` file is looked for.
    pub(crate) logs_parent: FilePath,
}

impl DirLayout {
    pub(crate) fn new(data_dir: &str, log_dir: &str) -> DirLayout {
        DirLayout {
            data: join(data_dir, VERSION_DIR),
            logs: join(log_dir, VERSION_DIR),
            logs_parent: Arc::from(log_dir),
        }
    }
    pub(crate) fn in_data(&self, name: &str) -> FilePath {
        join(&self.data, name)
    }
    pub(crate) fn log(&self, zxid: Zxid) -> FilePath {
        join(&self.logs, &format!("log.{:x}", zxid.0))
    }
    pub(crate) fn snapshot(&self, zxid: Zxid, compression: Compression) -> FilePath {
        self.in_data(&format!("snapshot.{:x}{}", zxid.0, compression.suffix()))
    }
    pub(crate) fn unfinished_snapshot(&self, zxid: Zxid) -> FilePath {
        self.in_data(&format!("tmp.snapshot.{:x}", zxid.0))
    }
    pub(crate) fn installing(&self, zxid: Zxid, compression: Compression) -> FilePath {
        self.in_data(&format!("install.snapshot.{:x}{}", zxid.0, compression.suffix()))
    }
    /// Where the torn end of a log is kept; a name that is neither log nor snapshot.
    pub(crate) fn torn(&self, log: Zxid, offset: u64) -> FilePath {
        join(&self.logs, &format!("torn.{:x}.{offset}", log.0))
    }
}

/// A name in a directory.
pub(crate) fn join(dir: &str, name: &str) -> FilePath {
    Arc::from(format!("{}/{name}", dir.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_zookeeper_reads_them() {
        assert_eq!(Named::parse("log.1f"), Named::Log(Zxid(0x1f)));
        let plain = Compression::None;
        assert_eq!(Named::parse("snapshot.500000001"), Named::Snapshot(Zxid(0x5_0000_0001), plain));
        let (gz, snappy) = (Compression::Gzip, Compression::Snappy);
        assert_eq!(Named::parse("snapshot.38.gz"), Named::Snapshot(Zxid(0x38), gz));
        assert_eq!(Named::parse("snapshot.38.snappy"), Named::Snapshot(Zxid(0x38), snappy));
        assert_eq!(Named::parse("install.snapshot.38.gz"), Named::Installing(Zxid(0x38), gz));
        assert_eq!(Named::parse("snapshot.38.tmp"), Named::UnfinishedSnapshot);
        assert_eq!(Named::parse("snapshot.38.gz.tmp"), Named::UnfinishedSnapshot);
        assert_eq!(Named::parse("tmp.snapshot.38"), Named::UnfinishedSnapshot);
        assert_eq!(Named::parse("install.snapshot.38"), Named::Installing(Zxid(0x38), plain));
        for other in [
            "log",
            "log.",
            "log.xyz",
            "log.-1",
            "log.ffffffffffffffff",
            "log.1.2.3",
            "torn.1.16",
            "log.1.gz",
            "snapshot.38.zip",
            "snapshot.mine.tmp",
            "currentEpoch",
        ] {
            assert_eq!(Named::parse(other), Named::Other, "{other}");
        }
        let layout = DirLayout::new("/d/", "/l");
        assert_eq!(&*layout.snapshot(Zxid(255), gz), "/d/version-2/snapshot.ff.gz");
        assert_eq!(&*layout.log(Zxid(0)), "/l/version-2/log.0");
        assert_eq!(Named::parse("torn.1f.20"), Named::Other);
    }
}
