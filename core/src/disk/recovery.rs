//! Loads a data directory after a stop or a crash at any point
//! (`FileTxnSnapLog.restore`, `QuorumPeer.loadDataBase`).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::Context;
use super::epochs;
use super::files::{DirEntry, FilePath, Named, VERSION_DIR, join};
use super::io::{COPY, DiskError, EXIT_DATA_DIR};
use super::log::reader::{LogFile, LogReader, Next};
use super::log::repair;
use super::log::writer::MAX_BATCH;
use super::snapshot::reader::{self, Loaded, SnapshotFile};
use super::snapshot::writer;
use super::state::State;
use crate::event::{DiskEvent, Progress, Recovered};
use crate::mutant::mutant;
use crate::types::{Ticket, Zxid};
use crate::wire::entries::Entry;

/// A progress event is sent after this many bytes.
const REPORT_EVERY: u64 = 64 << 20;

/// Counts what a recovery has read.
pub(crate) struct Meter<S: State> {
    context: Context<S>,
    progress: Progress,
    reported: u64,
}

impl<S: State> Meter<S> {
    fn new(context: Context<S>, bytes_total: u64) -> Meter<S> {
        let progress = Progress { bytes_total, ..Progress::default() };
        context.emit(DiskEvent::Recovering(progress));
        Meter { context, progress, reported: 0 }
    }
    /// More is read.
    pub(crate) fn bytes(&mut self, n: u64) {
        let progress = &mut self.progress;
        progress.bytes_done = progress.bytes_done.saturating_add(n);
        // A snapshot that is passed over was not counted as to be read.
        progress.bytes_total = progress.bytes_total.max(progress.bytes_done);
        if progress.bytes_done - self.reported >= REPORT_EVERY {
            self.reported = progress.bytes_done;
            self.context.emit(DiskEvent::Recovering(*progress));
        }
    }
}

/// Loads everything; also mends what a crash left. The log files that remain come along.
pub(crate) async fn recover<S: State>(
    context: &Context<S>,
    ticket: Ticket,
) -> Result<(Box<Recovered<S>>, Vec<LogFile>), DiskError> {
    let (io, layout, options) = (&context.io, &context.layout, &context.options);
    let data = prepare(context).await?;
    let log_listing = io.list(&layout.logs).await?;
    let initialize = join(&layout.logs_parent, "initialize");
    let above = io.list(&layout.logs_parent).await?;
    let has_initialize = above.iter().any(|file| file.name == "initialize");
    let logs = log_files(&layout.logs, &log_listing);
    let snapshots = reader::snapshots(layout, &data);
    if logs.is_empty() && snapshots.is_empty() {
        refuse_older_layout(&layout.logs_parent, &above)?;
        if options.data_dir != options.log_dir {
            let data_parent = FilePath::from(&*options.data_dir);
            refuse_older_layout(&data_parent, &io.list(&data_parent).await?)?;
        }
    }
    let logs = repair::drop_entryless(context, logs).await?;

    let total = snapshots.first().map_or(0, |s| s.len) + logs.iter().map(|l| l.len).sum::<u64>();
    let mut meter = Meter::new(context.clone(), total);
    let loaded =
        reader::load_newest::<S>(io, &snapshots, &context.state_options, &mut meter).await?;
    let Loaded { found, skipped } = loaded;
    let (mut taken_during, mut is_without_snapshot) = (None, false);
    let (state, base, mut snapshot_bytes) = match found {
        Some((state, file, tail)) => {
            taken_during = tail.reach().map(|reach| (file.path, reach));
            (state, file.zxid, file.len)
        }
        None => {
            refuse_missing_snapshot(&skipped, &logs, options.trust_empty)?;
            let mut state = S::empty(&context.state_options);
            state.loaded(Zxid::ZERO, None);
            if logs.is_empty() && !(has_initialize || options.autocreate) {
                (state, Zxid::UNTRUSTED, 0)
            } else if logs.is_empty() {
                is_without_snapshot = true;
                (state, Zxid::ZERO, 0)
            } else {
                tracing::warn!("no snapshot is there: the logs are replayed from their start");
                is_without_snapshot = true;
                (state, Zxid::ZERO, 0)
            }
        }
    };

    let mut replay =
        Replay { context, state, base, last: base, tail: VecDeque::new(), skipped: &skipped };
    let logs = replay.run(logs, &mut meter).await?;
    let Replay { mut state, last, tail, .. } = replay;
    if let Some((file, why)) = skipped.iter().find(|(file, _)| file.zxid > last) {
        return Err(DiskError::refused(format!(
            "{} cannot be used ({why}), and the logs end before it, at zxid {last}: starting would \
             forget transactions; restore the file, or, {COPY}",
            file.path
        )));
    }
    let ahead = taken_during.filter(|(_, reach)| *reach > last);
    if let Some((path, reach)) = &ahead
        && options.ensemble
        && is_within_batch(last, *reach)
    {
        tracing::warn!(
            "{path} is ahead of the log, which ends at {last}: its writer was stopped before all that \
             it had applied was in its log; the leader sends the rest again"
        );
    } else if let Some((path, reach)) = ahead {
        let advice = advice(options.ensemble);
        return Err(DiskError::refused(format!(
            "{path} was taken while transactions up to {reach} were applied, but the logs end at \
             {last}: its log is missing; restore it, or move the snapshot away to begin with an \
             older one and its logs, or, {advice}"
        )));
    }
    state.replayed(last);
    let epochs = match options.ensemble {
        true => epochs::load(io, layout, last).await?,
        false => epochs::Epochs::of(last),
    };
    // Nothing is written before all is found to be good.
    if is_without_snapshot {
        // The log was replayed without a snapshot, which was allowed once; from here on there is
        // one.
        snapshot_bytes = write_snapshot(context, &state, last).await?;
    }
    if options.ensemble {
        epochs.save(io, layout).await?;
    }
    settle(context, logs.last()).await?;
    if has_initialize {
        io.delete_if_there(&initialize).await?;
        io.sync_dir(&layout.logs_parent).await?;
    }
    let recovered = Recovered {
        ticket,
        state,
        last_zxid: last,
        tail: tail.into(),
        current_epoch: epochs.current.0,
        accepted_epoch: epochs.accepted.0,
        snapshot_bytes,
    };
    Ok((Box::new(recovered), logs))
}

