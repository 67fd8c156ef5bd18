//! `zabkeeper inspect`: reads files and prints the findings of the core.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use zabkeeper_core::disk::{Completion, FileOp, FilePath, STORABLE_BYTES, VERSION_DIR};
use zabkeeper_core::inspect::{self, Finding, InspectError, Options, Target};
use zabkeeper_core::types::Zxid;

use crate::command_line::InspectArgs;
use crate::exit::Failure;
use crate::files;

/// Exit code: everything is sound, or equal.
pub(crate) const SOUND: i32 = 0;
/// Exit code: something is damaged, a server would refuse to start, or there is a difference.
pub(crate) const UNSOUND: i32 = 1;
/// Exit code: nothing could be checked.
pub(crate) const NO_ANSWER: i32 = 2;

/// Runs the command and prints to stdout. Returns the exit code.
///
/// # Errors
/// Nothing could be checked.
pub(crate) fn run(args: &InspectArgs) -> Result<i32, Failure> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let code = print(args, &mut out);
    match (code, out.flush()) {
        (Ok(code), Ok(())) => Ok(code),
        // The reader has closed the pipe, as `head` does.
        (_, Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(SOUND),
        (Err(failure), _) => Err(failure),
        (Ok(_), Err(e)) => Err(Failure::new(NO_ANSWER, format!("stdout: {e}"))),
    }
}

/// Runs the command and prints to `out`. Returns the exit code.
///
/// # Errors
/// Nothing could be checked.
pub(crate) fn print(args: &InspectArgs, out: &mut impl Write) -> Result<i32, Failure> {
    let paths = args.paths().map_err(|what| Failure::new(NO_ANSWER, what))?;
    let subjects = paths.iter().map(|path| Subject::find(path, args.log_dir.as_deref()));
    let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
    let mut read_only = ReadOnly::default();
    let mut execute = |op: &FileOp| read_only.execute(op);
    let mut written = Ok(());
    let mut sink = |line: &Finding| {
        written = write_line(out, line, args.json);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let result = match &*subjects {
        [Subject::File(target)] => {
            inspect::file(&mut execute, target, &args.options(true), &mut sink)
        }
        [Subject::Directory { data, logs }] => {
            inspect::directory(&mut execute, data, logs, &args.options(false), &mut sink)
        }
        [Subject::File(a), Subject::File(b)] => {
            inspect::compare_files(&mut execute, [a, b], &args.options(true), &mut sink)
        }
        [Subject::Directory { data: a, logs: la }, Subject::Directory { data: b, logs: lb }] => {
            let dirs = [(&**a, &**la), (&**b, &**lb)];
            inspect::compare_directories(&mut execute, dirs, &args.options(false), &mut sink)
        }
        _ => Err(InspectError::Failed(String::from("a file and a directory cannot be compared"))),
    };
    match (written, result) {
        (Err(e), _) if e.kind() == io::ErrorKind::BrokenPipe => Ok(SOUND),
        (Err(e), _) => Err(Failure::new(NO_ANSWER, format!("stdout: {e}"))),
        (Ok(()), Ok(true)) => Ok(SOUND),
        (Ok(()), Ok(false)) => Ok(UNSOUND),
        (Ok(()), Err(e)) => Err(Failure::new(NO_ANSWER, e.to_string())),
    }
}

fn write_line(out: &mut impl Write, line: &Finding, json: bool) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
        out.write_all(b"\n")
    } else {
        writeln!(out, "{line}")
    }
}

/// The object at a path of the command line.
enum Subject {
    File(Target),
    Directory { data: String, logs: String },
}

