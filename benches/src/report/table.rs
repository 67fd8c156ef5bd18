//! The report as text: Markdown tables whose columns are aligned, so that they can be read as they
//! are.

use std::fmt::Write;

use super::{Goal, Metric, Report, Row};
use crate::ensemble::Kind;
use crate::machine::Latency;

const CORE_TO_CORE: &str = "a word to the other core and back";
/// What every run tells, in this order.
const DETAILS: [Metric; 8] = [
    Metric::PerSecond,
    Metric::P50Ms,
    Metric::P99Ms,
    Metric::P999Ms,
    Metric::CpuSeconds,
    Metric::PeakMib,
    Metric::LoadPercent,
    Metric::Failed,
];

impl Report {
    /// All tables: the machine, the comparison, the details, and what is missing.
    pub fn tables(&self) -> String {
        let mut out = self.machine_table();
        out.push_str(&self.comparison());
        out.push_str(&self.growth());
        out.push_str(&self.sum());
        out.push_str(&self.details());
        for missing in &self.missing {
            let how = if missing.failed { "failed" } else { "skipped" };
            let rows = match missing.rows.join(", ") {
                rows if rows.is_empty() => rows,
                rows => format!(" ({rows})"),
            };
            let _ = writeln!(out, "{how}: {}{rows}: {}", missing.program, missing.why);
        }
        out
    }

    fn machine_table(&self) -> String {
        let machine = &self.machine;
        let latency = |what: &str, latency: &Latency| {
            let cell = |value: f64| format!("{} µs", number(value));
            let rate = number(latency.per_second);
            let tail = [latency.p50_us, latency.p99_us, latency.p999_us].map(cell);
            [vec![what.into(), rate], tail.to_vec()].concat()
        };
        let head = ["the machine", "per second", "p50", "p99", "p99.9"].map(String::from).to_vec();
        let copied = format!("{} GiB", number(machine.memory_gib_per_second));
        let rate = |what: &str, rate: Option<f64>| {
            let rate = rate.map_or(String::from("not measured"), number);
            [what, &rate, "", "", ""].map(String::from).to_vec()
        };
        let core_to_core = match &machine.core_to_core {
            Some(there_and_back) => latency(CORE_TO_CORE, there_and_back),
            None => rate(CORE_TO_CORE, None),
        };
        let lines = vec![
            latency("fdatasync, one writer", &machine.sync_alone),
            latency("fdatasync, three at once", &machine.sync_three),
            latency("loopback, there and back", &machine.round_trip),
            core_to_core,
            rate("one core: messages to 1,000 connections in turn", Some(machine.messages)),
            rate("one core: messages to 8,000 connections in turn", machine.messages_cold),
            rate("one core: connections with two requests", Some(machine.sessions)),
            ["memory, copied", &copied, "", "", ""].map(String::from).to_vec(),
        ];
        format!(
            "{}: {} cores; the load average was {} when it began\n{}\n\n{}\n",
            machine.processor,
            machine.cores,
            machine.load_average,
            self.settings,
            table(&head, &lines)
        )
    }

    /// A line for each row, and for each goal of it.
    fn comparison(&self) -> String {
        let programs = self.programs();
        let mut head = vec![String::from("what"), String::from("measured")];
        head.extend(programs.iter().map(Kind::to_string));
        head.extend(["ratio".into(), "goal".into(), String::new()]);
        let mut lines = Vec::new();
        for row in self.rows.iter().filter(|row| row.step.is_none()) {
            let mut metrics = vec![(row.metric, None)];
            for goal in &row.goals {
                match metrics.iter_mut().find(|(metric, of)| *metric == goal.metric && of.is_none())
                {
                    Some((_, of)) => *of = Some(goal),
                    None => metrics.push((goal.metric, Some(goal))),
                }
            }
            for (metric, goal) in metrics {
                let values = programs.iter().map(|program| self.median(&row.id, *program, metric));
                let values: Vec<_> = values.collect();
                if values.iter().all(Option::is_none) {
                    continue;
                }
                let mut line = vec![row.what.clone(), metric.name().into()];
                line.extend(values.into_iter().map(|value| value.map_or("".into(), number)));
                let ratio = self.ratio(&row.id, self.subject(), metric);
                line.push(ratio.map_or(String::new(), |ratio| format!("{}×", number(ratio))));
                line.push(goal.map_or(String::new(), Goal::words));
                let outcome = goal.and_then(|goal| goal.outcome(self, row));
                line.push(outcome.unwrap_or_default().into());
                lines.push(line);
            }
        }
        if lines.is_empty() { String::new() } else { format!("{}\n", table(&head, &lines)) }
    }