/// Makes durable what was read. A process that was killed may have left writes and renames that
/// only the system's cache knows of, and from now on this server votes with them.
async fn settle<S: State>(context: &Context<S>, newest: Option<&LogFile>) -> Result<(), DiskError> {
    let (io, layout) = (&context.io, &context.layout);
    mutant!(RecoveredNotDurable => return Ok(()));
    if let Some(newest) = newest
        && context.options.force_sync
    {
        // Older files were synced before the next one was begun.
        io.sync_data(&newest.path).await?;
        io.close(&newest.path).await?;
    }
    io.sync_dir(&layout.logs).await?;
    if layout.data != layout.logs {
        io.sync_dir(&layout.data).await?;
    }
    Ok(())
}

/// Makes the directories, finishes or clears away what a crash interrupted, and returns
/// what is in `dataDir/version-2`.
async fn prepare<S: State>(context: &Context<S>) -> Result<Vec<DirEntry>, DiskError> {
    let (io, layout) = (&context.io, &context.layout);
    for (dir, parent) in [
        (&layout.data, FilePath::from(&*context.options.data_dir)),
        (&layout.logs, layout.logs_parent.clone()),
    ] {
        match io.list(dir).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {
                if !context.options.make_dirs {
                    return Err(DiskError::Refused {
                        what: format!(
                            "{dir}: no such directory, and datadir.autocreate is false: create it, \
                             or correct the path in the configuration"
                        ),
                        exit_code: EXIT_DATA_DIR,
                    });
                }
                io.make_dir(dir).await?;
                io.sync_dir(&parent).await?;
            }
            Err(error) => return Err(error),
        }
    }
    let data = io.list(&layout.data).await?;
    if layout.data != layout.logs {
        refuse_mixed(&layout.data, &data, |name| matches!(name, Named::Log(_)))?;
        let logs = io.list(&layout.logs).await?;
        refuse_mixed(&layout.logs, &logs, |name| matches!(name, Named::Snapshot(..)))?;
    }
    let installing = data.iter().filter_map(|file| match Named::parse(&file.name) {
        Named::Installing(zxid, compression) => Some((zxid, compression)),
        Named::Log(_) | Named::Snapshot(..) | Named::UnfinishedSnapshot | Named::Other => None,
    });
    let mut changed = false;
    for (zxid, compression) in installing {
        tracing::info!("the leader's snapshot {zxid} was about to be put in place: going on");
        writer::install(io, layout, zxid, compression).await?;
        changed = true;
    }
    for file in &data {
        if Named::parse(&file.name) == Named::UnfinishedSnapshot {
            tracing::info!("unfinished snapshot {}/{} is deleted", layout.data, file.name);
            io.delete(&join(&layout.data, &file.name)).await?;
            changed = true;
        }
    }
    if !changed {
        return Ok(data);
    }
    io.sync_dir(&layout.data).await?;
    io.list(&layout.data).await
}

