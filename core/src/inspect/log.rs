//! A log: its transactions, the layout where none are, and what it comes to.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::{self, Display};

use serde::Serialize;

use super::text::{Count, Moment, Plain, shown, shown_option};
use super::transaction::Transaction;
use super::{Finding, FindingSink, InspectError, Options, Target, emit};
use crate::disk::{Damage, Io, LOG_HEADER_LEN, LogFile, LogReader, Next, Tail, examine, follows};
use crate::types::Zxid;

/// A place in a log where the next transaction should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Break {
    /// `torn`, `damaged`, `too_large`, `header`, `gap` or `disorder`.
    pub kind: &'static str,
    /// From the start of the file.
    pub offset: u64,
    /// The last transaction before.
    #[serde(serialize_with = "shown")]
    pub after: Zxid,
    /// The error, and how a server handles it.
    pub what: String,
    /// Where transactions go on, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues_at: Option<u64>,
}

/// The summary of a log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogSummary {
    /// Which file.
    pub path: String,
    /// The zxid in its name.
    #[serde(serialize_with = "shown")]
    pub named: Zxid,
    /// With padding.
    pub file_bytes: u64,
    /// Where the last entry ends.
    pub entries_end: u64,
    /// How many transactions.
    pub transactions: u64,
    /// The first one.
    #[serde(serialize_with = "shown_option")]
    pub first_zxid: Option<Zxid>,
    /// The last one.
    #[serde(serialize_with = "shown_option")]
    pub last_zxid: Option<Zxid>,
    /// The first one's time, ms since 1970.
    pub first_time_ms: Option<i64>,
    /// The last one's.
    pub last_time_ms: Option<i64>,
    /// How many of each operation.
    pub operations: BTreeMap<&'static str, u64>,
    /// Transactions whose record cannot be read.
    pub unreadable: u64,
    /// How many breaks there are.
    pub breaks: u64,
    /// Its first damage, if it has any.
    pub problem: Option<String>,
    #[serde(skip)]
    pub(super) after_base: u64,
    #[serde(skip)]
    is_torn: bool,
}

pub(super) fn file_of(target: &Target, zxid: Zxid) -> LogFile {
    LogFile { zxid, path: target.path.clone(), len: target.len }
}

