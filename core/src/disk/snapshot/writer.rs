//! Writes a snapshot aside, and gives it its name once it is complete and durable.
//!
//! A local snapshot: `tmp.snapshot.Z` is written and synced, renamed to `snapshot.Z`, the
//! directory is synced. A crash leaves an unfinished file, which recovery deletes.
//!
//! A snapshot from the leader replaces the log, in an order in which a crash between any
//! two steps leaves either the whole old state or the whole new one:
//! 1. `tmp.snapshot.Z` is written and synced;
//! 2. it is renamed to `install.snapshot.Z`, the directory is synced: from here on it counts;
//! 3. logs and other snapshots are put aside, all of them: they are of a history that is given up
//!    (`given_up`); each directory is synced;
//! 4. it is renamed to `snapshot.Z`, the directory is synced.
//!
//! Recovery that finds `install.snapshot.Z` goes on at step 3.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::disk::compression::{Compression, Compressor};
use crate::disk::files::{DirLayout, FilePath, Named, join};
use crate::disk::given_up::GivenUp;
use crate::disk::io::{DiskError, Io};
use crate::disk::snapshot::format::Sealer;
use crate::mutant::mutant;
use crate::types::Zxid;

/// How much of a snapshot is written between two syncs: what is waiting for the log waits for as
/// much, and finds no more of it in the system's cache.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Writes go on meanwhile, and come first.
    Aside,
    /// Nothing else is to be done.
    Alone,
}

impl Pace {
    const fn bytes(self) -> u64 {
        match self {
            Pace::Aside => 256 << 10,
            Pace::Alone => 16 << 20,
        }
    }
}

/// A snapshot that is being written.
pub(crate) struct SnapshotWriter {
    zxid: Zxid,
    path: FilePath,
    position: u64,
    unsynced: u64,
    pace: Pace,
    sealer: Sealer,
    compression: Compression,
    compressor: Compressor,
}

impl SnapshotWriter {
    pub(crate) async fn begin(
        io: &Io,
        layout: &DirLayout,
        zxid: Zxid,
        compression: Compression,
        pace: Pace,
    ) -> Result<SnapshotWriter, DiskError> {
        let path = layout.unfinished_snapshot(zxid);
        let (sealer, header) = Sealer::new();
        io.create(&path).await?;
        let compressor = Compressor::new(compression);
        let (position, unsynced) = (0, 0);
        let mut writer = SnapshotWriter {
            zxid,
            path,
            position,
            unsynced,
            pace,
            sealer,
            compression,
            compressor,
        };
        writer.put(io, header).await?;
        Ok(writer)
    }

    /// The next bytes of the body.
    pub(crate) async fn chunk(&mut self, io: &Io, bytes: Bytes) -> Result<(), DiskError> {
        self.sealer.body(&bytes);
        self.put(io, bytes).await
    }

    /// The body is complete.
    pub(crate) async fn finish(
        mut self,
        io: &Io,
        digest: Option<(Zxid, u64)>,
        last_zxid: Option<Zxid>,
    ) -> Result<Finished, DiskError> {
        let (next, _) = Sealer::new();
        let tail = core::mem::replace(&mut self.sealer, next).tail(digest, last_zxid);
        self.put(io, tail.freeze()).await?;
        let end = core::mem::replace(&mut self.compressor, Compressor::Plain).finish();
        self.write(io, end).await?;
        io.sync_data(&self.path).await?;
        let SnapshotWriter { zxid, path, position: len, compression, .. } = self;
        Ok(Finished { zxid, path, len, compression })
    }

    /// It will not be finished.
    pub(crate) async fn abandon(self, io: &Io) -> Result<(), DiskError> {
        io.delete_if_there(&self.path).await
    }

    async fn put(&mut self, io: &Io, bytes: Bytes) -> Result<(), DiskError> {
        let bytes = self.compressor.push(bytes);
        self.write(io, bytes).await
    }

    async fn write(&mut self, io: &Io, bytes: Bytes) -> Result<(), DiskError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let len = bytes.len() as u64;
        io.write(&self.path, self.position, bytes).await?;
        self.position += len;
        self.unsynced += len;
        if self.unsynced >= self.pace.bytes() {
            self.unsynced = 0;
            io.sync_data(&self.path).await?;
        }
        Ok(())
    }
}

/// A snapshot that is complete and durable, but has no name yet.
pub(crate) struct Finished {
    zxid: Zxid,
    path: FilePath,
    len: u64,
    compression: Compression,
}

impl Finished {
    /// Gives a local snapshot its name. Its length is returned.
    pub(crate) async fn publish(self, io: &Io, layout: &DirLayout) -> Result<u64, DiskError> {
        io.rename(&self.path, &layout.snapshot(self.zxid, self.compression)).await?;
        io.sync_dir(&layout.data).await?;
        Ok(self.len)
    }
    /// Puts a leader's snapshot in the place of the log and all other snapshots.
    pub(crate) async fn install(self, io: &Io, layout: &DirLayout) -> Result<u64, DiskError> {
        io.rename(&self.path, &layout.installing(self.zxid, self.compression)).await?;
        io.sync_dir(&layout.data).await?;
        install(io, layout, self.zxid, self.compression).await?;
        Ok(self.len)
    }
}

/// Steps 3 and 4, at the end of a transfer or at recovery.
pub(crate) async fn install(
    io: &Io,
    layout: &DirLayout,
    zxid: Zxid,
    compression: Compression,
) -> Result<(), DiskError> {
    // Newest first: whatever of it a crash keeps is whole up to some point.
    let mut logs: Vec<(Zxid, FilePath)> = Vec::new();
    for file in io.list(&layout.logs).await? {
        if let Named::Log(z) = Named::parse(&file.name) {
            logs.push((z, join(&layout.logs, &file.name)));
        }
    }
    logs.sort();
    let mut given_up = GivenUp::begin(io, layout).await?;
    for (_, path) in logs.iter().rev() {
        given_up.file(path).await?;
    }
    io.sync_dir(&layout.logs).await?;
    for file in io.list(&layout.data).await? {
        // Older ones, too: they may be of a history that was given up.
        if let Named::Snapshot(z, _) = Named::parse(&file.name) {
            mutant!(OldSnapshotsStay => if z <= zxid { continue });
            let path = join(&layout.data, &file.name);
            // Everybody's history begins with nothing.
            if z == Zxid::ZERO {
                io.delete(&path).await?
            } else {
                given_up.file(&path).await?
            };
        }
    }
    io.sync_dir(&layout.data).await?;
    given_up.end().await?;
    let (from, to) = (layout.installing(zxid, compression), layout.snapshot(zxid, compression));
    io.rename(&from, &to).await?;
    io.sync_dir(&layout.data).await
}

/// Writes the whole snapshot of what was loaded.
pub(crate) async fn write_whole(
    io: &Io,
    layout: &DirLayout,
    compression: Compression,
    zxid: Zxid,
    body: BytesMut,
    digest: Option<u64>,
    last_zxid: Option<Zxid>,
) -> Result<u64, DiskError> {
    let mut writer = SnapshotWriter::begin(io, layout, zxid, compression, Pace::Alone).await?;
    writer.chunk(io, body.freeze()).await?;
    let finished = writer.finish(io, digest.map(|digest| (zxid, digest)), last_zxid).await?;
    finished.publish(io, layout).await
}
