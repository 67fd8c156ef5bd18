//! Rows under load, all on the same ensemble.

use std::time::Duration;

use super::super::course::Course;
use super::super::rows::Scenario;
use super::Values;
use crate::ensemble::Ensemble;
use crate::ensemble::usage::Usage;
use crate::load::{self, Failed, Load, Measured, Op, Phase};
use crate::report::Metric;

/// Code that is compiled while it runs has to have run.
pub(in super::super) fn warm_up(course: &Course, ensemble: &Ensemble) -> Result<(), Failed> {
    for op in [Op::Set, Op::Create, Op::Mixed, Op::Churn] {
        let load = Load {
            servers: ensemble.servers(),
            connections: 64,
            outstanding: 16,
            op,
            bytes: 128,
            warm_up: Duration::ZERO,
            measured: Duration::from_millis(if course.quick { 700 } else { 3000 }),
        };
        load::run(&load, &mut |_| {})?;
    }
    Ok(())
}

pub(in super::super) fn measure(
    course: &Course,
    ensemble: &Ensemble,
    scenario: &Scenario,
) -> Result<Values, Failed> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut on = |phase| match phase {
        Phase::Preparing => {}
        Phase::Begins => before = ensemble.usage(),
        Phase::Ended => after = ensemble.usage(),
    };
    let measured = match *scenario {
        Scenario::Load { op, connections, outstanding, bytes } => {
            let load = Load {
                servers: ensemble.servers(),
                connections,
                outstanding,
                op,
                bytes,
                warm_up: course.measured / 3,
                measured: course.measured,
            };
            load::run(&load, &mut on)?
        }
        Scenario::FanOut { watchers } => {
            load::fan_out(&ensemble.servers(), watchers, course.measured, &mut on)?
        }
        other => return Err(Failed(format!("{other:?} is no load"))),
    };
    Ok(values(&measured, &before, &after))
}

fn values(measured: &Measured, before: &[Usage], after: &[Usage]) -> Values {
    let ms = |q| measured.latencies.value_at_quantile(q) as f64 / 1e6;
    let cpu = |usage: &[Usage]| usage.iter().map(|u| u.cpu_seconds).sum::<f64>();
    let peak = after.iter().map(|usage| usage.peak_kib).max().unwrap_or(0);
    let operations = measured.operations.max(1) as f64;
    Values::from([
        (Metric::PerSecond, measured.operations as f64 / measured.seconds),
        (Metric::P50Ms, ms(0.5)),
        (Metric::P99Ms, ms(0.99)),
        (Metric::P999Ms, ms(0.999)),
        (Metric::CpuSeconds, (cpu(after) - cpu(before)) * 100_000.0 / operations),
        (Metric::PeakMib, peak as f64 / 1024.0),
        (Metric::LoadPercent, measured.load_share * 100.0),
        (Metric::Failed, measured.failed as f64),
    ])
}
