//! A few seeds of the swarm, and what the simulator itself promises.

use zabkeeper_fuzz::plan::{Cut, Plan};
use zabkeeper_fuzz::run;

#[test]
fn seeds_break_no_rule() {
    for seed in 0..5 {
        let outcome = run::run(Plan::draw(seed));
        assert_eq!(outcome.violation, None, "seed {seed}: sim replay {seed} tells it");
        assert!(outcome.steps > 100, "seed {seed}: something happens");
    }
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    for seed in [3, 8] {
        let (first, story) = run::tell(Plan::draw(seed));
        let (second, again) = run::tell(Plan::draw(seed));
        assert_eq!(story, again, "seed {seed}");
        assert!(!story.is_empty());
        assert_eq!((first.steps, first.committed), (second.steps, second.committed));
        assert_eq!(first.counters, second.counters);
    }
}

#[test]
fn a_plan_is_cut_down_to_what_is_asked_for() {
    let plan = (0..).map(Plan::draw).find(|plan| plan.faults.len() > 3).expect("some seed");
    let cut = Cut { faults: Some(vec![1, 3]), clients: Some(vec![0]), stormy_ms: None };
    let smaller = plan.clone().cut(&cut);
    assert_eq!(smaller.faults, [plan.faults[1].clone(), plan.faults[3].clone()]);
    assert_eq!(smaller.clients.len(), 1);
    let short = plan.clone().cut(&Cut { stormy_ms: Some(1), ..Cut::default() });
    assert!(short.faults.iter().all(|fault| fault.at_ms <= 1));
}
