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
use crate::load::{Failed, Nodes};
use crate::machine::{Apart, Machine};
use crate::report::{Metric, Missing, Report, Run};
use crate::stop;

pub(super) struct Course {
    plans: Vec<Plan>,
    programs: Vec<Program>,
    repetitions: usize,
    pub(super) measured: Duration,
    pub(super) quick: bool,
    pub(super) site: Site,
    report: Report,
    bar: Bar,
    apart: Apart,
    /// What an empty server takes, MiB.
    idle: HashMap<Kind, f64>,
    /// Snapshots that were made.
    trees: Vec<PathBuf>,
}

impl Course {
    pub(super) fn new(compare: &Compare, plans: Vec<Plan>) -> Result<Course, Failed> {
        let dir = compare.dir.clone().unwrap_or_else(|| built_into().join("../compare"));
        let site = Site::new(&dir)?;
        let (mut programs, mut missing) = (Vec::new(), Vec::new());
        for kind in Kind::ALL.into_iter().filter(|kind| compare.programs.contains(kind)) {
            eprintln!("{kind}: looking for it, or building it");
            match Program::find(kind) {
                Ok(program) => programs.push(program),
                Err(why) => {
                    eprintln!("{kind}: skipped: {why}");
                    missing.push(Missing { program: kind, rows: Vec::new(), failed: false, why });
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
        let machine = Machine::measure(&site.dir, each).map_err(|e| {
            drop(fs::remove_dir(&site.dir));
            Failed(format!("the machine, files in {}: {e}", site.dir.display()))
        })?;
        let settings = format!(
            "three servers on loopback, forceSync on; each row {seconds} s, {}{}",
            match repetitions {
                1 => String::from("one run of each"),
                n => format!("medians of {n} alternating runs"),
            },
            if compare.quick { "; too short for a JVM to get as fast as it can" } else { "" },
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
            report: Report { settings, machine, rows, runs: Vec::new(), missing },
            bar,
            apart: Apart::new(),
            idle: HashMap::new(),
            trees: Vec::new(),
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
                for group in self.groups() {
                    self.turn(&program, group, repetition);
                }
            }
        }
        self.bar.finish();
        self.report.machine.core_to_core = self.apart.latency();
        for tree in &self.trees {
            drop(fs::remove_file(tree));
        }
        // Something may be there that is not ours; then it stays.
        drop(fs::remove_dir(&self.site.dir));
        Ok(self.report)
    }

    /// How long servers may take to get as fast as they can, for each kind of load.
    pub(super) fn warm_up(&self) -> Duration {
        if self.quick { Duration::from_secs(2) } else { Duration::from_secs(20) }
    }

    /// How long each look at how fast they are takes.
    pub(super) fn warm_up_part(&self) -> Duration {
        if self.quick { Duration::from_millis(500) } else { Duration::from_secs(1) }
    }

    /// What is done now.
    pub(super) fn says(&self, what: String) {
        self.bar.says(what);
    }

    /// In the order of the plans.
    fn groups(&self) -> Vec<Group> {
        let mut groups = Vec::new();
        for plan in &self.plans {
            if !groups.contains(&plan.group) {
                groups.push(plan.group);
            }
        }
        groups
    }

    /// The rows of a group on one program's servers. What fails is told, and left out.
    fn turn(&mut self, program: &Program, group: Group, repetition: usize) {
        let mine = |plan: &&Plan| plan.group == group && plan.is_of(program.kind);
        let mut plans: Vec<Plan> = self.plans.iter().filter(mine).cloned().collect();
        if stop::signal().is_some() {
            return;
        }
        if let Err(lack) = scenarios::has_room(&self.site, group) {
            self.miss(program, &plans, false, &lack.to_string());
            return;
        }
        let mut ensemble = None;
        plans.reverse();
        while let Some(plan) = plans.pop() {
            if stop::signal().is_some() {
                return;
            }
            self.bar.says(format!("{}: {}", program.kind, plan.row.what));
            self.apart.look();
            match self.row(program, &plan, &mut ensemble) {
                Ok(values) => {
                    let row = plan.row.id;
                    self.report.runs.push(Run { row, program: program.kind, repetition, values });
                    self.bar.steps(1);
                }
                Err(_) if stop::signal().is_some() => return,
                Err(error) => {
                    let mut missed = vec![plan];
                    // What comes next begins with new servers. If these did not even start, others
                    // would not, either.
                    if ensemble.take().is_none() && group.shares_servers() {
                        missed.extend(plans.drain(..).rev());
                    }
                    self.miss(program, &missed, true, &error.to_string());
                }
            }
        }
    }

    /// These rows are not measured.
    fn miss(&mut self, program: &Program, plans: &[Plan], failed: bool, why: &str) {
        let rows: Vec<String> = plans.iter().map(|plan| plan.row.id.clone()).collect();
        if rows.is_empty() {
            return;
        }
        self.bar.tell(&format!("{}: {}: {why}", program.kind, rows.join(", ")));
        self.bar.steps(rows.len());
        let (program, why) = (program.kind, why.to_owned());
        self.report.missing.push(Missing { program, rows, failed, why });
    }

    fn row(
        &mut self,
        program: &Program,
        plan: &Plan,
        ensemble: &mut Option<Ensemble>,
    ) -> Result<Values, Failed> {
        // Where all rows are of native code, one part is enough.
        let (mut nodes, mut warm_for) = (Nodes::Own, Duration::ZERO);
        let setup = match plan.group {
            Group::Core => return scenarios::core::measure(self.measured, &plan.scenario),
            Group::Small => return scenarios::small::measure(self, program, &plan.scenario),
            Group::Large => return scenarios::large::measure(self, program, &plan.scenario),
            Group::Loads => {
                warm_for = self.warm_up();
                Setup::default()
            }
            Group::Servers(members) => Setup { members, ..Setup::default() },
            Group::Tree(znodes) => {
                nodes = Nodes::Tree(znodes);
                scenarios::loads::over_a_tree(self, znodes)?
            }
        };
        let started = match ensemble {
            Some(started) => started,
            None => {
                ensemble.insert(scenarios::loads::start(self, program, &setup, nodes, warm_for)?)
            }
        };
        scenarios::loads::measure(self, started, &plan.scenario)
            .map_err(|error| started.explain(error))
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

    /// A snapshot of so many znodes, made when it is needed.
    pub(super) fn tree(&mut self, nodes: usize, bytes: usize) -> Result<PathBuf, Failed> {
        let path = self.site.dir.join(format!("tree-{nodes}-{bytes}"));
        if !self.trees.contains(&path) {
            self.trees.push(path.clone());
            tree_file::write(&path, nodes, bytes)
                .map_err(|e| Failed(format!("{}: {e}", path.display())))?;
        }
        Ok(path)
    }
}

/// One value.
pub(super) fn only(metric: Metric, value: f64) -> Values {
    Values::from([(metric, value)])
}
