//! Clients on their machines: the way between an actor and the network.

use zabkeeper_core::types::{ConnId, Time};

use super::network::{Arrival, Host, Place};
use super::servers::CLIENT_PORT;
use super::{Happening, World};
use crate::clients::{Actor, ActorAction, ActorOptions, Workload};

/// A dial of a client ends in vain after this, ms.
const DIAL_LIMIT_MS: u64 = 3000;

/// One client's machine.
#[derive(Debug)]
pub(super) struct ActorHost {
    actor: Actor,
    link: Option<(ConnId, Place)>,
    dialled: u64,
    wake_at: Time,
}

impl ActorHost {
    pub(super) fn is_done(&self) -> bool {
        self.actor.is_done()
    }
    pub(super) fn state(&self) -> String {
        self.actor.state()
    }
}

impl World {
    pub(super) fn start_actors(&mut self) {
        if self.plan.is_quiet() {
            self.history.expect_quiet();
        }
        let is_on = |switch| {
            self.plan.settings.iter().any(|(key, value)| *key == switch && value == "true")
        };
        if is_on("extendedTypesEnabled") {
            self.history.expect_extended_types();
        }
        if is_on("enforceQuota") {
            self.history.expect_quotas();
        }
        let servers = self.servers.len();
        for (i, plan) in self.plan.clients.clone().into_iter().enumerate() {
            let options = ActorOptions {
                servers,
                first_server: self.rng.usize(..servers),
                timeout_ms: plan.timeout_ms,
                pace_ms: plan.pace_ms,
                restarts_xids: plan.restarts_xids,
            };
            debug_assert_eq!(i, self.actors.len());
            self.add_actor(plan.workload, options);
        }
    }

    pub(super) fn add_actor(&mut self, workload: Workload, options: ActorOptions) -> usize {
        let client = self.actors.len();
        let actor = Actor::new(client as u32, workload, options, self.rng.u64(..), self.now);
        let wake_at = Time::NEVER;
        self.actors.push(ActorHost { actor, link: None, dialled: 0, wake_at });
        self.with_actor(client, |actor, now, out, history| actor.tick(now, out, history));
        client
    }

    /// The members are what they are.
    pub(super) fn leave_members_alone(&mut self) {
        self.actors.iter_mut().for_each(|host| host.actor.be_content());
    }

    pub(super) fn stop_actors(&mut self) {
        for client in 0..self.actors.len() {
            self.with_actor(client, |actor, now, out, history| actor.stop(now, out, history));
        }
    }

    pub(super) fn move_actor(&mut self, client: usize) {
        if client < self.actors.len() {
            self.with_actor(client, |actor, now, out, history| {
                actor.reattach_elsewhere(now, out, history);
            });
        }
    }

    /// What each client has done.
    pub(super) fn progress(&self) -> Vec<u64> {
        self.actors.iter().map(|host| host.actor.progress()).collect()
    }

    /// Whether each has done more since.
    pub(super) fn all_moved(&self, before: &[u64]) -> bool {
        self.actors.iter().zip(before).all(|(host, before)| host.actor.progress() > *before)
    }

    pub(super) fn actor_reached(&mut self, client: usize, conn: ConnId, arrival: Arrival) {
        let host = &mut self.actors[client];
        if host.link.is_none_or(|(known, _)| known != conn) {
            return;
        }
        match arrival {
            Arrival::Opened { .. } => {
                self.with_actor(client, |actor, now, out, history| {
                    actor.connected(now, out, history);
                });
            }
            Arrival::Bytes(bytes) => {
                self.with_actor(client, |actor, now, out, history| {
                    actor.received(now, bytes, out, history);
                });
            }
            Arrival::Closed => {
                host.link = None;
                self.with_actor(client, |actor, now, out, history| {
                    actor.disconnected(now, out, history);
                });
            }
            Arrival::Writable | Arrival::Dialled { .. } => {}
        }
    }

    pub(super) fn actor_wakes(&mut self, client: usize) {
        let host = &mut self.actors[client];
        if host.wake_at > self.now {
            return;
        }
        host.wake_at = Time::NEVER;
        self.with_actor(client, |actor, now, out, history| actor.tick(now, out, history));
    }

    pub(super) fn with_actor(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut Actor, Time, &mut Vec<ActorAction>, &mut crate::check::history::History),
    ) {
        let mut out = Vec::new();
        act(&mut self.actors[client].actor, self.now, &mut out, &mut self.history);
        for action in out {
            let host = &mut self.actors[client];
            match action {
                ActorAction::Connect { server } => {
                    host.dialled += 1;
                    let conn = ConnId::dialled(host.dialled);
                    let place = self.network.dial(
                        self.now,
                        &mut self.agenda,
                        (Host::Client(client), conn),
                        (Host::Server(server), CLIENT_PORT),
                        DIAL_LIMIT_MS,
                    );
                    if let Some((_, old)) = host.link.replace((conn, place)) {
                        self.network.close(self.now, &mut self.agenda, old);
                    }
                }
                ActorAction::Send(bytes) => {
                    if let Some((_, place)) = host.link {
                        self.tell_sent(place, &bytes);
                        // A client that floods is the server's to hold back.
                        let _ = self.network.send(self.now, &mut self.agenda, place, bytes);
                    }
                }
                ActorAction::Disconnect => {
                    if let Some((_, place)) = host.link.take() {
                        self.network.close(self.now, &mut self.agenda, place);
                    }
                }
            }
        }
        let host = &mut self.actors[client];
        if let Some(at) = host.actor.deadline() {
            let at = at.max(Time(self.now.0 + 1));
            if at < host.wake_at {
                host.wake_at = at;
                self.agenda.note(at, Happening::Actor { client });
            }
        }
        let checked = self.history.take_violation();
        self.check(checked);
    }
}
