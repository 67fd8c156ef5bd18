//! A whole ensemble with its network, disks, clocks and clients, in one thread.
//!
//! Time is a number that jumps to whatever comes next. Everything that happens is drawn from the
//! plan's seed, so that a run can be told again, step by step, from its number alone. The servers
//! are driven through the interface that the runtimes use, and no other.

mod actors;
mod aftermath;
mod agenda;
mod by_hand;
mod clock;
mod disk;
mod faults;
mod members;
mod network;
mod outcome;
mod prepared;
mod servers;
mod storm;
mod strangers;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use fastrand::Rng;
use zabkeeper_core::action::Actions;
use zabkeeper_core::event::DiskEvent;
use zabkeeper_core::quorum;
use zabkeeper_core::store::Store;
use zabkeeper_core::types::Time;
use zabkeeper_core::zab::Role;

use crate::check::wire::Wire;
use crate::check::zab::Zab;
use crate::check::{Violation, history::History};
use crate::plan::Plan;
use crate::record::Journal;
use crate::trace::Tap;
use crate::trace::story::{Step, What};
use actors::ActorHost;
use agenda::Agenda;
use faults::Lasting;
use network::{Arrival, End, Network, Place};
use servers::Server;
use strangers::Stranger;

pub use disk::{DiskSpeed, FailingOp};
pub use network::{Host, Weather};
pub use outcome::{Counters, Outcome};

/// A run in progress.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    now: Time,
    agenda: Agenda<Happening>,
    network: Network,
    servers: Vec<Server>,
    actors: Vec<ActorHost>,
    strangers: Vec<Stranger>,
    zab: Zab,
    wire: Wire,
    history: History,
    /// How much of what is committed the history was told.
    told: usize,
    /// What went wrong first.
    violation: Option<Violation>,
    counters: Counters,
    steps: u64,
    /// Faults that last.
    lasting: Vec<Lasting>,
    /// How many of them are not a fault of the plan's own.
    lasted: u64,
    /// Who starts only this many ms after somebody leads.
    late: Option<(usize, u64)>,
    /// Nothing more goes wrong.
    is_calm: bool,
    /// The run is over: what was promised in it is not any more.
    is_over: bool,
    rng: Rng,
    story: Option<Story>,
    /// One for each process so far, if they are kept.
    journals: Option<Vec<Journal>>,
    // Buffers that are used again.
    arrivals: Vec<(End, Arrival)>,
    out: Actions,
    events: Vec<DiskEvent<Store>>,
}

/// What happened so far, and what is heard on each connection.
#[derive(Debug, Default)]
struct Story {
    steps: Vec<Step>,
    taps: BTreeMap<u64, Tap>,
}

/// What is on the agenda.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A lane's next bytes are due.
    Lane { place: Place },
    /// A dial reaches the other side.
    Dial { link: u64 },
    /// And is known to have done so on this one.
    Accepted { link: u64 },
    /// A lane whose sender asked has room.
    Writable { place: Place },
    /// A server's deadline.
    Wake { server: usize, run: u32 },
    /// A server's disk operation is done.
    Disk { server: usize, run: u32 },
    /// A server's process goes on.
    Continue { server: usize },
    /// A server's process starts.
    Start { server: usize },
    /// A client's deadline.
    Actor { client: usize },
    /// A fault of the plan begins.
    Fault { index: usize },
    /// A leader that changes the members meets something.
    Ambush { server: usize },
    /// A fault that lasts ends.
    FaultEnds { lasting: u64 },
}

impl World {
    /// The world before anything happened.
    ///
    /// # Panics
    /// If the plan's configuration is not one.
    pub fn new(plan: Plan) -> World {
        let mut rng = Rng::with_seed(plan.seed);
        let electors = plan.ids().into_iter().take(plan.participants);
        let servers: Vec<Server> =
            (0..plan.servers()).map(|i| Server::new(&plan, i, rng.fork())).collect();
        let config = servers.first().map(Server::config);
        let verifier =
            config.as_ref().and_then(|config| config.ensemble.as_ref()).map(quorum::verifier);
        let mut history = History::default();
        if let Some(reconfig) = &plan.reconfig {
            history.expect_other_members(members::first(&plan), reconfig.must_vote());
        }
        World {
            wire: Wire::default(),
            zab: Zab::new(&plan.ids(), verifier, electors),
            network: Network::new(plan.weather, plan.jitters.clone(), rng.fork()),
            now: Time(0),
            agenda: Agenda::new(),
            servers,
            actors: Vec::new(),
            strangers: Vec::new(),
            history,
            told: 0,
            violation: None,
            counters: Counters::default(),
            steps: 0,
            lasting: Vec::new(),
            lasted: 0,
            late: None,
            is_calm: false,
            is_over: false,
            rng,
            story: None,
            journals: None,
            arrivals: Vec::new(),
            out: Actions::new(),
            events: Vec::new(),
            plan,
        }
    }

