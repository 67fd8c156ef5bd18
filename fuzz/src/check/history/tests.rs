//! Hand-made histories: a good one that passes and, for each rule, ones that break it.

mod lasting;
mod numbers;
mod syncs;

use bytes::Bytes;
use zabkeeper_core::client::{MultiOp, MultiResult};
use zabkeeper_core::types::Zxid;
use zabkeeper_core::wire::acl::AclList;
use zabkeeper_core::wire::client::{
    Acl, CheckRequest, CreateRequest, DeleteRequest, GetAclResponse, GetDataResponse, Id,
    PathRequest, SetAclRequest, SetDataRequest, Stat,
};
use zabkeeper_core::wire::txn::{
    CheckVersionTxn, CreateTxn, DeleteTxn, SetAclTxn, SetDataTxn, TxnHeader,
};

use super::*;

const ANN: ClientId = (0, 0);
const BOB: ClientId = (1, 0);

/// A history in the making: sessions 1 (Ann's) and 2 (Bob's) are there.
struct Story {
    history: History,
    last: i64,
}

impl Story {
    fn begin() -> Story {
        let mut story = Story { history: History::default(), last: 0x1_0000_0000 };
        for (client, session) in [(ANN, 1), (BOB, 2)] {
            story.commit(session, 0, Txn::CreateSession(4000));
            story.history.attached(client, SessionId(session));
        }
        story
    }

    /// Ann has made /a with the data "0": xid 1.
    fn with_node() -> Story {
        let mut story = Story::begin();
        story.history.asked(ANN, 1, create("/a", 0));
        let zxid = story.commit(1, 1, created("/a", 1, false));
        story.tell(ANN, 1, zxid, Ok(Response::Path("/a".into())));
        assert_eq!(story.broken(), None);
        story
    }

    fn commit(&mut self, session: i64, cxid: i32, txn: Txn) -> Zxid {
        self.last += 1;
        let zxid = Zxid(self.last);
        let client = SessionId(session);
        let header = TxnHeader { client, cxid, zxid, time_ms: 1000, op: txn.op() as i32 };
        let logged = LoggedTxn { header, txn, digest: None };
        self.history.committed(zxid, &logged.to_bytes());
        zxid
    }

    fn tell(&mut self, who: ClientId, xid: i32, zxid: Zxid, what: Result<Response, Failure>) {
        self.history.answered(who, xid, zxid, &what);
    }

    /// A read that is answered truly.
    fn read(&mut self, who: ClientId, xid: i32, request: Request, zxid: Zxid) {
        let (Request::Exists(r) | Request::GetChildren2(r)) = &request else { panic!() };
        let node = self.history.model().at(&r.path, zxid).map(|node| node.stat());
        let names = self.history.model().names(&r.path).map(Into::into).collect();
        let result = match (node, &request) {
            (None, _) => Err(Failure::Refused(ErrorCode::NoNode)),
            (Some(stat), Request::Exists(_)) => Ok(Response::Stat(stat)),
            (Some(stat), _) => Ok(Response::Children(names, stat)),
        };
        self.history.asked(who, xid, request);
        self.tell(who, xid, zxid, result);
    }

    /// Bob sets a node's data.
    fn bob_sets(&mut self, path: &'static str, cxid: i32, version: i32) -> Zxid {
        self.history.asked(BOB, cxid, set(path, b"new", -1));
        self.commit(2, cxid, was_set(path, b"new", version))
    }

    fn bob_makes(&mut self, path: &'static str, cxid: i32, parent_cversion: i32) -> Zxid {
        self.history.asked(BOB, cxid, create(path, 0));
        self.commit(2, cxid, created(path, parent_cversion, false))
    }

    fn bob_deletes(&mut self, path: &'static str, cxid: i32) -> Zxid {
        self.history.asked(BOB, cxid, delete(path));
        self.commit(2, cxid, deleted(path))
    }

    /// A client is told of what happened last.
    fn fired(&mut self, who: ClientId, kind: EventType, path: &str) {
        self.history.fired(who, kind, path, self.now());
    }

    fn now(&self) -> Zxid {
        Zxid(self.last)
    }

    fn stat(&self, path: &str) -> Stat {
        self.history.model().now(path).expect("a node").stat()
    }

    /// Which rule is broken, if one is.
    fn broken(&mut self) -> Option<&'static str> {
        self.history.take_violation().err().map(|violation| violation.rule)
    }
}

fn open() -> Vec<Acl> {
    allows(31)
}

