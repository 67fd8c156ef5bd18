//! A whole ensemble whose schedule is the input: which faults happen when, and how long each
//! packet takes.

use arbitrary::{Arbitrary, Unstructured};

use crate::plan::{Fault, FaultKind, Plan};
use crate::run;

/// How many worlds there are: servers, settings, clients and disks are drawn from these seeds.
const WORLDS: u16 = 1024;
/// How long faults happen, ms.
const STORMY_MS: u64 = 4000;
/// Most faults of a schedule.
const MOST_FAULTS: usize = 24;

#[derive(Arbitrary, Debug)]
struct Planned {
    at_ms: u16,
    for_ms: u16,
    kind: FaultKind,
}

/// Runs the schedule; panics with the rule that was broken.
pub fn schedule(data: &[u8]) {
    let Some(plan) = plan(data) else { return };
    let outcome = run::run(plan.clone());
    if let Some(violation) = outcome.violation {
        panic!("{violation}\n{plan:#?}");
    }
}

fn plan(data: &[u8]) -> Option<Plan> {
    let mut input = Unstructured::new(data);
    let seed = input.int_in_range(0..=WORLDS - 1).ok()?;
    let mut plan = Plan::draw(seed.into());
    plan.stormy_ms = STORMY_MS;
    for client in &mut plan.clients {
        client.pace_ms = client.pace_ms.max(20);
    }
    plan.clients.truncate(4);
    let count = input.int_in_range(0..=MOST_FAULTS).ok()?;
    let (servers, clients) = (plan.servers(), plan.clients.len());
    plan.faults.clear();
    for _ in 0..count {
        let Ok(Planned { at_ms, for_ms, kind }) = Planned::arbitrary(&mut input) else { break };
        plan.faults.push(Fault {
            at_ms: u64::from(at_ms) % STORMY_MS,
            for_ms: for_ms.into(),
            kind: within(kind, servers, clients),
        });
    }
    plan.faults.sort_by_key(|fault| fault.at_ms);
    plan.jitters = input.take_rest().to_vec();
    Some(plan)
}

/// The same with numbers that mean something in this world.
fn within(kind: FaultKind, servers: usize, clients: usize) -> FaultKind {
    let client = |n: usize| n % clients.max(1);
    match kind {
        FaultKind::OneWay(a, b) => FaultKind::OneWay(a % servers, b % servers),
        FaultKind::Cut(a, b) => FaultKind::Cut(a % servers, b % servers),
        FaultKind::SlowLink(a, b, factor) => {
            FaultKind::SlowLink(a % servers, b % servers, 1 + factor % 500)
        }
        FaultKind::SlowDisk(who, factor) => FaultKind::SlowDisk(who, 1 + factor % 1000),
        FaultKind::LateLeader(late_ms) => FaultKind::LateLeader(late_ms % 100),
        FaultKind::Drift(who, ppm) => FaultKind::Drift(who, ppm % 100_000),
        FaultKind::WallJump(who, ms) => FaultKind::WallJump(who, ms % 100_000_000),
        FaultKind::Move(n) => FaultKind::Move(client(n)),
        FaultKind::ClientCutOff(n) => FaultKind::ClientCutOff(client(n)),
        FaultKind::Kill(_)
        | FaultKind::PowerLoss(_)
        | FaultKind::TotalPowerLoss
        | FaultKind::Stall(_)
        | FaultKind::Deaf(_)
        | FaultKind::Mute(_)
        | FaultKind::Isolated(_)
        | FaultKind::Partition(_)
        | FaultKind::Deposed
        | FaultKind::FullDisk(_)
        | FaultKind::FailingDisk(..)
        | FaultKind::BitRot(_)
        | FaultKind::Wipe(_)
        | FaultKind::Purge(_) => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_faults_and_delays() {
        let data: Vec<u8> = (0..2000_u32).map(|n| (n * 37) as u8).collect();
        let plan = plan(&data).expect("a plan");
        assert!(!plan.faults.is_empty() && plan.faults.is_sorted_by_key(|fault| fault.at_ms));
        assert!(!plan.jitters.is_empty());
        schedule(&data);
        schedule(&[]);
    }
}
