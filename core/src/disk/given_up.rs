//! Keeps aside what a leader's TRUNC or SNAP takes out of the history: files that nothing reads,
//! for whoever finds that it was the right one.
//!
//! A log or a snapshot gets another name in its directory, `given-up.N.` before its own; `N` counts
//! how often something was given up. For recovery that is as good as its deletion, whenever a crash
//! comes. The end of a log that is cut off is copied first, into a log of its own. Beyond so many
//! files, or bytes, the oldest go.

use alloc::format;
use alloc::vec::Vec;

use super::files::{DirLayout, FilePath, join};
use super::io::{DiskError, Io};
use super::log::format::HEADER_LEN;
use super::log::reader::{CHUNK, LogFile};
use crate::types::Zxid;

/// The prefix of the names.
pub(crate) const PREFIX: &str = "given-up.";
const MOST_FILES: usize = 64;
const MOST_BYTES: u64 = 1 << 30;

/// A file that is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Kept {
    number: u64,
    zxid: u64,
    path: FilePath,
    len: u64,
}

/// The files and parts of files that are being given up.
pub(crate) struct GivenUp<'a> {
    io: &'a Io,
    layout: &'a DirLayout,
    number: u64,
    count: usize,
}

impl<'a> GivenUp<'a> {
    pub(crate) async fn begin(io: &'a Io, layout: &'a DirLayout) -> Result<GivenUp<'a>, DiskError> {
        let last = kept(io, layout).await?.last().map_or(0, |kept| kept.number);
        Ok(GivenUp { io, layout, number: last.saturating_add(1), count: 0 })
    }

    fn aside(&self, dir: &str, name: &str) -> FilePath {
        join(dir, &format!("{PREFIX}{}.{name}", self.number))
    }

    /// A log, or a snapshot, is part of the history no more. Its directory is to be synced.
    pub(crate) async fn file(&mut self, path: &FilePath) -> Result<(), DiskError> {
        let Some((dir, name)) = path.rsplit_once('/') else { return Ok(()) };
        self.count += 1;
        self.io.rename(path, &self.aside(dir, name)).await
    }

    /// A log's entries from `zxid` on, which are in `from..end`, will be cut off. A full disk does
    /// not keep the server from that.
    pub(crate) async fn tail(
        &mut self,
        log: &LogFile,
        zxid: Zxid,
        from: u64,
        end: u64,
    ) -> Result<(), DiskError> {
        let aside = self.aside(&self.layout.logs, &format!("log.{:x}", zxid.0));
        match self.copy(log, &aside, from, end).await {
            Ok(()) => self.count += 1,
            Err(error) if error.is_no_space() => {
                tracing::warn!("what is cut off {} is not kept: {error}", log.path);
                self.io.delete_if_there(&aside).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn copy(
        &self,
        log: &LogFile,
        aside: &FilePath,
        from: u64,
        end: u64,
    ) -> Result<(), DiskError> {
        let io = self.io;
        io.create(aside).await?;
        io.write(aside, 0, io.read(&log.path, 0, HEADER_LEN as usize).await?).await?;
        let (mut at, mut to) = (from, HEADER_LEN);
        while at < end {
            let bytes = io.read(&log.path, at, CHUNK.min((end - at) as usize)).await?;
            if bytes.is_empty() {
                break;
            }
            let len = bytes.len() as u64;
            io.write(aside, to, bytes).await?;
            (at, to) = (at + len, to + len);
        }
        io.sync_data(aside).await?;
        io.close(aside).await?;
        io.sync_dir(&self.layout.logs).await
    }

    /// All is aside: says so, and lets the oldest go.
    pub(crate) async fn end(self) -> Result<(), DiskError> {
        if self.count == 0 {
            return Ok(());
        }
        let (count, number, layout) = (self.count, self.number, self.layout);
        tracing::warn!(
            "what this server had and the leader has not, or has otherwise, is kept aside, {count} \
             files in {} and {}: {PREFIX}{number}.*",
            layout.logs,
            layout.data
        );
        let kept = kept(self.io, layout).await?;
        let (mut files, mut bytes) = (kept.len(), kept.iter().map(|kept| kept.len).sum::<u64>());
        for oldest in kept {
            if files <= MOST_FILES && bytes <= MOST_BYTES {
                break;
            }
            tracing::info!("{} is deleted: more than enough is kept aside", oldest.path);
            self.io.delete(&oldest.path).await?;
            (files, bytes) = (files - 1, bytes - oldest.len);
        }
        Ok(())
    }
}

/// The kept files, oldest first.
async fn kept(io: &Io, layout: &DirLayout) -> Result<Vec<Kept>, DiskError> {
    let mut all = Vec::new();
    for dir in [&layout.data, &layout.logs] {
        for file in io.list(dir).await? {
            let Some((number, name)) = file.name.strip_prefix(PREFIX).and_then(split) else {
                continue;
            };
            let digits = name.split('.').nth(1).unwrap_or_default();
            let zxid = u64::from_str_radix(digits, 16).unwrap_or(0);
            all.push(Kept { number, zxid, path: join(dir, &file.name), len: file.len });
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

fn split(rest: &str) -> Option<(u64, &str)> {
    let (number, name) = rest.split_once('.')?;
    Some((number.parse().ok()?, name))
}