fn allows(perms: i32) -> Vec<Acl> {
    vec![Acl { perms, id: Id { scheme: "world".into(), id: "anyone".into() } }]
}

fn create(path: &'static str, flags: i32) -> Request {
    let data = Some(Bytes::from_static(b"0"));
    Request::Create(CreateRequest { path: path.into(), data, acl: open(), flags })
}

fn created(path: &'static str, parent_cversion: i32, ephemeral: bool) -> Txn {
    let data = Some(Bytes::from_static(b"0"));
    let acl = AclList::OPEN;
    Txn::Create(CreateTxn { path: path.into(), data, acl, ephemeral, parent_cversion })
}

fn set(path: &'static str, data: &'static [u8], version: i32) -> Request {
    let data = Some(Bytes::from_static(data));
    Request::SetData(SetDataRequest { path: path.into(), data, version })
}

fn was_set(path: &'static str, data: &'static [u8], version: i32) -> Txn {
    let data = Some(Bytes::from_static(data));
    Txn::SetData(SetDataTxn { path: path.into(), data, version })
}

fn delete(path: &'static str) -> Request {
    Request::Delete(DeleteRequest { path: path.into(), version: -1 })
}

fn deleted(path: &'static str) -> Txn {
    Txn::Delete(DeleteTxn { path: path.into() })
}

fn exists(path: &'static str) -> Request {
    Request::Exists(WatchedRequest { path: path.into(), watch: true })
}

fn children(path: &'static str) -> Request {
    Request::GetChildren2(WatchedRequest { path: path.into(), watch: true })
}

fn sync() -> Request {
    Request::Sync(PathRequest { path: "/".into() })
}

const SYNCED: fn() -> Result<Response, Failure> = || Ok(Response::Path("/".into()));
const REFUSED: fn(ErrorCode) -> Result<Response, Failure> = |code| Err(Failure::Refused(code));

const COMES_TO: Option<&str> = Some("a request comes to what it must");
const TRUE: Option<&str> = Some("answers are true");
const FIRES_ONCE: Option<&str> = Some("a watch fires once, for what it was left for");
const FIRES_FIRST: Option<&str> = Some("a watch fires before what shows the change");
const ASKED_FOR: Option<&str> = Some("nothing is done that nobody asked for");

#[test]
fn two_clients_live_well_and_leave_nothing() {
    let mut story = Story::with_node();
    // Ann watches; Bob changes; she hears of it before she sees it.
    story.read(ANN, 2, exists("/a"), story.now());
    story.read(ANN, 3, children("/a"), story.now());
    let zxid = story.bob_sets("/a", 1, 1);
    story.fired(ANN, EventType::NodeDataChanged, "/a");
    let stat = story.stat("/a");
    story.tell(BOB, 1, zxid, Ok(Response::Stat(stat)));
    story.read(ANN, 4, exists("/a"), zxid);

    // An ephemeral in a row, below /a, and a refusal.
    story.history.asked(BOB, 2, create("/a/e-", 3));
    let zxid = story.commit(2, 2, created("/a/e-0000000000", 1, true));
    story.fired(ANN, EventType::NodeChildrenChanged, "/a");
    story.tell(BOB, 2, zxid, Ok(Response::Path("/a/e-0000000000".into())));
    story.history.asked(ANN, 5, delete("/a"));
    let zxid = story.commit(1, 5, Txn::error(ErrorCode::NotEmpty));
    story.tell(ANN, 5, zxid, REFUSED(ErrorCode::NotEmpty));

    // A multi whose second part sees what the first did.
    let path = || "/a".into();
    let data = || Some(Bytes::from_static(b"m"));
    let ops = vec![
        MultiOp::SetData(SetDataRequest { path: path(), data: data(), version: 1 }),
        MultiOp::Check(CheckRequest { path: path(), version: 2 }),
    ];
    story.history.asked(ANN, 6, Request::Multi(ops));
    let parts = vec![
        Txn::SetData(SetDataTxn { path: path(), data: data(), version: 2 }),
        Txn::Check(CheckVersionTxn { path: path(), version: 3 }),
    ];
    let zxid = story.commit(1, 6, Txn::Multi(parts));
    story.fired(ANN, EventType::NodeDataChanged, "/a");
    let results = vec![MultiResult::Stat(story.stat("/a")), MultiResult::Done];
    story.tell(ANN, 6, zxid, Ok(Response::Multi(results)));

    // A lost write that happens all the same.
    story.history.asked(BOB, 3, set("/a", b"late", -1));
    story.history.detached(BOB);
    story.tell(BOB, 3, Zxid::ZERO, Err(Failure::ConnectionLost));
    story.commit(2, 3, was_set("/a", b"late", 3));
    story.history.attached(BOB, SessionId(2));

    story.history.asked(ANN, 7, sync());
    story.tell(ANN, 7, zxid, SYNCED());
    story.history.closing(ANN);
    story.commit(1, 8, Txn::CloseSession(Some(vec![])));
    story.history.ended(ANN, Some(Ended::Closed));
    assert_eq!(story.history.finish().unwrap_err().rule, "ephemerals go with their session");
    story.commit(2, 0, Txn::CloseSession(Some(vec!["/a/e-0000000000".into()])));
    story.history.ended(BOB, Some(Ended::Expired));
    assert_eq!(story.history.finish(), Ok(()));
}

