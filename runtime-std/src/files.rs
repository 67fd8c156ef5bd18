//! Executes the file operations of the disk machine.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::Errno;
use zabkeeper_core::disk::{Completion, DirEntry, FailureKind, FileOp, FilePath};

use crate::descriptors;

/// The mode of created files: only the owner may read the clients' data.
pub(crate) const FILE_MODE: u32 = 0o600;
/// The mode of created directories.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;
/// How long an operation waits for a file descriptor.
const DESCRIPTOR_WAIT: Duration = Duration::from_secs(30);
/// Between two attempts to get a file descriptor.
const PAUSE: Duration = Duration::from_millis(50);
/// The size of the pieces of padding where a file system cannot extend files.
const PIECE: usize = 1 << 20;

/// Executes one operation at a time. Keeps a file open from its first use until it is closed,
/// renamed or deleted. The contents of files are opaque to it.
///
/// Operations that a signal interrupts are repeated, and operations that lack a file descriptor
/// wait for one. Optional features that a file system lacks are replaced, with one log line.
#[derive(Debug)]
pub(crate) struct Files {
    open: HashMap<FilePath, File>,
    /// Missing features that are logged already, with the directory.
    unsupported: HashSet<(&'static str, FilePath)>,
    descriptor_wait: Duration,
    #[cfg(test)]
    faults: tests::Faults,
}

impl Default for Files {
    fn default() -> Files {
        Files::new()
    }
}

impl Files {
    /// An executor without open files.
    pub(crate) fn new() -> Files {
        Files {
            open: HashMap::new(),
            unsupported: HashSet::new(),
            descriptor_wait: DESCRIPTOR_WAIT,
            #[cfg(test)]
            faults: tests::Faults::default(),
        }
    }

    /// Executes an operation; blocks until it is done.
    pub(crate) fn execute(&mut self, op: &FileOp) -> Completion {
        let began = Instant::now();
        let mut waited = false;
        loop {
            match self.try_execute(op) {
                Ok(completion) => {
                    if waited {
                        tracing::warn!(
                            "{} {}: done after waiting {} ms for a file descriptor",
                            op.verb(),
                            op.path(),
                            began.elapsed().as_millis()
                        );
                    }
                    return completion;
                }
                // Only the opening of a file fails with these errors: nothing has changed yet.
                Err(e)
                    if descriptors::are_exhausted(&e) && began.elapsed() < self.descriptor_wait =>
                {
                    if !waited {
                        tracing::warn!(
                            "{} {}: waiting for a file descriptor, writes are not acknowledged: {}",
                            op.verb(),
                            op.path(),
                            descriptors::in_words(&e)
                        );
                    }
                    waited = true;
                    thread::sleep(PAUSE);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted && can_be_repeated(op) => {}
                Err(e) => return failed(&e),
            }
        }
    }

    fn try_execute(&mut self, op: &FileOp) -> io::Result<Completion> {
        self.fault(op.verb())?;
        match op {
            FileOp::MakeDir { path } => {
                DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&**path)?;
            }
            FileOp::List { path } => return list(Path::new(&**path)).map(Completion::Listing),
            FileOp::Create { path } => {
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).create(true).truncate(true);
                self.open.insert(path.clone(), file.mode(FILE_MODE).open(&**path)?);
            }
            FileOp::Write { path, offset, bytes } => {
                self.file(path)?.write_all_at(bytes, *offset)?;
            }
            FileOp::SetLen { path, len } => self.set_len(path, *len)?,
            FileOp::SyncData { path } => self.file(path)?.sync_data()?,
            FileOp::SyncDir { path } => self.sync_dir(path)?,
            FileOp::Rename { from, to } => {
                self.open.remove(from);
                self.open.remove(to);
                keep_mode(from, to)?;
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
            // Recovery can read a file that is not writable, a restored one for example.
            let file = match OpenOptions::new().read(true).write(true).open(&**path) {
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => File::open(&**path),
                opened => opened,
            };
            self.open.insert(path.clone(), file?);
        }
        self.open.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes zeros where the file system cannot extend a file.
    fn set_len(&mut self, path: &FilePath, len: u64) -> io::Result<()> {
        let extended = self.fault("extend").and_then(|()| self.file(path)?.set_len(len));
        let Err(e) = extended else { return Ok(()) };
        let end = self.file(path)?.metadata()?.len();
        // Some file systems report EPERM.
        let cannot = is_unsupported(&e) || Errno::from_io_error(&e) == Some(Errno::PERM);
        if !cannot || len <= end {
            return Err(e);
        }
        self.warn_once("extend files", directory(path), &e, "writing zeros as padding");
        let zeros = vec![0; PIECE];
        let (file, mut at) = (self.file(path)?, end);
        while at < len {
            let piece = usize::try_from(len - at).unwrap_or(PIECE).min(PIECE);
            file.write_all_at(zeros.get(..piece).unwrap_or_default(), at)?;
            at += piece as u64;
        }
        Ok(())
    }

    fn sync_dir(&mut self, path: &FilePath) -> io::Result<()> {
        let dir = File::open(&**path)?;
        match self.fault("fsync").and_then(|()| dir.sync_all()) {
            Err(e) if is_unsupported(&e) => {
                self.warn_once("sync directories", path, &e, CANNOT_SYNC);
                Ok(())
            }
            synced => synced,
        }
    }

    /// Lets tests inject an error.
    fn fault(&mut self, _verb: &str) -> io::Result<()> {
        #[cfg(test)]
        self.faults.strike(_verb)?;
        Ok(())
    }

    fn warn_once(&mut self, what: &'static str, dir: &str, e: &io::Error, effect: &str) {
        if self.unsupported.insert((what, FilePath::from(dir))) {
            tracing::warn!("{dir}: the file system cannot {what} ({e}): {effect}");
        }
    }
}

const CANNOT_SYNC: &str = "a power failure may lose the newest files";

/// Makes creations and deletions in a directory durable, if the file system supports that.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        Err(e) if is_unsupported(&e) => {
            let dir = dir.display();
            tracing::warn!("{dir}: the file system cannot sync directories ({e}): {CANNOT_SYNC}");
            Ok(())
        }
        synced => synced,
    }
}

