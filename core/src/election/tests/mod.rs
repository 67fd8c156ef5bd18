//! Stories of elections, told over an in-memory network.

mod links;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::hello::Hello;
use super::*;
use crate::action::Action;
use crate::config::{LearnerType, Member, ServerAddress};
use crate::types::HostPort;

/// The address of a connection that no member opened.
const ELSEWHERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));

/// Several servers and the connections among them; virtual time.
struct World {
    servers: BTreeMap<i64, Election>,
    credentials: BTreeMap<i64, (Zxid, Epoch)>,
    /// Accepts once more, and is gone.
    dying: Option<i64>,
    /// The two ends of every connection: (server, its name for it).
    wires: BTreeMap<(i64, ConnId), (i64, ConnId)>,
    queue: VecDeque<(i64, Action)>,
    now: Time,
    accepted: u64,
    results: BTreeMap<i64, i64>,
    random: fastrand::Rng,
    shuffle: bool,
}

fn member(id: i64, role: LearnerType) -> Member {
    let host = format!("s{id}");
    let address =
        ServerAddress { quorum: HostPort::new(&host, 2888), election: HostPort::new(&host, 3888) };
    Member { addresses: alloc::vec![address], role, client: None }
}

impl World {
    fn new(voters: i64, observers: &[i64]) -> World {
        let mut config = EnsembleConfig::default();
        for id in 1..=voters {
            config.members.insert(ServerId(id), member(id, LearnerType::Participant));
        }
        for id in observers {
            config.members.insert(ServerId(*id), member(*id, LearnerType::Observer));
        }
        let config = Arc::new(config);
        let ids = config.members.keys().map(|id| id.0);
        let options = ElectionOptions::default();
        World {
            servers: ids
                .map(|id| (id, Election::new(ServerId(id), config.clone(), options)))
                .collect(),
            credentials: BTreeMap::new(),
            dying: None,
            wires: BTreeMap::new(),
            queue: VecDeque::new(),
            now: Time(0),
            accepted: 0,
            results: BTreeMap::new(),
            random: fastrand::Rng::with_seed(1),
            shuffle: false,
        }
    }

    /// Starts (or restarts the election of) a server with a zxid in an epoch.
    fn look(&mut self, id: i64, epoch: i64, counter: u32) -> &mut World {
        self.results.remove(&id);
        let zxid = Zxid::new(Epoch(epoch), counter);
        self.credentials.insert(id, (zxid, Epoch(epoch)));
        let mut out = Vec::new();
        let now = self.now;
        self.servers.get_mut(&id).unwrap().look(now, zxid, Epoch(epoch), true, &mut out);
        self.queue.extend(out.into_iter().map(|a| (id, a)));
        self
    }

    /// The server's process is gone, its connections break.
    fn kill(&mut self, id: i64) -> &mut World {
        self.credentials.remove(&id);
        self.results.remove(&id);
        let ends: Vec<_> = self.wires.iter().map(|(a, b)| (*a, *b)).collect();
        for ((a, conn_a), (b, _)) in ends {
            if a == id || b == id {
                self.wires.remove(&(a, conn_a));
                if a != id {
                    self.break_end(a, conn_a);
                }
            }
        }
        let config = self.servers[&id].members.committed().clone();
        self.servers.insert(id, Election::new(ServerId(id), config, ElectionOptions::default()));
        self
    }

    fn alive(&self, id: i64) -> bool {
        self.credentials.contains_key(&id)
    }

