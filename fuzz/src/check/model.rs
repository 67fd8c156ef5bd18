//! An independent, naive model of the znode tree with all of its past: what any node was at any
//! zxid. It is fed with committed transactions and knows nothing of the core's store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::client::{Acl, Stat};
use zabkeeper_core::wire::txn::{LoggedTxn, Txn};

use super::members::{CONFIG_PATH, Roster};

/// Whose a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Nobody's.
    Nobody,
    /// It goes with this session.
    Session(SessionId),
    /// It goes some time after its last child.
    Container,
    /// It goes some time after nobody has set it for so many ms.
    Ttl(i64),
}

/// One node, as of one zxid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its data.
    pub data: Option<Bytes>,
    /// Who may do what.
    pub acl: Arc<[Acl]>,
    /// Made by.
    pub czxid: Zxid,
    /// Data set by.
    pub mzxid: Zxid,
    /// Last child made or deleted by.
    pub pzxid: Zxid,
    /// Made at, by the leader's wall clock.
    pub ctime: i64,
    /// Data set at.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How many children were ever made.
    pub creations: i32,
    /// How often its ACL was set.
    pub aversion: i32,
    /// Whose it is.
    pub owner: Owner,
    /// How many children it has.
    pub children: i32,
}

impl Node {
    /// A node that was just made.
    pub fn new(
        data: Option<Bytes>,
        acl: Arc<[Acl]>,
        owner: Owner,
        zxid: Zxid,
        time_ms: i64,
    ) -> Node {
        Node {
            data,
            acl,
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            version: 0,
            creations: 0,
            aversion: 0,
            owner,
            children: 0,
        }
    }

    /// What a client is told of it.
    pub fn stat(&self) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.creations.wrapping_mul(2).wrapping_sub(self.children),
            aversion: self.aversion,
            ephemeral_owner: match self.owner {
                Owner::Session(session) => session.0,
                Owner::Nobody | Owner::Container | Owner::Ttl(_) => 0,
            },
            data_length: self.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children: self.children,
            pzxid: self.pzxid,
        }
    }
}

/// What happens to a node that a watch is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is made.
    Created,
    /// It is deleted.
    Deleted,
    /// Its data is set.
    Data,
    /// It gets or loses a child.
    Children,
}

/// What a transaction came to, as its client is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Done.
    Done,
    /// This path was made, by create.
    Path(ByteString),
    /// This path was made, by its newer kin.
    Created(ByteString, Stat),
    /// A node was changed.
    Stat(Stat),
    /// The members are these now.
    Config(Option<Bytes>, Stat),
    /// Refused.
    Error(i32),
    /// Each part.
    Multi(Vec<Effect>),
}

/// Below it are the quotas.
const QUOTAS: &str = "/zookeeper/quota";

/// All of a path's past.
#[derive(Default, Debug)]
struct Past {
    states: Vec<(Zxid, Option<Node>)>,
    names: BTreeSet<String>,
    /// Children that came (true) and went.
    moves: Vec<(Zxid, String, bool)>,
    changes: Vec<(Zxid, Change)>,
}

/// A session's ephemerals now, and those that came (true) and went.
#[derive(Default, Debug)]
struct Owned {
    paths: BTreeSet<String>,
    moves: Vec<(Zxid, String, bool)>,
}

/// The tree and its past.
#[derive(Debug)]
pub struct Model {
    paths: HashMap<String, Past, FxBuildHasher>,
    owned: BTreeMap<i64, Owned>,
    /// Everything that watches are about, in order.
    changes: Vec<(Zxid, Change, String)>,
    roster: Roster,
    /// Members that a leader brought with its epoch, without a transaction: until that begins,
    /// they may be shown by whoever has this.
    brought: Vec<(Zxid, Zxid, Roster)>,
    last: Zxid,
}

