//! Runs the simulator: swarms of seeds, and single ones again.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use zabkeeper_fuzz::check::{Kind, Violation};
use zabkeeper_fuzz::plan::{Cut, Plan};
use zabkeeper_fuzz::trace::story::Step;
use zabkeeper_fuzz::trace::{diagram, story};
use zabkeeper_fuzz::world::{Counters, Outcome};
use zabkeeper_fuzz::{record, run};

/// How many runs a reduction may take.
const SHRINKING_RUNS: usize = 150;
/// How many lines of a failing run are shown.
const LAST_LINES: usize = 25;
/// How many failures are reported in full.
const MOST_REPORTS: usize = 5;
/// How often a line tells how far a swarm is, where no progress bar can be drawn.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Whole ensembles in one thread, with every kind of fault.
///
/// The exit status: 0 if nothing was found, 1 for broken safety, 3 for broken liveness, 4 for a
/// panic or a server that stopped for no reason, 2 for a command that cannot be understood.
#[derive(Parser, Debug)]
#[command(name = "sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs many seeds, and reports those that break a rule.
    Run(RunArguments),
    /// Runs one seed again and tells what happens, or repeats a real server's journal.
    #[command(
        after_help = "Exit status of --record: 0 identical, 1 diverged or panicked, 2 nothing could \
            be replayed to its end"
    )]
    Replay(ReplayArguments),
    /// Measures, on one core, how fast a busy ensemble of three is simulated.
    Rate {
        /// How much of its time, in seconds.
        #[arg(long, default_value_t = 600)]
        simulated: u64,
    },
    /// Puts bugs into the core, one at a time, and tells how many seeds it takes to find each.
    #[cfg(feature = "mutants")]
    Mutants(MutantArguments),
}

#[cfg(feature = "mutants")]
#[derive(Args, Debug)]
struct MutantArguments {
    /// Only those whose name contains this.
    #[arg(default_value = "")]
    name: String,
    /// Give up after this many seeds.
    #[arg(long, default_value_t = 2000)]
    most: u64,
    /// Hunt each this many times, with other seeds.
    #[arg(long, default_value_t = 1)]
    times: u64,
    /// How many seeds at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// Prints a table; the exit status is 1 if one is never found.
#[cfg(feature = "mutants")]
fn mutants(arguments: &MutantArguments) -> ExitCode {
    use zabkeeper_core::mutant::Mutant;
    use zabkeeper_fuzz::mutants::hunt;

    let mut all_found = true;
    for mutant in Mutant::ALL {
        let name = format!("{mutant:?}");
        if !name.to_lowercase().contains(&arguments.name.to_lowercase()) {
            continue;
        }
        let catches: Vec<_> = (0..arguments.times)
            .map(|i| hunt(*mutant, i * 1_000_000, arguments.most, arguments.jobs))
            .collect();
        for (i, catch) in catches.iter().enumerate() {
            if let Some(catch) = catch {
                let seed = i as u64 * 1_000_000 + catch.seeds - 1;
                eprintln!("{name}: seed {seed}: {}", short(&catch.violation));
            }
        }
        let mut seeds: Vec<u64> =
            catches.iter().map(|catch| catch.as_ref().map_or(u64::MAX, |c| c.seeds)).collect();
        seeds.sort_unstable();
        let median = seeds.get(seeds.len() / 2).copied().unwrap_or(u64::MAX);
        let rule = catches.iter().flatten().next().map_or("-", |catch| catch.violation.rule);
        let shown = if median == u64::MAX { String::from("never") } else { median.to_string() };
        println!("| {name} | {shown} | {rule} |");
        all_found &= median != u64::MAX;
    }
    ExitCode::from(u8::from(!all_found))
}

#[derive(Args, Debug)]
struct RunArguments {
    /// Which seeds: FROM..TO.
    #[arg(long, value_parser = seeds, default_value = "0..1000")]
    seeds: Range<u64>,
    /// How many at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Begin no new one after this many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Report failures as they are, without looking for smaller ones.
    #[arg(long)]
    no_shrink: bool,
}

#[derive(Args, Debug)]
struct ReplayArguments {
    /// Which seed.
    #[arg(required_unless_present = "record")]
    seed: Option<u64>,
    /// The journal that `zabkeeper server --record FILE` wrote: every run in it is replayed, and
    /// must give the actions that it gave then.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    record: Option<PathBuf>,
    /// Of a journal: print every event and every action.
    #[arg(long, requires = "record")]
    story: bool,
    /// Only these faults, by number.
    #[arg(long, value_delimiter = ',')]
    faults: Option<Vec<usize>>,
    /// No faults.
    #[arg(long, conflicts_with = "faults")]
    no_faults: bool,
    /// Only these clients, by number.
    #[arg(long, value_delimiter = ',')]
    clients: Option<Vec<usize>>,
    /// The storm ends then, ms.
    #[arg(long)]
    storm_ms: Option<u64>,
    /// Show this many of the last lines; all, if it is not said.
    #[arg(long)]
    last: Option<usize>,
    /// Draw a sequence diagram of it into this file instead.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Show what the seed draws.
    #[arg(long)]
    plan: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range =
        text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.filter(|range| !range.is_empty()).ok_or_else(|| String::from("seeds are FROM..TO"))
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => swarm(&arguments),
        Command::Replay(arguments) => replay(arguments),
        Command::Rate { simulated } => measure(simulated),
        #[cfg(feature = "mutants")]
        Command::Mutants(arguments) => mutants(&arguments),
    }
}