    fn perform(&mut self, from: i64, action: Action) {
        let mut out = Vec::new();
        let now = self.now;
        match action {
            Action::Dial { conn, to, .. } => {
                let target: i64 = to.host.rsplit(['s', '.']).next().unwrap().parse().unwrap();
                if self.dying.take_if(|id| *id == target).is_some() {
                    self.servers.get_mut(&from).unwrap().opened(now, conn, ELSEWHERE, &mut out);
                    return self.break_end(from, conn);
                }
                if !self.alive(target) {
                    return self.break_end(from, conn);
                }
                self.accepted += 1;
                let other = ConnId::accepted(self.accepted);
                self.wires.insert((from, conn), (target, other));
                self.wires.insert((target, other), (from, conn));
                let ip = IpAddr::from([10, 0, 0, from as u8]);
                self.servers.get_mut(&target).unwrap().opened(now, other, ip, &mut out);
                self.queue.extend(out.drain(..).map(|a| (target, a)));
                self.servers.get_mut(&from).unwrap().opened(now, conn, ELSEWHERE, &mut out);
                self.queue.extend(out.into_iter().map(|a| (from, a)));
            }
            Action::Send { conn, bytes } => {
                let Some((to, other)) = self.wires.get(&(from, conn)).copied() else { return };
                let server = self.servers.get_mut(&to).unwrap();
                let outcome = server.received(now, other, &bytes, &mut out);
                self.note(to, outcome);
                self.queue.extend(out.into_iter().map(|a| (to, a)));
            }
            Action::Close { conn, .. } => {
                if let Some((to, other)) = self.wires.remove(&(from, conn)) {
                    self.wires.remove(&(to, other));
                    self.break_end(to, other);
                }
            }
            other => panic!("an election does not ask for {other:?}"),
        }
    }

    fn note(&mut self, id: i64, outcome: Option<Outcome>) {
        if let Some(Outcome::Elected(leader)) = outcome {
            self.results.insert(id, leader.0);
        }
    }

    /// Takes the next action; with `shuffle`, any whose lane allows it.
    fn next_action(&mut self) -> Option<(i64, Action)> {
        if !self.shuffle || self.queue.is_empty() {
            return self.queue.pop_front();
        }
        let pick = self.random.usize(..self.queue.len());
        let lane = |(id, action): &(i64, Action)| match action {
            Action::Send { conn, .. } | Action::Close { conn, .. } | Action::Dial { conn, .. } => {
                (*id, *conn)
            }
            other => panic!("{other:?}"),
        };
        let wanted = lane(&self.queue[pick]);
        let first = self.queue.iter().position(|entry| lane(entry) == wanted);
        self.queue.remove(first.unwrap_or(0))
    }

    /// Lets `ms` pass and everything be delivered.
    fn run(&mut self, ms: u64) -> &mut World {
        let end = self.now.plus_ms(ms);
        loop {
            while let Some((from, action)) = self.next_action() {
                if self.alive(from) {
                    self.perform(from, action);
                }
            }
            let alive: Vec<i64> = self.credentials.keys().copied().collect();
            let next = alive.iter().filter_map(|id| self.servers[id].deadline()).min();
            let Some(next) = next.filter(|t| *t <= end) else { break };
            self.now = next.max(self.now);
            let now = self.now;
            for id in alive {
                let mut out = Vec::new();
                let outcome = self.servers.get_mut(&id).unwrap().tick(now, &mut out);
                self.note(id, outcome);
                self.queue.extend(out.into_iter().map(|a| (id, a)));
            }
        }
        self.now = end;
        self
    }

    /// One connection breaks; both ends see it.
    fn break_one(&mut self) {
        let dialled: Vec<_> = self.wires.keys().filter(|(_, c)| c.is_dialled()).copied().collect();
        if dialled.is_empty() {
            return;
        }
        let end = dialled[self.random.usize(..dialled.len())];
        let other = self.wires.remove(&end).unwrap();
        self.wires.remove(&other);
        for (id, conn) in [end, other] {
            self.break_end(id, conn);
        }
    }

    fn break_end(&mut self, id: i64, conn: ConnId) {
        let mut out = Vec::new();
        let outcome = self.servers.get_mut(&id).unwrap().closed(self.now, conn, &mut out);
        self.note(id, outcome);
        self.queue.extend(out.into_iter().map(|a| (id, a)));
    }

    /// "1→3 2→3": who has settled on whom.
    fn outcome(&self) -> String {
        let all: Vec<_> = self.results.iter().map(|(id, l)| format!("{id}→{l}")).collect();
        all.join(" ")
    }
}

#[test]
fn five_servers_start_one_by_one_the_third_makes_the_quorum_and_wins() {
    let mut world = World::new(5, &[]);
    world.look(1, 0, 0).run(3000);
    assert_eq!(world.outcome(), "");
    world.look(2, 0, 0).run(3000);
    assert_eq!(world.outcome(), "", "two of five are no quorum");
    world.look(3, 0, 0).run(3000);
    assert_eq!(world.outcome(), "1→3 2→3 3→3");
    world.look(4, 0, 0).run(3000);
    world.look(5, 0, 0).run(3000);
    assert_eq!(world.outcome(), "1→3 2→3 3→3 4→3 5→3", "the later two follow");
}

