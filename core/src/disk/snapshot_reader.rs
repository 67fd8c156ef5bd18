//! Finds and loads the newest valid snapshot (`FileSnap.deserialize`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::files::{DirEntry, FilePath, Named, Places, join};
use super::io::{DiskError, Io};
use super::log_reader::CHUNK;
use super::recovery::Meter;
use super::snapshot_format::{DIGEST_VERSION, HEADER_LEN, LAST_BYTES, SnapshotDigest, Unsealer};
use super::state::{SnapshotDecoder, State};
use crate::types::Zxid;

/// How many snapshots are tried.
const MOST_TRIED: usize = 100;

/// A snapshot file that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) zxid: Zxid,
    pub(crate) path: FilePath,
    pub(crate) len: u64,
    pub(crate) compressed: bool,
}

/// The snapshots of a listing, newest first.
pub(crate) fn snapshots(places: &Places, listing: &[DirEntry]) -> Vec<SnapshotFile> {
    let mut found: Vec<SnapshotFile> = listing
        .iter()
        .filter_map(|file| {
            let (zxid, compressed) = match Named::parse(&file.name) {
                Named::Snapshot(zxid) => (zxid, false),
                Named::CompressedSnapshot(zxid) => (zxid, true),
                Named::Log(_) | Named::UnfinishedSnapshot | Named::Installing(_) | Named::Other => {
                    return None;
                }
            };
            let path = join(&places.data, &file.name);
            Some(SnapshotFile { zxid, path, len: file.len, compressed })
        })
        .collect();
    found.sort_by(|a, b| b.zxid.cmp(&a.zxid).then_with(|| a.path.cmp(&b.path)));
    found
}

/// The pre-check by length and last bytes (`SnapStream.isValidSnapshot`).
pub(crate) async fn looks_complete(io: &Io, file: &SnapshotFile) -> Result<bool, DiskError> {
    if file.compressed || file.len < (HEADER_LEN + LAST_BYTES.len()) as u64 {
        return Ok(false);
    }
    let from = file.len - LAST_BYTES.len() as u64;
    let last = io.read(&file.path, from, LAST_BYTES.len()).await?;
    io.close(&file.path).await?;
    Ok(*last == LAST_BYTES)
}

/// The snapshot that counts, and what was passed over.
pub(crate) struct Loaded<S> {
    /// State and file, if there is a valid one.
    pub(crate) found: Option<(S, SnapshotFile)>,
    /// Newer ones that could not be used, with why.
    pub(crate) skipped: Vec<(SnapshotFile, String)>,
}

/// Loads the newest snapshot that is whole and whose checksums are right.
pub(crate) async fn load_newest<S: State>(
    io: &Io,
    files: &[SnapshotFile],
    options: &S::Options,
    meter: &mut Meter<S>,
) -> Result<Loaded<S>, DiskError> {
    let mut skipped = Vec::new();
    for file in files.iter().take(MOST_TRIED) {
        let why = if file.compressed {
            String::from("compressed snapshots are not read yet")
        } else if !looks_complete(io, file).await? {
            String::from("it is not complete")
        } else {
            match load::<S>(io, file, options, meter).await? {
                Ok(state) => return Ok(Loaded { found: Some((state, file.clone())), skipped }),
                Err(why) => why,
            }
        };
        tracing::warn!("snapshot {} is passed over: {why}", file.path);
        skipped.push((file.clone(), why));
    }
    Ok(Loaded { found: None, skipped })
}

/// Loads one snapshot; the inner error says why it cannot be used.
async fn load<S: State>(
    io: &Io,
    file: &SnapshotFile,
    options: &S::Options,
    meter: &mut Meter<S>,
) -> Result<Result<S, String>, DiskError> {
    let header = io.read(&file.path, 0, HEADER_LEN).await?;
    let mut unsealer = match Unsealer::new(&header) {
        Ok(unsealer) => unsealer,
        Err(why) => return Ok(Err(format!("{why}"))),
    };
    let mut decoder = S::decoder(options);
    let (mut at, mut body_ended) = (HEADER_LEN as u64, false);
    while at < file.len {
        let bytes: Bytes = io.read(&file.path, at, CHUNK.min((file.len - at) as usize)).await?;
        if bytes.is_empty() {
            break;
        }
        at += bytes.len() as u64;
        meter.bytes(bytes.len() as u64);
        let mut tail = bytes.clone();
        if !body_ended {
            let end = match decoder.push(&bytes) {
                Ok(end) => end,
                Err(why) => return Ok(Err(why)),
            };
            body_ended = end.is_some();
            tail = tail.split_off(end.unwrap_or(bytes.len()).min(bytes.len()));
            unsealer.body(bytes.get(..bytes.len() - tail.len()).unwrap_or_default());
        }
        if let Err(why) = unsealer.tail(&tail) {
            return Ok(Err(format!("{why}")));
        }
    }
    io.close(&file.path).await?;
    if !body_ended {
        return Ok(Err(String::from("its body does not end")));
    }
    let tail = match unsealer.finish() {
        Ok(tail) => tail,
        Err(why) => return Ok(Err(format!("{why}"))),
    };
    Ok(decoder.finish().map(|mut state| {
        state.loaded(file.zxid, usable_digest(tail.digest, file.zxid));
        state
    }))
}

/// A digest of another version, or of before the snapshot's own zxid, can never be compared.
fn usable_digest(digest: Option<SnapshotDigest>, zxid: Zxid) -> Option<SnapshotDigest> {
    digest.filter(|digest| digest.version == DIGEST_VERSION && digest.zxid >= zxid)
}