#[test]
fn a_session_is_called_expired_when_its_end_is_committed() {
    let mut story = Story::begin();
    story.history.ended(ANN, Some(Ended::Expired));
    assert_eq!(story.broken(), Some("only a session that has ended is called expired"));
    let mut story = Story::begin();
    story.commit(1, 0, Txn::CloseSession(Some(vec![])));
    story.history.ended(ANN, Some(Ended::Expired));
    assert_eq!(story.broken(), None);
}

#[test]
fn an_acknowledged_write_is_committed() {
    let mut story = Story::begin();
    story.history.asked(ANN, 1, create("/a", 0));
    story.tell(ANN, 1, Zxid(0x1_0000_0003), Ok(Response::Path("/a".into())));
    assert_eq!(story.broken(), Some("what is acknowledged is committed"));

    let mut story = Story::begin();
    story.history.asked(ANN, 1, create("/a", 0));
    let zxid = story.commit(1, 1, created("/a", 1, false));
    story.tell(ANN, 1, zxid.next(), Ok(Response::Path("/a".into())));
    assert_eq!(story.broken(), Some("what is acknowledged is committed"));
}

#[test]
fn a_write_happens_once() {
    let mut story = Story::with_node();
    story.history.asked(ANN, 2, set("/a", b"x", -1));
    story.commit(1, 2, was_set("/a", b"x", 1));
    assert_eq!(story.broken(), None);
    story.commit(1, 2, was_set("/a", b"x", 2));
    assert_eq!(story.broken(), Some("a write happens once"));
    // Also after its answer, and after it was given up.
    let mut story = Story::with_node();
    story.commit(1, 1, Txn::error(ErrorCode::NodeExists));
    assert_eq!(story.broken(), ASKED_FOR);
    let mut story = Story::with_node();
    story.history.asked(ANN, 2, set("/a", b"x", -1));
    story.tell(ANN, 2, Zxid::ZERO, Err(Failure::ConnectionLost));
    story.commit(1, 2, was_set("/a", b"x", 1));
    assert_eq!(story.broken(), None);
    story.commit(1, 2, was_set("/a", b"x", 2));
    assert_eq!(story.broken(), ASKED_FOR);
}

#[test]
fn nothing_is_done_that_nobody_asked_for() {
    for (session, cxid, txn) in [
        (1, 7, was_set("/a", b"x", 1)),
        (3, 1, was_set("/a", b"x", 1)),
        (1, 0, deleted("/a")),
        (1, 7, Txn::CloseSession(Some(vec![]))),
    ] {
        let mut story = Story::with_node();
        story.commit(session, cxid, txn);
        assert_eq!(story.broken(), ASKED_FOR);
    }
}

