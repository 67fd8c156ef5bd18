//! The disk's work, one thing at a time: the log first, then a piece of a snapshot, a batch
//! of a read, a purge.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;

use super::Context;
use super::config_files;
use super::epochs;
use super::io::DiskError;
use super::lane::{Generation, Inbox, Ordered, Piece};
use super::log_writer::{LogWriter, MAX_BATCH, MAX_BATCH_BYTES};
use super::purge;
use super::read_log::LogRead;
use super::recovery;
use super::snapshot_writer::{Pace, SnapshotWriter};
use super::state::State;
use super::truncate;
use crate::event::{DiskEvent, LogBatch, LogEnd};
use crate::types::{Ticket, Zxid};
use crate::wire::entries::Entries;

/// Works until the disk fails: says so then, and does nothing ever after.
pub(crate) async fn run<S: State>(context: Context<S>, inbox: Rc<RefCell<Inbox>>) {
    let log = LogWriter::new(
        context.places.clone(),
        context.options.preallocate_bytes,
        context.options.log_size_limit_bytes,
        context.options.force_sync,
    );
    let (snapshot, reads) = (Snapshot::default(), VecDeque::new());
    let mut machine =
        Machine { context, inbox, log, snapshot, reads, batch: Vec::new(), persisted: Ticket(0) };
    let error = machine.work().await;
    machine.context.emit(DiskEvent::Failed(error.into_fault()));
}

struct Machine<S: State> {
    context: Context<S>,
    inbox: Rc<RefCell<Inbox>>,
    log: LogWriter,
    snapshot: Snapshot,
    reads: VecDeque<LogRead>,
    batch: Vec<Entries>,
    persisted: Ticket,
}

/// The snapshot that is being written.
#[derive(Default)]
struct Snapshot {
    /// The last one that was begun.
    generation: Generation,
    /// `None`: finished, or dropped.
    writer: Option<SnapshotWriter>,
}

impl<S: State> Machine<S> {
    /// Ends only with what went wrong.
    async fn work(&mut self) -> DiskError {
        if let Err(error) = self.recover(Ticket(0)).await {
            return error;
        }
        loop {
            match self.turn().await {
                Ok(true) => self.context.io.pause().await,
                Ok(false) => self.news().await,
                Err(error) => return error,
            }
        }
    }

