//! Answers from the tree, and of transactions (`FinalRequestProcessor`).

use alloc::vec::Vec;
use core::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::connection::Reply;
use super::watches::Watches;
use crate::access::Access;
use crate::budget::Work;
use crate::prep;
use crate::store::{NodeRef, Outcome, Store};
use crate::types::{ConnId, SessionId};
use crate::wire::client::{Id, MultiHeader, WatchedRequest, perms};
use crate::wire::jute::{Reader, Writer};
use crate::wire::txn::{LoggedTxn, Txn};
use crate::wire::{AddWatchMode, ErrorCode, OpCode, Record, WatcherType};

/// The longest answer, with what is sent before it: one that a lane of a runtime takes beside as
/// much again.
const MOST_BYTES: usize = 32 << 20;

/// The reader of a request, and its rights.
pub(super) struct RequestContext<'a> {
    pub(super) conn: ConnId,
    pub(super) session: SessionId,
    pub(super) ids: &'a [Id],
    pub(super) access: &'a Access,
    /// Bytes that the parts of a multiRead may have together.
    pub(super) most_parts_bytes: usize,
    /// The work done, without the bytes that were written.
    pub(super) work: Cell<Work>,
}

impl RequestContext<'_> {
    pub(super) fn check(&self, node: &NodeRef<'_>, wanted: i32) -> Result<(), ErrorCode> {
        let compared = self.access.compared(node.acl(), self.ids);
        self.did(Work { nodes: 1, compared, ..Work::default() });
        self.access.check(node.acl(), wanted, self.ids)
    }

    fn did(&self, more: Work) {
        let mut work = self.work.get();
        work += more;
        self.work.set(work);
    }
}

/// Why a read is not answered.
pub(super) struct Refused {
    pub(super) code: ErrorCode,
    /// The appended part is sent nevertheless.
    pub(super) with_body: bool,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused { code, with_body: false }
    }
}

/// Appends a read's answer to `out`, or tells why there is none; leaves its watch.
pub(super) fn read(
    store: &Store,
    watches: &mut Watches,
    context: &RequestContext<'_>,
    op: OpCode,
    body: &Bytes,
    out: &mut BytesMut,
) -> Result<(), Refused> {
    let mut r = Reader::new(body);
    let malformed = |_| ErrorCode::MarshallingError;
    match op {
        OpCode::Ping => Ok(()),
        OpCode::Sync => {
            // As it came, null and all.
            out.put_buffer(sync_path(body)?.as_deref().map(str::as_bytes));
            Ok(())
        }
        OpCode::Exists => {
            let request: WatchedRequest = r.record().map_err(malformed)?;
            if request.path.contains('\0') {
                return Err(ErrorCode::BadArguments.into());
            }
            let node = store.node(&request.path);
            if let Some(node) = &node {
                context.check(node, perms::READ)?;
            }
            if request.watch {
                watches.watch_data(&request.path, context.conn)?;
            }
            node.ok_or(ErrorCode::NoNode)?.stat().write(out);
            Ok(())
        }
        OpCode::GetData => {
            let request: WatchedRequest = r.record().map_err(malformed)?;
            let node = readable(store, context, &request.path)?;
            if request.watch {
                watches.watch_data(&request.path, context.conn)?;
            }
            write_data(&node, out);
            Ok(())
        }
        OpCode::GetChildren | OpCode::GetChildren2 => {
            let request: WatchedRequest = r.record().map_err(malformed)?;
            let node = readable(store, context, &request.path)?;
            if request.watch {
                watches.watch_children(&request.path, context.conn)?;
            }
            write_children(context, &node, out, MOST_BYTES)?;
            if op == OpCode::GetChildren2 {
                node.stat().write(out);
            }
            Ok(())
        }
        OpCode::GetAcl => {
            let path = r.text().map_err(malformed)?;
            let node = store.node(&path).ok_or(ErrorCode::NoNode)?;
            context.check(&node, perms::READ | perms::ADMIN)?;
            context.access.visible(node.acl(), context.ids).write(out);
            node.stat().write(out);
            Ok(())
        }
        OpCode::GetEphemerals => {
            let prefix = r.ustring().map_err(malformed)?.unwrap_or_default();
            let trimmed = prefix.trim_matches(|c| c <= ' ');
            let all = trimmed.is_empty() || trimmed == "/";
            let paths = store.ephemerals(context.session);
            let shown: Vec<&ByteString> =
                paths.filter(|p| all || p.starts_with(&*prefix)).collect();
            context.did(Work { nodes: shown.len(), ..Work::default() });
            out.put_count(shown.len());
            for path in shown {
                out.put_ustring(path);
                fits(out, MOST_BYTES)?;
            }
            Ok(())
        }
        OpCode::MultiRead => multi_read(store, context, body, out),
        OpCode::GetAllChildrenNumber => {
            let path = r.text().map_err(malformed)?;
            readable(store, context, &path)?;
            // By its empty name the root is above itself, as "/".
            let below = store.descendants(&path).unwrap_or_default() + usize::from(path.is_empty());
            out.put_i32(below as i32);
            Ok(())
        }
        OpCode::WhoAmI => {
            out.put_count(context.ids.len());
            for id in context.ids {
                out.put_ustring(&id.scheme);
                out.put_ustring(context.access.user(id));
            }
            Ok(())
        }
        OpCode::AddWatch => {
            // As in ZooKeeper, any text will do for a path, and even none: nothing happens there.
            let path = r.ustring().map_err(malformed)?;
            let mode = AddWatchMode::from_i32(r.int().map_err(malformed)?);
            let mode = mode.ok_or(ErrorCode::MarshallingError)?;
            if let Some(path) = path {
                watches.watch(&path, context.conn, mode)?;
            }
            out.put_i32(0);
            Ok(())
        }
        OpCode::CheckWatches | OpCode::RemoveWatches => {
            let path = r.ustring().map_err(malformed)?;
            let kind = WatcherType::from_i32(r.int().map_err(malformed)?);
            let kind = kind.ok_or(ErrorCode::MarshallingError)?;
            let was_there = path.is_some_and(|path| match op {
                OpCode::CheckWatches => watches.contains(&path, context.conn, kind),
                _ => watches.remove(&path, context.conn, kind),
            });
            if was_there { Ok(()) } else { Err(ErrorCode::NoWatcher.into()) }
        }
        _ => Err(ErrorCode::Unimplemented.into()),
    }
}

