//! The epoch files `acceptedEpoch` and `currentEpoch` (`QuorumPeer.loadDataBase`,
//! `AtomicFileOutputStream`).

use alloc::format;
use alloc::string::String;

use bytes::Bytes;

use super::files::{FilePath, Places};
use super::io::{DiskError, Io};
use crate::action::EpochFile;
use crate::mutant::Mutant;
use crate::types::{Epoch, Zxid};

/// Longer than any number.
const MOST_BYTES: usize = 64;

/// Replaces an epoch file: written aside, synced, renamed, directory synced.
pub(crate) async fn save(
    io: &Io,
    places: &Places,
    file: EpochFile,
    epoch: Epoch,
) -> Result<(), DiskError> {
    let (path, aside) = (place(places, file), aside(places, file));
    io.create(&aside).await?;
    io.write(&aside, 0, Bytes::from(format!("{}", epoch.0))).await?;
    if Mutant::EpochsNotSynced.is_on() {
        return io.rename(&aside, &path).await;
    }
    io.sync_data(&aside).await?;
    io.rename(&aside, &path).await?;
    io.sync_dir(&places.data).await
}

/// The two epochs as they count: `(current, accepted)`. What is missing is written.
///
/// A crash between the sync of the first transactions (or the snapshot) of a new epoch and
/// the rename of `currentEpoch` leaves the log ahead of it. The new epoch was accepted
/// durably before that, and the log is a prefix of its leader's history, so `currentEpoch`
/// may follow the log. Without that acceptance the directory is not from one server, and it
/// is refused. So is one where one of the files is lost: what it promised is not known. Only a
/// first start makes both.
pub(crate) async fn load(
    io: &Io,
    places: &Places,
    last_zxid: Zxid,
) -> Result<(Epoch, Epoch), DiskError> {
    // An empty database that may not vote is of no epoch yet.
    let of_log = last_zxid.epoch().max(Epoch(0));
    let accepted_there = read(io, &place(places, EpochFile::Accepted)).await?;
    let mut current = match read(io, &place(places, EpochFile::Current)).await? {
        Some(current) => current,
        None => {
            if let Some(accepted) = accepted_there {
                return Err(lost(places, EpochFile::Current, format!("{of_log} to {accepted}")));
            }
            save(io, places, EpochFile::Current, of_log).await?;
            of_log
        }
    };
    // A first start may have been cut short between the two files.
    if accepted_there.is_none() && current > Epoch(0) {
        return Err(lost(places, EpochFile::Accepted, format!("at least {current}")));
    }
    if of_log > current {
        let unfinished = read(io, &aside(places, EpochFile::Current)).await.unwrap_or_default();
        let next = match unfinished {
            Some(epoch) if epoch >= of_log => epoch,
            Some(_) | None if accepted_there.is_some_and(|accepted| accepted >= of_log) => of_log,
            Some(_) | None => {
                return Err(DiskError::refused(format!(
                    "{}: the current epoch {current} is older than that of the last zxid \
                     {last_zxid}, and that epoch was never accepted here: files of several servers \
                     or times are mixed; restore the directory as a whole, or empty it and let the \
                     server copy its state from the leader",
                    place(places, EpochFile::Current)
                )));
            }
        };
        tracing::warn!("currentEpoch {current} is behind the last zxid {last_zxid}: set to {next}");
        save(io, places, EpochFile::Current, next).await?;
        current = next;
    }
    let accepted = match accepted_there {
        Some(accepted) => accepted,
        None => {
            save(io, places, EpochFile::Accepted, of_log).await?;
            of_log
        }
    };
    if accepted < current {
        return Err(DiskError::refused(format!(
            "{}: the accepted epoch {accepted} is less than the current epoch {current}; restore \
             the directory as a whole, or empty it and let the server copy its state from the \
             leader",
            place(places, EpochFile::Accepted)
        )));
    }
    Ok((current, accepted))
}

/// One of the files is not there, but the other is.
fn lost(places: &Places, file: EpochFile, value: String) -> DiskError {
    DiskError::refused(format!(
        "{} is not there, though {} is: what this server has promised is lost; restore the file \
         (it held {value}), or empty the data directory and let the server copy its state from the \
         leader",
        place(places, file),
        match file {
            EpochFile::Accepted => name(EpochFile::Current),
            EpochFile::Current => name(EpochFile::Accepted),
        }
    ))
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
        DiskError::refused(format!(
            "{path} does not hold a number; restore it, or empty the data directory and let the \
             server copy its state from the leader"
        ))
    })
}

fn name(file: EpochFile) -> &'static str {
    match file {
        EpochFile::Accepted => "acceptedEpoch",
        EpochFile::Current => "currentEpoch",
    }
}
fn place(places: &Places, file: EpochFile) -> FilePath {
    places.in_data(name(file))
}
fn aside(places: &Places, file: EpochFile) -> FilePath {
    places.in_data(&format!("{}.tmp", name(file)))
}
