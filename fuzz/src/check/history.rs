//! What clients asked and were told, against what was committed.
//!
//! - A write that was acknowledged is committed, once, at the zxid and with the result that the
//!   client was told. A write that was not acknowledged is committed at most once. Nothing is
//!   committed that nobody asked for.
//! - Writes are linearizable: what is asked after another write was acknowledged comes after it.
//! - A read shows the tree as it was at the reply's zxid, to the last field; a session's zxids
//!   never go back; a sync brings everything that was acknowledged before it.
//! - A refusal fits the tree that it was made on.
//! - A watch fires once, for what it was left for, before anything is told that shows the change.
//! - Session ids are unique; nothing is done for a session after its end; an ephemeral goes with
//!   its session and with nothing else.

use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rustc_hash::FxBuildHasher;
use zabkeeper_core::client::{Failure, MultiOp, MultiResult, Request, Response};
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::client::Stat;
use zabkeeper_core::wire::txn::{LoggedTxn, Txn};
use zabkeeper_core::wire::{ErrorCode, EventType, Record};

use super::Violation;
use super::model::{Change, Model, parent_of};

/// Everything that clients saw, and everything that happened.
#[derive(Debug, Default)]
pub struct History {
    model: Model,
    /// The zxid and error code of what clients asked for.
    by_request: HashMap<(SessionId, i32), Done, FxBuildHasher>,
    sessions: HashMap<SessionId, Life, FxBuildHasher>,
    clients: HashMap<ClientId, Seen, FxBuildHasher>,
    /// The last write that anybody was told of.
    acknowledged: Zxid,
    violation: Option<Violation>,
}

/// One session of one client: the client's number, and how many it had before.
pub type ClientId = (u32, u32);

#[derive(Debug)]
struct Done {
    zxid: Zxid,
    txn: Txn,
    /// Of the server: for the stats of nodes that were made in the same transaction.
    before: Zxid,
}

#[derive(Debug)]
struct Life {
    ended: Option<Zxid>,
}

/// What one session of one client saw.
#[derive(Debug, Default)]
struct Seen {
    session: SessionId,
    zxid: Zxid,
    asked: HashMap<i32, Asked, FxBuildHasher>,
    watches: Vec<Watch>,
    /// Deletions that a later server may tell twice: once for the node's watch, once for that
    /// of its children.
    twice: Vec<String>,
}

#[derive(Debug)]
struct Asked {
    request: Request,
    /// What was acknowledged to anybody when this was asked.
    after: Zxid,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Watch {
    path: String,
    /// For children; else for the node itself.
    of_children: bool,
    /// The node was not there.
    on_nothing: bool,
    since: Zxid,
    /// The connection it was left on is gone: it is a later server's to say what changed.
    was_moved: bool,
}

impl Watch {
    fn is_for(&self, change: Change) -> bool {
        match change {
            Change::Children => self.of_children,
            Change::Deleted => true,
            Change::Created | Change::Data => !self.of_children,
        }
    }
}

impl History {
    /// What went wrong first, if it was not asked for before.
    pub fn take_violation(&mut self) -> Result<(), Violation> {
        self.violation.take().map_or(Ok(()), Err)
    }

    /// A transaction is committed; called in order, before any client hears of it.
    pub fn committed(&mut self, zxid: Zxid, body: &Bytes) {
        let txn = match LoggedTxn::from_bytes(body) {
            Ok(txn) => txn,
            Err(what) => {
                return self.wrong("what is committed can be read", format!("{zxid}: {what}"));
            }
        };
        let before = Zxid(zxid.0 - 1);
        if let Err(what) = self.lives(&txn).and_then(|()| {
            let applied = self.model.apply(&txn);
            applied.map_err(|what| format!("transaction {zxid}: {what}"))
        }) {
            return self.wrong("what is committed fits the tree", what);
        }
        let LoggedTxn { header, txn, .. } = txn;
        // The end of an expired session has no request.
        if header.cxid == 0 {
            return;
        }
        let done = Done { zxid, txn, before };
        match self.by_request.entry((header.client, header.cxid)) {
            Entry::Vacant(entry) => {
                entry.insert(done);
            }
            Entry::Occupied(known) => {
                let what = format!(
                    "request {} of session {} is committed at {} and at {zxid}",
                    header.cxid,
                    header.client,
                    known.get().zxid
                );
                self.wrong("a write happens once", what);
            }
        }
    }