#[test]
fn of_zxids_8_8_8_7_7_without_3_and_5_the_second_wins() {
    let mut world = World::new(5, &[]);
    for (id, zxid) in [(1, 8), (2, 8), (3, 8), (4, 7), (5, 7)] {
        world.look(id, 1, zxid);
    }
    world.run(3000);
    assert_eq!(world.outcome(), "1→3 2→3 3→3 4→3 5→3");
    world.kill(3).kill(5);
    for (id, zxid) in [(1, 8), (2, 8), (4, 7)] {
        world.look(id, 1, zxid);
    }
    world.run(3000);
    assert_eq!(world.outcome(), "1→2 2→2 4→2");
}

#[test]
fn epoch_beats_zxid_beats_id() {
    let mut world = World::new(3, &[]);
    world.look(1, 2, 1).look(2, 1, 900).look(3, 1, 900).run(3000);
    assert_eq!(world.outcome(), "1→1 2→1 3→1", "the epoch decides");
    let mut world = World::new(3, &[]);
    world.look(1, 1, 900).look(2, 1, 901).look(3, 1, 5).run(3000);
    assert_eq!(world.outcome(), "1→2 2→2 3→2", "the zxid decides");
    let mut world = World::new(3, &[]);
    world.look(1, 1, 7).look(2, 1, 7).look(3, 1, 7).run(3000);
    assert_eq!(world.outcome(), "1→3 2→3 3→3", "the id decides");
}

#[test]
fn a_late_server_joins_the_leader_that_is_there_even_with_a_better_zxid() {
    let mut world = World::new(3, &[]);
    world.look(1, 1, 5).look(2, 1, 5).run(3000);
    assert_eq!(world.outcome(), "1→2 2→2");
    // The established epoch is told to joiners.
    for id in [1, 2] {
        world.servers.get_mut(&id).unwrap().update_epoch(Epoch(2));
    }
    world.look(3, 1, 900).run(3000);
    assert_eq!(world.outcome(), "1→2 2→2 3→2");
    assert_eq!(world.servers[&3].current_vote().state, PeerState::Following);
}

#[test]
fn a_server_whose_clock_is_behind_adopts_the_round() {
    let mut world = World::new(3, &[]);
    for _ in 0..4 {
        world.look(1, 1, 1).run(50);
    }
    world.look(2, 1, 1).look(3, 1, 1).run(5000);
    assert_eq!(world.outcome(), "1→3 2→3 3→3");
    assert_eq!(world.servers[&3].current_vote().round, 4);
}

#[test]
fn a_voter_to_be_that_does_not_know_it_is_heard_when_its_round_is_ahead() {
    let mut world = World::new(2, &[]);
    let both = world.servers[&1].members.committed().clone();
    let mut alone = (*both).clone();
    alone.members.remove(&ServerId(2));
    let (alone, next) = (Arc::new(alone), EnsembleConfig { version: 7, ..(*both).clone() });
    let joint = Membership::new(alone.clone(), Some(Arc::new(next)));
    world.servers.get_mut(&1).unwrap().set_members(Arc::new(joint));
    world.servers.get_mut(&2).unwrap().set_members(Arc::new(Membership::new(alone, None)));
    world.look(2, 1, 3).look(2, 1, 3).look(1, 1, 5).run(5_000);
    assert_eq!(world.outcome(), "1→1 2→1");
}