#[test]
fn a_request_comes_to_what_it_must() {
    let acl = |acl, version| Request::SetAcl(SetAclRequest { path: "/a".into(), acl, version });
    let was = |acl: Vec<Acl>, version| {
        Txn::SetAcl(SetAclTxn { path: "/a".into(), acl: acl.into(), version })
    };
    let check =
        |path: &'static str, version| MultiOp::Check(CheckRequest { path: path.into(), version });
    let checked = Txn::Check(CheckVersionTxn { path: "/a".into(), version: 1 });
    let failed = [Txn::error(ErrorCode::NoNode), Txn::error(ErrorCode::RuntimeInconsistency)];
    let multi = || Request::Multi(vec![check("/a", 0), check("/b", -1), check("/a", 0)]);
    for (request, good, bad) in [
        // Other data, another version, another node.
        (set("/a", b"x", -1), was_set("/a", b"x", 1), was_set("/a", b"y", 1)),
        (set("/a", b"x", 0), was_set("/a", b"x", 1), was_set("/a", b"x", 2)),
        (create("/b", 0), created("/b", 2, false), created("/c", 2, false)),
        (create("/b", 0), created("/b", 2, false), created("/b", 2, true)),
        (create("/b", 0), created("/b", 2, false), created("/b", 3, false)),
        // A sequence number that was used.
        (create("/b", 2), created("/b0000000001", 2, false), created("/b0000000000", 2, false)),
        // A refusal where none is due, the other way round, and with another code.
        (set("/a", b"x", 0), was_set("/a", b"x", 1), Txn::error(ErrorCode::BadVersion)),
        (set("/a", b"x", 5), Txn::error(ErrorCode::BadVersion), was_set("/a", b"x", 1)),
        (delete("/b"), Txn::error(ErrorCode::NoNode), Txn::error(ErrorCode::NotEmpty)),
        (create("/a", 0), Txn::error(ErrorCode::NodeExists), Txn::error(ErrorCode::NoNode)),
        (create("/b/c", 0), Txn::error(ErrorCode::NoNode), created("/b/c", 1, false)),
        (delete("/"), Txn::error(ErrorCode::BadArguments), Txn::error(ErrorCode::NotEmpty)),
        // A session that lives has not expired, and one that stayed has not moved.
        (delete("/a"), deleted("/a"), Txn::error(ErrorCode::SessionExpired)),
        (delete("/a"), deleted("/a"), Txn::error(ErrorCode::SessionMoved)),
        (acl(allows(1), -1), was(allows(1), 1), was(allows(31), 1)),
        (acl(Vec::new(), -1), Txn::error(ErrorCode::InvalidAcl), was(Vec::new(), 1)),
        // All or nothing.
        (
            multi(),
            Txn::Multi([&[checked.clone()][..], &failed[..]].concat()),
            Txn::Multi(vec![checked.clone(), failed[0].clone(), checked.clone()]),
        ),
    ] {
        for (txn, rule) in [(good, None), (bad, COMES_TO)] {
            let mut story = Story::with_node();
            story.history.asked(ANN, 2, request.clone());
            story.commit(1, 2, txn.clone());
            assert_eq!(story.broken(), rule, "{request:?} {txn:?}");
        }
    }
}

#[test]
fn moved_session_may_be_refused() {
    let mut story = Story::with_node();
    story.history.asked(ANN, 2, delete("/a"));
    story.history.detached(ANN);
    story.commit(1, 2, Txn::error(ErrorCode::SessionMoved));
    assert_eq!(story.broken(), None);
}

#[test]
fn nothing_is_made_below_an_ephemeral_and_permissions_hold() {
    let mut story = Story::begin();
    story.history.asked(ANN, 1, create("/e", 1));
    story.commit(1, 1, created("/e", 1, true));
    story.history.asked(BOB, 1, create("/e/x", 0));
    story.commit(2, 1, Txn::error(ErrorCode::NoChildrenForEphemerals));
    let acl = SetAclRequest { path: "/e".into(), acl: allows(1 | 16), version: 0 };
    story.history.asked(BOB, 2, Request::SetAcl(acl));
    story.commit(
        2,
        2,
        Txn::SetAcl(SetAclTxn { path: "/e".into(), acl: allows(1 | 16).into(), version: 1 }),
    );
    story.history.asked(BOB, 3, set("/e", b"x", -1));
    story.commit(2, 3, Txn::error(ErrorCode::NoAuth));
    assert_eq!(story.broken(), None);
    story.history.asked(BOB, 4, set("/e", b"x", -1));
    story.commit(2, 4, was_set("/e", b"x", 1));
    assert_eq!(story.broken(), COMES_TO);
}

#[test]
fn a_sessions_writes_are_done_in_its_order() {
    let mut story = Story::with_node();
    story.history.asked(ANN, 2, set("/a", b"x", -1));
    story.history.asked(ANN, 3, set("/a", b"y", -1));
    story.commit(1, 3, was_set("/a", b"y", 1));
    assert_eq!(story.broken(), None);
    story.commit(1, 2, was_set("/a", b"x", 2));
    assert_eq!(story.broken(), Some("a session's writes are done in its order"));
}

