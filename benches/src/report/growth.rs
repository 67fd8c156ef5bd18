//! What an operation costs as work grows: series of rows that differ in one number, one line each.

use std::collections::BTreeSet;

use serde::Serialize;

use super::table::{count, number, table};
use super::{Metric, Report, Row};
use crate::ensemble::Kind;

/// What grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// The tree.
    Znodes,
    /// Sessions, each on a connection of its own.
    Connections,
    /// The ensemble.
    Servers,
}

impl Axis {
    fn heading(self) -> &'static str {
        match self {
            Axis::Znodes => "as znodes grow",
            Axis::Connections => "as connections grow",
            Axis::Servers => "as servers grow",
        }
    }
}

/// Where a row is in a series.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Step {
    /// What is done in all rows of the series.
    pub series: String,
    /// What differs.
    pub axis: Axis,
    /// How many of them.
    pub at: usize,
}

impl Step {
    /// How many of what.
    pub fn words(&self) -> String {
        let what = match self.axis {
            Axis::Znodes => "znode",
            Axis::Connections => "connection",
            Axis::Servers => "server",
        };
        let plural = if self.at == 1 { "" } else { "s" };
        format!("{} {what}{plural}", count(self.at))
    }
}

/// What the lines tell.
const METRICS: [Metric; 3] = [Metric::CpuSeconds, Metric::P50Ms, Metric::PerSecond];

impl Report {
    /// The row of a series at one of its steps.
    pub(super) fn row_at(&self, series: &str, axis: Axis, at: usize) -> Option<&Row> {
        let same = |step: &Step| step.series == series && step.axis == axis && step.at == at;
        self.rows.iter().find(|row| row.step.as_ref().is_some_and(same))
    }

    /// A table for each axis, in it a line for each series, metric and program.
    pub(super) fn growth(&self) -> String {
        [Axis::Znodes, Axis::Connections, Axis::Servers].map(|axis| self.along(axis)).concat()
    }

    fn along(&self, axis: Axis) -> String {
        let on_axis = |step: &&Step| step.axis == axis;
        let steps: Vec<&Step> =
            self.rows.iter().filter_map(|row| row.step.as_ref()).filter(on_axis).collect();
        let all: BTreeSet<usize> = steps.iter().map(|step| step.at).collect();
        let mut series: Vec<&str> = Vec::new();
        for step in steps {
            if !series.contains(&step.series.as_str()) {
                series.push(&step.series);
            }
        }
        let mut head = vec![axis.heading().into(), "measured".into(), "servers".into()];
        head.extend(all.iter().map(|at| count(*at)));
        head.extend(["goal".into(), String::new()]);
        let mut lines = Vec::new();
        for series in series {
            let rows = all.iter().map(|at| self.row_at(series, axis, *at)).collect::<Vec<_>>();
            for metric in METRICS {
                for program in self.programs() {
                    lines.extend(self.line(&rows, metric, program));
                }
            }
        }
        if lines.is_empty() { String::new() } else { format!("{}\n", table(&head, &lines)) }
    }

    /// A row's place is that of its step; of some steps there may be none.
    fn line(&self, rows: &[Option<&Row>], metric: Metric, program: Kind) -> Option<Vec<String>> {
        let value = |row: &Option<&Row>| self.median(&(*row)?.id, program, metric);
        let values: Vec<Option<f64>> = rows.iter().map(value).collect();
        let first = values.iter().flatten().next().copied()?;
        let series = rows.iter().flatten().find_map(|row| row.step.as_ref())?;
        let mut line = vec![series.series.clone(), metric.name().into(), program.to_string()];
        let mut begun = false;
        line.extend(values.iter().map(|value| match value {
            None => String::new(),
            Some(value) if !std::mem::replace(&mut begun, true) => number(*value),
            Some(value) => format!("{} ({}×)", number(*value), number(value / first)),
        }));
        let mut goals =
            rows.iter().flatten().flat_map(|row| row.goals.iter().map(move |g| (row, g)));
        let goal = goals.find(|(_, goal)| goal.metric == metric && program == self.subject());
        line.push(goal.map_or(String::new(), |(_, goal)| goal.words()));
        let outcome = goal.and_then(|(row, goal)| goal.outcome(self, row));
        line.push(outcome.unwrap_or_default().into());
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_in_words() {
        let step = |axis, at| Step { series: "setData".into(), axis, at }.words();
        assert_eq!(step(Axis::Znodes, 10_000), "10,000 znodes");
        assert_eq!(step(Axis::Connections, 1), "1 connection");
    }
}
