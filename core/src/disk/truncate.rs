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
/// snapshot to begin with is left. An epoch's beginning is in no log, and is the same as the last
/// transaction before it: a leader may name either, where this server has the other. Then, each
/// step durable before the next: later files newest first, the end of the file that holds
/// `after`, later snapshots newest first. A crash in between leaves a shorter, but whole, history
/// of before: a log that continues a leader's snapshot is worth nothing without it.
pub(crate) async fn truncate<S: State>(context: &Context<S>, after: Zxid) -> Result<(), DiskError> {
    let (io, places) = (&context.io, &context.places);
    let (mut has_base, mut is_there) = (false, false);
    let snapshots = snapshots(places, &io.list(&places.data).await?);
    let mut oldest_after = None;
    for snapshot in &snapshots {
        if looks_complete(io, snapshot).await? {
            has_base |= snapshot.zxid <= after;
            is_there |= snapshot.zxid == after;
            if snapshot.zxid > after && oldest_after.is_none_or(|oldest| snapshot.zxid < oldest) {
                oldest_after = Some(snapshot.zxid);
            }
        }
    }
    let logs = log_files(&places.logs, &io.list(&places.logs).await?);
    let holder = logs.iter().rposition(|log| log.zxid <= after);
    let mut next = logs.get(holder.map_or(0, |at| at + 1)).map(|log| log.zxid);
    let mut cut = None;
    if let Some(file) = holder.and_then(|i| logs.get(i)) {
        let mut reader = LogReader::new(file.clone(), context.options.max_record_bytes);
        while let Next::Entry { offset, entry } = reader.next(io).await? {
            is_there |= entry.zxid == after;
            let after = if Mutant::TruncatesOneLess.is_on() { after.next() } else { after };
            if entry.zxid > after {
                (cut, next) = (Some((file, offset)), Some(entry.zxid));
                break;
            }
        }
        io.close(&file.path).await?;
    }
    // Whoever has a transaction of an epoch, or a snapshot of its beginning, has what the epoch
    // began with, and a quorum has it, too.
    is_there |= after.counter() == 0 && next.is_some_and(|next| next.epoch() == after.epoch());
    let beginning = oldest_after
        .filter(|oldest| !is_there && oldest.counter() == 0 && next.is_none_or(|n| n > *oldest));
    let is_there = is_there || beginning.is_some();
    let has_base = has_base || beginning.is_some();
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
    let after = beginning.unwrap_or(after);
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