#[test]
fn writes_are_linearizable() {
    // Ann was answered at a zxid that Bob's later write does not reach.
    let mut story = Story::with_node();
    let before = story.now();
    story.history.asked(ANN, 2, set("/a", b"x", -1));
    let zxid = story.commit(1, 2, was_set("/a", b"x", 1));
    let stat = story.stat("/a");
    story.tell(ANN, 2, zxid, Ok(Response::Stat(stat)));
    story.history.asked(BOB, 1, set("/a", b"y", -1));
    story.last = before.0;
    story.commit(2, 1, was_set("/a", b"y", 1));
    assert_eq!(story.broken(), Some("writes are linearizable"));
}

#[test]
fn a_sessions_zxids_never_go_back() {
    let mut story = Story::with_node();
    story.read(BOB, 1, exists("/a"), story.now());
    story.history.detached(BOB);
    story.history.attached(BOB, SessionId(2));
    story.history.asked(BOB, 2, exists("/b"));
    story.tell(BOB, 2, Zxid(story.last - 1), REFUSED(ErrorCode::NoNode));
    assert_eq!(story.broken(), Some("a session's zxids never go back"));
}

#[test]
fn answers_are_true() {
    let path = || "/a".into();
    let look = |watch| WatchedRequest { path: path(), watch };
    let names = |all: &[&'static str]| all.iter().map(|name| (*name).into()).collect();
    let data = |data: &'static [u8], stat| {
        Ok(Response::Data(GetDataResponse { data: Some(Bytes::from_static(data)), stat }))
    };
    let stat = Story::with_node().stat("/a");
    let other = Stat { mzxid: Zxid(1), ..stat.clone() };
    let acl = |acl| Ok(Response::Acl(GetAclResponse { acl, stat: stat.clone() }));
    let below = |path: &'static str| PathRequest { path: path.into() };
    let (get_data, list) = (Request::GetData(look(false)), Request::GetChildren(look(false)));
    let is_there = Request::Exists(look(false));
    let no_node = REFUSED(ErrorCode::NoNode);
    for (request, good, bad) in [
        (is_there.clone(), Ok(Response::Stat(stat.clone())), Ok(Response::Stat(other.clone()))),
        (is_there, Ok(Response::Stat(stat.clone())), no_node.clone()),
        (get_data.clone(), data(b"0", stat.clone()), data(b"1", stat.clone())),
        (get_data, data(b"0", stat.clone()), data(b"0", other)),
        (list, Ok(Response::Names(vec![])), Ok(Response::Names(names(&["x"])))),
        (
            Request::GetChildren(WatchedRequest { path: "/".into(), watch: false }),
            Ok(Response::Names(names(&["zookeeper", "a"]))),
            Ok(Response::Names(names(&["zookeeper"]))),
        ),
        (
            Request::GetData(WatchedRequest { path: "/b".into(), watch: false }),
            no_node,
            data(b"0", stat.clone()),
        ),
        (Request::GetAcl(below("/a")), acl(open()), acl(allows(1))),
        (
            Request::GetAllChildrenNumber(below("/a")),
            Ok(Response::Count(0)),
            Ok(Response::Count(1)),
        ),
        (
            Request::GetEphemerals(below("/")),
            Ok(Response::Names(vec![])),
            Ok(Response::Names(names(&["/a"]))),
        ),
    ] {
        for (result, rule) in [(good, None), (bad, TRUE)] {
            let mut story = Story::with_node();
            story.history.asked(ANN, 2, request.clone());
            story.tell(ANN, 2, story.now(), result.clone());
            assert_eq!(story.broken(), rule, "{request:?} {result:?}");
        }
    }
    // An older server shows an older tree, and just that.
    let mut story = Story::with_node();
    let then = story.now();
    story.bob_sets("/a", 1, 1);
    story.bob_makes("/a/x", 2, 1);
    for (xid, zxid, names, rule) in [
        (2, then, vec![], None),
        (3, then.next(), vec!["x".into()], TRUE),
        (4, then.next().next(), vec!["x".into()], None),
    ] {
        story.history.asked(ANN, xid, Request::GetChildren(look(false)));
        story.tell(ANN, xid, zxid, Ok(Response::Names(names)));
        assert_eq!(story.broken(), rule, "{xid}");
    }
}