    /// A client asks.
    pub fn asked(&mut self, client: ClientId, xid: i32, request: Request) {
        let after = self.acknowledged;
        let seen = self.clients.entry(client).or_default();
        seen.asked.insert(xid, Asked { request, after });
    }

    /// A client has a session, or has it again.
    pub fn attached(&mut self, client: ClientId, session: SessionId) {
        let seen = self.clients.entry(client).or_default();
        let is_other = seen.session != SessionId(0) && seen.session != session;
        seen.session = session;
        let taken = self.clients.iter().find(|(id, s)| **id != client && s.session == session);
        if let Some((other, _)) = taken {
            let what = format!("clients {client:?} and {other:?} both have session {session}");
            self.wrong("session ids are unique", what);
        } else if is_other {
            self.wrong("a session keeps its id", format!("client {client:?} has {session} now"));
        }
    }

    /// A client's connection is gone.
    pub fn detached(&mut self, client: ClientId) {
        if let Some(seen) = self.clients.get_mut(&client) {
            for watch in &mut seen.watches {
                watch.was_moved = true;
            }
        }
    }

    /// A client's session is over.
    pub fn ended(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// A client is told that a watch fired.
    pub fn fired(&mut self, client: ClientId, kind: EventType, path: &str) {
        let Some(seen) = self.clients.get_mut(&client) else { return };
        let change = match kind {
            EventType::NodeCreated => Change::Created,
            EventType::NodeDeleted => Change::Deleted,
            EventType::NodeDataChanged => Change::Data,
            EventType::NodeChildrenChanged => Change::Children,
        };
        let (mut fired, mut were_moved) = (0, 0);
        let mut wrong = None;
        seen.watches.retain(|watch| {
            let is_it = watch.path == path && watch.is_for(change);
            fired += u32::from(is_it);
            were_moved += u32::from(is_it && watch.was_moved);
            if is_it && !watch.was_moved {
                let first = self.model.first_change(path, watch.since, |c| watch.is_for(c));
                if first.map(|(_, change)| change) != Some(change) {
                    wrong = Some(format!("{watch:?} fires with {kind:?}, and there was {first:?}"));
                }
            }
            !is_it
        });
        if change == Change::Deleted && were_moved == 2 {
            seen.twice.push(String::from(path));
        } else if fired == 0
            && let Some(i) = seen.twice.iter().position(|known| known == path)
            && change == Change::Deleted
        {
            seen.twice.swap_remove(i);
        } else if fired == 0 {
            wrong = Some(format!("{kind:?} of {path}, for which no watch is left"));
        }
        if let Some(what) = wrong {
            self.wrong(
                "a watch fires once, for what it was left for",
                format!("{client:?}: {what}"),
            );
        }
    }

    /// A client is answered.
    pub fn answered(
        &mut self,
        client: ClientId,
        xid: i32,
        zxid: Zxid,
        result: &Result<Response, Failure>,
    ) {
        let Some(seen) = self.clients.get_mut(&client) else { return };
        let Some(asked) = seen.asked.remove(&xid) else { return };
        if let Err(Failure::ConnectionLost) = result {
            return;
        }
        let (session, last) = (seen.session, seen.zxid);
        seen.zxid = zxid;
        let who = || format!("{client:?}, session {session}, xid {xid}, {}", brief(&asked.request));
        if zxid < last {
            let what = format!("{}: answered at {zxid} after {last}", who());
            return self.wrong("a session's zxids never go back", what);
        }
        let missed = seen.watches.iter().find_map(|watch| {
            // What a later server cannot know: a node that was not there, and is not there.
            if watch.was_moved && watch.on_nothing {
                return None;
            }
            let first = self.model.first_change(&watch.path, watch.since, |c| watch.is_for(c))?;
            (first.0 <= zxid).then(|| format!("{watch:?} has not fired for {first:?}"))
        });
        if let Some(missed) = missed {
            let what = format!("{}: answered at {zxid}, and {missed}", who());
            return self.wrong("a watch fires before what shows the change", what);
        }
        let checked = match asked.request {
            Request::Sync(_) if zxid < asked.after => {
                Err(format!("synced at {zxid}, and {} was acknowledged before", asked.after))
            }
            Request::Create(_)
            | Request::Create2(_)
            | Request::Delete(_)
            | Request::SetData(_)
            | Request::SetAcl(_)
            | Request::Multi(_) => self.write(session, xid, zxid, &asked, result),
            _ => self.read(zxid, &asked.request, result),
        };
        if let Err(what) = checked {
            return self.wrong("answers are true", format!("{}: {what}", who()));
        }
        self.watch(client, zxid, &asked.request, result);
    }

    /// The run is over and all sessions have ended: nothing may be left of them.
    ///
    /// # Errors
    /// What is left.
    pub fn finish(&mut self) -> Result<(), Violation> {
        self.take_violation()?;
        let left = self.model.ephemerals().iter().find(|(_, paths)| !paths.is_empty());
        if let Some((owner, paths)) = left {
            let what = format!("session {} has left {paths:?}", SessionId(*owner));
            return Err(Violation::safety("ephemerals go with their session", what));
        }
        match self.sessions.iter().filter(|(_, life)| life.ended.is_none()).map(|(id, _)| id).min()
        {
            Some(id) => {
                let what = format!("session {id} has no end in the log");
                Err(Violation::safety("every session ends once", what))
            }
            None => Ok(()),
        }
    }

    // ---- parts

    fn wrong(&mut self, rule: &'static str, what: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation::safety(rule, what));
        }
    }

