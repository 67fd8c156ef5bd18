//! Rows of new and empty ensembles: how soon they serve, what they take, how soon they serve again
//! without their leader.

use std::thread;
use std::time::Duration;

use super::super::course::{Course, only};
use super::super::rows::Scenario;
use super::{Values, rss_mib};
use crate::ensemble::{Ensemble, Program, Setup};
use crate::load::{Failed, outage};
use crate::report::{Metric, median};

/// Until an empty ensemble has come to rest.
const REST: Duration = Duration::from_secs(2);
/// How often the leader is killed in one turn.
const KILLS: usize = 3;

pub(in super::super) fn measure(
    course: &mut Course,
    program: &Program,
    scenario: &Scenario,
) -> Result<Values, Failed> {
    match scenario {
        Scenario::Start => {
            let ensemble = Ensemble::start(program, &course.site, &Setup::default())?;
            Ok(only(Metric::Ms, ensemble.started_in.as_secs_f64() * 1e3))
        }
        Scenario::Idle => Ok(only(Metric::RssMib, course.idle(program)?)),
        Scenario::LeaderKilled => {
            let ensemble = Ensemble::start(program, &course.site, &Setup::default())?;
            let ms = leader_killed(ensemble, if course.quick { 1 } else { KILLS })?;
            Ok(only(Metric::Ms, ms))
        }
        other => Err(Failed(format!("{other:?} is not for an empty ensemble"))),
    }
}

/// What the largest of three empty servers takes, MiB.
pub(in super::super) fn idle(course: &Course, program: &Program) -> Result<f64, Failed> {
    let ensemble = Ensemble::start(program, &course.site, &Setup::default())?;
    thread::sleep(REST);
    Ok(rss_mib(&ensemble))
}

/// The median time until a write succeeds again, ms.
fn leader_killed(mut ensemble: Ensemble, kills: usize) -> Result<f64, Failed> {
    let mut times = Vec::new();
    for _ in 0..kills {
        let leader = ensemble.leader().ok_or_else(|| Failed("there is no leader".into()))?;
        let time = outage(&ensemble.servers(), || ensemble.kill(leader))?;
        times.push(time.as_secs_f64() * 1e3);
        ensemble.restart(leader)?;
        thread::sleep(Duration::from_millis(500));
    }
    median(times).ok_or_else(|| Failed("no leader was killed".into()))
}