#[derive(Default)]
struct Found {
    seeds: u64,
    simulated_ms: u64,
    committed: u64,
    steps: u64,
    counters: Counters,
    failures: BTreeMap<u64, Violation>,
}

fn swarm(arguments: &RunArguments) -> ExitCode {
    let (next, found) = (AtomicU64::new(arguments.seeds.start), Mutex::new(Found::default()));
    let bar = ProgressBar::new(arguments.seeds.end - arguments.seeds.start);
    let style = "{bar:30} {pos}/{len} seeds {elapsed_precise} left {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let began = Instant::now();
    let told = Mutex::new(began);
    let end = arguments.seconds.map(|seconds| began + Duration::from_secs(seconds));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= arguments.seeds.end || end.is_some_and(|end| Instant::now() >= end) {
                        return;
                    }
                    let outcome = run::run(Plan::draw(seed));
                    let Ok(mut found) = found.lock() else { return };
                    found.seeds += 1;
                    found.simulated_ms += outcome.simulated_ms;
                    found.committed += outcome.committed as u64;
                    found.steps += outcome.steps;
                    found.counters.merge(&outcome.counters);
                    if let Some(violation) = outcome.violation {
                        bar.suspend(|| eprintln!("seed {seed}: {}", short(&violation)));
                        found.failures.insert(seed, violation);
                    }
                    bar.set_message(rate(found.simulated_ms, began.elapsed()));
                    bar.inc(1);
                    if bar.is_hidden() {
                        tell_progress(&found, arguments, began, &told);
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let Ok(found) = found.into_inner() else { return ExitCode::from(4) };
    let told = say(&found, began.elapsed(), arguments.no_shrink);
    unless_unwritten(told, status(found.failures.values()))
}

fn unless_unwritten(told: io::Result<()>, status: ExitCode) -> ExitCode {
    match told {
        // Who reads may have seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "sim: standard output: {error}");
            ExitCode::from(2)
        }
        _ => status,
    }
}

fn say(found: &Found, elapsed: Duration, no_shrink: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    summary(&mut out, found, elapsed)?;
    for (seed, violation) in found.failures.iter().take(MOST_REPORTS) {
        report(&mut out, *seed, violation, no_shrink)?;
    }
    out.flush()
}

/// A line for logs, now and then.
fn tell_progress(found: &Found, arguments: &RunArguments, began: Instant, told: &Mutex<Instant>) {
    let Ok(mut told) = told.lock() else { return };
    if told.elapsed() < TOLD_EVERY {
        return;
    }
    *told = Instant::now();
    eprintln!(
        "{} of {} seeds in {:.0} s, {} failed; {}",
        found.seeds,
        arguments.seeds.end - arguments.seeds.start,
        began.elapsed().as_secs_f64(),
        found.failures.len(),
        rate(found.simulated_ms, began.elapsed()),
    );
}

fn rate(simulated_ms: u64, elapsed: Duration) -> String {
    let hours = simulated_ms as f64 / 3_600_000.0;
    format!("{hours:.1} simulated h, {:.3} h/s", hours / elapsed.as_secs_f64().max(0.001))
}

fn summary(out: &mut impl Write, found: &Found, elapsed: Duration) -> io::Result<()> {
    writeln!(
        out,
        "{} seeds in {:.0} s, {} failed; {}; {} transactions, {} steps",
        found.seeds,
        elapsed.as_secs_f64(),
        found.failures.len(),
        rate(found.simulated_ms, elapsed),
        found.committed,
        found.steps
    )?;
    for (name, n) in found.counters.iter() {
        writeln!(out, "{n:>10}  {name}")?;
    }
    Ok(())
}

