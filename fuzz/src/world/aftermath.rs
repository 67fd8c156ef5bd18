//! What members do whose history is not the leader's. The protocol promises nothing to whoever
//! loses a quorum's data, or mixes up directories, so this happens when a run is over and all was
//! well: from here on only what is said here is checked.
//!
//! - A majority is provisioned anew while a member with the data is away: that keeps what it has.
//! - A member comes up with the directory of another ensemble: it has the leader's tree before it
//!   follows, and what it had is still there.
//! - A member's tree is not the leader's: it has that soon after a transaction shows it.

use bytes::{Bytes, BytesMut};
use zabkeeper_core::action::DiskAction;
use zabkeeper_core::disk::{self, Disk};
use zabkeeper_core::event::DiskEvent;
use zabkeeper_core::node;
use zabkeeper_core::store::{Effects, Store};
use zabkeeper_core::types::{Epoch, SessionId, Ticket, Zxid};
use zabkeeper_core::wire::acl::AclList;
use zabkeeper_core::wire::entries::Entries;
use zabkeeper_core::wire::txn::{CreateTxn, LoggedTxn, Txn, TxnHeader};
use zabkeeper_core::wire::{OpCode, Record};
use zabkeeper_core::zab::Role;

use super::World;
use crate::check::Violation;

/// One run in so many ends with each of them.
const ONE_IN: u64 = 9;
/// All find a leader within this, ms.
const SETTLED_MS: u64 = 60_000;
/// Of another ensemble, or of none.
const STRANGE: &str = "/strange-node";
const TIMEOUT_MS: i32 = 1_000_000;

impl World {
    /// Lets one of these things happen, by the run's number.
    pub(super) fn aftermath(&mut self) {
        let is_ensemble = self.plan.participants >= 3 && self.plan.reconfig.is_none();
        if self.violation.is_some() || !is_ensemble {
            return;
        }
        self.is_over = true;
        match self.plan.seed % ONE_IN {
            1 => self.the_last_good_copy(),
            4 => self.a_foreign_directory(),
            7 => self.a_tree_that_differs(),
            _ => {}
        }
    }

    fn fails(&mut self, rule: &'static str, what: String) {
        self.is_over = false;
        self.check(Err(Violation::safety(rule, what)));
    }

    fn passes(&mut self, ms: u64) {
        self.run_until(self.now.plus_ms(ms));
    }

    fn kill_all(&mut self) {
        (0..self.servers.len()).for_each(|server| self.kill(server, false));
    }

    fn start_but(&mut self, away: usize) {
        (0..self.servers.len()).filter(|server| *server != away).for_each(|s| self.start(s));
    }

    /// A transaction: a client's session.
    fn writes_something(&mut self, server: usize) {
        self.add_client(server, TIMEOUT_MS, false);
    }

