//! What is to be reached, and whether it is.

use serde::Serialize;

use super::{Metric, Report, Row};
use crate::ensemble::Kind;

/// A bound on one metric of a row.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Goal {
    /// Of which metric.
    pub metric: Metric,
    /// Where it is to be.
    pub bound: Bound,
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
}

impl Goal {
    /// In words.
    pub fn words(&self) -> String {
        let name = self.metric.name();
        match self.bound {
            Bound::AtLeastTimes(times) => format!("{name} ≥ {times}×"),
            Bound::AtMostTimes(part) => format!("{name} ≤ 1/{}", (1.0 / part).round()),
            Bound::AtMost(most) => format!("{name} ≤ {most}"),
            Bound::AtMostSyncAnd(beside) => format!("{name} ≤ fdatasync + {beside}"),
        }
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
        }
    }
}
