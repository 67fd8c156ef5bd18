//! What clients asked and were told, against what was committed.
//!
//! - Whatever is committed is what its request has to come to on the tree before it, to the last
//!   field or to the code of the refusal; it is committed once; nothing is committed that nobody
//!   asked for; a session's writes are done in its order.
//! - Whoever is answered is told just that, at its zxid. A write that was answered is committed.
//!   What is asked after an answer to anybody is committed after it.
//! - Only the operator's requests change the members, each to what it asks for.
//! - A read shows the tree as it was at the answer's zxid, to the last field; a session's zxids
//!   never go back; a sync brings everything that was acknowledged before it.
//! - A watch fires once, for what it was left for, before anything is told that shows the change;
//!   one that stays fires for each change, once, in order. It is there until it is removed.
//! - Session ids are unique; no session is called expired before its end is committed; nothing is
//!   done or told for a session after its end; an ephemeral goes with its session and with nothing
//!   else; where nothing keeps servers from hearing of a client, its session does not expire.

mod reads;
mod recipes;
mod requests;
#[cfg(test)]
mod tests;
mod watches;

use bytes::Bytes;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use zabkeeper_core::client::{Ended, Failure, MultiResult, Request, Response};
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::client::{Create2Response, WatchedRequest};
use zabkeeper_core::wire::txn::{LoggedTxn, Txn};
use zabkeeper_core::wire::{AddWatchMode, ErrorCode, EventType, Record, WatcherType};

use super::Violation;
use super::members::{Leader, Roster};
use super::model::{Effect, Model};
use super::predict::{Place, Standing, predict};
use requests::{Asked, Requests};
use watches::{On, Watches};

/// Everything that clients saw, and everything that happened.
#[derive(Debug, Default)]
pub struct History {
    model: Model,
    sessions: HashMap<SessionId, Life, FxBuildHasher>,
    clients: HashMap<ClientId, Seen, FxBuildHasher>,
    /// The last write that anybody was told of.
    acknowledged: Zxid,
    answers: u64,
    /// Nothing happens that could keep servers from hearing of a client.
    is_quiet: bool,
    /// TTL nodes can be made.
    has_ttl: bool,
    /// Hard limits are limits.
    has_quotas: bool,
    /// Members can change; so many have to vote.
    least_voters: Option<usize>,
    violation: Option<Violation>,
}

/// One session of one client: the client's number, and how many it had before.
pub type ClientId = (u32, u32);

/// A session, as far as it is known.
#[derive(Debug, Default)]
struct Life {
    begun: Option<Zxid>,
    ended: Option<Zxid>,
    client: Option<ClientId>,
    /// The last request that was done for it: after how many lost connections, and its number.
    last_done: (u32, i32),
}

/// What one session of one client saw.
#[derive(Debug, Default)]
struct Seen {
    session: SessionId,
    zxid: Zxid,
    asked: Requests,
    /// How many connections were lost.
    connection: u32,
    watches: Watches,
    is_attached: bool,
    was_detached: bool,
    is_closing: bool,
}

impl History {
    /// What went wrong first, if it was not asked for before.
    ///
    /// # Errors
    /// What went wrong.
    pub fn take_violation(&mut self) -> Result<(), Violation> {
        self.violation.take().map_or(Ok(()), Err)
    }

    /// How many requests were answered.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// The tree and its past.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Nothing will happen that could keep servers from hearing of a client that is attached:
    /// no session may expire beneath it.
    pub fn expect_quiet(&mut self) {
        self.is_quiet = true;
    }

    /// All servers run with `extendedTypesEnabled`.
    pub fn expect_extended_types(&mut self) {
        self.has_ttl = true;
    }

    /// A leader begins its epoch with other members than the transactions have come to.
    pub fn brings_members(&mut self, epoch: Zxid, roster: Roster) {
        self.model.brings(epoch, roster);
    }

    /// A server that has applied all up to a zxid shows these members.
    ///
    /// # Errors
    /// Who they are.
    pub fn shows_members(&self, zxid: Zxid, shown: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(shown);
        let roster = Roster::parse(&text).ok_or(format!("{text:?} names no members"))?;
        reads::is_roster(&self.model, zxid, &roster)
    }

