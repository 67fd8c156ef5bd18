//! A data directory: every file in it, and what a server would make of them.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display};

use serde::Serialize;

use super::overlay::{Overlay, WouldChange};
use super::subtree::Sums;
use super::text::{self, Count, Plain, shown, shown_option};
use super::znode::{SessionLine, Znode};
use super::{
    Execute, Finding, FindingSink, InspectError, Options, difference, emit, log, log_difference,
    snapshot,
};
use crate::disk::{
    DirEntry, DirLayout, Disk, DiskOptions, FilePath, GIVEN_UP, Io, Named, drive, join, log_files,
    snapshots,
};
use crate::event::{DiskEvent, DiskFault, Recovered};
use crate::store::{NodeRef, Store};
use crate::types::Zxid;

/// A file beside logs and snapshots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs)]
pub struct OtherFile {
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// Its kind.
    #[serde(flatten)]
    pub note: FileNote,
}

/// The kind of a file that is neither log nor snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum FileNote {
    /// An epoch file, or the server's number.
    Number {
        /// Its text.
        text: String,
    },
    /// A torn write that was cut off a log.
    TornWrite,
    /// A log or a snapshot that a leader's TRUNC or SNAP took out of the history.
    GivenUp,
    /// A snapshot whose writing did not end.
    UnfinishedSnapshot,
    /// A leader's snapshot that is about to replace everything.
    Installing,
    /// An empty database here may vote.
    Initialize,
    /// Nothing that a server reads here.
    Unknown,
}

/// A data directory as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Directory {
    /// Where snapshots are.
    pub data_dir: String,
    /// Where logs are.
    pub log_dir: String,
    /// Whether a member of an ensemble was assumed.
    pub ensemble: bool,
    /// The action of a server.
    pub recovery: Recovery,
    /// The changes of its start.
    pub changes: Vec<WouldChange>,
    /// The files that a purge after that would delete.
    pub purge: Vec<WouldChange>,
    /// Logs that are not sound, though a server may do without them.
    pub unsound_logs: Vec<String>,
}

/// The action of a server on this directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Recovery {
    /// It starts.
    Starts {
        /// From this snapshot; none: from an empty tree.
        snapshot: Option<String>,
        /// Newer ones that it cannot use.
        passed_over: Vec<String>,
        /// Transactions that it replays.
        replayed: u64,
        /// The last of them.
        #[serde(serialize_with = "shown")]
        last_zxid: Zxid,
        /// `currentEpoch`.
        current_epoch: i64,
        /// `acceptedEpoch`.
        accepted_epoch: i64,
        /// How many znodes.
        znodes: u64,
        /// How many sessions.
        sessions: u64,
        /// How many ephemerals.
        ephemerals: u64,
        /// The tree's digest.
        digest: String,
        /// Where this tree's digest was not what the log, or the snapshot, says.
        #[serde(serialize_with = "shown_option")]
        digest_differs_at: Option<Zxid>,
    },
    /// It refuses to.
    Refuses {
        /// Its last words.
        message: String,
        /// Its exit code.
        exit_code: i32,
    },
}

/// A recovery that was tried out.
struct DryRun {
    outcome: Result<Box<Recovered<Store>>, DiskFault>,
    ensemble: bool,
    /// Snapshots in the order in which they were read.
    snapshots_read: Vec<FilePath>,
    changes: Vec<WouldChange>,
    purge: Vec<WouldChange>,
}

fn list(execute: &mut impl Execute, dir: &FilePath) -> Result<Vec<DirEntry>, InspectError> {
    let io = Io::default();
    Ok(io.run(io.list(dir), execute)?)
}