fn report(
    out: &mut impl Write,
    seed: u64,
    violation: &Violation,
    as_it_is: bool,
) -> io::Result<()> {
    writeln!(out, "\nseed {seed}: {violation}")?;
    let plan = Plan::draw(seed);
    let cut = if as_it_is { Cut::default() } else { run::shrink(&plan, violation, SHRINKING_RUNS) };
    let (_, story) = run::tell(plan.cut(&cut));
    for step in story.iter().skip(story.len().saturating_sub(LAST_LINES)) {
        writeln!(out, "  {}", story::line(step))?;
    }
    writeln!(out, "tell it all: {}", command(seed, &cut))
}

/// The command that replays this.
fn command(seed: u64, cut: &Cut) -> String {
    let list = |kept: &[usize]| kept.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let mut text = format!("cargo run --profile sim -p zabkeeper-fuzz -- replay {seed}");
    match &cut.faults {
        Some(kept) if kept.is_empty() => text += " --no-faults",
        Some(kept) => text += &format!(" --faults {}", list(kept)),
        None => {}
    }
    if let Some(kept) = &cut.clients {
        text += &format!(" --clients {}", list(kept));
    }
    if let Some(ms) = cut.stormy_ms {
        text += &format!(" --storm-ms {ms}");
    }
    text
}

fn measure(simulated: u64) -> ExitCode {
    let began = Instant::now();
    let outcome = run::run(Plan::busy(1, 1000 * simulated));
    let (elapsed, seconds) = (began.elapsed().as_secs_f64(), outcome.simulated_ms as f64 / 1000.0);
    println!(
        "{:.0} simulated seconds a second: {seconds:.0} s with {} transactions in {elapsed:.1} s",
        seconds / elapsed,
        outcome.committed
    );
    status(outcome.violation.iter())
}

fn repeat(journal: &Path, with_story: bool) -> ExitCode {
    match record::command(journal, with_story, &mut BufWriter::new(io::stdout())) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn replay(arguments: ReplayArguments) -> ExitCode {
    if let Some(journal) = &arguments.record {
        return repeat(journal, arguments.story);
    }
    let faults = if arguments.no_faults { Some(Vec::new()) } else { arguments.faults };
    let cut = Cut { faults, clients: arguments.clients, stormy_ms: arguments.storm_ms };
    let plan = Plan::draw(arguments.seed.unwrap_or_default()).cut(&cut);
    let shown_plan = arguments.plan.then(|| plan.clone());
    let (outcome, story) = run::tell(plan);
    let skipped = arguments.last.map_or(0, |last| story.len().saturating_sub(last));
    let mut lines = story.get(skipped..).unwrap_or_default();
    if let Some(file) = &arguments.svg {
        lines = &[];
        if let Err(error) = std::fs::write(file, diagram::svg(&story, skipped)) {
            let _ = writeln!(io::stderr(), "sim: {}: {error}", file.display());
            return ExitCode::from(2);
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let told = tell(&mut out, shown_plan, lines, &outcome).and_then(|()| out.flush());
    unless_unwritten(told, status(outcome.violation.iter()))
}

fn tell(
    out: &mut impl Write,
    plan: Option<Plan>,
    lines: &[Step],
    outcome: &Outcome,
) -> io::Result<()> {
    if let Some(plan) = plan {
        writeln!(out, "{plan:#?}")?;
    }
    for step in lines {
        writeln!(out, "{}", story::line(step))?;
    }
    match &outcome.violation {
        Some(violation) => writeln!(out, "{violation}"),
        None => writeln!(
            out,
            "nothing wrong: {} transactions in {} steps and {} simulated seconds",
            outcome.committed,
            outcome.steps,
            outcome.simulated_ms / 1000
        ),
    }
}

fn short(violation: &Violation) -> String {
    violation.to_string().chars().take(200).collect()
}

fn status<'a>(mut violations: impl Iterator<Item = &'a Violation>) -> ExitCode {
    let worst = violations.by_ref().map(|violation| violation.kind).min_by_key(|kind| match kind {
        Kind::Safety => 0,
        Kind::Crash => 1,
        Kind::Liveness => 2,
    });
    ExitCode::from(match worst {
        None => 0,
        Some(Kind::Safety) => 1,
        Some(Kind::Liveness) => 3,
        Some(Kind::Crash) => 4,
    })
}
