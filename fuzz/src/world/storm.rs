//! The course of a run: a storm, in which nothing wrong may happen, and a calm, in which
//! everything right must.

use zabkeeper_core::types::Time;

use super::{Happening, Outcome, World};
use crate::check::Violation;

/// How often the calm is looked at, ms.
const LOOK_MS: u64 = 100;

impl World {
    /// Runs the plan.
    pub fn run(&mut self) -> Outcome {
        for server in 0..self.servers.len() {
            let mut at = Time(1000 * self.rng.u64(..3_000_000));
            if let Some(standby) =
                self.plan.standbys().get(server.wrapping_sub(self.plan.members()))
            {
                at = Time(0).plus_ms(standby.starts_ms);
            }
            self.agenda.note(at, Happening::Start { server });
        }
        for index in 0..self.plan.faults.len() {
            let at = Time(0).plus_ms(self.plan.faults[index].at_ms);
            self.agenda.note(at, Happening::Fault { index });
        }
        self.start_actors();
        self.run_until(Time(0).plus_ms(self.plan.stormy_ms));
        self.heal();
        let before = self.progress();
        let moved = |world: &World| world.all_serve() && world.all_moved(&before);
        self.calm("all servers serve, and every client goes on", moved);
        self.stop_actors();
        self.calm("every session ends, and all servers have the same state", World::is_at_rest);
        self.calm("in the end all know the same members", World::all_know_the_members);
        if self.violation.is_none() {
            let checked = self.history.finish();
            self.check(checked);
            self.count_dropped();
        }
        self.aftermath();
        self.outcome()
    }

    /// What has come of it so far.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            violation: self.violation.clone(),
            simulated_ms: self.now.as_millis(),
            steps: self.steps,
            committed: self.zab.committed().len(),
            counters: self.counters.clone(),
        }
    }

    /// Waits for what must come to pass.
    fn calm(&mut self, rule: &'static str, is_well: impl Fn(&World) -> bool) {
        let end = self.now.plus_ms(self.plan.calm_ms);
        while self.violation.is_none() && !is_well(self) {
            if self.now >= end {
                let what = format!("not within {} ms: {}", self.plan.calm_ms, self.state());
                return self.check(Err(Violation::liveness(rule, what)));
            }
            self.help_the_lost();
            self.run_until(self.now.plus_ms(LOOK_MS));
        }
    }

    fn all_serve(&self) -> bool {
        self.servers.iter().all(|server| server.serves().is_some())
    }

    /// Nobody has a session, nobody is behind.
    ///
    /// A new leader is at the beginning of its epoch as soon as it is established; its followers
    /// come there with the epoch's first transaction only.
    fn is_at_rest(&self) -> bool {
        let mut last = None;
        self.actors.iter().all(|host| host.is_done())
            && self.servers.iter().all(|server| {
                let (Some(zxid), Some(node)) = (server.serves(), server.node()) else {
                    return false;
                };
                let store = node.store();
                let is_level = zxid.counter() == 0 || *last.get_or_insert(zxid) == zxid;
                let is_level = is_level && store.digest() == self.digest_of_first();
                is_level && store.sessions().len() == 0 && store.ephemeral_count() == 0
            })
    }

    fn digest_of_first(&self) -> u64 {
        let first = self.servers.first().and_then(|server| server.node());
        first.map(|node| node.store().digest()).unwrap_or_default()
    }

    /// Who does what, in one line.
    fn state(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            text += &match server.node() {
                None => format!("server {} is down; ", server.id),
                Some(node) => format!(
                    "server {} is {:?} at {} with {} sessions; ",
                    server.id,
                    node.role(),
                    node.store().last_zxid(),
                    node.store().sessions().len()
                ),
            };
            if self.plan.reconfig.is_some() {
                text += &server.knows();
            }
        }
        for (i, host) in self.actors.iter().enumerate() {
            text += &format!("client {i} {}; ", host.state());
        }
        text
    }
}
