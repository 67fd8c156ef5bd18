//! The disk's work, one operation at a time: the log first, then a part of a snapshot, a batch
//! of a read, a purge.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;

use bytes::Bytes;

use super::Context;
use super::config_files;
use super::epochs;
use super::io::DiskError;
use super::log::read::LogRead;
use super::log::writer::{LogWriter, MAX_BATCH, MAX_BATCH_BYTES};
use super::purge;
use super::queue::{Generation, LogWork, Queue, SnapshotPart};
use super::recovery;
use super::snapshot::writer::{Pace, SnapshotWriter};
use super::state::State;
use super::truncate;
use crate::action::DiskAction;
use crate::event::{DiskEvent, LogBatch, LogEnd};
use crate::types::{Ticket, Zxid};
use crate::wire::entries::Entries;

/// Works until the disk fails; reports that, and does nothing afterwards.
pub(crate) async fn run<S: State>(context: Context<S>, queue: Rc<RefCell<Queue>>) {
    let log = LogWriter::new(
        context.layout.clone(),
        context.options.preallocate_bytes,
        context.options.log_size_limit_bytes,
        context.options.force_sync,
    );
    let (snapshot, reads) = (Snapshot::default(), VecDeque::new());
    let mut machine =
        Machine { context, queue, log, snapshot, reads, batch: Vec::new(), persisted: Ticket(0) };
    let error = machine.work().await;
    machine.context.emit(DiskEvent::Failed(error.into_fault()));
}

struct Machine<S: State> {
    context: Context<S>,
    queue: Rc<RefCell<Queue>>,
    log: LogWriter,
    snapshot: Snapshot,
    reads: VecDeque<LogRead>,
    batch: Vec<Entries>,
    persisted: Ticket,
}

/// The snapshot that is being written.
#[derive(Default)]
struct Snapshot {
    /// Counts the snapshots that were begun.
    generation: Generation,
    /// `None`: finished, or dropped.
    writer: Option<SnapshotWriter>,
}

impl<S: State> Machine<S> {
    /// Returns only after an error.
    async fn work(&mut self) -> DiskError {
        if let Err(error) = self.recover(Ticket(0)).await {
            return error;
        }
        loop {
            match self.run_one().await {
                Ok(true) => self.context.io.pause().await,
                Ok(false) => self.wait_for_work().await,
                Err(error) => return error,
            }
        }
    }

    /// Does one piece of each kind of work. False: there was none.
    async fn run_one(&mut self) -> Result<bool, DiskError> {
        let mut is_busy = self.log_work().await?;
        is_busy |= self.snapshot_work().await?;
        is_busy |= self.read().await;
        is_busy |= self.purge().await?;
        Ok(is_busy)
    }

    async fn recover(&mut self, ticket: Ticket) -> Result<(), DiskError> {
        let (recovered, files) = recovery::recover(&self.context, ticket).await?;
        self.log.set_files(files);
        self.context.emit(DiskEvent::Recovered(recovered));
        Ok(())
    }