    /// All servers run with `enforceQuota`.
    pub fn expect_quotas(&mut self) {
        self.has_quotas = true;
    }

    /// All servers run with `reconfigEnabled`; `least`: so many have to vote.
    pub fn expect_other_members(&mut self, first: Roster, least: usize) {
        self.model.begin_with(first);
        self.least_voters = Some(least);
    }

    // ---- what servers do

    /// A transaction is committed; called in order, before any client hears of it.
    pub fn committed(&mut self, zxid: Zxid, body: &Bytes) {
        let logged = match LoggedTxn::from_bytes(body) {
            Ok(logged) => logged,
            Err(what) => {
                return self.wrong("what is committed can be read", format!("{zxid}: {what}"));
            }
        };
        if logged.header.zxid != zxid {
            let what = format!("{zxid} carries {}", logged.header.zxid);
            return self.wrong("what is committed can be read", what);
        }
        let of = match self.fits(&logged) {
            Ok(of) => of,
            Err((rule, what)) => return self.wrong(rule, what),
        };
        match self.model.apply(&logged) {
            Ok(effect) => self.done(&logged, &of, &effect),
            Err(what) => self.wrong("what is committed fits the tree", format!("{zxid}: {what}")),
        }
    }

    /// Whether a transaction may come now, and which of the session's requests of its number it may
    /// be, by bit.
    fn fits(&mut self, logged: &LoggedTxn) -> Result<Vec<usize>, (&'static str, String)> {
        let (zxid, session) = (logged.header.zxid, logged.header.client);
        let cxid = logged.header.cxid;
        match &logged.txn {
            Txn::CreateSession(_) => {
                // A client that was not answered asks again, and gets another id.
                let life = self.sessions.entry(session).or_default();
                if let Some(begun) = life.begun {
                    let what = format!("{zxid} begins session {session} anew after {begun}");
                    return Err(("session ids are unique", what));
                }
                life.begun = Some(zxid);
                return Ok(Vec::new());
            }
            Txn::CloseSession(_) => {
                let owns = self.model.owns(session);
                let is_asked_for = cxid == 0 || self.is_closing(session);
                let Some(life) = self.sessions.get_mut(&session).filter(|l| l.begun.is_some())
                else {
                    let what = format!("{zxid} ends session {session}, which never began");
                    return Err(("sessions end once", what));
                };
                if !is_asked_for {
                    let what = format!("{zxid} closes session {session}, as nobody asked for");
                    return Err(("nothing is done that nobody asked for", what));
                }
                let client = life.client.and_then(|client| self.clients.get(&client));
                if cxid == 0 && self.is_quiet && client.is_some_and(|seen| seen.is_attached) {
                    let what = format!("{zxid} ends session {session}, whose client is attached");
                    return Err(("who is heard of does not expire", what));
                }
                // A client may ask for the end of a session that has just expired.
                match life.ended {
                    Some(ended) if owns || cxid == 0 => {
                        let what = format!("{zxid} ends session {session}, which {ended} ended");
                        return Err(("sessions end once", what));
                    }
                    Some(_) => {}
                    None => life.ended = Some(zxid),
                }
                return Ok(Vec::new());
            }
            // The leader's own cleaning.
            Txn::DeleteContainer(_) if session == SessionId(0) => return Ok(Vec::new()),
            _ => {}
        }
        let stranger = || {
            let what =
                format!("{zxid}: request {cxid} of session {session}: {}", brief(&logged.txn));
            ("nothing is done that nobody asked for", what)
        };
        let life = self.sessions.get(&session).ok_or_else(stranger)?;
        let client = life.client.ok_or_else(stranger)?;
        let seen = self.clients.get(&client).ok_or_else(stranger)?;
        let all = seen.asked.of(cxid);
        if !all.is_empty() && seen.asked.is_one_too_many(cxid, zxid) {
            let before = all.iter().find_map(|asked| asked.done.first()).map(|done| done.0);
            let what = format!(
                "client {client:?}, session {session}, xid {cxid} is committed at {before:?} and at {zxid}"
            );
            return Err(("a write happens once", what));
        }
        let (mut of, mut first, mut refusal) = (Vec::new(), None, None);
        for (at, asked) in all.iter().enumerate() {
            match self.may_be(logged, (client, seen), life, asked) {
                Ok(()) => {
                    of.push(at);
                    first.get_or_insert((asked.connection, cxid));
                }
                Err(why) => refusal = Some(why),
            }
        }
        let Some(first) = first else { return Err(refusal.unwrap_or_else(stranger)) };
        if is_effective(&logged.txn)
            && let Some(life) = self.sessions.get_mut(&session)
        {
            life.last_done = first;
        }
        Ok(of)
    }

