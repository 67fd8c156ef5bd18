//! A world that does only what it is told to: for protocol scripts.

use zabkeeper_core::client::Request;

use super::network::{Arrival, Host};
use super::{FailingOp, Happening, World};
use crate::check::Violation;
use crate::clients::{ActorOptions, Workload};
use crate::trace::story::Step;
use crate::trace::{self, Tap};

/// How long a sync that is let go is waited for, ms.
const SYNC_LIMIT_MS: u64 = 20;
/// Every sync of a script's disks is begun and waits after this, ms.
const SYNC_MS: u64 = 2;

impl World {
    /// The processes of these servers (by index) start now.
    pub fn start_servers(&mut self, servers: &[usize]) {
        for server in servers {
            self.agenda.note(self.now, Happening::Start { server: *server });
        }
        self.run_until(self.now);
    }

    /// A process ends; `is_power_loss`: with its machine, and what was not synced is lost.
    pub fn kill_server(&mut self, server: usize, is_power_loss: bool) {
        self.kill(server, is_power_loss);
    }

    /// Lets this much time pass, ms.
    pub fn run_for(&mut self, ms: u64) {
        self.run_until(self.now.plus_ms(ms));
    }

    /// Nothing passes from one server to the other any more.
    pub fn block_servers(&mut self, from: usize, to: usize) {
        self.network.block(Host::Server(from), Host::Server(to));
    }

    /// Everything passes again.
    pub fn unblock_servers(&mut self) {
        for from in 0..self.servers.len() {
            for to in 0..self.servers.len() {
                let (from, to) = (Host::Server(from), Host::Server(to));
                self.network.unblock(self.now, &mut self.agenda, from, to);
            }
        }
    }

    /// The connections between two servers break.
    pub fn cut_servers(&mut self, a: usize, b: usize) {
        self.network.cut(self.now, &mut self.agenda, Host::Server(a), Host::Server(b));
    }

    /// What a server sends to another waits until it is delivered.
    pub fn hold_servers(&mut self, from: usize, to: usize) {
        self.network.hold(Host::Server(from), Host::Server(to));
    }

    /// It waits no longer.
    pub fn release_servers(&mut self, from: usize, to: usize) {
        let (from, to) = (Host::Server(from), Host::Server(to));
        self.network.release(self.now, &mut self.agenda, from, to);
    }

    /// Delivers the first message that waits, with the pings before it; false if none does.
    pub fn deliver_message(&mut self, from: usize, to: usize) -> bool {
        let (from, to) = (Host::Server(from), Host::Server(to));
        while let Some((place, port, end, bytes)) =
            self.network.take_held(from, to, trace::first_message)
        {
            let heard = Tap::new(port).push(place.side, &bytes);
            let text = heard.iter().find(|message| !message.is_ping).map(|m| m.text.clone());
            if let Some(text) = &text {
                self.tell_of(to, || format!("gets {text}"));
            }
            self.arrived(end, Arrival::Bytes(bytes));
            if text.is_some() {
                self.run_until(self.now);
                return true;
            }
        }
        false
    }

    /// No sync of a server's disk is over any more: nothing becomes durable.
    pub fn hold_disk(&mut self, server: usize) {
        self.servers[server].disk.hold(true);
    }

    /// The sync that waits, or will within a while, is over; the next one waits. False
    /// if there is none.
    pub fn sync_disk(&mut self, server: usize) -> bool {
        for _ in 0..SYNC_LIMIT_MS {
            if self.servers[server].disk.is_waiting() {
                self.disk_goes_on(server);
                // All that can be done before the next sync is done.
                self.run_for(SYNC_MS);
                return true;
            }
            self.run_for(1);
        }
        false
    }

    /// Syncs go on as always.
    pub fn release_disk(&mut self, server: usize) {
        self.servers[server].disk.hold(false);
        self.disk_goes_on(server);
        self.run_until(self.now);
    }

    /// The next such operation of a server's disk fails.
    pub fn fail_disk(&mut self, server: usize, op: FailingOp) {
        self.servers[server].disk.fail(Some(op));
        self.servers[server].is_excused = true;
    }

    /// A machine loses power. Of each file just so many bytes of the first write that was not
    /// synced are there, and nothing of what came after.
    pub fn power_off_torn(&mut self, server: usize, bytes: usize) {
        self.servers[server].disk.will_tear(bytes);
        self.kill_server(server, true);
    }

    /// What is in a server's directory; with their content, the two epochs.
    pub fn files(&self, server: usize) -> Vec<String> {
        let files = &self.servers[server].disk.files;
        let line = |path: &str| {
            let name = path.rsplit('/').next().unwrap_or_default();
            match files.get(path) {
                Some(content) if name.ends_with("Epoch") => {
                    format!("{name}: {}", String::from_utf8_lossy(content).trim())
                }
                _ => String::from(name),
            }
        };
        files.paths().map(line).collect()
    }

    /// Every operation of a server's disk takes this many times as long.
    pub fn slow_disk(&mut self, server: usize, factor: u64) {
        self.servers[server].disk.slow(factor);
    }

    /// A client that does only what it is told to connects, to this server first; `restarts_xids`:
    /// it numbers its requests from 1 on each connection. Its index is returned.
    pub fn add_client(&mut self, server: usize, timeout_ms: i32, restarts_xids: bool) -> usize {
        let options = ActorOptions {
            servers: self.servers.len(),
            first_server: server,
            timeout_ms,
            pace_ms: 1,
            restarts_xids,
        };
        self.add_actor(Workload::Told, options)
    }

    /// A client asks for something.
    pub fn ask(&mut self, client: usize, request: &Request) {
        self.with_actor(client, |actor, now, out, history| actor.ask(now, request, out, history));
    }

    /// A client ends its session.
    pub fn close_client(&mut self, client: usize) {
        self.with_actor(client, |actor, now, out, history| actor.stop(now, out, history));
    }

    /// A client's machine is gone: nothing passes any more.
    pub fn lose_client(&mut self, client: usize) {
        for server in 0..self.servers.len() {
            self.network.block(Host::Client(client), Host::Server(server));
            self.network.block(Host::Server(server), Host::Client(client));
        }
    }

    /// A client goes to the next server with its session.
    pub fn move_client(&mut self, client: usize) {
        self.move_actor(client);
    }

    /// What has happened since this was asked last.
    pub fn take_story(&mut self) -> Vec<Step> {
        self.story.as_mut().map(|story| std::mem::take(&mut story.steps)).unwrap_or_default()
    }

    /// Who is what, a line a server.
    pub fn roles(&self) -> Vec<String> {
        let role = |server: &super::Server| match server.node() {
            None => format!("{} is down", server.id),
            Some(node) => {
                format!("{} is {:?} at {}", server.id, node.role(), node.store().last_zxid())
            }
        };
        self.servers.iter().map(role).collect()
    }

    /// What went wrong, if anything did.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }
}
