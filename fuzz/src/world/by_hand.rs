//! A world that does only what it is told to: for protocol scripts.

use zabkeeper_core::client::Request;

use super::network::Host;
use super::{Happening, World};
use crate::check::Violation;
use crate::clients::{ActorOptions, Workload};
use crate::trace::story::Step;

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
        let how = if is_power_loss { "loses power" } else { "is killed" };
        self.tell_at(server, || String::from(how));
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

    /// Every operation of a server's disk takes this many times as long.
    pub fn slow_disk(&mut self, server: usize, factor: u64) {
        self.servers[server].disk.slow(factor);
    }

    /// A client that does only what it is told to connects, to this server first. Its index is
    /// returned.
    pub fn add_client(&mut self, server: usize, timeout_ms: i32) -> usize {
        let options = ActorOptions {
            servers: self.servers.len(),
            first_server: server,
            timeout_ms,
            pace_ms: 1,
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
