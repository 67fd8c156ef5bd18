//! Executes the disk machine's file operations with the operating system's files.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use zabkeeper_core::disk::{Completion, DirEntry, FailureKind, FileOp, FilePath};

/// Executes one operation at a time. Keeps a file open from its first use until it is closed,
/// renamed or deleted. Knows nothing of what is in a file.
#[derive(Default, Debug)]
pub struct Files {
    open: HashMap<FilePath, File>,
}

impl Files {
    /// No file is open.
    pub fn new() -> Files {
        Files::default()
    }

    /// Carries out the operation; blocks until it is done.
    pub fn execute(&mut self, op: &FileOp) -> Completion {
        match self.try_execute(op) {
            Ok(completion) => completion,
            Err(e) => failed(&e),
        }
    }

    fn try_execute(&mut self, op: &FileOp) -> io::Result<Completion> {
        match op {
            FileOp::MakeDir { path } => fs::create_dir_all(&**path)?,
            FileOp::List { path } => return list(Path::new(&**path)).map(Completion::Listing),
            FileOp::Create { path } => {
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).create(true).truncate(true);
                self.open.insert(path.clone(), file.open(&**path)?);
            }
            FileOp::Write { path, offset, bytes } => {
                self.file(path)?.write_all_at(bytes, *offset)?;
            }
            FileOp::SetLen { path, len } => self.file(path)?.set_len(*len)?,
            FileOp::SyncData { path } => self.file(path)?.sync_data()?,
            FileOp::SyncDir { path } => File::open(&**path)?.sync_all()?,
            FileOp::Rename { from, to } => {
                self.open.remove(from);
                self.open.remove(to);
                fs::rename(&**from, &**to)?;
            }
            FileOp::Delete { path } => {
                self.open.remove(path);
                fs::remove_file(&**path)?;
            }
            FileOp::Read { path, offset, len } => {
                return read(self.file(path)?, *offset, *len).map(Completion::Data);
            }
            FileOp::Close { path } => {
                self.open.remove(path);
            }
        }
        Ok(Completion::Done)
    }

    fn file(&mut self, path: &FilePath) -> io::Result<&File> {
        if !self.open.contains_key(path) {
            // A file that may only be read (a backup's) can still be recovered from.
            let file = match OpenOptions::new().read(true).write(true).open(&**path) {
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => File::open(&**path),
                opened => opened,
            };
            self.open.insert(path.clone(), file?);
        }
        self.open.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The answer to an operation that failed so.
pub(crate) fn failed(e: &io::Error) -> Completion {
    Completion::Failed { kind: kind(e), text: e.to_string() }
}

pub(crate) fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        // The machine's own names are ASCII: any other file is none of its business.
        if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
            entries.push(DirEntry { name, len: metadata.len() });
        }
    }
    Ok(entries)
}

pub(crate) fn read(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let left = file.metadata()?.len().saturating_sub(offset);
    let mut buffer = vec![0; len.min(usize::try_from(left).unwrap_or(usize::MAX))];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

fn kind(e: &io::Error) -> FailureKind {
    match e.kind() {
        io::ErrorKind::NotFound => FailureKind::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::NoSpace,
        _not_distinguished => FailureKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_from_creation_to_deletion() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| FilePath::from(dir.path().join(name).to_str().unwrap());
        let (inner, a, b) = (at("x/y"), at("x/y/a"), at("x/y/b"));
        let mut files = Files::new();
        let mut done = |op: FileOp| match files.execute(&op) {
            Completion::Failed { kind, text } => panic!("{op:?}: {kind:?} {text}"),
            completion => completion,
        };
        done(FileOp::MakeDir { path: inner.clone() });
        done(FileOp::Create { path: a.clone() });
        done(FileOp::Write { path: a.clone(), offset: 2, bytes: Bytes::from_static(b"abc") });
        done(FileOp::SetLen { path: a.clone(), len: 6 });
        done(FileOp::SyncData { path: a.clone() });
        done(FileOp::Rename { from: a.clone(), to: b.clone() });
        done(FileOp::SyncDir { path: inner.clone() });
        let data = done(FileOp::Read { path: b.clone(), offset: 1, len: 99 });
        assert_eq!(data, Completion::Data(Bytes::from_static(b"\0abc\0")));
        let past_the_end = done(FileOp::Read { path: b.clone(), offset: 10, len: 1 });
        assert_eq!(past_the_end, Completion::Data(Bytes::new()));
        let listing = done(FileOp::List { path: inner.clone() });
        assert_eq!(listing, Completion::Listing(vec![DirEntry { name: "b".into(), len: 6 }]));
        done(FileOp::Delete { path: b.clone() });
        for op in [
            FileOp::Read { path: b.clone(), offset: 0, len: 1 },
            FileOp::Delete { path: b },
            FileOp::List { path: a },
        ] {
            let completion = files.execute(&op);
            let Completion::Failed { kind, text } = completion else { panic!("{completion:?}") };
            assert_eq!(kind, FailureKind::NotFound);
            assert!(text.contains("No such file"), "{text}");
        }
    }
}
