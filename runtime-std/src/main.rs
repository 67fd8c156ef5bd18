//! The zabkeeper server on plain threads.

use std::process::ExitCode;

use zabkeeper_std::program;
use zabkeeper_std::threads::Threads;

fn main() -> ExitCode {
    program::main::<Threads>()
}