impl Subject {
    fn find(path: &Path, log_dir: Option<&Path>) -> Result<Subject, Failure> {
        let shown = path.display();
        let failure = |what: String| Failure::new(NO_ANSWER, what);
        let metadata = fs::metadata(path).map_err(|e| failure(format!("{shown}: {e}")))?;
        let text = |path: &Path| {
            let text = path.to_str().map(String::from);
            text.ok_or_else(|| failure(format!("{}: the path is not UTF-8", path.display())))
        };
        if metadata.is_file() {
            return Ok(Subject::File(Target { path: text(path)?.into(), len: metadata.len() }));
        }
        if !metadata.is_dir() {
            return Err(failure(format!("{shown}: expected a file or a directory")));
        }
        // `dataDir/version-2` stands for `dataDir`.
        let above = |path: &Path| -> Result<PathBuf, Failure> {
            if path.file_name().is_some_and(|name| name == VERSION_DIR) {
                let whole = path.canonicalize();
                let whole = whole.map_err(|e| failure(format!("{}: {e}", path.display())))?;
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.map(Path::to_path_buf);
                return Ok(parent.or(whole.parent().map(Path::to_path_buf)).unwrap_or(whole));
            }
            Ok(path.to_path_buf())
        };
        let data = above(path)?;
        if !data.join(VERSION_DIR).is_dir() {
            let what =
                format!("{shown}: expected a data directory, but it contains no {VERSION_DIR}");
            return Err(failure(what));
        }
        let logs = log_dir.map_or(Ok(data.clone()), above)?;
        Ok(Subject::Directory { data: text(&data)?, logs: text(&logs)? })
    }
}

/// An executor of file operations that only lists and reads.
#[derive(Default)]
struct ReadOnly {
    open: HashMap<FilePath, File>,
}

impl ReadOnly {
    fn execute(&mut self, op: &FileOp) -> Completion {
        let completion = match op {
            FileOp::List { path } => files::list(Path::new(&**path)).map(Completion::Listing),
            FileOp::Read { path, offset, len } => self.read(path, *offset, *len),
            FileOp::Close { path } => {
                self.open.remove(path);
                Ok(Completion::Done)
            }
            FileOp::MakeDir { .. }
            | FileOp::Create { .. }
            | FileOp::Write { .. }
            | FileOp::SetLen { .. }
            | FileOp::SyncData { .. }
            | FileOp::SyncDir { .. }
            | FileOp::Rename { .. }
            | FileOp::Delete { .. } => Err(io::ErrorKind::PermissionDenied.into()),
        };
        completion.unwrap_or_else(|e| files::failed(&e))
    }

    fn read(&mut self, path: &FilePath, offset: u64, len: usize) -> io::Result<Completion> {
        if !self.open.contains_key(path) {
            self.open.insert(path.clone(), File::open(&**path)?);
        }
        let file = self.open.get(path).ok_or(io::ErrorKind::NotFound)?;
        files::read(file, offset, len).map(Completion::Data)
    }
}

/// Parses a hexadecimal zxid, with or without `0x`.
///
/// # Errors
/// The text is not a zxid.
pub(crate) fn parse_zxid(text: &str) -> Result<Zxid, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    match i64::from_str_radix(digits, 16) {
        Ok(zxid) if zxid >= 0 => Ok(Zxid(zxid)),
        _ => Err(String::from("expected a hexadecimal zxid, for example 0x10000002a")),
    }
}

impl InspectArgs {
    /// One path, or the two paths of a comparison.
    fn paths(&self) -> Result<Vec<&Path>, String> {
        let paths: Vec<&Path> = match &*self.diff {
            [] => self.path.iter().map(PathBuf::as_path).collect(),
            two => two.iter().map(PathBuf::as_path).collect(),
        };
        if paths.len() > 1 && self.log_dir.is_some() {
            return Err(String::from(
                "--log-dir cannot be used with --diff: name directories that contain logs and snapshots",
            ));
        }
        Ok(paths)
    }

    fn options(&self, is_file: bool) -> Options {
        let defaults = Options::default();
        Options {
            from: self.from.unwrap_or(defaults.from),
            to: self.to.unwrap_or(defaults.to),
            // A directory has too many transactions to list them by default.
            transactions: !self.summary && (is_file || self.transactions),
            znodes: self.nodes,
            data: self.data,
            sums: !self.summary,
            depth: self.depth,
            subtree: self.subtree.clone(),
            max_record_bytes: self.jute_maxbuffer.saturating_mul(2).max(STORABLE_BYTES),
            retain: self.retain,
            ensemble: match (self.standalone, self.member) {
                (true, _) => Some(false),
                (_, true) => Some(true),
                _ => None,
            },
            trust_empty: self.trust_empty,
        }
    }
}