#[test]
fn a_write_is_told_what_it_came_to() {
    let mut story = Story::with_node();
    let stat = story.stat("/a");
    story.history.asked(ANN, 2, set("/a", b"x", -1));
    let zxid = story.commit(1, 2, was_set("/a", b"x", 1));
    story.tell(ANN, 2, zxid, Ok(Response::Stat(stat)));
    assert_eq!(story.broken(), TRUE);
    let mut story = Story::with_node();
    story.history.asked(ANN, 2, create("/b", 2));
    let zxid = story.commit(1, 2, created("/b0000000001", 2, false));
    story.tell(ANN, 2, zxid, Ok(Response::Path("/b".into())));
    assert_eq!(story.broken(), TRUE);
    let mut story = Story::with_node();
    story.history.asked(ANN, 2, delete("/b"));
    let zxid = story.commit(1, 2, Txn::error(ErrorCode::NoNode));
    story.tell(ANN, 2, zxid, Ok(Response::Done));
    assert_eq!(story.broken(), TRUE);
}

#[test]
fn a_watch_fires_before_what_shows_the_change() {
    type Act = fn(&mut Story) -> Zxid;
    let acts: [(Request, Act, EventType); 5] = [
        (exists("/a"), |s| s.bob_sets("/a", 9, 1), EventType::NodeDataChanged),
        (exists("/a"), |s| s.bob_deletes("/a", 9), EventType::NodeDeleted),
        (exists("/b"), |s| s.bob_makes("/b", 9, 2), EventType::NodeCreated),
        (children("/a"), |s| s.bob_makes("/a/x", 9, 1), EventType::NodeChildrenChanged),
        (children("/a"), |s| s.bob_deletes("/a", 9), EventType::NodeDeleted),
    ];
    for (request, act, kind) in acts {
        let (Request::Exists(r) | Request::GetChildren2(r)) = &request else { panic!() };
        // No event, the right one, another one, the right one twice.
        let other = match kind {
            EventType::NodeDataChanged => EventType::NodeDeleted,
            _ => EventType::NodeDataChanged,
        };
        for (events, rule) in [
            (&[][..], FIRES_FIRST),
            (&[kind][..], None),
            (&[other][..], FIRES_ONCE),
            (&[kind, kind][..], FIRES_ONCE),
        ] {
            let mut story = Story::with_node();
            story.read(ANN, 2, request.clone(), story.now());
            let zxid = act(&mut story);
            for event in events {
                story.fired(ANN, *event, &r.path);
            }
            story.history.asked(ANN, 3, sync());
            story.tell(ANN, 3, zxid, SYNCED());
            assert_eq!(story.broken(), rule, "{request:?} {events:?}");
        }
        // What is older than the change says nothing about it.
        let mut story = Story::with_node();
        let before = story.now();
        story.read(ANN, 2, request.clone(), before);
        act(&mut story);
        story.history.asked(ANN, 3, sync());
        story.tell(ANN, 3, before, SYNCED());
        assert_eq!(story.broken(), None, "{request:?}");
    }
    // No watch, no event; and no event before anything happens.
    let mut story = Story::with_node();
    story.fired(ANN, EventType::NodeDeleted, "/a");
    assert_eq!(story.broken(), FIRES_ONCE);
    let mut story = Story::with_node();
    story.read(ANN, 2, exists("/a"), story.now());
    story.fired(ANN, EventType::NodeDataChanged, "/a");
    assert_eq!(story.broken(), FIRES_ONCE);
}

/// Ann leaves watches on /a, its children and /b, moves, and Bob acts before she is back.
fn moved(act: fn(&mut Story)) -> Story {
    let mut story = Story::with_node();
    story.read(ANN, 2, exists("/a"), story.now());
    story.read(ANN, 3, children("/a"), story.now());
    story.read(ANN, 4, exists("/b"), story.now());
    story.history.detached(ANN);
    act(&mut story);
    story.history.attached(ANN, SessionId(1));
    story
}