/// Where `version-2` is empty, files of the store beside it: whoever starts there expects them to
/// be read.
fn refuse_older_layout(parent: &FilePath, listing: &[DirEntry]) -> Result<(), DiskError> {
    let is_ours =
        |file: &&DirEntry| matches!(Named::parse(&file.name), Named::Log(_) | Named::Snapshot(..));
    match listing.iter().find(is_ours) {
        None => Ok(()),
        Some(file) => Err(DiskError::Refused {
            what: format!(
                "{parent}/{} is there, but {parent}/{VERSION_DIR} is empty: the server would start \
                 with nothing; if the configuration names the {VERSION_DIR} directory itself, name \
                 the one above it, else move logs, snapshots and epoch files into {VERSION_DIR}",
                file.name
            ),
            exit_code: EXIT_DATA_DIR,
        }),
    }
}

fn refuse_mixed(
    dir: &FilePath,
    listing: &[DirEntry],
    is_misplaced: impl Fn(Named) -> bool,
) -> Result<(), DiskError> {
    match listing.iter().find(|file| is_misplaced(Named::parse(&file.name))) {
        None => Ok(()),
        Some(file) => Err(DiskError::Refused {
            what: format!(
                "{dir}/{} is in the wrong directory: dataDir holds snapshots, dataLogDir logs; \
                 check both in the configuration, or move the file",
                file.name
            ),
            exit_code: EXIT_DATA_DIR,
        }),
    }
}

/// Whether no more is missing than ZooKeeper may have applied before it was in its own log: a
/// learner applies what others have logged. Nothing of it can be lost, or taken back, then.
fn is_within_batch(last: Zxid, reach: Zxid) -> bool {
    let missing = reach.counter().saturating_sub(last.counter());
    last.epoch() == reach.epoch() && missing as usize <= MAX_BATCH
}

/// The other remedies for lost files.
fn advice(ensemble: bool) -> &'static str {
    if ensemble {
        COPY
    } else {
        "move the log files after the gap away, which forgets what is in them"
    }
}

fn refuse_missing_snapshot(
    skipped: &[(SnapshotFile, String)],
    logs: &[LogFile],
    trust_empty: bool,
) -> Result<(), DiskError> {
    if let Some((file, why)) = skipped.first() {
        return Err(DiskError::refused(format!(
            "no snapshot can be used; the newest, {}, because {why}; restore one, or, {COPY}",
            file.path
        )));
    }
    match logs.first() {
        Some(log) if !trust_empty => Err(DiskError::refused(format!(
            "{} and later logs are there, but no snapshot: something is missing; restore the \
             snapshots, or (logs complete from the first transaction on) start once with \
             snapshot.trust.empty=true, or, {COPY}",
            log.path
        ))),
        Some(_) | None => Ok(()),
    }
}

async fn write_snapshot<S: State>(
    context: &Context<S>,
    state: &S,
    zxid: Zxid,
) -> Result<u64, DiskError> {
    let mut body = BytesMut::new();
    state.encode(&mut body);
    let last = context.options.serialize_last_zxid.then_some(zxid);
    let (io, layout) = (&context.io, &context.layout);
    let compression = context.options.compression;
    let digest = state.digest();
    writer::write_whole(io, layout, compression, zxid, body, digest, last).await
}

/// The log files of a listing, oldest first.
pub(crate) fn log_files(dir: &FilePath, listing: &[DirEntry]) -> Vec<LogFile> {
    let mut logs: Vec<LogFile> = listing
        .iter()
        .filter_map(|file| match Named::parse(&file.name) {
            Named::Log(zxid) => Some(LogFile { zxid, path: join(dir, &file.name), len: file.len }),
            Named::Snapshot(..)
            | Named::UnfinishedSnapshot
            | Named::Installing(..)
            | Named::Other => None,
        })
        .collect();
    logs.sort_by(|a, b| a.zxid.cmp(&b.zxid).then_with(|| a.path.cmp(&b.path)));
    logs
}

/// Whether `next` may directly follow `last` in one history.
pub(crate) fn follows(last: Zxid, next: Zxid) -> bool {
    next == last.next() || (next.epoch() > last.epoch() && next.counter() == 1)
}

/// Where an older file ended, in case that the next one does not continue it.
struct Ended {
    file: LogFile,
    offset: u64,
    damage: Option<super::log::format::Damage>,
}

struct Replay<'a, S: State> {
    context: &'a Context<S>,
    state: S,
    base: Zxid,
    last: Zxid,
    tail: VecDeque<Entry>,
    skipped: &'a [(SnapshotFile, String)],
}

