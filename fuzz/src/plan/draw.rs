//! How a seed draws its run. Each run has its own mix: most leave most faults out, so that
//! what remains happens often.

use fastrand::Rng;

use super::{
    ClientPlan, DiskSpeed, FailingOp, Fault, FaultKind, Plan, Reconfig, Standby, Weather, Who,
    Workload,
};

impl Plan {
    /// The run of this seed.
    pub fn draw(seed: u64) -> Plan {
        let mut rng = Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        let rng = &mut rng;
        let participants = *pick(rng, &[1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]);
        let most_observers = if participants == 1 { 0 } else { 2.min(7 - participants) };
        let observers = if rng.u32(..4) == 0 { rng.usize(..=most_observers) } else { 0 };
        let servers = participants + observers;
        let groups = if participants >= 6 && rng.u32(..3) == 0 {
            (0..participants).map(|i| i % 3).collect()
        } else {
            Vec::new()
        };
        let weather = weather(rng);
        // A packet's way, now and then twice; ticks and sessions have to be longer than some.
        let way_ms = 1 + (weather.delay_us + weather.jitter_us) / 1000;
        let way_ms = if weather.loss_permille > 0 { way_ms + 200 } else { way_ms };
        let ticks: Vec<u64> =
            [200, 500, 1000, 2000, 3000].into_iter().filter(|tick| *tick >= 8 * way_ms).collect();
        let tick_ms = *pick(rng, &ticks);
        let stormy_ms = 1000 * rng.u64(5..=40);
        let clients = rng.usize(1..=6);
        let patience_ms = servers as u64 * (8 * way_ms + 100);
        let clients = (0..clients).map(|_| client(rng, tick_ms, patience_ms)).collect();
        let slowest = *pick(rng, &[200, 2_000, 10_000]);
        let disk = |rng: &mut Rng| DiskSpeed {
            sync_us: rng.u64(slowest / 10..=slowest),
            other_us: rng.u64(1..=1 + slowest / 100),
        };
        let mut plan = Plan {
            seed,
            participants,
            observers,
            groups,
            reconfig: None,
            settings: settings(rng, tick_ms),
            weather,
            jitters: Vec::new(),
            disks: (0..servers).map(|_| disk(rng)).collect(),
            clients,
            faults: Vec::new(),
            stormy_ms,
            calm_ms: 120_000 + 40 * tick_ms,
        };
        // Drawn apart: what other seeds mean does not depend on it.
        let more = &mut Rng::with_seed(seed ^ 0x94d0_49bb_1331_11eb);
        if plan.participants > 1 && plan.groups.is_empty() && more.u32(..4) == 0 {
            reconfigure(more, &mut plan, tick_ms, patience_ms);
            let servers = plan.servers();
            plan.disks.resize_with(servers, || disk(more));
        }
        let more = &mut Rng::with_seed(seed ^ 0x2545_f491_4f6c_dd1d);
        if more.u32(..3) == 0 {
            // One request a turn, or some.
            let budget = pick(more, &["1", "2000", "10000"]);
            plan.settings.push(("turnBudget", (*budget).to_string()));
        }
        plan.faults = faults(rng, &plan, tick_ms);
        let more = &mut Rng::with_seed(seed ^ 0xd6e8_feb8_6659_fd93);
        plan.clients.iter_mut().for_each(|client| client.restarts_xids = more.bool());
        if plan.participants > 1 && more.u32(..4) == 0 {
            let client = ClientPlan {
                workload: Workload::Sync,
                timeout_ms: (20 * tick_ms) as i32,
                pace_ms: *pick(more, &[10, 30, 100]),
                restarts_xids: more.bool(),
            };
            plan.clients.extend([client.clone(), client.clone(), client]);
        }
        plan
    }
}

fn pick<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.usize(..all.len())]
}