    fn lives(&mut self, txn: &LoggedTxn) -> Result<(), String> {
        let (zxid, session) = (txn.header.zxid, txn.header.client);
        match &txn.txn {
            Txn::CreateSession(_) => {
                // A client that was not answered asks again with another id.
                match self.sessions.insert(session, Life { ended: None }) {
                    None => Ok(()),
                    Some(_) => Err(format!("{zxid} begins session {session} a second time")),
                }
            }
            Txn::CloseSession(_) => match self.sessions.get_mut(&session) {
                Some(life) if life.ended.is_none() => {
                    life.ended = Some(zxid);
                    Ok(())
                }
                other => Err(format!("{zxid} ends session {session}, which is {other:?}")),
            },
            Txn::Error(_) => Ok(()),
            _ => match self.sessions.get(&session) {
                Some(Life { ended: None }) => Ok(()),
                other => Err(format!("{zxid} is of session {session}, which is {other:?}")),
            },
        }
    }

    fn write(
        &mut self,
        session: SessionId,
        xid: i32,
        zxid: Zxid,
        asked: &Asked,
        result: &Result<Response, Failure>,
    ) -> Result<(), String> {
        let Some(done) = self.by_request.get(&(session, xid)) else {
            // Some refusals need no transaction.
            return match result {
                Ok(_) => Err(String::from("acknowledged, and not committed")),
                Err(_) => Ok(()),
            };
        };
        if done.zxid != zxid {
            return Err(format!("answered at {zxid}, and committed at {}", done.zxid));
        }
        if zxid <= asked.after {
            return Err(format!("committed at {zxid}, before {}", asked.after));
        }
        match (result, &done.txn) {
            (Err(Failure::Refused(code)), Txn::Error(told)) => {
                if *code as i32 != *told {
                    return Err(format!("refused with {code:?}, and {told} is committed"));
                }
                self.refusal(done.before, &asked.request, *code)?;
            }
            (Err(failure), Txn::Error(_)) => return Err(format!("{failure}")),
            (Err(failure), txn) => return Err(format!("{failure}, and {txn:?} is committed")),
            (Ok(_), Txn::Error(code)) => return Err(format!("done, and refused with {code}")),
            (Ok(response), txn) => self.outcome(zxid, &asked.request, response, txn)?,
        }
        self.acknowledged = self.acknowledged.max(zxid);
        Ok(())
    }

