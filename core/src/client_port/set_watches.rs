//! A reconnected client's watches, left again piece by piece (`DataTree.setWatches`).

use alloc::borrow::Cow;

use bytes::Bytes;

use super::watches::Watches;
use crate::budget::Work;
use crate::mutant::mutant;
use crate::store::{NodeRef, Store};
use crate::types::{ConnId, Zxid};
use crate::wire::jute::{Malformed, Reader, text_of};
use crate::wire::{AddWatchMode, ErrorCode, EventType, OpCode};

/// The lists of setWatches, and two more of setWatches2.
const LISTS: u8 = 3;
const LISTS_2: u8 = 5;

/// The request, and how much of it is done: the paths stay where they are.
#[derive(Debug)]
pub(super) struct SetWatches {
    body: Bytes,
    /// The next path.
    at: usize,
    since: Zxid,
    /// Lists begun.
    list: u8,
    /// Paths of the list that are still to come.
    left: u32,
    lists: u8,
}

/// The next step.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Next<'a> {
    /// Tell that this was missed; there is more.
    Missed(EventType, Cow<'a, str>),
    /// There is more, at another time.
    Later,
    /// Answer.
    Done(Result<(), ErrorCode>),
}

impl SetWatches {
    /// Takes a request whose every length is right; one of setWatches2 if `op` is not
    /// setWatches.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn new(op: OpCode, body: &Bytes) -> Result<SetWatches, Malformed> {
        let lists = if op == OpCode::SetWatches { LISTS } else { LISTS_2 };
        let mut r = Reader::new(body);
        let since = r.record()?;
        let at = r.position();
        for _ in 0..lists {
            for _ in 0..r.int()?.max(0) {
                skip_text(&mut r)?;
            }
        }
        Ok(SetWatches { body: body.clone(), at, since, list: 0, left: 0, lists })
    }

    /// Leaves watches up to the next event that was missed, or the end. As in ZooKeeper, a path in
    /// two lists is told of twice. Of a node that the client may not read nothing is told: its
    /// watch is left, and whether it fires is decided then. Ends early when the paths have cost
    /// what is
    /// `left`.
    pub(super) fn next(
        &mut self,
        store: &Store,
        watches: &mut Watches,
        conn: ConnId,
        may_read: impl Fn(&NodeRef<'_>) -> bool,
        left: &mut usize,
    ) -> Next<'_> {
        loop {
            if *left == 0 {
                return Next::Later;
            }
            match self.path() {
                Err(code) => return Next::Done(Err(code)),
                Ok(None) => return Next::Done(Ok(())),
                Ok(Some((start, end))) => {
                    let cost = Work { nodes: 3, bytes: end - start, ..Work::default() }.cost();
                    *left = left.saturating_sub(cost);
                    let missed = {
                        let path = text_of(&self.body[start..end]);
                        match self.rewatch(store, watches, conn, &may_read, &path) {
                            Ok(missed) => missed,
                            Err(code) => return Next::Done(Err(code)),
                        }
                    };
                    if let Some(kind) = missed {
                        let path = text_of(&self.body[start..end]);
                        return Next::Missed(kind, path);
                    }
                }
            }
        }
    }

    /// Where the next path is. A null list or path stops ZooKeeper halfway, too; but there a
    /// persistent watch can be left on a null path, where nothing ever happens.
    fn path(&mut self) -> Result<Option<(usize, usize)>, ErrorCode> {
        loop {
            while self.left == 0 {
                if self.list == self.lists {
                    return Ok(None);
                }
                let count = self.int();
                self.list += 1;
                self.left = u32::try_from(count).unwrap_or(0);
                if count == -1 {
                    return Err(ErrorCode::MarshallingError);
                }
            }
            let length = self.int();
            self.left -= 1;
            if let Ok(length) = usize::try_from(length) {
                let start = self.at;
                self.at += length;
                return Ok(Some((start, self.at)));
            }
            if self.list <= LISTS {
                return Err(ErrorCode::MarshallingError);
            }
        }
    }

    /// An int, which is there: all lengths were checked.
    fn int(&mut self) -> i32 {
        let bytes = self.body.get(self.at..).and_then(|rest| rest.first_chunk());
        self.at += 4;
        bytes.map_or(-1, |bytes| i32::from_be_bytes(*bytes))
    }

    fn rewatch(
        &self,
        store: &Store,
        watches: &mut Watches,
        conn: ConnId,
        may_read: &impl Fn(&NodeRef<'_>) -> bool,
        path: &str,
    ) -> Result<Option<EventType>, ErrorCode> {
        let node = store.node(path);
        let missed = match (self.list, node) {
            (1, None) | (3, None) => Some(EventType::NodeDeleted),
            (1, Some(node)) => {
                let mut is_missed = node.stored().mzxid > self.since;
                mutant!(MissedWatchForgotten => is_missed = false);
                is_missed.then_some(EventType::NodeDataChanged)
            }
            (2, node) => node.is_some().then_some(EventType::NodeCreated),
            (3, Some(node)) => {
                (node.stored().pzxid > self.since).then_some(EventType::NodeChildrenChanged)
            }
            (4, _) => {
                mutant!(PersistentWatchNotLeftAgain => return Ok(None));
                watches.watch(path, conn, AddWatchMode::Persistent)?;
                return Ok(None);
            }
            (_, _) => {
                mutant!(PersistentWatchNotLeftAgain => return Ok(None));
                watches.watch(path, conn, AddWatchMode::PersistentRecursive)?;
                return Ok(None);
            }
        };
        let missed = missed.filter(|_| store.node(path).is_none_or(|node| may_read(&node)));
        match (missed, self.list) {
            (Some(_), _) => {}
            (None, 3) => watches.watch_children(path, conn)?,
            (None, _) => watches.watch_data(path, conn)?,
        }
        Ok(missed)
    }
}

fn skip_text(r: &mut Reader<'_>) -> Result<(), Malformed> {
    let length = r.int()?;
    match usize::try_from(length) {
        Ok(length) => r.skip(length),
        Err(_) if length == -1 => Ok(()),
        Err(_) => Err(Malformed::Length(length)),
    }
}
