//! What is to be reached, and whether it is.

use serde::Serialize;

use super::table::count;
use super::{Metric, Report, Row};
use crate::ensemble::Kind;

/// A bound on one metric of a row.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Goal {
    /// Of which metric.
    pub metric: Metric,
    /// Where it is to be.
    pub bound: Bound,
    /// More than is asked for.
    pub stretch: bool,
}

/// Where a metric is to be.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// So many times Apache ZooKeeper's, or more.
    AtLeastTimes(f64),
    /// This part of Apache ZooKeeper's, or less.
    AtMostTimes(f64),
    /// This, or less.
    AtMost(f64),
    /// In ms: one fdatasync with three writers at once (median), and so much beside.
    AtMostSyncAnd(f64),
    /// Of a series: so many times the value at the step that is named first, or less.
    Flat(usize, f64),
    /// The same of the values for each of what the steps count.
    Linear(usize, f64),
}

impl Goal {
    /// What has to be reached.
    pub fn must(metric: Metric, bound: Bound) -> Goal {
        Goal { metric, bound, stretch: false }
    }

    /// What would be more than that.
    pub fn stretch(metric: Metric, bound: Bound) -> Goal {
        Goal { metric, bound, stretch: true }
    }

    /// In words.
    pub fn words(&self) -> String {
        let bound = match self.bound {
            Bound::AtLeastTimes(times) => format!("≥ {times}×"),
            Bound::AtMostTimes(part) => format!("≤ 1/{}", (1.0 / part).round()),
            Bound::AtMost(most) => format!("≤ {most}"),
            Bound::AtMostSyncAnd(beside) => format!("≤ fdatasync + {beside}"),
            Bound::Flat(from, times) => format!("flat: ≤ {times}× of {}", count(from)),
            Bound::Linear(from, times) => {
                format!("linear: each ≤ {times}× of {}", count(from))
            }
        };
        if self.stretch { format!("stretch: {bound}") } else { bound }
    }

    /// In a word, if there is something to compare.
    pub(super) fn outcome(&self, report: &Report, row: &Row) -> Option<&'static str> {
        let met = self.met(report, row, report.subject())?;
        Some(match (self.stretch, met) {
            (false, true) => "met",
            (false, false) => "not met",
            (true, true) => "reached",
            (true, false) => "not reached",
        })
    }

    /// Whether a program's median reaches it; nothing where there is nothing to compare.
    pub fn met(&self, report: &Report, row: &Row, program: Kind) -> Option<bool> {
        let value = report.median(&row.id, program, self.metric)?;
        let ratio = report.ratio(&row.id, program, self.metric);
        match self.bound {
            Bound::AtLeastTimes(times) => Some(ratio? >= times),
            Bound::AtMostTimes(part) => Some(ratio? <= part),
            Bound::AtMost(most) => Some(value <= most),
            Bound::AtMostSyncAnd(beside) => {
                Some(value <= report.machine.sync_three.p50_us / 1000.0 + beside)
            }
            Bound::Flat(from, times) => {
                Some(value <= times * self.of_step(report, row, program, from)?)
            }
            Bound::Linear(from, times) => {
                let each = self.of_step(report, row, program, from)? / from as f64;
                Some(value / row.step.as_ref()?.at as f64 <= times * each)
            }
        }
    }

    /// The metric at another step of the row's series.
    fn of_step(&self, report: &Report, row: &Row, program: Kind, at: usize) -> Option<f64> {
        let step = row.step.as_ref()?;
        let row = report.row_at(&step.series, step.axis, at)?;
        report.median(&row.id, program, self.metric)
    }
}
