//! Where two logs, or two sequences of logs, differ first.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display};

use serde::Serialize;

use super::text::shown_option;
use super::transaction::Transaction;
use super::{Finding, FindingSink, InspectError, Options, emit};
use crate::disk::{Io, LogFile, LogReader, Next};
use crate::types::Zxid;
use crate::wire::entries::Entry;

/// The result of comparing logs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogDifference {
    /// Compared from here on: before it, one of them has nothing.
    #[serde(serialize_with = "shown_option")]
    pub from: Option<Zxid>,
    /// Up to here they have the same transactions.
    #[serde(serialize_with = "shown_option")]
    pub same_upto: Option<Zxid>,
    /// How many those are.
    pub same: u64,
    /// The first zxid at which they differ.
    #[serde(serialize_with = "shown_option")]
    pub first_zxid: Option<Zxid>,
    /// The first one's entry there; none: it has ended.
    pub a: Option<Box<Transaction>>,
    /// The second one's entry there.
    pub b: Option<Box<Transaction>>,
}

/// Several files as one sequence.
struct Chain {
    files: VecDeque<LogFile>,
    reader: Option<LogReader>,
    max_body: usize,
    last: Option<Zxid>,
}

impl Chain {
    /// The next transaction later than all before, with its place.
    async fn next(&mut self, io: &Io) -> Result<Option<(u64, Entry)>, InspectError> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(file) = self.files.pop_front() else { return Ok(None) };
                self.reader = Some(LogReader::new(file, self.max_body));
                continue;
            };
            match reader.next(io).await? {
                Next::Entry { offset, entry } => {
                    if self.last.is_none_or(|last| entry.zxid > last) {
                        self.last = Some(entry.zxid);
                        return Ok(Some((offset, entry)));
                    }
                }
                Next::End { .. } | Next::Damaged { .. } => {
                    io.close(&reader.file().path).await?;
                    self.reader = None;
                }
            }
        }
    }
}

pub(super) async fn compare(
    io: &Io,
    files: [Vec<LogFile>; 2],
    options: &Options,
    sink: &mut FindingSink<'_>,
) -> Result<bool, InspectError> {
    let max_body = options.max_record_bytes;
    let [mut a, mut b] =
        files.map(|f| Chain { files: f.into(), reader: None, max_body, last: None });
    let (mut x, mut y) = (a.next(io).await?, b.next(io).await?);
    // Where the later one begins.
    let start = match (&x, &y) {
        (Some((_, x)), Some((_, y))) => Some(x.zxid.max(y.zxid).max(options.from)),
        (Some((_, only)), None) | (None, Some((_, only))) => Some(only.zxid.max(options.from)),
        (None, None) => None,
    };
    for (chain, next) in [(&mut a, &mut x), (&mut b, &mut y)] {
        while next.as_ref().is_some_and(|(_, entry)| Some(entry.zxid) < start) {
            *next = chain.next(io).await?;
        }
    }
    let mut found =
        LogDifference { from: start, same_upto: None, same: 0, first_zxid: None, a: None, b: None };
    loop {
        match (&x, &y) {
            (Some((_, l)), Some((_, r))) if l == r && l.zxid <= options.to => {
                (found.same_upto, found.same) = (Some(l.zxid), found.same + 1);
            }
            _ => break,
        }
        (x, y) = (a.next(io).await?, b.next(io).await?);
    }
    let first = [&x, &y].into_iter().flatten().map(|(_, entry)| entry.zxid).min();
    found.first_zxid = first.filter(|first| *first <= options.to);
    if found.first_zxid.is_some() {
        let said = |at: &Option<(u64, Entry)>| {
            let (offset, entry) = at.as_ref()?;
            Some(Box::new(Transaction::read(*offset, entry, options.data)))
        };
        (found.a, found.b) = (said(&x), said(&y));
    }
    let is_same = found.first_zxid.is_none();
    emit(sink, Finding::LogDifference(found))?;
    Ok(is_same)
}

impl Display for LogDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.same_upto, self.first_zxid) {
            (None, ..) => return f.write_str("the logs hold no transaction"),
            (Some(from), Some(upto), None) => {
                write!(f, "the logs are the same from zxid {from} to {upto}")?;
            }
            (Some(from), _, None) => write!(f, "the logs hold no transaction from zxid {from} on")?,
            (Some(from), upto, Some(first)) => {
                write!(f, "the logs differ first at zxid {first}")?;
                match upto {
                    Some(upto) => write!(f, "; from {from} to {upto} they are the same")?,
                    None => write!(f, "; compared from {from} on")?,
                }
                for (name, side) in [("A", &self.a), ("B", &self.b)] {
                    match side {
                        Some(transaction) => write!(f, "\n  {name} {transaction}")?,
                        None => write!(f, "\n  {name} has ended")?,
                    }
                }
            }
        }
        write!(f, "\n  {}", Ended(self.same))
    }
}

struct Ended(u64);

impl Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said: String = alloc::format!("{}", super::text::Count(self.0, "transaction"));
        write!(f, "{said} compared and found the same")
    }
}