    /// Whether a transaction may be what this request came to.
    fn may_be(
        &self,
        logged: &LoggedTxn,
        (client, seen): (ClientId, &Seen),
        life: &Life,
        asked: &Asked,
    ) -> Result<(), (&'static str, String)> {
        let (zxid, session, cxid) = (logged.header.zxid, logged.header.client, logged.header.cxid);
        let who = || format!("client {client:?}, session {session}, xid {cxid}");
        if zxid <= asked.after {
            let what = format!("{} is committed at {zxid}, was asked after {}", who(), asked.after);
            return Err(("writes are linearizable", what));
        }
        let time_ms = logged.header.time_ms;
        let (model, has_ttl) = (&self.model, self.has_ttl);
        let quotas_since = self.has_quotas.then_some(asked.after);
        let exceeds = exceeds(&logged.txn);
        let before = Zxid(model.roster().version);
        let may_be_busy =
            before.epoch() == zxid.epoch() && before.counter() > 0 && before > asked.after;
        let leader = Leader { may_be_busy, code: code(&logged.txn) };
        let members = self.least_voters.map(|least| (least, leader));
        let place =
            Place { model, session, zxid, time_ms, has_ttl, quotas_since, exceeds, members };
        let made = |standing| predict(place, standing, &asked.request);
        let has_ended = life.ended.is_some();
        let expected = made(if has_ended { Standing::Ended } else { Standing::Good });
        let is_it = expected.as_ref() == Some(&logged.txn)
            || (seen.was_detached
                && !has_ended
                && made(Standing::Moved).as_ref() == Some(&logged.txn));
        if !is_it {
            let what = format!(
                "{}: at {zxid} it came to {}, and has to come to {}; it was {}",
                who(),
                brief(&logged.txn),
                expected.map_or_else(|| String::from("nothing"), |txn| brief(&txn)),
                brief(&asked.request)
            );
            return Err(("a request comes to what it must", what));
        }
        if is_effective(&logged.txn) {
            recipes::check(&self.model, &logged.txn)
                .map_err(|(rule, what)| (rule, format!("{} at {zxid}: {what}", who())))?;
            if (asked.connection, cxid) <= life.last_done {
                let what = format!("{} is done at {zxid} after {:?}", who(), life.last_done);
                return Err(("a session's writes are done in its order", what));
            }
        }
        Ok(())
    }

    fn done(&mut self, logged: &LoggedTxn, of: &[usize], effect: &Effect) {
        let client = self.sessions.get(&logged.header.client).and_then(|life| life.client);
        let seen = client.and_then(|client| self.clients.get_mut(&client));
        if let Some(seen) = seen {
            seen.asked.done(logged.header.cxid, of, logged.header.zxid, effect);
        }
    }

    // ---- what clients do

    /// A client asks.
    pub fn asked(&mut self, client: ClientId, xid: i32, request: Request) {
        let (after, seen) = (self.acknowledged, self.clients.entry(client).or_default());
        let connection = seen.connection;
        let asked = Asked { request, after, connection, done: Vec::new(), is_lost: false };
        seen.asked.ask(xid, asked);
    }

    /// A client asks for the end of its session.
    pub fn closing(&mut self, client: ClientId) {
        self.clients.entry(client).or_default().is_closing = true;
    }