    /// Waits until something is submitted.
    async fn wait_for_work(&self) {
        poll_fn(|_| {
            let queue = self.queue.borrow();
            let is_quiet =
                queue.log_work.is_empty() && queue.snapshot_work.is_empty() && !queue.purge;
            if is_quiet { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn persisted(&mut self, upto: Ticket) {
        self.persisted = self.persisted.max(upto);
        self.context.emit(DiskEvent::Persisted { upto: self.persisted });
    }

    /// The next batch of appends, or one other piece of work that keeps its order.
    async fn log_work(&mut self) -> Result<bool, DiskError> {
        if self.commit().await? {
            return Ok(true);
        }
        let Some(next) = self.queue.borrow_mut().log_work.pop_front() else { return Ok(false) };
        match next {
            LogWork::Action(action) => self.execute(action).await?,
            LogWork::SnapshotMark(ticket) => self.persisted(ticket),
        }
        Ok(true)
    }

    async fn execute(&mut self, action: DiskAction) -> Result<(), DiskError> {
        let context = self.context.clone();
        match action {
            // `commit` takes the appends.
            DiskAction::Append { .. } => {}
            DiskAction::SaveEpoch { ticket, file, epoch } => {
                epochs::save(&context.io, &context.layout, file, epoch).await?;
                self.persisted(ticket);
            }
            DiskAction::SaveConfig { ticket, save } => {
                if let Some(zoo_cfg) = &context.options.config_file {
                    config_files::save(&context.io, zoo_cfg, *save).await?;
                }
                self.persisted(ticket);
            }
            DiskAction::Truncate { ticket, after } => {
                self.drop_snapshot().await?;
                self.drop_reads().await;
                self.log.roll(&context.io).await?;
                if truncate::truncate(&context, after).await? {
                    self.persisted(ticket);
                } else {
                    tracing::error!(
                        "the log in {} cannot be cut after {after}: it does not show that zxid, or no \
                         snapshot before it is left; nothing is changed",
                        context.layout.logs
                    );
                }
                self.recover(ticket).await?;
            }
            DiskAction::SnapshotBegin { zxid, from_leader } => {
                self.begin_snapshot(zxid, from_leader).await?;
            }
            DiskAction::SnapshotChunk { bytes } => self.leader_chunk(bytes).await?,
            DiskAction::SnapshotEnd { ticket, digest, last_zxid } => {
                self.leader_snapshot_end(digest, last_zxid).await?;
                self.persisted(ticket);
            }
            DiskAction::SnapshotAbort => self.drop_snapshot().await?,
            DiskAction::ReadLog { read, from, upto, max_bytes } => {
                let (files, max_body) = (self.log.files(), context.options.max_record_bytes);
                match LogRead::begin(read, from, upto, max_bytes, files, max_body) {
                    Some(read) => self.reads.push_back(read),
                    None => {
                        let end = LogEnd::Unusable;
                        context.emit(DiskEvent::LogRead(LogBatch {
                            read,
                            entries: Vec::new(),
                            end,
                        }));
                    }
                }
            }
            DiskAction::CancelRead { read } => {
                if let Some(i) = self.reads.iter().position(|known| known.id == read)
                    && let Some(read) = self.reads.remove(i)
                {
                    read.close(&context.io).await;
                }
            }
        }
        Ok(())
    }

    /// The group commit: all appends that are there, up to the batch's limits.
    async fn commit(&mut self) -> Result<bool, DiskError> {
        let (mut upto, mut count, mut bytes) = (None, 0, 0);
        {
            let mut queue = self.queue.borrow_mut();
            while count < MAX_BATCH && bytes < MAX_BATCH_BYTES {
                match queue.log_work.pop_front() {
                    Some(LogWork::Action(DiskAction::Append { ticket, entries })) => {
                        count += entries.len();
                        bytes += entries.frames().len();
                        self.batch.push(entries);
                        upto = Some(ticket);
                    }
                    Some(other) => {
                        queue.log_work.push_front(other);
                        break;
                    }
                    None => break,
                }
            }
        }
        let Some(upto) = upto else { return Ok(false) };
        self.log.commit(&self.context.io, &self.batch).await?;
        self.batch.clear();
        self.persisted(upto);
        Ok(true)
    }

    async fn begin_snapshot(&mut self, zxid: Zxid, from_leader: bool) -> Result<(), DiskError> {
        let context = self.context.clone();
        self.drop_snapshot().await?;
        self.log.roll(&context.io).await?;
        self.snapshot.generation += 1;
        let compression = context.options.compression;
        let pace = if from_leader { Pace::Alone } else { Pace::Aside };
        let begun = SnapshotWriter::begin(&context.io, &context.layout, zxid, compression, pace);
        match begun.await {
            Ok(writer) => self.snapshot.writer = Some(writer),
            Err(error) if error.is_no_space() && !from_leader => {
                tracing::error!("the snapshot at {zxid} is given up: {error}");
                context.io.delete_if_there(&context.layout.unfinished_snapshot(zxid)).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A chunk of the leader's snapshot: a failure is fatal.
    async fn leader_chunk(&mut self, bytes: Bytes) -> Result<(), DiskError> {
        let context = self.context.clone();
        if let Some(writer) = &mut self.snapshot.writer {
            writer.chunk(&context.io, bytes).await?;
        }
        context.emit(DiskEvent::SnapshotReady);
        Ok(())
    }

    /// The leader's snapshot is complete: it replaces the history.
    async fn leader_snapshot_end(
        &mut self,
        digest: Option<(Zxid, u64)>,
        last_zxid: Zxid,
    ) -> Result<(), DiskError> {
        let Some(writer) = self.snapshot.writer.take() else { return Ok(()) };
        let context = self.context.clone();
        let last = context.options.serialize_last_zxid.then_some(last_zxid);
        let finished = writer.finish(&context.io, digest, last).await?;
        self.drop_reads().await;
        finished.install(&context.io, &context.layout).await?;
        self.log.set_files(Vec::new());
        Ok(())
    }

    /// The next part of a local snapshot, if it has begun. A full disk costs the snapshot,
    /// not the server.
    async fn snapshot_work(&mut self) -> Result<bool, DiskError> {
        let (generation, part) = {
            let mut queue = self.queue.borrow_mut();
            let is_ready = queue.snapshot_work.front().is_some_and(|(generation, part)| {
                let is_begun = *generation <= self.snapshot.generation;
                // A snapshot gets its name when every transaction in it is durable in the log.
                is_begun
                    && match part {
                        SnapshotPart::End { ticket, .. } => *ticket <= self.persisted,
                        SnapshotPart::Chunk(_) | SnapshotPart::Abort => true,
                    }
            });
            if !is_ready {
                return Ok(false);
            }
            let Some(front) = queue.snapshot_work.pop_front() else { return Ok(false) };
            front
        };
        let is_current = generation == self.snapshot.generation;
        let writer = if is_current { self.snapshot.writer.take() } else { None };
        match (self.write_local_part(writer, part).await, is_current) {
            (Ok(writer), true) => self.snapshot.writer = writer,
            (Ok(_), false) => {}
            (Err(error), _) if error.is_no_space() => {
                tracing::error!("the snapshot is given up: {error}");
                self.delete_unfinished().await?;
            }
            (Err(error), _) => return Err(error),
        }
        Ok(true)
    }

    async fn write_local_part(
        &mut self,
        writer: Option<SnapshotWriter>,
        part: SnapshotPart,
    ) -> Result<Option<SnapshotWriter>, DiskError> {
        let context = self.context.clone();
        match (part, writer) {
            (SnapshotPart::Chunk(bytes), Some(mut writer)) => {
                // Ready for the next one even if this one found the disk full.
                context.emit(DiskEvent::SnapshotReady);
                writer.chunk(&context.io, bytes).await?;
                Ok(Some(writer))
            }
            (SnapshotPart::Chunk(_), None) => {
                context.emit(DiskEvent::SnapshotReady);
                Ok(None)
            }
            (SnapshotPart::End { digest, last_zxid, .. }, Some(writer)) => {
                let last = context.options.serialize_last_zxid.then_some(last_zxid);
                let finished = writer.finish(&context.io, digest, last).await?;
                finished.publish(&context.io, &context.layout).await?;
                self.queue.borrow_mut().purge |= context.options.autopurge;
                Ok(None)
            }
            (SnapshotPart::Abort, Some(writer)) => writer.abandon(&context.io).await.map(|()| None),
            (SnapshotPart::End { .. } | SnapshotPart::Abort, None) => Ok(None),
        }
    }

    async fn drop_snapshot(&mut self) -> Result<(), DiskError> {
        match self.snapshot.writer.take() {
            Some(writer) => writer.abandon(&self.context.io).await,
            None => Ok(()),
        }
    }

    /// Frees the space that the snapshot took on the full disk.
    async fn delete_unfinished(&mut self) -> Result<(), DiskError> {
        let context = self.context.clone();
        for file in context.io.list(&context.layout.data).await? {
            if file.name.starts_with("tmp.snapshot.") {
                context.io.delete(&context.layout.in_data(&file.name)).await?;
            }
        }
        Ok(())
    }

    /// The next batch of the read that has waited longest.
    async fn read(&mut self) -> bool {
        let Some(mut read) = self.reads.pop_front() else { return false };
        let (entries, end) = read.next(&self.context.io).await;
        self.context.emit(DiskEvent::LogRead(LogBatch { read: read.id, entries, end }));
        if end == LogEnd::More {
            self.reads.push_back(read);
        }
        true
    }

    /// Ends the reads: the log is replaced.
    async fn drop_reads(&mut self) {
        for read in core::mem::take(&mut self.reads) {
            read.close(&self.context.io).await;
            let (entries, end) = (Vec::new(), LogEnd::Unusable);
            self.context.emit(DiskEvent::LogRead(LogBatch { read: read.id, entries, end }));
        }
    }

    async fn purge(&mut self) -> Result<bool, DiskError> {
        if !core::mem::take(&mut self.queue.borrow_mut().purge) {
            return Ok(false);
        }
        purge::purge(&self.context, &mut self.log).await?;
        Ok(true)
    }
}