#[test]
fn a_voter_to_be_leads_once_who_was_elected_knew_less() {
    for (own, known_to_2, expected) in
        [(6, true, "1→2 2→2"), (5, true, "1→1 2→1"), (6, false, "1→1 2→1")]
    {
        let mut world = World::new(2, &[]);
        let both = world.servers[&1].members.committed().clone();
        let mut alone = (*both).clone();
        alone.members.remove(&ServerId(2));
        let (alone, next) = (Arc::new(alone), EnsembleConfig { version: 7, ..(*both).clone() });
        for (id, knows) in [(1, true), (2, known_to_2)] {
            let next = knows.then(|| Arc::new(next.clone()));
            let members = Arc::new(Membership::new(alone.clone(), next));
            world.servers.get_mut(&id).unwrap().set_members(members);
        }
        world.look(2, 1, own).look(1, 1, 5).run(5_000);
        assert_eq!(world.outcome(), "1→1 2→1", "it does not ask for it");
        // Nothing comes of that: server 1 turns away who knows more than it does.
        world.look(2, 1, own).look(1, 1, 5).run(5_000);
        assert_eq!(world.outcome(), expected, "{own} {known_to_2}");
    }
}

#[test]
fn fallback_candidate_without_answers_withdraws() {
    let mut world = World::new(3, &[]);
    let all = world.servers[&1].members.committed().clone();
    let mut two = (*all).clone();
    two.members.remove(&ServerId(3));
    let (two, next) = (Arc::new(two), EnsembleConfig { version: 7, ..(*all).clone() });
    for id in 1..=3 {
        // Server 1 does not know that server 3 is to have a vote.
        let next = (id != 1).then(|| Arc::new(next.clone()));
        world
            .servers
            .get_mut(&id)
            .unwrap()
            .set_members(Arc::new(Membership::new(two.clone(), next)));
    }
    world.look(3, 1, 6).look(2, 1, 5).look(1, 1, 5).run(5_000);
    assert_eq!(world.outcome(), "1→2 2→2 3→2");
    world.look(3, 1, 6).look(2, 1, 5).look(1, 1, 5).run(2_000);
    assert_eq!(world.outcome(), "1→2", "server 2 takes server 3 for the better one");
    // Nobody leads, so that server 1 looks again.
    world.run(10_000).look(1, 1, 5).run(60_000);
    assert_eq!(world.outcome(), "1→2 2→2 3→2");
}

#[test]
fn a_voter_that_settled_before_the_new_epoch_counts_with_one_that_settled_after() {
    let mut world = World::new(3, &[]);
    world.look(1, 1, 5).look(2, 1, 5).run(3000);
    // The leader has begun its epoch, the follower does not know yet; number 3 looks in the
    // same round.
    world.servers.get_mut(&2).unwrap().update_epoch(Epoch(2));
    world.look(3, 1, 5);
    // Nobody changes what a looking server proposes.
    world.servers.get_mut(&3).unwrap().update_epoch(Epoch(7));
    assert_eq!(world.servers[&3].current_vote().peer_epoch, Epoch(1));
    world.run(3000);
    assert_eq!(world.outcome(), "1→2 2→2 3→2");
}

#[test]
fn a_candidate_without_weight_never_wins() {
    let mut world = World::new(4, &[]);
    let mut config = (**world.servers[&1].members.committed()).clone();
    for (id, weight) in [(1, 1), (2, 1), (3, 1), (4, 0)] {
        config.groups.insert(ServerId(id), 1);
        config.weights.insert(ServerId(id), weight);
    }
    let config = Arc::new(config);
    for (id, server) in &mut world.servers {
        *server = Election::new(ServerId(*id), config.clone(), ElectionOptions::default());
    }
    world.look(4, 9, 900).look(1, 1, 3).look(2, 1, 2).look(3, 1, 1).run(5000);
    assert_eq!(world.outcome(), "1→1 2→1 3→1 4→1");
}

#[test]
fn a_server_that_has_not_begun_stays_silent() {
    let mut world = World::new(3, &[]);
    world.look(1, 1, 1).run(100);
    // Number 2 is there, but its data are not loaded yet.
    world.credentials.insert(2, (Zxid::ZERO, Epoch(0)));
    world.run(60_000);
    assert_eq!(world.outcome(), "");
    world.look(2, 1, 1).run(60_000);
    assert_eq!(world.outcome(), "1→2 2→2");
}

#[test]
fn the_last_round_of_all_is_followed_by_the_first() {
    let mut world = World::new(3, &[]);
    for id in [1, 2] {
        world.servers.get_mut(&id).unwrap().clock = i64::MAX - 1;
    }
    world.look(1, 1, 1).look(2, 1, 1).run(3000);
    assert_eq!(world.servers[&1].current_vote().round, i64::MAX);
    world.look(1, 1, 1).look(2, 1, 1).run(3000);
    assert_eq!(world.outcome(), "1→2 2→2");
    assert_eq!(world.servers[&1].current_vote().round, i64::MIN);
}

