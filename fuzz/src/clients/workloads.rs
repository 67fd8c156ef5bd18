//! What clients do: the recipes that ZooKeeper is used for, and disorder.

use bytes::Bytes;
use fastrand::Rng;
use zabkeeper_core::client::{Failure, MultiOp, Request, Response};
use zabkeeper_core::wire::client::{
    Acl, AddWatchRequest, CheckRequest, CreateRequest, CreateTtlRequest, DeleteRequest, Id,
    PathRequest, SetAclRequest, SetDataRequest, WatchedRequest, WatcherRequest, perms,
};
use zabkeeper_core::wire::{ErrorCode, EventType};

use super::operator::Operator;

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Workload {
    /// Adds one to a number that all add to, by version.
    Counter,
    /// Takes a lock by an ephemeral in a row, waits for the one before it, lets go.
    Lock,
    /// Puts into a queue and takes out of it.
    Queue,
    /// Watches a configuration, and now and then changes it.
    Configuration,
    /// Makes ephemerals in sessions that are closed or left to expire.
    Churn,
    /// Changes several nodes at once, or none.
    Multi,
    /// Writes and reads large values, now and then one that no server takes.
    Large,
    /// Changes, reads and watches from one server after another, with the same session.
    Wander,
    /// Syncs before every read, and changes what others read.
    Sync,
    /// Changes the members of the ensemble.
    Operator {
        /// So many servers keep a vote.
        least: usize,
    },
    /// Only what it is told to: for scripts.
    Told,
    /// Anything on a few nodes, several requests under way at a time.
    Mixed,
}

/// What a workload wants next.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Step {
    /// This request.
    Ask(Request),
    /// To think again when something happens, or after a while.
    Wait,
    /// To end its session in good order.
    Close,
    /// To vanish, and let its session expire.
    Vanish,
    /// To go to another server with its session.
    Move,
}

/// A workload at work.
#[derive(Debug)]
pub(super) struct Worker {
    workload: Workload,
    /// What all workloads share must be made first.
    prepared: usize,
    stage: Stage,
    counter: u64,
    operator: Option<Operator>,
}

/// Where a recipe is.
#[derive(Clone, PartialEq, Debug)]
enum Stage {
    Begin,
    /// Counter: this value has this version.
    Counted(u64, i32),
    /// Lock: this is the own node.
    InRow(String),
    /// Lock: whom it waits for.
    Behind(String, String),
    Waiting(String),
    Holding(String),
    /// Queue: this is at its head.
    Head(String),
    /// Lock: what became of its node it cannot know, so that it ends its session.
    Unsure,
}

const SHARED: [&str; 5] = ["/counter", "/lock", "/queue", "/conf", "/mixed"];
const PLACES: [&str; 6] = ["/mixed/a", "/mixed/b", "/mixed/c", "/mixed/a/x", "/mixed/b/x", "/conf"];

impl Workload {
    /// Draws one.
    pub fn draw(rng: &mut Rng) -> Workload {
        match rng.u32(..11) {
            0 => Workload::Counter,
            1 => Workload::Lock,
            2 => Workload::Queue,
            3 | 4 => Workload::Configuration,
            5 => Workload::Churn,
            6 => Workload::Multi,
            7 if rng.bool() => Workload::Large,
            8 => Workload::Wander,
            _ => Workload::Mixed,
        }
    }

    /// How many requests it has under way at most.
    pub(super) fn depth(self, rng: &mut Rng) -> usize {
        match self {
            Workload::Mixed | Workload::Multi => rng.usize(1..=8),
            Workload::Configuration | Workload::Wander | Workload::Sync => 3,
            Workload::Told => 0,
            Workload::Counter
            | Workload::Lock
            | Workload::Queue
            | Workload::Churn
            | Workload::Operator { .. }
            | Workload::Large => 1,
        }
    }
}

impl Worker {
    pub(super) fn new(workload: Workload, servers: usize) -> Worker {
        let operator = match workload {
            Workload::Operator { least } => Some(Operator::new(servers, least)),
            _ => None,
        };
        Worker { workload, prepared: 0, stage: Stage::Begin, counter: 0, operator }
    }