impl Default for Model {
    fn default() -> Model {
        let anyone = zabkeeper_core::wire::client::Id {
            scheme: ByteString::from_static("world"),
            id: ByteString::from_static("anyone"),
        };
        let acl = Arc::from([Acl { perms: 31, id: anyone }]);
        let mut root = Node::new(Some(Bytes::new()), acl, Owner::Nobody, Zxid::ZERO, 0);
        root.children = 1;
        let names = BTreeSet::from([String::from("zookeeper")]);
        let mut quota = root.clone();
        quota.children = 0;
        let states = vec![(Zxid(-1), Some(root))];
        let mut paths: HashMap<String, Past, FxBuildHasher> = HashMap::default();
        paths.insert(String::from("/"), Past { states, names, ..Past::default() });
        // Nobody looks at what is above it.
        let states = vec![(Zxid(-1), Some(quota))];
        paths.insert(String::from(QUOTAS), Past { states, ..Past::default() });
        let mut model = Model {
            paths,
            owned: BTreeMap::new(),
            changes: Vec::new(),
            roster: Roster::default(),
            brought: Vec::new(),
            last: Zxid::ZERO,
        };
        let of_config =
            |root: &Node| Node { version: -1, aversion: -1, children: 0, ..root.clone() };
        let config = model.now("/").map(of_config);
        model.set(CONFIG_PATH, Zxid(-1), config);
        model
    }
}

impl Model {
    /// Takes the next committed transaction; tells what it came to.
    ///
    /// # Errors
    /// What it does that cannot be done to this tree.
    pub fn apply(&mut self, logged: &LoggedTxn) -> Result<Effect, String> {
        let zxid = logged.header.zxid;
        if zxid <= self.last {
            return Err(format!("{zxid} is committed after {}", self.last));
        }
        self.last = zxid;
        let place = Place { client: logged.header.client, zxid, time_ms: logged.header.time_ms };
        self.one(&place, &logged.txn)
    }

    /// The last transaction.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// Who the members are before anything is committed.
    pub fn begin_with(&mut self, roster: Roster) {
        let text = Bytes::from(roster.text());
        self.roster = roster;
        let config = self.now(CONFIG_PATH).cloned();
        let config = config.map(|node| Node { data: Some(text), ..node });
        self.set(CONFIG_PATH, Zxid(-1), config);
    }

    /// A leader begins its epoch with members that were proposed before it, and whose transaction
    /// is lost: what is proposed is on disk before the transaction is.
    pub fn brings(&mut self, epoch: Zxid, roster: Roster) {
        let config = self.now(CONFIG_PATH).cloned();
        let (data, mzxid) = (Some(Bytes::from(roster.text())), Zxid(roster.version));
        self.set(CONFIG_PATH, epoch, config.map(|node| Node { data, mzxid, ..node }));
        self.brought.push((self.last, epoch, roster.clone()));
        self.roster = roster;
    }

    /// Whether a server that has all up to a zxid may show members that come with the next epoch.
    pub fn may_bring(&self, zxid: Zxid, shown: &Roster) -> bool {
        let all = &mut self.brought.iter();
        all.any(|(since, until, roster)| *since <= zxid && zxid < *until && roster == shown)
    }

    /// Whether changes of the members may go unnoticed by their watches.
    pub fn is_unwatched(&self, path: &str) -> bool {
        path == CONFIG_PATH && !self.brought.is_empty()
    }

    /// Who the members are now.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// A node at a zxid.
    pub fn at(&self, path: &str, zxid: Zxid) -> Option<&Node> {
        let states = &self.paths.get(path)?.states;
        let is_last = states.last().is_some_and(|(at, _)| *at <= zxid);
        let upto =
            if is_last { states.len() } else { states.partition_point(|(at, _)| *at <= zxid) };
        states.get(upto.checked_sub(1)?)?.1.as_ref()
    }

    /// A node as it is now.
    pub fn now(&self, path: &str) -> Option<&Node> {
        self.paths.get(path)?.states.last()?.1.as_ref()
    }

    /// The names of a node's children now.
    pub fn names(&self, path: &str) -> impl Iterator<Item = &str> {
        self.paths.get(path).into_iter().flat_map(|past| past.names.iter().map(String::as_str))
    }