fn try_out(
    execute: &mut impl Execute,
    data_dir: &str,
    log_dir: &str,
    options: &Options,
) -> Result<DryRun, InspectError> {
    let layout = DirLayout::new(data_dir, log_dir);
    let has = |files: &[DirEntry], name: &str| files.iter().any(|file| file.name == name);
    let above = list(execute, &FilePath::from(data_dir))?;
    let here = list(execute, &layout.data).unwrap_or_default();
    let ensemble = options.ensemble.unwrap_or_else(|| {
        has(&above, "myid") || has(&here, "currentEpoch") || has(&here, "acceptedEpoch")
    });
    let disk_options = DiskOptions {
        ensemble,
        max_record_bytes: options.max_record_bytes,
        trust_empty: options.trust_empty,
        snap_retain_count: options.retain,
        ..DiskOptions::new(data_dir, log_dir)
    };
    let mut overlay = Overlay::new(execute);
    let mut disk = Disk::<Store>::new(disk_options, snapshot::store_options(options));
    let mut events = Vec::new();
    drive(&mut disk, &mut |op| overlay.execute(op), &mut events);
    let changes = overlay.take_changes();
    let is_snapshot = |path: &&FilePath| {
        let name = path.rsplit('/').next().unwrap_or_default();
        matches!(Named::parse(name), Named::Snapshot(..))
    };
    let snapshots_read = overlay.read().iter().filter(is_snapshot).cloned().collect();
    let outcome = match events.pop() {
        Some(DiskEvent::Recovered(recovered)) => Ok(recovered),
        Some(DiskEvent::Failed(fault)) => Err(fault),
        _ => return Err(InspectError::Failed(String::from("the recovery did not end"))),
    };
    if outcome.is_ok() {
        disk.purge_due();
        drive(&mut disk, &mut |op| overlay.execute(op), &mut events);
    }
    let purge = overlay.take_changes();
    Ok(DryRun { outcome, ensemble, snapshots_read, changes, purge })
}

