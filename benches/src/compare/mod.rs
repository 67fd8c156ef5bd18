//! The comparison: servers of each program in turn, the same load on all, and what came of it.

mod bar;
mod course;
mod rows;
mod scenarios;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use self::course::Course;
use self::rows::{Plan, plans};
use crate::ensemble::program::built_into;
use crate::ensemble::{Kind, kill_all};
use crate::load::Failed;
use crate::stop;

/// What of the comparison is wanted.
#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// Fewer rows, one repetition of one second each: less than two minutes in all. Nothing grows
    /// (`grow-`…), and no tree is large.
    #[arg(long)]
    pub quick: bool,
    /// Only rows whose names begin so; `--list` tells the names.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Names all rows, and measures nothing.
    #[arg(long)]
    pub list: bool,
    /// Whose servers.
    #[arg(long, value_name = "PROGRAM", value_delimiter = ',', default_value = "smol,std,apache")]
    pub programs: Vec<Kind>,
    /// How often each program has its turn [default: 3, quick: 1].
    #[arg(long, value_name = "N")]
    pub repetitions: Option<usize>,
    /// How long each row is measured [default: 3, quick: 1].
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Where the servers keep their data meanwhile [default: compare/ below the target directory].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the results go [default: compare.json below the target directory].
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the chart goes [default: compare.svg below the target directory].
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Runs it, and prints the tables.
///
/// # Errors
/// Nothing could be measured, the results cannot be written, rows failed, or a signal came; what
/// was measured until then is printed all the same.
pub fn run(compare: &Compare) -> Result<(), Failed> {
    let plans: Vec<Plan> = plans().into_iter().filter(|plan| plan.wanted(compare)).collect();
    if compare.list {
        let mut out = io::stdout().lock();
        let lines = plans.iter().map(|plan| (&plan.row.id, &plan.row.what));
        return match lines.into_iter().try_for_each(|(id, what)| writeln!(out, "{id:20} {what}")) {
            // Who reads has seen enough.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        };
    }
    if plans.is_empty() {
        return Err(Failed("no row is called so; --list tells the names".into()));
    }
    stop::at_signals(kill_all)?;
    allow_many_connections();
    let report = Course::new(compare, plans)?.run()?;
    println!("{}", report.tables());
    // What is there from before is more than half a result.
    stop::check()?;
    let beside = built_into().join("..");
    let json = compare.json.clone().unwrap_or_else(|| beside.join("compare.json"));
    fs::write(&json, report.json().map_err(|e| Failed(e.to_string()))?)
        .map_err(|e| Failed(format!("{}: {e}", json.display())))?;
    eprintln!("results: {}", json.display());
    if let Some(chart) = report.chart() {
        let svg = compare.svg.clone().unwrap_or_else(|| beside.join("compare.svg"));
        fs::write(&svg, chart).map_err(|e| Failed(format!("{}: {e}", svg.display())))?;
        eprintln!("chart: {}", svg.display());
    }
    match report.failed() {
        0 if report.runs.is_empty() => Err(Failed("nothing was measured".into())),
        0 => Ok(()),
        1 => Err(Failed("a row failed".into())),
        n => Err(Failed(format!("{n} rows failed"))),
    }
}

/// As many files as may be opened at all: sockets are files.
fn allow_many_connections() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it does not work, the row that needs it will say so.
    let _ = setrlimit(Resource::Nofile, limit);
}