    pub(super) fn workload(&self) -> Workload {
        self.workload
    }

    /// Changes no members any more.
    pub(super) fn be_content(&mut self) {
        if let Some(operator) = &mut self.operator {
            operator.be_content();
        }
    }

    /// A new session begins where nothing is known.
    pub(super) fn restart(&mut self) {
        self.stage = Stage::Begin;
    }

    pub(super) fn next(&mut self, rng: &mut Rng) -> Step {
        if let Some(operator) = &mut self.operator {
            return operator.next(rng);
        }
        if let Some(path) = SHARED.get(self.prepared) {
            self.prepared += 1;
            return Step::Ask(create(path, b"0", 0));
        }
        self.counter += 1;
        match self.workload {
            Workload::Counter => self.count(),
            Workload::Lock => self.lock(),
            Workload::Queue => self.queue(rng),
            Workload::Configuration => Step::Ask(configuration(rng, self.counter)),
            Workload::Churn => churn(rng),
            Workload::Multi => Step::Ask(multi(rng, self.counter)),
            Workload::Large => Step::Ask(large(rng)),
            Workload::Mixed => Step::Ask(mixed(rng, self.counter)),
            Workload::Wander => wander(rng, self.counter),
            Workload::Sync => Step::Ask(synced(rng, self.counter)),
            Workload::Operator { .. } | Workload::Told => Step::Wait,
        }
    }

    /// The answer to what it asked.
    pub(super) fn answered(&mut self, request: &Request, result: &Result<Response, Failure>) {
        if let Some(operator) = &mut self.operator {
            operator.answered(result);
        }
        let is_recipe = matches!(
            (self.workload, request),
            (
                Workload::Counter | Workload::Lock | Workload::Queue,
                Request::GetData(_) | Request::GetChildren(_) | Request::Create(_)
            )
        );
        if is_recipe && *result == Err(Failure::Refused(ErrorCode::NoNode)) {
            // What all share is not there: the answer to its making was lost.
            self.prepared = 0;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Begin);
        self.stage = match (self.workload, request, result) {
            (Workload::Counter, Request::GetData(_), Ok(Response::Data(told))) => {
                let text = told.data.as_deref().unwrap_or_default();
                let value = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                Stage::Counted(value.unwrap_or_default(), told.stat.version)
            }
            (Workload::Lock, Request::Create(_), Ok(Response::Path(path))) if path.len() > 10 => {
                Stage::InRow(path.to_string())
            }
            (Workload::Lock, Request::GetChildren(_), Ok(Response::Names(names))) => match stage {
                Stage::InRow(own) => {
                    let mine = own.rsplit('/').next().unwrap_or_default();
                    let before = names.iter().map(|name| &**name).filter(|name| *name < mine).max();
                    match before {
                        None => Stage::Holding(own),
                        Some(before) => {
                            let before = format!("/lock/{before}");
                            Stage::Behind(own, before)
                        }
                    }
                }
                _ => Stage::Begin,
            },
            (Workload::Lock, Request::Exists(_), answer) => match (stage, answer) {
                (Stage::Behind(own, _), Ok(_)) => Stage::Waiting(own),
                (Stage::Behind(own, _), Err(_)) => Stage::InRow(own),
                _ => Stage::Begin,
            },
            // Whoever holds the lock shows it, then lets go.
            (Workload::Lock, Request::Multi(_), Ok(Response::Multi(_))) => stage,
            (
                Workload::Lock,
                Request::Create(_) | Request::Delete(_),
                Err(Failure::ConnectionLost),
            ) => Stage::Unsure,
            (Workload::Lock, Request::GetChildren(_) | Request::Multi(_), _) => stage,
            (Workload::Queue, Request::GetChildren(_), Ok(Response::Names(names))) => {
                match names.iter().map(|name| &**name).min() {
                    Some(first) => Stage::Head(format!("/queue/{first}")),
                    None => Stage::Begin,
                }
            }
            _ => Stage::Begin,
        };
    }

    /// A watch fired.
    pub(super) fn fired(&mut self, kind: EventType, path: &str) {
        if let (EventType::NodeDeleted, Stage::Waiting(own)) = (kind, &self.stage) {
            if path == own {
                self.stage = Stage::Begin;
            } else {
                self.stage = Stage::InRow(own.clone());
            }
        }
    }