    /// Whether this is what the transaction did.
    fn outcome(
        &self,
        zxid: Zxid,
        request: &Request,
        response: &Response,
        txn: &Txn,
    ) -> Result<(), String> {
        let stat_is = |path: &str, told: &Stat| {
            let stat = self.model.at(path, zxid).map(|node| node.stat());
            if stat.as_ref() == Some(told) {
                Ok(())
            } else {
                Err(format!("told {told:?} of {path}, and it is {stat:?}"))
            }
        };
        match (request, response, txn) {
            (Request::Create(r), Response::Path(path), Txn::Create(txn)) => {
                named(&r.path, r.flags, path, &txn.path)
            }
            (Request::Create2(r), Response::Created(made), Txn::Create2(txn)) => {
                named(&r.path, r.flags, &made.path, &txn.path)?;
                stat_is(&txn.path, &made.stat)
            }
            (Request::Delete(r), Response::Done, Txn::Delete(txn)) if r.path == txn.path => Ok(()),
            (Request::SetData(r), Response::Stat(stat), Txn::SetData(txn))
                if r.path == txn.path && r.data == txn.data =>
            {
                stat_is(&txn.path, stat)
            }
            (Request::SetAcl(r), Response::Stat(stat), Txn::SetAcl(txn)) if r.path == txn.path => {
                stat_is(&txn.path, stat)
            }
            (Request::Multi(ops), Response::Multi(results), Txn::Multi(txns))
                if ops.len() == results.len() && ops.len() == txns.len() =>
            {
                let has_failed = txns.iter().any(|txn| matches!(txn, Txn::Error(_)));
                let mut all = ops.iter().zip(results).zip(txns);
                all.try_for_each(|((op, result), txn)| sub_outcome(op, result, txn, has_failed))
            }
            _ => Err(format!("{response:?} for {txn:?}")),
        }
    }

    /// Whether this was to be refused, and with this code, on the tree as it was then.
    fn refusal(&self, before: Zxid, request: &Request, code: ErrorCode) -> Result<(), String> {
        let node = |path: &str| self.model.at(path, before);
        let fits = match (request, code) {
            (Request::Create(r) | Request::Create2(r), ErrorCode::NodeExists) => {
                r.flags & 2 != 0 || node(&r.path).is_some()
            }
            (Request::Create(r) | Request::Create2(r), ErrorCode::NoNode) => {
                node(parent_of(&r.path).0).is_none()
            }
            (Request::Create(r) | Request::Create2(r), ErrorCode::NoChildrenForEphemerals) => {
                node(parent_of(&r.path).0).is_some_and(|parent| parent.owner != 0)
            }
            (Request::Delete(r), ErrorCode::NoNode) => node(&r.path).is_none(),
            (Request::Delete(r), ErrorCode::NotEmpty) => {
                node(&r.path).is_some_and(|node| node.children() > 0)
            }
            (Request::Delete(r), ErrorCode::BadVersion) => {
                node(&r.path).is_some_and(|node| node.version() != r.version)
            }
            (Request::SetData(r), ErrorCode::NoNode) => node(&r.path).is_none(),
            (Request::SetData(r), ErrorCode::BadVersion) => {
                node(&r.path).is_some_and(|node| node.version() != r.version)
            }
            // A session that ended, a connection that was moved, a multi's part.
            _ => true,
        };
        if fits { Ok(()) } else { Err(format!("refused with {code:?} on the tree at {before}")) }
    }

