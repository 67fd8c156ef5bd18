//! An independent, naive model of the znode tree with all of its past: what any node was at any
//! zxid. It is fed with committed transactions and knows nothing of the core's store.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::client::Stat;
use zabkeeper_core::wire::txn::{CreateTxn, LoggedTxn, Txn};

/// One node, as of one zxid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its data.
    pub data: Option<Bytes>,
    czxid: Zxid,
    mzxid: Zxid,
    pzxid: Zxid,
    ctime: i64,
    mtime: i64,
    version: i32,
    /// Counts creations of children, as the log does.
    creations: i32,
    aversion: i32,
    /// The session whose ephemeral this is, or 0.
    pub owner: i64,
    children: i32,
}

impl Node {
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
            ephemeral_owner: self.owner,
            data_length: self.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children: self.children,
            pzxid: self.pzxid,
        }
    }
    /// How often its data was set.
    pub fn version(&self) -> i32 {
        self.version
    }
    /// How many children it has.
    pub fn children(&self) -> i32 {
        self.children
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

/// All of a path's past.
#[derive(Default, Debug)]
struct Past {
    states: Vec<(Zxid, Option<Node>)>,
    names: BTreeSet<String>,
    /// Children that came (true) and went.
    moves: Vec<(Zxid, String, bool)>,
    changes: Vec<(Zxid, Change)>,
}

/// The tree and its past.
#[derive(Debug)]
pub struct Model {
    paths: HashMap<String, Past, FxBuildHasher>,
    ephemerals: BTreeMap<i64, BTreeSet<String>>,
    last: Zxid,
}

impl Default for Model {
    fn default() -> Model {
        let root = Node {
            data: Some(Bytes::new()),
            czxid: Zxid(0),
            mzxid: Zxid(0),
            pzxid: Zxid(0),
            ctime: 0,
            mtime: 0,
            version: 0,
            creations: 0,
            aversion: 0,
            owner: 0,
            children: 1,
        };
        let mut paths: HashMap<String, Past, FxBuildHasher> = HashMap::default();
        let names = BTreeSet::from([String::from("zookeeper")]);
        let states = vec![(Zxid(-1), Some(root))];
        paths.insert(String::from("/"), Past { states, names, ..Past::default() });
        Model { paths, ephemerals: BTreeMap::new(), last: Zxid(0) }
    }
}

impl Model {
    /// Takes the next committed transaction.
    ///
    /// # Errors
    /// What it does that cannot be done to this tree.
    pub fn apply(&mut self, txn: &LoggedTxn) -> Result<(), String> {
        let zxid = txn.header.zxid;
        if zxid <= self.last {
            return Err(format!("{zxid} is committed after {}", self.last));
        }
        self.last = zxid;
        self.one(txn.header.client, zxid, txn.header.time_ms, &txn.txn)
    }

    /// A node at a zxid.
    pub fn at(&self, path: &str, zxid: Zxid) -> Option<&Node> {
        let states = &self.paths.get(path)?.states;
        let upto = states.partition_point(|(at, _)| *at <= zxid);
        states.get(upto.checked_sub(1)?)?.1.as_ref()
    }

    /// Whether a node had just these children at a zxid; says what is wrong.
    ///
    /// # Errors
    /// The first name that is missing or too many.
    pub fn check_children<'a>(
        &self,
        path: &str,
        zxid: Zxid,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        let Some(past) = self.paths.get(path) else { return Err(String::from("no such node")) };
        // From what is there now back to what was there then.
        let mut undone: BTreeMap<&str, bool> = BTreeMap::new();
        for (at, name, came) in past.moves.iter().rev() {
            if *at <= zxid {
                break;
            }
            undone.insert(name, !came);
        }
        let was_there =
            |name: &str| undone.get(name).copied().unwrap_or_else(|| past.names.contains(name));
        let mut told = BTreeSet::new();
        for name in names {
            if !was_there(name) {
                return Err(format!("{name} is not there"));
            }
            told.insert(name);
        }
        let all = past.names.iter().map(String::as_str).chain(undone.keys().copied());
        match all.into_iter().find(|name| was_there(name) && !told.contains(name)) {
            Some(name) => Err(format!("{name} is missing")),
            None => Ok(()),
        }
    }

    /// The first change of these kinds to a path after a zxid.
    pub fn first_change(
        &self,
        path: &str,
        after: Zxid,
        is_wanted: impl Fn(Change) -> bool,
    ) -> Option<(Zxid, Change)> {
        let changes = &self.paths.get(path)?.changes;
        let from = changes.partition_point(|(at, _)| *at <= after);
        changes.get(from..)?.iter().find(|(_, change)| is_wanted(*change)).copied()
    }

    /// Ephemerals that are there, by owner.
    pub fn ephemerals(&self) -> &BTreeMap<i64, BTreeSet<String>> {
        &self.ephemerals
    }

    fn one(
        &mut self,
        client: SessionId,
        zxid: Zxid,
        time_ms: i64,
        txn: &Txn,
    ) -> Result<(), String> {
        match txn {
            Txn::CreateSession(_) | Txn::Error(_) | Txn::Check(_) => Ok(()),
            Txn::CloseSession(paths) => {
                let own = self.ephemerals.remove(&client.0).unwrap_or_default();
                if let Some(paths) = paths {
                    let told: BTreeSet<String> = paths.iter().map(|p| p.to_string()).collect();
                    if told != own {
                        return Err(format!(
                            "session {client} ends with the ephemerals {told:?}, and owns {own:?}"
                        ));
                    }
                }
                own.iter().try_for_each(|path| self.remove(path, zxid))
            }
            Txn::Create(txn) | Txn::Create2(txn) => {
                let owner = if txn.ephemeral { client.0 } else { 0 };
                self.create(txn, owner, zxid, time_ms)
            }
            Txn::Delete(txn) | Txn::DeleteContainer(txn) => {
                if let Some(node) = self.at(&txn.path, zxid) {
                    let owner = node.owner;
                    if let Some(own) = self.ephemerals.get_mut(&owner) {
                        own.remove(&*txn.path);
                    }
                }
                self.remove(&txn.path, zxid)
            }
            Txn::SetData(txn) => {
                self.change(&txn.path, zxid, |node| {
                    (node.data, node.version) = (txn.data.clone(), txn.version);
                    (node.mzxid, node.mtime) = (zxid, time_ms);
                })?;
                self.note(&txn.path, zxid, Change::Data);
                Ok(())
            }
            Txn::SetAcl(txn) => self.change(&txn.path, zxid, |node| node.aversion = txn.version),
            Txn::Multi(all) => {
                if all.iter().any(|txn| matches!(txn, Txn::Error(_))) {
                    return Ok(());
                }
                all.iter().try_for_each(|txn| self.one(client, zxid, time_ms, txn))
            }
            Txn::CreateContainer(_) | Txn::CreateTtl(_) | Txn::Reconfig(_) => {
                Err(String::from("a transaction that nobody asked for"))
            }
        }
    }

    fn create(
        &mut self,
        txn: &CreateTxn,
        owner: i64,
        zxid: Zxid,
        time_ms: i64,
    ) -> Result<(), String> {
        let path = &*txn.path;
        if self.at(path, zxid).is_some() {
            return Err(format!("{path} is made, and is there"));
        }
        let (parent, name) = parent_of(path);
        self.change(parent, zxid, |node| {
            if txn.parent_cversion > node.creations {
                (node.creations, node.pzxid) = (txn.parent_cversion, zxid);
            }
            node.children += 1;
        })?;
        self.note(parent, zxid, Change::Children);
        if let Some(past) = self.paths.get_mut(parent) {
            past.names.insert(String::from(name));
            past.moves.push((zxid, String::from(name), true));
        }
        if owner != 0 {
            self.ephemerals.entry(owner).or_default().insert(String::from(path));
        }
        let node = Node {
            data: txn.data.clone(),
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
        };
        self.set(path, zxid, Some(node));
        self.note(path, zxid, Change::Created);
        Ok(())
    }

    fn remove(&mut self, path: &str, zxid: Zxid) -> Result<(), String> {
        match self.at(path, zxid) {
            None => return Err(format!("{path} is deleted, and is not there")),
            Some(node) if node.children > 0 => {
                return Err(format!("{path} is deleted, and has {} children", node.children));
            }
            Some(_) => {}
        }
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
        self.set(path, zxid, None);
        self.note(path, zxid, Change::Deleted);
        Ok(())
    }

    fn change(
        &mut self,
        path: &str,
        zxid: Zxid,
        change: impl FnOnce(&mut Node),
    ) -> Result<(), String> {
        let Some(node) = self.at(path, zxid) else { return Err(format!("{path} is not there")) };
        let mut node = node.clone();
        change(&mut node);
        self.set(path, zxid, Some(node));
        Ok(())
    }

    fn set(&mut self, path: &str, zxid: Zxid, node: Option<Node>) {
        if !self.paths.contains_key(path) {
            self.paths.insert(String::from(path), Past::default());
        }
        if let Some(past) = self.paths.get_mut(path) {
            match past.states.last_mut() {
                Some((at, state)) if *at == zxid => *state = node,
                _ => past.states.push((zxid, node)),
            }
        }
    }

    fn note(&mut self, path: &str, zxid: Zxid, change: Change) {
        if let Some(past) = self.paths.get_mut(path) {
            past.changes.push((zxid, change));
        }
    }
}

/// A path's parent and its own name.
pub(crate) fn parent_of(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => ("/", path),
    }
}
