//! What was measured, and how it compares: medians, ratios, goals; as a table, as JSON, as a chart.

pub mod chart;
pub mod goal;
pub mod growth;
pub mod table;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::goal::{Bound, Goal};
pub use self::growth::{Axis, Step};
pub(crate) use self::table::count;
use crate::ensemble::Kind;
use crate::machine::Machine;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Operations, or events, a second.
    PerSecond,
    /// Half of the operations took no longer, ms.
    P50Ms,
    /// All but one in a hundred, ms.
    P99Ms,
    /// All but one in a thousand, ms.
    P999Ms,
    /// CPU time of all servers for 100,000 operations, s.
    CpuSeconds,
    /// The most memory that a server took, MiB.
    PeakMib,
    /// Of a core, what the load generator took, percent.
    LoadPercent,
    /// Operations that were refused.
    Failed,
    /// Time that it took, ms.
    Ms,
    /// What a server takes, MiB.
    RssMib,
    /// Memory for each znode over its path and data, bytes.
    BytesPerZnode,
    /// How much longer the slowest one in a hundred took than without, ms.
    AddedP99Ms,
    /// CPU time for each commit on all servers together, ns.
    CommitNs,
    /// Allocations for each commit on all servers together.
    CommitAllocations,
}

impl Metric {
    /// How tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Metric::PerSecond => "per second",
            Metric::P50Ms => "p50, ms",
            Metric::P99Ms => "p99, ms",
            Metric::P999Ms => "p99.9, ms",
            Metric::CpuSeconds => "CPU s/100,000",
            Metric::PeakMib => "peak RSS, MiB",
            Metric::LoadPercent => "load's CPU, %",
            Metric::Failed => "failed",
            Metric::Ms => "ms",
            Metric::RssMib => "RSS, MiB",
            Metric::BytesPerZnode => "bytes a znode over path and data",
            Metric::AddedP99Ms => "added p99, ms",
            Metric::CommitNs => "ns a commit",
            Metric::CommitAllocations => "allocations a commit",
        }
    }
}

/// One line of the comparison.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// Its short name, for the command line.
    pub id: String,
    /// What is done.
    pub what: String,
    /// The metric that tells most.
    pub metric: Metric,
    /// What is to be reached.
    pub goals: Vec<Goal>,
    /// Its place, if it is one of a series.
    pub step: Option<Step>,
}

/// One measurement of one program.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Which row.
    pub row: String,
    /// Whose servers.
    pub program: Kind,
    /// Which repetition, from 1.
    pub repetition: usize,
    /// What was seen.
    pub values: BTreeMap<Metric, f64>,
}

/// What was not measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Missing {
    /// Whose servers.
    pub program: Kind,
    /// All rows, if none is named.
    pub rows: Vec<String>,
    /// Whether it was tried.
    pub failed: bool,
    pub why: String,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Report {
    /// How it was asked for.
    pub settings: String,
    pub machine: Machine,
    /// In the order of the tables.
    pub rows: Vec<Row>,
    /// In the order of time.
    pub runs: Vec<Run>,
    /// What is missing, and why.
    pub missing: Vec<Missing>,
}

impl Report {
    /// The middle of all runs of a row.
    pub fn median(&self, row: &str, program: Kind, metric: Metric) -> Option<f64> {
        let runs = self.runs.iter().filter(|run| run.row == row && run.program == program);
        median(runs.filter_map(|run| run.values.get(&metric).copied()).collect())
    }

    /// How many times as much as Apache ZooKeeper.
    pub fn ratio(&self, row: &str, program: Kind, metric: Metric) -> Option<f64> {
        let other = self.median(row, Kind::Apache, metric).filter(|other| *other > 0.0)?;
        Some(self.median(row, program, metric)? / other)
    }

    /// Whose goals these are.
    pub fn subject(&self) -> Kind {
        let measured = self.programs();
        *measured.iter().find(|kind| **kind != Kind::Apache).unwrap_or(&Kind::Smol)
    }

    /// The programs of which there is something.
    pub fn programs(&self) -> Vec<Kind> {
        let some = |kind: &Kind| self.runs.iter().any(|run| run.program == *kind);
        Kind::ALL.into_iter().filter(some).collect()
    }

    /// Of the rows that were tried, how many came to nothing.
    pub fn failed(&self) -> usize {
        self.missing.iter().filter(|missing| missing.failed).map(|missing| missing.rows.len()).sum()
    }

    /// All of it, for programs.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

/// The middle of some values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests;
