//! Three servers in memory, whose disks are durable at once: how long a commit takes, and how many
//! allocations, in zabkeeper's core and in others. A commit is done when all servers have it.
//!
//! What zabkeeper's servers tell each other is encoded, framed and decoded; the others hand over
//! their messages as they are.

mod omnipaxos_core;
mod raft_core;

use std::fs;
use std::time::Instant;

use bytes::Bytes;
use zabkeeper_benches::memory::Memory;

use crate::omnipaxos_core::{Copied, Omni, Shared};
use crate::raft_core::Raft;

/// What is committed.
const PAYLOAD: [u8; 128] = [7; 128];
/// Commits in one round of measuring; after each, the servers begin with an empty log.
const ROUND: usize = 100_000;
/// Rounds; the median counts.
const ROUNDS: usize = 7;

/// An ensemble that commits.
trait Cluster {
    /// Proposes so many payloads at once, and returns when every server has all of them.
    fn commit(&mut self, count: usize);
}

impl Cluster for Memory {
    fn commit(&mut self, count: usize) {
        Memory::commit(self, &PAYLOAD, count);
    }
}

struct Subject {
    name: &'static str,
    make: fn(usize) -> Box<dyn Cluster>,
}

const SUBJECTS: [Subject; 4] = [
    Subject { name: "zabkeeper", make: |_| Box::new(Memory::elected(3)) },
    Subject { name: "raft 0.7", make: |_| Box::new(Raft::elected()) },
    Subject {
        name: "omnipaxos 0.2, copied payloads",
        make: |batch| Box::new(Omni::elected(batch, || Copied(PAYLOAD.to_vec()))),
    },
    Subject {
        name: "omnipaxos 0.2, shared payloads",
        make: |batch| {
            let payload = Bytes::copy_from_slice(&PAYLOAD);
            Box::new(Omni::elected(batch, move || Shared(payload.clone())))
        },
    },
];

fn main() {
    // Which cores, and how many outstanding, if not all.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = |subject: &Subject| {
        let mut names = arguments.iter().filter(|name| name.parse::<usize>().is_err()).peekable();
        names.peek().is_none() || names.any(|name| subject.name.starts_with(name.as_str()))
    };
    let count = |outstanding: usize| {
        let mut counts = arguments.iter().filter_map(|count| count.parse().ok()).peekable();
        counts.peek().is_none() || counts.any(|count: usize| count == outstanding)
    };
    println!("| core | outstanding | ns a commit | allocations a commit |");
    println!("| --- | ---: | ---: | ---: |");
    for outstanding in [1000, 1].into_iter().filter(|outstanding| count(*outstanding)) {
        for subject in SUBJECTS.iter().filter(|subject| name(subject)) {
            let (nanos, allocations) = measure(subject, outstanding);
            println!("| {} | {outstanding} | {nanos:.0} | {allocations:.2} |", subject.name);
        }
    }
}

fn measure(subject: &Subject, outstanding: usize) -> (f64, f64) {
    let turns = ROUND / outstanding;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut cluster = (subject.make)(outstanding);
        // What is allocated once is allocated now.
        (0..turns / 10).for_each(|_| cluster.commit(outstanding));
        let (begun, cpu) = (Instant::now(), cpu_nanos());
        (0..turns).for_each(|_| cluster.commit(outstanding));
        let cpu = cpu_nanos().zip(cpu).map(|(after, before)| after - before);
        rounds.push(cpu.unwrap_or_else(|| begun.elapsed().as_nanos() as u64));
    }
    rounds.sort_unstable();
    let median = rounds[ROUNDS / 2];
    let mut cluster = (subject.make)(outstanding);
    (0..turns / 10).for_each(|_| cluster.commit(outstanding));
    let counted = turns.div_ceil(10);
    let info = allocation_counter::measure(|| {
        (0..counted).for_each(|_| cluster.commit(outstanding));
    });
    let commits = (turns * outstanding) as f64;
    let allocations = info.count_total as f64 / (counted * outstanding) as f64;
    (median as f64 / commits, allocations)
}

/// What this thread has computed so far: others may want the processor, too.
fn cpu_nanos() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}