/// The node, if it is there and may be read.
fn readable<'a>(
    store: &'a Store,
    context: &RequestContext<'_>,
    path: &str,
) -> Result<NodeRef<'a>, ErrorCode> {
    let node = store.node(path).ok_or(ErrorCode::NoNode)?;
    context.check(&node, perms::READ)?;
    Ok(node)
}

fn write_data(node: &NodeRef<'_>, out: &mut BytesMut) {
    out.put_buffer(node.data());
    node.stat().write(out);
}

fn write_children(
    context: &RequestContext<'_>,
    node: &NodeRef<'_>,
    out: &mut BytesMut,
    most: usize,
) -> Result<(), ErrorCode> {
    context.did(Work { nodes: node.child_count(), ..Work::default() });
    out.put_count(node.child_count());
    for name in node.children() {
        out.put_ustring(name);
        fits(out, most)?;
    }
    Ok(())
}

/// Whether an answer is not too long yet: it is in memory as a whole before any of it is sent.
fn fits(out: &BytesMut, most: usize) -> Result<(), ErrorCode> {
    if out.len() <= most { Ok(()) } else { Err(ErrorCode::MarshallingError) }
}

/// Several getData and getChildren, each with a result of its own; watch flags are without
/// effect (`MultiOperationRecord`, `FinalRequestProcessor`).
fn multi_read(
    store: &Store,
    context: &RequestContext<'_>,
    body: &Bytes,
    out: &mut BytesMut,
) -> Result<(), Refused> {
    let mut whole = Ok(());
    let most = out.len() + context.most_parts_bytes;
    for (op, path) in parts_to_read(body)? {
        context.did(Work { requests: 1, ..Work::default() });
        let Some(path) = path else {
            whole = Err(Refused { code: ErrorCode::MarshallingError, with_body: true });
            break;
        };
        match readable(store, context, &path) {
            Ok(node) => {
                MultiHeader { op: op as i32, done: false, err: 0 }.write(out);
                if op == OpCode::GetData {
                    write_data(&node, out);
                } else {
                    write_children(context, &node, out, most)?;
                }
                fits(out, most)?;
            }
            Err(code) => {
                let err = code as i32;
                MultiHeader { op: OpCode::Error as i32, done: false, err }.write(out);
                out.put_i32(err);
            }
        }
    }
    MultiHeader { op: -1, done: true, err: -1 }.write(out);
    whole
}

