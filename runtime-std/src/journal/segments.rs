//! The files of a journal: numbered segments of bounded size, the oldest removed first.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zabkeeper_core::config::Config;
use zabkeeper_core::journal::{Start, segment_head, segment_name, segment_number};

use super::JournalOptions;
use crate::files;

/// The largest segment, apart from one with the state that a node starts with.
const MAX_SEGMENT_BYTES: u64 = 64 << 20;
/// The limit of a journal is at least this many segments.
const MIN_SEGMENTS: u64 = 16;

/// The segments of a journal, of this run and of earlier ones.
pub(super) struct Segments {
    journal: PathBuf,
    start: Start,
    config: Config,
    /// For all segments together, bytes.
    limit: u64,
    /// Numbers and sizes of the complete segments, oldest first.
    complete: VecDeque<(u64, u64)>,
    /// The number of the current segment, as in its file's name.
    number: u64,
    /// The number of this run's first segment.
    first: u64,
    file: Option<File>,
    /// Bytes in the current segment.
    written: u64,
    /// Whether the current segment holds more than its head.
    used: bool,
}

impl Segments {
    /// Finds the segments of earlier runs; writes nothing yet.
    pub(super) fn open(
        options: &JournalOptions,
        start: Start,
        config: Config,
    ) -> io::Result<Segments> {
        let journal = options.journal.clone();
        if let Some(dir) = journal.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(files::DIRECTORY_MODE).create(dir)?;
        }
        let complete = segments(&journal)?;
        let number = complete.back().map_or(0, |(number, _)| *number);
        let (limit, first) = (options.limit_bytes, number + 1);
        Ok(Segments {
            journal,
            start,
            config,
            limit,
            complete,
            number,
            first,
            file: None,
            written: 0,
            used: false,
        })
    }

    pub(super) fn journal(&self) -> &Path {
        &self.journal
    }

    fn max_segment(&self) -> u64 {
        (self.limit / MIN_SEGMENTS).min(MAX_SEGMENT_BYTES)
    }

    /// Appends a batch; begins a new segment if the current one would grow too large.
    pub(super) fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        let length = batch.len() as u64;
        if self.used && self.written.saturating_add(length) > self.max_segment() {
            self.roll(length)?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(batch)?;
            self.written += length;
            self.used = true;
        }
        Ok(())
    }

    /// Begins a new segment with space for `length` bytes. Removes the oldest segments until the
    /// limit holds.
    pub(super) fn roll(&mut self, length: u64) -> io::Result<()> {
        if self.file.take().is_some() {
            self.complete.push_back((self.number, self.written));
        }
        let reserved = self.max_segment().max(length);
        let mut total: u64 = self.complete.iter().map(|(_, length)| length).sum();
        while total.saturating_add(reserved) > self.limit
            && let Some((oldest, length)) = self.complete.pop_front()
        {
            total -= length;
            fs::remove_file(segment_path(&self.journal, oldest))?;
            if oldest == self.first {
                tracing::warn!(
                    "journal {}: the first segment of this run is removed; the journal can be read, \
                     but not replayed; raise --record-limit",
                    self.journal.display()
                );
            }
        }
        self.number += 1;
        let head = segment_head(&self.start, &self.config, self.number - self.first + 1);
        let mut create = OpenOptions::new();
        // Only the owner may read it: it holds the clients' data and passwords.
        create.write(true).create_new(true).mode(files::FILE_MODE);
        let mut file = create.open(segment_path(&self.journal, self.number))?;
        file.write_all(&head)?;
        (self.file, self.written, self.used) = (Some(file), head.len() as u64, false);
        Ok(())
    }
}

pub(super) fn segment_path(journal: &Path, number: u64) -> PathBuf {
    let name = journal.file_name().unwrap_or_default().to_string_lossy();
    journal.with_file_name(segment_name(&name, number))
}

/// Numbers and sizes of a journal's segments, oldest first.
pub(super) fn segments(journal: &Path) -> io::Result<VecDeque<(u64, u64)>> {
    let Some(name) = journal.file_name().and_then(|name| name.to_str()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected the name of a file"));
    };
    let dir = journal.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut all = Vec::new();
    for entry in fs::read_dir(dir.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        if let Some(number) = segment_number(name, &entry.file_name().to_string_lossy()) {
            all.push((number, entry.metadata()?.len()));
        }
    }
    all.sort_unstable();
    Ok(all.into())
}
