//! Reads entries for a DIFF out of the log (`ZKDatabase.getProposalsFromTxnLog`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::disk::io::{DiskError, Io};
use crate::disk::log::reader::{LogFile, LogReader, Next};
use crate::event::LogEnd;
use crate::types::{ReadId, Zxid};
use crate::wire::entries::Entry;

/// A batch is closed once its bodies have this many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// Most entries of a batch.
const BATCH_ENTRIES: usize = 4096;

/// A read that is under way.
///
/// The first entry handed over is the last one that is not later than `from`: the learner's
/// own last transaction, or, if the log does not have that, the one before it.
pub(crate) struct LogRead {
    pub(crate) id: ReadId,
    from: Zxid,
    upto: Zxid,
    reader: LogReader,
    later: VecDeque<LogFile>,
    /// The latest entry seen that is not later than `from`.
    first: Option<Entry>,
    /// Whether `first` is handed over.
    begun: bool,
    max_body: usize,
}

impl LogRead {
    /// `None`: the log does not reach back to `from`, or the files after the one that does
    /// are larger than `max_bytes` (the first one is not counted, as in ZooKeeper).
    pub(crate) fn begin(
        id: ReadId,
        from: Zxid,
        upto: Zxid,
        max_bytes: u64,
        files: &[LogFile],
        max_body: usize,
    ) -> Option<LogRead> {
        let start = files.iter().rposition(|file| file.zxid <= from)?;
        let (first, later) = files.get(start..)?.split_first()?;
        if later.iter().map(|file| file.len).sum::<u64>() > max_bytes {
            return None;
        }
        Some(LogRead {
            id,
            from,
            upto,
            reader: LogReader::new(first.clone(), max_body),
            later: later.iter().cloned().collect(),
            first: None,
            begun: false,
            max_body,
        })
    }

    /// The next batch. After anything but `More` the read is over.
    pub(crate) async fn next(&mut self, io: &Io) -> (Vec<Entry>, LogEnd) {
        let mut batch = Vec::new();
        let end = match self.fill(io, &mut batch).await {
            Ok(end) => end,
            Err(error) => {
                tracing::warn!("the log cannot be read for a learner: {error}");
                LogEnd::Unusable
            }
        };
        if end != LogEnd::More {
            self.close(io).await;
        }
        (batch, end)
    }

    /// Lets the file that is read go.
    pub(crate) async fn close(&self, io: &Io) {
        if let Err(error) = io.close(&self.reader.file().path).await {
            tracing::warn!("{error}");
        }
    }

    async fn fill(&mut self, io: &Io, batch: &mut Vec<Entry>) -> Result<LogEnd, DiskError> {
        let mut bytes = 0;
        loop {
            let entry = match self.reader.next(io).await? {
                Next::Entry { entry, .. } => entry,
                Next::End { .. } => match self.later.pop_front() {
                    Some(file) => {
                        self.close(io).await;
                        self.reader = LogReader::new(file, self.max_body);
                        continue;
                    }
                    None => return Ok(self.at_end(batch)),
                },
                Next::Damaged { offset, damage } => {
                    let path = &self.reader.file().path;
                    tracing::warn!(
                        "{path}: offset {offset} cannot be read for a learner: {damage}"
                    );
                    return Ok(LogEnd::Unusable);
                }
            };
            if entry.zxid <= self.from {
                self.first = Some(entry);
                continue;
            }
            if !self.begun {
                self.begun = true;
                match self.first.take() {
                    Some(first) => batch.push(first),
                    None => return Ok(LogEnd::Unusable),
                }
            }
            if entry.zxid > self.upto {
                return Ok(LogEnd::Complete);
            }
            let is_last = entry.zxid == self.upto;
            bytes += entry.body.len();
            batch.push(entry);
            if is_last {
                return Ok(LogEnd::Complete);
            }
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_ENTRIES {
                return Ok(LogEnd::More);
            }
        }
    }

    /// The log is over before `upto` came.
    fn at_end(&mut self, batch: &mut Vec<Entry>) -> LogEnd {
        match self.first.take() {
            Some(first) if !self.begun && first.zxid == self.upto => {
                batch.push(first);
                LogEnd::Complete
            }
            Some(_) | None => LogEnd::Unusable,
        }
    }
}
