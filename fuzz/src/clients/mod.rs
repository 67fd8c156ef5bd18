//! Simulated clients: the core's own client with a workload on top.

mod operator;
mod workloads;

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use zabkeeper_core::client::{Client, ClientEvent, ClientOptions, Ended, Failure, Request};
use zabkeeper_core::types::{SessionId, Time};

use crate::check::history::{ClientId, History};
use workloads::{Step, Worker};

pub use operator::{SUPER_DIGEST, line as member_line};
pub use workloads::Workload;

/// A client waits this long when all servers were tried in vain, ms.
const PAUSE_MS: u64 = 200;

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct ActorOptions {
    /// How many servers there are.
    pub servers: usize,
    /// The one it begins with.
    pub first_server: usize,
    /// The session time-out it asks for, ms.
    pub timeout_ms: i32,
    /// How long it thinks between two things, on average, ms.
    pub pace_ms: u64,
    /// Whether it numbers its requests from 1 on each connection.
    pub restarts_xids: bool,
}

/// What a client's machine is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActorAction {
    /// Dial this server; whatever was connected or dialled before is dropped.
    Connect {
        /// By index.
        server: usize,
    },
    /// Send these bytes.
    Send(Bytes),
    /// Drop the connection, or the dialling.
    Disconnect,
}

/// Whether the client hung up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parting {
    No,
    /// Its session goes on.
    OfItsOwn,
    /// There is no session any more.
    AtTheEnd,
}

/// One client: one session after another.
#[derive(Debug)]
pub struct Actor {
    id: u32,
    /// How many sessions it had.
    life: u32,
    client: Client,
    options: ActorOptions,
    worker: Worker,
    depth: usize,
    rng: Rng,
    /// What is asked and not answered.
    asked: BTreeMap<i32, Request>,
    next_at: Time,
    is_attached: bool,
    is_stopping: bool,
    is_done: bool,
    completed: u64,
}

impl Actor {
    /// Asks for a connection at its first tick.
    pub fn new(id: u32, workload: Workload, options: ActorOptions, seed: u64, now: Time) -> Actor {
        let mut rng = Rng::with_seed(seed);
        Actor {
            id,
            life: 0,
            client: client(workload, &options, options.first_server, now),
            worker: Worker::new(workload, options.servers),
            options,
            depth: workload.depth(&mut rng),
            rng,
            asked: BTreeMap::new(),
            next_at: now,
            is_attached: false,
            is_stopping: false,
            is_done: false,
            completed: 0,
        }
    }

    /// The dialled connection is up.
    pub fn connected(&mut self, now: Time, out: &mut Vec<ActorAction>, history: &mut History) {
        self.client.connected(now);
        self.settle(now, out, history);
    }

    /// The connection is gone, or could not be made.
    pub fn disconnected(&mut self, now: Time, out: &mut Vec<ActorAction>, history: &mut History) {
        self.client.disconnected(now);
        self.settle(now, out, history);
    }

    /// Bytes arrived.
    pub fn received(
        &mut self,
        now: Time,
        bytes: Bytes,
        out: &mut Vec<ActorAction>,
        history: &mut History,
    ) {
        let name = self.name();
        self.client.received(now, bytes);
        if self.settle(now, out, history) == Parting::OfItsOwn {
            history.broken(name, "it was sent what it cannot understand, and has hung up");
        }
    }

    /// A deadline has come, or may have.
    pub fn tick(&mut self, now: Time, out: &mut Vec<ActorAction>, history: &mut History) {
        self.client.tick(now);
        if self.may_ask() && self.next_at <= now {
            self.act(now, out, history);
            self.next_at = now.plus_ms(self.rng.u64(0..=2 * self.options.pace_ms));
        }
        self.settle(now, out, history);
    }

    /// When [`Actor::tick`] has work.
    pub fn deadline(&self) -> Option<Time> {
        let own = self.may_ask().then_some(self.next_at);
        [own, self.client.deadline()].into_iter().flatten().min()
    }

    /// Asks for nothing more, and ends its session.
    pub fn stop(&mut self, now: Time, out: &mut Vec<ActorAction>, history: &mut History) {
        self.is_stopping = true;
        self.close(now, history);
        self.settle(now, out, history);
    }

    /// From now on the members stay as they are, if it is for this client to say.
    pub fn be_content(&mut self) {
        self.worker.be_content();
    }

    /// Leaves its server for another one, with its session.
    pub fn reattach_elsewhere(
        &mut self,
        now: Time,
        out: &mut Vec<ActorAction>,
        history: &mut History,
    ) {
        if self.is_attached {
            out.push(ActorAction::Disconnect);
            self.client.disconnected(now);
            self.settle(now, out, history);
        }
    }