    /// A client has a session, or has it again.
    pub fn attached(&mut self, client: ClientId, session: SessionId) {
        let seen = self.clients.entry(client).or_default();
        let before = std::mem::replace(&mut seen.session, session);
        seen.is_attached = true;
        let life = self.sessions.entry(session).or_default();
        let other = life.client.replace(client).filter(|other| *other != client);
        let begun = life.begun;
        if let Some(other) = other {
            let what = format!("clients {client:?} and {other:?} both have session {session}");
            self.wrong("session ids are unique", what);
        } else if before != SessionId(0) && before != session {
            let what = format!("client {client:?} had {before} and has {session} now");
            self.wrong("a session keeps its id", what);
        } else if begun.is_none() {
            let what = format!("client {client:?} has {session}, which nobody has begun");
            self.wrong("a session is committed before it is used", what);
        }
    }

    /// A client's connection is gone.
    pub fn detached(&mut self, client: ClientId) {
        let seen = self.clients.entry(client).or_default();
        (seen.is_attached, seen.was_detached) = (false, true);
        seen.connection += 1;
        seen.watches.detached();
    }

    /// A client's session is over for it; `None`: it has gone away and left it behind.
    pub fn ended(&mut self, client: ClientId, why: Option<Ended>) {
        let seen = self.clients.entry(client).or_default();
        seen.is_attached = false;
        seen.watches.forget();
        // What it asked may still be done.
        seen.asked.lose_all();
        let session = seen.session;
        if why == Some(Ended::Expired)
            && let Some(life) = self.sessions.get(&session).filter(|life| life.ended.is_none())
        {
            let what =
                format!("client {client:?} is told so of {session}, begun by {:?}", life.begun);
            self.wrong("only a session that has ended is called expired", what);
        }
        if why == Some(Ended::AuthFailed) {
            let what = format!("client {client:?} is refused as a stranger");
            self.wrong("clients that say nothing of themselves are served", what);
        }
    }

    /// A client was sent what no server may send it.
    pub fn broken(&mut self, client: ClientId, what: &str) {
        let what = format!("client {client:?}: {what}");
        self.wrong("servers keep the client protocol", what);
    }

    /// A client is told that a watch fired.
    pub fn fired(&mut self, client: ClientId, kind: EventType, path: &str, zxid: Zxid) {
        let seen = self.clients.entry(client).or_default();
        if let Err(what) = seen.watches.fired(&self.model, kind, path, zxid) {
            let what = format!("client {client:?}, session {}: {what}", seen.session);
            self.wrong("a watch fires once, for what it was left for", what);
        }
    }

    /// A client is answered, or told that it never will be.
    pub fn answered(
        &mut self,
        client: ClientId,
        xid: i32,
        zxid: Zxid,
        result: &Result<Response, Failure>,
    ) {
        let seen = self.clients.entry(client).or_default();
        if let Err(Failure::ConnectionLost) = result {
            return seen.asked.lose(xid);
        }
        let Some(asked) = seen.asked.answer(xid, zxid) else {
            let what = format!("client {client:?}: an answer to {xid}, which was not asked");
            return self.wrong("servers keep the client protocol", what);
        };
        self.answers += 1;
        if let Err((rule, what)) = self.checked(client, zxid, &asked, result) {
            let seen = self.clients.entry(client).or_default();
            let what = format!(
                "client {client:?}, session {}, xid {xid}, answered at {zxid}: {what}; it asked for {}",
                seen.session,
                brief(&asked.request)
            );
            return self.wrong(rule, what);
        }
        self.watch(client, zxid, &asked.request, result);
    }

