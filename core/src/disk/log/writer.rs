//! Appends to the log: batches, preallocation, rolling (`FileTxnLog`, `FilePadding`).

use alloc::format;
use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};

use crate::disk::files::{DirLayout, FilePath};
use crate::disk::io::{DiskError, Io};
use crate::disk::log::format;
use crate::disk::log::reader::LogFile;
use crate::mutant::mutant;
use crate::wire::entries::Entries;

/// A batch is closed once it has this many entries (`zookeeper.maxBatchSize`).
pub(crate) const MAX_BATCH: usize = 1000;
/// A batch is closed once it has this many bytes.
pub(crate) const MAX_BATCH_BYTES: usize = 16 << 20;
/// The next piece of padding is written when less than this is left.
const PADDING_MARGIN: u64 = 4096;
/// Before the log grows into its padding, zeros are written up to the next multiple of this.
/// Padding is a hole: a sync over a hole also waits for the file system to allocate blocks and to
/// write its journal; over allocated blocks it waits for the data alone.
const ZEROED: u64 = 64 << 10;

/// The end of the log.
pub(crate) struct LogWriter {
    layout: DirLayout,
    preallocate_bytes: u64,
    size_limit_bytes: Option<u64>,
    force_sync: bool,
    open: Option<OpenLog>,
    files: Vec<LogFile>,
    buffer: BytesMut,
}

struct OpenLog {
    path: FilePath,
    position: u64,
    padded_to: u64,
    /// Up to here there are no holes.
    zeroed_to: u64,
}

impl LogWriter {
    pub(crate) fn new(
        layout: DirLayout,
        preallocate_bytes: u64,
        size_limit_bytes: Option<u64>,
        force_sync: bool,
    ) -> LogWriter {
        LogWriter {
            layout,
            preallocate_bytes,
            size_limit_bytes,
            force_sync,
            open: None,
            files: Vec::new(),
            buffer: BytesMut::new(),
        }
    }

    /// The log files, oldest first.
    pub(crate) fn files(&self) -> &[LogFile] {
        &self.files
    }
    /// The files that recovery or a truncation left; the next entry begins a new file.
    pub(crate) fn set_files(&mut self, files: Vec<LogFile>) {
        self.files = files;
        self.open = None;
    }
    /// Forgets files that are deleted.
    pub(crate) fn forget(&mut self, deleted: impl Fn(&LogFile) -> bool) {
        self.files.retain(|file| !deleted(file));
    }

    /// The next entry begins a new file.
    pub(crate) async fn roll(&mut self, io: &Io) -> Result<(), DiskError> {
        match self.open.take() {
            // Everything in it is synced: every batch ends with a sync.
            Some(open) => io.close(&open.path).await,
            None => Ok(()),
        }
    }

    /// Writes these entries and makes them durable: one write, one sync, and one sync of
    /// the directory if the file is new.
    pub(crate) async fn commit(&mut self, io: &Io, batch: &[Entries]) -> Result<(), DiskError> {
        let Some(first) = batch.first().map(Entries::first) else { return Ok(()) };
        self.buffer.clear();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let path = self.layout.log(first);
                if self.files.iter().any(|file| file.path == path) {
                    return Err(DiskError::refused(format!(
                        "cannot create {path}: it is there already, and would be overwritten by a \
                         second history of zxid {}; move the data directory away and let the \
                         server copy its state from the leader",
                        first
                    )));
                }
                io.create(&path).await?;
                format::put_header(&mut self.buffer);
                self.files.push(LogFile { zxid: first, path: path.clone(), len: 0 });
                OpenLog { path, position: 0, padded_to: 0, zeroed_to: 0 }
            }
        };
        let is_new = open.position == 0;
        for (_, body) in batch.iter().flatten() {
            format::put_entry(&mut self.buffer, body);
        }
        // ZooKeeper flushes the header before it pads.
        let flushed = if is_new { format::HEADER_LEN } else { open.position };
        let known = if is_new { format::HEADER_LEN } else { open.padded_to };
        let padded_to = padded_len(flushed, known, self.preallocate_bytes);
        if padded_to != known {
            io.set_len(&open.path, padded_to).await?;
        }
        open.padded_to = padded_to;
        let (begin, written) = (open.position, self.buffer.len());
        open.position += written as u64;
        if self.force_sync {
            let zeros = zeros_after(open.position, open.zeroed_to, open.padded_to);
            self.buffer.put_bytes(0, zeros as usize);
            open.zeroed_to = open.zeroed_to.max(open.position + zeros);
        }
        io.write(&open.path, begin, self.buffer.split().freeze()).await?;
        if let Some(file) = self.files.last_mut() {
            file.len = open.position.max(open.padded_to);
        }
        let mut is_synced = self.force_sync;
        mutant!(LogNotSynced => is_synced = false);
        if is_synced {
            io.sync_data(&open.path).await?;
            if is_new {
                io.sync_dir(&self.layout.logs).await?;
            }
        }
        let is_full = self.size_limit_bytes.is_some_and(|limit| open.position > limit);
        self.open = Some(open);
        if is_full { self.roll(io).await } else { Ok(()) }
    }
}

/// `FilePadding.calculateFileSizeWithPadding`.
fn padded_len(position: u64, len: u64, preallocate: u64) -> u64 {
    if preallocate == 0 || position + PADDING_MARGIN < len {
        len
    } else if position > len {
        let beyond = position + preallocate;
        beyond - beyond % preallocate
    } else {
        len + preallocate
    }
}

/// How many zeros are written behind a log that grows to `position`.
fn zeros_after(position: u64, zeroed_to: u64, padded_to: u64) -> u64 {
    if position <= zeroed_to {
        0
    } else {
        (ZEROED - position % ZEROED).min(padded_to.saturating_sub(position))
    }
}

#[cfg(test)]
mod tests {
    use super::{ZEROED, padded_len, zeros_after};

    #[test]
    fn padding_grows_as_zookeeper_grows_it() {
        assert_eq!(padded_len(16, 16, 65536), 65552);
        assert_eq!(padded_len(61455, 65552, 65536), 65552);
        assert_eq!(padded_len(61456, 65552, 65536), 131_088);
        assert_eq!(padded_len(171_000, 65552, 65536), 196_608);
        assert_eq!(padded_len(171_000, 16, 0), 16);
    }

    #[test]
    fn the_padding_is_zeroed_a_piece_at_a_time_and_not_beyond() {
        assert_eq!(zeros_after(100, 0, 1 << 20), ZEROED - 100);
        assert_eq!(zeros_after(ZEROED, ZEROED, 1 << 20), 0);
        assert_eq!(zeros_after(ZEROED + 1, ZEROED, 1 << 20), ZEROED - 1);
        assert_eq!(zeros_after(ZEROED * 5, ZEROED, 1 << 20), ZEROED);
        assert_eq!(zeros_after(ZEROED + 1, ZEROED, ZEROED + 10), 9);
        // Without preallocation the file ends behind its last entry.
        assert_eq!(zeros_after(200, 0, 16), 0);
    }
}