/// The parts of a multiRead; a null path stands for one that cannot be looked up. Reads and
/// writes do not mix, and a multi of writes is found out at its first part.
fn parts_to_read(body: &Bytes) -> Result<Vec<(OpCode, Option<ByteString>)>, ErrorCode> {
    let malformed = |_| ErrorCode::MarshallingError;
    let mut r = Reader::new(body);
    let mut all = Vec::new();
    loop {
        let header: MultiHeader = r.record().map_err(malformed)?;
        if header.done {
            return Ok(all);
        }
        match OpCode::from_i32(header.op) {
            Some(op @ (OpCode::GetData | OpCode::GetChildren)) => {
                all.push((op, r.ustring().map_err(malformed)?));
                r.boolean().map_err(malformed)?;
            }
            Some(op) if all.is_empty() => {
                let readable = prep::parse(OpCode::Multi, body)?.is_readable();
                return if readable {
                    Ok(Vec::from([(op, None)]))
                } else {
                    Err(ErrorCode::MarshallingError)
                };
            }
            _ => return Err(ErrorCode::MarshallingError),
        }
    }
}

/// Whether a request is answered from the tree, in the session's order.
pub(super) fn is_read(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Ping
            | OpCode::Exists
            | OpCode::GetData
            | OpCode::GetChildren
            | OpCode::GetChildren2
            | OpCode::GetAcl
            | OpCode::GetEphemerals
            | OpCode::GetAllChildrenNumber
            | OpCode::MultiRead
            | OpCode::WhoAmI
            | OpCode::AddWatch
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
    )
}

/// The code of a transaction's outcome.
pub(super) fn code(outcome: &Outcome) -> ErrorCode {
    match outcome {
        Outcome::Error(code) => ErrorCode::from_i32(*code).unwrap_or(ErrorCode::SystemError),
        _ => ErrorCode::Ok,
    }
}

/// Whether the session is attached to another server by now: its connection here must go.
pub(super) fn session_moved(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Multi(all) => all.iter().any(session_moved),
        other => code(other) == ErrorCode::SessionMoved,
    }
}

/// The answer of a transaction to its client.
pub(super) fn reply(logged: &LoggedTxn, outcome: &Outcome) -> Reply {
    let (zxid, code) = (logged.header.zxid, code(outcome));
    let mut body = BytesMut::new();
    if code == ErrorCode::Ok {
        reply_body(&logged.txn, outcome, &mut body);
    }
    Reply { zxid, code, body: body.freeze() }
}

/// Appends what stands behind the header of a transaction's answer.
pub(super) fn reply_body(txn: &Txn, outcome: &Outcome, out: &mut BytesMut) {
    match (txn, outcome) {
        (Txn::Multi(parts), Outcome::Multi(all)) => multi_results(parts, all, out),
        (Txn::Reconfig(txn), Outcome::Changed(_)) => {
            out.put_buffer(txn.data.as_deref());
            write_outcome(outcome, out);
        }
        _ => write_outcome(outcome, out),
    }
}

/// Appends what a transaction answers its client with.
pub(super) fn write_outcome(outcome: &Outcome, out: &mut BytesMut) {
    match outcome {
        Outcome::Error(_) | Outcome::Done => {}
        Outcome::Created(path) => out.put_ustring(path),
        Outcome::Created2(path, stat) => {
            out.put_ustring(path);
            stat.write(out);
        }
        Outcome::Changed(stat) => stat.write(out),
        // Written by [`multi_results`], which knows the parts.
        Outcome::Multi(_) => {}
    }
}

/// The type of a multi's result. Deletes and checks cannot be told apart by their outcome,
/// see [`multi_results`].
fn result_type(outcome: &Outcome) -> (OpCode, &Outcome) {
    let op = match outcome {
        Outcome::Error(_) => OpCode::Error,
        Outcome::Created(_) => OpCode::Create,
        Outcome::Created2(..) => OpCode::Create2,
        Outcome::Changed(_) => OpCode::SetData,
        Outcome::Done | Outcome::Multi(_) => OpCode::Check,
    };
    (op, outcome)
}

/// Appends a multi's results with the types that its parts have.
fn multi_results(parts: &[Txn], all: &[Outcome], out: &mut BytesMut) {
    for (part, outcome) in parts.iter().zip(all) {
        let (mut op, outcome) = result_type(outcome);
        if *outcome == Outcome::Done && part.op() != OpCode::Check {
            op = OpCode::Delete;
        }
        let err = match outcome {
            Outcome::Error(code) => *code,
            _ => 0,
        };
        MultiHeader { op: op as i32, done: false, err }.write(out);
        match outcome {
            Outcome::Error(code) => out.put_i32(*code),
            other => write_outcome(other, out),
        }
    }
    MultiHeader { op: -1, done: true, err: -1 }.write(out);
}

/// Paths in sync requests are answered as they came.
pub(super) fn sync_path(body: &Bytes) -> Result<Option<ByteString>, ErrorCode> {
    Reader::new(body).ustring().map_err(|_| ErrorCode::MarshallingError)
}