    /// Asks for this, whatever its workload says.
    pub fn ask(
        &mut self,
        now: Time,
        request: &Request,
        out: &mut Vec<ActorAction>,
        history: &mut History,
    ) {
        self.submit(now, request, history);
        self.settle(now, out, history);
    }

    /// What it was answered so far.
    pub fn progress(&self) -> u64 {
        self.completed
    }

    /// It was stopped, and its session is over.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// What it does, for a message.
    pub fn state(&self) -> String {
        format!(
            "has done {}, {}, waits for {} answers in life {}: {:?}",
            self.completed,
            if self.is_attached { "is attached" } else { "is not attached" },
            self.asked.len(),
            self.life,
            self.worker
        )
    }

    fn name(&self) -> ClientId {
        (self.id, self.life)
    }

    fn may_ask(&self) -> bool {
        self.is_attached && !self.is_stopping && self.asked.len() < self.depth
    }

    fn submit(&mut self, now: Time, request: &Request, history: &mut History) {
        if let Ok(xid) = self.client.submit(now, request) {
            history.asked(self.name(), xid, request.clone());
            self.asked.insert(xid, request.clone());
        }
    }

    fn act(&mut self, now: Time, out: &mut Vec<ActorAction>, history: &mut History) {
        match self.worker.next(&mut self.rng) {
            Step::Wait => self.completed += 1,
            Step::Ask(request) => self.submit(now, &request, history),
            Step::Close => self.close(now, history),
            Step::Move => self.reattach_elsewhere(now, out, history),
            Step::Vanish => {
                out.push(ActorAction::Disconnect);
                history.ended(self.name(), None);
                self.begin_anew(now);
            }
        }
    }

    fn close(&mut self, now: Time, history: &mut History) {
        history.closing(self.name());
        self.client.close(now);
    }

    fn begin_anew(&mut self, now: Time) {
        self.life += 1;
        self.asked.clear();
        self.worker.restart();
        self.is_attached = false;
        let first = self.rng.usize(..self.options.servers);
        self.client = client(self.worker.workload(), &self.options, first, now);
    }

    fn settle(&mut self, now: Time, out: &mut Vec<ActorAction>, history: &mut History) -> Parting {
        let mut parting = Parting::No;
        loop {
            if let Some(bytes) = self.client.take_output() {
                out.push(ActorAction::Send(bytes));
            }
            let Some(event) = self.client.next_event() else { return parting };
            match event {
                ClientEvent::Connect { server } => out.push(ActorAction::Connect { server }),
                ClientEvent::Disconnect => {
                    out.push(ActorAction::Disconnect);
                    parting = Parting::OfItsOwn;
                }
                ClientEvent::Attached { session, .. } => {
                    self.is_attached = true;
                    history.attached(self.name(), session);
                    debug_assert_ne!(session, SessionId(0));
                }
                ClientEvent::Detached => {
                    self.is_attached = false;
                    history.detached(self.name());
                }
                ClientEvent::Reply { xid, zxid, result } => {
                    history.answered(self.name(), xid, zxid, &result);
                    if let Some(request) = self.asked.remove(&xid) {
                        self.worker.answered(&request, &result);
                        let is_answered = !matches!(result, Err(Failure::ConnectionLost));
                        self.completed += u64::from(is_answered);
                    }
                }
                ClientEvent::Watch { kind, path, zxid } => {
                    history.fired(self.name(), kind, &path, zxid);
                    self.worker.fired(kind, &path);
                }
                ClientEvent::Ended(why) => {
                    self.ended(now, why, history);
                    parting = Parting::AtTheEnd;
                }
            }
        }
    }

    fn ended(&mut self, now: Time, why: Ended, history: &mut History) {
        self.is_attached = false;
        history.ended(self.name(), Some(why));
        // A close that was lost leaves the session to expire.
        self.is_done = self.is_stopping;
        if !self.is_done {
            self.begin_anew(now);
        }
    }
}

fn client(workload: Workload, options: &ActorOptions, first_server: usize, now: Time) -> Client {
    let options = ClientOptions {
        servers: options.servers,
        first_server,
        timeout_ms: options.timeout_ms,
        pause_ms: PAUSE_MS,
        restarts_xids: options.restarts_xids,
        ..ClientOptions::default()
    };
    let mut client = Client::new(options, now);
    if let Workload::Operator { .. } = workload {
        client.add_auth(now, "digest", Bytes::from_static(operator::AUTH));
    }
    client
}
