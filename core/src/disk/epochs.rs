//! The epoch files `acceptedEpoch` and `currentEpoch` (`QuorumPeer.loadDataBase`,
//! `AtomicFileOutputStream`).

use alloc::format;

use bytes::Bytes;

use super::files::{DirLayout, FilePath};
use super::io::{COPY, DiskError, Io};
use crate::action::EpochFile;
use crate::mutant::mutant;
use crate::types::{Epoch, Zxid};

/// Longer than any number.
const MOST_BYTES: usize = 64;

/// Replaces an epoch file: written aside, synced, renamed, directory synced.
pub(crate) async fn save(
    io: &Io,
    layout: &DirLayout,
    file: EpochFile,
    epoch: Epoch,
) -> Result<(), DiskError> {
    let (path, aside) = (place(layout, file), aside(layout, file));
    io.create(&aside).await?;
    io.write(&aside, 0, Bytes::from(format!("{}", epoch.0))).await?;
    mutant!(EpochsNotSynced => return io.rename(&aside, &path).await);
    io.sync_data(&aside).await?;
    io.rename(&aside, &path).await?;
    io.sync_dir(&layout.data).await
}

/// The two epochs as they count, and which of them the files do not say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Epochs {
    pub(crate) current: Epoch,
    pub(crate) accepted: Epoch,
    is_current_new: bool,
    is_accepted_new: bool,
}

impl Epochs {
    /// Those of a server that is alone: it keeps no files.
    pub(crate) fn of(last_zxid: Zxid) -> Epochs {
        let epoch = last_zxid.epoch();
        Epochs { current: epoch, accepted: epoch, is_current_new: false, is_accepted_new: false }
    }

    /// Writes what the files do not say.
    pub(crate) async fn save(&self, io: &Io, layout: &DirLayout) -> Result<(), DiskError> {
        if self.is_current_new {
            save(io, layout, EpochFile::Current, self.current).await?;
        }
        if self.is_accepted_new {
            save(io, layout, EpochFile::Accepted, self.accepted).await?;
        }
        Ok(())
    }
}

/// Reads the epochs, and changes nothing. A file that is not there says the epoch of the last zxid:
/// a directory that was restored has mostly none.
///
/// A crash between the sync of the first transactions (or the snapshot) of a new epoch and
/// the rename of `currentEpoch` leaves the log ahead of it. The new epoch was accepted
/// durably before that, and the log is a prefix of its leader's history, so `currentEpoch`
/// may follow the log. Without that acceptance the directory is not from one server, and it
/// is refused.
pub(crate) async fn load(
    io: &Io,
    layout: &DirLayout,
    last_zxid: Zxid,
) -> Result<Epochs, DiskError> {
    // An empty database that may not vote is of no epoch yet.
    let of_log = last_zxid.epoch().max(Epoch(0));
    let accepted_there = read(io, &place(layout, EpochFile::Accepted)).await?;
    let current_there = read(io, &place(layout, EpochFile::Current)).await?;
    let accepted = accepted_there.unwrap_or(of_log);
    let mut current = current_there.unwrap_or(of_log);
    if of_log > current {
        let unfinished = read(io, &aside(layout, EpochFile::Current)).await.unwrap_or_default();
        let next = match unfinished {
            Some(epoch) if epoch >= of_log => epoch,
            Some(_) | None if accepted_there.is_some_and(|accepted| accepted >= of_log) => of_log,
            Some(_) | None => {
                return Err(DiskError::refused(format!(
                    "{}: the current epoch {current} is older than that of the last zxid \
                     {last_zxid}, and that epoch was never accepted here: files of several servers \
                     or times are mixed; restore the directory as a whole, or, {COPY}",
                    place(layout, EpochFile::Current)
                )));
            }
        };
        tracing::warn!("currentEpoch {current} is behind the last zxid {last_zxid}: set to {next}");
        current = next;
    }
    if accepted < current {
        let is_there = if accepted_there.is_some() { "" } else { ", for want of its file," };
        return Err(DiskError::refused(format!(
            "{}: the accepted epoch {accepted}{is_there} is less than the current epoch {current}; \
             restore the directory as a whole, or, {COPY}",
            place(layout, EpochFile::Accepted)
        )));
    }
    warn_of_missing(layout, of_log, current_there, accepted_there);
    Ok(Epochs {
        current,
        accepted,
        is_current_new: current_there != Some(current),
        is_accepted_new: accepted_there.is_none(),
    })
}

/// A server's promises are lost with its epoch files. That does no harm if all other members are
/// restored in the same way, or if they know of every promise.
fn warn_of_missing(
    layout: &DirLayout,
    of_log: Epoch,
    current: Option<Epoch>,
    accepted: Option<Epoch>,
) {
    let names = match (current, accepted) {
        (Some(_), Some(_)) => return,
        (None, Some(_)) => name(EpochFile::Current),
        (Some(_), None) => name(EpochFile::Accepted),
        (None, None) => "no epoch file",
    };
    if of_log == Epoch(0) {
        return;
    }
    tracing::warn!(
        "{}: {names} is {}there: the epoch of the last zxid, {of_log}, is taken; that is right if all \
         members were restored alike",
        layout.data,
        if (current, accepted) == (None, None) { "" } else { "not " }
    );
}

async fn read(io: &Io, path: &FilePath) -> Result<Option<Epoch>, DiskError> {
    let bytes = match io.read(path, 0, MOST_BYTES).await {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    io.close(path).await?;
    let number = core::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    number.map(|number| Some(Epoch(number))).ok_or_else(|| {
        DiskError::refused(format!("{path} does not hold a number; restore it, or, {COPY}"))
    })
}

fn name(file: EpochFile) -> &'static str {
    match file {
        EpochFile::Accepted => "acceptedEpoch",
        EpochFile::Current => "currentEpoch",
    }
}
fn place(layout: &DirLayout, file: EpochFile) -> FilePath {
    layout.in_data(name(file))
}
fn aside(layout: &DirLayout, file: EpochFile) -> FilePath {
    layout.in_data(&format!("{}.tmp", name(file)))
}