#[test]
fn observers_learn_the_leader_and_do_not_vote() {
    let mut world = World::new(3, &[4]);
    world.look(1, 0, 0).look(4, 9, 900).run(3000);
    assert_eq!(world.outcome(), "", "an observer makes no quorum");
    world.look(2, 0, 0).run(60_000);
    assert_eq!(world.outcome(), "1→2 2→2 4→2");
    assert_eq!(world.servers[&4].current_vote().state, PeerState::Observing);
}

#[test]
fn one_connection_for_each_pair_and_the_larger_id_dialled_it() {
    let mut world = World::new(3, &[]);
    world.look(1, 0, 0).look(2, 0, 0).look(3, 0, 0).run(3000);
    let mut pairs = BTreeSet::new();
    for ((a, conn), (b, _)) in &world.wires {
        if conn.is_dialled() {
            assert!(a > b, "server {a} keeps a connection that it dialled to {b}");
            assert!(pairs.insert((*a, *b)), "two connections between {a} and {b}");
        }
    }
    assert_eq!(pairs.len(), 3);
}

#[test]
fn a_quorum_waits_for_a_better_vote_before_it_settles() {
    let mut world = World::new(3, &[]);
    // Number 3 is there, but its data are not loaded yet.
    world.credentials.insert(3, (Zxid::ZERO, Epoch(0)));
    world.look(1, 1, 1).look(2, 1, 1).run(150);
    assert_eq!(world.outcome(), "", "a quorum agrees, the wait is not over");
    world.look(3, 1, 2).run(3000);
    assert_eq!(world.outcome(), "1→3 2→3 3→3");
}

#[test]
fn leader_with_every_vote_announces_it_at_once() {
    let mut world = World::new(3, &[]);
    world.look(1, 1, 1).look(2, 1, 1).look(3, 1, 1).run(20);
    assert_eq!(world.outcome(), "1→3 2→3 3→3");
}

#[test]
fn nobody_waits_for_the_vote_of_a_server_that_is_gone() {
    let mut world = World::new(3, &[]);
    world.look(1, 1, 1).look(2, 1, 1).look(3, 1, 2).run(3000);
    world.kill(3).look(1, 1, 2).look(2, 1, 2).run(20);
    assert_eq!(world.outcome(), "1→2 2→2");

    // The election's connections may end after those to the leader.
    let mut world = World::new(3, &[]);
    world.look(1, 1, 1).look(2, 1, 1).look(3, 1, 2).run(3000);
    world.look(1, 1, 2).look(2, 1, 2).kill(3).run(20);
    assert_eq!(world.outcome(), "1→2 2→2");
}

#[test]
fn nobody_is_taken_in_by_the_last_connection_that_a_dying_server_accepts() {
    let mut world = World::new(3, &[]);
    world.look(1, 1, 1).look(2, 1, 1).look(3, 1, 2).run(3000);
    world.kill(3).dying = Some(3);
    world.look(2, 1, 2).look(1, 1, 2).run(20);
    assert_eq!(world.dying, None);
    assert_eq!(world.outcome(), "1→2 2→2");
}

#[test]
fn peer_that_loses_its_leader_later_gets_the_vote_again() {
    for (first, second) in [(2, 1), (1, 2)] {
        let mut world = World::new(3, &[]);
        world.look(1, 1, 1).look(2, 1, 1).look(3, 1, 2).run(3000);
        // The other one still follows, and says so instead of taking the vote.
        world.kill(3).look(first, 1, 2).run(5);
        world.look(second, 1, 2).run(20);
        assert_eq!(world.outcome(), "1→2 2→2", "{first} first");
    }
}

#[test]
fn an_empty_database_that_is_not_trusted_cannot_elect() {
    let mut world = World::new(3, &[]);
    world.look(1, 1, 1);
    let mut out = Vec::new();
    for id in [2, 3] {
        world.credentials.insert(id, (Zxid::UNTRUSTED, Epoch(0)));
        world.servers.get_mut(&id).unwrap().look(
            Time(0),
            Zxid::UNTRUSTED,
            Epoch(0),
            true,
            &mut out,
        );
        world.queue.extend(out.drain(..).map(|a| (id, a)));
    }
    world.run(3000);
    assert_eq!(world.outcome(), "");
}

