//! The leader's cleaner: it deletes containers that have lost their last child and nodes whose
//! TTL is over (`ContainerManager`).
//!
//! It makes rounds. In a round it looks at one such node after another, in the order of their
//! paths, and judges each as it will be once everything proposed is committed. A node that is
//! to go is proposed for deletion like any other change.

use alloc::vec::Vec;

use bytestring::ByteString;
use tracing::info;

use super::Node;
use super::leading::Leading;
use crate::action::Actions;
use crate::config::Config;
use crate::types::{Now, Time};

/// How many nodes a step looks at, so that other work is done between.
const NODES_PER_STEP: usize = 1000;
/// How many nodes a step deletes where their number per minute sets no pause.
const DELETES_PER_STEP: usize = 100;

/// Where the rounds are. One for each time of leading.
#[derive(Debug)]
pub(super) struct Reaper {
    /// From the beginning of a round to that of the next.
    interval_ms: u64,
    /// From one deletion to the next; none: nothing is deleted.
    pause_ms: Option<u64>,
    max_never_used_ms: i64,
    /// When the next round begins, at the earliest.
    next_round: Time,
    /// When the present round goes on, if there is one.
    goes_on: Option<Time>,
    /// The last path that the present round has looked at.
    at: ByteString,
}

impl Reaper {
    pub(super) fn new(now: Time, config: &Config) -> Reaper {
        Reaper {
            interval_ms: config.tree.reap_interval_ms,
            pause_ms: 60_000u64.checked_div(config.tree.reap_per_minute),
            max_never_used_ms: config.tree.reap_never_used_ms,
            next_round: now.plus_ms(config.tree.reap_interval_ms),
            goes_on: None,
            at: ByteString::new(),
        }
    }

    pub(super) fn deadline(&self) -> Time {
        self.goes_on.unwrap_or(self.next_round)
    }
}

