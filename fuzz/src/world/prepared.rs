//! Directories of servers that have not started yet: written by the real disk machine, as if a
//! server had run before.

use bytes::BytesMut;
use zabkeeper_core::action::{DiskAction, EpochFile};
use zabkeeper_core::disk::{self, Disk};
use zabkeeper_core::event::DiskEvent;
use zabkeeper_core::node;
use zabkeeper_core::store::{Effects, Store};
use zabkeeper_core::types::{Epoch, SessionId, Ticket, Zxid};
use zabkeeper_core::wire::entries::{Entries, Entry};
use zabkeeper_core::wire::txn::{LoggedTxn, Txn, TxnHeader};
use zabkeeper_core::wire::{OpCode, Record};

use super::World;

/// Sessions that are in prepared logs do not end before this, ms.
const SESSION_MS: i32 = 86_400_000;

/// The sessions of longer logs are not in prepared snapshots.
const MOST_SESSIONS: u32 = 1000;

impl World {
    /// What the two epoch files say.
    ///
    /// # Errors
    /// What the disk says against it.
    pub fn prepare_epochs(
        &mut self,
        server: usize,
        current: i64,
        accepted: i64,
    ) -> Result<(), String> {
        let save = |ticket, file, epoch| DiskAction::SaveEpoch {
            ticket: Ticket(ticket),
            file,
            epoch: Epoch(epoch),
        };
        // Accepted first, as a server does.
        self.prepare(server, |_, _| {
            Ok(vec![save(1, EpochFile::Accepted, accepted), save(2, EpochFile::Current, current)])
        })
    }

    /// The log goes on with these transactions; each begins a session.
    ///
    /// # Errors
    /// What the disk says, or a checker.
    pub fn prepare_log(&mut self, server: usize, first: Zxid, last: Zxid) -> Result<(), String> {
        self.prepare(server, |world, _| {
            let mut actions = Vec::new();
            let mut zxid = first;
            while zxid <= last {
                let ticket = Ticket(actions.len() as u64 + 1);
                let entry = Entry { zxid, body: logged(zxid).to_bytes() };
                let checked = world.zab.appended(server, ticket, &entry);
                checked.map_err(|violation| violation.to_string())?;
                let entries = Entries::one(zxid, &entry.body);
                actions.push(DiskAction::Append { ticket, entries });
                zxid = zxid.next();
            }
            Ok(actions)
        })
    }

    /// A snapshot of what prepared logs come to at this zxid. A leader's takes the place of
    /// whatever there is; any other stands beside it, though the log may not reach up to it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn prepare_snapshot(
        &mut self,
        server: usize,
        zxid: Zxid,
        from_leader: bool,
    ) -> Result<(), String> {
        self.prepare(server, |world, mut store| {
            for counter in 1..=Some(zxid.counter()).filter(|n| *n <= MOST_SESSIONS).unwrap_or(0) {
                let logged = logged(Zxid::new(zxid.epoch(), counter));
                store.apply(&logged, &mut Effects::default());
            }
            store.set_last_zxid(zxid);
            let mut body = BytesMut::new();
            store.encode_snapshot(&mut body);
            let digest = store.digest_enabled().then(|| (zxid, store.digest()));
            if from_leader || !world.zab.reaches(server, zxid) {
                world.zab.installing(server, Ticket(1), zxid);
            }
            Ok(vec![
                DiskAction::SnapshotBegin { zxid, from_leader },
                DiskAction::SnapshotChunk { bytes: body.freeze() },
                DiskAction::SnapshotEnd { ticket: Ticket(1), digest, last_zxid: zxid },
            ])
        })
    }

    /// Opens a directory as a server does, and lets the disk machine do this.
    fn prepare(
        &mut self,
        server: usize,
        actions: impl FnOnce(&mut World, Store) -> Result<Vec<DiskAction>, String>,
    ) -> Result<(), String> {
        let config = self.servers[server].config();
        if self.servers[server].node().is_some() {
            return Err(format!("server {} runs", server + 1));
        }
        let mut disk: Disk<Store> =
            Disk::new(node::disk_options(&config), node::store_options(&config));
        let mut events = Vec::new();
        self.drive(server, &mut disk, &mut events)?;
        for action in actions(self, Store::new(node::store_options(&config)))? {
            disk.submit(action);
        }
        self.drive(server, &mut disk, &mut events)?;
        self.zab.died(server);
        Ok(())
    }

    fn drive(
        &mut self,
        server: usize,
        disk: &mut Disk<Store>,
        events: &mut Vec<DiskEvent<Store>>,
    ) -> Result<(), String> {
        let files = &mut self.servers[server].disk.files;
        disk::drive(disk, &mut |op| files.execute(op), events);
        for event in events.drain(..) {
            match event {
                DiskEvent::Recovered(recovered) => {
                    let last = recovered.last_zxid.max(Zxid::ZERO);
                    let checked = self.zab.recovered(server, last);
                    checked.map_err(|violation| violation.to_string())?;
                }
                DiskEvent::Persisted { upto } => self.zab.persisted(server, upto),
                DiskEvent::Failed(fault) => return Err(fault.what),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The transaction of this zxid in prepared logs, the same on every server: a session begins.
fn logged(zxid: Zxid) -> LoggedTxn {
    let header = TxnHeader {
        client: SessionId(zxid.0),
        cxid: 0,
        zxid,
        time_ms: 1_767_225_600_000,
        op: OpCode::CreateSession as i32,
    };
    LoggedTxn { header, txn: Txn::CreateSession(SESSION_MS), digest: None }
}