    fn count(&self) -> Step {
        Step::Ask(match self.stage {
            Stage::Counted(value, version) => {
                set("/counter", (value + 1).to_string().into_bytes(), version)
            }
            _ => Request::GetData(watched("/counter", false)),
        })
    }

    fn lock(&mut self) -> Step {
        match &self.stage {
            Stage::InRow(_) => Step::Ask(Request::GetChildren(watched("/lock", false))),
            Stage::Behind(_, before) => Step::Ask(Request::Exists(watched(before, true))),
            Stage::Waiting(_) => Step::Wait,
            Stage::Holding(own) => {
                if self.counter.is_multiple_of(2) {
                    return Step::Ask(guarded(own));
                }
                Step::Ask(delete(own, -1))
            }
            Stage::Unsure => Step::Close,
            Stage::Begin | Stage::Counted(..) | Stage::Head(_) => {
                Step::Ask(create("/lock/member-", b"", EPHEMERAL | SEQUENTIAL))
            }
        }
    }

    fn queue(&self, rng: &mut Rng) -> Step {
        Step::Ask(match &self.stage {
            Stage::Head(path) => delete(path, -1),
            _ if rng.bool() => create("/queue/item-", b"item", SEQUENTIAL),
            _ => Request::GetChildren(watched("/queue", rng.bool())),
        })
    }
}

/// What only the holder of the lock may do, and does only as long as it holds it.
fn guarded(own: &str) -> Request {
    let check = CheckRequest { path: own.into(), version: 0 };
    let data = Some(Bytes::copy_from_slice(own.as_bytes()));
    let set = SetDataRequest { path: "/lock".into(), data, version: -1 };
    Request::Multi(vec![MultiOp::Check(check), MultiOp::SetData(set)])
}

fn configuration(rng: &mut Rng, counter: u64) -> Request {
    let path = PLACES[rng.usize(..PLACES.len())];
    match rng.u32(..13) {
        0 => set(path, counter.to_string().into_bytes(), -1),
        1 => create(path, b"new", 0),
        2 => delete(path, -1),
        3..=5 => Request::GetData(watched(path, true)),
        6..=8 => Request::Exists(watched(path, true)),
        9 => Request::GetChildren(watched(path, true)),
        10 => Request::Sync(PathRequest { path: path.into() }),
        11 => lasting(rng, path),
        _ => Request::GetChildren2(watched(path, true)),
    }
}

fn wander(rng: &mut Rng, counter: u64) -> Step {
    let path = PLACES[rng.usize(..PLACES.len())];
    Step::Ask(match rng.u32(..16) {
        0 | 1 => return Step::Move,
        12 => Request::CreateContainer(creation(path, b"container", 4)),
        13 => ttl(rng, path),
        14 | 15 => lasting(rng, path),
        2..=4 => set(path, counter.to_string().into_bytes(), -1),
        5 => create("/mixed/w-", b"", EPHEMERAL | SEQUENTIAL),
        6 => create(path, b"wander", 0),
        7 => delete(path, -1),
        8 => Request::Exists(watched(path, true)),
        9 => Request::GetData(watched(path, true)),
        10 => Request::GetChildren2(watched(path, true)),
        _ => Request::GetEphemerals(PathRequest { path: "/".into() }),
    })
}

fn synced(rng: &mut Rng, counter: u64) -> Request {
    let path = PLACES[rng.usize(..PLACES.len())];
    match counter % 4 {
        0 => set("/conf", counter.to_string().into_bytes(), -1),
        2 => Request::GetData(watched(path, false)),
        _ => Request::Sync(PathRequest { path: path.into() }),
    }
}

fn churn(rng: &mut Rng) -> Step {
    match rng.u32(..12) {
        0 => Step::Close,
        1 => Step::Vanish,
        2..=4 => {
            let path = format!("/mixed/e{}", rng.u32(..4));
            Step::Ask(create(&path, b"mine", EPHEMERAL))
        }
        5 | 6 => Step::Ask(create("/mixed/s-", b"", EPHEMERAL | SEQUENTIAL)),
        7 => Step::Ask(delete(&format!("/mixed/e{}", rng.u32(..4)), -1)),
        _ => Step::Ask(Request::GetChildren2(watched("/mixed", rng.bool()))),
    }
}