    fn read(
        &self,
        zxid: Zxid,
        request: &Request,
        result: &Result<Response, Failure>,
    ) -> Result<(), String> {
        let path = match request {
            Request::Exists(r)
            | Request::GetData(r)
            | Request::GetChildren(r)
            | Request::GetChildren2(r) => &*r.path,
            Request::GetAcl(r) => &*r.path,
            _ => return Ok(()),
        };
        let node = self.model.at(path, zxid);
        let stat_is = |told: &Stat| match node.map(|node| node.stat()) {
            Some(stat) if stat == *told => Ok(()),
            stat => Err(format!("at {zxid} told {told:?}, and it is {stat:?}")),
        };
        match result {
            Ok(Response::Stat(stat)) => stat_is(stat),
            Ok(Response::Acl(told)) => stat_is(&told.stat),
            Ok(Response::Data(told)) => {
                stat_is(&told.stat)?;
                let data = node.and_then(|node| node.data.clone()).unwrap_or_default();
                if told.data.clone().unwrap_or_default() == data {
                    return Ok(());
                }
                Err(format!("at {zxid} other data of the same length and version"))
            }
            Ok(Response::Children(names, stat)) => {
                stat_is(stat)?;
                self.model.check_children(path, zxid, names.iter().map(|name| &**name))
            }
            Ok(Response::Names(names)) => {
                self.model.check_children(path, zxid, names.iter().map(|name| &**name))
            }
            Err(Failure::Refused(ErrorCode::NoNode)) if node.is_some() => {
                Err(format!("no node at {zxid}, and it is {node:?}"))
            }
            _ => Ok(()),
        }
    }

    fn watch(
        &mut self,
        client: ClientId,
        since: Zxid,
        request: &Request,
        result: &Result<Response, Failure>,
    ) {
        let (r, of_children) = match request {
            Request::Exists(r) | Request::GetData(r) if r.watch => (r, false),
            Request::GetChildren(r) | Request::GetChildren2(r) if r.watch => (r, true),
            _ => return,
        };
        let on_nothing = match (result, request) {
            (Ok(_), _) => false,
            (Err(Failure::Refused(ErrorCode::NoNode)), Request::Exists(_)) => true,
            _ => return,
        };
        let path = r.path.to_string();
        let Some(seen) = self.clients.get_mut(&client) else { return };
        seen.watches.retain(|known| known.path != path || known.of_children != of_children);
        let was_moved = false;
        seen.watches.push(Watch { path, of_children, on_nothing, since, was_moved });
    }
}

/// Whether a node was made where it was asked for, and the client told its name.
fn named(asked: &str, flags: i32, told: &str, made: &str) -> Result<(), String> {
    let is_sequential = flags & 2 != 0;
    let fits = match made.strip_prefix(asked) {
        Some("") => !is_sequential,
        Some(number) => is_sequential && number.len() >= 10 && number.parse::<i32>().is_ok(),
        None => false,
    };
    if fits && told == made {
        Ok(())
    } else {
        Err(format!("asked for {asked} with flags {flags}, {made} was made, told {told}"))
    }
}

fn sub_outcome(
    op: &MultiOp,
    result: &MultiResult,
    txn: &Txn,
    has_failed: bool,
) -> Result<(), String> {
    match (op, result, txn) {
        (MultiOp::Create(r), MultiResult::Path(path), Txn::Create(txn)) => {
            named(&r.path, r.flags, path, &txn.path)
        }
        (MultiOp::Create2(r), MultiResult::Created(made), Txn::Create2(txn)) => {
            named(&r.path, r.flags, &made.path, &txn.path)
        }
        (MultiOp::Delete(r), MultiResult::Done, Txn::Delete(txn)) if r.path == txn.path => Ok(()),
        (MultiOp::SetData(r), MultiResult::Stat(stat), Txn::SetData(txn))
            if r.path == txn.path && stat.version == txn.version =>
        {
            Ok(())
        }
        (MultiOp::Check(r), MultiResult::Done, Txn::Check(txn)) if r.path == txn.path => Ok(()),
        // A multi that failed did nothing; its results say why. 0: this part was not to blame.
        (_, MultiResult::Error(told), Txn::Error(code)) if told == code => Ok(()),
        (_, MultiResult::Error(0), _) if has_failed => Ok(()),
        _ => Err(format!("{result:?} for {txn:?}")),
    }
}

fn brief(request: &Request) -> String {
    let text = format!("{request:?}");
    text.chars().take(160).collect()
}