impl Node {
    /// Goes on with the round, or begins the next one, if it is time.
    pub(super) fn reap(&mut self, now: Now, out: &mut Actions) {
        let serving = self.serving();
        let Some(Leading { reaper, .. }) = self.duty.leading() else { return };
        if now.mono < reaper.deadline() {
            return;
        }
        if reaper.goes_on.is_none() {
            reaper.next_round = now.mono.plus_ms(reaper.interval_ms);
            reaper.at = ByteString::new();
        }
        reaper.goes_on = None;
        // Until enough learners are in sync there is nobody to propose to.
        let Some(pause_ms) = reaper.pause_ms.filter(|_| serving) else { return };
        let most = if pause_ms == 0 { DELETES_PER_STEP } else { 1 };
        let (mut seen, mut last, mut due) = (0, None, Vec::new());
        for path in self.store.reapable_after(&reaper.at).take(NODES_PER_STEP) {
            (seen, last) = (seen + 1, Some(path));
            let max_never_used_ms = reaper.max_never_used_ms;
            if self.prep.is_reapable(&self.store, path, now.wall_ms, max_never_used_ms) {
                due.push(path.clone());
            }
            if due.len() == most {
                break;
            }
        }
        if let Some(last) = last.filter(|_| seen == NODES_PER_STEP || due.len() == most) {
            reaper.at = last.clone();
            reaper.goes_on = Some(now.mono.plus_ms(pause_ms.max(1)));
        }
        for path in due {
            let Some(zxid) = self.next_zxid(now, out) else { return };
            info!(%path, %zxid, "deleting a container or TTL node whose time is up");
            let prepared = self.prep.reap(&self.store, path, zxid, now.wall_ms);
            self.propose(prepared, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::format;
    use alloc::string::String;

    use bytes::Bytes;

    use super::*;
    use crate::action::{Action, DiskAction};
    use crate::config::Sources;
    use crate::event::{DiskEvent, Event, Recovered};
    use crate::store::{Effects, Store};
    use crate::types::{SessionId, Ticket, Zxid};
    use crate::wire::Record;
    use crate::wire::acl::AclList;
    use crate::wire::txn::{
        CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn, LoggedTxn, Txn, TxnHeader,
    };

    const BORN_MS: i64 = 1_700_000_000_000;

    fn container(path: &str) -> Txn {
        let data = Some(Bytes::new());
        let (path, acl, parent_cversion) = (path.into(), AclList::OPEN, -1);
        Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion })
    }
    fn ttl(path: &str, ttl: i64) -> Txn {
        let data = Some(Bytes::new());
        let (path, acl, parent_cversion) = (path.into(), AclList::OPEN, -1);
        Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl })
    }
    fn plain(path: &str) -> Txn {
        let data = Some(Bytes::new());
        let (path, acl, parent_cversion) = (path.into(), AclList::OPEN, -1);
        Txn::Create(CreateTxn { path, data, acl, ephemeral: false, parent_cversion })
    }
    fn gone(path: &str) -> Txn {
        Txn::Delete(DeleteTxn { path: path.into() })
    }

    /// A standalone server whose disk answers at once.
    struct Server {
        node: Node,
        now: Now,
        /// Deletions of the cleaner, with how many ms after the start they were proposed.
        reaped: Vec<(u64, String)>,
    }

    impl Server {
        fn new(flags: &str, txns: Vec<Txn>) -> Server {
            let setting = |flag: &str| flag.split_once('=').map(|(k, v)| (k.into(), v.into()));
            let sources = Sources {
                name: "zoo.cfg",
                text: "dataDir=/d\nclientPort=2181\nextendedTypesEnabled=true",
                flags: &flags.lines().filter_map(setting).collect::<Vec<_>>(),
                ..Sources::default()
            };
            let config = Config::read(&sources).unwrap().0;
            let now = Now { mono: Time(0), wall_ms: BORN_MS };
            let mut state = Store::new(super::super::store_options(&config));
            let mut zxid = Zxid::ZERO;
            for txn in txns {
                zxid = zxid.next();
                let op = txn.op() as i32;
                let header =
                    TxnHeader { client: SessionId(0), cxid: 0, zxid, time_ms: BORN_MS, op };
                let logged = LoggedTxn { header, txn, digest: None };
                state.apply(&logged, &mut Effects::default());
            }
            let mut server = Server { node: Node::new(config, 1, now), now, reaped: Vec::new() };
            server.step(Event::Disk(DiskEvent::Recovered(Box::new(Recovered {
                ticket: Ticket(0),
                state,
                last_zxid: zxid,
                tail: Vec::new(),
                current_epoch: 0,
                accepted_epoch: 0,
                snapshot_bytes: 0,
            }))));
            server
        }

        fn step(&mut self, event: Event<Store>) {
            let mut out = Actions::new();
            self.node.step(self.now, event, &mut out);
            for action in out {
                if let Action::Disk(DiskAction::Append { ticket, entries }) = action {
                    for entry in entries.each() {
                        match LoggedTxn::from_bytes(&entry.body).unwrap().txn {
                            Txn::DeleteContainer(txn) => {
                                self.reaped
                                    .push((self.now.mono.as_millis(), format!("{}", txn.path)));
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                    self.step(Event::Disk(DiskEvent::Persisted { upto: ticket }));
                }
            }
        }

        /// Lives until so many ms after the start.
        fn until(&mut self, ms: u64) {
            while let Some(next) = self.node.deadline().filter(|t| t.as_millis() <= ms) {
                let passed = next.ms_since(self.now.mono) as i64;
                self.now = Now { mono: next, wall_ms: self.now.wall_ms + passed };
                self.step(Event::Tick);
            }
        }

        fn reaped(&mut self) -> Vec<(u64, String)> {
            core::mem::take(&mut self.reaped)
        }
    }

    fn at(ms: u64, path: &str) -> (u64, String) {
        (ms, String::from(path))
    }

    #[test]
    fn rounds_begin_by_the_clock_and_deletions_are_paced() {
        let mut txns = Vec::from([plain("/plain"), container("/new"), container("/full")]);
        txns.push(plain("/full/child"));
        for path in ["/c", "/a", "/b"] {
            let child = format!("{path}/x");
            txns.extend([container(path), plain(&child), gone(&child)]);
        }
        txns.extend([ttl("/ttl", 70_000), ttl("/parent", 1), plain("/parent/child")]);
        let mut server = Server::new("znode.container.maxPerMinute=60", txns);
        server.until(59_999);
        assert_eq!(server.reaped(), []);
        server.until(119_000);
        assert_eq!(server.reaped(), [at(60_000, "/a"), at(61_000, "/b"), at(62_000, "/c")]);
        server.until(500_000);
        assert_eq!(server.reaped(), [at(120_000, "/ttl")]);
        for path in ["/plain", "/new", "/full/child", "/parent/child"] {
            assert!(server.node.store().node(path).is_some(), "{path}");
        }
    }

    #[test]
    fn a_container_that_nobody_used_goes_when_it_is_told_to() {
        let config = "znode.container.checkIntervalMs=1000\n\
                      znode.container.maxNeverUsedIntervalMs=2500";
        let mut server = Server::new(config, Vec::from([container("/c")]));
        server.until(10_000);
        assert_eq!(server.reaped(), [at(3000, "/c")]);
    }

    #[test]
    fn thousands_go_in_turns_and_none_where_none_may() {
        let txns = |n: usize| (0..n).map(|i| ttl(&format!("/t{i:05}"), 1)).collect();
        let config = "znode.container.checkIntervalMs=1000\nznode.container.maxPerMinute=";
        let mut server = Server::new(&format!("{config}100000"), txns(2500));
        server.until(1024);
        let reaped = server.reaped();
        assert_eq!(reaped.len(), 2500);
        assert!(reaped.is_sorted() && reaped[99].0 == 1000 && reaped[100].0 == 1001);
        let mut server = Server::new(&format!("{config}0"), txns(5));
        server.until(100_000);
        assert_eq!(server.reaped(), []);
    }

    #[test]
    fn a_long_row_of_nodes_to_keep_is_passed_in_steps() {
        let mut txns: Vec<Txn> = (0..2500).map(|i| container(&format!("/c{i:05}"))).collect();
        txns.push(ttl("/z", 1));
        let mut server = Server::new("znode.container.checkIntervalMs=1000", txns);
        server.until(1050);
        assert_eq!(server.reaped(), [at(1012, "/z")]);
    }
}
