//! The files of a journal.

use std::fs;
use std::path::{Path, PathBuf};

use zabkeeper_core::journal::segment_number;

use super::Error;

/// One file.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

/// The segments of a journal, oldest first.
pub(super) fn segments(journal: &Path) -> Result<Vec<Segment>, Error> {
    let none = || Error::NoJournal(journal.to_path_buf());
    let name = journal.file_name().and_then(|name| name.to_str()).ok_or_else(none)?;
    let dir = journal.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file_error = |error| Error::File { path: dir.to_path_buf(), error };
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(file_error)? {
        let path = entry.map_err(file_error)?.path();
        let file_name = path.file_name().and_then(|name| name.to_str());
        if let Some(number) = file_name.and_then(|file| segment_number(name, file)) {
            all.push(Segment { number, path });
        }
    }
    if all.is_empty() {
        return Err(none());
    }
    all.sort_by_key(|segment| segment.number);
    Ok(all)
}