fn multi(rng: &mut Rng, counter: u64) -> Request {
    let ops = (0..rng.usize(1..=5)).map(|_| {
        let path = PLACES[rng.usize(..PLACES.len())];
        let version = if rng.u32(..4) == 0 { rng.i32(0..3) } else { -1 };
        let data = Some(Bytes::from(counter.to_string()));
        match rng.u32(..8) {
            0 | 1 => MultiOp::Create(creation(path, b"multi", 0)),
            2 => MultiOp::Create2(creation("/mixed/m-", b"", EPHEMERAL | SEQUENTIAL)),
            3 => MultiOp::Delete(DeleteRequest { path: path.into(), version }),
            4 => MultiOp::Check(CheckRequest { path: path.into(), version }),
            _ => MultiOp::SetData(SetDataRequest { path: path.into(), data, version }),
        }
    });
    Request::Multi(ops.collect())
}

fn large(rng: &mut Rng) -> Request {
    let path = format!("/mixed/large{}", rng.u32(..2));
    let len = match rng.u32(..40) {
        // More than `jute.maxbuffer`: the connection will not survive it.
        0 => 1_048_576,
        1 => 900_000,
        2..=9 => rng.usize(10_000..200_000),
        _ => rng.usize(..10_000),
    };
    match rng.u32(..5) {
        0 => create(&path, b"", 0),
        1 | 2 => set(&path, vec![rng.u8(..); len], -1),
        _ => Request::GetData(watched(&path, rng.bool())),
    }
}

/// A quota, made as a whole, its usage counted anew now and then, and looked at. Its limits never
/// go: what happened without them would be counted by servers that start anew only.
fn quota(rng: &mut Rng) -> Request {
    const QUOTA: &str = "/zookeeper/quota/mixed";
    let (limits, stats) = (format!("{QUOTA}/zookeeper_limits"), format!("{QUOTA}/zookeeper_stats"));
    let limited = |rng: &mut Rng| {
        let (count, bytes) = (rng.u32(3..15), [-1, -1, 60, 2000][rng.usize(..4)]);
        format!("count=5,bytes=-1=;byteHardLimit={bytes};countHardLimit={count}").into_bytes()
    };
    match rng.u32(..12) {
        0 | 1 => {
            let data = Some(Bytes::from(limited(rng)));
            let limits = CreateRequest { data, ..creation(&limits, b"", 0) };
            let all = [creation(QUOTA, b"", 0), limits, creation(&stats, b"count=0,bytes=0", 0)];
            Request::Multi(all.map(MultiOp::Create).into())
        }
        2 => set(&limits, limited(rng), -1),
        3 => delete(&stats, -1),
        4 => create(&stats, b"", 0),
        5 => Request::GetData(watched(&limits, rng.bool())),
        _ => Request::GetData(watched(&stats, rng.bool())),
    }
}

fn mixed(rng: &mut Rng, counter: u64) -> Request {
    let path = PLACES[rng.usize(..PLACES.len())];
    let version = if rng.u32(..3) == 0 { rng.i32(0..4) } else { -1 };
    let below = |path: &str| PathRequest { path: path.into() };
    match rng.u32(..28) {
        25.. => quota(rng),
        0 | 1 => create(path, b"one", rng.i32(0..4)),
        2 => Request::Create2(creation(path, b"two", rng.i32(0..2))),
        3 if rng.u32(..3) == 0 => ttl(rng, path),
        3 => Request::CreateContainer(creation(path, b"container", 4)),
        4..=6 => delete(path, version),
        7..=9 => set(path, counter.to_string().into_bytes(), version),
        10 => Request::Exists(watched(path, rng.bool())),
        11..=13 => Request::GetData(watched(path, rng.bool())),
        14 => Request::GetChildren2(watched(path, rng.bool())),
        15 => Request::GetChildren(watched(path, rng.bool())),
        16 => Request::GetAcl(below(path)),
        17 | 18 => {
            let (path, version) = (path.into(), if rng.bool() { -1 } else { version });
            Request::SetAcl(SetAclRequest { path, acl: acl(rng), version })
        }
        19 => Request::GetEphemerals(below(if rng.bool() { "/" } else { "/mixed/a" })),
        20 => Request::GetAllChildrenNumber(below("/mixed")),
        21 => Request::WhoAmI,
        22 if rng.u32(..4) == 0 => odd(rng),
        23 => lasting(rng, path),
        _ => Request::Sync(below(path)),
    }
}