pub(super) async fn inspect(
    io: &Io,
    file: LogFile,
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<LogSummary, InspectError> {
    inspect_after(io, file, Zxid(i64::MAX), options, sink).await
}

/// The same, counting the transactions after `base` too.
pub(super) async fn inspect_after(
    io: &Io,
    file: LogFile,
    base: Zxid,
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<LogSummary, InspectError> {
    let mut summary = LogSummary {
        path: file.path.to_string(),
        named: file.zxid,
        file_bytes: file.len,
        entries_end: 0,
        transactions: 0,
        first_zxid: None,
        last_zxid: None,
        first_time_ms: None,
        last_time_ms: None,
        operations: BTreeMap::new(),
        unreadable: 0,
        breaks: 0,
        problem: None,
        after_base: 0,
        is_torn: false,
    };
    let max = options.max_record_bytes;
    let mut reader = LogReader::new(file.clone(), max);
    loop {
        let last = summary.last_zxid.unwrap_or(Zxid(file.zxid.0.saturating_sub(1)));
        let (offset, damage) = match reader.next(io).await? {
            Next::Entry { offset, entry } => {
                let transaction = Transaction::read(offset, &entry, options.data);
                if let Some(found) = summary.disorder(last, offset, entry.zxid) {
                    summary.found(found, sink)?;
                }
                summary.count(&transaction, base);
                summary.entries_end = reader.offset();
                let is_wanted = options.from <= entry.zxid && entry.zxid <= options.to;
                if options.transactions && is_wanted {
                    emit(sink, Finding::Transaction(transaction))?;
                }
                continue;
            }
            Next::End { offset } => (offset, None),
            Next::Damaged { offset, damage } => (offset, Some(damage)),
        };
        if let Some(Damage::Header) = damage {
            let found = Break {
                kind: "header",
                offset: 0,
                after: last,
                what: String::from("the header of a log is missing: no server reads it"),
                continues_at: None,
            };
            // A server that stops before its first transaction is durable leaves this.
            if file.len > 0 && !is_empty(io, &file, max).await? {
                summary.found(found, sink)?;
            }
            break;
        }
        summary.entries_end = summary.entries_end.max(LOG_HEADER_LEN);
        let why = damage.map_or_else(|| String::from("zeros"), |damage| damage.to_string());
        let (kind, what, continues_at) = match examine(io, &file, offset, damage, last, max).await?
        {
            Tail::Padding => break,
            Tail::Torn { end } => (
                "torn",
                format!(
                    "{} of a torn write ({why}): at the end of the newest log a server cuts them \
                     off and keeps them aside",
                    Count(end - offset, "byte")
                ),
                None,
            ),
            Tail::Corrupt { follower } => (
                "damaged",
                format!(
                    "no transaction ({why}), but good ones follow at offset {follower}: it was \
                     durable once, and a server refuses to start without it"
                ),
                Some(follower),
            ),
            Tail::TooLarge => (
                "too_large",
                format!(
                    "a transaction larger than {max} bytes ({why}): a server refuses to start \
                     until jute.maxbuffer allows for it; to read on, allow for it here"
                ),
                None,
            ),
        };
        summary.found(Break { kind, offset, after: last, what, continues_at }, sink)?;
        match continues_at {
            Some(follower) => reader = LogReader::at(file.clone(), follower, max),
            None => break,
        }
    }
    io.close(&file.path).await?;
    Ok(summary)
}

/// Nothing but zeros.
async fn is_empty(io: &Io, file: &LogFile, max: usize) -> Result<bool, InspectError> {
    Ok(examine(io, file, 0, None, Zxid::UNTRUSTED, max).await? == Tail::Padding)
}

impl LogSummary {
    /// Whether a server would take every byte of it.
    pub fn is_sound(&self) -> bool {
        self.problem.is_none()
    }

    /// Whether nothing is wrong with it but a torn write at its end.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    fn disorder(&self, last: Zxid, offset: u64, zxid: Zxid) -> Option<Break> {
        if self.transactions == 0 || follows(last, zxid) {
            return None;
        }
        let (kind, what) = if zxid > last {
            (
                "gap",
                format!("{zxid} does not follow {last}: a server refuses to start without them"),
            )
        } else {
            ("disorder", format!("{zxid} comes after {last}: a server passes over it"))
        };
        Some(Break { kind, offset, after: last, what, continues_at: Some(offset) })
    }

    fn found(&mut self, found: Break, sink: &mut FindingSink<'_>) -> Result<(), InspectError> {
        self.breaks += 1;
        // Servers only warn of disorder.
        if found.kind != "disorder" && self.problem.is_none() {
            self.is_torn = found.kind == "torn";
            self.problem = Some(format!("at offset {}, {}", found.offset, found.what));
        }
        emit(sink, Finding::Break(found))
    }

    fn count(&mut self, transaction: &Transaction, base: Zxid) {
        self.transactions += 1;
        self.after_base += u64::from(transaction.zxid > base);
        self.first_zxid.get_or_insert(transaction.zxid);
        self.first_time_ms.get_or_insert(transaction.time_ms);
        self.last_time_ms = Some(transaction.time_ms);
        self.last_zxid = self.last_zxid.max(Some(transaction.zxid));
        *self.operations.entry(transaction.change.op).or_default() += 1;
        if let Some(why) = &transaction.unreadable {
            self.unreadable += 1;
            self.problem.get_or_insert_with(|| {
                format!("transaction {} cannot be replayed: {why}", transaction.zxid)
            });
        }
    }
}

impl Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "!! {} at offset {} after zxid {}: {}",
            self.kind.replace('_', " "),
            self.offset,
            self.after,
            self.what
        )
    }
}

impl Display for LogSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Plain(&self.path), Count(self.transactions, "transaction"))?;
        if let (Some(first), Some(last)) = (self.first_zxid, self.last_zxid) {
            write!(f, ", {first} to {last}")?;
        }
        write!(f, "; {}", if self.is_sound() { "sound" } else { "NOT SOUND" })?;
        if let Some(problem) = &self.problem {
            write!(f, ": {problem}")?;
        }
        if let (Some(first), Some(last)) = (self.first_time_ms, self.last_time_ms) {
            write!(f, "\n  time        {} to {}", Moment(first), Moment(last))?;
        }
        write!(
            f,
            "\n  file        entries end at offset {} of {}",
            self.entries_end, self.file_bytes
        )?;
        if !self.operations.is_empty() {
            f.write_str("\n  operations ")?;
            for (op, n) in &self.operations {
                write!(f, " {op} {n}")?;
            }
        }
        if self.first_zxid.is_some_and(|first| first != self.named) {
            write!(f, "\n  name        says {}, not the first zxid", self.named)?;
        }
        Ok(())
    }
}