/// Whether an error means that the file system does not support an operation.
pub(crate) fn is_unsupported(e: &io::Error) -> bool {
    const CANNOT: [Errno; 5] =
        [Errno::INVAL, Errno::BADF, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTSUP];
    Errno::from_io_error(e).is_some_and(|errno| CANNOT.contains(&errno))
}

/// Whether an interrupted operation can be repeated: a rename or deletion may be done already.
fn can_be_repeated(op: &FileOp) -> bool {
    !matches!(op, FileOp::Rename { .. } | FileOp::Delete { .. })
}

/// Gives a file the mode of the file that it replaces.
fn keep_mode(from: &FilePath, to: &FilePath) -> io::Result<()> {
    let Ok(old) = fs::metadata(&**to) else { return Ok(()) };
    let new = fs::metadata(&**from)?;
    if old.permissions().mode() != new.permissions().mode() {
        // A file system that cannot set modes ignores them.
        let _ = fs::set_permissions(&**from, old.permissions());
    }
    Ok(())
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(dir, _)| dir)
}

/// The completion of a failed operation.
pub(crate) fn failed(e: &io::Error) -> Completion {
    Completion::Failed { kind: kind(e), text: descriptors::in_words(e) }
}

pub(crate) fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        // The disk machine uses ASCII names only: other files are ignored.
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
        _ if descriptors::are_exhausted(e) => FailureKind::NoDescriptors,
        io::ErrorKind::NotFound => FailureKind::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::NoSpace,
        _not_distinguished => FailureKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// The operations that fail next, with their errors.
    #[derive(Default, Debug)]
    pub(super) struct Faults(VecDeque<(&'static str, Errno)>);

    impl Faults {
        pub(super) fn strike(&mut self, verb: &str) -> io::Result<()> {
            match self.0.pop_front_if(|(failing, _)| *failing == verb) {
                Some((_, errno)) => Err(errno.into()),
                None => Ok(()),
            }
        }
    }

    struct TestDir {
        dir: tempfile::TempDir,
        files: Files,
    }

    impl TestDir {
        fn new(faults: &[(&'static str, Errno)]) -> TestDir {
            let mut files = Files { descriptor_wait: Duration::from_secs(20), ..Files::new() };
            files.faults.0.extend(faults);
            TestDir { dir: tempfile::tempdir().unwrap(), files }
        }
        fn at(&self, name: &str) -> FilePath {
            FilePath::from(self.dir.path().join(name).to_str().unwrap())
        }
        fn mode(&self, name: &str) -> u32 {
            fs::metadata(self.dir.path().join(name)).unwrap().permissions().mode() & 0o7777
        }
        /// Every operation, in an order in which each can be executed.
        fn all(&self) -> Vec<FileOp> {
            let (dir, a, b) = (self.at("x"), self.at("x/a"), self.at("x/b"));
            vec![
                FileOp::MakeDir { path: dir.clone() },
                FileOp::Create { path: a.clone() },
                FileOp::Write { path: a.clone(), offset: 0, bytes: Bytes::from_static(b"abc") },
                FileOp::SetLen { path: a.clone(), len: 2_500_000 },
                FileOp::SyncData { path: a.clone() },
                FileOp::Rename { from: a, to: b.clone() },
                FileOp::SyncDir { path: dir.clone() },
                FileOp::Read { path: b.clone(), offset: 0, len: 3 },
                FileOp::List { path: dir },
                FileOp::Delete { path: b.clone() },
                FileOp::Close { path: b },
            ]
        }
    }

    #[test]
    fn missing_optional_feature_of_a_file_system_is_no_failure() {
        for errno in [Errno::INVAL, Errno::BADF, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM] {
            for failing in ["extend", "fsync"] {
                let mut place = TestDir::new(&[(failing, errno)]);
                for op in place.all() {
                    let completion = place.files.execute(&op);
                    let is_failed = matches!(completion, Completion::Failed { .. });
                    // EPERM of a sync is a failure.
                    let is_fatal = failing == "fsync" && errno == Errno::PERM;
                    assert_eq!(is_failed, is_fatal && op.verb() == "sync directory", "{errno:?}");
                    if let FileOp::SetLen { path, len } = &op {
                        let written = fs::read(&**path).unwrap();
                        assert_eq!((written.len() as u64, &written[..4]), (*len, &b"abc\0"[..]));
                    }
                }
                assert!(place.files.faults.0.is_empty(), "{failing}");
            }
        }
    }

    #[test]
    fn errors_of_required_operations_are_failures() {
        for (failing, errno) in [
            ("fsync", Errno::IO),
            ("extend", Errno::IO),
            ("extend", Errno::NOSPC),
            ("list", Errno::OPNOTSUPP),
            ("make directory", Errno::OPNOTSUPP),
            ("rename", Errno::OPNOTSUPP),
            ("sync", Errno::OPNOTSUPP),
            ("delete", Errno::OPNOTSUPP),
        ] {
            let mut place = TestDir::new(&[(failing, errno)]);
            let failed = place
                .all()
                .iter()
                .any(|op| matches!(place.files.execute(op), Completion::Failed { .. }));
            assert!(failed, "{failing} {errno:?}");
        }
        let mut place = TestDir::new(&[]);
        let all = place.all();
        all[..4].iter().for_each(|op| drop(place.files.execute(op)));
        place.files.faults.0.push_back(("extend", Errno::OPNOTSUPP));
        let cut = place.files.execute(&FileOp::SetLen { path: place.at("x/a"), len: 1 });
        assert!(matches!(cut, Completion::Failed { .. }), "{cut:?}");
    }

    #[test]
    fn interrupted_and_descriptorless_operations_are_repeated() {
        let verbs = TestDir::new(&[]).all();
        for errno in [Errno::INTR, Errno::MFILE, Errno::NFILE] {
            for verb in verbs.iter().map(FileOp::verb) {
                let is_repeated = errno != Errno::INTR || !["rename", "delete"].contains(&verb);
                let mut place = TestDir::new(&[(verb, errno), (verb, errno)]);
                let mut failures = 0;
                for op in place.all() {
                    let completion = place.files.execute(&op);
                    failures += usize::from(matches!(completion, Completion::Failed { .. }));
                }
                assert_eq!(failures == 0, is_repeated, "{verb} {errno:?}");
            }
        }
    }

    #[test]
    fn wait_for_descriptors_is_limited() {
        let mut place = TestDir::new(&[("create", Errno::MFILE); 3]);
        place.files.descriptor_wait = Duration::ZERO;
        let completion = place.files.execute(&FileOp::Create { path: place.at("a") });
        let Completion::Failed { kind, text } = completion else { panic!("{completion:?}") };
        assert_eq!(kind, FailureKind::NoDescriptors);
        assert!(text.contains("ulimit -n, LimitNOFILE"), "{text}");
    }

    #[test]
    fn created_files_are_private_and_replaced_files_keep_their_mode() {
        let mut place = TestDir::new(&[]);
        fs::write(&*place.at("old"), "1").unwrap();
        fs::set_permissions(&*place.at("old"), PermissionsExt::from_mode(0o644)).unwrap();
        let (new, old) = (place.at("new"), place.at("old"));
        for op in [
            FileOp::MakeDir { path: place.at("x/y") },
            FileOp::Create { path: place.at("x/kept") },
            FileOp::Create { path: new.clone() },
            FileOp::Rename { from: new, to: old },
        ] {
            assert_eq!(place.files.execute(&op), Completion::Done);
        }
        let modes = ["x", "x/y", "x/kept", "old"].map(|name| place.mode(name));
        assert_eq!(modes, [0o700, 0o700, 0o600, 0o644]);
    }

    #[test]
    fn file_lives_from_creation_to_deletion() {
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