#[test]
fn watches_follow_their_session() {
    use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
    let synced = |story: &mut Story, xid| {
        story.history.asked(ANN, xid, sync());
        story.tell(ANN, xid, story.now(), SYNCED());
        story.broken()
    };
    // Nothing happened: they go on where they were.
    let mut story = moved(|_| {});
    assert_eq!(synced(&mut story, 5), None);
    story.bob_sets("/a", 9, 1);
    assert_eq!(synced(&mut story, 6), FIRES_FIRST);
    // A change while nobody listened is told, and a missing word is noticed.
    let mut story = moved(|story| {
        story.bob_sets("/a", 9, 1);
    });
    story.fired(ANN, NodeDataChanged, "/a");
    assert_eq!(synced(&mut story, 5), None);
    let mut story = moved(|story| {
        story.bob_sets("/a", 9, 1);
    });
    assert_eq!(synced(&mut story, 5), FIRES_FIRST);
    // Deleted: each of the two watches may be told, and no more.
    for (events, rule) in [(0, FIRES_FIRST), (1, None), (2, None), (3, FIRES_ONCE)] {
        let mut story = moved(|story| {
            story.bob_deletes("/a", 9);
        });
        (0..events).for_each(|_| story.fired(ANN, NodeDeleted, "/a"));
        assert_eq!(synced(&mut story, 5), rule, "{events}");
    }
    // Deleted and made anew: it has changed.
    let again = |story: &mut Story| {
        story.bob_deletes("/a", 9);
        story.bob_makes("/a", 10, 2);
    };
    let mut story = moved(again);
    story.fired(ANN, NodeDataChanged, "/a");
    story.fired(ANN, NodeChildrenChanged, "/a");
    assert_eq!(synced(&mut story, 5), None);
    // Came and went: nobody can know. Came: it is told.
    let mut story = moved(|story| {
        story.bob_makes("/b", 9, 2);
        story.bob_deletes("/b", 10);
    });
    assert_eq!(synced(&mut story, 5), None);
    story.bob_makes("/b", 11, 3);
    assert_eq!(synced(&mut story, 6), FIRES_FIRST);
    let mut story = moved(|story| {
        story.bob_makes("/b", 9, 2);
    });
    assert_eq!(synced(&mut story, 5), FIRES_FIRST);
    let mut story = moved(|story| {
        story.bob_makes("/b", 9, 2);
    });
    story.fired(ANN, NodeCreated, "/b");
    assert_eq!(synced(&mut story, 5), None);
    // A word about what did not happen.
    for (kind, path) in
        [(NodeDeleted, "/a"), (NodeDataChanged, "/a"), (NodeCreated, "/b"), (NodeCreated, "/a")]
    {
        let mut story = moved(|_| {});
        story.fired(ANN, kind, path);
        assert_eq!(story.broken(), FIRES_ONCE, "{kind:?} {path}");
    }
}

#[test]
fn session_ids_are_unique() {
    let unique = Some("session ids are unique");
    let mut story = Story::begin();
    story.history.attached((2, 0), SessionId(1));
    assert_eq!(story.broken(), unique);
    let mut story = Story::begin();
    story.commit(1, 0, Txn::CreateSession(4000));
    assert_eq!(story.broken(), unique);
    // Also long after.
    let mut story = Story::begin();
    story.history.ended(ANN, None);
    story.commit(1, 0, Txn::CloseSession(Some(vec![])));
    story.history.attached((0, 1), SessionId(1));
    assert_eq!(story.broken(), unique);
    let mut story = Story::begin();
    story.commit(7, 0, Txn::CreateSession(4000));
    story.history.attached(ANN, SessionId(7));
    assert_eq!(story.broken(), Some("a session keeps its id"));
    let mut story = Story::begin();
    story.history.attached((2, 0), SessionId(8));
    assert_eq!(story.broken(), Some("a session is committed before it is used"));
}

#[test]
fn a_session_ends_once_and_then_nothing_is_done_for_it() {
    let close = || Txn::CloseSession(Some(vec![]));
    let mut story = Story::with_node();
    story.commit(1, 0, close());
    story.commit(1, 0, close());
    assert_eq!(story.broken(), Some("sessions end once"));
    let mut story = Story::with_node();
    story.commit(9, 0, close());
    assert_eq!(story.broken(), Some("sessions end once"));
    // A client may ask for it when it has just expired.
    let mut story = Story::with_node();
    story.history.closing(ANN);
    story.commit(1, 0, close());
    story.commit(1, 2, close());
    assert_eq!(story.broken(), None);
    // A write that came too late is refused.
    for (txn, rule) in
        [(Txn::error(ErrorCode::SessionExpired), None), (was_set("/a", b"x", 1), COMES_TO)]
    {
        let mut story = Story::with_node();
        story.history.asked(ANN, 2, set("/a", b"x", -1));
        story.commit(1, 0, close());
        story.commit(1, 2, txn);
        assert_eq!(story.broken(), rule);
    }
    // Its servers do not talk to it any more.
    let mut story = Story::with_node();
    story.commit(1, 0, close());
    story.read(ANN, 2, exists("/a"), story.now());
    assert_eq!(story.broken(), Some("who has no session is not answered"));
}