    /// One of everything that there is to do; whether there was anything.
    async fn turn(&mut self) -> Result<bool, DiskError> {
        let mut is_busy = self.ordered().await?;
        is_busy |= self.aside().await?;
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
    async fn news(&self) {
        poll_fn(|_| {
            let inbox = self.inbox.borrow();
            let is_quiet = inbox.ordered.is_empty() && inbox.aside.is_empty() && !inbox.purge;
            if is_quiet { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn persisted(&mut self, upto: Ticket) {
        self.persisted = self.persisted.max(upto);
        self.context.emit(DiskEvent::Persisted { upto: self.persisted });
    }

    /// The next batch of appends, or one other thing of the ordered lane.
    async fn ordered(&mut self) -> Result<bool, DiskError> {
        if self.commit().await? {
            return Ok(true);
        }
        let Some(next) = self.inbox.borrow_mut().ordered.pop_front() else { return Ok(false) };
        let context = self.context.clone();
        match next {
            // The first of a batch, taken by `commit`.
            Ordered::Append { .. } => {}
            Ordered::SaveEpoch { ticket, file, epoch } => {
                epochs::save(&context.io, &context.places, file, epoch).await?;
                self.persisted(ticket);
            }
            Ordered::SaveConfig { ticket, save } => {
                if let Some(zoo_cfg) = &context.options.config_file {
                    config_files::save(&context.io, zoo_cfg, *save).await?;
                }
                self.persisted(ticket);
            }
            Ordered::Truncate { ticket, after } => {
                self.drop_snapshot().await?;
                self.drop_reads().await;
                self.log.roll(&context.io).await?;
                if truncate::truncate(&context, after).await? {
                    self.persisted(ticket);
                } else {
                    tracing::error!(
                        "the log in {} cannot be cut after {after}: it does not show that zxid, or no \
                         snapshot before it is left; nothing is changed",
                        context.places.logs
                    );
                }
                self.recover(ticket).await?;
            }
            Ordered::SnapshotBegin { generation, zxid, from_leader } => {
                self.begin_snapshot(generation, zxid, from_leader).await?;
            }
            Ordered::Snapshot(piece) => self.leaders_piece(piece).await?,
            Ordered::Mark(ticket) => self.persisted(ticket),
            Ordered::ReadLog { read, from, upto, max_bytes } => {
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
            Ordered::CancelRead { read } => {
                if let Some(i) = self.reads.iter().position(|known| known.id == read)
                    && let Some(read) = self.reads.remove(i)
                {
                    read.close(&context.io).await;
                }
            }
        }
        Ok(true)
    }

    /// The group commit: all appends that are there, up to the batch's limits.
    async fn commit(&mut self) -> Result<bool, DiskError> {
        let (mut upto, mut count, mut bytes) = (None, 0, 0);
        {
            let mut inbox = self.inbox.borrow_mut();
            while count < MAX_BATCH && bytes < MAX_BATCH_BYTES {
                match inbox.ordered.pop_front() {
                    Some(Ordered::Append { ticket, entries }) => {
                        count += entries.len();
                        bytes += entries.frames().len();
                        self.batch.push(entries);
                        upto = Some(ticket);
                    }
                    Some(other) => {
                        inbox.ordered.push_front(other);
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

    async fn begin_snapshot(
        &mut self,
        generation: Generation,
        zxid: Zxid,
        from_leader: bool,
    ) -> Result<(), DiskError> {
        let context = self.context.clone();
        self.drop_snapshot().await?;
        self.log.roll(&context.io).await?;
        self.snapshot.generation = generation;
        let compression = context.options.compression;
        let pace = if from_leader { Pace::Alone } else { Pace::Aside };
        let begun = SnapshotWriter::begin(&context.io, &context.places, zxid, compression, pace);
        match begun.await {
            Ok(writer) => self.snapshot.writer = Some(writer),
            Err(error) if error.is_no_space() && !from_leader => {
                tracing::error!("the snapshot at {zxid} is given up: {error}");
                context.io.delete_if_there(&context.places.unfinished_snapshot(zxid)).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A piece of a snapshot from the leader: a failure is fatal.
    async fn leaders_piece(&mut self, piece: Piece) -> Result<(), DiskError> {
        let context = self.context.clone();
        match piece {
            Piece::Chunk(bytes) => {
                if let Some(writer) = &mut self.snapshot.writer {
                    writer.chunk(&context.io, bytes).await?;
                }
                context.emit(DiskEvent::SnapshotReady);
            }
            Piece::End { ticket, digest, last_zxid } => {
                if let Some(writer) = self.snapshot.writer.take() {
                    let last = context.options.serialize_last_zxid.then_some(last_zxid);
                    let finished = writer.finish(&context.io, digest, last).await?;
                    self.drop_reads().await;
                    finished.install(&context.io, &context.places).await?;
                    self.log.set_files(Vec::new());
                }
                self.persisted(ticket);
            }
            Piece::Abort => self.drop_snapshot().await?,
        }
        Ok(())
    }

    /// The next piece of a local snapshot, if it has begun. A full disk costs the snapshot,
    /// not the server.
    async fn aside(&mut self) -> Result<bool, DiskError> {
        let (generation, piece) = {
            let mut inbox = self.inbox.borrow_mut();
            let is_ready = inbox.aside.front().is_some_and(|(generation, piece)| {
                let is_begun = *generation <= self.snapshot.generation;
                // A snapshot gets its name when every transaction in it is durable in the log.
                is_begun
                    && match piece {
                        Piece::End { ticket, .. } => *ticket <= self.persisted,
                        Piece::Chunk(_) | Piece::Abort => true,
                    }
            });
            if !is_ready {
                return Ok(false);
            }
            let Some(front) = inbox.aside.pop_front() else { return Ok(false) };
            front
        };
        let is_current = generation == self.snapshot.generation;
        let writer = if is_current { self.snapshot.writer.take() } else { None };
        match (self.local_piece(writer, piece).await, is_current) {
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

    async fn local_piece(
        &mut self,
        writer: Option<SnapshotWriter>,
        piece: Piece,
    ) -> Result<Option<SnapshotWriter>, DiskError> {
        let context = self.context.clone();
        match (piece, writer) {
            (Piece::Chunk(bytes), Some(mut writer)) => {
                // Ready for the next also if this one found the disk full.
                context.emit(DiskEvent::SnapshotReady);
                writer.chunk(&context.io, bytes).await?;
                Ok(Some(writer))
            }
            (Piece::Chunk(_), None) => {
                context.emit(DiskEvent::SnapshotReady);
                Ok(None)
            }
            (Piece::End { digest, last_zxid, .. }, Some(writer)) => {
                let last = context.options.serialize_last_zxid.then_some(last_zxid);
                let finished = writer.finish(&context.io, digest, last).await?;
                finished.publish(&context.io, &context.places).await?;
                self.inbox.borrow_mut().purge |= context.options.autopurge;
                Ok(None)
            }
            (Piece::Abort, Some(writer)) => writer.abandon(&context.io).await.map(|()| None),
            (Piece::End { .. } | Piece::Abort, None) => Ok(None),
        }
    }

    async fn drop_snapshot(&mut self) -> Result<(), DiskError> {
        match self.snapshot.writer.take() {
            Some(writer) => writer.abandon(&self.context.io).await,
            None => Ok(()),
        }
    }

    /// Frees what the snapshot took on the full disk.
    async fn delete_unfinished(&mut self) -> Result<(), DiskError> {
        let context = self.context.clone();
        for file in context.io.list(&context.places.data).await? {
            if file.name.starts_with("tmp.snapshot.") {
                context.io.delete(&context.places.in_data(&file.name)).await?;
            }
        }
        Ok(())
    }

    /// The next batch of the read that waited longest.
    async fn read(&mut self) -> bool {
        let Some(mut read) = self.reads.pop_front() else { return false };
        let (entries, end) = read.next(&self.context.io).await;
        self.context.emit(DiskEvent::LogRead(LogBatch { read: read.id, entries, end }));
        if end == LogEnd::More {
            self.reads.push_back(read);
        }
        true
    }

    /// The log that they read is replaced.
    async fn drop_reads(&mut self) {
        for read in core::mem::take(&mut self.reads) {
            read.close(&self.context.io).await;
            let (entries, end) = (Vec::new(), LogEnd::Unusable);
            self.context.emit(DiskEvent::LogRead(LogBatch { read: read.id, entries, end }));
        }
    }

    async fn purge(&mut self) -> Result<bool, DiskError> {
        if !core::mem::take(&mut self.inbox.borrow_mut().purge) {
            return Ok(false);
        }
        purge::purge(&self.context, &mut self.log).await?;
        Ok(true)
    }
}
