//! Mends the end of the log: cuts a torn write off, durably, and keeps it aside.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::disk::Context;
use crate::disk::io::{COPY, DiskError};
use crate::disk::log::format::Damage;
use crate::disk::log::reader::{CHUNK, LogFile, LogReader, Next};
use crate::disk::log::tail::{self, Tail};
use crate::disk::state::State;
use crate::mutant::mutant;
use crate::types::Zxid;

/// Deletes the newest files as long as they hold no entry: preallocated, perhaps with a
/// header, by a server that stopped before its first entry was durable.
pub(crate) async fn drop_entryless<S: State>(
    context: &Context<S>,
    mut logs: Vec<LogFile>,
) -> Result<Vec<LogFile>, DiskError> {
    while let Some(newest) = logs.last() {
        let mut reader = LogReader::new(newest.clone(), context.options.max_record_bytes);
        let next = reader.next(&context.io).await?;
        context.io.close(&newest.path).await?;
        let (offset, damage) = match next {
            Next::Entry { .. } => break,
            Next::End { offset } => (offset, None),
            Next::Damaged { offset, damage } => (offset, Some(damage)),
        };
        // Its name says what it was to begin with: entries from there on would be good.
        let last = Zxid(newest.zxid.0.saturating_sub(1));
        mend(context, newest, offset, damage, last).await?;
        tracing::info!("{} holds no transaction and is deleted", newest.path);
        context.io.delete(&newest.path).await?;
        context.io.sync_dir(&context.layout.logs).await?;
        logs.pop();
    }
    Ok(logs)
}

/// Whether nothing but zeros follows.
pub(crate) async fn is_padding<S: State>(
    context: &Context<S>,
    file: &LogFile,
    offset: u64,
) -> Result<bool, DiskError> {
    let max = context.options.max_record_bytes;
    let tail = tail::examine(&context.io, file, offset, None, Zxid::UNTRUSTED, max).await?;
    Ok(tail == Tail::Padding)
}

/// Cuts the newest file where its entries end, at `offset` after `last`, unless only padding
/// follows. Returns the new length, if it was cut. Refuses if what follows was durable once.
pub(crate) async fn mend<S: State>(
    context: &Context<S>,
    file: &LogFile,
    offset: u64,
    damage: Option<Damage>,
    last: Zxid,
) -> Result<Option<u64>, DiskError> {
    let (io, max) = (&context.io, context.options.max_record_bytes);
    let path = &file.path;
    match tail::examine(io, file, offset, damage, last, max).await? {
        Tail::Padding => Ok(None),
        Tail::Torn { end } => {
            mutant!(TornTailKept => return Ok(None));
            keep_aside(context, file, offset, end).await?;
            io.set_len(path, offset).await?;
            io.sync_data(path).await?;
            io.close(path).await?;
            Ok(Some(offset))
        }
        Tail::Corrupt { follower } => {
            let why =
                damage.map_or_else(|| String::from("it is zero"), |damage| format!("{damage}"));
            Err(DiskError::refused(format!(
                "{path}: the transaction after {last}, at offset {offset}, is damaged ({why}), but \
                 good ones follow at offset {follower}: this is no write that a crash cut short; \
                 restore the file, or, {COPY}"
            )))
        }
        Tail::TooLarge => Err(DiskError::refused(format!(
            "{path}: the transaction after {last}, at offset {offset}, is larger than the limit of \
             {max} bytes; raise jute.maxbuffer to what it was when it was written"
        ))),
    }
}

/// Copies the torn bytes into a file that no server reads, for an operator. If the disk is full,
/// the copy is left out and the server starts nevertheless.
async fn keep_aside<S: State>(
    context: &Context<S>,
    file: &LogFile,
    offset: u64,
    end: u64,
) -> Result<(), DiskError> {
    let (io, aside) = (&context.io, context.layout.torn(file.zxid, offset));
    tracing::warn!(
        "{}: a torn write of {} bytes at offset {offset} is cut off and kept in {aside}",
        file.path,
        end - offset
    );
    match copy(context, file, offset, end).await {
        Err(error) if error.is_no_space() => {
            tracing::warn!("the torn write is not kept: {error}");
            io.delete_if_there(&aside).await
        }
        other => other,
    }
}

async fn copy<S: State>(
    context: &Context<S>,
    file: &LogFile,
    offset: u64,
    end: u64,
) -> Result<(), DiskError> {
    let (io, aside) = (&context.io, context.layout.torn(file.zxid, offset));
    io.create(&aside).await?;
    let mut at = offset;
    while at < end {
        let bytes = io.read(&file.path, at, CHUNK.min((end - at) as usize)).await?;
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len() as u64;
        io.write(&aside, at - offset, bytes).await?;
        at += len;
    }
    io.sync_data(&aside).await?;
    io.close(&aside).await?;
    io.sync_dir(&context.layout.logs).await
}
