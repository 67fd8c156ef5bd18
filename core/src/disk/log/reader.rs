//! Reads one log file entry by entry (`FileTxnLog.FileTxnIterator`).

use bytes::Bytes;

use crate::disk::files::FilePath;
use crate::disk::io::{DiskError, Io};
use crate::disk::log::format::{self, Damage, ENTRY_HEAD, HEADER_LEN, Parsed};
use crate::types::Zxid;
use crate::wire::entries::Entry;

/// How much is read at once.
pub(crate) const CHUNK: usize = 1 << 20;

/// A log file that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogFile {
    /// The zxid in its name: its first entry's.
    pub(crate) zxid: Zxid,
    pub(crate) path: FilePath,
    /// With padding.
    pub(crate) len: u64,
}

/// The next item of a log file.
#[derive(Debug)]
pub(crate) enum Next {
    /// An entry, which begins at `offset`.
    Entry {
        /// From the start of the file.
        offset: u64,
        entry: Entry,
    },
    /// No more entries: padding or the end of the file at `offset`.
    End {
        /// Where the next entry would be.
        offset: u64,
    },
    /// The bytes at `offset` are no entry.
    Damaged {
        /// Where it begins.
        offset: u64,
        /// The error.
        damage: Damage,
    },
}

/// A reading position in a log file.
pub(crate) struct LogReader {
    file: LogFile,
    offset: u64,
    chunk: Bytes,
    chunk_at: u64,
    max_body: usize,
}

impl LogReader {
    /// Reads from the first entry. `file.len` bounds what is read.
    pub(crate) fn new(file: LogFile, max_body: usize) -> LogReader {
        LogReader { file, offset: 0, chunk: Bytes::new(), chunk_at: 0, max_body }
    }
    /// Reads from an entry at `offset`, which is behind the header.
    pub(crate) fn at(file: LogFile, offset: u64, max_body: usize) -> LogReader {
        LogReader { file, offset, chunk: Bytes::new(), chunk_at: offset, max_body }
    }
    /// The file that is read.
    pub(crate) fn file(&self) -> &LogFile {
        &self.file
    }
    /// How far it is read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry; after an `End` or `Damaged` the same again.
    pub(crate) async fn next(&mut self, io: &Io) -> Result<Next, DiskError> {
        if self.offset == 0 {
            self.fill(io, HEADER_LEN as usize).await?;
            if !format::is_header(self.available()) {
                return Ok(Next::Damaged { offset: 0, damage: Damage::Header });
            }
            self.offset = HEADER_LEN;
        }
        let mut need = ENTRY_HEAD;
        loop {
            self.fill(io, need).await?;
            let offset = self.offset;
            let available = self.available();
            let is_rest = offset.saturating_add(available.len() as u64) >= self.file.len
                || available.len() < need;
            match format::parse(available, is_rest, self.max_body) {
                Parsed::Entry { entry, len } => {
                    self.offset += len as u64;
                    return Ok(Next::Entry { offset, entry });
                }
                Parsed::Need(more) => need = more,
                Parsed::End => return Ok(Next::End { offset }),
                Parsed::Damaged(damage) => return Ok(Next::Damaged { offset, damage }),
            }
        }
    }

    fn available(&self) -> &[u8] {
        let from = (self.offset - self.chunk_at) as usize;
        self.chunk.get(from..).unwrap_or_default()
    }

    /// Makes at least `need` bytes available, or all that the file still has.
    async fn fill(&mut self, io: &Io, need: usize) -> Result<(), DiskError> {
        let rest = self.file.len.saturating_sub(self.offset);
        if self.available().len() as u64 >= rest.min(need as u64) {
            return Ok(());
        }
        let len = rest.min(need.max(CHUNK) as u64) as usize;
        self.chunk = io.read(&self.file.path, self.offset, len).await?;
        self.chunk_at = self.offset;
        Ok(())
    }
}
