//! The configuration of the log and snapshot store.

use alloc::string::String;

use super::compression::Compression;
use super::files::{DirLayout, FilePath};

/// The longest transaction, and the longest field of a snapshot, that is read and written
/// whatever `jute.maxbuffer` says: that bounds what clients may send, and differs between members
/// while it is being raised. A bound there must be, because what a damaged file says is allocated.
pub const STORABLE_BYTES: usize = 64 << 20;

/// Options of [`Disk`](super::Disk); defaults are ZooKeeper's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskOptions {
    /// `dataDir`: snapshots and epoch files are in its `version-2`.
    pub data_dir: String,
    /// `dataLogDir`: logs are in its `version-2`.
    pub log_dir: String,
    /// Member of an ensemble: epoch files are kept. A standalone server has none.
    pub ensemble: bool,
    /// `preAllocSize` in bytes; 0 turns preallocation off.
    pub preallocate_bytes: u64,
    /// `txnLogSizeLimitInKb` in bytes.
    pub log_size_limit_bytes: Option<u64>,
    /// `forceSync`: whether the log is synced.
    pub force_sync: bool,
    /// Most bytes of a transaction: [`STORABLE_BYTES`], or more where `jute.maxbuffer` and
    /// `jute.maxbuffer.extrasize` are.
    pub max_record_bytes: usize,
    /// `commitLogCount`: how many entries a recovery hands over.
    pub commit_log_count: usize,
    /// `snapshot.trust.empty`: replay logs without any snapshot.
    pub trust_empty: bool,
    /// `db.autocreate`: an empty directory may vote without an `initialize` file.
    pub autocreate: bool,
    /// `datadir.autocreate`: directories that are missing are made.
    pub make_dirs: bool,
    /// `fsync.warningthresholdms`: for the executor, which has a clock; a longer sync is told.
    pub slow_sync_ms: u64,
    /// `serializeLastProcessedZxid.enabled`: snapshots end with the last zxid.
    pub serialize_last_zxid: bool,
    /// `snapshot.compression.method`: how snapshots are written.
    pub compression: Compression,
    /// `autopurge.snapRetainCount`, at least 3.
    pub snap_retain_count: usize,
    /// The path of `zoo.cfg`: configurations that come at run time are written beside it. `None`:
    /// they are not written.
    pub config_file: Option<String>,
    /// Whether old files are purged after each snapshot too (`autopurge.purgeInterval` > 0).
    pub autopurge: bool,
}

impl DiskOptions {
    /// The defaults for these directories.
    pub fn new(data_dir: impl Into<String>, log_dir: impl Into<String>) -> DiskOptions {
        DiskOptions {
            data_dir: data_dir.into(),
            log_dir: log_dir.into(),
            ensemble: true,
            preallocate_bytes: 65536 << 10,
            log_size_limit_bytes: None,
            force_sync: true,
            max_record_bytes: STORABLE_BYTES,
            commit_log_count: 500,
            trust_empty: false,
            autocreate: true,
            make_dirs: true,
            slow_sync_ms: 1000,
            serialize_last_zxid: true,
            compression: Compression::None,
            snap_retain_count: 3,
            config_file: None,
            autopurge: false,
        }
    }

    /// Where snapshots and epoch files are: `version-2` in `dataDir`.
    pub fn snapshots_at(&self) -> FilePath {
        self.layout().data
    }
    /// Where logs are: `version-2` in `dataLogDir`.
    pub fn logs_at(&self) -> FilePath {
        self.layout().logs
    }
    pub(crate) fn layout(&self) -> DirLayout {
        DirLayout::new(&self.data_dir, &self.log_dir)
    }
}
