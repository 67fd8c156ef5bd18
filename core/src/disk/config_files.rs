//! The files of a configuration that changes: `zoo.cfg.dynamic.<version>`, `.dynamic.next`, and
//! `zoo.cfg` itself, which points to one of them (`QuorumPeerConfig.writeDynamicConfig`,
//! `editStaticConfig`, `backupOldConfig`).
//!
//! Each is replaced as a whole, and the one that is pointed to is durable before `zoo.cfg` points
//! to it: a crash leaves the old configuration, with the new one as the next, or the new one.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::files::FilePath;
use super::io::{DiskError, Io};
use crate::action::ConfigSave;
use crate::config::{Config, decode, encode, point_to};

/// No configuration is longer.
const MOST_BYTES: usize = 16 << 20;

/// Writes a configuration beside this `zoo.cfg`.
pub(crate) async fn save(io: &Io, zoo_cfg: &str, save: ConfigSave) -> Result<(), DiskError> {
    let beside = |suffix: &str| -> FilePath { Arc::from(format!("{zoo_cfg}.{suffix}")) };
    let next = beside("dynamic.next");
    match save {
        ConfigSave::Next { text } => replace(io, &next, &text).await,
        ConfigSave::Current { version, text, erases_client, keeps_next } => {
            let dynamic = beside(&format!("dynamic.{version:x}"));
            replace(io, &dynamic, &text).await?;
            let zoo_cfg = FilePath::from(zoo_cfg);
            let old = read(io, &zoo_cfg).await?;
            if Config::dynamic_file(&old).is_none() {
                // The members leave it: as it was, it may be wanted again.
                replace(io, &beside("bak"), &old).await?;
            }
            replace(io, &zoo_cfg, &point_to(&old, &dynamic, erases_client)).await?;
            if keeps_next {
                return Ok(());
            }
            // If it comes back after a crash, it is not newer than what counts.
            io.delete_if_there(&next).await
        }
    }
}

/// Written aside, synced, renamed, directory synced.
async fn replace(io: &Io, path: &FilePath, text: &str) -> Result<(), DiskError> {
    let aside: FilePath = Arc::from(format!("{path}.tmp"));
    io.create(&aside).await?;
    io.write(&aside, 0, Bytes::from(encode(text))).await?;
    io.sync_data(&aside).await?;
    io.rename(&aside, path).await?;
    let dir = match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((dir, _)) => dir,
        None => ".",
    };
    io.sync_dir(&FilePath::from(dir)).await
}

async fn read(io: &Io, path: &FilePath) -> Result<String, DiskError> {
    let mut all = Vec::new();
    loop {
        let part = io.read(path, all.len() as u64, MOST_BYTES).await?;
        if part.is_empty() || all.len() > MOST_BYTES {
            break;
        }
        all.extend_from_slice(&part);
    }
    io.close(path).await?;
    Ok(decode(&all))
}
