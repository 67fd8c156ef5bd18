//! The simulated clients in good weather, and at a server that talks nonsense.

use bytes::Bytes;
use zabkeeper_core::types::Time;
use zabkeeper_fuzz::check::history::History;
use zabkeeper_fuzz::clients::{Actor, ActorAction, ActorOptions, Workload};
use zabkeeper_fuzz::plan::{ClientPlan, Plan, Reconfig};
use zabkeeper_fuzz::run;

const ALL: [Workload; 10] = [
    Workload::Counter,
    Workload::Lock,
    Workload::Queue,
    Workload::Configuration,
    Workload::Churn,
    Workload::Multi,
    Workload::Large,
    Workload::Mixed,
    Workload::Wander,
    Workload::Sync,
];

#[test]
fn members_change_in_good_weather() {
    let plan = (1..).map(Plan::draw).find(|plan| {
        let is_calm = |r: &Reconfig| r.ambush_percent == 0 && r.standbys.len() > 1;
        plan.reconfig.as_ref().is_some_and(is_calm) && plan.weather.delay_us < 5000
    });
    let plan = plan.expect("some seed");
    let outcome = run::run(Plan { faults: Vec::new(), stormy_ms: 30_000, ..plan });
    assert_eq!(outcome.violation, None);
    let changes = outcome.counters.iter().find(|(name, _)| *name == "members: changes");
    assert!(changes.is_some_and(|(_, n)| n > 5), "{changes:?}");
}

/// Three servers, nothing that goes wrong, two clients of one kind.
fn good_weather(seed: u64, workload: Workload) -> Plan {
    let is_fine = |plan: &Plan| {
        plan.members() == 3
            && plan.participants == 3
            && plan.reconfig.is_none()
            && plan.weather.delay_us < 5000
    };
    let plan = (seed..).map(Plan::draw).find(is_fine).expect("some seed");
    let client = ClientPlan { workload, timeout_ms: 20_000, pace_ms: 5, restarts_xids: true };
    Plan { faults: Vec::new(), clients: vec![client.clone(), client], stormy_ms: 8_000, ..plan }
}

#[test]
fn every_workload_gets_on_and_is_answered_truly() {
    for workload in ALL {
        let outcome = run::run(good_weather(1, workload));
        assert_eq!(outcome.violation, None, "{workload:?}");
        assert!(outcome.committed > 50, "{workload:?}: {}", outcome.committed);
    }
}

#[test]
fn a_client_that_cannot_understand_its_server_is_reported() {
    let options = ActorOptions {
        servers: 2,
        first_server: 1,
        timeout_ms: 9000,
        pace_ms: 10,
        restarts_xids: false,
    };
    let (mut history, mut out) = (History::default(), Vec::new());
    let mut actor = Actor::new(0, Workload::Mixed, options, 7, Time(0));
    actor.tick(Time(0), &mut out, &mut history);
    assert_eq!(out, [ActorAction::Connect { server: 1 }]);
    out.clear();
    actor.connected(Time(1), &mut out, &mut history);
    assert!(matches!(out[..], [ActorAction::Send(_)]));
    out.clear();
    actor.received(
        Time(2),
        Bytes::from_static(b"HTTP/1.1 400 Bad Request"),
        &mut out,
        &mut history,
    );
    assert_eq!(out, [ActorAction::Disconnect, ActorAction::Connect { server: 0 }]);
    let violation = history.take_violation().unwrap_err();
    assert_eq!(violation.rule, "servers keep the client protocol");
    // A connection that breaks is nobody's fault.
    actor.disconnected(Time(3), &mut out, &mut history);
    assert_eq!(history.take_violation(), Ok(()));
}