fn client(rng: &mut Rng, tick_ms: u64, patience_ms: u64) -> ClientPlan {
    let least = (patience_ms / tick_ms + 1).clamp(2, 20);
    let workload = Workload::draw(rng);
    // So much data would only fill the memory.
    let least_pace_ms = if workload == Workload::Large { 50 } else { 0 };
    ClientPlan {
        workload,
        timeout_ms: (tick_ms * rng.u64(least..=20)) as i32,
        pace_ms: (*pick(rng, &[2, 10, 20, 50, 100, 300])).max(least_pace_ms),
        restarts_xids: false,
    }
}

/// Other servers may take the place of members, and an operator sees to that they do.
fn reconfigure(rng: &mut Rng, plan: &mut Plan, tick_ms: u64, patience_ms: u64) {
    let most = 3.min(7 - plan.servers());
    let standby = |rng: &mut Rng| Standby {
        observes: rng.u32(..3) == 0,
        starts_ms: if rng.bool() { rng.u64(..3000) } else { rng.u64(..plan.stormy_ms) },
    };
    plan.reconfig = Some(Reconfig {
        standbys: (0..rng.usize(..=most)).map(|_| standby(rng)).collect(),
        standalone: rng.bool(),
        ambush_percent: *pick(rng, &[0, 0, 10, 30, 60]),
        least_voters: if plan.participants > 2 { *pick(rng, &[3, 3, 2, 1]) } else { 1 },
    });
    let least = plan.reconfig.as_ref().map_or(1, |reconfig| reconfig.least_voters);
    let least_ticks = (patience_ms / tick_ms + 1).clamp(2, 20);
    plan.clients.push(ClientPlan {
        workload: Workload::Operator { least },
        timeout_ms: (tick_ms * rng.u64(least_ticks..=20)) as i32,
        pace_ms: *pick(rng, &[20, 200, 500, 1000, 3000]),
        restarts_xids: false,
    });
}

fn settings(rng: &mut Rng, tick_ms: u64) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("tickTime", tick_ms.to_string()),
        ("initLimit", rng.u32(5..=20).to_string()),
        ("syncLimit", rng.u32(2..=8).to_string()),
        ("preAllocSize", pick(rng, &["0", "1", "1", "4"]).to_string()),
    ];
    let mut sometimes = |rng: &mut Rng, key, values: &[&str]| {
        if rng.bool() {
            settings.push((key, (*pick(rng, values)).to_string()));
        }
    };
    sometimes(rng, "snapCount", &["2", "10", "50", "50", "200", "1000"]);
    sometimes(rng, "snapshotSizeFactor", &["-1", "0", "0.33", "10", "10", "10"]);
    sometimes(rng, "txnLogSizeLimitInKb", &["1", "4", "64"]);
    sometimes(rng, "autopurge.purgeInterval", &["1"]);
    sometimes(rng, "cnxTimeout", &["500", "5000"]);
    sometimes(rng, "globalOutstandingLimit", &["1", "10", "1000"]);
    sometimes(rng, "serializeLastProcessedZxid.enabled", &["false", "true"]);
    sometimes(rng, "dataLogDir", &["/log"]);
    sometimes(rng, "extendedTypesEnabled", &["true"]);
    sometimes(rng, "enforceQuota", &["true"]);
    sometimes(rng, "znode.container.checkIntervalMs", &["20", "100", "100", "1000", "5000"]);
    sometimes(rng, "znode.container.maxPerMinute", &["100", "1000", "100000"]);
    // So many snapshots would only fill the memory.
    let is_small = |(key, value): &(&str, String)| *key == "snapCount" && value.len() < 3;
    if settings.iter().any(is_small) && !settings.iter().any(|(key, _)| key.starts_with("autop")) {
        settings.push(("autopurge.purgeInterval", String::from("1")));
    }
    settings
}

