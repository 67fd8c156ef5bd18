//! Cuts the log for a leader's TRUNC (`FileTxnLog.truncate`, `ZKDatabase.truncateLog`).

use alloc::vec::Vec;

use super::Context;
use super::files::DirLayout;
use super::given_up::GivenUp;
use super::io::{DiskError, Io};
use super::log::reader::{LogFile, LogReader, Next};
use super::recovery::log_files;
use super::snapshot::reader::{SnapshotFile, looks_complete, snapshots};
use super::state::State;
use crate::mutant::mutant;
use crate::types::Zxid;

/// Where a history is to be cut.
struct Cut {
    /// The files of the log, oldest first.
    logs: Vec<LogFile>,
    /// Newest first.
    snapshots: Vec<SnapshotFile>,
    /// Everything later goes.
    after: Zxid,
    /// The file with a part of what goes: which, from where to where, and the zxid there.
    inside: Option<(LogFile, u64, u64, Zxid)>,
}

/// Takes every transaction later than `after`, and every snapshot that could hold one, out of the
/// history, and keeps it aside. Says whether it did.
///
/// Nothing is touched unless the log holds `after`, or a snapshot was taken at it, and a
/// snapshot to begin with is left: what the files do not show may be in another history. Who has a
/// transaction of an epoch has what that began with, too; the beginning itself is in no log.
/// Then, each step durable before the next: later files newest first, the end of the file that
/// holds
/// `after`, later snapshots newest first. A crash in between leaves a shorter, but whole, history
/// of before: a log that continues a leader's snapshot is worth nothing without it.
pub(crate) async fn truncate<S: State>(
    context: &Context<S>,
    after: Zxid,
) -> Result<bool, DiskError> {
    let (io, layout) = (&context.io, &context.layout);
    let Some(cut) = find(context, after).await? else { return Ok(false) };
    let mut given_up = GivenUp::begin(io, layout).await?;
    mutant!(SnapshotsGoBeforeTheLog => give_up_snapshots(io, layout, &cut, &mut given_up).await?);
    for log in cut.logs.iter().rev().filter(|log| log.zxid > cut.after) {
        given_up.file(&log.path).await?;
        io.sync_dir(&layout.logs).await?;
    }
    if let Some((file, offset, end, zxid)) = &cut.inside {
        given_up.tail(file, *zxid, *offset, *end).await?;
        io.set_len(&file.path, *offset).await?;
        io.sync_data(&file.path).await?;
        io.close(&file.path).await?;
    }
    mutant!(SnapshotsGoBeforeTheLog => {
        given_up.end().await?;
        return Ok(true);
    });
    give_up_snapshots(io, layout, &cut, &mut given_up).await?;
    given_up.end().await?;
    Ok(true)
}

/// Where to cut, if the files show it.
async fn find<S: State>(context: &Context<S>, after: Zxid) -> Result<Option<Cut>, DiskError> {
    let (io, layout) = (&context.io, &context.layout);
    let (mut has_base, mut is_there) = (false, false);
    let snapshots = snapshots(layout, &io.list(&layout.data).await?);
    let mut oldest_after = None;
    for snapshot in &snapshots {
        if looks_complete(io, snapshot).await? {
            has_base |= snapshot.zxid <= after;
            is_there |= snapshot.zxid == after;
            oldest_after = Some(snapshot.zxid).filter(|zxid| *zxid > after).or(oldest_after);
        }
    }
    let logs = log_files(&layout.logs, &io.list(&layout.logs).await?);
    let holder = logs.iter().rposition(|log| log.zxid <= after);
    let mut next = logs.get(holder.map_or(0, |at| at + 1)).map(|log| log.zxid);
    let mut inside = None;
    if let Some(file) = holder.and_then(|at| logs.get(at)) {
        let mut reader = LogReader::new(file.clone(), context.options.max_record_bytes);
        let mut first = None;
        while let Next::Entry { offset, entry } = reader.next(io).await? {
            is_there |= entry.zxid == after;
            let mut last_kept = after;
            mutant!(TruncatesOneLess => last_kept = after.next());
            if entry.zxid > last_kept {
                first = first.or(Some((offset, entry.zxid)));
            }
        }
        io.close(&file.path).await?;
        next = first.map(|(_, zxid)| zxid).or(next);
        inside = first.map(|(offset, zxid)| (file.clone(), offset, reader.offset(), zxid));
    }
    is_there |= after.counter() == 0 && next.is_some_and(|next| next.epoch() == after.epoch());
    let mut found = Some(after).filter(|_| is_there && has_base);
    mutant!(BeginningTakenForCommon => {
        let is_beginning =
            |oldest: &Zxid| oldest.counter() == 0 && next.is_none_or(|next| next > *oldest);
        found = oldest_after.filter(|oldest| !is_there && is_beginning(oldest)).or(found);
    });
    Ok(found.map(|after| Cut { logs, snapshots, after, inside }))
}

async fn give_up_snapshots(
    io: &Io,
    layout: &DirLayout,
    cut: &Cut,
    given_up: &mut GivenUp<'_>,
) -> Result<(), DiskError> {
    for snapshot in cut.snapshots.iter().filter(|snapshot| snapshot.zxid > cut.after) {
        given_up.file(&snapshot.path).await?;
        io.sync_dir(&layout.data).await?;
    }
    Ok(())
}