impl<S: State> Replay<'_, S> {
    /// Replays what follows the snapshot, mends the end of the last file, and returns the
    /// files that remain.
    async fn run(
        &mut self,
        mut logs: Vec<LogFile>,
        meter: &mut Meter<S>,
    ) -> Result<Vec<LogFile>, DiskError> {
        let first_wanted = self.base.next();
        let start = logs.iter().rposition(|log| log.zxid <= first_wanted).unwrap_or(0);
        let mut before: Option<Ended> = None;
        for i in start..logs.len() {
            let Some(file) = logs.get(i).cloned() else { break };
            let ended = self.file(file, &mut before, meter).await?;
            self.context.io.close(&ended.file.path).await?;
            if i + 1 == logs.len() {
                let last = self.last;
                let Ended { file, offset, damage } = ended;
                if let Some(len) = repair::mend(self.context, &file, offset, damage, last).await?
                    && let Some(file) = logs.last_mut()
                {
                    file.len = len;
                }
                break;
            }
            before = Some(ended);
        }
        Ok(logs)
    }

    async fn file(
        &mut self,
        file: LogFile,
        before: &mut Option<Ended>,
        meter: &mut Meter<S>,
    ) -> Result<Ended, DiskError> {
        let mut reader = LogReader::new(file, self.context.options.max_record_bytes);
        // Entries that repeat what was there before: how many, and the first.
        let mut repeated = (0, Zxid::ZERO);
        let ended = loop {
            let at = reader.offset();
            let next = reader.next(&self.context.io).await?;
            meter.bytes(reader.offset() - at);
            match next {
                Next::Entry { offset, entry } => {
                    if entry.zxid > self.last {
                        self.check_gap(&entry, reader.file(), before.take()).await?;
                        self.entry(entry, reader.file(), offset)?;
                        meter.progress.entries += 1;
                    } else if entry.zxid > self.base {
                        repeated = match repeated {
                            (0, _) => (1, entry.zxid),
                            (count, first) => (count + 1, first),
                        };
                    }
                }
                Next::End { offset } => {
                    let file = reader.file().clone();
                    meter.bytes(file.len.saturating_sub(offset));
                    break Ended { file, offset, damage: None };
                }
                Next::Damaged { offset, damage } => {
                    break Ended { file: reader.file().clone(), offset, damage: Some(damage) };
                }
            }
        };
        if let (count @ 1.., first) = repeated {
            let path = &ended.file.path;
            tracing::warn!(
                "{path}: {count} transactions, from {first} on, are there twice: passed over"
            );
        }
        Ok(ended)
    }

    fn entry(&mut self, entry: Entry, file: &LogFile, offset: u64) -> Result<(), DiskError> {
        self.state.replay(entry.zxid, &entry.body).map_err(|why| {
            DiskError::refused(format!(
                "{}: transaction {} at offset {offset} cannot be replayed: {why}; it was written by \
                 a server that knows more, or the file is damaged: restore it, or, {COPY}",
                file.path, entry.zxid
            ))
        })?;
        self.last = entry.zxid;
        if self.tail.len() >= self.context.options.commit_log_count {
            self.tail.pop_front();
        }
        self.tail.push_back(entry);
        Ok(())
    }

    /// A history has no gaps, and what follows one cannot be applied: whatever was between is
    /// lost, with a damaged file, with a snapshot that cannot be used, or with a file that is not
    /// there.
    async fn check_gap(
        &mut self,
        entry: &Entry,
        file: &LogFile,
        before: Option<Ended>,
    ) -> Result<(), DiskError> {
        // An older snapshot and a log of a later epoch say nothing of what was between them.
        let is_lost = |file: &SnapshotFile| {
            self.last == self.base && file.zxid > self.last && entry.zxid > file.zxid
        };
        if follows(self.last, entry.zxid) && !self.skipped.iter().any(|(file, _)| is_lost(file)) {
            return Ok(());
        }
        let mut why = self.skipped.first().map(|(file, why)| format!("{} ({why})", file.path));
        if let Some(Ended { file, offset, damage }) = before {
            if let Some(damage) = damage {
                why = Some(format!("{} at offset {offset} ({damage})", file.path));
            } else if !repair::is_padding(self.context, &file, offset).await? {
                why = Some(format!("{} at offset {offset} (zeros before its end)", file.path));
            }
        }
        let why = why.map_or_else(
            || String::from("a log file is not there; restore it"),
            |why| format!("because of {why}; restore that file"),
        );
        Err(DiskError::refused(format!(
            "transactions between {} and {} (in {}) are missing, {why}, or, {}",
            self.last,
            entry.zxid,
            file.path,
            advice(self.context.options.ensemble)
        )))
    }
}