#[test]
fn five_servers_settle_on_one_leader_whatever_the_order_of_messages() {
    for seed in 0..300 {
        let mut world = World::new(5, &[]);
        world.random = fastrand::Rng::with_seed(seed);
        world.shuffle = true;
        for id in 1..=5 {
            let (epoch, counter) = (world.random.i64(0..3), world.random.u32(0..4));
            world.look(id, epoch, counter);
            let pause = world.random.u64(0..400);
            world.run(pause);
        }
        world.run(30_000);
        assert_eq!(world.results.len(), 5, "seed {seed}: {}", world.outcome());
        let leaders: BTreeSet<_> = world.results.values().collect();
        assert_eq!(leaders.len(), 1, "seed {seed}: {}", world.outcome());
    }
}

#[test]
fn five_servers_settle_although_connections_break() {
    for seed in 0..300 {
        let mut world = World::new(5, &[]);
        world.random = fastrand::Rng::with_seed(seed);
        world.shuffle = true;
        for id in 1..=5 {
            let (epoch, counter) = (world.random.i64(0..3), world.random.u32(0..4));
            world.look(id, epoch, counter);
        }
        for _ in 0..20 {
            let pause = world.random.u64(0..100);
            world.run(pause).break_one();
        }
        world.run(60_000);
        assert_eq!(world.results.len(), 5, "seed {seed}: {}", world.outcome());
        let leaders: BTreeSet<_> = world.results.values().collect();
        assert_eq!(leaders.len(), 1, "seed {seed}: {}", world.outcome());
    }
}

#[test]
fn garbage_closes_its_connection_and_nothing_else() {
    let mut world = World::new(3, &[]);
    world.look(1, 0, 0).look(2, 0, 0).run(3000);
    let server = world.servers.get_mut(&2).unwrap();
    let hello_bad_length =
        [&(-65536i64).to_be_bytes()[..], &9i64.to_be_bytes(), &[0x7f; 4]].concat();
    let own_id =
        [&(-65536i64).to_be_bytes()[..], &2i64.to_be_bytes(), &[0, 0, 0, 1, b'x']].concat();
    let huge = [&9i64.to_be_bytes()[..], &[0x7f, 0xff, 0xff, 0xff]].concat();
    for (n, bad) in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &hello_bad_length, &own_id, &huge].iter().enumerate()
    {
        // An HTTP request reads as the id of a server before 3.5, then as an impossible length.
        let conn = ConnId::accepted(900 + n as u64);
        let mut out = Vec::new();
        server.opened(Time(0), conn, ELSEWHERE, &mut out);
        for piece in bad.chunks(5) {
            server.received(Time(0), conn, &Bytes::copy_from_slice(piece), &mut out);
        }
        assert!(
            out.iter().any(|a| matches!(a, Action::Close { conn: c, .. } if *c == conn)),
            "{n}: {out:?}"
        );
        assert!(!server.owns(conn));
    }
    assert_eq!(world.outcome(), "1→2 2→2");
}

#[test]
fn every_captured_packet_of_real_servers_is_read_and_written_back() {
    let (mut hellos, mut notifications) = (0, 0);
    let lines = include_str!("../../../testdata/election/packets.txt").lines();
    for line in lines.filter(|l| !l.starts_with('#')) {
        let (kind, hex) = line.split_once(' ').unwrap();
        let digits = (0..hex.len()).step_by(2);
        let bytes: Vec<u8> =
            digits.map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        if kind == "hello" {
            let hello = Hello::take(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
            assert_eq!(hello.encode(), bytes);
            hellos += 1;
        } else {
            let bytes = Bytes::from(bytes);
            let read = Notification::parse(&bytes).unwrap();
            let written = Notification::encode(&read.vote, read.config.as_deref().unwrap());
            assert_eq!(written, bytes);
            notifications += 1;
        }
    }
    assert!(hellos == 8 && notifications == 68, "{hellos} hellos, {notifications} notifications");
}
