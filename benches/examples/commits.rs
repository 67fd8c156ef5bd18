//! Commits in memory, over and over: something for a profiler to look at.
//!
//! `cargo run --release -p zabkeeper-benches --example commits -- SERVERS OUTSTANDING ROUNDS`

use std::env;
use std::time::Instant;

use zabkeeper_benches::memory::Memory;

fn main() {
    let numbers: Vec<usize> =
        env::args().skip(1).map(|arg| arg.parse().expect("a number")).collect();
    let [servers, outstanding, rounds] = numbers[..] else {
        panic!("three numbers: servers, outstanding, rounds");
    };
    let mut memory = Memory::elected(servers);
    let begun = Instant::now();
    for _ in 0..rounds {
        memory.commit(&[7; 128], outstanding);
    }
    let commits = (outstanding * rounds) as f64;
    println!("{:.1} ns a commit", begun.elapsed().as_secs_f64() * 1e9 / commits);
}
