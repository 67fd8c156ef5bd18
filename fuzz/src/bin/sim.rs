//! The simulator's command line.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use zabkeeper_fuzz::record;

/// Runs ensembles in memory, and repeats what happened in real ones.
#[derive(Parser)]
#[command(name = "sim", version, arg_required_else_help = true)]
struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Repeat a run
    #[command(
        after_help = "Exit codes of --record: 0 identical, 1 diverged or panicked, 2 nothing could \
            be replayed to its end"
    )]
    Replay(Replay),
}

#[derive(Args)]
struct Replay {
    /// The journal that `zabkeeper server --record FILE` wrote: every run in it is replayed, and
    /// must give the actions that it gave then
    #[arg(long, value_name = "FILE")]
    record: PathBuf,
    /// Print every event and every action
    #[arg(long)]
    story: bool,
}

fn main() -> ExitCode {
    let Command::Replay(replay) = CommandLine::parse().command;
    match record::command(&replay.record, replay.story, &mut BufWriter::new(io::stdout())) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "sim: {error}");
            ExitCode::from(2)
        }
    }
}
