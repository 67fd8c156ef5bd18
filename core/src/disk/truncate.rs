//! Cuts the log for a leader's TRUNC (`FileTxnLog.truncate`, `ZKDatabase.truncateLog`).

use alloc::format;

use super::Context;
use super::io::{DiskError, EXIT_TRUNCATE};
use super::log_reader::{LogReader, Next};
use super::recovery::log_files;
use super::snapshot_reader::{looks_complete, snapshots};
use super::state::State;
use crate::mutant::Mutant;
use crate::types::Zxid;

/// Removes every transaction later than `after` and every snapshot that could hold one.
///
/// Nothing is touched unless the log holds `after`, or a snapshot was taken at it, and a
/// snapshot to begin with is left. Then, each step durable before the next: later files newest
/// first, the end of the file that holds `after`, later snapshots newest first. A crash in
/// between leaves a shorter, but whole, history of before: a log that continues a leader's
/// snapshot is worth nothing without it.
pub(crate) async fn truncate<S: State>(context: &Context<S>, after: Zxid) -> Result<(), DiskError> {
    let (io, places) = (&context.io, &context.places);
    let (mut has_base, mut is_there) = (false, false);
    let snapshots = snapshots(places, &io.list(&places.data).await?);
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.zxid <= after) {
        if looks_complete(io, snapshot).await? {
            has_base = true;
            is_there |= snapshot.zxid == after;
        }
    }
    let logs = log_files(&places.logs, &io.list(&places.logs).await?);
    let holder = logs.iter().rposition(|log| log.zxid <= after);
    let mut cut = None;
    if let Some(file) = holder.and_then(|i| logs.get(i)) {
        let mut reader = LogReader::new(file.clone(), context.options.max_record_bytes);
        while let Next::Entry { offset, entry } = reader.next(io).await? {
            is_there |= entry.zxid == after;
            let after = if Mutant::TruncatesOneLess.is_on() { after.next() } else { after };
            if entry.zxid > after {
                cut = Some((file, offset));
                break;
            }
        }
        io.close(&file.path).await?;
    }
    if !(is_there && has_base) {
        let why =
            if is_there { "no snapshot before it is left" } else { "the log has no such zxid" };
        return Err(DiskError::Refused {
            what: format!(
                "cannot truncate {} after {after}: {why}; empty the data directory and let the \
                 server copy its state from the leader",
                places.logs
            ),
            exit_code: EXIT_TRUNCATE,
        });
    }
    if Mutant::SnapshotsGoBeforeTheLog.is_on() {
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.zxid > after) {
            io.delete(&snapshot.path).await?;
            io.sync_dir(&places.data).await?;
        }
    }
    for log in logs.iter().rev().filter(|log| log.zxid > after) {
        io.delete(&log.path).await?;
        io.sync_dir(&places.logs).await?;
    }
    if let Some((file, offset)) = cut {
        io.set_len(&file.path, offset).await?;
        io.sync_data(&file.path).await?;
        io.close(&file.path).await?;
    }
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.zxid > after) {
        io.delete_if_there(&snapshot.path).await?;
        io.sync_dir(&places.data).await?;
    }
    Ok(())
}
