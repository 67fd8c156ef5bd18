//! Load on a running ensemble, and the comparison with Apache ZooKeeper.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use zabkeeper_benches::compare::{self, Compare};
use zabkeeper_benches::load::{self, Failed, Load, Nodes, Op};
use zabkeeper_benches::stop;
use zabkeeper_core::client::ConnectString;
use zabkeeper_core::types::HostPort;

/// Measures ZooKeeper-compatible ensembles.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Loads an ensemble and prints operations a second and latencies.
    Load(LoadArguments),
    /// Starts three servers of zabkeeper and of Apache ZooKeeper 3.9.5 in turn, drives all with the
    /// same load, and compares them, beside the limits of the machine.
    Compare(Compare),
}

#[derive(clap::Args)]
struct LoadArguments {
    /// The servers as a connect string: host:port, separated by commas.
    #[arg(long, default_value = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183")]
    servers: String,
    /// Sessions, each on a connection of its own.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests that each session keeps under way.
    #[arg(long, default_value_t = 16)]
    outstanding: usize,
    /// What is asked.
    #[arg(long, value_enum, default_value = "set")]
    op: Op,
    /// Bytes of data.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// How long is measured, after one second of warm-up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Load(arguments) => load_and_tell(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zabkeeper-benches: {error}");
            let signal = stop::signal().and_then(|signal| u8::try_from(128 + signal).ok());
            signal.map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

fn load_and_tell(arguments: &LoadArguments) -> Result<(), Failed> {
    let wrong = |why: String| Failed(format!("--servers {}: {why}", arguments.servers));
    let given = ConnectString::parse(&arguments.servers)
        .map_err(|at| wrong(format!("{at}: expected host:port, separated by commas")))?;
    if !given.root.is_empty() {
        return Err(wrong(format!("the root {} is not supported", given.root)));
    }
    let resolve = |at: &HostPort| -> Result<SocketAddr, Failed> {
        let found = (&*at.host, at.port).to_socket_addrs().ok().and_then(|mut all| all.next());
        found.ok_or_else(|| wrong(format!("{at} cannot be resolved")))
    };
    let load = Load {
        servers: given.servers.iter().map(resolve).collect::<Result<_, _>>()?,
        connections: arguments.connections.max(1),
        outstanding: arguments.outstanding.max(1),
        op: arguments.op,
        bytes: arguments.bytes,
        nodes: Nodes::Own,
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(arguments.seconds),
    };
    let measured = load::run(&load, &mut |_| {})?;
    let ms = |q: f64| measured.latencies.value_at_quantile(q) as f64 / 1e6;
    println!(
        "{:.0} operations/s, {} failed; latency p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, \
         max {:.2} ms; the load took {:.0} % of a core",
        measured.operations as f64 / measured.seconds,
        measured.failed,
        ms(0.5),
        ms(0.99),
        ms(0.999),
        measured.latencies.max() as f64 / 1e6,
        measured.load_share * 100.0,
    );
    Ok(())
}