    /// How many goals are met.
    fn sum(&self) -> String {
        let goals = self.rows.iter().flat_map(|row| row.goals.iter().map(move |goal| (row, goal)));
        let (stretch, must): (Vec<_>, Vec<_>) = goals.partition(|(_, goal)| goal.stretch);
        let count = |goals: &[(&Row, &Goal)]| {
            let met = goals.iter().filter_map(|(row, goal)| goal.met(self, row, self.subject()));
            let met: Vec<bool> = met.collect();
            (met.iter().filter(|met| **met).count(), met.len(), goals.len() - met.len())
        };
        let ((met, of, open), (reached, of_stretch, open_stretch)) =
            (count(&must), count(&stretch));
        if of + of_stretch == 0 {
            return String::new();
        }
        let open = match open + open_stretch {
            0 => String::new(),
            n => format!("; nothing to compare for {n}"),
        };
        format!(
            "{}: {met} of {of} goals met, {reached} of {of_stretch} stretch goals reached{open}\n\n",
            self.subject()
        )
    }

    /// All that is known of each row and program.
    fn details(&self) -> String {
        let mut head = vec![String::from("what"), String::from("servers")];
        head.extend(DETAILS.map(|metric| metric.name().into()));
        let mut lines = Vec::new();
        for row in &self.rows {
            for program in self.programs() {
                let values = DETAILS.map(|metric| self.median(&row.id, program, metric));
                if values.iter().flatten().count() < 2 {
                    continue;
                }
                let mut line = vec![row.what.clone(), program.to_string()];
                line.extend(values.map(|value| value.map_or(String::new(), number)));
                lines.push(line);
            }
        }
        if lines.is_empty() { String::new() } else { format!("{}\n", table(&head, &lines)) }
    }
}

/// Three digits that count, thousands with commas.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        n if n >= 99.95 || n == 0.0 => 0,
        n if n >= 9.995 => 1,
        n if n >= 0.9995 => 2,
        _ => 3,
    };
    with_commas(&format!("{value:.digits$}"))
}

/// All digits, thousands with commas.
pub(crate) fn count(value: usize) -> String {
    with_commas(&value.to_string())
}

fn with_commas(text: &str) -> String {
    let begin = usize::from(text.starts_with('-'));
    let whole = text.split('.').next().unwrap_or_default().len();
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        let left = whole.saturating_sub(at);
        if at > begin && left > 0 && left.is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

pub(super) fn table(head: &[String], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = std::iter::once(head).chain(lines.iter().map(Vec::as_slice));
        cells.map(|line| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    // Numbers end where others end.
    let numeric = |column: usize| {
        let digit = |line: &Vec<String>| line[column].starts_with(|c: char| c.is_ascii_digit());
        lines.iter().any(digit)
            && lines
                .iter()
                .all(|line| line[column].is_empty() || digit(line) || negative(line, column))
    };
    let numeric: Vec<bool> = (0..head.len()).map(numeric).collect();
    let mut out = String::new();
    let mut put = |line: &[String]| {
        out.push('|');
        for ((cell, width), numeric) in line.iter().zip(&widths).zip(&numeric) {
            let _ = match numeric {
                true => write!(out, " {cell:>width$} |"),
                false => write!(out, " {cell:<width$} |"),
            };
        }
        out.push('\n');
    };
    put(head);
    let rule = |(width, numeric): (&usize, &bool)| match numeric {
        true => format!("{}:", "-".repeat(width.saturating_sub(1))),
        false => "-".repeat(*width),
    };
    put(&widths.iter().zip(&numeric).map(rule).collect::<Vec<_>>());
    lines.iter().for_each(|line| put(line));
    out
}

fn negative(line: &[String], column: usize) -> bool {
    line[column].starts_with('-')
}
