//! Finds and loads the newest valid snapshot (`FileSnap.deserialize`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::disk::compression::{Compression, Decompressor};
use crate::disk::files::{DirEntry, DirLayout, FilePath, Named, join};
use crate::disk::io::{DiskError, Io};
use crate::disk::log::reader::CHUNK;
use crate::disk::recovery::Meter;
use crate::disk::snapshot::format::{
    DIGEST_VERSION, HEADER_LEN, LAST_BYTES, SnapshotDigest, SnapshotTail, Unsealer, Unsound,
};
use crate::disk::state::{SnapshotDecoder, State};
use crate::types::Zxid;

/// How many snapshots are tried.
const MOST_TRIED: usize = 100;

/// A snapshot file that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) zxid: Zxid,
    pub(crate) path: FilePath,
    pub(crate) len: u64,
    pub(crate) compression: Compression,
}

/// The snapshots of a listing, newest first.
pub(crate) fn snapshots(layout: &DirLayout, listing: &[DirEntry]) -> Vec<SnapshotFile> {
    let mut found: Vec<SnapshotFile> = listing
        .iter()
        .filter_map(|file| {
            let Named::Snapshot(zxid, compression) = Named::parse(&file.name) else { return None };
            let path = join(&layout.data, &file.name);
            Some(SnapshotFile { zxid, path, len: file.len, compression })
        })
        .collect();
    found.sort_by(|a, b| b.zxid.cmp(&a.zxid).then_with(|| a.path.cmp(&b.path)));
    found
}

/// The pre-check by length and last bytes, or by the first ones of what is compressed
/// (`SnapStream.isValidSnapshot`).
pub(crate) async fn looks_complete(io: &Io, file: &SnapshotFile) -> Result<bool, DiskError> {
    if file.compression != Compression::None {
        let magic = file.compression.magic();
        let first = io.read(&file.path, 0, magic.len()).await?;
        io.close(&file.path).await?;
        return Ok(*first == *magic);
    }
    if file.len < (HEADER_LEN + LAST_BYTES.len()) as u64 {
        return Ok(false);
    }
    let from = file.len - LAST_BYTES.len() as u64;
    let last = io.read(&file.path, from, LAST_BYTES.len()).await?;
    io.close(&file.path).await?;
    Ok(*last == LAST_BYTES)
}

/// The snapshot that counts, and what was passed over.
pub(crate) struct Loaded<S> {
    /// State, file and what follows its body, if there is a valid one.
    pub(crate) found: Option<(S, SnapshotFile, SnapshotTail)>,
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
        let why = if !looks_complete(io, file).await? {
            String::from("it is not complete")
        } else {
            match load::<S>(io, file, options, meter).await? {
                Ok((state, tail)) => {
                    return Ok(Loaded { found: Some((state, file.clone(), tail)), skipped });
                }
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
) -> Result<Result<(S, SnapshotTail), String>, DiskError> {
    let mut decoder = S::decoder(options);
    let read = read(io, file, &mut |bytes| decoder.push(bytes), &mut |n| meter.bytes(n)).await;
    io.close(&file.path).await?;
    Ok(read?.and_then(|tail| {
        let mut state = decoder.finish()?;
        state.loaded(file.zxid, usable_digest(tail.digest, file.zxid));
        Ok((state, tail))
    }))
}

/// Reads all of one snapshot. `body` takes its body as a [`SnapshotDecoder`] does, `seen` how
/// many bytes of the file were read. The inner error says why it cannot be used.
pub(crate) async fn read(
    io: &Io,
    file: &SnapshotFile,
    body: &mut impl FnMut(&Bytes) -> Result<Option<usize>, String>,
    seen: &mut impl FnMut(u64),
) -> Result<Result<SnapshotTail, String>, DiskError> {
    let mut content = Content { header: BytesMut::new(), unsealer: None, body, body_ended: false };
    let mut decompressor = Decompressor::new(file.compression);
    let mut at = 0;
    while at < file.len {
        // The header by itself first: what has none is not read any further.
        let most = if at == 0 { HEADER_LEN } else { CHUNK };
        let bytes: Bytes = io.read(&file.path, at, most.min((file.len - at) as usize)).await?;
        if bytes.is_empty() {
            break;
        }
        at += bytes.len() as u64;
        seen(bytes.len() as u64);
        decompressor.push(bytes);
        loop {
            match decompressor.next() {
                Ok(None) => break,
                Ok(Some(piece)) => {
                    if let Err(why) = content.push(piece) {
                        return Ok(Err(why));
                    }
                }
                Err(why) => return Ok(Err(format!("{why}"))),
            }
        }
    }
    Ok(match decompressor.finish() {
        Ok(()) => content.finish(),
        Err(why) => Err(format!("{why}")),
    })
}

/// A snapshot's content as it comes.
struct Content<'a, F> {
    header: BytesMut,
    /// Since the header is complete.
    unsealer: Option<Unsealer>,
    body: &'a mut F,
    body_ended: bool,
}

impl<F: FnMut(&Bytes) -> Result<Option<usize>, String>> Content<'_, F> {
    fn push(&mut self, mut bytes: Bytes) -> Result<(), String> {
        let unsealer = match &mut self.unsealer {
            Some(unsealer) => unsealer,
            None => {
                let missing = HEADER_LEN - self.header.len();
                self.header.extend_from_slice(&bytes.split_to(missing.min(bytes.len())));
                if self.header.len() < HEADER_LEN {
                    return Ok(());
                }
                let unsealer = Unsealer::new(&self.header).map_err(|why| format!("{why}"))?;
                self.unsealer.insert(unsealer)
            }
        };
        if !self.body_ended && !bytes.is_empty() {
            let end = (self.body)(&bytes)?;
            self.body_ended = end.is_some();
            let tail = bytes.split_off(end.unwrap_or(bytes.len()).min(bytes.len()));
            unsealer.body(&bytes);
            bytes = tail;
        }
        unsealer.tail(&bytes).map_err(|why| format!("{why}"))
    }

    fn finish(self) -> Result<SnapshotTail, String> {
        let unsealer = self.unsealer.ok_or_else(|| format!("{}", Unsound::Header))?;
        if !self.body_ended {
            return Err(String::from("its body does not end"));
        }
        unsealer.finish().map_err(|why| format!("{why}"))
    }
}

/// A digest of another version, or of before the snapshot's own zxid, can never be compared.
fn usable_digest(digest: Option<SnapshotDigest>, zxid: Zxid) -> Option<SnapshotDigest> {
    digest.filter(|digest| digest.version == DIGEST_VERSION && digest.zxid >= zxid)
}
