//! The comparison: servers of each program in turn, the same load on all, and what came of it.

mod bar;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;

use self::bar::Bar;
use self::rows::{Plan, Scenario, plans};
use crate::ensemble::program::built_into;
use crate::ensemble::usage::Usage;
use crate::ensemble::{Ensemble, Kind, Program, Site, kill_all};
use crate::load::{Failed, Load, Measured, Op, Phase, steady};
use crate::machine::Machine;
use crate::report::{Metric, Report, Run, Skipped};

/// What of the comparison is wanted.
#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// Fewer rows, one repetition of one second each: less than two minutes in all.
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
/// Nothing could be measured, or the results cannot be written.
pub fn run(compare: &Compare) -> Result<(), Failed> {
    let plans: Vec<Plan> = plans().into_iter().filter(|plan| plan.wanted(compare)).collect();
    if compare.list {
        plans.iter().for_each(|plan| println!("{:20} {}", plan.row.id, plan.row.what));
        return Ok(());
    }
    if plans.is_empty() {
        return Err(Failed("no row is called so; --list tells the names".into()));
    }
    let report = Comparison::new(compare, plans)?.run()?;
    println!("{}", report.tables());
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
    Ok(())
}

struct Comparison {
    plans: Vec<Plan>,
    programs: Vec<Program>,
    repetitions: usize,
    measured: Duration,
    quick: bool,
    site: Site,
    report: Report,
    bar: Bar,
}

impl Comparison {
    fn new(compare: &Compare, plans: Vec<Plan>) -> Result<Comparison, Failed> {
        kill_servers_when_stopped()?;
        let dir = compare.dir.clone().unwrap_or_else(|| built_into().join("../compare"));
        let site = Site::new(&dir)?;
        let (mut programs, mut skipped) = (Vec::new(), Vec::new());
        for kind in Kind::ALL.into_iter().filter(|kind| compare.programs.contains(kind)) {
            eprintln!("{kind}: looking for it, or building it");
            match Program::find(kind) {
                Ok(program) => programs.push(program),
                Err(why) => {
                    eprintln!("{kind}: skipped: {why}");
                    skipped.push(Skipped { program: kind, row: None, why });
                }
            }
        }
        if programs.is_empty() {
            return Err(Failed("there are no servers to be measured".into()));
        }
        let repetitions = compare.repetitions.unwrap_or(if compare.quick { 1 } else { 3 }).max(1);
        let seconds = compare.seconds.unwrap_or(if compare.quick { 1.0 } else { 3.0 });
        let measured = Duration::try_from_secs_f64(seconds)
            .map_err(|e| Failed(format!("--seconds {seconds}: {e}")))?;
        eprintln!("the machine alone");
        let machine = Machine::measure(
            &site.dir,
            Duration::from_millis(if compare.quick { 500 } else { 2000 }),
        )?;
        let settings = format!(
            "three servers on loopback, forceSync on; each row {seconds} s, {}",
            match repetitions {
                1 => String::from("one run of each"),
                n => format!("medians of {n} alternating runs"),
            }
        );
        let rows = plans.iter().map(|plan| plan.row.clone()).collect();
        let report = Report { settings, machine, rows, runs: Vec::new(), skipped };
        let bar = Bar::new(plans.len() * programs.len() * repetitions);
        let quick = compare.quick;
        Ok(Comparison { plans, programs, repetitions, measured, quick, site, report, bar })
    }

    fn run(mut self) -> Result<Report, Failed> {
        for repetition in 1..=self.repetitions {
            // Who begins has the colder machine: they take turns.
            let mut programs = self.programs.clone();
            if repetition % 2 == 0 {
                programs.reverse();
            }
            for program in programs {
                self.turn(&program, repetition);
            }
        }
        self.bar.finish();
        // Only now: something may be kept there that is not ours.
        drop(fs::remove_dir(&self.site.dir));
        Ok(self.report)
    }

    /// All rows on one program's servers. What fails is told, and left out.
    fn turn(&mut self, program: &Program, repetition: usize) {
        let plans = self.plans.clone();
        let mut left = plans.as_slice();
        if let Err(error) = self.steady_rows(program, repetition, &mut left) {
            self.skip(program, left.first(), &error);
            self.bar.steps(left.len());
        }
    }

    fn steady_rows(
        &mut self,
        program: &Program,
        repetition: usize,
        left: &mut &[Plan],
    ) -> Result<(), Failed> {
        self.bar.says(format!("{}: starting", program.kind));
        let ensemble = Ensemble::start(program, &self.site, "")?;
        self.bar.says(format!("{}: warming up", program.kind));
        self.warm_up(&ensemble)?;
        while let [plan, rest @ ..] = *left {
            self.bar.says(format!("{}: {}", program.kind, plan.row.what));
            let values = self.measure(&ensemble, plan)?;
            let row = plan.row.id.clone();
            self.report.runs.push(Run { row, program: program.kind, repetition, values });
            self.bar.steps(1);
            *left = rest;
        }
        Ok(())
    }

    /// Code that is compiled while it runs has to have run.
    fn warm_up(&self, ensemble: &Ensemble) -> Result<(), Failed> {
        let each = Duration::from_secs(if self.quick { 1 } else { 4 });
        for op in [Op::Set, Op::Create, Op::Mixed] {
            let load = Load {
                servers: ensemble.servers(),
                connections: 64,
                outstanding: 16,
                op,
                bytes: 128,
                warm_up: Duration::ZERO,
                measured: each,
            };
            steady(&load, &mut |_| {})?;
        }
        Ok(())
    }

    fn measure(&self, ensemble: &Ensemble, plan: &Plan) -> Result<BTreeMap<Metric, f64>, Failed> {
        match plan.scenario {
            Scenario::Steady { op, connections, outstanding, bytes } => {
                let load = Load {
                    servers: ensemble.servers(),
                    connections,
                    outstanding,
                    op,
                    bytes,
                    warm_up: self.measured / 3,
                    measured: self.measured,
                };
                let (mut before, mut after) = (Vec::new(), Vec::new());
                let measured = steady(&load, &mut |phase| match phase {
                    Phase::Preparing => {}
                    Phase::Begins => before = ensemble.usage(),
                    Phase::Ended => after = ensemble.usage(),
                })?;
                Ok(values(&measured, &before, &after))
            }
        }
    }

    fn skip(&mut self, program: &Program, plan: Option<&Plan>, error: &Failed) {
        let row = plan.map(|plan| plan.row.id.clone());
        self.bar.tell(&format!("{}: {}: {error}", program.kind, row.as_deref().unwrap_or("end")));
        let why = error.to_string();
        self.report.skipped.push(Skipped { program: program.kind, row, why });
    }
}

fn values(measured: &Measured, before: &[Usage], after: &[Usage]) -> BTreeMap<Metric, f64> {
    let ms = |q| measured.latencies.value_at_quantile(q) as f64 / 1e6;
    let cpu = |usage: &[Usage]| usage.iter().map(|u| u.cpu_seconds).sum::<f64>();
    let peak = after.iter().map(|usage| usage.peak_kib).max().unwrap_or(0);
    let operations = measured.operations.max(1) as f64;
    BTreeMap::from([
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

/// Whoever stops this process stops the servers, too.
fn kill_servers_when_stopped() -> Result<(), Failed> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            kill_all();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
