//! What a run is made of: drawn whole from one number, and cut down by leaving parts out.

mod draw;

use arbitrary::Arbitrary;
use zabkeeper_core::types::ServerId;

use crate::clients::{SUPER_DIGEST, member_line};

pub use crate::clients::Workload;
pub use crate::world::{DiskSpeed, FailingOp, Weather};

/// One run: everything but the schedule that comes of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was drawn from; also the seed of all chance in the run.
    pub seed: u64,
    /// Servers with a vote, 1 to 7.
    pub participants: usize,
    /// Servers without one.
    pub observers: usize,
    /// Hierarchical quorums: the group of each participant, by index; empty: majority.
    pub groups: Vec<usize>,
    /// How the members may change; `None`: they stay.
    pub reconfig: Option<Reconfig>,
    /// Lines of `zoo.cfg` beside the members' own.
    pub settings: Vec<(&'static str, String)>,
    /// The network.
    pub weather: Weather,
    /// How much of the jitter the first packets take, in 255 parts; then chance decides.
    pub jitters: Vec<u8>,
    /// Each server's disk.
    pub disks: Vec<DiskSpeed>,
    /// Clients.
    pub clients: Vec<ClientPlan>,
    /// What goes wrong, in order of time.
    pub faults: Vec<Fault>,
    /// The safety phase: faults happen; ms.
    pub stormy_ms: u64,
    /// Then everything heals, and within this all must be well; ms.
    pub calm_ms: u64,
}

/// `reconfigEnabled`: servers outside the ensemble, that may be taken in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reconfig {
    /// Their numbers follow those of the first members.
    pub standbys: Vec<Standby>,
    /// `standaloneEnabled`: then two servers have to vote, at least.
    pub standalone: bool,
    /// So many servers keep a vote.
    pub least_voters: usize,
    /// How many of a hundred changes meet a fault of their leader.
    pub ambush_percent: u32,
}

impl Reconfig {
    /// So many have to vote, whoever asks.
    pub fn must_vote(&self) -> usize {
        if self.standalone { 2 } else { 1 }
    }
}

/// A server that is no member in the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standby {
    /// It takes itself for an observer.
    pub observes: bool,
    /// When it starts, ms.
    pub starts_ms: u64,
}

/// One client.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// What it does.
    pub workload: Workload,
    /// The session time-out it asks for, ms.
    pub timeout_ms: i32,
    /// How long it thinks between two things, on average, ms.
    pub pace_ms: u64,
    /// Whether it numbers its requests from 1 on each connection, as some clients do.
    pub restarts_xids: bool,
}

/// One thing that goes wrong.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct Fault {
    /// When, ms after the start.
    pub at_ms: u64,
    /// How long it lasts, ms.
    pub for_ms: u64,
    pub kind: FaultKind,
}

/// Whom a fault meets, decided when it begins.
#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The server of this index.
    Server(usize),
    /// Who leads then; if nobody does, the first server.
    Leader,
    /// Some other server.
    Learner(usize),
}

/// What can go wrong.
#[derive(Arbitrary, Clone, PartialEq, Debug)]
pub enum FaultKind {
    /// The process is killed; its machine and files live on.
    Kill(Who),
    /// The machine loses power: no word to its peers, and unsynced writes are lost.
    PowerLoss(Who),
    /// All machines lose power at once.
    TotalPowerLoss,
    /// The process does nothing for a while: paging, a debugger, a stopped virtual machine.
    Stall(Who),
    /// Nothing reaches this server.
    Deaf(Who),
    /// Nothing leaves this server.
    Mute(Who),
    /// Neither.
    Isolated(Who),
    /// Servers are in two parts by the bits of this mask; clients reach both.
    Partition(u64),
    /// Who leads reaches no other server, but its clients: what it proposes stays with it.
    Deposed,
    /// Who leads reaches no other server; then all processes are killed, and it comes back this
    /// many ms after one of the others begins to lead. These have slow disks: while they
    /// synchronise, there is somebody who has more than they. It may lose power once more.
    LateLeader(u64),
    /// Nothing passes from the one to the other.
    OneWay(usize, usize),
    /// Connections between the two break, and can be made anew.
    Cut(usize, usize),
    /// Packets between the two take this many times as long.
    SlowLink(usize, usize, u64),
    /// Every disk operation takes this many times as long.
    SlowDisk(Who, u64),
    /// No more bytes fit.
    FullDisk(Who),
    /// The next operation of a kind fails.
    FailingDisk(Who, FailingOp),
    /// A bit of a snapshot flips.
    BitRot(Who),
    /// The data directory is lost with the machine, if the protocol can survive it then.
    Wipe(Who),
    /// Old files are purged.
    Purge(Who),
    /// The monotonic clock runs too fast, in millionths.
    Drift(Who, i64),
    /// The wall clock is set, ms.
    WallJump(Who, i64),
    /// A client goes to another server.
    Move(usize),
    /// A client's machine cannot be reached.
    ClientCutOff(usize),
}

/// What a run is reduced to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Only these faults, by index.
    pub faults: Option<Vec<usize>>,
    /// Only these clients, by index.
    pub clients: Option<Vec<usize>>,
    /// The storm ends then, ms.
    pub stormy_ms: Option<u64>,
}