#[test]
fn active_session_does_not_expire() {
    let close = || Txn::CloseSession(Some(vec![]));
    let mut story = Story::begin();
    story.history.expect_quiet();
    // Bob has gone away.
    story.history.ended(BOB, None);
    story.commit(2, 0, close());
    assert_eq!(story.broken(), None);
    story.commit(1, 0, close());
    assert_eq!(story.broken(), Some("who is heard of does not expire"));
}

#[test]
fn ephemerals_go_with_their_session() {
    let fits = Some("what is committed fits the tree");
    // Left behind, taken from another one, told and not there.
    for paths in [vec![], vec!["/e", "/f"], vec!["/a", "/e"]] {
        let mut story = Story::with_node();
        story.history.asked(BOB, 1, create("/e", 1));
        story.commit(2, 1, created("/e", 2, true));
        let paths = paths.into_iter().map(Into::into).collect();
        story.commit(2, 0, Txn::CloseSession(Some(paths)));
        assert_eq!(story.broken(), fits);
    }
    // A session that nobody ends.
    let mut story = Story::begin();
    story.commit(1, 0, Txn::CloseSession(Some(vec![])));
    assert_eq!(story.history.finish().unwrap_err().rule, "every session ends once");
}

#[test]
fn servers_keep_the_client_protocol() {
    let protocol = Some("servers keep the client protocol");
    let mut story = Story::begin();
    story.tell(ANN, 5, story.now(), SYNCED());
    assert_eq!(story.broken(), protocol);
    story.history.broken(ANN, "an answer out of turn");
    assert_eq!(story.broken(), protocol);
    story.history.ended(ANN, Some(Ended::AuthFailed));
    assert_eq!(story.broken(), Some("clients that say nothing of themselves are served"));
}

#[test]
fn committed_transactions_are_readable_and_in_order() {
    let readable = Some("what is committed can be read");
    let mut story = Story::begin();
    story.history.committed(Zxid(story.last + 1), &Bytes::from_static(b"nonsense"));
    assert_eq!(story.broken(), readable);
    let mut story = Story::begin();
    let header = TxnHeader {
        client: SessionId(9),
        cxid: 0,
        zxid: Zxid(5),
        time_ms: 0,
        op: Txn::CreateSession(1).op() as i32,
    };
    let logged = LoggedTxn { header, txn: Txn::CreateSession(1), digest: None };
    story.history.committed(Zxid(6), &logged.to_bytes());
    assert_eq!(story.broken(), readable);
    story.history.committed(Zxid(5), &logged.to_bytes());
    assert_eq!(story.broken(), Some("what is committed fits the tree"));
}

#[test]
fn long_values_in_messages_are_cut() {
    assert_eq!(brief(&"x".repeat(10_000)).len(), 400);
    assert_eq!(brief(&7), "7");
}

#[test]
fn a_counter_counts_and_a_lock_has_one_holder() {
    let count = |story: &mut Story, cxid, data: &'static [u8], version| {
        story.history.asked(ANN, cxid, set("/counter", data, -1));
        story.commit(1, cxid, was_set("/counter", data, version));
    };
    let mut story = Story::begin();
    story.bob_makes("/counter", 1, 1);
    count(&mut story, 1, b"1", 1);
    assert_eq!(story.broken(), None);
    count(&mut story, 2, b"1", 2);
    assert_eq!(story.broken(), Some("a counter counts"));

    let guarded = |story: &mut Story, cxid, own: &'static str| {
        let (path, data) = (|| own.into(), || Some(Bytes::from_static(b"mine")));
        let version = story.history.model().now("/lock").expect("a lock").version;
        story.history.asked(
            ANN,
            cxid,
            Request::Multi(vec![
                MultiOp::Check(CheckRequest { path: path(), version: 0 }),
                MultiOp::SetData(SetDataRequest { path: "/lock".into(), data: data(), version }),
            ]),
        );
        let check = CheckVersionTxn { path: path(), version: 1 };
        let set = SetDataTxn { path: "/lock".into(), data: data(), version: version + 1 };
        story.commit(1, cxid, Txn::Multi(vec![Txn::Check(check), Txn::SetData(set)]));
    };
    let mut story = Story::begin();
    story.bob_makes("/lock", 1, 1);
    story.bob_makes("/lock/member-1", 2, 1);
    story.bob_makes("/lock/member-2", 3, 2);
    guarded(&mut story, 1, "/lock/member-1");
    assert_eq!(story.broken(), None);
    guarded(&mut story, 2, "/lock/member-2");
    assert_eq!(story.broken(), Some("a lock has one holder"));
}
