//! Deletes old snapshots and logs (`PurgeTxnLog`, `DatadirCleanupManager`).

use super::Context;
use super::io::DiskError;
use super::log::writer::LogWriter;
use super::recovery::log_files;
use super::snapshot::reader::{looks_complete, snapshots};
use super::state::State;
use crate::types::Zxid;

/// Fewer are never kept (`autopurge.snapRetainCount`).
const LEAST_RETAINED: usize = 3;

/// Keeps the newest valid snapshots, and the logs that are needed to go on from the oldest
/// of them. Snapshots that are not whole do not count. Oldest first, so that whatever a
/// crash leaves has no gap.
pub(crate) async fn purge<S: State>(
    context: &Context<S>,
    log: &mut LogWriter,
) -> Result<(), DiskError> {
    let (io, layout) = (&context.io, &context.layout);
    let retain = context.options.snap_retain_count.max(LEAST_RETAINED);
    let snapshots = snapshots(layout, &io.list(&layout.data).await?);
    let (mut kept, mut oldest): (usize, Option<Zxid>) = (0, None);
    for snapshot in &snapshots {
        if kept < retain && looks_complete(io, snapshot).await? {
            kept += 1;
            oldest = Some(snapshot.zxid);
        }
    }
    let Some(oldest) = oldest.filter(|_| kept == retain) else { return Ok(()) };
    let logs = log_files(&layout.logs, &io.list(&layout.logs).await?);
    let needed = logs.iter().rposition(|file| file.zxid <= oldest).unwrap_or(0);
    for snapshot in snapshots.iter().rev().filter(|snapshot| snapshot.zxid < oldest) {
        tracing::info!("purge: {}", snapshot.path);
        io.delete(&snapshot.path).await?;
    }
    io.sync_dir(&layout.data).await?;
    for file in logs.iter().take(needed) {
        tracing::info!("purge: {}", file.path);
        io.delete(&file.path).await?;
        log.forget(|known| known.path == file.path);
    }
    io.sync_dir(&layout.logs).await
}