impl Plan {
    /// Three servers and four busy clients, where nothing goes wrong: to measure how fast the
    /// simulator is.
    pub fn busy(seed: u64, ms: u64) -> Plan {
        // Workloads that leave the tree as small as it was.
        let workloads =
            [Workload::Counter, Workload::Lock, Workload::Configuration, Workload::Configuration];
        let client = |workload| ClientPlan {
            workload,
            timeout_ms: 10_000,
            pace_ms: 20,
            restarts_xids: false,
        };
        Plan {
            seed,
            participants: 3,
            observers: 0,
            groups: Vec::new(),
            reconfig: None,
            settings: vec![
                ("tickTime", String::from("1000")),
                ("initLimit", String::from("10")),
                ("syncLimit", String::from("5")),
                ("preAllocSize", String::from("64")),
            ],
            weather: Weather {
                delay_us: 200,
                jitter_us: 100,
                loss_permille: 0,
                split_permille: 10,
                bandwidth: 1 << 30,
            },
            jitters: Vec::new(),
            disks: vec![DiskSpeed { sync_us: 1000, other_us: 10 }; 3],
            clients: workloads.map(client).to_vec(),
            faults: Vec::new(),
            stormy_ms: ms,
            calm_ms: 60_000,
        }
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.members() + self.standbys().len()
    }

    /// How many are members in the beginning.
    pub fn members(&self) -> usize {
        self.participants + self.observers
    }

    /// Those that are not.
    pub fn standbys(&self) -> &[Standby] {
        self.reconfig.as_ref().map(|reconfig| &reconfig.standbys[..]).unwrap_or_default()
    }

    /// The `myid` of each server; observers come after participants, then standbys.
    pub fn ids(&self) -> Vec<ServerId> {
        (1..=self.servers() as i64).map(ServerId).collect()
    }

    /// Whether nothing keeps servers from hearing of clients: no fault that stops or delays
    /// anybody, and no client whose data takes long to travel.
    pub fn is_quiet(&self) -> bool {
        let is_harmless = |fault: &Fault| {
            matches!(
                fault.kind,
                FaultKind::BitRot(_)
                    | FaultKind::Purge(_)
                    | FaultKind::WallJump(..)
                    | FaultKind::Move(_)
            )
        };
        self.reconfig.is_none()
            && self.faults.iter().all(is_harmless)
            && self.clients.iter().all(|client| client.workload != Workload::Large)
    }

    /// Leaves out what a reduction leaves out.
    #[must_use]
    pub fn cut(mut self, cut: &Cut) -> Plan {
        fn keep<T: Clone>(all: &[T], kept: &[usize]) -> Vec<T> {
            kept.iter().filter_map(|i| all.get(*i).cloned()).collect()
        }
        if let Some(faults) = &cut.faults {
            self.faults = keep(&self.faults, faults);
        }
        if let Some(clients) = &cut.clients {
            self.clients = keep(&self.clients, clients);
        }
        if let Some(ms) = cut.stormy_ms {
            self.stormy_ms = ms;
            self.faults.retain(|fault| fault.at_ms <= ms);
        }
        self
    }

    /// What `zoo.cfg` holds, the members apart.
    pub fn zoo_cfg_without_members(&self) -> String {
        let mut text = String::from("dataDir=/data\n4lw.commands.whitelist=*\n");
        if let Some(reconfig) = &self.reconfig {
            text += "reconfigEnabled=true\n";
            text += &format!("standaloneEnabled={}\n", reconfig.standalone);
            text += &format!("DigestAuthenticationProvider.superDigest={SUPER_DIGEST}\n");
        } else {
            text += "clientPort=2181\n";
        }
        for (key, value) in self.settings.iter().filter(|(key, _)| !is_flag(key)) {
            text += &format!("{key}={value}\n");
        }
        text
    }

    /// What the servers are told that no line of `zoo.cfg` can say.
    pub fn flags(&self) -> Vec<(String, String)> {
        let flags = self.settings.iter().filter(|(key, _)| is_flag(key));
        flags.map(|(key, value)| ((*key).to_string(), value.clone())).collect()
    }

    /// The configuration of the server of this index.
    pub fn zoo_cfg(&self, server: usize) -> String {
        let mut text = self.zoo_cfg_without_members();
        if let Some(Reconfig { standbys, .. }) = &self.reconfig {
            // Who is no member names itself beside those that are.
            let own = standbys.get(server.wrapping_sub(self.members()));
            let own = own.map(|standby| (server, standby.observes));
            let members = (0..self.members()).map(|i| (i, i >= self.participants)).chain(own);
            for (i, observes) in members {
                let id = i as i64 + 1;
                text += &format!("server.{id}={}\n", member_line(id, observes));
            }
            return text;
        }
        if self.servers() == 1 {
            return text;
        }
        if server >= self.participants {
            text += "peerType=observer\n";
        }
        for (i, id) in self.ids().iter().enumerate() {
            let role = if i < self.participants { "" } else { ":observer" };
            text += &format!("server.{id}={}:2888:3888{role}\n", i + 1);
        }
        for group in 0..3 {
            let of = |i: &usize| self.groups.get(*i) == Some(&group);
            let members: Vec<String> =
                (0..self.participants).filter(of).map(|i| (i + 1).to_string()).collect();
            if !members.is_empty() {
                text += &format!("group.{}={}\n", group + 1, members.join(":"));
            }
        }
        text
    }
}

/// Whether ZooKeeper reads this as a property of the JVM only.
fn is_flag(key: &str) -> bool {
    key == "jute.maxbuffer" || key.starts_with("znode.container.")
}