    fn checked(
        &mut self,
        client: ClientId,
        zxid: Zxid,
        asked: &Asked,
        result: &Result<Response, Failure>,
    ) -> Result<(), (&'static str, String)> {
        let model = &self.model;
        let seen = self.clients.entry(client).or_default();
        let session = seen.session;
        // Without a transaction or a look at the tree.
        let unread = [ErrorCode::MarshallingError, ErrorCode::Unimplemented];
        if let Err(Failure::Refused(code)) = result
            && unread.contains(code)
            && asked.done.is_empty()
        {
            return match asked.request {
                Request::CreateTtl(_) => Ok(()),
                _ => Err(("answers are true", format!("{code:?}"))),
            };
        }
        let last = std::mem::replace(&mut seen.zxid, zxid);
        if zxid < last {
            return Err(("a session's zxids never go back", format!("it has seen {last}")));
        }
        let ended = self.sessions.get(&session).and_then(|life| life.ended);
        if let Some(ended) = ended.filter(|ended| *ended <= zxid) {
            let what = format!("the session ended at {ended}");
            return Err(("who has no session is not answered", what));
        }
        seen.watches
            .answered(model, zxid)
            .map_err(|what| ("a watch fires before what shows the change", what))?;
        if !is_write(&asked.request) {
            // Also by a leader that is one no more, and may not know it yet.
            if matches!(asked.request, Request::Sync(_)) && zxid < asked.after {
                let what = format!("{} was acknowledged before", asked.after);
                return Err(("a sync brings what was acknowledged before", what));
            }
            if let Request::CheckWatches(r) | Request::RemoveWatches(r) = &asked.request {
                let kind = WatcherType::from_i32(r.kind);
                let is_there = kind.is_some_and(|kind| seen.watches.contains(&r.path, kind));
                return match result {
                    Ok(Response::Done) if is_there => Ok(()),
                    Err(Failure::Refused(ErrorCode::NoWatcher)) if !is_there => Ok(()),
                    other => {
                        let what = format!("{other:?}; there are {:?}", seen.watches);
                        Err(("the watches are those that were left", what))
                    }
                };
            }
            return reads::check(model, session, zxid, &asked.request, result)
                .map_err(|what| ("answers are true", what));
        }
        if asked.done.is_empty() {
            let what = format!("{result:?}, and nothing of it is committed");
            return Err(("what is acknowledged is committed", what));
        }
        // Reads before it may have shown more than there was when it was done.
        let told = |at: Zxid| at.max(last) == zxid;
        let Some((_, effect)) = asked.done.iter().rev().find(|(at, _)| told(*at)) else {
            let what = format!("it is committed at {}", asked.done[0].0);
            return Err(("what is acknowledged is committed", what));
        };
        if !is_told(effect, result) {
            let what = format!("told {}, and it came to {}", brief(result), brief(effect));
            return Err(("answers are true", what));
        }
        self.acknowledged = self.acknowledged.max(zxid);
        Ok(())
    }

    fn watch(
        &mut self,
        client: ClientId,
        since: Zxid,
        request: &Request,
        result: &Result<Response, Failure>,
    ) {
        let no_node = matches!(result, Err(Failure::Refused(ErrorCode::NoNode)));
        let (path, on) = match request {
            Request::Exists(WatchedRequest { path, watch: true }) if no_node => (path, On::Nothing),
            Request::Exists(WatchedRequest { path, watch: true })
            | Request::GetData(WatchedRequest { path, watch: true })
                if result.is_ok() =>
            {
                (path, On::Node)
            }
            Request::GetChildren(WatchedRequest { path, watch: true })
            | Request::GetChildren2(WatchedRequest { path, watch: true })
                if result.is_ok() =>
            {
                (path, On::Children)
            }
            Request::AddWatch(r) if result.is_ok() => {
                if let Some(mode) = AddWatchMode::from_i32(r.mode) {
                    self.clients.entry(client).or_default().watches.added(&r.path, mode, since);
                }
                return;
            }
            Request::RemoveWatches(r) if result.is_ok() => {
                if let Some(kind) = WatcherType::from_i32(r.kind) {
                    self.clients.entry(client).or_default().watches.removed(&r.path, kind);
                }
                return;
            }
            _ => return,
        };
        self.clients.entry(client).or_default().watches.left(path, on, since);
    }