    /// Keeps what happens as text.
    pub fn with_story(mut self) -> World {
        self.story = Some(Story::default());
        self
    }

    /// What happened so far, if it is kept.
    pub fn story(&self) -> &[Step] {
        self.story.as_ref().map(|story| &story.steps[..]).unwrap_or_default()
    }

    /// Keeps a journal of each server's process.
    pub fn with_journals(mut self) -> World {
        self.journals = Some(Vec::new());
        self
    }

    /// The journals so far, if they are kept.
    pub fn take_journals(&mut self) -> Vec<Journal> {
        self.journals.take().unwrap_or_default()
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.steps.push(Step { at: self.now, what: What::Note(text()) });
        }
    }

    fn tell_at(&mut self, server: usize, text: impl FnOnce() -> String) {
        self.tell_of(Host::Server(server), text);
    }

    fn tell_of(&mut self, host: Host, text: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let what = What::At(host, text());
            story.steps.push(Step { at: self.now, what });
        }
    }

    /// A server is something else from now on (none: its process is gone).
    fn tell_turn(&mut self, server: usize, role: Option<Role>, text: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let what = What::Turns { host: Host::Server(server), role, text: text() };
            story.steps.push(Step { at: self.now, what });
        }
    }

    /// Tells what these bytes say that are sent from this end.
    fn tell_sent(&mut self, place: Place, bytes: &Bytes) {
        let Some(story) = &mut self.story else { return };
        let Some((port, from, to)) = self.network.ends(place) else { return };
        let tap = story.taps.entry(place.link).or_insert_with(|| Tap::new(port));
        for message in tap.push(place.side, bytes) {
            if !message.is_ping {
                let what = What::Sent { from, to, text: message.text };
                story.steps.push(Step { at: self.now, what });
            }
        }
    }

    fn check(&mut self, checked: Result<(), Violation>) {
        if let Err(violation) = checked
            && self.violation.is_none()
            && !self.is_over
        {
            self.tell(|| format!("*** {violation}"));
            self.violation = Some(violation);
        }
    }

    /// Lets happen what is due until then, or until something is wrong.
    fn run_until(&mut self, end: Time) {
        while self.violation.is_none() {
            let Some((at, happening)) = self.agenda.next() else { break };
            if at > end {
                self.agenda.note(at, happening);
                break;
            }
            self.now = self.now.max(at);
            self.steps += 1;
            self.happen(happening);
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Lane { place } => {
                let mut arrivals = std::mem::take(&mut self.arrivals);
                let receiver = self.network.host(Place { side: 1 - place.side, ..place });
                let is_powered = receiver.is_some_and(|host| self.is_powered(host));
                self.network.deliver(self.now, &mut self.agenda, place, is_powered, &mut arrivals);
                for (end, arrival) in arrivals.drain(..) {
                    self.arrived(end, arrival);
                }
                self.arrivals = arrivals;
                if self.network.host(place).is_none() {
                    self.wire.closed(place.link);
                }
            }
            Happening::Dial { link } => {
                let to = self.network.host(Place { link, side: 1 });
                let (is_up, is_powered) =
                    to.map_or((false, false), |host| (self.is_up(host), self.is_powered(host)));
                let dialled =
                    self.network.dialled(self.now, &mut self.agenda, link, is_up, is_powered);
                if let Some((Host::Server(server), arrival)) = dialled {
                    self.reach(server, None, arrival);
                }
            }
            Happening::Accepted { link } => {
                if let Some((end, arrival)) = self.network.accepted(link) {
                    self.arrived(end, arrival);
                }
            }
            Happening::Writable { place } => {
                if let Some(end) = self.network.end(place) {
                    self.arrived(end, Arrival::Writable);
                }
            }
            Happening::Wake { server, run } => self.wake(server, run),
            Happening::Disk { server, run } => self.disk_done(server, run),
            Happening::Continue { server } => self.go_on(server),
            Happening::Start { server } => self.start(server),
            Happening::Actor { client } => self.actor_wakes(client),
            Happening::Fault { index } => self.begin_fault(index),
            Happening::Ambush { server } => self.ambush(server),
            Happening::FaultEnds { lasting } => self.end_fault(lasting),
        }
    }

    fn arrived(&mut self, end: End, arrival: Arrival) {
        match end.host {
            Host::Server(server) => self.reach(server, Some(end.conn), arrival),
            Host::Client(client) => self.actor_reached(client, end.conn, arrival),
            Host::Stranger(stranger) => self.stranger_reached(stranger, arrival),
        }
    }
}

fn address(host: Host) -> SocketAddr {
    let (net, n) = match host {
        Host::Server(n) => (0, n),
        Host::Client(n) => (1, n),
        Host::Stranger(n) => (2, n),
    };
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, net, n as u8 + 1)), 40_000 + n as u16)
}