/// A node that goes by itself, if this house has such; now and then one that none has.
fn ttl(rng: &mut Rng, path: &str) -> Request {
    let CreateRequest { path, data, acl, .. } = creation(path, b"ttl", 0);
    let flags = rng.i32(5..=6);
    let ttl = [1, 100, 1000, 1000, 5000, 5000, 0, 1 << 40][rng.usize(..8)];
    Request::CreateTtl(CreateTtlRequest { path, data, acl, flags, ttl })
}

/// Leaves a watch that stays, looks for one, or takes some away.
fn lasting(rng: &mut Rng, path: &str) -> Request {
    let path = match rng.u32(..6) {
        0 => "/",
        1 | 2 => "/mixed",
        _ => path,
    };
    match rng.u32(..8) {
        0..=4 => Request::AddWatch(AddWatchRequest { path: path.into(), mode: rng.i32(0..2) }),
        5 => Request::CheckWatches(WatcherRequest { path: path.into(), kind: rng.i32(1..6) }),
        _ => Request::RemoveWatches(WatcherRequest { path: path.into(), kind: rng.i32(1..6) }),
    }
}

/// What has to be refused, each for its own reason.
fn odd(rng: &mut Rng) -> Request {
    let ttl = |flags| {
        let CreateRequest { path, data, acl, .. } = creation("/mixed/ttl", b"", 0);
        Request::CreateTtl(CreateTtlRequest { path, data, acl, flags, ttl: 1000 })
    };
    match rng.u32(..8) {
        0 => create("/mixed/", b"", 0),
        1 => create("/mixed/../x", b"", 0),
        2 => create("/mixed/a/y/z", b"", 0),
        3 => create("/mixed/a", b"", 9),
        4 => ttl(rng.i32(0..7)),
        5 => delete("/zookeeper", -1),
        6 => delete("/", -1),
        _ => set("/mixed//a", Vec::new(), -1),
    }
}

/// Mostly one that allows everything. Whatever it takes away, all may read, and all may set it
/// anew.
fn acl(rng: &mut Rng) -> Vec<Acl> {
    let allows = |perms| {
        let id = Id { scheme: "world".into(), id: "anyone".into() };
        Acl { perms, id }
    };
    let always = perms::READ | perms::ADMIN;
    match rng.u32(..8) {
        0 => vec![allows(always)],
        1 => vec![allows(perms::READ), allows(perms::ADMIN), allows(perms::READ)],
        2 => vec![allows(always | perms::WRITE), allows(perms::DELETE)],
        3 => Vec::new(),
        4 => {
            let id = Id { scheme: "world".into(), id: "someone".into() };
            vec![Acl { perms: perms::ALL, id }]
        }
        _ => open(),
    }
}

fn open() -> Vec<Acl> {
    vec![Acl { perms: perms::ALL, id: Id { scheme: "world".into(), id: "anyone".into() } }]
}

fn creation(path: &str, data: &'static [u8], flags: i32) -> CreateRequest {
    let data = Some(Bytes::from_static(data));
    CreateRequest { path: path.into(), data, acl: open(), flags }
}

fn create(path: &str, data: &'static [u8], flags: i32) -> Request {
    Request::Create(creation(path, data, flags))
}

fn delete(path: &str, version: i32) -> Request {
    Request::Delete(DeleteRequest { path: path.into(), version })
}

fn set(path: &str, data: Vec<u8>, version: i32) -> Request {
    let data = Some(Bytes::from(data));
    Request::SetData(SetDataRequest { path: path.into(), data, version })
}

fn watched(path: &str, watch: bool) -> WatchedRequest {
    WatchedRequest { path: path.into(), watch }
}
