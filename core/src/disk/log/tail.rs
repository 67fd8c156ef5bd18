//! The bytes after the last good entry of a log: padding, a torn write, or damage.
//!
//! A write that a crash tore is at the end: nothing valid follows it. Only whole sectors of
//! the last, never synced batch may be missing (zero) while later ones made it. Everything
//! else that precedes valid entries was durable once, so cutting there could forget what
//! was acknowledged: the server refuses to start instead.

use bytes::Bytes;

use crate::disk::io::{DiskError, Io};
use crate::disk::log::format::{self, Damage, ENTRY_HEAD, Parsed};
use crate::disk::log::reader::{CHUNK, LogFile};
use crate::disk::log::writer::{MAX_BATCH, MAX_BATCH_BYTES};
use crate::types::Zxid;

const SECTOR: usize = 512;
/// The upper half of an entry's checksum: always zero.
const ZERO_HEAD: usize = 4;

/// The end of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tail {
    /// Nothing but zeros.
    Padding,
    /// A torn write; its bytes end before `end`.
    Torn {
        /// After the last byte that is not zero.
        end: u64,
    },
    /// A good entry follows at `follower`.
    Corrupt { follower: u64 },
    /// An entry that is whole, but larger than the limit.
    TooLarge,
}

/// Looks at what is in `file` from `offset` on, where its entries end after `last`.
pub(crate) async fn examine(
    io: &Io,
    file: &LogFile,
    offset: u64,
    damage: Option<Damage>,
    last: Zxid,
    max_body: usize,
) -> Result<Tail, DiskError> {
    let Some(end) = last_nonzero(io, file, offset).await? else {
        return Ok(Tail::Padding);
    };
    if let Some(Damage::TooLong(length)) = damage
        && is_whole(io, file, offset, length).await?
    {
        return Ok(Tail::TooLarge);
    }
    let Some(follower) =
        find_entry(io, file, offset.saturating_add(1), end, last, max_body).await?
    else {
        return Ok(Tail::Torn { end });
    };
    // A sector that is missing may reach into the first bytes of the next entry, which are zero
    // in any case.
    let upto_follower = (follower - offset) as usize + ZERO_HEAD;
    if end - offset <= MAX_BATCH_BYTES as u64
        && has_hole(&io.read(&file.path, offset, upto_follower).await?, offset)
        && count_entries(io, file, follower, end, max_body).await? <= MAX_BATCH
    {
        return Ok(Tail::Torn { end });
    }
    Ok(Tail::Corrupt { follower })
}

/// After the last byte that is not zero, at or after `offset`.
async fn last_nonzero(io: &Io, file: &LogFile, offset: u64) -> Result<Option<u64>, DiskError> {
    let (mut at, mut last) = (offset, None);
    while at < file.len {
        let bytes = io.read(&file.path, at, CHUNK.min((file.len - at) as usize)).await?;
        if bytes.is_empty() {
            break;
        }
        if let Some(i) = bytes.iter().rposition(|b| *b != 0) {
            last = Some(at + i as u64 + 1);
        }
        at += bytes.len() as u64;
    }
    Ok(last)
}

/// Whether the entry of this length at `offset` is whole, read piece by piece.
async fn is_whole(io: &Io, file: &LogFile, offset: u64, length: i32) -> Result<bool, DiskError> {
    let head = io.read(&file.path, offset, ENTRY_HEAD).await?;
    let Some(head) = head.first_chunk::<ENTRY_HEAD>() else { return Ok(false) };
    let (checksum, _) = format::parse_head(head);
    let mut at = offset + ENTRY_HEAD as u64;
    let end = at + length.max(0) as u64;
    if end >= file.len {
        return Ok(false);
    }
    let mut adler = simd_adler32::Adler32::new();
    while at < end {
        let bytes = io.read(&file.path, at, CHUNK.min((end - at) as usize)).await?;
        if bytes.is_empty() {
            return Ok(false);
        }
        adler.write(&bytes);
        at += bytes.len() as u64;
    }
    Ok(i64::from(adler.finish()) == checksum)
}

/// The first place in `from..end` where a good entry later than `last` begins.
async fn find_entry(
    io: &Io,
    file: &LogFile,
    from: u64,
    end: u64,
    last: Zxid,
    max_body: usize,
) -> Result<Option<u64>, DiskError> {
    let mut at = from;
    while at < end {
        let len = (CHUNK + ENTRY_HEAD).min((end - at) as usize);
        let window = io.read(&file.path, at, len).await?;
        let layout = window.len().saturating_sub(ENTRY_HEAD);
        for i in 0..layout {
            let here = window.get(i..).unwrap_or_default();
            if format::looks_like_entry(here, max_body)
                && let Some((zxid, _)) = entry_at(io, file, at + i as u64, here, max_body).await?
                && zxid > last
            {
                return Ok(Some(at + i as u64));
            }
        }
        if window.len() < len || layout == 0 {
            break;
        }
        at += layout as u64;
    }
    Ok(None)
}

/// The good entry at `offset`, of which `here` is known already: its zxid and length.
async fn entry_at(
    io: &Io,
    file: &LogFile,
    offset: u64,
    here: &[u8],
    max_body: usize,
) -> Result<Option<(Zxid, usize)>, DiskError> {
    let parsed = match format::parse(here, false, max_body) {
        Parsed::Need(need) => {
            // Bytes that only look like an entry mostly lack its end: that is cheap to check.
            let end = offset.saturating_add(need as u64 - 1);
            if end >= file.len || *io.read(&file.path, end, 1).await? != [format::END_MARK] {
                return Ok(None);
            }
            let bytes: Bytes = io.read(&file.path, offset, need).await?;
            format::parse(&bytes, true, max_body)
        }
        other => other,
    };
    Ok(match parsed {
        Parsed::Entry { entry, len } => Some((entry.zxid, len)),
        Parsed::Need(_) | Parsed::End | Parsed::Damaged(_) => None,
    })
}

/// How many good entries follow each other from `offset` on.
async fn count_entries(
    io: &Io,
    file: &LogFile,
    offset: u64,
    end: u64,
    max_body: usize,
) -> Result<usize, DiskError> {
    let (mut at, mut count) = (offset, 0);
    while at < end {
        match entry_at(io, file, at, &[], max_body).await? {
            None => break,
            Some((_, len)) => at += len as u64,
        }
        count += 1;
    }
    Ok(count)
}

/// Whether these bytes, which begin at `offset`, hold a sector of zeros, or begin with the
/// zero rest of a sector.
fn has_hole(bytes: &[u8], offset: u64) -> bool {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    let first = (SECTOR as u64 - offset % SECTOR as u64) as usize % SECTOR;
    let Some((rest, aligned)) = bytes.split_at_checked(first) else { return false };
    (rest.len() > ZERO_HEAD && is_zero(rest)) || aligned.chunks_exact(SECTOR).any(is_zero)
}