    /// The run is over and all sessions have ended: nothing may be left of them.
    ///
    /// # Errors
    /// What is left.
    pub fn finish(&mut self) -> Result<(), Violation> {
        self.take_violation()?;
        if let Some((owner, path)) = self.model.any_ephemeral() {
            let what = format!("session {owner} has left {path}");
            return Err(Violation::safety("ephemerals go with their session", what));
        }
        let open = self.sessions.iter().filter(|(_, life)| life.ended.is_none());
        match open.map(|(id, _)| id).min() {
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

    fn is_closing(&self, session: SessionId) -> bool {
        let client = self.sessions.get(&session).and_then(|life| life.client);
        client.and_then(|client| self.clients.get(&client)).is_some_and(|seen| seen.is_closing)
    }
}

/// Whether the answer is what the transaction came to.
fn is_told(effect: &Effect, result: &Result<Response, Failure>) -> bool {
    match (effect, result) {
        (Effect::Done, Ok(Response::Done)) => true,
        (Effect::Path(path), Ok(Response::Path(told))) => path == told,
        (Effect::Created(path, stat), Ok(Response::Created(told))) => is_created(path, stat, told),
        (Effect::Stat(stat), Ok(Response::Stat(told))) => stat == told,
        (Effect::Config(data, stat), Ok(Response::Data(told))) => {
            *data == told.data && *stat == told.stat
        }
        (Effect::Error(code), Err(Failure::Refused(told))) => *told as i32 == *code,
        (Effect::Multi(parts), Ok(Response::Multi(told))) => {
            parts.len() == told.len()
                && parts.iter().zip(told).all(|(part, told)| is_told_in_part(part, told))
        }
        _ => false,
    }
}

fn is_told_in_part(effect: &Effect, told: &MultiResult) -> bool {
    match (effect, told) {
        (Effect::Done, MultiResult::Done) => true,
        (Effect::Path(path), MultiResult::Path(told)) => path == told,
        (Effect::Created(path, stat), MultiResult::Created(told)) => is_created(path, stat, told),
        (Effect::Stat(stat), MultiResult::Stat(told)) => stat == told,
        (Effect::Error(code), MultiResult::Error(told)) => code == told,
        _ => false,
    }
}

fn is_created(
    path: &str,
    stat: &zabkeeper_core::wire::client::Stat,
    told: &Create2Response,
) -> bool {
    *told.path == *path && told.stat == *stat
}

/// The part of a request for which a transaction says that a quota would be exceeded.
fn exceeds(txn: &Txn) -> Option<usize> {
    let is_it =
        |txn: &Txn| matches!(txn, Txn::Error(code) if *code == ErrorCode::QuotaExceeded as i32);
    match txn {
        Txn::Multi(all) => all.iter().position(is_it),
        one => is_it(one).then_some(0),
    }
}

/// What a request was refused with, if it was.
fn code(txn: &Txn) -> Option<i32> {
    match txn {
        Txn::Error(code) => Some(*code),
        _ => None,
    }
}

/// Whether a transaction does anything.
fn is_effective(txn: &Txn) -> bool {
    match txn {
        Txn::Error(_) => false,
        Txn::Multi(all) => !all.iter().any(|txn| matches!(txn, Txn::Error(_))),
        _ => true,
    }
}

fn is_write(request: &Request) -> bool {
    match request {
        Request::Create(_)
        | Request::Create2(_)
        | Request::CreateContainer(_)
        | Request::CreateTtl(_)
        | Request::Delete(_)
        | Request::SetData(_)
        | Request::SetAcl(_)
        | Request::Multi(_)
        | Request::Reconfig(_) => true,
        Request::Exists(_)
        | Request::GetData(_)
        | Request::GetAcl(_)
        | Request::GetChildren(_)
        | Request::GetChildren2(_)
        | Request::Sync(_)
        | Request::GetEphemerals(_)
        | Request::GetAllChildrenNumber(_)
        | Request::WhoAmI
        | Request::AddWatch(_)
        | Request::CheckWatches(_)
        | Request::RemoveWatches(_) => false,
    }
}

/// No more of it than a reader can take in; large data is cut before it becomes text.
fn brief(what: &impl std::fmt::Debug) -> String {
    use std::fmt::Write;
    struct Short(String);
    impl Write for Short {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = 400_usize.saturating_sub(self.0.chars().count());
            self.0.extend(text.chars().take(room));
            if room == 0 { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut short = Short(String::new());
    // Ends early when it is long enough.
    let _ = write!(short, "{what:?}");
    short.0
}