    /// Names and bytes of what is not only padding.
    fn history_files(&self, server: usize) -> Vec<(String, Vec<u8>)> {
        let files = &self.servers[server].disk.files;
        let named = files.paths().filter(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.starts_with("log.") || name.starts_with("snapshot.") && name != "snapshot.0"
        });
        let content = |path: &str| {
            let content = files.get(path).unwrap_or_default();
            let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            content.get(..end).unwrap_or_default().to_vec()
        };
        named.map(|path| (path.to_owned(), content(path))).collect()
    }

    /// Whether any of a server's files begins with these bytes.
    fn still_has(&self, server: usize, content: &[u8]) -> bool {
        let files = &self.servers[server].disk.files;
        files.paths().any(|path| files.get(path).is_some_and(|there| there.starts_with(content)))
    }

    fn follows(&self, server: usize) -> bool {
        let role = self.servers[server].node().map(|node| node.role());
        matches!(role, Some(Role::Following { active: true, .. }))
    }

    // ---- the stories

    fn the_last_good_copy(&mut self) {
        self.tell(|| String::from("a majority is provisioned anew"));
        self.counters.add("last good copy");
        let survivor = self.rng.usize(..self.plan.participants);
        self.kill_all();
        let before = self.history_files(survivor);
        for server in (0..self.servers.len()).filter(|server| *server != survivor) {
            self.wipe(server);
        }
        self.start_but(survivor);
        self.passes(SETTLED_MS);
        self.writes_something((survivor + 1) % self.plan.participants);
        self.passes(1000);
        self.start(survivor);
        self.passes(SETTLED_MS);
        let rule = "the last good copy is not thrown away";
        let id = self.servers[survivor].id;
        if self.follows(survivor) {
            self.fails(rule, format!("server {id} follows a leader that has nothing of it"));
        }
        if let Some((path, _)) = before.iter().find(|(_, old)| !self.still_has(survivor, old)) {
            self.fails(rule, format!("server {id}: what was in {path} is gone"));
        }
    }

    fn a_foreign_directory(&mut self) {
        self.tell(|| String::from("a member comes up with another ensemble's directory"));
        self.counters.add("foreign directory");
        let stranger = self.rng.usize(..self.plan.participants);
        self.kill_all();
        // As if some leaders had not got round to a transaction: the others know of the epoch.
        let epoch = self.zab.newest_epoch().0 + 3;
        for server in (0..self.servers.len()).filter(|server| *server != stranger) {
            self.saves_epochs(server, epoch + 2);
        }
        self.wipe(stranger);
        self.saves_epochs(stranger, epoch);
        let has_log = self.rng.bool();
        self.put_strange(stranger, Zxid::new(Epoch(epoch), 0), if has_log { 3 } else { 0 });
        let before = self.history_files(stranger);
        self.start_but(stranger);
        self.passes(SETTLED_MS);
        if !has_log {
            self.writes_something((stranger + 1) % self.plan.participants);
            self.passes(1000);
        }
        self.start(stranger);
        self.passes(SETTLED_MS);
        let id = self.servers[stranger].id;
        let has_it = |node: &zabkeeper_core::node::Node| node.store().node(STRANGE).is_some();
        if self.servers[stranger].node().is_some_and(|node| node.serving() && has_it(node)) {
            let what = format!("server {id} serves what is another ensemble's");
            self.fails("who follows has its leader's tree", what);
        }
        if let Some((path, _)) = before.iter().find(|(_, old)| !self.still_has(stranger, old)) {
            let what = format!("server {id}: what was in {path} is gone");
            self.fails("what is given up is kept aside", what);
        }
    }

    fn a_tree_that_differs(&mut self) {
        let leader = self.servers.iter().position(|server| server.leads());
        let is_compared = self.servers[0].node().is_some_and(|n| n.store().digest_enabled());
        let Some(leader) = leader.filter(|_| is_compared) else { return };
        self.tell(|| String::from("a member's tree is not the leader's"));
        self.counters.add("tree that differs");
        let victim = (leader + self.rng.usize(1..self.plan.participants)) % self.plan.participants;
        if victim == leader {
            return;
        }
        self.kill(victim, false);
        let Some(state) = self.recovers(victim) else { return };
        let zxid = state.last_zxid();
        self.snapshot_strange(victim, state, zxid);
        self.start(victim);
        self.passes(SETTLED_MS);
        self.writes_something(leader);
        self.passes(SETTLED_MS);
        let id = self.servers[victim].id;
        let has_it = |node: &zabkeeper_core::node::Node| node.store().node(STRANGE).is_some();
        if self.servers[victim].node().is_some_and(|node| node.serving() && has_it(node)) {
            let what = format!("server {id} still serves what its leader has not");
            self.fails("who diverges gets its leader's tree", what);
        }
    }

    // ---- directories

    fn saves_epochs(&mut self, server: usize, epoch: i64) {
        for name in ["acceptedEpoch", "currentEpoch"] {
            let path = format!("/data/version-2/{name}");
            self.servers[server].disk.files.put(&path, epoch.to_string().as_bytes());
        }
    }

    /// A directory that begins with this snapshot, and goes on with so many transactions.
    fn put_strange(&mut self, server: usize, zxid: Zxid, count: u32) {
        let config = self.servers[server].config();
        let store = Store::new(node::store_options(&config));
        self.snapshot_strange(server, store, zxid);
        let appends = (1..=count).map(|n| {
            let zxid = Zxid::new(zxid.epoch(), n);
            let txn = Txn::CreateSession(TIMEOUT_MS);
            let entries = Entries::one(zxid, &logged(zxid, OpCode::CreateSession, txn).to_bytes());
            DiskAction::Append { ticket: Ticket(u64::from(n)), entries }
        });
        self.disk_does(server, appends.collect());
    }

    /// A snapshot of this and a node more.
    fn snapshot_strange(&mut self, server: usize, mut state: Store, zxid: Zxid) {
        let create = CreateTxn {
            path: STRANGE.into(),
            data: Some(Bytes::from_static(b"strange")),
            acl: AclList::OPEN,
            ephemeral: false,
            parent_cversion: -1,
        };
        state.apply(&logged(zxid, OpCode::Create, Txn::Create(create)), &mut Effects::default());
        let mut body = BytesMut::new();
        state.encode_snapshot(&mut body);
        let digest = state.digest_enabled().then(|| (zxid, state.digest()));
        let end = DiskAction::SnapshotEnd { ticket: Ticket(1), digest, last_zxid: zxid };
        let chunk = DiskAction::SnapshotChunk { bytes: body.freeze() };
        let begin = DiskAction::SnapshotBegin { zxid, from_leader: false };
        self.disk_does(server, vec![begin, chunk, end]);
    }

    fn recovers(&mut self, server: usize) -> Option<Store> {
        let events = self.disk_does(server, Vec::new());
        events.into_iter().find_map(|event| match event {
            DiskEvent::Recovered(recovered) => Some(recovered.state),
            _ => None,
        })
    }

    fn disk_does(&mut self, server: usize, actions: Vec<DiskAction>) -> Vec<DiskEvent<Store>> {
        let config = self.servers[server].config();
        let mut disk: Disk<Store> =
            Disk::new(node::disk_options(&config), node::store_options(&config));
        let (files, mut events) = (&mut self.servers[server].disk.files, Vec::new());
        disk::drive(&mut disk, &mut |op| files.execute(op), &mut events);
        actions.into_iter().for_each(|action| disk.submit(action));
        disk::drive(&mut disk, &mut |op| files.execute(op), &mut events);
        events
    }
}

fn logged(zxid: Zxid, op: OpCode, txn: Txn) -> LoggedTxn {
    let client = SessionId(0x5_7000_0000 + zxid.0);
    let header = TxnHeader { client, cxid: 0, zxid, time_ms: 1_767_225_600_000, op: op as i32 };
    LoggedTxn { header, txn, digest: None }
}
