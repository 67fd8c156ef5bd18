//! The course of the comparison: every program has its turns, and in each turn its rows.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::Compare;
use super::bar::Bar;
use super::rows::{Group, Plan};
use super::scenarios::{self, Values};
use crate::ensemble::program::built_into;
use crate::ensemble::{Ensemble, Kind, Program, Setup, Site, tree_file};
use crate::load::Failed;
use crate::machine::Machine;
use crate::report::{Metric, Report, Run, Skipped};

/// Znodes of a large tree, and the data of each.
pub(super) const MANY: usize = 1_000_000;
pub(super) const MANY_BYTES: usize = 100;

pub(super) struct Course {
    plans: Vec<Plan>,
    programs: Vec<Program>,
    repetitions: usize,
    pub(super) measured: Duration,
    pub(super) quick: bool,
    pub(super) site: Site,
    report: Report,
    bar: Bar,
    /// What an empty server takes, MiB.
    idle: HashMap<Kind, f64>,
}

impl Course {
    pub(super) fn new(compare: &Compare, plans: Vec<Plan>) -> Result<Course, Failed> {
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
        let each = Duration::from_millis(if compare.quick { 500 } else { 2000 });
        let machine = Machine::measure(&site.dir, each)?;
        let settings = format!(
            "three servers on loopback, forceSync on; each row {seconds} s, {}",
            match repetitions {
                1 => String::from("one run of each"),
                n => format!("medians of {n} alternating runs"),
            }
        );
        let rows = plans.iter().map(|plan| plan.row.clone()).collect();
        let one = |program: &Program| plans.iter().filter(|plan| plan.is_of(program.kind)).count();
        let bar = Bar::new(programs.iter().map(one).sum::<usize>() * repetitions);
        Ok(Course {
            plans,
            programs,
            repetitions,
            measured,
            quick: compare.quick,
            site,
            report: Report { settings, machine, rows, runs: Vec::new(), skipped },
            bar,
            idle: HashMap::new(),
        })
    }

    pub(super) fn run(mut self) -> Result<Report, Failed> {
        for repetition in 1..=self.repetitions {
            // Who comes later finds another machine: they take turns.
            let mut programs = self.programs.clone();
            if repetition % 2 == 0 {
                programs.reverse();
            }
            for program in programs {
                for group in [Group::Core, Group::Loads, Group::Small, Group::Large] {
                    self.turn(&program, group, repetition);
                }
            }
        }
        self.bar.finish();
        drop(fs::remove_file(self.tree()));
        // Something may be there that is not ours; then it stays.
        drop(fs::remove_dir(&self.site.dir));
        Ok(self.report)
    }

    /// The rows of a group on one program's servers. What fails is told, and left out.
    fn turn(&mut self, program: &Program, group: Group, repetition: usize) {
        let mine = |plan: &&Plan| plan.scenario.group() == group && plan.is_of(program.kind);
        let plans: Vec<Plan> = self.plans.iter().filter(mine).cloned().collect();
        let mut ensemble = None;
        for plan in plans {
            self.bar.says(format!("{}: {}", program.kind, plan.row.what));
            match self.row(program, &plan, &mut ensemble) {
                Ok(values) => {
                    let row = plan.row.id;
                    self.report.runs.push(Run { row, program: program.kind, repetition, values });
                }
                Err(error) => {
                    // What comes next begins with new servers.
                    ensemble = None;
                    self.bar.tell(&format!("{}: {}: {error}", program.kind, plan.row.what));
                    let (row, why) = (Some(plan.row.id), error.to_string());
                    self.report.skipped.push(Skipped { program: program.kind, row, why });
                }
            }
            self.bar.steps(1);
        }
    }

    fn row(
        &mut self,
        program: &Program,
        plan: &Plan,
        ensemble: &mut Option<Ensemble>,
    ) -> Result<Values, Failed> {
        match plan.scenario.group() {
            Group::Core => scenarios::core::measure(self.measured, &plan.scenario),
            Group::Loads => {
                if ensemble.is_none() {
                    let mut started = Ensemble::start(program, &self.site, &Setup::default())?;
                    scenarios::loads::warm_up(self, &started)
                        .map_err(|error| started.explain(error))?;
                    *ensemble = Some(started);
                }
                let started = ensemble.as_mut().ok_or_else(|| Failed("no ensemble".into()))?;
                scenarios::loads::measure(self, started, &plan.scenario)
                    .map_err(|error| started.explain(error))
            }
            Group::Small => scenarios::small::measure(self, program, &plan.scenario),
            Group::Large => scenarios::large::measure(self, program, &plan.scenario),
        }
    }

    /// What an empty server takes, MiB: measured, unless it is known.
    pub(super) fn idle(&mut self, program: &Program) -> Result<f64, Failed> {
        if let Some(idle) = self.idle.get(&program.kind) {
            return Ok(*idle);
        }
        let idle = scenarios::small::idle(self, program)?;
        self.idle.insert(program.kind, idle);
        Ok(idle)
    }

    /// A snapshot of many znodes, made when it is needed.
    pub(super) fn large_tree(&self) -> Result<PathBuf, Failed> {
        let path = self.tree();
        if !path.is_file() {
            let unfinished = path.with_extension("part");
            tree_file::write(&unfinished, MANY, MANY_BYTES)?;
            fs::rename(&unfinished, &path)?;
        }
        Ok(path)
    }

    fn tree(&self) -> PathBuf {
        self.site.dir.join("tree")
    }
}

/// One value.
pub(super) fn only(metric: Metric, value: f64) -> Values {
    Values::from([(metric, value)])
}