fn weather(rng: &mut Rng) -> Weather {
    let delay_us = *pick(rng, &[50, 200, 1_000, 5_000, 30_000]);
    Weather {
        delay_us,
        jitter_us: *pick(rng, &[0, delay_us / 4, delay_us, 4 * delay_us]),
        loss_permille: *pick(rng, &[0, 0, 1, 10]),
        split_permille: *pick(rng, &[0, 10, 100, 500]),
        bandwidth: *pick(rng, &[1 << 20, 10 << 20, 1 << 30, 1 << 30]),
    }
}

fn faults(rng: &mut Rng, plan: &Plan, tick_ms: u64) -> Vec<Fault> {
    // Which kinds happen in this run at all, and how often one does.
    let mix = match rng.u32(..20) {
        0 => 0,
        1..=9 => rng.u64(..) & rng.u64(..),
        _ => rng.u64(..) & rng.u64(..) & rng.u64(..),
    };
    let kinds: Vec<u32> = (0..KINDS).filter(|kind| mix & (1 << kind) != 0).collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let every_ms = *pick(rng, &[500, 2_000, 5_000, 15_000]);
    let mut faults = Vec::new();
    let mut at_ms = rng.u64(..=every_ms);
    while at_ms < plan.stormy_ms {
        let drawn = *pick(rng, &kinds);
        let kind = kind(rng, drawn, plan);
        let for_ms = match rng.u32(..3) {
            // Long enough to propose something, too short to give up.
            _ if matches!(kind, FaultKind::LateLeader(_)) => rng.u64(20..=tick_ms),
            // Long enough for others to go on without it.
            0 | 1 if matches!(kind, FaultKind::Deposed) => 1000 + tick_ms * rng.u64(2..=20),
            0 => rng.u64(1..=tick_ms),
            1 => rng.u64(1..=10 * tick_ms),
            _ => rng.u64(1..=3 * every_ms),
        };
        faults.push(Fault { at_ms, for_ms, kind });
        at_ms += rng.u64(1..=2 * every_ms);
    }
    faults
}

const KINDS: u32 = 23;

fn kind(rng: &mut Rng, kind: u32, plan: &Plan) -> FaultKind {
    let servers = plan.servers();
    let who = match rng.u32(..3) {
        0 => Who::Leader,
        1 => Who::Learner(rng.usize(..servers)),
        _ => Who::Server(rng.usize(..servers)),
    };
    let (a, b) = (rng.usize(..servers), rng.usize(..servers));
    let client = rng.usize(..plan.clients.len().max(1));
    match kind {
        0 => FaultKind::Kill(who),
        1 => FaultKind::PowerLoss(who),
        2 => FaultKind::TotalPowerLoss,
        3 => FaultKind::Stall(who),
        4 => FaultKind::Deaf(who),
        5 => FaultKind::Mute(who),
        6 => FaultKind::Isolated(who),
        7 => FaultKind::Partition(rng.u64(..)),
        8 => FaultKind::OneWay(a, b),
        9 => FaultKind::Cut(a, b),
        10 => FaultKind::SlowLink(a, b, *pick(rng, &[5, 50, 500])),
        11 => FaultKind::SlowDisk(who, *pick(rng, &[10, 100, 1000])),
        12 => FaultKind::FullDisk(who),
        13 => {
            let ops = [FailingOp::Sync, FailingOp::Write, FailingOp::Read, FailingOp::Any];
            FaultKind::FailingDisk(who, *pick(rng, &ops))
        }
        14 => FaultKind::BitRot(who),
        15 => FaultKind::Wipe(who),
        16 => FaultKind::Purge(who),
        17 => FaultKind::Drift(who, rng.i64(-100_000..=100_000)),
        18 => FaultKind::WallJump(who, rng.i64(-100_000_000..=100_000_000)),
        19 => FaultKind::Move(client),
        20 => FaultKind::Deposed,
        21 => FaultKind::LateLeader(rng.u64(0..60)),
        _ => FaultKind::ClientCutOff(client),
    }
}