    /// Whether a node had just these children at a zxid.
    ///
    /// # Errors
    /// The first name that is missing or too many.
    pub fn check_children<'a>(
        &self,
        path: &str,
        zxid: Zxid,
        told: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        let Some(past) = self.paths.get(path) else { return Err(String::from("no such node")) };
        compare(&past.names, &past.moves, zxid, |_| true, told)
    }

    /// Whether a session had just these ephemerals below a path at a zxid.
    ///
    /// # Errors
    /// The first path that is missing or too many.
    pub fn check_ephemerals<'a>(
        &self,
        session: SessionId,
        prefix: &str,
        zxid: Zxid,
        told: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        let none = Owned::default();
        let owned = self.owned.get(&session.0).unwrap_or(&none);
        compare(&owned.paths, &owned.moves, zxid, |path| path.starts_with(prefix), told)
    }

    /// How many nodes there were below a node at a zxid.
    pub fn descendants(&self, path: &str, zxid: Zxid) -> usize {
        let Some(past) = self.paths.get(path) else { return 0 };
        let undone = undone(&past.moves, zxid);
        let all: BTreeSet<&str> =
            past.names.iter().map(String::as_str).chain(undone.keys().copied()).collect();
        let there = all
            .into_iter()
            .filter(|name| undone.get(name).copied().unwrap_or_else(|| past.names.contains(*name)));
        there.map(|name| 1 + self.descendants(&join(path, name), zxid)).sum()
    }

    /// The first change of these kinds to a path after a zxid.
    pub fn first_change(
        &self,
        path: &str,
        after: Zxid,
        is_wanted: impl Fn(Change) -> bool,
    ) -> Option<(Zxid, Change)> {
        let changes = &self.paths.get(path)?.changes;
        let is_news = changes.last().is_some_and(|(at, _)| *at > after);
        if !is_news {
            return None;
        }
        let from = changes.partition_point(|(at, _)| *at <= after);
        changes.get(from..)?.iter().find(|(_, change)| is_wanted(*change)).copied()
    }

    /// All that happened to any node after one zxid and up to another.
    pub fn changes(&self, after: Zxid, upto: Zxid) -> &[(Zxid, Change, String)] {
        let from = self.changes.partition_point(|(at, ..)| *at <= after);
        let end = self.changes.partition_point(|(at, ..)| *at <= upto);
        self.changes.get(from..end).unwrap_or_default()
    }

    /// An ephemeral that is there, and its owner.
    pub fn any_ephemeral(&self) -> Option<(SessionId, &str)> {
        let mut all = self.owned.iter();
        all.find_map(|(owner, owned)| Some((SessionId(*owner), owned.paths.first()?.as_str())))
    }

    /// Whether a session owns anything now.
    pub fn owns(&self, session: SessionId) -> bool {
        self.owned.get(&session.0).is_some_and(|owned| !owned.paths.is_empty())
    }

    // ---- one transaction

    fn one(&mut self, place: &Place, txn: &Txn) -> Result<Effect, String> {
        let zxid = place.zxid;
        match txn {
            Txn::Error(code) => Ok(Effect::Error(*code)),
            Txn::CreateSession(_) | Txn::Check(_) => Ok(Effect::Done),
            Txn::CloseSession(paths) => self.close(place, paths.as_deref()),
            Txn::Create(t) | Txn::Create2(t) => {
                let owner = if t.ephemeral { Owner::Session(place.client) } else { Owner::Nobody };
                let stat =
                    self.create(place, &t.path, &t.data, &t.acl, owner, t.parent_cversion)?;
                Ok(match txn {
                    Txn::Create(_) => Effect::Path(t.path.clone()),
                    _ => Effect::Created(t.path.clone(), stat),
                })
            }
            Txn::CreateContainer(t) => {
                let owner = Owner::Container;
                let stat =
                    self.create(place, &t.path, &t.data, &t.acl, owner, t.parent_cversion)?;
                Ok(Effect::Created(t.path.clone(), stat))
            }
            Txn::CreateTtl(t) => {
                let owner = Owner::Ttl(t.ttl);
                let stat =
                    self.create(place, &t.path, &t.data, &t.acl, owner, t.parent_cversion)?;
                Ok(Effect::Created(t.path.clone(), stat))
            }
            Txn::Delete(t) => self.remove(&t.path, zxid).map(|()| Effect::Done),
            Txn::DeleteContainer(t) => {
                let is_due = self.now(&t.path).is_none_or(|node| match node.owner {
                    Owner::Container => node.creations > 0,
                    Owner::Ttl(ttl_ms) => place.time_ms - node.mtime > ttl_ms,
                    Owner::Nobody | Owner::Session(_) => false,
                });
                if !is_due {
                    return Err(format!("{} is deleted by the leader before its time", t.path));
                }
                self.remove(&t.path, zxid).map(|()| Effect::Done)
            }
            Txn::SetData(t) => {
                let before = self.now(&t.path).map_or(0, |node| len(&node.data));
                let stat = self.change(&t.path, zxid, |node| {
                    (node.data, node.version) = (t.data.clone(), t.version);
                    (node.mzxid, node.mtime) = (zxid, place.time_ms);
                })?;
                self.note(&t.path, zxid, Change::Data);
                self.charge(&t.path, zxid, 0, len(&t.data) - before);
                Ok(Effect::Stat(stat))
            }
            Txn::SetAcl(t) => {
                let stat = self.change(&t.path, zxid, |node| {
                    (node.acl, node.aversion) = (Arc::from(&*t.acl), t.version);
                })?;
                Ok(Effect::Stat(stat))
            }
            Txn::Multi(all) => {
                let has_failed = all.iter().any(|txn| matches!(txn, Txn::Error(_)));
                let part = |txn: &Txn| match txn {
                    Txn::Error(code) => Ok(Effect::Error(*code)),
                    _ if has_failed => Ok(Effect::Error(0)),
                    _ => self.one(place, txn),
                };
                Ok(Effect::Multi(all.iter().map(part).collect::<Result<_, _>>()?))
            }
            Txn::Reconfig(t) => {
                let text = t.data.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                self.roster = Roster::parse(&text).ok_or(format!("{text:?} names no members"))?;
                let stat = self.change(CONFIG_PATH, zxid, |node| {
                    (node.data, node.version) = (t.data.clone(), t.version);
                    (node.mzxid, node.mtime) = (zxid, place.time_ms);
                })?;
                self.note(CONFIG_PATH, zxid, Change::Data);
                Ok(Effect::Config(t.data.clone(), stat))
            }
        }
    }

    fn close(&mut self, place: &Place, paths: Option<&[ByteString]>) -> Result<Effect, String> {
        let session = place.client;
        let own = self.owned.get(&session.0).map(|owned| owned.paths.clone()).unwrap_or_default();
        if let Some(paths) = paths {
            let told: BTreeSet<&str> = paths.iter().map(|path| &**path).collect();
            if told.len() != own.len() || !own.iter().all(|path| told.contains(path.as_str())) {
                return Err(format!(
                    "session {session} ends with the ephemerals {told:?}, and owns {own:?}"
                ));
            }
        }
        own.iter().try_for_each(|path| self.remove(path, place.zxid))?;
        Ok(Effect::Done)
    }

    fn create(
        &mut self,
        place: &Place,
        path: &str,
        data: &Option<Bytes>,
        acl: &[Acl],
        owner: Owner,
        parent_cversion: i32,
    ) -> Result<Stat, String> {
        let zxid = place.zxid;
        if self.now(path).is_some() {
            return Err(format!("{path} is made, and is there"));
        }
        let (parent, name) = parent_of(path);
        self.change(parent, zxid, |node| {
            (node.creations, node.pzxid) = (parent_cversion, zxid);
            node.children += 1;
        })?;
        self.note(parent, zxid, Change::Children);
        if let Some(past) = self.paths.get_mut(parent) {
            past.names.insert(String::from(name));
            past.moves.push((zxid, String::from(name), true));
        }
        if let Owner::Session(owner) = owner {
            let owned = self.owned.entry(owner.0).or_default();
            owned.paths.insert(String::from(path));
            owned.moves.push((zxid, String::from(path), true));
        }
        let node = Node::new(data.clone(), Arc::from(acl), owner, zxid, place.time_ms);
        let stat = node.stat();
        self.set(path, zxid, Some(node));
        self.note(path, zxid, Change::Created);
        if let Some(quota) = path.strip_suffix("/zookeeper_stats")
            && let Some(meant) = quota.strip_prefix(QUOTAS)
        {
            let (count, bytes) = self.usage(meant);
            self.put(path, zxid, format!("count={count},bytes={bytes}"));
        }
        self.charge(path, zxid, 1, len(data));
        Ok(stat)
    }

    fn remove(&mut self, path: &str, zxid: Zxid) -> Result<(), String> {
        let bytes = self.now(path).map_or(0, |node| len(&node.data));
        let owner = match self.now(path) {
            None => return Err(format!("{path} is deleted, and is not there")),
            Some(node) if node.children > 0 => {
                return Err(format!("{path} is deleted, and has {} children", node.children));
            }
            Some(node) => node.owner,
        };
        let (parent, name) = parent_of(path);
        self.change(parent, zxid, |node| {
            node.pzxid = zxid;
            node.children -= 1;
        })?;
        self.note(parent, zxid, Change::Children);
        if let Some(past) = self.paths.get_mut(parent) {
            past.names.remove(name);
            past.moves.push((zxid, String::from(name), false));
        }
        if let Owner::Session(owner) = owner
            && let Some(owned) = self.owned.get_mut(&owner.0)
        {
            owned.paths.remove(path);
            owned.moves.push((zxid, String::from(path), false));
        }
        self.set(path, zxid, None);
        self.note(path, zxid, Change::Deleted);
        self.charge(path, zxid, -1, -bytes);
        Ok(())
    }

    fn change(
        &mut self,
        path: &str,
        zxid: Zxid,
        change: impl FnOnce(&mut Node),
    ) -> Result<Stat, String> {
        let Some(node) = self.now(path) else { return Err(format!("{path} is not there")) };
        let mut node = node.clone();
        change(&mut node);
        let stat = node.stat();
        self.set(path, zxid, Some(node));
        Ok(stat)
    }

    // ---- quotas

    /// Whether a write that adds so much would have exceeded a hard limit, had it been judged by
    /// the tree of each zxid from one to another: at least once, and not at least once.
    pub(super) fn exceeds(
        &self,
        path: &str,
        from: Zxid,
        to: Zxid,
        count: i64,
        bytes: i64,
    ) -> (bool, bool) {
        let mut moments = BTreeSet::from([from]);
        for quota in ancestors(path) {
            for node in [limits_of(quota), stats_of(quota)] {
                let states = self.paths.get(&node).map_or(&[][..], |past| &past.states);
                moments
                    .extend(states.iter().map(|(at, _)| *at).filter(|at| from < *at && *at < to));
            }
        }
        let verdicts: Vec<bool> =
            moments.into_iter().map(|at| self.exceeds_at(path, at, count, bytes)).collect();
        (verdicts.contains(&true), verdicts.contains(&false))
    }

    fn exceeds_at(&self, path: &str, zxid: Zxid, count: i64, bytes: i64) -> bool {
        let text = |path: &str| {
            let data = self.at(path, zxid)?.data.as_deref().unwrap_or_default();
            Some(String::from_utf8_lossy(data).into_owned())
        };
        let limits = ancestors(path).find_map(|quota| Some((quota, text(&limits_of(quota))?)));
        let Some((quota, limits)) = limits else { return false };
        let Some(stats) = text(&stats_of(quota)) else { return false };
        let is_over = |limit: &str, usage: &str, more: i64| {
            let limit = number(&limits, limit);
            more != 0 && limit >= 0 && number(&stats, usage) + more > limit
        };
        is_over("countHardLimit", "count", count) || is_over("byteHardLimit", "bytes", bytes)
    }

    fn charge(&mut self, path: &str, zxid: Zxid, count: i64, bytes: i64) {
        let is_quota = |quota: &&str| self.now(&limits_of(quota)).is_some();
        let Some(quota) = ancestors(path).find(is_quota) else { return };
        let stats = stats_of(quota);
        let Some(node) = self.now(&stats) else { return };
        let text = String::from_utf8_lossy(node.data.as_deref().unwrap_or_default()).into_owned();
        let (count, bytes) = (number(&text, "count") + count, number(&text, "bytes") + bytes);
        self.put(&stats, zxid, format!("count={count},bytes={bytes}"));
    }

    /// Nodes and bytes from a node downwards.
    fn usage(&self, path: &str) -> (i64, i64) {
        let Some(node) = self.now(path) else { return (0, 0) };
        let below = self.names(path).map(|name| self.usage(&join(path, name)));
        let own = (1, len(&node.data));
        below.fold(own, |(count, bytes), (more, long)| (count + more, bytes + long))
    }

    /// Other data, of which nothing tells.
    fn put(&mut self, path: &str, zxid: Zxid, text: String) {
        let Some(node) = self.now(path) else { return };
        let node = Node { data: Some(Bytes::from(text)), ..node.clone() };
        self.set(path, zxid, Some(node));
    }

    fn set(&mut self, path: &str, zxid: Zxid, node: Option<Node>) {
        let past = self.paths.entry_ref(path).or_default();
        match past.states.last_mut() {
            Some((at, state)) if *at == zxid => *state = node,
            _ => past.states.push((zxid, node)),
        }
    }

    fn note(&mut self, path: &str, zxid: Zxid, change: Change) {
        if let Some(past) = self.paths.get_mut(path) {
            past.changes.push((zxid, change));
        }
        self.changes.push((zxid, change, String::from(path)));
    }
}