pub(super) fn inspect(
    execute: &mut impl Execute,
    data_dir: &str,
    log_dir: &str,
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<bool, InspectError> {
    let layout = DirLayout::new(data_dir, log_dir);
    let tried = try_out(execute, data_dir, log_dir, options)?;
    let data = list(execute, &layout.data).unwrap_or_default();
    let log_listing = list(execute, &layout.logs).unwrap_or_default();
    let base = tried.snapshots_read.last().and_then(|path| {
        match Named::parse(path.rsplit('/').next().unwrap_or_default()) {
            Named::Snapshot(zxid, _) => Some(zxid),
            _ => None,
        }
    });
    let files_only = Options { sums: false, znodes: false, ..options.clone() };
    for file in snapshots(&layout, &data) {
        let io = Io::default();
        let summary = io.run(snapshot::inspect(&io, &file, &files_only, sink), execute)?;
        emit(sink, Finding::Snapshot(summary))?;
    }
    let logs = log_files(&layout.logs, &log_listing);
    let (mut replayed, mut unsound_logs) = (0, Vec::new());
    for (i, file) in logs.iter().enumerate() {
        let io = Io::default();
        let base = base.unwrap_or(Zxid(-1));
        let inspect = log::inspect_after(&io, file.clone(), base, &files_only, sink);
        let summary = io.run(inspect, execute)?;
        replayed += summary.after_base;
        // The end of the newest log may be torn: that is mended.
        if !summary.is_sound() && (i + 1 < logs.len() || !summary.is_torn()) {
            unsound_logs.push(summary.path.clone());
        }
        emit(sink, Finding::Log(summary))?;
    }
    others(execute, &layout, data_dir, [&data, &log_listing], sink)?;
    let DryRun { outcome, ensemble, mut snapshots_read, changes, purge } = tried;
    let recovery = match outcome {
        Ok(mut recovered) => {
            tree(&recovered.state, options, sink)?;
            let snapshot = snapshots_read.pop();
            let state = &mut recovered.state;
            let digest_differs_at = state.take_mismatch().map(|mismatch| mismatch.zxid);
            Recovery::Starts {
                snapshot: snapshot.map(|path| path.to_string()),
                passed_over: snapshots_read.iter().map(ToString::to_string).collect(),
                replayed,
                last_zxid: recovered.last_zxid,
                current_epoch: recovered.current_epoch,
                accepted_epoch: recovered.accepted_epoch,
                znodes: state.node_count() as u64 - 1,
                sessions: state.sessions().len() as u64,
                ephemerals: state.ephemeral_count() as u64,
                digest: alloc::format!("{:x}", state.digest()),
                digest_differs_at,
            }
        }
        Err(fault) => Recovery::Refuses { message: fault.what, exit_code: fault.exit_code },
    };
    let directory = Directory {
        data_dir: String::from(data_dir),
        log_dir: String::from(log_dir),
        ensemble,
        recovery,
        changes,
        purge,
        unsound_logs,
    };
    let is_sound = directory.is_sound();
    emit(sink, Finding::Directory(directory))?;
    Ok(is_sound)
}

/// Sessions, znodes and sums of what was recovered.
fn tree(store: &Store, options: &Options, sink: &mut FindingSink<'_>) -> Result<(), InspectError> {
    if options.znodes {
        for (session, timeout_ms) in store.sessions() {
            emit(sink, Finding::Session(SessionLine { session, timeout_ms }))?;
        }
    }
    let mut sums = Sums::new(options);
    let mut stack: Vec<(String, NodeRef<'_>)> = Vec::new();
    stack.extend(store.node("").map(|node| (String::new(), node)));
    while let Some((path, node)) = stack.pop() {
        sums.add(&path, node.data().map_or(0, <[u8]>::len));
        if options.znodes && Sums::is_inside(options, &path) {
            let acl = Some(text::acl(node.acl()));
            let znode = Znode::new(&path, node.data(), acl, &node.stored(), options.data);
            emit(sink, Finding::Znode(znode))?;
        }
        let mut children: Vec<&str> = node.children().collect();
        children.sort_unstable();
        for name in children.into_iter().rev() {
            let child = alloc::format!("{path}/{name}");
            stack.extend(store.node(&child).map(|node| (child, node)));
        }
    }
    sums.emit(sink)
}

fn others(
    execute: &mut impl Execute,
    layout: &DirLayout,
    data_dir: &str,
    listings: [&[DirEntry]; 2],
    sink: &mut FindingSink<'_>,
) -> Result<(), InspectError> {
    let above = list(execute, &FilePath::from(data_dir))?;
    let is_known = |file: &&DirEntry| matches!(&*file.name, "myid" | "initialize");
    let above: Vec<DirEntry> = above.iter().filter(is_known).cloned().collect();
    let dirs = [(FilePath::from(data_dir), &*above), (layout.data.clone(), listings[0])];
    let logs = (layout.logs != layout.data).then(|| (layout.logs.clone(), listings[1]));
    for (dir, files) in dirs.into_iter().chain(logs) {
        for file in files {
            let path = join(&dir, &file.name);
            let note = match Named::parse(&file.name) {
                Named::Log(_) | Named::Snapshot(..) => continue,
                Named::UnfinishedSnapshot => FileNote::UnfinishedSnapshot,
                Named::Installing(..) => FileNote::Installing,
                Named::Other => match &*file.name {
                    "myid" | "currentEpoch" | "acceptedEpoch" => {
                        let io = Io::default();
                        let bytes = io.run(io.read(&path, 0, 64), execute)?;
                        let text = String::from_utf8_lossy(&bytes).trim().to_string();
                        FileNote::Number { text }
                    }
                    "initialize" => FileNote::Initialize,
                    name if name.starts_with("torn.") => FileNote::TornWrite,
                    name if name.starts_with(GIVEN_UP) => FileNote::GivenUp,
                    _ => FileNote::Unknown,
                },
            };
            let file = OtherFile { path: path.to_string(), bytes: file.len, note };
            emit(sink, Finding::File(file))?;
        }
    }
    Ok(())
}

pub(super) fn compare(
    execute: &mut impl Execute,
    dirs: [(&str, &str); 2],
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<bool, InspectError> {
    let mut stores = Vec::new();
    let mut logs = [Vec::new(), Vec::new()];
    for ((data_dir, log_dir), logs) in dirs.into_iter().zip(&mut logs) {
        let tried = try_out(execute, data_dir, log_dir, options)?;
        match tried.outcome {
            Ok(recovered) => stores.push(recovered.state),
            Err(fault) => {
                let what = alloc::format!("a server would not start in {data_dir}: {}", fault.what);
                return Err(InspectError::Failed(what));
            }
        }
        let layout = DirLayout::new(data_dir, log_dir);
        *logs = log_files(&layout.logs, &list(execute, &layout.logs).unwrap_or_default());
    }
    let [a, b] = &*stores else { return Ok(false) };
    let io = Io::default();
    let same_logs = if logs.iter().all(|logs| logs.is_empty()) {
        true
    } else {
        io.run(log_difference::compare(&io, logs, options, sink), execute)?
    };
    let same_states = difference::compare([a, b], sink)?;
    Ok(same_logs && same_states)
}

impl Directory {
    /// Whether a server starts in the state that its files stand for, and all of them are good.
    pub fn is_sound(&self) -> bool {
        let is_right = matches!(self.recovery, Recovery::Starts { digest_differs_at: None, .. });
        is_right && self.unsound_logs.is_empty()
    }
}

impl Display for OtherFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, ", Plain(&self.path), Count(self.bytes, "byte"))?;
        match &self.note {
            FileNote::Number { text } => write!(f, "says {}", Plain(text)),
            FileNote::TornWrite => f.write_str("a torn write that was cut off a log"),
            FileNote::GivenUp => f.write_str(
                "given up for what a leader has, and kept: a log or a snapshot under another name",
            ),
            FileNote::UnfinishedSnapshot => {
                f.write_str("a snapshot whose writing did not end; nobody needs it")
            }
            FileNote::Installing => f.write_str("a leader's snapshot that replaces everything"),
            FileNote::Initialize => f.write_str("an empty database here may vote"),
            FileNote::Unknown => f.write_str("nothing that a server reads here"),
        }
    }
}

impl Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Plain(&self.data_dir))?;
        if self.log_dir != self.data_dir {
            write!(f, " and {}", Plain(&self.log_dir))?;
        }
        let kind = if self.ensemble { "a member of an ensemble" } else { "a standalone server" };
        match &self.recovery {
            Recovery::Refuses { message, exit_code } => {
                write!(f, ": {kind} would REFUSE TO START with exit code {exit_code}:")?;
                write!(f, "\n  {}", Plain(message))?;
            }
            Recovery::Starts {
                snapshot,
                passed_over,
                replayed,
                last_zxid,
                current_epoch,
                accepted_epoch,
                znodes,
                sessions,
                ephemerals,
                digest,
                digest_differs_at,
            } => {
                write!(f, ": {kind} would start")?;
                match snapshot {
                    Some(path) => write!(f, "\n  from        {}", Plain(path))?,
                    None => f.write_str("\n  from        an empty tree")?,
                }
                write!(f, " and {}", Count(*replayed, "transaction"))?;
                for path in passed_over {
                    write!(f, "\n  passed over {}", Plain(path))?;
                }
                write!(f, "\n  last zxid   {last_zxid}")?;
                if self.ensemble {
                    write!(
                        f,
                        "\n  epochs      current {current_epoch}, accepted {accepted_epoch}"
                    )?;
                }
                write!(
                    f,
                    "\n  state       {}, {}, {}",
                    Count(*znodes, "znode"),
                    Count(*sessions, "session"),
                    Count(*ephemerals, "ephemeral")
                )?;
                match digest_differs_at {
                    None => write!(f, "\n  digest      {digest}")?,
                    Some(zxid) => {
                        write!(
                            f,
                            "\n  digest      {digest}; it DIFFERS from the writer's at {zxid}"
                        )?;
                    }
                }
            }
        }
        for path in &self.unsound_logs {
            write!(f, "\n  NOT SOUND   {}", Plain(path))?;
        }
        for change in &self.changes {
            write!(f, "\n  would       {change}")?;
        }
        for change in &self.purge {
            write!(f, "\n  purge would {change}")?;
        }
        Ok(())
    }
}
