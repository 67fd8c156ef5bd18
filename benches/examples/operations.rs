//! A client's operations through three servers in memory, over and over: something for a profiler
//! to look at.
//!
//! `cargo run --release -p zabkeeper-benches --example operations -- set|get|create OUTSTANDING
//! ROUNDS`

use std::env;
use std::time::{Duration, Instant};

use zabkeeper_benches::nodes::{Ask, Nodes};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [operation, outstanding, rounds] = &args[..] else {
        panic!("an operation, and two numbers: outstanding, rounds");
    };
    let ask = match operation.as_str() {
        "set" => Ask::Set,
        "get" => Ask::Get,
        "create" => Ask::Create,
        other => panic!("set, get or create, not {other}"),
    };
    let outstanding: usize = outstanding.parse().expect("a number");
    let rounds: usize = rounds.parse().expect("a number");
    let mut nodes = Nodes::serving();
    let mut client = nodes.client(0);
    let creation = nodes.creation(&mut client, "/a");
    nodes.send(client, creation, 1);
    let mut taken = Duration::ZERO;
    for _ in 0..rounds {
        let bytes = nodes.requests(&mut client, ask, "/a", outstanding);
        let begun = Instant::now();
        nodes.send(client, bytes, outstanding);
        taken += begun.elapsed();
    }
    let operations = (outstanding * rounds) as f64;
    println!("{:.0} ns an operation, on all three servers", taken.as_secs_f64() * 1e9 / operations);
}