/// Where a transaction stands.
struct Place {
    client: SessionId,
    zxid: Zxid,
    time_ms: i64,
}

pub(super) fn len(data: &Option<Bytes>) -> i64 {
    data.as_ref().map_or(0, |data| data.len() as i64)
}

fn limits_of(path: &str) -> String {
    format!("{QUOTAS}{path}/zookeeper_limits")
}

fn stats_of(path: &str) -> String {
    format!("{QUOTAS}{path}/zookeeper_stats")
}

/// A path, and every path above it but the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let is_path = |path: &&str| path.len() > 1;
    std::iter::successors(Some(path).filter(is_path), move |path| {
        Some(parent_of(path).0).filter(is_path)
    })
}

/// What a quota's text says of one thing; -1: nothing.
fn number(text: &str, name: &str) -> i64 {
    let mut pairs = text.split([',', ';']).filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_end_matches('='));
    value.and_then(|value| value.parse().ok()).unwrap_or(-1)
}

/// A path's parent and its own name.
pub(crate) fn parent_of(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => ("/", path),
    }
}

fn join(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}

/// What came and went after a zxid, with whether it was there at that zxid.
fn undone(moves: &[(Zxid, String, bool)], zxid: Zxid) -> BTreeMap<&str, bool> {
    let later = moves.iter().rev().take_while(|(at, ..)| *at > zxid);
    later.map(|(_, name, came)| (name.as_str(), !came)).collect()
}

/// Compares names that were told with those that were there at a zxid: from what is there now
/// back to what was there then.
fn compare<'a>(
    now: &BTreeSet<String>,
    moves: &[(Zxid, String, bool)],
    zxid: Zxid,
    is_meant: impl Fn(&str) -> bool,
    told: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let undone = undone(moves, zxid);
    let was_there = |name: &str| {
        is_meant(name) && undone.get(name).copied().unwrap_or_else(|| now.contains(name))
    };
    let mut seen = BTreeSet::new();
    for name in told {
        if !was_there(name) {
            return Err(format!("{name} was not there at {zxid}"));
        }
        if !seen.insert(name) {
            return Err(format!("{name} is told twice"));
        }
    }
    let all = now.iter().map(String::as_str).chain(undone.keys().copied());
    match all.into_iter().find(|name| was_there(name) && !seen.contains(name)) {
        Some(name) => Err(format!("{name} is missing, and was there at {zxid}")),
        None => Ok(()),
    }
}
